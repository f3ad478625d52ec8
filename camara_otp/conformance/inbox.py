"""Find the text of a send, and the code in it, in what an inbox shows: JSON, XML, HTML or plain text."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, Final, cast

import attrs

from camara_otp.conformance.contract import LABEL

# Longer than a code may be, so that a code that is too long is recognized as such.
_LONGEST: Final = 64
_WORD: Final = rf"\w(?:[\w.\-]{{0,{_LONGEST}}}\w)?"
_ANYTHING: Final = rf".{{0,{_LONGEST}}}?"
_CUT: Final = 10
_MAX_CONTENT: Final = 262144


@attrs.frozen
class Found:
    """The code and text of one send, as found in an inbox.

    Args:
        code: the code in the text
        text: the text, where it is known where it begins and ends; else None
        copies: how many texts of this send the inbox holds
    """

    code: str = attrs.field(repr=False)
    text: str | None = attrs.field(default=None, repr=False)
    copies: int = 1


def find(content: str, message: str, *, field: str = "", pattern: str | None = None) -> Found | None:
    """Return what an inbox shows of a send, or None.

    Args:
        content: what the inbox returned; the newest text last
        message: the message that was sent, with the label
        field: where the text stands in JSON: names and positions, separated by dots; empty: anywhere
        pattern: a regular expression with one group, the code, used instead of the place of the label
    """
    content = content[:_MAX_CONTENT]
    texts, is_exact = _texts(content, field)
    if pattern is not None:
        return _by_pattern(texts, message, pattern, is_exact=is_exact)
    for search in (_whole, _within, _mangled, _odd):
        for text in reversed(texts):
            code = search(message, text, is_exact)
            if code is not None:
                return Found(code, text if is_exact else None, _copies(content, text) if is_exact else 1)
    return None


def has_texts(content: str, field: str = "") -> bool:
    """Tell whether an inbox shows anything at all.

    Args:
        content: what the inbox returned
        field: where the text stands in JSON; empty: anywhere
    """
    return any(text.strip() for text in _texts(content[:_MAX_CONTENT], field)[0])


def dig(value: Any, field: str) -> str:
    """Return the text at a place in JSON; empty if there is none.

    Args:
        value: the JSON
        field: names and positions, separated by dots
    """
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
    """Return the texts that an inbox shows, and whether each begins and ends where a text message does."""
    document = _json(content)
    if field:
        return [dig(document, field)], True
    if isinstance(document, dict | list):
        return list(_strings(document)), True
    if isinstance(document, str):
        return [document], True
    if content.lstrip()[:1] == "<":
        page = _Page()
        page.feed(content)
        page.close()
        return page.texts, True
    return [content], False


def _json(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


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
    """The texts of an XML or HTML document: of its elements, CDATA sections and attributes."""

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
    """Return how many items of a JSON list hold a text."""
    document = _json(content)
    table = cast("dict[str, Any]", document) if isinstance(document, dict) else {"": document}
    lists = [
        cast("list[Any]", value)  # type: ignore[redundant-cast]
        for value in table.values()
        if isinstance(value, list)
    ]
    return max((sum(text in _strings(item) for item in items) for items in lists), default=1) or 1


def _by_pattern(texts: list[str], message: str, pattern: str, *, is_exact: bool) -> Found | None:
    # A number in the message itself is no code.
    words = message.replace(LABEL, " ")
    for text in reversed(texts):
        codes = [code for code in re.findall(pattern, text) if code not in words]
        if codes:
            code = codes[-1]
            return Found(code, text if is_exact and _resembles(message, text) else None)
    return None


def _resembles(message: str, text: str) -> bool:
    """Tell whether a text shares enough with a message to be compared with it."""
    words = [word for word in re.findall(r"\w{3,}", message.replace(LABEL, " ")) if word in text]
    return len(words) >= 1


def _parts(message: str) -> list[str]:
    return message.split(LABEL)


def _whole(message: str, text: str, is_exact: bool) -> str | None:  # noqa: FBT001
    """Return the code if the text is the message and nothing else."""
    return _between(message, text, rf"{_WORD}|{re.escape(LABEL)}|") if is_exact else None


def _odd(message: str, text: str, is_exact: bool) -> str | None:  # noqa: FBT001
    """Return the text in place of the label if the rest of the text is the message and nothing else."""
    return _between(message, text, _ANYTHING) if is_exact else None


def _between(message: str, text: str, code: str) -> str | None:
    parts = [re.escape(part) for part in _parts(_lines(message))]
    whole = re.fullmatch(parts[0] + f"(?P<code>{code})" + "(?P=code)".join(parts[1:]), _lines(text), re.DOTALL)
    return whole["code"] if whole else None


def _within(message: str, text: str, _: bool) -> str | None:  # noqa: FBT001
    """Return the code if the text holds the message, with blanks of any kind."""
    parts = [re.escape(part) for part in _parts(_one_line(message))]
    literal = re.escape(LABEL)
    pattern = rf"{parts[0]}(?<!\w)(?P<code>{_WORD}|{literal})(?!\w)" + rf"(?:{_WORD}|{literal})?".join(parts[1:])
    matches = list(re.finditer(pattern, _one_line(text)))
    return matches[-1]["code"] if matches else None


def _mangled(message: str, text: str, is_exact: bool) -> str | None:  # noqa: FBT001
    """Return the code if the text is the message with other letters beyond ASCII, or cut at its end."""
    first, *rest = _parts(_one_line(message))
    before, after = _any_letters(first), _any_letters(rest[0])
    one_line = _one_line(text)
    match = re.search(rf"{before}(?<!\w)(?P<code>{_WORD})(?!\w){after}", one_line) if first + rest[0] else None
    if match is None and is_exact and len(rest[0]) > _CUT:
        begins = re.fullmatch(rf"{before}(?<!\w)(?P<code>{_WORD})(?P<rest>\W.{{{_CUT - 1},}})", one_line)
        match = begins if begins and rest[0].startswith(begins["rest"]) else None
    return match["code"] if match else None


def _any_letters(text: str) -> str:
    return re.sub(r"(?:[^\x00-\x7f])+", lambda _: ".{0,40}?", re.escape(text))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def is_message(text: str, message: str, code: str) -> bool:
    """Tell whether a text is a message with its labels replaced by a code.

    Args:
        text: the text
        message: the message, with the label
        code: the code
    """
    return _lines(text).strip() == _lines(message).replace(LABEL, code).strip()
