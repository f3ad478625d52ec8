"""Find the SMS of a send, and its code, in the content of an inbox: JSON, XML, HTML or plain text."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, Final, cast

import attrs

from camara_otp.conformance.contract import LABEL
from camara_otp.conformance.model import members_of, parsed

# Longer than a code may be, so that a code that is too long is recognized as such.
_LONGEST: Final = 64
_WORD: Final = rf"\w(?:[\w.\-]{{0,{_LONGEST}}}\w)?"
_ANYTHING: Final = rf".{{0,{_LONGEST}}}?"
_CUT: Final = 10
_MAX_CONTENT: Final = 262144


@attrs.frozen
class Found:
    """The code of one SMS in an inbox, and its whole content.

    Args:
        code: the code in the SMS
        text: the whole SMS, if the inbox shows where it begins and ends; else None
        copies: how many SMS of this send the inbox holds
    """

    code: str = attrs.field(repr=False)
    text: str | None = attrs.field(default=None, repr=False)
    copies: int = 1


def find(content: str, message: str, *, field: str = "", pattern: str | None = None) -> Found | None:
    """Return the SMS of a send that an inbox shows, or None.

    Args:
        content: the content of the inbox; the newest SMS last
        message: the message that was sent, with the label
        field: the place of the SMS in JSON: names and positions, separated by dots; empty: anywhere
        pattern: a regular expression with one group, the code, used instead of the place of the label
    """
    content = content[:_MAX_CONTENT]
    texts, is_exact = _texts(content, field)
    if pattern is not None:
        return _by_pattern(texts, message, pattern, is_exact=is_exact)
    for search in (_whole, _within, _mangled, _cut_off, _odd) if is_exact else (_within, _mangled):
        for text in reversed(texts):
            code = search(message, text)
            if code is not None:
                return Found(code, text, _copies(content, text)) if is_exact else Found(code)
    return None


def has_texts(content: str, field: str = "") -> bool:
    """Return whether an inbox shows anything at all."""
    return any(text.strip() for text in _texts(content[:_MAX_CONTENT], field)[0])


def dig(value: Any, field: str) -> str:
    """Return the string at a place in JSON, given by names and positions with dots between; empty if there is none."""
    for step in field.split("."):
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(step)
        elif isinstance(value, list) and re.fullmatch(r"-?[0-9]{1,9}", step):
            items = cast("list[Any]", value)  # type: ignore[redundant-cast]
            value = items[int(step)] if -len(items) <= int(step) < len(items) else None
        else:
            return ""
    return str(value) if isinstance(value, str | int) else ""


def _texts(content: str, field: str) -> tuple[list[str], bool]:
    """Return the strings in an inbox, and whether each begins and ends where an SMS does."""
    document = parsed(content.encode("utf-8", "replace"))
    if field:
        return [dig(document, field)], True
    if isinstance(document, dict | list | str):
        return list(_strings(document)), True
    if content.lstrip()[:1] == "<":
        page = _Page()
        page.feed(content)
        page.close()
        return page.texts, True
    return [content], False


def _strings(value: Any) -> Iterator[str]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            stack.extend(reversed(list(cast("dict[str, Any]", item).values())))
        elif isinstance(item, list):
            stack.extend(reversed(cast("list[Any]", item)))  # type: ignore[redundant-cast]


class _Page(HTMLParser):
    """The strings of an XML or HTML document: of its elements, CDATA sections and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.texts += [value for _, value in attrs if value]

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def unknown_decl(self, data: str) -> None:
        if data.startswith("CDATA["):
            self.handle_data(data.removeprefix("CDATA["))


def _copies(content: str, text: str) -> int:
    """Return how many items of a JSON list contain a string."""
    document = parsed(content.encode("utf-8", "replace"))
    values = [document, *members_of(document).values()]
    lists = [cast("list[Any]", value) for value in values if isinstance(value, list)]  # type: ignore[redundant-cast]
    return max((sum(text in _strings(item) for item in items) for items in lists), default=1) or 1


def _by_pattern(texts: list[str], message: str, pattern: str, *, is_exact: bool) -> Found | None:
    # A number in the message itself is not a code.
    rest = message.replace(LABEL, " ")
    for text in reversed(texts):
        codes = [code for code in re.findall(pattern, text) if code not in rest]
        if codes:
            # A string that shares no word with the message cannot be compared with it.
            is_comparable = is_exact and any(word in text for word in re.findall(r"\w{3,}", rest))
            return Found(codes[-1], text if is_comparable else None)
    return None


# Searches for the code in one string of an inbox.


def _whole(message: str, text: str) -> str | None:
    """Return the code if the string is the message and nothing else."""
    return _between(message, text, rf"{_WORD}|{re.escape(LABEL)}|")


def _odd(message: str, text: str) -> str | None:
    """Return the characters in place of the label if the rest of the string is the message and nothing else."""
    return _between(message, text, _ANYTHING)


def _between(message: str, text: str, code: str) -> str | None:
    parts = [re.escape(part) for part in _lines(message).split(LABEL)]
    whole = re.fullmatch(parts[0] + f"(?P<code>{code})" + "(?P=code)".join(parts[1:]), _lines(text), re.DOTALL)
    return whole["code"] if whole else None


def _within(message: str, text: str) -> str | None:
    """Return the code if the string contains the message, with spaces of any kind."""
    parts = [re.escape(part) for part in _one_line(message).split(LABEL)]
    literal = re.escape(LABEL)
    pattern = rf"{parts[0]}(?<!\w)(?P<code>{_WORD}|{literal})(?!\w)" + rf"(?:{_WORD}|{literal})?".join(parts[1:])
    matches = list(re.finditer(pattern, _one_line(text)))
    return matches[-1]["code"] if matches else None


def _mangled(message: str, text: str) -> str | None:
    """Return the code if the string is the message with other letters beyond ASCII."""
    first, rest, *_ = _one_line(message).split(LABEL)
    before, after = _any_letters(first), _any_letters(rest)
    match = re.search(rf"{before}(?<!\w)(?P<code>{_WORD})(?!\w){after}", _one_line(text)) if first + rest else None
    return match["code"] if match else None


def _cut_off(message: str, text: str) -> str | None:
    """Return the code if the string is the message, cut at its end."""
    first, rest, *_ = _one_line(message).split(LABEL)
    pattern = rf"{_any_letters(first)}(?<!\w)(?P<code>{_WORD})(?P<rest>\W.{{{_CUT - 1},}})"
    match = re.fullmatch(pattern, _one_line(text))
    return match["code"] if match and len(rest) > _CUT and rest.startswith(match["rest"]) else None


def _any_letters(text: str) -> str:
    return re.sub(r"(?:[^\x00-\x7f])+", lambda _: ".{0,40}?", re.escape(text))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def is_message(text: str, message: str, code: str) -> bool:
    """Return whether a string is a message with its labels replaced by a code."""
    return _lines(text).strip() == _lines(message).replace(LABEL, code).strip()
