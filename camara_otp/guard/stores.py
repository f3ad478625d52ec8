"""The counters of the guard: in the memory of one process, or in Redis for all workers.

Both stores do one operation: read the counters of some rules, and change them all if no rule refuses.
"""

import contextvars
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio

from camara_otp._checks import seconds
from camara_otp._threads import await_future, run_in_thread, wait
from camara_otp.errors import ConfigurationError
from camara_otp.guard.rules import Refusal, Rule, Slot, Slots, changed, decide

if TYPE_CHECKING:
    import redis
    import redis.asyncio

_SMALLEST_SWEEP: Final = 1024
_SHORTEST_SECRET: Final = 16
_MOST_THREADS: Final = 64


class Change(NamedTuple):
    """A change of each counter: SMS sent and verified, and when the SMS was sent (None: now)."""

    sent: int = 0
    verified: int = 0
    at: int | None = None


READ: Final = Change()


class Reading(NamedTuple):
    """The result of a store: its time in milliseconds, the refusal, and after `READ` the sums of each counter."""

    now: int
    refusal: Refusal | None
    totals: Sequence[tuple[int, int]]


def _keyed(secret: bytes) -> "hashlib.blake2b":
    """Return an empty keyed hash, to be copied for each name: numbers cannot be guessed from its digests."""
    key = hashlib.blake2b(secret, digest_size=32, person=b"camara-otp guard").digest()
    return hashlib.blake2b(key=key, digest_size=16)


def _digest(keyed: "hashlib.blake2b", name: str) -> str:
    digest = keyed.copy()
    digest.update(name.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _totals(change: Change, slots: Sequence[Slots]) -> list[tuple[int, int]]:
    if change != READ:
        return []
    return [(sum(slot.sent for slot in c.values()), sum(slot.verified for slot in c.values())) for c in slots]


class MemoryCounters:
    """Keep the counters in the memory of this process, for a site that runs as one process.

    Names are kept as digests under a random key that never leaves the process. Memory is bounded by the SMS sent
    within the longest window: a refused SMS adds nothing.

    Args:
        clock: returns seconds; a test may inject its own
    """

    asynchronous: Final = False

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._keyed: Final = _keyed(secrets.token_bytes(32))
        self._counters: dict[str, tuple[int, dict[int, Slot]]] = {}
        self._sweep_at = _SMALLEST_SWEEP

    def apply(self, change: Change, rules: Sequence[Rule], names: Sequence[str]) -> Reading:
        """Read the counters, and change them if no rule refuses."""
        keys = [_digest(self._keyed, name) for name in names]
        with self._lock:
            now = int(self._clock() * 1000)
            slots = [self._live(key, now) for key in keys]
            refusal = decide(rules, slots, now) if change.sent > 0 else None
            if refusal is None and change != READ:
                for rule, key, found in zip(rules, keys, slots, strict=True):
                    number = (now if change.at is None else change.at) // rule.width
                    slot = changed(found.get(number), change.sent, change.verified, now)
                    if slot is not None:
                        found[number] = slot
                    else:
                        found.pop(number, None)
                    self._counters[key] = rule.window, found
                if len(self._counters) >= self._sweep_at:
                    self._sweep(now)
            return Reading(now, refusal, _totals(change, slots))

    async def aapply(self, change: Change, rules: Sequence[Rule], names: Sequence[str]) -> Reading:
        """Do the same; nothing waits."""
        return self.apply(change, rules, names)

    def _live(self, key: str, now: int) -> dict[int, Slot]:
        window, slots = self._counters.get(key) or (0, {})
        for number in [number for number, slot in slots.items() if slot.last + window <= now]:
            del slots[number]
        return slots

    def _sweep(self, now: int) -> None:
        """Drop the empty counters; the next sweep is due when there are twice as many as are left."""
        for key in list(self._counters):
            if not self._live(key, now):
                del self._counters[key]
        self._sweep_at = max(_SMALLEST_SWEEP, 2 * len(self._counters))

    def __repr__(self) -> str:
        return "MemoryCounters()"


# KEYS: one hash per rule, a field per slot that holds "sent verified last". ARGV: the time in ms (empty: the server's),
# the change (sent, verified, at), then window, ceiling, ratio and slot width of each rule. `decide` and `changed` in
# rules.py say the same; tests/redis compares them.
_SCRIPT: Final = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local sent, verified, at = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]) or now
local reply, refused = {now, 0}, false
for i, key in ipairs(KEYS) do
  local window, ceiling, ratio = tonumber(ARGV[4 * i + 1]), tonumber(ARGV[4 * i + 2]), tonumber(ARGV[4 * i + 3])
  local slots, sum_sent, sum_verified = {}, 0, 0
  local fields = redis.call('HGETALL', key)
  for f = 1, #fields, 2 do
    local s, v, last = string.match(fields[f + 1], '^(%d+) (%d+) (%d+)$')
    if last + window <= now then
      redis.call('HDEL', key, fields[f])
    else
      sum_sent, sum_verified = sum_sent + s, sum_verified + v
      for _, value in ipairs({fields[f], s, v, last}) do slots[#slots + 1] = tonumber(value) end
    end
  end
  reply[i + 2] = slots
  refused = refused or (sum_sent >= ceiling and sum_verified < ratio * sum_sent)
end
if sent > 0 and refused then reply[2] = 1 return reply end
if sent == 0 and verified == 0 then return reply end
for i, key in ipairs(KEYS) do
  local field = string.format('%.0f', math.floor(at / tonumber(ARGV[4 * i + 4])))
  local s, v, last = string.match(redis.call('HGET', key, field) or '', '^(%d+) (%d+) (%d+)$')
  s, v, last = (s or 0) + sent, (v or 0) + verified, tonumber(last) or now
  if sent + verified > 0 then last = math.max(last, now) end
  if s > 0 or v > 0 then
    redis.call('HSET', key, field, string.format('%.0f %.0f %.0f', math.max(s, 0), v, last))
  else
    redis.call('HDEL', key, field)
  end
  if sent + verified > 0 then redis.call('PEXPIRE', key, ARGV[4 * i + 1]) end
end
return sent > 0 and {now, 0} or reply
"""


class RedisCounters:
    """Keep the counters in Redis, so that all workers share the limits.

    Each operation is one script and one round trip. Time is the server's, counters expire by themselves, and one hash
    tag puts them all into one slot of a Redis Cluster.

    Args:
        client: a `redis.Redis` for `with` and `async with`, or a `redis.asyncio.Redis` for `async with`; a cluster
            client of either kind works as well. Give it socket timeouts: a call that the time limit ended goes on in
            its thread until the socket gives up.
        secret: the key of the digests, at least 16 characters, the same in every worker. Numbers are few enough to be
            guessed from plain digests, so keep it where Redis and its backups are not: in the settings of the
            application, as Django's SECRET_KEY. A new secret starts with empty counters.
        name: the hash tag, put in front of every key. Give each application its own.
        timeout: seconds that one operation may take. A store that needs longer has failed.
        clock: returns seconds; None takes the time of the Redis server

    Raises:
        ConfigurationError: the client is not one of redis-py, the secret is too short, or the name has a }
    """

    def __init__(
        self,
        client: "redis.Redis | redis.RedisCluster | redis.asyncio.Redis | redis.asyncio.RedisCluster",
        *,
        secret: str | bytes,
        name: str = "camara-otp:guard",
        timeout: float = 0.2,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Keep the client; nothing is sent yet."""
        self._tag: Final = "{" + name + "}:"  # first, since repr shows it
        key = secret.encode() if isinstance(secret, str) else secret or b""
        short, keyed = len(key) < _SHORTEST_SECRET, _keyed(key)
        del secret, key  # a traceback that shows locals would print them
        if short:
            raise ConfigurationError(f"secret: must have at least {_SHORTEST_SECRET} characters; make a random one")
        kinds = [kind.__module__ for kind in type(client).__mro__]
        if not any(kind.split(".")[0] == "redis" for kind in kinds):
            kind = type(client).__name__
            del client
            raise ConfigurationError(f"client: must be a redis.Redis or a redis.asyncio.Redis; got {kind}")
        if not name or "}" in name:
            raise ConfigurationError("name: must be a string without }, which ends a hash tag")
        self.asynchronous: Final = any(kind.startswith("redis.asyncio") for kind in kinds)
        self._client: Any = client
        self._keyed: Final = keyed
        self._timeout: Final = seconds("timeout", timeout)
        self._clock = clock
        self._threads = threading.BoundedSemaphore(_MOST_THREADS)

    def apply(self, change: Change, rules: Sequence[Rule], names: Sequence[str]) -> Reading:
        """Read the counters, and change them if no rule refuses; any exception means that the store failed."""
        reply = wait(self._start(self._arguments(change, rules, names)), self._timeout)
        return _reading_of(reply, change, rules)

    async def aapply(self, change: Change, rules: Sequence[Rule], names: Sequence[str]) -> Reading:
        """Do the same and keep the event loop free."""
        arguments = self._arguments(change, rules, names)
        if not self.asynchronous:
            return _reading_of(await await_future(self._start(arguments), self._timeout), change, rules)
        with anyio.fail_after(self._timeout):
            reply = await self._client.eval(_SCRIPT, *arguments)
        return _reading_of(reply, change, rules)

    def _arguments(self, change: Change, rules: Sequence[Rule], names: Sequence[str]) -> list[Any]:
        keys = [self._tag + _digest(self._keyed, name) for name in names]
        now = "" if self._clock is None else int(self._clock() * 1000)
        figures = [
            figure for rule in rules for figure in (rule.window, rule.ceiling, repr(float(rule.ratio)), rule.width)
        ]
        return [len(keys), *keys, now, change.sent, change.verified, "" if change.at is None else change.at, *figures]

    def _start(self, arguments: list[Any]) -> Future[Any]:
        """Evaluate the script in a thread: socket timeouts limit each step of a call, not the whole."""
        if not self._threads.acquire(blocking=False):
            raise TimeoutError("too many calls are waiting for the store")
        try:
            future = run_in_thread(contextvars.copy_context().run, partial(self._client.eval, _SCRIPT, *arguments))
        except BaseException:
            self._threads.release()
            raise
        future.add_done_callback(lambda _: self._threads.release())
        return future

    def __repr__(self) -> str:
        """Return a string without the address, the password and the secret."""
        return f"RedisCounters(name={self._tag[1:-2]!r})"


def _reading_of(reply: Any, change: Change, rules: Sequence[Rule]) -> Reading:
    """Convert the result of the script, or None after the time limit, into a reading."""
    if reply is None:
        raise TimeoutError("the store did not respond in time")
    now, refused, *found = reply
    slots = [{n: Slot(s, v, last) for n, s, v, last in zip(*[iter(flat)] * 4, strict=True)} for flat in found]
    refusal = None
    if refused:
        # The script and `decide` agree; should they ever not, the script has taken no place.
        refusal = decide(rules, slots, now) or Refusal(rules[0].name, None)
    return Reading(now, refusal, _totals(change, slots))
