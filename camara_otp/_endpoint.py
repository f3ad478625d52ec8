"""Where the operator is, and what travels with every request: checked once, when a client is made.

A base_url decides who gets the token, so everything that two readers could take for two different hosts is refused.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from camara_otp.errors import ConfigurationError

Params = Mapping[str, str | int | Sequence[str | int]]

_VISIBLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
_PATH: Final = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")  # RFC 3986 section 3.3
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_HEADER_VALUE: Final = re.compile(r"[!-~]([ \t!-~]*[!-~])?|")  # RFC 9110 section 5.5, ASCII alone

# What the client sets by itself, and what would change how a message is framed or read.
_RESERVED: Final[Mapping[str, str]] = {
    "authorization": "give the token as `token`",
    "content-type": "it is always application/json",
    "accept": "it is always application/json",
    "x-correlator": "give a callable as `x_correlator`, or a value with each call",
} | dict.fromkeys(
    (
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ),
    "it belongs to the connection",
)


class Endpoint(NamedTuple):
    """Where requests go: scheme and authority, the path before an operation, the query after it."""

    origin: str
    path: str
    query: str
    shows_token: bool  # plain http to another machine, as the caller allowed

    def target(self, operation_path: str) -> str:
        """Return the request target of an operation."""
        return f"{self.path}{operation_path}{self.query}"


def endpoint(base_url: str, api_path: str, params: Params | None, *, allow_http: bool) -> Endpoint:
    """Return the checked endpoint.

    Args:
        base_url: the API root, `https://host[:port][/path]`.
        api_path: the path between root and operation; joined by concatenation, so a path in the root stays.
        params: query parameters of every request, or None.
        allow_http: True lets the token travel over plain http to a host that is not loopback.

    Raises:
        ConfigurationError: an argument is refused; the message names it, the rule and the remedy.
    """
    url = split_url("base_url", base_url, allow_http=allow_http)
    _text("api_path", api_path)
    between = api_path.strip("/")
    if not _PATH.fullmatch(between):
        raise ConfigurationError(
            "api_path: must be a path such as /one-time-password-sms/v1, without blanks, ? or #; "
            "percent-encode other characters, and give query parameters as `params`"
        )
    for name, part in (("base_url", url.path), ("api_path", between)):
        if part.rstrip("/").rpartition("/")[2] in ("send-code", "validate-code"):
            raise ConfigurationError(f"{name}: ends in the name of an operation, which the client adds; leave it out")
    try:
        query = urlencode(dict(params), doseq=True) if params else ""
    except (TypeError, ValueError):
        raise ConfigurationError("params: must be a mapping of names to texts, or to lists of texts") from None
    path = url.path.rstrip("/") + (f"/{between}" if between else "")
    return Endpoint(url.origin, path, f"?{query}" if query else "", url.in_the_clear)


class SplitURL(NamedTuple):
    """A checked URL: scheme and authority, path, and whether it goes over plain http to another machine."""

    origin: str
    path: str
    in_the_clear: bool


def split_url(field: str, url: str, *, allow_http: bool) -> SplitURL:
    """Return the parts of a URL that a token or a secret may be sent to.

    Args:
        field: the argument that the URL came in, for the message.
        url: `https://host[:port][/path]`.
        allow_http: True accepts plain http to a host that is not loopback.

    Raises:
        ConfigurationError: the URL is not of that form, or would show the token to the network.
    """
    _text(field, url)
    if not _VISIBLE.fullmatch(url):
        raise ConfigurationError(
            f"{field}: must be an ASCII URL without blanks or control characters; "
            "write an international host name in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{field}: is no URL; write https://host[:port][/path]") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"{field}: must start with https://, or with http:// on this machine")
    if "@" in parts.netloc:
        raise ConfigurationError(f"{field}: must hold no user name or password; give the token as `token`")
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{field}: must hold no query and no fragment; give query parameters as `params`")
    host = parts.hostname or ""
    literal = _ip_literal(host) if "[" in parts.netloc else None
    if not (literal or ("[" not in parts.netloc and _HOST.fullmatch(host))) or port == 0 or parts.netloc.endswith(":"):
        raise ConfigurationError(f"{field}: has no host, or one that is no host name; write https://host[:port][/path]")
    if not _PATH.fullmatch(parts.path):
        raise ConfigurationError(f"{field}: has a path with characters that must be percent-encoded")
    in_the_clear = parts.scheme == "http" and not is_loopback(host)
    if in_the_clear and not allow_http:
        raise ConfigurationError(
            f"{field}: plain http would show the token to the network; use https://, "
            "or set allow_http to true where the network is your own"
        )
    authority = literal or host
    return SplitURL(f"{parts.scheme}://{authority}" + (f":{port}" if port else ""), parts.path, in_the_clear)


def _text(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{field}: must be text (str), not {type(value).__name__}")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its name or address: localhost, 127.0.0.0/8, ::1."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _ip_literal(host: str) -> str | None:
    try:
        return f"[{ip_address(host)}]" if "%" not in host else None
    except ValueError:
        return None


def static_headers(headers: Mapping[str, str] | None, defaults: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every request: the defaults, and the caller's own, which win.

    Raises:
        ConfigurationError: a name or a value is no header, or the name is one that the client sets by itself.
    """
    chosen = {name.lower(): (name, value) for name, value in defaults.items()}
    if headers is not None and not _is_mapping(headers):
        raise ConfigurationError("headers: must be a mapping of names to values, each a text")
    for name, value in (headers or {}).items():
        if not _is_text(name, _HEADER_NAME):
            raise ConfigurationError("headers: a name must be text of letters, digits and hyphens")
        if name.lower() in _RESERVED:
            raise ConfigurationError(f"headers: {name} cannot be set here; {_RESERVED[name.lower()]}")
        if not _is_text(value, _HEADER_VALUE):
            del value, headers
            raise ConfigurationError(
                f"headers: the value of {name} must be visible ASCII text without line ends or blanks around it"
            )
        chosen[name.lower()] = (name, value)
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in chosen.values())


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
