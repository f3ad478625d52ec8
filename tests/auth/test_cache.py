"""One fetch serves every caller that waits."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import anyio
import pytest
import trio

from camara_otp._threads import await_future, run_in_thread, wait
from camara_otp.auth import cache as cache_module
from camara_otp.auth.cache import RETRY_PAUSE, TokenCache
from camara_otp.auth.responses import Token, TokenRefusal
from camara_otp.errors import TokenError

DOWN = TokenRefusal("down", again=True)


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def token(value, lifetime=3600.0, **options):
    """Return a token that was just obtained."""
    return Token(value, lifetime, time.monotonic() + lifetime, **options)


class Source:
    """A source of tokens: `t1`, `t2`, ..., or the queued outcomes; it waits while its gate is closed."""

    def __init__(self, lifetime=3600.0, clock=time.monotonic):
        self.lifetime = lifetime
        self.clock = clock
        self.queue = []
        self.asked = []
        self.hurries = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, unwanted, hurry):
        self.asked.append(unwanted)
        self.hurries.append(hurry)
        number = len(self.asked)
        assert self.gate.wait(10)
        made = Token(f"t{number}", self.lifetime, self.clock() + self.lifetime)
        outcome = self.queue.pop(0) if self.queue else made
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def cache(source, *, leeway=60.0, fetch_timeout=10.0, **options):
    """Return a cache over a source."""
    return TokenCache(source, leeway=leeway, fetch_timeout=fetch_timeout, **options)


def settle(made):
    """Wait until no fetch is under way."""
    deadline = time.monotonic() + 5
    while made._running is not None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("lifetime", "renew", "expire"),
    [(3600, 3540, 3598), (100, 75, 98), (6, 3, 4), (3, 1.5, 2), (0.3, 0.15, 0.2), (0, 0, 0)],
)
def test_margins_shrink_with_the_lifetime(lifetime, renew, expire):
    """An hour is renewed a minute ahead, three seconds a fraction ahead."""
    held = Token("t", lifetime, lifetime)

    assert (held.renew_at(60.0), held.usable_until()) == pytest.approx((renew, expire))


def test_a_leeway_of_zero_renews_just_before_the_end():
    """Never after the token has stopped being used."""
    held = Token("t", 3600, 3600)

    assert held.renew_at(0.0) == held.usable_until() == 3598


def test_a_token_from_a_store_keeps_its_moment_of_renewal():
    """The remaining time counts, but the time of renewal follows from the whole lifetime."""
    held = Token("t", 3600, 100)

    assert (held.renew_at(60.0), held.usable_until()) == (40, 98)


def test_a_final_token_is_used_to_its_end():
    """A token that cannot be renewed is used until it expires."""
    held = Token("t", 3600, 3600, final=True)

    assert held.renew_at(60.0) == held.usable_until()


def test_the_first_caller_fetches_and_the_next_does_not():
    """One fetch for many calls."""
    source = Source()
    made = cache(source)

    assert [made.get(None, 5) for _ in range(3)] == ["t1"] * 3
    assert source.asked == [None]


def test_the_hot_path_takes_no_lock():
    """A cached token is returned while another thread holds the lock."""
    made = cache(Source())
    made.get(None, 5)

    with made._lock:
        assert made.get(None, 5) == "t1"


def test_a_fetch_is_told_how_long_a_caller_waits():
    """The fetch gets the time of the first caller; before the expiry no caller waits, so it gets its full time."""
    clock = Clock()
    source = Source(clock=clock)
    made = cache(source, clock=clock)
    made.get(None, 3.0)
    clock.now += 3550
    made.get(None, 3.0)
    settle(made)

    assert source.hurries == [3.0, 10.0]


def test_a_hundred_threads_cost_one_fetch():
    """The cache is empty when they start."""
    source = Source()
    source.gate.clear()
    made = cache(source)

    with ThreadPoolExecutor(100) as pool:
        calls = [pool.submit(made.get, None, 10) for _ in range(100)]
        time.sleep(0.1)
        source.gate.set()
        assert {call.result() for call in calls} == {"t1"}

    assert len(source.asked) == 1


@pytest.mark.anyio
async def test_a_hundred_tasks_cost_one_fetch():
    """On an empty cache, on both event loops."""
    source = Source()
    source.gate.clear()
    made = cache(source)
    got = []

    async def call():
        got.append(await made.aget(None, 10))

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(call)
        await anyio.sleep(0.05)
        source.gate.set()

    assert got == ["t1"] * 100
    assert len(source.asked) == 1


def test_threads_and_loops_share_a_fetch():
    """Sync callers, asyncio and trio at once: one fetch."""
    source = Source()
    source.gate.clear()
    made = cache(source)

    async def call():
        return await made.aget(None, 10)

    with ThreadPoolExecutor(9) as pool:
        calls = [pool.submit(made.get, None, 10) for _ in range(3)]
        calls += [pool.submit(lambda: asyncio.run(call())) for _ in range(3)]
        calls += [pool.submit(trio.run, call) for _ in range(3)]
        time.sleep(0.2)
        source.gate.set()
        assert {done.result() for done in calls} == {"t1"}

    assert len(source.asked) == 1


def test_the_old_token_is_served_while_one_renewal_runs():
    """No caller waits ahead of the expiry, not even the caller that starts the renewal."""
    clock = Clock()
    source = Source(clock=clock)
    made = cache(source, clock=clock)
    made.get(None, 5)
    clock.now += 3550
    source.gate.clear()

    assert [made.get(None, 5) for _ in range(20)] == ["t1"] * 20
    source.gate.set()
    settle(made)

    assert made.get(None, 5) == "t2"
    assert source.asked == [None, "t1"]


def test_a_failed_early_renewal_is_not_repeated_at_once():
    """The token is still valid; the next attempt comes later, and the token is not used after its expiry."""
    clock = Clock()
    source = Source(clock=clock)
    made = cache(source, clock=clock)
    made.get(None, 5)
    source.queue = [DOWN, DOWN]
    clock.now += 3550

    for _ in range(3):
        assert made.get(None, 5) == "t1"
        settle(made)
    assert len(source.asked) == 2
    clock.now += RETRY_PAUSE
    assert made.get(None, 5) == "t1"
    settle(made)
    assert len(source.asked) == 3
    clock.now += 60
    assert made.get(None, 5) == "t4"


def test_a_failed_early_renewal_is_logged(caplog):
    """No caller waits for it, so no exception reports it; a caller that waits gets the refusal instead."""
    clock = Clock()
    source = Source(clock=clock)
    made = cache(source, clock=clock)
    made.get(None, 5)
    source.queue = [DOWN, DOWN]
    clock.now += 3550
    made.get(None, 5)
    settle(made)
    deadline = time.monotonic() + 5
    while not caplog.messages and time.monotonic() < deadline:
        time.sleep(0.001)

    assert caplog.messages == ["the token could not be renewed ahead of its expiry: down"]
    assert caplog.records[0].name == "camara_otp.auth"
    clock.now += 60
    with pytest.raises(TokenError, match="^down$"):
        made.get(None, 5)
    assert len(caplog.messages) == 1


def test_an_expired_token_is_never_served():
    """After the expiry, callers wait for the next token."""
    clock = Clock()
    source = Source(clock=clock)
    made = cache(source, clock=clock)
    made.get(None, 5)
    clock.now += 3599

    assert made.get(None, 5) == "t2"


def test_a_refusal_reaches_every_caller_and_is_not_kept():
    """Callers that waited get the reason; the next caller tries again."""
    source = Source()
    source.queue = [DOWN]
    made = cache(source)

    with pytest.raises(TokenError, match="^down$"):
        made.get(None, 5)
    assert made.get(None, 5) == "t2"


def test_a_raising_source_is_a_refusal_without_its_text():
    """A caller's own http_client may raise anything."""
    source = Source()
    source.queue = [ValueError("s3cr3t")]
    made = cache(source)

    with pytest.raises(TokenError, match="ValueError") as caught:
        made.get(None, 5)
    assert "s3cr3t" not in str(caught.value)


def test_a_fetch_that_ends_with_an_interruption_leaves_no_caller_waiting():
    """A BaseException ends the fetch, too."""
    source = Source()
    source.queue = [SystemExit()]
    made = cache(source)

    with pytest.raises(TokenError, match="SystemExit"):
        made.get(None, 5)
    assert made.get(None, 5) == "t2"


def test_a_caller_out_of_time_gets_a_refusal_and_the_next_the_token():
    """The fetch continues, so a slow token endpoint gets no second request."""
    source = Source()
    source.gate.clear()
    made = cache(source)
    began = time.monotonic()

    with pytest.raises(TokenError, match="time"):
        made.get(None, 0.05)

    assert time.monotonic() - began < 1
    source.gate.set()
    assert made.get(None, 5) == "t1"
    assert len(source.asked) == 1


@pytest.mark.anyio
async def test_a_task_out_of_time_gets_a_refusal():
    """The asynchronous version has the same limit."""
    source = Source()
    source.gate.clear()
    made = cache(source)

    with pytest.raises(TokenError, match="time"):
        await made.aget(None, 0.05)
    source.gate.set()
    assert await made.aget(None, 5) == "t1"
    assert len(source.asked) == 1


@pytest.mark.anyio
async def test_a_task_that_waits_for_an_abandoned_fetch_takes_part_in_the_next():
    """The asynchronous version asks again too."""
    source = Source()
    source.gate.clear()
    made = cache(source, fetch_timeout=0.05)
    opener = threading.Timer(0.1, source.gate.set)
    opener.start()

    assert isinstance(await made.aget(None, 5), str)
    assert len(source.asked) >= 2
    opener.join()


@pytest.mark.anyio
async def test_a_cancelled_caller_takes_nothing_with_it():
    """The first of many is cancelled; the others get the token of the same fetch."""
    source = Source()
    source.gate.clear()
    made = cache(source)
    got = []

    async def call():
        got.append(await made.aget(None, 10))

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as first:
            async with anyio.create_task_group() as inner:
                inner.start_soon(call)
                await anyio.sleep(0.02)
                for _ in range(5):
                    group.start_soon(call)
                await anyio.sleep(0.02)
                first.cancel()
        source.gate.set()

    assert got == ["t1"] * 5
    assert len(source.asked) == 1


def test_a_loop_that_dies_takes_nothing_with_it():
    """A loop that is closed under a waiting task does not affect the fetch."""
    source = Source()
    source.gate.clear()
    made = cache(source)
    loop = asyncio.new_event_loop()
    task = loop.create_task(made.aget(None, 10))
    loop.run_until_complete(asyncio.sleep(0.02))
    task._log_destroy_pending = False
    loop.close()
    source.gate.set()

    assert made.get(None, 5) == "t1"
    assert len(source.asked) == 1
    settle(made)


def test_an_abandoned_fetch_is_replaced():
    """A fetch that hangs beyond its time blocks no caller, and its late token does not replace a later one."""
    clock = Clock()
    source = Source(clock=clock)
    source.gate.clear()
    made = cache(source, clock=clock, fetch_timeout=3)
    first = made._decide(None, 1e9)
    clock.now += 3

    second = made._decide(None, 1e9)
    assert second is not first
    source.gate.set()
    assert first.result(5) is None
    assert second.result(5) is not None
    settle(made)

    assert made.get(None, 5) == second.result(0).value


def test_a_caller_that_waits_for_an_abandoned_fetch_takes_part_in_the_next():
    """A caller with time left asks again when the fetch is abandoned."""
    source = Source()
    source.gate.clear()
    made = cache(source, fetch_timeout=0.05)
    opener = threading.Timer(0.1, source.gate.set)
    opener.start()

    assert isinstance(made.get(None, 5), str)
    assert len(source.asked) >= 2
    opener.join()


@pytest.mark.parametrize("outcome", [token("old", 9999.0), TokenRefusal("dead", "invalid_grant")])
def test_a_fetch_from_before_a_token_was_put_changes_nothing(outcome):
    """A late answer of the login before neither replaces the new token nor keeps the next renewal waiting."""
    source = Source()
    source.queue = [outcome]
    source.gate.clear()
    made = cache(source)
    late = made._decide(None, 1e9)
    made.put(token("new"))
    source.gate.set()
    assert late.result(5) is None

    assert made.get(None, 5) == "new"
    assert made._no_renewal_before == 0.0
    assert len(source.asked) == 1


@pytest.mark.parametrize("how", ["sync", "asyncio", "trio"])
def test_a_caller_that_waits_while_a_token_is_put_gets_that_token(how):
    """Not the outcome of the fetch that was under way."""
    source = Source()
    source.queue = [TokenRefusal("dead", "invalid_grant")]
    source.gate.clear()
    made = cache(source)

    def log_in():
        made.put(token("new"))
        source.gate.set()

    timer = threading.Timer(0.1, log_in)
    timer.start()

    assert (made.get(None, 5) if how == "sync" else anyio.run(made.aget, None, 5, backend=how)) == "new"
    timer.join()


def test_a_rejected_token_is_replaced_once():
    """Fifty callers that were all refused with the same token cost one fetch."""
    source = Source()
    made = cache(source)
    made.get(None, 5)
    source.gate.clear()

    with ThreadPoolExecutor(50) as pool:
        calls = [pool.submit(made.get, "t1", 10) for _ in range(50)]
        time.sleep(0.05)
        source.gate.set()
        assert {call.result() for call in calls} == {"t2"}

    assert source.asked == [None, "t1"]


def test_a_token_rejected_before_costs_nothing():
    """A caller that was rejected with an old token gets the present one."""
    source = Source()
    made = cache(source)
    made.get(None, 5)
    made.get("t1", 5)

    with made._lock:
        assert made.get("t1", 5) == "t2"
    assert made.get("t1", 5) == "t2"
    assert made.get("something else", 5) == "t2"
    assert len(source.asked) == 2


def test_a_rejected_token_is_served_to_no_other_caller():
    """Callers without a rejection wait for the new one as well."""
    source = Source()
    made = cache(source)
    made.get(None, 5)
    source.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(made.get, "t1", 5)
        time.sleep(0.02)
        other = pool.submit(made.get, None, 5)
        time.sleep(0.02)
        source.gate.set()
        assert (one.result(), other.result()) == ("t2", "t2")


def test_the_same_token_again_is_given_as_it_is():
    """Some servers return the same token again; then the call ends with the 401."""
    source = Source()
    source.queue = [token("same", 60), token("same", 60)]
    made = cache(source)
    made.get(None, 5)

    assert made.get("same", 5) == "same"
    assert len(source.asked) == 2


def test_a_fetch_older_than_the_rejection_is_followed_by_another():
    """A fetch that started before the 401 of this caller may return the rejected token."""
    source = Source()
    source.gate.clear()
    source.queue = [token("bad", 60), token("good", 60)]
    made = cache(source)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(made.get, None, 5)
        time.sleep(0.02)
        opener = threading.Timer(0.05, source.gate.set)
        opener.start()
        assert made.get("bad", 5) == "good"
        assert first.result() == "bad"
        opener.join()

    assert source.asked == [None, "bad"]


def test_a_final_token_is_returned_although_it_is_rejected():
    """There is no other; the client raises the 401."""
    source = Source()
    made = cache(source)
    made.put(token("final", 60, final=True))

    assert made.get("final", 5) == "final"
    assert source.asked == []


def test_a_token_without_a_lifetime_serves_the_callers_that_waited():
    """A token with `expires_in: 0` is used once and not cached."""
    source = Source(lifetime=0.0)
    made = cache(source)

    assert made.get(None, 5) == "t1"
    assert made.get(None, 5) == "t2"


def test_three_second_tokens_work():
    """A short lifetime is used for most of its length, with early renewals in the background."""
    clock = Clock()
    source = Source(3.0, clock)
    made = cache(source, clock=clock)
    served = []
    for _ in range(100):
        served.append(made.get(None, 5))
        settle(made)
        clock.now += 0.1

    assert len(source.asked) == pytest.approx(100 * 0.1 / 1.6, abs=1)
    assert served[0] == "t1"


def test_no_thread_no_token(monkeypatch):
    """A process at its limit gets a refusal, not a hang."""
    source = Source()
    made = cache(source)

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "start_thread", no_thread)
        with pytest.raises(TokenError, match="thread"):
            made.get(None, 5)
    assert made.get(None, 5) == "t1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_afresh():
    """A child forked while the lock is held and a fetch is under way fetches by itself and keeps a valid token."""
    source = Source()
    source.gate.clear()
    busy, calm = cache(source), cache(Source())
    calm.get(None, 5)
    busy._decide(None, 1e9)
    with busy._lock:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                source.gate = threading.Event()
                source.gate.set()
                code = 0 if calm.get(None, 5) == "t1" and busy.get(None, 5) == "t2" else 2
            finally:
                os._exit(code)
    source.gate.set()
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert busy.get(None, 5) == "t1"


def test_waiting_for_what_is_done_takes_no_time():
    """In threads and in tasks."""
    done: Future[int] = Future()
    done.set_result(1)

    assert wait(done, 0) == 1
    assert asyncio.run(_waited(done)) == 1


async def _waited(future):
    return await await_future(future, 0)


def test_an_error_in_a_thread_is_raised_in_the_waiting_thread():
    def fail():
        raise LookupError("x")

    with pytest.raises(LookupError):
        wait(run_in_thread(fail), 5)


def test_a_timeout_raised_in_a_thread_is_not_taken_for_ours():
    """A TimeoutError of the function itself is raised unchanged."""

    def fail():
        time.sleep(0.02)
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        wait(run_in_thread(fail), 5)


FORKS_AS_UWSGI = """
import ctypes, os, threading, time
from camara_otp.auth.cache import TokenCache
from camara_otp.auth.responses import Token
gate = threading.Event()
def source(unwanted, wait_budget):
    gate.wait(60)
    return Token("fetched", 600, time.monotonic() + 600)
cache = TokenCache(source, leeway=30.0, fetch_timeout=60.0)
cache._decide(None, time.monotonic() + 60)
with cache._lock:
    child = ctypes.PyDLL(None).fork()
    if not child:
        gate = threading.Event()
        gate.set()
        print(cache.get(None, 5), flush=True)
        os._exit(0)
gate.set()
os.waitpid(child, 0)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="calls fork of the C library")
def test_a_child_forked_without_the_functions_of_python_starts_afresh():
    """UWSGI forks its workers so: none waits for a lock or for a fetch of the process that loaded the application."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS_AS_UWSGI], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("fetched\n", "")
