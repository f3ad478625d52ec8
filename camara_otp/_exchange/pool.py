"""The connections to one origin: last in, first out, within a bound, waited for in order.

A connection belongs to one exchange at a time. Each step can be repeated, so that an exchange that an interrupt ended
in the middle of a step releases its connection all the same: `_open` alone says which connection belongs to whom.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from camara_otp._exchange.waits import Signal

MAX_CONNECTIONS: Final = 1000
KEPT_SECONDS: Final = 5.0
"""How long an idle connection is kept: as long as the shortest keep-alive of common servers."""
SHRUNK_SECONDS: Final = 1.0
"""How long a process that cannot open more sockets does not try to."""


class Pooled(Protocol):
    """A connection as the pool sees it; a new one has no socket yet."""

    idle_since: float

    def close(self) -> None:
        """Close the socket at once, without I/O; may be called again."""
        ...


C = TypeVar("C", bound=Pooled)


class Turn(Signal, Generic[C]):
    """The claim of one exchange on a connection; happens when `connection` is its own."""

    __slots__ = ("connection", "reusable")

    def __init__(self) -> None:
        """Claim nothing yet."""
        super().__init__()
        self.connection: C | None = None
        self.reusable = False


class Pool(Generic[C]):
    """Keep the connections to one origin. Safe to share between threads; never waits.

    A signal handler, or a generator that the garbage collector closes, may enter while its own thread holds the lock.
    Therefore the lock is reentrant.

    Args:
        new: makes a connection that is not open yet.
        limit: the most connections, open or idle.
    """

    def __init__(self, new: Callable[[], C], limit: int = MAX_CONNECTIONS) -> None:
        """Begin empty."""
        self._lock = threading.RLock()
        self._new = new
        self._open: dict[C, Turn[C] | None] = {}  # the turn that owns the connection; None: idle
        self._idle: deque[C] = deque()  # in order of idleness; an entry counts only if `_open` says idle
        self._waiting: OrderedDict[Turn[C], None] = OrderedDict()
        self._limit = self._most = limit
        self._shrunk_at = 0.0
        self.closed = False

    @property
    def busy(self) -> int:
        """Return the number of connections that belong to an exchange."""
        return sum(turn is not None for turn in self._open.values())

    def take(self, turn: Turn[C]) -> None:
        """Give the turn a connection now, or when one is free."""
        with self._lock:
            self._drop_old()
            self._waiting[turn] = None
            self._grant()

    def _drop_old(self) -> None:
        oldest = time.monotonic() - KEPT_SECONDS
        while self._idle and self._idle[0].idle_since < oldest:
            self._drop(self._idle[0])
            self._idle.popleft()

    def _drop(self, connection: C) -> None:
        if self._is_idle(connection):
            connection.close()
            del self._open[connection]

    def _is_idle(self, connection: C) -> bool:
        return connection in self._open and self._open[connection] is None

    def _grant(self) -> None:
        while self._waiting:
            turn = next(iter(self._waiting))
            connection = self._free() if turn.connection is None else turn.connection
            if connection is None:
                return
            turn.connection = connection
            self._open[connection] = turn
            if self._idle and self._idle[-1] is connection:
                self._idle.pop()
            turn.set()
            del self._waiting[turn]

    def _free(self) -> C | None:
        while self._idle and not self._is_idle(self._idle[-1]):
            self._idle.pop()  # left behind by an interrupt
        if self._idle:
            return self._idle[-1]
        if self._limit < self._most and time.monotonic() - self._shrunk_at > SHRUNK_SECONDS:
            self._limit = self._most
        return self._new() if len(self._open) < self._limit else None

    def leave(self, turn: Turn[C]) -> None:
        """Release the turn: its connection becomes idle if `turn.reusable`, else it is closed. May be called again."""
        with self._lock:
            self._waiting.pop(turn, None)
            connection = turn.connection
            if connection is not None and self._open.get(connection) is turn:
                if turn.reusable and not self.closed:
                    connection.idle_since = time.monotonic()
                    self._idle.append(connection)
                    self._open[connection] = None
                else:
                    connection.close()
                    del self._open[connection]
            self._grant()

    def shrink(self) -> bool:
        """Stay within the connections there are, because no more sockets can be opened; return whether any is left."""
        with self._lock:
            if len(self._open) < 2:  # this one, and another that will be released
                return False
            self._limit = len(self._open) - 1
            self._shrunk_at = time.monotonic()
        return True

    def close(self) -> None:
        """Close the idle connections now, and the others when they are released."""
        with self._lock:
            self.closed = True
            while self._idle:
                self._drop(self._idle[-1])
                self._idle.pop()

    def renewed(self) -> "Pool[C]":
        """Return an empty pool, for a forked process or a new event loop; exchanges still release to the old one.

        Without the lock, which a thread of the parent process may hold.
        """
        pool = Pool(self._new, self._most)
        pool.closed = self.closed
        for connection in tuple(self._idle):
            self._drop(connection)
        self._idle.clear()
        return pool
