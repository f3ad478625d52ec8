"""The guard on a real Redis: the script decides like the memory store, for threads, tasks, processes and crashes."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from camara_otp import SendRefusedError
from camara_otp.errors import ConfigurationError, InternalError, PhoneNumberBlockedError
from camara_otp.guard import Guard, GuardEvent, Limit, MemoryCounters, RedisCounters
from camara_otp.guard.rules import Rule
from camara_otp.guard.stores import Change
from camara_otp.sandbox import Fault, Sandbox

NUMBER = "+34666111222"
SECRET = "secret-of-the-tests"
WORKER = Path(__file__).with_name("sender.py")


@pytest.fixture
def store(server):
    return RedisCounters(server.client, secret=SECRET, timeout=5.0)


@pytest.fixture
def operator():
    return Sandbox(max_send=10_000)


def refusal(guard, number=NUMBER, **keys):
    """Return the rule that refuses an SMS, or None if it may be sent."""
    try:
        with guard.sending(number, **keys):
            return None
    except SendRefusedError as error:
        return error.rule


steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "give back", "verify", "read"]),
        st.integers(0, 2),
        st.sampled_from([0, 1, 70, 699, 700, 1_500, 9_300, 10_000]),
    ),
    max_size=40,
)


@example(steps=[("send", 0, 0), ("send", 0, 700), ("read", 0, 9_300)], ceiling=2, ratio=0.0)
@given(steps=steps, ceiling=st.integers(1, 4), ratio=st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_script_decides_as_the_memory_store_does(server, steps, ceiling, ratio):
    """The same schedule on both stores gives the same refusals, waits and totals."""
    server.client.flushall()
    now = 1_700_000_000.0

    def clock():
        return now

    stores = MemoryCounters(clock=clock), RedisCounters(server.client, secret=SECRET, timeout=5.0, clock=clock)
    rules = [Rule("cooldown", 700, 1), Rule("number", 10_000, ceiling), Rule("conversion", 20_000, ceiling, ratio)]
    taken = []
    for action, name, milliseconds in steps:
        now += milliseconds / 1000
        names = [f"{rule.name}:{name}" for rule in rules]
        if action == "give back" and not taken:
            continue
        at, names = taken.pop() if action == "give back" else (None, names)
        change = {
            "send": Change(sent=1),
            "give back": Change(sent=-1, at=at),
            "verify": Change(verified=1),
            "read": Change(),
        }[action]
        memory, script = (store.apply(change, rules, names) for store in stores)
        assert memory == script
        if action == "send" and memory.refusal is None:
            taken.append((memory.now, names))


@pytest.mark.parametrize("decode", [False, True])
def test_what_is_kept_is_keyed_digests_that_expire(server, decode):
    client = redis.Redis.from_url(server.url, decode_responses=decode, protocol=3)
    store = RedisCounters(client, secret=SECRET, timeout=5.0)
    guard = Guard(limits=[Limit("number", 5, per=600), Limit("ip", 20, per=300)], min_conversion=0.1, store=store)
    assert [refusal(guard, ip="192.0.2.77") for _ in range(2)] == [None, "cooldown"]
    guard.verified(NUMBER)

    assert guard.conversion(NUMBER) == 1.0
    keys = server.client.keys()
    assert len(keys) == 4
    assert all(key.startswith(b"{camara-otp:guard}:") and len(key) == 19 + 32 for key in keys)
    assert sorted(round(server.client.pttl(key) / 1000) for key in keys) == [30, 300, 600, 3600]
    dump = b"".join(key + server.client.dump(key) for key in keys)
    assert not any(secret in dump for secret in (b"66111222", b"192.0.2.77", SECRET.encode()))
    other = Guard(store=RedisCounters(client, secret="another-secret-of-the-tests", timeout=5.0))
    assert refusal(other) is None, "another secret has other digests"
    client.close()


def test_each_operation_is_one_round_trip(server):
    """The server counts the commands."""
    guard = Guard(
        limits=[Limit("number", 5, per=600), Limit("ip", 20, per=300), Limit("prefix", 9, per=60)],
        min_conversion=0.1,
        store=RedisCounters(server.client, secret=SECRET, timeout=5.0),
    )
    before = server.client.info("commandstats")
    refusal(guard, "+34666111333", ip="192.0.2.1")
    refusal(guard, "+34666111333", ip="192.0.2.1")
    with contextlib.suppress(PhoneNumberBlockedError), guard.sending("+34666111444", ip="192.0.2.1"):
        raise PhoneNumberBlockedError(403)
    guard.verified(NUMBER)
    after = server.client.info("commandstats")

    def sent(stats):
        inside = {"cmdstat_time", "cmdstat_hgetall", "cmdstat_hget", "cmdstat_hset", "cmdstat_hdel", "cmdstat_pexpire"}
        return {name: figures["calls"] for name, figures in stats.items() if name not in inside}

    assert sent(after)["cmdstat_eval"] == 5
    assert sum(sent(after).values()) - sum(sent(before).values()) == 5 + 1, "these, and INFO"


def test_time_is_the_servers(server, store):
    """A cool-down of one second ends after it, whatever the clock of this process."""
    guard = Guard(cooldown=1.0, store=store)
    assert [refusal(guard), refusal(guard)] == [None, "cooldown"]
    time.sleep(1.01)

    assert refusal(guard) is None


def test_the_place_is_given_back_in_redis(server, store):
    guard = Guard(limits=[Limit("number", 1, per=600)], store=store)
    for error in (PhoneNumberBlockedError(403), PhoneNumberBlockedError(403)):
        with contextlib.suppress(PhoneNumberBlockedError), guard.sending(NUMBER):
            raise error
    assert server.client.keys() == []
    with contextlib.suppress(InternalError), guard.sending(NUMBER):
        raise InternalError(500)

    assert refusal(guard) == "number"


def test_of_many_threads_one_passes(store):
    guard = Guard(store=store)

    with ThreadPoolExecutor(24) as pool:
        assert sorted(map(str, pool.map(lambda _: refusal(guard), range(24)))) == ["None"] + ["cooldown"] * 23


@pytest.mark.parametrize("kind", ["asyncio client", "plain client"])
def test_of_many_tasks_one_passes(server, kind):
    async def run():
        client = redis.asyncio.Redis.from_url(server.url) if kind == "asyncio client" else server.client
        guard = Guard(store=RedisCounters(client, secret=SECRET, timeout=5.0), min_conversion=0.0)
        passed = 0

        async def click():
            nonlocal passed
            with contextlib.suppress(SendRefusedError):
                async with guard.sending(NUMBER):
                    passed += 1
                    await anyio.sleep(0)

        async with anyio.create_task_group() as tasks:
            for _ in range(24):
                tasks.start_soon(click)
        await guard.averified(NUMBER)
        assert await guard.aconversion(NUMBER) == 1.0
        with contextlib.suppress(PhoneNumberBlockedError):
            async with guard.sending("+34666111333"):
                raise PhoneNumberBlockedError(403)
        async with guard.sending("+34666111333"):
            pass
        if kind == "asyncio client":
            await client.aclose()
        return passed

    assert asyncio.run(run()) == 1


def test_an_asyncio_client_in_plain_code_is_an_error_of_the_caller(server):
    guard = Guard(store=RedisCounters(redis.asyncio.Redis.from_url(server.url), secret=SECRET), min_conversion=0.1)

    for call in (guard.sending(NUMBER).__enter__, lambda: guard.verified(NUMBER), lambda: guard.conversion(NUMBER)):
        with pytest.raises(ConfigurationError, match="async with"):
            call()


@pytest.mark.parametrize(
    ("client", "settings", "said"),
    [
        ("redis://127.0.0.1", {}, "client: "),
        (None, {}, "client: "),
        (redis.Redis(), {"secret": "too short"}, "secret: "),
        (redis.Redis(), {"secret": None}, "secret: "),
        (redis.Redis(), {"secret": b"too short"}, "secret: "),
        (redis.Redis(), {"name": ""}, "name: "),
        (redis.Redis(), {"name": "a}b"}, "name: "),
        (redis.Redis(), {"timeout": 0}, "timeout: "),
        (redis.Redis(), {"timeout": float("inf")}, "timeout: "),
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(client, settings, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        RedisCounters(client, **{"secret": SECRET} | settings)
    inner = list(traceback.walk_tb(caught.tb))[1:]
    shown = str(caught.value) + "".join(repr(frame.f_locals) for frame, _ in inner)
    assert not any(secret in shown for secret in ("too short", SECRET, "redis://127"))


def test_nothing_secret_is_in_the_repr(store):
    assert repr(store) == "RedisCounters(name='camara-otp:guard')"


# --- Processes and crashes -------------------------------------------------------------------------------------------


def start(server, url, *arguments):
    """Start a worker that sends one SMS through a guard."""
    return subprocess.Popen(
        [sys.executable, str(WORKER), server.url, url, *map(str, arguments)], stdin=subprocess.PIPE, text=True
    )


def test_of_many_processes_one_passes(server, operator):
    with operator.serve() as url:
        workers = [start(server, url) for _ in range(6)]
        for worker in workers:
            worker.stdin.close()
        assert sorted(worker.wait(60) for worker in workers) == [0] + [3] * 5

    assert operator.sent_count == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a fork at each line")
@pytest.mark.parametrize("blocked", [False, True], ids=["sent", "refused by the operator"])
def test_a_worker_killed_at_any_line_leaves_no_sms_uncounted(server, operator, blocked):
    """SIGKILL at each line of the guard: Redis has counted an SMS that was sent."""
    if blocked:
        operator.add_fault(Fault(code="PHONE_NUMBER_BLOCKED"))
    with operator.serve() as url:
        worker = start(server, url, "kill")
        worker.communicate(timeout=120)
        assert worker.returncode == 0
        texts = {message.phone_number for message in operator.messages()}

    held = {int(name) for name in server.client.hkeys("killed")}
    assert len(held) > 40, "the guard was killed at its lines"
    guard = Guard(store=RedisCounters(server.client, secret=SECRET, timeout=5.0), cooldown=600.0)
    for line in held:
        number = f"+3466600{line:04}"
        place = refusal(guard, number) == "cooldown"
        assert place or number not in texts, f"a text without a place after line {line}"
    assert bool(texts) is not blocked


def test_a_cancelled_task_keeps_the_place(server):
    async def run():
        client = redis.asyncio.Redis.from_url(server.url)
        guard = Guard(store=RedisCounters(client, secret=SECRET, timeout=5.0))
        with anyio.CancelScope() as scope:
            async with guard.sending(NUMBER):
                scope.cancel()
                await anyio.sleep_forever()
        with pytest.raises(SendRefusedError):
            await guard.sending(NUMBER).__aenter__()
        await client.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["asyncio client", "plain client"])
def test_a_task_cancelled_at_any_step_leaves_no_sms_uncounted(server, kind):
    """One more step of the event loop before each cancellation, until the task ends before it."""

    async def run():
        client = redis.asyncio.Redis.from_url(server.url) if kind == "asyncio client" else server.client
        guard = Guard(store=RedisCounters(client, secret=SECRET, timeout=5.0), cooldown=600.0)
        texts, ends = set(), set()

        async def attempt(number):
            async with guard.sending(number):
                await asyncio.sleep(0)
                texts.add(number)
                await asyncio.sleep(0)

        for turns in range(500):
            number = f"+3466602{turns:04}"
            task = asyncio.create_task(attempt(number))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            ends.add((task.cancelled(), number in texts))
            if number in texts:
                with pytest.raises(SendRefusedError, match="in 10 minutes"):
                    await guard.sending(number).__aenter__()
            if not task.cancelled():
                break
        await attempt("+34666030000")
        if kind == "asyncio client":
            await client.aclose()
        return ends

    assert (True, False) in asyncio.run(run())


# --- A store that is slow or gone ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("kind", ["plain", "plain client in asyncio", "asyncio"])
@pytest.mark.parametrize("choice", ["pass", "refuse"])
def test_a_store_that_hangs_or_is_gone_costs_no_more_than_its_time_limit(server, how, kind, choice):
    events = []
    hanging = redis.Redis.from_url(server.url)  # without a socket timeout
    hanging.ping()
    server.signal(how)

    async def run():
        client = redis.asyncio.Redis.from_url(server.url) if kind == "asyncio" else hanging
        store = RedisCounters(client, secret=SECRET, timeout=0.2)
        guard = Guard(store=store, on_store_failure=choice, on_event=events.append)
        began = time.monotonic()
        try:
            if kind == "plain":
                with guard.sending(NUMBER):
                    passed = True
            else:
                async with guard.sending(NUMBER):
                    passed = True
        except SendRefusedError as error:
            passed, rule = False, error.rule
            assert rule == "store"
        took = time.monotonic() - began
        if kind == "asyncio":
            with contextlib.suppress(redis.RedisError):
                await client.aclose()
        return passed, took

    passed, took = asyncio.run(run())

    assert passed is (choice == "pass")
    assert took < 2.0, "the limit of 0.2 s, and what a loaded machine adds"
    assert events[0] == GuardEvent("store_failed")
    server.signal(signal.SIGCONT)


def test_a_name_that_resolves_slowly_costs_no_more_than_the_time_limit(monkeypatch):
    """Socket timeouts do not limit the lookup of a name."""
    release = time.monotonic() + 1.5
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(release - time.monotonic()) or [])
    guard = Guard(store=RedisCounters(redis.Redis("slow.test"), secret=SECRET, timeout=0.1))
    began = time.monotonic()

    assert refusal(guard) is None
    assert time.monotonic() - began < 1.0


def test_calls_that_hang_do_not_pile_up_threads(server):
    """Sixty-four wait for a store that hangs; further calls fail at once, until the store responds."""
    entered = []

    class Counting(redis.Redis):
        def eval(self, *arguments):
            entered.append(arguments)
            return super().eval(*arguments)

    hanging = Counting.from_url(server.url, max_connections=1000)
    guard = Guard(store=RedisCounters(hanging, secret=SECRET, timeout=0.3))
    hanging.ping()
    server.signal(signal.SIGSTOP)

    with ThreadPoolExecutor(80) as pool:
        assert list(pool.map(lambda _: refusal(guard), range(80))) == [None] * 80
    assert len(entered) == 64
    server.signal(signal.SIGCONT)
    deadline = time.monotonic() + 10
    while refusal(guard) is None:
        assert time.monotonic() < deadline, "a store that is back is used again"


# --- A cluster -------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path):
    """Run a cluster of one node that owns every slot: a script whose keys are in two slots is refused by it."""
    with socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, bus = probe.getsockname()[1], other.getsockname()[1]
    options = {"port": port, "cluster-port": bus, "cluster-enabled": "yes"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen(
        [shutil.which("redis-server"), "--bind", "127.0.0.1", "--save", "", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    node = redis.Redis("127.0.0.1", port)
    deadline = time.monotonic() + 20
    try:
        while True:
            with contextlib.suppress(redis.RedisError):
                if node.execute_command("CLUSTER INFO").get("cluster_state") == "ok":
                    break
                node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline, "the cluster does not answer"
            time.sleep(0.05)
        yield port
    finally:
        node.close()
        process.kill()
        process.communicate(timeout=10)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_cluster_takes_all_keys_in_one_script(cluster, asynchronous):
    limits = [Limit("number", 2, per=600), Limit("prefix", 9, per=60), Limit("ip", 9, per=60)]

    async def run():
        client = redis.asyncio.RedisCluster("127.0.0.1", cluster)
        guard = Guard(store=RedisCounters(client, secret=SECRET, timeout=5.0), limits=limits, on_store_failure="refuse")
        async with guard.sending(NUMBER, ip="192.0.2.1"):
            pass
        with pytest.raises(SendRefusedError) as caught:
            await guard.sending(NUMBER, ip="192.0.2.1").__aenter__()
        await client.aclose()
        return caught.value.rule

    if asynchronous:
        assert asyncio.run(run()) == "cooldown"
        return
    client = redis.RedisCluster("127.0.0.1", cluster)
    guard = Guard(store=RedisCounters(client, secret=SECRET, timeout=5.0), limits=limits, on_store_failure="refuse")
    assert [refusal(guard, ip="192.0.2.1") for _ in range(2)] == [None, "cooldown"]
    client.close()
