"""Several workers that share one token: stores, the lock, encryption, and stores that fail."""

import asyncio
import base64
import logging
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from camara_otp.auth import ClientCredentials, MemoryStore, RedisStore, sharing
from camara_otp.auth.responses import Token, TokenRefusal
from camara_otp.auth.sharing import LOCK_SECONDS, SharedTokenSource
from camara_otp.auth.stores import StoreKey
from camara_otp.errors import ConfigurationError

KEY = base64.urlsafe_b64encode(bytes(32))
STORE_KEY = StoreKey("token:0", KEY)


class Clock:
    """A clock that the test moves; sleeping moves it too."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Worker:
    """One worker process: its own token source, the common store."""

    def __init__(self, store, clock, *, lifetime=3600.0, refuse=False):
        self.clock = clock
        self.fetched = 0
        self.lifetime = lifetime
        self.refuse = refuse
        self.during = None
        self.source = source(store, self.own, clock=clock, sleep=clock.sleep)

    def own(self, _seconds):
        self.fetched += 1
        if self.during is not None:
            self.during()
        if self.refuse:
            raise TokenRefusal("down")
        return Token(f"{id(self)}-{self.fetched}", self.lifetime, self.clock() + self.lifetime)

    def fetch(self, unwanted=None, wait_budget=10.0):
        return self.source(unwanted, wait_budget)


def source(store, own, timeout=10.0, **options):
    """Return the source of one worker's tokens."""
    return SharedTokenSource(store, lambda: STORE_KEY, own, timeout=timeout, leeway=60.0, **options)


def shared_token(_seconds):
    """Fetch a token that lives for an hour."""
    return Token("t", 3600.0, time.monotonic() + 3600.0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


def workers(store, clock, number=2, **options):
    """Return several workers with one store."""
    return [Worker(store, clock, **options) for _ in range(number)]


def test_one_fetch_serves_thesharing(store, clock):
    """The second worker finds the first one's token, with the time it has left."""
    one, other = workers(store, clock)
    token = one.fetch()
    clock.now += 100

    found = other.fetch()
    assert (found.value, found.lifetime, found.expires_at) == (token.value, 3600.0, token.expires_at)
    assert found.expires_at == clock.now + 3500
    assert (one.fetched, other.fetched) == (1, 0)


def test_a_rejected_token_is_replaced_once(store, clock):
    """The second worker that is rejected finds the new token."""
    one, other = workers(store, clock)
    old = one.fetch()
    new = one.fetch(unwanted=old.value)

    assert new.value != old.value
    assert other.fetch(unwanted=old.value).value == new.value
    assert (one.fetched, other.fetched) == (2, 0)


def test_a_token_once_refused_is_not_taken_from_the_store_again(store, clock):
    """A store that was down for a while may still hold it, when a later one is refused as well."""
    one, other = workers(store, clock)
    old = one.fetch()
    down, one.source.store = one.source.store, Broken("load", fails)
    mine = one.fetch(unwanted=old.value)
    one.source.store = down
    new = one.fetch(unwanted=mine.value)

    assert new.value not in {old.value, mine.value}
    assert other.fetch().value == new.value
    assert other.fetched == 0


def test_one_worker_renews_ahead_of_the_end(store, clock):
    """While one worker has the lock, the others use the old token."""
    one, other = workers(store, clock)
    old = one.fetch()
    clock.now += 3550
    during = []
    one.during = lambda: during.append(other.fetch())

    new = one.fetch(unwanted=old.value)
    assert during == [Token(old.value, 3600.0, clock.now + 50)]
    assert other.fetch().value == new.value
    assert (one.fetched, other.fetched) == (2, 0)


def test_a_worker_without_the_lock_waits_for_the_token(store, clock):
    one, other = workers(store, clock)
    lease = store.acquire(STORE_KEY.name, LOCK_SECONDS)
    token = Token("t", 3600.0, 3600.0)
    naps = []

    def nap(seconds):
        naps.append(seconds)
        clock.sleep(seconds)
        if len(naps) == 3:
            store.save(STORE_KEY.name, STORE_KEY.pack(token, encrypt=False), 3600)
            store.release(STORE_KEY.name, lease)

    other.source.sleep = nap
    assert other.fetch().value == "t"
    assert other.fetched == one.fetched == 0


def test_a_killed_worker_delays_others_until_its_lock_expires(store, clock):
    """The lock expires, and the next worker takes it."""
    [worker] = workers(store, clock, 1)
    store.acquire(STORE_KEY.name, LOCK_SECONDS)
    began = clock.now

    assert isinstance(worker.fetch(), Token)
    assert worker.fetched == 1
    assert clock.now - began <= LOCK_SECONDS + 0.25


def test_a_short_call_does_not_wait_for_the_lock_to_expire(store, clock):
    """Half of the caller's time is kept for a fetch of the worker's own; the token is shared for the next call."""
    one, other = workers(store, clock)
    store.acquire(STORE_KEY.name, 1000)
    began = clock.now

    token = one.fetch(wait_budget=2.0)
    assert isinstance(token, Token)
    assert clock.now - began <= 1.1
    assert other.fetch().value == token.value
    assert other.fetched == 0


def test_a_worker_between_look_and_lock_is_noticed(store, clock):
    """A worker that gets the lock reads the store again before it fetches."""
    one, other = workers(store, clock)
    real = store.acquire

    def acquire(name, seconds):
        store.acquire = real
        one.fetch()
        return real(name, seconds)

    store.acquire = acquire
    token = other.fetch()

    assert (one.fetched, other.fetched) == (1, 0)
    assert token.value == f"{id(one)}-1"


def test_a_refusal_is_told_and_frees_the_lock(store, clock):
    """The next worker does not wait."""
    one, other = workers(store, clock)
    one.refuse = True

    with pytest.raises(TokenRefusal, match="down"):
        one.fetch()
    began = clock.now
    assert isinstance(other.fetch(), Token)
    assert clock.now == began


def test_a_token_without_a_life_is_not_shared(store, clock):
    [worker] = workers(store, clock, 1, lifetime=0.0)
    worker.fetch()

    assert store.load(STORE_KEY.name) is None


class Broken(MemoryStore):
    """Fail in one method, in a chosen way."""

    def __init__(self, method, fail):
        super().__init__()
        setattr(self, method, fail)


def fails(*_):
    raise ConnectionError("redis://:hunter2@host refused")


@pytest.mark.parametrize("method", ["load", "acquire", "save", "release"])
def test_a_worker_fetches_its_own_token_if_the_store_fails(method, clock, caplog):
    """One fetch, a warning without the message of the store, and no exception."""
    [worker] = workers(Broken(method, fails), clock, 1)
    began = clock.now
    with caplog.at_level(logging.WARNING, "camara_otp.auth"):
        assert isinstance(worker.fetch(), Token)

    assert (worker.fetched, clock.now) == (1, began)
    [record] = caplog.records
    assert "ConnectionError" in record.getMessage()
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, asyncio.CancelledError])
def test_a_worker_fetches_its_own_token_whatever_the_store_raises(kind, clock):
    """A client of Redis under gevent reports its timeout by an exception that is no Exception."""

    def raises(*_):
        raise kind

    [worker] = workers(Broken("load", raises), clock, 1)

    assert isinstance(worker.fetch(), Token)


def test_a_store_that_failed_is_not_asked_again_before_the_token_is_there(clock):
    """A Redis that is unreachable costs one timeout of its client, not one for each operation."""
    asked = []

    def times_out(*_):
        asked.append("operation")
        raise TimeoutError

    store = Broken("load", times_out)
    store.acquire = store.save = times_out
    [worker] = workers(store, clock, 1)

    assert isinstance(worker.fetch(), Token)
    assert asked == ["operation"]


@pytest.mark.parametrize(("pause", "timeout"), [(0.3, 2.0), (0.15, 1.0)])
def test_a_store_that_is_slow_costs_a_part_of_the_time_there_is(pause, timeout, caplog):
    """Each response is in time, but all together are not."""
    store = MemoryStore()
    for name in ("load", "save", "acquire", "release"):
        setattr(store, name, slowly(getattr(store, name), pause))
    began = time.monotonic()
    got = source(store, shared_token)(None, timeout)

    assert got.value == "t"
    assert time.monotonic() - began < timeout / 2 + pause
    [record] = caplog.records
    assert "failed (" in record.getMessage()


def slowly(method, pause):
    """Return a method that takes its time."""

    def slow(*args):
        time.sleep(pause)
        return method(*args)

    return slow


def test_a_caller_without_time_counts_no_store_as_down(caplog):
    """The store responds within the minimum that it is given."""
    store = MemoryStore()
    got = source(store, shared_token)(None, 0.0)

    assert got.value == "t"
    assert store.load(STORE_KEY.name) is not None
    assert caplog.records == []


@pytest.mark.parametrize("pause", [0.03, 0.08])
@pytest.mark.parametrize("timeout", [1.0, 2.0])
def test_a_lock_that_is_never_released_costs_no_call(pause, timeout):
    """The store is also slow, but within its limit."""
    store = MemoryStore()
    store.acquire(STORE_KEY.name, 100)
    for name in ("load", "save", "acquire", "release"):
        setattr(store, name, slowly(getattr(store, name), pause))
    began = time.monotonic()
    got = source(store, shared_token)(None, timeout)

    assert isinstance(got, Token)
    assert time.monotonic() - began < timeout


def test_a_store_that_hangs_is_left_behind(clock, monkeypatch):
    """The limit of this package applies, whatever timeouts the Redis client has."""
    monkeypatch.setattr(sharing, "_STORE_BUDGET", (0.05, 0.05))
    gate = threading.Event()
    [worker] = workers(Broken("load", lambda _: gate.wait(10)), clock, 1)
    began = time.monotonic()

    assert isinstance(worker.fetch(), Token)
    assert time.monotonic() - began < 1
    gate.set()


class Hanging(MemoryStore):
    """Respond a number of times, then never."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers
        self.gate = threading.Event()

    def load(self, name):
        return self.answered(super().load, name)

    def save(self, name, value, seconds):
        return self.answered(super().save, name, value, seconds)

    def acquire(self, name, seconds):
        return self.answered(super().acquire, name, seconds)

    def release(self, name, lease):
        return self.answered(super().release, name, lease)

    def answered(self, method, *args):
        self.answers -= 1
        if self.answers < 0:
            self.gate.wait(10)
        return method(*args)


@pytest.mark.parametrize("answers", range(6))
@pytest.mark.parametrize("limit", ["timeout", "wait_budget"])
def test_a_store_that_hangs_costs_a_part_of_the_time_there_is(answers, limit, caplog):
    """The worker fetches a token of its own in time, and waits for the store only once."""
    store = Hanging(answers)
    began = time.monotonic()
    fetched = []

    def own(seconds):
        time.sleep(0.01)
        fetched.append(time.monotonic() - began)
        return shared_token(seconds)

    timeout, wait_budget = (1.2, 10.0) if limit == "timeout" else (10.0, 1.2)
    got = source(store, own, timeout)(None, wait_budget)
    took = time.monotonic() - began
    store.gate.set()

    assert got.value == "t"
    assert len(fetched) == 1
    assert took < 1.2
    assert len(caplog.records) == (1 if answers < 5 else 0)


@pytest.mark.parametrize(
    "shape", [lambda kept: kept[0], lambda kept: (kept[0], None), lambda kept: (*kept, 1), lambda _: "text"]
)
def test_a_worker_fetches_its_own_token_if_the_store_returns_nonsense(clock, shape, caplog):
    """The log names the fault of the store, and no call fails."""
    store = MemoryStore(clock=clock)
    one, other = workers(store, clock)
    one.fetch()
    real = store.load
    store.load = lambda name: shape(real(name))

    assert isinstance(other.fetch(), Token)
    assert other.fetched == 1
    assert "bytes and seconds" in caplog.text


@pytest.mark.parametrize("left", [0.0, -1.0, float("nan")])
def test_a_token_without_time_left_is_not_found(clock, left):
    """For any number of seconds that a store returns."""
    store = MemoryStore(clock=clock)
    one, other = workers(store, clock)
    one.fetch()
    real = store.load
    store.load = lambda name: (real(name)[0], left) if real(name) else None

    assert other.fetch().value == f"{id(other)}-1"


@pytest.mark.parametrize("value", [b"", b"nonsense", b"[]", b"{}", b'{"token": "t"}', b'{"token":"t","lifetime":"x"}'])
def test_foreign_bytes_in_the_store_are_as_good_as_none(store, clock, value):
    """The value of another program, or a damaged one, is replaced by a fetched token."""
    store.save(STORE_KEY.name, value, 1000)
    [worker] = workers(store, clock, 1)
    token = worker.fetch()

    assert worker.fetched == 1
    assert worker.fetch().value == token.value


def test_a_store_key_depends_on_secret_and_identity():
    """The same client has the same name and key; neither shows the secret."""
    made = StoreKey.derive(b"s3cr3t", "client_credentials", "https://op.example/token", "client", "scope")

    assert made == StoreKey.derive(b"s3cr3t", "client_credentials", "https://op.example/token", "client", "scope")
    others = [
        StoreKey.derive(b"other", "client_credentials", "https://op.example/token", "client", "scope"),
        StoreKey.derive(b"s3cr3t", "client_credentials", "https://op.example/token", "client", "scope2"),
        StoreKey.derive(b"s3cr3t", "client_credentials", "https://op.example/tokenclient", "", "scope"),
    ]
    assert len({made.name, *(other.name for other in others)}) == 4
    assert len({made.key, *(other.key for other in others)}) == 4
    assert made.key.decode() not in repr(made)
    assert made.name.removeprefix("token:").isalnum()


def test_an_encrypted_token_is_unreadable_and_authentic():
    """Only the same key decrypts it, and a changed byte makes it invalid."""
    token = Token("t0ken", 3600.0, 3600.0)
    sealed = STORE_KEY.pack(token, encrypt=True)

    assert b"t0ken" not in sealed
    assert STORE_KEY.unpack(sealed, 10.0, encrypt=True) == Token("t0ken", 3600.0, 10.0)
    assert StoreKey("x", base64.urlsafe_b64encode(b"1" * 32)).unpack(sealed, 10.0, encrypt=True) is None
    assert STORE_KEY.unpack(sealed[:-10] + b"A" * 10, 10.0, encrypt=True) is None


def test_encryption_without_its_package_is_refused_at_once(monkeypatch):
    """The error names the package to install."""
    monkeypatch.setitem(__import__("sys").modules, "cryptography.fernet", None)

    with pytest.raises(ConfigurationError, match=r"camara-otp\[redis\]"):
        ClientCredentials("https://op.example/t", "client", client_secret="s", store=RedisStore(object()))


def test_the_memory_store_keeps_values_for_their_time(store, clock):
    """Values are dropped after their lifetime."""
    store.save("a", b"1", 10)
    clock.now += 4
    assert store.load("a") == (b"1", 6)
    clock.now += 6
    assert store.load("a") is None
    assert store.load("b") is None
    assert repr(store) == "MemoryStore(...)"


def test_the_memory_store_lends_its_lock_once(store, clock):
    """The lock is taken until it is released or expires; an old lease does not release it."""
    first = store.acquire("a", 10)
    assert store.acquire("a", 10) is None
    assert store.acquire("b", 10) is not None
    clock.now += 10
    second = store.acquire("a", 10)
    assert second is not None
    store.release("a", first)
    assert store.acquire("a", 10) is None
    store.release("a", second)
    assert store.acquire("a", 10) is not None


def race(store, number, own, timeout=10.0):
    """Run workers on one store at the same time, with a real clock; return each outcome."""

    def outcome(fetch):
        try:
            return fetch(None, timeout)
        except TokenRefusal as refusal:
            return refusal

    sources = [source(store, own, timeout) for _ in range(number)]
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(outcome, sources))


def counting(seconds, *outcomes):
    """Return a fetch that takes `seconds`, raises the refusals in turn, then returns tokens; and its starts."""
    fetched = []

    def own(_seconds):
        fetched.append(time.monotonic())
        number = len(fetched)
        time.sleep(seconds)
        if number <= len(outcomes):
            raise outcomes[number - 1]
        return Token(f"t{number}", 3600.0, time.monotonic() + 3600.0)

    return own, fetched


def test_many_threads_share_one_token():
    """Several providers in one process, with a real clock."""
    own, fetched = counting(0.05)

    assert {token.value for token in race(MemoryStore(), 20, own)} == {"t1"}
    assert len(fetched) == 1


def test_a_slow_refusal_leaves_the_next_worker_free():
    """The lock is released with the refusal, and the next worker fetches at once."""
    own, fetched = counting(0.3, TokenRefusal("down"))

    outcomes = race(MemoryStore(), 2, own)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Token", "TokenRefusal"]
    assert 0.3 <= fetched[1] - fetched[0] < 0.3 + 0.4


def test_workers_behind_a_killed_one_share_the_next_token(monkeypatch):
    """The lock of a worker that was killed expires; the first to take it fetches for all."""
    monkeypatch.setattr(sharing, "LOCK_SECONDS", 2.0)
    store = MemoryStore()
    store.acquire(STORE_KEY.name, 0.3)
    own, fetched = counting(0.2)

    assert {token.value for token in race(store, 8, own)} == {"t1"}
    assert len(fetched) == 1


def test_a_fetch_that_outlasts_the_lock_costs_a_few_requests(monkeypatch):
    """Each expiry of the lock lets one more worker fetch; every caller gets a token."""
    monkeypatch.setattr(sharing, "LOCK_SECONDS", 0.4)
    own, fetched = counting(1.0)

    assert all(isinstance(outcome, Token) for outcome in race(MemoryStore(), 10, own))
    assert 1 <= len(fetched) <= 3


def test_a_fetch_that_raises_releases_the_lock():
    """A caller's own http_client may raise any exception, late as well."""
    store = MemoryStore()

    def own(_seconds):
        raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="the caller's own"):
        source(store, own)(None, 10.0)
    assert store.acquire(STORE_KEY.name, 1) is not None


def test_an_entry_of_an_older_release_blocks_no_worker(store, clock):
    """Older releases stored a second entry for the token."""
    store.save(f"{STORE_KEY.name}:busy", b"busy", 1e9)
    [worker] = workers(store, clock, 1)
    began = clock.now

    assert isinstance(worker.fetch(), Token)
    assert clock.now == began


def test_the_time_spent_on_waiting_is_missing_for_the_fetch(store, clock):
    """Waiting and fetching together keep to the timeout of the provider."""
    given = []
    store.acquire(STORE_KEY.name, 1000)
    fetch = source(
        store, lambda left: given.append(left) or shared_token(left), clock=clock, sleep=clock.sleep, timeout=8.0
    )
    fetch(None, 100.0)

    assert given == [pytest.approx(4.0, abs=0.3)]


def test_a_token_about_to_end_is_not_served_while_another_worker_renews_it(store, clock):
    """Its last seconds are not used, because servers count whole seconds."""
    [worker] = workers(store, clock, 1)
    lease = store.acquire(STORE_KEY.name, LOCK_SECONDS)
    store.save(STORE_KEY.name, STORE_KEY.pack(Token("old", 6.0, 1.5), encrypt=False), 1.5)

    def nap(seconds):
        clock.sleep(seconds)
        store.save(STORE_KEY.name, STORE_KEY.pack(Token("new", 6.0, 6.0), encrypt=False), 6.0)
        store.release(STORE_KEY.name, lease)

    worker.source.sleep = nap
    assert worker.fetch().value == "new"
    assert worker.fetched == 0


def test_an_async_redis_client_is_refused():
    """Tokens are fetched in a thread, for the async client too."""
    redis = pytest.importorskip("redis.asyncio")

    with pytest.raises(ConfigurationError, match=r"redis\.Redis"):
        RedisStore(redis.Redis())


def test_redis_without_its_package_is_refused(monkeypatch):
    """With the remedy, and without the URL's password."""
    monkeypatch.setitem(__import__("sys").modules, "redis", None)

    with pytest.raises(ConfigurationError, match=r"camara-otp\[redis\]") as caught:
        RedisStore.from_url("redis://:hunter2@127.0.0.1/0")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("module", ["redis.asyncio", "redis.asyncio.cluster"])
def test_a_subclass_of_an_async_redis_client_is_refused(module):
    """Otherwise the store would look like one that is always down."""
    pytest.importorskip("redis")
    kind = type("Mine", (type("Redis", (), {"__module__": module}),), {"__module__": "app"})

    with pytest.raises(ConfigurationError, match=r"redis\.Redis"):
        RedisStore(kind())


@pytest.mark.parametrize("url", ["redis://:hunter2@127.0.0.1/0", b"redis://:hunter2@127.0.0.1/0"])
def test_a_url_in_place_of_a_client_is_refused(url):
    """The message names `from_url`, and does not show the password."""
    with pytest.raises(ConfigurationError, match="from_url") as caught:
        RedisStore(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2/7@127.0.0.1/0",
        "http://:hunter2@127.0.0.1/0",
        "redis://:hunter2@[::1/0",
        "redis://:hunter2@127.0.0.1?socket_timeout=soon",
        "127.0.0.1:6379",
        "",
        None,
    ],
)
def test_a_url_that_redis_cannot_use_is_refused(url):
    """The ConfigurationError does not have the message of the driver, which shows a part of the password."""
    pytest.importorskip("redis")
    with pytest.raises(ConfigurationError, match="^url: must be") as caught:
        RedisStore.from_url(url)

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    assert "hunter2" not in str(frames)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1", None])
def test_a_timeout_that_is_none_is_refused(timeout):
    """Without a timeout, a Redis that hangs blocks a thread for ever."""
    pytest.importorskip("redis")
    with pytest.raises(ConfigurationError, match="^timeout: must be") as caught:
        RedisStore.from_url("redis://:hunter2@127.0.0.1/0", timeout=timeout)

    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    assert "hunter2" not in str(frames)
