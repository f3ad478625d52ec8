"""The sandbox passes the check, and each wrong operator fails the expected scenarios."""

import time
from functools import partial

import anyio
import httpx
import pytest

from camara_otp.conformance import Verdict, plan, run, sandbox_settings, scenarios, settings_from
from camara_otp.sandbox import Sandbox
from tests.conformance.wrong import CASES, DEFAULTS, NEWEST, OPTIONAL, SUPERSEDED, WRONG

pytestmark = pytest.mark.long  # a whole check for each wrong operator


def failed(report):
    """Return the tags of failed scenarios."""
    return {outcome.tag for outcome in report.outcomes if outcome.verdict is Verdict.FAIL}


def check(settings, transport):
    """Run a whole check."""
    return anyio.run(
        partial(run, settings, plan(settings, scenarios(settings.release)), "good-token", transport=transport)
    )


@pytest.mark.parametrize("release", ["1.0.0", "1.1.0", "1.1.1"])
def test_the_sandbox_passes_all(release):
    """Nothing fails, and only scenarios that need other tokens are skipped."""
    sandbox = Sandbox(release=release)
    settings = settings_from(sandbox_settings("http://127.0.0.1:9091", {**DEFAULTS, "release": release}))

    report = check(settings, sandbox.transport())

    others = [outcome for outcome in report.outcomes if outcome.verdict is not Verdict.PASS or outcome.findings]
    assert {outcome.tag for outcome in others if outcome.verdict is Verdict.SKIP} == OPTIONAL
    assert len(others) == len(OPTIONAL)
    # The send that is one too many is announced, and refused.
    assert report.texts == sandbox.sent_count == plan(settings, scenarios(release)).texts - 1
    assert report.is_good()


@pytest.mark.parametrize(
    ("limits", "skipped", "reason"),
    [
        ({"max_try": 1}, {WRONG}, "the first wrong code closes a verification here"),
        (
            {"max_send": 2},
            {SUPERSEDED, NEWEST},
            "it sends 2 SMS to one phone, and the operator refuses number 2 (limits.max_send)",
        ),
        ({"max_try": 9, "code_length": 10, "code_alphabet": "AB"}, set(), ""),
    ],
)
def test_an_operator_with_other_limits_is_not_judged_by_the_usual_ones(limits, skipped, reason):
    """Scenarios that do not fit its limits are skipped with the reason; none fails."""
    sandbox = Sandbox(**limits)
    with httpx.Client(transport=sandbox.transport()) as client:
        told = client.get("http://127.0.0.1:9091/_sandbox/state").json()["settings"]
    settings = settings_from(sandbox_settings("http://127.0.0.1:9091", told))

    report = check(settings, sandbox.transport())

    left_out = {outcome.tag: outcome.reason for outcome in report.outcomes if outcome.verdict is not Verdict.PASS}
    assert {tag: why for tag, why in left_out.items() if tag not in OPTIONAL} == dict.fromkeys(skipped, reason)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_wrong_operator_is_caught_by_what_should(case):
    """Exactly the tags that name the deviation fail."""
    transport, settings = case.operator()

    report = check(settings, transport)

    assert failed(report) & case.caught_by == case.caught_by
    assert case.at_least or failed(report) == case.caught_by
    assert report.is_good() is not bool(case.caught_by)


def test_a_full_check_of_the_sandbox_is_quick():
    """Under five seconds over real HTTP."""
    sandbox = Sandbox()
    with sandbox.serve() as url:
        settings = settings_from(sandbox_settings(url, DEFAULTS))
        began = time.monotonic()
        report = check(settings, None)

    assert time.monotonic() - began < 5
    assert report.is_good()
