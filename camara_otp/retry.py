"""When a request may be sent again: one table of outcomes, and the pure functions that read it.

send_code texts and bills a person, validate_code spends an attempt, and the API has no idempotency key. So a second
request goes out only where the first provably was not processed.
"""

import math
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

import attrs

from camara_otp.errors import APIError, ConfigurationError, OTPError, RequestNotSentError


class Outcome(Enum):
    """What is known after a request, as far as repeating it goes."""

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


class Rule(NamedTuple):
    """A row of the table: what it covers, when to repeat, and whether the operator may have acted."""

    covers: str
    repeat: Repeat
    outcome_unknown: bool


RULES: Final[Mapping[Outcome, Rule]] = MappingProxyType(
    {
        Outcome.NOT_SENT: Rule(
            "no name, connection refused, connect or pool timeout, broken TLS handshake, proxy refusal",
            Repeat.WITH_BACKOFF,
            outcome_unknown=False,
        ),
        Outcome.NEVER_TO_BE_SENT: Rule(
            "a certificate that does not verify",
            Repeat.NEVER,
            outcome_unknown=False,
        ),
        Outcome.TOKEN_REJECTED: Rule(
            "401 with `UNAUTHENTICATED`, `AUTHENTICATION_REQUIRED` or no error code",
            Repeat.WITH_NEW_TOKEN,
            outcome_unknown=False,
        ),
        Outcome.RATE_LIMITED: Rule(
            "429 with `TOO_MANY_REQUESTS`",
            Repeat.AFTER_RETRY_AFTER,
            outcome_unknown=False,
        ),
        Outcome.REFUSED: Rule(
            "every other 4xx but 409 `ABORTED`, `QUOTA_EXCEEDED` and `MAX_OTP_CODES_EXCEEDED` included",
            Repeat.NEVER,
            outcome_unknown=False,
        ),
        Outcome.UNKNOWN: Rule(
            "a failure or timeout after the first byte was sent, 5xx, 409 `ABORTED`, any answer outside the contract",
            Repeat.NEVER,
            outcome_unknown=True,
        ),
    }
)

# The code has to fit the status: a 500 that says UNAUTHENTICATED is a 500.
_TOKEN_REJECTED: Final = frozenset({(401, "UNAUTHENTICATED"), (401, "AUTHENTICATION_REQUIRED"), (401, None)})
_RATE_LIMITED: Final = frozenset({(429, "TOO_MANY_REQUESTS")})


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """Say how often and how long to try a request that never reached the operator.

    Args:
        max_attempts: requests begun in one call, at least 1.
        first_wait: seconds before the second attempt, doubled for each further one, jittered down by up to a half.
        max_wait: the longest such wait, in seconds.
        connect_timeout: seconds for one connection to be made: name, TCP, TLS.
        rate_limited: True repeats after 429 `TOO_MANY_REQUESTS` too, when the operator names a `Retry-After` that
            fits into the call's timeout.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    max_attempts: int = 3
    first_wait: float = 0.2
    max_wait: float = 2.0
    connect_timeout: float = 3.0
    rate_limited: bool = False

    def __attrs_post_init__(self) -> None:
        """Check the ranges."""
        if not is_count(self.max_attempts):
            raise ConfigurationError("max_attempts: must be a whole number of at least 1; retry=None never repeats")
        for name in ("first_wait", "max_wait"):
            if not is_seconds(getattr(self, name), at_least=0.0):
                raise ConfigurationError(f"{name}: must be a finite number of seconds, 0 or more")
        if not is_seconds(self.connect_timeout):
            raise ConfigurationError("connect_timeout: must be a finite number of seconds above 0")


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_seconds(value: object, *, at_least: float | None = None) -> bool:
    """Tell whether a value is a finite number of seconds above 0, or of at least `at_least`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        seconds = float(value)
    except OverflowError:
        return False
    return math.isfinite(seconds) and (seconds > 0 if at_least is None else seconds >= at_least)


def outcome_of(error: OTPError) -> Outcome:
    """Return the row of the table that an error falls under."""
    if isinstance(error, RequestNotSentError):
        return Outcome.NEVER_TO_BE_SENT if error.permanent else Outcome.NOT_SENT
    if error.outcome_unknown:
        return Outcome.UNKNOWN
    if isinstance(error, APIError):
        answer = (error.status, error.code)
        if answer in _TOKEN_REJECTED:
            return Outcome.TOKEN_REJECTED
        if answer in _RATE_LIMITED:
            return Outcome.RATE_LIMITED
    return Outcome.REFUSED


def wait_before_repeat(
    policy: RetryPolicy | None, error: OTPError, *, attempts: int, remaining: float, jitter: float
) -> float | None:
    """Return the seconds to wait before the same request is sent again, or None when it must not be.

    Args:
        policy: the client's policy; None never repeats.
        error: what the last attempt came to.
        attempts: requests begun so far.
        remaining: seconds left of the call. A wait that does not fit is not begun.
        jitter: a random number from 0 up to 1.
    """
    if policy is None or attempts >= policy.max_attempts:
        return None
    match RULES[outcome_of(error)].repeat:
        case Repeat.WITH_BACKOFF:
            longest = min(policy.max_wait, policy.first_wait * 2.0 ** min(attempts - 1, 60))
            wait = longest * (1.0 - jitter / 2.0)
        case Repeat.AFTER_RETRY_AFTER:
            if not policy.rate_limited or not isinstance(error, APIError) or error.retry_after is None:
                return None
            wait = error.retry_after
        case _:
            return None
    return wait if wait < remaining else None


def wants_new_token(error: OTPError) -> bool:
    """Tell whether the operator refused the token alone, so that another token may change its mind."""
    return RULES[outcome_of(error)].repeat is Repeat.WITH_NEW_TOKEN
