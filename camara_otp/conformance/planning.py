"""Plan a check before any request is sent: phones, SMS, order, and the scenarios that are left out."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from camara_otp.conformance.contract import FICTIONAL_NUMBER
from camara_otp.conformance.scenarios import BASICS, NEEDS, SPECIAL_NUMBERS, Scenario
from camara_otp.conformance.settings import Settings

NO_SMS: Final = "it sends an SMS, and none may be sent"
NO_NUMBER: Final = "it sends an SMS, and no phone is known that may get one: set numbers.reachable"
TOO_MANY: Final = "it sends {} SMS to one phone, and the operator refuses number {} (limits.max_send)"
PHONES_FULL: Final = "no phone may get more SMS: set more numbers.reachable, or [reset]"
OVER_MAX_TEXTS: Final = "max_texts would be exceeded"


@attrs.frozen
class Step:
    """A scenario with its part in the plan.

    Args:
        scenario: the scenario
        number: the phone; empty where none is needed
        texts: how many SMS it sends at most
        has_text: whether it sends or shares an SMS
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
        """Return the name of the SMS that it uses: shared, or its own."""
        return self.scenario.session or self.scenario.tag


@attrs.frozen
class Plan:
    """All steps.

    Args:
        steps: one for each scenario, in the order of the table
        phases: the lanes of each phase. The steps of a lane run one after the other, the lanes of a phase at once.
    """

    steps: tuple[Step, ...]
    phases: tuple[tuple[tuple[Step, ...], ...], ...]

    @property
    def texts(self) -> int:
        """Return the maximum of SMS that the operator can send."""
        return sum(step.texts for step in self.steps)

    @property
    def in_order(self) -> tuple[Step, ...]:
        """Return the steps in an order in which they can be run one after the other."""
        skipped = tuple(step for step in self.steps if step.skip)
        return (*(step for lanes in self.phases for lane in lanes for step in lane), *skipped)


@attrs.define
class _Book:
    """The SMS and steps that the plan has allotted so far, by phone."""

    settings: Settings
    used: Counter[str] = attrs.field(factory=Counter[str])
    load: Counter[str] = attrs.field(factory=Counter[str])
    fresh: set[str] = attrs.field(factory=set[str])
    texts: int = 0

    @property
    def phones(self) -> tuple[str, ...]:
        return self.settings.numbers.reachable

    @property
    def most(self) -> float:
        """Return how many SMS a phone may receive."""
        return (self.settings.limits.max_send or math.inf) - 1

    def steps(self, group: Sequence[Scenario]) -> list[Step]:
        """Return the steps of scenarios that share an SMS, and record what they use."""
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
                # The scenario begins with an SMS of its own, so another phone will do.
                phone = self._phone_for(takes)
            step = self._step(scenario, takes, phone)
            if takes and step.skip and scenario.can_do_without:
                step = self._step(scenario, 0, phone)
            has_text = has_text or step.texts > 0
            uses = has_text and not step.skip and (takes > 0 or scenario.uses_text > 0)
            # Steps that share an SMS run in one lane.
            shares = has_text and bool(scenario.session) and not step.skip
            made.append(attrs.evolve(step, number=step.number or (phone if uses or shares else ""), has_text=uses))
        return made

    def _step(self, scenario: Scenario, takes: int, phone: str) -> Step:
        for special in SPECIAL_NUMBERS:
            if special in scenario.needs:
                return Step(scenario, number=getattr(self.settings.numbers, special))
        if fills_phone(scenario):
            # Earlier SMS count: the phone with the most needs the fewest. The send to be refused may cause one.
            phone = max(self.phones, key=lambda phone: self.used[phone], default="")
            texts = max(0, takes - self.used[phone]) + 1
            return self._paid(Step(scenario, phone, texts, reset=self._is_stale(phone)))
        if takes:
            return self._texting(scenario, takes, phone)
        if scenario.operation == "validate-code":
            return Step(scenario)
        # A request that has to be refused must not reach a stranger.
        phone = min(self.phones, key=lambda phone: self.load[phone], default=FICTIONAL_NUMBER)
        self.load[phone] += 1
        return Step(scenario, number=phone)

    def _texts_left(self, phone: str) -> float:
        return self.most - self.used[phone]

    def _phone_for(self, takes: int) -> str:
        """Return the phone with the fewest SMS that can take `takes` more, else the phone that can take the most."""
        fitting = [phone for phone in self.phones if self._texts_left(phone) >= takes]
        if fitting:
            return min(fitting, key=lambda phone: (self.used[phone], self.load[phone]))
        return max(self.phones, key=self._texts_left, default="")

    def _texting(self, scenario: Scenario, takes: int, phone: str) -> Step:
        is_full = takes > self._texts_left(phone)
        skip = ""
        if takes > self.most:
            skip = TOO_MANY.format(takes, self.settings.limits.max_send)
        elif is_full and self.settings.reset is None:
            skip = PHONES_FULL
        if skip:
            return Step(scenario, skip=self._refusal(takes) or skip)
        return self._paid(Step(scenario, phone, takes, reset=is_full or self._is_stale(phone)))

    def _is_stale(self, phone: str) -> bool:
        """Return whether SMS of an earlier check may still count for a phone, and a reset would help."""
        return self.settings.reset is not None and phone not in self.fresh

    def _paid(self, step: Step) -> Step:
        """Return the step and record its SMS, or return it with the reason why they may not be sent."""
        if refusal := self._refusal(step.texts):
            return Step(step.scenario, skip=refusal)
        if step.reset:
            forget(self.settings, self.used, step.number)
            self.fresh |= {step.number} if resets_one(self.settings) else set(self.phones)
        self.texts += step.texts
        self.used[step.number] += step.texts
        self.load[step.number] += 1
        return step

    def _refusal(self, takes: int) -> str:
        settings = self.settings
        if not settings.sms:
            return NO_SMS
        if not self.phones:
            return NO_NUMBER
        return OVER_MAX_TEXTS if settings.max_texts is not None and self.texts + takes > settings.max_texts else ""


def fills_phone(scenario: Scenario) -> bool:
    """Return whether a scenario sends SMS to a phone until the operator refuses one."""
    return "max_send" in scenario.needs


def _missing(settings: Settings, scenario: Scenario) -> list[str]:
    return [remedy for name in scenario.needs for read, remedy in [NEEDS[name]] if not read(settings)]


def _cost(settings: Settings, group: Iterable[Scenario]) -> int:
    """Return how many SMS scenarios send that share them."""
    cost = 0
    for scenario in group:
        if not _missing(settings, scenario):
            cost += scenario.texts(settings.limits) or (0 if cost else scenario.uses_text)
    return cost


def plan(settings: Settings, scenarios: Iterable[Scenario]) -> Plan:
    """Allot every scenario a phone and a place, or a reason to be left out.

    Args:
        settings: the settings of the check
        scenarios: the scenarios
    """
    wanted = tuple(scenarios)
    groups: dict[str, list[Scenario]] = {}
    for scenario in wanted:
        groups.setdefault(scenario.session or scenario.tag, []).append(scenario)
    book = _Book(settings)
    steps: dict[str, Step] = {}
    for group in sorted(groups.values(), key=lambda group: _planning_order(settings, group)):
        made = book.steps(sorted(group, key=lambda scenario: scenario.place))
        steps |= {step.scenario.tag: step for step in made}
    running = [step for step in steps.values() if not step.skip]
    has_alone = any(_goes_alone(settings, step.scenario) for step in running)
    order = ["first", "free", "closing", "rest", "last"]
    by_phase: dict[str, list[Step]] = {name: [] for name in order}
    for step in running:
        by_phase[_phase(settings, step, has_alone=has_alone)].append(step)
    is_serial = _one_by_one(settings, running)
    # A request that has to be refused, and is not, uses one of the SMS of later steps. So some have to be left.
    if book.texts == sum(step.texts for step in by_phase["first"]):
        order[:2] = "free", "first"
    phases = tuple(_lanes(by_phase[name], is_serial=is_serial or name not in ("free", "rest")) for name in order)
    return Plan(tuple(steps[scenario.tag] for scenario in wanted), phases)


def _phase(settings: Settings, step: Step, *, has_alone: bool) -> str:
    scenario = step.scenario
    # A step that fills a phone was planned after those that run alone, which may forget what was sent.
    if _goes_alone(settings, scenario) or (has_alone and fills_phone(scenario)):
        return "last"
    if scenario.session in BASICS:
        return "first" if scenario.session == BASICS[0] else "closing"
    return "rest" if step.has_text or fills_phone(scenario) else "free"


def _lanes(steps: Iterable[Step], *, is_serial: bool) -> tuple[tuple[Step, ...], ...]:
    lanes: dict[str, list[Step]] = {}
    for step in steps:
        lanes.setdefault("" if is_serial else step.number or step.session, []).append(step)
    return tuple(map(tuple, lanes.values()))


def _planning_order(settings: Settings, group: Sequence[Scenario]) -> tuple[bool, bool, int, int]:
    """Return when scenarios that share an SMS are planned.

    A scenario that fills a phone can use the SMS that the phone received before. A step that runs alone is planned
    late. The basics come first, in their order; of the rest, those with the most SMS are the hardest to place.
    """
    session = group[0].session
    basic = BASICS.index(session) if session in BASICS else len(BASICS)
    is_alone = any(_goes_alone(settings, scenario) for scenario in group)
    return any(map(fills_phone, group)), is_alone, basic, -_cost(settings, group)


def _goes_alone(settings: Settings, scenario: Scenario) -> bool:
    """Return whether a scenario lets all codes expire, not only its own."""
    hook = settings.expire
    if "expire" not in scenario.needs or hook is None or hook.how == "wait":
        return False
    return not (hook.is_for_one("authentication_id") or hook.is_for_one("phone_number"))


def _one_by_one(settings: Settings, steps: Iterable[Step]) -> bool:
    """Return whether a person is asked, or a reset affects every phone: then no two steps run at once."""
    if settings.read is not None and settings.read.how == "ask":
        return True
    return any(step.reset for step in steps) and not resets_one(settings)


def resets_one(settings: Settings) -> bool:
    """Return whether a reset affects only one phone, so that scenarios of others may continue."""
    return settings.reset is not None and settings.reset.is_for_one("phone_number")


def forget(settings: Settings, sends: dict[str, int], phone: str) -> None:
    """Forget how many SMS were sent to a phone, or to every phone, as the operator does at a reset."""
    if resets_one(settings):
        sends.pop(phone, None)
    else:
        sends.clear()
