"""Clients of httpx or httpx2, for the tools that have patched one of these libraries.

A client of httpx or httpx2 makes the call, with our exchange as its transport, so every guarantee holds. If httpcore or
httpcore2 is patched, a pool of that library lies between them. To the proxies that httpx has to connect to, a plain
client connects, which keeps no connection.
"""

import logging
import ssl
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final

from camara_otp._exchange.httpx_client import OBSERVED, HttpxExchange, ObservedCall
from camara_otp._exchange.mocks import Patched
from camara_otp._exchange.proxies import Proxy
from camara_otp._exchange.values import Failure, Outgoing, Response
from camara_otp._exchange.waits import completed

# --- Logs ------------------------------------------------------------------------------------------------------------

_exchanging: Final[ContextVar[bool]] = ContextVar("camara_otp_exchanging", default=False)


def _is_of_others(record: logging.LogRecord) -> bool:  # noqa: ARG001 - a filter gets the record
    return not _exchanging.get()


def _install_log_filter() -> None:
    """Keep the libraries' log lines about our exchanges out of every log: they print what a server sends.

    A server that repeats the token in a header or in its reason phrase would put it there. The lines about other
    requests of the process, and about those of a caller's `http_client`, stay.
    """
    for core in ("httpcore", "httpcore2"):
        for part in ("connection", "http11", "http2", "proxy", "socks"):
            logging.getLogger(f"{core}.{part}").addFilter(_is_of_others)
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).addFilter(_is_of_others)


# --- Clients -------------------------------------------------------------------------------------------------------

_OF_THE_CONNECTION: Final = frozenset(
    {b"host", b"connection", b"accept-encoding", b"content-length", b"transfer-encoding"}
)
_UNUSED: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""In place of the default one, which costs 20 ms."""
_OF_THE_CODED_BODY: Final = frozenset({b"content-encoding", b"transfer-encoding", b"content-length"})


class _Answer:
    """A response as the transports of httpx take it from a connection pool."""

    __slots__ = ("extensions", "headers", "status", "stream")

    def __init__(self, response: Response, stream: object) -> None:
        self.status = response.status
        self.headers = [header for header in response.headers if header[0] not in _OF_THE_CODED_BODY]
        self.stream = stream
        self.extensions = {"http_version": b"HTTP/1.1"}


class _ExchangeTransport:
    """A replacement for httpcore's connection pool in a transport of httpx, which exchanges directly.

    Args:
        library: httpx or httpx2
        direct: exchanges directly
    """

    def __init__(self, library: Any, direct: Callable[[Outgoing], Awaitable[Response | Failure]]) -> None:
        self._library = library
        self._direct = direct

    async def handle_async_request(self, request: Any) -> Any:
        observed: ObservedCall = request.extensions[OBSERVED]
        if observed.began:
            raise ConnectionError("the request was sent already")
        observed.began = True  # if this call is cancelled, its outcome is unknown
        # With the headers that observers have added.
        headers = [header for header in request.headers if header[0].lower() not in _OF_THE_CONNECTION]
        sent = observed.outgoing
        outgoing = Outgoing(sent.method, sent.target, headers, sent.body, sent.deadline, sent.connect_timeout)
        try:
            observed.outcome = outcome = await self._direct(outgoing)
        except Exception as error:
            observed.outcome = error
            raise
        if isinstance(outcome, Failure):
            raise ConnectionError(outcome.reason)
        return _Answer(outcome, self._library.ByteStream(bytes(outcome.body)))  # decoded

    def handle_request(self, request: Any) -> Any:
        return completed(self.handle_async_request, request)

    def close(self) -> None:
        """Close nothing: the exchange owns the connections."""

    async def aclose(self) -> None:
        """Close nothing: the exchange owns the connections."""

    def is_closed(self) -> bool:
        """Return True, so that a pool of httpcore gives each request a connection of its own."""
        return True


class HttpxClients:
    """The clients of httpx and httpx2 that make the calls of one exchange, opened when they are needed.

    Args:
        kind: `"Client"` or `"AsyncClient"`
        make: makes an exchange through a client
        direct: exchanges directly
        proxy: of the environment, or None
    """

    def __init__(
        self,
        kind: str,
        make: Callable[[Any], HttpxExchange],
        direct: Callable[[Outgoing], Awaitable[Response | Failure]],
        proxy: Proxy | None,
    ) -> None:
        self._kind = kind
        self._make = make
        self._direct = direct
        self._proxy = proxy
        self._exchanges: dict[Patched, HttpxExchange] = {}

    async def request(self, outgoing: Outgoing, patched: Patched) -> Response | Failure:
        """Exchange through a client of the patched library; never waits if the client is synchronous."""
        through = self._exchanges.get(patched)
        if through is None:
            _install_log_filter()
            try:
                client = self._client(patched)
            except Exception as error:  # noqa: BLE001 - the environment may hold anything
                return Failure(
                    sent=False,
                    reason=f"the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used "
                    f"({type(error).__name__}); for SOCKS, run: pip install 'httpx[socks]'",
                    permanent=True,
                )
            through = self._exchanges.setdefault(patched, self._make(client))
        observed, seen = ObservedCall(outgoing), None
        logged = _exchanging.get()
        _exchanging.set(True)  # not by a token: a coroutine may be closed in another context
        try:
            seen = await through.request(outgoing, observed if patched.runs_exchange else None)
        except Exception:
            if observed.outcome is None:  # else an observer has raised after the response, and the outcome is known
                raise
        finally:
            _exchanging.set(logged)
        if isinstance(observed.outcome, Exception):
            raise observed.outcome
        if observed.outcome is not None:
            return observed.outcome
        if seen is not None and not observed.began:
            return seen
        # An observer has cancelled our exchange, or has not waited for it.
        reason = seen.reason if isinstance(seen, Failure) else "ended by a tool that patches the library"
        return Failure(sent=True, reason=reason)

    def _client(self, patched: Patched) -> Any:
        """Return a client whose transport is our exchange, or which keeps no connection; it keeps no cookie."""
        library: Any = import_module(patched.library)
        if patched.runs_exchange:
            transport = getattr(library, self._kind.replace("Client", "HTTPTransport"))(verify=_UNUSED, trust_env=False)
            # Private but old; the bound on httpx and a test guard it.
            transport._pool = self._pool(_ExchangeTransport(library, self._direct), patched)  # noqa: SLF001
            options = {"transport": transport, "trust_env": False}
        else:
            # Without a proxy, the library reads the environment, where other entries may make it fail.
            proxy = self._proxy.url if self._proxy is not None else None
            options = {"limits": library.Limits(max_keepalive_connections=0), "proxy": proxy}
        client = getattr(library, self._kind)(timeout=None, **options)
        client.headers.clear()  # the request has all that it needs, and each one more costs an observer time
        if not patched.runs_exchange:
            client.headers["Accept-Encoding"] = "identity"  # as our exchange
        client.cookies.extract_cookies = _keep_no_cookie
        return client

    def _pool(self, exchange: _ExchangeTransport, patched: Patched) -> Any:
        """Return the exchange, or a pool of httpcore whose connections end in it, for a tool that patches httpcore."""
        if not patched.core:
            return exchange
        core: Any = import_module(patched.core)
        prefix = self._kind.removesuffix("Client")

        def create_connection(origin: object) -> Any:
            connection = getattr(core, f"{prefix}HTTPConnection")(origin)
            connection._connection = exchange  # noqa: SLF001 - as above
            return connection

        pool = getattr(core, f"{prefix}ConnectionPool")(ssl_context=_UNUSED)
        pool.create_connection = create_connection
        return pool

    def forget(self) -> None:
        """Drop the clients, which belong to a parent process or to another event loop."""
        self._exchanges = {}


def _keep_no_cookie(response: object) -> None:
    """Take the place of `Cookies.extract_cookies`, which costs a tenth of a call."""
