"""Operator, faults and authorization server behind one clock and one lock, with a record of the requests.

The rules for codes, such as the number of tries, are in `operator`; the numbers are in `config`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count
from random import Random
from typing import Final, TypeVar

import attrs

from camara_otp.sandbox import operations
from camara_otp.sandbox.authorization import AuthorizationServer
from camara_otp.sandbox.config import Config
from camara_otp.sandbox.faults import ActiveFault, Fault, FaultBook
from camara_otp.sandbox.http import HTTPRequest, HTTPResponse
from camara_otp.sandbox.operations import MAX_SHOWN, OperationRequest
from camara_otp.sandbox.operator import Message, Operator
from camara_otp.sandbox.validators import is_number

T = TypeVar("T")

# A limit that keeps every date printable.
MAX_ADVANCE: Final = 100 * 366 * 86400.0


@attrs.frozen
class Call:
    """A request that reached the sandbox, and the response.

    Args:
        at: the time, in seconds since 1970, by the sandbox's clock
        operation: `send-code`, `validate-code`, or the path if it named neither
        status: the HTTP status of the response; 0 if the connection was dropped
        code: the CAMARA code of an error, else None
        message: the sentence of an error, else None
        x_correlator: the correlator of the response
        phone_number: the number concerned, if known
        authentication_id: the verification concerned, if known
        fault: whether a fault applied
        version: a number that grows with every event in a sandbox
    """

    at: float
    operation: str
    status: int
    code: str | None
    message: str | None
    x_correlator: str | None
    phone_number: str | None = attrs.field(repr=False)
    authentication_id: str | None = attrs.field(repr=False)
    fault: bool
    version: int


@attrs.frozen
class Changes:
    """The events in a sandbox since one of its versions, oldest first, and the faults in force.

    `version` is the one to ask for next time. `fresh` means that this is the whole state, which replaces all earlier
    changes.
    """

    version: int
    fresh: bool
    now: float
    messages: list[Message]
    calls: list[Call]
    faults: list[ActiveFault]


# These clocks run while a laptop sleeps; on other systems the usual monotonic clock does.
_THROUGH_SLEEP: Final = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def _steady() -> float:
    return time.monotonic() if _THROUGH_SLEEP is None else time.clock_gettime(_THROUGH_SLEEP)


class Engine:
    """The sandbox, for requests given as values. It is safe to share between threads."""

    def __init__(self, config: Config, clock: Callable[[], float] | None = None) -> None:
        self.config: Config = config
        self._lock = threading.Lock()
        # A clock that starts at the real time and ignores changes of the system clock.
        epoch = time.time() - _steady()
        self._clock = clock or (lambda: epoch + _steady())
        # A sandbox that starts later has higher versions, so that a page that reconnects notices.
        self._versions = count(time.time_ns() // 1000)
        self.served = 0
        """The number of servers that are running."""
        self._calls: deque[Call] = deque(maxlen=self.config.keep_total)
        self._start()

    def _start(self) -> None:
        seed = self.config.seed
        # Without a seed both start from the system's entropy. They make no secrets.
        self._operator = Operator(self.config, Random(seed), self._versions)  # noqa: S311
        self._faults = FaultBook(Random(seed))  # noqa: S311
        for fault in self.config.faults:
            self._faults.add(fault)
        self._authorization = AuthorizationServer()
        self._calls.clear()
        self._offset = 0.0
        self._born = next(self._versions)
        self.version: int = self._born
        """Grows with every change."""

    def handle(self, request: HTTPRequest, *, under_any_root: bool = False) -> HTTPResponse:
        """Respond to a request to an operation or to the authorization server; the caller waits and disconnects.

        Args:
            request: the request; a body longer than `http.MAX_BODY` may be cut off after one more byte
            under_any_root: ignore what precedes the configured path
        """
        with self._lock:
            response = self._authorization.respond(request, now=self.now, wall=self._clock())
            if response is not None:
                return attrs.evolve(response, delay=self.config.latency)
            read = operations.read(self.config, self._operator, request, under_any_root=under_any_root)
            return self._operate(read, self.now)

    def _operate(self, request: OperationRequest, now: float) -> HTTPResponse:
        fault, response, message = None, HTTPResponse(0), None
        if request.is_known:
            x_correlator = request.http.headers.get("x-correlator")
            fault = self._faults.match(request.operation, request.phone_number, x_correlator)
        if fault is None or fault.lets_act:
            response, message = operations.carry_out(self.config, self._operator, self._authorization, request, now)
        if fault is not None:
            response = fault.answer(request.echo) if fault.answers else response
            response = attrs.evolve(response, delay=fault.delay, drop=fault.drop)
        # A dropped connection has no response.
        seen = HTTPResponse(0) if response.drop else response
        self.version = next(self._versions)
        call = Call(
            at=now,
            operation=request.operation,
            status=seen.status,
            code=seen.code,
            message=seen.message and seen.message[:MAX_SHOWN],
            x_correlator=request.x_correlator,
            phone_number=request.phone_number,
            authentication_id=message.authentication_id if message else request.authentication_id,
            fault=fault is not None,
            version=self.version,
        )
        self._calls.append(call)
        return attrs.evolve(response, delay=response.delay + self.config.latency)

    @property
    def now(self) -> float:
        """The sandbox's time, in seconds since 1970."""
        return self._clock() + self._offset

    @property
    def sent_count(self) -> int:
        """The number of SMS sent since the start or the last reset, dropped ones included."""
        return self._operator.sent

    def messages(self, phone_number: str | None = None) -> list[Message]:
        """Return the messages that one phone received, or all phones, oldest first.

        Args:
            phone_number: the phone, with its plus sign; None for all
        """
        with self._lock:
            return self._operator.messages(self.now, phone_number)

    def last_code(self, phone_number: str) -> str:
        """Return the code in the newest SMS to a phone.

        Args:
            phone_number: the phone, with its plus sign

        Raises:
            LookupError: the phone has no SMS; the message describes the last request
        """
        messages = self.messages(phone_number)
        if not messages:
            raise LookupError(f"this phone has received no SMS: {self._why_empty(phone_number)}; see calls()")
        return messages[-1].code

    def _why_empty(self, phone_number: str) -> str:
        calls = self.calls()
        if not calls:
            return "no request came in"
        last = calls[-1]
        whose = "" if last.phone_number in (None, phone_number) else " for another phone"
        got = "no response: the connection was dropped"
        if last.status:
            got = " ".join(filter(None, (f"HTTP {last.status}", last.code)))
        why = f" ({last.message})" if last.message else ""
        return f"the last request, {last.operation}{whose}, got {got}{why}"

    def calls(self) -> list[Call]:
        """Return the requests and how they ended, oldest first."""
        with self._lock:
            return list(self._calls)

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward.

        Args:
            seconds: the number of seconds, 0 or more; a hundred years in all

        Raises:
            ValueError: it is negative, not a number, or too far
        """
        with self._changing():
            if not is_number(seconds) or not 0 <= seconds <= MAX_ADVANCE - self._offset:
                raise ValueError("seconds: must be a number from 0 to a hundred years in all")
            self._offset += seconds

    def reset(self) -> None:
        """Drop all messages, requests, faults and tokens, and set the clock to the present."""
        with self._changing():
            self._start()

    def add_fault(self, fault: Fault) -> int:
        """Add a fault after those in force, and return its number.

        Raises:
            ValueError: there are a thousand faults already; clear some
        """
        with self._changing():
            return self._faults.add(fault)

    def remove_fault(self, number: int) -> bool:
        """Remove the fault with the number that `add_fault` returned; return whether it was in force."""
        with self._changing():
            entry = self._faults.active.pop(number, None)
            return entry is not None and entry.left != 0

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self._changing():
            self._faults.active.clear()

    def faults(self) -> list[ActiveFault]:
        """Return the faults in force, oldest first, each with the number of requests that it still affects."""
        with self._lock:
            return self._faults.entries()

    def changes(self, since: int = 0, *, limit: int = 1000) -> Changes:
        """Return the changes since a version, or the whole state if the version precedes the last reset.

        Args:
            since: the version of an earlier result; 0 for the whole state
            limit: at most so many messages, and so many requests: the newest
        """
        with self._lock:
            now = self.now
            fresh = since < self._born
            known = 0 if fresh else since
            messages = self._operator.messages(now, since=known)
            calls = [call for call in self._calls if call.version > known]
            newest = slice(-limit, None) if limit > 0 else slice(0)
            return Changes(self.version, fresh, now, messages[newest], calls[newest], self._faults.entries())

    def with_tokens(self, act: Callable[[AuthorizationServer, float], T]) -> T:
        """Return what a function of the authorization server and of the sandbox's time returns, under the lock."""
        with self._lock:
            return act(self._authorization, self.now)

    @contextmanager
    def _changing(self) -> Generator[None]:
        """Hold the lock for a change, then count it."""
        with self._lock:
            yield
            self.version = next(self._versions)
