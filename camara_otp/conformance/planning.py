"""Who plays when, on which phone, and what it costs: decided before anything is sent."""

import math
from collections.abc import Iterable
from typing import Final

import attrs

from camara_otp.conformance.contract import FICTIONAL_NUMBER
from camara_otp.conformance.flows import one_send_too_many, too_late
from camara_otp.conformance.scenarios import NEEDS, SPECIAL_NUMBERS, Scenario
from camara_otp.conformance.settings import Settings

NO_SMS: Final = "it takes a text, and none are to be sent"
NO_NUMBER: Final = "it takes a text, and no phone is known that may get one: set numbers.reachable"
TOO_MANY: Final = "it takes {} texts to one phone, and the operator refuses number {} (limits.max_send)"
NO_ROOM: Final = "no phone may get more texts: set more numbers.reachable, or [reset]"
NO_MONEY: Final = "max_texts would be exceeded"


@attrs.frozen
class Step:
    """A scenario with its part in the plan.

    Args:
        scenario: The scenario.
        number: The phone; empty where none is needed.
        texts: How many texts it takes at most.
        reset: Whether the operator has to forget the phone first.
        skip: Why it is left out; empty if it is not.
    """

    scenario: Scenario
    number: str = attrs.field(default="", repr=False)
    texts: int = 0
    reset: bool = False
    skip: str = ""


@attrs.frozen
class Plan:
    """All steps.

    Args:
        steps: One for each scenario, in the order of the table.
        lanes: Steps that go one after the other; lanes go side by side.
        last: Steps that go alone, after all others.
    """

    steps: tuple[Step, ...]
    lanes: tuple[tuple[Step, ...], ...]
    last: tuple[Step, ...]

    @property
    def texts(self) -> int:
        """Return how many texts the operator is going to send, if it behaves."""
        return sum(step.texts for step in self.steps)

    @property
    def in_order(self) -> tuple[Step, ...]:
        """Return the steps in an order in which they can go one after the other."""
        skipped = tuple(step for step in self.steps if step.skip)
        return (*(step for lane in self.lanes for step in lane), *self.last, *skipped)


@attrs.define
class _Book:
    """What the plan has given to whom so far: texts and steps by phone."""

    settings: Settings
    used: dict[str, int] = attrs.field(factory=dict[str, int])
    load: dict[str, int] = attrs.field(factory=dict[str, int])
    fresh: set[str] = attrs.field(factory=set[str])
    texts: int = 0

    def step(self, scenario: Scenario) -> Step:
        """Return the step of a scenario, and take note of what it uses."""
        settings = self.settings
        missing = [remedy for name in scenario.needs for there, remedy in [NEEDS[name]] if not there(settings)]
        if missing:
            return Step(scenario, skip="; ".join(missing))
        takes = scenario.texts(settings.limits)
        if scenario.operation == "validate-code" and not takes:
            return Step(scenario)
        special = next((name for name in scenario.needs if name in SPECIAL_NUMBERS), None)
        if special:
            return Step(scenario, number=getattr(settings.numbers, special))
        if scenario.flow is one_send_too_many:
            return self._filling(scenario, takes)
        return self._texting(scenario, takes) if takes else Step(scenario, number=self._phone())

    def _phone(self) -> str:
        """Return the phone with the least to do; a request that has to be refused must not reach a stranger either."""
        phone = min(
            self.settings.numbers.reachable, key=lambda phone: self.load.get(phone, 0), default=FICTIONAL_NUMBER
        )
        self.load[phone] = self.load.get(phone, 0) + 1
        return phone

    def _weight(self, phone: str) -> tuple[int, int]:
        return self.used.get(phone, 0), self.load.get(phone, 0)

    def _filling(self, scenario: Scenario, takes: int) -> Step:
        # What a phone got before counts: the fullest one takes the fewest.
        phone = max(self.settings.numbers.reachable, key=lambda phone: self.used.get(phone, 0), default="")
        step = Step(scenario, phone, max(0, takes - self.used.get(phone, 0)), reset=self._is_stale(phone))
        return self._paid(step)

    def _texting(self, scenario: Scenario, takes: int) -> Step:
        settings = self.settings
        phone = min(settings.numbers.reachable, key=self._weight, default="")
        room = (settings.limits.max_send or math.inf) - 1
        if takes > room:
            return Step(scenario, skip=self._refusal(takes) or TOO_MANY.format(takes, settings.limits.max_send))
        full = self.used.get(phone, 0) + takes > room
        if full and settings.reset is None:
            return Step(scenario, skip=self._refusal(takes) or NO_ROOM)
        return self._paid(Step(scenario, phone, takes, reset=full or self._is_stale(phone)))

    def _is_stale(self, phone: str) -> bool:
        """Tell whether texts of an earlier check may still count for a phone, and could be made forgotten."""
        return self.settings.reset is not None and phone not in self.fresh

    def _paid(self, step: Step) -> Step:
        refusal = self._refusal(step.texts)
        if refusal:
            return Step(step.scenario, skip=refusal)
        if step.reset:
            forget(self.settings, self.used, step.number)
            self.fresh |= {step.number} if resets_one(self.settings) else set(self.settings.numbers.reachable)
        self.texts += step.texts
        self.used[step.number] = self.used.get(step.number, 0) + step.texts
        self.load[step.number] = self.load.get(step.number, 0) + 1
        return step

    def _refusal(self, takes: int) -> str:
        settings = self.settings
        if not settings.sms:
            return NO_SMS
        if not settings.numbers.reachable:
            return NO_NUMBER
        return NO_MONEY if settings.max_texts is not None and self.texts + takes > settings.max_texts else ""


def plan(settings: Settings, scenarios: Iterable[Scenario]) -> Plan:
    """Give every scenario a phone and a place, or a reason to be left out.

    Args:
        settings: What is known about the operator.
        scenarios: Which of them.
    """
    wanted = tuple(scenarios)
    book = _Book(settings)
    steps = {
        scenario.tag: book.step(scenario) for scenario in sorted(wanted, key=lambda scenario: _when(settings, scenario))
    }
    ordered = tuple(steps[scenario.tag] for scenario in wanted)
    playing = [step for step in steps.values() if not step.skip]
    alone = [step for step in playing if _goes_alone(settings, step.scenario)]
    taken = {step.number for step in alone}
    last = (*alone, *(step for step in playing if step.scenario.flow is one_send_too_many and step.number in taken))
    rest = [step for step in playing if step not in last]
    lanes: dict[str, list[Step]] = {}
    serial = _one_by_one(settings, playing)
    for step in rest:
        lanes.setdefault("" if serial else step.number or step.scenario.tag, []).append(step)
    return Plan(ordered, tuple(map(tuple, lanes.values())), last)


def _when(settings: Settings, scenario: Scenario) -> tuple[bool, bool, int]:
    """Return when a scenario has its turn.

    What fills a phone can do with what that got already; what goes alone goes late; and of the rest, what takes most
    is hardest to place.
    """
    fills = scenario.flow is one_send_too_many
    return fills, _goes_alone(settings, scenario), -scenario.texts(settings.limits)


def _goes_alone(settings: Settings, scenario: Scenario) -> bool:
    """Tell whether a scenario lets all codes expire, not its own alone."""
    hook = settings.expire
    if scenario.flow is not too_late or hook is None or hook.how == "wait":
        return False
    return not (hook.is_for_one("authentication_id") or hook.is_for_one("phone_number"))


def _one_by_one(settings: Settings, steps: Iterable[Step]) -> bool:
    """Tell whether a person is asked, or a reset hits everybody: then nothing goes side by side."""
    if settings.read is not None and settings.read.how == "ask":
        return True
    return any(step.reset for step in steps) and not resets_one(settings)


def resets_one(settings: Settings) -> bool:
    """Tell whether a reset is for one phone alone, so that others may go on meanwhile.

    Args:
        settings: What is known about the operator.
    """
    return settings.reset is not None and settings.reset.is_for_one("phone_number")


def forget(settings: Settings, sends: dict[str, int], phone: str) -> None:
    """Forget how many texts went to a phone, or to every phone, as the operator does at a reset.

    Args:
        settings: What is known about the operator.
        sends: The texts by phone.
        phone: The phone of the reset.
    """
    if resets_one(settings):
        sends.pop(phone, None)
    else:
        sends.clear()
