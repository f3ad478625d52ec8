"""One episode: a client of the package, driven through the simulated world by its real run loop, pool and exchange."""

import contextlib
import random
import socket
import time
import types
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import anyio
import anyio.lowlevel

from camara_otp import AsyncOTPClient, RetryPolicy, _call
from camara_otp._exchange import connect, exchange, pool
from camara_otp._exchange.connect import Connection
from camara_otp._exchange.pool import Pool
from camara_otp._exchange.waits import Late, TimeLimit
from tests.simulation.world import Call, Sleep, Task, Violation, World


@types.coroutine
def _drive(steps: Any, deadline: float) -> Generator[Any, bool, Any]:
    """Drive an exchange, as `waits.drive` and `waits.adrive` do; the scheduler tells whether the limit has passed."""
    try:
        wait = next(steps)
        while True:
            if isinstance(wait, TimeLimit):
                deadline = wait
                wait = next(steps)
                continue
            late = yield wait, deadline
            wait = steps.throw(Late()) if late else next(steps)
    except StopIteration as done:
        return done.value
    finally:
        steps.close()


async def adrive(steps: Any, deadline: float) -> Any:
    return await _drive(steps, deadline)


@types.coroutine
def _sleep(seconds: float) -> Generator[Any, bool, None]:
    yield Sleep(seconds), 0.0


async def sleep(seconds: float) -> None:
    await _sleep(seconds)


_worlds: list[World] = []
_LOOP = object()


def _monotonic() -> float:
    return _worlds[-1].now


_CLOCK = types.SimpleNamespace(monotonic=_monotonic, time=time.time)


def _token() -> object:
    return _LOOP


def _addresses(host: str, port: int) -> Generator[Any, None, list[Any]]:
    """Return one address or two, without a wait."""
    yield from ()
    return [(socket.AF_INET, (host, port))] * _worlds[-1].rng.choice((1, 1, 2))


def _socket(family: int) -> Any:
    return _worlds[-1].socket(family)


@contextlib.contextmanager
def simulated() -> Iterator[None]:
    """Replace the clock, the sockets and the driver of the package; other threads of this process keep their clock."""
    with contextlib.ExitStack() as stack:
        for module in (_call, connect, exchange, pool):
            stack.enter_context(mock.patch.object(module, "time", _CLOCK))
        stack.enter_context(_io())
        yield


@contextlib.contextmanager
def _io() -> Iterator[None]:
    with (
        mock.patch.object(anyio, "sleep", sleep),
        mock.patch.object(anyio.lowlevel, "current_token", _token),
        mock.patch.object(exchange, "adrive", adrive),
        mock.patch.object(connect, "_socket", _socket),
        mock.patch.object(connect, "addresses", _addresses),
    ):
        yield


def run(seed: int, *, trace: bool = False) -> World:
    """Run the episode of a seed inside `simulated`; a Violation has the world as its `world`."""
    world = World(seed, trace=trace)
    _worlds[:] = [world]
    random.seed(seed)  # the jitter of the retry policy
    try:
        _run(world)
    except Violation as violation:
        violation.world = world  # type: ignore[attr-defined]
        raise
    finally:
        for task in [*world.frozen, *world.active]:
            task.ticket += 1
            with contextlib.suppress(BaseException):
                task.abandon()
    return world


def _run(world: World) -> None:
    rng = world.rng
    rate_limited = rng.random() < 0.3
    client = AsyncOTPClient(
        "http://127.0.0.1:9",
        token="unused",
        retry=RetryPolicy(rate_limited=rate_limited, connect_timeout=1.0) if rng.random() < 0.9 else None,
    )
    rate_limited = rate_limited and client._settings.policy is not None
    client._exchange._pool = Pool(Connection, rng.randint(1, 5))
    world.pool = lambda: client._exchange._pool
    client._exchange._loop = _LOOP
    calls = rng.randint(10, 60)
    for number in range(calls):
        world.at(rng.random() * calls * 0.1, partial(_start, world, client, f"c{number}", rate_limited=rate_limited))
    if rng.random() < 0.1:

        def fork() -> None:
            world.fork()
            client._exchange.forget()

        world.at(rng.random() * calls * 0.1, fork)
    if rng.random() < 0.1:
        world.at(rng.random() * calls * 0.1, partial(_close, client))
    world.run()
    world.check()
    if client._exchange._pool.busy:
        raise Violation("lost place: every call has ended, and a connection is in use")
    if not client._exchange.closed:
        _close(client)
    if world.open:
        raise Violation("lost socket: the client is closed")


def _close(client: AsyncOTPClient) -> None:
    with contextlib.suppress(StopIteration):
        client.aclose().send(None)


def _start(world: World, client: AsyncOTPClient, name: str, *, rate_limited: bool) -> None:
    rng = world.rng
    operation = rng.choice(("send_code", "validate_code"))
    timeout = rng.choice((0.05, 0.5, 2.0, 5.0))
    renews = rng.random() < 0.7
    tokens = iter(("first", "second") if renews else ("first", "first"))
    call = world.calls[name] = Call(name, operation, may_renew=renews, rate_limited=rate_limited)
    arguments = ("+346661113334", "{{code}}") if operation == "send_code" else ("an-id", "1234")
    coroutine = getattr(client, operation)(*arguments, x_correlator=name, token=lambda: next(tokens), timeout=timeout)
    world.log(f"{name}: {operation}, timeout {timeout} s")
    task = Task(world, call, coroutine, world.now + timeout)
    task.resume(0)


def simulate(seeds: Iterable[int], seconds: float = float("inf"), least: int = 0) -> Counter[str]:
    """Run the episodes of seeds; return how calls ended, and the numbers of calls and episodes.

    Args:
        seeds: one for each episode
        seconds: real time after which no episode starts
        least: the number of calls to simulate, even if that takes longer
    """
    until = time.perf_counter() + seconds
    totals: Counter[str] = Counter()
    with simulated():
        for seed in seeds:
            if time.perf_counter() >= until and totals["calls"] >= least:
                break
            world = run(seed)
            totals += world.ends
            totals["calls"] += len(world.calls)
            totals["episodes"] += 1
    return totals


def schedule(seed: int) -> str:
    """Return the schedule of a seed that fails, and the violation."""
    with simulated():
        try:
            run(seed, trace=True)
        except Violation as violation:
            return "\n".join([*violation.world.trace, f"{violation}"])  # type: ignore[attr-defined]
    return "the seed does not fail"
