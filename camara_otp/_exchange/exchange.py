"""The exchange with one origin, for threads and for tasks: chooses the way of each request and owns the connections.

The ways: directly, or through a proxy of the environment, both over the generators of `connect` and `http1`; through
the caller's `http_client`; and, where a mock or an observer has patched httpx or httpx2, through a client of that
library (see `observers`).
"""

import os
import socket
import ssl
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio.lowlevel
import h11

from camara_otp._exchange import mocks
from camara_otp._exchange.answer import Answer, Failure, Outgoing
from camara_otp._exchange.connect import CannotConnect, Connection, forget_jobs, of_system, out_of_sockets, tls_context
from camara_otp._exchange.http1 import Exchanged, InvalidHeader, TooManyInterimResponses, exchange, head_of
from camara_otp._exchange.httpx_client import HttpxExchange
from camara_otp._exchange.observers import Detours
from camara_otp._exchange.pool import Pool, Turn
from camara_otp._exchange.proxies import proxy_of
from camara_otp._exchange.waits import Late, Steps, TimeLimit, adrive, completed, drive

if TYPE_CHECKING:
    from camara_otp._exchange.clients import AsyncClient, Client

_ANOTHER_LOOP: Final = Failure(
    sent=False, reason="the client is in use on another event loop; make one client per loop", permanent=True
)
_NO_CONNECTION: Final = Failure(sent=False, reason="timed out waiting for a free connection")


class Route:
    """An origin, and the proxy of the environment before it.

    Args:
        origin: `https://host[:port]`, checked already.
    """

    def __init__(self, origin: str) -> None:
        """Read the environment's proxy settings."""
        parts = urlsplit(origin)
        self.origin = origin
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        default = 443 if self.is_tls else 80
        self.port = parts.port or default
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.with_port = f"{name}:{self.port}"
        self.authority = (name if self.port == default else self.with_port).encode("ascii")
        self.proxy = proxy_of(parts.scheme, self.host, self.port)
        # RFC 9112 section 3.2.2: a proxy gets the whole URL of an http origin; of https it sees the tunnel only.
        absolute = self.proxy is not None and not self.is_tls
        self.by_httpx = self.proxy is not None and self.proxy.by_httpx
        self._prefix = f"http://{self.authority.decode()}" if absolute else ""
        self._extra = self.proxy.headers if absolute and self.proxy is not None else ()

    def message(self, outgoing: Outgoing) -> bytes:
        """Return the bytes of a request."""
        target = (self._prefix + outgoing.target).encode("ascii")
        return head_of(outgoing, target, self.authority, self._extra) + outgoing.body

    def open(self, connection: Connection, outgoing: Outgoing) -> Steps[None]:
        """Make the connection, within the connect timeout."""
        deadline = outgoing.deadline
        if outgoing.connect_timeout is not None:
            deadline = min(deadline, time.monotonic() + outgoing.connect_timeout)
        yield TimeLimit(deadline)
        # First, so that nothing connects where no certificate can be checked.
        context = (yield from tls_context()) if self.is_tls else None
        if self.proxy is None:
            yield from connection.connect(self.host, self.port, deadline)
        else:
            if self.proxy.problem is not None:
                raise CannotConnect(self.proxy.problem)
            yield from connection.connect(self.proxy.host, self.proxy.port, deadline)
            if self.is_tls:
                yield from connection.tunnel(self.proxy, self.with_port.encode("ascii"))
        if context is not None:
            # RFC 6066 section 3: the name without the dot at its end.
            yield from connection.start_tls(context, self.host.rstrip("."))
        yield TimeLimit(outgoing.deadline)

    def __str__(self) -> str:
        """Return the server that is connected to, as an error names it."""
        return self.with_port if self.proxy is None else f"the proxy of {self.proxy}"


def steps(pool: Pool[Connection], route: Route, outgoing: Outgoing, cap: int) -> Steps[Answer | Failure]:
    """Exchange one request for its response on a connection of the pool.

    An exception that is neither a wait's, the system's nor the parser's passes through: it comes from a signal handler
    of the caller, or from a tool that blocks sockets in tests.
    """
    while True:
        turn: Turn[Connection] = Turn()
        exchanged = Exchanged(b"", cap)
        try:
            try:
                return (yield from _on_one_connection(pool, turn, route, outgoing, exchanged))
            except Late as error:
                return failure_of(error, sent=exchanged.sent, server=str(route)) if turn.happened else _NO_CONNECTION
            except (CannotConnect, InvalidHeader, TooManyInterimResponses, h11.ProtocolError) as error:
                return failure_of(error, sent=exchanged.sent, server=str(route))
            except OSError as error:
                if not of_system(error):
                    raise
                if not (out_of_sockets(error) and not exchanged.sent and pool.shrink()):
                    return failure_of(error, sent=exchanged.sent, server=str(route))
            finally:
                pool.leave(turn)
        finally:
            pool.leave(turn)  # again, for an interrupt at or in the first
        yield TimeLimit(outgoing.deadline)  # in place of the limit for the connection that could not be opened


def _on_one_connection(
    pool: Pool[Connection], turn: Turn[Connection], route: Route, outgoing: Outgoing, exchanged: Exchanged
) -> Steps[Answer | Failure]:
    if time.monotonic() >= outgoing.deadline:
        return _NO_CONNECTION
    pool.take(turn)
    if not turn.happened:
        yield turn
    connection = turn.connection
    assert connection is not None  # noqa: S101 - for type checkers: a turn that happened has one
    if not connection.is_clean():
        connection.reset()
        yield from route.open(connection, outgoing)
        if connection.receive() is not None:  # a response to no request must not become the response to this one
            raise CannotConnect(f"{route} closed the connection, or sent data, before the request", permanent=False)
    exchanged.message = route.message(outgoing)
    yield from exchange(connection, outgoing.method, exchanged)
    turn.reusable = exchanged.reusable
    return exchanged.answer()


def failure_of(error: Exception, *, sent: bool, server: str) -> Failure:
    """Return the failure for an exception of an exchange.

    Args:
        error: of `steps`.
        sent: whether a byte of the request may have left.
        server: host and port that the connection goes to.
    """
    if isinstance(error, CannotConnect):
        return Failure(sent=False, reason=str(error), permanent=error.permanent)
    if isinstance(error, ssl.SSLCertVerificationError) and not sent:
        problem = getattr(error, "verify_message", None) or "no reason given"
        return Failure(sent=False, reason=f"the certificate of {server} does not verify: {problem}", permanent=True)
    return Failure(sent, _reason(error, server, sent=sent), permanent=isinstance(error, InvalidHeader))


def _reason(error: Exception, server: str, *, sent: bool) -> str:  # noqa: PLR0911 - one kind of error a line
    match error:
        case Late():
            return "timed out before a complete response" if sent else f"timed out connecting to {server}"
        case TooManyInterimResponses():
            return "the server sent more interim responses than any server needs"
        case InvalidHeader():
            return "a header holds a line end; check what adds headers to the request"
        case h11.ProtocolError():
            return "the server closed the connection before a complete response, or did not send valid HTTP/1.1"
        case socket.gaierror():
            return f"the host name could not be resolved ({server})"
        case ssl.SSLError():
            problem = (
                (getattr(error, "reason", None) or "connection closed").replace("_", " ").lower().replace("tls", "TLS")
            )
            return f"TLS with {server} failed: {problem}"
        case OSError(errno=int(number)):
            problem = os.strerror(number)
            return f"the connection was lost: {problem}" if sent else f"cannot connect to {server}: {problem}"
        case _:
            return type(error).__name__


class Exchange:
    """Exchange requests and responses with one origin, for threads.

    Args:
        origin: `https://host[:port]`, checked already.
        max_response_bytes: the cap on a decoded body.
        http_client: a client of the caller, of httpx or httpx2, or None.

    Raises:
        ConfigurationError: `http_client` is of another kind.
    """

    def __init__(self, origin: str, *, max_response_bytes: int, http_client: "Client | None" = None) -> None:
        """Connect nothing yet."""
        self._route = Route(origin)
        self._cap = max_response_bytes
        self._pool = Pool(Connection)
        through = partial(HttpxExchange, kind="Client", origin=origin, cap=max_response_bytes)
        self._detours = Detours("Client", through, self._direct, self._route.proxy)
        self._callers = None if http_client is None else through(http_client)
        _exchanges.add(self)

    @property
    def closed(self) -> bool:
        """Return whether `close` was called."""
        return self._pool.closed

    def request(self, outgoing: Outgoing) -> Answer | Failure:
        """Send a request and return its response."""
        if self._callers is not None:
            return completed(self._callers.request, outgoing)
        patched = mocks.patched(by_httpx=self._route.by_httpx)
        return self._direct(outgoing) if patched is None else completed(self._detours.request, outgoing, patched)

    def _direct(self, outgoing: Outgoing) -> Answer | Failure:
        return drive(steps(self._pool, self._route, outgoing, self._cap), outgoing.deadline)

    def close(self) -> None:
        """Close the idle connections now, and the others after their response. The caller's client stays open."""
        self._pool.close()
        for client in self._detours.clients():
            client.close()

    def forget(self) -> None:
        """Drop the connections of the parent process; called in a forked child."""
        self._pool = self._pool.renewed()
        self._detours.forget()


class AsyncExchange:
    """Exchange requests and responses with one origin, for tasks of one event loop at a time; else as `Exchange`."""

    def __init__(self, origin: str, *, max_response_bytes: int, http_client: "AsyncClient | None" = None) -> None:
        """Connect nothing yet."""
        self._route = Route(origin)
        self._cap = max_response_bytes
        self._pool = Pool(Connection)
        through = partial(HttpxExchange, kind="AsyncClient", origin=origin, cap=max_response_bytes)
        self._detours = Detours("AsyncClient", through, self._direct, self._route.proxy)
        self._callers = None if http_client is None else through(http_client)
        self._loop: object = None
        _exchanges.add(self)

    @property
    def closed(self) -> bool:
        """Return whether `aclose` was called."""
        return self._pool.closed

    async def request(self, outgoing: Outgoing) -> Answer | Failure:
        """Send a request and return its response."""
        if self._callers is not None:
            return await self._callers.request(outgoing)
        if not self._on_one_loop():
            return _ANOTHER_LOOP
        patched = mocks.patched(by_httpx=self._route.by_httpx)
        return await (self._direct(outgoing) if patched is None else self._detours.request(outgoing, patched))

    async def _direct(self, outgoing: Outgoing) -> Answer | Failure:
        return await adrive(steps(self._pool, self._route, outgoing, self._cap), outgoing.deadline)

    def _on_one_loop(self) -> bool:
        """Return whether the connections belong to the running event loop, or can be replaced for it."""
        loop = anyio.lowlevel.current_token()
        if loop != self._loop:
            if self._pool.busy and not _is_closed(self._loop):
                return False
            self._renew()
            self._loop = loop
        return True

    def _renew(self) -> None:
        # The connections of another event loop cannot be used, or even closed, where that loop does not run.
        self._pool = self._pool.renewed()
        self._detours.forget()

    async def aclose(self) -> None:
        """Close the idle connections now, and the others after their response. The caller's client stays open."""
        self._pool.close()
        for client in self._detours.clients():
            await client.aclose()

    def forget(self) -> None:
        """Drop the connections of the parent process; called in a forked child."""
        self._renew()
        self._loop = None


def _is_closed(loop: object) -> bool:
    """Return whether an event loop will never run again; a loop of trio cannot be asked."""
    is_closed = getattr(getattr(loop, "native_token", loop), "is_closed", None)
    return bool(is_closed is not None and is_closed())


_exchanges: "weakref.WeakSet[Exchange | AsyncExchange]" = weakref.WeakSet()


def _after_fork() -> None:
    forget_jobs()
    for each in tuple(_exchanges):
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
