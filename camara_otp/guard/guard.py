"""The guard: checks a number against the rules before an SMS is sent, and keeps or undoes its count afterwards."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Literal

import attrs

from camara_otp._checks import is_count
from camara_otp._secret import Secret
from camara_otp.errors import ConfigurationError, OTPError, SendRefusedError
from camara_otp.guard.rules import (
    Limit,
    Refusal,
    Rule,
    checked_limits,
    country_check,
    gives_back,
    milliseconds,
    prefix_of,
    source_of,
)
from camara_otp.guard.stores import READ, Change, MemoryCounters, Reading, RedisCounters
from camara_otp.models import broken_limit

_log: Final = logging.getLogger("camara_otp.guard")

EventKind = Literal["refused", "sent", "returned", "verified", "store_failed"]
Store = MemoryCounters | RedisCounters

_TAKE: Final = Change(sent=1)
_VERIFY: Final = Change(verified=1)


@attrs.frozen
class GuardEvent:
    """One event of a guard, for metrics. It holds no number and no key.

    Attributes:
        kind: `"refused"`: no SMS was sent. `"sent"`: the block ended and its SMS stays counted. `"returned"`: the
            operator did nothing, so the count was undone. `"verified"`: a code was right. `"store_failed"`: the store
            did not respond.
        rule: the rule that refused: `"country"`, `"cooldown"`, `"conversion"`, `"store"`, or the key of a limit
        prefix: the first digits of the number, as in `"+3466611"`
    """

    kind: EventKind
    rule: str | None = None
    prefix: str | None = None


class LenientStore:
    """Wraps a store. Logs each failure as a warning, passes it to `on_event`, and continues without the store."""

    def __init__(self, store: Store, on_event: Callable[[GuardEvent], object] | None) -> None:
        self.store = store
        self._on_event: Final = on_event

    def apply(self, change: Change, rules: Sequence[Rule], names: Sequence[str]) -> Reading | None:
        """Return the result of the store, or None if there are no rules or the store failed."""
        if self.store.asynchronous:
            raise ConfigurationError(
                "store: has an asyncio client; use `async with`, `averified` and `aconversion`, or a redis.Redis"
            )
        try:
            return self.store.apply(change, rules, names) if rules else None
        except Exception as error:  # noqa: BLE001 - any failure of a store is handled in the same way
            self._failed(error)
            return None

    async def aapply(self, change: Change, rules: Sequence[Rule], names: Sequence[str]) -> Reading | None:
        """Do the same and keep the event loop free."""
        try:
            return await self.store.aapply(change, rules, names) if rules else None
        except Exception as error:  # noqa: BLE001 - any failure of a store is handled in the same way
            self._failed(error)
            return None

    def _failed(self, error: Exception) -> None:
        _log.warning("the store of the guard failed (%s); no limit was checked or changed", type(error).__name__)
        self.report("store_failed")

    def report(self, kind: EventKind, *, rule: str | None = None, prefix: str | None = None) -> None:
        """Hand an event to the hook."""
        if self._on_event is None:
            return
        try:
            self._on_event(GuardEvent(kind, rule, prefix))
        except Exception as error:  # noqa: BLE001 - a hook changes nothing
            _log.warning("on_event raised %s; the event was dropped", type(error).__name__)


class Sending:
    """A context manager round one `send_code`, made by `Guard.sending`; good for one `with` or `async with`."""

    __slots__ = ("_counters", "_names", "_pass_without_store", "_prefix", "_refusal", "_rules", "_taken_at")

    def __init__(
        self,
        counters: LenientStore,
        rules: Sequence[Rule],
        names: Sequence[str],
        prefix: str,
        *,
        allowed: bool,
        pass_without_store: bool,
    ) -> None:
        """Keep the counters to ask; a number that is not allowed is refused without asking."""
        self._counters = counters
        self._rules = rules
        self._names = names
        self._prefix = prefix
        self._pass_without_store = pass_without_store
        self._refusal = None if allowed else Refusal("country", None)
        self._taken_at: int | None = None

    def __enter__(self) -> None:
        """Count the SMS, or raise `SendRefusedError`."""
        if self._refusal is None:
            self._settle(self._counters.apply(_TAKE, self._rules, self._names))
        self._raise_refusal()

    async def __aenter__(self) -> None:
        """Count the SMS, or raise `SendRefusedError`."""
        if self._refusal is None:
            self._settle(await self._counters.aapply(_TAKE, self._rules, self._names))
        self._raise_refusal()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Undo the count if the operator certainly did nothing."""
        returned = gives_back(error)
        if returned and self._taken_at is not None:
            self._counters.apply(Change(sent=-1, at=self._taken_at), self._rules, self._names)
        self._report_end(returned=returned)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Undo the count if the operator certainly did nothing."""
        returned = gives_back(error)
        if returned and self._taken_at is not None:
            await self._counters.aapply(Change(sent=-1, at=self._taken_at), self._rules, self._names)
        self._report_end(returned=returned)

    def _settle(self, reading: Reading | None) -> None:
        if reading is not None:
            self._refusal, self._taken_at = reading.refusal, reading.now
        elif self._rules and not self._pass_without_store:
            self._refusal = Refusal("store", None)

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            self._counters.report("refused", rule=self._refusal.rule, prefix=self._prefix)
            raise SendRefusedError(*self._refusal)

    def _report_end(self, *, returned: bool) -> None:
        self._counters.report("returned" if returned else "sent", prefix=self._prefix)


class Guard:
    """Limits that limit the SMS that a login page sends, against SMS pumping.

    One guard serves threads and tasks. Make one per application, and share its counters between workers by a
    `RedisCounters`.

    Args:
        countries: country calling codes that may get SMS, as in `["34", "351"]`; with the extra `phone` also regions,
            as in `["ES", "PT"]`, which distinguishes the United States from the Caribbean with +1. None allows all.
        cooldown: seconds between two SMS to one number, or None
        limits: at most so many SMS per time, by `"number"`, by `"prefix"`, by a keyword of `sending`, or of `"all"`
        prefix_length: digits of the prefix, country code included, from 1 to 14. The last four digits of a number never
            belong to its prefix.
        min_conversion: refuses SMS to a prefix if less than this share of its SMS was verified, from 0.0 to 1.0.
            It needs calls of `verified`. 0.0 measures and never refuses; None does neither.
        conversion_sample: SMS to one prefix before its conversion decides, at least 1
        conversion_window: seconds for which SMS and verifications count. A prefix is allowed again when its SMS have
            left the window.
        store: the counters; those of this process by default
        on_store_failure: `"pass"` sends the SMS without limits, except `countries`, and logs a warning; `"refuse"`
            refuses it with the rule `"store"`
        on_event: called with a `GuardEvent` in the caller's thread or task; what it raises is logged and changes
            nothing. `camara_otp.telemetry.guard_metrics` makes one.

    Raises:
        ConfigurationError: an argument is outside its range; the message names it
    """

    def __init__(
        self,
        *,
        countries: Iterable[str] | None = None,
        cooldown: float | None = 30.0,
        limits: Iterable[Limit] = (),
        prefix_length: int = 7,
        min_conversion: float | None = None,
        conversion_sample: int = 50,
        conversion_window: float = 3600.0,
        store: Store | None = None,
        on_store_failure: Literal["pass", "refuse"] = "pass",
        on_event: Callable[[GuardEvent], object] | None = None,
    ) -> None:
        """Check the settings; nothing is sent to the store."""
        limits = checked_limits(limits)
        if not is_count(prefix_length) or prefix_length > 14:
            raise ConfigurationError("prefix_length: must be a number of digits from 1 to 14")
        if min_conversion is not None and not 0 <= min_conversion <= 1:
            raise ConfigurationError("min_conversion: must be a share from 0.0 to 1.0, or None")
        if not is_count(conversion_sample):
            raise ConfigurationError("conversion_sample: must be a number of SMS, at least 1")
        if on_store_failure not in {"pass", "refuse"}:
            raise ConfigurationError('on_store_failure: must be "pass" or "refuse"')
        self._counters: Final = LenientStore(MemoryCounters() if store is None else store, on_event)
        self._countries: Final = None if countries is None else country_check(countries)
        self._prefix_length: Final = prefix_length
        self._pass_without_store: Final = on_store_failure == "pass"
        # The key that each rule counts by, beside the rule.
        keyed: list[tuple[str, Rule]] = []
        if cooldown is not None:
            keyed.append(("number", Rule("cooldown", milliseconds("cooldown", cooldown), 1)))
        keyed += [(limit.key, Rule(limit.key, milliseconds("per", limit.per), limit.count)) for limit in limits]
        self._conversion: Final = (
            None
            if min_conversion is None
            else Rule(
                "conversion", milliseconds("conversion_window", conversion_window), conversion_sample, min_conversion
            )
        )
        if self._conversion is not None:
            keyed.append(("prefix", self._conversion))
        self._keyed: Final = tuple(keyed)
        self._rules: Final = tuple(rule for _, rule in keyed)
        if len({(rule.name, rule.window) for rule in self._rules}) < len(keyed):
            raise ConfigurationError("limits: two limits have the same key and the same time; keep the lower one")
        self._keys: Final = frozenset(limit.key for limit in limits) - {"number", "prefix", "all"}

    @property
    def store(self) -> Store:
        """The counters; a test may put a new `MemoryCounters` here."""
        return self._counters.store

    @store.setter
    def store(self, store: Store) -> None:
        self._counters.store = store

    def __repr__(self) -> str:
        rules = (f"{rule.name}: {rule.ceiling} per {rule.window / 1000:g} s" for rule in self._rules)
        return f"Guard({', '.join(rules)})"

    def sending(self, phone_number: str, /, **keys: str | int) -> "Sending":
        """Return a context manager round one `send_code`: it takes a place in every limit, or refuses.

        Put exactly one `send_code` into the block and let its error leave the block. The count is undone when the
        operator certainly did nothing (an `OTPError` with `outcome_unknown` False), and kept after everything else:
        success, an unknown outcome, another exception, cancellation, a crash.

        Args:
            phone_number: the number in E.164 form, as for `send_code`
            **keys: a value for the key of each limit, as in `ip="203.0.113.7"`. IPv6 addresses count by their /64.

        Returns:
            a context manager for one `with` or `async with`. Entering it raises `SendRefusedError` if a rule refuses;
            show the user its message, and respond with HTTP 429 with its `retry_after`.

        Raises:
            RequestValidationError: the number is not in E.164 form
            ConfigurationError: a key is missing, empty or not among the limits
        """
        problem = self._problem(phone_number, keys)
        if problem is not None:
            del phone_number, keys
            problem.operation = "send_code"
            raise problem
        prefix = prefix_of(phone_number, self._prefix_length)
        values = {"number": phone_number, "prefix": prefix, "all": ""}
        for key, value in keys.items():
            values[key] = source_of(str(value))
        names = [_counter(rule, values[key]) for key, rule in self._keyed]
        return Sending(
            self._counters,
            self._rules,
            names,
            prefix,
            allowed=self._countries is None or self._countries(phone_number),
            pass_without_store=self._pass_without_store,
        )

    def verified(self, phone_number: str, /) -> None:
        """Count a verified SMS for the conversion of its prefix; call it after `validate_code` returned.

        It raises nothing if the store fails. In asyncio code use `averified`.

        Args:
            phone_number: the number that the SMS was sent to, in E.164 form

        Raises:
            RequestValidationError: the number is not in E.164 form
            ConfigurationError: the store has an asyncio client
        """
        number = Secret(phone_number)
        del phone_number
        prefix, rules, names = self._conversion_of(number)
        self._counters.apply(_VERIFY, rules, names)
        self._counters.report("verified", prefix=prefix)

    async def averified(self, phone_number: str, /) -> None:
        """Count a verified SMS as `verified` does, and keep the event loop free."""
        number = Secret(phone_number)
        del phone_number
        prefix, rules, names = self._conversion_of(number)
        await self._counters.aapply(_VERIFY, rules, names)
        self._counters.report("verified", prefix=prefix)

    def conversion(self, phone_number: str, /) -> float | None:
        """Return the share of verified SMS of the prefix of a number. In asyncio code use `aconversion`.

        Args:
            phone_number: any number of the prefix, in E.164 form

        Returns:
            verified SMS per sent SMS in the conversion window; None if no SMS was sent, `min_conversion` is None,
            or the store failed

        Raises:
            RequestValidationError: the number is not in E.164 form
            ConfigurationError: the store has an asyncio client
        """
        number = Secret(phone_number)
        del phone_number
        _, rules, names = self._conversion_of(number)
        return _rate(self._counters.apply(READ, rules, names))

    async def aconversion(self, phone_number: str, /) -> float | None:
        """Return the same as `conversion`, and keep the event loop free."""
        number = Secret(phone_number)
        del phone_number
        _, rules, names = self._conversion_of(number)
        return _rate(await self._counters.aapply(READ, rules, names))

    def _conversion_of(self, number: Secret) -> tuple[str, Sequence[Rule], Sequence[str]]:
        """Return the prefix of a number, and the rule and the counter of its conversion, if there is one."""
        if (error := broken_limit(phone_number=number.reveal())) is not None:
            raise error
        prefix = prefix_of(number.reveal(), self._prefix_length)
        if self._conversion is None:
            return prefix, (), ()
        return prefix, (self._conversion,), (_counter(self._conversion, prefix),)

    def _problem(self, phone_number: str, keys: Mapping[str, str | int]) -> OTPError | None:
        """Return the fault of the arguments of `sending`, without their values."""
        if (wrong := broken_limit(phone_number=phone_number)) is not None:
            return wrong
        if missing := sorted(self._keys - keys.keys()):
            return ConfigurationError(f"sending: a limit needs {missing[0]}=...; give it")
        if unknown := sorted(keys.keys() - self._keys):
            return ConfigurationError(f"sending: no limit has the key {unknown[0]!r}; add a Limit or leave it out")
        if empty := [name for name, value in keys.items() if str(value) in {"", "None"}]:
            return ConfigurationError(
                f"sending: {empty[0]} is empty, and all users would share its limit; give a value"
            )
        return None


def _counter(rule: Rule, value: str) -> str:
    return f"{rule.name}:{rule.window}:{value}"


def _rate(reading: Reading | None) -> float | None:
    sent, verified = reading.totals[0] if reading is not None else (0, 0)
    return verified / sent if sent else None
