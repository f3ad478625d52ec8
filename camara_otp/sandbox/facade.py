"""The public sandbox: the engine, with the ways to reach it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from html import escape
from typing import Unpack

import attrs
import httpx

from camara_otp.sandbox.config import Config, SandboxOptions, in_dialect
from camara_otp.sandbox.engine import Engine
from camara_otp.sandbox.transport import SandboxTransport

_SHOWN = 50


class Sandbox(Engine):
    """A local operator: it sends SMS to phones that exist only here, and checks the codes in them.

    It is safe to share between threads. In process, no socket is opened:

        sandbox = Sandbox()
        http = httpx.Client(transport=sandbox.transport())

    As a server on a real port:

        with sandbox.serve() as url:
            ...
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        dialect: str = "camara",
        clock: Callable[[], float] | None = None,
        **settings: Unpack[SandboxOptions],
    ) -> None:
        """Start with an empty inbox.

        Args:
            config: all settings in one value; the keyword arguments, which are its fields, override it
            dialect: a name in `DIALECTS`, for the settings of a server seen in the field
            clock: returns the time in seconds since 1970; the real time by default
            settings: the fields of `Config`

        Raises:
            ValueError: a setting is out of its limits; the message names it
        """
        unknown = sorted(set(settings) - {field.name for field in attrs.fields(Config)})
        if unknown:
            raise TypeError(f"Sandbox() got an unexpected keyword argument {unknown[0]!r}")
        super().__init__(in_dialect(dialect, settings, config), clock)
        self._running: tuple[AbstractContextManager[str], str] | None = None

    def transport(self) -> SandboxTransport:
        """Return a transport for `httpx.Client` and `httpx.AsyncClient` that opens no socket.

        The host, and what precedes the path of the operation, may be anything.
        """
        return SandboxTransport(self)

    def client(self) -> httpx.Client:
        """Return an `httpx.Client` of this sandbox, in process: give it to a client as `http_client`."""
        return httpx.Client(transport=self.transport(), trust_env=False)

    def async_client(self) -> httpx.AsyncClient:
        """Return an `httpx.AsyncClient` of this sandbox, in process: give it to a client as `http_client`."""
        return httpx.AsyncClient(transport=self.transport(), trust_env=False)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Respond to an httpx request: the sandbox itself is a `side_effect` for respx.

        A delay sleeps in the calling thread; for async code with a delay use `transport()`.
        """
        response = self.transport().handle_request(request)
        response.read()
        return response

    def serve(self, host: str = "127.0.0.1", port: int = 0, *, expose: bool = False) -> AbstractContextManager[str]:
        """Run the HTTP server in a thread for the duration of a `with` block, whose value is the base URL.

        Args:
            host: the address to listen on
            port: the port; 0 takes a free one
            expose: must be True for an address beyond loopback: other machines can then read every SMS and code,
                and change and reset the sandbox

        Raises:
            ValueError: the address is not loopback and `expose` is False
            RuntimeError: the extra is missing, or the server does not start; the message says what to do
        """
        from camara_otp.sandbox import server  # noqa: PLC0415  (needs the extra)

        server.check_exposure(host, expose=expose)
        return server.serving(self, host, port, expose=expose)

    def start(self, host: str = "127.0.0.1", port: int = 0, *, expose: bool = False) -> str:
        """Run the HTTP server in a thread until `stop()`, as for a notebook, and return the base URL.

        If the server runs already, return its URL: a notebook cell may be run again.

        Args:
            host: as in `serve()`
            port: as in `serve()`
            expose: as in `serve()`

        Raises:
            ValueError: the address is not loopback and `expose` is False
            OSError: the address or port cannot be used
            RuntimeError: the extra is missing, or the server does not start; the message says what to do
        """
        if self._running is None:
            serving = self.serve(host, port, expose=expose)
            self._running = (serving, serving.__enter__())
        return self._running[1]

    def stop(self) -> None:
        """Stop the server that `start()` started, if it runs."""
        running, self._running = self._running, None
        if running is not None:
            running[0].__exit__(None, None, None)

    def __repr__(self) -> str:
        url = f", url={self._running[1]!r}" if self._running else ""
        return f"Sandbox(release={self.config.release!r}, calls={len(self._calls)}{url})"

    def _repr_html_(self) -> str:
        """Return the newest messages as the table that a notebook shows, newest first."""
        head = "<tr><th>time</th><th>phone</th><th>SMS</th><th>state</th></tr>"
        rows = [
            (f"{datetime.fromtimestamp(item.sent_at, UTC):%H:%M:%S}", item.phone_number, item.text, item.state.value)
            for item in self.messages()[: -_SHOWN - 1 : -1]
        ]
        cells = ("".join(f"<td>{escape(value)}</td>" for value in row) for row in rows)
        body = "".join(f"<tr>{row}</tr>" for row in cells) or "<tr><td colspan=4>no SMS yet</td></tr>"
        return f"<table><caption>Sandbox inbox</caption>{head}{body}</table>"
