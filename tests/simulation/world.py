"""The simulated world: a clock, a scheduler, sockets, and an operator that misbehaves.

Everything random comes from one seed, so that a schedule can be repeated. Nothing waits: the clock jumps from event to
event. The models are FoundationDB's simulation and TigerBeetle's VOPR.
"""

import errno
import heapq
import json
import os
import random
from asyncio import CancelledError
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

from camara_otp import OTPError, OutcomeUnknownError, SendCodeResponse, ValidateCodeResponse
from camara_otp._exchange.waits import PAUSE, Signal

STRAYS = (
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b'HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n{"authenticationId":"not yours"}',
    b"HTTP/1.1 204 No Con",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"\r\n",
)
LOCATIONS = (b"https:login", b"about:blank", b"urn:x", b"javascript:alert(1)", b"http://127.0.0.1:1/verified")


class Violation(Exception):  # noqa: N818 - a finding, not an error
    """An invariant does not hold."""


class Interruption(Exception):  # noqa: N818 - as above
    """An ordinary exception of a signal handler."""


INTERRUPTIONS = (KeyboardInterrupt, SystemExit, CancelledError, Interruption, GeneratorExit)


class Sleep:
    """A wait for the clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class World:
    """The clock, the scheduler and the network of one episode."""

    def __init__(self, seed: int, *, trace: bool) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.trace: list[str] | None = [] if trace else None
        self.open: set[Socket] = set()
        self.active: set[Task] = set()
        self.frozen: list[Task] = []
        self.calls: dict[str, Call] = {}
        self.running: Call | None = None
        self.ends: Counter[str] = Counter()
        self._events: list[tuple[float, float, Callable[..., None], tuple[Any, ...]]] = []
        self._sockets = 0
        self.pool: Callable[[], Any] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def log(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now - 1000:9.4f}  {text}")

    def at(self, delay: float, event: Callable[..., None], *arguments: Any) -> None:
        """Schedule an event; events of one moment happen in a random order."""
        heapq.heappush(self._events, (self.now + delay, self.rng.random(), event, arguments))

    def run(self) -> None:
        """Run every event, and check the invariants after each step of a call."""
        while self._events:
            moment, _, event, arguments = heapq.heappop(self._events)
            self.now = max(self.now, moment)
            event(*arguments)
        if self.active:
            raise Violation(f"stuck: {sorted(task.call.name for task in self.active)}")

    def check(self) -> None:
        """Check the invariants after every step."""
        pool = self.pool()
        held = pool._open
        connected = sum(connection.sock is not None and connection.sock in self.open for connection in held)
        if connected != len(self.open):
            raise Violation(f"lost socket: {len(self.open)} open, {connected} in the pool")
        if sum(waiter is not None for waiter in held.values()) > len(self.active):
            raise Violation("lost place: a connection belongs to a call that has ended")
        if pool._waiting and (len(held) < pool._limit or None in held.values()):
            raise Violation("lost waiter: a call waits although a connection is free")

    def socket(self, family: int) -> "Socket":
        """Open a socket, unless there are too many."""
        if self.chance(0.005):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._sockets += 1
        sock = Socket(self, self._sockets)
        self.open.add(sock)
        return sock

    def fork(self) -> None:
        """Become the child process: every running call has vanished, and the sockets belong to the parent as well."""
        self.log("fork")
        for task in self.active:
            task.ticket += 1
            self.frozen.append(task)
        self.active.clear()
        for sock in self.open:
            sock.inherited = True
        self.open.clear()


# --- Calls -----------------------------------------------------------------------------------------------------------


class Call:
    """The knowledge of the operator about one call, and the expected result."""

    def __init__(self, name: str, operation: str, *, may_renew: bool, rate_limited: bool) -> None:
        self.name = name
        self.operation = operation
        self.may_renew = may_renew
        self.rate_limited = rate_limited
        self.answers: list[str] = []  # one for each delivered request
        self.tried = False  # a byte was given to a socket
        self.left = False  # a byte of a request has left that was not refused with 401 or 429

    def deliver(self, kind: str) -> None:
        """Note a delivered request and the kind of its response."""
        renewed = self.answers.count("401") <= 1 and self.may_renew
        for earlier in self.answers:
            if not ((earlier == "401" and renewed) or (earlier == "429" and self.rate_limited)):
                raise Violation(f"sent twice: {self.name} was delivered again after {earlier!r}")
        self.answers.append(kind)
        if kind in {"401", "429"}:
            self.left = False

    def judge(self, outcome: object) -> None:
        """Compare the result of a call with what the operator knows."""
        last = self.answers[-1] if self.answers else None
        kind = type(outcome).__name__
        if kind == "ValidateCodeResponse" and last != "success":
            raise Violation(f"falsely verified: {self.name} after {last!r}")
        if kind == "SendCodeResponse" and outcome.authentication_id != f"id-{self.name}":
            raise Violation(f"another's id: {self.name} got {outcome.authentication_id!r}")
        if kind == "RequestNotSentError" and self.left:
            raise Violation(f"said to be not sent: {self.name}, delivered: {self.answers}")
        if kind == "OutcomeUnknownError" and not self.tried:
            raise Violation(f"said to be unknown: {self.name} has tried to send nothing")


class Task:
    """A running call: a coroutine that yields waits."""

    def __init__(self, world: World, call: Call, coroutine: Any, deadline: float) -> None:
        self.world = world
        self.call = call
        self.ticket = 0
        self._coroutine = coroutine
        self._deadline = deadline
        self._interrupt_at = world.rng.randrange(8) if world.chance(0.06) else -1
        self._waits = 0
        world.active.add(self)

    def resume(self, ticket: int, *, late: bool = False) -> None:
        """Continue until the next wait, unless something else has resumed the call before."""
        if ticket != self.ticket:
            return
        self.ticket += 1
        self._waits += 1
        self.world.running = self.call
        try:
            if self._waits == self._interrupt_at:
                wait, deadline = self._interrupt()
            else:
                wait, deadline = self._coroutine.send(None if self._waits == 1 else late)
        except StopIteration as done:
            self._end(done.value)
        except BaseException as error:
            self._end(error)
        else:
            self._wait(wait, deadline)
        self.world.check()

    def _interrupt(self) -> Any:
        kind = self.world.rng.choice(INTERRUPTIONS)
        self.world.log(f"{self.call.name}: {kind.__name__}")
        return self._coroutine.throw(kind())

    def _wait(self, wait: Any, deadline: float) -> None:
        world = self.world
        resume = partial(self.resume, self.ticket)
        if isinstance(wait, Sleep):
            world.at(wait.seconds, resume)
            return
        world.at(max(deadline - world.now, 0), partial(resume, late=True))
        if wait is PAUSE:
            world.at(0, resume)
        elif isinstance(wait, Signal):
            wait._wake = partial(world.at, 0, resume)
            if wait.happened:
                wait._wake()
        else:
            wait.sock.wait(resume, writing=wait.write)

    def _end(self, outcome: object) -> None:
        world = self.world
        world.log(f"{self.call.name}: {outcome!r}"[:200])
        world.active.discard(self)
        world.ends[type(outcome).__name__] += 1
        ours = isinstance(outcome, OTPError | SendCodeResponse | ValidateCodeResponse)
        if not (ours or isinstance(outcome, INTERRUPTIONS)):
            raise Violation(f"foreign exception: {self.call.name}: {outcome!r}")
        if world.now > self._deadline + 1e-6:
            raise Violation(f"late: {self.call.name} by {world.now - self._deadline:.3f} s")
        if (
            isinstance(outcome, OutcomeUnknownError)
            and "timed out" in str(outcome)
            and world.now < self._deadline - 1e-6
        ):
            raise Violation(f"too early: {self.call.name} by {self._deadline - world.now:.3f} s")
        self.call.judge(outcome)

    def abandon(self) -> None:
        """Close a call of the parent process."""
        self._coroutine.close()


# --- Network ---------------------------------------------------------------------------------------------------------


class Socket:
    """The client's end of a connection."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.inherited = False
        self._peer = Peer(world, self)
        self._inbox = bytearray()
        self._ended = self._reset = self._connected = self._blocked = False
        self._error = 0
        self._waiting: tuple[Callable[[], None], bool] | None = None

    # What the client calls.

    def setsockopt(self, *_: Any) -> None:
        """Do nothing."""

    def setblocking(self, _: bool) -> None:
        """Do nothing."""

    def getsockopt(self, *_: Any) -> int:
        return self._error

    def connect(self, address: Any) -> None:
        rng = self.world.rng
        draw = rng.random()
        if draw < 0.1:
            self._connected = True
            return
        if draw > 0.97:
            self._error = errno.ECONNREFUSED
        if draw < 0.98:
            self.world.at(rng.random() * 0.1, self._connect)
        raise BlockingIOError

    def send(self, data: bytes) -> int:
        self._use("send")
        rng = self.world.rng
        if self.world.running is not None:
            self.world.running.tried = True
        if self._reset:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if self._blocked:
            raise BlockingIOError
        size = len(data)
        if rng.random() < 0.2:
            size = rng.randint(1, size)
            self._blocked = True
            if rng.random() < 0.95:
                self.world.at(rng.random() * 0.05, self._unblock)
        if self.world.running is not None:
            self.world.running.left = True
        self._peer.arrive(bytes(data[:size]))
        return size

    def recv(self, size: int) -> bytes:
        self._use("recv")
        if self._inbox:
            rng = self.world.rng
            if rng.random() < 0.3:
                size = rng.randint(1, len(self._inbox))
            data = bytes(self._inbox[:size])
            del self._inbox[:size]
            return data
        if self._reset:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if self._ended:
            return b""
        raise BlockingIOError

    def close(self) -> None:
        if self in self.world.open:
            self.world.open.discard(self)
            self._peer.lose()

    def _use(self, what: str) -> None:
        if self.inherited:
            raise Violation(f"{what} on a socket of the parent process")
        if self not in self.world.open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    # What the scheduler and the peer call.

    def wait(self, resume: Callable[[], None], *, writing: bool) -> None:
        self._waiting = resume, writing
        if self._is_ready(writing=writing):
            self._wake(writing=writing)
        elif not writing and self.world.chance(0.02):
            self.world.at(self.world.rng.random() * 0.1, resume)  # a wait may end early

    def _is_ready(self, *, writing: bool) -> bool:
        if writing:
            return self._reset or (self._connected and not self._blocked)
        return bool(self._inbox) or self._ended or self._reset

    def _wake(self, *, writing: bool) -> None:
        if self._waiting is not None and self._waiting[1] is writing:
            self.world.at(0, self._waiting[0])
            self._waiting = None

    def _connect(self) -> None:
        self._connected = True
        self._wake(writing=True)

    def _unblock(self) -> None:
        self._blocked = False
        self._wake(writing=True)

    def receive(self, data: bytes) -> None:
        if not self._ended and not self._reset:
            self._inbox += data
            self._wake(writing=False)

    def end(self, *, reset: bool) -> None:
        self._ended = self._ended or not reset
        self._reset = self._reset or reset
        if reset and self.world.chance(0.5):
            self._inbox.clear()
        self._wake(writing=False)
        if reset:
            self._wake(writing=True)

    def is_idle(self) -> bool:
        """Return whether the connection waits in the pool."""
        return any(c.sock is self and waiter is None for c, waiter in self.world.pool()._open.items())


class Peer:
    """The operator's end of a connection."""

    def __init__(self, world: World, sock: Socket) -> None:
        self._world = world
        self._sock = sock
        self._buffer = b""
        self._coming: deque[bytes] = deque()
        self._going: deque[Callable[[], None]] = deque()
        self._arrival = self._departure = 0.0
        self._reads = not world.chance(0.02)
        self.spent = False  # a byte of doubt was sent: the client must not use the connection again

    def arrive(self, data: bytes) -> None:
        """Receive bytes after some time, in their order."""
        rng = self._world.rng
        delay = 0.0 if rng.random() < 0.5 else rng.random() * 0.05
        self._arrival = max(self._arrival, self._world.now + delay)
        self._coming.append(data)
        self._world.at(self._arrival - self._world.now, self._read)

    def lose(self) -> None:
        """Close the connection of the client; bytes that were sent still arrive."""

    def _read(self) -> None:
        data = self._coming.popleft()  # events of one moment have no order
        if not self._reads:
            return
        self._buffer += data
        if self._world.chance(0.005):
            self._world.log(f"connection {self._sock.number}: reset in the middle of a request")
            self._reads = False
            self._finish(reset=True)
            return
        while self._reads and b"\r\n\r\n" in self._buffer:
            if not self._buffer.startswith(b"POST /otpvalidation/") or self.spent:
                problem = "reused connection" if self.spent else "malformed request"
                raise Violation(f"{problem}: connection {self._sock.number}")
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
            length = int(headers[b"content-length"])
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self._answer(self._world.calls[headers[b"x-correlator"].decode()])

    def _answer(self, call: Call) -> None:
        (name,) = self._world.rng.choices(list(RESPONSES), [weight for weight, _ in RESPONSES.values()])
        self._world.log(f"{call.name}: delivered on connection {self._sock.number}, answered by {name!r}")
        call.deliver(name if name in {"401", "429"} else "success" if name in SUCCESSES else "other")
        RESPONSES[name][1](self, call)

    def reply(self, data: bytes, tail: bytes = b"") -> None:
        """Send a response in pieces; the tail comes with the last byte of it."""
        rng = self._world.rng
        while len(data) > 1 and rng.random() < 0.2:
            size = rng.randint(1, len(data) - 1)
            self._send(data[:size])
            data = data[size:]
        self._send(data + tail)

    def _send(self, data: bytes) -> None:
        rng = self._world.rng
        delay = rng.random() * (0.01 if rng.random() < 0.9 else 1.0)
        self._departure = max(self._departure, self._world.now) + delay
        self._depart(partial(self._sock.receive, data))

    def _depart(self, event: Callable[[], None]) -> None:
        self._going.append(event)
        self._world.at(self._departure - self._world.now, self._next)

    def _next(self) -> None:
        self._going.popleft()()

    def drip(self, data: bytes, every: float) -> None:
        """Send a byte at a time."""
        self._departure = max(self._departure, self._world.now)
        for place in range(len(data)):
            self._departure += every
            self._depart(partial(self._sock.receive, data[place : place + 1]))

    def finish(self, *, reset: bool) -> None:
        """End the connection after what was sent."""
        self._reads = False
        self._departure = max(self._departure, self._world.now) + self._world.rng.random() * 0.01
        self._depart(partial(self._finish, reset=reset))

    def _finish(self, *, reset: bool) -> None:
        self._sock.end(reset=reset)

    def later(self, event: Callable[[], None]) -> None:
        """Schedule an event for an idle connection."""

        def if_idle() -> None:
            if self._sock.is_idle():
                event()

        delay = max(self._departure - self._world.now, 0) + self._world.rng.random() * 0.5
        self._world.at(delay, if_idle)

    def stray(self) -> bytes:
        """Return bytes that belong to no request; the connection must not be used after them."""
        self.spent = True
        return self._world.rng.choice(STRAYS)

    @property
    def rng(self) -> random.Random:
        return self._world.rng

    @property
    def sock(self) -> Socket:
        return self._sock


# --- Responses -------------------------------------------------------------------------------------------------------


def response(status: int, body: bytes = b"", *headers: bytes, version: bytes = b"1.1") -> bytes:
    """Return the bytes of a response."""
    lines = [b"HTTP/%s %d X" % (version, status), *headers]
    if status != 204:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def success(call: Call, *headers: bytes, version: bytes = b"1.1") -> bytes:
    """Return the response for a successful call."""
    if call.operation == "validate_code":
        return response(204, b"", *headers, version=version)
    return response(200, json.dumps({"authenticationId": f"id-{call.name}"}).encode(), *headers, version=version)


def _fine(peer: Peer, call: Call) -> None:
    peer.reply(success(call))


def _half_closed(peer: Peer, call: Call) -> None:
    peer.reply(success(call))
    peer.finish(reset=False)


def _closed_while_idle(peer: Peer, call: Call) -> None:
    peer.reply(success(call))
    reset = peer.rng.random() < 0.5
    peer.later(lambda: peer.sock.end(reset=reset))


def _with_stray(peer: Peer, call: Call) -> None:
    peer.reply(success(call), peer.stray())


def _with_late_stray(peer: Peer, call: Call) -> None:
    peer.reply(success(call))
    peer.later(lambda: peer.sock.receive(peer.stray()))


def _other_version(peer: Peer, call: Call) -> None:
    peer.spent = True
    version = peer.rng.choice((b"1.0", b"1.2", b"2.0"))
    peer.reply(success(call, version=version))
    if version == b"1.0" or peer.rng.random() < 0.5:
        peer.finish(reset=False)


def _both_lengths(peer: Peer, call: Call) -> None:
    if call.operation == "validate_code":
        peer.reply(success(call))
        return
    peer.spent = True
    body = json.dumps({"authenticationId": f"id-{call.name}"}).encode()
    peer.reply(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
        % (len(body), len(body), body),
        peer.stray() if peer.rng.random() < 0.5 else b"",
    )


def _interim(peer: Peer, call: Call) -> None:
    peer.reply(b"HTTP/1.1 102 Processing\r\n\r\n" * peer.rng.choice((1, 3, 50)) + success(call))


def _interim_flood(peer: Peer, call: Call) -> None:
    peer.reply(b"HTTP/1.1 102 Processing\r\n\r\n" * 150 + success(call))


def _redirect(peer: Peer, call: Call) -> None:
    status = peer.rng.choice((301, 302, 303, 307, 308))
    peer.reply(response(status, b"", b"Location: " + peer.rng.choice(LOCATIONS)))


def _refusal(status: int, *headers: bytes) -> Callable[[Peer, Call], None]:
    def refuse(peer: Peer, call: Call) -> None:
        peer.reply(response(status, b'{"code":"%s"}' % (b"TOO_MANY_REQUESTS" if status == 429 else b"X"), *headers))

    return refuse


def _cut(peer: Peer, call: Call) -> None:
    data = success(call)
    peer.reply(data[: peer.rng.randrange(len(data))])
    peer.finish(reset=peer.rng.random() < 0.5)


def _silent(peer: Peer, call: Call) -> None:
    if peer.rng.random() < 0.5:
        peer.reply(success(call)[:-3])


def _drip(peer: Peer, call: Call) -> None:
    peer.drip(success(call), peer.rng.choice((0.001, 0.05)))


def _late(peer: Peer, call: Call) -> None:
    data = success(call)
    peer._world.at(peer.rng.random() * 4, peer.reply, data)


def _garbage(peer: Peer, call: Call) -> None:
    peer.reply(peer.rng.choice((b"SSH-2.0-OpenSSH\r\n\r\n", b"\0" * 50, b"HTTP/1.1 99999 X\r\n\r\n")))
    peer.finish(reset=False)


RESPONSES: dict[str, tuple[int, Callable[[Peer, Call], None]]] = {
    "fine": (40, _fine),
    "half-closed": (3, _half_closed),
    "closed while idle": (4, _closed_while_idle),
    "a stray": (5, _with_stray),
    "a late stray": (5, _with_late_stray),
    "another version": (2, _other_version),
    "two lengths": (2, _both_lengths),
    "interim responses": (3, _interim),
    "a flood of interim responses": (1, _interim_flood),
    "a redirect": (3, _redirect),
    "400": (4, _refusal(400)),
    "401": (4, _refusal(401)),
    "429": (4, _refusal(429, b"Retry-After: 0")),
    "500": (4, _refusal(500)),
    "cut": (5, _cut),
    "silence": (3, _silent),
    "a drip": (1, _drip),
    "late": (3, _late),
    "garbage": (2, _garbage),
}
SUCCESSES = {
    *("fine", "half-closed", "closed while idle", "a stray", "a late stray", "another version", "two lengths"),
    *("interim responses", "a flood of interim responses", "cut", "silence", "a drip", "late"),
}
"""The responses that are a success if the client reads them completely; the call may fail all the same."""
