"""The sandbox as an HTTP server: page, control API, events, operations and authorization server, on uvicorn.

Needs the extra `sandbox`.
"""

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from typing import Any, Final

import anyio
import attrs

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as _error:  # pragma: no cover  (tested in an interpreter of its own)
    raise RuntimeError("the sandbox's server needs more packages: pip install 'camara-otp[sandbox]'") from _error

from camara_otp.sandbox import control
from camara_otp.sandbox.engine import Engine
from camara_otp.sandbox.http import MAX_BODY, HTTPRequest, HTTPResponse, error_response, is_this_machine
from camara_otp.sandbox.routes import any_response

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Act = Callable[[], Awaitable[object]]

_LIMIT: Final = 10.0
_KEEP_ALIVE: Final = 15.0
_PACE: Final = 0.05
_STREAM_HEADERS: Final = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


class _Protocol(H11Protocol):
    """A uvicorn protocol that lets the application abort its connection, which ASGI does not define."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app = partial(self.app, abort=transport.abort)


class SandboxServer(uvicorn.Server):
    """A uvicorn server for a sandbox, which stops at once, not at the next tick of uvicorn's clock.

    If exposed, page and control API may be reached by a name that is not this machine's.
    """

    def __init__(self, engine: Engine, *, exposed: bool = False) -> None:
        config = uvicorn.Config(
            self._serve_request,
            interface="asgi3",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self._engine = engine
        self._exposed = exposed
        self._closing = asyncio.Event()  # ends the event streams and the delays
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Stop the server, from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._closing.set)

    async def main_loop(self) -> None:
        """Run until the server is stopped."""
        self._loop = asyncio.get_running_loop()
        await _until_first(super().main_loop, self._closing.wait)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams first, since the shutdown waits for open responses."""
        self._closing.set()
        await super().shutdown(sockets)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send, *, abort: Callable[[], None]) -> None:
        # Of a header that is sent twice the first value counts.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        head = HTTPRequest(scope["method"], scope["path"], headers, query=scope["query_string"].decode("latin-1"))
        if not self._is_allowed(head):
            reason = "Requests from web pages of other sites are rejected. Another host name needs --expose."
            await _send_response(error_response(403, "PERMISSION_DENIED", reason), send)
        elif head.path == control.ROOT + "/events" and head.method == "GET":
            await self._send_events(headers, receive, send)
        elif (body := await _read(receive)) is not None:
            response = any_response(self._engine, attrs.evolve(head, body=body))
            if await self._ends_within(response.delay, receive) or response.drop is not None:
                # Break the connection, then wait until the server has noticed, so that it does not miss a response.
                abort()
                await _gone(receive)
            else:
                await _send_response(response, send)

    def _is_allowed(self, request: HTTPRequest) -> bool:
        """Return whether a request is none that the page of another site makes the user's browser send."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        is_inbox = request.path == "/" or request.path.startswith(control.ROOT + "/")
        if (is_inbox or origin is not None) and not (self._exposed or is_this_machine(host)):
            return False  # the other site has made its name resolve to this machine
        if origin is not None and origin.partition("://")[2] != host:
            return False
        reads = request.method in ("GET", "HEAD")
        return reads or request.headers.get("sec-fetch-site", "none") in ("none", "same-origin")

    async def _ends_within(self, seconds: float, receive: Receive) -> bool:
        """Wait, and return whether the client or the server ends before the time is up."""
        if not seconds:
            return False
        with anyio.move_on_after(seconds) as waiting:
            await _until_first(partial(_gone, receive), self._closing.wait)
        return not waiting.cancelled_caught

    async def _send_events(self, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Send changes as server-sent events, until the page or the server ends."""

        async def follow() -> None:
            last = headers.get("last-event-id", "0")
            since = int(last) if re.fullmatch("[0-9]{1,18}", last) else 0
            due = 0.0
            while True:
                chunk = ":\n\n" if time.monotonic() >= due else ""
                if self._engine.version != since:
                    changes = self._engine.changes(since)
                    since = changes.version
                    text = json.dumps(control.json_members(changes), separators=(",", ":"))
                    chunk = f"id: {since}\ndata: {text}\n\n"
                if chunk:
                    await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
                    due = time.monotonic() + _KEEP_ALIVE
                # Under load, many changes make one event.
                await anyio.sleep(_PACE)

        await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
        await _until_first(follow, partial(_gone, receive), self._closing.wait)
        await send({"type": "http.response.body", "body": b""})


async def _until_first(*acts: Act) -> None:
    """Run coroutines until the first one ends, and cancel the others."""
    async with anyio.create_task_group() as tasks:

        async def run(act: Act) -> None:
            await act()
            tasks.cancel_scope.cancel()

        for act in acts:
            tasks.start_soon(run, act)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive) -> bytes | None:
    """Return the body, cut off once it is too large; None if the client disconnects before its end."""
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        more = message["more_body"]
    return body


async def _send_response(response: HTTPResponse, send: Send) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": response.framed_headers})
    await send({"type": "http.response.body", "body": response.body})


def check_exposure(host: str, *, expose: bool) -> None:
    """Raise ValueError for an address beyond loopback, unless that was asked for."""
    if not expose and not is_this_machine(host):
        raise ValueError(
            f"{host} can be reached from other machines, which could then read every SMS and code and change this "
            "sandbox; to allow it, use --expose (in Python: expose=True)"
        )


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 takes a free one."""
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be from 0 to 65535, not {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    # asyncio sets this only on sockets that name their protocol; without it every response waits for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the base URL that leads to a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def serving(engine: Engine, host: str, port: int, *, expose: bool) -> Generator[str]:
    """Run a server in a thread for the duration of a `with` block, whose value is the base URL."""
    server = SandboxServer(engine, exposed=expose)
    with listen(host, port) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), name="sandbox", daemon=True)
        thread.start()
        engine.served += 1
        try:
            deadline = time.monotonic() + _LIMIT
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("the sandbox's server did not start; its log says why")
                time.sleep(0.002)
            yield url_of(listener)
        finally:
            engine.served -= 1
            server.stop()
            thread.join(_LIMIT)
