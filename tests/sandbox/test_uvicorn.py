"""The parts of uvicorn that the sandbox's server overrides or calls are as it expects them.

If a test fails with a new uvicorn, adapt `camara_otp/sandbox/server.py`, or lower the bound of the extra `sandbox`.
"""

import asyncio
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.h11_impl import H11Protocol

from camara_otp.sandbox import Sandbox
from camara_otp.sandbox.server import SandboxServer

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_extra_bounds_uvicorn_on_both_sides():
    """A major release may change what the server overrides."""
    (bound,) = (Requirement(text) for text in PROJECT["optional-dependencies"]["sandbox"] if "uvicorn" in text)

    assert {specifier.operator for specifier in bound.specifier} == {">=", "<"}
    assert bound.specifier.contains(version("uvicorn"))


@pytest.mark.parametrize(
    ("method", "parameters", "is_async"),
    [
        (uvicorn.Server.main_loop, ["self"], True),
        (uvicorn.Server.shutdown, ["self", "sockets"], True),
        (uvicorn.Server.on_tick, ["self", "counter"], True),
        (uvicorn.Server.run, ["self", "sockets"], False),
        (H11Protocol.connection_made, ["self", "transport"], False),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_a_method_keeps_its_signature(method, parameters, is_async):
    """An override with another signature would fail only when it is called, or never be called."""
    assert list(inspect.signature(method).parameters) == parameters
    assert inspect.iscoroutinefunction(method) is is_async


def test_the_attributes_of_a_server_exist():
    """The server sets `should_exit` and reads `started`; the protocol replaces `app`."""

    async def app(scope, receive, send):
        raise AssertionError

    async def made():
        config = uvicorn.Config(app, http=H11Protocol, ws="none", lifespan="off", log_config=None)
        config.load()
        server = uvicorn.Server(config)
        return server, H11Protocol(config, server.server_state, {})

    server, protocol = asyncio.run(made())

    assert (server.should_exit, server.started) == (False, False)
    assert protocol.app is server.config.loaded_app


def test_no_middleware_precedes_the_application():
    """The protocol passes the application one more argument than ASGI has."""

    async def made():
        server = SandboxServer(Sandbox())
        server.config.load()
        return server

    server = asyncio.run(made())

    assert server.config.loaded_app == server._serve_request


def test_uvicorn_calls_the_overridden_methods():
    """A renamed method would leave the override without effect."""
    assert "self.main_loop()" in inspect.getsource(uvicorn.Server)
    assert "self.shutdown(" in inspect.getsource(uvicorn.Server)
    assert "self.app" in inspect.getsource(H11Protocol.handle_events)
