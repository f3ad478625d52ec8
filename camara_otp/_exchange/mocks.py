"""Which of httpx, httpx2, httpcore and httpcore2 a mock or an observer has patched, and what a mock itself raises.

A test that believes itself mocked must not send a real text, and an instrumented service wants to see its calls.
"""

import os
import sys
from types import FunctionType
from typing import Final, NamedTuple

_SANDBOX: Final = "camara_otp.sandbox.transport"
_MOCKS: Final = frozenset({"respx", "pytest_httpx", "pytest_httpx2", "vcr", "pook", "pytest_socket"})

# What respx, pytest-httpx, vcrpy, pook, OpenTelemetry, Sentry, Datadog and similar tools patch: the class, the method,
# and the file in which the library defines it.
_HTTPX: Final = (
    ("HTTPTransport", "handle_request", "default.py"),
    ("AsyncHTTPTransport", "handle_async_request", "default.py"),
    ("Client", "send", "_client.py"),
    ("AsyncClient", "send", "_client.py"),
    ("Client", "_send_single_request", "_client.py"),
    ("AsyncClient", "_send_single_request", "_client.py"),
    ("Client", "_transport_for_url", "_client.py"),
    ("AsyncClient", "_transport_for_url", "_client.py"),
)
_HTTPCORE: Final = (
    ("ConnectionPool", "handle_request", "connection_pool.py"),
    ("AsyncConnectionPool", "handle_async_request", "connection_pool.py"),
    ("HTTPConnection", "handle_request", "connection.py"),
    ("AsyncHTTPConnection", "handle_async_request", "connection.py"),
    ("HTTP11Connection", "handle_request", "http11.py"),
    ("AsyncHTTP11Connection", "handle_async_request", "http11.py"),
)


class Patched(NamedTuple):
    """A library whose client must carry the call.

    Attributes:
        library: `"httpx"` or `"httpx2"`.
        carries: True if its transport can carry our exchange.
    """

    library: str
    carries: bool


_WAYS: Final = (
    ("httpcore", _HTTPCORE, Patched("httpx", carries=False)),
    ("httpcore2", _HTTPCORE, Patched("httpx2", carries=False)),
    ("httpx", _HTTPX, Patched("httpx", carries=True)),
    ("httpx2", _HTTPX, Patched("httpx2", carries=True)),
)
_BY_HTTPX: Final = Patched("httpx", carries=False)
_known: dict[tuple[str, str, str], object] = {}
"""The functions that were found to be the libraries' own."""


def patched(*, by_httpx: bool) -> Patched | None:
    """Return the library that a call has to pass through, or None for the direct way.

    Args:
        by_httpx: whether the environment's proxy needs httpx.
    """
    for library, entry_points, way in _WAYS:
        module = sys.modules.get(library)  # nothing can have patched a library that was never imported
        if module is not None and _is_patched(library, module, entry_points):
            return way._replace(carries=way.carries and not by_httpx)
    return _BY_HTTPX if by_httpx else None


def _is_patched(library: str, module: object, entry_points: tuple[tuple[str, str, str], ...]) -> bool:
    for kind, name, file in entry_points:
        owner = getattr(module, kind, None)
        if owner is None:
            continue  # another thread is importing the module
        found = owner.__dict__.get(name)
        if found is None or found is not _known.get((library, kind, name)):
            if not is_original(found, library, file):
                return True
            _known[library, kind, name] = found
    return False


def is_original(found: object, library: str, file: str) -> bool:
    """Return whether a function is a library's own: written in this file of this library."""
    # By the place of the code, since this module may be imported after the patch; and a wrapper may pretend to be what
    # it wraps, but not to be a plain function.
    if type(found) is not FunctionType:
        return False
    written = found.__code__.co_filename
    return written.endswith(file) and f"{os.sep}{library}{os.sep}" in written


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
    frames = error.__traceback__
    while frames is not None:
        module = frames.tb_frame.f_globals.get("__name__", "")
        if module.endswith("._transports.mock"):
            return cause is None  # its handler may have sent the request through another client, which has failed
        if _root(module) in _MOCKS or module == _SANDBOX:
            return True
        if _root(module) not in _OURS_AND_THEIRS:
            return False
        frames = frames.tb_next
    return False


_OURS_AND_THEIRS: Final = _MOCKS | {"camara_otp", "httpx", "httpx2", "httpcore", "httpcore2"}


def _root(module: str) -> str:
    return module.partition(".")[0]
