"""Header fields: the fixed ones of every request, and the ones of a response that this package reads."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Final

from camara_otp.errors import ConfigurationError

Headers = Sequence[tuple[bytes, bytes]]

MAX_RETRY_AFTER: Final = 86_400.0
"""The longest wait, in seconds, that is read from a Retry-After header."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_VALUE: Final = re.compile(r"[!-~]([ \t!-~]*[!-~])?|")  # RFC 9110 section 5.5, ASCII alone

# Fields that the client sets by itself, and fields that change how a message is framed or read.
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


def static_headers(headers: Mapping[str, str] | None, defaults: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every request: the defaults, overridden by the caller's own.

    Raises:
        ConfigurationError: a name or a value is not valid, or the client sets the header by itself.
    """
    chosen = {name.lower(): (name, value) for name, value in defaults.items()}
    if headers is not None and not _is_mapping(headers):
        raise ConfigurationError("headers: must be a mapping of names to values, each a text")
    for name, value in (headers or {}).items():
        if not _is_text(name, _NAME):
            raise ConfigurationError("headers: a name must be a string of letters, digits and hyphens")
        if name.lower() in _RESERVED:
            raise ConfigurationError(f"headers: {name} cannot be set here; {_RESERVED[name.lower()]}")
        if not _is_text(value, _VALUE):
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


def header(headers: Headers, name: bytes) -> str | None:
    """Return the first value of a header, by its lower-case name, or None."""
    for key, value in headers:
        if key == name:
            return value.decode("latin-1").strip(" \t")
    return None


def retry_after(headers: Headers, now: float) -> float | None:
    """Return the seconds of a Retry-After header, at most one day (RFC 9110 section 10.2.3), or None.

    Args:
        headers: the headers of the response.
        now: wall-clock time in seconds since 1970, for the form that is a date.
    """
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
