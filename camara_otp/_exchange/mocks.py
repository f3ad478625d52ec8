"""Which of httpx, httpx2, httpcore and httpcore2 a mock or an observer has patched, and what a mock itself raises.

A mocked test must not send a real SMS, and an instrumented service has to record its calls.
"""

import sys
from itertools import product
from traceback import walk_tb
from types import FunctionType
from typing import Final, NamedTuple

_MOCKS: Final = frozenset({"respx", "pytest_httpx", "pytest_httpx2", "vcr", "pook", "pytest_socket"})
_SANDBOX: Final = "camara_otp.sandbox.transport"

# What respx, pytest-httpx, vcrpy, pook, OpenTelemetry, Sentry, Datadog and similar tools patch.
_HTTPX: Final = (
    ("HTTPTransport", "handle_request"),
    ("AsyncHTTPTransport", "handle_async_request"),
    *product(("Client", "AsyncClient"), ("send", "_send_single_request", "_transport_for_url")),
)
_HTTPCORE: Final = (
    ("ConnectionPool", "handle_request"),
    ("AsyncConnectionPool", "handle_async_request"),
    ("HTTPConnection", "handle_request"),
    ("AsyncHTTPConnection", "handle_async_request"),
    ("HTTP11Connection", "handle_request"),
    ("AsyncHTTP11Connection", "handle_async_request"),
)
_LIBRARIES: Final = {
    library: [(kind, name, f"{library}.{kind}.{name}") for kind, name in (_HTTPX if "httpx" in library else _HTTPCORE)]
    for library in ("httpcore", "httpcore2", "httpx", "httpx2")
}

_known: dict[str, object] = {}
"""The functions that are the libraries' own, by their place."""


class Patched(NamedTuple):
    """A library whose client must make the call.

    Attributes:
        library: `"httpx"` or `"httpx2"`
        runs_exchange: True if our exchange can run in place of its transport
        core: `"httpcore"` or `"httpcore2"` if its connections or pool are patched, so that the call must pass through
            them too; else empty
    """

    library: str
    runs_exchange: bool
    core: str = ""


def patched(*, by_httpx: bool) -> Patched | None:
    """Return the library whose client has to make the call, or None to exchange directly.

    Args:
        by_httpx: whether the environment's proxy needs httpx
    """
    for library, entry_points in _LIBRARIES.items():
        module = sys.modules.get(library)  # nothing can have patched a library that was never imported
        for kind, name, place in entry_points if module is not None else ():
            owner = getattr(module, kind, None)
            if owner is None:
                continue  # another thread is importing the module
            found = owner.__dict__.get(name)
            if found is not None and found is _known.get(place):
                continue
            if not is_original(found, place):
                runs_exchange = "HTTP11" not in kind and not by_httpx
                core = library if "httpcore" in library else ""
                return Patched(library.replace("httpcore", "httpx"), runs_exchange, core)
            _known[place] = found
    return Patched("httpx", runs_exchange=False) if by_httpx else None


def is_original(found: object, place: str) -> bool:
    """Return whether a function is the one that a library defines at a place, such as `httpx.Client.send`."""
    library, _, qualified = place.partition(".")
    # By the module of its code: a wrapper may pretend to be what it wraps, but not this, nor to be a plain function.
    return (
        type(found) is FunctionType
        and found.__qualname__ == qualified
        and _root(found.__globals__.get("__name__", "")) == library
    )


def is_of_library(error: BaseException) -> bool:
    """Return whether the class of an exception belongs to one of the libraries."""
    return _root(type(error).__module__) in _LIBRARIES


def is_mocks_own(error: BaseException) -> bool:
    """Return whether a mock complains with this exception, about the test and not about the server."""
    return isinstance(error, AssertionError) or _root(type(error).__module__) in _MOCKS


def raised_by_mock(error: Exception) -> bool:
    """Return whether a mock raised this in place of the transport, so that the exception's name is what the test means.

    Only if no other code stands between the library and the mock: a transport of the caller may have sent the request
    before, by other means.
    """
    cause = error.__cause__ or error.__context__
    if cause is not None and _root(type(cause).__module__) not in _OURS_AND_THEIRS:
        return False
    for frame, _ in walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if module.endswith("._transports.mock"):
            return cause is None  # its handler may have sent the request through another client, which has failed
        if _root(module) in _MOCKS or module == _SANDBOX:
            return True
        if _root(module) not in _OURS_AND_THEIRS:
            return False
    return False


_OURS_AND_THEIRS: Final = _MOCKS.union(_LIBRARIES, {"camara_otp"})


def _root(module: str) -> str:
    return module.partition(".")[0]
