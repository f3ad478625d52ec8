"""The facts of the API that a check needs: codes with their statuses, limits, correlator rules per release.

Source: CAMARA one-time-password-sms 1.0.0, 1.1.0 and 1.1.1, and the error catalogue of CAMARA Commonalities 0.1 to 0.9.
Independent of the client and of the sandbox.
"""

import re
from collections.abc import Mapping
from typing import Final

from camara_otp.conformance.model import Operation, Release

SPECIFIC: Final = "ONE_TIME_PASSWORD_SMS."
INVALID_OTP: Final = SPECIFIC + "INVALID_OTP"
EXPIRED: Final = SPECIFIC + "VERIFICATION_EXPIRED"
FAILED: Final = SPECIFIC + "VERIFICATION_FAILED"
MAX_CODES: Final = SPECIFIC + "MAX_OTP_CODES_EXCEEDED"
NOT_ALLOWED: Final = SPECIFIC + "PHONE_NUMBER_NOT_ALLOWED"
BLOCKED: Final = SPECIFIC + "PHONE_NUMBER_BLOCKED"

LABEL: Final = "{{code}}"
MAX_MESSAGE: Final = 160
MAX_ID: Final = 36
MAX_CODE: Final = 10

SUCCESS: Final[Mapping[Operation, int]] = {"send-code": 200, "validate-code": 204}

# The HTTP statuses of each code.
PAIRS: Final[Mapping[str, tuple[int, ...]]] = {
    "INVALID_ARGUMENT": (400,),
    "INVALID_INPUT": (400,),
    "OUT_OF_RANGE": (400, 404),
    INVALID_OTP: (400,),
    EXPIRED: (400,),
    FAILED: (400,),
    "UNAUTHENTICATED": (401,),
    "AUTHENTICATION_REQUIRED": (401,),
    "PERMISSION_DENIED": (403,),
    "INVALID_TOKEN_CONTEXT": (403,),
    MAX_CODES: (403,),
    NOT_ALLOWED: (403,),
    BLOCKED: (403,),
    "NOT_FOUND": (404,),
    "IDENTIFIER_NOT_FOUND": (404,),
    "DEVICE_NOT_FOUND": (404,),
    "METHOD_NOT_ALLOWED": (405,),
    "NOT_ACCEPTABLE": (406,),
    "ABORTED": (409,),
    "ALREADY_EXISTS": (409,),
    "CONFLICT": (409,),
    "INCOMPATIBLE_STATE": (409,),
    "GONE": (410,),
    "FAILED_PRECONDITION": (400, 412),
    "UNSUPPORTED_MEDIA_TYPE": (415,),
    "SERVICE_NOT_APPLICABLE": (422,),
    "MISSING_IDENTIFIER": (422,),
    "UNSUPPORTED_IDENTIFIER": (422,),
    "UNNECESSARY_IDENTIFIER": (422,),
    "IDENTIFIER_MISMATCH": (422,),
    "TOO_MANY_REQUESTS": (429,),
    "QUOTA_EXCEEDED": (429,),
    "INTERNAL": (500,),
    "DATA_LOSS": (500,),
    "NOT_IMPLEMENTED": (501,),
    "BAD_GATEWAY": (502,),
    "UNAVAILABLE": (503,),
    "TIMEOUT": (504,),
}

CORRELATOR: Final[Mapping[Release, re.Pattern[str]]] = {
    "1.0.0": re.compile(r"[\x21-\x7e]+"),
    "1.1.0": re.compile(r"[a-zA-Z0-9-]{1,55}"),
    "1.1.1": re.compile(r"[a-zA-Z0-9\-_:;./<>{}]{1,256}"),
}

# Response headers whose values say nothing about a code or a user: times, lengths, and values that the request sent.
STANDARD_HEADERS: Final = frozenset(
    {"age", "cache-control", "connection", "content-encoding", "content-length", "content-type", "date", "expires"}
    | {"keep-alive", "last-modified", "retry-after", "server", "strict-transport-security", "transfer-encoding"}
    | {"vary", "via", "x-correlator"}
)

# The paths under which operators serve the two operations, CAMARA's own first.
CAMARA_PATH: Final = "/one-time-password-sms/v1"
DOCUMENTED_PATH: Final = "/otpvalidation"
API_PATHS: Final = (
    CAMARA_PATH,
    DOCUMENTED_PATH,
    "/one-time-password-sms/v0",
    "/one-time-password-sms/v2",
    "/v1/otp",
    "",
)

# Ofcom reserves this number for films, so a request that is accepted by mistake reaches no phone.
FICTIONAL_NUMBER: Final = "+447700900123"
