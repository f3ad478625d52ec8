"""Where a token comes from: the protocol every provider follows, and the two simplest providers.

The client asks `fetch` or `afetch`, which turn whatever a provider does wrong into a TokenError and hand it back as a
value, so that the one place which raises it carries no frame that knows a token.
"""

import inspect
import re
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Protocol, TypeGuard, runtime_checkable

import anyio

from camara_otp.errors import ConfigurationError, TokenError

# RFC 6750 section 2.1 (b64token), widened to every visible ASCII character: operators issue what they like.
_TOKEN: Final = re.compile(r"[!-~]+")


@runtime_checkable
class TokenProvider(Protocol):
    """Give the bearer token for a request; one object serves the sync and the async client.

    `rejected` is the token that the operator has just answered with 401, or None: return another one, or the same
    when none can be had, and the client raises the 401. `timeout` is what is left of the call, in seconds.
    """

    def get_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the sync client."""
        ...

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the async client."""
        ...


class Bounded:
    """Mark the providers of this package, which keep to `timeout` by themselves and need no watch over them."""

    __slots__ = ()


class StaticToken(Bounded):
    """Hold one token that never changes, as text.

    Args:
        token: visible ASCII characters, without `Bearer`, blanks or line ends.

    Raises:
        ConfigurationError: the text cannot be a token; strip what surrounds it.
    """

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        """Check the token once, here."""
        problem = token_problem(token)
        self._token = token
        if problem is not None:
            del token, self
            raise ConfigurationError(f"token: {problem}")

    def get_token(self, *, rejected: str | None, timeout: float) -> str:  # noqa: ARG002
        """Return the token; there is no other one, whatever was rejected."""
        return self._token

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:  # noqa: ARG002
        """Return the token; there is no other one, whatever was rejected."""
        return self._token

    def __repr__(self) -> str:
        """Return a text without the token."""
        return "StaticToken(***)"


class CallableToken(Bounded):
    """Ask a callable for the token of each call, and again when the operator rejects it.

    Args:
        function: takes nothing and returns the token, or, for the async client only, an awaitable of it. A plain
            function is not interrupted by the deadline: keep it quick.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], str | Awaitable[str]]) -> None:
        """Keep the callable."""
        self._function = function

    def get_token(self, *, rejected: str | None, timeout: float) -> str:  # noqa: ARG002
        """Return what the callable gives.

        Raises:
            TokenError: the callable is asynchronous; use AsyncOTPClient or a plain function.
        """
        del rejected
        result = self._function()
        if isinstance(result, str):
            return result
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise TokenError("the token callable is asynchronous: give OTPClient a plain one, or use AsyncOTPClient")
        return result  # not text: the client names what is wrong with it

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return what the callable gives, awaited when it is awaitable.

        Raises:
            TokenError: the awaitable took longer than `timeout`.
        """
        del rejected
        result = self._function()
        if isinstance(result, str):
            return result
        if not inspect.isawaitable(result):
            return result
        with anyio.move_on_after(timeout) as scope:
            return await result
        if scope.cancelled_caught:
            raise TokenError("the token callable did not answer in time")
        raise AssertionError("unreachable")  # pragma: no cover

    def __repr__(self) -> str:
        """Return the callable's name only: a closure may hold a secret."""
        return f"CallableToken({getattr(self._function, '__qualname__', type(self._function).__qualname__)})"


TokenSource = str | Callable[[], str | Awaitable[str]] | TokenProvider
"""What may be given as `token`: text, a callable, or a provider."""


def provider_of(source: TokenSource) -> TokenProvider:
    """Return the provider that stands for what was given as `token`.

    Raises:
        ConfigurationError: it is none of text, callable or provider, or the text cannot be a token.
    """
    if isinstance(source, str):
        return StaticToken(source)
    if _is_provider(source):
        return source
    if callable(source):
        return CallableToken(source)
    kind = type(source).__name__
    del source
    raise ConfigurationError(f"token: must be text, a callable or a TokenProvider, not {kind}")


def _is_provider(source: object) -> TypeGuard[TokenProvider]:
    """Tell whether an object has the protocol's methods; one that can be called has to have them by its class.

    A mock has every attribute, and a lazy proxy has its methods by `__getattr__`: isinstance would take the one on
    Python 3.11 alone, and refuse the other on any later Python.
    """
    has_methods = source.__class__ if callable(source) else source
    return hasattr(has_methods, "get_token") and hasattr(has_methods, "aget_token")


def token_problem(token: object) -> str | None:
    """Return what keeps a value from being a token that a header can carry, or None."""
    if not isinstance(token, str):
        return f"must be text, not {type(token).__name__}"
    if not token:
        return "is empty; set it, or leave it out to read CAMARA_BEARER_TOKEN"
    if _TOKEN.fullmatch(token):
        return None
    if not token.isascii():
        return "holds a character outside ASCII; copy it again from the operator"
    if token.lower().startswith("bearer "):
        return "must not start with 'Bearer'; give the token alone"
    return "holds a blank, a line end or another control character; strip it"


def fetch(provider: TokenProvider, rejected: str | None, timeout: float) -> str | TokenError:
    """Return the provider's token, or what went wrong, as a value."""
    try:
        token = provider.get_token(rejected=rejected, timeout=timeout)
    except Exception as error:  # noqa: BLE001 - whatever a provider raises is a token that could not be had
        return _token_error(error)
    finally:
        del rejected  # an interruption shows this frame
    return _checked(token, provider)


async def afetch(provider: TokenProvider, rejected: str | None, timeout: float) -> str | TokenError:
    """Return the provider's token within `timeout` seconds, or what went wrong, as a value."""
    try:
        if isinstance(provider, Bounded):
            return _checked(await provider.aget_token(rejected=rejected, timeout=timeout), provider)
        with anyio.move_on_after(timeout):
            return _checked(await provider.aget_token(rejected=rejected, timeout=timeout), provider)
    except Exception as error:  # noqa: BLE001 - whatever a provider raises is a token that could not be had
        return _token_error(error)
    finally:
        del rejected  # an interruption shows this frame
    return TokenError("the token provider did not answer in time")


def _checked(token: str, provider: TokenProvider) -> str | TokenError:
    if type(provider) is StaticToken:
        return token  # checked when it was given
    problem = token_problem(token)
    return token if problem is None else TokenError(f"the token that was provided {problem}")


def _token_error(error: Exception) -> TokenError:
    if isinstance(error, TokenError):
        # Ours: its frames have seen secrets, and its text says all that is to say.
        return error.with_traceback(None)
    failure = TokenError(f"the token provider raised {type(error).__name__}")
    failure.__cause__ = error.with_traceback(_without_our_frame(error.__traceback__))
    return failure


def _without_our_frame(traceback: TracebackType | None) -> TracebackType | None:
    # The first frame is fetch or afetch above, whose local is the rejected token.
    return traceback.tb_next if traceback else None
