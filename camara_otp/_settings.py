"""The settings of a client: constructor arguments and environment variables, checked once."""

import os
import uuid
from collections.abc import Callable, Mapping
from enum import Enum
from types import UnionType
from typing import Final
from urllib.parse import urlsplit

from camara_otp._checks import is_count, seconds, text, warn, without_bom
from camara_otp._endpoint import Endpoint, Params, endpoint
from camara_otp._headers import static_headers
from camara_otp._version import __version__
from camara_otp.auth.providers import TokenProvider, TokenSource, provider_of
from camara_otp.errors import ConfigurationError
from camara_otp.retry import RetryPolicy

DEFAULT_API_PATH: Final = "/otpvalidation"
DEFAULT_RETRY: Final = RetryPolicy()
DEFAULT_TIMEOUT: Final = 10.0


class Environment(Enum):
    """The default of an argument that is read from the environment if it is left out."""

    TOKEN = "CAMARA_BEARER_TOKEN"  # noqa: S105 - the name of a variable


def new_x_correlator() -> str:
    """Return a fresh x-correlator: UUID4 text, which every release of the API accepts."""
    return str(uuid.uuid4())


def variable(name: str) -> str | None:
    """Return an environment variable without a byte order mark; an empty one counts as unset."""
    return without_bom(os.environ.get(name, "")) or None


class ClientSettings:
    """The checked settings of one client. A plain object, because headers and parameters may hold keys."""

    __slots__ = ("endpoint", "headers", "policy", "provider", "server", "timeout", "x_correlator")

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        headers: tuple[tuple[bytes, bytes], ...],
        provider: TokenProvider | None,
        policy: RetryPolicy | None,
        timeout: float,
        x_correlator: Callable[[], str] | None,
    ) -> None:
        self.endpoint = endpoint
        self.headers = headers
        self.provider = provider
        self.policy = policy
        self.timeout = timeout
        self.x_correlator = x_correlator
        origin = urlsplit(endpoint.origin)
        self.server = origin.hostname or "", origin.port or (443 if origin.scheme == "https" else 80)


def checked_settings(
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
) -> ClientSettings:
    """Check the arguments of a constructor, in their order, and read those left out from the environment.

    Raises:
        ConfigurationError: an argument is rejected; the message names it, the rule and the remedy.
    """
    root = base_url if base_url is not None else variable("CAMARA_BASE_URL")
    if not root:
        raise ConfigurationError("base_url: is missing; give the operator's API root or set CAMARA_BASE_URL")
    path = api_path if api_path is not None else variable("CAMARA_API_PATH") or DEFAULT_API_PATH
    place = endpoint(root, path, params, allow_http=allow_http)
    if place.shows_token:
        warn("allow_http=True: the token travels over plain http")
    if not _is(retry, RetryPolicy | None):
        raise ConfigurationError("retry: must be a RetryPolicy, or None to repeat nothing")
    if x_correlator is not None and not callable(x_correlator):
        raise ConfigurationError("x_correlator: must be a callable here, or None; give a value with each call")
    if not is_count(max_response_bytes):
        raise ConfigurationError("max_response_bytes: must be a whole number of at least 1")
    return ClientSettings(
        endpoint=place,
        headers=static_headers(
            headers,
            {
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": f"camara-otp/{__version__}",
            },
        ),
        provider=_provider(token, http_client),
        policy=retry,
        timeout=seconds("timeout", timeout),
        x_correlator=x_correlator,
    )


def _is(value: object, kind: type | UnionType) -> bool:
    # For values that the annotations exclude, and that callers without a type checker give all the same.
    return isinstance(value, kind)


def _provider(token: TokenSource | Environment | None, http_client: object) -> TokenProvider | None:
    if token is None:
        if http_client is None:
            raise ConfigurationError("token: None leaves authorization to `http_client`, which was not given")
        if _adds_token_by_request(http_client):
            raise ConfigurationError(
                f"token: None leaves authorization to `http_client`, but {type(http_client).__name__} adds it in its "
                "own request method, which is not called here; give the client an `auth`, or give its token as a "
                "callable, as token=lambda: http_client.token['access_token'], or use camara_otp.auth"
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
        raise ConfigurationError(f"token: is missing; give a text, a callable or a provider, or set {token.value}")
    return provider_of(token)


def _adds_token_by_request(http_client: object) -> bool:
    """Tell whether a client without `auth` overrides `request`, as Authlib's OAuth2Client does."""
    if getattr(http_client, "auth", None) is not None:
        return False
    owner = next((kind for kind in type(http_client).__mro__ if "request" in vars(kind)), None)
    return owner is not None and owner.__module__.partition(".")[0] not in ("httpx", "httpx2")
