"""Sockets with a deadline: what httpcore's connections read from and write to, sync and async.

Every operation computes what is left of the call, so that a server that drips bytes gains nothing. A request is held
back until the first read, so that it leaves in one piece and `sent` turns True just before its first byte does.
"""

import errno
import functools
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, Final

import anyio
import certifi
import httpcore

from camara_otp._exchange.answer import Late, NoCertificates, out_of_sockets
from camara_otp._exchange.framing import Framing

# What a TLS record holds at most. A larger buffer only costs: it is made anew for each read.
_READ_SIZE: Final = 16_384
_Address = tuple[socket.AddressFamily, Any]


class Clock:
    """The times of the exchange that a connection is busy with, and whether its request has begun to leave."""

    __slots__ = ("connect_deadline", "deadline", "sent")

    def __init__(self) -> None:
        """Begin without any time."""
        self.start(0.0, None)

    def start(self, deadline: float, connect_timeout: float | None) -> None:
        """Begin an exchange."""
        self.deadline = deadline
        self.connect_deadline = (
            deadline if connect_timeout is None else min(deadline, time.monotonic() + connect_timeout)
        )
        self.sent = False

    def left(self) -> float:
        """Return the seconds left of the exchange; raise Late when there are none."""
        return _left(self.deadline)

    def left_to_connect(self) -> float:
        """Return the seconds left to make a connection; raise Late when there are none."""
        return _left(self.connect_deadline)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise Late
    return left


class TLSSocket(ssl.SSLSocket):
    """A socket under TLS that closes itself when the connection was reset before TLS could begin.

    The constructor asks for the peer's name; of a connection that has none it would lose hold, unclosed.
    """

    def getpeername(self) -> Any:
        """Return the address of the other side."""
        try:
            return super().getpeername()
        except OSError:
            self.close()
            raise ConnectionResetError(errno.ECONNRESET, "reset before TLS") from None


def tls_context(sockets: type[ssl.SSLSocket] = TLSSocket) -> ssl.SSLContext:
    """Return the one context of this process for a class of sockets, made at its first use.

    Certificates and host names are checked, TLS is 1.2 at least.
    """
    kind: Any = sockets  # as a key of the cache, which mypy takes for no class
    # Threads that need it at once wait for the first instead of each reading the certificates.
    with _reading:
        return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), kind)


_reading = threading.Lock()


@functools.cache
def _tls_context(cert_file: str | None, cert_dir: str | None, sockets: Any) -> ssl.SSLContext:
    # The same rule as httpx has: the environment's certificates, else certifi's.
    try:
        if cert_file or cert_dir:
            context = ssl.create_default_context(cafile=cert_file or None, capath=cert_dir or None)
        else:
            context = ssl.create_default_context(cafile=certifi.where())
    except OSError as error:
        if out_of_sockets(error):
            raise
        named = "that SSL_CERT_FILE and SSL_CERT_DIR name " if cert_file or cert_dir else ""
        problem = (
            "no certificates" if error.errno is None or isinstance(error, ssl.SSLError) else os.strerror(error.errno)
        )
        raise NoCertificates(f"the certificates {named}cannot be read: {problem}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = sockets
    return context


def _literal(host: str, port: int) -> list[_Address] | None:
    try:
        version = ip_address(host).version
    except ValueError:
        return None
    return [(socket.AF_INET6, (host, port, 0, 0)) if version == 6 else (socket.AF_INET, (host, port))]


def _addresses(found: Iterable[tuple[Any, ...]]) -> list[_Address]:
    return [(family, address) for family, _, _, _, address in found]


def _socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class _Base:
    """What both streams are: a socket, the framing of what comes, and what waits to go."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        self._sock = sock
        self._clock = clock
        self._out = bytearray()
        self.framing = Framing()

    def clean(self) -> bool:
        """Tell whether an idle connection is open and nothing waits on it. Never blocks."""
        try:
            self._sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
            if isinstance(self._sock, ssl.SSLSocket) and not self._sock.pending():
                # Below TLS, since that is cheaper: only where bytes have come need TLS be asked what they are.
                socket.socket.recv(self._sock, 1, socket.MSG_PEEK)
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except (OSError, ValueError):
            return False
        return False  # a byte, or the end: neither belongs to an idle connection

    def discard(self) -> None:
        """Close the socket, at once."""
        self._sock.close()


class Stream(_Base, httpcore.NetworkStream):
    """A connection for threads."""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the clock knows better
        """Hold the bytes back until the first read."""
        self._out += buffer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as above
        """Return the next bytes of the answer."""
        if self._out:
            self._flush()
        while (data := self.framing.take()) is None:
            self._sock.settimeout(self._clock.left())
            self.framing.feed(_received(self._sock))
        return data

    def _flush(self) -> None:
        self._sock.settimeout(self._clock.left())
        self._clock.sent = True
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
                self._sock.settimeout(self._clock.left())
        except TimeoutError:
            raise
        except OSError:
            # The server may have answered and closed before it read all: that answer is worth reading.
            self._out.clear()

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str) -> None:  # type: ignore[override]
        """Put the connection under TLS."""
        sock = ssl_context.wrap_socket(self._sock, server_hostname=server_hostname, do_handshake_on_connect=False)
        self._sock = sock
        sock.settimeout(self._clock.left_to_connect())
        sock.do_handshake()

    def close(self) -> None:
        """Close the socket, at once."""
        self.discard()


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(_READ_SIZE)
    except ssl.SSLZeroReturnError:
        return b""


def connect(origin: httpcore.Origin, clock: Clock) -> Stream:
    """Return a connection to the first address of an origin that takes one, within the clock."""
    host, port = origin.host.decode("ascii"), origin.port
    addresses = _literal(host, port) or _resolved(host, port, clock.left_to_connect())
    for tried, (family, address) in enumerate(addresses, 1):
        sock = _socket(family)
        try:
            sock.settimeout(clock.left_to_connect() / (len(addresses) - tried + 1))
            sock.connect(address)
        except BaseException as error:
            sock.close()
            if tried == len(addresses) or not isinstance(error, OSError):
                raise
        else:
            return Stream(sock, clock)
    raise Late  # pragma: no cover - a name without addresses raises when it is resolved


class _Lookup:
    """A name being resolved, in a thread of its own, because nothing else can put a limit on it.

    Whoever wants the same name meanwhile waits for the same thread, so that a resolver that hangs holds one thread and
    not one for each call.
    """

    def __init__(self, host: str, port: int) -> None:
        self._wanted = (host, port)
        self._done = threading.Event()
        self._found: list[_Address] | OSError = socket.gaierror(socket.EAI_NONAME, "no name")

    def run(self) -> None:
        try:
            self._found = _addresses(socket.getaddrinfo(*self._wanted, type=socket.SOCK_STREAM))
        except OSError as error:
            self._found = error
        except UnicodeError:
            pass  # no host can have such a name
        finally:
            _lookups.pop(self._wanted, None)
            self._done.set()

    def result(self, timeout: float) -> list[_Address]:
        if not self._done.wait(timeout):
            raise Late
        if isinstance(self._found, OSError):
            raise self._found.with_traceback(None)
        return self._found


_lookups: dict[tuple[str, int], _Lookup] = {}


def forget_threads() -> None:
    """Let go of the threads of the parent process; called in a forked child, where they do not run."""
    global _reading  # noqa: PLW0603 - one for the process
    _reading = threading.Lock()
    _lookups.clear()


def _resolved(host: str, port: int, timeout: float) -> list[_Address]:
    """Return the addresses of a name, in time."""
    mine = _Lookup(host, port)
    lookup = _lookups.setdefault((host, port), mine)
    if lookup is mine:
        try:
            threading.Thread(target=lookup.run, name="camara-otp-resolver", daemon=True).start()
        except BaseException:
            _lookups.pop((host, port), None)
            raise
    return lookup.result(timeout)


class AsyncStream(_Base, httpcore.AsyncNetworkStream):
    """A connection for tasks: a socket that never blocks, waited for through anyio, so that no loop owns its bytes."""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the scope knows better
        """Hold the bytes back until the first read."""
        self._out += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as above
        """Return the next bytes of the answer."""
        if self._out:
            await self._flush()
            await anyio.wait_readable(self._sock)
        while (data := self.framing.take()) is None:
            self._clock.left()
            try:
                self.framing.feed(_received(self._sock))
            except (BlockingIOError, ssl.SSLWantReadError):
                await anyio.wait_readable(self._sock)
            except ssl.SSLWantWriteError:
                await anyio.wait_writable(self._sock)
        return data

    async def _flush(self) -> None:
        self._clock.left()
        self._clock.sent = True
        try:
            while self._out:
                try:
                    del self._out[: self._sock.send(self._out)]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    await anyio.wait_writable(self._sock)
                except ssl.SSLWantReadError:
                    await anyio.wait_readable(self._sock)
        except OSError:
            # The server may have answered and closed before it read all: that answer is worth reading.
            self._out.clear()

    async def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str) -> None:  # type: ignore[override]
        """Put the connection under TLS."""
        sock = ssl_context.wrap_socket(self._sock, server_hostname=server_hostname, do_handshake_on_connect=False)
        self._sock = sock
        with _connecting(self._clock):
            while True:
                try:
                    sock.do_handshake()
                except ssl.SSLWantReadError:
                    await anyio.wait_readable(sock)
                except ssl.SSLWantWriteError:
                    await anyio.wait_writable(sock)
                else:
                    return
        raise Late

    async def aclose(self) -> None:
        """Close the socket, at once."""
        self.discard()


def _connecting(clock: Clock) -> anyio.CancelScope:
    return anyio.move_on_after(clock.left_to_connect())


async def aconnect(origin: httpcore.Origin, clock: Clock) -> AsyncStream:
    """Return a connection to the first address of an origin that takes one, within the clock."""
    host, port = origin.host.decode("ascii"), origin.port
    addresses = _literal(host, port)
    if addresses is None:
        addresses = await _aresolved(host, port, clock)
    for tried, (family, address) in enumerate(addresses, 1):
        sock = _socket(family)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
            await _connected(sock, address, clock.left_to_connect() / (len(addresses) - tried + 1))
        except BaseException as error:
            sock.close()
            if tried == len(addresses) or not isinstance(error, OSError | Late):
                raise
        else:
            return AsyncStream(sock, clock)
    raise Late  # pragma: no cover - a name without addresses raises when it is resolved


async def _aresolved(host: str, port: int, clock: Clock) -> list[_Address]:
    with _connecting(clock):
        try:
            return _addresses(await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "no name") from None
    raise Late


async def _connected(sock: socket.socket, address: Any, timeout: float) -> None:
    with anyio.move_on_after(timeout):
        try:
            sock.connect(address)
        except BlockingIOError:
            await anyio.wait_writable(sock)
            problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                raise OSError(problem, os.strerror(problem)) from None
        return
    raise Late
