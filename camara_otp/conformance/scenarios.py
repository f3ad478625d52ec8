"""The scenarios: CAMARA's published ones under their own tags, and those we add, as one table.

Facts: the test definitions of CAMARA one-time-password-sms 1.0.0, 1.1.0 and 1.1.1. Tags are spelled as published.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.judge import Expect, against
from camara_otp.conformance.model import RELEASES, Exchange, Finding, Grade, Operation, Origin, Release
from camara_otp.conformance.play import BlockedError, Play, Sent
from camara_otp.conformance.settings import Limits, Settings

Flow = Callable[[Play], Awaitable[None]]
Body = dict[str, Any]
Edit = Callable[[Body, Settings], Any]

SENT: Final = Expect(200)
VALID: Final = Expect(204)
INVALID_ARGUMENT: Final = Expect(400, ("INVALID_ARGUMENT",))
UNAUTHENTICATED: Final = Expect(401, ("UNAUTHENTICATED",))
NOT_FOUND: Final = Expect(404, ("NOT_FOUND",))
INVALID_OTP: Final = Expect(400, (contract.INVALID_OTP,))
EXPIRED: Final = Expect(400, (contract.EXPIRED,))
FAILED: Final = Expect(400, (contract.FAILED,))
NO_METHOD: Final = Expect(405, ("METHOD_NOT_ALLOWED",))
CLOSED: Final = Expect(400, (contract.FAILED, contract.EXPIRED))


@attrs.frozen
class Scenario:
    """One row of the table.

    Args:
        tag: Its name.
        operation: The operation it is about.
        sent: What is sent.
        expect: What must come back.
        flow: Does it.
        texts: How many texts it takes, given the operator's limits.
        needs: Names in `NEEDS` of what must be set.
        releases: The releases that have it.
        origin: Whether CAMARA published it.
    """

    tag: str
    operation: Operation
    sent: str
    expect: Expect
    flow: Flow = attrs.field(repr=False)
    texts: Callable[[Limits], int] = attrs.field(default=lambda _: 0, repr=False)
    needs: tuple[str, ...] = ()
    releases: tuple[Release, ...] = RELEASES
    origin: Origin = "published"

    @property
    def source(self) -> str:
        """Return where it comes from."""
        if self.origin == "added":
            return "added by camara-otp, from the schema and the rules of CAMARA one-time-password-sms"
        return f"CAMARA one-time-password-sms {', '.join(self.releases)}, @{self.tag}"


# What must be set for a scenario to run, and how to set it.
NEEDS: Final[dict[str, tuple[Callable[[Settings], bool], str]]] = {
    "read": (lambda settings: settings.read is not None, "nothing says how a text is read: set [read]"),
    "expire": (lambda settings: settings.expire is not None, "nothing says how a code expires: set [expire]"),
    "max_send": (lambda settings: settings.limits.max_send is not None, "set limits.max_send"),
    "max_try": (lambda settings: settings.limits.max_try is not None, "set limits.max_try"),
    "second try": (lambda settings: settings.limits.max_try != 1, "the first wrong code closes a verification here"),
    "expired": (lambda settings: settings.tokens.expired is not None, "set tokens.expired, or tokens.expired_env"),
    "unreachable": (lambda settings: settings.numbers.unreachable is not None, "set numbers.unreachable"),
    "landline": (lambda settings: settings.numbers.landline is not None, "set numbers.landline"),
    "blocked": (lambda settings: settings.numbers.blocked is not None, "set numbers.blocked"),
    "foreign": (lambda settings: settings.numbers.foreign is not None, "set numbers.foreign"),
}
# Longer than most operators' codes, so that it is wrong wherever the right one is not known.
WRONG: Final = "0" * contract.MAX_CODE
SPECIAL_NUMBERS: Final = ("unreachable", "landline", "blocked", "foreign")


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


def _body(play: Play, operation: Operation) -> Body:
    if operation == "send-code":
        return {"phoneNumber": play.number, "message": play.message()}
    return {"authenticationId": play.never_issued(), "code": "1234"}


def single(operation: Operation, expect: Expect, *edits: Edit, bad_token: str = "", **how: Any) -> Flow:
    """Send one request for each edit, or a well-formed one, and judge it.

    Args:
        operation: The operation.
        expect: What must come back.
        edits: What to make of a well-formed body; each is a request of its own.
        bad_token: `expired` or `invalid`, for that token instead of the good one.
        how: For `Play.ask`.
    """

    async def flow(play: Play) -> None:
        token = getattr(play.settings.tokens, bad_token) if bad_token else None
        for edit in edits or (lambda body, _: body,):
            body = edit(_body(play, operation), play.settings)
            play.expect(expect, await play.ask(operation, body, token=token, **how))

    return flow


def right_code(*, without: tuple[str, ...] = ()) -> Flow:
    """Validate the right code."""

    async def flow(play: Play) -> None:
        sent = await play.sent()
        body = {"authenticationId": sent.authentication_id, "code": await play.code(sent)}
        play.expect(VALID, await play.ask("validate-code", body, without=without))

    return flow


async def one_send_too_many(play: Play) -> None:
    """Text a phone until the next send has to be refused."""
    allowed = (play.settings.limits.max_send or 1) - 1
    too_many = Expect(403, (contract.MAX_CODES,))
    while True:
        had = play.sends.get(play.number, 0)
        exchange = await play.ask("send-code", {"phoneNumber": play.number, "message": play.message()})
        if had >= allowed:
            play.expect(too_many, exchange)
            return
        if not against(too_many, exchange):
            text = f"send {had + 1} to a number was refused; {allowed} are allowed"
            advice = "Did this phone get texts before the check? If not, limits.max_send is another."
            play.judge(exchange, [Finding(Grade.DIFFERS, text, advice)])
            return
        if exchange.answer is None or exchange.answer.status >= 300:
            raise BlockedError("a send that should have been accepted was not")


async def wrong_code(play: Play) -> None:
    """Validate a wrong code."""
    sent = await play.sent()
    play.expect(INVALID_OTP, await play.validate(sent.authentication_id, await _wrong(play, sent)))


async def _wrong(play: Play, sent: Sent) -> str:
    """Return a code that is not the one sent, without asking a person for what a machine can do without."""
    read = play.settings.read
    return WRONG if read is None or read.how == "ask" else unlike(await play.code(sent))


def unlike(code: str) -> str:
    """Return a code of the same form that differs."""
    return code[:-1] + ("2" if code.endswith("1") else "1")


async def too_late(play: Play) -> None:
    """Validate the right code when it has expired."""
    sent = await play.sent()
    code = await play.code(sent)
    await play.expired(sent)
    play.expect(EXPIRED, await play.validate(sent.authentication_id, code))


async def superseded(play: Play) -> None:
    """Validate the right code of the first of two texts."""
    first = await play.sent()
    code = await play.code(first)
    await play.sent()
    play.expect(EXPIRED, await play.validate(first.authentication_id, code))


async def newest(play: Play) -> None:
    """Validate the right code of the second of two texts."""
    first = await play.sent()
    second = await play.sent()
    if first.authentication_id == second.authentication_id:
        play.findings.append(Finding(Grade.BREAKS, "two sends answered the same authenticationId"))
    play.expect(VALID, await play.validate(second.authentication_id, await play.code(second)))


async def used_twice(play: Play) -> None:
    """Validate the right code a second time."""
    sent = await play.sent()
    code = await play.code(sent)
    await _first_success(play, sent.authentication_id, code)
    play.expect(EXPIRED, await play.validate(sent.authentication_id, code))


async def _first_success(play: Play, authentication_id: str, code: str) -> None:
    first = await play.validate(authentication_id, code)
    if first.answer is None or first.answer.status >= 300:
        raise BlockedError("the right code was refused at its first use")


async def _try(play: Play, sent: Sent, wrong: str, times: int) -> None:
    for _ in range(times):
        tried = await play.validate(sent.authentication_id, wrong)
        if tried.answer is None or tried.answer.status < 300:
            raise BlockedError("a wrong code was not refused")


async def last_wrong_code(play: Play) -> None:
    """Validate wrong codes until the one that closes the verification."""
    sent = await play.sent()
    wrong = await _wrong(play, sent)
    await _try(play, sent, wrong, (play.settings.limits.max_try or 1) - 1)
    play.expect(FAILED, await play.validate(sent.authentication_id, wrong))


def right_after_wrong(spare: int, expect: Expect) -> Flow:
    """Validate the right code when so many wrong ones are left."""

    async def flow(play: Play) -> None:
        sent = await play.sent()
        code = await play.code(sent)
        await _try(play, sent, unlike(code), (play.settings.limits.max_try or 1) - spare)
        play.expect(expect, await play.validate(sent.authentication_id, code))

    return flow


async def twice_at_once(play: Play) -> None:
    """Validate the right code twice at the same moment."""
    _need_side_by_side(play)
    sent = await play.sent()
    code = await play.code(sent)
    done: list[Exchange] = []
    blocked: list[BlockedError] = []

    async def validate() -> None:
        try:
            done.append(await play.validate(sent.authentication_id, code))
        except BlockedError as error:
            blocked.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(validate)
        tasks.start_soon(validate)
    if blocked:
        raise blocked[0]
    # From the first answer 429 on, they are not.
    _need_side_by_side(play)
    done.sort(key=lambda exchange: exchange.answer.status if exchange.answer else 999)
    play.expect(VALID, done[0])
    play.expect(Expect(400, (contract.EXPIRED,)), done[1])


def _need_side_by_side(play: Play) -> None:
    if not play.side_by_side():
        raise BlockedError("only one request at a time: the operator limits the rate, or concurrency is 1")


async def long_correlator(play: Play) -> None:
    """Send the longest correlator that the release allows."""
    value = {"1.0.0": "c0ffee-" * 5 + "1", "1.1.0": "aZ9-" * 13 + "end"}.get(
        play.settings.release, "aZ9-_:;./<>{}" * 19 + "endmark.."
    )
    exchange = await play.ask("validate-code", _body(play, "validate-code"), headers={"x-correlator": value})
    if exchange.answer is None:
        play.expect(NOT_FOUND, exchange)
        return
    # Which refusal an unknown id meets is the business of another scenario.
    refused = exchange.answer.status >= 500 or not against(INVALID_ARGUMENT, exchange)
    text = "a correct x-correlator of the greatest length was refused"
    play.judge(exchange, [Finding(Grade.DIFFERS, text, "Send shorter ones, such as UUIDs.")] if refused else [])


async def wrong_method(play: Play) -> None:
    """GET what only takes POST."""
    exchange = await play.ask("send-code", None, method="GET", without=("content-type",))
    findings = against(NO_METHOD, exchange)
    refused = exchange.answer is not None and 400 <= exchange.answer.status < 500
    # Later releases do not list 405, and many gateways say 404: any refusal will do.
    play.judge(exchange, [attrs.evolve(found, grade=Grade.COSMETIC) if refused else found for found in findings])


def _published(
    tag: str, operation: Operation, sent: str, expect: Expect, flow: Flow | None = None, **more: Any
) -> Scenario:
    return Scenario(f"OTPvalidationAPI_{tag}", operation, sent, expect, flow or single(operation, expect), **more)


def _added(tag: str, operation: Operation, sent: str, expect: Expect, flow: Flow, **more: Any) -> Scenario:
    return Scenario(f"camara_otp_{tag}", operation, sent, expect, flow, origin="added", **more)


def _one(_: Limits) -> int:
    return 1


def _two(_: Limits) -> int:
    return 2


def _all_but_one(limits: Limits) -> int:
    return max(0, (limits.max_send or 1) - 1)


def _refused(code: str, status: int = 403) -> Expect:
    return Expect(status, (code,))


_ONLY_1_0: Final[tuple[Release, ...]] = ("1.0.0",)
_SINCE_1_1: Final[tuple[Release, ...]] = ("1.1.0", "1.1.1")
_XML: Final = "application/xml"


def _refusals(operation: Operation, name: str) -> tuple[Scenario, ...]:
    """Return the scenarios that both operations have, as the tags name them."""
    bodies = (
        ("400.1", "no_request_body", "no body at all", nothing),
        ("400.2", "empty_request_body", "an empty object", empty),
    )
    heads = (
        ("401.1", "no_authorization_header", "no Authorization header", ("authorization",), "", ()),
        ("401.2", "expired_access_token", "an expired token", (), "expired", ("expired",)),
        ("401.3", "invalid_access_token", "a token that was never issued", (), "invalid", ()),
    )
    return (
        *(
            _published(
                f"{number}_{name}_{tag}", operation, sent, INVALID_ARGUMENT, single(operation, INVALID_ARGUMENT, edit)
            )
            for number, tag, sent, edit in bodies
        ),
        *(
            _published(
                f"{number}_{name}_{tag}",
                operation,
                sent,
                UNAUTHENTICATED,
                single(operation, UNAUTHENTICATED, bad_token=bad_token, without=missing),
                needs=needs,
            )
            for number, tag, sent, missing, bad_token, needs in heads
        ),
    )


def _negotiation(operation: Operation, name: str) -> tuple[Scenario, ...]:
    """Return the scenarios about media types, which only 1.0.0 has."""
    return tuple(
        _published(
            f"{status}_{name}_{tag}_scenario",
            operation,
            sent,
            expect,
            single(operation, expect, headers={header: _XML}),
            releases=_ONLY_1_0,
        )
        for status, tag, sent, header, expect in (
            (406, "not_acceptable", "an Accept that cannot be served", "accept", _refused("NOT_ACCEPTABLE", 406)),
            (
                415,
                "unsupported_media_type",
                "a Content-Type other than JSON",
                "content-type",
                _refused("UNSUPPORTED_MEDIA_TYPE", 415),
            ),
        )
    )


def _special(tag: str, who: str, sent: str, expect: Expect) -> Scenario:
    return _published(tag, "send-code", sent, expect, needs=(who,))


def _bad_body(tag: str, operation: Operation, sent: str, *edits: Edit, **more: Any) -> Scenario:
    return _published(tag, operation, sent, INVALID_ARGUMENT, single(operation, INVALID_ARGUMENT, *edits), **more)


def _malformed(tag: str, operation: Operation, sent: str, *edits: Edit) -> Scenario:
    return _added(tag, operation, sent, INVALID_ARGUMENT, single(operation, INVALID_ARGUMENT, *edits))


def _renumbered(old: str, new: str, sent: str, expect: Expect, flow: Flow, **more: Any) -> tuple[Scenario, ...]:
    """Return a scenario of validate-code under its tag of 1.0.0 and under its tag since 1.1.0."""
    return (
        _published(old, "validate-code", sent, expect, flow, releases=_ONLY_1_0, **more),
        _published(new, "validate-code", sent, expect, flow, releases=_SINCE_1_1, **more),
    )


PUBLISHED: Final[tuple[Scenario, ...]] = (
    _published("01_send_code_success_scenario", "send-code", "a well-formed request", SENT, texts=_one),
    _published(
        "02_send_code_success_scenario_without_x-correlator",
        "send-code",
        "a well-formed request without x-correlator",
        SENT,
        single("send-code", SENT, without=("x-correlator",)),
        texts=_one,
    ),
    _published(
        "01_validate_code_sucess_scenario",
        "validate-code",
        "the right code",
        VALID,
        right_code(),
        texts=_one,
        needs=("read",),
    ),
    _published(
        "02_validate_code_sucess_scenario_without_x-correlator",
        "validate-code",
        "the right code, without x-correlator",
        VALID,
        right_code(without=("x-correlator",)),
        texts=_one,
        needs=("read",),
    ),
    _published(
        "03_send_code_max_otp_code",
        "send-code",
        "one send more than the operator allows for a number",
        _refused(contract.MAX_CODES),
        one_send_too_many,
        texts=_all_but_one,
        needs=("max_send",),
    ),
    _special(
        "04_send_code_phone_number_not_allowed",
        "unreachable",
        "a number that cannot receive texts",
        _refused(contract.NOT_ALLOWED),
    ),
    _special(
        "05_send_code_phone_number_not_allowed_3",
        "landline",
        "a landline",
        _refused(contract.NOT_ALLOWED),
    ),
    _special(
        "06_send_code_phone_number_blocked",
        "blocked",
        "a number whose texts are barred",
        _refused(contract.BLOCKED),
    ),
    *_refusals("send-code", "send_code"),
    _bad_body(
        "400.3_missing_phone_number_in_request_body",
        "send-code",
        "no phoneNumber",
        without("phoneNumber"),
        releases=_ONLY_1_0,
    ),
    _bad_body(
        "400.4_send_code_incorrect_phone_number_request_body",
        "send-code",
        "the phoneNumber 3301",
        having("phoneNumber", "3301"),
    ),
    _bad_body(
        "400.5_send_code_missing_message",
        "send-code",
        "no message; a message that is null",
        without("message"),
        having("message", None),
    ),
    _bad_body(
        "400.6_send_code_missing_code_request_body",
        "send-code",
        "a message without the label",
        having("message", "Your code has no place in this text"),
    ),
    _bad_body(
        "400.7_send_code_message_too_long",
        "send-code",
        "a message one character too long",
        message_of(lambda settings: settings.limits.max_length + 1),
    ),
    _special(
        "404.1_send_code_phone_number_not_belong_to_operator", "foreign", "a number of another operator", NOT_FOUND
    ),
    *_negotiation("send-code", "send_code"),
    *_refusals("validate-code", "validate_code"),
    _bad_body(
        "400.3_validate_code_missing_authenticationId",
        "validate-code",
        "no authenticationId",
        without("authenticationId"),
    ),
    _bad_body("400.3_validate_code_missing_code", "validate-code", "no code", without("code")),
    _bad_body(
        "400.4_validate_code_exceed_code_max_length",
        "validate-code",
        "a code of 11 characters",
        having("code", "12345678901"),
    ),
    *_renumbered(
        "08_validate_code_invalid_otp_scenario",
        "400.5_validate_code_invalid_otp_scenario",
        "a wrong code",
        INVALID_OTP,
        wrong_code,
        texts=_one,
        needs=("second try",),
    ),
    *_renumbered(
        "09_validate_code_verification_expired_scenario_1",
        "400.6_validate_code_verification_expired_scenario_1",
        "the right code, too late",
        EXPIRED,
        too_late,
        texts=_one,
        needs=("read", "expire"),
    ),
    *_renumbered(
        "10_validate_code_verification_expired_scenario_2",
        "400.7_validate_code_verification_expired_scenario_2",
        "the right code of the first of two texts to a number",
        EXPIRED,
        superseded,
        texts=_two,
        needs=("read",),
    ),
    *_renumbered(
        "11_validate_code_verification_expired_scenario_3",
        "400.8_validate_code_verification_expired_scenario_3",
        "the right code a second time",
        EXPIRED,
        used_twice,
        texts=_one,
        needs=("read",),
    ),
    *_renumbered(
        "12_validate_code_verification_failed_scenario",
        "400.9_validate_code_verification_failed_scenario",
        "the wrong code that is one too many",
        FAILED,
        last_wrong_code,
        texts=_one,
        needs=("max_try",),
    ),
    _published(
        "404_validate_code_resource_not_found",
        "validate-code",
        "an authenticationId that was never issued",
        NOT_FOUND,
    ),
    *_negotiation("validate-code", "validate_code"),
)

ADDED: Final[tuple[Scenario, ...]] = (
    _malformed("send_code_broken_json", "send-code", "JSON that ends too early", cut),
    _malformed(
        "send_code_phone_number_without_plus",
        "send-code",
        "a phoneNumber without its plus sign",
        turning("phoneNumber", lambda number: number[1:]),
    ),
    _malformed(
        "send_code_phone_number_with_newline",
        "send-code",
        "a phoneNumber that ends in a line feed",
        turning("phoneNumber", lambda number: number + "\n"),
    ),
    _malformed(
        "send_code_phone_number_not_text",
        "send-code",
        "a phoneNumber that is a JSON number",
        turning("phoneNumber", lambda number: int(number[1:])),
    ),
    _malformed(
        "send_code_single_braces",
        "send-code",
        "a message that holds {code}, not {{code}}",
        having("message", "{code} is your code"),
    ),
    _added(
        "send_code_longest_message",
        "send-code",
        "a message as long as is allowed",
        SENT,
        single("send-code", SENT, message_of(lambda settings: settings.limits.max_length)),
        texts=_one,
    ),
    _added(
        "send_code_message_beyond_ascii",
        "send-code",
        "a message with letters beyond ASCII",
        SENT,
        single("send-code", SENT, having("message", f"{contract.LABEL} es tu código, 你好")),
        texts=_one,
    ),
    _added("send_code_wrong_method", "send-code", "GET", NO_METHOD, wrong_method),
    _malformed("validate_code_broken_json", "validate-code", "JSON that ends too early", cut),
    _malformed(
        "validate_code_id_too_long",
        "validate-code",
        "an authenticationId of 37 characters",
        turning("authenticationId", lambda old: old + "0"),
    ),
    _malformed(
        "validate_code_code_not_text",
        "validate-code",
        "a code that is a JSON number; one that is null",
        having("code", 1234),
        having("code", None),
    ),
    _added(
        "validate_code_longest_x-correlator",
        "validate-code",
        "the longest x-correlator, of all characters allowed",
        NOT_FOUND,
        long_correlator,
    ),
    _added(
        "validate_code_malformed_x-correlator",
        "validate-code",
        "an x-correlator with characters that are not allowed",
        INVALID_ARGUMENT,
        single("validate-code", INVALID_ARGUMENT, headers={"x-correlator": "not allowed?"}),
        releases=("1.1.1",),
    ),
    _added(
        "validate_code_newest_of_two",
        "validate-code",
        "the right code of the second of two texts to a number",
        VALID,
        newest,
        texts=_two,
        needs=("read",),
    ),
    _added(
        "validate_code_right_at_last_try",
        "validate-code",
        "wrong codes until one more would be too many, then the right one",
        VALID,
        right_after_wrong(1, VALID),
        texts=_one,
        needs=("read", "max_try"),
    ),
    _added(
        "validate_code_right_after_closing",
        "validate-code",
        "wrong codes until they are too many, then the right one",
        CLOSED,
        right_after_wrong(0, CLOSED),
        texts=_one,
        needs=("read", "max_try"),
    ),
    _added(
        "validate_code_twice_at_once",
        "validate-code",
        "the right code twice at the same moment",
        VALID,
        twice_at_once,
        texts=_one,
        needs=("read",),
    ),
)

SCENARIOS: Final[tuple[Scenario, ...]] = PUBLISHED + ADDED


def scenarios(release: Release, *, added: bool = True) -> tuple[Scenario, ...]:
    """Return the scenarios of a release.

    Args:
        release: The release.
        added: Whether those that CAMARA did not publish are among them.
    """
    return tuple(
        scenario for scenario in SCENARIOS if release in scenario.releases and (added or scenario.origin == "published")
    )
