"""The guard on the memory store, with the real client and the sandbox: refusals, counts, and undone counts."""

import contextlib
import functools
import logging
import pickle
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

import camara_otp.guard
from camara_otp import AsyncOTPClient, OTPClient, OTPError, RequestValidationError, RetryPolicy, SendRefusedError
from camara_otp.errors import ConfigurationError
from camara_otp.guard import Guard, GuardEvent, Limit, MemoryCounters
from camara_otp.sandbox import Fault, Sandbox
from tests.interrupts import interrupted_at

URL = "https://operator.test"
NUMBER = "+34666111222"
MESSAGE = "{{code}} is your code"
GUARD = str(Path(camara_otp.guard.__file__).parent)


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def events():
    return []


@pytest.fixture
def make(clock, events):
    """Return a constructor of guards on the test's clock that record their events."""
    return lambda **settings: Guard(**{"store": MemoryCounters(clock=clock), "on_event": events.append} | settings)


@pytest.fixture
def operator():
    return Sandbox(max_send=10_000)


@pytest.fixture
def otp(operator):
    """Return a client of the operator, in process."""
    with operator.client() as http, OTPClient(URL, token="any", http_client=http, retry=FAST) as client:
        yield client


FAST = RetryPolicy(first_wait=0.001, max_wait=0.001)


def send(guard, otp, number=NUMBER, **keys):
    with guard.sending(number, **keys):
        return otp.send_code(number, MESSAGE)


def refusal(guard, number=NUMBER, **keys):
    """Return the refusal of an SMS, or None if it may be sent."""
    try:
        with guard.sending(number, **keys):
            return None
    except SendRefusedError as error:
        return error.rule, error.retry_after


def test_a_second_sms_waits_for_the_cooldown(make, otp, operator, clock):
    guard = make(cooldown=30.0)
    send(guard, otp)

    with pytest.raises(SendRefusedError) as caught:
        send(guard, otp)
    assert (caught.value.rule, caught.value.retry_after) == ("cooldown", 30.0)
    assert (caught.value.outcome_unknown, caught.value.attempts) == (False, 0)
    assert operator.sent_count == 1

    send(guard, otp, "+34666111333")
    clock.advance(29.9)
    assert refusal(guard) == ("cooldown", pytest.approx(0.1))
    clock.advance(0.1)
    send(guard, otp)
    assert operator.sent_count == 3


def test_each_limit_counts_its_own_key(make, clock):
    guard = make(
        cooldown=None,
        limits=[Limit("number", 2, per=3600), Limit("ip", 3, per=3600), Limit("prefix", 4, per=3600)],
    )

    assert [refusal(guard, ip="192.0.2.1") for _ in range(3)] == [None, None, ("number", 3600.0)]
    assert [refusal(guard, f"+3466611{i:04}", ip="192.0.2.1") for i in range(2)] == [None, ("ip", 3600.0)]
    assert [refusal(guard, f"+3466611{i:04}", ip="192.0.2.2") for i in range(2)] == [None, ("prefix", 3600.0)]
    assert refusal(guard, "+34677000000", ip="192.0.2.2") is None
    clock.advance(3600)
    assert refusal(guard, ip="192.0.2.1") is None


def test_a_refused_text_counts_in_no_limit(make, clock):
    """Otherwise a script could lock out a user by many requests."""
    guard = make(cooldown=30.0, limits=[Limit("number", 5, per=3600), Limit("ip", 5, per=3600)])
    assert refusal(guard, ip="192.0.2.1") is None
    for _ in range(100):
        assert refusal(guard, ip="192.0.2.1") == ("cooldown", 30.0)

    clock.advance(30)
    assert [refusal(guard, f"+3466611{i:04}", ip="192.0.2.1") for i in range(5)] == [None] * 4 + [("ip", 3600.0)]


def test_addresses_of_one_ipv6_network_share_a_limit(make):
    guard = make(cooldown=None, limits=[Limit("ip", 1, per=60)])

    assert refusal(guard, ip="2001:db8::1") is None
    assert refusal(guard, ip="2001:db8::ffff:2") == ("ip", 60.0)
    assert refusal(guard, ip="2001:db8:0:1::1") is None


def test_a_country_that_is_not_allowed_is_refused_for_good(make, events):
    guard = make(countries=["34"])

    with pytest.raises(SendRefusedError, match="Use another number") as caught, guard.sending("+447700900123"):
        pytest.fail("the block must not run")
    assert (caught.value.rule, caught.value.retry_after) == ("country", None)
    assert events == [GuardEvent("refused", "country", "+4477009")]


@pytest.mark.parametrize(
    ("fault", "back"),
    [
        (Fault(code="PHONE_NUMBER_BLOCKED"), True),
        (Fault(code="TOO_MANY_REQUESTS"), True),
        (Fault(code="UNAUTHENTICATED"), True),
        (Fault(drop="connect"), True),
        (Fault(drop="after", acts=True), False),
        (Fault(drop="after"), False),
        (Fault(code="INTERNAL"), False),
        (Fault(code="ABORTED"), False),
        (Fault(status=200, html=True, acts=True), False),
        (None, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_the_place_is_given_back_only_if_the_operator_did_nothing(make, operator, events, fault, back, asynchronous):
    guard = make(cooldown=30.0, limits=[Limit("number", 1, per=3600), Limit("prefix", 1, per=3600)])
    if fault is not None:
        operator.add_fault(fault)

    async def asend():
        client = AsyncOTPClient(URL, token="any", http_client=operator.async_client(), retry=FAST)
        async with guard.sending(NUMBER):
            await client.send_code(NUMBER, MESSAGE)

    with contextlib.suppress(OTPError):
        if asynchronous:
            anyio.run(asend)
        else:
            with operator.client() as http, OTPClient(URL, token="any", http_client=http, retry=FAST) as otp:
                send(guard, otp)

    assert events == [GuardEvent("returned" if back else "sent", prefix="+3466611")]
    assert refusal(guard) == (None if back else ("number", 3600.0))


def test_a_request_that_is_wrong_gives_the_place_back(make, otp):
    guard = make()
    with pytest.raises(RequestValidationError), guard.sending(NUMBER):
        otp.send_code(NUMBER, "no label")

    assert refusal(guard) is None


def test_an_outer_guard_gives_back_what_an_inner_guard_refuses(make):
    outer, inner = make(), make(countries=["351"])
    with pytest.raises(SendRefusedError), outer.sending(NUMBER), inner.sending(NUMBER):
        pytest.fail("the block must not run")

    assert refusal(outer) is None


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_any_other_exception_keeps_the_place(make, error):
    guard = make()
    with pytest.raises(error), guard.sending(NUMBER):
        raise error

    assert refusal(guard) == ("cooldown", 30.0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_task_keeps_the_place(make, backend):
    guard = make()

    async def run():
        async with anyio.create_task_group() as tasks:

            async def sending():
                async with guard.sending(NUMBER):
                    tasks.cancel_scope.cancel()
                    await anyio.sleep_forever()

            tasks.start_soon(sending)

    anyio.run(run, backend=backend)

    assert refusal(guard) == ("cooldown", 30.0)


class Slow(MemoryCounters):
    """A store that lets other threads run between reading a counter and changing it."""

    def _live(self, key, now):
        slots = super()._live(key, now)
        time.sleep(0.001)
        return slots


def test_of_many_threads_one_passes(make, otp, operator):
    guard, start = make(store=Slow()), threading.Barrier(32)

    def click(_):
        start.wait(30)
        try:
            return bool(send(guard, otp))
        except SendRefusedError:
            return False

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(click, range(32))) == 1
    assert operator.sent_count == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_of_many_tasks_one_passes(make, operator, backend):
    guard, passed = make(), []

    async def run():
        client = AsyncOTPClient(URL, token="any", http_client=operator.async_client())

        async def click():
            with contextlib.suppress(SendRefusedError):
                async with guard.sending(NUMBER):
                    passed.append(await client.send_code(NUMBER, MESSAGE))

        async with anyio.create_task_group() as tasks:
            for _ in range(32):
                tasks.start_soon(click)

    anyio.run(run, backend=backend)

    assert len(passed) == operator.sent_count == 1


@pytest.mark.parametrize("refused", [False, True], ids=["sent", "refused by the operator"])
def test_an_interrupt_at_any_line_leaves_no_sms_uncounted(make, otp, operator, refused):
    """An SMS that was sent is counted, whichever line of the guard is interrupted."""
    if refused:
        operator.add_fault(Fault(code="PHONE_NUMBER_BLOCKED"))

    def attempt(guard):
        with contextlib.suppress(OTPError), guard.sending(NUMBER):
            otp.send_code(NUMBER, MESSAGE)

    step, texts = 1, operator.sent_count
    more = True
    while more:
        guard = make()
        more = interrupted_at(step, functools.partial(attempt, guard), GUARD)
        sent, texts = operator.sent_count - texts, operator.sent_count
        assert not sent or refusal(guard) == ("cooldown", 30.0), f"a text without a place after line {step}"
        step += 1

    assert step > 40, "the guard was interrupted at its lines"


def test_conversion_stops_a_prefix_and_opens_it_again(make, clock):
    guard = make(cooldown=None, min_conversion=0.2, conversion_sample=10, conversion_window=600.0)
    attacked, healthy = "+34600000", "+34611000"
    for i in range(10):
        assert refusal(guard, f"{attacked}{i:04}") is None
        assert refusal(guard, f"{healthy}{i:04}") is None
        if i % 3 == 0:
            guard.verified(f"{healthy}{i:04}")

    assert refusal(guard, attacked + "9999") == ("conversion", 600.0)
    assert refusal(guard, healthy + "9999") is None
    assert guard.conversion(attacked + "0000") == 0.0
    assert guard.conversion(healthy + "0000") == 4 / 11
    guard.verified(attacked + "0001")
    guard.verified(attacked + "0002")
    assert refusal(guard, attacked + "9999") is None
    clock.advance(600)
    assert guard.conversion(attacked + "0000") is None
    assert refusal(guard, attacked + "0000") is None


def test_conversion_of_zero_is_measured_and_refuses_nothing(make):
    guard = make(cooldown=None, min_conversion=0.0, conversion_sample=1)

    assert [refusal(guard) for _ in range(20)] == [None] * 20
    assert guard.conversion(NUMBER) == 0.0


def test_without_min_conversion_verified_is_an_event_alone(make, events):
    guard = make(cooldown=None)
    guard.verified(NUMBER)

    assert guard.conversion(NUMBER) is None
    assert events == [GuardEvent("verified", prefix="+3466611")]


def test_the_asynchronous_methods_count_as_the_others_do(make):
    guard = make(cooldown=None, min_conversion=0.0)

    async def run():
        async with guard.sending(NUMBER):
            pass
        await guard.averified(NUMBER)
        return await guard.aconversion(NUMBER)

    assert anyio.run(run) == 1.0


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "needs ip=..."),
        ({"ip": "192.0.2.1", "user": "7"}, "'user'"),
        ({"ip": ""}, "ip is empty"),
        ({"ip": None}, "ip is empty"),
    ],
)
def test_wrong_keys_are_an_error_of_the_caller(make, keys, said):
    guard = make(limits=[Limit("ip", 3, per=60)])

    with pytest.raises(ConfigurationError, match="sending: ") as caught:
        guard.sending(NUMBER, **keys)
    assert said in str(caught.value)


def test_a_limit_of_all_is_shared_by_all_numbers(make):
    guard = make(cooldown=None, limits=[Limit("all", 2, per=60)])

    assert [refusal(guard, f"+3466611{i:04}") for i in range(3)] == [None, None, ("all", 60.0)]
    with pytest.raises(ConfigurationError, match="'all'"):
        guard.sending(NUMBER, all="x")


def test_a_key_may_be_a_number(make):
    guard = make(cooldown=None, limits=[Limit("user", 1, per=60)])

    assert [refusal(guard, user=user) for user in (0, 7, 7)] == [None, None, ("user", 60.0)]


@pytest.mark.parametrize("number", ["0666111222", "666", "+34 666 111 222", "", None, "+34666111222\n"])
def test_a_number_that_is_not_e164_is_the_error_of_send_code(make, number):
    guard = make()
    for call in (guard.sending, guard.verified, guard.conversion):
        with pytest.raises(RequestValidationError, match="phone_number: ") as caught:
            call(number)
        assert caught.value.operation == ("send_code" if call == guard.sending else None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cooldown": 0}, "cooldown: "),
        ({"cooldown": float("nan")}, "cooldown: "),
        ({"prefix_length": 0}, "prefix_length: "),
        ({"prefix_length": 15}, "prefix_length: "),
        ({"min_conversion": 1.1}, "min_conversion: "),
        ({"min_conversion": 10}, "min_conversion: "),
        ({"min_conversion": 0.1, "conversion_sample": 0}, "conversion_sample: "),
        ({"min_conversion": 0.1, "conversion_window": 0}, "conversion_window: "),
        ({"on_store_failure": "wait"}, "on_store_failure: "),
        ({"countries": "34"}, "countries: must be a list of calling codes"),
        ({"countries": 34}, "countries: must be a list of calling codes"),
        ({"countries": []}, "countries: is empty and would refuse every number; give None"),
        ({"countries": ["34", "034"]}, r"countries\[1\]: calling codes do not begin with 0"),
        ({"countries": ["Spain"]}, r"countries\[0\]: must be a calling code"),
        ({"limits": Limit("ip", 3, per=60)}, "limits: must be a list"),
        ({"limits": 5}, "limits: must be a list"),
        ({"limits": [Limit("ip", 3, per=60), ("number", 5, 60)]}, r"limits\[1\]: must be a Limit"),
        ({"limits": [Limit("ip", 3, per=60), Limit("ip", 4, per=60)]}, "limits: "),
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(settings, said):
    with pytest.raises(ConfigurationError, match=said):
        Guard(**settings)


class Broken(MemoryCounters):
    """A store that fails."""

    def apply(self, change, rules, names):
        raise ConnectionError(f"no answer about {names}")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("choice", ["pass", "refuse"])
def test_a_store_that_fails_passes_or_refuses_as_chosen(make, events, caplog, choice, asynchronous):
    guard = make(store=Broken(), on_store_failure=choice, countries=["34"])

    async def run():
        async with guard.sending(NUMBER):
            pass

    with caplog.at_level(logging.WARNING, "camara_otp.guard"):
        if choice == "pass":
            anyio.run(run) if asynchronous else refusal(guard)
        else:
            with pytest.raises(SendRefusedError, match="Try again later") as caught:
                anyio.run(run) if asynchronous else guard.sending(NUMBER).__enter__()
            assert (caught.value.rule, caught.value.retry_after) == ("store", None)
    end = GuardEvent("sent", None, "+3466611") if choice == "pass" else GuardEvent("refused", "store", "+3466611")
    assert events == [GuardEvent("store_failed"), end]
    assert "ConnectionError" in caplog.text
    assert NUMBER[1:] not in caplog.text
    assert refusal(guard, "+351912345678") == ("country", None)


def test_a_store_that_fails_later_neither_hides_the_error_nor_stops_verified(make, otp, operator):
    guard = make(min_conversion=0.1)
    operator.add_fault(Fault(code="PHONE_NUMBER_BLOCKED"))

    sending = guard.sending(NUMBER)
    sending.__enter__()
    guard.store = Broken()
    with pytest.raises(OTPError, match="PHONE_NUMBER_BLOCKED") as caught:
        otp.send_code(NUMBER, MESSAGE)
    sending.__exit__(caught.type, caught.value, caught.tb)
    guard.verified(NUMBER)
    assert guard.conversion(NUMBER) is None


def test_a_hook_that_raises_changes_nothing(make, otp, caplog):
    guard = make(on_event=lambda event: 1 / 0)
    assert send(guard, otp).authentication_id

    assert refusal(guard) == ("cooldown", 30.0)
    assert caplog.text.count("on_event raised ZeroDivisionError") == 2


def test_a_guard_without_rules_asks_no_store(make):
    guard = make(cooldown=None, store=Broken())

    assert [refusal(guard) for _ in range(3)] == [None] * 3


def test_no_number_and_no_key_is_shown_anywhere(make, events):
    """Neither in repr, nor in a traceback with locals, nor in an event."""
    guard = make(limits=[Limit("ip", 3, per=60)])
    assert repr(guard) == "Guard(cooldown: 1 per 30 s, ip: 3 per 60 s)"
    shown = [repr(guard), repr(guard.store), repr(guard.sending(NUMBER, ip="192.0.2.77"))]
    with guard.sending(NUMBER, ip="192.0.2.77"):
        pass
    for number, keys in [(NUMBER, {"ip": "192.0.2.77"}), (NUMBER, {}), (NUMBER + "x", {"ip": "192.0.2.77"})]:
        try:
            guard.sending(number, **keys).__enter__()
        except OTPError as error:
            inner = list(traceback.walk_tb(error.__traceback__))[1:]
            shown += [str(error), repr(error), *(repr(frame.f_locals) for frame, _ in inner)]
    for call in (guard.verified, guard.conversion):
        try:
            call(NUMBER + "x")
        except OTPError as error:
            inner = list(traceback.walk_tb(error.__traceback__))[1:]
            shown += [str(error), *(repr(frame.f_locals) for frame, _ in inner)]
    shown += [repr(events), str(vars(guard.store))]

    assert len(shown) > 10
    assert not any(secret in text for text in shown for secret in ("66111222", "192.0.2.77"))


@pytest.mark.parametrize(
    ("rule", "retry_after", "text"),
    [
        ("cooldown", 29.2, "No new code was sent. Try again in 30 seconds."),
        ("ip", 0.0001, "No new code was sent. Try again in 1 second."),
        ("ip", 120.0, "No new code was sent. Try again in 120 seconds."),
        ("ip", 3500.0, "No new code was sent. Try again in 59 minutes."),
        ("store", None, "No new code was sent. Try again later."),
        ("country", None, "No code can be sent to this number. Use another number."),
    ],
)
def test_the_text_of_a_refusal_is_for_the_user_and_names_no_limit(rule, retry_after, text):
    error = SendRefusedError(rule, retry_after)

    assert (str(error), error.operation) == (text, "send_code")
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


def test_memory_is_bounded_by_the_sms_of_the_longest_window(clock):
    """Ten thousand SMS, a hundred in each window: older ones are dropped."""
    store = MemoryCounters(clock=clock)
    guard = Guard(cooldown=30.0, limits=[Limit("ip", 1, per=100)], store=store)
    for i in range(10_000):
        clock.advance(1)
        assert refusal(guard, f"+34666{i:06}", ip=str(i)) is None
        assert refusal(guard, f"+34666{i:06}", ip=str(i)) is not None

    assert len(store._counters) <= 1024
