"""Take secrets out of a server's words, however the server has escaped them.

A list of escapings is never whole: JSON alone writes one slash in four ways. So the escapings of the text are undone,
character by character with its place kept, and what then reads like a secret is blotted out where it stood.
"""

import html
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

BLOT: Final = "***"

# JSON's \uXXXX, in runs because of surrogate pairs; HTML's references; percent-encoding, in runs because of UTF-8. Each
# may have been escaped twice.
_ESCAPES: Final = re.compile(
    r"(?P<json>(?:(?<!\\)\\++u[0-9a-fA-F]{4})+)"  # from the first backslash on, or a run of them would cost its square
    r"|(?P<html>&(?:amp;)*(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});)"
    r"|(?P<url>(?:%(?:25)*[0-9a-fA-F]{2})+)"
)
# What is left of backslashes after that: JSON's \n is a blank, any other only hides what follows it.
_SLASHES: Final = re.compile(r"\\+([nrtbf])?")
_ESCAPED: Final = re.compile(r"[\\&%]")
_UNITS: Final = re.compile(r"u([0-9a-fA-F]{4})")
_LONG_RUN: Final = re.compile(r"[a-z0-9]{8,}")
_RUNS: Final = re.compile(r"[a-z0-9]+")
_BLANKS: Final = re.compile(
    r"[\s+\x00-\x1f]"
)  # forms write a blank as +, and many a server turns a line end into a blank


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return a text with every secret in it, plain or escaped, replaced by asterisks."""
    for secret in secrets:
        # Most escapings leave ASCII letters and digits alone: where a run of them is missing, so is the secret.
        if secret and (_ESCAPED.search(text) or _run_of(secret.lower()) in text.lower()):
            text = _without(text, secret)
    return text


# Digits as people set a number: 7 or more, with up to three signs between two of them.
_NUMBERS: Final = re.compile(r"\d(?:[ .()/\u00a0\u2009\u2010-\u2013-]{0,3}\d){6,}")
_TELLING_DIGITS: Final = 7
"""The last digits of a number that tell whose it is, with or without its country and area code."""


def without_number(text: str, number: str) -> str:
    """Return a text without a phone number, however it is grouped and whichever prefix it is written with.

    Args:
        text: any.
        number: its digits, country code first.
    """
    telling = number[-_TELLING_DIGITS:]
    return _NUMBERS.sub(lambda found: BLOT if telling in re.sub(r"\D", "", found[0]) else found[0], text)


def _without(text: str, secret: str) -> str:
    if len(secret) > 3:
        text = text.replace(secret, BLOT)
    read, spans = _read(text)
    sought = _read(secret)[0].strip()
    if not sought:
        return text
    parts: list[str] = []
    done, at = 0, read.find(sought)
    while at >= 0:
        end = at + len(sought)
        # A code of one to three characters may be part of any word, so it goes only where it stands alone.
        if len(secret) > 3 or not (read[max(at - 1, 0) : at].isalnum() or read[end : end + 1].isalnum()):
            parts += [text[done : max(spans[at][0], done)], BLOT]
            done = spans[end - 1][1]
        else:
            end = at + 1
        at = read.find(sought, end)
    return "".join([*parts, text[done:]])


def _read(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a text as a reader sees it, folded, and where in the text each of its characters stands."""
    pieces: list[str] = []
    spans: list[tuple[int, int]] = []
    done = 0
    for found in _ESCAPES.finditer(text):
        pieces.append(text[done : found.start()])
        spans += [(place, place + 1) for place in range(done, found.start())]
        meant = _undone(found)
        pieces.append(meant)
        # A run goes as a whole: which of its bytes made which character does not matter.
        spans += [found.span()] * len(meant)
        done = found.end()
    pieces.append(text[done:])
    spans += [(place, place + 1) for place in range(done, len(text))]
    return _without_slashes("".join(pieces), spans)


def _without_slashes(text: str, spans: list[tuple[int, int]]) -> tuple[str, list[tuple[int, int]]]:
    pieces: list[str] = []
    kept: list[tuple[int, int]] = []
    done = 0
    for found in _SLASHES.finditer(text):
        pieces.append(text[done : found.start()])
        kept += spans[done : found.start()]
        if found[1]:
            pieces.append(" ")
            kept.append((spans[found.start()][0], spans[found.end() - 1][1]))
        done = found.end()
    pieces.append(text[done:])
    kept += spans[done:]
    return _folded("".join(pieces)), kept


def _undone(found: re.Match[str]) -> str:
    text = found[0]
    match found.lastgroup:
        case "json":
            units = b"".join(int(unit, 16).to_bytes(2, "little") for unit in _UNITS.findall(text))
            return units.decode("utf-16-le", "replace")
        case "html":
            return html.unescape(re.sub(r"^&(?:amp;)+(?=[#a-zA-Z])", "&", text))
        case _:
            return unquote(re.sub(r"%(?:25)*(?=[0-9a-fA-F]{2})", "%", text), errors="replace")


def _folded(text: str) -> str:
    """Return a text of the same length, in which letters have no case and every blank is the same."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(character.lower()[:1] for character in text)
    return _BLANKS.sub(" ", lowered)


def _run_of(value: str) -> str:
    """Return a run of ASCII letters and digits in a value: a long one if there is one, else the longest."""
    long = _LONG_RUN.search(value)
    return long[0] if long else max(_RUNS.findall(value), key=len, default="")
