"""Telemetry: OpenTelemetry spans and metrics of each call, or a plain function that is told about each.

    telemetry.instrument(client)                 # spans and metrics; pip install 'camara-otp[otel]'
    telemetry.observe(client, my_function)       # anything else; needs no extra

Nothing personal is reported: no number, code, message, authentication id or token. A client that is not instrumented
pays nothing.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import attrs

from camara_otp._version import __version__
from camara_otp.client import AsyncOTPClient, OTPClient
from camara_otp.errors import CODES, SUPERSEDED, APIError, OTPError, UnexpectedResponseError
from camara_otp.models import SendCodeResponse

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from camara_otp.guard import GuardEvent

__all__ = ["DURATION", "OTHER", "REQUESTS", "CallRecord", "guard_metrics", "instrument", "observe"]

Client = TypeVar("Client", OTPClient, AsyncOTPClient)

_logger: Final = logging.getLogger("camara_otp")

OTHER: Final = "_OTHER"
"""Stands for an error code outside the contract, which an operator could choose freely."""

DURATION: Final = "camara_otp.client.operation.duration"
"""The histogram of the seconds that calls take."""

REQUESTS: Final = "camara_otp.client.requests"
"""The counter of API requests that calls began: more than one for a call that was repeated."""

_BUCKETS: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30)


@attrs.frozen
class CallRecord:
    """What became of one call.

    Attributes:
        operation: `"send_code"` or `"validate_code"`.
        seconds: how long it took: token, every attempt and every wait.
        attempts: API requests begun; more than one where the first could not have arrived.
        status: the HTTP status of the answer, or None where there was none to be had.
        code: the operator's error code, `"_OTHER"` for one outside the contract, None without one.
        error: the name of the exception's class, None where the call returned.
        outcome_unknown: True when the operator may have acted although the call failed.
        x_correlator: the correlator of the call, which finds it in the operator's records.
        server_address: the operator's host.
        server_port: its port.
    """

    operation: str
    seconds: float
    attempts: int
    status: int | None
    code: str | None
    error: str | None
    outcome_unknown: bool
    x_correlator: str | None
    server_address: str
    server_port: int


# Told that a call begins; returns what is told how it ended.
_Watcher = Callable[[str], Callable[[CallRecord], None]]


def observe(client: Client, hook: Callable[[CallRecord], None]) -> Client:
    """Have a function told about each call of a client, after it ended.

    The function is called in the caller's thread or task, so it should return at once. What it raises is logged and
    goes no further: a text that was sent stays sent. Several functions may observe one client.

    Args:
        client: a client of yours; it is changed in place.
        hook: called with what became of the call.

    Returns:
        The same client.
    """
    _watch(client, lambda _: hook)
    return client


def instrument(
    client: Client,
    *,
    tracer_provider: "TracerProvider | None" = None,
    meter_provider: "MeterProvider | None" = None,
) -> Client:
    """Give each call of a client an OpenTelemetry span, a duration and a count of its requests.

    The span is current while the call runs, so spans of an instrumented `http_client`, and of a token provider's, are
    its children. Names follow the general conventions where those have one (`error.type`, `server.address`,
    `http.response.status_code`); the rest begin with `camara_otp.`.

    Args:
        client: a client of yours; it is changed in place. Instrument it once.
        tracer_provider: where spans go; the global one by default.
        meter_provider: where metrics go; the global one by default.

    Returns:
        The same client.

    Raises:
        ModuleNotFoundError: the extra is missing; install `camara-otp[otel]`.

    Source: OpenTelemetry semantic conventions, general attributes and HTTP.
    """
    try:
        from opentelemetry import context, metrics, trace  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "camara_otp.telemetry.instrument needs opentelemetry-api; install it with: pip install 'camara-otp[otel]'",
            name=error.name,
        ) from error
    tracer = trace.get_tracer("camara_otp", __version__, tracer_provider)
    meter = metrics.get_meter("camara_otp", __version__, meter_provider)
    duration = meter.create_histogram(
        DURATION,
        unit="s",
        description="Time that a call took, with its token, attempts and waits.",
        explicit_bucket_boundaries_advisory=_BUCKETS,
    )
    requests = meter.create_counter(REQUESTS, unit="{request}", description="API requests that calls began.")

    def begin(operation: str) -> Callable[[CallRecord], None]:
        span = tracer.start_span(f"camara_otp.{operation}", kind=trace.SpanKind.CLIENT)
        token = context.attach(trace.set_span_in_context(span))

        def end(record: CallRecord) -> None:
            labels = _labels(record)
            duration.record(record.seconds, labels)  # inside the span, so that an exemplar can point to it
            requests.add(record.attempts, labels)
            context.detach(token)
            span.set_attributes(labels | _details(record))
            if record.error is not None:
                span.set_status(trace.StatusCode.ERROR, record.error)
            span.end()

        return end

    _watch(client, begin)
    return client


def guard_metrics(*, meter_provider: "MeterProvider | None" = None) -> "Callable[[GuardEvent], None]":
    """Return a hook that counts the events of a guard in OpenTelemetry: `Guard(on_event=guard_metrics())`.

    Counters: `camara_otp.guard.refusals` by `camara_otp.guard.rule`; `camara_otp.guard.texts` and
    `camara_otp.guard.verified` by `camara_otp.guard.prefix`, whose ratio is the conversion;
    `camara_otp.guard.store_failures`. A refused text adds no prefix, so an attack adds few.

    Args:
        meter_provider: where metrics go; the global one by default.

    Returns:
        The hook.

    Raises:
        ModuleNotFoundError: the extra is missing; install `camara-otp[otel]`.
    """
    try:
        from opentelemetry import metrics  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "camara_otp.telemetry.guard_metrics needs opentelemetry-api; install it with: "
            "pip install 'camara-otp[otel]'",
            name=error.name,
        ) from error
    meter = metrics.get_meter("camara_otp", __version__, meter_provider)
    refusals = meter.create_counter("camara_otp.guard.refusals", unit="{text}", description="Texts refused by a rule.")
    texts = meter.create_counter("camara_otp.guard.texts", unit="{text}", description="Texts sent, or perhaps sent.")
    verified = meter.create_counter("camara_otp.guard.verified", unit="{text}", description="Texts that were verified.")
    failures = meter.create_counter("camara_otp.guard.store_failures", description="Operations without an answer.")

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


def _labels(record: CallRecord) -> dict[str, str | int | bool]:
    """Return the attributes of few values, for spans and metrics."""
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


def _details(record: CallRecord) -> dict[str, str | int]:
    """Return the attributes that differ from call to call, for spans alone."""
    details: dict[str, str | int] = {"camara_otp.attempts": record.attempts}
    if record.x_correlator is not None:
        details["camara_otp.x_correlator"] = record.x_correlator
    return details


# --- The seam --------------------------------------------------------------------------------------------------------


def _watch(client: OTPClient | AsyncOTPClient, watcher: _Watcher) -> None:
    """Put a watcher round every call of one client.

    Both shells run each call through one method, which takes the call, or what forbids it, and returns its result or
    its error. It is replaced on this one object: the class, and every other client, stay as they are.
    """
    run: Any = client._run  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    server = _server(client)
    wrap = _watched_async if isinstance(client, AsyncOTPClient) else _watched
    client.__dict__["_run"] = wrap(run, watcher, server)


def _watched(run: Callable[[Any], Any], watcher: _Watcher, server: tuple[str, int]) -> Callable[[Any], Any]:
    def watched(call: Any) -> Any:
        watch = _Watch(call, watcher, server)
        try:
            result = run(call)
        except BaseException as interruption:
            watch.end(interruption)
            raise
        watch.end(result)
        return result

    return watched


def _watched_async(
    run: Callable[[Any], Awaitable[Any]], watcher: _Watcher, server: tuple[str, int]
) -> Callable[[Any], Awaitable[Any]]:
    async def watched(call: Any) -> Any:
        watch = _Watch(call, watcher, server)
        try:
            result = await run(call)
        except BaseException as interruption:
            watch.end(interruption)
            raise
        watch.end(result)
        return result

    return watched


class _Watch:
    """One call that is being watched. What a watcher raises never reaches the caller."""

    def __init__(self, call: Any, watcher: _Watcher, server: tuple[str, int]) -> None:
        self._call = call
        self._server = server
        self._operation = str(call.operation if isinstance(call, OTPError) else call.operation.name)
        self._end = _guarded(watcher, self._operation)
        self._began = time.monotonic()

    def end(self, result: object) -> None:
        """Tell the watcher how the call ended."""
        if self._end is None:
            return
        seconds = time.monotonic() - self._began
        _guarded(self._end, _record(self._call, result, self._operation, seconds, self._server))


T = TypeVar("T")
R = TypeVar("R")


def _guarded(function: Callable[[T], R], argument: T) -> R | None:
    try:
        return function(argument)
    except Exception as error:  # noqa: BLE001 - whatever it is, the call goes on
        _logger.warning("an observer of calls raised %s; the call went on without it", type(error).__name__)
        return None


def _record(call: Any, result: object, operation: str, seconds: float, server: tuple[str, int]) -> CallRecord:
    if isinstance(result, OTPError):
        attempts, outcome_unknown, x_correlator = result.attempts, result.outcome_unknown, result.x_correlator
    else:
        attempts = call.attempts
        # A call that was interrupted after its request began may have reached the operator.
        outcome_unknown = isinstance(result, BaseException) and attempts > 0
        x_correlator = getattr(result, "x_correlator", call.x_correlator)
    return CallRecord(
        operation=operation,
        seconds=seconds,
        attempts=attempts,
        status=_status(result),
        code=_code(result),
        error=type(result).__name__ if isinstance(result, BaseException) else None,
        outcome_unknown=outcome_unknown,
        x_correlator=x_correlator,
        server_address=server[0],
        server_port=server[1],
    )


def _status(result: object) -> int | None:
    if isinstance(result, APIError | UnexpectedResponseError):
        return result.status
    if isinstance(result, BaseException):
        return None
    return 200 if isinstance(result, SendCodeResponse) else 204


def _code(result: object) -> str | None:
    code = result.code if isinstance(result, APIError) else None
    return code if code is None or code in CODES or code in SUPERSEDED else OTHER


def _server(client: OTPClient | AsyncOTPClient) -> tuple[str, int]:
    origin = urlsplit(client._setup.endpoint.origin)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return origin.hostname or "", origin.port or (443 if origin.scheme == "https" else 80)
