"""The table of the wrong codes and ids that are tried on a valid id."""

from collections.abc import Callable
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final

import attrs

from camara_otp.conformance.contract import MAX_CODE
from camara_otp.conformance.model import JSONObject


@attrs.frozen
class Material:
    """A valid id with its code, and the code of another id, or None, from which guesses are made."""

    authentication_id: str = attrs.field(repr=False)
    code: str = attrs.field(repr=False)
    other: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Guess:
    """A code or id that has to be refused.

    Args:
        name: how it is made
        make: returns it, or None where it cannot be made
        cause: the cause if it is accepted
        member: the member of the body that it replaces
        is_plain: whether it has the form of a code, so that it surely counts as a try
    """

    name: str
    make: Callable[[Material], object | None]
    cause: str = "wrong-code-accepted"
    member: str = "code"
    is_plain: bool = False

    def body(self, material: Material) -> JSONObject | None:
        """Return the body of a request with this guess.

        None if the guess cannot be made, equals the right value, or is longer than a code may be.
        """
        value = self.make(material)
        body: JSONObject = {"authenticationId": material.authentication_id, "code": material.code}
        if value is None or value == body[self.member]:
            return None
        if self.member == "code" and isinstance(value, str) and len(value) > MAX_CODE:
            return None
        return {**body, self.member: value}


def wrong_codes(code: str, count: int) -> list[str]:
    """Return so many different wrong codes of the form of the right one; the first differs in the last character."""
    made: list[str] = []
    for place in range(len(code) - 1, -1, -1):
        size = 10 if code[place].isdigit() else 26
        made += [_changed(code, place, step) for step in range(1, size)]
    return list(dict.fromkeys(wrong for wrong in made if wrong != code))[:count]


def _changed(code: str, place: int, step: int = 1) -> str:
    """Return a code with another character of the same kind, so many steps away, at a place."""
    place %= len(code)
    letter, other = code[place], "1" if code[place] != "1" else "2"
    for alphabet in (digits, ascii_uppercase, ascii_lowercase):
        if letter in alphabet:
            other = alphabet[(alphabet.index(letter) + step) % len(alphabet)]
    return code[:place] + other + code[place + 1 :]


def _zero(code: str) -> str:
    return code.lstrip("0") if code.startswith("0") and code.strip("0") else f"0{code}"


def _number(code: str) -> int | None:
    # As a number, a code with a zero in front is another one.
    return int(code) if code.isascii() and code.isdigit() and not code.startswith("0") else None


def _wide(code: str) -> str | None:
    if not (code.isascii() and code.isdigit()):
        return None
    return "".join(chr(ord(digit) - ord("0") + 0xFF10) for digit in code)


def _common(code: str, pattern: str) -> str | None:
    return (pattern * MAX_CODE)[: len(code)] if code.isdigit() else None


_LENIENT: Final = "code-format-not-strict"
_ID: Final = "id-not-exact"

# In the order in which they are tried.
GUESSES: Final[tuple[Guess, ...]] = (
    Guess("the last character changed", lambda m: _changed(m.code, -1), is_plain=True),
    Guess("the first character changed", lambda m: _changed(m.code, 0), is_plain=True),
    Guess("one character more at the end", lambda m: m.code + "0"),
    Guess("the last character missing", lambda m: m.code[:-1] or None),
    Guess("an empty string", lambda _: ""),
    Guess("the code of another id", lambda m: m.other, is_plain=True),
    Guess("a character in the middle changed", lambda m: _changed(m.code, len(m.code) // 2), is_plain=True),
    Guess("the first character missing", lambda m: None if m.code.startswith("0") else m.code[1:] or None),
    Guess("a list that holds the code", lambda m: [m.code], _LENIENT),
    Guess("the code as a JSON number", lambda m: _number(m.code), _LENIENT),
    Guess("a zero more or less at the front", lambda m: _zero(m.code), _LENIENT),
    Guess("the code with a space behind it", lambda m: m.code + " ", _LENIENT),
    Guess("spaces only", lambda m: " " * len(m.code)),
    Guess("a common code, digits in sequence", lambda m: _common(m.code, "1234567890"), is_plain=True),
    Guess("a common code, all zeros", lambda m: _common(m.code, "0"), is_plain=True),
    Guess("the id in another letter case", lambda m: m.authentication_id.swapcase(), _ID, "authenticationId"),
    Guess("a list that holds the id", lambda m: [m.authentication_id], _ID, "authenticationId"),
    Guess("the code reversed", lambda m: m.code[::-1], is_plain=True),
    Guess("the second character changed", lambda m: _changed(m.code, 1), is_plain=True),
    Guess("the last but one character changed", lambda m: _changed(m.code, -2), is_plain=True),
    Guess("the id with a space behind it", lambda m: f"{m.authentication_id} "[:36], _ID, "authenticationId"),
    Guess("an object", lambda _: {"$ne": ""}),
    Guess("true", lambda _: True),
    Guess("the code in wide digits", lambda m: _wide(m.code), _LENIENT),
    Guess("a quote and a condition", lambda _: "' OR 1=1--"),
)
