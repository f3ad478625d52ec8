"""The retry table and the functions that read it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camara_otp import errors
from camara_otp.errors import (
    CODES,
    STATUSES,
    ConfigurationError,
    OutcomeUnknownError,
    RequestNotSentError,
    TokenError,
    UnexpectedResponseError,
    error_class,
)
from camara_otp.retry import RULES, AttemptOutcome, NextAttempt, Repeat, RetryPolicy, next_attempt, outcome_of

POLICY = RetryPolicy()
EAGER = RetryPolicy(max_attempts=50, rate_limited=True)


def refusal(status, code=None, retry_after=None):
    """Return the error of an answer."""
    return error_class(status, code)(status, code, retry_after=retry_after)


def wait_before_repeat(policy, error, **state):
    """Return the wait before the next attempt of a call that has renewed its token already, or None."""
    following = next_attempt(policy, error, may_renew=False, **state)
    assert following is None or not following.renew_token
    return None if following is None else following.wait


def wants_new_token(error, policy=POLICY, *, may_renew=True, remaining=10.0):
    """Return whether the next attempt needs another token."""
    following = next_attempt(policy, error, attempts=1, remaining=remaining, jitter=0.5, may_renew=may_renew)
    return following == NextAttempt(renew_token=True)


ROWS = [
    (RequestNotSentError("refused"), AttemptOutcome.NOT_SENT),
    (RequestNotSentError("certificate", permanent=True), AttemptOutcome.NEVER_TO_BE_SENT),
    (OutcomeUnknownError("reset"), AttemptOutcome.UNKNOWN),
    (UnexpectedResponseError("odd", status=202), AttemptOutcome.UNKNOWN),
    (TokenError("none"), AttemptOutcome.REFUSED),
    (refusal(401, "UNAUTHENTICATED"), AttemptOutcome.TOKEN_REJECTED),
    (refusal(401, "AUTHENTICATION_REQUIRED"), AttemptOutcome.TOKEN_REJECTED),
    (refusal(401), AttemptOutcome.TOKEN_REJECTED),
    (refusal(401, "UNAUTHORIZED"), AttemptOutcome.TOKEN_REJECTED),
    (refusal(401, "900901"), AttemptOutcome.TOKEN_REJECTED),
    (refusal(401, "INVALID_TOKEN"), AttemptOutcome.TOKEN_REJECTED),
    (refusal(401, "ONE_TIME_PASSWORD_SMS.INVALID_OTP"), AttemptOutcome.REFUSED),
    (refusal(401, "ONE_TIME_PASSWORD_SMS.BRAND_NEW"), AttemptOutcome.REFUSED),
    (refusal(403, "UNAUTHENTICATED"), AttemptOutcome.REFUSED),
    (refusal(500, "UNAUTHENTICATED"), AttemptOutcome.UNKNOWN),
    (refusal(429, "TOO_MANY_REQUESTS", 1.0), AttemptOutcome.RATE_LIMITED),
    (refusal(429, "QUOTA_EXCEEDED", 1.0), AttemptOutcome.REFUSED),
    (refusal(429, None, 1.0), AttemptOutcome.REFUSED),
    (refusal(503, "TOO_MANY_REQUESTS", 1.0), AttemptOutcome.UNKNOWN),
    (refusal(409, "ABORTED"), AttemptOutcome.UNKNOWN),
    (refusal(409, "CONFLICT"), AttemptOutcome.REFUSED),
]


@pytest.mark.parametrize(("error", "outcome"), ROWS)
def test_an_error_falls_under_one_row(error, outcome):
    """Status and code have to match."""
    assert outcome_of(error) is outcome


def test_every_row_is_reached_and_agrees_on_what_is_unknown():
    """Every row has an error, and a request with an unknown outcome is never repeated."""
    assert {outcome for _, outcome in ROWS} == set(AttemptOutcome) == set(RULES)
    assert all((outcome is AttemptOutcome.UNKNOWN) is error.outcome_unknown for error, outcome in ROWS)
    assert RULES[AttemptOutcome.UNKNOWN] is Repeat.NEVER


@pytest.mark.parametrize("policy", [POLICY, EAGER, None])
@pytest.mark.parametrize("status", [*STATUSES, 402, 418, 599])
def test_nothing_that_may_have_been_processed_is_repeated(status, policy):
    """Of all responses, only 429 TOO_MANY_REQUESTS is repeated, and only with the setting."""
    for code in (*CODES, None):
        error = refusal(status, code, retry_after=0.0)

        wait = wait_before_repeat(policy, error, attempts=1, remaining=10.0, jitter=0.5)

        assert (wait is not None) is (policy is EAGER and (status, code) == (429, "TOO_MANY_REQUESTS"))
        assert wants_new_token(error, policy) is (
            status == 401 and not (code or "").startswith("ONE_TIME_PASSWORD_SMS.")
        )


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknownError("reset"),
        UnexpectedResponseError("odd", status=302),
        TokenError("x"),
        RequestNotSentError("certificate", permanent=True),
    ],
)
def test_other_failures_are_never_repeated(error):
    """No policy changes this."""
    assert wait_before_repeat(EAGER, error, attempts=1, remaining=1e9, jitter=0.0) is None
    assert not wants_new_token(error)


def test_a_request_that_was_not_sent_is_repeated_with_growing_waits():
    """Doubling from first_wait up to max_wait, at most max_attempts requests."""
    policy = RetryPolicy(max_attempts=6, first_wait=0.5, max_wait=3.0)

    waits = [
        wait_before_repeat(policy, RequestNotSentError("refused"), attempts=n, remaining=99.0, jitter=0.0)
        for n in range(1, 7)
    ]

    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0, None]


def test_a_wait_that_the_deadline_does_not_allow_is_not_begun():
    """An early error is better than a wait that ends in a timeout."""
    error = RequestNotSentError("refused")

    assert wait_before_repeat(POLICY, error, attempts=1, remaining=0.2, jitter=0.0) is None
    assert wait_before_repeat(POLICY, error, attempts=1, remaining=0.2, jitter=0.5) == pytest.approx(0.15)
    limited = refusal(429, "TOO_MANY_REQUESTS", retry_after=5.0)
    assert wait_before_repeat(EAGER, limited, attempts=1, remaining=5.0, jitter=0.0) is None
    assert wait_before_repeat(EAGER, limited, attempts=1, remaining=5.1, jitter=0.9) == 5.0


def test_a_rate_limit_without_retry_after_is_raised():
    """The server did not say when to try again."""
    assert wait_before_repeat(EAGER, refusal(429, "TOO_MANY_REQUESTS"), attempts=1, remaining=9.0, jitter=0.0) is None


@given(
    attempts=st.integers(1, 10_000),
    jitter=st.floats(0, 1, exclude_max=True),
    first=st.floats(0, 1e9),
    longest=st.floats(0, 1e9),
    remaining=st.floats(-10, 1e10),
)
def test_waits_are_bounded(attempts, jitter, first, longest, remaining):
    """Never negative, never above max_wait, never past the deadline."""
    policy = RetryPolicy(max_attempts=10**6, first_wait=first, max_wait=longest)

    wait = wait_before_repeat(policy, RequestNotSentError("x"), attempts=attempts, remaining=remaining, jitter=jitter)

    assert wait is None or (0 <= wait <= longest and wait < remaining)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 2.0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"first_wait": -0.1}, "first_wait"),
        ({"first_wait": math.nan}, "first_wait"),
        ({"max_wait": math.inf}, "max_wait"),
        ({"max_wait": "2"}, "max_wait"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"connect_timeout": None}, "connect_timeout"),
        ({"connect_timeout": 10**400}, "connect_timeout"),
    ],
)
def test_a_bad_policy_is_refused(options, names):
    """The message names the field."""
    with pytest.raises(ConfigurationError, match=names):
        RetryPolicy(**options)


def test_only_a_rejected_token_repeats_with_a_new_one():
    """The rule is once in the table."""
    assert [outcome for outcome, rule in RULES.items() if rule is Repeat.WITH_NEW_TOKEN] == [
        AttemptOutcome.TOKEN_REJECTED
    ]
    assert isinstance(refusal(401), errors.HTTP401Error)
    assert wants_new_token(refusal(401))
    assert not wants_new_token(refusal(401), may_renew=False)
    assert not wants_new_token(refusal(401), remaining=0.0)
