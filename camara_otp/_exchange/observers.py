"""Who has to see every call: mocks and instrumentation that have replaced an entry point of httpx or httpcore.

A fast path that went round them would let a test that believes itself mocked send real texts. So it stands back
wherever one of these entry points is not the library's own function any more.
"""

import os
import sys
from types import FunctionType
from typing import Any, Final

# What respx, pytest-httpx, vcrpy, OpenTelemetry, Sentry, Datadog and their like replace: the class in its module, the
# method, and the file that the library itself defines it in.
_ENTRY_POINTS: Final = (
    ("httpx", "HTTPTransport", "handle_request", "default.py"),
    ("httpx", "AsyncHTTPTransport", "handle_async_request", "default.py"),
    ("httpx", "Client", "send", "_client.py"),
    ("httpx", "AsyncClient", "send", "_client.py"),
    ("httpx", "Client", "_send_single_request", "_client.py"),
    ("httpx", "AsyncClient", "_send_single_request", "_client.py"),
    ("httpx", "Client", "_transport_for_url", "_client.py"),
    ("httpx", "AsyncClient", "_transport_for_url", "_client.py"),
    ("httpcore", "ConnectionPool", "handle_request", "connection_pool.py"),
    ("httpcore", "AsyncConnectionPool", "handle_async_request", "connection_pool.py"),
    ("httpcore", "HTTPConnection", "handle_request", "connection.py"),
    ("httpcore", "AsyncHTTPConnection", "handle_async_request", "connection.py"),
    ("httpcore", "HTTP11Connection", "handle_request", "http11.py"),
    ("httpcore", "AsyncHTTP11Connection", "handle_async_request", "http11.py"),
)
_known: dict[int, Any] = {}
"""The functions that were found to be the libraries' own, by the place of their entry point in the table."""


def intercepted() -> bool:
    """Tell whether something has replaced an entry point. Nothing can have replaced what was never imported."""
    modules = sys.modules
    for place, (module, kind, name, file) in enumerate(_ENTRY_POINTS):
        loaded = modules.get(module)
        if loaded is None:
            continue
        owner = getattr(loaded, kind, None)
        if owner is None:
            continue  # another thread is just importing the module
        found = owner.__dict__.get(name)
        if found is None or found is not _known.get(place):
            if not is_original(found, module, file):
                return True
            _known[place] = found
    return False


def is_original(found: object, module: str, file: str) -> bool:
    """Tell whether a function is a library's own: written in this file of this module."""
    # By where the code was written, since this module may well be imported after the replacement; and a wrapper may
    # pass itself off as what it wraps, but not as a plain function.
    if type(found) is not FunctionType:
        return False
    written = found.__code__.co_filename
    return written.endswith(file) and f"{os.sep}{module}{os.sep}" in written
