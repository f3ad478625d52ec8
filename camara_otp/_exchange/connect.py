"""A connection to a server: addresses, TCP, a proxy's tunnel, and TLS, as generators of waits.

TLS runs over memory buffers, so that the socket stays a plain one: its methods are those of the object at hand,
whatever has replaced the classes of `socket` and `ssl`.
"""

import contextlib
import errno
import functools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Hashable
from ipaddress import ip_address
from typing import Any, Final, Generic, TypeVar, cast

import certifi
import h11

from camara_otp._exchange.proxies import Proxy
from camara_otp._exchange.waits import PAUSE, Late, Readable, Steps, TimeLimit, Writable

T = TypeVar("T")

_READ_SIZE: Final = 16_384  # the most that a TLS record holds
MAX_HEAD: Final = 102_400
_Address = tuple[socket.AddressFamily, Any]


class CannotConnect(Exception):  # noqa: N818 - an event inside this package, never raised to a caller
    """No connection can be made, for a reason of the configuration or of a proxy: `str` says which."""

    def __init__(self, reason: str, *, permanent: bool = True) -> None:
        """Store the reason."""
        super().__init__(reason)
        self.permanent = permanent


def of_system(error: OSError) -> bool:
    """Return whether the operating system or TLS raised this, not a signal handler such as `raise TimeoutError`."""
    return error.errno is not None


def out_of_sockets(error: OSError) -> bool:
    """Return whether this process, or the machine, cannot open another socket."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


# --- Work in a thread ------------------------------------------------------------------------------------------------


class _Job(Generic[T]):
    """Work that blocks, in a thread of its own; all exchanges that need the same result share it."""

    def __init__(self, key: Hashable, work: Callable[[], T]) -> None:
        self._key = key
        self._work = work
        self.done = False
        self.result: T | None = None
        self.error: Exception | None = None
        self.waiting: set[socket.socket] = set()

    def run(self) -> None:
        try:
            self.result = self._work()
        except Exception as error:  # noqa: BLE001 - a replaced resolver may raise anything
            self.error = error.with_traceback(None)
        finally:
            if _jobs.get(self._key) is self:
                del _jobs[self._key]
            self.done = True
            for sock in tuple(self.waiting):
                with contextlib.suppress(OSError):  # that exchange has ended
                    sock.send(b"x")


_jobs: dict[Hashable, _Job[Any]] = {}


def _in_thread(key: Hashable, work: Callable[[], T]) -> Steps[T]:
    """Return the result of blocking work without blocking an event loop or outliving a time limit."""
    mine = _Job(key, work)
    try:
        job = _jobs.setdefault(key, mine)
        if job is mine:
            threading.Thread(target=job.run, name="camara-otp-blocking", daemon=True).start()
    except BaseException as error:  # no thread, or an interrupt: the next call begins anew
        if _jobs.get(key) is mine:
            del _jobs[key]
        if isinstance(error, RuntimeError):
            raise CannotConnect("no thread can be started", permanent=False) from None
        raise
    receiver, sender = socket.socketpair()
    try:
        job.waiting.add(sender)
        readable = Readable(receiver)
        while not job.done:
            yield readable
    finally:
        job.waiting.discard(sender)
        receiver.close()
        sender.close()
    if isinstance(job.error, CannotConnect) or (isinstance(job.error, OSError) and of_system(job.error)):
        raise job.error
    if job.error is not None:
        raise CannotConnect(f"{type(job.error).__name__} was raised while connecting", permanent=False)
    return cast("T", job.result)


def forget_jobs() -> None:
    """Drop the references to the threads of the parent process; called in a forked child."""
    _jobs.clear()


# --- Addresses -------------------------------------------------------------------------------------------------------


def addresses(host: str, port: int) -> Steps[list[_Address]]:
    """Return the addresses of a host, in the order of the resolver."""
    try:
        version = ip_address(host).version
    except ValueError:
        found = yield from _in_thread((host, port), functools.partial(_resolve, host, port))
        return found
    return [(socket.AF_INET6, (host, port, 0, 0)) if version == 6 else (socket.AF_INET, (host, port))]


def _resolve(host: str, port: int) -> list[_Address]:
    try:
        found: list[tuple[Any, ...]] = [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "invalid name") from None
    if not found:  # a replaced resolver
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return [(family, address) for family, _, _, _, address in found]


# --- Certificates ----------------------------------------------------------------------------------------------------


def tls_context() -> Steps[ssl.SSLContext]:
    """Return the TLS context for the certificates that the environment names, else those of certifi.

    Certificates and host names are always checked. Reading the certificates takes up to 140 ms, hence the thread.
    """
    key = tuple(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))
    if key not in _contexts:
        _contexts[key] = yield from _in_thread(key, functools.partial(_read_certificates, *key))
    return _contexts[key]


_contexts: dict[tuple[str | None, ...], ssl.SSLContext] = {}


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
            raise CannotConnect(f"SSLKEYLOGFILE names a file that cannot be written: {problem}") from None
        source = "that SSL_CERT_FILE and SSL_CERT_DIR name " if named else ""
        raise CannotConnect(f"the certificates {source}cannot be read: {problem}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


# --- Connections -----------------------------------------------------------------------------------------------------


def _socket(family: socket.AddressFamily) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM)


def incomplete_record(data: bytes) -> bytes:
    """Return the incomplete record at the end of TLS records: type, version, length, content (RFC 8446 section 5.1)."""
    start, end = 0, 0
    while end <= len(data):
        start, end = end, end + 5 + int.from_bytes(data[end + 3 : end + 5])
    return data[start:]


class Connection:
    """A socket, its TLS, and its HTTP parser."""

    __slots__ = (
        "_incoming",
        "_outgoing",
        "_record",
        "_tls",
        "_unsent",
        "http",
        "idle_since",
        "readable",
        "sock",
        "writable",
    )

    def __init__(self) -> None:
        """Open nothing yet."""
        self.sock: socket.socket | None = None
        self.idle_since = 0.0
        self.reset()

    def reset(self) -> None:
        """Close the socket, if there is one, and begin anew."""
        self.close()
        self.sock = None
        self.http: h11.Connection | None = None
        self._tls: ssl.SSLObject | None = None
        self._record = b""  # the part of a TLS record that has arrived
        self._unsent = b""

    def close(self) -> None:
        """Close the socket at once. May be called again."""
        if self.sock is not None:
            self.sock.close()

    def is_clean(self) -> bool:
        """Return whether the connection is open and no byte waits on it. Never blocks."""
        try:
            return self.sock is not None and not self._unsent and self.receive() is None and not self._record
        except OSError as error:
            if not of_system(error):
                raise
            return False

    def receive(self) -> bytes | None:
        """Return the bytes that have arrived, `b""` at the end of the stream, or None if there are none yet."""
        if self._tls is None:
            return self._receive()
        while True:
            try:
                return self._tls.read(_READ_SIZE)
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            if not self._feed():
                return None

    def _receive(self) -> bytes | None:
        assert self.sock is not None  # noqa: S101 - for type checkers
        try:
            return self.sock.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return None

    def _feed(self) -> bool:
        """Pass the received bytes to TLS; return False if there are none."""
        data = self._receive()
        if data is None:
            return False
        if data:
            self._incoming.write(data)
            self._record = incomplete_record(self._record + data)
        else:
            self._incoming.write_eof()
        return True

    def queue(self, data: bytes) -> None:
        """Put bytes before the next `flush`."""
        if self._tls is None:
            self._unsent = data
        else:
            self._tls.write(data)
            self._unsent = self._outgoing.read()

    def flush(self) -> Steps[None]:
        """Send the queued bytes. They are not an argument, because a traceback would show it."""
        while not self._flush():
            yield self.writable

    def _flush(self) -> bool:
        assert self.sock is not None  # noqa: S101 - for type checkers
        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            return False
        return True

    def drop_unsent(self) -> None:
        """Drop the bytes that could not be sent; the connection cannot be reused."""
        self._unsent = b""

    def connect(self, host: str, port: int, deadline: float) -> Steps[None]:
        """Connect to the first address of a host that accepts; each gets its share of the time.

        Raises:
            Late: no address accepted in time.
            OSError: the last address refused, or the name has no address.
        """
        found = yield from addresses(host, port)
        for left, (family, address) in zip(range(len(found), 0, -1), found, strict=True):
            now = time.monotonic()
            yield TimeLimit(now + (deadline - now) / left)
            try:
                yield from self._connect(family, address)
            except (Late, OSError) as error:
                self.close()
                if left == 1 or (isinstance(error, OSError) and not of_system(error)):
                    raise
            else:
                break
        yield TimeLimit(deadline)

    def _connect(self, family: socket.AddressFamily, address: Any) -> Steps[None]:
        self.sock = _socket(family)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self.readable, self.writable = Readable(self.sock), Writable(self.sock)
        try:
            self.sock.connect(address)
        except BlockingIOError:
            pass
        else:
            return
        yield self.writable
        problem = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise OSError(problem, os.strerror(problem))

    def tunnel(self, proxy: Proxy, authority: bytes) -> Steps[None]:
        """Have a proxy connect to the server (RFC 9110 section 9.3.6).

        Raises:
            CannotConnect: the proxy refused.
        """
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self.queue(
            http.send(h11.Request(method="CONNECT", target=authority, headers=[(b"Host", authority), *proxy.headers]))
            or b""
        )
        http.send(h11.EndOfMessage())
        yield from self.flush()
        while (event := http.next_event()) is h11.NEED_DATA or isinstance(event, h11.InformationalResponse):
            if event is h11.NEED_DATA:
                while (data := self.receive()) is None:
                    yield self.readable
                http.receive_data(data)
            yield PAUSE
        if not isinstance(event, h11.Response):
            raise CannotConnect(f"{proxy}: the proxy closed the connection", permanent=False)
        if not 200 <= event.status_code <= 299:
            raise CannotConnect(
                f"{proxy}: the proxy refused the connection with HTTP {event.status_code}; check its credentials and "
                "rules, or except this host in NO_PROXY",
                permanent=event.status_code < 500,
            )
        if http.trailing_data[0]:
            raise CannotConnect(f"{proxy}: the proxy sent data of its own into the tunnel")

    def start_tls(self, context: ssl.SSLContext, host: str) -> Steps[None]:
        """Encrypt the connection, and check the server's certificate for the host.

        Raises:
            ssl.SSLError: the handshake failed.
        """
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        except UnicodeError:  # behind a proxy, no resolver has refused it before
            raise CannotConnect("the host of base_url is not a valid host name") from None
        done = False
        while not done:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self._unsent = self._outgoing.read()  # the alert that names the reason to the server
                self._flush()
                raise
            self._unsent = self._outgoing.read()
            yield from self.flush()
            while not done and not self._feed():
                yield self.readable
        self._tls = tls
