"""The exchange by default: over httpcore's public connection classes, one origin, with a pool of our own.

A caller's `http_client`, a proxy of the environment, a mock and an observer lead the call through httpx instead.
"""

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import httpcore

from camara_otp._exchange.answer import (
    Answer,
    Body,
    Failure,
    Late,
    Outgoing,
    failure_of,
    out_of_sockets,
)
from camara_otp._exchange.observers import intercepted
from camara_otp._exchange.pool import L, Pool, Turn
from camara_otp._exchange.proxies import uses_proxy
from camara_otp._exchange.quiet import exchanging, hush
from camara_otp._exchange.stream import Clock, aconnect, connect, forget_threads, tls_context

if TYPE_CHECKING:
    from camara_otp._exchange.clients import AsyncClient, Client
    from camara_otp._exchange.through_httpx import AsyncThrough, Through

_ANOTHER_LOOP: Final = Failure(
    sent=False, reason="the client is in use on another event loop; make one client per loop", permanent=True
)


class _Origin:
    """The server that all requests of an exchange go to, in the form that httpcore wants."""

    def __init__(self, origin: str) -> None:
        parts = urlsplit(origin)
        self.text = origin
        self.scheme = parts.scheme.encode("ascii")
        self.host = (parts.hostname or "").encode("ascii")
        self.port = parts.port
        self.authority = parts.netloc.encode("ascii")
        self.origin = httpcore.Origin(self.scheme, self.host, self.port or (443 if parts.scheme == "https" else 80))
        self._urls: dict[str, httpcore.URL] = {}

    def request(self, outgoing: Outgoing, content: Any) -> httpcore.Request:
        """Return the request as httpcore takes it: `content` is the body, in the form that the connection iterates."""
        url = self._urls.get(outgoing.target)
        if url is None:
            target = outgoing.target.encode("ascii")
            url = self._urls[outgoing.target] = httpcore.URL(
                scheme=self.scheme, host=self.host, port=self.port, target=target
            )
        request = httpcore.Request(outgoing.method, url, content=content)
        # They are bytes: the constructor would look at each of them once more.
        request.headers = [
            (b"Host", self.authority),
            (b"Accept-Encoding", b"identity"),
            *outgoing.headers,
            (b"Content-Length", b"%d" % len(outgoing.body)),
        ]
        return request


class _Link:
    """A connection of httpcore's, with its clock and what is known of its bytes."""

    __slots__ = ("clock", "connection", "idle_since", "stream")

    connection: Any
    stream: Any

    def __init__(self) -> None:
        self.clock = Clock()
        self.idle_since = 0.0
        self.stream = None

    def headers_of(self, response: httpcore.Response) -> list[tuple[bytes, bytes]]:
        """Return the headers of an answer, and let the framing know what follows them."""
        headers = [(name.lower(), value) for name, value in response.headers]
        self.stream.framing.expect_body(headers, response.status)
        return headers

    def cut(self) -> None:
        """End the answer here: no more of it is wanted.

        The parser is told that the server has closed, since to leave its generators half-way would leave them to the
        garbage collector, which no event loop likes.
        """
        self.stream.framing.cut()

    def clean(self) -> bool:
        """Tell whether the idle connection is open and nothing waits on it."""
        return bool(self.stream.clean())

    def reusable(self) -> bool:
        """Tell whether the answer ended, beyond doubt, where the received bytes end."""
        return self.stream.framing.exact and bool(self.connection.is_idle())

    def discard(self) -> None:
        """Close the socket, at once and without I/O."""
        if self.stream is not None:
            self.stream.discard()


class _SyncLink(_Link):
    def begin(self, origin: _Origin, outgoing: Outgoing) -> None:
        """Begin an exchange, on the connection that there is or on a new one."""
        self.clock.start(outgoing.deadline, outgoing.connect_timeout)
        if self.stream is not None:
            self.stream.framing.begin()
            return
        context = tls_context() if origin.scheme == b"https" else None
        self.stream = connect(origin.origin, self.clock)
        if context is not None:
            self.stream.start_tls(context, origin.host.decode("ascii"))
        self.connection = httpcore.HTTP11Connection(origin.origin, self.stream)


class _AsyncLink(_Link):
    async def begin(self, origin: _Origin, outgoing: Outgoing) -> None:
        """Begin an exchange, on the connection that there is or on a new one."""
        self.clock.start(outgoing.deadline, outgoing.connect_timeout)
        if self.stream is not None:
            self.stream.framing.begin()
            return
        context = tls_context() if origin.scheme == b"https" else None
        self.stream = await aconnect(origin.origin, self.clock)
        if context is not None:
            await self.stream.start_tls(context, origin.host.decode("ascii"))
        self.connection = httpcore.AsyncHTTP11Connection(origin.origin, self.stream)


_NO_TIME: Final = Failure(sent=False, reason="no connection was free in time")


class Exchange:
    """Exchange requests and answers with one origin, for threads.

    Args:
        origin: `https://host[:port]`, checked already.
        max_response_bytes: the cap on a decoded body.
        http_client: a client of the caller's, of httpx or httpx2, or None.

    Raises:
        ConfigurationError: `http_client` is of another kind.
    """

    def __init__(self, origin: str, *, max_response_bytes: int, http_client: "Client | None" = None) -> None:
        """Connect nothing yet."""
        self._origin = _Origin(origin)
        self._cap = max_response_bytes
        self._pool: Pool[_SyncLink] = Pool()
        self._theirs: Through | None = None
        self._ours: Through | None = None
        self._opening = threading.Lock()
        self._proxied = http_client is None and uses_proxy(self._origin.scheme.decode(), self._origin.host.decode())
        if http_client is not None:
            from camara_otp._exchange import through_httpx  # noqa: PLC0415 - httpx only where it is used

            through_httpx.check_sync(http_client)
            self._theirs = through_httpx.Through(http_client, origin, max_response_bytes)
        _exchanges.add(self)

    @property
    def closed(self) -> bool:
        """Tell whether `close` was called."""
        return self._pool.closed

    def request(self, outgoing: Outgoing) -> Answer | Failure:
        """Send a request and return its answer."""
        if self._theirs is not None:
            return self._theirs.request(outgoing)
        before = exchanging.get()
        exchanging.set(outgoing.deadline)
        try:
            return self._through_httpx(outgoing) if self._proxied or intercepted() else self._directly(outgoing)
        finally:
            # Not by a token: a coroutine whose loop has ended is closed in another context.
            exchanging.set(before)

    def _directly(self, outgoing: Outgoing) -> Answer | Failure:
        pool = self._pool
        while True:
            link = self._link(pool, outgoing.deadline)
            if isinstance(link, Failure):
                return link
            outcome = self._on(link, pool, outgoing)
            if outcome is not None:
                return outcome

    def _link(self, pool: Pool[_SyncLink], deadline: float) -> "_SyncLink | Failure":
        turn = pool.take()
        try:
            if not turn.granted and not _waited(turn, deadline):
                pool.give_up(turn)
                return _NO_TIME
        except BaseException:
            pool.give_up(turn)
            raise
        return _fresh(turn) or _SyncLink()

    def _on(self, link: "_SyncLink", pool: Pool[_SyncLink], outgoing: Outgoing) -> Answer | Failure | None:
        """Exchange on a link; None asks for another link, because no socket could be opened for this one."""
        keep = None
        try:
            link.begin(self._origin, outgoing)
            response = link.connection.handle_request(
                self._origin.request(outgoing, [outgoing.body] if outgoing.body else b"")
            )
            collected = Body(link.headers_of(response), self._cap)
            try:
                for chunk in response.iter_stream():
                    if not collected.add(chunk):
                        link.cut()
                    del chunk
            except httpcore.RemoteProtocolError:
                if collected.fault is None:
                    raise
            finally:
                response.close()
            answer = Answer(response.status, collected.headers, *collected.end())
            if link.reusable():
                keep = link
        except Exception as error:  # noqa: BLE001 - whatever is raised below becomes a value here
            if out_of_sockets(error) and not link.clock.sent and pool.shrink():
                return None
            return failure_of(error, sent=link.clock.sent)
        else:
            return answer
        finally:
            if keep is None:
                link.discard()
            pool.give_back(keep)

    def _through_httpx(self, outgoing: Outgoing) -> Answer | Failure:
        from camara_otp._exchange import through_httpx  # noqa: PLC0415 - httpx only where it is used

        with self._opening:
            if self._ours is None:
                client = through_httpx.own_client(environment=self._proxied)
                if isinstance(client, Failure):
                    return client
                self._ours = through_httpx.Through(client, self._origin.text, self._cap)
        return self._ours.request(outgoing)

    def close(self) -> None:
        """Close what is idle now, and what is in use when its answer is there. The caller's client stays open."""
        self._pool.close()
        if self._ours is not None:
            self._ours.client.close()

    def forget(self) -> None:
        """Let go of everything that the parent process owns; called in a forked child."""
        self._pool = self._pool.renewed()
        self._opening = threading.Lock()
        self._ours = None


class AsyncExchange:
    """Exchange requests and answers with one origin, for tasks of one event loop at a time.

    Args:
        origin: `https://host[:port]`, checked already.
        max_response_bytes: the cap on a decoded body.
        http_client: a client of the caller's, of httpx or httpx2, or None.

    Raises:
        ConfigurationError: `http_client` is of another kind.
    """

    def __init__(self, origin: str, *, max_response_bytes: int, http_client: "AsyncClient | None" = None) -> None:
        """Connect nothing yet."""
        self._origin = _Origin(origin)
        self._cap = max_response_bytes
        self._pool: Pool[_AsyncLink] = Pool()
        self._loop: object = None
        self._theirs: AsyncThrough | None = None
        self._ours: AsyncThrough | None = None
        self._ours_on: object = None
        self._proxied = http_client is None and uses_proxy(self._origin.scheme.decode(), self._origin.host.decode())
        if http_client is not None:
            from camara_otp._exchange import through_httpx  # noqa: PLC0415 - httpx only where it is used

            through_httpx.check_async(http_client)
            self._theirs = through_httpx.AsyncThrough(http_client, origin, max_response_bytes)
        _exchanges.add(self)

    @property
    def closed(self) -> bool:
        """Tell whether `aclose` was called."""
        return self._pool.closed

    async def request(self, outgoing: Outgoing) -> Answer | Failure:
        """Send a request and return its answer."""
        if self._theirs is not None:
            return await self._theirs.request(outgoing)
        before = exchanging.get()
        exchanging.set(outgoing.deadline)
        try:
            if self._proxied or intercepted():
                return await self._through_httpx(outgoing)
            return await self._directly(outgoing)
        finally:
            # Not by a token: a coroutine whose loop has ended is closed in another context.
            exchanging.set(before)

    async def _directly(self, outgoing: Outgoing) -> Answer | Failure:
        if not self._on_one_loop():
            return _ANOTHER_LOOP
        pool = self._pool
        while True:
            link = await self._link(pool, outgoing.deadline)
            if isinstance(link, Failure):
                return link
            outcome = await self._on(link, pool, outgoing)
            if outcome is not None:
                return outcome

    def _on_one_loop(self) -> bool:
        """Tell whether the running loop is the one that the links belong to, or can become it."""
        loop = anyio.lowlevel.current_token()
        if loop != self._loop:
            if self._pool.busy and not _is_over(self._loop):
                return False
            self._pool = self._pool.renewed()
            self._loop = loop
        return True

    async def _link(self, pool: Pool[_AsyncLink], deadline: float) -> "_AsyncLink | Failure":
        turn = pool.take()
        if not turn.granted:
            granted = anyio.Event()
            turn.wake = granted.set
            try:
                with anyio.move_on_after(deadline - time.monotonic()):
                    await granted.wait()
            except BaseException:
                pool.give_up(turn)
                raise
            if not turn.granted:
                pool.give_up(turn)
                return _NO_TIME
        return _fresh(turn) or _AsyncLink()

    async def _on(self, link: "_AsyncLink", pool: Pool[_AsyncLink], outgoing: Outgoing) -> Answer | Failure | None:
        """Exchange on a link; None asks for another link, because no socket could be opened for this one."""
        keep = None
        try:
            with anyio.move_on_after(outgoing.deadline - time.monotonic()):
                await link.begin(self._origin, outgoing)
                response = await link.connection.handle_async_request(
                    self._origin.request(outgoing, _Once(outgoing.body) if outgoing.body else b"")
                )
                collected = Body(link.headers_of(response), self._cap)
                try:
                    async for chunk in response.aiter_stream():
                        if not collected.add(chunk):
                            link.cut()
                        del chunk
                except httpcore.RemoteProtocolError:
                    if collected.fault is None:
                        raise
                # After a failure httpcore has done so by itself, and the socket is closed below.
                await response.aclose()
                answer = Answer(response.status, collected.headers, *collected.end())
                if link.reusable():
                    keep = link
                return answer
            return failure_of(Late(), sent=link.clock.sent)
        except Exception as error:  # noqa: BLE001 - whatever is raised below becomes a value here
            if out_of_sockets(error) and not link.clock.sent and pool.shrink():
                return None
            return failure_of(error, sent=link.clock.sent)
        finally:
            if keep is None:
                link.discard()
            pool.give_back(keep)

    async def _through_httpx(self, outgoing: Outgoing) -> Answer | Failure:
        from camara_otp._exchange import through_httpx  # noqa: PLC0415 - httpx only where it is used

        loop = anyio.lowlevel.current_token()
        if self._ours is None or loop != self._ours_on:
            # The connections of the last one cannot be used, or even closed, where their loop does not run.
            client = through_httpx.own_async_client(environment=self._proxied)
            if isinstance(client, Failure):
                return client
            self._ours, self._ours_on = through_httpx.AsyncThrough(client, self._origin.text, self._cap), loop
        return await self._ours.request(outgoing)

    async def aclose(self) -> None:
        """Close what is idle now, and what is in use when its answer is there. The caller's client stays open."""
        self._pool.close()
        if self._ours is not None:
            await self._ours.client.aclose()

    def forget(self) -> None:
        """Let go of everything that the parent process owns; called in a forked child."""
        self._pool = self._pool.renewed()
        self._loop = self._ours = self._ours_on = None


def _is_over(loop: object) -> bool:
    """Tell whether an event loop will never run again; trio's cannot be asked."""
    closed = getattr(getattr(loop, "native_token", loop), "is_closed", None)
    return bool(closed is not None and closed())


class _Once:
    """A body as an asynchronous stream of one piece."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> Any:
        yield self._body


def _fresh(turn: Turn[L]) -> L | None:
    """Return the link of a turn, unless something waits on it."""
    link = turn.link
    if link is not None and turn.handed_over and not link.clean():
        link.discard()
        return None
    return link


def _waited(turn: Turn[Any], deadline: float) -> bool:
    granted = threading.Lock()
    granted.acquire()
    turn.wake = granted.release
    return turn.granted or granted.acquire(timeout=max(deadline - time.monotonic(), 0)) or turn.granted


_exchanges: "weakref.WeakSet[Exchange | AsyncExchange]" = weakref.WeakSet()


def _after_fork() -> None:
    forget_threads()
    for exchange in tuple(_exchanges):
        exchange.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

hush()
