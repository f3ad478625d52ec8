"""The waits that an exchange yields, and the drivers that wait: one for threads, one for tasks.

An exchange is a generator that never blocks. It yields a wait, or a new time limit. The driver resumes it when the wait
is over, or throws `Late` into it when the limit has passed. Whatever ends a driver closes the generator, so that its
`finally` releases the socket and the place in the pool. The model is psycopg's `generators` and `waiting`.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, ParamSpec, TypeVar

import anyio
import anyio.lowlevel

from camara_otp._threads import setter

T = TypeVar("T")
P = ParamSpec("P")

_LONGEST: Final = 86_400.0
"""Seconds of one wait at most: `poll` takes no more than 24 days, and a wait that ends early is repeated."""


class Late(Exception):  # noqa: N818 - an event inside this package, never raised to a caller
    """The time limit has passed."""


class TimeLimit(float):
    """A new time limit for the waits that follow, by `time.monotonic()`."""


class Ready:
    """A socket can be read or written, or has an error or its end to report.

    Args:
        sock: does not block
        write: whether to wait until it can be written, which also tells the end of a connection attempt
    """

    __slots__ = ("_poll", "sock", "write")

    def __init__(self, sock: socket.socket, *, write: bool) -> None:
        self.sock = sock
        self.write = write
        self._poll: Any = None

    def block(self, seconds: float) -> bool:
        """Wait in a thread; return False if the time passed first."""
        # Looked up at each call: gevent and eventlet replace or remove `poll`, before or after the import.
        if not hasattr(select, "poll"):
            sockets = [self.sock]
            # Windows reports a failed connection attempt in the third list.
            return any(select.select(*(([], sockets, sockets) if self.write else (sockets, [], [])), seconds))
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.sock, select.POLLOUT if self.write else select.POLLIN)
        return bool(self._poll.poll(seconds * 1000))

    async def arrive(self) -> None:
        """Wait in a task."""
        await (anyio.wait_writable if self.write else anyio.wait_readable)(self.sock)


class Signal:
    """Something happens once, in this or another thread: `set` announces it and may be called again."""

    __slots__ = ("_wake", "happened")

    def __init__(self) -> None:
        self.happened = False
        self._wake: Callable[[], object] | None = None

    def set(self) -> None:
        """Announce the event and wake the waiting thread or task."""
        self.happened = True
        if self._wake is not None:
            with contextlib.suppress(RuntimeError):  # the lock was released before
                self._wake()

    def block(self, seconds: float) -> bool:
        """Wait in a thread; return False if the time passed first."""
        # Not an Event, whose `set` would wait for a thread that a signal handler has interrupted in its `wait`.
        lock = threading.Lock()
        lock.acquire()
        self._wake = lock.release
        return self.happened or lock.acquire(timeout=seconds)

    async def arrive(self) -> None:
        """Wait in a task; if it has happened, let other tasks run."""
        if self.happened:
            await anyio.lowlevel.checkpoint()
            return
        event = anyio.Event()
        self._wake = setter(event)
        if not self.happened:
            await event.wait()


PAUSE: Final = Signal()
"""Lets other tasks run during a long computation."""
PAUSE.set()

Wait = Ready | Signal
Steps = Generator[Wait | TimeLimit, None, T]


def drive(steps: Steps[T], deadline: float) -> T:
    """Drive an exchange in a thread and return its result.

    An exception out of a wait comes from a signal handler of the caller. It closes the exchange and is raised as it is.
    """
    late = False
    try:
        while True:
            wait = steps.throw(Late()) if late else next(steps)
            late = False
            if isinstance(wait, TimeLimit):
                deadline = wait
            else:
                left = deadline - time.monotonic()
                # Not by the clock after the wait, which tools that freeze time in tests hold still.
                late = left <= 0 or (not wait.block(min(left, _LONGEST)) and left <= _LONGEST)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        steps.close()


async def adrive(steps: Steps[T], deadline: float) -> T:
    """Drive an exchange in a task and return its result; one cancel scope for each limit."""
    try:
        wait = next(steps)
        while True:
            with anyio.move_on_after(deadline - time.monotonic()) as scope:
                while not isinstance(wait, TimeLimit):
                    await wait.arrive()
                    wait = next(steps)
                deadline = wait
            wait = steps.throw(Late()) if scope.cancelled_caught else next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    except RuntimeError as error:
        if not isinstance(error.__context__, GeneratorExit):
            raise
        raise error.__context__ from None  # the coroutine is closed after its event loop, where no scope can end
    finally:
        steps.close()


def completed(function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of a coroutine that never waits: code for threads and for tasks is written once."""
    try:
        function(*args, **kwargs).send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("code for threads has waited in a task")
