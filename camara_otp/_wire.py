"""What travels: typed request to bytes and headers; status, headers and body to a model or an error.

Pure functions of plain values: no client, no network, no HTTP library. What an answer means is decided here alone.
A reading never raises: it returns the response or the error, so that no frame that knows a secret hangs on an error.

What a server says is hostile until shown otherwise: it may echo the token, the number or the code, in the body or in
a header, plain or escaped. `Secrets` takes all of that out of every text before it is kept.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from typing import Any, Final, NamedTuple, TypeVar, cast

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from camara_otp._redaction import redact
from camara_otp.errors import CODES, SUPERSEDED, APIError, OTPError, UnexpectedResponseError, error_class
from camara_otp.models import (
    MAX_AUTHENTICATION_ID_LENGTH,
    ErrorInfo,
    SendCodeRequest,
    SendCodeResponse,
    ValidateCodeRequest,
    ValidateCodeResponse,
    x_correlator_problem,
)

T = TypeVar("T")
Headers = Sequence[tuple[bytes, bytes]]

MAX_EXCERPT: Final = 200
"""Characters that are kept of a server's own words."""

MAX_RETRY_AFTER: Final = 86_400.0
"""The longest wait, in seconds, that is read out of a Retry-After."""


class Operation(NamedTuple):
    """One operation of the API: its name here and its path below `api_path`."""

    name: str
    path: str


SEND_CODE: Final = Operation("send_code", "/send-code")
VALIDATE_CODE: Final = Operation("validate_code", "/validate-code")


# --- JSON ------------------------------------------------------------------------------------------------------------


def _strict_text(value: Any, _: Any) -> str:
    # cattrs would turn null into the text 'None'.
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
        x_correlator=override(omit=True),  # it travels as a header
    ),
)


def _no_constant(_: str) -> None:
    raise ValueError  # NaN and Infinity are no JSON (RFC 8259 section 6)


_encode_text: Final = json.JSONEncoder(ensure_ascii=False).encode
_decode_json: Final = json.JSONDecoder(parse_constant=_no_constant).decode


def encode(request: SendCodeRequest | ValidateCodeRequest) -> bytes:
    """Return the JSON body of a request: UTF-8, the documented properties and no others."""
    # Every property is a text; the encoder is at its quickest with one text at a time.
    properties = [f'"{name}":{_encode_text(text)}' for name, text in _converter.unstructure(request).items()]
    return f"{{{','.join(properties)}}}".encode()


def _parse(body: bytes) -> Any:
    """Return the JSON value of a body in UTF-8, whatever charset its header claims; raise ValueError otherwise."""
    try:
        return _decode_json(body.removeprefix(codecs.BOM_UTF8).decode())
    except RecursionError:
        raise ValueError from None


# --- Secrets ---------------------------------------------------------------------------------------------------------


class Secrets(NamedTuple):
    """The values of one call that no text may show."""

    values: tuple[str, ...]

    def __repr__(self) -> str:
        """Return a text without them."""
        return "Secrets(***)"

    def hidden_in(self, text: str) -> str:
        """Return a text with every secret masked, in whatever spelling it occurs."""
        return redact(text, self.values)


def secrets_of(request: SendCodeRequest | ValidateCodeRequest, token: str | None) -> Secrets:
    """Return what must stay out of every text about a request."""
    if isinstance(request, SendCodeRequest):
        values = (request.message, request.phone_number)
    else:
        values = (request.authentication_id, request.code)
    return Secrets(values if token is None else (token, *values))


# --- Answers ---------------------------------------------------------------------------------------------------------


def header(headers: Headers, name: bytes) -> str | None:
    """Return the first value of a header, by its lower-case name, or None."""
    for key, value in headers:
        if key == name:
            return value.decode("latin-1").strip(" \t")
    return None


def correlator_of(headers: Headers, sent: str | None, secrets: Secrets) -> str | None:
    """Return the operator's echo where it fits the pattern, else the value sent."""
    echo = header(headers, b"x-correlator")
    if echo is None or echo == sent:
        return sent
    if x_correlator_problem(echo) is not None or secrets.hidden_in(echo) != echo:
        return sent
    return echo


def retry_after_of(headers: Headers, now: float) -> float | None:
    """Return the seconds of a Retry-After, at most one day (RFC 9110 section 10.2.3), or None.

    Args:
        headers: of the answer.
        now: the wall clock, seconds since 1970, for the form that is a date.
    """
    value = header(headers, b"retry-after")
    if not value or len(value) > 64:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        seconds = float(value)
    else:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - heavy, and dates are rare

        try:
            date = parsedate_to_datetime(value)
            # A date without a zone is GMT, as every HTTP date is.
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def read_send_code(
    status: int, headers: Headers, body: bytes, fault: str | None, *, sent: str | None, secrets: Secrets, now: float
) -> SendCodeResponse | OTPError:
    """Return what an answer to send_code means: only 200 with an authenticationId is a success.

    Args:
        status: the HTTP status.
        headers: names in lower case.
        body: decoded, within the cap.
        fault: why the body could not be read whole, or None.
        sent: the x-correlator of the request, or None.
        secrets: what no text may show.
        now: the wall clock, seconds since 1970.
    """
    correlator = correlator_of(headers, sent, secrets)
    if status != 200:
        return _failure(status, headers, body, fault, correlator=correlator, secrets=secrets, now=now)
    if fault is None:
        try:
            response = _converter.structure(_parse(body), SendCodeResponse)
        except (ValueError, TypeError, KeyError):
            fault = "it is not JSON with a text as authenticationId"
        else:
            fault = _unusable_id(response.authentication_id)
            if fault is None:
                return SendCodeResponse(response.authentication_id, correlator)
    return _unexpected(status, f"the answer to send-code cannot be used: {fault}", correlator)


def read_validate_code(
    status: int, headers: Headers, body: bytes, fault: str | None, *, sent: str | None, secrets: Secrets, now: float
) -> ValidateCodeResponse | OTPError:
    """Return what an answer to validate_code means: only 204 is a success, and nothing else ever.

    The arguments are those of `read_send_code`.
    """
    correlator = correlator_of(headers, sent, secrets)
    if status == 204:
        return ValidateCodeResponse(correlator)
    return _failure(status, headers, body, fault, correlator=correlator, secrets=secrets, now=now)


Reader = Callable[..., T | OTPError]


def _unusable_id(authentication_id: str) -> str | None:
    if not 1 <= len(authentication_id) <= MAX_AUTHENTICATION_ID_LENGTH:
        return f"its authenticationId is not 1 to {MAX_AUTHENTICATION_ID_LENGTH} characters long"
    try:
        authentication_id.encode()
    except UnicodeEncodeError:
        return "its authenticationId holds half of a surrogate pair"
    return None


def _unexpected(status: int, reason: str, correlator: str | None) -> UnexpectedResponseError:
    error = UnexpectedResponseError(reason, status=status)
    error.x_correlator = correlator
    return error


def _failure(
    status: int,
    headers: Headers,
    body: bytes,
    fault: str | None,
    *,
    correlator: str | None,
    secrets: Secrets,
    now: float,
) -> OTPError:
    if status < 400:
        hint = " (redirects are never followed)" if 300 <= status < 400 else ""
        return _unexpected(status, f"HTTP {status}{hint} is not the documented success", correlator)
    info = None if fault else error_info_of(body)
    error: APIError
    if info is None:
        error = error_class(status, None)(status, None, _excerpt(body, secrets, cut=fault is not None))
    else:
        # A code of the contract is no secret, even where a person types the same word; any other may echo one.
        code = info.code if info.code in CODES or info.code in SUPERSEDED else _short(secrets.hidden_in(info.code))
        message = None if info.message is None else _short(secrets.hidden_in(info.message))
        error = error_class(status, code)(status, code, message)
    error.retry_after = retry_after_of(headers, now)
    error.x_correlator = correlator
    return error


def error_info_of(body: bytes) -> ErrorInfo | None:
    """Return the ErrorInfo in a body, at its root or one level down under `detail` or `error`, or None.

    A text as `code` is enough to make one: gateways leave out the rest, or send it in other types.
    """
    try:
        root = _parse(body)
    except ValueError:
        return None
    return _error_info(root) or _error_info(_member(root, "detail")) or _error_info(_member(root, "error"))


def _error_info(place: Any) -> ErrorInfo | None:
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


def _excerpt(body: bytes, secrets: Secrets, *, cut: bool) -> str | None:
    text = secrets.hidden_in(body.decode("utf-8", "replace"))
    if cut:
        # It may end with the first half of a secret, which nothing would recognize, in up to 20 characters for one.
        text = text[: max(len(text) - 20 * max(map(len, secrets.values), default=0), 0)]
    return _short(text) or None


def _short(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= MAX_EXCERPT else text[: MAX_EXCERPT - 1] + "…"


def _printable(text: str) -> str:
    """Return a text on one line, without what a terminal or a log would obey."""
    text = " ".join(text.split())
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


# --- Requests --------------------------------------------------------------------------------------------------------


def with_call_headers(static: Iterable[tuple[bytes, bytes]], token: str | None, correlator: str | None) -> Headers:
    """Return the headers of one attempt: the client's own, and what belongs to this call."""
    headers = list(static)
    if token is not None:
        headers.append((b"Authorization", b"Bearer " + token.encode("ascii")))
    if correlator is not None:
        headers.append((b"x-correlator", correlator.encode("ascii")))
    return headers
