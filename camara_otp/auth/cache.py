"""Keep one token, and let one fetch serve every caller that waits for it.

The token at hand is read without a lock: it is a reference to an immutable value. Everything else is decided under a
lock that is held for microseconds and never across I/O or an await.

A fetch runs in a thread of its own. Callers, in threads or in tasks of any event loop, only wait for it, each for as
long as its own call allows. No caller owns the fetch, so a caller that is cancelled or times out does not affect the
others, and a token that comes too late for one caller serves the next. A fetch that exceeds its time is abandoned and
replaced. Ahead of a token's expiry a fetch starts in the background, and callers get the token at hand. A forked child
starts with the token and without the fetch, whose thread exists in the parent only.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from attrs import field, frozen

from camara_otp._threads import await_future, start_thread, wait
from camara_otp.auth.answers import Token, TokenRefusal
from camara_otp.auth.providers import Bounded

_log: Final = logging.getLogger("camara_otp.auth")

Source = Callable[[str | None, float], Token | TokenRefusal]
"""Fetches a token other than the given one; is told how many seconds a caller waits for it."""

RETRY_PAUSE: Final = 2.0
"""Seconds between two renewals in the background when the first one failed or brought no newer token."""

# Seconds that a fetch may exceed the timeout of its endpoint before it is abandoned.
GRACE: Final = 2.0

_LATE: Final = TokenRefusal("no token within the time of the call; the token endpoint is slow, or timeout is too short")


@frozen
class CachedToken:
    """A token with the moments, on the monotonic clock, at which to renew it and to stop using it."""

    value: str = field(repr=False)
    renew_at: float
    expires_at: float
    final: bool = False


def cached_token(token: Token, began: float, leeway: float) -> CachedToken:
    """Return the token of a request that began at `began`, with its moments."""
    expires_at = began + token.left - token.safety_margin()
    renew_at = expires_at if token.final else began + token.left - token.renew_ahead(leeway)
    return CachedToken(token.value, renew_at, expires_at, token.final)


class Fetch(Future[Token | TokenRefusal]):
    """A fetch that has started. It avoids the token `unwanted`, and is abandoned at `until`.

    It is void once a token was put into the cache from elsewhere.
    """

    def __init__(self, unwanted: str | None, until: float, void: threading.Event) -> None:
        super().__init__()
        self.unwanted = unwanted
        self.until = until
        self.void = void


class TokenCache:
    """Serve a token to any number of threads and tasks, with one fetch at a time.

    Args:
        source: fetches a token, within `patience` seconds, in a thread.
        leeway: renew this many seconds ahead of the expiry, fewer for a short lifetime.
        patience: seconds after which a fetch is abandoned.
        clock: monotonic seconds.
    """

    def __init__(
        self, source: Source, *, leeway: float, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._leeway = leeway
        self._patience = patience
        self._clock = clock
        self._token: CachedToken | None = None
        self._void = threading.Event()
        self.after_fork()
        _caches.add(self)

    def after_fork(self) -> None:
        """Keep the token, and forget the lock and the fetch of the parent's threads."""
        self._lock = threading.Lock()
        self._fetch: Fetch | None = None
        self._quiet_until = 0.0

    def fresh(self, rejected: str | None) -> str | None:
        """Return the cached token if it is neither due nor rejected: the usual case."""
        token = self._token
        if token is not None and token.value != rejected and self._clock() < token.renew_at:
            return token.value
        return None

    def put(self, token: Token, began: float) -> None:
        """Take a token that was obtained elsewhere, and void the fetch that is under way."""
        with self._lock:
            self._void.set()
            self._void = threading.Event()
            self._fetch = None
            self._quiet_until = 0.0
            self._token = cached_token(token, began, self._leeway)

    def get(self, rejected: str | None, timeout: float) -> str | TokenRefusal:
        """Return a token other than `rejected`, or the reason why there is none, within `timeout` seconds."""
        deadline = self._clock() + timeout
        while True:
            found = self._decide(rejected, deadline)
            if isinstance(found, str):
                return found
            outcome = wait(found, min(deadline, found.until) - self._clock())
            result = self._result(found, outcome, rejected, deadline)
            if result is not None:
                return result

    async def aget(self, rejected: str | None, timeout: float) -> str | TokenRefusal:
        """Return a token other than `rejected`, or the reason why there is none, within `timeout` seconds."""
        deadline = self._clock() + timeout
        while True:
            found = self._decide(rejected, deadline)
            if isinstance(found, str):
                return found
            outcome = await await_future(found, min(deadline, found.until) - self._clock())
            result = self._result(found, outcome, rejected, deadline)
            if result is not None:
                return result

    def _decide(self, rejected: str | None, deadline: float) -> str | Fetch:
        """Return a token to serve at once, or the fetch to wait for."""
        with self._lock:
            now = self._clock()
            token = self._token
            if token is not None and token.value == rejected and not token.final:
                token = self._token = None  # no other caller shall get a token that the operator rejects
            if token is not None and now >= token.expires_at:
                token = None
            if token is not None and (now < token.renew_at or now < self._quiet_until):
                return token.value
            fetch = self._fetch
            if fetch is None or now >= fetch.until:
                # A renewal ahead of the expiry has all its time, because no caller waits for it.
                unwanted, wait_budget = (rejected, deadline - now) if token is None else (token.value, self._patience)
                fetch = self._start(unwanted, now, wait_budget)
            return fetch if token is None else token.value

    def _result(
        self, fetch: Fetch, outcome: Token | TokenRefusal | None, rejected: str | None, deadline: float
    ) -> str | TokenRefusal | None:
        """Return the result of a fetch for one caller, or None when the caller has to ask again."""
        if outcome is None:
            return _LATE if self._clock() >= deadline else None
        if fetch.void.is_set():
            return None
        if isinstance(outcome, TokenRefusal):
            return outcome
        # A fetch that started before this caller's token was rejected may bring that very token.
        return None if outcome.value == rejected != fetch.unwanted else outcome.value

    def _start(self, unwanted: str | None, now: float, wait_budget: float) -> Fetch:
        # The thread starts before the fetch is noted, and cannot finish before the lock is free: an interrupt in
        # between leaves a token, not a noted fetch without a thread.
        fetch = Fetch(unwanted, now + self._patience, self._void)
        try:
            start_thread(self._run, fetch, now, wait_budget)
        except RuntimeError:
            fetch.set_result(
                TokenRefusal("no token: this process cannot start another thread to fetch one", again=True)
            )
        else:
            self._fetch = fetch
        return fetch

    def _run(self, fetch: Fetch, began: float, wait_budget: float) -> None:
        try:
            outcome = self._source(fetch.unwanted, wait_budget)
        except BaseException as error:  # noqa: BLE001 - a caller's own http_client or store may raise anything
            outcome = TokenRefusal(f"no token: fetching it raised {type(error).__name__}")
        with self._lock:
            is_void = fetch.void.is_set()
            if not is_void:
                self._finish(fetch, outcome, began)
            is_served = self._token is not None and self._clock() < self._token.expires_at
        fetch.set_result(outcome)
        if is_served and isinstance(outcome, TokenRefusal) and not is_void:
            # No caller waits for a renewal ahead of the expiry, so no caller would report its failure.
            _log.warning("the token could not be renewed ahead of its expiry: %s", outcome.reason)

    def _finish(self, fetch: Fetch, outcome: Token | TokenRefusal, began: float) -> None:
        now = self._clock()
        is_current = self._fetch is fetch
        if is_current:
            self._fetch = None
        if isinstance(outcome, Token):
            token = cached_token(outcome, began, self._leeway)
            # An abandoned fetch must not replace a later token by an earlier one.
            if is_current or self._token is None or self._token.expires_at < token.expires_at:
                self._token = token
            if now < token.renew_at:
                return
        self._quiet_until = now + RETRY_PAUSE


_caches: Final[weakref.WeakSet[TokenCache]] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in list(_caches):
        cache.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class CachedProvider(Bounded):
    """A token provider over a cache: the part that every grant has in common."""

    _cache: TokenCache
    _shown: str = ""  # what repr shows: a provider whose arguments were rejected has nothing

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown})"

    def get_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the sync client.

        Args:
            rejected: the token that the operator has just answered with 401, or None.
            timeout: seconds to wait for a token that has to be fetched.

        Raises:
            TokenError: no token could be obtained; `error` holds the server's code, the text the remedy.
        """
        token = self._cache.fresh(rejected)
        if token is not None:
            return token
        try:
            return _token_or_raise(self._cache.get(rejected, timeout))
        except BaseException as error:  # noqa: BLE001 - raised again
            raise error.with_traceback(None) from None  # the frames below hold tokens
        finally:
            del rejected

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the async client; the arguments and errors are those of `get_token`."""
        token = self._cache.fresh(rejected)
        if token is not None:
            return token
        try:
            return _token_or_raise(await self._cache.aget(rejected, timeout))
        except BaseException as error:  # noqa: BLE001 - raised again
            raise error.with_traceback(None) from None  # the frames below hold tokens
        finally:
            del rejected


def _token_or_raise(outcome: str | TokenRefusal) -> str:
    if isinstance(outcome, TokenRefusal):
        raise outcome.error()
    return outcome
