"""The sandbox as a transport of httpx and httpx2, for both kinds of client, without a socket."""

import sys
import time
from typing import Any, Final
from urllib.parse import unquote

import anyio
import httpx

from camara_otp.sandbox.engine import Engine
from camara_otp.sandbox.http import Drop, HTTPRequest
from camara_otp.sandbox.routes import any_response

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
        self._engine = engine

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request, in the calling thread."""
        request.read()
        delay, outcome = self._outcome(request)
        if delay:
            time.sleep(delay)
        return _ended(outcome)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request; a delay leaves the event loop free."""
        await request.aread()
        delay, outcome = self._outcome(request)
        if delay:
            await anyio.sleep(delay)
        return _ended(outcome)

    def _outcome(self, request: httpx.Request) -> tuple[float, Any]:
        """Return how long to wait, and then the response to return or the error to raise."""
        library: Any = sys.modules[type(request.url).__module__.partition(".")[0]]  # httpx or httpx2
        # The raw path keeps what httpx would normalize.
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw}
        values = HTTPRequest(request.method, unquote(path), headers, request.content, query)
        response = any_response(self._engine, values, under_any_root=True)
        limit: float | None = request.extensions.get("timeout", {}).get("read")
        if limit is not None and response.delay > limit:
            return limit, library.ReadTimeout("The read operation timed out", request=request)
        if response.drop is not None:
            error, reason = _DROPS[response.drop]
            return response.delay, getattr(library, error)(reason, request=request)
        # A stream, not content, so that the client reads and closes it, and measures the elapsed time.
        stream = library.ByteStream(response.body)
        return response.delay, library.Response(
            response.status, headers=response.framed_headers, stream=stream, request=request
        )


def _ended(outcome: Any) -> httpx.Response:
    if isinstance(outcome, Exception):
        raise outcome
    response: httpx.Response = outcome
    return response
