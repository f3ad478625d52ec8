"""The sandbox as an ASGI application: page, control API, events, operations and authorization server."""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import anyio
import attrs

from camara_otp.sandbox import control, page
from camara_otp.sandbox.engine import Engine, PlannedResponse
from camara_otp.sandbox.http import MAX_BODY, HTTPRequest, HTTPResponse, error_response, is_this_machine

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Act = Callable[[], Awaitable[object]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

DISCONNECT: Final = "camara_otp.sandbox.disconnect"
"""The ASGI extension under which the server offers a function that breaks the connection."""
_KEEP_ALIVE: Final = 15.0
_PACE: Final = 0.05
_STREAM_HEADERS: Final = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


def planned_response(engine: Engine, request: HTTPRequest, *, under_any_root: bool = False) -> PlannedResponse:
    """Respond to a request; in process, there is no page, and paths may have any root."""
    at = request.path.find(control.ROOT + "/")
    if at == 0 or (at > 0 and under_any_root):
        return PlannedResponse(control.control_response(engine, attrs.evolve(request, path=request.path[at:])))
    if request.path == "/" and not under_any_root:
        return PlannedResponse(page.page_response(engine.config, request))
    return engine.handle(request, under_any_root=under_any_root)


class SandboxApp:
    """The ASGI application."""

    def __init__(self, engine: Engine, *, exposed: bool) -> None:
        """Serve a sandbox.

        Args:
            engine: The sandbox.
            exposed: Whether page and control API may be reached by a name that is not this machine's loopback.
        """
        self._engine = engine
        self._exposed = exposed
        self.closing: asyncio.Event = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    def close(self) -> None:
        """End the event streams, from any thread."""
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.closing.set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        # Of a header that is sent twice the first value counts.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        head = HTTPRequest(scope["method"], scope["path"], headers, query=scope["query_string"].decode("latin-1"))
        if not self._is_allowed(head):
            reason = "Web pages of other sites are rejected, and the inbox is for this machine only."
            await _send_response(error_response(403, "PERMISSION_DENIED", reason), send)
        elif head.path == control.ROOT + "/events" and head.method == "GET":
            await self._send_events(headers, receive, send)
        elif (body := await _read(receive)) is not None:
            planned = planned_response(self._engine, attrs.evolve(head, body=body))
            if await self._ends_within(planned.delay, receive) or planned.drop is not None:
                # Break the connection, then wait until the server has noticed, so that it does not miss a response.
                scope["extensions"][DISCONNECT]()
                await _gone(receive)
            else:
                await _send_response(planned.response, send)

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

    async def _until_end(self, receive: Receive, *acts: Act) -> None:
        """Wait until the client disconnects or the server stops, and act in the meantime."""
        async with anyio.create_task_group() as tasks:

            async def run(act: Act) -> None:
                await act()
                tasks.cancel_scope.cancel()

            every: tuple[Act, ...] = (*acts, partial(_gone, receive), self.closing.wait)
            for act in every:
                tasks.start_soon(run, act)

    async def _ends_within(self, seconds: float, receive: Receive) -> bool:
        """Wait, and return whether the client or the server ends before the time is up."""
        if not seconds:
            return False
        with anyio.move_on_after(seconds) as waiting:
            await self._until_end(receive)
        return not waiting.cancelled_caught

    async def _send_events(self, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Send changes as server-sent events, until the page or the server ends."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            # The server may be gone while the sandbox lives on.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(woken.set)

        async def follow(since: int) -> None:
            while True:
                woken.clear()
                changes = self._engine.changes(since)
                chunk = b":\n\n"
                if changes.version != since:
                    since = changes.version
                    text = json.dumps(control.json_members(changes), separators=(",", ":"))
                    chunk = f"id: {since}\ndata: {text}\n\n".encode()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                with anyio.move_on_after(_KEEP_ALIVE):
                    await woken.wait()
                # Under load, many changes make one event.
                await anyio.sleep(_PACE)

        last = headers.get("last-event-id", "0")
        since = int(last) if re.fullmatch("[0-9]{1,18}", last) else 0
        await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
        stop_listening = self._engine.listen(wake)
        try:
            await self._until_end(receive, partial(follow, since))
        finally:
            stop_listening()
        await send({"type": "http.response.body", "body": b""})


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
