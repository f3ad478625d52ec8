"""Telemetry: OpenTelemetry spans and metrics of each call, or a function that is called after each call.

    telemetry.instrument(client)                 # spans and metrics; pip install 'camara-otp[otel]'
    telemetry.observe(client, my_function)       # anything else; needs no extra

Both add to `client.on_call`, the public hook of both clients. Nothing personal is reported: no number, code, message,
authentication id or token. A client without observers spends no time on them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from camara_otp._call import OTHER, CallObserver, CallRecord, OnCall
from camara_otp._version import __version__
from camara_otp.client import AsyncOTPClient, OTPClient

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import TracerProvider

    from camara_otp.guard import GuardEvent

__all__ = [
    "DURATION",
    "OTHER",
    "REQUESTS",
    "CallObserver",
    "CallRecord",
    "OnCall",
    "guard_metrics",
    "instrument",
    "observe",
]

Client = TypeVar("Client", OTPClient, AsyncOTPClient)

DURATION: Final = "camara_otp.client.operation.duration"
"""The histogram of the durations of calls, in seconds."""

REQUESTS: Final = "camara_otp.client.requests"
"""The counter of API requests that calls began: more than one for a call that was repeated."""

_BUCKETS: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30)


def observe(client: Client, hook: Callable[[CallRecord], object]) -> Client:
    """Add a function that is called with a record after each call of a client.

    The function is called in the caller's thread or task: return at once. An exception of the function is logged and
    does not change the call. Several functions may observe one client.

    Args:
        client: a client of yours; it is changed in place
        hook: called with the record of each call

    Returns:
        the same client
    """
    client.on_call.append(hook)
    return client


def instrument(
    client: Client,
    *,
    tracer_provider: "TracerProvider | None" = None,
    meter_provider: "MeterProvider | None" = None,
) -> Client:
    """Record an OpenTelemetry span, a duration and a count of requests for each call of a client.

    The span is current while the call runs, so spans of an instrumented `http_client`, and of a token provider, are
    its children. Names follow the general conventions where those define one (`error.type`, `server.address`,
    `http.response.status_code`); the rest begin with `camara_otp.`.

    Args:
        client: a client of yours; it is changed in place. Instrument it once.
        tracer_provider: receives the spans; the global one by default
        meter_provider: receives the metrics; the global one by default

    Returns:
        the same client

    Raises:
        ModuleNotFoundError: the extra is missing; install `camara-otp[otel]`

    Source: OpenTelemetry semantic conventions, general attributes and HTTP.
    """
    meter = _meter("instrument", meter_provider)
    from opentelemetry import context, trace  # noqa: PLC0415 - needs the extra

    tracer = trace.get_tracer("camara_otp", __version__, tracer_provider)
    duration = meter.create_histogram(
        DURATION,
        unit="s",
        description="Duration of a call, with its token, attempts and waits.",
        explicit_bucket_boundaries_advisory=_BUCKETS,
    )
    requests = meter.create_counter(REQUESTS, unit="{request}", description="API requests that calls began.")

    class Spans:
        def call_started(self, operation: str, /) -> Callable[[CallRecord], None]:
            span = tracer.start_span(f"camara_otp.{operation}", kind=trace.SpanKind.CLIENT)
            token = context.attach(trace.set_span_in_context(span))

            def end(record: CallRecord) -> None:
                labels = _labels(record)
                duration.record(record.seconds, labels)  # inside the span, so that an exemplar can point to it
                requests.add(record.attempts, labels)
                context.detach(token)
                # Only spans have the attributes that differ from call to call.
                span.set_attribute("camara_otp.attempts", record.attempts)
                if record.x_correlator is not None:
                    span.set_attribute("camara_otp.x_correlator", record.x_correlator)
                span.set_attributes(labels)
                if record.error is not None:
                    span.set_status(trace.StatusCode.ERROR, record.error)
                span.end()

            return end

    client.on_call.append(Spans())
    return client


def _meter(caller: str, meter_provider: "MeterProvider | None") -> "Meter":
    try:
        from opentelemetry import metrics  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"camara_otp.telemetry.{caller} needs opentelemetry-api; install it with: pip install 'camara-otp[otel]'",
            name=error.name,
        ) from error
    return metrics.get_meter("camara_otp", __version__, meter_provider)


def _labels(record: CallRecord) -> dict[str, str | int | bool]:
    """Return the attributes with few values, for spans and metrics."""
    labels: dict[str, str | int | bool | None] = {
        "camara_otp.operation": record.operation,
        "camara_otp.outcome_unknown": record.outcome_unknown,
        "camara_otp.error.code": record.code,
        "error.type": record.error,
        "http.response.status_code": record.status,
        "server.address": record.server_address,
        "server.port": record.server_port,
    }
    return {name: value for name, value in labels.items() if value is not None}


def guard_metrics(*, meter_provider: "MeterProvider | None" = None) -> "Callable[[GuardEvent], None]":
    """Return a hook that counts the events of a guard in OpenTelemetry: `Guard(on_event=guard_metrics())`.

    Counters: `camara_otp.guard.refusals` by `camara_otp.guard.rule`; `camara_otp.guard.texts` and
    `camara_otp.guard.verified` by `camara_otp.guard.prefix`, whose ratio is the conversion;
    `camara_otp.guard.store_failures`. A refused SMS adds no prefix, so an attack adds few.

    Args:
        meter_provider: receives the metrics; the global one by default

    Returns:
        the hook

    Raises:
        ModuleNotFoundError: the extra is missing; install `camara-otp[otel]`
    """
    meter = _meter("guard_metrics", meter_provider)
    refusals = meter.create_counter("camara_otp.guard.refusals", unit="{sms}", description="SMS refused by a rule.")
    texts = meter.create_counter("camara_otp.guard.texts", unit="{sms}", description="SMS sent, or perhaps sent.")
    verified = meter.create_counter("camara_otp.guard.verified", unit="{sms}", description="SMS that were verified.")
    failures = meter.create_counter(
        "camara_otp.guard.store_failures", description="Operations that the store did not complete."
    )

    def count(event: "GuardEvent") -> None:
        prefix = {"camara_otp.guard.prefix": event.prefix or ""}
        match event.kind:
            case "refused":
                refusals.add(1, {"camara_otp.guard.rule": event.rule or ""})
            case "sent":
                texts.add(1, prefix)
            case "verified":
                verified.add(1, prefix)
            case "store_failed":
                failures.add(1)
            case "returned":
                pass

    return count
