"""The HTTP face of the operator, as a function of plain values: a request in, an answer out.

Both the in-process transport and the HTTP server ask this one room, so they cannot differ.

Source: CAMARA one-time-password-sms 1.0.0 to 1.1.1, operations sendCode and validateCode.
"""

import html
import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast

import attrs

from camara_otp.sandbox import catalogue
from camara_otp.sandbox.config import LABEL, Config, with_plus
from camara_otp.sandbox.operator import Operator, Refusal, Verification

Operation = Literal["send-code", "validate-code"]
Headers = tuple[tuple[str, str], ...]
Worth = Callable[[str], Literal["foreign", "good", "dead", "narrow"]]

MAX_BODY: Final = 65536
_MAX_ID: Final = 36
_PHONE_LIKE = re.compile(r"\+?[0-9]{1,20}")
_STRICT_ID = re.compile(rf"[a-zA-Z0-9-]{{1,{_MAX_ID}}}")
_BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)
_PROPERTIES: Final[Mapping[Operation, tuple[str, str]]] = {
    "send-code": ("phoneNumber", "message"),
    "validate-code": ("authenticationId", "code"),
}
_GATEWAY_PAGE: Final = (
    "<!DOCTYPE html>\n<html><head><title>{status} {title}</title></head>"
    "<body><center><h1>{status} {title}</h1></center><hr><center>gateway</center></body></html>\n"
)


@attrs.frozen
class Answer:
    """What goes back to the client."""

    status: int
    headers: Headers = ()
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen
class Seen:
    """What a request turned out to concern, for the inbox and for tests."""

    phone_number: str | None = attrs.field(default=None, repr=False)
    authentication_id: str | None = attrs.field(default=None, repr=False)
    error: str | None = None
    message: str | None = None


class _RefusedError(Exception):
    """An answer other than success, on its way out."""

    def __init__(self, code: str, message: str | None = None, headers: Headers = ()) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.headers = headers


@attrs.frozen
class Request:
    """A request to one of the operations: header names in lower case."""

    operation: Operation
    method: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


def json_answer(status: int, value: object, headers: Headers = ()) -> Answer:
    """Answer with JSON; text outside ASCII is escaped, so that no string can fail to encode."""
    body = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return Answer(status, (("content-type", "application/json"), *headers), body)


def html_page(status: int, title: str = "Error") -> bytes:
    """Return the kind of page that a gateway puts in front of an operator's own answer."""
    return _GATEWAY_PAGE.format(status=status, title=html.escape(title)).encode(errors="replace")


def route(config: Config, path: str, *, under_any_root: bool = False) -> Operation | None:
    """Find the operation that a path names, or None.

    Args:
        config: Says under which paths the operations are served.
        path: The path of the request's URL.
        under_any_root: Whether whatever stands before the configured path is ignored, as in process.
    """
    root, _, name = path.rpartition("/")
    served = root in config.api_paths or (under_any_root and root.endswith(config.api_paths))
    return next((operation for operation in _PROPERTIES if served and operation == name), None)


def error_answer(config: Config, code: str, message: str | None = None, headers: Headers = ()) -> Answer:
    """Answer with an error, in the form that the configuration asks for."""
    status, sentence = catalogue.ERRORS[code]
    info = {"status": status, "code": code, "message": message or sentence}
    if config.error_form == "html":
        return Answer(status, (("content-type", "text/html"), *headers), html_page(status))
    if config.error_form == "empty":
        return Answer(status, headers)
    return json_answer(status, {"detail": info} if config.error_form == "nested" else info, headers)


def concerned(config: Config, request: Request, operator: Operator) -> Seen:
    """Tell what a request concerns without judging it: a fault may be meant for one number, and a refusal has one."""
    try:
        value = parse_object(request.body).get(_PROPERTIES[request.operation][0])
    except _RefusedError:
        return Seen()
    if not isinstance(value, str):
        return Seen()
    if request.operation == "send-code":
        # A number that the release refuses is shown as it came.
        number = with_plus(value) if config.rules.phone_number.fullmatch(value) else value
        return Seen(number if _PHONE_LIKE.fullmatch(number) else None)
    known = operator.find(value)
    return Seen(known.phone_number if known else None, value if len(value) <= _MAX_ID else None)


def handle(
    config: Config, operator: Operator, request: Request, echo: Headers, now: float, *, worth: Worth
) -> tuple[Answer, Seen]:
    """Check a request as an operator's front door does, let the operator decide, and put the decision into HTTP.

    Args:
        config: The rules of this sandbox.
        operator: Decides on well-formed requests.
        request: What came in.
        echo: The x-correlator header that the answer carries.
        now: The time, in seconds.
        worth: Tells what an access token is worth to the sandbox's authorization server.
    """
    correlator = echo[0][1][:256] if echo else None
    try:
        _check_head(config, request, worth)
        values = _check_body(config, request)
        if request.operation == "send-code":
            number, message = values
            outcome = operator.send_code(with_plus(number), message, now, x_correlator=correlator)
        else:
            authentication_id, code = values
            outcome = operator.validate_code(authentication_id, code, now)
        if isinstance(outcome, Refusal):
            raise _RefusedError(_refusal_code(config, outcome))  # noqa: TRY301  (one way out for every refusal)
        answer = _success(config, request.operation, outcome, echo)
        seen = Seen(outcome.phone_number, outcome.authentication_id)
    except _RefusedError as refused:
        sentence = refused.message or catalogue.ERRORS[refused.code][1]
        answer = error_answer(config, refused.code, sentence, (*refused.headers, *echo))
        seen = attrs.evolve(concerned(config, request, operator), error=refused.code, message=sentence)
    return answer, seen


def _success(config: Config, operation: Operation, verification: Verification, echo: Headers) -> Answer:
    if operation == "send-code":
        return json_answer(200, {"authenticationId": verification.authentication_id}, echo)
    if config.validated_status == 204:
        return Answer(204, echo)
    return json_answer(config.validated_status, {"valid": True}, echo)


def _refusal_code(config: Config, refusal: Refusal) -> str:
    if refusal is Refusal.FOREIGN:
        return config.rules.foreign_number
    return config.unknown_id if refusal is Refusal.UNKNOWN_ID else refusal.value


def correlator_of(config: Config, headers: Mapping[str, str]) -> Headers:
    """Return the x-correlator of the answer: the client's if it has the right form, else a new one."""
    if not config.correlator:
        return ()
    sent = headers.get("x-correlator", "").strip(" \t")
    if not sent or not config.rules.x_correlator.fullmatch(sent):
        sent = str(uuid.uuid4())
    return (("x-correlator", sent),)


def _check_head(config: Config, request: Request, worth: Worth) -> None:
    if request.method != "POST":
        raise _RefusedError(catalogue.METHOD_NOT_ALLOWED, headers=(("allow", "POST"),))
    bearer = _BEARER.fullmatch(request.headers.get("authorization", "").strip(" \t"))
    token = bearer[1] if bearer else ""
    verdict = worth(token) if token else "dead"
    refused = token in config.expired_tokens or token in config.invalid_tokens
    foreign = refused or (config.tokens is not None and token not in config.tokens)
    if verdict == "dead" or (verdict == "foreign" and foreign):
        raise _RefusedError(catalogue.UNAUTHENTICATED, headers=(("www-authenticate", "Bearer"),))
    if verdict == "narrow" or token in config.forbidden_tokens:
        raise _RefusedError(catalogue.PERMISSION_DENIED)
    if not _accepts_json(request.headers.get("accept", "")):
        raise _RefusedError(catalogue.NOT_ACCEPTABLE)
    if request.body:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise _RefusedError(catalogue.UNSUPPORTED_MEDIA_TYPE)
    correlator = request.headers.get("x-correlator", "").strip(" \t")
    if not config.rules.x_correlator.fullmatch(correlator):
        raise _RefusedError(catalogue.INVALID_ARGUMENT, "x-correlator has a form that this release does not allow.")


def _accepts_json(accept: str) -> bool:
    """Tell whether an Accept header leaves room for JSON; the most specific range that fits decides."""
    if accept == "application/json" or not accept.strip():
        return True
    quality: dict[str, float] = {}
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        quality[media_range] = float(weight) if re.fullmatch(r"[01](\.[0-9]{0,3})?", weight) else 1.0
    fitting = (quality[name] for name in ("application/json", "application/*", "*/*") if name in quality)
    return next(fitting, 0.0) > 0


def _check_body(config: Config, request: Request) -> tuple[str, str]:
    """Return the two values of the body, checked against the release's schema."""
    body = parse_object(request.body)
    first, second = names = _PROPERTIES[request.operation]
    for name in names:
        if not isinstance(body.get(name), str):
            raise _RefusedError(catalogue.INVALID_ARGUMENT, f"{name} is required and must be a string.")
    if config.rules.strict and len(body) > len(names):
        raise _RefusedError(catalogue.INVALID_ARGUMENT, f"Only {first} and {second} may stand in the body.")
    for name in names:
        problem = _PROBLEMS[name](config, body[name])
        if problem:
            raise _RefusedError(catalogue.INVALID_ARGUMENT, f"{name} {problem}.")
    return body[first], body[second]


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a request's body as a JSON object.

    Raises:
        _RefusedError: There is none, it is too large, or it is not a JSON object in UTF-8.
    """
    if not body:
        raise _RefusedError(catalogue.INVALID_ARGUMENT, "A JSON body is required.")
    if len(body) > MAX_BODY:
        raise _RefusedError(catalogue.INVALID_ARGUMENT, f"The body is larger than {MAX_BODY} bytes.")
    try:
        value: Any = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _RefusedError(catalogue.INVALID_ARGUMENT, "The body is not JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise _RefusedError(catalogue.INVALID_ARGUMENT, "The body must be a JSON object.")
    return cast("dict[str, Any]", value)


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _phone_number_problem(config: Config, value: str) -> str | None:
    fits = config.rules.phone_number.fullmatch(value)
    return None if fits else "must be a number in international form, such as +34600000000"


def _message_problem(config: Config, value: str) -> str | None:
    if LABEL not in value:
        return f"must hold the label {LABEL}"
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
        return None if _STRICT_ID.fullmatch(value) else f"must be 1 to {_MAX_ID} letters, digits and hyphens"
    return f"must have at most {_MAX_ID} characters" if len(value) > _MAX_ID else None


def _code_problem(_: Config, value: str) -> str | None:
    return "must have at most 10 characters" if len(value) > 10 else None


_PROBLEMS: Final[Mapping[str, Callable[[Config, str], str | None]]] = {
    "phoneNumber": _phone_number_problem,
    "message": _message_problem,
    "authenticationId": _id_problem,
    "code": _code_problem,
}
