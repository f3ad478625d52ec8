"""The operator's rules, by hand, with the time as an argument."""

from itertools import count
from random import Random
from typing import Any

import pytest

from camara_otp.sandbox.config import Config
from camara_otp.sandbox.operator import Denial, Operator, State, Verification

PHONE = "+34611"


def operator(**settings: Any) -> Operator:
    """Return an operator whose codes are the same in every run."""
    return Operator(Config(**settings), Random(7), count(1))


def sent(subject: Operator, now: float = 0.0, phone: str = PHONE) -> Verification:
    """Send a code, which must succeed."""
    outcome = subject.send_code(phone, "{{code}} or {{code}}", now)
    assert isinstance(outcome, Verification)
    return outcome


def wrong(verification: Verification) -> str:
    """Return a code other than the right one."""
    return verification.code + "x"


def test_every_label_is_replaced() -> None:
    """Each place that holds the label shows the code."""
    verification = sent(operator())
    assert verification.text == f"{verification.code} or {verification.code}"


def test_code_has_the_configured_length_and_alphabet() -> None:
    """Codes are made of the alphabet's characters only."""
    assert sent(operator(code_length=10, code_alphabet="A")).code == "A" * 10


@pytest.mark.parametrize(("age", "state"), [(299.999, State.WAITING), (300.0, State.EXPIRED)])
def test_lifetime(age: float, state: State) -> None:
    """A code is good until its lifetime has passed, and not at that moment."""
    subject = operator(code_lifetime=300.0)
    verification = sent(subject, now=1000.0)
    assert verification.state(1000.0 + age) is state
    outcome = subject.validate_code(verification.authentication_id, verification.code, 1000.0 + age)
    assert outcome is (verification if state is State.WAITING else Denial.EXPIRED)


def test_single_use() -> None:
    """A verified id is spent, even for the right code, and stays verified when its time is over."""
    subject = operator()
    verification = sent(subject)
    assert subject.validate_code(verification.authentication_id, verification.code, 1.0) is verification
    assert subject.validate_code(verification.authentication_id, verification.code, 1.0) is Denial.EXPIRED
    assert verification.state(10_000.0) is State.VERIFIED


def test_one_live_id_per_number() -> None:
    """A send closes the number's earlier verification, and nobody else's."""
    subject = operator()
    first, other, second = sent(subject), sent(subject, phone="+34612"), sent(subject)
    assert [item.state(0.0) for item in (first, other, second)] == [State.SUPERSEDED, State.WAITING, State.WAITING]
    assert subject.validate_code(first.authentication_id, first.code, 1.0) is Denial.EXPIRED


def test_settled_ids_are_not_superseded() -> None:
    """What was verified before a new send is still shown as verified."""
    subject = operator()
    first = sent(subject)
    subject.validate_code(first.authentication_id, first.code, 0.0)
    sent(subject)
    assert first.state(0.0) is State.VERIFIED


def test_wrong_codes_are_counted() -> None:
    """The max_try-th wrong code closes the verification for the right one too."""
    subject = operator(max_try=3)
    verification = sent(subject)
    outcomes = [subject.validate_code(verification.authentication_id, wrong(verification), 0.0) for _ in range(4)]
    assert outcomes == [Denial.WRONG, Denial.WRONG, Denial.FAILED, Denial.FAILED]
    assert subject.validate_code(verification.authentication_id, verification.code, 0.0) is Denial.FAILED
    assert verification.wrong_tries == 3


def test_codes_are_compared_exactly() -> None:
    """Case and surrounding space matter."""
    subject = operator(code_alphabet="a")
    verification = sent(subject)
    for typed in ("AAAAAA", " aaaaaa"):
        assert subject.validate_code(verification.authentication_id, typed, 0.0) is Denial.WRONG


def test_sends_are_counted_within_the_window() -> None:
    """The max_send-th send is refused until the oldest that counts has left the window; refusals do not count."""
    subject = operator(max_send=3, send_window=100.0)
    sent(subject, now=0.0)
    sent(subject, now=50.0)
    assert subject.send_code(PHONE, "{{code}}", 99.9) is Denial.TOO_MANY_SENDS
    sent(subject, now=100.0)
    assert subject.send_code(PHONE, "{{code}}", 149.9) is Denial.TOO_MANY_SENDS
    sent(subject, now=150.0)
    sent(subject, now=150.0, phone="+34612")


def test_a_refused_send_leaves_the_earlier_id_alive() -> None:
    """Being refused another code does not void the one on the phone."""
    subject = operator(max_send=2)
    verification = sent(subject)
    assert subject.send_code(PHONE, "{{code}}", 1.0) is Denial.TOO_MANY_SENDS
    assert subject.validate_code(verification.authentication_id, verification.code, 1.0) is verification


def test_no_send_at_all() -> None:
    """With max_send 1 the first send is the one refused, and the number leaves no trace."""
    subject = operator(max_send=1)
    assert subject.send_code(PHONE, "{{code}}", 0.0) is Denial.TOO_MANY_SENDS
    assert subject.newest(PHONE) is None
    assert not subject._phones


@pytest.mark.parametrize(
    ("setting", "refusal"),
    [
        ("unreachable_numbers", Denial.NOT_ALLOWED),
        ("landline_numbers", Denial.NOT_ALLOWED),
        ("blocked_numbers", Denial.BLOCKED),
        ("foreign_numbers", Denial.FOREIGN),
    ],
)
def test_special_numbers(setting: str, refusal: Denial) -> None:
    """Numbers that cannot be texted are refused for their reason and get nothing."""
    subject = operator(**{setting: [PHONE]})
    assert subject.send_code(PHONE, "{{code}}", 0.0) is refusal
    assert list(subject.verifications()) == []


def test_unknown_id() -> None:
    """An id that was never issued is told apart from one that is over."""
    assert operator().validate_code("nobody", "1", 0.0) is Denial.UNKNOWN_ID


def test_same_seed_same_codes() -> None:
    """Codes and ids repeat with the seed."""
    first, second = sent(operator()), sent(operator())
    assert (first.code, first.authentication_id) == (second.code, second.authentication_id)


def test_memory_is_bounded() -> None:
    """The newest are kept, per number and in all, and what is forgotten is forgotten in every index."""
    subject = operator(keep_per_number=2, keep_total=5, max_send=1_000_000)
    for round_ in range(200):
        for phone in ("+34611", f"+3462{round_}"):
            sent(subject, phone=phone)
    assert len(list(subject.verifications())) == len(subject._by_id) == 5
    assert sum(len(line.verifications) for line in subject._phones.values()) == 5
    assert len(list(subject.verifications("+34611"))) == 2
    assert subject.sent == 400
    assert subject.find("nobody") is None
