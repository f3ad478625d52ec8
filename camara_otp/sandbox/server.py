"""The sandbox as an HTTP server, on uvicorn. Needs the extra `sandbox`."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Generator
from typing import Final

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as _error:  # pragma: no cover  (tested in an interpreter of its own)
    raise RuntimeError("the sandbox's server needs more packages: pip install 'camara-otp[sandbox]'") from _error

from camara_otp.sandbox.app import DISCONNECT, Receive, SandboxApp, Scope, Send
from camara_otp.sandbox.engine import Engine
from camara_otp.sandbox.http import is_this_machine

_LIMIT: Final = 10.0
_TICK: Final = 0.1


class _Protocol(H11Protocol):
    """A uvicorn protocol that lets the application abort its connection, which ASGI does not define."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_drop(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[DISCONNECT] = transport.abort
            await app(scope, receive, send)

        self.app = with_drop


class SandboxServer(uvicorn.Server):
    """A uvicorn server for a sandbox, which stops when it is told to, not at the next tick of uvicorn's clock."""

    def __init__(self, engine: Engine, *, exposed: bool = False) -> None:
        """Prepare to run with sockets of the caller's."""
        self._app = SandboxApp(engine, exposed=exposed)
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)

    def stop(self) -> None:
        """Stop the server, from any thread."""
        self.should_exit = True
        self._app.close()

    async def main_loop(self) -> None:
        """Run until the server is told to stop."""
        self._app.loop = asyncio.get_running_loop()
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 864_000
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._app.closing.wait(), _TICK)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams first, or they would hold up the rest."""
        self._app.closing.set()
        await super().shutdown(sockets)


def check_exposure(host: str, *, expose: bool) -> None:
    """Refuse an address beyond loopback unless that was asked for.

    Raises:
        ValueError: It was not.
    """
    if not expose and not is_this_machine(host):
        raise ValueError(
            f"{host} can be reached from other machines, which could then read every text and code and change this "
            "sandbox; to allow it, use --expose (in Python: expose=True)"
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


@contextlib.contextmanager
def serving(engine: Engine, host: str, port: int, *, expose: bool) -> Generator[str]:
    """Run a server in a thread for the duration of a `with` block, whose value is the base URL.

    Raises:
        OSError: The address cannot be listened on.
        RuntimeError: The server does not start.
    """
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
