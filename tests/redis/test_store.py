"""RedisStore and several processes, with a real Redis."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
import redis

from camara_otp.auth import ClientCredentials, RedisStore
from camara_otp.auth.sharing import LOCK_SECONDS
from tests.auth.server import answer

WORKER = Path(__file__).with_name("worker.py")


class Fleet:
    """Worker processes that fetch tokens at the same time."""

    def __init__(self, stack, server, tokens, number):
        self.processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, WORKER, server.url, tokens.url],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    bufsize=1,
                )
            )
            for _ in range(number)
        ]
        stack.callback(self.kill)
        for process in self.processes:
            assert process.stdout.readline() == "ready\n"

    def kill(self):
        for process in self.processes:
            process.kill()

    def ask(self, rejected=""):
        for process in self.processes:
            process.stdin.write(f"{rejected}\n")
        return [process.stdout.readline().strip() for process in self.processes]


@pytest.fixture
def fleet(server, tokens):
    """Return a function that starts workers."""
    with ExitStack() as stack:
        yield lambda number: Fleet(stack, server, tokens, number)


def provider(server, tokens, **options):
    """Return a provider on the shared store."""
    store = RedisStore.from_url(server.url)
    return ClientCredentials(tokens.url, "client", client_secret="s3cr3t", store=store, **options)


def get(made, rejected=None, timeout=20.0):
    """Get a token as the sync client does."""
    return made.get_token(rejected=rejected, timeout=timeout)


def test_values_live_as_long_as_they_are_told(server):
    """Redis removes them."""
    store = RedisStore.from_url(server.url)
    store.save("a", b"\x00\xff", 0.3)
    value, left = store.load("a")

    assert value == b"\x00\xff"
    assert 0 < left <= 0.3
    time.sleep(0.35)
    assert store.load("a") is None
    assert server.kept() == {}


def test_the_lock_is_lent_once_and_runs_out(server):
    """Only its holder can release it."""
    store, other = RedisStore.from_url(server.url), RedisStore.from_url(server.url)
    first = store.acquire("a", 0.2)

    assert first is not None
    assert other.acquire("a", 0.2) is None
    time.sleep(0.25)
    second = other.acquire("a", 10)
    assert second is not None
    store.release("a", first)
    assert store.acquire("a", 10) is None
    other.release("a", second)
    assert store.acquire("a", 10) is not None


def test_a_lock_without_expiry_blocks_no_worker(server, tokens):
    """A restored backup or an administrator may have removed the expiry; the lock gets one again."""
    made = provider(server, tokens)
    get(made)
    [name] = server.kept("camara-otp:token:*")
    server.client.flushall()
    server.client.set(name + b":lock", "somebody else's")
    began = time.monotonic()

    assert get(provider(server, tokens)) == "token-2"
    assert time.monotonic() - began < LOCK_SECONDS + 1.5
    assert get(provider(server, tokens), timeout=1.0) == "token-2"


def test_a_value_without_expiry_is_no_token(server, tokens):
    """It would be used for ever; a new one is fetched and stored with its expiry."""
    get(provider(server, tokens))
    [name] = server.kept("camara-otp:token:*")
    server.client.persist(name)

    assert get(provider(server, tokens)) == "token-2"
    assert server.client.pttl(name) > 0


def test_a_client_that_decodes_is_fine(server):
    """Some applications set `decode_responses=True`."""
    store = RedisStore(redis.Redis.from_url(server.url, decode_responses=True), prefix="mine:")
    store.save("a", b"text", 10)

    assert store.load("a")[0] == b"text"
    assert [*server.kept()] == [b"mine:a"]
    assert repr(store) == "RedisStore(prefix='mine:')"


def test_nothing_in_redis_is_secret_or_readable(server, tokens):
    """Neither names nor values show token, secret, client or endpoint."""
    token = get(provider(server, tokens))
    dump = b" ".join(part for entry in server.kept().items() for part in entry)

    assert dump.startswith(b"camara-otp:token:")
    for secret in (token, "s3cr3t", "client", "127.0.0.1", "one-time-password-sms"):
        assert secret.encode() not in dump


def test_eight_workers_cost_one_request(fleet, tokens):
    """Eight processes at once without a token; then all rejected with the same token; then once more."""
    workers = fleet(8)

    assert workers.ask() == ["token-1"] * 8
    assert workers.ask("token-1") == ["token-2"] * 8
    assert workers.ask() == ["token-2"] * 8
    assert tokens.count == 2


def test_a_slow_endpoint_is_asked_once(fleet, tokens):
    """The others wait for the token for half of their time."""
    workers = fleet(6)

    def slow(_):
        time.sleep(3.0)
        return answer(access_token="slow", token_type="Bearer", expires_in=3600)

    tokens.reply = slow
    assert workers.ask() == ["slow"] * 6
    assert tokens.count == 1


def test_a_killed_worker_delays_others_until_its_lock_expires(fleet, tokens):
    """It is killed while it fetches with the lock: the others have a token soon after the lock expires."""
    workers = fleet(3)
    doomed = workers.processes.pop()
    tokens.gate.clear()
    doomed.stdin.write("\n")
    while not tokens.count:
        time.sleep(0.01)
    doomed.kill()
    doomed.wait(10)
    tokens.gate.set()
    began = time.monotonic()

    assert workers.ask() == ["token-2"] * 2
    assert time.monotonic() - began < LOCK_SECONDS + 1.5
    assert tokens.count == 2


def test_a_killed_worker_costs_a_few_requests(fleet, tokens):
    """Eight workers that wait when it is killed all get a token, even if a fetch takes a while."""
    workers = fleet(9)
    assert workers.ask() == ["token-1"] * 9
    doomed = workers.processes.pop()
    tokens.gate.clear()
    doomed.stdin.write("token-1\n")
    while tokens.count == 1:
        time.sleep(0.01)
    tokens.reply = lambda _: time.sleep(1.5) or answer(access_token="next", token_type="Bearer", expires_in=3600)
    waiting = ThreadPoolExecutor(1).submit(workers.ask, "token-1")
    time.sleep(0.2)
    doomed.kill()
    doomed.wait(10)
    tokens.gate.set()

    assert waiting.result(20) == ["next"] * 8
    assert 3 <= tokens.count <= 10


def test_eight_workers_renew_once(fleet, tokens):
    """Eight processes with tokens of six seconds: one request for each token."""
    began = []

    def reply(_):
        began.append(time.monotonic())
        return answer(access_token=f"token-{len(began)}", token_type="Bearer", expires_in=6)

    tokens.reply = reply
    workers = fleet(8)
    seen = set(workers.ask())
    while len(began) < 3 or len(seen) < 3:
        seen.update(workers.ask())
        time.sleep(0.1)

    assert seen == {"token-1", "token-2", "token-3"}
    assert all(later - earlier > 1 for earlier, later in pairwise(began))


def test_workers_survive_a_flush_and_garbage(server, fleet, tokens):
    """A lost or damaged token is fetched once, and shared again."""
    workers = fleet(8)
    assert workers.ask() == ["token-1"] * 8
    server.client.flushall()
    assert workers.ask("token-1") == ["token-2"] * 8
    [name] = server.kept("camara-otp:token:*")
    server.client.set(name, b"\x00garbage", ex=1000)

    assert workers.ask("token-2") == ["token-3"] * 8
    assert tokens.count == 3


def test_a_redis_that_hangs_in_the_middle_costs_no_call(server, tokens):
    """The caller has two seconds; the token arrives, although Redis stops responding."""
    made = provider(server, tokens)

    def reply(_):
        server.signal(signal.SIGSTOP)
        return answer(access_token="mine", token_type="Bearer", expires_in=3600)

    tokens.reply = reply
    assert get(made, timeout=2.0) == "mine"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_store_that_is_down_degrades(server, tokens, how):
    """Stopped or hanging: each worker fetches a token of its own, in limited time."""
    one, other = provider(server, tokens), provider(server, tokens)
    get(one)
    server.signal(how)
    began = time.monotonic()

    assert get(one, rejected="token-1") == "token-2"
    assert get(other) == "token-3"
    assert time.monotonic() - began < 8


def test_a_store_that_comes_back_is_used_again(server, tokens):
    """A pause costs one more fetch."""
    one, other = provider(server, tokens), provider(server, tokens)
    server.signal(signal.SIGSTOP)
    assert get(one) == "token-1"
    server.signal(signal.SIGCONT)

    assert get(one, rejected="token-1") == "token-2"
    assert get(other) == "token-2"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_workers_share_too(server, tokens, backend):
    """The event loop is not blocked by requests to Redis."""
    one, other = provider(server, tokens), provider(server, tokens)

    async def both():
        return [await made.aget_token(rejected=None, timeout=10) for made in (one, other)]

    assert anyio.run(both, backend=backend) == ["token-1", "token-1"]
    assert tokens.count == 1


def test_short_tokens_are_renewed_by_one(server, tokens):
    """Two workers over two seconds with tokens of one second: as many requests as one worker makes."""
    tokens.expires_in = 1
    made = [provider(server, tokens), provider(server, tokens)]

    def use(one):
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            assert int(get(one).removeprefix("token-")) >= tokens.count - 1
            time.sleep(0.02)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(use, made))

    assert 4 <= tokens.count <= 6


def test_a_refusal_is_reported_to_each_worker(server, tokens):
    """Each worker gets the error for a wrong secret, and nothing is stored."""
    tokens.reply = lambda seen: answer(401, error="invalid_client")
    made = provider(server, tokens)

    for _ in range(2):
        with pytest.raises(Exception, match="invalid_client"):
            get(made)
    assert server.kept() == {}
