"""The sandbox as a transport of httpx and httpx2, for both kinds of client, without a socket."""

import sys
import time
from typing import Any, Final
from urllib.parse import unquote

import anyio
import httpx

from camara_otp.sandbox import app
from camara_otp.sandbox.engine import Engine, PlannedResponse
from camara_otp.sandbox.faults import Drop
from camara_otp.sandbox.http import HTTPRequest

# What httpx and httpx2 raise when a real connection breaks at the same point.
_DROPS: Final[dict[Drop, tuple[str, str]]] = {
    "connect": ("ConnectError", "[Errno 111] Connection refused"),
    "before": ("RemoteProtocolError", "Server disconnected without sending a response."),
    "after": ("RemoteProtocolError", "Server disconnected without sending a response."),
}


class SandboxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Carry requests to a sandbox in this process.

    Give it to `httpx.Client(transport=...)` or `httpx.AsyncClient(transport=...)`, or to those of httpx2. The host and
    what precedes the path of the operation are ignored, so any base URL works. A delay longer than the read timeout of
    the request ends as that timeout.
    """

    def __init__(self, engine: Engine) -> None:
        """Carry requests to a sandbox."""
        self._engine = engine

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request, in the calling thread."""
        request.read()
        planned = self._planned(request)
        wait, late = _wait(request, planned)
        if wait:
            time.sleep(wait)
        return _finish(request, planned, late=late)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request; a delay leaves the event loop free."""
        await request.aread()
        planned = self._planned(request)
        wait, late = _wait(request, planned)
        if wait:
            await anyio.sleep(wait)
        return _finish(request, planned, late=late)

    def _planned(self, request: httpx.Request) -> PlannedResponse:
        # The raw path keeps what httpx would normalize.
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw}
        values = HTTPRequest(request.method, unquote(path), headers, request.content, query)
        return app.planned_response(self._engine, values, under_any_root=True)


def _wait(request: httpx.Request, planned: PlannedResponse) -> tuple[float, bool]:
    """Return how long to wait, and whether the read timeout of the client ends before the delay."""
    if not planned.delay:
        return 0.0, False
    limit: float | None = request.extensions.get("timeout", {}).get("read")
    if limit is None or planned.delay <= limit:
        return planned.delay, False
    return limit, True


def _finish(request: httpx.Request, planned: PlannedResponse, *, late: bool) -> httpx.Response:
    library: Any = sys.modules[type(request.url).__module__.partition(".")[0]]  # httpx or httpx2
    if late:
        raise library.ReadTimeout("The read operation timed out", request=request)
    if planned.drop is not None:
        name, reason = _DROPS[planned.drop]
        raise getattr(library, name)(reason, request=request)
    response = planned.response
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.headers]
    if response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    # A stream, not content, so that the client reads and closes it, and measures the elapsed time.
    result: httpx.Response = library.Response(
        response.status, headers=headers, stream=library.ByteStream(response.body), request=request
    )
    return result
