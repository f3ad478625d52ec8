"""Spans, metrics and plain records of calls are complete and contain no personal data."""

import logging
import subprocess
import sys
import threading
from collections import Counter
from functools import partial

import anyio
import httpx
import opentelemetry.instrumentation.httpx
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from camara_otp import (
    AsyncOTPClient,
    InvalidOTPError,
    OTPClient,
    OTPError,
    OutcomeUnknownError,
    RequestValidationError,
    TokenError,
    telemetry,
)
from camara_otp.sandbox import Fault, Sandbox

NUMBER = "+346661113334"
MESSAGE = "{{code}} is your code"
TOKEN = "token-of-the-tests"
CORRELATOR = "b4333c46-49c0-4f62-80d7-f0ef930f1c46"


class Telemetry:
    """The exported spans and metrics, in memory."""

    def __init__(self):
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._metrics], shutdown_on_exit=False)

    @property
    def spans(self):
        return self._spans.get_finished_spans()

    def points(self, name):
        """Return the data points of a metric."""
        data = self._metrics.get_metrics_data()
        metrics = [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]

    def instrument(self, client):
        return telemetry.instrument(client, tracer_provider=self.tracers, meter_provider=self.meters)


@pytest.fixture
def exported():
    """Collect spans and metrics in memory."""
    telemetry = Telemetry()
    yield telemetry
    telemetry.meters.shutdown()
    telemetry.tracers.shutdown()


@pytest.fixture
def operator():
    """Run an operator in this process."""
    return Sandbox()


@pytest.fixture
def driven(shell, operator):
    """Return a driven client of each kind, connected to the operator."""

    def make(**options):
        options.setdefault("x_correlator", lambda: CORRELATOR)
        return shell.client(http_client=shell.http_client(transport=operator.transport()), **options)

    return make


def everything_exported(exported):
    """Return all exported values as a string."""
    metrics = [exported.points(name) for name in (telemetry.DURATION, telemetry.REQUESTS)]
    return "".join(span.to_json() for span in exported.spans) + str(metrics)


def test_a_call_is_a_span_with_what_is_known_of_it(driven, exported):
    """Name, kind, operation, status, attempts and correlator."""
    client = driven()
    exported.instrument(client.client)

    client.send_code(NUMBER, MESSAGE)

    (span,) = exported.spans
    assert (span.name, span.kind, span.status.status_code) == (
        "camara_otp.send_code",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert dict(span.attributes) == {
        "camara_otp.operation": "send_code",
        "camara_otp.outcome_unknown": False,
        "camara_otp.attempts": 1,
        "camara_otp.x_correlator": CORRELATOR,
        "http.response.status_code": 200,
        "server.address": "api.example.com",
        "server.port": 443,
    }


def test_a_refusal_is_named_by_class_and_code(driven, exported, operator):
    """For a wrong code, with the HTTP status."""
    client = driven()
    exported.instrument(client.client)
    sent = client.send_code(NUMBER, MESSAGE)

    with pytest.raises(InvalidOTPError):
        client.validate_code(sent.authentication_id, "wrong")
    client.validate_code(sent.authentication_id, operator.last_code(NUMBER))

    _, refused, verified = exported.spans
    assert refused.status.status_code is StatusCode.ERROR
    assert refused.attributes["error.type"] == "InvalidOTPError"
    assert refused.attributes["camara_otp.error.code"] == "ONE_TIME_PASSWORD_SMS.INVALID_OTP"
    assert refused.attributes["http.response.status_code"] == 400
    assert verified.attributes["http.response.status_code"] == 204
    assert "error.type" not in verified.attributes


def test_metrics_count_calls_and_requests(driven, exported, operator):
    """A duration for each call, by outcome, and every started request."""
    client = driven()
    exported.instrument(client.client)
    operator.add_fault(Fault(drop="connect", times=1))
    client.send_code(NUMBER, MESSAGE)
    operator.add_fault(Fault(drop="after", times=1))
    with pytest.raises(OutcomeUnknownError):
        client.send_code(NUMBER, MESSAGE)

    durations = {point.attributes.get("error.type"): point for point in exported.points(telemetry.DURATION)}
    assert {error: point.count for error, point in durations.items()} == {None: 1, "OutcomeUnknownError": 1}
    assert durations[None].attributes["camara_otp.outcome_unknown"] is False
    assert durations["OutcomeUnknownError"].attributes["camara_otp.outcome_unknown"] is True
    assert durations[None].sum > 0.05, "the wait before the second attempt belongs to the call"
    assert durations[None].explicit_bounds[-1] == 30
    requests = {point.attributes.get("error.type"): point.value for point in exported.points(telemetry.REQUESTS)}
    assert requests == {None: 2, "OutcomeUnknownError": 1}
    assert [span.attributes["camara_otp.attempts"] for span in exported.spans] == [2, 1]


def test_metrics_have_no_label_of_many_values(driven, exported):
    """Correlators and attempts are on spans only; a code outside the contract becomes one value."""
    client = driven()
    exported.instrument(client.client)
    client.send_code(NUMBER, MESSAGE)

    for name in (telemetry.DURATION, telemetry.REQUESTS):
        (point,) = exported.points(name)
        assert set(point.attributes) == {
            "camara_otp.operation",
            "camara_otp.outcome_unknown",
            "http.response.status_code",
            "server.address",
            "server.port",
        }


@pytest.mark.parametrize(
    ("code", "reported"),
    [("BRAND_NEW", "_OTHER"), (NUMBER, "_OTHER"), ("INTERNAL_ERROR", "INTERNAL_ERROR"), ("INTERNAL", "INTERNAL")],
)
def test_a_code_outside_the_contract_is_not_repeated(shell, code, reported):
    """An operator cannot write arbitrary strings into spans and metrics."""
    records = []
    client = shell.mocked(lambda _: httpx.Response(500, json={"status": 500, "code": code, "message": "x"}))
    telemetry.observe(client.client, records.append)

    with pytest.raises(OTPError):
        client.send_code(NUMBER, MESSAGE)

    (record,) = records
    assert (record.code, record.status, record.outcome_unknown) == (reported, 500, True)


def test_nothing_personal_is_exported(driven, exported, operator):
    """No number, code, message, id or token."""
    client = driven(token=TOKEN)
    exported.instrument(client.client)
    sent = client.send_code(NUMBER, MESSAGE)
    for call in (
        partial(client.validate_code, sent.authentication_id, "wr0ng1"),
        partial(client.validate_code, sent.authentication_id, operator.last_code(NUMBER)),
        partial(client.send_code, NUMBER, "no label here"),
        partial(client.send_code, "+34600000002", MESSAGE),
        partial(client.validate_code, "x" * 37, "wr0ng1"),
    ):
        try:
            call()
        except OTPError:
            continue

    text = everything_exported(exported)
    assert len(exported.spans) == 6
    for secret in (NUMBER, NUMBER[1:], "34600000002", "is your code", "no label here", sent.authentication_id, TOKEN):
        assert secret not in text
    assert "wr0ng1" not in text
    assert operator.last_code(NUMBER) not in text


def test_a_call_that_was_refused_here_is_reported_too(driven):
    """Nothing was sent: no attempt, no status, no correlator."""
    records = []
    client = driven()
    telemetry.observe(client.client, records.append)

    with pytest.raises(RequestValidationError):
        client.send_code("nonsense", MESSAGE)

    (record,) = records
    assert (record.operation, record.attempts, record.status, record.error, record.outcome_unknown) == (
        "send_code", 0, None, "RequestValidationError", False,
    )  # fmt: skip


def test_an_answer_outside_the_contract_keeps_its_status(shell):
    """The response is a redirect."""
    records = []
    client = shell.mocked(lambda _: httpx.Response(302, headers={"location": "https://elsewhere.example"}))
    telemetry.observe(client.client, records.append)

    with pytest.raises(OTPError):
        client.validate_code("id", "1234")

    (record,) = records
    assert (record.status, record.error, record.outcome_unknown) == (302, "UnexpectedResponseError", True)


def test_a_missing_token_is_reported(driven):
    """No request was started."""

    def no_token():
        raise LookupError

    records = []
    client = driven(token=no_token)
    telemetry.observe(client.client, records.append)

    with pytest.raises(TokenError):
        client.send_code(NUMBER, MESSAGE)

    assert [(record.error, record.attempts) for record in records] == [("TokenError", 0)]


def test_spans_of_an_instrumented_http_client_are_children(shell, exported, operator):
    """The HTTP span of each attempt is below the span of the call."""
    http_client = shell.http_client(transport=operator.transport())
    HTTPXClientInstrumentor.instrument_client(http_client, tracer_provider=exported.tracers)
    client = shell.client(http_client=http_client)
    exported.instrument(client.client)

    client.send_code(NUMBER, MESSAGE)

    http, call = exported.spans
    assert (http.name, call.name) == ("POST", "camara_otp.send_code")
    assert http.parent.span_id == call.context.span_id
    assert http.context.trace_id == call.context.trace_id
    assert NUMBER[1:] not in http.to_json()


@pytest.fixture(params=["HTTPXClientInstrumentor", "HTTPX2ClientInstrumentor"])
def http_instrumented(request, exported):
    """Instrument httpx or httpx2 for the whole process, as a site-wide set-up does."""
    instrumentor = getattr(opentelemetry.instrumentation.httpx, request.param, None)
    if instrumentor is None:
        pytest.skip("an older release, which knows only httpx")
    instrumentor().instrument(tracer_provider=exported.tracers)
    yield
    instrumentor().uninstrument()


@pytest.mark.usefixtures("http_instrumented")
def test_spans_of_the_global_http_instrumentation_are_children(shell, exported, operator):
    """Also with the default transport, over HTTP."""
    with operator.serve() as url:
        client = shell.client(url)
        exported.instrument(client.client)
        client.send_code(NUMBER, MESSAGE)
        client.close()

    http, call = exported.spans
    assert (http.name, call.name) == ("POST", "camara_otp.send_code")
    assert http.parent.span_id == call.context.span_id


def test_a_call_is_a_child_of_the_callers_span_and_leaves_none_behind(driven, exported, shell):
    """The span of the caller is current before and after."""
    client = driven()
    exported.instrument(client.client)
    tracer = exported.tracers.get_tracer("login page")

    def page():
        with tracer.start_as_current_span("POST /login"):
            before = trace.get_current_span()
            sent = client.client.send_code(NUMBER, MESSAGE)
            assert trace.get_current_span() is before
        return sent

    async def apage():
        with tracer.start_as_current_span("POST /login"):
            before = trace.get_current_span()
            await client.client.send_code(NUMBER, MESSAGE)
            assert trace.get_current_span() is before

    shell.call(apage if shell.is_async else page)

    call, parent = exported.spans
    assert call.parent.span_id == parent.context.span_id


def test_a_hook_that_fails_does_not_lose_the_answer(driven, operator, caplog):
    """The result stays; the failure of the hook is logged without its message."""

    def broken(record):
        raise LookupError("secret words of the hook")

    records = []
    client = driven()
    telemetry.observe(telemetry.observe(client.client, broken), records.append)

    with caplog.at_level(logging.WARNING, "camara_otp"):
        sent = client.send_code(NUMBER, MESSAGE)

    assert sent.authentication_id == operator.messages(NUMBER)[-1].authentication_id
    assert len(records) == 1
    assert "LookupError" in caplog.text
    assert "secret words" not in caplog.text


def test_a_watcher_that_cannot_begin_does_not_stop_the_call(driven, caplog):
    """A broken exporter costs the telemetry, not the call."""

    class Broken:
        def get_tracer(self, *args, **options):
            return self

        def start_span(self, *args, **options):
            raise LookupError

    client = driven()
    telemetry.instrument(client.client, tracer_provider=Broken(), meter_provider=None)

    assert client.send_code(NUMBER, MESSAGE).authentication_id
    assert "LookupError" in caplog.text


@pytest.mark.anyio
async def test_a_cancelled_call_is_reported_as_unknown(operator):
    """The request had started, so the operator may have sent an SMS."""
    records = []
    operator.add_fault(Fault(delay=30))
    http = httpx.AsyncClient(transport=operator.transport())
    async with http, AsyncOTPClient("https://api.example.com", token="any", timeout=60, http_client=http) as client:
        telemetry.observe(client, records.append)
        with anyio.move_on_after(0.05):
            await client.send_code(NUMBER, MESSAGE)

    (record,) = records
    assert record.error in {"CancelledError", "Cancelled"}
    assert (record.attempts, record.outcome_unknown) == (1, True)


def test_an_interrupted_call_is_reported_and_the_interruption_passes(operator):
    """Ctrl-C reaches the caller."""
    records = []

    def interrupted(request):
        raise KeyboardInterrupt

    with (
        httpx.Client(transport=httpx.MockTransport(interrupted)) as http,
        OTPClient("https://api.example.com", token="any", http_client=http) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        telemetry.observe(client, records.append).send_code(NUMBER, MESSAGE)

    assert [(record.error, record.outcome_unknown) for record in records] == [("KeyboardInterrupt", True)]


def test_an_interruption_before_the_request_is_no_unknown_outcome():
    """While the token is fetched, nothing has been sent."""

    def interrupted():
        raise KeyboardInterrupt

    records = []
    with OTPClient("https://api.example.com", token=interrupted) as client, pytest.raises(KeyboardInterrupt):
        telemetry.observe(client, records.append).send_code(NUMBER, MESSAGE)

    assert [(record.attempts, record.outcome_unknown) for record in records] == [(0, False)]


@pytest.mark.anyio
async def test_tasks_do_not_mix_their_spans(exported, operator):
    """Overlapping calls have separate spans, each below the span of its caller."""
    http = httpx.AsyncClient(transport=operator.transport())
    tracer = exported.tracers.get_tracer("page")
    operator.add_fault(Fault(delay=0.02, times=20))
    async with http, AsyncOTPClient("https://api.example.com", token="any", http_client=http) as client:
        exported.instrument(client)

        async def page(number):
            with tracer.start_as_current_span("page"):
                await client.send_code(f"+3466611{number:04}", MESSAGE)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(page, number)

    calls = [span for span in exported.spans if span.name == "camara_otp.send_code"]
    parents = Counter(span.parent.span_id for span in calls)
    pages = {span.context.span_id for span in exported.spans if span.name == "page"}
    assert len(calls) == 20
    assert set(parents) == pages
    assert set(parents.values()) == {1}


def test_threads_do_not_mix_their_records(operator):
    """One client shared between threads reports each call once, with its own correlator."""
    records = []
    with (
        httpx.Client(transport=operator.transport()) as http,
        OTPClient("https://api.example.com", token="any", http_client=http) as client,
    ):
        telemetry.observe(client, records.append)
        threads = [
            threading.Thread(
                target=client.send_code, args=(f"+3466611{n:04}", MESSAGE), kwargs={"x_correlator": f"c{n}"}
            )
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

    assert sorted(record.x_correlator for record in records) == sorted(f"c{n}" for n in range(20))


def test_a_client_that_is_not_instrumented_is_untouched(operator):
    """Neither the class nor another client changes."""
    with httpx.Client(transport=operator.transport()) as http:
        watched, other = (OTPClient("https://api.example.com", token="any", http_client=http) for _ in range(2))
        before = OTPClient.__dict__["_run"]
        telemetry.observe(watched, lambda _: None)

        assert OTPClient.__dict__["_run"] is before
        assert "_run" not in other.__dict__
        assert other._run.__func__ is before


def test_observing_needs_no_extra():
    """`on_call` works on a base install."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from camara_otp import OTPClient, telemetry\n"
        "client = telemetry.observe(OTPClient('https://api.example.com', token='any'), print)\n"
        "try: client.send_code('nonsense', 'x')\n"
        "except ValueError: pass\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout.startswith("CallRecord(operation='send_code'")


def test_spans_name_the_extra_that_they_need(monkeypatch, driven):
    """A base install says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'camara-otp\[otel\]'"):
        telemetry.instrument(driven().client)


def test_one_without_a_port_or_on_plain_http_names_its_port():
    """server.port is always known."""
    records = []
    for url in ("https://api.example.com:8443/x", "https://[::1]/", "http://127.0.0.1:9/"):
        with OTPClient(url, token="any") as client, pytest.raises(RequestValidationError):
            telemetry.observe(client, records.append).send_code("nonsense", MESSAGE)

    servers = [(record.server_address, record.server_port) for record in records]
    assert servers == [("api.example.com", 8443), ("::1", 443), ("127.0.0.1", 9)]
