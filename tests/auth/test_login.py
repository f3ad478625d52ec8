"""The CIBA login, with a clock that the test moves."""

import pytest

from camara_otp.auth.ciba import poll_login
from camara_otp.auth.responses import StartedLogin, Token, TokenRefusal

TOKEN = Token("t", 3600, 3600)
PENDING = TokenRefusal("pending", "authorization_pending")
SLOW = TokenRefusal("slow", "slow_down")
DOWN = TokenRefusal("down", again=True)


class World:
    """A clock, and an operator with scripted responses to polls."""

    def __init__(self, asked, *polls, give_up_at=None):
        self.now = 0.0
        self.asked = asked
        self.polls = list(polls)
        self.waits = []
        self.ids = []
        self.give_up_at = give_up_at

    def log_in(self, timeout):
        try:
            return poll_login(self.asked, self.poll, deadline=timeout, clock=lambda: self.now, stopped=self.stopped)
        except TokenRefusal as refusal:
            return refusal

    def poll(self, identifier):
        self.ids.append(identifier)
        self.now += 0.1
        outcome = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        if isinstance(outcome, TokenRefusal):
            raise outcome
        return outcome

    def stopped(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        return self.give_up_at is not None and self.now >= self.give_up_at


def asked(interval=5.0, expires_in=120.0):
    """Return a login after the first request."""
    return StartedLogin("id", interval, expires_in)


def test_polls_keep_the_interval():
    """The interval applies before the first poll too."""
    world = World(asked(), PENDING, PENDING, TOKEN)

    assert world.log_in(100) == TOKEN
    assert world.waits == [5.0, 5.0, 5.0]
    assert world.ids == ["id"] * 3


@pytest.mark.parametrize(("interval", "expires_in"), [(5.0, 5.0), (5.0, 3.0), (100.0, 60.0)])
def test_an_interval_as_long_as_the_login_lives_still_gives_one_poll(interval, expires_in):
    """It polls once, just before the expiry."""
    assert World(asked(interval, expires_in), TOKEN).log_in(100) == TOKEN

    world = World(asked(interval, expires_in), PENDING)
    assert "operator's own limit" in world.log_in(100).reason
    assert world.waits == [expires_in - 1.0]


def test_a_login_that_lives_no_second_is_polled_at_once():
    world = World(asked(5.0, 0.0), TOKEN)

    assert world.log_in(100) == TOKEN
    assert world.waits == [0.0]


def test_an_interval_of_zero_has_a_floor():
    """One operator publishes an interval of zero."""
    world = World(asked(interval=0.0), PENDING, TOKEN)
    world.log_in(100)

    assert world.waits == [1.0, 1.0]


def test_slow_down_adds_five_seconds_for_good():
    """Source: CIBA Core section 11."""
    world = World(asked(interval=2.0), SLOW, PENDING, SLOW, TOKEN)
    world.log_in(100)

    assert world.waits == [2.0, 7.0, 7.0, 12.0]


def test_silence_doubles_the_interval():
    """An operator that does not respond gets fewer polls."""
    world = World(asked(interval=20.0, expires_in=1000.0), DOWN, DOWN, DOWN, PENDING, TOKEN)
    world.log_in(1000)

    assert world.waits == [20.0, 40.0, 60.0, 60.0, 60.0]


def test_a_wait_that_the_server_asks_for_is_kept():
    """The client waits for Retry-After between polls."""
    world = World(asked(interval=2.0), TokenRefusal("busy", again=True, wait=30.0), TOKEN)
    world.log_in(100)

    assert world.waits == [2.0, 30.0]


def test_the_operators_limit_ends_the_login():
    """No poll after `expires_in`."""
    world = World(asked(expires_in=12.0), PENDING)
    outcome = world.log_in(100)

    assert isinstance(outcome, TokenRefusal)
    assert "operator's own limit" in outcome.reason
    assert world.waits == [5.0, 5.0]


def test_the_callers_limit_ends_the_login():
    """No poll after the deadline, and no waiting for it."""
    world = World(asked(), PENDING)
    outcome = world.log_in(12)

    assert isinstance(outcome, TokenRefusal)
    assert "longer timeout" in outcome.reason
    assert world.now < 12


def test_giving_up_ends_the_login():
    """Polling stops when the caller has canceled the login."""
    outcome = World(asked(), PENDING, give_up_at=10).log_in(100)

    assert isinstance(outcome, TokenRefusal)
    assert "canceled" in outcome.reason


@pytest.mark.parametrize("code", ["access_denied", "expired_token", "invalid_client", None])
def test_any_other_refusal_ends_the_login(code):
    """Only pending, slow_down and failures of the server mean another poll."""
    refusal = TokenRefusal("no", code)

    assert World(asked(), PENDING, refusal).log_in(100) == refusal
