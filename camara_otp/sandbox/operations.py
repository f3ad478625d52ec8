"""The HTTP interface of the two operations: a request is read once, checked, and passed to the operator.

Source: CAMARA one-time-password-sms 1.0.0 to 1.1.1, operations sendCode and validateCode.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from camara_otp.sandbox.authorization import AuthorizationServer
from camara_otp.sandbox.config import Config
from camara_otp.sandbox.http import Headers, HTTPRequest, HTTPResponse, error_response, json_object, json_response
from camara_otp.sandbox.operator import Message, Operator, RefusedError
from camara_otp.sandbox.spec import ERRORS, LABEL, MAX_CODE, MAX_ID, with_plus

MAX_SHOWN: Final = 256
"""Characters of a string that are recorded: some releases do not limit a correlator."""
_PHONE_LIKE: Final = re.compile(r"\+?[0-9]{1,20}")
_STRICT_ID: Final = re.compile(r"[a-zA-Z0-9-]+")
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# Headers that HTTP requires with an error.
_REQUIRED_HEADERS: Final[Mapping[str, Headers]] = {
    "UNAUTHENTICATED": (("www-authenticate", "Bearer"),),
    "METHOD_NOT_ALLOWED": (("allow", "POST"),),
}
_PROPERTIES: Final[Mapping[str, tuple[str, str]]] = {
    "send-code": ("phoneNumber", "message"),
    "validate-code": ("authenticationId", "code"),
}


@attrs.frozen
class OperationRequest:
    """A request to one of the operations, read but not checked."""

    operation: str
    """The operation; the path if it names none."""
    http: HTTPRequest
    body: Mapping[str, Any] = attrs.field(repr=False)
    problem: str | None
    """The reason why the body is not a JSON object."""
    echo: Headers
    """The x-correlator header of the response."""
    phone_number: str | None = attrs.field(repr=False)
    authentication_id: str | None = attrs.field(repr=False)

    @property
    def is_known(self) -> bool:
        """Whether the path names an operation."""
        return self.operation in _PROPERTIES

    @property
    def x_correlator(self) -> str | None:
        """The correlator as it is recorded."""
        return self.echo[0][1][:MAX_SHOWN] if self.echo else None


def read(config: Config, operator: Operator, request: HTTPRequest, *, under_any_root: bool) -> OperationRequest:
    """Read a request, with the phone number and the id that it concerns: a fault may be set for one number."""
    root, _, operation = request.path.rpartition("/")
    served = root in config.api_paths or (under_any_root and root.endswith(config.api_paths))
    if not served or operation not in _PROPERTIES:
        operation = request.path[:MAX_SHOWN]
    body: Mapping[str, Any] = {}
    problem = phone_number = authentication_id = None
    try:
        body = json_object(request.body)
    except ValueError as error:
        problem = str(error)
    number, identifier = body.get("phoneNumber"), body.get("authenticationId")
    if operation == "send-code" and isinstance(number, str):
        # A number that the release rejects is recorded as received.
        number = with_plus(number) if config.rules.phone_number.fullmatch(number) else number
        phone_number = number if _PHONE_LIKE.fullmatch(number) else None
    if operation == "validate-code" and isinstance(identifier, str):
        message = operator.find(identifier)
        phone_number = message.phone_number if message else None
        authentication_id = identifier if len(identifier) <= MAX_ID else None
    echo = correlator_of(config, request)
    return OperationRequest(operation, request, body, problem, echo, phone_number, authentication_id)


def correlator_of(config: Config, request: HTTPRequest) -> Headers:
    """Return the x-correlator of the response: the client's if it has the right form, else a new one."""
    if not config.correlator:
        return ()
    sent = request.header("x-correlator")
    if not sent or not config.rules.x_correlator.fullmatch(sent):
        sent = str(uuid.uuid4())
    return (("x-correlator", sent),)


def error_of(config: Config, code: str, message: str | None = None, headers: Headers = ()) -> HTTPResponse:
    """Return an error in the form of the configuration."""
    status, sentence = ERRORS[code]
    return error_response(status, code, message or sentence, headers, config.error_form)


def carry_out(
    config: Config, operator: Operator, authorization: AuthorizationServer, request: OperationRequest, now: float
) -> tuple[HTTPResponse, Message | None]:
    """Check a request, let the operator decide, and return the response; for a success, with the message concerned."""
    try:
        for code, problem in _problems(config, authorization, request, now):
            raise RefusedError(code, problem)  # noqa: TRY301  (one way out for every error)
        first, second = (request.body[name] for name in _PROPERTIES[request.operation])
        if request.operation == "send-code":
            message = operator.send_code(with_plus(first), second, now, x_correlator=request.x_correlator)
            response = json_response(200, {"authenticationId": message.authentication_id}, request.echo)
        else:
            message = operator.validate_code(first, second, now)
            body = b"" if config.validated_status == 204 else b'{"valid":true}'
            kind = (("content-type", "application/json"),) if body else ()
            response = HTTPResponse(config.validated_status, (*kind, *request.echo), body)
    except RefusedError as error:
        headers = (*_REQUIRED_HEADERS.get(error.code, ()), *request.echo)
        return error_of(config, error.code, error.message, headers), None
    return response, message


def _problems(
    config: Config, authorization: AuthorizationServer, request: OperationRequest, now: float
) -> Iterator[tuple[str, str | None]]:
    """Yield what is wrong with a request, as code and sentence. Each check relies on those before it."""
    http = request.http
    served = ", ".join(path or "/" for path in config.api_paths)[:MAX_SHOWN]
    malformed = "x-correlator has a form that this release does not allow."
    rules = (
        (request.is_known, "NOT_FOUND", f"Nothing is served at this path; the operations are under {served}."),
        (http.method == "POST", "METHOD_NOT_ALLOWED", None),
        *_token_rules(config, authorization, http, now),
        (_accepts_json(http.header("accept")), "NOT_ACCEPTABLE", None),
        (not http.body or http.media_type == "application/json", "UNSUPPORTED_MEDIA_TYPE", None),
        (config.rules.x_correlator.fullmatch(http.header("x-correlator")), "INVALID_ARGUMENT", malformed),
    )
    yield from ((code, sentence) for holds, code, sentence in rules if not holds)
    yield from (("INVALID_ARGUMENT", sentence) for sentence in _body_problems(config, request))


def _token_rules(
    config: Config, authorization: AuthorizationServer, request: HTTPRequest, now: float
) -> tuple[tuple[bool, str, None], ...]:
    bearer = _BEARER.fullmatch(request.header("authorization"))
    token = bearer[1] if bearer else ""
    status = authorization.status(token, now) if token else "invalid"
    refused = token in config.expired_tokens or token in config.invalid_tokens
    listed = config.tokens is None or token in config.tokens
    is_valid = status in ("good", "out of scope") or (status == "foreign" and listed and not refused)
    is_allowed = status != "out of scope" and token not in config.forbidden_tokens
    return (is_valid, "UNAUTHENTICATED", None), (is_allowed, "PERMISSION_DENIED", None)


def _accepts_json(accept: str) -> bool:
    """Return whether an Accept header allows JSON; the most specific range that fits decides."""
    quality: dict[str, float] = {}
    for part in (accept.lower() or "*/*").split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        quality[media_range] = float(weight) if re.fullmatch(r"[01](\.[0-9]{0,3})?", weight) else 1.0
    fitting = (quality[name] for name in ("application/json", "application/*", "*/*") if name in quality)
    return next(fitting, 0.0) > 0


def _body_problems(config: Config, request: OperationRequest) -> Iterator[str]:
    if request.problem is not None:
        yield request.problem
    body = request.body
    first, second = names = _PROPERTIES[request.operation]
    for name in names:
        if not isinstance(body.get(name), str):
            yield f"{name} is required and must be a string."
    if config.rules.strict and len(body) > len(names):
        yield f"The body must contain {first} and {second} only."
    for name in names:
        yield from (f"{name} must {rule}." for holds, rule in _rules(config, name, body[name]) if not holds)


def _rules(config: Config, name: str, value: str) -> Sequence[tuple[object, str]]:
    """Return the rules for a property, each with whether a value follows it."""
    if name == "phoneNumber":
        rule = "be a number in international form, such as +34600000000"
        return ((config.rules.phone_number.fullmatch(value), rule),)
    if name == "message":
        return (
            (LABEL in value, f"contain {LABEL}"),
            (len(value) <= config.max_message_length, f"have at most {config.max_message_length} characters"),
            (not _SURROGATE.search(value), "be valid Unicode"),
        )
    limit = MAX_ID if name == "authenticationId" else MAX_CODE
    legal = name == "code" or not config.rules.strict or _STRICT_ID.fullmatch(value)
    return (len(value) <= limit, f"have at most {limit} characters"), (legal, "be letters, digits and hyphens")
