"""The sandbox as an httpx transport, for both kinds of client, without a socket."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import unquote

import anyio
import httpx

from camara_otp.sandbox import control
from camara_otp.sandbox.core import Reply
from camara_otp.sandbox.faults import Drop

if TYPE_CHECKING:
    from camara_otp.sandbox.core import Sandbox

_SHORT: Final = "camara_otp.sandbox.short"
# What httpx raises when a real connection goes down at the same point.
_DROPS: Final[dict[Drop, Callable[[], httpx.TransportError]]] = {
    "connect": lambda: httpx.ConnectError("[Errno 111] Connection refused"),
    "before": lambda: httpx.RemoteProtocolError("Server disconnected without sending a response."),
    "after": lambda: httpx.RemoteProtocolError("Server disconnected without sending a response."),
}


class SandboxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Carry requests to a sandbox in this process.

    Give it to `httpx.Client(transport=...)` or `httpx.AsyncClient(transport=...)`. Host and leading path are ignored,
    so any base URL works. A delay longer than the request's read timeout ends as that timeout.
    """

    def __init__(self, sandbox: "Sandbox") -> None:
        """Serve requests from a sandbox.

        Args:
            sandbox: Answers them.
        """
        self._sandbox = sandbox

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, in the calling thread."""
        request.read()
        reply = self._ask(request)
        wait, late = _wait(request, reply)
        if wait:
            time.sleep(wait)
        return _finish(request, reply, late=late)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request; a delay leaves the event loop free."""
        await request.aread()
        reply = self._ask(request)
        wait, late = _wait(request, reply)
        if wait:
            await anyio.sleep(wait)
        return _finish(request, reply, late=late)

    def _ask(self, request: httpx.Request) -> Reply:
        # The raw path keeps what httpx would normalise; the query is no part of an operation's path.
        raw_path, _, query = request.url.raw_path.decode("ascii").partition("?")
        path = unquote(raw_path)
        if (at := path.find(control.ROOT + "/")) >= 0:
            answer = control.handle(self._sandbox, request.method, path[at:], query, request.content)
            return Reply(answer)
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw}
        return self._sandbox.handle(request.method, path, headers, request.content, under_any_root=True)


class SandboxClient(httpx.Client):
    """An `httpx.Client` in front of a sandbox in this process that spares what a test does not need.

    A request with nothing but method, absolute URL, headers and content goes straight to the sandbox, without cookies,
    redirects, hooks and authentication of the client's; any other takes httpx's usual way.
    """

    def __init__(self, sandbox: "Sandbox") -> None:
        """Open a client.

        Args:
            sandbox: Answers its requests.
        """
        self._sandbox = SandboxTransport(sandbox)
        super().__init__(transport=self._sandbox, trust_env=False)

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        """Build a request as `httpx.Client` does, by the short way where that makes no difference."""
        return _short(method, url, options) or super().build_request(method, url, **options)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request as `httpx.Client` does, by the short way where that makes no difference."""
        if self.is_closed or not _plain(request, options):
            return super().send(request, **options)
        response = self._sandbox.handle_request(request)
        if not options.get("stream"):
            response.read()
        return response


class AsyncSandboxClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` in front of a sandbox in this process that spares what a test does not need.

    A request with nothing but method, absolute URL, headers and content goes straight to the sandbox, without cookies,
    redirects, hooks and authentication of the client's; any other takes httpx's usual way.
    """

    def __init__(self, sandbox: "Sandbox") -> None:
        """Open a client.

        Args:
            sandbox: Answers its requests.
        """
        self._sandbox = SandboxTransport(sandbox)
        super().__init__(transport=self._sandbox, trust_env=False)

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        """Build a request as `httpx.AsyncClient` does, by the short way where that makes no difference."""
        return _short(method, url, options) or super().build_request(method, url, **options)

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request as `httpx.AsyncClient` does, by the short way where that makes no difference."""
        if self.is_closed or not _plain(request, options):
            return await super().send(request, **options)
        response = await self._sandbox.handle_async_request(request)
        if not options.get("stream"):
            await response.aread()
        return response


def _short(method: str, url: httpx.URL | str, options: dict[str, Any]) -> httpx.Request | None:
    """Build a request that needs nothing of the client's, or return None."""
    given = {name for name, value in options.items() if value is not None and value is not httpx.USE_CLIENT_DEFAULT}
    if not isinstance(url, str) or "://" not in url or not given <= {"headers", "content", "timeout", "extensions"}:
        return None
    timeout = options["timeout"] if "timeout" in given else None
    extensions: dict[str, Any] = {
        "timeout": httpx.Timeout(timeout).as_dict(),
        **(options.get("extensions") or {}),
        _SHORT: True,
    }
    return httpx.Request(
        method, _parsed(url), headers=options.get("headers"), content=options.get("content"), extensions=extensions
    )


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    """Read a URL; that of one operation comes with each of its requests."""
    return httpx.URL(url)


def _plain(request: httpx.Request, options: dict[str, Any]) -> bool:
    return _SHORT in request.extensions and options.get("auth") in (None, httpx.USE_CLIENT_DEFAULT)


def _wait(request: httpx.Request, reply: Reply) -> tuple[float, bool]:
    """Return how long to wait and whether the client's patience ends before the answer comes."""
    if not reply.delay:
        return 0.0, False
    limit: float | None = request.extensions.get("timeout", {}).get("read")
    if limit is None or reply.delay <= limit:
        return reply.delay, False
    return limit, True


def _finish(request: httpx.Request, reply: Reply, *, late: bool) -> httpx.Response:
    if reply.drop is not None and not late:
        _drop(request, reply.drop)
    if late:
        raise httpx.ReadTimeout("The read operation timed out", request=request)
    answer = reply.answer
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status not in (204, 304):
        headers.append((b"content-length", str(len(answer.body)).encode()))
    # A stream, not content, so that the client reads and closes it, and knows how long it took.
    return httpx.Response(answer.status, headers=headers, stream=httpx.ByteStream(answer.body), request=request)


def _drop(request: httpx.Request, drop: Drop) -> NoReturn:
    error = _DROPS[drop]()
    error.request = request
    raise error
