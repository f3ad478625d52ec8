"""The connections to one origin: last in, first out; bounded; waited for in turn; every step in constant time.

A connection is checked out by one exchange alone. One that is given back goes straight to the caller that has waited
longest, so that nobody overtakes; with nobody waiting it goes on top of the idle ones, so that the old ones age.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

MAX_CONNECTIONS: Final = 1000
KEPT_SECONDS: Final = 5.0
"""How long an idle connection is kept: about as long as the shortest keep-alive of common servers."""
SHRUNK_SECONDS: Final = 1.0
"""How long a process that may open no more sockets does without trying."""


class Link(Protocol):
    """A connection as the pool sees it."""

    idle_since: float

    def clean(self) -> bool:
        """Tell whether the connection is open and nothing waits on it."""
        ...

    def discard(self) -> None:
        """Close the socket, at once and without I/O."""
        ...


L = TypeVar("L", bound=Link)


class Turn(Generic[L]):
    """A caller's place in the queue; `wake` is called once it is `granted`, with a link or with room for a new one."""

    __slots__ = ("given_up", "granted", "handed_over", "link", "wake")

    def __init__(self) -> None:
        """Wait."""
        self.granted = False
        self.given_up = False
        self.handed_over = False
        self.link: L | None = None
        self.wake = _nothing


def _nothing() -> None:
    """Wake nobody."""


class Pool(Generic[L]):
    """Keep the links of one origin. Safe to share between threads; never waits by itself.

    A signal handler, or a coroutine that the garbage collector closes, may come back here while its own thread holds
    the lock; so the lock lets it in, and no link is touched under it.
    """

    def __init__(self, limit: int = MAX_CONNECTIONS) -> None:
        """Begin empty."""
        self._lock = threading.RLock()
        self._idle: deque[L] = deque()
        self._turns: deque[Turn[L]] = deque()
        self._limit = self._most = limit
        self._shrunk_at = 0.0
        self._open = 0  # links checked out or idle
        self.closed = False

    @property
    def busy(self) -> int:
        """Return the number of links that are checked out."""
        return self._open - len(self._idle)

    def take(self) -> Turn[L]:
        """Return a turn: granted at once with a link or room for one, else waiting."""
        turn: Turn[L] = Turn()
        while True:
            admitted: list[Turn[L]] = []
            link: L | None = None
            with self._lock:
                old = self._take_old()
                if self._idle and not self._turns:
                    link = self._idle.pop()
                elif not self._turns and self._has_room():
                    self._open += 1
                    turn.granted = True
                else:
                    self._turns.append(turn)
                    admitted = self._admit()
            for each in old:
                each.discard()
            for other in admitted:
                other.wake()
            if link is None:
                return turn
            if link.clean():
                turn.link = link
                turn.granted = True
                return turn
            link.discard()
            self.give_back(None)

    def _has_room(self) -> bool:
        if self._limit < self._most and time.monotonic() - self._shrunk_at > SHRUNK_SECONDS:
            self._limit = self._most
        return self._open < self._limit

    def _take_old(self) -> Sequence[L]:
        oldest = time.monotonic() - KEPT_SECONDS
        if not self._idle or self._idle[0].idle_since >= oldest:
            return ()
        old: list[L] = []
        while self._idle and self._idle[0].idle_since < oldest:
            old.append(self._idle.popleft())
        self._open -= len(old)
        return old

    def give_back(self, link: L | None) -> None:
        """Take a link that can be used again, or None for one that is gone."""
        if link is not None and self.closed:
            link.discard()
            link = None
        with self._lock:
            turn = None
            if link is None:
                self._open -= 1
            elif (turn := self._next_turn()) is not None:
                turn.link = link
                turn.granted = turn.handed_over = True
            else:
                link.idle_since = time.monotonic()
                self._idle.append(link)
            late = self._take_idle() if self.closed else ()
            admitted = self._admit() if self._turns else ()
        for each in late:
            each.discard()
        if turn is not None:
            turn.wake()
        for other in admitted:
            other.wake()

    def _next_turn(self) -> Turn[L] | None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.given_up:
                return turn
        return None

    def _admit(self) -> list[Turn[L]]:
        """Grant those who wait as much room as there is."""
        admitted: list[Turn[L]] = []
        while self._turns and (self._turns[0].given_up or self._has_room()):
            turn = self._turns.popleft()
            if not turn.given_up:
                self._open += 1
                turn.granted = True
                admitted.append(turn)
        return admitted

    def give_up(self, turn: Turn[L]) -> None:
        """Leave the queue; what was granted meanwhile goes to the next."""
        with self._lock:
            turn.given_up = True
            granted = turn.granted
        if granted:
            self.give_back(turn.link)

    def shrink(self) -> bool:
        """Do with the links that there are, because the process may open no more now; tell whether that leaves any."""
        with self._lock:
            if self._open < 2:  # ours, and one more that will come back
                return False
            self._limit = self._open - 1
            self._shrunk_at = time.monotonic()
        return True

    def close(self) -> None:
        """Close the idle links; those that are checked out close when they come back."""
        self.closed = True
        with self._lock:
            idle = self._take_idle()
        for link in idle:
            link.discard()

    def _take_idle(self) -> Sequence[L]:
        idle, self._idle = self._idle, deque()
        self._open -= len(idle)
        return idle

    def renewed(self) -> "Pool[L]":
        """Return a pool to go on with, where the links belong to another process or to an event loop that is over.

        Without the lock, which a thread may hold that this process does not have. What is checked out comes back here.
        """
        pool: Pool[L] = Pool(self._most)
        pool.closed = self.closed
        idle, self._idle = self._idle, deque()
        for link in idle:
            link.discard()
        return pool
