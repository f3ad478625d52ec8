"""The decisions of the guard, without a store: windows, countries, prefixes, and undone counts."""

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camara_otp import errors
from camara_otp.errors import ConfigurationError
from camara_otp.guard import Limit, MemoryCounters
from camara_otp.guard.rules import (
    Refusal,
    Rule,
    Slot,
    changed,
    country_check,
    decide,
    gives_back,
    prefix_of,
    source_of,
)
from camara_otp.guard.stores import Change

gaps = st.lists(st.integers(0, 4000), max_size=60)


@given(gaps=gaps, count=st.integers(1, 5), window=st.integers(1, 20_000))
def test_a_window_never_has_more_sms_than_its_limit(gaps, count, window):
    """Any two SMS that are `count` apart are at least a window apart."""
    now = 0
    store, passed = MemoryCounters(clock=lambda: now / 1000), []
    for gap in gaps:
        now += gap
        if store.apply(Change(sent=1), [Rule("limit", window, count)], ["name"]).refusal is None:
            passed.append(now)

    assert all(later - earlier >= window for earlier, later in zip(passed, passed[count:], strict=False))
    assert passed[:count] == [sum(gaps[: i + 1]) for i in range(len(passed[:count]))]


@given(gaps=gaps, count=st.integers(1, 5), window=st.integers(10, 20_000))
def test_retry_after_is_the_first_moment_that_passes(gaps, count, window):
    """A retry succeeds after that time and not before it; the time is at most one slot longer than needed."""
    rule, now, slots, passed = Rule("limit", window, count), 0, {}, []
    for gap in gaps:
        now += gap
        slots = {number: slot for number, slot in slots.items() if slot.last + window > now}
        wait = rule.wait(slots, now)
        if wait:
            assert decide([rule], [slots], now) == Refusal("limit", wait / 1000)
            assert rule.wait(slots, now + wait) == 0
            assert rule.wait(slots, now + wait - 1) > 0
            assert now + wait <= passed[-count] + window + rule.width
        else:
            passed.append(now)
            slots[now // rule.width] = changed(slots.get(now // rule.width), 1, 0, now)


def test_a_single_place_is_free_after_exactly_its_window():
    rule = Rule("cooldown", 30_000, 1)
    slots = {0: Slot(1, 0, 2_999)}

    assert [rule.wait(slots, now) for now in (2_999, 32_998, 32_999)] == [30_000, 1, 0]


def test_the_refusal_that_lasts_longest_is_named():
    rules = [Rule("cooldown", 30_000, 1), Rule("number", 3_600_000, 1), Rule("prefix", 60_000, 9)]

    assert decide(rules, [{0: Slot(1, 0, 0)}] * 3, 10_000) == Refusal("number", 3590.0)
    assert decide(rules, [{0: Slot(1, 0, 0)}, {}, {}], 10_000) == Refusal("cooldown", 20.0)
    assert decide(rules, [{}, {}, {0: Slot(8, 0, 0)}], 10_000) is None


@pytest.mark.parametrize(
    ("sent", "verified", "refused"),
    [(9, 0, False), (10, 0, True), (10, 1, True), (10, 2, False), (100, 19, True), (100, 20, False)],
)
def test_conversion_decides_once_enough_sms_were_sent(sent, verified, refused):
    assert (Rule("conversion", 1000, 10, 0.2).wait({0: Slot(sent, verified, 0)}, 1) > 0) is refused


def test_a_prefix_is_allowed_again_when_its_sms_leave_the_window():
    """Slot by slot: here as soon as fewer than the sample are left."""
    rule = Rule("conversion", 1000, 10, 0.2)

    assert rule.wait({0: Slot(1, 0, 0), 1: Slot(5, 0, 150), 2: Slot(9, 0, 250)}, 300) == 850


def test_a_ratio_of_zero_measures_and_never_refuses():
    assert Rule("conversion", 1000, 1, 0.0).wait({0: Slot(100, 0, 0)}, 1) == 0


@pytest.mark.parametrize(
    ("slot", "change", "after"),
    [
        (None, (1, 0), Slot(1, 0, 7)),
        (None, (0, 1), Slot(0, 1, 7)),
        (None, (-1, 0), None),
        (Slot(1, 0, 5), (1, 0), Slot(2, 0, 7)),
        (Slot(1, 0, 9), (1, 0), Slot(2, 0, 9)),
        (Slot(2, 0, 5), (-1, 0), Slot(1, 0, 5)),
        (Slot(1, 0, 5), (-1, 0), None),
        (Slot(1, 1, 5), (-1, 0), Slot(0, 1, 5)),
        (Slot(0, 1, 5), (-1, 0), Slot(0, 1, 5)),
    ],
)
def test_a_slot_counts_up_and_down(slot, change, after):
    assert changed(slot, *change, 7) == after


def failed(kind, *args, operation="send_code", unknown=None):
    """Return an error with the attributes that a call sets."""
    error = kind(*args)
    error.operation = operation
    if unknown is not None:
        error.outcome_unknown = unknown
    return error


@pytest.mark.parametrize(
    ("error", "back"),
    [
        (failed(errors.PhoneNumberBlockedError, 403, "X"), True),
        (failed(errors.HTTP429Error, 429), True),
        (failed(errors.RequestNotSentError), True),
        (failed(errors.TokenError), True),
        (failed(errors.ConfigurationError), True),
        (failed(errors.RequestValidationError, "message", "is empty"), True),
        (errors.RequestValidationError("phone_number", "is no number"), True),
        (errors.SendRefusedError("ip", 3.0), True),
        (failed(errors.OutcomeUnknownError), False),
        (failed(errors.UnexpectedResponseError, "x", 200), False),
        (failed(errors.InternalError, 500, "INTERNAL"), False),
        (failed(errors.AbortedError, 409, "ABORTED"), False),
        (failed(errors.InvalidOTPError, 400, "X", operation="validate_code"), False),
        (failed(errors.RequestValidationError, "code", "is empty", operation="validate_code"), False),
        (ExceptionGroup("several", [errors.TokenError()]), False),
        (RuntimeError(), False),
        (KeyboardInterrupt(), False),
        (SystemExit(), False),
        (None, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_a_certain_failure_gives_the_place_back(error, back):
    assert gives_back(error) is back


@pytest.mark.parametrize(
    ("number", "length", "prefix"),
    [
        ("+34666111222", 7, "+3466611"),
        ("+34666111222", 2, "+34"),
        ("+34666111222", 14, "+3466611"),
        ("+4912345", 7, "+491"),
        ("+12345", 7, "+1"),
    ],
)
def test_a_prefix_never_holds_the_last_four_digits(number, length, prefix):
    assert prefix_of(number, length) == prefix


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("user:42", "user:42"),
    ],
)
def test_an_ipv6_address_counts_by_its_network(address, source):
    assert source_of(address) == source


@pytest.mark.parametrize(
    ("countries", "number", "allowed"),
    [
        (["34", "351"], "+34666111222", True),
        (["+34"], "+34666111222", True),
        (["34", "351"], "+35191234567", True),
        (["34", "351"], "+33612345678", False),
        (["1876"], "+18765551234", True),
        (["1876"], "+12125551234", False),
        (["US"], "+12125551234", True),
        (["US"], "+18765551234", False),
        (["US", "34"], "+34666111222", True),
        (["ES"], "+34", False),
    ],
)
def test_countries_are_calling_codes_or_regions(countries, number, allowed):
    assert country_check(countries)(number) is allowed


@pytest.mark.parametrize("countries", ["34", "ES", [], ["3"], ["034"], [""], ["Spain"], ["es"], ["UK"], ["٣٤"]])
def test_a_wrong_country_is_refused_at_the_start(countries):
    with pytest.raises(ConfigurationError, match=r"countries(\[0\])?: "):
        country_check(countries)


def test_without_phonenumbers_calling_codes_work_and_regions_name_the_extra():
    program = (
        "import sys; sys.modules['phonenumbers'] = None\n"
        "from camara_otp.guard import Guard\n"
        "with Guard(countries=['34']).sending('+34666111222'): pass\n"
        "try: Guard(countries=['ES'])\n"
        "except ValueError as error: print(error)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert "pip install 'camara-otp[phone]'" in done.stdout


@pytest.mark.parametrize(
    ("key", "count", "per"),
    [("cooldown", 1, 1), ("no keyword", 1, 1), ("", 1, 1), ("ip", 0, 1), ("ip", True, 1), ("ip", 1.5, 1)]
    + [("ip", 1, per) for per in (0, -1, float("inf"), float("nan"), True, "1")],
)
def test_a_wrong_limit_is_refused(key, count, per):
    with pytest.raises(ConfigurationError, match="Limit: "):
        Limit(key, count, per=per)


def test_slots_are_a_tenth_of_the_window():
    widths = [Rule("limit", window, 1).width for window in (1, 9, 10, 30_000, 3_600_000)]

    assert widths == [1, 1, 1, 3_000, 360_000]
    assert all(earlier <= later for earlier, later in pairwise(widths))
