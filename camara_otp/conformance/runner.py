"""The thin shell around a check: requests out, answers in, scenarios side by side where they may."""

import math
import socket
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import anyio
import attrs
import httpx

from camara_otp._version import __version__
from camara_otp.conformance import contract
from camara_otp.conformance.advice import advice, client_line
from camara_otp.conformance.judge import (
    LATE,
    PATH_RULE,
    PATH_UNKNOWN,
    RULES,
    Rule,
    Yardstick,
    error_info,
    over_all,
    path_findings,
)
from camara_otp.conformance.masking import mask, number_names, parts_of, shown
from camara_otp.conformance.model import (
    Answer,
    Exchange,
    Finding,
    Grade,
    Latency,
    Outcome,
    Report,
    Request,
    Shown,
    Verdict,
)
from camara_otp.conformance.outside import HelpError, Outside, Prompt, is_far, prompt_at_terminal
from camara_otp.conformance.plan import Plan, Step, forget
from camara_otp.conformance.play import BlockedError, Play
from camara_otp.conformance.scenarios import Scenario, one_send_too_many
from camara_otp.conformance.settings import Settings

Token = str | Callable[[], Awaitable[str]]
OnEvent = Callable[["Scenario | Outcome"], None]

MAX_BODY: Final = 65536
_PATIENCE: Final = 3
_EXAMPLES: Final = 3
_LONGEST_PAUSE: Final = 30.0


# The first that fits is said.
_FAILURES: Final[dict[type[Exception], str]] = {
    httpx.ConnectError: "no connection could be made",
    httpx.ConnectTimeout: "no connection could be made in time",
    httpx.ProxyError: "the proxy refused",
    httpx.RemoteProtocolError: "the connection was closed early, or what came was no HTTP",
    httpx.NetworkError: "the connection broke",
}


class UnreachableError(Exception):
    """Nobody answers at the base URL, so that there is nothing to check; the text says what was tried."""


def _ignore(_: "Scenario | Outcome") -> None:
    pass


@attrs.define(eq=False)
class Check:
    """A check in progress: the state that its scenarios share.

    Args:
        settings: What is known about the operator.
        api_path: The path between root and operation.
        http: Speaks to the operator.
        outside: Speaks to the helpers.
        fetch: Gives the access token.
        limiter: Bounds how many requests are on their way.
        sends: How many texts each phone received.
        secrets: What must not be shown, with what is shown instead.
        exchanges: All there were, in order.
        guessed: Whether nothing told the path of the operations from any other.
        rest: Held by a request that waits to go again, since it was turned away for its rate.
        rested_at: When the last such wait ended.
        risk: Held by a request that has to be refused and could bring a text, where texts are limited.
        may_text: Whether one did, or may have.
        turned_away: How many requests were in a row, however patiently they were sent.
    """

    settings: Settings
    api_path: str
    http: httpx.AsyncClient = attrs.field(repr=False)
    outside: Outside = attrs.field(repr=False)
    fetch: Callable[[], Awaitable[str]] = attrs.field(repr=False)
    limiter: anyio.CapacityLimiter = attrs.field(repr=False)
    sends: dict[str, int] = attrs.field(factory=dict[str, int], repr=False)
    secrets: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    exchanges: list[Exchange] = attrs.field(factory=list[Exchange], repr=False)
    guessed: bool = False
    rest: anyio.Lock = attrs.field(factory=anyio.Lock, repr=False)
    rested_at: float = -math.inf
    risk: anyio.Lock = attrs.field(factory=anyio.Lock, repr=False)
    may_text: bool = False
    turned_away: int = 0

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

    async def post(self, request: Request) -> Exchange:
        """Send a request, and take note of every answer to it.

        Args:
            request: The request.
        """
        tries = await self.patiently(request)
        self.exchanges.extend(tries)
        return tries[-1]

    async def post_for(self, step: Step, request: Request) -> Exchange:
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
            self.may_text = exchange.answer is None or exchange.answer.status < 400
            return exchange

    async def patiently(self, request: Request) -> list[Exchange]:
        """Send a request, again after a pause if it was turned away for its rate, and return all that became of it.

        Args:
            request: The request.
        """
        async with self.limiter:
            tries = [await self.exchange(request)]
            came = time.perf_counter()
            if _pause(tries[0]) is not None:
                # Side by side, requests take the room from each other: from now on, one at a time.
                self.limiter.total_tokens = 1
                async with self.rest:
                    # One may be refused for what it asks for; two in a row, and patience helps none.
                    patience = 1 if self.turned_away > 1 else _PATIENCE
                    while (pause := _pause(tries[-1])) is not None and len(tries) < patience:
                        # Those that were turned away together need one pause together.
                        if came > self.rested_at:
                            await anyio.sleep(pause)
                            self.rested_at = time.perf_counter()
                        tries.append(await self.exchange(request))
                        came = time.perf_counter()
            self.turned_away = 0 if _pause(tries[-1]) is None else self.turned_away + 1
            return tries

    async def exchange(self, request: Request) -> Exchange:
        """Send a request once and return what became of it.

        Args:
            request: The request.
        """
        settings = self.settings
        built = self.http.build_request(
            request.method,
            request.url,
            params=dict(settings.params) or None,
            headers=list(request.headers),
            content=request.body or None,
            timeout=settings.timeout,
        )
        try:
            with anyio.fail_after(settings.timeout):
                answer = await self._answer(built, time.perf_counter())
        except TimeoutError:
            return Exchange(request, failure=f"{LATE} {settings.timeout:g} s")
        except httpx.DecodingError:
            return Exchange(request, failure="a content coding that is broken or was not asked for")
        except httpx.HTTPError as error:
            words = next((words for kind, words in _FAILURES.items() if isinstance(error, kind)), "the request failed")
            return Exchange(request, failure=f"{type(error).__name__}, {words}")
        return Exchange(request, answer)

    async def _answer(self, request: httpx.Request, began: float) -> Answer:
        body = bytearray()
        response = await self.http.send(request, stream=True)
        try:
            if _is_packed_twice(response.headers.get("content-encoding", "")):
                raise httpx.DecodingError("packed twice", request=request)
            if response.status_code == 204 and "network_stream" in response.extensions:
                _shut_down(response.extensions["network_stream"])
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY:
                    break
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
        return Answer(response.status_code, headers, bytes(body[:MAX_BODY]), time.perf_counter() - began)

    async def play(self, step: Step) -> Outcome:
        """Perform one scenario.

        Args:
            step: The scenario with its part in the plan.
        """
        if step.skip:
            return _outcome(step.scenario, Verdict.SKIP, reason=step.skip)
        play = Play(
            self.settings,
            f"{self.settings.root}{self.api_path}",
            step.number,
            partial(self.post_for, step),
            self.token,
            self.outside,
            self.sends,
            self.secrets,
            lambda: self.limiter.total_tokens > 1,
        )
        began, reason = time.perf_counter(), ""
        try:
            if step.reset:
                await self.reset(step.number)
            self.check_room(step)
            await step.scenario.flow(play)
        except BlockedError as error:
            reason = mask(str(error), self.secrets)
        self._learn(play)
        findings = tuple(sorted(play.findings, key=lambda finding: -finding.grade))
        verdict = Verdict.FAIL if _is_failed(findings) else Verdict.SKIP if reason else Verdict.PASS
        return _outcome(
            step.scenario,
            verdict,
            reason=reason if verdict is Verdict.SKIP else "",
            findings=tuple(self.masked(found) for found in findings),
            exchanges=tuple(
                self.shown(exchange, judged=index in play.judged) for index, exchange in enumerate(play.exchanges)
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
            await self.outside.reset(number)
        except HelpError as error:
            raise BlockedError(str(error)) from None
        forget(self.settings, self.sends, number)

    def _learn(self, play: Play) -> None:
        """Keep the codes that became known after their exchanges were recorded."""
        # By the answer: a request that was turned away first has more than one exchange.
        known = {id(exchange.answer): exchange for exchange in play.exchanges if exchange.code}
        self.exchanges = [known.get(id(exchange.answer), exchange) for exchange in self.exchanges]

    def masked(self, finding: Finding, where: str = "") -> Finding:
        """Return a finding without secrets: both its texts may repeat what an operator said.

        Args:
            finding: The finding.
            where: Is put after its text.
        """
        text, advised = (mask(said, self.secrets) for said in (finding.text, finding.advice))
        return attrs.evolve(finding, text=text + where, advice=advised)

    def shown(self, exchange: Exchange, *, judged: bool) -> Shown:
        """Return an exchange without secrets.

        Args:
            exchange: The exchange.
            judged: Whether the verdict hangs on it.
        """
        private = frozenset(name.lower() for name in self.settings.headers)
        return shown(exchange, "judged" if judged else "setup", self.secrets, private)

    def rules(self) -> list[Outcome]:
        """Hold all answers so far against the contract."""
        by = Yardstick(self.settings.release, self.settings.slow, self.settings.timeout)
        return [*(self._rule(rule, by) for rule in RULES), self._path_rule()]

    def _rule(self, rule: Rule, by: Yardstick) -> Outcome:
        found, count = over_all(rule, self.exchanges, by)
        if not count:
            return _ruled(rule, Verdict.SKIP, reason="there was no answer that it is about")
        findings = tuple(self.masked(finding, f" ({len(where)} of {count} answers)") for finding, where in found)
        examples = tuple(self.shown(where[0], judged=True) for _, where in found[:_EXAMPLES])
        verdict = Verdict.FAIL if _is_failed(findings) else Verdict.PASS
        return _ruled(rule, verdict, findings=findings, exchanges=examples)

    def _path_rule(self) -> Outcome:
        if self.guessed:
            return _ruled(PATH_RULE, Verdict.SKIP, reason=PATH_UNKNOWN)
        findings = path_findings(self.api_path)
        return _ruled(PATH_RULE, Verdict.FAIL if findings else Verdict.PASS, findings=findings)


def _shut_down(stream: Any) -> None:
    """Have the pool throw a connection away after a 204: what follows would be taken for the next answer.

    It would be held against another scenario. What is shut down the pool throws away; what is closed, it cannot look at
    on every event loop. A socket of one's own, since the one of uvloop cannot be shut down.
    """
    link = stream.get_extra_info("socket")
    if link is not None:
        with suppress(OSError), socket.socket(fileno=socket.dup(link.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)


def _is_packed_twice(coding: str) -> bool:
    """Tell whether a body of few bytes could fill the memory: packed more than once, or by what knows no bounds."""
    return coding.strip().lower() not in ("", "identity", "gzip", "x-gzip", "deflate")


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


def _pause(exchange: Exchange) -> float | None:
    """Return how long to wait before a request goes again that was turned away for its rate, or None."""
    answer = exchange.answer
    if answer is None or answer.status != 429:
        return None
    info = error_info(answer)
    if info is not None and info.code == "QUOTA_EXCEEDED":
        return None
    try:
        wanted = float(answer.header("retry-after") or "1")
    except ValueError:
        wanted = 1.0
    return min(wanted, _LONGEST_PAUSE) if math.isfinite(wanted) and wanted >= 0 else 1.0


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

    limits = httpx.Limits(max_connections=2 * settings.concurrency, max_keepalive_connections=settings.concurrency)
    # Compressed bodies are bombs at worst, and the client that this check stands for asks for none.
    common = {"user-agent": f"camara-otp-check/{__version__}", "accept-encoding": "identity"}
    # A cookie of one answer could let in the next request, which has to be refused.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    async with (
        httpx.AsyncClient(
            transport=transport,
            limits=limits,
            headers=common,
            cookies=no_cookies,
            trust_env=is_far(settings.base_url),
        ) as http,
        httpx.AsyncClient(transport=transport, follow_redirects=True, trust_env=is_far(settings.base_url)) as helper,
    ):
        check = Check(
            settings,
            settings.api_path or "",
            http,
            Outside(settings, helper, prompt),
            token if callable(token) else fixed,
            anyio.CapacityLimiter(settings.concurrency),
        )
        await _find(check)
        yield check


async def _find(check: Check) -> None:
    """Find the path of the operations with requests that have to be refused: no token or no members."""
    given = check.settings.api_path
    if given is not None:
        check.api_path = given.rstrip("/")
        await _refused_at(check, check.api_path)
        return
    statuses: dict[str, int] = {}
    nowhere: int | None = None
    for path in contract.API_PATHS:
        try:
            status = statuses[path] = await _refused_at(check, path)
            if status in _REFUSED:
                # A gateway may refuse whatever comes without a token, also where there is nothing.
                nowhere = nowhere or await _refused_at(check, f"/{uuid.uuid4().hex}")
        except UnreachableError:
            if not statuses:
                raise
            break
        if status in _REFUSED and status != nowhere:
            check.api_path = path
            return
    check.api_path = min(statuses, key=lambda path: _strangeness(statuses[path]))
    # A gateway may also say 404, or anything, of whatever comes without a token.
    if nowhere is not None or len(statuses) > len(set(statuses.values())) == 1:
        refused = [path for path, status in statuses.items() if status in _REFUSED]
        await _find_with_token(check, refused or [path for path, status in statuses.items() if status != 429])


async def _find_with_token(check: Check, paths: Iterable[str]) -> None:
    check.guessed = True
    for path in paths:
        with suppress(BlockedError, UnreachableError):
            if await _refused_at(check, path, await check.token()) in _BAD_REQUEST:
                check.api_path, check.guessed = path, False
                return


async def _refused_at(check: Check, path: str, token: str | None = None) -> int:
    """Return the status of the answer to a request that no operation accepts."""
    url = f"{check.settings.root}{path}/validate-code"
    headers, body = {}, b""
    if token is not None:
        headers = {name.lower(): value for name, value in check.settings.headers.items()}
        headers |= {"authorization": f"Bearer {token}", "content-type": "application/json"}
        body = b"{}"
    exchange = (await check.patiently(Request("validate-code", "POST", url, tuple(headers.items()), body)))[-1]
    if exchange.answer is None:
        raise UnreachableError(f"nobody answers at {check.settings.root}: {exchange.failure}")
    return exchange.answer.status


_BAD_REQUEST: Final = frozenset({400, 422})
_REFUSED: Final = _BAD_REQUEST | {401, 403}


def _strangeness(status: int) -> int:
    """Return how little a status looks like one of an operation: 0 if it does."""
    if status in _REFUSED:
        return 0
    return 2 if status in (404, 405) else 1


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
                outcome = done[step.scenario.tag] = await check.play(step)
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
            texts=_texts(check.exchanges),
            outcomes=tuple(outcomes),
            latencies=tuple(
                Latency(exchange.request.operation, exchange.answer.status, exchange.answer.seconds)
                for exchange in check.exchanges
                if exchange.answer is not None
            ),
            advice=advice(outcomes),
            client=client_line(settings, check.api_path, outcomes, check.exchanges),
        )


def _texts(exchanges: Iterable[Exchange]) -> int:
    return sum(
        exchange.request.operation == "send-code" and exchange.answer is not None and exchange.answer.status < 300
        for exchange in exchanges
    )
