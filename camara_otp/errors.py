"""Exception tree, and the table from the operator's code to the class.

    OTPError
    ├── ConfigurationError        a setting is missing or wrong
    ├── RequestValidationError    an argument breaks a limit of the API; nothing was sent
    ├── SendRefusedError          a limit of the guard refuses the SMS; nothing was sent
    ├── TokenError                no access token could be obtained; no request was processed
    ├── TransportError            no usable response
    │   ├── RequestNotSentError   the operator cannot have seen the request
    │   └── OutcomeUnknownError   the operator may have acted
    ├── UnexpectedResponseError   a response outside the contract
    └── APIError                  the operator refused: HTTP status 400 and up
        └── HTTP400Error ...      one class per HTTP status
            └── InvalidOTPError ...  one class per error code

Each class holds its cause and its remedy as data: the docs, the command line and notebooks print them. Its `status` or
`code` enters it into `STATUSES` or `CODES`. Messages contain no token, code, message or
number. Instances have only plain values, so they can be pickled, copied and sent to another process.
"""

from collections.abc import Iterable, Mapping
from html import escape
from math import ceil
from types import MappingProxyType
from typing import Any, ClassVar, Final

API_PREFIX: Final = "ONE_TIME_PASSWORD_SMS."
"""The codes of this API begin so; the others are shared by all APIs of CAMARA."""

_ASK_FIRST: Final = "Ask the user whether an SMS arrived before sending again."
_TWO_MINUTES: Final = 120.0


class OTPError(Exception):
    """Base class of every exception of this package.

    Attributes:
        cause: why this class of error occurs
        remedy: what to do about it
        operation: `"send_code"` or `"validate_code"`; None outside a call
        x_correlator: the correlator of the call: the operator's echo, else the value sent, else None
        attempts: API requests begun in this call; token requests are not counted
        outcome_unknown: True when the operator may have acted (sent the SMS, or counted an attempt) although the
            call failed. Ask the user before sending again.
    """

    cause: ClassVar[str] = "A call of this package failed."
    remedy: ClassVar[str] = "Read the message of the error."

    operation: str | None = None
    x_correlator: str | None = None
    attempts: int = 0
    outcome_unknown: bool = False

    def __init_subclass__(cls) -> None:
        """Document a class that has no docstring by its cause and remedy."""
        super().__init_subclass__()
        cls.__doc__ = cls.__doc__ or f"{cls.cause}\n\n{cls.remedy}"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self._reason = reason

    def __str__(self) -> str:
        """Return the reason, followed by the facts about the call."""
        facts = [
            self.operation,
            f"x-correlator {self.x_correlator}" if self.x_correlator else None,
            f"attempt {self.attempts}" if self.attempts > 1 else None,
            "the operator may have acted" if self.outcome_unknown else None,
        ]
        known = ", ".join(fact for fact in facts if fact)
        return f"{self._reason} [{known}]" if known else self._reason

    def _repr_html_(self) -> str:
        names = ("field", "operation", "status", "code", "message", "retry_after", "outcome_unknown", "attempts")
        facts = [(name, getattr(self, name, None)) for name in (*names, "x_correlator")]
        return html_of(self, [("reason", self._reason or None), *facts, ("cause", self.cause), ("remedy", self.remedy)])

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from plain values, so that keyword-only constructors do not stop pickle and copy."""
        return _restore, (type(self), self.args, self.__dict__)


def html_of(value: object, facts: Iterable[tuple[str, object]]) -> str:
    """Return a value as an HTML table for a notebook: its class, and the facts that are not None, escaped."""
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(str(fact))}</td></tr>" for name, fact in facts if fact is not None)
    return f"<table><caption>{escape(type(value).__name__)}</caption>{''.join(rows)}</table>"


def _restore(kind: type[OTPError], args: tuple[object, ...], state: dict[str, object]) -> OTPError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(OTPError, ValueError):
    """A setting of the client, of a provider or of a policy is missing or wrong."""

    cause = "A setting of the client, of a provider or of a policy is missing or wrong. Nothing was sent."
    remedy = "Fix the setting that the message names, for example `base_url`, the token or a header."


class RequestValidationError(OTPError, ValueError):
    """An argument breaks a limit of the API. Nothing was sent.

    Attributes:
        field: the Python name of the argument
        reason: the rule and the remedy; never the value
    """

    cause = "An argument breaks a limit of the API. Nothing was sent."
    remedy = "Change the argument that the message names."

    field: str
    reason: str

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.args: tuple[Any, ...] = (field, reason)  # task queues rebuild an error from its arguments
        self.field = field
        self.reason = reason


class SendRefusedError(OTPError):
    """A limit of `camara_otp.guard` refuses the SMS. Nothing was sent.

    Show the user its message, which never names the limit, and respond with HTTP 429 and `retry_after`.

    Attributes:
        rule: the rule that refused: `"country"`, `"cooldown"`, `"conversion"`, `"store"`, or the key of a limit. For
            logs; do not show it to the user.
        retry_after: seconds until the same SMS may be requested again; None where that is unknown, and where it will
            not be allowed
        operation: always `"send_code"`
    """

    cause = "A limit of the guard refuses the SMS. Nothing was sent."
    remedy = "Show the message to the user, and allow another try after the time in it (`retry_after`)."

    operation: str | None = "send_code"
    rule: str
    retry_after: float | None

    def __init__(self, rule: str, retry_after: float | None = None) -> None:
        if rule == "country":
            advice = "No code can be sent to this number. Use another number."
        elif retry_after is None:
            advice = "No new code was sent. Try again later."
        elif retry_after <= _TWO_MINUTES:
            wait = max(1, ceil(retry_after))
            advice = f"No new code was sent. Try again in {wait} second{'s' if wait > 1 else ''}."
        else:
            advice = f"No new code was sent. Try again in {ceil(retry_after / 60)} minutes."
        super().__init__(advice)
        self.args: tuple[Any, ...] = (rule, retry_after)
        self.rule = rule
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self._reason


class TokenError(OTPError):
    """No access token could be obtained. The operator processed no request.

    At most one request arrived: one that the operator refused with 401, before the renewal of the token failed.

    Attributes:
        error: the error code of the token endpoint, RFC 6749 section 5.2 (`"invalid_client"`, ...), or None
        error_description: the description of the token endpoint, masked and printable, or None
    """

    cause = "No access token could be obtained. The operator processed no request."
    remedy = "Check the credentials, the scope and the URL of the token endpoint."

    error: str | None
    error_description: str | None

    def __init__(self, reason: str = "", *, error: str | None = None, error_description: str | None = None) -> None:
        super().__init__(reason)
        self.error = error
        self.error_description = error_description


class TransportError(OTPError):
    """No usable response: the network, TLS or the deadline failed."""

    cause = "No usable response arrived: the network, TLS or the deadline failed."
    remedy = "Find out whether the operator may have acted (`outcome_unknown`) before you call again."


class RequestNotSentError(TransportError):
    """The operator cannot have seen the request: it sent no SMS and counted no attempt.

    Attributes:
        permanent: True when calling again cannot help, as with a certificate that is not valid
    """

    cause = "The operator cannot have seen the request: it sent no SMS and counted no attempt."
    remedy = "Calling again is safe. A wrong URL or an invalid certificate has to be fixed first (`permanent`)."

    permanent: bool

    def __init__(self, reason: str = "", *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


class OutcomeUnknownError(TransportError):
    """The request was sent, but no complete response arrived: a timeout, a reset or a lost connection."""

    cause = "The request was sent, but no complete response arrived. The operator may have acted."
    remedy = (
        "After send_code, ask the user whether an SMS arrived before sending again. After validate_code, start again "
        "with send_code."
    )

    outcome_unknown = True


class UnexpectedResponseError(OTPError):
    """A response outside the contract: another 2xx than the documented one, a redirect, an unreadable body.

    Attributes:
        status: the HTTP status
    """

    cause = "The response is outside the contract. It is never a success, and the operator may have acted."
    remedy = "Check `base_url` and `api_path` first."

    outcome_unknown = True
    status: int

    def __init__(self, reason: str = "", status: int = 0) -> None:
        super().__init__(reason)
        self.args: tuple[Any, ...] = (reason, status)  # task queues rebuild an error from its arguments
        self.status = status


_BY_STATUS: Final[dict[int, "type[APIError]"]] = {}
_BY_CODE: Final[dict[str, "type[APIError]"]] = {}

STATUSES: Final[Mapping[int, "type[APIError]"]] = MappingProxyType(_BY_STATUS)
"""The class of each HTTP status; any other status from 400 up is `APIError` itself."""

CODES: Final[Mapping[str, "type[APIError]"]] = MappingProxyType(_BY_CODE)
"""The class of each error code, as the operator sends it."""


class APIError(OTPError):
    """The operator refused: HTTP status 400 and up.

    A status or code that the contract does not define raises this class or the class of its status; the code is kept.

    Attributes:
        status: the HTTP status; a status in the body is ignored
        code: the operator's code as received, or None without one
        message: the operator's message, masked and short. It is for people and logs: do not branch on it.
        retry_after: seconds to wait, from the Retry-After header, at most one day; None without one
    """

    cause = "The operator refused the request (HTTP status 400 and up)."
    remedy = "Read the code and the message, and check them with the operator."

    status: int
    code: str | None
    message: str | None
    retry_after: float | None

    def __init_subclass__(cls, *, status: int | None = None, code: str | None = None) -> None:
        """Enter a class into the table of statuses or codes."""
        super().__init_subclass__()
        if status is not None:
            _BY_STATUS[status] = cls
        if code is not None:
            _BY_CODE[code] = cls

    def __init__(
        self, status: int, code: str | None = None, message: str | None = None, *, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{status} {code or 'without an error code'}" + (f": {message}" if message else ""))
        self.args: tuple[Any, ...] = (status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        # A status below 500 is final, except for ABORTED: the concurrent operation may be this very one.
        self.outcome_unknown: bool = status >= 500 or (status == 409 and code == "ABORTED")


class HTTP400Error(APIError, status=400):
    cause = "The operator rejected the request or the verification (HTTP 400)."
    remedy = "Compare the arguments with the operator's documentation."


class HTTP401Error(APIError, status=401):
    cause = "The operator did not accept the access token (HTTP 401)."
    remedy = "Get a new token from the operator's token endpoint."


class HTTP403Error(APIError, status=403):
    cause = "The operator does not allow this request (HTTP 403)."
    remedy = "Check the scope of the token and your subscription with the operator."


class HTTP404Error(APIError, status=404):
    cause = "The number, the authentication_id or the path is unknown to the operator (HTTP 404)."
    remedy = "Check `base_url` and `api_path` first: without a code, the path is the usual cause."


class HTTP405Error(APIError, status=405):
    cause = "The path does not accept POST (HTTP 405)."
    remedy = "Check `base_url` and `api_path`."


class HTTP406Error(APIError, status=406):
    cause = "The operator cannot respond in JSON (HTTP 406)."
    remedy = "Report it to the operator: the request accepts application/json."


class HTTP408Error(APIError, status=408):
    cause = "The operator stopped waiting for the rest of the request (HTTP 408)."
    remedy = "Call again, and check the network if it happens often."


class HTTP409Error(APIError, status=409):
    cause = "The request conflicts with another one (HTTP 409)."
    remedy = "Wait, then ask the user whether an SMS arrived before sending again."


class HTTP410Error(APIError, status=410):
    cause = "The resource, or this version of the API, was switched off (HTTP 410)."
    remedy = "Move to the operator's current `api_path`."


class HTTP412Error(APIError, status=412):
    cause = "The operator's system is not in a state to handle the request (HTTP 412)."
    remedy = "Report it to the operator."


class HTTP415Error(APIError, status=415):
    cause = "The operator does not accept JSON on this path (HTTP 415)."
    remedy = "Check `base_url` and `api_path`."


class HTTP422Error(APIError, status=422):
    cause = "The request is well-formed, but the operator cannot serve this number (HTTP 422)."
    remedy = "Check the number and the kind of token agreed with the operator."


class HTTP429Error(APIError, status=429):
    cause = "A rate limit or a quota is used up (HTTP 429)."
    remedy = "Wait as long as the operator asks (`retry_after`)."


class HTTP500Error(APIError, status=500):
    cause = "The operator failed while it handled the request (HTTP 500). It may have acted."
    remedy = _ASK_FIRST


class HTTP501Error(APIError, status=501):
    cause = "The operator does not implement this operation (HTTP 501)."
    remedy = "Check `base_url` and `api_path` with the operator."


class HTTP502Error(APIError, status=502):
    cause = "A gateway could not reach the operator's system (HTTP 502). The operator may have acted."
    remedy = _ASK_FIRST


class HTTP503Error(APIError, status=503):
    cause = "The operator is overloaded or under maintenance (HTTP 503). It may have acted."
    remedy = _ASK_FIRST


class HTTP504Error(APIError, status=504):
    cause = "A gateway stopped waiting for the operator's system (HTTP 504). The operator may have acted."
    remedy = _ASK_FIRST


class InvalidArgumentError(HTTP400Error, code="INVALID_ARGUMENT"):
    cause = "The request breaks the operator's schema."
    remedy = "Compare the number, the message and the x-correlator with the operator's rules, which may be stricter."


class OutOfRangeError(HTTP400Error, code="OUT_OF_RANGE"):
    cause = "A value lies outside the operator's range."
    remedy = "Change the value. No value of this API has a documented range, so ask the operator for it."


class InvalidOTPError(HTTP400Error, code="ONE_TIME_PASSWORD_SMS.INVALID_OTP"):
    cause = "The code is wrong, and attempts are left."
    remedy = "Ask the user to look at the SMS and type the code again. Do not resubmit the same input by itself."


class VerificationExpiredError(HTTP400Error, code="ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED"):
    cause = "The authentication_id is too old, was superseded by a newer code, or was already used."
    remedy = "Start again with send_code."


class VerificationFailedError(HTTP400Error, code="ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED"):
    cause = "The attempts for this authentication_id are used up."
    remedy = "Start again with send_code."


class UnauthenticatedError(HTTP401Error, code="UNAUTHENTICATED"):
    cause = "The token is missing, invalid or expired."
    remedy = "Get a new token. A token provider, such as client credentials, renews it once by itself."


class AuthenticationRequiredError(HTTP401Error, code="AUTHENTICATION_REQUIRED"):
    cause = "The token is no longer valid and a new login is needed."
    remedy = "Get a new token. A three-legged token needs the user to log in again."


class PermissionDeniedError(HTTP403Error, code="PERMISSION_DENIED"):
    cause = "The token lacks the scope, or the application is not entitled to the API."
    remedy = "Request the scope one-time-password-sms:send-validate and check the subscription with the operator."


class MaxOTPCodesExceededError(HTTP403Error, code="ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED"):
    cause = "Too many codes were sent to this number."
    remedy = "Tell the user to enter the last code received. Wait before sending another."


class PhoneNumberNotAllowedError(HTTP403Error, code="ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED"):
    cause = "The number cannot receive SMS: a landline, a fraud rule, a line without SMS."
    remedy = "Offer another number or another way to verify."


class PhoneNumberBlockedError(HTTP403Error, code="ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED"):
    cause = "The operator blocks SMS to this number."
    remedy = "Offer another number or another way to verify."


class InvalidTokenContextError(HTTP403Error, code="INVALID_TOKEN_CONTEXT"):
    cause = "The number does not belong to the user of the three-legged token."
    remedy = "Use that user's number, or a two-legged token."


class NotFoundError(HTTP404Error, code="NOT_FOUND"):
    cause = (
        "For send_code: the number is not this operator's. For validate_code: the authentication_id was never issued."
    )
    remedy = (
        "Check the number and the operator, or start again with send_code. If no call succeeds, check "
        "`base_url` and `api_path`."
    )


class IdentifierNotFoundError(HTTP404Error, code="IDENTIFIER_NOT_FOUND"):
    cause = "The number matches no subscription of this operator."
    remedy = "Check the number, or route it to the operator that serves it."


class MethodNotAllowedError(HTTP405Error, code="METHOD_NOT_ALLOWED"):
    cause = "The path does not accept POST."
    remedy = "Check `base_url` and `api_path`."


class NotAcceptableError(HTTP406Error, code="NOT_ACCEPTABLE"):
    cause = "The operator cannot respond in JSON."
    remedy = "Report it to the operator: the request accepts application/json."


class AbortedError(HTTP409Error, code="ABORTED"):
    cause = "Another operation on the number or authentication_id is in progress. This one may have taken effect."
    remedy = "Wait, then ask the user whether an SMS arrived before sending again."


class AlreadyExistsError(HTTP409Error, code="ALREADY_EXISTS"):
    cause = "The resource exists already."
    remedy = "Do not repeat the call. Report it to the operator."


class ConflictError(HTTP409Error, code="CONFLICT"):
    cause = "The operator found a duplicate entry."
    remedy = "Do not repeat the call. Report it to the operator."


class IncompatibleStateError(HTTP409Error, code="INCOMPATIBLE_STATE"):
    cause = "The target is in a state that does not allow this."
    remedy = "Start again with send_code."


class GoneError(HTTP410Error, code="GONE"):
    cause = "The resource, or this version of the API, is switched off."
    remedy = "Move to the operator's current `api_path`."


class FailedPreconditionError(HTTP412Error, code="FAILED_PRECONDITION"):
    cause = "The operator's system is not in a state to handle the request."
    remedy = "Report it to the operator."


class UnsupportedMediaTypeError(HTTP415Error, code="UNSUPPORTED_MEDIA_TYPE"):
    cause = "The operator does not accept JSON on this path."
    remedy = "Check `base_url` and `api_path`."


class ServiceNotApplicableError(HTTP422Error, code="SERVICE_NOT_APPLICABLE"):
    cause = "The service is not available for this number."
    remedy = "Offer another number or another way to verify."


class MissingIdentifierError(HTTP422Error, code="MISSING_IDENTIFIER"):
    cause = "The operator cannot tell which line is meant."
    remedy = "Check the number and the kind of token agreed with the operator."


class UnsupportedIdentifierError(HTTP422Error, code="UNSUPPORTED_IDENTIFIER"):
    cause = "The operator does not support this kind of identifier."
    remedy = "Check the number with the operator."


class UnnecessaryIdentifierError(HTTP422Error, code="UNNECESSARY_IDENTIFIER"):
    cause = "The token already identifies the user, but this API requires the number."
    remedy = "Use a two-legged token."


class IdentifierMismatchError(HTTP422Error, code="IDENTIFIER_MISMATCH"):
    cause = "The number does not belong to the user of the token."
    remedy = "Use that user's number, or a two-legged token."


class TooManyRequestsError(HTTP429Error, code="TOO_MANY_REQUESTS"):
    cause = "A rate limit was reached. The operator did not process the request."
    remedy = "Wait as long as the operator asks (`retry_after`, or `RetryPolicy(rate_limited=True)`)."


class QuotaExceededError(HTTP429Error, code="QUOTA_EXCEEDED"):
    cause = "The business quota is used up."
    remedy = "Do not repeat the call. Ask the operator for a higher quota."


class InternalError(HTTP500Error, code="INTERNAL"):
    cause = "The operator failed. It may have acted."
    remedy = _ASK_FIRST


class DataLossError(HTTP500Error, code="DATA_LOSS"):
    cause = "The operator lost data. It may have acted."
    remedy = _ASK_FIRST


class OperationNotImplementedError(HTTP501Error, code="NOT_IMPLEMENTED"):
    cause = "The operator does not implement this operation."
    remedy = "Check `base_url` and `api_path` with the operator."


class BadGatewayError(HTTP502Error, code="BAD_GATEWAY"):
    cause = "A gateway could not reach the operator's system. The operator may have acted."
    remedy = _ASK_FIRST


class UnavailableError(HTTP503Error, code="UNAVAILABLE"):
    cause = "The operator is overloaded or under maintenance. It may have acted."
    remedy = "Wait, then ask the user whether an SMS arrived before sending again."


class GatewayTimeoutError(HTTP504Error, code="TIMEOUT"):
    cause = "The operator's system took too long. It may have acted."
    remedy = _ASK_FIRST


# Spellings of earlier drafts and of gateways, with the code that replaced each.
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
    }
    | {code.replace(API_PREFIX, "NUMBER_VERIFICATION_SMS."): code for code in CODES if code.startswith(API_PREFIX)}
)


def error_class(status: int, code: str | None) -> type[APIError]:
    """Return the class of a response: by its code if the code is known, else by its HTTP status."""
    known = CODES.get(SUPERSEDED.get(code, code)) if code else None
    return known or STATUSES.get(status, APIError)
