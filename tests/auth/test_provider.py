"""The token protocol, the static and the callable provider."""

import time
from unittest.mock import AsyncMock, MagicMock, Mock, NonCallableMock

import anyio
import pytest

from camara_otp._secret import Secret
from camara_otp.auth import CallableToken, StaticToken, TokenProvider
from camara_otp.auth.providers import atoken_from, provider_of, token_from, token_problem
from camara_otp.errors import ConfigurationError, TokenError

BAD_TOKENS = [
    "",
    "s3cr3t b",
    "s3cr3t\n",
    "s3cr3t\r\nX: y",
    "s3cr3t\x00",
    "s3cr3té",
    "Bearer s3cr3t",
    " s3cr3t",
    "s3cr3t\x7f",
]


class Own:
    """A provider of the user."""

    def __init__(self, give):
        self.give = give
        self.asked = []

    def get_token(self, *, rejected, timeout):
        self.asked.append((rejected, timeout))
        return self.give()

    async def aget_token(self, *, rejected, timeout):
        await anyio.sleep(0)
        return self.get_token(rejected=rejected, timeout=timeout)


def raising(error):
    """Return a function that raises."""

    def function():
        raise error

    return function


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_text_that_is_no_token_is_refused_at_once(token):
    """CR, LF, NUL, spaces and non-ASCII characters reach neither a header nor the message."""
    with pytest.raises(ConfigurationError, match="^token: ") as caught:
        StaticToken(token)

    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("token", ["a", "eyJ0.eyJz.c2ln", "AbC-._~+/=", "!#$%&'()*"])
def test_visible_ascii_is_a_token(token):
    """Operators issue tokens of any form."""
    assert token_problem(token) is None


def test_what_is_given_as_token_becomes_a_provider():
    """A string, a callable, or a provider; nothing else."""
    own = Own(lambda: "t")

    assert isinstance(provider_of("t"), StaticToken)
    assert isinstance(provider_of(lambda: "t"), CallableToken)
    assert provider_of(own) is own
    assert isinstance(own, TokenProvider)
    with pytest.raises(ConfigurationError, match="not int"):
        provider_of(7)


@pytest.mark.parametrize("mock", [Mock, MagicMock, AsyncMock])
def test_a_mock_of_a_callable_is_a_callable(mock):
    """A mock has every attribute, also those of a provider."""
    assert isinstance(provider_of(mock(return_value="t")), CallableToken)


@pytest.mark.parametrize("mock", [Mock, NonCallableMock])
def test_a_mock_of_a_provider_is_a_provider(mock):
    """It may be callable, like most mocks."""
    own = mock(spec=TokenProvider)

    assert provider_of(own) is own


def test_what_stands_for_a_provider_is_one():
    """A proxy object has the two methods, but its class does not."""

    class Lazy:
        def __getattr__(self, name):
            return getattr(own, name)

    own = Own(lambda: "t")
    lazy = Lazy()

    assert provider_of(lazy) is lazy


def test_a_provider_that_can_be_called_is_a_provider():
    """The methods of a provider take precedence over `__call__`."""

    class Both(Own):
        def __call__(self):
            raise AssertionError

    own = Both(lambda: "t")

    assert provider_of(own) is own


def test_half_a_provider_is_refused():
    """One object serves both clients, so it needs both methods."""

    class Half:
        def get_token(self, *, rejected, timeout):
            return "t"

    with pytest.raises(ConfigurationError, match="TokenProvider.*not Half"):
        provider_of(Half())


def test_reprs_hold_no_token():
    """Neither the string nor the values of a closure are shown."""

    def my_tokens():
        return "secret-token"

    assert "secret-token" not in repr(StaticToken("secret-token"))
    assert repr(CallableToken(my_tokens)).endswith("my_tokens)")
    assert repr(CallableToken(Own(my_tokens).give.__call__))


@pytest.mark.anyio
async def test_every_kind_of_provider_gives_its_token():
    """One object serves both clients."""

    async def later():
        await anyio.sleep(0)
        return "t"

    for provider in (StaticToken("t"), CallableToken(lambda: "t"), Own(lambda: "t")):
        assert token_from(provider, None, 1.0) == Secret("t")
        assert await atoken_from(provider, None, 1.0) == Secret("t")
    assert await atoken_from(CallableToken(later), None, 1.0) == Secret("t")


def test_a_provider_hears_what_was_rejected_and_what_time_is_left():
    """It can renew the token within the deadline of the call."""
    own = Own(lambda: "new")

    token_from(own, Secret("old"), 2.5)

    assert own.asked == [("old", 2.5)]


@pytest.mark.anyio
@pytest.mark.parametrize("bad", [*filter(None, BAD_TOKENS), None, 7, b"abc"])
async def test_a_provided_token_that_a_header_cannot_carry_is_an_error(bad):
    """Named as a value, without the token."""
    for result in (
        token_from(Own(lambda: bad), None, 1.0),
        token_from(CallableToken(lambda: bad), None, 1.0),
        await atoken_from(Own(lambda: bad), None, 1.0),
        await atoken_from(CallableToken(lambda: bad), None, 1.0),
    ):
        assert isinstance(result, TokenError)
        assert str(result).startswith("the token that was provided")


@pytest.mark.anyio
async def test_an_empty_token_of_a_provider_has_a_remedy_about_the_provider():
    """CAMARA_BEARER_TOKEN, the remedy for an empty string as `token`, would not help."""
    for result in (
        token_from(Own(lambda: ""), None, 1.0),
        await atoken_from(CallableToken(lambda: ""), None, 1.0),
    ):
        assert isinstance(result, TokenError)
        assert str(result) == (
            "the token provider returned an empty string; check the provider or the function given as `token`"
        )
    with pytest.raises(ConfigurationError, match="leave it out to read CAMARA_BEARER_TOKEN"):
        StaticToken("")


@pytest.mark.anyio
async def test_what_a_provider_raises_is_chained():
    """The chained exception has the frames of the provider only."""
    for result in (
        token_from(CallableToken(raising(KeyError("vault"))), Secret("old-token"), 1.0),
        await atoken_from(CallableToken(raising(KeyError("vault"))), Secret("old-token"), 1.0),
    ):
        assert isinstance(result, TokenError)
        assert "KeyError" in str(result)
        assert isinstance(result.__cause__, KeyError)
        frame = result.__cause__.__traceback__
        while frame is not None:
            assert "old-token" not in repr(frame.tb_frame.f_locals)
            frame = frame.tb_next


def test_a_token_error_of_a_provider_is_kept():
    """Its frames may contain secrets and are removed."""
    error = TokenError("no luck", error="invalid_client")

    result = token_from(CallableToken(raising(error)), None, 1.0)

    assert result is error
    assert result.__traceback__ is None


@pytest.mark.anyio
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
async def test_interruptions_pass_through(stop):
    """KeyboardInterrupt does not become a TokenError."""
    with pytest.raises(stop):
        token_from(CallableToken(raising(stop())), None, 1.0)
    with pytest.raises(stop):
        await atoken_from(CallableToken(raising(stop())), None, 1.0)


def test_an_async_callable_is_refused_by_the_sync_client():
    """The message has the remedy, and no warning about an unawaited coroutine is issued."""

    async def later():
        return "t"

    class Awaitable:
        def __await__(self):
            return iter(())

    for function in (later, Awaitable):
        result = token_from(CallableToken(function), None, 1.0)
        assert isinstance(result, TokenError)
        assert "AsyncOTPClient" in str(result)


@pytest.mark.anyio
async def test_a_slow_provider_ends_with_the_deadline():
    """The deadline applies to a provider that ignores its timeout."""

    async def slow():
        await anyio.sleep(30)
        return "t"

    class Slow(Own):
        async def aget_token(self, *, rejected, timeout):
            return await slow()

    began = time.monotonic()
    for provider in (CallableToken(slow), Slow(None)):
        result = await atoken_from(provider, None, 0.05)
        assert isinstance(result, TokenError)
        assert "in time" in str(result)
    assert time.monotonic() - began < 1.0
