"""Share one token between workers: look in the store, take its lock, fetch, save, release.

A worker that does not get the lock waits for the token for half of the time that its caller has. Then it fetches a
token of its own. The lock expires by itself. If a worker is killed while it fetches, the others wait and send a few
extra token requests, but no call fails. A store that fails, hangs or is slow takes a quarter of the caller's time:
at least 0.25 s and at most 2 s. The worker then fetches a token of its own. Machines do not compare clocks:
the store reports the time that a token has left.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

from camara_otp._threads import run_in_thread
from camara_otp.auth.responses import Token
from camara_otp.auth.stores import StoreKey, TokenStore

_log: Final = logging.getLogger("camara_otp.auth")

LOCK_SECONDS: Final = 4.0
"""The lease of a killed worker expires after this time, before the other workers (at most 5 s by default) give up."""

# Seconds that the store may take in one fetch: a quarter of the caller's time, within these limits.
_STORE_BUDGET: Final = (0.25, 2.0)
_PAUSE: Final = 0.1  # seconds between two looks at the store
# Rejected tokens that are never taken from the store again: a store that was down or restored may return with one.
_REMEMBERED: Final = 8


@define(eq=False)
class SharedTokenSource:
    """Fetch through a store, all in all within `timeout` seconds."""

    store: TokenStore
    store_key: Callable[[], StoreKey]
    fetch: Callable[[float], Token]
    timeout: float = field(kw_only=True)
    leeway: float = field(kw_only=True)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    _unwanted: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __call__(self, unwanted: str | None, wait_budget: float) -> Token:
        """Return the shared token if it is not the unwanted one, else fetch a token and share it.

        Args:
            unwanted: the token to replace, rejected or due; None if there was no token
            wait_budget: seconds that a caller waits, or the whole timeout if none waits
        """
        began = self.clock()
        if unwanted is not None:
            self._unwanted = (*self._unwanted, unwanted)[-_REMEMBERED:]
        budget = max(min(wait_budget, self.timeout), 0.0)
        shortest, longest = _STORE_BUDGET
        store = _BoundedStore(self.store, self.store_key().name, max(shortest, min(longest, budget / 4)))
        found = self._token_or_lease(store, give_up_at=began + budget / 2)
        if isinstance(found, Token):
            return found
        try:
            # Another worker may have saved a token between our look and our lock.
            token = None if found is None else self._look(store)
            if token is None or self._is_due(token):
                token = self.fetch(self.timeout - (self.clock() - began))
                left = token.expires_at - self.clock()
                if left > 0 and not store.has_failed:
                    store.ask("save", self.store_key().pack(token, encrypt=self.store.encrypt), left)
            return token
        finally:
            if found is not None:
                store.ask("release", found)

    def _token_or_lease(self, store: "_BoundedStore", give_up_at: float) -> Token | str | None:
        """Return a shared token, or the lease of the lock, or None when neither comes in time."""
        while True:
            token = self._look(store)
            if token is not None and not self._is_due(token):
                return token
            lease: str | None = None if store.has_failed else store.ask("acquire", LOCK_SECONDS)
            if lease is not None or store.has_failed:
                return lease
            now = self.clock()
            if token is not None and now < token.usable_until():
                return token  # another worker renews it; it serves until then
            if now >= give_up_at:
                return None
            self.sleep(min(_PAUSE, give_up_at - now))

    def _look(self, store: "_BoundedStore") -> Token | None:
        """Return the shared token unless it is an unwanted one, or None."""
        now = self.clock()
        kept = store.ask("load")
        try:
            value, left = kept or (b"", 0.0)
            left = float(left)
        except (TypeError, ValueError):  # from a store of the caller's own
            store.fail("load must return bytes and seconds, or None")
            return None
        if not 0 < left < math.inf:
            return None
        token = self.store_key().unpack(value, now + left, encrypt=self.store.encrypt)
        return None if token is None or token.value in self._unwanted else token

    def _is_due(self, token: Token) -> bool:
        return self.clock() >= token.renew_at(self.leeway)


@define(eq=False)
class _BoundedStore:
    """The store during one fetch: all its operations together may take `seconds`."""

    store: TokenStore
    name: str
    seconds: float
    has_failed: bool = False

    def ask(self, method: str, *args: object) -> Any:
        """Return the result of the store, or None if it fails or is out of time."""
        began = time.monotonic()
        problem = "too slow"
        if self.seconds > 0:
            try:
                # In a thread of its own, so that a store which hangs does not hold this one.
                return run_in_thread(getattr(self.store, method), self.name, *args).result(self.seconds)
            except BaseException as error:  # noqa: BLE001 - whatever a store raises in its thread, it is down
                problem = type(error).__name__
            finally:
                self.seconds -= time.monotonic() - began
        self.fail(problem)
        return None

    def fail(self, problem: str) -> None:
        """Log the first failure."""
        if not self.has_failed:
            _log.warning("the token store failed (%s): the token may not be shared with other workers", problem)
        self.has_failed = True
