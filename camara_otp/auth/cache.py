"""Keep one token, and let one fetch serve every caller that waits for it.

The client calls `get_token`. The cache returns its token, or starts a thread that fetches one. With a store, the thread
goes through `sharing`. The grant's `_fetch` names the fields, and `token_endpoint` sends them.

Callers, in threads or in tasks of any event loop, only wait for the fetch, each for as long as its own call allows. So
a caller that is cancelled or times out does not affect the others. A token that comes too late for one caller serves
the next. A fetch that exceeds its time is replaced. Ahead of a token's expiry a fetch starts in the background,
and callers get the cached token. A forked child starts with the token and without the fetch, whose thread exists in
the parent only. The lock is held for microseconds, never across I/O or an await.
"""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from attrs import define, field

from camara_otp._checks import seconds
from camara_otp._threads import await_future, start_thread, wait
from camara_otp.auth.providers import Bounded
from camara_otp.auth.responses import Token, TokenRefusal
from camara_otp.auth.sharing import SharedTokenSource
from camara_otp.auth.stores import StoreKey, TokenStore, checked_store
from camara_otp.auth.token_endpoint import TokenEndpoint

_log: Final = logging.getLogger("camara_otp.auth")

Source = Callable[[str | None, float], Token]
"""Fetches a token other than the given one, or raises TokenRefusal; gets the seconds for which a caller waits."""

RETRY_PAUSE: Final = 2.0
"""Seconds between two renewals in the background when the first one failed or brought no newer token."""

# Seconds that a fetch may exceed the timeout of its endpoint before another one replaces it.
GRACE: Final = 2.0

_LATE: Final = TokenRefusal("no token within the time of the call; the token endpoint is slow, or timeout is too short")


class Fetch(Future[Token | TokenRefusal | None]):
    """A fetch that has started, to replace the token `unwanted`.

    If it is still running at `until`, the next caller starts another fetch. Its outcome is None if another fetch, or a
    token that was put into the cache, has replaced it.
    """

    def __init__(self, unwanted: str | None, until: float) -> None:
        super().__init__()
        self.unwanted = unwanted
        self.until = until


@define(eq=False)
class TokenCache:
    """Serve a token to any number of threads and tasks, with one fetch at a time.

    A token is renewed `leeway` seconds ahead of its expiry. A fetch that runs longer than `fetch_timeout` seconds is
    replaced.
    """

    source: Source
    leeway: float = field(kw_only=True)
    fetch_timeout: float = field(kw_only=True)
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    _token: Token | None = field(default=None, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _running: Fetch | None = field(default=None, init=False)
    _no_renewal_before: float = field(default=0.0, init=False)
    _process: int = field(factory=os.getpid, init=False)

    def put(self, token: Token) -> None:
        """Take a token that was obtained elsewhere; it replaces the fetch that is running."""
        self._forget_parent()
        with self._lock:
            self._running = None
            self._no_renewal_before = 0.0
            self._token = token

    def get(self, rejected: str | None, timeout: float) -> str:
        """Return a token other than `rejected` within `timeout` seconds, or raise TokenError."""
        deadline = self.clock() + timeout
        while True:
            found = self._decide(rejected, deadline)
            if isinstance(found, str):
                return found
            outcome = wait(found, min(deadline, found.until) - self.clock())
            token = self._usable(found, outcome, rejected, deadline)
            if token is not None:
                return token

    async def aget(self, rejected: str | None, timeout: float) -> str:
        """Return a token other than `rejected` within `timeout` seconds, or raise TokenError."""
        deadline = self.clock() + timeout
        while True:
            found = self._decide(rejected, deadline)
            if isinstance(found, str):
                return found
            outcome = await await_future(found, min(deadline, found.until) - self.clock())
            token = self._usable(found, outcome, rejected, deadline)
            if token is not None:
                return token

    def _decide(self, rejected: str | None, deadline: float) -> str | Fetch:
        """Return a token to serve at once, or the fetch to wait for."""
        token = self._token
        if token is not None and token.value != rejected and self.clock() < token.renew_at(self.leeway):
            return token.value  # the usual case, without the lock
        self._forget_parent()
        with self._lock:
            now = self.clock()
            token = self._token
            if token is not None and token.value == rejected and not token.final:
                token = self._token = None  # no other caller shall get a token that the operator rejects
            if token is not None and now >= token.usable_until():
                token = None
            if token is not None and (now < token.renew_at(self.leeway) or now < self._no_renewal_before):
                return token.value
            fetch = self._running
            if fetch is None or now >= fetch.until:
                # A renewal ahead of the expiry has all its time, because no caller waits for it.
                unwanted, wait_budget = (
                    (rejected, deadline - now) if token is None else (token.value, self.fetch_timeout)
                )
                fetch = self._start(unwanted, now, wait_budget)
            return fetch if token is None else token.value

    def _usable(
        self, fetch: Fetch, outcome: Token | TokenRefusal | None, rejected: str | None, deadline: float
    ) -> str | None:
        """Return the token of a fetch, or None when the caller has to ask again, or raise TokenError."""
        if isinstance(outcome, Token):
            # A fetch that started before this caller's token was rejected may bring that very token.
            return None if outcome.value == rejected != fetch.unwanted else outcome.value
        if outcome is None and self.clock() < deadline:
            return None
        raise (outcome or _LATE).error()

    def _start(self, unwanted: str | None, now: float, wait_budget: float) -> Fetch:
        # The thread starts before the fetch is noted, and cannot finish before the lock is free: an interrupt in
        # between leaves no noted fetch without a thread.
        fetch = Fetch(unwanted, now + self.fetch_timeout)
        try:
            start_thread(self._run, fetch, wait_budget)
        except RuntimeError:
            fetch.set_result(TokenRefusal("no token: this process cannot start another thread to fetch one"))
        else:
            self._running = fetch
        return fetch

    def _run(self, fetch: Fetch, wait_budget: float) -> None:
        try:
            outcome: Token | TokenRefusal = self.source(fetch.unwanted, wait_budget)
        except TokenRefusal as refusal:
            outcome = refusal.with_traceback(None)  # its frames hold tokens
        except BaseException as error:  # noqa: BLE001 - a caller's own http_client or store may raise anything
            outcome = TokenRefusal(f"no token: fetching it raised {type(error).__name__}")
        with self._lock:
            now = self.clock()
            is_replaced = self._running is not fetch
            is_served = self._token is not None and now < self._token.usable_until()
            if not is_replaced:
                self._running = None
                if isinstance(outcome, Token):
                    self._token = outcome
                if isinstance(outcome, TokenRefusal) or now >= outcome.renew_at(self.leeway):
                    self._no_renewal_before = now + RETRY_PAUSE
        fetch.set_result(None if is_replaced else outcome)
        if is_served and isinstance(outcome, TokenRefusal) and not is_replaced:
            # No caller waits for a renewal ahead of the expiry, so no caller would report its failure.
            _log.warning("the token could not be renewed ahead of its expiry: %s", outcome.reason)

    def _forget_parent(self) -> None:
        """In a forked process, keep the token, and forget the lock and the fetch of the parent's threads."""
        if self._process != os.getpid():  # not by `os.register_at_fork`, whose functions uWSGI does not call
            self._lock = threading.Lock()
            self._running = None
            self._no_renewal_before = 0.0
            self._process = os.getpid()


class CachedProvider(Bounded):
    """A provider that fetches tokens with one grant, and caches them: the part that all grants share."""

    _endpoint: TokenEndpoint
    _cache: TokenCache
    _shown: str = ""  # what repr shows: a provider whose arguments were rejected has nothing

    def _keep_tokens(
        self, leeway: float, store: TokenStore | None, secret: Callable[[], bytes], *identity: str
    ) -> None:
        """Cache the tokens that `_fetch` returns; share them through the store if there is one, under this identity."""
        leeway, timeout = seconds("leeway", leeway, zero=True), self._endpoint.timeout

        @functools.cache  # at the first fetch, because it is slow on purpose
        def store_key() -> StoreKey:
            return StoreKey.derive(secret(), self._endpoint.name, *identity)

        def fetch_alone(_unwanted: str | None, _wait_budget: float) -> Token:
            return self._fetch(timeout)

        source: Source = fetch_alone
        if store is not None:
            source = SharedTokenSource(checked_store(store), store_key, self._fetch, timeout=timeout, leeway=leeway)
        self._cache = TokenCache(source, leeway=leeway, fetch_timeout=timeout + GRACE)

    def _fetch(self, timeout: float) -> Token:
        """Fetch a token with the grant within so many seconds, or raise TokenRefusal."""
        raise NotImplementedError

    def get_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the sync client.

        Args:
            rejected: the token that the operator has just rejected with 401, or None
            timeout: seconds to wait for a token that has to be fetched

        Raises:
            TokenError: no token could be obtained; `error` is the server's code; the message has the remedy
        """
        try:
            return self._cache.get(rejected, timeout)
        except BaseException as error:  # noqa: BLE001 - raised again
            raise error.with_traceback(None) from None  # the frames below hold tokens
        finally:
            del rejected

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the async client; the arguments and errors are those of `get_token`."""
        try:
            return await self._cache.aget(rejected, timeout)
        except BaseException as error:  # noqa: BLE001 - raised again
            raise error.with_traceback(None) from None  # the frames below hold tokens
        finally:
            del rejected

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown})"
