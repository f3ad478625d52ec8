"""Let a fleet of workers hold one token: who finds none in the store takes the lock, fetches and saves.

The lock runs out after a few seconds, so a worker that dies with it delays the others by no more than that. Whoever
fetches leaves a mark beside the lock, and renews it as long as it lives: who gets the lock of a fetch that takes longer
finds the mark, gives the lock back and waits on. A store that fails, hangs or is slow is left out, and may take up a
part of the time that the caller has, but no more: the worker fetches a token of its own. No machine's clock is trusted
by another: what travels is how long something still lives.
"""

import base64
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from attrs import define, field, frozen

from camara_otp.auth._cache import in_thread, lead, tail, wait
from camara_otp.auth._values import Refusal, Token
from camara_otp.auth.stores import TokenStore
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

P = ParamSpec("P")
T = TypeVar("T")

_log: Final = logging.getLogger("camara_otp.auth")

# Seconds. For how long the lock is good, and, shorter, the mark beside it without another sign of life.
LEASE: Final = 3.0
_BEAT: Final = 0.5
_SHORTEST_BEAT: Final = 0.05
_SIGN: Final = 1.5
_ANSWER: Final = 2.0
_LOOK_AGAIN: Final = (0.05, 0.25)
_OF_A_STORE: Final = ("encrypt", "load", "save", "acquire", "release")
# A store that was down, or restored, may come back with what was refused meanwhile.
_REMEMBERED: Final = 8
# A store forgets by the clock alone.
_AT_ONCE: Final = 0.001
# An answer that takes longer is slow: every worker has others that wait for it.
_PROMPT: Final = 0.1
_LEAST_BUDGET: Final = 0.05
_BUSY: Final = b"busy"

_TOO_SLOW: Final = Refusal(
    "no token: another worker has been fetching one for the whole time; the token endpoint is slow, or timeout is too "
    "short",
    again=True,
)


class StoreDownError(Exception):
    """The store failed or did not answer; only the kind of failure is kept."""


@frozen
class Seal:
    """Name and key of what is shared, made from the client's own secret, which every worker has and Redis has not."""

    name: str
    key: bytes = field(repr=False)

    @property
    def mark(self) -> str:
        """Return the name under which a worker shows that it is still fetching."""
        return f"{self.name}:busy"

    @classmethod
    def make(cls, secret: bytes, *identity: str) -> "Seal":
        """Derive both. scrypt makes it slow to guess a weak secret from a name or a value."""
        salt = hashlib.sha256(json.dumps(identity).encode()).digest()
        made = hashlib.scrypt(secret, salt=salt, n=2**14, r=8, p=1, dklen=48)
        return cls(name="token:" + made[:16].hex(), key=base64.urlsafe_b64encode(made[16:]))

    def pack(self, token: Token, *, encrypt: bool) -> bytes:
        """Return a token as bytes for a store."""
        value = json.dumps({"token": token.value, "lifetime": token.lifetime}).encode()
        return _fernet(self.key).encrypt(value) if encrypt else value

    def unpack(self, value: bytes, left: float, *, encrypt: bool) -> Token | None:
        """Return the token, or None when the bytes are not what was packed."""
        try:
            content = json.loads(_fernet(self.key).decrypt(value) if encrypt else value)
            return Token(str(content["token"]), float(content["lifetime"]), left)
        except Exception:  # noqa: BLE001 - foreign or spoilt bytes are as good as none
            return None


class Fleet:
    """Fetch through a store.

    Args:
        store: the caller's.
        seal: makes name and key; called at the first fetch, because it takes a while on purpose.
        leeway: as for the cache.
    """

    def __init__(
        self,
        store: TokenStore,
        seal: Callable[[], Seal],
        leeway: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Make sure that this is a store, and that tokens can be encrypted where they have to be."""
        lacking = [name for name in _OF_A_STORE if not hasattr(store, name)]
        if lacking:
            raise ConfigurationError(
                f"store: must be a TokenStore, as RedisStore or MemoryStore; {type(store).__name__} lacks "
                f"{', '.join(lacking)}"
            )
        if store.encrypt:
            _fernet(base64.urlsafe_b64encode(bytes(32)))
        self._store = store
        self._make = seal
        self._seal: Seal | None = None
        self._unwanted: tuple[str, ...] = ()
        self._leeway = leeway
        self._clock = clock
        self._sleep = sleep

    def fetch(
        self, unwanted: str | None, own: Callable[[], Token | Refusal], deadline: float, hurry: float = math.inf
    ) -> Token | Refusal:
        """Return the fleet's token if it is not the unwanted one, else fetch one by `own` and share it.

        Args:
            unwanted: the token to be replaced, which is never taken from the store again.
            own: fetches a token of one's own, before the deadline.
            deadline: by the clock.
            hurry: for how many seconds somebody waits for the outcome.
        """
        self._seal = seal = self._seal or self._make()
        if unwanted is not None:
            self._unwanted = (*self._unwanted, unwanted)[-_REMEMBERED:]
        hurry = max(min(hurry, deadline - self._clock()), 0.0)
        contact = _Contact(self._store, seal, self._unwanted, max(min(_ANSWER, hurry / 4), _LEAST_BUDGET))
        try:
            return self._shared(contact, own, deadline, hurry)
        except StoreDownError as down:
            _log.warning("the token store failed (%s): this worker fetches a token of its own", down)
            return own()

    def _shared(
        self, contact: "_Contact", own: Callable[[], Token | Refusal], deadline: float, hurry: float
    ) -> Token | Refusal:
        nap, longest = _LOOK_AGAIN
        # By then a lock without a mark has run out and somebody has taken it, unless the store keeps it for ever.
        patience = min(LEASE + 2 * longest, hurry / 2)
        # Where asking takes its time, too, some is left for a fetch of one's own.
        latest = self._clock() + hurry * 3 / 4
        # Of a worker that was kept from running, only the time between its looks counts: it has missed no sign.
        silence = 0.0
        while True:
            found = contact.find()
            if found is not None and not self._due(found):
                return found
            lease = contact.lock()
            if lease is not None:
                token = self._renew(contact, lease, own, deadline)
                if token is not None:
                    return token
            if found is not None and found.left > tail(found):
                # Another worker is renewing it; it still serves until then.
                return found
            now = self._clock()
            if now >= deadline:
                return _TOO_SLOW
            if contact.is_busy():
                silence = 0.0
            elif silence >= patience or now >= latest:
                return own()
            pause = min(nap, patience - silence, deadline - now)
            self._sleep(pause)
            silence += pause
            nap = min(nap * 1.5, longest)

    def _renew(
        self, contact: "_Contact", lease: str, own: Callable[[], Token | Refusal], deadline: float
    ) -> Token | Refusal | None:
        """Fetch under the lock; None when another worker, who outlasted its lock, is at it."""
        try:
            # In this order: who is not busy any more has saved its token before.
            if contact.is_busy():
                return None
            # Another worker may have saved one between our look and our lock.
            found = contact.find()
            if found is not None and not self._due(found):
                return found
            return self._fetched(contact, own, deadline)
        finally:
            contact.unlock(lease)

    def _fetched(self, contact: "_Contact", own: Callable[[], Token | Refusal], deadline: float) -> Token | Refusal:
        """Fetch and save, with a sign of life for as long as that takes."""
        try:
            flight = in_thread(own)
        except RuntimeError:
            return own()  # this process cannot start another thread
        beat = min(_BEAT, max((deadline - self._clock()) / 4, _SHORTEST_BEAT))
        try:
            contact.mark()
            while (token := wait(flight, beat)) is None:
                contact.mark()
            if isinstance(token, Token) and token.left > 0:
                contact.keep(token)
        finally:
            contact.unmark()
        return token

    def _due(self, token: Token) -> bool:
        return token.left <= lead(token, self._leeway)


@define
class _Contact:
    """The store for the length of one fetch: its silence and its slow answers may take `budget` seconds, all in all."""

    _store: TokenStore
    _seal: Seal
    _unwanted: tuple[str, ...] = field(repr=False)
    _budget: float
    _has_failed: bool = False

    def find(self) -> Token | None:
        """Return the fleet's token, unless it is an unwanted one."""
        kept = self._load(self._seal.name)
        token = self._seal.unpack(*kept, encrypt=self._store.encrypt) if kept is not None else None
        return token if token is not None and token.value not in self._unwanted else None

    def keep(self, token: Token) -> None:
        """Share a token, if the store will have it."""
        self._try(self._store.save, self._seal.name, self._seal.pack(token, encrypt=self._store.encrypt), token.left)

    def lock(self) -> str | None:
        """Take the lock, or return None."""
        return self._ask(self._store.acquire, self._seal.name, LEASE)

    def unlock(self, lease: str) -> None:
        """Give the lock back; otherwise it runs out."""
        self._try(self._store.release, self._seal.name, lease)

    def mark(self) -> None:
        """Show that this worker is fetching."""
        self._try(self._store.save, self._seal.mark, _BUSY, _SIGN)

    def unmark(self) -> None:
        """Show that it no longer is."""
        self._try(self._store.save, self._seal.mark, b"", _AT_ONCE)

    def is_busy(self) -> bool:
        """Tell whether another worker shows that it is still fetching."""
        kept = self._load(self._seal.mark)
        return kept is not None and kept[0] == _BUSY

    def _load(self, name: str) -> tuple[bytes, float] | None:
        kept = self._ask(self._store.load, name)
        if kept is None:
            return None
        try:
            value, left = kept
            left = float(left)
        except (TypeError, ValueError):
            # A store of the caller's own making.
            raise StoreDownError("load must return bytes and seconds, or None") from None
        return (value, left) if left > 0 else None

    def _ask(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the store, in a thread, so that one which hangs is left behind."""
        began = time.monotonic()
        answer, problem = None, "too slow"
        if self._budget > 0:
            try:
                # The tuple tells an answer of None from no answer.
                answer, problem = wait(in_thread(lambda: (method(*args, **kwargs),)), self._budget), "no answer"
            except Exception as error:  # noqa: BLE001 - whatever a store raises, it is down
                problem = type(error).__name__
        took = time.monotonic() - began
        self._budget -= took if answer is None else max(0.0, took - _PROMPT)
        if answer is None:
            self._has_failed = True
            raise StoreDownError(problem)
        return answer[0]

    def _try(self, method: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        is_known = self._has_failed
        try:
            self._ask(method, *args, **kwargs)
        except StoreDownError as down:
            if not is_known:
                _log.warning("the token store failed (%s): the token may not be shared", down)


def _fernet(key: bytes) -> "Fernet":
    try:
        from cryptography.fernet import Fernet  # noqa: PLC0415 - an extra
    except ImportError:
        pass
    else:
        return Fernet(key)
    del key
    raise ConfigurationError("store: encrypting what is shared needs an extra package: pip install 'camara-otp[redis]'")
