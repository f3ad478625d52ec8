"""Share one token between processes and machines.

A store keeps bytes under a name for a time, and lends a lock that runs out by itself. The provider does the rest. It
talks to the store from the thread that fetches tokens, so a store is synchronous and serves the async client as well.
"""

import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from camara_otp._checks import seconds
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    import redis


class TokenStore(Protocol):
    """Keep tokens where several providers, processes or machines find them.

    Any method may raise: the provider then fetches a token of its own. Names are at most 80 characters, letters, digits
    and `:` only, and carry no secret.

    Attributes:
        encrypt: True for a store outside this process: what it is given is encrypted with a key made from the
            client's own secret or private key, which needs `pip install 'camara-otp[redis]'` or `[oauth]`.
    """

    encrypt: bool

    def load(self, name: str) -> tuple[bytes, float] | None:
        """Return what is kept and for how many seconds it still is, or None."""
        ...

    def save(self, name: str, value: bytes, seconds: float) -> None:
        """Keep a value for so many seconds, which may be a fraction of one."""
        ...

    def acquire(self, name: str, seconds: float) -> str | None:
        """Take the lock for at most so many seconds; return what releases it, or None when another holds it."""
        ...

    def release(self, name: str, lease: str) -> None:
        """Give the lock back if the lease still holds it."""
        ...


class MemoryStore:
    """Share tokens between the providers of one process."""

    encrypt: bool = False

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty."""
        self._clock = clock
        self._lock = threading.Lock()
        self._values: dict[str, tuple[bytes, float]] = {}
        self._leases: dict[str, tuple[str, float]] = {}

    def load(self, name: str) -> tuple[bytes, float] | None:
        """Return what is kept and for how many seconds it still is, or None."""
        with self._lock:
            value, until = self._values.get(name, (b"", 0.0))
            left = until - self._clock()
            if left <= 0:
                self._values.pop(name, None)
                return None
            return value, left

    def save(self, name: str, value: bytes, seconds: float) -> None:
        """Keep a value for so many seconds."""
        with self._lock:
            self._values[name] = value, self._clock() + seconds

    def acquire(self, name: str, seconds: float) -> str | None:
        """Take the lock for at most so many seconds; return what releases it, or None when another holds it."""
        with self._lock:
            now = self._clock()
            held = self._leases.get(name)
            if held is not None and now < held[1]:
                return None
            lease = secrets.token_hex(16)
            self._leases[name] = lease, now + seconds
            return lease

    def release(self, name: str, lease: str) -> None:
        """Give the lock back if the lease still holds it."""
        with self._lock:
            held = self._leases.get(name)
            if held is not None and held[0] == lease:
                del self._leases[name]

    def __repr__(self) -> str:
        """Return a text without what is kept."""
        return f"{type(self).__name__}(...)"


# Only who holds the lock may remove it: a lease that ran out may be another worker's by now.
_RELEASE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class RedisStore:
    """Share tokens between processes and machines, through Redis 6 or newer.

    The values are encrypted before they get here (see `TokenStore.encrypt`).

    Args:
        client: a `redis.Redis`; give it socket timeouts, or use `from_url`.
        prefix: put in front of every key.

    Raises:
        ConfigurationError: the client is a URL, or an async one.
    """

    encrypt: bool = True

    def __init__(self, client: "redis.Redis", *, prefix: str = "camara-otp:") -> None:
        """Keep the client; nothing is sent yet."""
        given: object = client
        if isinstance(given, str | bytes):
            del client, given
            raise ConfigurationError("client: must be a redis.Redis; RedisStore.from_url takes a URL")
        if any(kind.__module__.startswith("redis.asyncio") for kind in type(client).__mro__):
            raise ConfigurationError(
                "client: must be a redis.Redis, also for the async client: tokens are fetched in a thread"
            )
        self._client: Any = client
        self._prefix = prefix

    @classmethod
    def from_url(cls, url: str, *, prefix: str = "camara-otp:", timeout: float = 1.0) -> Self:
        """Connect by URL, as `redis://host:6379/0` or `rediss://...`.

        Args:
            url: may carry user and password; it is not shown anywhere.
            prefix: put in front of every key.
            timeout: seconds for connecting and for each answer.

        Raises:
            ConfigurationError: redis-py is not installed (`pip install 'camara-otp[redis]'`), or cannot use the URL.
        """
        try:
            timeout = seconds("timeout", timeout)
        except ConfigurationError:
            del url
            raise
        client, problem = None, "RedisStore needs an extra package: pip install 'camara-otp[redis]'"
        try:
            import redis  # noqa: PLC0415 - an extra
        except ImportError:
            pass
        else:
            kind: Any = redis.Redis
            try:
                client = kind.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
            except Exception:  # noqa: BLE001 - the driver's own words may quote the password
                problem = (
                    "url: must be redis://host:6379/0, rediss://... or unix://..., with what is special in a password "
                    "percent-encoded"
                )
        if client is None:
            del url
            raise ConfigurationError(problem)
        return cls(client, prefix=prefix)

    def load(self, name: str) -> tuple[bytes, float] | None:
        """Return what is kept and for how many seconds it still is, or None."""
        with self._client.pipeline(transaction=True) as both:
            value, milliseconds = both.get(self._prefix + name).pttl(self._prefix + name).execute()
        if value is None or milliseconds <= 0:
            return None
        return value if isinstance(value, bytes) else str(value).encode(), milliseconds / 1000

    def save(self, name: str, value: bytes, seconds: float) -> None:
        """Keep a value for so many seconds."""
        self._client.set(self._prefix + name, value, px=max(1, int(seconds * 1000)))

    def acquire(self, name: str, seconds: float) -> str | None:
        """Take the lock for at most so many seconds; return what releases it, or None when another holds it."""
        key, lease, milliseconds = f"{self._prefix}{name}:lock", secrets.token_hex(16), max(1, int(seconds * 1000))
        if self._client.set(key, lease, nx=True, px=milliseconds):
            return lease
        if self._client.pttl(key) == -1:  # a lock without expiry, which no worker would release
            self._client.pexpire(key, milliseconds)
        return None

    def release(self, name: str, lease: str) -> None:
        """Give the lock back if the lease still holds it."""
        self._client.eval(_RELEASE, 1, f"{self._prefix}{name}:lock", lease)

    def __repr__(self) -> str:
        """Return a text without the connection's address or password."""
        return f"RedisStore(prefix={self._prefix!r})"
