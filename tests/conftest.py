"""Fixtures of the whole suite: a clean environment, and one driver for the sync and the async client."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from camara_otp import AsyncOTPClient, OTPClient
from tests.http import httpx

BASE_URL = "https://api.example.com/camara"
TOKEN = "token-of-the-tests"
NUMBER = "+346661113334"
MESSAGE = "{{code}} is your code"
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of this machine from the environment."""
    for name in ("CAMARA_BASE_URL", "CAMARA_BEARER_TOKEN", "CAMARA_API_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def has_ipv6() -> bool:
    """Return whether a server can listen on the IPv6 loopback address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class Shell:
    """Make clients of one kind and call them as if all were synchronous, so that one body of tests serves both."""

    def __init__(self, kind: str, portal: BlockingPortal | None, stack: ExitStack) -> None:
        self.kind = kind
        self.is_async = portal is not None
        self._portal = portal
        self._stack = stack

    def client(self, base_url: str | None = BASE_URL, **options: Any) -> "Driver":
        """Return a driven client, closed when the test ends; a token is filled in."""
        options.setdefault("token", TOKEN)
        return self.bare(base_url, **options)

    def bare(self, *args: Any, **options: Any) -> "Driver":
        """Return a driven client with just these arguments."""
        client = self.call(partial(AsyncOTPClient if self.is_async else OTPClient, *args, **options))
        driver = Driver(client, self)
        self._stack.callback(driver.close)
        return driver

    def mocked(self, handler: Handler, **options: Any) -> "Driver":
        """Return a driven client over a caller's httpx client that a function answers."""
        return self.client(http_client=self.http_client(transport=httpx.MockTransport(handler)), **options)

    def http_client(self, **options: Any) -> Any:
        """Return a caller's httpx client of the right kind, closed when the test ends."""
        http_client: Any = httpx.AsyncClient(**options) if self.is_async else httpx.Client(**options)
        self._stack.callback(self.call, http_client.aclose if self.is_async else http_client.close)
        return http_client

    def call(self, function: Callable[[], Any]) -> Any:
        """Call, on the event loop where there is one."""
        return self._portal.call(function) if self._portal else function()


class Driver:
    """A client whose methods are called synchronously, whatever it is."""

    def __init__(self, client: OTPClient | AsyncOTPClient, shell: Shell) -> None:
        self.client = client
        self._shell = shell

    def send_code(self, *args: Any, **options: Any) -> Any:
        return self._shell.call(partial(self.client.send_code, *args, **options))

    def validate_code(self, *args: Any, **options: Any) -> Any:
        return self._shell.call(partial(self.client.validate_code, *args, **options))

    def close(self) -> None:
        client = self.client
        self._shell.call(client.aclose if isinstance(client, AsyncOTPClient) else client.close)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """Run each test with the sync client, the async one on asyncio, and the async one on trio."""
    with ExitStack() as stack:
        portal = None if request.param == "sync" else stack.enter_context(start_blocking_portal(request.param))
        yield Shell(request.param, portal, stack)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run tests marked anyio on both event loops."""
    return str(request.param)


@pytest.fixture
def shell_sync() -> Iterator[Shell]:
    """Run the test with the sync client only, if the shells do not differ."""
    with ExitStack() as stack:
        yield Shell("sync", None, stack)
