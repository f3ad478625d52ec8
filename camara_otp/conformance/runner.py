"""Run a check: perform its scenarios, apply the contract rules to all responses, and make the report."""

import fnmatch
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import anyio
import attrs
import httpx

from camara_otp.conformance import rules
from camara_otp.conformance.causes import CAUSES, deviations
from camara_otp.conformance.check import Check, TextSession
from camara_otp.conformance.discovery import find_api_path
from camara_otp.conformance.hooks import Hooks, Prompt, prompt_at_terminal
from camara_otp.conformance.masking import mask, number_names, shown
from camara_otp.conformance.model import (
    BlockedError,
    Finding,
    Grade,
    Latency,
    Outcome,
    Report,
    RoundTrip,
    Shown,
    Verdict,
)
from camara_otp.conformance.planning import Plan, Step, fills_phone, forget
from camara_otp.conformance.recommendations import client_line, recommendations
from camara_otp.conformance.rules import ConformanceRule
from camara_otp.conformance.scenario_run import ScenarioRun
from camara_otp.conformance.scenarios import Scenario
from camara_otp.conformance.settings import Settings, is_loopback_url
from camara_otp.conformance.text_budget import TextBudget
from camara_otp.conformance.throttle import Throttle
from camara_otp.conformance.transport import open_transport, trusted

GivenToken = str | Callable[[], Awaitable[str]]
OnEvent = Callable[[Scenario | Outcome], None]

_EXAMPLES: Final = 3


async def perform(check: Check, step: Step) -> Outcome:
    """Perform one scenario of a plan."""
    if step.skip:
        return _outcome(step.scenario, reason=step.skip)
    if step.number:
        check.secrets.update(number_names(step.number))
    session = check.sessions.setdefault(step.session, TextSession())
    scenario = step.scenario
    run_ = ScenarioRun(check, scenario.operation, scenario.expect, step.number, session, step.has_text)
    began, reason = time.perf_counter(), ""
    try:
        if step.reset:
            await check.hooks.reset(step.number)
            forget(check.settings, check.sends, step.number)
        _need_texts_left(check, step)
        await scenario.flow(run_)
    except BlockedError as error:
        reason = mask(str(error), check.secrets)
    except Exception as error:  # noqa: BLE001 - a hostile operator must not end the run of the other scenarios
        reason = f"the check itself failed ({type(error).__name__}); please report this"
    findings = tuple(sorted(run_.findings, key=lambda finding: -finding.grade))
    judged = [trip for trip in run_.trips if trip in run_.judged][:_EXAMPLES]
    before = [trip for trip in run_.trips if trip not in run_.judged][:1]
    examples = [trip for trip in run_.trips if trip in judged or trip in before] if findings else []
    return _outcome(
        scenario,
        reason=reason,
        findings=tuple(_masked(check, finding) for finding in findings),
        exchanges=tuple(_shown(check, trip, "judged" if trip in judged else "setup") for trip in examples),
        seconds=time.perf_counter() - began,
    )


def _need_texts_left(check: Check, step: Step) -> None:
    """Reject a scenario that would send too many SMS to its phone, even if the plan allows it."""
    max_send = check.settings.limits.max_send
    if max_send is None or fills_phone(step.scenario):
        return
    if step.texts and check.sends.get(step.number, 0) + step.texts >= max_send:
        raise BlockedError("its phone got more SMS than planned: a reset failed, or a wrong request was accepted")


def _masked(check: Check, finding: Finding, where: str = "") -> Finding:
    """Return a finding without secrets, which may be part of the operator's words; `where` follows its sentence."""
    cause, secrets = finding.cause, {**check.tried, **check.secrets}
    if cause is not CAUSES[cause.name]:
        title, operator, client = (mask(text, secrets) for text in (cause.title, cause.operator, cause.client))
        cause = attrs.evolve(cause, title=title, operator=operator, client=client)
    return attrs.evolve(finding, cause=cause, text=mask(finding.text, secrets) + where)


def _shown(check: Check, trip: RoundTrip, role: str) -> Shown:
    """Return a request with its response, without secrets."""
    own = [value for value in trip.request.members.values() if isinstance(value, str)]
    tried = {value: name for value, name in check.tried.items() if value in own}
    return shown(trip, role, {**tried, **check.secrets}, frozenset(name.lower() for name in check.settings.headers))


def rule_outcomes(check: Check, outcomes: Iterable[Outcome] = ()) -> list[Outcome]:
    """Apply the contract rules to all responses so far; `outcomes` are the results of the scenarios."""
    settings = check.settings
    context = rules.RuleContext(settings.release, settings.slow, check.deliveries)
    outcome_of_path = _outcome(rules.PATH_RULE, reason=rules.PATH_UNKNOWN)
    if not check.path_is_guess:
        findings = rules.path_findings(check.api_path, is_given=settings.api_path is not None)
        outcome_of_path = _outcome(rules.PATH_RULE, findings=findings)
    made = [_rule_outcome(check, rule, context) for rule in rules.RULES]
    return [*made, outcome_of_path, _evidence(check, outcomes)]


def _rule_outcome(check: Check, rule: ConformanceRule, context: rules.RuleContext) -> Outcome:
    found, count = rules.over_all(rule, check.trips, context)
    return _outcome(
        rule,
        reason="" if count else "there was no response that it is about",
        findings=tuple(_masked(check, finding, f" ({len(where)} of {count} responses)") for finding, where in found),
        exchanges=tuple(_shown(check, where[0], "judged") for _, where in found[:_EXAMPLES]),
    )


def _evidence(check: Check, outcomes: Iterable[Outcome]) -> Outcome:
    skipped = [outcome.tag for outcome in outcomes if outcome.verdict is Verdict.SKIP]
    left_out = [tag for tag in skipped if any(fnmatch.fnmatchcase(tag, pattern) for pattern in check.settings.require)]
    unmet = f"required scenarios were not run: {', '.join(left_out)}" if left_out else ""
    reason = "; ".join(filter(None, (rules.missing_evidence(check.trips), unmet)))
    outcome = _outcome(rules.EVIDENCE_RULE, reason=reason)
    return attrs.evolve(outcome, verdict=Verdict.NOT_JUDGED) if reason else outcome


def _outcome(
    of: Scenario | ConformanceRule, *, reason: str = "", findings: tuple[Finding, ...] = (), **more: Any
) -> Outcome:
    """Return the outcome of a scenario or rule: failed if there is a deviation, skipped if there is a reason."""
    is_failed = any(finding.grade >= Grade.DIFFERS for finding in findings)
    about: dict[str, Any] = {"operation": None, "origin": "contract", "sent": "every request of this check"}
    if isinstance(of, Scenario):
        about = {"operation": of.operation, "origin": of.origin, "sent": of.sent}
    return Outcome(
        tag=of.tag,
        rule=str(of.expect) if isinstance(of, Scenario) else of.rule,
        source=of.source,
        verdict=Verdict.FAIL if is_failed else Verdict.SKIP if reason else Verdict.PASS,
        reason="" if is_failed else reason,
        findings=findings,
        **about,
        **more,
    )


@asynccontextmanager
async def open_check(
    settings: Settings,
    token: GivenToken,
    texts: int,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    prompt: Prompt = prompt_at_terminal,
) -> AsyncGenerator[Check]:
    """Open the connections of a check that announced so many SMS, and find the path of the operations.

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
        # Where no SMS was announced, one may be sent: its cause must be seen.
        budget = TextBudget(max(1, texts))
        check = Check(settings, throttle, Hooks(settings, http, prompt), fetch, budget)
        await find_api_path(check)
        yield check


async def run(
    settings: Settings,
    plan: Plan,
    token: GivenToken,
    *,
    on_event: OnEvent = lambda _: None,
    transport: httpx.AsyncBaseTransport | None = None,
    prompt: Prompt = prompt_at_terminal,
) -> Report:
    """Run a check.

    Args:
        settings: the settings of the check
        plan: the scenarios, in their order
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
    async with open_check(settings, token, plan.texts, transport=transport, prompt=prompt) as check:

        async def perform_all(steps: Iterable[Step]) -> None:
            for step in steps:
                on_event(step.scenario)
                outcome = done[step.scenario.tag] = await perform(check, step)
                on_event(outcome)

        for lanes in plan.phases:
            async with anyio.create_task_group() as tasks:
                for lane in lanes:
                    tasks.start_soon(partial(perform_all, lane))
        await perform_all(step for step in plan.steps if step.skip)
        await check.look_for_late_texts()
        outcomes = [done[step.scenario.tag] for step in plan.steps]
        for outcome in rule_outcomes(check, outcomes):
            on_event(outcome)
            outcomes.append(outcome)
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
            for trip in check.trips
            if trip.response is not None
        ),
        recommendations=recommendations(outcomes),
        client=client_line(settings, check.api_path, outcomes, check.trips),
    )
