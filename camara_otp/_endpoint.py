"""URLs that receive a token or a secret, checked when a client or a provider is made.

Rejects URLs that different parsers may resolve to different hosts.
"""

import re
import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from camara_otp._checks import text
from camara_otp.errors import ConfigurationError

Params = Mapping[str, str | int | Sequence[str | int]]

_VISIBLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
_PATH: Final = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")  # RFC 3986 section 3.3
_DOT_SEGMENT: Final = re.compile(r"(^|/)(\.|%2e){1,2}(/|$)", re.IGNORECASE)


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
        ConfigurationError: an argument is rejected; the message names it, the rule and the remedy.
    """
    url = split_url("base_url", base_url, allow_http=allow_http)
    between = text("api_path", api_path).strip("/")
    if not _PATH.fullmatch(between):
        raise ConfigurationError(
            "api_path: must be a path such as /one-time-password-sms/v1, without blanks, ? or #; "
            "percent-encode other characters, and give query parameters as `params`"
        )
    for name, part in (("base_url", url.path), ("api_path", between)):
        # RFC 3986 section 5.2.4: servers and proxies remove them, so that they may route the request elsewhere.
        if _DOT_SEGMENT.search(part):
            raise ConfigurationError(f"{name}: contains a segment `.` or `..`; write the path without it")
        if part.rstrip("/").rpartition("/")[2] in ("send-code", "validate-code"):
            raise ConfigurationError(f"{name}: ends in the name of an operation, which the client adds; leave it out")
    try:
        pairs = dict(params or {})
        query = None if any(map(_holds_none, pairs.values())) else urlencode(pairs, doseq=True)
    except (TypeError, ValueError):
        query = None
    if query is None:
        raise ConfigurationError("params: must be a mapping of names to texts, or to lists of texts; got another value")
    path = url.path.rstrip("/") + (f"/{between}" if between else "")
    return Endpoint(url.origin, path, f"?{query}" if query else "", url.in_the_clear)


def _holds_none(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and None in value)


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
    url = text(field, url)
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


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its name or address: localhost, 127.0.0.0/8, ::1."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_local(host: str) -> bool:
    """Tell whether a host may be this machine or a neighbor on its link, however the address is written."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    if address is None:
        try:
            address = IPv4Address(socket.inet_aton(name))  # 127.1, 0x7f000001, as resolvers read them
        except OSError:
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified


def shown_url(url: str) -> str:
    """Return a URL for messages: user name, password and query are masked, because they may hold a key."""
    scheme, mark, rest = url.partition("://")
    before, at, host = rest.rpartition("@")
    if "?" in before:  # a query that holds an @, or a password that holds a question mark
        return f"{scheme}{mark}***"
    address, query, _ = host.partition("?")
    return f"{scheme}{mark}{'***@' if at else ''}{address}{'?***' if query else ''}"


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _ip_literal(host: str) -> str | None:
    address = _address(host)
    return f"[{address}]" if address is not None and "%" not in host else None
