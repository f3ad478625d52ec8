"""The requests and responses of both operations, and the limits of the API.

Each limit is one pure function that returns the rule that a value breaks, with the remedy, and never the value.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

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

_E164: Final = re.compile(r"\+[1-9][0-9]{4,14}")
_CORRELATOR: Final = re.compile(r"[a-zA-Z0-9\-_:;./<>{}]{1,256}")


def broken_limit(**values: object) -> RequestValidationError | None:
    """Return the error of the first value that breaks its limit of the API, or None.

    Args:
        **values: each under the name of its field: `phone_number`, `message`, `authentication_id`, `code`,
            `x_correlator`
    """
    for field, value in values.items():
        if not isinstance(value, str):
            hint = "; keep codes as strings, since a number loses its leading zeros" if field == "code" else ""
            reason: str | None = f"must be a string (str), not {type(value).__name__}{hint}"
        else:
            reason = _LIMITS[field](value)
            if reason is None and holds_surrogate(value):
                reason = "holds half of a surrogate pair, which an SMS cannot contain; decode the string properly"
        if reason is not None:
            return RequestValidationError(field, reason)
    return None


def _phone_number_limit(value: str) -> str | None:  # 1.1.1, schema PhoneNumber
    if _E164.fullmatch(value):
        return None
    if value != value.strip():
        return "has a space or a line end around it; strip it"
    if not value.startswith("+"):
        return "must be in E.164 form: + and the country code first, then the number"
    if value.startswith("+0"):
        return "must be in E.164 form: a country code never starts with 0"
    if not re.fullmatch(r"[0-9]*", value[1:]):
        return "must be + and then only the digits 0 to 9; remove spaces, hyphens and brackets"
    return "must have 5 to 15 digits after the +; check that the number is whole"


def _message_limit(value: str) -> str | None:  # 1.1.1, schema Message
    if CODE_LABEL not in value:
        if "{code}" in value:
            return (
                "must contain {{code}}, but contains {code}: write {{code}}, and in an f-string or str.format, which "
                "halve the braces, {{{{code}}}}"
            )
        return "must contain {{code}} exactly, with no spaces inside the braces; the operator puts the code there"
    if len(value) > MAX_MESSAGE_LENGTH:
        return f"must have at most {MAX_MESSAGE_LENGTH} characters with its label, has {len(value)}; shorten it"
    return None


def _authentication_id_limit(value: str) -> str | None:  # 1.1.1, schema AuthenticationId
    if 1 <= len(value) <= MAX_AUTHENTICATION_ID_LENGTH:
        return None
    return (
        f"must have 1 to {MAX_AUTHENTICATION_ID_LENGTH} characters, has {len(value)}; "
        "pass the authentication_id that send_code returned, unchanged"
    )


def _code_limit(value: str) -> str | None:  # 1.1.1, schema Code
    if 1 <= len(value) <= MAX_CODE_LENGTH:
        return None
    return f"must have 1 to {MAX_CODE_LENGTH} characters, has {len(value)}; ask the user to type it again"


def _x_correlator_limit(value: str) -> str | None:  # 1.1.1, schema XCorrelator, but never empty
    if _CORRELATOR.fullmatch(value):
        return None
    return "must have 1 to 256 characters out of a-z, A-Z, 0-9 and -_:;./<>{} (no space, no line end); a UUID fits"


_LIMITS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "phone_number": _phone_number_limit,
    "message": _message_limit,
    "authentication_id": _authentication_id_limit,
    "code": _code_limit,
    "x_correlator": _x_correlator_limit,
}


def masked(value: str) -> str:
    """Return a phone number with all but its last two digits hidden, for a log line."""
    return f"***{value[-2:]}"


def _hidden(_: str) -> str:
    return "***"


# The two requests write their own __init__: an error raised out of a generated one would carry that frame, and a
# traceback with locals would show the number or the code. These delete every value before they raise.


@attrs.frozen(init=False)
class SendCodeRequest:
    """A request to send a code to a phone by SMS.

    Args:
        phone_number: E.164 with its +, 5 to 15 digits, as in `+346661113334`
        message: the SMS to send, at most 160 characters, with the label `{{code}}` where the code goes

    Raises:
        RequestValidationError: a value breaks a limit; `.field` and `.reason` name it and the remedy

    Source: CAMARA One Time Password SMS 1.1.1, sendCode, schema SendCodeBody.
    """

    phone_number: str = attrs.field(repr=masked)
    message: str = attrs.field(repr=_hidden)

    def __init__(self, phone_number: str, message: str) -> None:
        error = broken_limit(phone_number=phone_number, message=message)
        if error is not None:
            del self, phone_number, message
            raise error
        object.__setattr__(self, "phone_number", phone_number)
        object.__setattr__(self, "message", message)


@attrs.frozen(init=False)
class ValidateCodeRequest:
    """A request to compare the code that the user typed with the one that was sent.

    Args:
        authentication_id: the authentication_id that send_code returned, unchanged; 1 to 36 characters
        code: the code that the user typed, as a string of 1 to 10 characters; case and leading zeros count

    Raises:
        RequestValidationError: a value breaks a limit; `.field` and `.reason` name it and the remedy

    Source: CAMARA One Time Password SMS 1.1.1, validateCode, schema ValidateCodeBody.
    """

    authentication_id: str = attrs.field(repr=_hidden)
    code: str = attrs.field(repr=_hidden)

    def __init__(self, authentication_id: str, code: str) -> None:
        error = broken_limit(authentication_id=authentication_id, code=code)
        if error is not None:
            del self, authentication_id, code
            raise error
        object.__setattr__(self, "authentication_id", authentication_id)
        object.__setattr__(self, "code", code)


@attrs.frozen
class SendCodeResponse:
    """The operator accepted the message for sending. Whether the SMS arrived is not known.

    Attributes:
        authentication_id: pass it to validate_code, unchanged; opaque, 1 to 36 characters
        x_correlator: the operator's echo, else the value sent, else None

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
        x_correlator: the operator's echo, else the value sent, else None

    Source: CAMARA One Time Password SMS 1.1.1, validateCode, HTTP 204.
    """

    x_correlator: str | None = None

    def _repr_html_(self) -> str:
        return html_of(self, [("verified", "yes"), ("x_correlator", self.x_correlator)])


@attrs.frozen
class ErrorInfo:
    """The body of an error response.

    Attributes:
        status: the HTTP status as repeated in the body, or None if it is not a whole number. It is never used.
        code: the error code
        message: a description for people, or None

    Source: CAMARA One Time Password SMS 1.1.1, schema ErrorInfo.
    """

    status: int | None
    code: str
    message: str | None
