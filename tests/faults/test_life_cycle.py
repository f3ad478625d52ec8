"""Sharing, cancelling, forking and closing: each works or raises a clear error, and no response is mixed up."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from camara_otp import (
    AsyncOTPClient,
    ConfigurationError,
    OTPClient,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RetryPolicy,
)
from tests.faults.drive import AUTHENTICATION_ID, CODE, MESSAGE, NUMBER, TOKEN
from tests.faults.scenarios import raw

BACKENDS = ["asyncio", "trio"]


async def echo(c):
    """Respond to each request with its number, to identify the response."""
    while await c.request():
        number = json.loads(c.body)["phoneNumber"]
        await c.send(raw(200, json.dumps({"authenticationId": number}).encode()))


def url(listener):
    return f"http://127.0.0.1:{listener.port}"


def open_sockets():
    """Return the number of open sockets of this process."""
    gc.collect()
    held = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            held += str(entry.readlink()).startswith("socket:")
    return held


@pytest.mark.long
def test_32_threads_share_a_client(faults):
    """16,000 calls, and every response belongs to its request."""
    listener = faults.listen(echo)
    with OTPClient(url(listener), token=TOKEN, timeout=30) as client:

        def work(thread):
            for n in range(500):
                number = f"+34{thread:04}{n:05}"
                if client.send_code(number, MESSAGE).authentication_id != number:
                    return f"{number} got another answer"
            return None

        with ThreadPoolExecutor(32) as pool:
            assert list(pool.map(work, range(1, 33))) == [None] * 32

    assert listener.posts == 32 * 500
    # Not one a call; a few more than 32, where one was idle for so long that it was replaced.
    assert listener.connections <= 64


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_1000_tasks_share_a_client(faults, backend):
    """Every response belongs to its request."""
    listener = faults.listen(echo)
    wrong = []

    async def main():
        async with AsyncOTPClient(url(listener), token=TOKEN, timeout=30) as client:

            async def one(n):
                number = f"+3460000{n:04}"
                if (await client.send_code(number, MESSAGE)).authentication_id != number:
                    wrong.append(number)

            for _ in range(2):
                async with anyio.create_task_group() as tasks:
                    for n in range(500):
                        tasks.start_soon(one, n)

    anyio.run(main, backend=backend)

    assert wrong == []
    assert listener.posts == 1000


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
def test_1000_cancellations_leave_the_pool_usable(faults, backend):
    """At any point of a call; nothing leaks, and no stray response is used."""

    async def slow_echo(c):
        while await c.request():
            await c.sleep(0.002)
            number = json.loads(c.body)["phoneNumber"]
            await c.send(raw(200, json.dumps({"authenticationId": number}).encode()))

    listener = faults.listen(slow_echo)
    before = open_sockets()

    async def main():
        async with AsyncOTPClient(url(listener), token=TOKEN, timeout=30) as client:

            async def cancelled(n):
                with anyio.move_on_after((n % 25) / 2000):
                    number = f"+3460000{n:04}"
                    answer = await client.send_code(number, MESSAGE)
                    assert answer.authentication_id == number

            for batch in range(20):
                async with anyio.create_task_group() as tasks:
                    for n in range(50):
                        tasks.start_soon(cancelled, batch * 50 + n)
            assert (await client.send_code(NUMBER, MESSAGE)).authentication_id == NUMBER
            assert client._exchange._pool.busy == 0

    anyio.run(main, backend=backend)

    time.sleep(0.1)
    assert open_sockets() <= before + 2


@pytest.mark.long
def test_1000_deadline_hits_leave_the_pool_usable(faults, shell):
    """The connection of a late response is closed, and the response is used for no other call."""

    async def slow(c):
        while await c.request():
            number = json.loads(c.body)["phoneNumber"]
            await c.sleep(0 if number == NUMBER else 0.1)
            await c.send(raw(200, json.dumps({"authenticationId": number}).encode()))

    listener = faults.listen(slow)
    client = shell.client(url(listener), token=TOKEN, timeout=5)
    for n in range(330):
        with pytest.raises(OTPError):
            client.send_code(f"+3460000{n:04}", MESSAGE, timeout=0.003)
        if n % 30 == 0:
            assert client.send_code(NUMBER, MESSAGE).authentication_id == NUMBER
    assert client.client._exchange._pool.busy == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_shares_no_connection(faults):
    """Parent and child each get their own responses."""
    listener = faults.listen(echo)
    with OTPClient(url(listener), token=TOKEN, timeout=5) as client:
        client.send_code(NUMBER, MESSAGE)
        read, write = os.pipe()
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other threads of the tests run; the child touches none of them
            child = os.fork()
        if child == 0:
            try:
                for n in range(20):
                    answer = client.send_code(f"+33{n:08}", MESSAGE).authentication_id
                    if answer != f"+33{n:08}":
                        os._exit(1)
                os.write(write, b"fine")
            finally:
                os._exit(0)
        for n in range(20):
            assert client.send_code(f"+34{n:08}", MESSAGE).authentication_id == f"+34{n:08}"
        _, status = os.waitpid(child, 0)
        os.close(write)
        assert (os.read(read, 10), status) == (b"fine", 0)
        os.close(read)
    assert listener.posts == 41


FORKS_AS_UWSGI = """
import ctypes, os, sys
from camara_otp import OTPClient
client = OTPClient(sys.argv[1], token="t", timeout=5)
client.send_code("+33600000000", "{{code}}")
child = ctypes.PyDLL(None).fork()
for number in range(20):
    phone = f"+3{4 if child else 3}{number:08}"
    sent = client.send_code(phone, "{{code}}")
    os.write(1, f"{sent.x_correlator} {sent.authentication_id == phone}\\n".encode())
if child:
    os.waitpid(child, 0)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="calls fork of the C library")
def test_a_child_forked_without_the_functions_of_python_shares_nothing(faults):
    """UWSGI forks its workers so, unless it is told otherwise: no connection and no correlator may be theirs twice."""
    listener = faults.listen(echo)
    done = subprocess.run(
        [sys.executable, "-c", FORKS_AS_UWSGI, url(listener)], capture_output=True, text=True, timeout=60, check=True
    )
    correlators, own = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    assert set(own) == {"True"}
    assert len(set(correlators)) == len(correlators) == 40


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_event_loops_in_a_row(faults, backend):
    """A client can be used on a second event loop after the first; each SMS is sent once."""
    listener = faults.listen(echo)
    client = AsyncOTPClient(url(listener), token=TOKEN)

    async def main():
        assert (await client.send_code(NUMBER, MESSAGE)).authentication_id == NUMBER

    anyio.run(main, backend=backend)
    anyio.run(main, backend=backend)
    asyncio.run(client.aclose())

    assert (listener.posts, listener.connections) == (2, 2)


def test_two_event_loops_at_once_are_refused_before_anything_is_sent(faults):
    """The message says to create a second client."""

    async def slow(c):
        while await c.request():
            await c.sleep(0.3)
            await c.send(raw())

    listener = faults.listen(slow)
    client = AsyncOTPClient(url(listener), token=TOKEN, retry=None)
    first = threading.Thread(target=lambda: asyncio.run(client.send_code(NUMBER, MESSAGE)))
    first.start()
    time.sleep(0.1)

    with pytest.raises(RequestNotSentError, match="one client per loop") as caught:
        asyncio.run(client.send_code(NUMBER, MESSAGE))

    first.join()
    asyncio.run(client.aclose())
    assert caught.value.permanent
    assert listener.posts == 1


def test_closing_during_a_call_lets_it_finish(faults, shell):
    """The call succeeds, the next one is refused, and no connection stays open."""

    async def slow(c):
        while await c.request():
            await c.sleep(0.2)
            await c.send(raw())

    listener = faults.listen(slow)
    client = shell.client(url(listener), token=TOKEN)
    results = []
    thread = threading.Thread(target=lambda: results.append(client.send_code(NUMBER, MESSAGE)))
    thread.start()
    time.sleep(0.1)
    client.close()
    thread.join()

    assert len(results) == 1
    assert client.client._exchange._pool.busy == 0
    with pytest.raises(ConfigurationError, match="closed"):
        client.send_code(NUMBER, MESSAGE)


@pytest.fixture
def _ctrl_c_raises():
    """Handle SIGINT as in a terminal: a shell lets background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_raises")
def test_ctrl_c_during_a_call_passes_through_and_leaves_the_client_usable(faults):
    """KeyboardInterrupt is raised unchanged; the interrupted connection is closed."""

    async def script(c):
        while await c.request():
            if c.number == 1:
                await c.sleep(0.5)
            await c.send(raw())

    listener = faults.listen(script)
    with OTPClient(url(listener), token=TOKEN, timeout=5) as client:
        timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            # The signal is raised in another thread, and Python handles it in this one.
            while time.monotonic() - began < 3:
                with contextlib.suppress(OTPError):  # the call may end before the signal comes
                    client.send_code(NUMBER, MESSAGE, timeout=0.3)
        assert client._exchange._pool.busy == 0
        assert client.send_code(NUMBER, MESSAGE).authentication_id


def test_the_number_of_connections_is_bounded_and_waited_for_in_turn(faults, shell, monkeypatch):
    """If there are more calls than connections, they wait in order, and none fails."""
    from camara_otp._exchange.connect import Connection
    from camara_otp._exchange.pool import Pool

    order = []

    async def script(c):
        while await c.request():
            order.append(json.loads(c.body)["phoneNumber"])
            await c.sleep(0.02)
            await c.send(raw())

    listener = faults.listen(script)
    client = shell.client(url(listener), token=TOKEN)
    client.client._exchange._pool = Pool(Connection, 2)
    threads = []
    for n in range(12):
        threads.append(threading.Thread(target=client.send_code, args=(f"+34600000{n:03}", MESSAGE)))
        threads[-1].start()
        time.sleep(0.004)
    for thread in threads:
        thread.join()

    assert listener.connections == 2
    assert len(order) == 12
    # Two calls are in flight at a time, so a call may overtake one or two others, and no more.
    assert all(abs(sorted(order).index(number) - place) <= 2 for place, number in enumerate(order))


def test_waiting_for_a_connection_ends_with_the_deadline(faults, shell):
    """The request was not sent, and the error says so; the place in the queue is released."""
    from camara_otp._exchange.connect import Connection
    from camara_otp._exchange.pool import Pool

    async def script(c):
        while await c.request():
            await c.sleep(0.4)
            await c.send(raw())

    listener = faults.listen(script)
    client = shell.client(url(listener), token=TOKEN, retry=None)
    client.client._exchange._pool = Pool(Connection, 1)
    first = threading.Thread(target=client.send_code, args=(NUMBER, MESSAGE))
    first.start()
    time.sleep(0.1)

    with pytest.raises(RequestNotSentError, match="free connection"):
        client.send_code(NUMBER, MESSAGE, timeout=0.1)

    first.join()
    assert client.send_code(NUMBER, MESSAGE)
    assert listener.posts == 2


def test_running_out_of_sockets_uses_the_connections_there_are(faults, shell, monkeypatch):
    """EMFILE is no failure if another connection is released in time; the limit of connecting has no effect then."""
    from camara_otp._exchange import connect

    made = []
    original = connect._socket

    def scarce(family):
        if len(made) >= 2:
            raise OSError(24, "Too many open files")
        made.append(family)
        return original(family)

    monkeypatch.setattr(connect, "_socket", scarce)

    async def script(c):
        while await c.request():
            await c.sleep(0.25)
            await c.send(raw())

    listener = faults.listen(script)
    client = shell.client(url(listener), token=TOKEN, timeout=5, retry=RetryPolicy(max_attempts=1, connect_timeout=0.5))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.send_code(NUMBER, MESSAGE), range(8)))

    assert len(answers) == 8
    assert listener.connections == 2


def test_without_any_socket_the_request_is_not_sent(faults, shell, monkeypatch):
    """The error has the reason."""
    from camara_otp._exchange import connect

    def none(family):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(connect, "_socket", none)
    listener = faults.listen(echo)

    with pytest.raises(RequestNotSentError, match="Too many open files"):
        shell.client(url(listener), token=TOKEN, retry=None).send_code(NUMBER, MESSAGE)


@pytest.mark.long
@pytest.mark.parametrize("operation", ["send_code", "validate_code"])
def test_a_soak_retains_nothing(faults, shell, operation):
    """The short form of `make soak`: memory after 2,000 calls is that after 500."""
    import tracemalloc

    async def script(c):
        while await c.request():
            await c.send(raw() if b"/send-code" in c.head else raw(204, b""))

    listener = faults.listen(script)
    client = shell.client(url(listener), token=TOKEN, timeout=30)
    call = {
        "send_code": lambda: client.send_code(NUMBER, MESSAGE),
        "validate_code": lambda: client.validate_code(AUTHENTICATION_ID, CODE),
    }[operation]
    for _ in range(200):
        call()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(100):
            call()
        gc.collect()
        early, _ = tracemalloc.get_traced_memory()
        for _ in range(500):
            call()
        gc.collect()
        late, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert late - early < 60_000
    assert listener.connections == 1


def test_an_outcome_that_is_unknown_is_not_hidden_by_a_later_call(faults, shell):
    """The next call is a new one, with its own correlator."""

    async def script(c):
        if await c.request() and c.number > 1:
            await c.send(raw())

    listener = faults.listen(script)
    client = shell.client(url(listener), token=TOKEN)

    with pytest.raises(OutcomeUnknownError) as caught:
        client.send_code(NUMBER, MESSAGE)
    assert client.send_code(NUMBER, MESSAGE).x_correlator != caught.value.x_correlator
