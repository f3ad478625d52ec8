"""When a request may be sent again: one table of outcomes, and the pure functions that read it.

send_code sends an SMS that costs money, validate_code uses up an attempt, and the API has no idempotency key. So a
second request is sent only if the first one provably was not processed.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

import attrs

from camara_otp._checks import is_count, seconds
from camara_otp.errors import API_PREFIX, APIError, ConfigurationError, OTPError, RequestNotSentError


class AttemptOutcome(Enum):
    """The outcome of a request, as used by the retry rules."""

    NOT_SENT = "not sent"
    NEVER_TO_BE_SENT = "not sent, and trying again cannot help"
    TOKEN_REJECTED = "token rejected"  # noqa: S105 - the name of an outcome
    RATE_LIMITED = "rate limited"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Repeat(Enum):
    """When a request is sent again after an outcome."""

    NEVER = "never"
    WITH_BACKOFF = "up to `max_attempts` times in all"
    WITH_NEW_TOKEN = "once, with a renewed token"  # noqa: S105 - a rule
    AFTER_RETRY_AFTER = "only with `rate_limited=True`, after a `Retry-After` that the deadline allows"


RULES: Final[Mapping[AttemptOutcome, Repeat]] = MappingProxyType(
    {
        AttemptOutcome.NOT_SENT: Repeat.WITH_BACKOFF,
        AttemptOutcome.NEVER_TO_BE_SENT: Repeat.NEVER,
        AttemptOutcome.TOKEN_REJECTED: Repeat.WITH_NEW_TOKEN,
        AttemptOutcome.RATE_LIMITED: Repeat.AFTER_RETRY_AFTER,
        AttemptOutcome.REFUSED: Repeat.NEVER,
        AttemptOutcome.UNKNOWN: Repeat.NEVER,
    }
)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often and how long to try a request that never reached the operator.

    Args:
        max_attempts: requests begun in one call, at least 1
        first_wait: seconds before the second attempt, doubled for each further one, jittered down by up to a half
        max_wait: the longest such wait, in seconds
        connect_timeout: seconds for one connection to be made: name, TCP, TLS
        rate_limited: True repeats after 429 `TOO_MANY_REQUESTS` too, if the response has a `Retry-After` that fits
            into the call's timeout

    Raises:
        ConfigurationError: a value is out of its range
    """

    max_attempts: int = 3
    first_wait: float = 0.2
    max_wait: float = 2.0
    connect_timeout: float = 3.0
    rate_limited: bool = False

    def __attrs_post_init__(self) -> None:
        if not is_count(self.max_attempts):
            raise ConfigurationError("max_attempts: must be a whole number of at least 1; retry=None never repeats")
        seconds("first_wait", self.first_wait, zero=True)
        seconds("max_wait", self.max_wait, zero=True)
        seconds("connect_timeout", self.connect_timeout)


def outcome_of(error: OTPError) -> AttemptOutcome:
    """Return the outcome for an error.

    The code has to fit the status: a 500 that says TOO_MANY_REQUESTS is a 500.
    """
    if isinstance(error, RequestNotSentError):
        return AttemptOutcome.NEVER_TO_BE_SENT if error.permanent else AttemptOutcome.NOT_SENT
    if error.outcome_unknown:
        return AttemptOutcome.UNKNOWN
    if isinstance(error, APIError):
        # The API's own codes concern the verification, never the token; any other code of a 401 may be a gateway's.
        if error.status == 401 and not (error.code or "").startswith(API_PREFIX):
            return AttemptOutcome.TOKEN_REJECTED
        if (error.status, error.code) == (429, "TOO_MANY_REQUESTS"):
            return AttemptOutcome.RATE_LIMITED
    return AttemptOutcome.REFUSED


class NextAttempt(NamedTuple):
    """Tells the client to send the request again after `wait` seconds, with a new token if `renew_token` is set."""

    wait: float = 0.0
    renew_token: bool = False


def next_attempt(
    policy: RetryPolicy | None, error: OTPError, *, attempts: int, remaining: float, jitter: float, may_renew: bool
) -> NextAttempt | None:
    """Return how the same request is sent again, or None if it must not be.

    Args:
        policy: the client's policy; None repeats nothing but a 401 with a renewed token
        error: the outcome of the last attempt
        attempts: requests begun so far
        remaining: seconds left of the call. A wait that does not fit is not begun.
        jitter: a random number from 0 up to 1
        may_renew: whether there is a token provider, and no token was renewed yet in this call
    """
    rule = RULES[outcome_of(error)]
    if rule is Repeat.WITH_NEW_TOKEN:
        return NextAttempt(renew_token=True) if may_renew and remaining > 0 else None
    if rule is Repeat.NEVER or policy is None or attempts >= policy.max_attempts:
        return None
    if rule is Repeat.WITH_BACKOFF:
        longest = min(policy.max_wait, policy.first_wait * 2.0 ** min(attempts - 1, 60))
        wait = longest * (1.0 - jitter / 2.0)
    elif policy.rate_limited and isinstance(error, APIError) and error.retry_after is not None:
        wait = error.retry_after
    else:
        return None
    return NextAttempt(wait) if wait < remaining else None
