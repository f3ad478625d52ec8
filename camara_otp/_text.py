"""A server's words made fit to be shown: without secrets, printable, on one line and short."""

import re
from typing import Final

MAX_EXCERPT: Final = 200
"""Characters that are kept of a server's own words."""

# Signed tokens, whole or cut off, and telephone numbers.
_CREDENTIAL: Final = re.compile(r"ey[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*|\+?[0-9]{7,}")


class Secrets:
    """The texts of one request that must not be shown, phone numbers in E.164 form among them.

    It is a plain object without fields or iteration: see `Secret`.
    """

    __slots__ = ("_values",)

    def __init__(self, *values: str) -> None:
        self._values = {*values, *(value.removeprefix("tel:") for value in values)}

    def __repr__(self) -> str:
        return "Secrets(***)"

    @property
    def longest(self) -> int:
        """Return the length of the longest text."""
        return max(map(len, self._values), default=0)

    def hidden_in(self, text: str) -> str:
        """Return a text with every secret masked, in every spelling."""
        from camara_otp._redaction import redact  # noqa: PLC0415 - slow to import, and failures alone need it

        return redact(text, self._values)


def cleaned(text: str, secrets: Secrets, *, credentials: bool = False) -> str:
    """Return a server's words without secrets, printable and short.

    Args:
        text: any.
        secrets: the texts of the request that must not be shown.
        credentials: True masks any signed token and any phone number, known or not.
    """
    text = secrets.hidden_in(text)
    return shortened(_CREDENTIAL.sub("***", text) if credentials else text)


def shortened(text: str) -> str:
    """Return a text on one line, at most `MAX_EXCERPT` characters, without control characters."""
    text = " ".join(text.split())
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= MAX_EXCERPT else text[: MAX_EXCERPT - 1] + "…"
