"""A response is never used for another request: unread bytes on an idle connection end that connection."""

import asyncio
import threading
import time

import pytest

from camara_otp import InvalidOTPError, RequestNotSentError, SendCodeResponse
from camara_otp._exchange.connect import Connection
from tests.faults.drive import AUTHENTICATION_ID, CODE, MESSAGE, NUMBER, TOKEN
from tests.faults.scenarios import CHUNKED, SENT, chunked, raw

SMUGGLED = raw(204, b"")
WRONG = raw(400, b'{"code":"ONE_TIME_PASSWORD_SMS.INVALID_OTP"}')
FIRST = {
    "with a length": raw(),
    "chunked": raw(200, chunked(SENT), CHUNKED),
    "chunked with a trailer": raw(200, b"%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(SENT), SENT), CHUNKED),
    "after an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n" + raw(),
}
STRAYS = {
    "an answer": SMUGGLED,
    "an answer with a body": raw(204, b"", b"X: " + b"y" * 5000),
    "two answers": SMUGGLED * 2,
    "half an answer": SMUGGLED[:-3],
    "a line end": b"\r\n",
    "one byte": b"H",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
}


def leaves(first, stray, pause, left):
    """Respond to the first request with extra bytes after the response; refuse all others, on any connection."""

    async def script(c):
        while await c.request():
            if b"/send-code" in c.head:
                if pause is None:
                    await c.send(first + stray)
                else:
                    await c.send(first)
                    await c.sleep(pause)
                    await c.send(stray)
                left.set()
            else:
                await c.send(WRONG)

    return script


@pytest.mark.long
@pytest.mark.parametrize("tls", [None, "tls"], ids=["plain", "TLS"])
@pytest.mark.parametrize("pause", [None, 0.02], ids=["at once", "a moment later"])
@pytest.mark.parametrize("stray", STRAYS)
@pytest.mark.parametrize("first", FIRST)
def test_a_smuggled_success_verifies_no_number(faults, shell, monkeypatch, first, stray, pause, tls):
    """The next request is sent on a new connection and gets its own response."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)
    left = threading.Event()
    listener = faults.listen(leaves(FIRST[first], STRAYS[stray], pause, left), tls=tls and faults.tls)
    client = shell.client(f"http{'s' if tls else ''}://127.0.0.1:{listener.port}", token=TOKEN, timeout=5)

    assert isinstance(client.send_code(NUMBER, MESSAGE), SendCodeResponse)
    assert left.wait(5)
    time.sleep(0.005)  # loopback delivers at once; what arrives during the next request is another matter
    with pytest.raises(InvalidOTPError):
        client.validate_code(AUTHENTICATION_ID, CODE)

    assert listener.connections == 2
    assert listener.posts == 2


@pytest.mark.parametrize("tls", [None, "tls"], ids=["plain", "TLS"])
@pytest.mark.parametrize("first", FIRST)
def test_a_connection_without_strays_is_kept(faults, shell, monkeypatch, first, tls):
    """Ten calls use one connection."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)

    async def script(c):
        while await c.request():
            await c.send(FIRST[first] if b"/send-code" in c.head else SMUGGLED)

    listener = faults.listen(script, tls=tls and faults.tls)
    client = shell.client(f"http{'s' if tls else ''}://127.0.0.1:{listener.port}", token=TOKEN)
    for _ in range(5):
        client.send_code(NUMBER, MESSAGE)
        client.validate_code(AUTHENTICATION_ID, CODE)

    assert (listener.connections, listener.posts) == (1, 10)


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("tls", [None, "tls"], ids=["plain", "TLS"])
def test_a_connection_that_the_server_closed_while_idle_is_not_used(faults, shell, monkeypatch, tls, end):
    """The next call opens a new connection, and is sent once."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)

    async def script(c):
        await c.request()
        await c.send(raw())
        await c.sleep(0.01)
        getattr(c, end)()

    listener = faults.listen(script, tls=tls and faults.tls)
    client = shell.client(f"http{'s' if tls else ''}://127.0.0.1:{listener.port}", token=TOKEN)
    for _ in range(3):
        client.send_code(NUMBER, MESSAGE)
        time.sleep(0.05)

    assert (listener.connections, listener.posts) == (3, 3)


@pytest.mark.parametrize(
    "answer", [raw(200, SENT, b"Connection: close"), raw(version="1.0")], ids=["close", "HTTP/1.0"]
)
def test_a_connection_that_the_server_announces_to_close_is_not_kept(faults, shell, answer):
    """Connection: close, and HTTP/1.0 without keep-alive."""

    async def script(c):
        while await c.request():
            await c.send(answer)

    listener = faults.listen(script)
    client = shell.client(f"http://127.0.0.1:{listener.port}", token=TOKEN)
    client.send_code(NUMBER, MESSAGE)
    client.send_code(NUMBER, MESSAGE)

    assert (listener.connections, listener.posts) == (2, 2)


@pytest.mark.parametrize("tls", [None, "tls"], ids=["plain", "TLS"])
def test_a_success_that_was_sent_before_the_request_verifies_no_number(faults, shell, monkeypatch, tls):
    """A new connection with a waiting response is closed, and nothing is sent on it."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)
    waits = threading.Event()
    steps = Connection.connect, Connection.start_tls

    def after(step):
        def slowed(*args):
            yield from step(*args)
            assert waits.wait(5)
            time.sleep(0.02)  # loopback delivers at once

        return slowed

    async def script(c):
        await c.send(SMUGGLED)
        waits.set()
        await c.request()

    monkeypatch.setattr(Connection, "start_tls" if tls else "connect", after(steps[bool(tls)]))
    listener = faults.listen(script, tls=tls and faults.tls)
    client = shell.client(f"http{'s' if tls else ''}://127.0.0.1:{listener.port}", retry=None, timeout=5)

    with pytest.raises(RequestNotSentError, match="sent data, before the request"):
        client.validate_code(AUTHENTICATION_ID, CODE)
    assert listener.posts == 0


@pytest.mark.parametrize("later", [True, False], ids=["after the response", "with the response"])
@pytest.mark.parametrize("held", [10, 37], ids=["in its content", "in its header"])
def test_a_success_in_a_tls_record_that_arrives_in_two_parts_verifies_no_number(
    faults, shell, monkeypatch, held, later
):
    """TLS decrypts whole records only, so nothing can be read while the connection is idle."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)
    stray = threading.Event()
    split = threading.Event()

    async def server(c):
        while await c.request():
            if b"/send-code" in c.head:
                if not later:
                    stray.set()
                await c.send(raw())
                await c.sleep(0.05)
                stray.set()
                await c.send(SMUGGLED)
            else:
                await c.send(WRONG)

    listener = faults.listen(server, tls=faults.tls)

    async def relay(c):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        rest = b""

        async def down():
            nonlocal rest
            while data := await reader.read(65536):
                if stray.is_set() and not split.is_set():
                    if not later:
                        data += await reader.read(65536)
                    data, rest = data[:-held], data[-held:]
                    await c.send(data)
                    split.set()
                else:
                    await c.send(data)

        pump = asyncio.create_task(down())
        while data := await c.reader.read(65536):
            if rest:
                await c.send(rest)
                rest = b""
            writer.write(data)
        pump.cancel()
        writer.close()

    between = faults.listen(relay)
    client = shell.client(f"https://127.0.0.1:{between.port}", token=TOKEN, timeout=5)

    assert isinstance(client.send_code(NUMBER, MESSAGE), SendCodeResponse)
    assert split.wait(5)
    time.sleep(0.02)  # loopback delivers at once
    with pytest.raises(InvalidOTPError):
        client.validate_code(AUTHENTICATION_ID, CODE)
    assert between.connections == 2
