"""The rules of the operator, with the time as an argument."""

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

import pytest

from camara_otp.sandbox.config import Config
from camara_otp.sandbox.operator import Message, Operator, RefusedError, State

PHONE = "+34611"


def operator(**settings: Any) -> Operator:
    """Return an operator whose codes are the same in every run."""
    return Operator(Config(**settings), Random(7), count(1))


def sent(subject: Operator, now: float = 0.0, phone: str = PHONE) -> Message:
    """Send a code; fail if it is refused."""
    return subject.send_code(phone, "{{code}} or {{code}}", now)


def send(subject: Operator, now: float, phone: str = PHONE) -> str | None:
    """Send a code and return the code of the refusal, or None."""
    return refusal(lambda: subject.send_code(phone, "{{code}}", now))


def check(subject: Operator, message: Message, now: float, code: str | None = None) -> str | None:
    """Check a code, the right one unless told otherwise, and return the code of the refusal, or None."""
    return refusal(lambda: subject.validate_code(message.authentication_id, code or message.code, now))


def refusal(act: Callable[[], object]) -> str | None:
    try:
        act()
    except RefusedError as error:
        return error.code.removeprefix("ONE_TIME_PASSWORD_SMS.")
    return None


def state(subject: Operator, message: Message, now: float) -> State:
    """Return the state in the inbox."""
    [found] = [item for item in subject.messages(now) if item.authentication_id == message.authentication_id]
    return found.state


def wrong(message: Message) -> str:
    """Return a code other than the right one."""
    return message.code + "x"


def test_every_label_is_replaced() -> None:
    """Each label becomes the code."""
    message = sent(operator())
    assert message.text == f"{message.code} or {message.code}"


def test_code_has_the_configured_length_and_alphabet() -> None:
    assert sent(operator(code_length=10, code_alphabet="A")).code == "A" * 10


@pytest.mark.parametrize(("age", "expected"), [(299.999, State.WAITING), (300.0, State.EXPIRED)])
def test_lifetime(age: float, expected: State) -> None:
    """A code is valid until its lifetime has passed, and not at that moment."""
    subject = operator(code_lifetime=300.0)
    message = sent(subject, now=1000.0)
    assert state(subject, message, 1000.0 + age) is expected
    assert check(subject, message, 1000.0 + age) == (None if expected is State.WAITING else "VERIFICATION_EXPIRED")


def test_single_use() -> None:
    """A verified id is refused, even for the right code, and stays verified when its lifetime has passed."""
    subject = operator()
    message = sent(subject)
    assert check(subject, message, 1.0) is None
    assert check(subject, message, 1.0) == "VERIFICATION_EXPIRED"
    assert state(subject, message, 10_000.0) is State.VERIFIED


def test_one_live_id_per_number() -> None:
    """A send closes the earlier verification of the number, and of no other number."""
    subject = operator()
    first, other, second = sent(subject), sent(subject, phone="+34612"), sent(subject)
    states = [state(subject, item, 0.0) for item in (first, other, second)]
    assert states == [State.SUPERSEDED, State.WAITING, State.WAITING]
    assert check(subject, first, 1.0) == "VERIFICATION_EXPIRED"


def test_settled_ids_are_not_superseded() -> None:
    """A verified message stays verified after a new send."""
    subject = operator()
    first = sent(subject)
    assert check(subject, first, 0.0) is None
    sent(subject)
    assert state(subject, first, 0.0) is State.VERIFIED


def test_wrong_codes_are_counted() -> None:
    """After the max_try-th wrong code, the right one is refused too."""
    subject = operator(max_try=3)
    message = sent(subject)
    outcomes = [check(subject, message, 0.0, wrong(message)) for _ in range(4)]
    assert outcomes == ["INVALID_OTP", "INVALID_OTP", "VERIFICATION_FAILED", "VERIFICATION_FAILED"]
    assert check(subject, message, 0.0) == "VERIFICATION_FAILED"
    [shown] = subject.messages(0.0)
    assert (shown.tries_left, shown.state) == (0, State.FAILED)


def test_codes_are_compared_exactly() -> None:
    """Case and surrounding space matter."""
    subject = operator(code_alphabet="a")
    message = sent(subject)
    for typed in ("AAAAAA", " aaaaaa"):
        assert check(subject, message, 0.0, typed) == "INVALID_OTP"


def test_sends_are_counted_within_the_window() -> None:
    """The max_send-th send is refused until the oldest one has left the window; refusals do not count."""
    subject = operator(max_send=3, send_window=100.0)
    sent(subject, now=0.0)
    sent(subject, now=50.0)
    assert send(subject, 99.9) == "MAX_OTP_CODES_EXCEEDED"
    sent(subject, now=100.0)
    assert send(subject, 149.9) == "MAX_OTP_CODES_EXCEEDED"
    sent(subject, now=150.0)
    sent(subject, now=150.0, phone="+34612")


def test_a_refused_send_leaves_the_earlier_id_alive() -> None:
    """It does not invalidate the code on the phone."""
    subject = operator(max_send=2)
    message = sent(subject)
    assert send(subject, 1.0) == "MAX_OTP_CODES_EXCEEDED"
    assert check(subject, message, 1.0) is None


def test_no_send_at_all() -> None:
    """With max_send 1 the first send is refused, and nothing is stored for the number."""
    subject = operator(max_send=1)
    assert send(subject, 0.0) == "MAX_OTP_CODES_EXCEEDED"
    assert subject.messages(0.0, PHONE) == []
    assert not subject._phones


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("unreachable_numbers", "PHONE_NUMBER_NOT_ALLOWED"),
        ("landline_numbers", "PHONE_NUMBER_NOT_ALLOWED"),
        ("blocked_numbers", "PHONE_NUMBER_BLOCKED"),
        ("foreign_numbers", "NOT_FOUND"),
    ],
)
def test_special_numbers(setting: str, expected: str) -> None:
    """Numbers that cannot receive SMS are refused with their reason."""
    subject = operator(**{setting: [PHONE]})
    assert send(subject, 0.0) == expected
    assert subject.messages(0.0) == []


def test_unknown_id() -> None:
    """The error of an id that was never issued is a setting."""
    for code in ("NOT_FOUND", "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED"):
        subject = operator(unknown_id=code)
        with pytest.raises(RefusedError, match=code):
            subject.validate_code("unknown", "1", 0.0)


def test_same_seed_same_codes() -> None:
    """Codes and ids repeat with the seed."""
    first, second = sent(operator()), sent(operator())
    assert (first.code, first.authentication_id) == (second.code, second.authentication_id)


def test_memory_is_bounded() -> None:
    """The newest messages are kept, per number and in all; dropped ones are removed from every index."""
    subject = operator(keep_per_number=2, keep_total=5, max_send=1_000_000)
    for round_ in range(200):
        for phone in ("+34611", f"+3462{round_}"):
            sent(subject, phone=phone)
    assert len(subject.messages(0.0)) == len(subject._by_id) == 5
    assert sum(len(line.verifications) for line in subject._phones.values()) == 5
    assert len(subject.messages(0.0, "+34611")) == 2
    assert subject.sent == 400
    assert subject.find("unknown") is None
