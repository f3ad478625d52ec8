"""The exchange with one origin, for threads and for tasks. It owns the connections.

It sends a request in one of three ways:

- directly or through an http proxy of the environment, with the generators of `connect` and `http1`
- through the caller's `http_client`
- through a client of httpx or httpx2, for an https or SOCKS proxy, or if a mock or an observer has patched that library
  (see `observers`)
"""

import os
import socket
import ssl
import time
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import anyio.lowlevel
import h11

from camara_otp._exchange import mocks
from camara_otp._exchange.connect import Connection, Failed, out_of_sockets, tls_context
from camara_otp._exchange.http1 import exchange, head_of, tunnel
from camara_otp._exchange.httpx_client import HttpxExchange
from camara_otp._exchange.observers import HttpxClients
from camara_otp._exchange.pool import Pool, Waiter
from camara_otp._exchange.proxies import proxy_of
from camara_otp._exchange.values import Failure, Headers, Outgoing, Response
from camara_otp._exchange.waits import Late, Steps, TimeLimit, adrive, completed, drive

_ANOTHER_LOOP: Final = Failure(
    sent=False, reason="the client is in use on another event loop; make one client per loop", permanent=True
)


class Route:
    """An origin, and its proxy from the environment. Its `str` names the server of the connection.

    Args:
        origin: `https://host[:port]`, checked already
    """

    def __init__(self, origin: str) -> None:
        parts = urlsplit(origin)
        self._host = host = parts.hostname or ""
        self._is_tls = parts.scheme == "https"
        default = 443 if self._is_tls else 80
        port = parts.port or default
        name = f"[{host}]" if ":" in host else host
        self._with_port = f"{name}:{port}"
        self.authority = (name if port == default else self._with_port).encode("ascii")
        self.proxy = proxy = proxy_of(parts.scheme, host, port)
        self._server = (host, port) if proxy is None else (proxy.host, proxy.port)
        self.by_httpx = proxy is not None and proxy.url is not None
        self._prefix = ""
        self._always: Headers = ((b"Accept-Encoding", b"identity"),)
        # RFC 9112 section 3.2.2: a proxy gets the whole URL of an http origin; of https it sees the tunnel only.
        if proxy is not None and not self._is_tls:
            self._prefix = f"http://{self.authority.decode()}"
            self._always = (*self._always, *proxy.headers)

    def __str__(self) -> str:
        return self._with_port if self.proxy is None else f"the proxy of {self.proxy}"

    def message(self, outgoing: Outgoing) -> bytes:
        """Return the bytes of a request."""
        headers = (*self._always, *outgoing.headers, (b"Content-Length", b"%d" % len(outgoing.body)))
        target = (self._prefix + outgoing.target).encode("ascii")
        return head_of(outgoing.method, target, self.authority, headers) + outgoing.body

    def open(self, connection: Connection, outgoing: Outgoing) -> Steps[None]:
        """Make the connection, within the connect timeout."""
        deadline = outgoing.deadline
        if outgoing.connect_timeout is not None:
            deadline = min(deadline, time.monotonic() + outgoing.connect_timeout)
        yield TimeLimit(deadline)
        if self.proxy is not None and self.proxy.problem is not None:
            raise Failed(self.proxy.problem)
        # First, so that nothing connects where no certificate can be checked.
        context = (yield from tls_context()) if self._is_tls else None
        yield from connection.connect(*self._server, deadline)
        if self.proxy is not None and self._is_tls:
            yield from tunnel(connection, self.proxy, self._with_port.encode("ascii"))
        if context is not None:
            # RFC 6066 section 3: the name without the dot at its end.
            yield from connection.start_tls(context, self._host.rstrip("."))
        if connection.receive() is not None:  # a response to no request must not become the response to this one
            raise Failed(f"{self} closed the connection, or sent data, before the request", permanent=False)
        yield TimeLimit(outgoing.deadline)


def steps(pool: Pool, route: Route, outgoing: Outgoing, cap: int) -> Steps[Response | Failure]:
    """Exchange one request for its response on a connection of the pool."""
    while True:
        waiter = Waiter()
        sent = False
        try:
            try:
                if time.monotonic() >= outgoing.deadline:
                    raise Late  # noqa: TRY301 - as the driver, which checks the time at waits only
                pool.take(waiter)
                if not waiter.happened:
                    yield waiter
                connection = waiter.connection
                assert connection is not None  # noqa: S101 - for type checkers: a waiter that happened has one
                if not connection.is_clean():
                    connection.reset()
                    yield from route.open(connection, outgoing)
                connection.queue(route.message(outgoing))
                sent = True
                return (yield from exchange(connection, outgoing.method, cap))
            except Exception as error:
                if not sent and out_of_sockets(error) and pool.shrink():
                    yield TimeLimit(outgoing.deadline)  # in place of the limit of the connection; wait for another
                    continue
                failure = failure_of(error, sent=sent, server=str(route) if waiter.happened else None)
                if failure is None:
                    raise
                return failure
            finally:
                pool.leave(waiter)
        finally:
            pool.leave(waiter)  # again, for an interrupt at or in the first


def failure_of(error: Exception, *, sent: bool, server: str | None) -> Failure | None:
    """Return the failure for an exception of an exchange, or None for one of the caller's.

    The caller's comes from a signal handler, or from a tool that blocks sockets in tests.

    Args:
        error: of a connection or its response
        sent: whether a byte of the request may have left
        server: host and port that the connection goes to; None if there is no connection
    """
    match error:
        case Failed():
            return Failure(sent, str(error), error.permanent)
        case Late() if not sent:
            reason = "timed out " + (f"connecting to {server}" if server else "waiting for a free connection")
        case Late():
            reason = "timed out before a complete response"
        case h11.ProtocolError():
            reason = "the server closed the connection before a complete response, or did not send valid HTTP/1.1"
        case socket.gaierror():
            reason = f"the host name could not be resolved ({server})"
        case ssl.SSLCertVerificationError() if not sent:
            problem = getattr(error, "verify_message", None) or "no reason given"
            return Failure(sent, f"the certificate of {server} does not verify: {problem}", permanent=True)
        case ssl.SSLError():
            problem = (getattr(error, "reason", None) or "connection closed").replace("_", " ").lower()
            reason = f"TLS with {server} failed: {problem.replace('tls', 'TLS')}"
        case OSError(errno=int(number)):
            reason = "the connection was lost" if sent else f"cannot connect to {server}"
            reason += f": {os.strerror(number)}"
        case _:
            return None
    return Failure(sent, reason)


class Exchange:
    """Exchange requests and responses with one origin; the arguments are those of `open_exchange`."""

    def __init__(self, origin: str, cap: int, kind: str, http_client: object) -> None:
        through = partial(HttpxExchange, kind=kind, origin=origin, cap=cap)
        self._is_async = kind == "AsyncClient"
        self._cap = cap
        self._route = Route(origin)
        self._pool = Pool()
        self._httpx_clients = HttpxClients(kind, through, self._direct, self._route.proxy)
        self._callers = None if http_client is None else through(http_client)
        self._loop: object = None
        self._process = os.getpid()

    @property
    def closed(self) -> bool:
        """Return whether the exchange was closed."""
        return self._pool.closed

    def request(self, outgoing: Outgoing) -> Response | Failure:
        """Send a request and return its response, in a thread."""
        return completed(self.arequest, outgoing)

    async def arequest(self, outgoing: Outgoing) -> Response | Failure:
        """Send a request and return its response, in a task of one event loop at a time."""
        if self._callers is not None:
            return await self._callers.request(outgoing)
        if self._process != os.getpid():  # not by `os.register_at_fork`, whose functions uWSGI does not call
            self.forget()
            self._process = os.getpid()
        if self._is_async and not self._on_one_loop():
            return _ANOTHER_LOOP
        patched = mocks.patched(by_httpx=self._route.by_httpx)
        return await (self._direct(outgoing) if patched is None else self._httpx_clients.request(outgoing, patched))

    async def _direct(self, outgoing: Outgoing) -> Response | Failure:
        way = steps(self._pool, self._route, outgoing, self._cap)
        return await adrive(way, outgoing.deadline) if self._is_async else drive(way, outgoing.deadline)

    def _on_one_loop(self) -> bool:
        """Return whether the connections belong to the running event loop, or can be replaced for it."""
        loop = anyio.lowlevel.current_token()
        if loop != self._loop:
            if self._pool.busy and not _is_closed(self._loop):
                return False
            self.forget()
            self._loop = loop
        return True

    def close(self) -> None:
        """Close the idle connections now, and the others after their response.

        The caller's client stays open, and the clients of `HttpxClients` keep no connection.
        """
        self._pool.close()

    def forget(self) -> None:
        """Drop the connections of a parent process or of another event loop, which cannot be used here."""
        self._pool = self._pool.renewed()
        self._httpx_clients.forget()


def _is_closed(loop: object) -> bool:
    """Return whether an event loop will never run again; a loop of trio cannot be asked."""
    is_closed = getattr(getattr(loop, "native_token", loop), "is_closed", None)
    return bool(is_closed is not None and is_closed())
