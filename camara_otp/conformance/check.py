"""Run a check: perform its scenarios, hold all responses against the contract rules, and make the report."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

import anyio
import attrs
import httpx

from camara_otp.conformance.discovery import Discovery
from camara_otp.conformance.flows import one_send_too_many
from camara_otp.conformance.hooks import HookError, Hooks, Prompt, is_far, prompt_at_terminal
from camara_otp.conformance.judge import PATH_RULE, PATH_UNKNOWN, RULES, Rule, RuleContext, over_all, path_findings
from camara_otp.conformance.masking import mask, number_names, parts_of, shown
from camara_otp.conformance.model import (
    Finding,
    Grade,
    Latency,
    Outcome,
    Report,
    RoundTrip,
    SentRequest,
    Shown,
    Verdict,
)
from camara_otp.conformance.planning import Plan, Step, forget
from camara_otp.conformance.recommendations import client_line, recommendations
from camara_otp.conformance.scenario_run import BlockedError, ScenarioRun
from camara_otp.conformance.scenarios import Scenario
from camara_otp.conformance.settings import Settings
from camara_otp.conformance.throttle import Throttle
from camara_otp.conformance.transport import open_transport

Token = str | Callable[[], Awaitable[str]]
OnEvent = Callable[[Scenario | Outcome], None]

_EXAMPLES: Final = 3


def _ignore(_: Scenario | Outcome) -> None:
    pass


@attrs.define(eq=False)
class Check:
    """A check in progress: the state that its scenarios share.

    Args:
        settings: the settings of the check
        api_path: the path between root and operation
        throttle: sends requests to the operator
        hooks: read texts, let codes expire, reset the operator
        fetch: returns the access token
        sends: how many texts each phone received
        secrets: what must not be shown, with what is shown instead
        trips: all requests with their responses, in order
        path_is_guess: whether nothing distinguished the path of the operations from other paths
        risk: held by a request that has to be refused and could cause a text, where texts are limited
        may_text: whether one did, or may have
    """

    settings: Settings
    api_path: str
    throttle: Throttle = attrs.field(repr=False)
    hooks: Hooks = attrs.field(repr=False)
    fetch: Callable[[], Awaitable[str]] = attrs.field(repr=False)
    sends: dict[str, int] = attrs.field(factory=dict[str, int], repr=False)
    secrets: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    trips: list[RoundTrip] = attrs.field(factory=list[RoundTrip], repr=False)
    path_is_guess: bool = False
    risk: anyio.Lock = attrs.field(factory=anyio.Lock, repr=False)
    may_text: bool = False

    def __attrs_post_init__(self) -> None:
        """Learn what must not be shown."""
        settings = self.settings
        numbers = settings.numbers
        for number in (*numbers.reachable, numbers.unreachable, numbers.landline, numbers.blocked, numbers.foreign):
            self.secrets.update(number_names(number) if number else {})
        self.secrets.update({token: "<token>" for token in (settings.tokens.expired, settings.tokens.invalid) if token})
        # Keys and cookies, which an operator may repeat in its answers.
        for kind, table in (("header", settings.headers), ("param", settings.params)):
            for name, value in table.items():
                self.secrets.update(parts_of(value, f"<{kind} {name}>"))

    async def token(self) -> str:
        """Return the access token, and remember to hide it.

        Raises:
            BlockedError: There is none.
        """
        try:
            token = await self.fetch()
        except Exception as error:  # noqa: BLE001 - of whatever kind: it says nothing about the operator
            raise BlockedError(f"no access token could be had: {error}") from None
        self.secrets[token] = "<token>"
        return token

    async def post(self, request: SentRequest) -> RoundTrip:
        """Send a request, and record every response to it.

        Args:
            request: the request
        """
        tries = await self.throttle.send(request)
        self.trips.extend(tries)
        return tries[-1]

    async def post_for(self, step: Step, request: SentRequest) -> RoundTrip:
        """Send a scenario's request, unless it might cost a text that nobody agreed to.

        Args:
            step: The scenario with its part in the plan.
            request: The request.
        """
        is_limited = not self.settings.sms or self.settings.max_texts is not None
        if not is_limited or step.texts or request.operation != "send-code":
            return await self.post(request)
        # One at a time: the first text that nobody agreed to is the last.
        async with self.risk:
            if self.may_text:
                raise BlockedError("the operator may text what it has to refuse, and texts are limited")
            exchange = await self.post(request)
            self.may_text = exchange.response is None or exchange.response.status < 400
            return exchange

    async def perform(self, step: Step) -> Outcome:
        """Perform one scenario.

        Args:
            step: The scenario with its part in the plan.
        """
        if step.skip:
            return _outcome(step.scenario, Verdict.SKIP, reason=step.skip)
        run_ = ScenarioRun(
            self.settings,
            f"{self.settings.root}{self.api_path}",
            step.number,
            partial(self.post_for, step),
            self.token,
            self.hooks,
            self.sends,
            self.secrets,
            lambda: self.throttle.is_concurrent,
        )
        began, reason = time.perf_counter(), ""
        try:
            if step.reset:
                await self.reset(step.number)
            self.check_room(step)
            await step.scenario.flow(run_)
        except BlockedError as error:
            reason = mask(str(error), self.secrets)
        self._learn(run_)
        findings = tuple(sorted(run_.findings, key=lambda finding: -finding.grade))
        verdict = Verdict.FAIL if _is_failed(findings) else Verdict.SKIP if reason else Verdict.PASS
        return _outcome(
            step.scenario,
            verdict,
            reason=reason if verdict is Verdict.SKIP else "",
            findings=tuple(self.masked(found) for found in findings),
            exchanges=tuple(
                self.shown(exchange, judged=index in run_.judged) for index, exchange in enumerate(run_.exchanges)
            ),
            seconds=time.perf_counter() - began,
        )

    def check_room(self, step: Step) -> None:
        """Refuse a scenario whose texts would be too many for its phone, whatever the plan thought.

        Args:
            step: The scenario with its part in the plan.
        """
        max_send = self.settings.limits.max_send
        if max_send is None or step.scenario.flow is one_send_too_many:
            return
        if step.texts and self.sends.get(step.number, 0) + step.texts >= max_send:
            raise BlockedError("its phone got more texts than planned: a reset failed, or a wrong request was accepted")

    async def reset(self, number: str) -> None:
        """Have the operator forget a phone, or everything.

        Args:
            number: The phone.
        """
        try:
            await self.hooks.reset(number)
        except HookError as error:
            raise BlockedError(str(error)) from None
        forget(self.settings, self.sends, number)

    def _learn(self, run_: ScenarioRun) -> None:
        """Keep the codes that became known after their exchanges were recorded."""
        # By the answer: a request that was turned away first has more than one exchange.
        known = {id(exchange.response): exchange for exchange in run_.exchanges if exchange.code}
        self.trips = [known.get(id(exchange.response), exchange) for exchange in self.trips]

    def masked(self, finding: Finding, where: str = "") -> Finding:
        """Return a finding without secrets: both its texts may repeat what an operator said.

        Args:
            finding: The finding.
            where: Is put after its text.
        """
        text, advised = (mask(said, self.secrets) for said in (finding.text, finding.advice))
        return attrs.evolve(finding, text=text + where, advice=advised)

    def shown(self, exchange: RoundTrip, *, judged: bool) -> Shown:
        """Return an exchange without secrets.

        Args:
            exchange: The exchange.
            judged: Whether the verdict hangs on it.
        """
        private = frozenset(name.lower() for name in self.settings.headers)
        return shown(exchange, "judged" if judged else "setup", self.secrets, private)

    def rules(self) -> list[Outcome]:
        """Hold all answers so far against the contract."""
        by = RuleContext(self.settings.release, self.settings.slow, self.settings.timeout)
        return [*(self._rule(rule, by) for rule in RULES), self._path_rule()]

    def _rule(self, rule: Rule, by: RuleContext) -> Outcome:
        found, count = over_all(rule, self.trips, by)
        if not count:
            return _ruled(rule, Verdict.SKIP, reason="there was no answer that it is about")
        findings = tuple(self.masked(finding, f" ({len(where)} of {count} answers)") for finding, where in found)
        examples = tuple(self.shown(where[0], judged=True) for _, where in found[:_EXAMPLES])
        verdict = Verdict.FAIL if _is_failed(findings) else Verdict.PASS
        return _ruled(rule, verdict, findings=findings, exchanges=examples)

    def _path_rule(self) -> Outcome:
        if self.path_is_guess:
            return _ruled(PATH_RULE, Verdict.SKIP, reason=PATH_UNKNOWN)
        findings = path_findings(self.api_path)
        return _ruled(PATH_RULE, Verdict.FAIL if findings else Verdict.PASS, findings=findings)


def _is_failed(findings: Iterable[Finding]) -> bool:
    return any(finding.grade >= Grade.DIFFERS for finding in findings)


def _outcome(
    scenario: Scenario,
    verdict: Verdict,
    *,
    reason: str = "",
    findings: tuple[Finding, ...] = (),
    exchanges: tuple[Shown, ...] = (),
    seconds: float = 0.0,
) -> Outcome:
    return Outcome(
        tag=scenario.tag,
        origin=scenario.origin,
        operation=scenario.operation,
        sent=scenario.sent,
        rule=str(scenario.expect),
        source=scenario.source,
        verdict=verdict,
        reason=reason,
        findings=findings,
        exchanges=exchanges,
        seconds=seconds,
    )


def _ruled(
    rule: Rule,
    verdict: Verdict,
    *,
    reason: str = "",
    findings: tuple[Finding, ...] = (),
    exchanges: tuple[Shown, ...] = (),
) -> Outcome:
    return Outcome(
        tag=rule.tag,
        origin="contract",
        operation=None,
        sent="every request of this check",
        rule=rule.rule,
        source=rule.source,
        verdict=verdict,
        reason=reason,
        findings=findings,
        exchanges=exchanges,
    )


@asynccontextmanager
async def opened(
    settings: Settings,
    token: Token,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    prompt: Prompt = prompt_at_terminal,
) -> AsyncGenerator[Check]:
    """Open what a check needs, and find out where the operations are.

    Args:
        settings: What is known about the operator.
        token: The access token, or what gives one.
        transport: Stands in for the network, towards the operator and the helpers.
        prompt: Asks a person.

    Raises:
        UnreachableError: Nobody answers.
    """

    async def fixed() -> str:
        return str(token)

    fetch = token if callable(token) else fixed
    async with (
        open_transport(settings, transport) as sender,
        httpx.AsyncClient(transport=transport, trust_env=is_far(settings.base_url)) as http,
    ):
        throttle = Throttle(sender, anyio.CapacityLimiter(settings.concurrency))
        check = Check(settings, "", throttle, Hooks(settings, http, prompt), fetch)
        found = await Discovery(settings, throttle, check.token).find()
        check.api_path, check.path_is_guess = found.path, found.is_guess
        yield check


async def run(
    settings: Settings,
    plan: Plan,
    token: Token,
    *,
    on_event: OnEvent = _ignore,
    transport: httpx.AsyncBaseTransport | None = None,
    prompt: Prompt = prompt_at_terminal,
) -> Report:
    """Run a check.

    Args:
        settings: What is known about the operator.
        plan: Which scenarios, in which order.
        token: The access token, or what gives one; scenarios for which it raises are skipped, with what it said.
        on_event: Is told each scenario that begins and each outcome.
        transport: Stands in for the network.
        prompt: Asks a person.

    Raises:
        UnreachableError: Nobody answers.
    """
    began, started_at = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    done: dict[str, Outcome] = {}
    async with opened(settings, token, transport=transport, prompt=prompt) as check:

        async def go(steps: Iterable[Step]) -> None:
            for step in steps:
                on_event(step.scenario)
                outcome = done[step.scenario.tag] = await check.perform(step)
                on_event(outcome)

        async with anyio.create_task_group() as lanes:
            for lane in plan.lanes:
                lanes.start_soon(go, lane)
        await go(plan.last)
        await go(step for step in plan.steps if step.skip)
        outcomes = [done[step.scenario.tag] for step in plan.steps]
        for outcome in check.rules():
            on_event(outcome)
            outcomes.append(outcome)
        return Report(
            base_url=settings.root,
            api_path=check.api_path,
            release=settings.release,
            started_at=started_at,
            seconds=time.perf_counter() - began,
            texts=_texts(check.trips),
            outcomes=tuple(outcomes),
            latencies=tuple(
                Latency(exchange.request.operation, exchange.response.status, exchange.response.seconds)
                for exchange in check.trips
                if exchange.response is not None
            ),
            recommendations=recommendations(outcomes),
            client=client_line(settings, check.api_path, outcomes, check.trips),
        )


def _texts(exchanges: Iterable[RoundTrip]) -> int:
    return sum(
        exchange.request.operation == "send-code" and exchange.response is not None and exchange.response.status < 300
        for exchange in exchanges
    )
