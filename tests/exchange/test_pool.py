"""The pool: constant steps, in turn, within its bound, whatever comes back."""

import pytest

from camara_otp._exchange import pool as pool_module
from camara_otp._exchange.pool import Pool


class FakeLink:
    def __init__(self, name="", clean=True):
        self.name = name
        self.is_clean = clean
        self.discarded = False
        self.idle_since = 0.0

    def clean(self):
        return self.is_clean

    def discard(self):
        self.discarded = True


@pytest.fixture
def now(monkeypatch):
    """Give a clock that is set by hand."""

    class Clock:
        at = 1000.0

        def monotonic(self):
            return self.at

    clock = Clock()
    monkeypatch.setattr(pool_module, "time", clock)
    return clock


def woken(turn, log, name):
    turn.wake = lambda: log.append(name)
    return turn


def test_the_last_link_in_is_the_first_out():
    """So that the old ones age and are closed."""
    pool = Pool(2)
    first, second = FakeLink(), FakeLink()
    assert pool.take().link is None
    assert pool.take().link is None
    pool.give_back(first)
    pool.give_back(second)
    assert pool.take().link is second
    assert pool.take().link is first
    assert pool.busy == 2


def test_a_link_goes_straight_to_whoever_waits_longest():
    """Nobody overtakes, not even a caller who comes at the right moment."""
    pool, log = Pool(1), []
    assert pool.take().granted
    one, two = (woken(pool.take(), log, name) for name in "ab")
    link = FakeLink()
    pool.give_back(link)
    late = pool.take()
    assert (one.link, one.handed_over, two.granted, late.granted, log) == (link, True, False, False, ["a"])
    pool.give_back(None)
    assert two.granted
    assert two.link is None
    assert log == ["a", "b"]
    assert pool.busy == 1


def test_whoever_gave_up_is_passed_over():
    """And what was granted to them goes to the next."""
    pool, log = Pool(1), []
    pool.take()
    gone, granted, last = (woken(pool.take(), log, name) for name in "abc")
    pool.give_up(gone)
    link = FakeLink()
    pool.give_back(link)
    assert granted.link is link
    pool.give_up(granted)
    assert last.link is link
    assert log == ["b", "c"]
    pool.give_back(link)
    assert pool.busy == 0
    assert pool.take().link is link


def test_room_is_not_given_to_whoever_gave_up():
    """A link that is gone leaves room for the next who still waits."""
    pool = Pool(1)
    pool.take()
    gone, waits = pool.take(), pool.take()
    pool.give_up(gone)
    pool.give_back(None)
    assert waits.granted
    assert pool.busy == 1


def test_old_and_broken_links_are_dropped(now):
    """From the old end after their time, and whenever something waits on them."""
    pool = Pool(3)
    old, broken, fresh = FakeLink("old"), FakeLink("broken", clean=False), FakeLink("fresh")
    for _ in range(3):
        pool.take()
    pool.give_back(old)
    now.at += pool_module.KEPT_SECONDS
    pool.give_back(fresh)
    pool.give_back(broken)
    now.at += 0.5
    turn = pool.take()
    assert turn.link is fresh
    assert (old.discarded, broken.discarded, fresh.discarded) == (True, True, False)
    assert pool.busy == 1


def test_without_sockets_the_links_there_are_serve_everyone_in_turn():
    """A caller without a socket waits for a link; nobody else is sent to fail as well."""
    pool = Pool(10)
    link = FakeLink()
    assert pool.take().granted  # holds the link
    assert pool.take().granted  # finds no socket for its own
    assert pool.shrink()
    pool.give_back(None)
    again = pool.take()
    assert not again.granted
    pool.give_back(link)
    assert again.link is link


def test_a_lone_caller_without_a_socket_has_nothing_to_wait_for():
    """Then the failure is the answer."""
    pool = Pool(10)
    pool.take()
    assert not pool.shrink()


def test_the_bound_grows_back_and_those_who_wait_are_served_first(now):
    """A shortage that has passed costs nothing later."""
    pool = Pool(4)
    pool.take()
    pool.take()
    pool.shrink()
    pool.give_back(None)
    waits = [pool.take(), pool.take()]
    assert not any(turn.granted for turn in waits)
    now.at += pool_module.SHRUNK_SECONDS + 0.1
    log = []
    woken(waits[0], log, "a")
    newcomer = pool.take()
    assert [turn.granted for turn in waits] == [True, True]
    assert newcomer.granted
    assert log == ["a"]
    assert pool.busy == 4
    assert not pool.take().granted


def test_a_closed_pool_keeps_nothing():
    """What is idle is closed at once, what comes back as well; those who wait may still finish."""
    pool = Pool(2)
    pool.take()
    pool.take()
    waits = pool.take()
    idle, used = FakeLink(), FakeLink()
    pool.give_back(idle)
    pool.give_back(waits.link)
    pool.close()
    assert idle.discarded
    pool.give_back(used)
    assert used.discarded
    assert pool.busy == 0


def test_a_new_process_begins_with_nothing():
    """What was idle is closed here, and what was busy is none of ours."""
    pool = Pool(2)
    pool.take()
    pool.take()
    idle = FakeLink()
    pool.give_back(idle)
    new = pool.renewed()
    assert idle.discarded
    assert new.busy == 0
    assert new.take().link is None
    pool.give_back(FakeLink())
    assert new.busy == 1


def test_a_signal_handler_or_a_finalizer_may_come_back_in():
    """The thread that holds the lock is let in again, and every count is right afterwards."""
    pool = Pool(3)
    for _ in range(2):
        pool.take()
    pool.give_back(FakeLink())
    with pool._lock:
        turn = pool.take()
        assert turn.link is not None
        pool.give_back(turn.link)
        pool.give_back(None)
    assert pool.busy == 0


def test_no_link_is_touched_under_the_lock():
    """To look at a socket is a call into the system, and may take its time."""
    pool = Pool(2)
    held = []

    class Watching(FakeLink):
        def clean(self):
            held.append(pool._lock._is_owned())
            return super().clean()

        def discard(self):
            held.append(pool._lock._is_owned())
            super().discard()

    links = [Watching(clean=False), Watching(), Watching()]
    for _ in links[:2]:
        pool.take()
    pool.give_back(links[1])
    pool.give_back(links[0])
    assert pool.take().link is links[1]
    pool.give_back(links[1])
    pool.close()
    assert held == [False] * 4
