"""The metrics of a guard: refusals by rule, conversion by prefix, and failures of the store."""

import contextlib
import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from camara_otp import SendRefusedError, telemetry
from camara_otp.errors import PhoneNumberBlockedError
from camara_otp.guard import Guard, Limit, MemoryCounters

NUMBER = "+34666111222"


class Broken(MemoryCounters):
    """A store that fails."""

    def apply(self, change, rules, names):
        raise ConnectionError


def points(reader):
    """Return the value of each counter by name and attributes."""
    data = reader.get_metrics_data()
    return {
        (metric.name.removeprefix("camara_otp.guard."), *point.attributes.values()): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_refusals_sms_and_verified_numbers_are_counted():
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    guard = Guard(
        countries=["34"],
        limits=[Limit("ip", 2, per=60)],
        on_event=telemetry.guard_metrics(meter_provider=meters),
    )

    def click(number, error=None):
        with contextlib.suppress(SendRefusedError, PhoneNumberBlockedError), guard.sending(number, ip="192.0.2.1"):
            if error is not None:
                raise error

    for number in (NUMBER, NUMBER, NUMBER, "+34677111222", "+34688111222", "+447700900123"):
        click(number)
    guard.verified(NUMBER)
    guard.store = MemoryCounters()
    click(NUMBER, PhoneNumberBlockedError(403))
    guard.store = Broken()
    click(NUMBER)

    assert points(reader) == {
        ("refusals", "cooldown"): 2,
        ("refusals", "ip"): 1,
        ("refusals", "country"): 1,
        ("texts", "+3466611"): 2,
        ("texts", "+3467711"): 1,
        ("verified", "+3466611"): 1,
        ("store_failures",): 1,
    }
    meters.shutdown()


def test_the_extra_is_named_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(ModuleNotFoundError, match=r"camara-otp\[otel\]"):
        telemetry.guard_metrics()
