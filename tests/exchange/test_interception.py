"""Mocks and observers see every call, so a mocked test never sends a real SMS."""

import subprocess
import sys
import textwrap

import httpx
import pytest
import respx

from camara_otp import InvalidOTPError, OutcomeUnknownError, RetryPolicy
from camara_otp._exchange.mocks import Patched, patched
from tests.conftest import MESSAGE, NUMBER
from tests.faults.scenarios import raw

ID = "ea0840f3"
QUICK = RetryPolicy(first_wait=0.001)


@pytest.fixture
def untouched(faults):
    """Return a real server's URL, and fail if anything reaches it."""

    async def script(c):
        while await c.request():
            await c.send(raw())

    listener = faults.listen(script)
    yield f"http://127.0.0.1:{listener.port}"
    assert listener.posts == 0


def test_nothing_is_intercepted_by_default():
    assert patched(by_httpx=False) is None


@pytest.mark.parametrize("using", ["httpcore", "httpx"])
@pytest.mark.parametrize("theirs", [False, True], ids=["default transport", "caller's client"])
def test_respx_sees_every_call(shell, untouched, using, theirs):
    """In both of its modes; responses, errors and side effects arrive as from a server."""
    with respx.mock(using=using) as mock:
        route = mock.post(f"{untouched}/otpvalidation/send-code")
        route.side_effect = [
            httpx.Response(200, json={"authenticationId": ID}),
            httpx.Response(400, json={"code": "ONE_TIME_PASSWORD_SMS.INVALID_OTP"}),
            httpx.ReadTimeout("x"),
            httpx.ConnectError("x"),
            httpx.Response(200, json={"authenticationId": ID}),
            ValueError("x"),
        ]
        options = {"http_client": shell.http_client()} if theirs else {}
        client = shell.client(untouched, retry=QUICK, **options)

        assert client.send_code(NUMBER, MESSAGE).authentication_id == ID
        with pytest.raises(InvalidOTPError):
            client.send_code(NUMBER, MESSAGE)
        with pytest.raises(OutcomeUnknownError):
            client.send_code(NUMBER, MESSAGE)
        assert client.send_code(NUMBER, MESSAGE).authentication_id == ID
        with pytest.raises(OutcomeUnknownError):
            client.send_code(NUMBER, MESSAGE)
        assert route.call_count == 6


def test_an_unmatched_call_under_respx_is_not_sent_to_the_network(shell, untouched):
    """A forgotten route fails the test with the exception of the mock, and no SMS is sent."""
    with respx.mock(assert_all_called=False) as mock:
        mock.get("https://elsewhere.example").respond(200)
        with pytest.raises(AssertionError, match="not mocked"):
            shell.client(untouched, retry=None).send_code(NUMBER, MESSAGE)


@pytest.mark.parametrize("theirs", [False, True], ids=["default transport", "caller's client"])
def test_a_replaced_transport_of_httpx_sees_every_call(shell, untouched, theirs, monkeypatch):
    """pytest-httpx and other tools replace it."""
    seen = []

    def handle_request(self, request):
        seen.append(request)
        return httpx.Response(200, json={"authenticationId": ID})

    async def handle_async_request(self, request):
        return handle_request(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async_request)
    assert patched(by_httpx=False) is not None
    options = {"http_client": shell.http_client()} if theirs else {}

    assert shell.client(untouched, **options).send_code(NUMBER, MESSAGE).authentication_id == ID
    assert len(seen) == 1
    assert seen[0].headers["authorization"].startswith("Bearer ")


PYTEST_HTTPX = """
    import pytest
    from camara_otp import AsyncOTPClient, OTPClient, OutcomeUnknownError

    def test_mocked(httpx_mock):
        httpx_mock.add_response(json={"authenticationId": "a"}, method="POST")
        with OTPClient("https://api.example.com", token="t") as client:
            assert client.send_code("+346661113334", "{{code}}").authentication_id == "a"
        assert httpx_mock.get_request().headers["authorization"] == "Bearer t"

    @pytest.mark.anyio
    async def test_mocked_async(httpx_mock):
        httpx_mock.add_response(status_code=204)
        async with AsyncOTPClient("https://api.example.com", token="t") as client:
            await client.validate_code("a", "b")

    def test_unmocked(httpx_mock):
        with OTPClient("https://api.example.com", token="t") as client, pytest.raises(OutcomeUnknownError):
            client.send_code("+346661113334", "{{code}}")

    test_unmocked = pytest.mark.httpx_mock(assert_all_requests_were_expected=False)(test_unmocked)
"""


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_another_function_of_the_library_itself_is_a_patch(monkeypatch, untouched, library):
    """A test may put the library's own mock in the place of a transport, or of its method."""
    module = pytest.importorskip(library)
    with monkeypatch.context() as method:
        method.setattr(module.HTTPTransport, "handle_request", module.MockTransport.handle_request)
        assert patched(by_httpx=False) == Patched(library, runs_exchange=True)
    with monkeypatch.context() as transport:
        transport.setattr(module, "HTTPTransport", module.MockTransport)
        assert patched(by_httpx=False) == Patched(library, runs_exchange=True)


def test_pytest_httpx_sees_every_call(tmp_path):
    """Run in a suite of its own."""
    (tmp_path / "test_partner.py").write_text(textwrap.dedent(PYTEST_HTTPX))

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_httpx", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )

    assert "4 passed" in done.stdout, done.stdout


OTEL = """
    import sys
    if {early}:
        from camara_otp import OTPClient, AsyncOTPClient
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    from camara_otp import OTPClient, AsyncOTPClient
    import anyio
    with OTPClient(sys.argv[1], token="t") as client:
        client.send_code("+346661113334", "{{{{code}}}}")
    async def main():
        async with AsyncOTPClient(sys.argv[1], token="t") as client:
            await client.send_code("+346661113334", "{{{{code}}}}")
    anyio.run(main)
    print(len(exporter.get_finished_spans()))
"""


@pytest.mark.parametrize("early", [True, False], ids=["instrumented late", "instrumented early"])
def test_opentelemetry_sees_every_call(faults, early):
    """The instrumentation happens before or after the import of this package."""

    async def script(c):
        while await c.request():
            await c.send(raw())

    listener = faults.listen(script)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(OTEL).format(early=early), f"http://127.0.0.1:{listener.port}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.stdout.strip() == "2", done.stderr
    assert listener.posts == 2
