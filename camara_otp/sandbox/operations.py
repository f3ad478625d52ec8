"""The HTTP interface of the two operations: a request is read once, checked, and put to the operator.

Source: CAMARA one-time-password-sms 1.0.0 to 1.1.1, operations sendCode and validateCode.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from camara_otp.sandbox import catalogue
from camara_otp.sandbox.authorization import TokenStatus
from camara_otp.sandbox.config import Config
from camara_otp.sandbox.http import (
    Headers,
    HTTPRequest,
    HTTPResponse,
    error_response,
    html_page,
    json_object,
    json_response,
)
from camara_otp.sandbox.operator import Denial, Operator, Verification
from camara_otp.sandbox.rules import LABEL, MAX_CODE, MAX_ID, OperationName, with_plus

_PHONE_LIKE: Final = re.compile(r"\+?[0-9]{1,20}")
_STRICT_ID: Final = re.compile(rf"[a-zA-Z0-9-]{{1,{MAX_ID}}}")
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)
_PROPERTIES: Final[Mapping[OperationName, tuple[str, str]]] = {
    "send-code": ("phoneNumber", "message"),
    "validate-code": ("authenticationId", "code"),
}


@attrs.frozen
class OperationRequest:
    """A request to one of the operations, with its body read.

    Args:
        operation: The operation.
        http: The request as received.
        body: The JSON object in the body; empty if there is none.
        problem: The sentence that says why there is none, or None.
        echo: The x-correlator header of the response.
    """

    operation: OperationName
    http: HTTPRequest
    body: Mapping[str, Any] = attrs.field(repr=False)
    problem: str | None
    echo: Headers


@attrs.frozen
class Subject:
    """The phone number and id of a request, and the error in its response, for the inbox and for tests."""

    phone_number: str | None = attrs.field(default=None, repr=False)
    authentication_id: str | None = attrs.field(default=None, repr=False)
    error: str | None = None
    message: str | None = None


class _ProblemError(Exception):
    """An error response."""

    def __init__(self, code: str, message: str | None = None, headers: Headers = ()) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or catalogue.ERRORS[code][1]
        self.headers = headers


def route(config: Config, path: str, *, under_any_root: bool = False) -> OperationName | None:
    """Return the operation that a path names, or None.

    Args:
        config: Holds the paths under which the operations are served.
        path: The path of the request.
        under_any_root: Ignore what precedes the configured path, as in process.
    """
    root, _, name = path.rpartition("/")
    served = root in config.api_paths or (under_any_root and root.endswith(config.api_paths))
    return next((operation for operation in _PROPERTIES if served and operation == name), None)


def read(config: Config, operation: OperationName, request: HTTPRequest) -> OperationRequest:
    """Return a request with its body read; nothing is checked yet."""
    body: Mapping[str, Any] = {}
    problem = None
    try:
        body = json_object(request.body)
    except ValueError as error:
        problem = str(error)
    return OperationRequest(operation, request, body, problem, correlator_of(config, request))


def correlator_of(config: Config, request: HTTPRequest) -> Headers:
    """Return the x-correlator of the response: the client's if it has the right form, else a new one."""
    if not config.correlator:
        return ()
    sent = request.header("x-correlator")
    if not sent or not config.rules.x_correlator.fullmatch(sent):
        sent = str(uuid.uuid4())
    return (("x-correlator", sent),)


def error_of(config: Config, code: str, message: str | None = None, headers: Headers = ()) -> HTTPResponse:
    """Return an error in the form that the configuration asks for."""
    status, sentence = catalogue.ERRORS[code]
    if config.error_form == "html":
        return HTTPResponse(status, (("content-type", "text/html"), *headers), html_page(status))
    if config.error_form == "empty":
        return HTTPResponse(status, headers)
    if config.error_form == "nested":
        info = {"status": status, "code": code, "message": message or sentence}
        return json_response(status, {"detail": info}, headers)
    return error_response(status, code, message or sentence, headers)


def subject_of(config: Config, request: OperationRequest, operator: Operator) -> Subject:
    """Return what a request concerns, whether or not it is valid: a fault may be set for one number."""
    value = request.body.get(_PROPERTIES[request.operation][0])
    if not isinstance(value, str):
        return Subject()
    if request.operation == "send-code":
        # A number that the release rejects is shown as received.
        number = with_plus(value) if config.rules.phone_number.fullmatch(value) else value
        return Subject(number if _PHONE_LIKE.fullmatch(number) else None)
    known = operator.find(value)
    return Subject(known.phone_number if known else None, value if len(value) <= MAX_ID else None)


def carry_out(
    config: Config,
    operator: Operator,
    request: OperationRequest,
    now: float,
    *,
    token_status: Callable[[str], TokenStatus],
) -> tuple[HTTPResponse, Subject]:
    """Check a request, let the operator decide, and return the response with its subject."""
    try:
        _check_head(config, request.http, token_status)
        first, second = _check_body(config, request)
        if request.operation == "send-code":
            correlator = request.echo[0][1][:256] if request.echo else None
            outcome = operator.send_code(with_plus(first), second, now, x_correlator=correlator)
        else:
            outcome = operator.validate_code(first, second, now)
        if isinstance(outcome, Denial):
            raise _ProblemError(_code_of(config, outcome))  # noqa: TRY301  (one way out for every error)
        response = _success(config, request, outcome)
        subject = Subject(outcome.phone_number, outcome.authentication_id)
    except _ProblemError as problem:
        response = error_of(config, problem.code, problem.message, (*problem.headers, *request.echo))
        subject = attrs.evolve(subject_of(config, request, operator), error=problem.code, message=problem.message)
    return response, subject


def _success(config: Config, request: OperationRequest, verification: Verification) -> HTTPResponse:
    if request.operation == "send-code":
        return json_response(200, {"authenticationId": verification.authentication_id}, request.echo)
    if config.validated_status == 204:
        return HTTPResponse(204, request.echo)
    return json_response(config.validated_status, {"valid": True}, request.echo)


def _code_of(config: Config, denial: Denial) -> str:
    if denial is Denial.FOREIGN:
        return config.rules.foreign_number
    return config.unknown_id if denial is Denial.UNKNOWN_ID else denial.value


def _check_head(config: Config, request: HTTPRequest, token_status: Callable[[str], TokenStatus]) -> None:
    if request.method != "POST":
        raise _ProblemError(catalogue.METHOD_NOT_ALLOWED, headers=(("allow", "POST"),))
    bearer = _BEARER.fullmatch(request.header("authorization"))
    token = bearer[1] if bearer else ""
    status = token_status(token) if token else "invalid"
    listed = token in config.expired_tokens or token in config.invalid_tokens
    unlisted = config.tokens is not None and token not in config.tokens
    if status == "invalid" or (status == "foreign" and (listed or unlisted)):
        raise _ProblemError(catalogue.UNAUTHENTICATED, headers=(("www-authenticate", "Bearer"),))
    if status == "out of scope" or token in config.forbidden_tokens:
        raise _ProblemError(catalogue.PERMISSION_DENIED)
    if not _accepts_json(request.headers.get("accept", "")):
        raise _ProblemError(catalogue.NOT_ACCEPTABLE)
    if request.body and request.media_type != "application/json":
        raise _ProblemError(catalogue.UNSUPPORTED_MEDIA_TYPE)
    if not config.rules.x_correlator.fullmatch(request.header("x-correlator")):
        raise _ProblemError(catalogue.INVALID_ARGUMENT, "x-correlator has a form that this release does not allow.")


def _accepts_json(accept: str) -> bool:
    """Tell whether an Accept header allows JSON; the most specific range that fits decides."""
    if accept == "application/json" or not accept.strip():
        return True
    quality: dict[str, float] = {}
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        quality[media_range] = float(weight) if re.fullmatch(r"[01](\.[0-9]{0,3})?", weight) else 1.0
    fitting = (quality[name] for name in ("application/json", "application/*", "*/*") if name in quality)
    return next(fitting, 0.0) > 0


def _check_body(config: Config, request: OperationRequest) -> tuple[str, str]:
    """Return the two values of the body, checked against the release's schema."""
    if request.problem is not None:
        raise _ProblemError(catalogue.INVALID_ARGUMENT, request.problem)
    body = request.body
    first, second = names = _PROPERTIES[request.operation]
    for name in names:
        if not isinstance(body.get(name), str):
            raise _ProblemError(catalogue.INVALID_ARGUMENT, f"{name} is required and must be a string.")
    if config.rules.strict and len(body) > len(names):
        raise _ProblemError(catalogue.INVALID_ARGUMENT, f"Only {first} and {second} may stand in the body.")
    for name in names:
        problem = _PROBLEMS[name](config, body[name])
        if problem:
            raise _ProblemError(catalogue.INVALID_ARGUMENT, f"{name} {problem}.")
    return body[first], body[second]


def _phone_number_problem(config: Config, value: str) -> str | None:
    fits = config.rules.phone_number.fullmatch(value)
    return None if fits else "must be a number in international form, such as +34600000000"


def _message_problem(config: Config, value: str) -> str | None:
    if LABEL not in value:
        return f"must contain {LABEL}"
    if len(value) > config.max_message_length:
        return f"must have at most {config.max_message_length} characters"
    try:
        value.encode()
    except UnicodeEncodeError:
        # JSON can spell half a surrogate pair, which no text message can carry.
        return "is not valid Unicode"
    return None


def _id_problem(config: Config, value: str) -> str | None:
    if config.rules.strict:
        return None if _STRICT_ID.fullmatch(value) else f"must be 1 to {MAX_ID} letters, digits and hyphens"
    return f"must have at most {MAX_ID} characters" if len(value) > MAX_ID else None


def _code_problem(_: Config, value: str) -> str | None:
    return f"must have at most {MAX_CODE} characters" if len(value) > MAX_CODE else None


_PROBLEMS: Final[Mapping[str, Callable[[Config, str], str | None]]] = {
    "phoneNumber": _phone_number_problem,
    "message": _message_problem,
    "authenticationId": _id_problem,
    "code": _code_problem,
}
