"""Run a check: perform its scenarios, hold all responses against the contract rules, and make the report."""

import fnmatch
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final, cast

import anyio
import attrs
import httpx

from camara_otp.conformance.causes import CAUSES, deviations, found
from camara_otp.conformance.contract import LABEL
from camara_otp.conformance.discovery import Discovery
from camara_otp.conformance.flows import one_send_too_many
from camara_otp.conformance.hooks import HookError, Hooks, Prompt, prompt_at_terminal
from camara_otp.conformance.judge import said
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
from camara_otp.conformance.rules import (
    EVIDENCE_RULE,
    PATH_RULE,
    PATH_UNKNOWN,
    RULES,
    ConformanceRule,
    RuleContext,
    evidence,
    over_all,
    path_findings,
)
from camara_otp.conformance.scenario_run import BlockedError, CheckState, ScenarioRun, TextSession
from camara_otp.conformance.scenarios import Scenario
from camara_otp.conformance.settings import Settings, is_loopback_url
from camara_otp.conformance.text_budget import TextBudget
from camara_otp.conformance.throttle import Throttle
from camara_otp.conformance.transport import open_transport, trusted

GivenToken = str | Callable[[], Awaitable[str]]
OnEvent = Callable[[Scenario | Outcome], None]

_EXAMPLES: Final = 3
NO_TEXTS_LEFT: Final = (
    "no announced text is left for a request that could bring one: the operator sent more than it should, "
    "or max_texts is too small"
)


def _ignore(_: Scenario | Outcome) -> None:
    pass


@attrs.define(eq=False)
class Check:
    """A check in progress.

    Args:
        settings: the settings of the check
        api_path: the path between root and operation
        throttle: sends requests to the operator
        hooks: read texts, let codes expire, reset the operator
        fetch: returns the access token
        budget: the texts that the check may cause
        state: what its scenarios share
        path_is_guess: whether nothing distinguished the path of the operations from other paths
    """

    settings: Settings
    api_path: str
    throttle: Throttle = attrs.field(repr=False)
    hooks: Hooks = attrs.field(repr=False)
    fetch: Callable[[], Awaitable[str]] = attrs.field(repr=False)
    budget: TextBudget = attrs.field(repr=False)
    state: CheckState = attrs.field(factory=CheckState, repr=False)
    path_is_guess: bool = False

    def __attrs_post_init__(self) -> None:
        """Learn what must not be shown."""
        settings = self.settings
        tokens = settings.tokens
        for token in (tokens.expired, tokens.invalid, tokens.other, tokens.unscoped):
            self.state.conceal(token, "<token>")
        # Keys and cookies, which an operator may repeat in its responses.
        for kind, table in (("header", settings.headers), ("param", settings.params)):
            for name, value in table.items():
                self.state.secrets.update(parts_of(value, f"<{kind} {name}>"))

    async def token(self) -> str:
        """Return the access token, and remember to hide it.

        Raises:
            BlockedError: no token could be obtained
        """
        try:
            token = await self.fetch()
        except Exception as error:  # noqa: BLE001 - of whatever kind: it says nothing about the operator
            raise BlockedError(f"the token could not be obtained: {error}") from None
        self.state.conceal(token, "<token>")
        return token

    async def post(self, request: SentRequest) -> RoundTrip:
        """Send a request, record every response to it, and keep within the texts that were announced.

        Args:
            request: the request

        Raises:
            BlockedError: it could bring a text, and those that were announced are used up
        """
        if request.operation != "send-code":
            return await self._post(request)
        if not await self.budget.take():
            raise BlockedError(NO_TEXTS_LEFT)
        texted = True
        try:
            trip = await self._post(request)
            texted = trip.response is None or not 400 <= trip.response.status < 500
            is_limit = trip.response is not None and trip.response.status == 429
            if not texted and not is_limit and await self._brought_a_text(request):
                texted = True
                known = attrs.evolve(trip, texted=True)
                self.state.trips[self.state.trips.index(trip)] = known
                return known
        finally:
            await self.budget.settle(texted=texted)
        return trip

    async def _brought_a_text(self, request: SentRequest) -> bool:
        """Tell whether the text of a send that was refused is in the inbox."""
        body = request.json
        table = cast("dict[str, object]", body) if isinstance(body, dict) else {}
        number, message = table.get("phoneNumber"), table.get("message")
        if number not in self.settings.numbers.reachable or not isinstance(message, str) or LABEL not in message:
            return False
        # A message that is the same in every send may be that of an accepted one.
        return message != self.settings.message and await self.hooks.glance(str(number), message)

    async def _post(self, request: SentRequest) -> RoundTrip:
        tries = await self.throttle.send(request)
        self.state.trips.extend(tries)
        return tries[-1]

    async def perform(self, step: Step) -> Outcome:
        """Perform one scenario.

        Args:
            step: the scenario with its part in the plan
        """
        if step.skip:
            return _outcome(step.scenario, Verdict.SKIP, reason=step.skip)
        if step.number:
            self.state.secrets.update(number_names(step.number))
        run_ = ScenarioRun(
            self.settings,
            f"{self.settings.root}{self.api_path}",
            step.number,
            self.post,
            self.token,
            self.hooks,
            self.state,
            self.state.sessions.setdefault(step.session, TextSession()),
            step.has_text,
            lambda: self.throttle.is_concurrent,
        )
        began, reason = time.perf_counter(), ""
        try:
            if step.reset:
                await self.reset(step.number)
            self.check_budget(step)
            await step.scenario.flow(run_)
        except BlockedError as error:
            reason = mask(str(error), self.state.secrets)
        except Exception as error:  # noqa: BLE001 - a hostile operator must not end the run of the other scenarios
            reason = f"the check itself failed ({type(error).__name__}); please report this"
        findings = tuple(sorted(run_.findings, key=lambda finding: -finding.grade))
        verdict = Verdict.FAIL if _is_failed(findings) else Verdict.SKIP if reason else Verdict.PASS
        return _outcome(
            step.scenario,
            verdict,
            reason=reason if verdict is Verdict.SKIP else "",
            findings=tuple(map(self.masked, findings)),
            exchanges=self._shown_of(run_) if findings else (),
            seconds=time.perf_counter() - began,
        )

    def _shown_of(self, run_: ScenarioRun) -> tuple[Shown, ...]:
        judged = [trip for at, trip in enumerate(run_.trips) if at in run_.judged][:_EXAMPLES]
        before = [trip for at, trip in enumerate(run_.trips) if at not in run_.judged][:1]
        shown_ = [(trip, trip in judged) for trip in run_.trips if trip in judged or trip in before]
        return tuple(self.shown(trip, judged=is_judged) for trip, is_judged in shown_)

    def check_budget(self, step: Step) -> None:
        """Reject a scenario that would send too many texts to its phone, even if the plan allows it.

        Args:
            step: the scenario with its part in the plan
        """
        max_send = self.settings.limits.max_send
        if max_send is None or step.scenario.flow is one_send_too_many:
            return
        if step.texts and self.state.sends.get(step.number, 0) + step.texts >= max_send:
            raise BlockedError("its phone got more texts than planned: a reset failed, or a wrong request was accepted")

    async def reset(self, number: str) -> None:
        """Have the operator forget a phone, or everything.

        Args:
            number: the phone
        """
        try:
            await self.hooks.reset(number)
        except HookError as error:
            raise BlockedError(str(error)) from None
        forget(self.settings, self.state.sends, number)

    async def look_for_texts_of_refused_sends(self) -> Finding | None:
        """Return the finding about a send that was refused, but brought a text; None if there is none."""
        sends = [trip for trip in self.state.trips if trip.request.operation == "send-code" and trip.response]
        # A send that was refused for its rate goes again.
        accepted = {trip.request.body for trip in sends if trip.response and trip.response.status < 400}
        for trip in sends:
            is_refused = trip.request.body not in accepted and trip.response and trip.response.status != 429
            if trip.response and (trip.texted or (is_refused and await self._brought_a_text(trip.request))):
                text = f"the inbox holds the text of a send that was refused with {said(trip.response)}"
                return found("text-without-permission", text)
        return None

    def masked(self, finding: Finding, where: str = "") -> Finding:
        """Return a finding without secrets: an operator's words may be part of it.

        Args:
            finding: the finding
            where: is put after its text
        """
        cause, secrets = finding.cause, {**self.state.tried, **self.state.secrets}
        if cause is not CAUSES[cause.name]:
            cause = attrs.evolve(
                cause,
                title=mask(cause.title, secrets),
                operator=mask(cause.operator, secrets),
                client=mask(cause.client, secrets),
            )
        return attrs.evolve(finding, cause=cause, text=mask(finding.text, secrets) + where)

    def shown(self, trip: RoundTrip, *, judged: bool) -> Shown:
        """Return a request with its response, without secrets.

        Args:
            trip: the request with its response
            judged: whether the verdict depends on it
        """
        private = frozenset(name.lower() for name in self.settings.headers)
        body = trip.request.json
        values = cast("dict[str, object]", body).values() if isinstance(body, dict) else ()
        own = {value for value in values if isinstance(value, str)}
        tried = {value: name for value, name in self.state.tried.items() if value in own}
        return shown(trip, "judged" if judged else "setup", {**tried, **self.state.secrets}, private)

    def rules(self, outcomes: Iterable[Outcome] = (), texted: Finding | None = None) -> list[Outcome]:
        """Hold all responses so far against the contract.

        Args:
            outcomes: the results of the scenarios
            texted: the finding about a refused send that brought a text
        """
        context = RuleContext(self.settings.release, self.settings.slow, self.state.codes, self.state.numbers)
        made = [self._rule(rule, context) for rule in RULES]
        if texted is not None:
            made = [_with(outcome, texted) if outcome.tag == "contract_text" else outcome for outcome in made]
        return [*made, self._path_rule(), self._evidence(outcomes)]

    def _rule(self, rule: ConformanceRule, context: RuleContext) -> Outcome:
        found_, count = over_all(rule, self.state.trips, context)
        if not count:
            return _ruled(rule, Verdict.SKIP, reason="there was no response that it is about")
        findings = tuple(self.masked(finding, f" ({len(where)} of {count} responses)") for finding, where in found_)
        examples = tuple(self.shown(where[0], judged=True) for _, where in found_[:_EXAMPLES])
        verdict = Verdict.FAIL if _is_failed(findings) else Verdict.PASS
        return _ruled(rule, verdict, findings=findings, exchanges=examples)

    def _path_rule(self) -> Outcome:
        if self.path_is_guess:
            return _ruled(PATH_RULE, Verdict.SKIP, reason=PATH_UNKNOWN)
        findings = path_findings(self.api_path, is_given=self.settings.api_path is not None)
        return _ruled(PATH_RULE, Verdict.FAIL if _is_failed(findings) else Verdict.PASS, findings=findings)

    def _evidence(self, outcomes: Iterable[Outcome]) -> Outcome:
        missing = [text for text in (evidence(self.state.trips),) if text]
        left_out = [
            outcome.tag
            for outcome in outcomes
            if outcome.verdict is Verdict.SKIP
            and any(fnmatch.fnmatchcase(outcome.tag, pattern) for pattern in self.settings.require)
        ]
        if left_out:
            missing.append(f"required scenarios were not run: {', '.join(left_out)}")
        reason = "; ".join(missing)
        return _ruled(EVIDENCE_RULE, Verdict.NOT_JUDGED if reason else Verdict.PASS, reason=reason)


def _with(outcome: Outcome, finding: Finding) -> Outcome:
    return attrs.evolve(outcome, verdict=Verdict.FAIL, reason="", findings=(finding, *outcome.findings))


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
    rule: ConformanceRule,
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
    token: GivenToken,
    texts: int,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    prompt: Prompt = prompt_at_terminal,
) -> AsyncGenerator[Check]:
    """Open what a check needs, and find out where the operations are.

    Args:
        settings: the settings of the check
        token: the access token, or a callable that returns one
        texts: how many texts were announced
        transport: replaces the network, towards the operator and the hooks
        prompt: asks a person

    Raises:
        UnreachableError: no server responds
    """

    async def fixed() -> str:
        return str(token)

    fetch = token if callable(token) else fixed
    async with (
        open_transport(settings, transport) as sender,
        httpx.AsyncClient(
            transport=transport,
            verify=trusted(settings) if transport is None else True,
            trust_env=not is_loopback_url(settings.base_url),
        ) as http,
    ):
        throttle = Throttle(sender, anyio.CapacityLimiter(settings.concurrency))
        check = Check(settings, "", throttle, Hooks(settings, http, prompt), fetch, TextBudget(texts))
        path = await Discovery(settings, throttle, check.token).find()
        check.api_path, check.path_is_guess = path.path, path.is_guess
        yield check


async def run(
    settings: Settings,
    plan: Plan,
    token: GivenToken,
    *,
    on_event: OnEvent = _ignore,
    transport: httpx.AsyncBaseTransport | None = None,
    prompt: Prompt = prompt_at_terminal,
) -> Report:
    """Run a check.

    Args:
        settings: the settings of the check
        plan: which scenarios, in which order
        token: the access token, or a callable that returns one; scenarios for which it raises are skipped
        on_event: is called with each scenario that begins and each outcome
        transport: replaces the network
        prompt: asks a person

    Returns:
        the report

    Raises:
        UnreachableError: no server responds
    """
    began, started_at = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    done: dict[str, Outcome] = {}
    async with opened(settings, token, plan.texts, transport=transport, prompt=prompt) as check:

        async def perform(steps: Iterable[Step]) -> None:
            for step in steps:
                on_event(step.scenario)
                outcome = done[step.scenario.tag] = await check.perform(step)
                on_event(outcome)

        for lanes in plan.phases:
            async with anyio.create_task_group() as tasks:
                for lane in lanes:
                    tasks.start_soon(partial(perform, lane))
        await perform(step for step in plan.steps if step.skip)
        outcomes = [done[step.scenario.tag] for step in plan.steps]
        texted = await check.look_for_texts_of_refused_sends()
        for outcome in check.rules(outcomes, texted):
            on_event(outcome)
            outcomes.append(outcome)
        trips = check.state.trips
        return Report(
            base_url=settings.root,
            api_path=check.api_path,
            release=settings.release,
            started_at=started_at,
            seconds=time.perf_counter() - began,
            texts=check.budget.used,
            outcomes=tuple(outcomes),
            deviations=deviations(outcomes),
            latencies=tuple(
                Latency(trip.request.operation, trip.response.status, trip.response.seconds)
                for trip in trips
                if trip.response is not None
            ),
            recommendations=recommendations(outcomes),
            client=client_line(settings, check.api_path, outcomes, trips),
        )
