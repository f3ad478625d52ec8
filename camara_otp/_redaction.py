r"""Mask secrets in a string of a server, and make the string printable.

A secret can be echoed in more spellings than a list can hold: escaped for JSON, HTML or a URL, more than once, grouped
with spaces or dashes, in base64, or cut off. So the string and the secret are read in the same way, and then compared:

1. Undo the escapes until nothing changes. Each step is a reading.
2. Normalize each reading: NFKD, no case, no accents, ASCII digits, one kind of space, no invisible characters.
3. Compare letters and digits only, and check what stands between them.

Each character of a reading keeps its place in the string, so the mask covers the original characters.
"""

import base64
import html
import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain, groupby, islice, repeat
from typing import Final, TypeAlias, cast

MASK: Final = "***"

_PASSES: Final = 6
"""Escapes nested deeper, in turns, are hostile: the string is withheld."""
_SHORT: Final = 10
"""A shorter secret is found with separators only as whole words; a longer one is unlikely to occur by chance."""
_GAP: Final = 5
"""Separators allowed between two characters of a short secret or a phone number."""
_ALONE: Final = 3
"""A secret of up to so many characters is part of many words, so it is masked only where it stands alone."""
_TELLING: Final = 7
"""The last digits of a phone number that identify it, with or without its country and area code."""
_CUT_DIGITS: Final = 3
"""A phone number with up to so many of its last digits cut off is masked too."""
_PIECE: Final = 16
"""The shortest piece of a long secret that is masked; of prose, at least half, since words are common."""
_ENCODED: Final = 5
"""The shortest base64 or hexadecimal form that is searched for."""

MAX_EXCERPT: Final = 200
"""Characters that are kept of a server's own words."""

# Signed tokens, whole or cut off, and telephone numbers.
_CREDENTIAL: Final = re.compile(r"ey[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*|\+?[0-9]{7,}")

_Spans: TypeAlias = Generator[tuple[int, int]]
"""The first place of each finding, and the place after its last."""


def redact(text: str, secrets: Iterable[str] | Mapping[str, str]) -> str:
    """Return the string with every secret masked, in every spelling.

    Args:
        text: any string, of a server or about one
        secrets: the values to mask. Phone numbers and numeric codes are compared by their digits, other values by
            their letters and digits. A mapping gives the replacement of each value; otherwise `***`.

    Returns:
        the string with masks, or `***` alone if its escapes are nested too deep to be read
    """
    masks = cast("Mapping[str, str]", secrets) if isinstance(secrets, Mapping) else dict.fromkeys(secrets, MASK)
    if not text or not any(masks):
        return text
    readings = [*islice(_readings(text), _PASSES + 1)]
    if len(readings) > _PASSES:
        return MASK
    # Each once: all characters of an escaped run have one span.
    found = dict.fromkeys((*span, mask) for secret, mask in masks.items() for span in _occurrences(secret, readings))
    if not found:
        return text
    shown: list[str | None] = [None] * len(text)
    for start, end, mask in sorted(found, key=lambda span: span[1] - span[0]):  # the longest wins
        shown[start:end] = [mask] * (end - start)
    runs = groupby(zip(shown, text, strict=True), key=lambda place: place[0])
    return "".join("".join(letter for _, letter in run) if mask is None else mask for mask, run in runs)


class Secrets:
    """The strings of one request that must not be shown, phone numbers in E.164 form among them.

    It is a plain object without fields or iteration: see `Secret`.
    """

    __slots__ = ("_values",)

    def __init__(self, *values: str) -> None:
        self._values = {*values, *(value.removeprefix("tel:") for value in values)}

    def __repr__(self) -> str:
        return "Secrets(***)"

    @property
    def longest(self) -> int:
        """Return the length of the longest string."""
        return max(map(len, self._values), default=0)

    def hidden_in(self, text: str) -> str:
        """Return a string with every secret masked, in every spelling."""
        return redact(text, self._values)


def cleaned(text: str, secrets: Secrets, *, credentials: bool = False) -> str:
    """Return a server's words without secrets, printable and short.

    Args:
        text: any string
        secrets: the strings of the request that must not be shown
        credentials: True masks any signed token and any phone number, known or not
    """
    text = secrets.hidden_in(text)
    return shortened(_CREDENTIAL.sub("***", text) if credentials else text)


def shortened(text: str) -> str:
    """Return a string on one line, at most `MAX_EXCERPT` characters, without control characters."""
    text = " ".join(text.split())
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= MAX_EXCERPT else text[: MAX_EXCERPT - 1] + "…"


# --- Readings --------------------------------------------------------------------------------------------------------


class _Reading:
    """A string with some escapes undone, normalized: all characters as `folded`, letters and digits as `squashed`.

    `places` are the places of its characters in the original string, and the length of that string.
    """

    def __init__(self, text: str, places: Sequence[int]) -> None:
        if text.isascii():  # as most strings are; thirty times as fast
            self.folded, self.squashed = text.translate(_FOLDED_ASCII), text.translate(_SQUASHED_ASCII)
        else:
            self.folded = "".join(map(_folded, text))
            self.squashed = "".join(filter(str.isalnum, self.folded))
        self._source = text, places

    @cached_property
    def _places(self) -> "array[int]":
        """The place of each character of `folded`, and the length of the original string."""
        text, places = self._source
        lengths = chain(map(len, map(_folded, text)), [1])
        # An array, because a hostile body may fill the cap.
        return array("L", chain.from_iterable(map(repeat, places, lengths)))

    @cached_property
    def kept(self) -> list[int]:
        """The index in `folded` of each character of `squashed`."""
        return [index for index, character in enumerate(self.folded) if character.isalnum()]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the span in the original string of the characters of `folded` from `first` to `last`, inclusive."""
        return self._places[first], self._places[bisect_right(self._places, self._places[last])]


def _readings(text: str) -> Generator[_Reading]:
    """Yield the string with no, one, two ... layers of escapes undone, until nothing changes."""
    places: Sequence[int] = range(len(text) + 1)
    undone = None
    while undone != text:
        text = text if undone is None else undone
        yield _Reading(text, places)
        undone, places = _without_escapes(text, places)


@lru_cache(maxsize=20_000)  # more characters than a language needs, fewer than a hostile server can send
def _folded(character: str) -> str:
    """Return the normal form of a character."""
    category = unicodedata.category(character)
    if category in {"Zs", "Zl", "Zp", "Cc"} or character == "+":  # forms write a space as +
        return " "
    if category in {"Cf", "Mn", "Me"} or character in _FILLERS:
        return ""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(str(unicodedata.digit(c, c)) for c in letters if not unicodedata.combining(c))


_FILLERS: Final = "\u115f\u1160\u2800\u3164\uffa0"  # shown as nothing, although they count as letters or signs
_FOLDED_ASCII: Final = {code: _folded(chr(code)) for code in range(128)}
_SQUASHED_ASCII: Final = {code: folded if folded.isalnum() else None for code, folded in _FOLDED_ASCII.items()}


# Bytes and UTF-16 units are taken in runs, since several of them make one character. A run that is escaped again
# carries more backslashes, `amp;` or `25`.
_ESCAPES: Final = re.compile(
    r"(?P<unit>(?:(?<!\\)\\++u[0-9a-fA-F]{4})+)"  # from the first backslash on: linear in a run of them
    r"|(?P<point>(?<!\\)\\++(?:u\{[0-9a-fA-F]{1,6}\}|U[0-9a-fA-F]{8}))"
    r"|(?P<byte>(?:(?<!\\)\\++x[0-9a-fA-F]{2})+)"
    r"|(?P<other>\\++[nrtbf]?)"
    r"|(?P<markup><[a-zA-Z/!][^<>]{0,99}>|\x1b\[[0-9;]*[a-zA-Z])"  # tags, and colors of a terminal
    r"|(?P<html>&(?:amp;)*+(?:\#[0-9]{1,7};?|\#[xX][0-9a-fA-F]{1,6};?|[a-zA-Z][a-zA-Z0-9]{1,31};|nbsp)|&(?:amp;)++)"
    r"|(?P<url>(?:%(?:25)*+u[0-9a-fA-F]{4})+|(?:%(?:25)*[0-9a-fA-F]{2})+)"
)
_BEGINNINGS: Final = re.compile(r"[\\&%<\x1b]")
_HEX: Final = re.compile(r"(?:u|%(?:25)*u)([0-9a-fA-F]{4})|(?:x|%(?:25)*?)([0-9a-fA-F]{2})(?![0-9a-fA-F])")


def _without_escapes(text: str, places: Sequence[int]) -> tuple[str, Sequence[int]]:
    """Undo one layer of escapes. All characters of a run get the place of the whole run."""
    if not _BEGINNINGS.search(text):  # most texts and secrets, a hundred times faster
        return text, places
    pieces: list[str] = []
    kept = array("L")
    done = 0
    for found in _ESCAPES.finditer(text):
        start, end = found.span()
        meaning = _meaning(found[0], found.lastgroup or "")
        pieces += [text[done:start], meaning]
        kept.extend(places[done:start])
        kept.extend(repeat(places[start], len(meaning)))
        done = end
    kept.extend(places[done:])
    return "".join([*pieces, text[done:]]), kept


def _meaning(escape: str, kind: str) -> str:
    match kind:
        case "html":
            return html.unescape(re.sub(r"^&(?:amp;)+(?=[#a-zA-Z])", "&", escape))
        case "unit" | "byte" | "url":
            content = bytes.fromhex("".join(unit or byte for unit, byte in _HEX.findall(escape)))
            if kind == "unit" or escape.lstrip("%25").startswith("u"):
                return content.decode("utf-16-be", "replace")
            try:
                return content.decode()
            except UnicodeDecodeError:
                return content.decode("latin-1")
        case "point":
            point = int(re.sub(r"[^0-9a-fA-F]", "", escape), 16)
            return chr(point) if point <= 0x10FFFF else ""
        case _:
            # A backslash before any other character than these stands for that character.
            return "" if escape.endswith("\\") else " "


# --- Comparison ------------------------------------------------------------------------------------------------------


def _occurrences(secret: str, readings: list[_Reading]) -> _Spans:
    forms = {(form.folded, form.squashed) for form in islice(_readings(secret), _PASSES)}
    encodings = _encodings(secret)
    for reading in readings:
        for folded, squashed in forms:
            # A secret without letters and digits may end in a plus sign, which is read as a space.
            yield from _verbatim(folded.strip() if squashed or folded.isspace() else folded, reading)
            if squashed.isdecimal() and len(squashed) >= _TELLING:
                yield from _phone_numbers(squashed, reading)
            elif len(squashed) < _SHORT:
                yield from _grouped(squashed, reading)
            else:
                yield from _pieces(squashed, reading, is_prose=" " in secret)
        for encoded in encodings:
            yield from _pieces(encoded, reading, is_prose=" " in secret)


def _find(needle: str, text: str) -> Generator[int]:
    at = text.find(needle) if needle else -1
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)


def _verbatim(needle: str, reading: _Reading) -> _Spans:
    is_code = needle.isdecimal() and len(needle) < _TELLING
    for first in _find(needle, reading.folded):
        last = first + len(needle) - 1
        if is_code and _is_in_date(reading.folded, first, last):
            continue
        if len(needle) > _ALONE or _stands_alone(reading.folded, first, last):
            yield reading.span(first, last)


def _grouped(needle: str, reading: _Reading) -> _Spans:
    """Find a short secret whose characters are grouped, as in 481-516: a sequence of whole words."""
    if len(needle) <= _ALONE:
        return
    for at in _find(needle, reading.squashed):
        end = at + len(needle) - 1
        first, last = reading.kept[at], reading.kept[end]
        if (
            _stands_alone(reading.folded, first, last)
            and _is_near(reading.kept, at, end)
            and not _is_in_date(reading.folded, first, last)
        ):
            yield reading.span(first, last)


def _stands_alone(text: str, first: int, last: int) -> bool:
    return not (text[max(first - 1, 0) : first].isalnum() or text[last + 1 : last + 2].isalnum())


def _is_near(kept: list[int], first: int, last: int) -> bool:
    """Return whether neighbors among the letters and digits are close enough to be read as one value."""
    return all(kept[at + 1] - kept[at] <= _GAP + 1 for at in range(first, last))


# ISO 8601, and the form of HTTP headers.
_DATE: Final = re.compile(
    r"(?<![0-9])[0-9]{4}-(?:0[1-9]|1[0-2])-[0-3][0-9](?:[t ][0-2][0-9]:[0-5][0-9](?::[0-9.]+)?)?"
    r"|[0-3][0-9] [a-z]{3} [0-9]{4} [0-2][0-9]:[0-5][0-9]:[0-5][0-9] gmt"
)


def _is_in_date(text: str, first: int, last: int) -> bool:
    around = _DATE.finditer(text, max(first - 30, 0), last + 30)
    return any(found.start() <= first and last < found.end() for found in around)


def _phone_numbers(digits: str, reading: _Reading) -> _Spans:
    """Find a number by its last digits, or by all but its last digits, however it is grouped and prefixed."""
    squashed, kept = reading.squashed, reading.kept
    for needle in {digits[-_TELLING:], digits[: max(len(digits) - _CUT_DIGITS, _TELLING)]}:
        last = -1
        for at in _find(needle, squashed):
            end = at + len(needle) - 1
            # The finding before may cover this one, and the digits after a cut.
            if end + _CUT_DIGITS <= last or not _is_near(kept, at, end):
                continue
            # The country code, the prefix for abroad and the trunk prefix; and the digits after a cut.
            first, last = at, end
            while at - first < _SHORT and squashed[first - 1 : first].isdecimal() and _is_near(kept, first - 1, first):
                first -= 1
            while (
                last - end < _SHORT and squashed[last + 1 : last + 2].isdecimal() and kept[last + 1] == kept[last] + 1
            ):
                last += 1
            yield reading.span(kept[first], kept[last])


def _pieces(secret: str, reading: _Reading, *, is_prose: bool) -> _Spans:
    """Find a long secret, or pieces of it, as of a token that was cut off."""
    size = len(secret)
    shortest = size if size <= _SHORT else size // 2 if is_prose else min(_PIECE, size * 2 // 3)
    text = reading.squashed
    # A piece holds one of the blocks of the secret, and of the text, whole: the fast check for most strings.
    block = (shortest + 1) // 2
    shorter, longer = sorted((secret, text), key=len)
    if not any(shorter[at : at + block] in longer for at in range(0, len(shorter) - block + 1, block)):
        return
    pieces = {secret[at : at + shortest] for at in range(size - shortest + 1)}
    at = 0
    while at <= len(text) - shortest:
        begin = at
        while text[at : at + shortest] in pieces:
            at += 1
        if at > begin:
            yield reading.span(reading.kept[begin], reading.kept[at + shortest - 2])
        at += 1


def _encodings(secret: str) -> set[str]:
    """Return the secret in hexadecimal, and the part of its base64 that depends only on it, in each alignment."""
    content = secret.encode(errors="surrogatepass")
    forms = {content.hex()}
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + content)
        first, last = -(-offset * 8 // 6), (offset + len(content)) * 8 // 6
        forms.add(encoded[first:last].lower().translate(None, b"+/").decode())
    return {form for form in forms if len(form) >= _ENCODED}
