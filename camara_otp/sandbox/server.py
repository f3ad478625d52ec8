"""The sandbox as an HTTP server: an ASGI application of a few routes, on uvicorn. Needs the extra `sandbox`."""

import asyncio
import contextlib
import ipaddress
import json
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as _error:  # pragma: no cover  (tested in an interpreter of its own)
    raise RuntimeError("the sandbox's server needs more packages: pip install 'camara-otp[sandbox]'") from _error

from camara_otp.sandbox import control, page
from camara_otp.sandbox.gateway import MAX_BODY, Answer, json_answer

if TYPE_CHECKING:
    from camara_otp.sandbox.core import Sandbox

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_LIMIT: Final = 10.0
_TICK: Final = 0.1
_KEEP_ALIVE: Final = 15.0
_PACE: Final = 0.05
_STREAM_HEADERS: Final = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
_DROP: Final = "camara_otp.sandbox.drop"


class _Protocol(H11Protocol):
    """uvicorn's protocol that also lets the application break its connection, which ASGI has no word for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_drop(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[_DROP] = transport.abort
            await app(scope, receive, send)

        self.app = with_drop


class _Door:
    """The ASGI application behind every path: reads the request, asks the sandbox, plays the answer."""

    def __init__(self, sandbox: "Sandbox", *, exposed: bool) -> None:
        self._sandbox = sandbox
        self._exposed = exposed
        self.closing: asyncio.Event = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    def close(self) -> None:
        """End the event streams, from whatever thread."""
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.closing.set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        # With a name given twice the first one counts.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        if path == "/" or path.startswith(control.ROOT + "/"):
            await self._inbox(scope, headers, receive, send)
        elif (body := await _read(receive)) is not None:
            reply = self._sandbox.handle(scope["method"], path, headers, body)
            ended = bool(reply.delay) and await self._ends_within(reply.delay, receive)
            if ended or reply.drop is not None:
                await _drop(scope, receive)
            else:
                await _play(reply.answer, send)

    def _ends(self, receive: Receive) -> list[asyncio.Future[Any]]:
        """Return what is done once the client, or the server, goes."""
        return [asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self.closing.wait())]

    async def _ends_within(self, seconds: float, receive: Receive) -> bool:
        """Wait, and tell whether there is nobody left to answer, or nothing to answer with, before the time is up."""
        ends = self._ends(receive)
        try:
            done, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        return bool(done)

    async def _inbox(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Serve the page and the control API, which foreign web pages must not reach through the user's browser."""
        method, path = scope["method"], scope["path"]
        if not self._lets_in(headers):
            info = {"status": 403, "code": "PERMISSION_DENIED", "message": "The inbox is for this machine only."}
            await _play(json_answer(403, info), send)
        elif path == "/":
            await _play(page.answer(self._sandbox.config, method, headers), send)
        elif path == control.ROOT + "/events" and method == "GET":
            await self._events(headers, receive, send)
        elif (body := await _read(receive)) is not None:
            await _play(
                control.handle(self._sandbox, method, path, scope["query_string"].decode("latin-1"), body), send
            )

    def _lets_in(self, headers: Mapping[str, str]) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        name, _, port = host.rpartition(":")
        local = self._exposed or is_loopback(name if port.isdecimal() else host)
        return local and (origin is None or origin.partition("://")[2] == host)

    async def _events(self, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Send what changes as server-sent events, until the page or the server goes."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            # The server may be gone while the sandbox lives on.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(woken.set)

        last = headers.get("last-event-id", "0")
        since = int(last) if re.fullmatch("[0-9]{1,18}", last) else 0
        await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
        silence = self._sandbox.listen(wake)
        ends = self._ends(receive)
        try:
            while not any(end.done() for end in ends):
                woken.clear()
                changes = self._sandbox.changes(since)
                chunk = b":\n\n"
                if changes.version != since:
                    since = changes.version
                    text = json.dumps(control.as_table(changes), separators=(",", ":"))
                    chunk = f"id: {since}\ndata: {text}\n\n".encode()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                waiting = asyncio.ensure_future(woken.wait())
                await asyncio.wait((*ends, waiting), timeout=_KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                # Under load, many changes make one event.
                await asyncio.sleep(_PACE)
        finally:
            silence()
            for end in ends:
                end.cancel()
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive) -> bytes | None:
    """Read the body, but no more of it than shows that it is too large; None if the client goes before its end."""
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        more = message["more_body"]
    return body


async def _play(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status not in (204, 304):
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _drop(scope: Scope, receive: Receive) -> None:
    """Break the connection, then wait until the server has noticed, so that it does not miss an answer."""
    scope["extensions"][_DROP]()
    await _gone(receive)


class _Server(uvicorn.Server):
    """uvicorn's server, made to end when it is told to, not at the next tick of its clock."""

    def __init__(self, config: uvicorn.Config, door: _Door) -> None:
        super().__init__(config)
        self._door = door

    def stop(self) -> None:
        """End the server, from whatever thread."""
        self.should_exit = True
        self._door.close()

    async def main_loop(self) -> None:
        self._door.loop = asyncio.get_running_loop()
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 864_000
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._door.closing.wait(), _TICK)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # The event streams end first, or they would hold up the rest.
        self._door.closing.set()
        await super().shutdown(sockets)


def server(sandbox: "Sandbox", *, exposed: bool = False) -> _Server:
    """Return a uvicorn server for a sandbox, to be run with sockets of the caller's.

    Args:
        sandbox: Answers the requests.
        exposed: Whether inbox and control API may be reached by a name that is not this machine's loopback.
    """
    door = _Door(sandbox, exposed=exposed)
    config = uvicorn.Config(
        door,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config, door)


def is_loopback(host: str) -> bool:
    """Tell whether an address or name can only mean this machine.

    Args:
        host: An address, with or without brackets, or a name.
    """
    name = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def check_exposure(host: str, *, expose: bool) -> None:
    """Refuse an address beyond loopback unless that was asked for.

    Args:
        host: The address to listen on.
        expose: Whether it was asked for.

    Raises:
        ValueError: It was not.
    """
    if not expose and not is_loopback(host):
        raise ValueError(
            f"{host} can be reached from other machines, and whoever reaches it can read every text and code and "
            "change this sandbox; if that is what you want, say so with --expose (in Python: expose=True)"
        )


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket.

    Args:
        host: The address.
        port: The port; 0 takes a free one.

    Raises:
        ValueError: There is no such port.
        OSError: The address cannot be listened on.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be from 0 to 65535, not {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    # asyncio sets this only on sockets that name their protocol; without it every answer waits for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the base URL that leads to a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Serving:
    """A sandbox served from a thread for the length of a `with` block, whose value is the base URL."""

    def __init__(self, sandbox: "Sandbox", host: str, port: int, *, expose: bool = False) -> None:
        """Prepare, without opening anything.

        Args:
            sandbox: Answers the requests.
            host: The address to listen on.
            port: The port; 0 takes a free one.
            expose: Whether an address beyond loopback is meant.

        Raises:
            ValueError: The address lies beyond loopback and that was not asked for.
        """
        check_exposure(host, expose=expose)
        self._address = (host, port)
        self._sandbox = sandbox
        self._server = server(sandbox, exposed=expose)

    def __enter__(self) -> str:
        """Open the port and return the base URL once the server answers.

        Raises:
            RuntimeError: The server does not come up.
        """
        self._listener = listen(*self._address)
        self._sandbox.served += 1
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _LIMIT
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError("the sandbox's server did not start; its log says why")
            time.sleep(0.002)
        return url_of(self._listener)

    def __exit__(self, *_: object) -> None:
        """Stop the server and close the port."""
        self._sandbox.served -= 1
        self._server.stop()
        self._thread.join(_LIMIT)
        self._listener.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])
