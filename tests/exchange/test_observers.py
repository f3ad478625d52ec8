"""Mocks and observers of httpx or httpcore see every call, on the default transport and on a caller's client."""

import contextlib
import copy
import functools
import gzip
import sys
import types
from unittest import mock

import anyio
import httpcore
import httpx
import pytest
import respx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from camara_otp import AsyncOTPClient, OTPClient, OutcomeUnknownError
from camara_otp._exchange.mocks import Patched, patched

CALL = ("ea0840f3-3663-4149-bd10-c7c6b8912105", "AJY3")


@pytest.fixture(params=["default", "caller"])
def client(request, shell, server):
    """Return a client of a real server, with an idle connection."""
    server.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    options = {"http_client": shell.http_client()} if request.param == "caller" else {}
    driven = shell.client(server.origin, **options)
    driven.validate_code(*CALL)
    server.requests.clear()
    return driven


@pytest.mark.parametrize("using", ["httpcore", "httpx"])
def test_respx_sees_every_call_and_none_reaches_the_network(client, server, using):
    """In both of its modes, also for a client that was connected before."""
    with respx.mock(using=using) as router:
        route = router.post(f"{server.origin}/otpvalidation/validate-code").mock(
            httpx.Response(204, headers={"x-correlator": "mocked"})
        )
        assert client.validate_code(*CALL).x_correlator == "mocked"
        assert client.validate_code(*CALL).x_correlator == "mocked"
        assert route.call_count == 2
    assert server.requests == []
    assert client.validate_code(*CALL).x_correlator != "mocked"
    assert len(server.requests) == 1


def test_opentelemetry_sees_every_call(client, server):
    """Its global instrumentation creates a span for each call, and sends its context."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    try:
        client.validate_code(*CALL)
        client.validate_code(*CALL)
    finally:
        HTTPXClientInstrumentor().uninstrument()
    assert [span.attributes["http.method"] for span in spans.get_finished_spans()] == ["POST", "POST"]
    assert len(server.requests) == 2
    for request in server.requests:
        names = [line.partition(b":")[0].lower() for line in request.partition(b"\r\n\r\n")[0].splitlines()[1:]]
        assert b"traceparent" in names
        assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (httpx.HTTPTransport, "handle_request"),
        (httpx.AsyncHTTPTransport, "handle_async_request"),
        (httpx.Client, "send"),
        (httpx.AsyncClient, "send"),
        (httpx.Client, "_send_single_request"),
        (httpx.AsyncClient, "_transport_for_url"),
        (httpcore.ConnectionPool, "handle_request"),
        (httpcore.AsyncConnectionPool, "handle_async_request"),
        (httpcore.HTTPConnection, "handle_request"),
        (httpcore.AsyncHTTPConnection, "handle_async_request"),
        (httpcore.HTTP11Connection, "handle_request"),
        (httpcore.AsyncHTTP11Connection, "handle_async_request"),
    ],
)
def test_a_replaced_entry_point_is_noticed(kind, name):
    """A function or a mock, and only while it is in place."""
    assert patched(by_httpx=False) is None
    pretender = functools.wraps(getattr(kind, name))(lambda *_: None)
    generated = types.FunctionType(compile("0", "x", "eval"), {})  # its module has no name
    for replacement in (pretender, generated, mock.MagicMock()):
        with mock.patch.object(kind, name, replacement):
            assert patched(by_httpx=False) is not None
        assert patched(by_httpx=False) is None


def test_a_replaced_class_is_noticed():
    """A whole class that is a mock counts too."""
    with mock.patch("httpx.Client"):
        assert patched(by_httpx=False) is not None
    assert patched(by_httpx=False) is None


def test_a_module_that_is_being_imported_is_no_hindrance(monkeypatch):
    """Another thread may have imported a part of it."""
    monkeypatch.setitem(sys.modules, "httpx", types.ModuleType("httpx"))
    assert patched(by_httpx=False) is None


LOST = {
    "raises": httpx.ConnectTimeout("x"),
    "answers": httpx.Response(401, content=b"{}"),
}


@pytest.mark.parametrize("then", LOST)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_observer_that_copies_a_request_and_gives_up_causes_no_second_one(server, monkeypatch, backend, then):
    """The body of the original request was not read, but the request was sent."""
    real = httpx.AsyncHTTPTransport.handle_async_request
    server.pause = 0.5

    async def impatient(self, request):
        copy = httpx.Request(
            request.method, request.url, headers=request.headers, content=b"", extensions=request.extensions
        )
        with anyio.move_on_after(0.2):
            return await real(self, copy)
        if isinstance(LOST[then], Exception):
            raise LOST[then]
        return LOST[then]

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", impatient)

    async def validate():
        tokens = iter("abcdef")
        async with AsyncOTPClient(server.origin, token=lambda: next(tokens), timeout=5) as client:
            await client.validate_code(*CALL)

    with pytest.raises(OutcomeUnknownError) as caught:
        anyio.run(validate, backend=backend)
    assert caught.value.attempts == 1
    assert server.connections == 1


def test_an_observer_that_sends_deep_copies_of_a_request_again_causes_no_second_one(server, monkeypatch):
    """The copies are the same call. The length of the request is ours to state, whatever the copies say."""
    real = httpx.HTTPTransport.handle_request
    server.answer = b"not HTTP\r\n\r\n"

    def persistent(self, request):
        for _ in range(3):
            again = httpx.Request(
                request.method,
                request.url,
                headers=[*request.headers.raw, (b"Transfer-Encoding", b"chunked")],
                content=b"",
                extensions=copy.deepcopy(request.extensions),
            )
            with contextlib.suppress(Exception):
                real(self, again)
        raise httpx.ConnectError("x")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", persistent)

    with OTPClient(server.origin, token="t") as client, pytest.raises(OutcomeUnknownError):
        client.validate_code(*CALL)
    assert len(server.requests) == 1
    assert b"transfer-encoding" not in server.requests[0].lower()


def test_an_observer_may_read_a_coded_response(server, monkeypatch):
    """It gets the body decoded, and so does the call."""
    real, seen = httpx.HTTPTransport.handle_request, []
    body = gzip.compress(b'{"authenticationId": "%s"}' % CALL[0].encode())
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def reading(self, request):
        response = real(self, request)
        seen.append(response.read())
        return response

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", reading)

    with OTPClient(server.origin, token="t") as client:
        sent = client.send_code("+346661113334", "{{code}}")
    assert sent.authentication_id == CALL[0]
    assert seen == [gzip.decompress(body)]


def test_an_observer_that_fails_after_the_response_does_not_hide_it(server, monkeypatch):
    """An AssertionError of a hook is not one of a mock: the operator has acted."""
    real = httpx.HTTPTransport.handle_request
    server.answer = b"HTTP/1.1 204 No Content\r\n\r\n"

    def fails_afterwards(self, request):
        real(self, request)
        raise AssertionError

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", fails_afterwards)

    with OTPClient(server.origin, token="t") as client:
        client.validate_code(*CALL)
    assert len(server.requests) == 1


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_patched_library_connects_itself_to_a_proxy_that_it_alone_can_use(monkeypatch, library):
    """Our exchange would send the credentials of the proxy to it unencrypted."""
    transport = pytest.importorskip(library).HTTPTransport
    assert patched(by_httpx=True) == Patched("httpx", runs_exchange=False)
    monkeypatch.setattr(transport, "handle_request", lambda *_: None)
    assert patched(by_httpx=False) == Patched(library, runs_exchange=True)
    assert patched(by_httpx=True) == Patched(library, runs_exchange=False)
