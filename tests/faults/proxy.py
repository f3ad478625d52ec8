"""A proxy for the fault table: CONNECT and absolute-form targets (RFC 9110 section 9.3.6, RFC 9112 section 3.2.2).

Every host name stands for this machine. The names in `MISBEHAVING` select a fault in the response to CONNECT.
"""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
_END = b"\r\n\r\n"


async def _drip(c):
    await c.drip(b"HTTP/1.1 200 Connection established\r\nX: " + b"y" * 99 + _END, 0.05)


async def _hold(c):
    await c.hold()


async def _close(c):
    c.close()


async def _reset(c):
    c.reset()


async def _flood(c):
    await c.send(b"HTTP/1.1 200 Connection established\r\n")
    await c.flood(b"X: y\r\n" * 1000, 3000)


def _says(data):
    async def say(c):
        await c.send(data)
        await c.read_some(1)  # the client closes the connection

    return say


MISBEHAVING = {
    "drips.example": _drip,
    "silent.example": _hold,
    "closes.example": _close,
    "resets.example": _reset,
    "floods.example": _flood,
    "refuses.example": _says(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    "credentials.example": _says(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
    "garbage.example": _says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "talks.example": _says(ESTABLISHED + b"HTTP/1.1 204 No Content\r\n\r\n"),
}


async def proxy(c):
    """Serve one connection of a client."""
    upstream = None
    try:
        while True:
            head = await c.reader.readuntil(_END)
            method, target, _ = head.partition(b"\r\n")[0].split(b" ")
            if method == b"CONNECT":
                await _connect(c, target.decode())
                return
            upstream = await _forward(c, head, target.decode(), upstream)
            if upstream is None:
                return
    except asyncio.IncompleteReadError:
        pass
    finally:
        if upstream is not None:
            upstream[1].cancel()
            upstream[0].close()


async def _connect(c, target):
    host, _, port = target.rpartition(":")
    if host in MISBEHAVING:
        await MISBEHAVING[host](c)
        return
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    except OSError:
        await c.send(BAD_GATEWAY)
        return
    await c.send(ESTABLISHED)
    back = asyncio.create_task(_pump(reader, c))
    try:
        while data := await c.reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the server closed the connection; `back` tells the client
    finally:
        if not c.reader.at_eof():
            await back
        back.cancel()
        writer.close()


async def _forward(c, head, target, upstream):
    """Send a request on, and return the connection to the server and the task that sends its responses back."""
    parts = urlsplit(target)
    lines = [line for line in head.split(b"\r\n")[1:] if not line.lower().startswith(b"proxy-")]
    length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    body = await c.reader.readexactly(length)
    if upstream is None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
        except OSError:
            await c.send(BAD_GATEWAY)
            return None
        upstream = writer, asyncio.create_task(_pump(reader, c))
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    upstream[0].write(b"\r\n".join([f"POST {path} HTTP/1.1".encode(), *lines]) + body)
    return upstream


async def _pump(reader, c):
    """Send what a server sends to the client, and end the connection as the server does."""
    try:
        while data := await reader.read(65536):
            await c.send(data)
    except ConnectionError:
        with suppress(OSError):  # the client has closed the connection as well
            c.reset()
    else:
        c.close()
