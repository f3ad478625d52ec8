"""The decisions of the guard: pure functions over counters, without a clock and without a store.

A counter is a sliding window of at most eleven slots. A slot leaves the window when its last SMS does, so a counter
never has fewer SMS than were sent within the window. An SMS may count for up to a tenth of the window longer.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv6Address, IPv6Network
from operator import attrgetter
from typing import Final, NamedTuple, cast

import attrs

from camara_otp._checks import is_count, seconds
from camara_otp.errors import ConfigurationError, OTPError

# The names of the rules that are not limits.
_RESERVED: Final = ("country", "cooldown", "conversion", "store")
# Calling codes have two or three digits, except 1 and 7 (ITU-T E.164); more digits narrow them, as in 1876.
_COUNTRY: Final = re.compile(r"[17][0-9]{0,6}|[2-9][0-9]{1,6}|[A-Z]{2}")
_COUNTRIES: Final = 'of calling codes, as in ["34", "351"], or of regions, as in ["ES", "PT"]'
_SLOTS: Final = 10
_HIDDEN_DIGITS: Final = 4


class Slot(NamedTuple):
    """A part of a window: SMS sent, SMS verified, and the time of the last of them in milliseconds."""

    sent: int
    verified: int
    last: int


Slots = Mapping[int, Slot]
_LAST: Final = attrgetter("last")


@attrs.frozen
class Limit:
    """At most `count` SMS within `per` seconds, for each value of a key.

    Attributes:
        key: `"number"`, `"prefix"`, `"all"` (all SMS share the limit), or the name of a keyword that you pass to
            `Guard.sending`, as in `"ip"`
        count: SMS, at least 1
        per: seconds, above 0

    Raises:
        ConfigurationError: a value is outside its range, or the key is not a valid name of a keyword
    """

    key: str
    count: int
    per: float = attrs.field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not str(self.key).isidentifier() or self.key in _RESERVED:
            raise ConfigurationError(f"Limit: key must be a Python name, and none of {', '.join(_RESERVED)}")
        if not is_count(self.count):
            raise ConfigurationError("Limit: count must be a whole number of at least 1")
        seconds("Limit: per", self.per)


def checked_limits(limits: object) -> tuple[Limit, ...]:
    """Return the limits of a guard.

    Raises:
        ConfigurationError: the value is not a list of `Limit`
    """
    if isinstance(limits, Limit) or not isinstance(limits, Iterable):
        raise ConfigurationError('limits: must be a list of limits, as in [Limit("number", 5, per=3600)]')
    found = tuple(cast("Iterable[object]", limits))
    for place, limit in enumerate(found):
        if not isinstance(limit, Limit):
            raise ConfigurationError(f'limits[{place}]: must be a Limit, as in Limit("number", 5, per=3600)')
    return cast("tuple[Limit, ...]", found)


def milliseconds(name: str, duration: float) -> int:
    """Return seconds as whole milliseconds, at least one.

    Raises:
        ConfigurationError: it is not a finite number above 0
    """
    return max(1, round(seconds(name, duration) * 1000))


@attrs.frozen
class Rule:
    """One rule over one counter: refuse at `ceiling` SMS in the window, while fewer than `ratio` are verified.

    Attributes:
        name: what `SendRefusedError.rule` says
        window: milliseconds
        ceiling: SMS
        ratio: verified SMS per sent SMS. A limit has 1 and counts no verified SMS, so only its ceiling decides.
    """

    name: str
    window: int
    ceiling: int
    ratio: float = 1.0

    @property
    def width(self) -> int:
        """Return the length of a slot in milliseconds."""
        return max(1, self.window // _SLOTS)

    def wait(self, slots: Slots, now: int) -> int:
        """Return for how many milliseconds the rule refuses; 0 if it allows an SMS."""
        sent = verified = 0
        for slot_sent, slot_verified, last in slots.values():
            if last + self.window > now:
                sent, verified = sent + slot_sent, verified + slot_verified
        wait = 0
        for slot in sorted(slots.values(), key=_LAST) if self._refuses(sent, verified) else ():
            if slot.last + self.window > now:
                sent, verified, wait = sent - slot.sent, verified - slot.verified, slot.last + self.window - now
                if not self._refuses(sent, verified):
                    break
        return wait

    def _refuses(self, sent: int, verified: int) -> bool:
        return sent >= self.ceiling and verified < self.ratio * sent


class Refusal(NamedTuple):
    """The rule that refuses an SMS, and after how many seconds the SMS may be requested again."""

    rule: str
    retry_after: float | None


def decide(rules: Sequence[Rule], readings: Sequence[Slots], now: int) -> Refusal | None:
    """Return the refusal that lasts longest, or None if every rule allows the SMS.

    Args:
        rules: the rules that apply to the SMS
        readings: for each rule, the slots of its counter
        now: milliseconds, by the clock that the slots were written by

    Returns:
        the refusal, or None
    """
    refusal, longest = None, 0
    for rule, slots in zip(rules, readings, strict=True):
        wait = rule.wait(slots, now) if slots else 0
        if wait > longest:
            refusal, longest = Refusal(rule.name, wait / 1000), wait
    return refusal


def changed(slot: Slot | None, sent: int, verified: int, now: int) -> Slot | None:
    """Return a slot after SMS were sent (+1), undone (-1) or verified (+1), or None if nothing is left in it.

    Undoing does not change the time, because the time of earlier SMS is unknown.
    """
    if slot is None:
        return Slot(sent, verified, now) if sent + verified > 0 else None
    last = max(slot.last, now) if sent + verified > 0 else slot.last
    slot = Slot(max(0, slot.sent + sent), slot.verified + verified, last)
    return slot if slot.sent > 0 or slot.verified > 0 else None


def gives_back(error: BaseException | None) -> bool:
    """Return whether to undo the count of a failed block: only if the operator certainly sent nothing.

    A block that ends without an error, or by anything but an error of this package, stays counted. So does an error
    of validate_code, which does not concern the SMS that was sent before.
    """
    return isinstance(error, OTPError) and not error.outcome_unknown and error.operation != "validate_code"


def prefix_of(number: str, length: int) -> str:
    """Return the plus sign and the first digits of a number; at least its last four digits are left out."""
    return number[: max(2, min(length + 1, len(number) - _HIDDEN_DIGITS))]


def source_of(address: str) -> str:
    """Return the part of an IP address that belongs to one customer: an IPv4 address, or the /64 of an IPv6 address.

    Other strings are returned unchanged. Source: RFC 6177, section 2; RFC 4291, section 2.5.5.2.
    """
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found), 64), strict=False))


def _country_rule(name: str) -> str:
    """Return the rule that the name of a country breaks."""
    if name.isascii() and name.isdigit() and name.startswith("0"):
        return 'calling codes do not begin with 0; write "34", not "034" or "0034"'
    return 'must be a calling code, as in "34", or a region in capital letters, as in "ES"'


def country_check(countries: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that returns whether an E.164 number belongs to one of the countries.

    Raises:
        ConfigurationError: a country is neither a calling code nor a region, or a region is given without the extra
    """
    if isinstance(countries, str) or not isinstance(cast("object", countries), Iterable):
        raise ConfigurationError(f"countries: must be a list {_COUNTRIES}")
    names = [str(name).removeprefix("+") for name in countries]
    if not names:
        raise ConfigurationError(f"countries: is empty and would refuse every number; give None or a list {_COUNTRIES}")
    for place, name in enumerate(names):
        if not _COUNTRY.fullmatch(name):
            raise ConfigurationError(f"countries[{place}]: {_country_rule(name)}")
    codes = tuple("+" + name for name in names if name.isdigit())
    regions = {name for name in names if name.isalpha()}
    if not regions:
        return lambda number: number.startswith(codes)
    try:
        import phonenumbers  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "countries: regions need phonenumbers (pip install 'camara-otp[phone]'); without it give calling codes"
        ) from error
    if unknown := sorted(regions - phonenumbers.SUPPORTED_REGIONS):
        raise ConfigurationError(
            f"countries: {', '.join(unknown)} is not an ISO 3166-1 region; the United Kingdom is GB"
        )

    def allowed(number: str) -> bool:
        try:
            region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
        except phonenumbers.NumberParseException:
            region = None
        return number.startswith(codes) or region in regions

    return allowed
