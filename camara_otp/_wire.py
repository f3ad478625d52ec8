"""Bytes and meaning: a typed request to bytes and headers; a response to a result or an error.

Pure functions of plain values: no client, no network, no HTTP library. Only this module decides what a response means.
A reader never raises: it returns the result or the error, so that the frame that raises holds no secret.

The server's words are untrusted: it may echo the token, the number or the code, in the body or in a header, plain or
escaped. Each string is masked before it is stored.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from camara_otp._exchange import Headers, Response
from camara_otp._redaction import Secrets, cleaned, shortened
from camara_otp._secret import Secret
from camara_otp.errors import CODES, SUPERSEDED, OTPError, UnexpectedResponseError, error_class
from camara_otp.models import (
    MAX_AUTHENTICATION_ID_LENGTH,
    ErrorInfo,
    SendCodeRequest,
    SendCodeResponse,
    ValidateCodeRequest,
    ValidateCodeResponse,
    broken_limit,
)

T = TypeVar("T")
Request = SendCodeRequest | ValidateCodeRequest


# --- JSON ------------------------------------------------------------------------------------------------------------


def _strict_text(value: Any, _: Any) -> str:
    # cattrs would turn null into the string 'None'.
    if not isinstance(value, str):
        raise TypeError
    return value


_converter: Final = cattrs.Converter(detailed_validation=False)
_converter.register_structure_hook(str, _strict_text)
_converter.register_unstructure_hook(
    SendCodeRequest,
    make_dict_unstructure_fn(SendCodeRequest, _converter, phone_number=override(rename="phoneNumber")),
)
_converter.register_unstructure_hook(
    ValidateCodeRequest,
    make_dict_unstructure_fn(ValidateCodeRequest, _converter, authentication_id=override(rename="authenticationId")),
)
_converter.register_structure_hook(
    SendCodeResponse,
    make_dict_structure_fn(
        SendCodeResponse,
        _converter,
        authentication_id=override(rename="authenticationId"),
        x_correlator=override(omit=True),  # a header carries it
    ),
)


def _no_constant(_: str) -> None:
    raise ValueError  # NaN and Infinity are not JSON (RFC 8259 section 6)


_encode_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decode_json: Final = json.JSONDecoder(parse_constant=_no_constant).decode


def encode(request: Request) -> bytes:
    """Return the JSON body of a request: UTF-8, the documented properties and no others."""
    return _encode_json(_converter.unstructure(request)).encode()


def _parse(body: bytes | bytearray) -> Any:
    """Return the JSON value of a body in UTF-8; ignore the charset of its header. Raise ValueError for other bodies."""
    try:
        return _decode_json(body.removeprefix(codecs.BOM_UTF8).decode())
    except RecursionError:
        raise ValueError from None


class CallContext:
    """Everything that is known about one logical call, as errors report it and messages must not show it.

    It is a plain object without fields or iteration: see `Secret`.
    """

    __slots__ = ("attempts", "operation", "request", "token", "x_correlator")

    def __init__(self, operation: str, request: Request | None = None, x_correlator: str | None = None) -> None:
        self.operation = operation
        self.request = request
        self.x_correlator = x_correlator
        self.token: Secret | None = None
        self.attempts = 0

    @property
    def secrets(self) -> Secrets:
        """Return the strings of the call that must not be shown."""
        request, token = self.request, self.token
        values: tuple[str, ...] = ()
        if isinstance(request, SendCodeRequest):
            values = (request.message, request.phone_number)
        elif request is not None:
            values = (request.authentication_id, request.code)
        return Secrets(*values) if token is None else Secrets(token.reveal(), *values)

    def reported_correlator(self, headers: Headers) -> str | None:
        """Return the operator's echo of the x-correlator if it fits the pattern, else the value sent."""
        echo = header(headers, b"x-correlator")
        if echo is None or echo == self.x_correlator:
            return self.x_correlator
        if broken_limit(x_correlator=echo) is not None or self.secrets.hidden_in(echo) != echo:
            return self.x_correlator
        return echo

    def attach(self, error: OTPError, headers: Headers = ()) -> OTPError:
        """Return an error with the facts about the call; only this method sets these attributes."""
        error.operation = self.operation
        error.attempts = self.attempts
        error.x_correlator = self.reported_correlator(headers)
        return error


# --- Responses -------------------------------------------------------------------------------------------------------


Reader = Callable[[Response, CallContext, float], T | OTPError]
"""Reads a response to a call, received at a wall-clock time in seconds since 1970."""


def read_send_code(response: Response, call: CallContext, now: float) -> SendCodeResponse | OTPError:
    """Return the meaning of a response to send_code: only 200 with an authenticationId is a success."""
    if response.status != 200:
        return call.attach(_refusal(response, call.secrets, now), response.headers)
    fault = response.fault
    if fault is None:
        try:
            sent = _converter.structure(_parse(response.body), SendCodeResponse)
        except (ValueError, TypeError, KeyError):
            fault = "it is not JSON with a string as authenticationId"
        else:
            if broken_limit(authentication_id=sent.authentication_id) is None:
                return SendCodeResponse(sent.authentication_id, call.reported_correlator(response.headers))
            fault = f"its authenticationId is not 1 to {MAX_AUTHENTICATION_ID_LENGTH} characters of well-formed text"
    error = UnexpectedResponseError(f"the response to send-code is invalid: {fault}", status=response.status)
    return call.attach(error, response.headers)


def read_validate_code(response: Response, call: CallContext, now: float) -> ValidateCodeResponse | OTPError:
    """Return the meaning of a response to validate_code: only 204 is a success."""
    if response.status == 204:
        return ValidateCodeResponse(call.reported_correlator(response.headers))
    return call.attach(_refusal(response, call.secrets, now), response.headers)


def _refusal(response: Response, secrets: Secrets, now: float) -> OTPError:
    status = response.status
    if status < 400:
        hint = " (redirects are never followed)" if 300 <= status < 400 else ""
        return UnexpectedResponseError(f"HTTP {status}{hint} is not the documented success", status=status)
    info = None if response.fault else error_info_of(response.body)
    code = message = None
    if info is None:
        message = _excerpt(response, secrets)
    else:
        # A code of the contract is not a secret, even where a user types the same word; any other may echo one.
        code = info.code if info.code in CODES or info.code in SUPERSEDED else cleaned(info.code, secrets)
        message = info.message and cleaned(info.message, secrets)
    return error_class(status, code)(status, code, message, retry_after=retry_after(response.headers, now))


def error_info_of(body: bytes | bytearray) -> ErrorInfo | None:
    """Return the ErrorInfo in a body, at its root or one level down under `detail` or `error`, or None.

    A string as `code` is sufficient: gateways leave out the rest, or send it in other types.
    """
    try:
        root = _parse(body)
    except ValueError:
        return None
    return _info_in(root) or _info_in(_member(root, "detail")) or _info_in(_member(root, "error"))


def _info_in(place: Any) -> ErrorInfo | None:
    code = _member(place, "code")
    if not isinstance(code, str) or not code:
        return None
    status, message = _member(place, "status"), _member(place, "message")
    return ErrorInfo(
        status if isinstance(status, int) and not isinstance(status, bool) else None,
        code,
        message if isinstance(message, str) else None,
    )


def _member(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def _excerpt(response: Response, secrets: Secrets) -> str | None:
    text = secrets.hidden_in(response.body.decode("utf-8", "replace"))
    if response.fault is not None:
        # A cut string may end with the first half of a secret, which no comparison finds: up to 20 characters for one.
        text = text[: max(len(text) - 20 * secrets.longest, 0)]
    return shortened(text) or None


# --- Response headers ------------------------------------------------------------------------------------------------

MAX_RETRY_AFTER: Final = 86_400.0
"""The longest wait, in seconds, that is read from a Retry-After header."""


def header(headers: Headers, name: bytes) -> str | None:
    """Return the first value of a header, by its lower-case name, or None."""
    for key, value in headers:
        if key == name:
            return value.decode("latin-1").strip(" \t")
    return None


def retry_after(headers: Headers, now: float) -> float | None:
    """Return the seconds of a Retry-After header, at most one day (RFC 9110 section 10.2.3), or None."""
    value = header(headers, b"retry-after")
    if not value or len(value) > 64:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        wait = float(value)
    else:
        date = _timestamp(value)
        if date is None:
            return None
        wait = date - now
    return min(max(wait, 0.0), MAX_RETRY_AFTER)


def date_of(headers: Headers) -> float | None:
    """Return the Date header as wall-clock time in seconds since 1970, or None."""
    value = header(headers, b"date")
    return _timestamp(value) if value else None


def _timestamp(value: str) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - slow to import, and dates are rare

    try:
        date = parsedate_to_datetime(value)
        # A date without a zone is GMT, as every HTTP date is (RFC 9110 section 5.6.7).
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class OperationSpec(NamedTuple, Generic[T]):
    """One operation of the API.

    Attributes:
        name: the name of its method
        path: its path below `api_path`
        request: the class of its request
        second: the name of the request's second argument
        read: the reader of its responses
    """

    name: str
    path: str
    request: type[SendCodeRequest] | type[ValidateCodeRequest]
    second: str
    read: Reader[T]


SEND_CODE: Final = OperationSpec("send_code", "/send-code", SendCodeRequest, "message", read_send_code)
VALIDATE_CODE: Final = OperationSpec("validate_code", "/validate-code", ValidateCodeRequest, "code", read_validate_code)


def with_call_headers(static: Iterable[tuple[bytes, bytes]], token: Secret | None, correlator: str | None) -> Headers:
    """Return the headers of one attempt: the client's own, the token and the x-correlator."""
    return [
        *static,
        *([] if token is None else [(b"Authorization", b"Bearer " + token.reveal().encode("ascii"))]),
        *([] if correlator is None else [(b"x-correlator", correlator.encode("ascii"))]),
    ]
