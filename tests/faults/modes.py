"""The ways that a call can take to the operator, as data: the fault table runs in each of these modes."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.faults.proxy import proxy

RUNTIMES = ("sync", "asyncio", "trio")


@contextmanager
def _proxy(faults) -> Iterator[None]:
    """Let the environment name a proxy."""
    listener = faults.listen(proxy)
    names = ("HTTP_PROXY", "HTTPS_PROXY")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, f"http://127.0.0.1:{listener.port}"))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "allow_http")
            yield
        assert not listener.trouble, listener.trouble
    finally:
        listener.close()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _opentelemetry(faults) -> Iterator[None]:
    """Instrument httpx with OpenTelemetry."""
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

    HTTPXClientInstrumentor().instrument(tracer_provider=TracerProvider())
    try:
        yield
    finally:
        HTTPXClientInstrumentor().uninstrument()


@contextmanager
def _sentry(faults) -> Iterator[None]:
    """Instrument httpx with Sentry, which sends its events nowhere."""
    import httpx
    import sentry_sdk
    from sentry_sdk import integrations
    from sentry_sdk.integrations.httpx import HttpxIntegration

    sends = httpx.Client.send, httpx.AsyncClient.send
    sentry_sdk.init(
        "http://key@127.0.0.1/1",
        transport=lambda event: None,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[HttpxIntegration()],
    )
    assert httpx.Client.send is not sends[0]
    try:
        yield
    finally:
        # Sentry has no switch that removes an integration.
        sentry_sdk.init()
        httpx.Client.send, httpx.AsyncClient.send = sends
        for seen in (integrations._processed_integrations, integrations._installed_integrations):
            seen.discard("httpx")


@contextmanager
def _httpcore(faults) -> Iterator[None]:
    """Observe the connections of httpcore, as Elastic APM does."""
    import httpcore

    places = ((httpcore.HTTPConnection, "handle_request"), (httpcore.AsyncHTTPConnection, "handle_async_request"))
    before = [getattr(*place) for place in places]
    for place, real in zip(places, before, strict=True):
        setattr(*place, lambda self, request, real=real: real(self, request))
    try:
        yield
    finally:
        for place, real in zip(places, before, strict=True):
            setattr(*place, real)


class Mode(NamedTuple):
    """A way to the operator.

    Attributes:
        name: as the report prints it
        enter: prepares the process
        host: the name of the operator; the client never uses a proxy for a loopback address
        library: the library of the `http_client` that the caller gives, or None
        excused: the kinds of problems of a kind of rows in a runtime that this way cannot be made to avoid
        skipped: the kinds of rows that would never end
    """

    name: str
    enter: Callable[[Any], AbstractContextManager[None]]
    host: str = "127.0.0.1"
    library: str | None = None
    excused: Mapping[tuple[str, str], frozenset[str]] = MappingProxyType({})
    skipped: frozenset[str] = frozenset()

    def client(self, kind: str, **options: Any) -> AbstractContextManager[Any]:
        """Return a caller's client of the library, or None in its place."""
        return getattr(import_module(self.library), kind)(**options) if self.library else nullcontext()

    def runs(self, scenario) -> bool:
        """Return whether a row belongs to this mode."""
        if scenario.only is not None and scenario.only not in (self.name, "caller's client" if self.library else None):
            return False
        return scenario.kind not in self.skipped

    def excuses(self, scenario, runtime: str) -> frozenset[str]:
        """Return the kinds of problems that a caller's client may have with this row."""
        return self.excused.get((scenario.kind, runtime), frozenset())


# A second SMS, a wrong report of not sent, and an exception of another library are never excused.
_STRAYS = frozenset({"falsely verified", "wrong result", "wrong status", "outcome_unknown wrong"})
_EXCUSED = {("stray", runtime): _STRAYS for runtime in RUNTIMES} | {("drip", "sync"): frozenset({"late"})}
# httpx reads the Location of a redirect that it does not follow, and raises if it cannot.
_LOCATIONS = {("location", runtime): frozenset({"wrong result", "wrong status"}) for runtime in RUNTIMES}
# The libraries read interim responses without end, at the cost of every other thread and task.
_SKIPPED = frozenset({"interim flood"})
MODES = {
    mode.name: mode
    for mode in (
        Mode("direct", lambda faults: nullcontext()),
        Mode("proxy", _proxy, host="operator.example"),
        Mode("OpenTelemetry", _opentelemetry),
        Mode("Sentry", _sentry),
        Mode("httpcore observed", _httpcore),
        Mode(
            "caller's httpx",
            lambda faults: nullcontext(),
            library="httpx",
            excused=_EXCUSED | _LOCATIONS,
            skipped=_SKIPPED,
        ),
        Mode("caller's httpx2", lambda faults: nullcontext(), library="httpx2", excused=_EXCUSED, skipped=_SKIPPED),
    )
}


@contextmanager
def entered(mode: Mode, faults) -> Iterator[None]:
    """Prepare the process for a mode."""
    with ExitStack() as stack:
        stack.enter_context(mode.enter(faults))
        if mode.library:
            # A handshake that is cancelled leaves httpx's socket to the garbage collector.
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", ResourceWarning)
        yield
