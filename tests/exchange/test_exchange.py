"""The default exchange: the effect of sockets, threads and the environment."""

import errno
import os
import socket
import threading
import time
from concurrent.futures import Future
from functools import partial

import anyio
import pytest

from camara_otp._exchange import Failure, Outgoing, connect, mocks, open_exchange
from camara_otp._exchange.waits import drive
from tests.exchange.conftest import parts


def context():
    """Return the TLS context of this process."""
    return drive(connect.tls_context(), time.monotonic() + 5)


UNREADABLE = "the certificates that SSL_CERT_FILE and SSL_CERT_DIR name cannot be read: "


def test_an_answer_is_plain_values(new_exchange, server):
    """Status, lower-case header names, body; one connection for many requests."""
    server.answer = b"HTTP/1.1 201 Made\r\nX-A: B\r\nContent-Length: 2\r\n\r\nok"
    used = new_exchange(server.origin)
    for _ in range(3):
        answer = used.request(headers=[(b"X-Ours", b"1")], body=b"abc")
        assert parts(answer) == (201, [(b"x-a", b"B"), (b"content-length", b"2")], b"ok", None)
    assert server.connections == 1
    head = server.requests[0].partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"POST /x?a=1 HTTP/1.1"
    assert sorted(head[1:]) == [
        b"Accept-Encoding: identity",
        b"Content-Length: 3",
        b"Host: " + server.origin[7:].encode(),
        b"X-Ours: 1",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file or directory"), (b"", "no certificates"), (b"rubbish", "no certificates")],
)
def test_certificates_that_cannot_be_read_are_named(new_exchange, tmp_path, monkeypatch, content, problem):
    """Nothing is sent, no place in the pool is lost, and a repeat cannot help."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    used = new_exchange("https://127.0.0.1:1")
    for _ in range(2):
        assert used.request() == Failure(sent=False, reason=UNREADABLE + problem, permanent=True)
    assert used.exchange._pool.busy == 0


def test_running_out_of_sockets_while_certificates_are_read_is_no_fault_of_theirs(new_exchange, monkeypatch):
    """The failure is temporary, so it is not permanent and not cached."""

    def none_left(**_):
        raise OSError(errno.EMFILE, "x")

    connect._contexts.clear()
    monkeypatch.setattr(connect.ssl, "create_default_context", none_left)
    used = new_exchange("https://127.0.0.1:1")
    assert used.request() == Failure(False, f"cannot connect to 127.0.0.1:1: {os.strerror(errno.EMFILE)}")
    monkeypatch.undo()
    assert used.request() == Failure(False, f"cannot connect to 127.0.0.1:1: {os.strerror(errno.ECONNREFUSED)}")


def test_threads_that_start_together_read_the_certificates_once(monkeypatch):
    """At a start under load, reading takes 20 ms once, not once per thread."""
    made, real = [], connect.ssl.create_default_context
    together = threading.Barrier(10)

    def slow(**wanted):
        time.sleep(0.02)
        made.append(wanted)
        return real(**wanted)

    def ask():
        together.wait(5)
        context()

    monkeypatch.setattr(connect.ssl, "create_default_context", slow)
    connect._contexts.clear()
    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(made) == 1


def test_a_child_forked_while_certificates_are_read_does_not_wait_for_a_thread_it_lacks(monkeypatch):
    """The child ignores the thread of the parent process."""
    connect._contexts.clear()
    key = tuple(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))
    monkeypatch.setitem(connect.running, (os.getpid(), key), Future())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert context()


def test_a_resolver_that_hangs_holds_one_thread(shell_sync, monkeypatch):
    """All calls wait for the same lookup, each within its time; a later one starts a new lookup."""
    from tests.exchange.conftest import DrivenExchange

    asked, release = [], threading.Event()

    def hanging(host, port, **_):
        asked.append(host)
        release.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    used = DrivenExchange(shell_sync, "https://slow.example")
    context()  # made before, so that all the time is the resolver's
    began = time.monotonic()
    threads = [threading.Thread(target=partial(used.request, seconds=0.2)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 1
    assert asked == ["slow.example"]
    assert used.request(seconds=0.1) == Failure(False, "timed out connecting to slow.example:443")
    release.set()
    while connect.running:
        time.sleep(0.01)
    assert used.request() == Failure(False, "the host name could not be resolved (slow.example:443)")
    assert asked == ["slow.example"] * 2
    used.close()


def test_a_thread_that_cannot_start_leaves_no_lookup_behind(shell_sync, monkeypatch):
    """The next call tries again instead of waiting."""
    from tests.exchange.conftest import DrivenExchange

    def no_thread(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    used = DrivenExchange(shell_sync, "https://slow.example")
    assert used.request() == Failure(sent=False, reason="no thread can be started")
    assert not connect.running
    used.close()


@pytest.mark.parametrize("runs_exchange", [True, False], ids=["observed", "mocked"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_observed_client_gets_connections_of_its_own_on_each_loop(server, monkeypatch, backend, runs_exchange):
    """Also for calls through httpx: nothing is sent on a connection of a closed loop."""
    monkeypatch.setattr(mocks, "patched", lambda **_: mocks.Patched("httpx", runs_exchange=runs_exchange))
    exchange = open_exchange(server.origin, kind="AsyncClient", max_response_bytes=10)

    async def call():
        outgoing = Outgoing("POST", "/", [], b"{}", time.monotonic() + 5, None)
        return [(await exchange.arequest(outgoing)).status for _ in range(2)]

    assert anyio.run(call, backend=backend) == [200, 200]
    assert anyio.run(call, backend=backend) == [200, 200]
    assert len(server.requests) == 4
    exchange.close()


@pytest.mark.parametrize("runs_exchange", [True, False], ids=["observed", "mocked"])
def test_closing_lets_a_call_through_httpx_finish(new_exchange, server, monkeypatch, runs_exchange):
    """A client of the patched library stays open, because it keeps no connection."""
    monkeypatch.setattr(mocks, "patched", lambda **_: mocks.Patched("httpx", runs_exchange=runs_exchange))
    server.pause = 0.3
    used = new_exchange(server.origin)
    answers = []
    call = threading.Thread(target=lambda: answers.append(used.request()))
    call.start()
    while not server.requests:
        time.sleep(0.01)
    used.close()
    call.join(5)
    assert [answer.status for answer in answers] == [200]


def test_a_deadline_that_has_passed_sends_nothing(new_exchange, server):
    """Neither on a new connection nor on an idle one."""
    used = new_exchange(server.origin)
    assert used.request(seconds=-1) == Failure(False, "timed out waiting for a free connection")
    assert used.request().status == 200
    assert used.request(seconds=-1) == Failure(False, "timed out waiting for a free connection")
    assert len(server.requests) == 1
    assert used.exchange._pool.busy == 0


@pytest.mark.parametrize("idle_seconds", [0, 100])
def test_a_daemon_that_has_closed_all_descriptors_connects_again(new_exchange, server, idle_seconds):
    """Its first call is not lost on a connection that is kept no more."""
    used = new_exchange(server.origin)
    used.request()
    (kept,) = used.exchange._pool._open
    kept.idle_since -= idle_seconds
    os.close(kept.sock.fileno())

    assert used.request().status == 200
    assert (len(server.requests), server.connections) == (2, 2)
