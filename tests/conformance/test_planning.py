"""The plan of a check: which scenario runs when, on which phone, and at which cost."""

import pytest

from camara_otp.conformance import plan, scenarios, settings_from
from camara_otp.conformance.flows import one_send_too_many, too_late
from camara_otp.conformance.planning import NO_NUMBER, NO_SMS, OVER_MAX_TEXTS, PHONES_FULL, TOO_MANY

PHONES = ["+34600000101", "+34600000102"]
HTTP = {"how": "http", "url": "http://127.0.0.1/"}


def planned(release="1.1.1", **settings):
    """Plan all scenarios of a release."""
    made = settings_from({"base_url": "https://api.example.com", "release": release, **settings})
    return plan(made, scenarios(made.release))


def skipped(made):
    """Return the reasons of skipped steps, by tag."""
    return {step.scenario.tag: step.skip for step in made.steps if step.skip}


def playing(made):
    """Return the steps that are run."""
    return [step for lanes in made.phases for lane in lanes for step in lane]


def test_without_settings_no_sms_is_sent():
    """Requests that need no phone are sent; the other scenarios name the missing setting."""
    made = planned()

    assert made.texts == 0
    assert {step.scenario.operation for step in playing(made)} == {"send-code", "validate-code"}
    assert skipped(made)["OTPvalidationAPI_01_send_code_success_scenario"] == NO_NUMBER
    assert "set [read]" in skipped(made)["OTPvalidationAPI_01_validate_code_sucess_scenario"]
    assert "set numbers.landline" in skipped(made)["OTPvalidationAPI_05_send_code_phone_number_not_allowed_3"]


def test_a_request_that_has_to_be_refused_reaches_no_stranger():
    """Without a phone it has a reserved number."""
    assert {step.number for step in playing(planned()) if step.number} == {"+447700900123"}


def test_no_sms_is_the_subset_that_costs_nothing():
    """It sends no SMS even if there are phones."""
    made = planned(numbers={"reachable": PHONES}, sms=False, read=HTTP)

    assert made.texts == 0
    assert skipped(made)["OTPvalidationAPI_01_send_code_success_scenario"] == NO_SMS


def test_a_budget_is_kept():
    """Scenarios that would exceed it are skipped."""
    made = planned(numbers={"reachable": PHONES}, max_texts=3, read=HTTP)

    assert made.texts == 3
    assert OVER_MAX_TEXTS in skipped(made).values()


@pytest.mark.parametrize("phones", [1, 2, 6, 40])
def test_no_phone_gets_more_sms_than_the_operator_allows(phones):
    """So no scenario fails because of the SMS of another."""
    reachable = [f"+346000002{index:02d}" for index in range(phones)]
    made = planned(numbers={"reachable": reachable}, limits={"max_send": 4, "max_try": 3}, read=HTTP, expire=HTTP)

    for phone in reachable:
        steps = [step for step in playing(made) if step.number == phone]
        # The send that is one too many is refused.
        assert sum(step.texts - (step.scenario.flow is one_send_too_many) for step in steps) <= 3
    assert (PHONES_FULL in skipped(made).values()) == (phones < 6)


def test_the_send_that_is_one_too_many_uses_what_the_phone_got_before():
    """It is the last one on its phone, and often costs no SMS."""
    made = planned(numbers={"reachable": PHONES[:1]}, limits={"max_send": 4})
    lane = next(lane for lane in made.phases[3] if lane[0].number == PHONES[0])

    assert lane[-1].scenario.flow is one_send_too_many
    assert sum(step.texts for step in playing(made) if step.number == PHONES[0]) == 4


def test_a_reset_allows_more_scenarios():
    """A reset of all phones means that scenarios run one after the other."""
    reset = {"how": "http", "url": "http://127.0.0.1/reset"}
    limits = {"max_send": 3, "max_try": 3}
    everybody = planned(numbers={"reachable": PHONES[:1]}, limits=limits, read=HTTP, reset=reset)
    one = planned(
        numbers={"reachable": PHONES[:1]}, limits=limits, read=HTTP, reset={**reset, "url": "http://h/{phone_number}"}
    )

    assert any(step.reset for step in playing(everybody))
    assert PHONES_FULL not in skipped(everybody).values()
    assert len(everybody.phases[3]) == 1 < len(one.phases[1])


def test_what_takes_more_than_a_phone_may_get_is_left_out_even_with_a_reset():
    """A scenario with two SMS cannot run if the second is refused."""
    made = planned(numbers={"reachable": PHONES}, limits={"max_send": 2}, read=HTTP, reset=HTTP)

    assert skipped(made)["camara_otp_validate_code_newest_of_two"] == TOO_MANY.format(2, 2)


def test_a_person_is_asked_one_thing_at_a_time():
    """All scenarios run in one lane."""
    assert {len(lanes) for lanes in planned(numbers={"reachable": PHONES}, read={"how": "ask"}).phases} <= {0, 1}


@pytest.mark.parametrize(
    ("expire", "alone"),
    [
        ({"how": "wait"}, False),
        (HTTP, True),
        ({**HTTP, "body": {"id": "{authentication_id}"}}, False),
        ({"how": "command", "command": ["expire", "{phone_number}"]}, False),
        ({"how": "command", "command": ["expire"]}, True),
    ],
)
def test_what_lets_every_code_expire_goes_alone(expire, alone):
    """It runs at the end; a scenario about one code need not."""
    made = planned(numbers={"reachable": PHONES}, read=HTTP, expire=expire)

    assert [step.scenario.flow for lane in made.phases[4] for step in lane] == ([too_late] if alone else [])


def test_the_last_send_waits_for_what_goes_alone_on_its_phone():
    """Otherwise it would use up the SMS of that phone."""
    made = planned(numbers={"reachable": PHONES[:1]}, limits={"max_send": 20}, read=HTTP, expire=HTTP)

    assert [step.scenario.flow for lane in made.phases[4] for step in lane] == [too_late, one_send_too_many]


@pytest.mark.parametrize(("release", "count"), [("1.0.0", 37), ("1.1.0", 32), ("1.1.1", 32)])
def test_every_published_scenario_is_there(release, count):
    """As many as the release has, each under its own tag, in the same order for every runner."""
    published = scenarios(release, added=False)
    made = planned(release)

    assert len(published) == len({scenario.tag for scenario in published}) == count
    assert sorted(step.scenario.tag for step in made.in_order) == sorted(step.scenario.tag for step in made.steps)
