"""What can go wrong, as classes: one tree, and one table from the operator's code to the class.

    OTPError
    ├── ConfigurationError        the client cannot work as it was set up
    ├── RequestValidationError    an argument breaks a limit of the API; nothing was sent
    ├── TokenError                no token could be had; nothing was sent
    ├── TransportError            no usable answer
    │   ├── RequestNotSentError   the operator cannot have seen the request
    │   └── OutcomeUnknownError   the operator may have acted
    ├── UnexpectedResponseError   an answer outside the contract
    └── APIError                  the operator refused: HTTP status 400 and up
        └── HTTP400Error ...      one class per HTTP status
            └── InvalidOTPError ...  one class per error code

Texts hold no token, code, message or number, and instances hold plain values only: they pickle, copy and travel
between processes.
"""

from collections.abc import Iterable, Mapping
from html import escape
from types import MappingProxyType
from typing import Any, Final


class OTPError(Exception):
    """Say that a call did not do what it was asked to; every exception of this package is one.

    Attributes:
        operation: `"send_code"` or `"validate_code"`; None outside a call.
        x_correlator: the correlator of the call: the operator's echo, else the value sent, else None.
        attempts: API requests begun in this call, token requests not counted.
        outcome_unknown: True when the operator may have acted (texted the person, or spent an attempt) although
            the call failed. Ask the person before sending again.
    """

    operation: str | None = None
    x_correlator: str | None = None
    attempts: int = 0
    outcome_unknown: bool = False

    def __init__(self, reason: str = "") -> None:
        """Keep the reason, a sentence for people."""
        super().__init__(reason)
        self._reason = reason

    def __str__(self) -> str:
        """Return the reason, followed by what is known about the call."""
        facts = [
            self.operation,
            f"x-correlator {self.x_correlator}" if self.x_correlator else None,
            f"attempt {self.attempts}" if self.attempts > 1 else None,
            "the operator may have acted" if self.outcome_unknown else None,
        ]
        known = ", ".join(fact for fact in facts if fact)
        return f"{self._reason} [{known}]" if known else self._reason

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        facts = ("operation", "status", "code", "message", "retry_after", "field", "outcome_unknown", "attempts")
        return html_of(self, [(name, getattr(self, name, None)) for name in (*facts, "x_correlator")])

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from plain values, so that keyword-only constructors do not stop pickle and copy."""
        return _restore, (type(self), self.args, self.__dict__)


def html_of(value: object, facts: Iterable[tuple[str, object]]) -> str:
    """Return a value as a small HTML table for a notebook: its class, and the facts that are known, escaped."""
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(str(fact))}</td></tr>" for name, fact in facts if fact is not None)
    return f"<table><caption>{escape(type(value).__name__)}</caption>{''.join(rows)}</table>"


def _restore(kind: type[OTPError], args: tuple[object, ...], state: dict[str, object]) -> OTPError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(OTPError, ValueError):
    """The client, a provider or a policy cannot work as it was set up.

    Mend what the message names: `base_url`, a missing token, plain http, a header, a closed client.
    """


class RequestValidationError(OTPError, ValueError):
    """An argument breaks a limit of the API. Nothing was sent.

    Attributes:
        field: the argument, by its Python name.
        reason: the rule and the remedy. The value itself is never repeated.
    """

    field: str
    reason: str

    def __init__(self, field: str, reason: str) -> None:
        """Name the field and the rule that it breaks."""
        super().__init__(f"{field}: {reason}")
        self.args: tuple[Any, ...] = (field, reason)  # task queues that speak JSON rebuild an error from these
        self.field = field
        self.reason = reason


class TokenError(OTPError):
    """No token could be had, so the API was not called with one.

    Attributes:
        error: the token endpoint's error code, RFC 6749 section 5.2 (`"invalid_client"`, ...); None without one.
        error_description: the token endpoint's own words, cleaned; None without them.
    """

    error: str | None
    error_description: str | None

    def __init__(self, reason: str = "", *, error: str | None = None, error_description: str | None = None) -> None:
        """Keep the reason and, where the token endpoint gave them, its error code and words."""
        super().__init__(reason)
        self.error = error
        self.error_description = error_description


class TransportError(OTPError):
    """No usable answer came back: the network, TLS or time failed."""


class RequestNotSentError(TransportError):
    """The operator cannot have seen the request: no text was sent, no attempt was spent.

    Calling again is safe, at once or later.

    Attributes:
        permanent: True when calling again cannot help, as with a certificate that does not verify.
    """

    permanent: bool

    def __init__(self, reason: str = "", *, permanent: bool = False) -> None:
        """Keep the reason, and whether calling again is pointless."""
        super().__init__(reason)
        self.permanent = permanent


class OutcomeUnknownError(TransportError):
    """The request left and no whole answer came: a timeout, a reset, a lost connection.

    The operator may have texted the person or spent an attempt. Ask the person whether a text arrived before
    sending again; after validate_code, start again with send_code.
    """

    outcome_unknown = True


class UnexpectedResponseError(OTPError):
    """An answer outside the contract: a 2xx that is not the documented success, a redirect, an unreadable body.

    It is never a success, and the operator may have acted. Check `base_url` and `api_path` first.

    Attributes:
        status: the HTTP status.
    """

    outcome_unknown = True
    status: int

    def __init__(self, reason: str = "", status: int = 0) -> None:
        """Keep the reason and the HTTP status."""
        super().__init__(reason)
        # All that the constructor takes, so that what rebuilds an exception from its arguments, as Celery does, can.
        self.args: tuple[Any, ...] = (reason, status)
        self.status = status


class APIError(OTPError):
    """The operator refused: HTTP status 400 and up.

    Statuses and codes that the contract does not know arrive as this class or as the class of their status, with
    the raw code kept.

    Attributes:
        status: the HTTP status; a status in the body is not believed.
        code: the operator's code as it came, or None when the body holds none.
        message: the operator's words, cleaned and short; for people and logs, never to be branched on.
        retry_after: seconds to wait, from the Retry-After header, at most one day; None without one.
    """

    status: int
    code: str | None
    message: str | None
    retry_after: float | None

    def __init__(
        self, status: int, code: str | None = None, message: str | None = None, *, retry_after: float | None = None
    ) -> None:
        """Keep what the operator said."""
        super().__init__(f"{status} {code or 'without an error code'}" + (f": {message}" if message else ""))
        self.args: tuple[Any, ...] = (status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        # A refusal is final below 500, but for ABORTED: a concurrent operation may have been this very one.
        self.outcome_unknown: bool = status >= 500 or (status == 409 and code == "ABORTED")


class HTTP400Error(APIError):
    """The operator refuses the request or the verification (HTTP 400)."""


class HTTP401Error(APIError):
    """The operator does not accept the token (HTTP 401)."""


class HTTP403Error(APIError):
    """The operator will not do this (HTTP 403)."""


class HTTP404Error(APIError):
    """The number, the authentication_id or the path itself is not known to the operator (HTTP 404).

    Without a code it is most often the path: check `base_url` and `api_path`.
    """


class HTTP405Error(APIError):
    """The path takes no POST: most often `base_url` or `api_path` is wrong (HTTP 405)."""


class HTTP406Error(APIError):
    """The operator cannot answer in JSON (HTTP 406)."""


class HTTP408Error(APIError):
    """The operator gave up waiting for the whole request (HTTP 408)."""


class HTTP409Error(APIError):
    """The request collides with another one (HTTP 409)."""


class HTTP410Error(APIError):
    """The resource, or this version of the API, was switched off (HTTP 410)."""


class HTTP412Error(APIError):
    """The operator's system is not in a state to do this (HTTP 412)."""


class HTTP415Error(APIError):
    """The operator does not take JSON here (HTTP 415)."""


class HTTP422Error(APIError):
    """The request is well formed, yet the identifier in it cannot be served (HTTP 422)."""


class HTTP429Error(APIError):
    """A rate limit or a quota is used up (HTTP 429)."""


class HTTP500Error(APIError):
    """The operator failed while it handled the request (HTTP 500): it may have acted."""


class HTTP501Error(APIError):
    """The operator does not implement this (HTTP 501)."""


class HTTP502Error(APIError):
    """A gateway could not reach the operator's inner service (HTTP 502): it may have acted."""


class HTTP503Error(APIError):
    """The operator is overloaded or under maintenance (HTTP 503): it may have acted."""


class HTTP504Error(APIError):
    """A gateway gave up waiting for the operator (HTTP 504): it may have acted."""


class InvalidArgumentError(HTTP400Error):
    """The request breaks the operator's schema.

    Compare the number, the message and the x-correlator with its rules; it may allow fewer characters.
    """


class OutOfRangeError(HTTP400Error):
    """A value lies outside the operator's range.

    Change the value; nothing in this API has a documented range.
    """


class InvalidOTPError(HTTP400Error):
    """The code is wrong, and attempts are left.

    Ask the person to type it again; never repeat the same code by itself.
    """


class VerificationExpiredError(HTTP400Error):
    """The authentication_id is too old, was superseded by a newer code, or was already used.

    Start again with send_code.
    """


class VerificationFailedError(HTTP400Error):
    """The attempts for this authentication_id are used up.

    Start again with send_code.
    """


class UnauthenticatedError(HTTP401Error):
    """The token is missing, invalid or expired.

    Get a new token; a token provider that can renew does so by itself, once.
    """


class AuthenticationRequiredError(HTTP401Error):
    """The token is no longer good and a fresh login is needed.

    Get a new token, with the user's part in it if the token is three-legged.
    """


class PermissionDeniedError(HTTP403Error):
    """The token lacks the scope, or the application is not entitled to the API.

    Request the scope one-time-password-sms:send-validate and check the subscription with the operator.
    """


class MaxOTPCodesExceededError(HTTP403Error):
    """Too many codes were sent to this number.

    Wait long before the next one, and tell the person to use the last code received.
    """


class PhoneNumberNotAllowedError(HTTP403Error):
    """The number cannot receive the text: a landline, a fraud rule, a line without SMS.

    Offer another number or another way to verify.
    """


class PhoneNumberBlockedError(HTTP403Error):
    """Text messages to this number are barred.

    Offer another number or another way to verify.
    """


class InvalidTokenContextError(HTTP403Error):
    """The number is not the one that the three-legged token stands for.

    Use that user's number, or a two-legged token.
    """


class NotFoundError(HTTP404Error):
    """For send_code: the number is not this operator's. For validate_code: the authentication_id was never issued.

    Check the number and the operator, or start again with send_code. If no call succeeds, check `base_url` and
    `api_path`.
    """


class IdentifierNotFoundError(HTTP404Error):
    """The number matches no subscription of this operator.

    Check the number, or route it to the operator that serves it.
    """


class MethodNotAllowedError(HTTP405Error):
    """The route takes no POST.

    Check `base_url` and `api_path`.
    """


class NotAcceptableError(HTTP406Error):
    """The operator cannot answer in JSON.

    Report it to the operator: the request asks for application/json.
    """


class AbortedError(HTTP409Error):
    """Another operation on the number or authentication_id is under way; this one may have taken effect.

    Wait, then ask the person whether a text arrived before sending again.
    """


class AlreadyExistsError(HTTP409Error):
    """What was to be created exists already.

    Do not repeat; report it to the operator.
    """


class ConflictError(HTTP409Error):
    """The operator found a duplicate entry.

    Do not repeat; report it to the operator.
    """


class IncompatibleStateError(HTTP409Error):
    """The target is in a state that does not allow this.

    Start again with send_code.
    """


class GoneError(HTTP410Error):
    """The resource, or this version of the API, is switched off.

    Move to the operator's current `api_path`.
    """


class FailedPreconditionError(HTTP412Error):
    """The operator's system is in no state to do this.

    Report it to the operator.
    """


class UnsupportedMediaTypeError(HTTP415Error):
    """The operator does not take JSON on this route.

    Check `base_url` and `api_path`.
    """


class ServiceNotApplicableError(HTTP422Error):
    """The service is not available for this number.

    Offer another number or another way to verify.
    """


class MissingIdentifierError(HTTP422Error):
    """The operator could not tell which line is meant.

    Check the number and the kind of token agreed with the operator.
    """


class UnsupportedIdentifierError(HTTP422Error):
    """The operator does not take this kind of identifier.

    Check the number with the operator.
    """


class UnnecessaryIdentifierError(HTTP422Error):
    """The token already names the user, and the number is mandatory here.

    Use a two-legged token.
    """


class IdentifierMismatchError(HTTP422Error):
    """The number does not fit the user that the token names.

    Use that user's number, or a two-legged token.
    """


class TooManyRequestsError(HTTP429Error):
    """A rate or spike limit was reached; the request was refused unread.

    Wait `retry_after` seconds if it is given; `RetryPolicy(rate_limited=True)` does.
    """


class QuotaExceededError(HTTP429Error):
    """The business quota is used up.

    Do not repeat; raise the quota with the operator.
    """


class InternalError(HTTP500Error):
    """The operator failed; whether it acted is not known.

    Do not send again by yourself: ask the person whether a text arrived.
    """


class DataLossError(HTTP500Error):
    """The operator lost data; whether it acted is not known.

    Do not send again by yourself: ask the person whether a text arrived.
    """


class NotImplementedError(HTTP501Error):  # noqa: A001 - named after its code, like every leaf; import it by name
    """The operator does not implement this.

    Check `base_url` and `api_path` with the operator.
    """


class BadGatewayError(HTTP502Error):
    """An inner service of the operator could not be reached; whether it acted is not known.

    Do not send again by yourself: ask the person whether a text arrived.
    """


class UnavailableError(HTTP503Error):
    """The operator is overloaded or under maintenance; whether it acted is not known.

    Wait, and ask the person whether a text arrived before sending again.
    """


class GatewayTimeoutError(HTTP504Error):
    """The operator's inner service took too long; whether it acted is not known.

    Do not send again by yourself: ask the person whether a text arrived.
    """


# The class of each HTTP status; any other status from 400 up is APIError itself.
STATUSES: Final[Mapping[int, type[APIError]]] = MappingProxyType(
    {
        400: HTTP400Error,
        401: HTTP401Error,
        403: HTTP403Error,
        404: HTTP404Error,
        405: HTTP405Error,
        406: HTTP406Error,
        408: HTTP408Error,
        409: HTTP409Error,
        410: HTTP410Error,
        412: HTTP412Error,
        415: HTTP415Error,
        422: HTTP422Error,
        429: HTTP429Error,
        500: HTTP500Error,
        501: HTTP501Error,
        502: HTTP502Error,
        503: HTTP503Error,
        504: HTTP504Error,
    }
)

# The class of each code of today's contract, by the code as it travels.
CODES: Final[Mapping[str, type[APIError]]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": InvalidArgumentError,
        "OUT_OF_RANGE": OutOfRangeError,
        "ONE_TIME_PASSWORD_SMS.INVALID_OTP": InvalidOTPError,
        "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED": VerificationExpiredError,
        "ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED": VerificationFailedError,
        "UNAUTHENTICATED": UnauthenticatedError,
        "AUTHENTICATION_REQUIRED": AuthenticationRequiredError,
        "PERMISSION_DENIED": PermissionDeniedError,
        "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED": MaxOTPCodesExceededError,
        "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED": PhoneNumberNotAllowedError,
        "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED": PhoneNumberBlockedError,
        "INVALID_TOKEN_CONTEXT": InvalidTokenContextError,
        "NOT_FOUND": NotFoundError,
        "IDENTIFIER_NOT_FOUND": IdentifierNotFoundError,
        "METHOD_NOT_ALLOWED": MethodNotAllowedError,
        "NOT_ACCEPTABLE": NotAcceptableError,
        "ABORTED": AbortedError,
        "ALREADY_EXISTS": AlreadyExistsError,
        "CONFLICT": ConflictError,
        "INCOMPATIBLE_STATE": IncompatibleStateError,
        "GONE": GoneError,
        "FAILED_PRECONDITION": FailedPreconditionError,
        "UNSUPPORTED_MEDIA_TYPE": UnsupportedMediaTypeError,
        "SERVICE_NOT_APPLICABLE": ServiceNotApplicableError,
        "MISSING_IDENTIFIER": MissingIdentifierError,
        "UNSUPPORTED_IDENTIFIER": UnsupportedIdentifierError,
        "UNNECESSARY_IDENTIFIER": UnnecessaryIdentifierError,
        "IDENTIFIER_MISMATCH": IdentifierMismatchError,
        "TOO_MANY_REQUESTS": TooManyRequestsError,
        "QUOTA_EXCEEDED": QuotaExceededError,
        "INTERNAL": InternalError,
        "DATA_LOSS": DataLossError,
        "NOT_IMPLEMENTED": NotImplementedError,
        "BAD_GATEWAY": BadGatewayError,
        "UNAVAILABLE": UnavailableError,
        "TIMEOUT": GatewayTimeoutError,
    }
)

# Spellings of earlier drafts and of gateways, and the code of today that each stands for.
SUPERSEDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "INVALID_INPUT": "INVALID_ARGUMENT",
        "DEVICE_NOT_FOUND": "IDENTIFIER_NOT_FOUND",
        "DEVICE_NOT_APPLICABLE": "SERVICE_NOT_APPLICABLE",
        "UNIDENTIFIABLE_DEVICE": "MISSING_IDENTIFIER",
        "UNSUPPORTED_DEVICE_IDENTIFIERS": "UNSUPPORTED_IDENTIFIER",
        "DEVICE_IDENTIFIERS_MISMATCH": "IDENTIFIER_MISMATCH",
        "INTERNAL_ERROR": "INTERNAL",
        "SERVICE_UNAVAILABLE": "UNAVAILABLE",
        "NUMBER_VERIFICATION_SMS.INVALID_OTP": "ONE_TIME_PASSWORD_SMS.INVALID_OTP",
        "NUMBER_VERIFICATION_SMS.VERIFICATION_EXPIRED": "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED",
        "NUMBER_VERIFICATION_SMS.VERIFICATION_FAILED": "ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED",
        "NUMBER_VERIFICATION_SMS.MAX_OTP_CODES_EXCEEDED": "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED",
        "NUMBER_VERIFICATION_SMS.PHONE_NUMBER_NOT_ALLOWED": "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED",
        "NUMBER_VERIFICATION_SMS.PHONE_NUMBER_BLOCKED": "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED",
    }
)


def error_class(status: int, code: str | None) -> type[APIError]:
    """Return the class for an answer: by its code where that is known, else by its HTTP status."""
    if code is not None:
        known = CODES.get(SUPERSEDED.get(code, code))
        if known is not None:
            return known
    return STATUSES.get(status, APIError)
