"""Secrets that no renderer of a traceback shows."""

from contextlib import suppress
from traceback import walk_tb
from typing import Final

_FORGETFUL: Final = frozenset({"camara_otp", "h11", "attr", "cattrs", "json", "functools"})
"""The packages whose frames hold secrets in variables while they make bytes or read them."""


class Secret:
    """A string that must not be shown: a token, a client secret, a phone number, a code.

    It is a plain object without fields or iteration. So no serializer of an error tracker or a console reaches the
    string, however it serializes tuples, data classes and attrs classes. Reveal it only where bytes are made.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the string."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"


def forget_variables(error: BaseException) -> None:
    """Clear the variables of a call in the traceback of an interrupt, which may come at any line.

    The frames of the caller keep theirs: of a signal handler, a hook, a token callable.
    """
    for frame, _ in walk_tb(error.__traceback__):
        package = frame.f_globals.get("__name__", "attr").partition(".")[0]  # methods that attrs makes have no module
        if package in _FORGETFUL:
            with suppress(RuntimeError):  # the frame of the public method, which has not ended
                frame.clear()
