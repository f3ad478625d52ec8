"""Secrets that no renderer of a traceback shows."""


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
