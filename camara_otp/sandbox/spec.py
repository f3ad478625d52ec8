"""The releases of the API as data: their limits, and the errors that an operator may respond with.

Source: CAMARA one-time-password-sms 0.5.0 to 1.1.1, the strict reading of the coming 2.0.0, and the error codes of the
CAMARA API design guide.
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


_PREFIX: Final = "ONE_TIME_PASSWORD_SMS."

# Status and sentence by code. The codes that this API documents come first, then the rest of the guide's, which a
# gateway in front of an operator may use. Of several codes for a status, the first one stands for it.
ERRORS: Final[Mapping[str, tuple[int, str]]] = {
    "INVALID_ARGUMENT": (400, "The request breaks a rule of this API."),
    "OUT_OF_RANGE": (400, "A value is out of its range."),
    _PREFIX + "INVALID_OTP": (400, "This is not the code that was sent."),
    _PREFIX + "VERIFICATION_EXPIRED": (400, "This verification is expired, already used, or replaced by a newer one."),
    _PREFIX + "VERIFICATION_FAILED": (400, "Too many wrong codes: this verification is closed."),
    "UNAUTHENTICATED": (401, "The access token is missing, malformed, unknown or expired."),
    "PERMISSION_DENIED": (403, "The access token does not allow this operation."),
    _PREFIX + "MAX_OTP_CODES_EXCEEDED": (403, "Too many codes were requested for this number. Try again later."),
    _PREFIX + "PHONE_NUMBER_NOT_ALLOWED": (403, "This number cannot receive SMS."),
    _PREFIX + "PHONE_NUMBER_BLOCKED": (403, "SMS to this number are blocked."),
    "NOT_FOUND": (404, "There is no such resource."),
    "IDENTIFIER_NOT_FOUND": (404, "No subscription of this operator has this number."),
    "METHOD_NOT_ALLOWED": (405, "This resource does not allow this method."),
    "NOT_ACCEPTABLE": (406, "Responses are available as application/json only."),
    "UNSUPPORTED_MEDIA_TYPE": (415, "Request bodies must be application/json."),
    "QUOTA_EXCEEDED": (429, "The agreed quota is used up."),
    "TOO_MANY_REQUESTS": (429, "Too many requests in a short time."),
    "INTERNAL": (500, "The operator's system failed."),
    "UNAVAILABLE": (503, "The service is not available at the moment."),
    "TIMEOUT": (504, "A system behind the gateway did not respond in time."),
    "AUTHENTICATION_REQUIRED": (401, "A new authentication is needed."),
    "INVALID_TOKEN_CONTEXT": (403, "The request does not fit the user of the access token."),
    "DEVICE_NOT_FOUND": (404, "No device matches the identifier."),
    "ABORTED": (409, "Another operation on the same resource interfered."),
    "ALREADY_EXISTS": (409, "The resource exists already."),
    "CONFLICT": (409, "The request conflicts with an existing resource."),
    "INCOMPATIBLE_STATE": (409, "The resource is in a state that does not allow this."),
    "GONE": (410, "The resource no longer exists."),
    "FAILED_PRECONDITION": (412, "The system is not in a state to do this."),
    "SERVICE_NOT_APPLICABLE": (422, "The service is not offered for this identifier."),
    "MISSING_IDENTIFIER": (422, "The request does not identify the device."),
    "UNSUPPORTED_IDENTIFIER": (422, "This kind of identifier is not supported."),
    "UNNECESSARY_IDENTIFIER": (422, "The access token identifies the device already."),
    "IDENTIFIER_MISMATCH": (422, "The identifiers belong to different devices."),
    "DATA_LOSS": (500, "Data was lost permanently."),
    "NOT_IMPLEMENTED": (501, "This is not implemented."),
    "BAD_GATEWAY": (502, "A system behind the gateway could not be reached."),
}


def full_code(code: str) -> str:
    """Return a code with the prefix of this API, if it is one of this API's own codes."""
    return _PREFIX + code if _PREFIX + code in ERRORS else code
