"""The ways through a client of httpx or httpx2, for the tools that have patched one of these libraries.

Where httpx or httpx2 is patched, the call passes through a client of that library whose transport carries our own
exchange, so that every promise holds. Where httpcore or httpcore2 is patched, it passes through a plain client that
keeps no connection: those are mocks. The same plain client connects to the proxies that httpx has to connect to.
"""

import logging
import ssl
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from camara_otp._exchange.answer import Answer, Failure, Outgoing
from camara_otp._exchange.mocks import Patched
from camara_otp._exchange.proxies import Proxy

if TYPE_CHECKING:
    from camara_otp._exchange.httpx_client import AsyncHttpxExchange, HttpxExchange

X = TypeVar("X", bound="HttpxExchange | AsyncHttpxExchange")

# --- Logs ------------------------------------------------------------------------------------------------------------

_exchanging: Final[ContextVar[bool]] = ContextVar("camara_otp_exchanging", default=False)


def _is_of_others(record: logging.LogRecord) -> bool:  # noqa: ARG001 - a filter gets the record
    return not _exchanging.get()


def install_log_filter() -> None:
    """Keep the libraries' log lines about our exchanges out of every log: they print what a server sends.

    A server that repeats the token in a header or in its reason phrase would put it there. The lines about other
    requests of the process, and about those of a caller's `http_client`, stay.
    """
    for core in ("httpcore", "httpcore2"):
        for part in ("connection", "http11", "http2", "proxy", "socks"):
            logging.getLogger(f"{core}.{part}").addFilter(_is_of_others)
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).addFilter(_is_of_others)


# --- Carriers --------------------------------------------------------------------------------------------------------

_EXTENSION: Final = "camara_otp"
_OF_THE_CONNECTION: Final = frozenset({b"host", b"connection", b"accept-encoding", b"content-length"})
_OF_THE_CODED_BODY: Final = frozenset({b"content-encoding", b"transfer-encoding", b"content-length"})


class ExchangeFailed(Exception):  # noqa: N818 - seen by observers only
    """Our exchange has failed; the text says why."""


class _Carried:
    """One call through a client: its request and its result."""

    __slots__ = ("began", "extensions", "outcome", "outgoing", "raised", "seen")

    def __init__(self, outgoing: Outgoing, way: Patched) -> None:
        self.outgoing = outgoing
        self.extensions = {_EXTENSION: self} if way.carries else None
        self.began = False
        self.outcome: Answer | Failure | None = None
        self.raised: Exception | None = None
        self.seen: Answer | Failure | None = None  # what the client made of it, after every observer

    def begin(self, request: Any) -> Outgoing:
        """Return the request, with the headers that observers have added; refuse a second time."""
        if self.began:
            raise ExchangeFailed("the request was sent already")
        self.began = request.stream.was_read = True  # if this call is cancelled, its outcome is unknown
        old = self.outgoing
        headers = [header for header in request.headers if header[0].lower() not in _OF_THE_CONNECTION]
        return Outgoing(old.method, old.target, headers, old.body, old.deadline, old.connect_timeout)

    def response(self) -> "_CoreResponse":
        """Return the response in the form in which httpx takes it from httpcore."""
        if isinstance(self.outcome, Answer):
            return _CoreResponse(self.outcome)
        raise ExchangeFailed(self.outcome.reason if self.outcome is not None else "no outcome")

    def result(self) -> Answer | Failure:
        """Return the result of our exchange, even if an observer changed it; if it did not run, the observed result."""
        if self.raised is not None:
            raise self.raised
        if self.outcome is not None:
            return self.outcome
        if self.began or self.seen is None:
            # An observer has cancelled our exchange, or has not waited for it.
            reason = self.seen.reason if isinstance(self.seen, Failure) else "ended by a tool that patches the library"
            return Failure(sent=True, reason=reason)
        return self.seen


class _CoreResponse:
    """A response as httpcore gives it to httpx; the body is decoded."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = [header for header in answer.headers if header[0] not in _OF_THE_CODED_BODY]
        self.stream = _Stream(bytes(answer.body))
        self.extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b""}


class _Stream:
    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


class _Carrier:
    """A replacement for httpcore's connection pool in a transport of httpx, which exchanges directly."""

    def __init__(self, direct: Callable[[Outgoing], Any]) -> None:
        self._direct = direct

    def handle_request(self, request: Any) -> _CoreResponse:
        carried: _Carried = request.extensions[_EXTENSION]
        outgoing = carried.begin(request)
        try:
            carried.outcome = self._direct(outgoing)
        except Exception as error:
            carried.raised = error
            raise
        return carried.response()

    async def handle_async_request(self, request: Any) -> _CoreResponse:
        carried: _Carried = request.extensions[_EXTENSION]
        outgoing = carried.begin(request)
        try:
            carried.outcome = await self._direct(outgoing)
        except Exception as error:
            carried.raised = error
            raise
        return carried.response()

    def close(self) -> None:
        """Close nothing: the exchange owns the connections."""

    async def aclose(self) -> None:
        """Close nothing: the exchange owns the connections."""


def _client(way: Patched, kind: str, carrier: object, proxy: Proxy | None) -> Any:
    """Return a client of ours: its transport carries our exchange, or it keeps no connection and no cookie."""
    library: Any = import_module(way.library)
    options: dict[str, Any] = {}
    if way.carries:
        # A context that is never used; the default one costs 20 ms.
        transport = getattr(library, f"{kind.removesuffix('Client')}HTTPTransport")(
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False
        )
        transport._pool = carrier  # noqa: SLF001 - private but old; the bound on httpx and a test guard it
        options = {"transport": transport, "trust_env": False}
    else:
        options["limits"] = library.Limits(max_keepalive_connections=0)
        if proxy is not None and proxy.url is not None:
            # Else the library reads the environment, and fails on entries of NO_PROXY or on proxies for other origins.
            options["proxy"] = proxy.url
    client = getattr(library, kind)(timeout=None, **options)
    client.cookies.extract_cookies = _keep_no_cookie
    return client


def _keep_no_cookie(response: object) -> None:
    """Take the place of `Cookies.extract_cookies`, which costs a tenth of a call."""


class Detours(Generic[X]):
    """The ways of one exchange through clients of httpx and httpx2, opened when they are needed.

    Args:
        kind: `"Client"` or `"AsyncClient"`.
        make: makes an exchange through a client.
        direct: exchanges directly.
        proxy: of the environment, or None.
    """

    def __init__(
        self, kind: str, make: Callable[[Any], X], direct: Callable[[Outgoing], Any], proxy: Proxy | None
    ) -> None:
        """Make no client yet."""
        self._kind = kind
        self._make = make
        self._carrier = _Carrier(direct)
        self._proxy = proxy
        self._ways: dict[Patched, X] = {}

    def through(self, way: Patched) -> X | Failure:
        """Return the exchange through a client of the patched library."""
        if way not in self._ways:
            install_log_filter()
            try:
                client = _client(way, self._kind, self._carrier, self._proxy)
            except Exception as error:  # noqa: BLE001 - the environment may hold anything
                return Failure(
                    sent=False,
                    reason=f"the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used "
                    f"({type(error).__name__}); for SOCKS, run: pip install 'httpx[socks]'",
                    permanent=True,
                )
            self._ways.setdefault(way, self._make(client))
        return self._ways[way]

    def clients(self) -> list[Any]:
        """Return the clients, to close them."""
        return [through.client for through in self._ways.values()]


@contextmanager
def carrying(outgoing: Outgoing, way: Patched) -> Generator[_Carried]:
    """Note what becomes of a request that passes through a client of ours, and keep it out of the libraries' logs."""
    before = _exchanging.get()
    _exchanging.set(True)  # not by a token: a coroutine may be closed in another context
    carried = _Carried(outgoing, way)
    try:
        yield carried
    except Exception:
        if carried.outcome is None:  # else an observer has raised after the response, and the outcome is known
            raise
    finally:
        _exchanging.set(before)
