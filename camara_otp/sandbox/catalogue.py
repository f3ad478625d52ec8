"""The errors an operator may answer with: CAMARA code, HTTP status and a readable sentence, as one table."""

from typing import Final

SPECIFIC: Final = "ONE_TIME_PASSWORD_SMS."

INVALID_ARGUMENT: Final = "INVALID_ARGUMENT"
UNAUTHENTICATED: Final = "UNAUTHENTICATED"
PERMISSION_DENIED: Final = "PERMISSION_DENIED"
NOT_FOUND: Final = "NOT_FOUND"
IDENTIFIER_NOT_FOUND: Final = "IDENTIFIER_NOT_FOUND"
METHOD_NOT_ALLOWED: Final = "METHOD_NOT_ALLOWED"
NOT_ACCEPTABLE: Final = "NOT_ACCEPTABLE"
UNSUPPORTED_MEDIA_TYPE: Final = "UNSUPPORTED_MEDIA_TYPE"
INVALID_OTP: Final = SPECIFIC + "INVALID_OTP"
VERIFICATION_EXPIRED: Final = SPECIFIC + "VERIFICATION_EXPIRED"
VERIFICATION_FAILED: Final = SPECIFIC + "VERIFICATION_FAILED"
MAX_OTP_CODES_EXCEEDED: Final = SPECIFIC + "MAX_OTP_CODES_EXCEEDED"
PHONE_NUMBER_NOT_ALLOWED: Final = SPECIFIC + "PHONE_NUMBER_NOT_ALLOWED"
PHONE_NUMBER_BLOCKED: Final = SPECIFIC + "PHONE_NUMBER_BLOCKED"

# Statuses and codes are CAMARA's; the sentences are ours. What this API documents comes first, then the rest of the
# guide's catalogue, which any gateway in front of an operator may use.
ERRORS: Final[dict[str, tuple[int, str]]] = {
    INVALID_ARGUMENT: (400, "The request breaks a rule of this API."),
    "OUT_OF_RANGE": (400, "A value lies outside its range."),
    INVALID_OTP: (400, "This is not the code that was sent."),
    VERIFICATION_EXPIRED: (400, "This verification is over: too old, already used, or replaced by a newer one."),
    VERIFICATION_FAILED: (400, "Too many wrong codes: this verification is closed."),
    UNAUTHENTICATED: (401, "The access token is missing, malformed, unknown or expired."),
    PERMISSION_DENIED: (403, "The access token does not allow this operation."),
    MAX_OTP_CODES_EXCEEDED: (403, "Too many codes were requested for this number. Try again later."),
    PHONE_NUMBER_NOT_ALLOWED: (403, "This number cannot receive text messages."),
    PHONE_NUMBER_BLOCKED: (403, "Text messages to this number are barred."),
    NOT_FOUND: (404, "There is no such resource here."),
    IDENTIFIER_NOT_FOUND: (404, "No subscription of this operator has this number."),
    METHOD_NOT_ALLOWED: (405, "This resource does not know this method."),
    NOT_ACCEPTABLE: (406, "The only representation on offer is application/json."),
    UNSUPPORTED_MEDIA_TYPE: (415, "The only media type understood is application/json."),
    "QUOTA_EXCEEDED": (429, "The agreed quota is used up."),
    "TOO_MANY_REQUESTS": (429, "Too many requests in a short time."),
    "INTERNAL": (500, "The operator's system failed."),
    "UNAVAILABLE": (503, "The service is not available at the moment."),
    "TIMEOUT": (504, "A system behind the gateway did not answer in time."),
    "AUTHENTICATION_REQUIRED": (401, "A new authentication is needed."),
    "INVALID_TOKEN_CONTEXT": (403, "The request does not fit the user of the access token."),
    "DEVICE_NOT_FOUND": (404, "No device matches the identifier."),
    "ABORTED": (409, "Another operation on the same resource got in the way."),
    "ALREADY_EXISTS": (409, "The resource exists already."),
    "CONFLICT": (409, "The request conflicts with an existing resource."),
    "INCOMPATIBLE_STATE": (409, "The resource is in a state that does not allow this."),
    "GONE": (410, "The resource is gone for good."),
    "FAILED_PRECONDITION": (412, "The system is not in a state to do this."),
    "SERVICE_NOT_APPLICABLE": (422, "The service is not offered for this identifier."),
    "MISSING_IDENTIFIER": (422, "Nothing says which device is meant."),
    "UNSUPPORTED_IDENTIFIER": (422, "This kind of identifier is not supported."),
    "UNNECESSARY_IDENTIFIER": (422, "The access token names the device already."),
    "IDENTIFIER_MISMATCH": (422, "The identifiers name different devices."),
    "DATA_LOSS": (500, "Data was lost for good."),
    "NOT_IMPLEMENTED": (501, "This is not implemented."),
    "BAD_GATEWAY": (502, "A system behind the gateway could not be reached."),
}
