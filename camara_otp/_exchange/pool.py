"""The connections to one origin: last in, first out, up to a limit. Exchanges wait for one in order.

A connection belongs to one exchange at a time. `_open` alone records which exchange owns a connection.
"""

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from camara_otp._exchange.connect import Connection
from camara_otp._exchange.waits import Signal

MAX_CONNECTIONS: Final = 1000
KEPT_SECONDS: Final = 5.0
"""How long an idle connection is kept: as long as the shortest keep-alive of common servers."""
SHRUNK_SECONDS: Final = 1.0
"""How long a process that cannot open more sockets does not try to."""


class Waiter(Signal):
    """A request for a connection; set when `connection` is assigned."""

    connection: Connection | None = None
    left = False


class Pool:
    """Keep the connections to one origin. Safe to share between threads; never waits.

    Args:
        new: makes a connection that is not open yet
        limit: the most connections, open or idle
    """

    def __init__(self, new: Callable[[], Connection] = Connection, limit: int = MAX_CONNECTIONS) -> None:
        self._steps: deque[Callable[[], None]] = deque()
        self._runs: dict[str, tuple[int, Callable[[], None]]] = {}  # the thread that runs the queue, and its own step
        self._new = new
        self._open: dict[Connection, Waiter | None] = {}  # the waiter that owns the connection; None: idle
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()
        self._limit = self._most = limit
        self._shrunk_at = 0.0
        self.closed = False

    @property
    def busy(self) -> int:
        """Return the number of connections that belong to an exchange."""
        return sum(waiter is not None for waiter in self._open.values())

    def _run(self, step: Callable[[], None]) -> None:
        """Run a step after those that are queued; if a step is running already, its thread runs this one next.

        So no thread waits for another one, nor for a signal handler that enters in the middle of a step. A step that
        was interrupted is repeated before the next one.
        """
        self._steps.append(step)
        run = threading.get_ident(), step
        try:
            try:
                # `setdefault` is atomic. Look again after the end, for a step that was queued just before it.
                while self._steps and self._runs.setdefault("now", run) is run:
                    while self._steps:
                        self._steps[0]()
                        self._steps.popleft()
                    self._runs.clear()
            finally:
                if self._runs.get("now") is run:
                    self._runs.clear()
        finally:  # again, for an interrupt in the first
            if self._runs.get("now") is run:
                self._runs.clear()

    def take(self, waiter: Waiter) -> None:
        """Assign a connection to the waiter now, or when one is free."""
        run = self._runs.get("now")
        if run is not None and run[0] == threading.get_ident():
            # A signal handler in the middle of a step, which would wait for itself: one connection above the limit.
            waiter.connection = self._new()
            self._open[waiter.connection] = waiter
            waiter.set()
        else:
            self._run(lambda: self._take(waiter))

    def _take(self, waiter: Waiter) -> None:
        self._drop_idle(time.monotonic() - KEPT_SECONDS)
        self._waiting[waiter] = None
        self._grant()

    def _drop_idle(self, before: float) -> None:
        while self._idle and (oldest := next(iter(self._idle))).idle_since < before:
            self._drop(oldest)

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._open.pop(connection, None)
        self._idle.pop(connection, None)

    def _grant(self) -> None:
        while self._waiting:
            waiter = next(iter(self._waiting))
            connection = waiter.connection or self._free()
            if connection is None:
                return
            waiter.connection = connection
            connection.reusable = False
            self._open[connection] = waiter
            self._idle.pop(connection, None)
            waiter.set()
            del self._waiting[waiter]

    def _free(self) -> Connection | None:
        if self._idle:
            return next(reversed(self._idle))
        if self._limit < self._most and time.monotonic() - self._shrunk_at > SHRUNK_SECONDS:
            self._limit = self._most
        return self._new() if len(self._open) < self._limit else None

    def leave(self, waiter: Waiter) -> None:
        """Release the waiter: its connection becomes idle if it is reusable, else it is closed. May be called again."""
        if self._steps or not waiter.left:  # a step that was interrupted is finished first
            self._run(lambda: self._leave(waiter))

    def _leave(self, waiter: Waiter) -> None:
        self._waiting.pop(waiter, None)
        connection = waiter.connection
        if connection is not None and self._open.get(connection) is waiter:
            if connection.reusable and not self.closed:
                connection.idle_since = time.monotonic()
                self._idle[connection] = None
                self._open[connection] = None
            else:
                self._drop(connection)
        self._grant()
        waiter.left = True

    def shrink(self) -> bool:
        """Stay within the connections there are, because no more sockets can be opened; return whether any is left."""
        others = len(self._open) - 1
        if others < 1:  # none that will be released
            return False
        self._limit = others
        self._shrunk_at = time.monotonic()
        return True

    def close(self) -> None:
        """Close the idle connections now, and the others when they are released."""
        self.closed = True
        self._run(lambda: self._drop_idle(math.inf))

    def renewed(self) -> "Pool":
        """Return an empty pool, for a forked process or a new event loop; exchanges still release to the old one."""
        pool = Pool(self._new, self._most)
        pool.closed = self.closed
        self._drop_idle(math.inf)
        return pool
