"""A connection to a server: addresses, TCP and TLS, as generators of waits.

TLS runs over memory buffers, so the socket is never wrapped. Once it is open, tools that replace classes of `socket` or
`ssl` do not affect it.
"""

import contextlib
import errno
import functools
import os
import socket
import ssl
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, TypeVar

import certifi

from camara_otp._exchange.waits import Late, Ready, Signal, Steps, TimeLimit
from camara_otp._threads import fulfill, start_thread

if TYPE_CHECKING:
    import h11

T = TypeVar("T")

_READ_SIZE: Final = 16_384  # the most that a TLS record holds
_Address = tuple[socket.AddressFamily, Any]


class Failed(Exception):  # noqa: N818 - an event inside this package, never raised to a caller
    """An exchange cannot succeed: `str` is the reason, in words of this package."""

    def __init__(self, reason: str, *, permanent: bool = True) -> None:
        super().__init__(reason)
        self.permanent = permanent


def of_system(error: BaseException) -> bool:
    """Return whether the operating system or TLS raised this, not a signal handler such as `raise TimeoutError`."""
    return isinstance(error, OSError) and error.errno is not None


def out_of_sockets(error: Exception) -> bool:
    """Return whether this process, or the machine, cannot open another socket."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


# --- Work in a thread ------------------------------------------------------------------------------------------------

running: Final[dict[Hashable, "Future[Any]"]] = {}
"""The work that a thread does, for all exchanges that need its result."""


def _in_thread(key: Hashable, work: Callable[[], T]) -> Steps[T]:
    """Return the result of blocking work without blocking an event loop or outliving a time limit."""
    key = os.getpid(), key  # a forked process does not have the threads of its parent
    mine: Future[T] = Future()
    mine.add_done_callback(lambda _: running.pop(key, None))
    try:
        future: Future[T] = running.setdefault(key, mine)
        if future is mine:
            start_thread(fulfill, mine, work)
    except BaseException as error:  # no thread, or an interrupt: the next call begins anew
        if running.get(key) is mine:
            del running[key]
        if isinstance(error, RuntimeError):
            raise Failed("no thread can be started", permanent=False) from None
        raise
    done = Signal()
    future.add_done_callback(lambda _: done.set())
    while not future.done():
        yield done
    problem = future.exception()
    if problem is None or isinstance(problem, Failed) or of_system(problem):
        return future.result()
    # A replaced resolver may raise anything.
    raise Failed(f"{type(problem).__name__} was raised while connecting", permanent=False)


# --- Addresses -------------------------------------------------------------------------------------------------------


def addresses(host: str, port: int) -> Steps[list[_Address]]:
    """Return the addresses of a host, in the order of the resolver."""
    try:
        version = ip_address(host).version
    except ValueError:
        return (yield from _in_thread((host, port), functools.partial(_resolve, host, port)))
    return [(socket.AF_INET6, (host, port, 0, 0)) if version == 6 else (socket.AF_INET, (host, port))]


def _resolve(host: str, port: int) -> list[_Address]:
    try:
        found: list[tuple[Any, ...]] = [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except UnicodeError:
        found = []
    if not found:  # the standard library's raises; a replaced resolver may not
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return [(family, address) for family, _, _, _, address in found]


# --- Certificates ----------------------------------------------------------------------------------------------------

_contexts: dict[tuple[str | None, ...], ssl.SSLContext] = {}


def tls_context() -> Steps[ssl.SSLContext]:
    """Return the TLS context for the certificates that the environment names, else those of certifi.

    Certificates and host names are always checked. Reading the certificates takes up to 140 ms, hence the thread.
    """
    key = tuple(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))
    if key not in _contexts:
        _contexts[key] = yield from _in_thread(key, functools.partial(_read_certificates, *key))
    return _contexts[key]


def _read_certificates(cert_file: str | None, cert_dir: str | None, key_log: str | None) -> ssl.SSLContext:
    named = bool(cert_file or cert_dir)
    try:
        context = ssl.create_default_context(
            cafile=(cert_file or None) if named else certifi.where(), capath=cert_dir or None
        )
    except OSError as error:
        if out_of_sockets(error):
            raise
        problem = "no certificates" if isinstance(error, ssl.SSLError) else os.strerror(error.errno or errno.EIO)
        if key_log and error.filename == key_log:
            raise Failed(f"SSLKEYLOGFILE names a file that cannot be written: {problem}") from None
        source = "that SSL_CERT_FILE and SSL_CERT_DIR name " if named else ""
        raise Failed(f"the certificates {source}cannot be read: {problem}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


# --- Connections -----------------------------------------------------------------------------------------------------


def _socket(family: socket.AddressFamily) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM)


class Connection:
    """A socket, its TLS, and its HTTP parser; closed until `connect`.

    Attributes:
        sock: None if there is none yet
        http: the parser, None before the first request
        reusable: whether the exchange that owns the connection left it fit for another one
        idle_since: when the connection was released, by `time.monotonic()`
    """

    sock: socket.socket | None = None
    readable: Ready
    writable: Ready
    reusable = False
    idle_since = 0.0

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Close the socket, if there is one, and begin anew."""
        self.close()
        self.sock = None
        self.http: h11.Connection | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = b""

    def close(self) -> None:
        """Close the socket at once. May be called again."""
        try:
            if self.sock is not None:
                self.sock.close()
        except OSError as error:  # a process that becomes a daemon has closed all descriptors
            if not of_system(error):
                raise

    def is_clean(self) -> bool:
        """Return whether the connection is open and no byte has arrived behind the response. Never blocks.

        Every byte counts, even those of an incomplete TLS record, which cannot be decrypted yet.
        """
        if self.sock is None or self._unsent or self._incoming.pending:
            return False
        try:
            return self._receive() is None
        except OSError as error:
            if not of_system(error):
                raise
            return False

    def receive(self) -> bytes | None:
        """Return the bytes that have arrived, `b""` at the end of the stream, or None if there are none yet."""
        if self._tls is None:
            return self._receive()
        # TLS reads no more from its buffer than the record that it decrypts. The socket is read once, since no deadline
        # is checked here, and a server could send endless records without data, such as session tickets.
        if not self._incoming.pending and not self._feed():
            return None
        try:
            return self._tls.read(_READ_SIZE)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def _receive(self) -> bytes | None:
        assert self.sock is not None  # noqa: S101 - for type checkers
        try:
            return self.sock.recv(_READ_SIZE)
        except BlockingIOError:
            return None

    def _feed(self) -> bool:
        """Pass the received bytes to TLS; return False if there are none."""
        data = self._receive()
        if data:
            self._incoming.write(data)
        elif data is not None:
            self._incoming.write_eof()
        return data is not None

    def queue(self, data: bytes) -> None:
        """Put bytes before the next `flush`."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._unsent = data

    def flush(self) -> Ready | None:
        """Send the queued bytes; return the wait before the rest of them, or None at the end.

        They are not an argument, because a traceback would show it.
        """
        assert self.sock is not None  # noqa: S101 - for type checkers
        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except BlockingIOError:
            return self.writable
        return None

    def connect(self, host: str, port: int, deadline: float) -> Steps[None]:
        """Connect to the first address of a host that accepts; each gets its share of the time.

        Raises:
            Late: no address accepted in time
            OSError: the last address refused, or the name has no address
        """
        found = yield from addresses(host, port)
        for left, (family, address) in zip(range(len(found), 0, -1), found, strict=True):
            now = time.monotonic()
            yield TimeLimit(now + (deadline - now) / left)
            try:
                yield from self._connect(family, address)
                break
            except (Late, OSError) as error:
                self.close()
                if left == 1 or not (isinstance(error, Late) or of_system(error)):
                    raise
        yield TimeLimit(deadline)

    def _connect(self, family: socket.AddressFamily, address: Any) -> Steps[None]:
        self.sock = _socket(family)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self.readable, self.writable = Ready(self.sock, write=False), Ready(self.sock, write=True)
        with contextlib.suppress(BlockingIOError):
            self.sock.connect(address)
        yield self.writable
        problem = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise OSError(problem, os.strerror(problem))

    def start_tls(self, context: ssl.SSLContext, host: str) -> Steps[None]:
        """Encrypt the connection, and check the server's certificate for the host.

        Raises:
            ssl.SSLError: the handshake failed
        """
        try:
            tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        except UnicodeError:  # behind a proxy, no resolver has refused it before
            raise Failed("the host of base_url is not a valid host name") from None
        while self._tls is None:
            try:
                tls.do_handshake()
                self._tls = tls
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self._unsent = self._outgoing.read()  # the alert that names the reason to the server
                self.flush()
                raise
            self._unsent = self._outgoing.read()
            while (wait := self.flush()) is not None:
                yield wait
            if self._tls is None:
                yield self.readable
                self._feed()
