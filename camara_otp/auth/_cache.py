"""Hold one token, and let one fetch serve everybody who waits for it.

Theory of operation. The token at hand is read without a lock: a reference to an immutable value. Everything else is
decided under a lock that is held for microseconds and never across I/O or an await.

A fetch runs in a thread of its own, a "flight"; callers, be they threads or tasks of any event loop, only wait for it,
each for as long as its own call allows. So nobody leads: a caller that is cancelled, times out or dies takes nothing
with it, and a token that comes too late for those who asked is there for the next. A flight that outlives its time is
given up and replaced. Ahead of a token's end a flight starts in the background, and everyone is served the token at
hand. A forked child starts with the token and without the flight, whose thread did not come along.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import anyio
import anyio.lowlevel
from attrs import field, frozen

from camara_otp.auth._values import Refusal, Token

T = TypeVar("T")

_log: Final = logging.getLogger("camara_otp.auth")

# Seconds between two background renewals when the first one failed or brought nothing newer.
QUIET: Final = 2.0

_LATE: Final = Refusal("no token within the time of the call; the token endpoint is slow, or timeout is too short")


@frozen
class Held:
    """A token with the moments, on the monotonic clock, at which to renew it and to stop using it."""

    value: str = field(repr=False)
    renew_at: float
    expires_at: float
    final: bool = False


def hold(token: Token, began: float, leeway: float) -> Held:
    """Set the moments for a token whose request began at `began`.

    Servers count in whole seconds, so a token may end up to one second early. Both leads shrink with the lifetime, so
    that a token of seconds is still used for most of them.
    """
    expires_at = began + token.left - tail(token)
    renew_at = expires_at if token.final else began + token.left - lead(token, leeway)
    return Held(token.value, renew_at, expires_at, token.final)


def lead(token: Token, leeway: float) -> float:
    """Return how many seconds ahead of its end a token is renewed."""
    return min(max(leeway, 2.0), max(token.lifetime / 4, min(3.0, token.lifetime / 2)))


def tail(token: Token) -> float:
    """Return how many seconds ahead of its end a token stops being used."""
    return min(2.0, token.lifetime / 3)


class Flight(Future[Token | Refusal]):
    """A fetch under way. It avoids the `unwanted` token, and is given up at `until`.

    It is void once a token was put in place that it knows nothing of.
    """

    def __init__(self, unwanted: str | None, until: float, void: threading.Event) -> None:
        """Note what the flight is for."""
        super().__init__()
        self.unwanted = unwanted
        self.until = until
        self.void = void


class Cache:
    """Serve a token to any number of threads and tasks, at the cost of one fetch at a time.

    Args:
        fetch: obtains a token other than the given one, within `patience` seconds; is told for how many seconds
            somebody waits for it; runs in a thread.
        leeway: renew this many seconds ahead of the end, or sooner before the end of a short life.
        patience: seconds after which a flight counts as lost.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        fetch: Callable[[str | None, float], Token | Refusal],
        *,
        leeway: float,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty."""
        self._fetch = fetch
        self._leeway = leeway
        self._patience = patience
        self._clock = clock
        self._held: Held | None = None
        self._void = threading.Event()
        self.after_fork()
        _caches.add(self)

    def after_fork(self) -> None:
        """Forget what belongs to the parent's threads; the token stays."""
        self._lock = threading.Lock()
        self._flight: Flight | None = None
        self._quiet_until = 0.0

    def fresh(self, rejected: str | None) -> str | None:
        """Return the token at hand if there is nothing to do about it: the hot path."""
        held = self._held
        if held is not None and held.value != rejected and self._clock() < held.renew_at:
            return held.value
        return None

    def put(self, token: Token, began: float) -> None:
        """Take a token that was obtained elsewhere, and nothing more of what was under way before."""
        with self._lock:
            self._void.set()
            self._void = threading.Event()
            self._flight = None
            self._quiet_until = 0.0
            self._held = hold(token, began, self._leeway)

    def get(self, rejected: str | None, timeout: float) -> str | Refusal:
        """Return a token other than `rejected`, or why there is none, within `timeout` seconds."""
        deadline = self._clock() + timeout
        while True:
            found = self._decide(rejected, deadline)
            if isinstance(found, str):
                return found
            outcome = wait(found, min(deadline, found.until) - self._clock())
            settled = self._settled(found, outcome, rejected, deadline)
            if settled is not None:
                return settled

    async def aget(self, rejected: str | None, timeout: float) -> str | Refusal:
        """Return a token other than `rejected`, or why there is none, within `timeout` seconds."""
        deadline = self._clock() + timeout
        while True:
            found = self._decide(rejected, deadline)
            if isinstance(found, str):
                return found
            outcome = await await_(found, min(deadline, found.until) - self._clock())
            settled = self._settled(found, outcome, rejected, deadline)
            if settled is not None:
                return settled

    def _decide(self, rejected: str | None, deadline: float) -> str | Flight:
        """Return a token to serve at once, or the flight to wait for."""
        with self._lock:
            now = self._clock()
            held = self._held
            if held is not None and held.value == rejected and not held.final:
                # Nobody else shall be served what the operator refuses.
                held = self._held = None
            if held is not None and now >= held.expires_at:
                held = None
            if held is not None and (now < held.renew_at or now < self._quiet_until):
                return held.value
            flight = self._flight
            if flight is None or now >= flight.until:
                # Ahead of a token's end nobody waits.
                flight = (
                    self._depart(rejected, now, deadline - now)
                    if held is None
                    else self._depart(held.value, now, self._patience)
                )
            return flight if held is None else held.value

    def _settled(
        self, flight: Flight, outcome: Token | Refusal | None, rejected: str | None, deadline: float
    ) -> str | Refusal | None:
        """Return what a caller gets from a flight, or None when it should ask again."""
        if outcome is None:
            return _LATE if self._clock() >= deadline else None
        if flight.void.is_set():
            return None
        if isinstance(outcome, Refusal):
            return outcome
        if outcome.value == rejected and flight.unwanted != rejected:
            # The flight was under way before this caller learnt that its token is refused.
            return None
        return outcome.value

    def _depart(self, unwanted: str | None, now: float, hurry: float) -> Flight:
        # The thread runs before the flight is noted, and cannot settle before the lock is free: an interrupt in
        # between leaves a token, not a flight that nobody flies.
        flight = Flight(unwanted, now + self._patience, self._void)
        try:
            _start(self._fly, flight, now, hurry)
        except RuntimeError:
            flight.set_result(Refusal("no token: this process cannot start another thread to fetch one", again=True))
        else:
            self._flight = flight
        return flight

    def _fly(self, flight: Flight, began: float, hurry: float) -> None:
        try:
            outcome = self._fetch(flight.unwanted, hurry)
        except BaseException as error:  # noqa: BLE001 - a caller's own http_client or store may raise anything
            # Nothing above this thread could make use of it, and nobody shall wait for a flight that is over.
            outcome = Refusal(f"no token: fetching it raised {type(error).__name__}")
        with self._lock:
            self._land(flight, outcome, began)
            served = self._held is not None and self._clock() < self._held.expires_at
        flight.set_result(outcome)
        if served and isinstance(outcome, Refusal) and not flight.void.is_set():
            # Nobody waits for a renewal ahead of the end, so nobody else would hear of it before it is too late.
            _log.warning("the token could not be renewed ahead of its end: %s", outcome.reason)

    def _land(self, flight: Flight, outcome: Token | Refusal, began: float) -> None:
        if flight.void.is_set():
            return
        now = self._clock()
        current = self._flight is flight
        if current:
            self._flight = None
        if isinstance(outcome, Token):
            held = hold(outcome, began, self._leeway)
            # A flight that was given up must not replace a later token by an earlier one.
            if current or self._held is None or self._held.expires_at < held.expires_at:
                self._held = held
            if now < held.renew_at:
                return
        self._quiet_until = now + QUIET


_caches: Final[weakref.WeakSet[Cache]] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in list(_caches):
        cache.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def in_thread(function: Callable[..., T], *args: Any) -> Future[T]:
    """Run a function in a thread of its own and return its future.

    Raises:
        RuntimeError: the process cannot start another thread.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = function(*args)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            future.set_exception(error)
        else:
            future.set_result(result)

    _start(run)
    return future


def wait(future: Future[T], timeout: float) -> T | None:
    """Wait for a future in a thread; None when it does not come in time."""
    if not future.done():
        try:
            return future.result(max(timeout, 0.0))
        except TimeoutError:
            if not future.done():
                return None
    return future.result()


async def await_(future: Future[T], timeout: float) -> T | None:
    """Wait for a future in a task, on any event loop that anyio knows; None when it does not come in time."""
    if not future.done():
        done = anyio.Event()
        # Newer anyio wraps the loop's own handle.
        handle: Any = anyio.lowlevel.current_token()
        handle = getattr(handle, "native_token", handle)
        call = getattr(handle, "call_soon_threadsafe", None) or handle.run_sync_soon

        def wake(_: Future[T]) -> None:
            try:
                call(done.set)
            except RuntimeError:
                # The loop is gone, and whoever waited in it too.
                return

        future.add_done_callback(wake)
        with anyio.move_on_after(max(timeout, 0.0)):
            await done.wait()
    return future.result() if future.done() else None


def _start(target: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=target, args=args, name="camara-otp token", daemon=True).start()
