"""The edges of the exchange: names, threads, event loops, interrupts, and replaced functions of other libraries."""

import asyncio
import contextlib
import errno
import gc
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import camara_otp
from camara_otp import (
    AsyncOTPClient,
    InvalidArgumentError,
    OTPClient,
    OutcomeUnknownError,
    RequestNotSentError,
    SendCodeResponse,
    UnexpectedResponseError,
)
from camara_otp._exchange import connect
from camara_otp._exchange.exchange import Route
from camara_otp._exchange.waits import Late, Signal, drive
from tests.conftest import MESSAGE, NUMBER
from tests.faults.scenarios import CHUNKED, SENT, raw, replies
from tests.interrupts import entered_at, interrupted_at

EXCHANGE = str(Path(camara_otp.__file__).parent / "_exchange")


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        ("https://api.example.com:443", b"api.example.com"),
        ("http://api.example.com:80", b"api.example.com"),
        ("https://api.example.com:80", b"api.example.com:80"),
        ("https://[2001:db8::1]:443", b"[2001:db8::1]"),
        ("https://[2001:db8::1]:8443", b"[2001:db8::1]:8443"),
        ("https://api.example.com.", b"api.example.com."),
    ],
)
def test_the_host_header_has_no_default_port(origin, authority):
    """As browsers and httpx write it."""
    assert Route(origin).authority == authority


def test_a_dot_at_the_end_of_the_host_is_not_part_of_the_certificates_name(faults, shell, monkeypatch):
    """The name is resolved with its dot; SNI and the check of the certificate go without it (RFC 6066 section 3)."""
    asked = []

    def resolve(host, port, *_, **__):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    listener = faults.listen(replies(raw()), tls=faults.tls)
    client = shell.client(f"https://localhost.:{listener.port}")
    assert isinstance(client.send_code(NUMBER, MESSAGE), SendCodeResponse)
    assert asked == ["localhost."]


@pytest.mark.parametrize(
    "error", [ValueError("secret"), LookupError("secret"), RuntimeError("secret"), OSError("secret")]
)
def test_a_resolver_that_raises_anything_is_a_request_that_was_not_sent(shell, monkeypatch, error):
    """A replaced resolver may raise any exception; its message is not shown."""

    def broken(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", broken)
    with pytest.raises(RequestNotSentError, match=f"{type(error).__name__} was raised while connecting") as caught:
        shell.client("https://raises.example", retry=None).send_code(NUMBER, MESSAGE)
    assert "secret" not in str(caught.value)


def test_a_resolver_that_finds_no_address_is_a_request_that_was_not_sent(shell, monkeypatch):
    """The standard resolver raises in this case; a replaced one may return an empty list."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(RequestNotSentError, match="could not be resolved"):
        shell.client("https://raises.example", retry=None).send_code(NUMBER, MESSAGE)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_a_host_that_only_tls_finds_invalid_is_not_sent(faults, shell, monkeypatch, host):
    """Behind a proxy, the client does not resolve the name."""

    async def script(c):
        await c.reader.readuntil(b"\r\n\r\n")
        await c.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{faults.listen(script).port}")
    with pytest.raises(RequestNotSentError, match="not a valid host name") as caught:
        shell.client(f"https://{host}").send_code(NUMBER, MESSAGE)
    assert caught.value.permanent


def test_an_exception_of_a_signal_handler_in_the_check_of_a_kept_connection_passes_through(monkeypatch, faults):
    """It must not look like a closed connection."""
    listener = faults.listen(replies(raw(), raw()))

    def interrupted(self):
        raise TimeoutError

    with OTPClient(f"http://127.0.0.1:{listener.port}", token="t") as client:
        client.send_code(NUMBER, MESSAGE)
        monkeypatch.setattr(connect.Connection, "_receive", interrupted)
        with pytest.raises(TimeoutError):
            client.send_code(NUMBER, MESSAGE)
    assert listener.posts == 1


def test_hanging_lookups_do_not_hold_up_the_end_of_the_event_loop(monkeypatch):
    """They run outside the thread pool of the loop, for which `asyncio.run` waits."""
    release = threading.Event()
    threads = []

    def hanging(*_, **__):
        threads.append(threading.current_thread().name)
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)

    async def main():
        async with AsyncOTPClient("https://hangs.example", token="t", timeout=0.1, retry=None) as client:
            outcomes = await asyncio.gather(
                *(client.send_code(NUMBER, MESSAGE) for _ in range(40)), return_exceptions=True
            )
        assert {type(outcome) for outcome in outcomes} == {RequestNotSentError}

    try:
        asyncio.run(main())  # it returns although the lookup still hangs
        assert not release.is_set()
        assert threads == ["camara-otp"]
    finally:
        release.set()


def test_the_certificates_are_read_outside_the_event_loop(monkeypatch, faults):
    """Other tasks run meanwhile: here one of them has to, or the read would never end."""
    reading, done = threading.Event(), threading.Event()
    real = connect.ssl.create_default_context

    def slow(**options):
        reading.set()
        assert done.wait(20)
        return real(**options)

    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)
    monkeypatch.setattr(connect.ssl, "create_default_context", slow)
    monkeypatch.setattr(connect, "_contexts", {})
    listener = faults.listen(replies(raw()), tls=faults.tls)

    async def other_task():
        while not reading.is_set():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.001)
        done.set()

    async def main():
        async with AsyncOTPClient(f"https://localhost:{listener.port}", token="t", timeout=25) as client:
            task = asyncio.create_task(other_task())
            assert await client.send_code(NUMBER, MESSAGE)
            await task

    asyncio.run(main())


def test_a_key_log_that_cannot_be_written_is_named(shell, monkeypatch, tmp_path):
    """The variable SSLKEYLOGFILE is for debugging; without its file nothing is sent."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "none" / "keys.log"))
    with pytest.raises(RequestNotSentError, match="SSLKEYLOGFILE") as caught:
        shell.client("https://127.0.0.1:1").send_code(NUMBER, MESSAGE)
    assert caught.value.permanent


@pytest.mark.parametrize("count", [1, 50])
def test_interim_responses_are_fine(faults, shell, count):
    """A server may send many before its response."""
    listener = faults.listen(replies(b"HTTP/1.1 102 Processing\r\n\r\n" * count + raw()))
    assert shell.client(f"http://127.0.0.1:{listener.port}").send_code(NUMBER, MESSAGE)


def test_a_body_in_one_byte_chunks_lets_other_tasks_run(faults):
    """65,000 chunks in one response: another task gets its turn hundreds of times meanwhile."""
    body = SENT + b" " * (65_000 - len(SENT))
    listener = faults.listen(replies(raw(200, b"".join(b"1\r\n%c\r\n" % c for c in body) + b"0\r\n\r\n", CHUNKED)))

    async def main():
        turns = 0

        async def other_task():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with AsyncOTPClient(f"http://127.0.0.1:{listener.port}", token="t", timeout=60) as client:
            task = asyncio.create_task(other_task())
            assert await client.send_code(NUMBER, MESSAGE)
            task.cancel()
        return turns

    assert asyncio.run(main()) > 500


def test_a_server_whose_certificate_is_refused_is_told_why(faults, shell):
    """Its log names the unknown authority, and not a lost connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    faults.authority.issue_cert("127.0.0.1").configure_cert(context)
    told = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            try:
                context.wrap_socket(listening.accept()[0], server_side=True)
            except OSError as error:
                told.append(str(error))

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(RequestNotSentError, match="does not verify"):
            shell.client(f"https://127.0.0.1:{listening.getsockname()[1]}", retry=None).send_code(NUMBER, MESSAGE)
        thread.join(10)
    assert "unknown ca" in told[0]


def test_a_connection_with_half_a_request_in_it_is_not_used_again(faults, shell, monkeypatch):
    """The server would take the next request for the rest of the first one."""

    async def script(c):
        if c.number == 1:
            await c.read_some(10)
            await c.send(raw(400, b'{"status": 400, "code": "INVALID_ARGUMENT", "message": "x"}'))
            await c.hold()
        elif await c.request():
            await c.send(raw())

    listener = faults.listen(script)
    client = shell.client(f"http://127.0.0.1:{listener.port}")
    real = connect.Connection.flush

    def interrupted(self):
        self.sock.send(self._unsent[:10])
        self._unsent = self._unsent[10:]
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    monkeypatch.setattr(connect.Connection, "flush", interrupted)
    with pytest.raises(InvalidArgumentError):
        client.send_code(NUMBER, MESSAGE)
    monkeypatch.setattr(connect.Connection, "flush", real)

    assert client.send_code(NUMBER, MESSAGE)
    assert listener.connections == 2


def test_a_handshake_of_endless_messages_is_left_for_other_tasks():
    """HelloRequest may be repeated at will (RFC 5246 section 7.4.1.1)."""
    record = b"\x16\x03\x03\x40\x00" + bytes(4) * 4096

    class Endless(connect.Connection):
        received = 0
        readable = "readable"

        def _receive(self):
            self.received += 1
            assert self.received < 10
            return record

        def flush(self):
            return None

    connection = Endless()
    steps = connection.start_tls(ssl.create_default_context(), "localhost")
    assert [next(steps) for _ in range(5)] == ["readable"] * 5


def test_endless_session_tickets_are_left_for_other_tasks(faults):
    """A quarter of a megabyte of TLS records without data: each look at the connection reads one buffer of them."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    faults.authority.issue_cert("localhost").configure_cert(server_context)
    server_context.num_tickets = 1000
    client_context = ssl.create_default_context(cadata=faults.authority.cert_pem.bytes().decode())
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with (
                contextlib.suppress(OSError),
                server_context.wrap_socket(listening.accept()[0], server_side=True) as server,
            ):
                server.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        connection = connect.Connection()
        deadline = time.monotonic() + 10
        drive(connection.connect(*listening.getsockname(), deadline), deadline)
        drive(connection.start_tls(client_context, "localhost"), deadline)
        looks = 0
        while select.select([connection.sock], [], [], 0.2)[0]:
            assert connection.receive() is None
            looks += 1
        connection.close()
        thread.join(10)
    assert looks > 10


def test_a_wait_ends_in_time_although_the_clock_stands_still(monkeypatch):
    """Tests of a caller freeze the time."""
    now, waits = time.monotonic(), []

    class Silence:
        def block(self, seconds):
            waits.append(seconds)
            assert len(waits) < 3
            return False

    def steps():
        yield Silence()

    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(Late):
        drive(steps(), now + 5)
    assert waits == [pytest.approx(5)]


# --- Interrupts ------------------------------------------------------------------------------------------------------


def test_another_thread_ends_a_wait_that_a_signal_handler_has_interrupted():
    """Else it would wait in its turn, in the middle of a step of the pool, and the handler may wait for that step."""
    for line in range(1, 100):
        signalled, ended = Signal(), []

        def handler(signalled=signalled):
            thread = threading.Thread(target=signalled.set)
            thread.start()
            thread.join(5)
            assert not thread.is_alive()

        def work(signalled=signalled, ended=ended):
            ended.append(signalled.block(0.01))

        if not entered_at(line, work, (EXCHANGE, threading.__file__), handler):
            assert line > 4
            return
        assert ended == [True]
    pytest.fail("the wait never ended")


def open_sockets():
    gc.collect()
    held = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            held += str(entry.readlink()).startswith("socket:")
    return held


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the sockets of this process in /proc")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("kept", [False, True], ids=["a new connection", "a kept connection"])
def test_an_interrupt_at_any_line_loses_no_socket_and_no_place(faults, monkeypatch, tls, kept):
    """In a thread: the next call works, no connection stays in use, and closing the client closes every socket."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)
    listener = faults.listen(replies(raw()), tls=faults.tls if tls else None)
    url = f"http{'s' if tls else ''}://{'localhost' if tls else '127.0.0.1'}:{listener.port}"
    with OTPClient(url, token="t", timeout=20) as warm:
        warm.send_code(NUMBER, MESSAGE)
    before = open_sockets()
    for line in range(1, 2000):
        client = OTPClient(url, token="t", timeout=20)
        if kept:
            client.send_code(NUMBER, MESSAGE)
        hit = interrupted_at(line, lambda client=client: client.send_code(NUMBER, MESSAGE), EXCHANGE)
        assert client._exchange._pool.busy == 0, line
        assert client.send_code(NUMBER, MESSAGE)
        client.close()
        if not hit:
            break
    else:
        pytest.fail("the call never ended")
    assert line > 60
    deadline = time.monotonic() + 5
    while open_sockets() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_sockets() <= before


class HandlerError(Exception):
    """Raised by a signal handler of the caller."""


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals")
@pytest.mark.parametrize("error", [HandlerError, TimeoutError, ConnectionError, SystemExit, KeyboardInterrupt])
def test_an_exception_of_a_signal_handler_passes_through_as_itself(faults, error):
    """Its class does not matter; it is not an outcome of the request."""

    async def silent(c):
        await c.request()
        await c.sleep(5)

    def handler(*_):
        raise error("by the handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with OTPClient(f"http://127.0.0.1:{faults.listen(silent).port}", token="t", timeout=10) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(error, match="by the handler") as caught:
                client.send_code(NUMBER, MESSAGE)
            assert type(caught.value) is error
            assert client._exchange._pool.busy == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_response_of_101_is_not_a_success(faults, shell):
    """The client requests no other protocol."""
    listener = faults.listen(replies(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))
    with pytest.raises((OutcomeUnknownError, UnexpectedResponseError)):
        shell.client(f"http://127.0.0.1:{listener.port}").send_code(NUMBER, MESSAGE)


def test_a_call_while_the_interpreter_ends_is_not_sent():
    """A finalizer that makes a call must not hold the process."""
    program = """
import sys
from camara_otp import OTPClient, RequestNotSentError

class Last:
    client = OTPClient("https://operator.invalid", token="t")

    def __del__(self):
        try:
            self.client.send_code("+346661113334", "{{code}}")
        except RequestNotSentError as error:
            print(error)

sys.modules["last"] = Last()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("no thread can be started ")
