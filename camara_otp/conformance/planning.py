"""Plan a check before anything is sent: phones, texts, order, and the scenarios that are left out."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from camara_otp.conformance.contract import FICTIONAL_NUMBER
from camara_otp.conformance.flows import one_send_too_many, too_late
from camara_otp.conformance.scenarios import BASICS, NEEDS, SPECIAL_NUMBERS, Scenario
from camara_otp.conformance.settings import Settings

NO_SMS: Final = "it takes a text, and none may be sent"
NO_NUMBER: Final = "it takes a text, and no phone is known that may get one: set numbers.reachable"
TOO_MANY: Final = "it takes {} texts to one phone, and the operator refuses number {} (limits.max_send)"
NO_ROOM: Final = "no phone may get more texts: set more numbers.reachable, or [reset]"
NO_MONEY: Final = "max_texts would be exceeded"


@attrs.frozen
class Step:
    """A scenario with its part in the plan.

    Args:
        scenario: the scenario
        number: the phone; empty where none is needed
        texts: how many texts it takes at most
        has_text: whether it sends or shares a text
        reset: whether the operator has to forget the phone first
        skip: why it is left out; empty if it is not
    """

    scenario: Scenario
    number: str = attrs.field(default="", repr=False)
    texts: int = 0
    has_text: bool = False
    reset: bool = False
    skip: str = ""

    @property
    def session(self) -> str:
        """Return the name of the text that it uses: shared, or its own."""
        return self.scenario.session or self.scenario.tag


@attrs.frozen
class Plan:
    """All steps.

    Args:
        steps: one for each scenario, in the order of the table
        phases: the lanes of each phase. The steps of a lane are run one after the other, the lanes of a phase at once.
    """

    steps: tuple[Step, ...]
    phases: tuple[tuple[tuple[Step, ...], ...], ...]

    @property
    def texts(self) -> int:
        """Return the maximum of texts that the operator can send."""
        return sum(step.texts for step in self.steps)

    @property
    def in_order(self) -> tuple[Step, ...]:
        """Return the steps in an order in which they can be run one after the other."""
        skipped = tuple(step for step in self.steps if step.skip)
        return (*(step for lanes in self.phases for lane in lanes for step in lane), *skipped)


@attrs.define
class _Book:
    """The texts and steps that the plan has allotted so far, by phone."""

    settings: Settings
    used: dict[str, int] = attrs.field(factory=dict[str, int])
    load: dict[str, int] = attrs.field(factory=dict[str, int])
    fresh: set[str] = attrs.field(factory=set[str])
    texts: int = 0

    def steps(self, group: Sequence[Scenario]) -> list[Step]:
        """Return the steps of scenarios that share a text, and record what they use."""
        phone = self._phone_for(_cost(self.settings, group))
        has_text = False
        made: list[Step] = []
        for scenario in group:
            missing = _missing(self.settings, scenario)
            if missing:
                made.append(Step(scenario, skip="; ".join(missing)))
                continue
            takes = scenario.texts(self.settings.limits) or (0 if has_text else scenario.uses_text)
            if takes > self._texts_left(phone) and self.settings.reset is None:
                # Another phone will do: the scenario begins with a text of its own.
                phone = self._phone_for(takes)
            step = self._step(scenario, takes, phone)
            if takes and step.skip and scenario.can_do_without:
                step = self._step(scenario, 0, phone)
            has_text = has_text or step.texts > 0
            uses = has_text and not step.skip and (takes > 0 or scenario.uses_text > 0)
            # One lane for all that share a text.
            shares = has_text and bool(scenario.session) and not step.skip
            made.append(attrs.evolve(step, number=step.number or (phone if uses or shares else ""), has_text=uses))
        return made

    def _step(self, scenario: Scenario, takes: int, phone: str) -> Step:
        special = next((name for name in scenario.needs if name in SPECIAL_NUMBERS), None)
        if special:
            return Step(scenario, number=getattr(self.settings.numbers, special))
        if scenario.flow is one_send_too_many:
            return self._filling(scenario, takes)
        if takes:
            return self._texting(scenario, takes, phone)
        if scenario.operation == "validate-code":
            return Step(scenario)
        return Step(scenario, number=self._idlest())

    def _idlest(self) -> str:
        """Return the phone with the fewest steps; a request that has to be refused must not reach a stranger."""
        phone = min(
            self.settings.numbers.reachable, key=lambda phone: self.load.get(phone, 0), default=FICTIONAL_NUMBER
        )
        self.load[phone] = self.load.get(phone, 0) + 1
        return phone

    def _texts_left(self, phone: str) -> float:
        return (self.settings.limits.max_send or math.inf) - 1 - self.used.get(phone, 0)

    def _phone_for(self, takes: int) -> str:
        """Return the phone with the fewest texts that can take `takes` more, else the phone that can take the most."""
        phones = self.settings.numbers.reachable
        fitting = [phone for phone in phones if self._texts_left(phone) >= takes]
        if fitting:
            return min(fitting, key=lambda phone: (self.used.get(phone, 0), self.load.get(phone, 0)))
        return max(phones, key=self._texts_left, default="")

    def _filling(self, scenario: Scenario, takes: int) -> Step:
        # Earlier texts count: the phone with the most needs the fewest. The send that has to be refused may bring one.
        phone = max(self.settings.numbers.reachable, key=lambda phone: self.used.get(phone, 0), default="")
        step = Step(scenario, phone, max(0, takes - self.used.get(phone, 0)) + 1, reset=self._is_stale(phone))
        return self._paid(step)

    def _texting(self, scenario: Scenario, takes: int, phone: str) -> Step:
        settings = self.settings
        most = (settings.limits.max_send or math.inf) - 1
        if takes > most:
            return Step(scenario, skip=self._refusal(takes) or TOO_MANY.format(takes, settings.limits.max_send))
        is_full = takes > self._texts_left(phone)
        if is_full and settings.reset is None:
            return Step(scenario, skip=self._refusal(takes) or NO_ROOM)
        return self._paid(Step(scenario, phone, takes, reset=is_full or self._is_stale(phone)))

    def _is_stale(self, phone: str) -> bool:
        """Tell whether texts of an earlier check may still count for a phone, and a reset would help."""
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


def _missing(settings: Settings, scenario: Scenario) -> list[str]:
    return [remedy for name in scenario.needs for is_set, remedy in [NEEDS[name]] if not is_set(settings)]


def _cost(settings: Settings, group: Iterable[Scenario]) -> int:
    """Return how many texts scenarios take that share them."""
    cost = 0
    for scenario in group:
        if not _missing(settings, scenario):
            cost += scenario.texts(settings.limits) or (0 if cost else scenario.uses_text)
    return cost


def plan(settings: Settings, scenarios: Iterable[Scenario]) -> Plan:
    """Allot every scenario a phone and a place, or a reason to be left out.

    Args:
        settings: the settings of the check
        scenarios: which of them
    """
    wanted = tuple(scenarios)
    groups: dict[str, list[Scenario]] = {}
    for scenario in wanted:
        groups.setdefault(scenario.session or scenario.tag, []).append(scenario)
    book = _Book(settings)
    steps: dict[str, Step] = {}
    ordered = sorted(groups.values(), key=lambda group: _when(settings, group))
    for group in ordered:
        made = book.steps(sorted(group, key=lambda scenario: scenario.place))
        steps |= {step.scenario.tag: step for step in made}
    running = [step for step in steps.values() if not step.skip]
    alone = [step for step in running if _goes_alone(settings, step.scenario)]
    # What fills a phone was planned after those, which may forget what was sent.
    last = (*alone, *(step for step in running if step.scenario.flow is one_send_too_many and alone))
    basics = [step for step in running if step.scenario.session in BASICS]
    free = [
        step
        for step in running
        if not step.has_text and step.scenario.flow is not one_send_too_many and step not in (*basics, *last)
    ]
    rest = [step for step in running if step not in (*basics, *free, *last)]
    first = [step for step in basics if step.scenario.session == BASICS[0]]
    closing = [step for step in basics if step not in first]
    is_serial = _one_by_one(settings, running)
    phases = [
        _lanes(first, is_serial=True),
        _lanes(free, is_serial=is_serial),
        _lanes(closing, is_serial=True),
        _lanes(rest, is_serial=is_serial),
        _lanes(last, is_serial=True),
    ]
    # A request that has to be refused, and is not, uses one of the texts of later steps. So some have to be left.
    if book.texts == sum(step.texts for step in first):
        phases[0], phases[1] = phases[1], phases[0]
    return Plan(tuple(steps[scenario.tag] for scenario in wanted), tuple(phases))


def _lanes(steps: Iterable[Step], *, is_serial: bool) -> tuple[tuple[Step, ...], ...]:
    lanes: dict[str, list[Step]] = {}
    for step in steps:
        lanes.setdefault("" if is_serial else step.number or step.session, []).append(step)
    return tuple(map(tuple, lanes.values()))


def _when(settings: Settings, group: Sequence[Scenario]) -> tuple[bool, bool, int, int]:
    """Return when scenarios that share a text are planned.

    The one that fills a phone can use what that phone got already. A step that is run alone is planned late. The basics
    come first, in their order; of the rest, those that take the most texts are the hardest to place.
    """
    session = group[0].session
    basic = BASICS.index(session) if session in BASICS else len(BASICS)
    fills = any(scenario.flow is one_send_too_many for scenario in group)
    return fills, any(_goes_alone(settings, scenario) for scenario in group), basic, -_cost(settings, group)


def _goes_alone(settings: Settings, scenario: Scenario) -> bool:
    """Tell whether a scenario lets all codes expire, not only its own."""
    hook = settings.expire
    if scenario.flow is not too_late or hook is None or hook.how == "wait":
        return False
    return not (hook.is_for_one("authentication_id") or hook.is_for_one("phone_number"))


def _one_by_one(settings: Settings, steps: Iterable[Step]) -> bool:
    """Tell whether a person is asked, or a reset affects every phone: then nothing is run at once."""
    if settings.read is not None and settings.read.how == "ask":
        return True
    return any(step.reset for step in steps) and not resets_one(settings)


def resets_one(settings: Settings) -> bool:
    """Tell whether a reset affects only one phone, so that scenarios of others may continue.

    Args:
        settings: the settings of the check
    """
    return settings.reset is not None and settings.reset.is_for_one("phone_number")


def forget(settings: Settings, sends: dict[str, int], phone: str) -> None:
    """Forget how many texts went to a phone, or to every phone, as the operator does at a reset.

    Args:
        settings: the settings of the check
        sends: the texts by phone
        phone: the phone of the reset
    """
    if resets_one(settings):
        sends.pop(phone, None)
    else:
        sends.clear()
