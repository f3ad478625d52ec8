"""The sandbox as an HTTP server: Starlette for the routes, uvicorn for the wire. Needs the extra `sandbox`."""

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.routing import Mount
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:  # pragma: no cover  (tested in an interpreter of its own)
    raise RuntimeError("the sandbox's server needs more packages: pip install 'camara-otp[sandbox]'") from error

from camara_otp.sandbox import control
from camara_otp.sandbox.gateway import MAX_BODY, Answer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from camara_otp.sandbox.core import Sandbox

_LIMIT: Final = 10.0
_DROP: Final = "camara_otp.sandbox.drop"


class _Protocol(H11Protocol):
    """uvicorn's protocol that also lets the application break its connection, which ASGI has no word for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_drop(scope: "Scope", receive: "Receive", send: "Send") -> None:
            scope.setdefault("extensions", {})[_DROP] = transport.abort
            await app(scope, receive, send)

        self.app = with_drop


class _Door:
    """The ASGI application behind every path: reads the request, asks the sandbox, plays the answer."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        request = Request(scope, receive)
        try:
            body = await _read(request)
        except ClientDisconnect:
            return
        path: str = scope["path"]
        if path.startswith(control.ROOT + "/"):
            query: str = scope["query_string"].decode("latin-1")
            await _play(control.handle(self._sandbox, request.method, path, query, body), send)
            return
        headers: dict[str, str] = {}
        for name, value in reversed(scope["headers"]):
            headers[name.decode("latin-1")] = value.decode("latin-1")
        reply = self._sandbox.handle(request.method, path, headers, body)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.drop is not None:
            await _drop(scope, receive)
        else:
            await _play(reply.answer, send)


async def _read(request: Request) -> bytes:
    """Read the body, but no more of it than shows that it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            break
    return bytes(body[: MAX_BODY + 1])


async def _play(answer: Answer, send: "Send") -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status not in (204, 304):
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _drop(scope: "Scope", receive: "Receive") -> None:
    """Break the connection, then wait until the server has noticed, so that it does not miss an answer."""
    scope["extensions"][_DROP]()
    while (await receive())["type"] != "http.disconnect":
        pass


def application(sandbox: "Sandbox") -> Starlette:
    """Return the ASGI application of a sandbox.

    Args:
        sandbox: Answers the requests.
    """
    return Starlette(routes=[Mount("/", app=_Door(sandbox))])


def server(sandbox: "Sandbox") -> uvicorn.Server:
    """Return a uvicorn server for a sandbox, to be run with sockets of the caller's.

    Args:
        sandbox: Answers the requests.
    """
    return uvicorn.Server(
        uvicorn.Config(
            application(sandbox),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket.

    Args:
        host: The address.
        port: The port; 0 takes a free one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def url_of(listener: socket.socket) -> str:
    """Return the base URL that leads to a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Serving:
    """A sandbox served from a thread for the length of a `with` block, whose value is the base URL."""

    def __init__(self, sandbox: "Sandbox", host: str, port: int) -> None:
        """Prepare, without opening anything.

        Args:
            sandbox: Answers the requests.
            host: The address to listen on.
            port: The port; 0 takes a free one.
        """
        self._sandbox = sandbox
        self._address = (host, port)

    def __enter__(self) -> str:
        """Open the port and return the base URL once the server answers.

        Raises:
            RuntimeError: The server does not come up.
        """
        self._listener = listen(*self._address)
        self._server = server(self._sandbox)
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
        self._server.should_exit = True
        self._thread.join(_LIMIT)
        self._listener.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])
