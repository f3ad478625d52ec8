r"""Mask secrets in a text that a server wrote.

A secret can be echoed in more spellings than a list can hold: escaped for JSON, HTML or a URL, more than once, grouped
with blanks or dashes, in base64, or cut off. So both sides are reduced to one form before they are compared:

1. Undo the escapes of the text until nothing changes. Each step is a reading of the text.
2. Normalize each reading: NFKD, no case, no accents, ASCII digits, one kind of blank, no invisible characters.
3. Compare letters and digits only, and check what stands between them.

Each character of a reading keeps its place in the text, so the mask covers what was written there.
"""

import base64
import html
import re
import unicodedata
from array import array
from collections.abc import Generator, Iterable, Mapping
from functools import cached_property
from html.entities import html5
from typing import Final, TypeAlias, cast

MASK: Final = "***"

_PASSES: Final = 6
"""Escapes nested deeper, in turns, are hostile: the text is withheld."""
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


def redact(text: str, secrets: Iterable[str] | Mapping[str, str]) -> str:
    """Return the text with every secret masked, in every spelling.

    Args:
        text: any text, of a server or about one.
        secrets: the values to mask. Phone numbers and numeric codes are compared by their digits, other values by
            their letters and digits. A mapping gives the text to show in place of each value; otherwise `***`.

    Returns:
        the text with masks, or `***` alone if its escapes are nested too deep to be read.
    """
    masks = cast("Mapping[str, str]", secrets) if isinstance(secrets, Mapping) else dict.fromkeys(secrets, MASK)
    wanted = sorted(filter(None, masks), key=len, reverse=True)
    if not wanted or not text:
        return text
    spans: list[tuple[int, int, str]] = []
    for reading in _readings(text):
        if reading is None:
            return MASK
        for secret in wanted:
            spans += [(start, end, masks[secret]) for start, end in _occurrences(secret, reading)]
    return _masked(text, spans)


def _masked(text: str, spans: list[tuple[int, int, str]]) -> str:
    """Replace each group of overlapping spans by the mask of the longest one."""
    parts: list[str] = []
    done = 0
    groups: list[tuple[int, int, str, int]] = []
    for start, end, mask in sorted(spans, key=lambda span: (span[0], -span[1])):
        if groups and start < groups[-1][1]:
            first, last, kept, longest = groups[-1]
            groups[-1] = (first, max(last, end), *((mask, end - start) if end - start > longest else (kept, longest)))
        else:
            groups.append((start, end, mask, end - start))
    for start, end, mask, _ in groups:
        parts += [text[done:start], mask]
        done = end
    return "".join([*parts, text[done:]])


# --- Readings --------------------------------------------------------------------------------------------------------


_Places: TypeAlias = "array[int]"
"""A span for each character, in eight bytes: a hostile body may fill the cap. The start is in the upper four."""
_END: Final = 0xFFFF_FFFF


class _Reading:
    """A text with some escapes undone, normalized: all characters as `folded`, letters and digits as `squashed`."""

    def __init__(self, text: str, places: _Places) -> None:
        if text.isascii():
            self.folded, self._places = text.translate(_FOLDED_ASCII), places  # character by character
        else:
            if len(_FOLDING) > _LIMIT:
                _FOLDING.clear()
            pieces = [_FOLDING[character] for character in text]
            self.folded = "".join(pieces)
            self._places = array("Q", (place for piece, place in zip(pieces, places, strict=True) for _ in piece))
        self.squashed = _squashed(self.folded)

    @cached_property
    def kept(self) -> list[int]:
        """The index in `folded` of each character of `squashed`."""
        return [index for index, character in enumerate(self.folded) if character.isalnum()]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the span in the original text of the characters from `first` to `last`, inclusive."""
        return self._places[first] >> 32, self._places[last] & _END


def _readings(text: str) -> Generator[_Reading | None]:
    """Yield the text with no, one, two ... layers of escapes undone; None if there are too many layers."""
    places = array("Q", (place << 32 | place + 1 for place in range(len(text))))
    for _ in range(_PASSES):
        yield _Reading(text, places)
        undone, places = _without_escapes(text, places)
        if undone == text:
            return
        text = undone
    yield None


class _Folding(dict[str, str]):
    """The normal form of each character, computed once."""

    def __missing__(self, character: str) -> str:
        self[character] = folded = _fold(character)
        return folded


def _fold(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Zs", "Zl", "Zp", "Cc"} or character == "+":  # forms write a blank as +
        return " "
    if category in {"Cf", "Mn", "Me"} or character in _FILLERS:
        return ""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(str(unicodedata.digit(c, c)) for c in letters if not unicodedata.combining(c))


_FILLERS: Final = "\u115f\u1160\u2800\u3164\uffa0"  # shown as nothing, although they count as letters or signs
_FOLDING: Final = _Folding()
_LIMIT: Final = 20_000
"""Characters whose normal form is remembered: more than a language needs, less than a hostile server can send."""


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
_MARKS: Final = re.compile(r"[\\&%<\x1b]")
"""The characters that begin an escape. Most texts and secrets hold none, and are read a hundred times faster."""
_HEX: Final = re.compile(r"(?:u|%(?:25)*u)([0-9a-fA-F]{4})|(?:x|%(?:25)*?)([0-9a-fA-F]{2})(?![0-9a-fA-F])")


def _without_escapes(text: str, places: _Places) -> tuple[str, _Places]:
    """Undo one layer of escapes. All characters of a run get the position of the whole run."""
    if not _MARKS.search(text):
        return text, places
    pieces: list[str] = []
    kept = array("Q")
    done = 0
    for found in _ESCAPES.finditer(text):
        start, end = found.span()
        meaning = _meaning(found[0], found.lastgroup or "")
        pieces += [text[done:start], meaning]
        kept += places[done:start]
        kept += array("Q", [places[start] & ~_END | places[end - 1] & _END]) * len(meaning)
        done = end
    pieces.append(text[done:])
    kept += places[done:]
    return "".join(pieces), kept


def _meaning(escape: str, kind: str) -> str:
    if kind == "html":
        return _character(re.sub(r"^&(?:amp;)+(?=[#a-zA-Z])", "&", escape))
    if kind in {"unit", "byte", "url"}:
        digits = "".join(unit or byte for unit, byte in _HEX.findall(escape))
        return _decoded(digits, is_utf16=kind == "unit" or escape.lstrip("%25").startswith("u"))
    if kind == "point":
        point = int(re.sub(r"[^0-9a-fA-F]", "", escape), 16)
        return chr(point) if point <= 0x10FFFF else ""
    # A backslash before any other character than these stands for that character.
    return "" if escape.endswith("\\") else " "


def _decoded(digits: str, *, is_utf16: bool) -> str:
    content = bytes.fromhex(digits)
    if is_utf16:
        return content.decode("utf-16-be", "replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _character(reference: str) -> str:
    if reference.startswith("&#"):
        return html.unescape(reference)
    name = reference[1:].rstrip(";")
    return html5.get(f"{name};", reference)


# --- Comparison ------------------------------------------------------------------------------------------------------


def _occurrences(secret: str, reading: _Reading) -> Generator[tuple[int, int]]:
    passes = (1, _PASSES) if _MARKS.search(secret) else (1,)
    spellings = {_as_read(secret, layers) for layers in passes}
    for folded, squashed in spellings:
        yield from _verbatim(folded, reading)
        if squashed.isdecimal() and len(squashed) >= _TELLING:
            yield from _phone_numbers(squashed, reading)
        elif len(squashed) < _SHORT:
            yield from _spaced(squashed, reading)
        else:
            yield from _anywhere(squashed, reading)
            yield from _pieces(squashed, reading, is_prose=" " in folded)
    for encoded in _encodings(secret):
        yield from _anywhere(encoded, reading)
        yield from _pieces(encoded, reading, is_prose=" " in secret)


def _as_read(secret: str, passes: int) -> tuple[str, str]:
    """Return the normal form of a secret, as given and squashed, with up to so many layers of escapes undone."""
    text = secret
    for _ in range(passes - 1):
        text, _places = _without_escapes(text, array("Q", bytes(8 * len(text))))
    folded = text.translate(_FOLDED_ASCII) if text.isascii() else "".join([_FOLDING[character] for character in text])
    squashed = _squashed(folded)
    return folded.strip() if squashed or folded.isspace() else folded, squashed


def _squashed(text: str) -> str:
    return text.translate(_SEPARATORS) if text.isascii() else "".join(filter(str.isalnum, text))


# Translations of ASCII text cost a hundredth of a loop over its characters.
_FOLDED_ASCII: Final = {code: _fold(chr(code)) for code in range(128)}
_SEPARATORS: Final = {code: None for code in range(128) if not chr(code).isalnum()}


def _find(needle: str, text: str) -> Generator[int]:
    """Yield the places of a text, without overlaps."""
    at = text.find(needle) if needle else -1
    while at >= 0:
        yield at
        at = text.find(needle, at + len(needle))


def _verbatim(folded: str, reading: _Reading) -> Generator[tuple[int, int]]:
    text = reading.folded
    is_code = folded.isdecimal() and len(folded) < _TELLING
    for at in _find(folded, text):
        end = at + len(folded)
        if is_code and _is_in_date(text, at, end - 1):
            continue
        if len(folded) > _ALONE or not (text[max(at - 1, 0) : at].isalnum() or text[end : end + 1].isalnum()):
            yield reading.span(at, end - 1)


def _anywhere(needle: str, reading: _Reading) -> Generator[tuple[int, int]]:
    for at in _find(needle, reading.squashed):
        yield reading.span(reading.kept[at], reading.kept[at + len(needle) - 1])


# ISO 8601, and the form of HTTP headers.
_DATE: Final = re.compile(
    r"(?<![0-9])[0-9]{4}-(?:0[1-9]|1[0-2])-[0-3][0-9](?:[t ][0-2][0-9]:[0-5][0-9](?::[0-9.]+)?)?"
    r"|[0-3][0-9] [a-z]{3} [0-9]{4} [0-2][0-9]:[0-5][0-9]:[0-5][0-9] gmt"
)


def _spaced(needle: str, reading: _Reading) -> Generator[tuple[int, int]]:
    """Find a short secret whose characters are grouped, as in 481-516: a sequence of whole words."""
    if len(needle) <= _ALONE:
        return
    text = reading.folded
    for at in _find_overlapping(needle, reading.squashed):
        kept = reading.kept
        first, last = kept[at], kept[at + len(needle) - 1]
        if text[max(first - 1, 0) : first].isalnum() or text[last + 1 : last + 2].isalnum():
            continue
        if _is_near(kept, at, at + len(needle) - 1) and not _is_in_date(text, first, last):
            yield reading.span(first, last)


def _find_overlapping(needle: str, text: str) -> Generator[int]:
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)


def _is_near(kept: list[int], first: int, last: int) -> bool:
    """Tell whether neighbors among the letters and digits are close enough to be read as one value."""
    return all(kept[at + 1] - kept[at] <= _GAP + 1 for at in range(first, last))


def _is_in_date(text: str, first: int, last: int) -> bool:
    around = _DATE.finditer(text, max(first - 30, 0), last + 30)
    return any(found.start() <= first and last < found.end() for found in around)


def _phone_numbers(digits: str, reading: _Reading) -> Generator[tuple[int, int]]:
    """Find a number by its last digits, or by all but its last digits, however it is grouped and prefixed."""
    squashed = reading.squashed
    for needle in {digits[-_TELLING:], digits[: max(len(digits) - _CUT_DIGITS, _TELLING)]}:
        for at in _find(needle, squashed):
            last, kept = at + len(needle) - 1, reading.kept
            if not _is_near(kept, at, last):
                continue
            first = at
            # The country code, the prefix for abroad and the trunk prefix; and the digits after a cut.
            while (
                at - first < _SHORT and first and squashed[first - 1].isdecimal() and _is_near(kept, first - 1, first)
            ):
                first -= 1
            while last + 1 < len(kept) and squashed[last + 1].isdecimal() and kept[last + 1] == kept[last] + 1:
                last += 1
            yield reading.span(kept[first], kept[last])


def _pieces(secret: str, reading: _Reading, *, is_prose: bool) -> Generator[tuple[int, int]]:
    """Find pieces of a long secret, as of a token that was cut off."""
    if len(secret) <= _SHORT:
        return
    shortest = len(secret) // 2 if is_prose else min(_PIECE, len(secret) * 2 // 3)
    # Each piece of that length holds one of the blocks whole.
    block = max((shortest + 1) // 2, 1)
    text = reading.squashed
    # Nor can there be a piece unless a block of the text is in the secret: the quick check of most texts.
    if not any(text[begin : begin + block] in secret for begin in range(0, len(text) - block + 1, block)):
        return
    for begin in range(0, len(secret) - block + 1, block):
        needle = secret[begin : begin + block]
        at = text.find(needle)
        while at >= 0:
            before = _common(text[max(at - begin, 0) : at][::-1], secret[:begin][::-1])
            after = _common(text[at : at + len(secret) - begin], secret[begin:])
            if before + after >= shortest:
                yield reading.span(reading.kept[at - before], reading.kept[at + after - 1])
            at = text.find(needle, at + after - block + 1)


def _common(one: str, other: str) -> int:
    """Return the length of the common beginning of two texts."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _encodings(secret: str) -> set[str]:
    """Return the secret in hexadecimal, and the part of its base64 that depends only on it, in each alignment."""
    content = secret.encode(errors="surrogatepass")
    forms = {content.hex()}
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + content).decode()
        first, last = -(-offset * 8 // 6), (offset + len(content)) * 8 // 6
        forms.add(_squashed(encoded[first:last].lower()))
    return {form for form in forms if len(form) >= _ENCODED}
