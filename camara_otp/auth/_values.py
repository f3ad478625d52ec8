"""What the rooms of this package hand each other: a token, a refusal, an endpoint, a form."""

import math
import re
import warnings
from typing import Final, NamedTuple

from attrs import field, frozen

from camara_otp._endpoint import split_url
from camara_otp.errors import ConfigurationError, TokenError

_QUERY: Final = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
_CALLER: Final = 4  # frames from the warning to whoever makes a provider


@frozen
class Token:
    """A token as it was just obtained.

    `lifetime` and `left` are seconds; they differ when the token comes from a store. A `final` token cannot be
    renewed, so nobody should try ahead of its end.
    """

    value: str = field(repr=False)
    lifetime: float
    left: float
    refresh: str | None = field(default=None, repr=False)
    final: bool = False


@frozen
class Refusal:
    """Why there is no token: a TokenError as a value, so that it can be kept, shared and raised elsewhere.

    `again` says that repeating may help, after at least `wait` seconds.
    """

    reason: str
    code: str | None = None
    description: str | None = None
    again: bool = False
    wait: float = 0.0

    def error(self) -> TokenError:
        """Return a new exception; one instance must never be raised by two callers."""
        return TokenError(self.reason, error=self.code, error_description=self.description)


class Form(NamedTuple):
    """One request: headers and body, and the texts in it that no message may repeat."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    secrets: tuple[str, ...]


@frozen
class Endpoint:
    """A checked URL, cut into what an exchange needs."""

    url: str
    origin: str
    target: str


def endpoint(name: str, url: str, *, allow_http: bool) -> Endpoint:
    """Check a URL and cut it up. Unlike a base_url, it may carry a query (RFC 6749 section 3.2).

    Raises:
        ConfigurationError: it is not an absolute https URL (http is for loopback, or for `allow_http=True`).
    """
    path, mark, query = url.partition("?")
    if not _QUERY.fullmatch(query):
        raise ConfigurationError(f"{name}: has a query with characters that must be percent-encoded, or a fragment")
    if "@" in path:
        raise ConfigurationError(f"{name}: must hold no user name or password; they belong in client_id and its secret")
    parts = split_url(name, path, allow_http=allow_http)
    if parts.in_the_clear:
        warnings.warn(
            f"{name}: the credentials travel over plain http, readable by everyone on the way", stacklevel=_CALLER
        )
    return Endpoint(url, parts.origin, f"{parts.path or '/'}{mark}{query}")


def text(name: str, value: object) -> str:
    """Check that a value is text which can be sent.

    Raises:
        ConfigurationError: it is something else, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}: must be text, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        sendable = False
    else:
        sendable = True
    if not sendable:
        raise ConfigurationError(f"{name}: holds half of a surrogate pair, which no encoding can carry")
    return value


def seconds(name: str, value: object, *, zero: bool = False) -> float:
    """Check a duration.

    Raises:
        ConfigurationError: it is not a finite number of seconds above zero (or zero, where that is allowed).
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{name}: must be a finite number of seconds")
    if value < 0 or (value == 0 and not zero):
        raise ConfigurationError(f"{name}: must be {'zero or more' if zero else 'more than zero'} seconds")
    return float(value)
