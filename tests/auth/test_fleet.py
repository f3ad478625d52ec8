"""Several workers and one token: stores, the lock, what is sealed, and stores that fail."""

import base64
import logging
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from camara_otp.auth import ClientCredentials, MemoryStore, RedisStore, _fleet
from camara_otp.auth._fleet import LEASE, Fleet, Seal
from camara_otp.auth._values import Refusal, Token
from camara_otp.errors import ConfigurationError

KEY = base64.urlsafe_b64encode(bytes(32))
SEAL = Seal("token:0", KEY)


class Clock:
    """Time that passes on command; sleeping is passing."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Worker:
    """One process of the fleet: its own token source, the common store."""

    def __init__(self, store, clock, *, lifetime=3600.0, refuse=False):
        self.clock = clock
        self.fetched = 0
        self.lifetime = lifetime
        self.refuse = refuse
        self.during = None
        self.fleet = Fleet(store, lambda: SEAL, 60.0, clock=clock, sleep=clock.sleep)

    def own(self):
        self.fetched += 1
        if self.during is not None:
            self.during()
        return Refusal("down") if self.refuse else Token(f"{id(self)}-{self.fetched}", self.lifetime, self.lifetime)

    def fetch(self, unwanted=None, timeout=10.0, hurry=10.0):
        return self.fleet.fetch(unwanted, self.own, self.clock() + timeout, hurry)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


def workers(store, clock, number=2, **options):
    """Return some workers on one store."""
    return [Worker(store, clock, **options) for _ in range(number)]


def test_one_fetch_serves_the_fleet(store, clock):
    """The second worker finds the first one's token, with what is left of its life."""
    one, other = workers(store, clock)
    token = one.fetch()
    clock.now += 100

    found = other.fetch()
    assert (found.value, found.lifetime, found.left) == (token.value, 3600.0, 3500.0)
    assert (one.fetched, other.fetched) == (1, 0)


def test_a_rejected_token_is_replaced_once(store, clock):
    """Who is refused second finds the new one."""
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
    down, one.fleet._store = one.fleet._store, Broken("load", fails)
    mine = one.fetch(unwanted=old.value)
    one.fleet._store = down
    new = one.fetch(unwanted=mine.value)

    assert new.value not in {old.value, mine.value}
    assert other.fetch().value == new.value
    assert other.fetched == 0


def test_one_worker_renews_ahead_of_the_end(store, clock):
    """While one holds the lock the others go on with the old token."""
    one, other = workers(store, clock)
    old = one.fetch()
    clock.now += 3550
    during = []
    one.during = lambda: during.append(other.fetch())

    new = one.fetch(unwanted=old.value)
    assert during == [Token(old.value, 3600.0, 50.0)]
    assert other.fetch().value == new.value
    assert (one.fetched, other.fetched) == (2, 0)


def test_who_finds_the_lock_taken_waits_for_the_token(store, clock):
    """The waiter fetches nothing."""
    one, other = workers(store, clock)
    lease = store.acquire(SEAL.name, LEASE)
    token = Token("t", 3600.0, 3600.0)
    naps = []

    def nap(seconds):
        naps.append(seconds)
        clock.sleep(seconds)
        if len(naps) == 3:
            store.save(SEAL.name, SEAL.pack(token, encrypt=False), 3600)
            store.release(SEAL.name, lease)

    other.fleet._sleep = nap
    assert other.fetch().value == "t"
    assert other.fetched == one.fetched == 0


def test_a_dead_worker_blocks_nobody_for_long(store, clock):
    """Its lock runs out, and the next takes over."""
    [worker] = workers(store, clock, 1)
    store.acquire(SEAL.name, LEASE)
    began = clock.now

    assert isinstance(worker.fetch(), Token)
    assert worker.fetched == 1
    assert clock.now - began <= LEASE + 0.25


def test_a_short_call_does_not_wait_for_the_lock_to_run_out(store, clock):
    """Half of the time is kept for a fetch of one's own."""
    [worker] = workers(store, clock, 1)
    store.acquire(SEAL.name, 1000)
    began = clock.now

    assert isinstance(worker.fetch(timeout=2.0), Token)
    assert clock.now - began <= 1.1


def test_a_short_wait_is_not_spent_on_a_dead_worker(store, clock):
    """Whoever asks may have less time than the provider."""
    [worker] = workers(store, clock, 1)
    store.acquire(SEAL.name, 1000)
    began = clock.now

    assert isinstance(worker.fetch(hurry=2.0), Token)
    assert clock.now - began <= 1.1


def test_a_worker_between_look_and_lock_is_noticed(store, clock):
    """Who gets the lock looks again before it fetches."""
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
    """The next worker need not wait."""
    one, other = workers(store, clock)
    one.refuse = True

    assert one.fetch() == Refusal("down")
    began = clock.now
    assert isinstance(other.fetch(), Token)
    assert clock.now == began


def test_a_token_without_a_life_is_not_shared(store, clock):
    """There is nothing in it for others."""
    [worker] = workers(store, clock, 1, lifetime=0.0)
    worker.fetch()

    assert store.load(SEAL.name) is None


class Broken(MemoryStore):
    """Fail in one method, in a chosen way."""

    def __init__(self, method, fail):
        super().__init__()
        setattr(self, method, fail)


def fails(*_):
    raise ConnectionError("redis://:hunter2@host refused")


@pytest.mark.parametrize("method", ["load", "acquire", "save", "release"])
def test_a_store_that_fails_means_a_token_of_ones_own(method, clock, caplog):
    """One fetch, a warning without the store's words, no exception."""
    [worker] = workers(Broken(method, fails), clock, 1)
    with caplog.at_level(logging.WARNING, "camara_otp.auth"):
        assert isinstance(worker.fetch(), Token)

    assert worker.fetched == 1
    [record] = caplog.records
    assert "ConnectionError" in record.getMessage()
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(("pause", "timeout"), [(0.3, 2.0), (0.15, 1.0)])
def test_a_store_that_is_slow_costs_a_part_of_the_time_there_is(pause, timeout, caplog):
    """Each answer alone would be in time; all together they would not."""
    store = MemoryStore()
    for name in ("load", "save", "acquire", "release"):
        setattr(store, name, slowly(getattr(store, name), pause))
    began = time.monotonic()
    got = Fleet(store, lambda: SEAL, 60.0).fetch(None, lambda: Token("t", 3600.0, 3600.0), began + timeout)

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
    """A healthy store answers in less than the least that it is given."""
    store = MemoryStore()
    got = Fleet(store, lambda: SEAL, 60.0).fetch(None, lambda: Token("t", 3600.0, 3600.0), time.monotonic() + 10, 0.0)

    assert got.value == "t"
    assert store.load(SEAL.name) is not None
    assert caplog.records == []


@pytest.mark.parametrize("pause", [0.03, 0.08])
@pytest.mark.parametrize("timeout", [1.0, 2.0])
def test_a_lock_that_nobody_gives_back_costs_no_call(pause, timeout):
    """Also where each look at the store takes its time, though never enough to call it slow."""
    store = MemoryStore()
    store.acquire(SEAL.name, 100)
    for name in ("load", "save", "acquire", "release"):
        setattr(store, name, slowly(getattr(store, name), pause))
    began = time.monotonic()
    got = Fleet(store, lambda: SEAL, 60.0).fetch(None, lambda: Token("t", 3600.0, 3600.0), began + timeout)

    assert isinstance(got, Token)
    assert time.monotonic() - began < timeout


def test_who_was_killed_at_once_costs_no_call_of_two_seconds():
    """Its mark outlives it by less."""
    store = MemoryStore()
    store.acquire(SEAL.name, LEASE)
    store.save(SEAL.mark, b"busy", _fleet._SIGN)
    [got] = race(store, 1, lambda: Token("t", 3600.0, 3600.0), timeout=2.0)

    assert isinstance(got, Token)


def test_signs_of_life_do_not_flood_the_store():
    """However little time is left."""
    store = MemoryStore()
    saved = []
    save = store.save
    store.save = lambda *arguments: saved.append(arguments) or save(*arguments)

    def own():
        time.sleep(0.5)
        return Token("t", 3600.0, 3600.0)

    Fleet(store, lambda: SEAL, 60.0).fetch(None, own, time.monotonic() + 0.01)
    assert len(saved) < 20


def test_a_store_that_hangs_is_left_behind(clock, monkeypatch):
    """Within a bound of our own, whatever timeouts the caller's client has."""
    monkeypatch.setattr(_fleet, "_ANSWER", 0.05)
    gate = threading.Event()
    [worker] = workers(Broken("load", lambda _: gate.wait(10)), clock, 1)
    began = time.monotonic()

    assert isinstance(worker.fetch(), Token)
    assert time.monotonic() - began < 1
    gate.set()


class Hanging(MemoryStore):
    """Answer a number of times, then no more."""

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


@pytest.mark.parametrize("answers", range(9))
@pytest.mark.parametrize("limit", ["timeout", "hurry"])
def test_a_store_that_hangs_costs_a_part_of_the_time_there_is(answers, limit, caplog):
    """At whatever moment it begins: one fetch of one's own, in time, and no second wait for the same silence."""
    store = Hanging(answers)
    began = time.monotonic()
    fetched = []

    def own():
        time.sleep(0.01)
        fetched.append(time.monotonic() - began)
        return Token("t", 3600.0, 3600.0)

    timeout, hurry = (1.2, 10.0) if limit == "timeout" else (10.0, 1.2)
    got = Fleet(store, lambda: SEAL, 60.0).fetch(None, own, began + timeout, hurry)
    took = time.monotonic() - began
    store.gate.set()

    assert got.value == "t"
    assert len(fetched) == 1
    assert took < 1.2
    assert len(caplog.records) == (1 if answers < 8 else 0)


@pytest.mark.parametrize(
    "shape", [lambda kept: kept[0], lambda kept: (kept[0], None), lambda kept: (*kept, 1), lambda _: "text"]
)
def test_a_store_that_answers_nonsense_means_a_token_of_ones_own(clock, shape, caplog):
    """A slip in a store of the caller's own is named in the log, and no call fails for it."""
    store = MemoryStore(clock=clock)
    one, other = workers(store, clock)
    one.fetch()
    real = store.load
    store.load = lambda name: shape(real(name))

    assert isinstance(other.fetch(), Token)
    assert other.fetched == 1
    assert "bytes and seconds" in caplog.text


@pytest.mark.parametrize("left", [0.0, -1.0, float("nan")])
def test_what_has_no_life_left_is_not_found(clock, left):
    """Whatever a store makes of seconds."""
    store = MemoryStore(clock=clock)
    one, other = workers(store, clock)
    one.fetch()
    real = store.load
    store.load = lambda name: (real(name)[0], left) if real(name) else None

    assert other.fetch().value == f"{id(other)}-1"


@pytest.mark.parametrize("value", [b"", b"nonsense", b"[]", b"{}", b'{"token": "t"}', b'{"token":"t","lifetime":"x"}'])
def test_foreign_bytes_in_the_store_are_as_good_as_none(store, clock, value):
    """Somebody else's key, or a spoilt one: fetch and overwrite."""
    store.save(SEAL.name, value, 1000)
    [worker] = workers(store, clock, 1)
    token = worker.fetch()

    assert worker.fetched == 1
    assert worker.fetch().value == token.value


def test_a_seal_depends_on_secret_and_identity():
    """Same client, same name and key; anything else, others. Nothing of it shows."""
    made = Seal.make(b"s3cr3t", "client_credentials", "https://op.example/token", "client", "scope")

    assert made == Seal.make(b"s3cr3t", "client_credentials", "https://op.example/token", "client", "scope")
    others = [
        Seal.make(b"other", "client_credentials", "https://op.example/token", "client", "scope"),
        Seal.make(b"s3cr3t", "client_credentials", "https://op.example/token", "client", "scope2"),
        Seal.make(b"s3cr3t", "client_credentials", "https://op.example/tokenclient", "", "scope"),
    ]
    assert len({made.name, *(other.name for other in others)}) == 4
    assert len({made.key, *(other.key for other in others)}) == 4
    assert made.key.decode() not in repr(made)
    assert made.name.removeprefix("token:").isalnum()


def test_what_is_sealed_is_unreadable_and_authentic():
    """Only the same key opens it, and a changed byte spoils it."""
    token = Token("t0ken", 3600.0, 3600.0)
    sealed = SEAL.pack(token, encrypt=True)

    assert b"t0ken" not in sealed
    assert SEAL.unpack(sealed, 10.0, encrypt=True) == Token("t0ken", 3600.0, 10.0)
    assert Seal("x", base64.urlsafe_b64encode(b"1" * 32)).unpack(sealed, 10.0, encrypt=True) is None
    assert SEAL.unpack(sealed[:-10] + b"A" * 10, 10.0, encrypt=True) is None


def test_encryption_without_its_package_is_refused_at_once(monkeypatch):
    """With the remedy."""
    monkeypatch.setitem(__import__("sys").modules, "cryptography.fernet", None)

    with pytest.raises(ConfigurationError, match=r"camara-otp\[redis\]"):
        ClientCredentials("https://op.example/t", "client", client_secret="s", store=RedisStore(object()))


def test_the_memory_store_keeps_values_for_their_time(store, clock):
    """Then they are gone."""
    store.save("a", b"1", 10)
    clock.now += 4
    assert store.load("a") == (b"1", 6)
    clock.now += 6
    assert store.load("a") is None
    assert store.load("b") is None
    assert repr(store) == "MemoryStore(...)"


def test_the_memory_store_lends_its_lock_once(store, clock):
    """Until it is given back or runs out; an old lease frees nothing."""
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


def test_many_threads_share_one_token():
    """Providers in one process, racing on a real clock."""
    store = MemoryStore()
    fetched = []

    def own():
        fetched.append(1)
        time.sleep(0.05)
        return Token(f"t{len(fetched)}", 3600.0, 3600.0)

    fleets = [Fleet(store, lambda: SEAL, 60.0) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda fleet: fleet.fetch(None, own, time.monotonic() + 10).value, fleets))

    assert got == ["t1"] * 20
    assert fetched == [1]


def race(store, number, own, timeout=10.0):
    """Let workers on one store ask at once, on a real clock; return what each got."""
    fleets = [Fleet(store, lambda: SEAL, 60.0) for _ in range(number)]
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(lambda fleet: fleet.fetch(None, own, time.monotonic() + timeout), fleets))


def is_marked(store):
    """Tell whether somebody shows that it is fetching."""
    kept = store.load(SEAL.mark)
    return kept is not None and kept[0] == b"busy"


@pytest.fixture
def quick(monkeypatch):
    """Let the lock run out, and looks and signs of life come, many times as fast."""
    monkeypatch.setattr(_fleet, "LEASE", 0.5)
    monkeypatch.setattr(_fleet, "_SIGN", 0.5)
    monkeypatch.setattr(_fleet, "_BEAT", 0.1)
    monkeypatch.setattr(_fleet, "_LOOK_AGAIN", (0.01, 0.05))


@pytest.mark.usefixtures("quick")
def test_a_fetch_that_outlasts_the_lock_is_the_only_one():
    """A slow token endpoint is asked once by the fleet, not once by each worker."""
    fetched = []

    def own():
        fetched.append(1)
        time.sleep(1.0)
        return Token(f"t{len(fetched)}", 3600.0, 3600.0)

    assert {token.value for token in race(MemoryStore(), 10, own)} == {"t1"}
    assert fetched == [1]


@pytest.mark.usefixtures("quick")
def test_a_slow_refusal_leaves_the_next_worker_free():
    """Whoever waited takes over at once, although the mark of the slow one has not run out."""
    store = MemoryStore()
    began = time.monotonic()
    fetched = []

    def own():
        fetched.append(time.monotonic() - began)
        if len(fetched) == 1:
            time.sleep(0.6)
            return Refusal("down")
        return Token("t", 3600.0, 3600.0)

    got = race(store, 2, own)
    assert sorted(type(each).__name__ for each in got) == ["Refusal", "Token"]
    assert 0.6 <= fetched[1] < 0.6 + 0.3
    assert not is_marked(store)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("marked", [False, True])
def test_who_takes_over_from_a_dead_worker_is_the_only_one(marked):
    """The others know that somebody is fetching again, however long ago they began to wait."""
    store = MemoryStore()
    store.acquire(SEAL.name, 0.3)
    if marked:
        store.save(SEAL.mark, b"busy", 0.3)
    fetched = []

    def own():
        fetched.append(1)
        time.sleep(0.7)
        return Token(f"t{len(fetched)}", 3600.0, 3600.0)

    assert {token.value for token in race(store, 8, own)} == {"t1"}
    assert fetched == [1]


def test_a_fetch_that_ends_while_its_lock_is_taken_over_is_not_repeated(store, clock):
    """Between two looks of whoever takes over, the slow worker saves its token and takes back its mark."""
    [worker] = workers(store, clock, 1)
    load = store.load

    def ending(name):
        if name == SEAL.mark:
            store.save(SEAL.name, SEAL.pack(Token("slow", 3600.0, 3600.0), encrypt=False), 3600.0)
            store.save(SEAL.mark, b"over", LEASE)
        return load(name)

    store.load = ending

    assert worker.fetch().value == "slow"
    assert worker.fetched == 0


@pytest.mark.usefixtures("quick")
def test_slow_refusals_come_one_after_the_other():
    """Whoever has waited for one takes its turn, and a token ends it."""
    fetched = []
    flying = []

    def own():
        fetched.append(1)
        number = len(fetched)
        flying.append(number)
        most.append(len(flying))
        time.sleep(0.4)
        flying.remove(number)
        return Refusal("down") if number < 3 else Token("t", 3600.0, 3600.0)

    most = []
    race(MemoryStore(), 6, own)
    assert len(fetched) == 3
    assert max(most) == 1


@pytest.mark.usefixtures("quick")
def test_a_fetch_that_raises_takes_its_mark_with_it():
    """A caller's own http_client may raise anything, late as well."""
    store = MemoryStore()

    def own():
        time.sleep(0.2)
        raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="the caller's own"):
        Fleet(store, lambda: SEAL, 60.0).fetch(None, own, time.monotonic() + 10)
    assert not is_marked(store)
    assert store.acquire(SEAL.name, 1) is not None


@pytest.mark.usefixtures("quick")
def test_who_dies_in_a_long_fetch_is_replaced():
    """The mark runs out like the lock."""
    store = MemoryStore()
    store.save(SEAL.mark, b"busy", 0.3)
    began = time.monotonic()
    [got] = race(store, 1, lambda: Token("t", 3600.0, 3600.0))

    assert got.value == "t"
    assert 0.3 <= time.monotonic() - began < 0.6


@pytest.mark.usefixtures("quick")
def test_nobody_waits_longer_for_another_than_for_a_fetch_of_ones_own():
    """Then there is no token, and the text says why."""
    store = MemoryStore()
    store.save(SEAL.mark, b"busy", 10)
    began = time.monotonic()
    [got] = race(store, 1, lambda: Token("t", 3600.0, 3600.0), timeout=0.5)

    assert time.monotonic() - began < 0.7
    assert got.again
    assert "another worker" in got.reason


@pytest.mark.usefixtures("quick")
def test_a_token_that_still_serves_is_served_while_a_slow_fetch_renews_it():
    """Even when the lock of whoever renews it has run out."""
    store = MemoryStore()
    store.save(SEAL.name, SEAL.pack(Token("old", 3600.0, 50.0), encrypt=False), 50)
    store.save(SEAL.mark, b"busy", 10)
    [got] = race(store, 1, lambda: Token("new", 3600.0, 3600.0))

    assert got.value == "old"


def test_a_token_about_to_end_is_not_served_while_another_worker_renews_it(store, clock):
    """Its last seconds are nobody's: servers count in whole ones."""
    [worker] = workers(store, clock, 1)
    lease = store.acquire(SEAL.name, LEASE)
    store.save(SEAL.name, SEAL.pack(Token("old", 6.0, 1.5), encrypt=False), 1.5)

    def nap(seconds):
        clock.sleep(seconds)
        store.save(SEAL.name, SEAL.pack(Token("new", 6.0, 6.0), encrypt=False), 6.0)
        store.release(SEAL.name, lease)

    worker.fleet._sleep = nap
    assert worker.fetch().value == "new"
    assert worker.fetched == 0


def test_a_process_without_room_for_a_thread_fetches_in_the_one_it_has(store, clock, monkeypatch):
    """The heartbeat is lost, the token is not."""
    [worker] = workers(store, clock, 1)
    real = _fleet.in_thread

    def in_thread(function, *args):
        if function == worker.own:
            raise RuntimeError("can't start new thread")
        return real(function, *args)

    monkeypatch.setattr(_fleet, "in_thread", in_thread)

    assert isinstance(worker.fetch(), Token)


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
def test_an_async_redis_client_of_a_class_of_ones_own_is_refused(module):
    """It would only be noticed as a store that is always down."""
    pytest.importorskip("redis")
    kind = type("Mine", (type("Redis", (), {"__module__": module}),), {"__module__": "app"})

    with pytest.raises(ConfigurationError, match=r"redis\.Redis"):
        RedisStore(kind())


@pytest.mark.parametrize("url", ["redis://:hunter2@127.0.0.1/0", b"redis://:hunter2@127.0.0.1/0"])
def test_a_url_in_place_of_a_client_is_refused(url):
    """With the method that takes one, and without the password."""
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
    """As a ConfigurationError, without the driver's words: they quote what follows a slash in the password."""
    pytest.importorskip("redis")
    with pytest.raises(ConfigurationError, match="^url: must be") as caught:
        RedisStore.from_url(url)

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    assert "hunter2" not in str(frames)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1", None])
def test_a_timeout_that_is_none_is_refused(timeout):
    """Without one a Redis that hangs keeps a thread for ever."""
    pytest.importorskip("redis")
    with pytest.raises(ConfigurationError, match="^timeout: must be") as caught:
        RedisStore.from_url("redis://:hunter2@127.0.0.1/0", timeout=timeout)

    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    assert "hunter2" not in str(frames)
