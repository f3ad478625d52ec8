"""The settings of a client: constructor arguments and environment variables, checked once.

A setting that is rejected raises ConfigurationError, which names it, the rule and the remedy.
"""

import os
import random
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from types import UnionType
from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from camara_otp._checks import URL_PATH, is_count, seconds, split_url, text, warn, without_bom
from camara_otp._version import __version__
from camara_otp.auth.providers import TokenProvider, TokenSource, provider_of
from camara_otp.errors import ConfigurationError
from camara_otp.retry import RetryPolicy

DEFAULT_API_PATH: Final = "/otpvalidation"
DEFAULT_RETRY: Final = RetryPolicy()
DEFAULT_TIMEOUT: Final = 10.0

Params = Mapping[str, str | int | Sequence[str | int]]


class Environment(Enum):
    """The default of an argument that is read from the environment if it is left out."""

    TOKEN = "CAMARA_BEARER_TOKEN"  # noqa: S105 - the name of a variable


@cache
def _generator(_process: int) -> random.Random:
    """Return the generator of a process; a forked process would repeat the correlators of its parent."""
    return random.Random()  # noqa: S311 - a correlator is no secret


def new_x_correlator() -> str:
    """Return a fresh x-correlator: a UUID4 string, which every release of the API accepts."""
    # Not `uuid.uuid4`: it asks the system for each, and other threads take the interpreter meanwhile, which costs a
    # service of many threads a tenth of a call. Not the module's own generator, which the caller may seed.
    return str(uuid.UUID(int=_generator(os.getpid()).getrandbits(128), version=4))


def variable(name: str) -> str | None:
    """Return an environment variable without a byte order mark; an empty one counts as unset."""
    return without_bom(os.environ.get(name, "")) or None


class ClientSettings:
    """The checked settings of one client. A plain object, because headers and parameters may hold keys."""

    __slots__ = ("endpoint", "headers", "policy", "provider", "server", "timeout", "x_correlator")

    def __init__(
        self,
        base_url: str | None,
        *,
        token: TokenSource | Environment | None,
        api_path: str | None,
        timeout: float,
        retry: RetryPolicy | None,
        x_correlator: Callable[[], str] | None,
        headers: Mapping[str, str] | None,
        params: Params | None,
        max_response_bytes: int,
        allow_http: bool,
        http_client: object,
    ) -> None:
        """Check the arguments of a constructor, in their order, and read those left out from the environment."""
        root = base_url if base_url is not None else variable("CAMARA_BASE_URL")
        if not root:
            raise ConfigurationError("base_url: is missing; give the operator's API root or set CAMARA_BASE_URL")
        path = api_path if api_path is not None else variable("CAMARA_API_PATH") or DEFAULT_API_PATH
        self.endpoint = endpoint(root, path, params, allow_http=allow_http)
        if self.endpoint.shows_token:
            warn("allow_http=True: the token travels over plain http")
        if not _is(retry, RetryPolicy | None):
            raise ConfigurationError("retry: must be a RetryPolicy, or None to repeat nothing")
        if x_correlator is not None and not callable(x_correlator):
            raise ConfigurationError("x_correlator: must be a callable here, or None; give a value with each call")
        if not is_count(max_response_bytes):
            raise ConfigurationError("max_response_bytes: must be a whole number of at least 1")
        self.headers = static_headers(headers, _DEFAULT_HEADERS)
        self.provider = _provider(token, http_client)
        self.policy = retry
        self.timeout = seconds("timeout", timeout)
        self.x_correlator = x_correlator
        origin = urlsplit(self.endpoint.origin)
        self.server = origin.hostname or "", origin.port or (443 if origin.scheme == "https" else 80)


def _is(value: object, kind: type | UnionType) -> bool:
    # For values that the annotations exclude, and that callers without a type checker give all the same.
    return isinstance(value, kind)


def _provider(token: TokenSource | Environment | None, http_client: object) -> TokenProvider | None:
    if token is None:
        if http_client is None:
            raise ConfigurationError(
                "token: is None, so `http_client` must authorize requests, but none was given; give one of the two"
            )
        if _adds_token_by_request(http_client):
            raise ConfigurationError(
                f"token: is None, so `http_client` must authorize requests; but {type(http_client).__name__} does so "
                "in its own `request` method, which this package does not call. Give the client an `auth`, or pass "
                "token=lambda: http_client.token['access_token'], or use camara_otp.auth"
            )
        return None
    if isinstance(token, Environment):
        found = variable(token.value)
        if found is not None:
            return provider_of(text("token", found))
        if variable("CAMARA_CLIENT_ID") and (variable("CAMARA_TOKEN_URL") or variable("CAMARA_ISSUER")):
            raise ConfigurationError(
                f"token: is missing; {token.value} is not set, but the environment holds client credentials, which "
                "from_env() reads: OTPClient.from_env() or AsyncOTPClient.from_env()"
            )
        raise ConfigurationError(f"token: is missing; give a string, a callable or a provider, or set {token.value}")
    return provider_of(token)


def _adds_token_by_request(http_client: object) -> bool:
    """Return whether a client without `auth` overrides `request`, as Authlib's OAuth2Client does."""
    if getattr(http_client, "auth", None) is not None:
        return False
    owner = next((kind for kind in type(http_client).__mro__ if "request" in vars(kind)), None)
    return owner is not None and owner.__module__.partition(".")[0] not in ("httpx", "httpx2")


# --- The URL of the requests -----------------------------------------------------------------------------------------

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
    """Return the checked endpoint; paths are joined by concatenation, so a path in the root stays."""
    url = split_url("base_url", base_url, allow_http=allow_http)
    between = text("api_path", api_path).strip("/")
    if not URL_PATH.fullmatch(between):
        raise ConfigurationError(
            "api_path: must be a path such as /one-time-password-sms/v1, without spaces, ? or #; "
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
        raise ConfigurationError("params: must be a mapping of names to strings or lists of strings; got another value")
    path = url.path.rstrip("/") + (f"/{between}" if between else "")
    return Endpoint(url.origin, path, f"?{query}" if query else "", url.in_the_clear)


def _holds_none(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and None in value)


# --- The headers of the requests -------------------------------------------------------------------------------------

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_VALUE: Final = re.compile(r"[!-~]([ \t!-~]*[!-~])?|")  # RFC 9110 section 5.5, ASCII alone

_DEFAULT_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": f"camara-otp/{__version__}",
}
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
    """Return the headers of every request: the defaults, overridden by the caller's own."""
    chosen = {name.lower(): (name, value) for name, value in defaults.items()}
    if not _is(headers, Mapping | None):
        raise ConfigurationError("headers: must be a mapping of names to strings")
    for name, value in (headers or {}).items():
        if not _is_text(name, _NAME):
            raise ConfigurationError(
                "headers: a name must contain only letters, digits and the marks of RFC 9110 section 5.6.2, such as a "
                "hyphen or an underscore"
            )
        if name.lower() in _RESERVED:
            raise ConfigurationError(f"headers: {name} cannot be set here; {_RESERVED[name.lower()]}")
        if not _is_text(value, _VALUE):
            del value, headers
            raise ConfigurationError(
                f"headers: the value of {name} must be visible ASCII without line ends, or spaces around it"
            )
        chosen[name.lower()] = (name, value)
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in chosen.values())


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
