"""Checks of arguments and settings, shared by clients, policies and providers; and the warnings about them.

A check returns the value, or raises ConfigurationError with the argument, the rule and the remedy.
"""

import math
import re
import socket
import sys
import warnings
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from camara_otp.errors import ConfigurationError

LONGEST: Final = 1e8
"""Seconds, more than three years: sockets and locks do not accept every number."""

URL_PATH: Final = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")  # RFC 3986 section 3.3

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_VISIBLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")


def text(name: str, value: object) -> str:
    """Return a string that can be encoded as UTF-8, without a byte order mark at its beginning."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}: must be a string (str), not {type(value).__name__}")
    if holds_surrogate(value):
        raise ConfigurationError(f"{name}: holds half of a surrogate pair, which has no UTF-8 form; decode it properly")
    return without_bom(value)


def holds_surrogate(value: str) -> bool:
    """Return whether a string contains half of a surrogate pair, which cannot be encoded as UTF-8 or JSON."""
    return not value.isascii() and _SURROGATE.search(value) is not None


def without_bom(value: str) -> str:
    """Return a string without the byte order mark that editors put at the beginning of a file."""
    return value.removeprefix("\ufeff")


def is_count(value: object) -> bool:
    """Return whether a value is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def seconds(name: str, value: object, *, zero: bool = False) -> float:
    """Return a finite duration in seconds above 0, or from 0 on where `zero` is set; at most `LONGEST`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and (number > 0 or (zero and number == 0)):
            return min(number, LONGEST)
    raise ConfigurationError(f"{name}: must be a finite number of seconds, {'0 or more' if zero else 'above 0'}")


def warn(message: str) -> None:
    """Warn, and attribute the warning to the first frame outside this package."""
    level = 2
    frame = sys._getframe(1)  # noqa: SLF001 - skip_file_prefixes needs Python 3.12  # pyright: ignore[reportPrivateUsage]
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == "camara_otp":
        frame = frame.f_back
        level += 1
    warnings.warn(message, stacklevel=level)


# --- URLs that receive a token or a secret ---------------------------------------------------------------------------
# Rejects URLs that different parsers may resolve to different hosts.


class SplitURL(NamedTuple):
    """A checked URL: scheme and authority, path, and whether it goes over plain http to another machine."""

    origin: str
    path: str
    in_the_clear: bool


def split_url(field: str, url: str, *, allow_http: bool) -> SplitURL:
    """Return the parts of a URL, `https://host[:port][/path]`, that a token or a secret may be sent to."""
    url = text(field, url)
    if not _VISIBLE.fullmatch(url):
        raise ConfigurationError(
            f"{field}: must be an ASCII URL without spaces or control characters; "
            "write an international host name in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{field}: is not a URL; write https://host[:port][/path]") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"{field}: must start with https://, or with http:// on this machine")
    if "@" in parts.netloc:
        raise ConfigurationError(f"{field}: must not contain a user name or password; give the token as `token`")
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{field}: must not contain a query or a fragment; give query parameters as `params`")
    host = parts.hostname or ""
    literal = _ip_literal(host) if "[" in parts.netloc else None
    if not (literal or ("[" not in parts.netloc and _HOST.fullmatch(host))) or port == 0 or parts.netloc.endswith(":"):
        raise ConfigurationError(f"{field}: has no host, or an invalid one; write https://host[:port][/path]")
    if not URL_PATH.fullmatch(parts.path):
        raise ConfigurationError(f"{field}: has a path with characters that must be percent-encoded")
    in_the_clear = parts.scheme == "http" and not is_loopback(host)
    if in_the_clear and not allow_http:
        raise ConfigurationError(
            f"{field}: plain http would show the token to the network; use https://, "
            "or set allow_http to true if the network is private"
        )
    authority = literal or host
    return SplitURL(f"{parts.scheme}://{authority}" + (f":{port}" if port else ""), parts.path, in_the_clear)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its name or address: localhost, 127.0.0.0/8, ::1."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_local(host: str) -> bool:
    """Return whether a host may be this machine or a neighbor on its link, however the address is written."""
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
