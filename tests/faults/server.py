"""A raw TCP and TLS server that misbehaves by script and counts every complete POST it has read."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import trustme

from tests.faults.proxy import MISBEHAVING

NAMES = ("localhost", "127.0.0.1", "operator.example", *MISBEHAVING)


class Connection:
    """One accepted connection, as a script sees it."""

    def __init__(self, reader, writer, listener, number):
        self.number = number
        self.listener = listener
        self.reader = self._reader = reader
        self._writer = writer

    async def request(self) -> bool:
        """Read one whole request and count it; return whether there was one."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            self.body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return False
        self.head = head
        self.listener.posts += head.startswith(b"POST ")
        return True

    async def read_some(self, size: int) -> None:
        """Read a part of a request."""
        await self._reader.readexactly(size)

    async def send(self, data: bytes) -> None:
        """Send at once."""
        self._writer.write(data)
        await self._writer.drain()

    async def drip(self, data: bytes, every: float = 0.03) -> None:
        """Send a byte at a time."""
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(every)

    async def flood(self, chunk: bytes, times: int) -> None:
        """Send the same again and again."""
        for _ in range(times):
            await self.send(chunk)

    async def hold(self) -> None:
        """Send nothing for longer than any caller waits."""
        await asyncio.sleep(4)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Connection], Awaitable[None]]


class Listener:
    """A listening socket with a script for its connections."""

    def __init__(self, script):
        self.script = script
        self.posts = 0
        self.connections = 0
        self.port = 0
        self.trouble: list[BaseException] = []

    async def serve(self, reader, writer):
        self.connections += 1
        connection = Connection(reader, writer, self, self.connections)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self.script(connection)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.trouble.append(error)
        finally:
            writer.close()


class FaultServer:
    """Run listeners on an event loop in a thread of its own."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda loop, context: None)  # broken connections are the point
        self._servers = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.authority = trustme.CA()
        self.tls = self._tls(self.authority.issue_cert(*NAMES))
        self.wrong_host = self._tls(self.authority.issue_cert("other.invalid"))
        self.self_signed = self._tls(trustme.CA().issue_cert(*NAMES))
        past = datetime.now(UTC) - timedelta(days=2)
        self.expired = self._tls(self.authority.issue_cert(*NAMES, not_after=past))
        self.ancient = self._tls(self.authority.issue_cert(*NAMES))
        self.ancient.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with contextlib.suppress(ssl.SSLError):
            self.ancient.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.ancient.maximum_version = ssl.TLSVersion.TLSv1_1

    def _tls(self, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        async def stop():
            for server in self._servers:
                server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def listen(self, script, tls=None) -> Listener:
        """Open a port with a script for its connections."""
        listener = Listener(script)

        async def start():
            server = await asyncio.start_server(listener.serve, "127.0.0.1", 0, ssl=tls, limit=2**20, backlog=2048)
            listener.port = server.sockets[0].getsockname()[1]
            return server

        server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)
        self._servers.append(server)
        listener.close = lambda: self._loop.call_soon_threadsafe(server.close)
        return listener
