"""The flows of the scenarios: how each sends its requests, and how requests are made invalid."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.causes import found
from camara_otp.conformance.guesses import wrong_codes
from camara_otp.conformance.judge import (
    CLOSED,
    EXPIRED,
    INVALID_ARGUMENT,
    INVALID_OTP,
    VALID,
    against,
    error_form,
    faults,
)
from camara_otp.conformance.model import BlockedError, Grade, JSONObject, RoundTrip
from camara_otp.conformance.scenario_run import ScenarioRun
from camara_otp.conformance.settings import NEVER_ISSUED, Settings

Flow = Callable[[ScenarioRun], Awaitable[None]]
Edit = Callable[[JSONObject, Settings], Any]

# Longer than most codes, so that it is wrong where the right one is not known.
_WRONG: Final = "0" * contract.MAX_CODE
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{2,}")
# How many wrong codes are tried on one id where the settings do not give the limit.
_MAX_GUESSES: Final = 25


# How bodies are made invalid.


def nothing(_: JSONObject, __: Settings) -> Any:
    """Leave the body out."""
    return None


def then(tail: bytes) -> Edit:
    """Send other bytes instead of the last bracket."""
    return lambda body, _: json.dumps(body).encode()[:-1] + tail


def of(value: object) -> Edit:
    """Send another JSON value, or other bytes, instead of the body."""
    return lambda _, __: value if isinstance(value, bytes) else json.dumps(value).encode()


def without(name: str) -> Edit:
    """Leave a member out."""
    return lambda body, _: {key: value for key, value in body.items() if key != name}


def having(name: str, *values: object) -> tuple[Edit, ...]:
    """Give a member each of these values."""
    return tuple(lambda body, _, value=value: {**body, name: value} for value in values)


def turning(name: str, *turns: Callable[[str], object]) -> tuple[Edit, ...]:
    """Give a member each of the values made from its old one."""
    return tuple(lambda body, _, turn=turn: {**body, name: turn(body[name])} for turn in turns)


def too_long_message(body: JSONObject, settings: Settings) -> Any:
    """Send a message one character longer than the operator allows."""
    return {**body, "message": body["message"].ljust(settings.limits.max_length + 1, ".")}


# Requests that are judged one by one.


def requests(*edits: Edit, client: str = "", **how: Any) -> Flow:
    """Send one request for each edit of a well-formed body, or a well-formed one, and judge each.

    Args:
        edits: how to make a well-formed body invalid; each is a request of its own
        client: the setting of the access token; empty: the good one
        how: for `ScenarioRun.ask`
    """

    async def flow(run: ScenarioRun) -> None:
        for edit in edits or (lambda body, _: body,):
            token = getattr(run.settings.tokens, client) if client else None
            run.expect(await run.ask(edit(run.body(), run.settings), token=token, **how))

    return flow


def bad_token(kind: str) -> Flow:
    """Send a request with a bad token of the settings, or none; a validation has a right code if it can be read."""

    async def flow(run: ScenarioRun) -> None:
        token = getattr(run.settings.tokens, kind) if kind else None
        tries: list[dict[str, Any]] = [{"token": token} if kind else {"without": ("authorization",)}]
        if kind == "invalid":
            tries += [{"token": altered} for altered in await _altered(run)]
        for how in tries:
            if run.can_read and run.operation == "validate-code":
                await run.live_code()
                trip = await run.try_right(tried="", **how)
            else:
                trip = await run.ask(run.body(), **how)
            run.expect(trip)
            if trip.is_accepted:
                return

    return flow


async def _altered(run: ScenarioRun) -> list[str]:
    """Return the access token with another signature, if it is a JWT: it shows whether signatures are checked.

    A test environment that names its own invalid token may accept any other one.
    """
    token = await run.check.token()
    if run.settings.tokens.invalid != NEVER_ISSUED or not _JWT.fullmatch(token):
        return []
    head, claims, signature = token.split(".")
    middle = len(signature) // 2
    other = "A" if signature[middle : middle + 1] != "A" else "B"
    return [f"{head}.{claims}.{signature[:middle]}{other}{signature[middle + 1 :]}"]


async def another_client(run: ScenarioRun) -> None:
    """Validate the right code with the token of another client."""
    await run.live_code()
    run.expect(await run.try_right(tried="", token=run.settings.tokens.other))


# Sends.


async def text_once(run: ScenarioRun) -> None:
    """Send a well-formed request."""
    run.expect(await run.start())


async def send_without_correlator(run: ScenarioRun) -> None:
    """Send a well-formed request without x-correlator, to a phone whose last id was closed if there is one."""
    trip = await run.start(without=("x-correlator",))
    is_about_phone = (trip.code or "").startswith(contract.SPECIFIC)
    if run.phone_was_closed and is_about_phone and not run.limit(trip):
        text = f"a send after too many wrong codes was refused with {trip.said}"
        run.judge(trip, [found("phone-locked", text)])
        return
    run.expect(trip)


def with_message(template: str, *, fill: str = "", raw: bool = False) -> Flow:
    """Send a message of another form, read the SMS, use the spare tries of its id, and validate the code.

    Args:
        template: the message, in which `{ref}` stands for a number
        fill: a character that fills it up to the length that the operator allows; empty: as it is
        raw: whether it is sent in UTF-8 instead of ASCII escapes
    """

    async def flow(run: ScenarioRun) -> None:
        message = run.message(template)
        if fill:
            length = run.settings.limits.max_length
            message = (message if len(message) <= length else contract.LABEL).ljust(length, fill)
        trip = await run.start(message, raw=raw)
        if 400 <= trip.status < 500 and not run.limit(trip):
            text = f"{run.due.what} ({len(message)} characters): refused with {trip.said}"
            run.judge(trip, [found("good-request-refused", text, said=trip.said)])
            return
        run.expect(trip)
        if run.settings.read is None or trip.issued_id is None:
            return
        await run.spend_tries()
        if run.sms.state == "live":
            run.expect_right(await run.try_right())

    return flow


async def one_send_too_many(run: ScenarioRun) -> None:
    """Send SMS to a phone until the next send has to be refused."""
    allowed = (run.settings.limits.max_send or 1) - 1
    while True:
        had = run.check.sends.get(run.number, 0)
        trip = await run.ask(run.body())
        if had >= allowed:
            run.expect(trip)
            return
        if run.limit(trip):
            if not run.findings:
                raise BlockedError("the operator rate-limited a send that it should have accepted")
            return
        if not trip.is_accepted:
            raise BlockedError("the operator refused a send that it should have accepted")


# Right codes.


async def right_code(run: ScenarioRun) -> None:
    """Validate the right code."""
    await run.guessed_code()
    run.expect_right(await run.try_right(), context=_after_wrong(run))


def _after_wrong(run: ScenarioRun) -> str:
    return f" after {run.sms.wrong} wrong codes" if run.sms.wrong else ""


async def right_code_without_correlator(run: ScenarioRun) -> None:
    """Validate the right code without x-correlator."""
    await run.live_code()
    session = run.session
    if session.closed and (run.max_try or 1) > 1:
        await run.spend_tries(keep=(run.max_try or 2) - 2)
        if run.sms.state == "closed":
            text = "after too many wrong codes, the first wrong code closes the next id of the phone as well"
            run.findings.append(found("phone-locked", text))
            return
    elif not session.closed:
        await run.spend_tries()
    await run.live_code()
    cause = "phone-locked" if session.closed else "right-code-refused"
    if run.expect_right(await run.try_right(without=("x-correlator",)), cause):
        session.closed = False


async def used_twice(run: ScenarioRun) -> None:
    """Validate the right code a second time."""
    if run.sms.state != "used" or run.sms.code is None:
        await run.live()
        if not (await run.try_right()).is_accepted:
            raise BlockedError("the right code was refused at its first use")
    run.expect(await run.validate(run.sms.authentication_id, run.sms.code))


async def too_late(run: ScenarioRun) -> None:
    """Validate the right code when it has expired."""
    code = await run.guessed_code()
    await run.check.hooks.expire(run.number, run.sms.authentication_id)
    run.expect(await run.validate(run.sms.authentication_id, code))


async def superseded(run: ScenarioRun) -> None:
    """Validate the right code of the first of two SMS."""
    old_id, code = await _replaced(run)
    run.expect(await run.validate(old_id, code))


async def _replaced(run: ScenarioRun) -> tuple[str, str]:
    """Send a second SMS to the phone, and return id and code of the first one."""
    code = await run.live_code()
    old_id = run.sms.authentication_id
    run.need_sent(await run.start())
    if run.sms.authentication_id == old_id:
        raise BlockedError("two sends got the same authenticationId")
    return old_id, code


async def newest(run: ScenarioRun) -> None:
    """Validate the right code of the second of two SMS, after wrong ones made from both."""
    if run.session.old is None or run.sms.state != "live":
        await _replaced(run)
    code = await run.live_code()
    await _mix(run, code)
    await run.spend_tries()
    if run.sms.state == "live":
        run.expect_right(await run.try_right(), context=" of the newest SMS")


async def _mix(run: ScenarioRun, code: str) -> None:
    """Try the old code with the new id, and the new code with the old id."""
    old = run.session.old
    if old is None or old.code == code or old.authentication_id == run.sms.authentication_id:
        return
    crossed = await run.validate(old.authentication_id, code)
    if crossed.is_accepted:
        run.judge(crossed, [found("wrong-code-accepted", "the code of the newest SMS was accepted for an older id")])
    if (run.max_try or 2) > 1:
        trip = await run.try_wrong(old.code)
        if trip.is_accepted:
            run.judge(trip, [found("wrong-code-accepted", "the code of an older SMS was accepted for the newest id")])


# Wrong codes.


async def wrong_code(run: ScenarioRun) -> None:
    """Validate a wrong code."""
    sms, told = (await run.live()), run.settings.limits.max_try
    trip = await run.try_wrong((await _wrong_codes(run, 1))[0])
    if trip.code == contract.FAILED and told is None:
        raise BlockedError("the first wrong code closes a verification here")
    if sms.state == "closed" and sms.wrong < (told or 0):
        text = f"the response to wrong code {sms.wrong} was {trip.said}"
        run.judge(trip, [found("tries-miscounted", text)])
        return
    run.check.accepts_wrong = trip.is_accepted
    run.expect(trip)


async def _wrong_codes(run: ScenarioRun, count: int) -> list[str]:
    """Return different wrong codes, without asking a person for the right one."""
    read = run.settings.read
    if run.sms.code is None and (read is None or read.how == "ask"):
        used = 10 + len(run.sms.tried)
        return [_WRONG[:-2] + str(tail) for tail in range(used, used + count)]
    return run.wrong_codes(await run.code(), count)


async def last_wrong_code(run: ScenarioRun) -> None:
    """Validate different wrong codes until one closes the id."""
    sms, told = (await run.live()), run.settings.limits.max_try
    for wrong in await _wrong_codes(run, told or _MAX_GUESSES):
        trip = await run.try_wrong(wrong)
        if trip.is_accepted:
            run.judge(trip, [found("wrong-code-accepted", f"wrong code {sms.wrong} was accepted")])
            return
        is_last = sms.wrong == told
        if sms.state == "closed" and not is_last and told is not None:
            text = f"the response to wrong code {sms.wrong} of {told} was {trip.said}"
            run.judge(trip, [found("tries-miscounted", text)])
            return
        if is_last and trip.code == contract.INVALID_OTP:
            break
        if sms.state == "closed" or is_last:
            run.expect(trip)
            return
        run.expect(trip, INVALID_OTP)
        if run.findings:
            return
    await _too_many_tries(run)


async def _too_many_tries(run: ScenarioRun) -> None:
    """Tell a limit that is one off from none at all, after the code that should have closed an id did not."""
    sms, told = run.sms, run.settings.limits.max_try
    for wrong in await _wrong_codes(run, 8 if told else 0):
        trip = await run.try_wrong(wrong)
        if sms.state == "closed":
            text = f"wrong code {sms.wrong} closes an id; {told} was told"
            run.judge(trip, [found("tries-miscounted", text)])
            return
    run.check.is_unlimited = True
    text = f"{sms.wrong} different wrong codes did not close an id"
    run.judge(run.trips[-1], [found("tries-not-limited", text)])


async def right_after_closing(run: ScenarioRun) -> None:
    """Validate the right code when wrong ones were too many."""
    if run.sms.state != "closed":
        await _close(run)
    elif run.session.trip is not None and run.session.trip not in run.trips:
        run.trips.append(run.session.trip)
    trip = await run.validate(run.sms.authentication_id, await run.code())
    run.expect(trip, accepted="closed-id-accepted" if run.sms.state == "closed" else "tries-not-limited")


async def _close(run: ScenarioRun) -> None:
    """Validate wrong codes until one closes the id, or the limit is reached."""
    told = run.max_try
    for wrong in run.wrong_codes(await run.live_code(), told or _MAX_GUESSES):
        trip = await run.try_wrong(wrong)
        if trip.response is None or trip.is_accepted:
            raise BlockedError("a wrong code was not refused")
        if run.sms.state == "closed":
            return
    if told is None:
        raise BlockedError(f"{run.sms.wrong} wrong codes did not close an id")


async def right_at_last_try(run: ScenarioRun) -> None:
    """Validate the right code when one try is left."""
    code = await run.live_code()
    await run.spend_tries()
    left = (run.max_try or 1) - 1 - run.sms.wrong
    for wrong in run.wrong_codes(code, max(0, left)) if run.sms.state == "live" else ():
        await run.try_wrong(wrong)
    if run.sms.state == "used":
        raise BlockedError("a wrong code was not refused")
    run.expect_right(await run.try_right(), "tries-miscounted", _after_wrong(run))


# Several requests at once.


async def twice_at_once(run: ScenarioRun) -> None:
    """Validate the right code twice at the same moment."""
    _need_concurrency(run)
    code = await run.guessed_code()
    done = await _at_once(run, [code, code])
    run.sms.state = "used"
    accepted = [trip for trip in done if trip.is_accepted]
    refused = [trip for trip in done if not trip.is_accepted]
    if len(accepted) > 1:
        run.judge(accepted[1], [found("used-code-accepted", "two requests at once with one code were both accepted")])
    if accepted:
        run.judge(accepted[0], against(VALID, accepted[0]))
        for trip in refused:
            # One of two at once may be told to wait.
            run.expect(trip, EXPIRED, also=((409, "ABORTED"), (409, "CONFLICT"), (400, contract.FAILED)))
        return
    if any(trip.status == 409 for trip in refused):
        run.sms.state = "live"
        refused = [await run.try_right()]
    run.expect_right(refused[0], context=", sent twice at once")


async def wrong_at_once(run: ScenarioRun) -> None:
    """Validate many different wrong codes at the same moment, then the right one."""
    _need_concurrency(run)
    code, told = (await run.live_code()), run.check.max_try or run.max_try
    if told is None:
        raise BlockedError("the wrong code that closes an id is not known: set limits.max_try")
    done = await _at_once(run, wrong_codes(code, told + 4), tried="wrong")
    accepted = [trip for trip in done if trip.is_accepted]
    counted = [trip for trip in done if trip.code == contract.INVALID_OTP]
    closing = [trip for trip in done if trip.code in CLOSED.codes]
    if accepted:
        run.judge(accepted[0], [found("wrong-code-accepted", "a wrong code among several at once was accepted")])
    elif len(counted) >= told:
        text = f"{len(counted)} of {len(done)} wrong codes at once got INVALID_OTP; {told} close an id"
        run.judge(counted[0], [found("tries-not-limited" if run.check.is_unlimited else "tries-race", text)])
    elif len(counted) + len(closing) >= told:
        run.sms.state = "closed"
        run.expect(await run.validate(run.sms.authentication_id, code))


async def _at_once(run: ScenarioRun, codes: list[str], **how: Any) -> list[RoundTrip]:
    done: list[RoundTrip] = []
    blocked: list[BlockedError] = []

    async def validate(code: str) -> None:
        try:
            done.append(await run.validate(run.sms.authentication_id, code, **how))
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
    if not run.check.throttle.is_concurrent:
        raise BlockedError("only one request at a time: the operator limits the rate, or concurrency is 1")


# Headers, paths and methods. Each request has an id that was never issued.


def accepted_headers(**how: Any) -> Flow:
    """Send headers that an operator has to accept; `how` is for `ScenarioRun.ask`."""

    async def flow(run: ScenarioRun) -> None:
        trip = await run.ask(run.body(), **how)
        if not 400 <= trip.status < 500:
            run.expect(trip)
        elif not run.limit(trip) and (trip.status in (401, 406, 415) or not against(INVALID_ARGUMENT, trip)):
            text = f"{run.due.what}: responded with {trip.said}"
            run.judge(trip, [found("good-request-refused", text, said=trip.said)])

    return flow


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
    trip = await run.ask(run.body(), headers={"x-correlator": value})
    if trip.response is None:
        run.expect(trip)
    # Which refusal an unknown id gets is the subject of another scenario.
    elif trip.status >= 500 or not against(INVALID_ARGUMENT, trip):
        run.judge(trip, [found("correlator-refused", f"the response to {what} was {trip.said}")])


async def duplicate_headers(run: ScenarioRun) -> None:
    """Send x-correlator twice: every response is right except a 5xx."""
    trip = await run.ask(run.body(), more=(("x-correlator", "second-of-two"),))
    run.judge(trip, faults(trip))


async def unknown_path(run: ScenarioRun) -> None:
    """Post to a path that does not exist."""
    trip = await run.ask(run.body(), path="validate-code-of-nothing")
    findings = faults(trip)
    if trip.response is not None and trip.status == 404 and trip.code is None:
        findings = [attrs.evolve(finding, grade=Grade.DIFFERS) for finding in error_form(trip.response)]
    elif not findings and (trip.status, trip.code) != (404, "NOT_FOUND"):
        # Many gateways refuse what they do not route.
        grade = Grade.ADVICE if trip.status in (401, 403, 405) else None
        text = f"responded with {trip.said} instead of 404 NOT_FOUND"
        findings = [found("unknown-path", text, grade, said=trip.said)]
    run.judge(trip, findings)


def another_method(method: str) -> Flow:
    """Use another method than POST, with a used id if there is one."""

    async def flow(run: ScenarioRun) -> None:
        body = None if method == "GET" else run.body()
        if body is not None and run.sms.state == "used" and run.sms.code is not None:
            body = {"authenticationId": run.sms.authentication_id, "code": run.sms.code}
        trip = await run.ask(body, method=method, without=() if body else ("content-type",))
        findings = faults(trip)
        # Later releases do not list 405, and many gateways respond with 404. RFC 9110, section 15.6.2: 501 is
        # for a method that the server does not know.
        if trip.status in (404, 405) or (trip.status == 501 and method != "GET"):
            findings = []
        elif not findings:
            is_refused = trip.status >= 400 and not (trip.code or "").startswith(contract.SPECIFIC)
            text = f"the response to {method} is {trip.said}"
            findings = [found("method-status" if is_refused else "method", text, said=trip.said)]
        run.judge(trip, findings)

    return flow
