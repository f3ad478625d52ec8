"""Where the token of a call comes from: the protocol of every provider, and the two simplest providers.

The client calls `token_from` or `atoken_from`. Both return an error of a provider as a value, a TokenError, so that it
is raised in a frame that holds no token.
"""

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, cast, runtime_checkable

import anyio

from camara_otp._secret import Secret
from camara_otp.errors import ConfigurationError, TokenError

# RFC 6750 section 2.1 (b64token), widened to every visible ASCII character, because operators issue other tokens too.
_TOKEN: Final = re.compile(r"[!-~]+")


@runtime_checkable
class TokenProvider(Protocol):
    """Provide the bearer token of a request; one object serves the sync and the async client.

    `rejected` is the token that the operator has just rejected with 401, or None. Return another token, or the same
    one when there is no other; the client then raises the 401. `timeout` is the time left for the call, in seconds.
    """

    def get_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the sync client."""
        ...

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the async client."""
        ...


class Bounded:
    """A provider of this package. It enforces `timeout` itself, so `atoken_from` does not."""

    __slots__ = ()


class StaticToken(Bounded):
    """Provide one token that never changes.

    Args:
        token: visible ASCII characters, without `Bearer`, spaces or line ends

    Raises:
        ConfigurationError: the string cannot be a token; remove the characters around it
    """

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        problem = token_problem(token)
        self._token = Secret(token)
        if problem is not None:
            del token, self
            raise ConfigurationError(f"token: {problem}")

    def get_token(self, *, rejected: str | None, timeout: float) -> str:  # noqa: ARG002
        """Return the token, even if it was rejected: there is no other."""
        return self._token.reveal()

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:  # noqa: ARG002
        """Return the token, even if it was rejected: there is no other."""
        return self._token.reveal()

    def __repr__(self) -> str:
        return "StaticToken(***)"


class CallableToken(Bounded):
    """Call a function for the token of each call, and again when the operator rejects that token.

    Args:
        function: takes no argument and returns the token, or, for the async client only, an awaitable of it. The
            deadline does not interrupt a plain function: keep it quick.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], str | Awaitable[str]]) -> None:
        self._function = function

    def get_token(self, *, rejected: str | None, timeout: float) -> str:  # noqa: ARG002
        """Return the function's result; a TokenError says that an asynchronous function needs AsyncOTPClient."""
        del rejected
        result = self._function()
        if isinstance(result, str) or not inspect.isawaitable(result):
            return result  # if it is not a string, the client raises an error
        if inspect.iscoroutine(result):
            result.close()
        raise TokenError("the token callable is asynchronous: give OTPClient a plain one, or use AsyncOTPClient")

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return the function's result, awaited for at most `timeout` seconds if it is awaitable."""
        del rejected
        result = self._function()
        if isinstance(result, str) or not inspect.isawaitable(result):
            return result
        with anyio.move_on_after(timeout):
            return await result
        raise TokenError("the token callable returned no token in time; check it, or give the call a longer timeout")

    def __repr__(self) -> str:
        return f"CallableToken({getattr(self._function, '__qualname__', type(self._function).__qualname__)})"


TokenSource = str | Callable[[], str | Awaitable[str]] | TokenProvider
"""A value for the argument `token`: a string, a callable, or a provider."""


def provider_of(source: TokenSource) -> TokenProvider:
    """Return the provider for a value of the argument `token`, or raise ConfigurationError."""
    if isinstance(source, str):
        return StaticToken(source)
    # A mock has every attribute, so a callable needs the methods by its class; a lazy proxy has them by `__getattr__`.
    # isinstance would accept the former on Python 3.11 alone, and reject the latter on any later Python.
    owner = source.__class__ if callable(source) else source
    if hasattr(owner, "get_token") and hasattr(owner, "aget_token"):
        return cast("TokenProvider", source)
    if callable(source):
        return CallableToken(source)
    kind = type(source).__name__
    del source
    raise ConfigurationError(f"token: must be a string, a callable or a TokenProvider, not {kind}")


def token_problem(token: object) -> str | None:
    """Return the reason why a header cannot carry a token, or None."""
    if not isinstance(token, str):
        return f"must be a string, not {type(token).__name__}"
    if not token:
        return "is empty; set it, or leave it out to read CAMARA_BEARER_TOKEN"
    if _TOKEN.fullmatch(token):
        return None
    if not token.isascii():
        return "holds a character outside ASCII; copy it again from the operator"
    if token.lower().startswith("bearer "):
        return "must not start with 'Bearer'; give only the token"
    return "has a space, a line end or another control character; remove it"


def token_from(provider: TokenProvider | None, rejected: Secret | None, timeout: float) -> Secret | TokenError | None:
    """Return the provider's token, or the error, as a value; None without a provider."""
    if provider is None:
        return None
    if type(provider) is StaticToken:
        return provider._token  # noqa: SLF001 - checked when it was given
    try:
        return _checked(provider.get_token(rejected=_revealed(rejected), timeout=timeout))
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, there is no token
        return _token_error(error)


async def atoken_from(
    provider: TokenProvider | None, rejected: Secret | None, timeout: float
) -> Secret | TokenError | None:
    """Return the provider's token within `timeout` seconds, or the error, as a value; None without a provider."""
    if provider is None:
        return None
    if type(provider) is StaticToken:
        return provider._token  # noqa: SLF001 - checked when it was given
    try:
        if isinstance(provider, Bounded):
            return _checked(await provider.aget_token(rejected=_revealed(rejected), timeout=timeout))
        with anyio.move_on_after(timeout):
            return _checked(await provider.aget_token(rejected=_revealed(rejected), timeout=timeout))
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, there is no token
        return _token_error(error)
    return TokenError("the token provider returned no token in time; check it, or give the call a longer timeout")


def _revealed(token: Secret | None) -> str | None:
    return None if token is None else token.reveal()


def _checked(token: str) -> Secret | TokenError:
    if token == "":
        return TokenError(
            "the token provider returned an empty string; check the provider or the function given as `token`"
        )
    problem = token_problem(token)
    return Secret(token) if problem is None else TokenError(f"the token that was provided {problem}")


def _token_error(error: Exception) -> TokenError:
    if isinstance(error, TokenError):
        # An error of this package: its frames may contain secrets, and its message is complete.
        return error.with_traceback(None)
    failure = TokenError(f"the token provider raised {type(error).__name__}")
    failure.__cause__ = error
    return failure
