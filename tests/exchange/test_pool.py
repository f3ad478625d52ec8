"""The pool: order, limit, failures and interrupts."""

import sys
import threading

import pytest

from camara_otp._exchange import pool as pool_module
from camara_otp._exchange.pool import Pool, Waiter
from tests.interrupts import entered_at, interrupted_at


class Fake:
    """A connection without a socket."""

    def __init__(self):
        self.closed = self.reusable = False
        self.idle_since = 0.0

    def close(self):
        self.closed = True


@pytest.fixture
def now(monkeypatch):
    """Return a clock that the test sets."""

    class Clock:
        at = 1000.0

        def monotonic(self):
            return self.at

    clock = Clock()
    monkeypatch.setattr(pool_module, "time", clock)
    return clock


def take(pool, log=None, name=None):
    waiter = Waiter()
    if log is not None:
        waiter._wake = lambda: log.append(name)
    pool.take(waiter)
    return waiter


def keep(pool, waiter):
    waiter.connection.reusable = True
    pool.leave(waiter)


def test_the_last_connection_in_is_the_first_out():
    """So old connections are closed."""
    pool = Pool(Fake, 2)
    first, second = take(pool), take(pool)
    keep(pool, first)
    keep(pool, second)
    assert take(pool).connection is second.connection
    assert take(pool).connection is first.connection
    assert pool.busy == 2


def test_a_connection_goes_to_the_turn_that_waits_longest():
    """No other one gets it, not even one that asks at that moment."""
    pool, log = Pool(Fake, 1), []
    holder = take(pool)
    one, two = (take(pool, log, name) for name in "ab")
    keep(pool, holder)
    late = take(pool)
    assert (one.connection, two.happened, late.happened, log) == (holder.connection, False, False, ["a"])
    pool.leave(one)
    assert two.happened
    assert two.connection is not one.connection
    assert log == ["a", "b"]
    assert pool.busy == 1


def test_a_turn_that_left_is_passed_over():
    """Its connection goes to the next one."""
    pool, log = Pool(Fake, 1), []
    holder = take(pool)
    gone, granted, last = (take(pool, log, name) for name in "abc")
    pool.leave(gone)
    keep(pool, holder)
    assert granted.connection is holder.connection
    keep(pool, granted)
    assert last.connection is holder.connection
    assert log == ["b", "c"]
    keep(pool, last)
    assert pool.busy == 0
    assert take(pool).connection is holder.connection


def test_old_connections_are_closed(now):
    """The oldest first, after their time."""
    pool = Pool(Fake, 3)
    old, fresh = take(pool), take(pool)
    keep(pool, old)
    now.at += pool_module.KEPT_SECONDS
    keep(pool, fresh)
    now.at += 0.5
    assert take(pool).connection is fresh.connection
    assert (old.connection.closed, fresh.connection.closed) == (True, False)
    assert pool.busy == 1


def test_without_sockets_the_connections_there_are_serve_all_in_turn():
    """An exchange without a socket waits for a connection; no further socket is opened."""
    pool = Pool(Fake, 10)
    holder, without = take(pool), take(pool)
    assert pool.shrink()
    pool.leave(without)
    again = take(pool)
    assert not again.happened
    keep(pool, holder)
    assert again.connection is holder.connection


def test_a_lone_exchange_without_a_socket_has_nothing_to_wait_for():
    """It fails."""
    pool = Pool(Fake, 10)
    take(pool)
    assert not pool.shrink()


def test_the_bound_grows_back_and_waiting_turns_are_served_first(now):
    """A past shortage has no effect later."""
    pool = Pool(Fake, 4)
    take(pool)
    without = take(pool)
    pool.shrink()
    pool.leave(without)
    log = []
    waits = [take(pool, log, "a"), take(pool)]
    assert not any(waiter.happened for waiter in waits)
    now.at += pool_module.SHRUNK_SECONDS + 0.1
    newcomer = take(pool)
    assert [waiter.happened for waiter in waits] == [True, True]
    assert newcomer.happened
    assert log == ["a"]
    assert pool.busy == 4
    assert not take(pool).happened


def test_a_closed_pool_keeps_nothing():
    """Idle connections are closed at once, others when they are released; waiting exchanges may finish."""
    pool = Pool(Fake, 2)
    idle, used = take(pool), take(pool)
    waits = take(pool)
    keep(pool, idle)
    assert waits.connection is idle.connection
    keep(pool, waits)
    pool.close()
    assert idle.connection.closed
    keep(pool, used)
    assert used.connection.closed
    assert pool.busy == 0


def test_a_new_process_begins_with_nothing():
    """Idle connections are closed in the child; busy ones return to the old pool."""
    pool = Pool(Fake, 2)
    idle, busy = take(pool), take(pool)
    keep(pool, idle)
    new = pool.renewed()
    assert idle.connection.closed
    assert new.busy == 0
    assert take(new).connection not in {idle.connection, busy.connection}
    keep(pool, busy)
    assert new.busy == 1


def test_no_thread_waits_for_a_step_of_another():
    """A signal handler may hold up the main thread in the middle of a step; other threads keep their deadlines."""
    pool = Pool(Fake, 1)
    first = take(pool)
    entered, leave = threading.Event(), threading.Event()

    def slow():
        entered.set()
        leave.wait(10)

    first.connection.close = slow
    thread = threading.Thread(target=pool.leave, args=(first,))
    thread.start()
    assert entered.wait(10)
    waiter = take(pool)
    pool.close()
    assert not waiter.happened
    leave.set()
    thread.join(10)
    assert waiter.happened
    assert pool.busy == 1
    keep(pool, waiter)
    assert waiter.connection.closed


def test_threads_at_once_lose_no_place_and_share_no_connection():
    """Every thread passes the interpreter on within each step."""
    pool, users, problems = Pool(Fake, 3), {}, []

    def work():
        for _ in range(200):
            waiter = take(pool)
            if not waiter.happened:
                waiter.block(10)
            if users.setdefault(waiter.connection, waiter) is not waiter:
                problems.append("shared")
            del users[waiter.connection]
            keep(pool, waiter)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert not problems
    assert pool.busy == 0


def test_a_recursion_error_at_any_depth_loses_no_place():
    """The caller may be close to the limit; the steps that it leaves unfinished are finished by the next exchange."""
    pool, raised = Pool(Fake, 2), 0

    def deep(levels):
        if levels:
            return deep(levels - 1)
        waiter = Waiter()
        try:
            pool.take(waiter)
        finally:
            pool.leave(waiter)
        return None

    for levels in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit()):
        try:
            deep(levels)
        except RecursionError:
            raised += 1
        assert not pool._runs
    assert 5 < raised < 200
    assert [take(pool).happened for _ in range(3)] == [True, True, False]


def scenarios():
    """Return pools in different states, the exchange that is interrupted, and one that waits."""
    for name in ("alone", "with an idle one", "with an old one", "with one waiting", "full"):
        pool = Pool(Fake, 2)
        others = [take(pool)]
        if name in ("with one waiting", "full"):
            others.append(take(pool))
        if name == "with an idle one":
            keep(pool, others.pop())
        if name == "with an old one":
            keep(pool, others.pop())
            next(iter(pool._idle)).idle_since -= 100
        if name == "with one waiting":
            others.append(take(pool))
        yield name, pool, others


def assert_nothing_lost(pool, others, case):
    """No two exchanges share a connection, and when the others have left, every place is free again."""
    owners = [other.connection for other in others if other.happened]
    assert len(set(map(id, owners))) == len(owners), case
    for other in others:
        pool.leave(other)
    assert pool.busy == 0, case
    waiters = [take(pool) for _ in range(3)]
    assert [each.happened for each in waiters] == [True, True, False], case
    assert waiters[0].connection is not waiters[1].connection, case


@pytest.mark.parametrize("reusable", [True, False])
@pytest.mark.parametrize("index", range(5))
def test_an_interrupt_at_any_line_loses_no_place(index, reusable):
    """`leave` restores the counts, and two exchanges never share a connection."""
    for line in range(1, 200):
        name, pool, others = list(scenarios())[index]
        waiter = Waiter()

        def work(pool=pool, waiter=waiter):
            pool.take(waiter)
            if waiter.connection is not None:  # else it waits
                waiter.connection.reusable = reusable
            pool.leave(waiter)

        hit = interrupted_at(line, work, pool_module.__file__)
        pool.leave(waiter)
        assert_nothing_lost(pool, others, (name, line))
        if not hit:
            assert line > 5
            return
    pytest.fail("the work never ended")


@pytest.mark.parametrize("leaves_only", [True, False], ids=["a finalizer leaves", "a handler takes and leaves"])
@pytest.mark.parametrize("index", range(5))
def test_a_handler_that_enters_at_any_line_loses_no_place(index, leaves_only):
    """It gets a connection in the middle of a step too; what it leaves is released after that step, or at the next."""
    for line in range(1, 200):
        name, pool, others = list(scenarios())[index]
        waiter, inner = Waiter(), others.pop() if leaves_only and others else Waiter()

        def work(pool=pool, waiter=waiter):
            pool.take(waiter)
            pool.leave(waiter)

        def handler(name=name, line=line, pool=pool, inner=inner):
            if not leaves_only:
                in_step = bool(pool._runs)
                pool.take(inner)
                assert inner.happened or not in_step, (name, line)
            pool.leave(inner)

        hit = entered_at(line, work, pool_module.__file__, handler)
        pool.leave(inner)
        assert_nothing_lost(pool, others, (name, line))
        if not hit:
            assert line > 5
            return
    pytest.fail("the work never ended")
