"""The dialogue of a CIBA login in poll mode, apart from how requests are sent and time is spent."""

from collections.abc import Callable
from typing import Final

from camara_otp.auth._answers import Asked
from camara_otp.auth._values import Refusal, Token

# Seconds. One operator publishes an interval of 0.
FLOOR: Final = 1.0
SLOWER: Final = 5.0
_SLOWEST: Final = 60.0


def log_in(
    ask: Callable[[], Asked | Refusal],
    poll: Callable[[str], Token | Refusal],
    *,
    deadline: float,
    clock: Callable[[], float],
    stopped: Callable[[float], bool],
) -> tuple[Token, float] | Refusal:
    """Ask for a login and poll until it is done, refused or too late.

    Args:
        ask: sends the request for a login.
        poll: asks once whether the login of that id is done.
        deadline: by `clock`.
        clock: monotonic seconds.
        stopped: waits so many seconds and tells whether nobody wants the token any more.

    Returns:
        The token and the moment at which its request began, or why there is none.
    """
    asked = ask()
    if isinstance(asked, Refusal):
        return asked
    interval = max(asked.interval, FLOOR)
    ends = clock() + asked.expires_in
    polled = False
    while True:
        pause = _pause(interval, ends - clock(), polled=polled)
        if pause is None:
            return Refusal("the login was not finished before the operator's own limit; authorize again")
        if clock() + pause >= deadline:
            return Refusal(
                f"the login was not finished in time; give authorize a longer timeout (the operator wants {interval:g} "
                "s between two questions)"
            )
        if stopped(pause):
            return Refusal("the login was given up")
        polled = True
        began = clock()
        outcome = poll(asked.auth_req_id)
        if isinstance(outcome, Token):
            return outcome, began
        if outcome.code == "slow_down":
            interval += SLOWER
        elif outcome.code == "authorization_pending":
            continue
        elif outcome.again:
            # CIBA Core section 7.3 wants a client that gets no answer to ask less often.
            interval = max(interval, min(interval * 2, _SLOWEST), outcome.wait)
        else:
            return outcome


def _pause(interval: float, left: float, *, polled: bool) -> float | None:
    """Return how long to wait before the next poll, or None when the login will be over by then."""
    if interval < left:
        return interval
    # An interval as long as the login lives would let nobody in: there is one poll, close to the end.
    return None if polled else max(left - FLOOR, 0.0)
