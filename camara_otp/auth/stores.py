"""Stores that share one token between processes and machines, and the form in which a token is stored.

A store keeps bytes under a name for a time, and lends a lock that expires by itself. `sharing` calls it in the thread
that fetches tokens, so a store is synchronous and serves the async client as well.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from attrs import field, frozen

from camara_otp._checks import seconds as checked_seconds
from camara_otp.auth.responses import Token
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    import redis
    from cryptography.fernet import Fernet


class TokenStore(Protocol):
    """Keep tokens for several providers, processes or machines.

    Any method may raise: the provider then fetches a token of its own. Names are at most 80 characters, letters, digits
    and `:` only, and hold no secret.

    Attributes:
        encrypt: True for a store outside this process: values are encrypted with a key made from the client's own
            secret or private key, which needs `pip install 'camara-otp[redis]'` or `[oauth]`
    """

    encrypt: bool

    def load(self, name: str) -> tuple[bytes, float] | None:
        """Return the value and the seconds for which it is still kept, or None."""

    def save(self, name: str, value: bytes, seconds: float) -> None:
        """Keep a value for so many seconds, which may be a fraction of one."""

    def acquire(self, name: str, seconds: float) -> str | None:
        """Take the lock for at most so many seconds; return a lease to release it, or None if another holds it."""

    def release(self, name: str, lease: str) -> None:
        """Release the lock if the lease still holds it."""


def checked_store(store: TokenStore) -> TokenStore:
    """Return a store that has every member of the protocol and can be encrypted for, or raise ConfigurationError."""
    missing = [name for name in ("encrypt", "load", "save", "acquire", "release") if not hasattr(store, name)]
    if missing:
        raise ConfigurationError(
            f"store: must be a TokenStore, as RedisStore or MemoryStore; {type(store).__name__} lacks "
            f"{', '.join(missing)}"
        )
    if store.encrypt:
        _fernet(base64.urlsafe_b64encode(bytes(32)))
    return store


@frozen
class StoreKey:
    """Name and encryption key of a shared token, derived from the client's own secret, which the store never sees."""

    name: str
    key: bytes = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes, *identity: str) -> "StoreKey":
        """Derive both by scrypt, so that guessing a weak secret from a name or a value is slow."""
        salt = hashlib.sha256(json.dumps(identity).encode()).digest()
        made = hashlib.scrypt(secret, salt=salt, n=2**14, r=8, p=1, dklen=48)
        return cls(name="token:" + made[:16].hex(), key=base64.urlsafe_b64encode(made[16:]))

    def pack(self, token: Token, *, encrypt: bool) -> bytes:
        """Return a token as bytes for a store."""
        value = json.dumps({"token": token.value, "lifetime": token.lifetime}).encode()
        return _fernet(self.key).encrypt(value) if encrypt else value

    def unpack(self, value: bytes, expires_at: float, *, encrypt: bool) -> Token | None:
        """Return the token, or None when the bytes are not a packed token."""
        try:
            content = json.loads(_fernet(self.key).decrypt(value) if encrypt else value)
            return Token(str(content["token"]), float(content["lifetime"]), expires_at)
        except Exception:  # noqa: BLE001 - foreign or damaged bytes count as no token
            return None


def _fernet(key: bytes) -> "Fernet":
    try:
        from cryptography.fernet import Fernet  # noqa: PLC0415 - an extra
    except ImportError:
        del key
        problem = "store: encrypting shared tokens needs an extra package: pip install 'camara-otp[redis]'"
        raise ConfigurationError(problem) from None
    return Fernet(key)


class MemoryStore:
    """Share tokens between the providers of one process."""

    encrypt: bool = False

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._values: dict[str, tuple[bytes, float]] = {}
        self._leases: dict[str, tuple[str, float]] = {}

    def load(self, name: str) -> tuple[bytes, float] | None:
        """Return the value and the seconds for which it is still kept, or None."""
        with self._lock:
            value, until = self._values.get(name, (b"", 0.0))
            left = until - self._clock()
            if left > 0:
                return value, left
            self._values.pop(name, None)
            return None

    def save(self, name: str, value: bytes, seconds: float) -> None:
        """Keep a value for so many seconds."""
        with self._lock:
            self._values[name] = value, self._clock() + seconds

    def acquire(self, name: str, seconds: float) -> str | None:
        """Take the lock for at most so many seconds; return a lease to release it, or None if another holds it."""
        with self._lock:
            now = self._clock()
            if now < self._leases.get(name, ("", now))[1]:
                return None
            lease = secrets.token_hex(16)
            self._leases[name] = lease, now + seconds
            return lease

    def release(self, name: str, lease: str) -> None:
        """Release the lock if the lease still holds it."""
        with self._lock:
            if self._leases.get(name, ("",))[0] == lease:
                del self._leases[name]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


# Only the holder of the lock may remove it: another worker may hold it once the lease has expired.
_RELEASE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_BAD_URL: Final = (
    "url: must be redis://host:6379/0, rediss://... or unix://..., with special characters in a password "
    "percent-encoded"
)


class RedisStore:
    """Share tokens between processes and machines, through Redis 6 or newer; values are encrypted before.

    Args:
        client: a `redis.Redis`; give it socket timeouts, or use `from_url`
        prefix: put in front of every key

    Raises:
        ConfigurationError: the client is a URL, or an async one
    """

    encrypt: bool = True

    def __init__(self, client: "redis.Redis", *, prefix: str = "camara-otp:") -> None:
        kind: type = type(client)
        if issubclass(kind, str | bytes):
            del client
            raise ConfigurationError("client: must be a redis.Redis; RedisStore.from_url takes a URL")
        if any(base.__module__.startswith("redis.asyncio") for base in kind.__mro__):
            raise ConfigurationError(
                "client: must be a synchronous redis.Redis; AsyncOTPClient fetches tokens in a thread too"
            )
        self._client: Any = client
        self._prefix = prefix

    @classmethod
    def from_url(cls, url: str, *, prefix: str = "camara-otp:", timeout: float = 1.0) -> Self:
        """Connect by URL, as `redis://host:6379/0` or `rediss://...`.

        Args:
            url: may hold user and password; it is never shown
            prefix: put in front of every key
            timeout: seconds for connecting and for each response

        Raises:
            ConfigurationError: redis-py is not installed (`pip install 'camara-otp[redis]'`), or cannot use the URL
        """
        try:
            timeout = checked_seconds("timeout", timeout)
            import redis  # noqa: PLC0415 - an extra

            kind: Any = redis.Redis
            return cls(kind.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout), prefix=prefix)
        except ConfigurationError as error:
            problem = str(error)
        except ImportError:
            problem = "RedisStore needs an extra package: pip install 'camara-otp[redis]'"
        except Exception:  # noqa: BLE001 - the driver's own words may quote the password
            problem = _BAD_URL
        del url
        raise ConfigurationError(problem)

    def load(self, name: str) -> tuple[bytes, float] | None:
        """Return the value and the seconds for which it is still kept, or None."""
        with self._client.pipeline(transaction=True) as both:
            value, milliseconds = both.get(self._prefix + name).pttl(self._prefix + name).execute()
        if value is None or milliseconds <= 0:
            return None
        return value if isinstance(value, bytes) else str(value).encode(), milliseconds / 1000

    def save(self, name: str, value: bytes, seconds: float) -> None:
        """Keep a value for so many seconds."""
        self._client.set(self._prefix + name, value, px=max(1, int(seconds * 1000)))

    def acquire(self, name: str, seconds: float) -> str | None:
        """Take the lock for at most so many seconds; return a lease to release it, or None if another holds it."""
        key, lease, milliseconds = f"{self._prefix}{name}:lock", secrets.token_hex(16), max(1, int(seconds * 1000))
        if self._client.set(key, lease, nx=True, px=milliseconds):
            return lease
        if self._client.pttl(key) == -1:  # a lock without expiry, which no worker would release
            self._client.pexpire(key, milliseconds)
        return None

    def release(self, name: str, lease: str) -> None:
        """Release the lock if the lease still holds it."""
        self._client.eval(_RELEASE, 1, f"{self._prefix}{name}:lock", lease)

    def __repr__(self) -> str:
        return f"RedisStore(prefix={self._prefix!r})"
