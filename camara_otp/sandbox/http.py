"""HTTP requests and responses as plain values."""

import html
import ipaddress
import json
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import attrs

Headers = tuple[tuple[str, str], ...]
Drop = Literal["connect", "before", "after"]
ErrorForm = Literal["camara", "nested", "html", "empty"]

MAX_BODY: Final = 65536
_GATEWAY_PAGE: Final = (
    "<!DOCTYPE html>\n<html><head><title>{status} {title}</title></head>"
    "<body><center><h1>{status} {title}</h1></center><hr><center>gateway</center></body></html>\n"
)


@attrs.frozen
class HTTPRequest:
    """A request: the path is decoded, header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    query: str = ""

    def header(self, name: str) -> str:
        """Return the value of a header without surrounding spaces, or an empty string."""
        return self.headers.get(name, "").strip(" \t")

    @property
    def media_type(self) -> str:
        """Return the media type of the body, in lower case and without parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()


@attrs.frozen
class HTTPResponse:
    """A response, to be sent after a delay unless the connection is to be dropped then.

    Code and message are those of an error in any form, for the record of requests.
    """

    status: int
    headers: Headers = ()
    body: bytes = attrs.field(default=b"", repr=False)
    code: str | None = None
    message: str | None = None
    delay: float = 0.0
    drop: Drop | None = None

    @property
    def framed_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers as bytes, with the length of the body where HTTP allows it."""
        length = () if self.status in (204, 304) else (("content-length", str(len(self.body))),)
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in (*self.headers, *length)]


def json_response(status: int, value: object, headers: Headers = ()) -> HTTPResponse:
    """Return a response with JSON; characters outside ASCII are escaped, so that every string can be encoded."""
    body = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return HTTPResponse(status, (("content-type", "application/json"), *headers), body)


def error_response(
    status: int, code: str, message: str, headers: Headers = (), form: ErrorForm = "camara"
) -> HTTPResponse:
    """Return an error, by default in the form that CAMARA documents."""
    info = {"status": status, "code": code, "message": message}
    if form == "html":
        response = HTTPResponse(status, (("content-type", "text/html"), *headers), html_page(status))
    elif form == "empty":
        response = HTTPResponse(status, headers)
    else:
        response = json_response(status, {"detail": info} if form == "nested" else info, headers)
    return attrs.evolve(response, code=code, message=message)


def html_page(status: int, title: str = "Error") -> bytes:
    """Return the kind of page with which a gateway replaces an operator's response."""
    return _GATEWAY_PAGE.format(status=status, title=html.escape(title)).encode(errors="replace")


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        ValueError: the body is empty, too large, or no JSON object in UTF-8; the message is a sentence
    """
    if not body:
        raise ValueError("A JSON body is required.")
    if len(body) > MAX_BODY:
        raise ValueError(f"The body is larger than {MAX_BODY} bytes.")
    try:
        value: Any = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError("The body is not JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise ValueError("The body must be a JSON object.")  # noqa: TRY004  (one kind of error for bodies)
    return cast("dict[str, Any]", value)


def _no_constant(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are not JSON (RFC 8259 section 6)


def is_this_machine(host: str) -> bool:
    """Return whether an address or name, with or without brackets and port, can only mean this machine."""
    name, _, port = host.rpartition(":")
    # An IPv6 address without brackets has colons of its own.
    name = (name if port.isdecimal() and (":" not in name or name.endswith("]")) else host).strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
