"""Share one token between workers: look in the store, take its lock, fetch, save, release.

A worker that does not get the lock waits for the token for half of the time that its caller has, then fetches a token
of its own. The lock expires by itself, so a worker that is killed while it fetches costs the others a wait and a few
requests, no call. A store that fails, hangs or is slow takes a quarter of the caller's time at most, and the worker
then fetches a token of its own. Machines do not compare clocks: the store reports the time that a token has left.
"""

import base64
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import field, frozen

from camara_otp._threads import run_in_thread, wait
from camara_otp.auth.answers import Token, TokenRefusal
from camara_otp.auth.stores import TokenStore
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

T = TypeVar("T")

_log: Final = logging.getLogger("camara_otp.auth")

LOCK_SECONDS: Final = 4.0
"""The time after which the lock of a worker that was killed expires: sooner than others give up waiting."""

# Seconds that the store may take in one fetch: a quarter of the caller's time, within these limits.
_STORE_BUDGET: Final = (0.25, 2.0)
# Seconds between two looks at the store: the first pause, and the longest.
_PAUSES: Final = (0.05, 0.25)
# Rejected tokens that are never taken from the store again: a store that was down or restored may return with one.
_REMEMBERED: Final = 8
_STORE_METHODS: Final = ("encrypt", "load", "save", "acquire", "release")


class StoreDownError(Exception):
    """The store failed or did not respond in time; holds only the kind of failure."""


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

    def unpack(self, value: bytes, left: float, *, encrypt: bool) -> Token | None:
        """Return the token, or None when the bytes are not a packed token."""
        try:
            content = json.loads(_fernet(self.key).decrypt(value) if encrypt else value)
            return Token(str(content["token"]), float(content["lifetime"]), left)
        except Exception:  # noqa: BLE001 - foreign or damaged bytes count as no token
            return None


class SharedTokenSource:
    """Fetch through a store.

    Args:
        store: the caller's store.
        store_key: derives name and key; called at the first fetch, because it is slow on purpose.
        fetch: fetches a token from the token endpoint within the given number of seconds.
        timeout: seconds for one fetch, its waits for the store and other workers included.
        leeway: as for the cache.
    """

    def __init__(
        self,
        store: TokenStore,
        store_key: Callable[[], StoreKey],
        fetch: Callable[[float], Token | TokenRefusal],
        *,
        timeout: float,
        leeway: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        missing = [name for name in _STORE_METHODS if not hasattr(store, name)]
        if missing:
            raise ConfigurationError(
                f"store: must be a TokenStore, as RedisStore or MemoryStore; {type(store).__name__} lacks "
                f"{', '.join(missing)}"
            )
        if store.encrypt:
            _fernet(base64.urlsafe_b64encode(bytes(32)))
        self._store = store
        self._derive_key = store_key
        self._key: StoreKey | None = None
        self._fetch = fetch
        self._timeout = timeout
        self._leeway = leeway
        self._unwanted: tuple[str, ...] = ()
        self._clock = clock
        self._sleep = sleep

    def __call__(self, unwanted: str | None, wait_budget: float) -> Token | TokenRefusal:
        """Return the shared token if it is not the unwanted one, else fetch a token and share it.

        Args:
            unwanted: the token to be replaced, which is never taken from the store again.
            wait_budget: seconds that a caller waits for the outcome.
        """
        began = self._clock()
        self._key = key = self._key or self._derive_key()
        if unwanted is not None:
            self._unwanted = (*self._unwanted, unwanted)[-_REMEMBERED:]
        budget = max(min(wait_budget, self._timeout), 0.0)
        store = _BoundedStore(self._store, key, max(_STORE_BUDGET[0], min(_STORE_BUDGET[1], budget / 4)))
        try:
            return self._shared(store, began, began + budget / 2)
        except StoreDownError as down:
            _log.warning("the token store failed (%s): this worker fetches a token of its own", down)
            return self._own(began)

    def _shared(self, store: "_BoundedStore", began: float, give_up_at: float) -> Token | TokenRefusal:
        pause, longest = _PAUSES
        while True:
            token = store.load(self._unwanted)
            if token is not None and not self._is_due(token):
                return token
            lease = store.acquire()
            if lease is not None:
                return self._renew(store, lease, began)
            if token is not None and token.left > token.safety_margin():
                return token  # another worker renews it; it serves until then
            if self._clock() >= give_up_at:
                own = self._own(began)
                store.save(own)
                return own
            self._sleep(min(pause, max(give_up_at - self._clock(), 0.0)))
            pause = min(pause * 1.5, longest)

    def _renew(self, store: "_BoundedStore", lease: str, began: float) -> Token | TokenRefusal:
        """Fetch under the lock, unless another worker has saved a token between our look and our lock."""
        try:
            token = store.load(self._unwanted)
            if token is not None and not self._is_due(token):
                return token
            outcome = self._own(began)
            store.save(outcome)
            return outcome
        finally:
            store.release(lease)

    def _own(self, began: float) -> Token | TokenRefusal:
        return self._fetch(self._timeout - (self._clock() - began))

    def _is_due(self, token: Token) -> bool:
        return token.left <= token.renew_ahead(self._leeway)


class _BoundedStore:
    """The store during one fetch: all its operations together may take `budget` seconds."""

    def __init__(self, store: TokenStore, key: StoreKey, budget: float) -> None:
        self._store = store
        self._key = key
        self._budget = budget
        self._is_down = False

    def load(self, unwanted: tuple[str, ...]) -> Token | None:
        """Return the shared token unless it is an unwanted one, or None."""
        kept = self._ask(self._store.load, self._key.name)
        if kept is None:
            return None
        try:
            value, left = kept
            left = float(left)
        except (TypeError, ValueError):  # from a store of the caller's own
            raise StoreDownError("load must return bytes and seconds, or None") from None
        token = self._key.unpack(value, left, encrypt=self._store.encrypt) if 0 < left < math.inf else None
        return token if token is not None and token.value not in unwanted else None

    def acquire(self) -> str | None:
        """Take the lock, or return None."""
        return self._ask(self._store.acquire, self._key.name, LOCK_SECONDS)

    def save(self, outcome: Token | TokenRefusal) -> None:
        """Share a token that has time left, if the store accepts it."""
        if isinstance(outcome, Token) and outcome.left > 0:
            packed = self._key.pack(outcome, encrypt=self._store.encrypt)
            self._try(self._store.save, self._key.name, packed, outcome.left)

    def release(self, lease: str) -> None:
        """Release the lock; if that fails it expires."""
        self._try(self._store.release, self._key.name, lease)

    def _ask(self, method: Callable[..., T], *args: object) -> T:
        """Call the store in a thread, so that a store which hangs does not hold this one."""
        began = time.monotonic()
        answer, problem = None, "too slow"
        if self._budget > 0:
            try:
                # The tuple tells an answer of None from no answer.
                answer, problem = wait(run_in_thread(lambda: (method(*args),)), self._budget), "no answer"
            except Exception as error:  # noqa: BLE001 - whatever a store raises, it is down
                problem = type(error).__name__
        self._budget -= time.monotonic() - began
        if answer is None:
            self._is_down = True
            raise StoreDownError(problem)
        return answer[0]

    def _try(self, method: Callable[..., object], *args: object) -> None:
        is_known = self._is_down
        try:
            self._ask(method, *args)
        except StoreDownError as down:
            if not is_known:
                _log.warning("the token store failed (%s): the token may not be shared", down)


def _fernet(key: bytes) -> "Fernet":
    try:
        from cryptography.fernet import Fernet  # noqa: PLC0415 - an extra
    except ImportError:
        del key
        problem = "store: encrypting shared tokens needs an extra package: pip install 'camara-otp[redis]'"
        raise ConfigurationError(problem) from None
    return Fernet(key)


def source_through(
    fetch: Callable[[float], Token | TokenRefusal],
    store: TokenStore | None,
    store_key: Callable[[], StoreKey],
    timeout: float,
    leeway: float,
) -> Callable[[str | None, float], Token | TokenRefusal]:
    """Return the source for a cache: the token endpoint, through the store if there is one."""
    if store is None:
        return lambda _unwanted, _wait_budget: fetch(timeout)
    return SharedTokenSource(store, store_key, fetch, timeout=timeout, leeway=leeway)
