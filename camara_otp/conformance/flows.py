"""The flows of the scenarios: how each sends its requests, and how requests are made invalid."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.causes import found
from camara_otp.conformance.guesses import JSONObject, unlike, wrong_codes
from camara_otp.conformance.judge import (
    Expectation,
    against,
    authentication_id,
    code_of,
    error_form,
    lenient,
    no_response,
    said,
)
from camara_otp.conformance.model import Finding, Grade, Operation, RoundTrip
from camara_otp.conformance.scenario_run import INVALID_OTP, VALID, BlockedError, ScenarioRun
from camara_otp.conformance.settings import NEVER_ISSUED, Settings

Flow = Callable[[ScenarioRun], Awaitable[None]]
Edit = Callable[[JSONObject, Settings], Any]

SENT: Final = Expectation(200)
INVALID_ARGUMENT: Final = Expectation(400, ("INVALID_ARGUMENT",))
NOT_FOUND: Final = Expectation(404, ("NOT_FOUND",), accepted="wrong-code-accepted", what="an unknown id")
EXPIRED: Final = Expectation(400, (contract.EXPIRED,))
FAILED: Final = Expectation(400, (contract.FAILED,), accepted="wrong-code-accepted", what="a wrong code")
CLOSED: Final = Expectation(400, (contract.FAILED, contract.EXPIRED), accepted="closed-id-accepted")
NO_METHOD: Final = Expectation(405, ("METHOD_NOT_ALLOWED",), also=((404, "NOT_FOUND"),), accepted="method")
# Longer than most codes, so that it is wrong where the right one is not known.
WRONG: Final = "0" * contract.MAX_CODE
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{2,}")
MAX_GUESSES: Final = 25
"""How many wrong codes are tried on one id where the settings do not tell the limit."""


# How bodies are made invalid.


def nothing(_: JSONObject, __: Settings) -> Any:
    """Leave the body out."""
    return None


def cut(body: JSONObject, _: Settings) -> Any:
    """Send JSON that ends too early."""
    return json.dumps(body).encode()[:-1]


def then(tail: bytes) -> Edit:
    """Send other bytes instead of the last bracket."""
    return lambda body, _: json.dumps(body).encode()[:-1] + tail


def of(value: object) -> Edit:
    """Send another JSON value, or other bytes, instead of the body."""
    return lambda _, __: value if isinstance(value, bytes) else json.dumps(value).encode()


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


def _body(run: ScenarioRun, operation: Operation) -> JSONObject:
    if operation == "send-code":
        return {"phoneNumber": run.number, "message": run.message()}
    return {"authenticationId": run.never_issued(), "code": "1234"}


def single(operation: Operation, expect: Expectation, *edits: Edit, client: str = "", **how: Any) -> Flow:
    """Send one request for each edit, or a well-formed one, and judge each.

    Args:
        operation: the operation
        expect: what must come back
        edits: how to make a well-formed body invalid; each is a request of its own
        client: the setting of the access token; empty: the good one
        how: for `ScenarioRun.ask`
    """

    async def flow(run: ScenarioRun) -> None:
        for edit in edits or (lambda body, _: body,):
            token = getattr(run.settings.tokens, client) if client else None
            trip = await run.ask(operation, edit(_body(run, operation), run.settings), token=token, **how)
            _judge_edit(run, expect, trip)

    return flow


def _judge_edit(run: ScenarioRun, expect: Expectation, trip: RoundTrip) -> None:
    response = trip.response
    if response is not None and run.number == contract.FICTIONAL_NUMBER and expect.status in (400, 401):
        # An operator may look at the number first; the number used without a phone has no owner.
        code = code_of(response) or ""
        if "PHONE_NUMBER" in code or code in ("NOT_FOUND", "IDENTIFIER_NOT_FOUND"):
            raise BlockedError("the operator looks at the number first, and no phone is known: set numbers.reachable")
    run.expect(expect, trip)


_BAD_TOKENS: Final = {
    "": ("token-not-required", "requests without a token"),
    "expired": ("expired-token-accepted", "an expired token"),
    "invalid": ("token-not-checked", "an invalid token"),
}


def unauthorized(kind: str) -> Expectation:
    """Return what a request with a bad token must be answered with.

    Args:
        kind: which token; empty: none
    """
    cause, what = _BAD_TOKENS[kind]
    return Expectation(401, ("UNAUTHENTICATED",), accepted=cause, what=what)


async def _bad_token(run: ScenarioRun, kind: str) -> dict[str, Any]:
    if not kind:
        return {"without": ("authorization",)}
    return {"token": getattr(run.settings.tokens, kind)}


async def _altered(run: ScenarioRun, kind: str) -> str | None:
    """Return the access token with another signature, if it is a JWT: it shows whether signatures are checked.

    A test environment that names its own invalid token may take every other one.
    """
    token = await run.token()
    if kind != "invalid" or run.settings.tokens.invalid != NEVER_ISSUED or not _JWT.fullmatch(token):
        return None
    head, claims, signature = token.split(".")
    middle = len(signature) // 2
    other = "A" if signature[middle : middle + 1] != "A" else "B"
    return f"{head}.{claims}.{signature[:middle]}{other}{signature[middle + 1 :]}"


def unauthorized_send(kind: str) -> Flow:
    """Send with a bad token.

    Args:
        kind: which token; empty: none
    """

    async def flow(run: ScenarioRun) -> None:
        body = _body(run, "send-code")
        trip = await run.ask("send-code", body, **await _bad_token(run, kind))
        _judge_edit(run, unauthorized(kind), trip)
        altered = await _altered(run, kind)
        if altered is not None:
            _judge_edit(run, unauthorized(kind), await run.ask("send-code", body, token=altered))

    return flow


def unauthorized_validate(kind: str) -> Flow:
    """Validate the right code of a live id with a bad token, or of an id that was never issued if there is no live one.

    Args:
        kind: which token; empty: none
    """

    async def flow(run: ScenarioRun) -> None:
        how = await _bad_token(run, kind)
        body = _body(run, "validate-code")
        if _can_read(run):
            session = await run.live()
            body = {"authenticationId": session.authentication_id, "code": await run.code()}
        trip = await run.ask("validate-code", body, **how)
        is_accepted = trip.response is not None and trip.response.status < 300
        if _can_read(run) and is_accepted:
            run.session.state = "used"
        run.expect(unauthorized(kind), trip)
        altered = await _altered(run, kind)
        if altered is not None and not is_accepted:
            trip = await run.ask("validate-code", body, token=altered)
            if trip.response is not None and trip.response.status < 300:
                run.session.state = "used"
            run.expect(unauthorized(kind), trip)

    return flow


def _can_read(run: ScenarioRun) -> bool:
    return run.has_text and run.settings.read is not None


async def another_client(run: ScenarioRun) -> None:
    """Validate the right code with the token of another client."""
    session = await run.live()
    body = {"authenticationId": session.authentication_id, "code": await run.code()}
    trip = await run.ask("validate-code", body, token=run.settings.tokens.other)
    if trip.response is not None and trip.response.status < 300:
        session.state = "used"
    expect = Expectation(
        404,
        ("NOT_FOUND",),
        also=((403, "PERMISSION_DENIED"), (403, "INVALID_TOKEN_CONTEXT"), (400, contract.EXPIRED)),
        accepted="id-of-another-client",
        what="the id of another client",
    )
    run.expect(expect, trip)


async def text_once(run: ScenarioRun) -> None:
    """Send a well-formed request."""
    run.expect(SENT, await run.start())


async def send_without_correlator(run: ScenarioRun) -> None:
    """Send a well-formed request without x-correlator, to a phone whose last id was closed if there is one."""
    trip = await run.start(without=("x-correlator",))
    response = trip.response
    was_closed = run.session.closed or run.session.state == "closed"
    was_closed = was_closed and run.state.numbers.get(run.session.authentication_id) == run.number
    is_about_phone = response is not None and (code_of(response) or "").startswith(contract.SPECIFIC)
    if was_closed and response is not None and is_about_phone and not run.limit(trip):
        text = f"a send after too many wrong codes was refused with {said(response)}"
        run.judge(trip, [found("phone-locked", text)])
        return
    run.expect(attrs.evolve(SENT, what="requests without x-correlator"), trip)


async def right_code(run: ScenarioRun) -> None:
    """Validate the right code."""
    await run.live()
    await run.code()
    await run.spend_tries()
    if run.session.state != "live" and run.session.wrong:
        await _blocked_if_closed(run)
    run.expect_right(await run.try_right(), context=_after_wrong(run))


async def _blocked_if_closed(run: ScenarioRun) -> None:
    """Start again with a new text if wrong codes closed the id earlier than expected."""
    await run.live()
    await run.code()


def _after_wrong(run: ScenarioRun) -> str:
    return f" after {run.session.wrong} wrong codes" if run.session.wrong else ""


async def right_code_without_correlator(run: ScenarioRun) -> None:
    """Validate the right code without x-correlator."""
    session = await run.live()
    await run.code()
    if session.closed and (run.max_try or 1) > 1:
        await run.spend_tries(keep=(run.max_try or 2) - 2)
        if session.state == "closed":
            text = "after too many wrong codes, the first wrong code closes the next id of the phone as well"
            run.findings.append(found("phone-locked", text))
            return
    elif not session.closed:
        await run.spend_tries()
    if session.state != "live":
        await _blocked_if_closed(run)
    cause = "phone-locked" if session.closed else "right-code-refused"
    if run.expect_right(await run.try_right(without=("x-correlator",)), cause):
        session.closed = False


async def wrong_code(run: ScenarioRun) -> None:
    """Validate a wrong code."""
    session = await run.live()
    trip = await run.try_wrong(await _wrong(run), guess="the last character changed")
    response = trip.response
    if response is not None and code_of(response) == contract.FAILED and run.settings.limits.max_try is None:
        raise BlockedError("the first wrong code closes a verification here")
    if session.state == "closed" and session.wrong < (run.settings.limits.max_try or 0):
        text = f"wrong code {session.wrong} was answered with {said(response) if response else ''}"
        run.judge(trip, [found("tries-miscounted", text)])
        return
    run.state.accepts_wrong = response is not None and response.status < 300
    run.expect(INVALID_OTP, trip)


async def _wrong(run: ScenarioRun) -> str:
    """Return a wrong code for the live id, without asking a person for the right one."""
    read = run.settings.read
    is_asked = read is None or read.how == "ask"
    return WRONG if is_asked and run.session.code is None else unlike(await run.code())


async def used_twice(run: ScenarioRun) -> None:
    """Validate the right code a second time."""
    session = run.session
    if session.trip is None or session.state != "used" or session.code is None:
        await run.live()
        await _need_accepted(run)
    trip = await run.validate(session.authentication_id, session.code)
    run.expect(attrs.evolve(EXPIRED, accepted="used-code-accepted"), trip)


async def _need_accepted(run: ScenarioRun) -> None:
    first = await run.try_right()
    if first.response is None or first.response.status >= 300:
        raise BlockedError("the right code was refused at its first use")


async def last_wrong_code(run: ScenarioRun) -> None:
    """Validate different wrong codes until one closes the id."""
    session = await run.live()
    told = run.settings.limits.max_try
    trip = session.trip
    assert trip is not None  # noqa: S101  (the text is live)
    for wrong in await _wrong_codes(run, told or MAX_GUESSES):
        trip = await run.try_wrong(wrong, guess="another wrong code of the same form")
        response = trip.response
        if response is not None and response.status < 300:
            run.judge(trip, [found("wrong-code-accepted", f"wrong code {session.wrong} was accepted")])
            return
        is_last = session.wrong == told
        if session.state == "closed" and not is_last and told is not None:
            text = f"wrong code {session.wrong} of {told} was answered with {said(response) if response else ''}"
            run.judge(trip, [found("tries-miscounted", text)])
            return
        if is_last and response is not None and code_of(response) == contract.INVALID_OTP:
            await _too_many_tries(run, trip)
            return
        if session.state == "closed" or is_last:
            run.expect(FAILED, trip)
            return
        run.expect(INVALID_OTP, trip)
        if run.findings:
            return
    run.state.is_unlimited = True
    run.judge(trip, [found("tries-not-limited", f"{session.wrong} wrong codes did not close an id")])


async def _wrong_codes(run: ScenarioRun, count: int) -> list[str]:
    """Return different wrong codes, without asking a person for the right one."""
    read, used = run.settings.read, len(run.session.tried)
    if run.session.code is None and (read is None or read.how == "ask"):
        return [WRONG[: -len(tail)] + tail for tail in map(str, range(10 + used, 10 + used + count))]
    return run.wrong_codes(await run.code(), count)


async def _too_many_tries(run: ScenarioRun, trip: RoundTrip) -> None:
    """Tell a limit that is one off from none at all, after the code that should have closed an id did not."""
    session, told = run.session, run.settings.limits.max_try or 1
    for wrong in await _wrong_codes(run, 8):
        tried = await run.try_wrong(wrong, guess="another wrong code of the same form")
        if session.state == "closed":
            text = f"wrong code {session.wrong} closes an id; {told} was told"
            run.judge(tried, [found("tries-miscounted", text)])
            return
    run.state.is_unlimited = True
    run.judge(trip, [found("tries-not-limited", f"{session.wrong} different wrong codes did not close an id")])


async def right_after_closing(run: ScenarioRun) -> None:
    """Validate the right code when wrong ones were too many."""
    session = await _closed(run)
    code = await run.code()
    trip = await run.validate(session.authentication_id, code)
    accepted = "closed-id-accepted" if session.state == "closed" else "tries-not-limited"
    run.expect(attrs.evolve(CLOSED, accepted=accepted), trip)


async def _closed(run: ScenarioRun) -> Any:
    session = run.session
    if session.trip is not None and session.state == "closed":
        if session.trip not in run.trips:
            run.trips.append(session.trip)
        return session
    await run.live()
    told = run.max_try
    for wrong in run.wrong_codes(await run.code(), told or MAX_GUESSES):
        trip = await run.try_wrong(wrong)
        if trip.response is None or trip.response.status < 300:
            raise BlockedError("a wrong code was not refused")
        if session.state == "closed":
            return session
    if told is None:
        raise BlockedError(f"{session.wrong} wrong codes did not close an id")
    return session


async def right_at_last_try(run: ScenarioRun) -> None:
    """Validate the right code when one try is left."""
    session = await run.live()
    code = await run.code()
    await run.spend_tries()
    left = (run.max_try or 1) - 1 - session.wrong
    for wrong in run.wrong_codes(code, max(0, left)) if session.state == "live" else ():
        await run.try_wrong(wrong)
    if session.state == "used":
        raise BlockedError("a wrong code was not refused")
    run.expect_right(await run.try_right(), "tries-miscounted", _after_wrong(run))


async def too_late(run: ScenarioRun) -> None:
    """Validate the right code when it has expired."""
    session = await run.live()
    code = await run.code()
    await run.spend_tries()
    if session.state != "live":
        await _blocked_if_closed(run)
        code = await run.code()
    await run.expired()
    trip = await run.validate(session.authentication_id, code)
    run.expect(attrs.evolve(EXPIRED, accepted="expired-code-accepted"), trip)


async def superseded(run: ScenarioRun) -> None:
    """Validate the right code of the first of two texts."""
    first = await run.live()
    code = await run.code()
    old_id = first.authentication_id
    run.need_sent(await run.start())
    if run.session.authentication_id == old_id:
        raise BlockedError("two sends were answered with the same authenticationId")
    trip = await run.validate(old_id, code)
    run.expect(attrs.evolve(EXPIRED, accepted="superseded-code-accepted"), trip)


async def newest(run: ScenarioRun) -> None:
    """Validate the right code of the second of two texts, after wrong ones made from both."""
    session = run.session
    if session.old is None or session.state != "live":
        first = await run.live()
        await run.code()
        old_id = first.authentication_id
        run.need_sent(await run.start())
        if session.authentication_id == old_id:
            raise BlockedError("two sends were answered with the same authenticationId")
    else:
        await run.live()
    code = await run.code()
    await _mix(run, code)
    await run.spend_tries()
    if session.state == "live":
        run.expect_right(await run.try_right(), context=" of the newest text")


async def _mix(run: ScenarioRun, code: str) -> None:
    """Try the old code with the new id, and the new code with the old id."""
    session = run.session
    if session.old is None or session.old[1] == code or session.old[0] == session.authentication_id:
        return
    old_id, old_code = session.old
    crossed = await run.validate(old_id, code, guess="the code of a newer id of the phone")
    if crossed.response is not None and crossed.response.status < 300:
        run.judge(crossed, [found("wrong-code-accepted", "the code of the newest text was accepted for an older id")])
    if (run.max_try or 2) > 1:
        trip = await run.try_wrong(old_code, guess="the code of an older text")
        if trip.response is not None and trip.response.status < 300:
            run.judge(trip, [found("wrong-code-accepted", "the code of an older text was accepted for the newest id")])


async def twice_at_once(run: ScenarioRun) -> None:
    """Validate the right code twice at the same moment."""
    _need_concurrency(run)
    session = await run.live()
    code = await run.code()
    await run.spend_tries()
    if session.state != "live":
        await _blocked_if_closed(run)
        code = await run.code()
    done = await _at_once(run, [code, code])
    session.state = "used"
    accepted = [trip for trip in done if trip.response is not None and trip.response.status < 300]
    refused = [trip for trip in done if trip not in accepted]
    if len(accepted) > 1:
        run.judge(accepted[1], [found("used-code-accepted", "two requests at once with one code were both accepted")])
    if accepted:
        run.judge(accepted[0], against(VALID, accepted[0]))
        # One of two at once may be told to wait.
        also = ((409, "ABORTED"), (409, "CONFLICT"), (400, contract.FAILED))
        for trip in refused:
            run.expect(attrs.evolve(EXPIRED, also=also), trip)
        return
    is_busy = any(trip.response is not None and trip.response.status == 409 for trip in refused)
    if is_busy:
        session.state = "live"
        refused = [await run.try_right()]
    run.expect_right(refused[0], context=", sent twice at once")


async def _at_once(run: ScenarioRun, codes: list[str], tried: str = "") -> list[RoundTrip]:
    done: list[RoundTrip] = []
    blocked: list[BlockedError] = []

    async def validate(code: str) -> None:
        try:
            done.append(await run.validate(run.session.authentication_id, code, tried=tried))
        except BlockedError as error:
            blocked.append(error)

    async with anyio.create_task_group() as tasks:
        for code in codes:
            tasks.start_soon(validate, code)
    if blocked:
        raise blocked[0]
    # From the first 429 on, requests are not sent at once.
    _need_concurrency(run)
    return done


def _need_concurrency(run: ScenarioRun) -> None:
    if not run.is_concurrent():
        raise BlockedError("only one request at a time: the operator limits the rate, or concurrency is 1")


async def wrong_at_once(run: ScenarioRun) -> None:
    """Validate many different wrong codes at the same moment, then the right one."""
    _need_concurrency(run)
    session = await run.live()
    code = await run.code()
    told = run.state.max_try or run.max_try
    if told is None:
        raise BlockedError("the wrong code that closes an id is not known: set limits.max_try")
    done = await _at_once(run, wrong_codes(code, told + 4), tried="wrong")
    accepted = [trip for trip in done if trip.response is not None and trip.response.status < 300]
    counted = [trip for trip in done if trip.response is not None and code_of(trip.response) == contract.INVALID_OTP]
    closing = [trip for trip in done if trip.response is not None and code_of(trip.response) in CLOSED.codes]
    if accepted:
        run.judge(accepted[0], [found("wrong-code-accepted", "a wrong code among several at once was accepted")])
        return
    if len(counted) >= told:
        text = f"{len(counted)} of {len(done)} wrong codes at once were answered with INVALID_OTP; {told} close an id"
        run.judge(counted[0], [found("tries-not-limited" if run.state.is_unlimited else "tries-race", text)])
        return
    if len(counted) + len(closing) < told:
        return
    session.state = "closed"
    trip = await run.validate(session.authentication_id, code)
    run.expect(CLOSED, trip)


def with_message(template: str, *, fill: str = "", raw: bool = False) -> Flow:
    """Send a message of another form, read the text, spend the tries of its id, and validate the code.

    Args:
        template: the message, in which `{ref}` stands for a number
        fill: a character that fills it up to the length that the operator allows; empty: as it is
        raw: whether it goes out in UTF-8 instead of escaped
    """

    async def flow(run: ScenarioRun) -> None:
        message = run.message(template)
        if fill:
            length = run.settings.limits.max_length
            message = (message if len(message) <= length else contract.LABEL).ljust(length, fill)
        trip = await run.start(message, raw=raw)
        response = trip.response
        if response is not None and 400 <= response.status < 500 and not run.limit(trip):
            text = f"refused with {said(response)}: a message of {_describe(message)}"
            run.judge(trip, [found("good-request-refused", text, said=said(response))])
            return
        run.expect(SENT, trip)
        if run.settings.read is None or authentication_id_of(trip) is None:
            return
        await run.code()
        await run.spend_tries()
        if run.session.state == "live":
            run.expect_right(await run.try_right())

    return flow


def authentication_id_of(trip: RoundTrip) -> str | None:
    """Return the id of an accepted send, or None."""
    response = trip.response
    return authentication_id(response) if response is not None and response.status < 300 else None


def _describe(message: str) -> str:
    kinds = [f"{len(message)} characters"]
    if not message.isascii():
        kinds.append("letters beyond ASCII")
    if "\n" in message:
        kinds.append("several lines")
    if message.count(contract.LABEL) > 1:
        kinds.append("the label twice")
    return ", ".join(kinds)


async def one_send_too_many(run: ScenarioRun) -> None:
    """Text a phone until the next send has to be refused."""
    allowed = (run.settings.limits.max_send or 1) - 1
    too_many = Expectation(403, (contract.MAX_CODES,), accepted="send-limit-missing")
    while True:
        had = run.state.sends.get(run.number, 0)
        trip = await run.ask("send-code", {"phoneNumber": run.number, "message": run.message()})
        if had >= allowed:
            run.expect(too_many, trip)
            return
        if run.limit(trip):
            if not run.findings:
                raise BlockedError("a send that should have been accepted was refused for its rate")
            return
        if trip.response is None or trip.response.status >= 300:
            raise BlockedError("a send that should have been accepted was not")


async def long_correlator(run: ScenarioRun) -> None:
    """Send the longest correlator that the release allows."""
    value = {"1.0.0": "c0ffee-" * 5 + "1", "1.1.0": "aZ9-" * 13 + "end"}.get(
        run.settings.release, "aZ9-_:;./<>{}" * 19 + "endmark.."
    )
    await _good_correlator(run, value, "one of the greatest length and of all characters")


async def empty_correlator(run: ScenarioRun) -> None:
    """Send an empty correlator, which every pattern allows."""
    await _good_correlator(run, "", "an empty one")


async def _good_correlator(run: ScenarioRun, value: str, what: str) -> None:
    trip = await run.ask("validate-code", _body(run, "validate-code"), headers={"x-correlator": value})
    response = trip.response
    if response is None:
        run.expect(NOT_FOUND, trip)
        return
    # Which refusal an unknown id meets is the business of another scenario.
    is_refused = response.status >= 500 or not against(INVALID_ARGUMENT, trip)
    text = f"{what} was answered with {said(response)}"
    run.judge(trip, [found("correlator-refused", text)] if is_refused else [])


def accepted_headers(what: str, **how: Any) -> Flow:
    """Send headers that an operator has to take, with an id that was never issued.

    Args:
        what: what is sent
        how: for `ScenarioRun.ask`
    """

    async def flow(run: ScenarioRun) -> None:
        trip = await run.ask("validate-code", _body(run, "validate-code"), **how)
        response = trip.response
        if response is None or response.status >= 500 or response.status < 400:
            run.expect(NOT_FOUND, trip)
        elif not run.limit(trip):
            is_refused = response.status in (401, 406, 415) or not against(INVALID_ARGUMENT, trip)
            text = f"{what}: answered with {said(response)}"
            refused = found("good-request-refused", text, said=said(response))
            run.judge(trip, [refused] if is_refused else [])

    return flow


async def duplicate_headers(run: ScenarioRun) -> None:
    """Send x-correlator twice: every response is right except a 5xx."""
    twice = (("x-correlator", "second-of-two"),)
    trip = await run.ask("validate-code", _body(run, "validate-code"), more=twice)
    run.judge(trip, _faults(trip))


def _faults(trip: RoundTrip) -> list[Finding]:
    response = trip.response
    if response is None:
        return [no_response(trip)]
    if response.status >= 500:
        return [found("server-fault", f"answered with {said(response)}", said=said(response))]
    return []


async def unknown_path(run: ScenarioRun) -> None:
    """Post to a path that does not exist."""
    trip = await run.ask("validate-code", _body(run, "validate-code"), path="validate-code-of-nothing")
    response = trip.response
    findings = _faults(trip)
    if response is not None and not findings:
        text = f"answered with {said(response)} instead of 404 NOT_FOUND"
        if response.status < 400:
            findings = [found("unknown-path", text, said=said(response))]
        elif response.status == 404 and code_of(response) is None:
            findings = [attrs.evolve(finding, grade=Grade.DIFFERS) for finding in error_form(response)]
        elif (response.status, code_of(response)) != (404, "NOT_FOUND"):
            findings = [found("unknown-path", text, said=said(response))]
            # Many gateways refuse what they do not route.
            findings = lenient(findings) if response.status in (401, 403, 405) else findings
    run.judge(trip, findings)


def wrong_method(operation: Operation, method: str) -> Flow:
    """Use another method than POST.

    Args:
        operation: the operation
        method: the method
    """

    async def flow(run: ScenarioRun) -> None:
        session = run.session
        body = None if method == "GET" else _body(run, operation)
        if body is not None and session.state == "used" and session.code is not None:
            body = {"authenticationId": session.authentication_id, "code": session.code}
        left_out = ("content-type",) if body is None else ()
        trip = await run.ask(operation, body, method=method, without=left_out)
        response = trip.response
        is_unknown = response is not None and response.status == 501 and method != "GET"
        if is_unknown:
            # RFC 9110, section 15.6.2: a server that does not know the method says so.
            return
        if response is not None and 400 <= response.status < 500:
            # Later releases do not list 405, and many gateways say 404: any refusal will do.
            is_due = response.status in (404, 405)
            is_processed = (code_of(response) or "").startswith(contract.SPECIFIC)
            text = f"{method} is answered with {said(response)}"
            cause = "method" if is_processed else "method-status"
            run.judge(trip, [] if is_due else [found(cause, text, said=said(response))])
        elif response is not None and response.status < 400:
            text = f"{method} is answered with {said(response)}"
            run.judge(trip, [found("method", text, said=said(response))])
        else:
            run.judge(trip, _faults(trip))

    return flow
