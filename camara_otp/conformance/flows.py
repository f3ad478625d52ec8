"""The flows of the scenarios: how each sends its requests, and how request bodies are made invalid."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.judge import Expectation, against
from camara_otp.conformance.model import Finding, Grade, Operation, RoundTrip
from camara_otp.conformance.scenario_run import BlockedError, ScenarioRun, Sent
from camara_otp.conformance.settings import Settings

Flow = Callable[[ScenarioRun], Awaitable[None]]
Body = dict[str, Any]
Edit = Callable[[Body, Settings], Any]

SENT: Final = Expectation(200)
VALID: Final = Expectation(204)
INVALID_ARGUMENT: Final = Expectation(400, ("INVALID_ARGUMENT",))
UNAUTHENTICATED: Final = Expectation(401, ("UNAUTHENTICATED",))
NOT_FOUND: Final = Expectation(404, ("NOT_FOUND",))
INVALID_OTP: Final = Expectation(400, (contract.INVALID_OTP,))
EXPIRED: Final = Expectation(400, (contract.EXPIRED,))
FAILED: Final = Expectation(400, (contract.FAILED,))
NO_METHOD: Final = Expectation(405, ("METHOD_NOT_ALLOWED",))
CLOSED: Final = Expectation(400, (contract.FAILED, contract.EXPIRED))


# Longer than most operators' codes, so that it is wrong wherever the right one is not known.
WRONG: Final = "0" * contract.MAX_CODE


# How bodies go wrong.


def nothing(_: Body, __: Settings) -> Any:
    """Leave the body out."""
    return None


def empty(_: Body, __: Settings) -> Any:
    """Send an object without members."""
    return {}


def cut(body: Body, _: Settings) -> Any:
    """Send JSON that ends too early."""
    return json.dumps(body).encode()[:-1]


def without(name: str) -> Edit:
    """Leave a member out."""
    return lambda body, _: {key: value for key, value in body.items() if key != name}


def having(name: str, value: object) -> Edit:
    """Give a member another value."""
    return lambda body, _: {**body, name: value}


def turning(name: str, turn: Callable[[str], object]) -> Edit:
    """Give a member a value made from its old one."""
    return lambda body, _: {**body, name: turn(body[name])}


def message_of(length: Callable[[Settings], int]) -> Edit:
    """Send a message of so many characters."""
    text = f"{contract.LABEL} is your code "
    return lambda body, settings: {**body, "message": text.ljust(length(settings), ".")}


# How scenarios go.


def _body(run: ScenarioRun, operation: Operation) -> Body:
    if operation == "send-code":
        return {"phoneNumber": run.number, "message": run.message()}
    return {"authenticationId": run.never_issued(), "code": "1234"}


def single(operation: Operation, expect: Expectation, *edits: Edit, bad_token: str = "", **how: Any) -> Flow:
    """Send one request for each edit, or a well-formed one, and judge it.

    Args:
        operation: The operation.
        expect: What must come back.
        edits: What to make of a well-formed body; each is a request of its own.
        bad_token: `expired` or `invalid`, for that token instead of the good one.
        how: For `ScenarioRun.ask`.
    """

    async def flow(run: ScenarioRun) -> None:
        token = getattr(run.settings.tokens, bad_token) if bad_token else None
        for edit in edits or (lambda body, _: body,):
            body = edit(_body(run, operation), run.settings)
            run.expect(expect, await run.ask(operation, body, token=token, **how))

    return flow


def right_code(*, without: tuple[str, ...] = ()) -> Flow:
    """Validate the right code."""

    async def flow(run: ScenarioRun) -> None:
        sent = await run.sent()
        body = {"authenticationId": sent.authentication_id, "code": await run.code(sent)}
        run.expect(VALID, await run.ask("validate-code", body, without=without))

    return flow


async def one_send_too_many(run: ScenarioRun) -> None:
    """Text a phone until the next send has to be refused."""
    allowed = (run.settings.limits.max_send or 1) - 1
    too_many = Expectation(403, (contract.MAX_CODES,))
    while True:
        had = run.sends.get(run.number, 0)
        exchange = await run.ask("send-code", {"phoneNumber": run.number, "message": run.message()})
        if had >= allowed:
            run.expect(too_many, exchange)
            return
        if not against(too_many, exchange):
            text = f"send {had + 1} to a number was refused; {allowed} are allowed"
            advice = "Did this phone get texts before the check? If not, limits.max_send is another."
            run.judge(exchange, [Finding(Grade.DIFFERS, text, advice)])
            return
        if exchange.response is None or exchange.response.status >= 300:
            raise BlockedError("a send that should have been accepted was not")


async def wrong_code(run: ScenarioRun) -> None:
    """Validate a wrong code."""
    sent = await run.sent()
    run.expect(INVALID_OTP, await run.validate(sent.authentication_id, await _wrong(run, sent)))


async def _wrong(run: ScenarioRun, sent: Sent) -> str:
    """Return a code that is not the one sent, without asking a person for what a machine can do without."""
    read = run.settings.read
    return WRONG if read is None or read.how == "ask" else unlike(await run.code(sent))


def unlike(code: str) -> str:
    """Return a code of the same form that differs."""
    return code[:-1] + ("2" if code.endswith("1") else "1")


async def too_late(run: ScenarioRun) -> None:
    """Validate the right code when it has expired."""
    sent = await run.sent()
    code = await run.code(sent)
    await run.expired(sent)
    run.expect(EXPIRED, await run.validate(sent.authentication_id, code))


async def superseded(run: ScenarioRun) -> None:
    """Validate the right code of the first of two texts."""
    first = await run.sent()
    code = await run.code(first)
    await run.sent()
    run.expect(EXPIRED, await run.validate(first.authentication_id, code))


async def newest(run: ScenarioRun) -> None:
    """Validate the right code of the second of two texts."""
    first = await run.sent()
    second = await run.sent()
    if first.authentication_id == second.authentication_id:
        run.findings.append(Finding(Grade.BREAKS, "two sends answered the same authenticationId"))
    run.expect(VALID, await run.validate(second.authentication_id, await run.code(second)))


async def used_twice(run: ScenarioRun) -> None:
    """Validate the right code a second time."""
    sent = await run.sent()
    code = await run.code(sent)
    await _first_success(run, sent.authentication_id, code)
    run.expect(EXPIRED, await run.validate(sent.authentication_id, code))


async def _first_success(run: ScenarioRun, authentication_id: str, code: str) -> None:
    first = await run.validate(authentication_id, code)
    if first.response is None or first.response.status >= 300:
        raise BlockedError("the right code was refused at its first use")


async def _try(run: ScenarioRun, sent: Sent, wrong: str, times: int) -> None:
    for _ in range(times):
        tried = await run.validate(sent.authentication_id, wrong)
        if tried.response is None or tried.response.status < 300:
            raise BlockedError("a wrong code was not refused")


async def last_wrong_code(run: ScenarioRun) -> None:
    """Validate wrong codes until the one that closes the verification."""
    sent = await run.sent()
    wrong = await _wrong(run, sent)
    await _try(run, sent, wrong, (run.settings.limits.max_try or 1) - 1)
    run.expect(FAILED, await run.validate(sent.authentication_id, wrong))


def right_after_wrong(spare: int, expect: Expectation) -> Flow:
    """Validate the right code when so many wrong ones are left."""

    async def flow(run: ScenarioRun) -> None:
        sent = await run.sent()
        code = await run.code(sent)
        await _try(run, sent, unlike(code), (run.settings.limits.max_try or 1) - spare)
        run.expect(expect, await run.validate(sent.authentication_id, code))

    return flow


async def twice_at_once(run: ScenarioRun) -> None:
    """Validate the right code twice at the same moment."""
    _need_side_by_side(run)
    sent = await run.sent()
    code = await run.code(sent)
    done: list[RoundTrip] = []
    blocked: list[BlockedError] = []

    async def validate() -> None:
        try:
            done.append(await run.validate(sent.authentication_id, code))
        except BlockedError as error:
            blocked.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(validate)
        tasks.start_soon(validate)
    if blocked:
        raise blocked[0]
    # From the first answer 429 on, they are not.
    _need_side_by_side(run)
    done.sort(key=lambda exchange: exchange.response.status if exchange.response else 999)
    run.expect(VALID, done[0])
    run.expect(Expectation(400, (contract.EXPIRED,)), done[1])


def _need_side_by_side(run: ScenarioRun) -> None:
    if not run.side_by_side():
        raise BlockedError("only one request at a time: the operator limits the rate, or concurrency is 1")


async def long_correlator(run: ScenarioRun) -> None:
    """Send the longest correlator that the release allows."""
    value = {"1.0.0": "c0ffee-" * 5 + "1", "1.1.0": "aZ9-" * 13 + "end"}.get(
        run.settings.release, "aZ9-_:;./<>{}" * 19 + "endmark.."
    )
    exchange = await run.ask("validate-code", _body(run, "validate-code"), headers={"x-correlator": value})
    if exchange.response is None:
        run.expect(NOT_FOUND, exchange)
        return
    # Which refusal an unknown id meets is the business of another scenario.
    refused = exchange.response.status >= 500 or not against(INVALID_ARGUMENT, exchange)
    text = "a correct x-correlator of the greatest length was refused"
    run.judge(exchange, [Finding(Grade.DIFFERS, text, "Send shorter ones, such as UUIDs.")] if refused else [])


async def wrong_method(run: ScenarioRun) -> None:
    """GET what only takes POST."""
    exchange = await run.ask("send-code", None, method="GET", without=("content-type",))
    findings = against(NO_METHOD, exchange)
    refused = exchange.response is not None and 400 <= exchange.response.status < 500
    # Later releases do not list 405, and many gateways say 404: any refusal will do.
    run.judge(exchange, [attrs.evolve(found, grade=Grade.COSMETIC) if refused else found for found in findings])
