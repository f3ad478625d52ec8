"""The requests and responses of both operations, and the limits of the API.

Each limit is one pure function that returns the problem with a value. Texts never repeat the value.
"""

import re
from typing import Final, NamedTuple

import attrs

from camara_otp._checks import holds_surrogate
from camara_otp.errors import RequestValidationError, html_of

CODE_LABEL: Final = "{{code}}"
"""The label in the message template that the operator replaces with the code."""

MAX_MESSAGE_LENGTH: Final = 160
"""Characters of the message template, label included, before the code is put in."""

MAX_AUTHENTICATION_ID_LENGTH: Final = 36
"""Characters of an authentication_id."""

MAX_CODE_LENGTH: Final = 10
"""Characters of a code."""

_E164: Final = re.compile(r"\+[1-9][0-9]{4,14}")  # 1.1.1, schema PhoneNumber
_CORRELATOR: Final = re.compile(r"[a-zA-Z0-9\-_:;./<>{}]{1,256}")  # 1.1.1, schema XCorrelator, but never empty


class Problem(NamedTuple):
    """A broken limit: the field by its Python name, and the rule with the remedy."""

    field: str
    reason: str


def phone_number_problem(value: object) -> Problem | None:  # noqa: PLR0911 - a list of rules, one a line
    """Return why a value is no phone number of the API (1.1.1, schema PhoneNumber), or None."""
    if isinstance(value, str) and _E164.fullmatch(value):
        return None
    field = "phone_number"
    if not isinstance(value, str):
        return _not_text(field, value)
    if value != value.strip():
        return Problem(field, "has a blank or a line end around it; strip it")
    if not value.startswith("+"):
        return Problem(field, "must be in E.164 form: + and the country code first, then the number")
    if value.startswith("+0"):
        return Problem(field, "must be in E.164 form: a country code never starts with 0")
    if not re.fullmatch(r"[0-9]*", value[1:]):
        return Problem(field, "must be + and the digits 0 to 9 alone; take out blanks, hyphens and brackets")
    return Problem(field, "must have 5 to 15 digits after the +; check that the number is whole")


def message_problem(value: object) -> Problem | None:
    """Return why a value is no message template (1.1.1, schema Message), or None."""
    field = "message"
    if not isinstance(value, str):
        return _not_text(field, value)
    if CODE_LABEL not in value:
        if "{code}" in value:
            return Problem(
                field,
                "must contain {{code}}, but contains {code}: write {{code}}, and in an f-string or str.format, which "
                "halve the braces, {{{{code}}}}",
            )
        return Problem(
            field, "must contain {{code}} exactly, with no spaces inside the braces; the operator puts the code there"
        )
    if len(value) > MAX_MESSAGE_LENGTH:
        return Problem(
            field, f"must have at most {MAX_MESSAGE_LENGTH} characters with its label, has {len(value)}; shorten it"
        )
    return _not_unicode(field, value)


def authentication_id_problem(value: object) -> Problem | None:
    """Return why a value is no authentication id (1.1.1, schema AuthenticationId), or None."""
    field = "authentication_id"
    if not isinstance(value, str):
        return _not_text(field, value)
    if not 1 <= len(value) <= MAX_AUTHENTICATION_ID_LENGTH:
        return Problem(
            field,
            f"must have 1 to {MAX_AUTHENTICATION_ID_LENGTH} characters, has {len(value)}; "
            "pass the authentication_id that send_code returned, unchanged",
        )
    return _not_unicode(field, value)


def code_problem(value: object) -> Problem | None:
    """Return why a value is no code (1.1.1, schema Code), or None."""
    field = "code"
    if not isinstance(value, str):
        return _not_text(field, value, hint="; keep codes as text, since a number loses its leading zeros")
    if not 1 <= len(value) <= MAX_CODE_LENGTH:
        return Problem(
            field, f"must have 1 to {MAX_CODE_LENGTH} characters, has {len(value)}; ask the user to type it again"
        )
    return _not_unicode(field, value)


def x_correlator_problem(value: object) -> Problem | None:
    """Return why a value is no x-correlator (1.1.1, schema XCorrelator, 1 to 256), or None."""
    if isinstance(value, str) and _CORRELATOR.fullmatch(value):
        return None
    field = "x_correlator"
    if not isinstance(value, str):
        return _not_text(field, value)
    return Problem(
        field,
        "must have 1 to 256 characters out of a-z, A-Z, 0-9 and -_:;./<>{} (no blank, no line end); a UUID fits",
    )


def _not_text(field: str, value: object, hint: str = "") -> Problem:
    return Problem(field, f"must be a string (str), not {type(value).__name__}{hint}")


def _not_unicode(field: str, value: str) -> Problem | None:
    if holds_surrogate(value):
        return Problem(field, "holds half of a surrogate pair, which no text message can carry; decode it properly")
    return None


def masked(value: str) -> str:
    """Return a phone number with all but its last two digits hidden, for a log line."""
    return f"***{value[-2:]}"


def _hidden(_: str) -> str:
    return "***"


# The two requests write their own __init__: an error raised out of a generated one would carry that frame, and a
# traceback with locals would show the number or the code. These delete every value before they raise.


@attrs.frozen(init=False)
class SendCodeRequest:
    """A request to text a code to a phone.

    Args:
        phone_number: E.164 with its +, 5 to 15 digits, as in `+346661113334`.
        message: the text to send, at most 160 characters, with the label `{{code}}` where the code goes.

    Raises:
        RequestValidationError: a value breaks a limit; `.field` and `.reason` name it and the remedy.

    Source: CAMARA One Time Password SMS 1.1.1, sendCode, schema SendCodeBody.
    """

    phone_number: str = attrs.field(repr=masked)
    message: str = attrs.field(repr=_hidden)

    def __init__(self, phone_number: str, message: str) -> None:
        problem = phone_number_problem(phone_number) or message_problem(message)
        if problem is not None:
            del self, phone_number, message
            raise RequestValidationError(*problem)
        object.__setattr__(self, "phone_number", phone_number)
        object.__setattr__(self, "message", message)


@attrs.frozen(init=False)
class ValidateCodeRequest:
    """A request to compare the code that the user typed with the one that was sent.

    Args:
        authentication_id: the authentication_id that send_code returned, unchanged; 1 to 36 characters.
        code: the code that the user typed, as text, 1 to 10 characters; case and leading zeros count.

    Raises:
        RequestValidationError: a value breaks a limit; `.field` and `.reason` name it and the remedy.

    Source: CAMARA One Time Password SMS 1.1.1, validateCode, schema ValidateCodeBody.
    """

    authentication_id: str = attrs.field(repr=_hidden)
    code: str = attrs.field(repr=_hidden)

    def __init__(self, authentication_id: str, code: str) -> None:
        problem = authentication_id_problem(authentication_id) or code_problem(code)
        if problem is not None:
            del self, authentication_id, code
            raise RequestValidationError(*problem)
        object.__setattr__(self, "authentication_id", authentication_id)
        object.__setattr__(self, "code", code)


@attrs.frozen
class SendCodeResponse:
    """The operator accepted the message for sending. Whether the text arrived is not known.

    Attributes:
        authentication_id: pass it to validate_code, unchanged; opaque, 1 to 36 characters.
        x_correlator: the operator's echo, else the value sent, else None.

    Source: CAMARA One Time Password SMS 1.1.1, sendCode, schema SendCodeResponse.
    """

    authentication_id: str = attrs.field(repr=_hidden)
    x_correlator: str | None = None

    def _repr_html_(self) -> str:
        return html_of(self, [("authentication_id", _hidden("")), ("x_correlator", self.x_correlator)])


@attrs.frozen
class ValidateCodeResponse:
    """The number is verified: the operator responded with HTTP 204, the only response that means so.

    Attributes:
        x_correlator: the operator's echo, else the value sent, else None.

    Source: CAMARA One Time Password SMS 1.1.1, validateCode, HTTP 204.
    """

    x_correlator: str | None = None

    def _repr_html_(self) -> str:
        return html_of(self, [("verified", "yes"), ("x_correlator", self.x_correlator)])


@attrs.frozen
class ErrorInfo:
    """The body of an error response.

    Attributes:
        status: the HTTP status as repeated in the body, or None if it is no whole number. It is never used.
        code: the error code.
        message: text for people, or None.

    Source: CAMARA One Time Password SMS 1.1.1, schema ErrorInfo.
    """

    status: int | None
    code: str
    message: str | None
