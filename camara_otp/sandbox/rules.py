"""Limits of the API on which its releases differ.

Source: CAMARA one-time-password-sms 0.5.0 to 1.1.1, and the strict reading of the coming 2.0.0.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

import attrs

LABEL: Final = "{{code}}"
MAX_ID: Final = 36
MAX_CODE: Final = 10

Release = Literal["0.5.0", "1.0.0", "1.1.0", "1.1.1", "2.0.0"]
OperationName = Literal["send-code", "validate-code"]


@attrs.frozen
class ReleaseRules:
    """The limits of one release."""

    x_correlator: re.Pattern[str]
    phone_number: re.Pattern[str]
    strict: bool = False
    foreign_number: str = "NOT_FOUND"


NUMBER: Final = re.compile(r"\+[1-9][0-9]{4,14}")
_PLUS_OPTIONAL: Final = re.compile(r"\+?[0-9]{5,15}")
_ANY_HEADER: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_WIDE: Final = re.compile(r"[a-zA-Z0-9\-_:;./<>{}]{0,256}")

RULES: Final[Mapping[Release, ReleaseRules]] = {
    "0.5.0": ReleaseRules(_ANY_HEADER, _PLUS_OPTIONAL),
    "1.0.0": ReleaseRules(_ANY_HEADER, NUMBER),
    "1.1.0": ReleaseRules(re.compile(r"[a-zA-Z0-9-]{0,55}"), NUMBER),
    "1.1.1": ReleaseRules(_WIDE, NUMBER),
    "2.0.0": ReleaseRules(_WIDE, NUMBER, strict=True, foreign_number="IDENTIFIER_NOT_FOUND"),
}


def with_plus(number: str) -> str:
    """Return a number with its plus sign, which people omit and release 0.5.0 makes optional."""
    return number if number.startswith("+") else "+" + number
