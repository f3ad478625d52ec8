"""The scenarios: CAMARA's published ones under their own tags, and those we add, as one table.

Facts: the test definitions of CAMARA one-time-password-sms 1.0.0, 1.1.0 and 1.1.1. Tags are spelled as published.
Scenarios with the same session share one text: each goes on where the one before it left off.
"""

from collections.abc import Callable
from typing import Any, Final

import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.flows import (
    CLOSED,
    EXPIRED,
    FAILED,
    INVALID_ARGUMENT,
    NO_METHOD,
    NOT_FOUND,
    SENT,
    Edit,
    Flow,
    accepted_headers,
    another_client,
    cut,
    duplicate_headers,
    empty_correlator,
    having,
    last_wrong_code,
    long_correlator,
    message_of,
    newest,
    nothing,
    of,
    one_send_too_many,
    right_after_closing,
    right_at_last_try,
    right_code,
    right_code_without_correlator,
    send_without_correlator,
    single,
    superseded,
    text_once,
    then,
    too_late,
    turning,
    twice_at_once,
    unauthorized,
    unauthorized_send,
    unauthorized_validate,
    unknown_path,
    used_twice,
    with_message,
    without,
    wrong_at_once,
    wrong_code,
    wrong_method,
)
from camara_otp.conformance.judge import Expectation
from camara_otp.conformance.model import RELEASES, Operation, Origin, Release
from camara_otp.conformance.scenario_run import INVALID_OTP, VALID
from camara_otp.conformance.settings import Limits, Settings


@attrs.frozen
class Scenario:
    """One row of the table.

    Args:
        tag: its name
        operation: the operation it is about
        sent: what is sent
        expect: what must come back
        flow: performs it
        texts: how many texts it always sends, given the operator's limits
        uses_text: how many texts it sends if its session has none yet; 0: it needs none
        can_do_without: whether it also runs where no text can be sent or read
        session: the name of the text that it shares with others; empty: none is shared
        place: its place in the session
        needs: names in `NEEDS` of what must be set
        releases: the releases that have it
        origin: whether CAMARA published it
    """

    tag: str
    operation: Operation
    sent: str
    expect: Expectation
    flow: Flow = attrs.field(repr=False)
    texts: Callable[[Limits], int] = attrs.field(default=lambda _: 0, repr=False)
    uses_text: int = 0
    can_do_without: bool = False
    session: str = ""
    place: int = 0
    needs: tuple[str, ...] = ()
    releases: tuple[Release, ...] = RELEASES
    origin: Origin = "published"

    @property
    def source(self) -> str:
        """Return where it comes from."""
        if self.origin == "added":
            return "added by camara-otp, from the schema and the rules of CAMARA one-time-password-sms"
        return f"CAMARA one-time-password-sms {', '.join(self.releases)}, @{self.tag}"


def _has(read: Callable[[Settings], object]) -> Callable[[Settings], bool]:
    return lambda settings: read(settings) is not None


# What must be set for a scenario to run, and how to set it.
NEEDS: Final[dict[str, tuple[Callable[[Settings], bool], str]]] = {
    "read": (_has(lambda settings: settings.read), "no hook reads texts: set [read]"),
    "expire": (_has(lambda settings: settings.expire), "no hook lets a code expire: set [expire]"),
    "max_send": (_has(lambda settings: settings.limits.max_send), "set limits.max_send"),
    "max_try": (_has(lambda settings: settings.limits.max_try), "set limits.max_try"),
    "second try": (lambda settings: settings.limits.max_try != 1, "the first wrong code closes a verification here"),
    "expired": (_has(lambda settings: settings.tokens.expired), "set tokens.expired, or tokens.expired_env"),
    "other": (_has(lambda settings: settings.tokens.other), "set tokens.other, the token of a second client"),
    "unscoped": (_has(lambda settings: settings.tokens.unscoped), "set tokens.unscoped, a token without the scope"),
    "unreachable": (_has(lambda settings: settings.numbers.unreachable), "set numbers.unreachable"),
    "landline": (_has(lambda settings: settings.numbers.landline), "set numbers.landline"),
    "blocked": (_has(lambda settings: settings.numbers.blocked), "set numbers.blocked"),
    "foreign": (_has(lambda settings: settings.numbers.foreign), "set numbers.foreign"),
}
SPECIAL_NUMBERS: Final = ("unreachable", "landline", "blocked", "foreign")

# Sessions of the basics, which are run first: they need one phone and three texts.
FIRST, CLOSING = "first", "closing"
BASICS: Final = (FIRST, CLOSING)
_PAIR: Final = "pair"


def _published(
    tag: str, operation: Operation, sent: str, expect: Expectation, flow: Flow | None = None, **more: Any
) -> Scenario:
    return Scenario(f"OTPvalidationAPI_{tag}", operation, sent, expect, flow or single(operation, expect), **more)


def _added(tag: str, operation: Operation, sent: str, expect: Expectation, flow: Flow, **more: Any) -> Scenario:
    return Scenario(f"camara_otp_{tag}", operation, sent, expect, flow, origin="added", **more)


def _one(_: Limits) -> int:
    return 1


def _all_but_one(limits: Limits) -> int:
    return max(0, (limits.max_send or 1) - 1)


def _refused(code: str, status: int = 403) -> Expectation:
    return Expectation(status, (code,))


_ONLY_1_0: Final[tuple[Release, ...]] = ("1.0.0",)
_SINCE_1_1: Final[tuple[Release, ...]] = ("1.1.0", "1.1.1")
_XML: Final = "application/xml"


def _invalid(what: str) -> Expectation:
    return attrs.evolve(INVALID_ARGUMENT, what=what)


def _refusals(operation: Operation, name: str) -> tuple[Scenario, ...]:
    """Return the scenarios that both operations have, as the tags name them."""
    flow = unauthorized_send if operation == "send-code" else unauthorized_validate
    shares: dict[str, Any] = {"session": FIRST, "uses_text": 1, "can_do_without": True}
    bodies = (
        ("400.1", "no_request_body", "no body at all", nothing),
        ("400.2", "empty_request_body", "an empty object", having_nothing),
    )
    heads = (
        ("401.1", "no_authorization_header", "no Authorization header", "", ()),
        ("401.2", "expired_access_token", "an expired token", "expired", ("expired",)),
        ("401.3", "invalid_access_token", "a token that was never issued", "invalid", ()),
    )
    return (
        *(
            _published(
                f"{number}_{name}_{tag}", operation, sent, _invalid(sent), single(operation, _invalid(sent), edit)
            )
            for number, tag, sent, edit in bodies
        ),
        *(
            _published(
                f"{number}_{name}_{tag}",
                operation,
                sent,
                unauthorized(kind),
                flow(kind),
                needs=needs,
                **({} if operation == "send-code" else {**shares, "place": place}),
            )
            for place, (number, tag, sent, kind, needs) in enumerate(heads, 1)
        ),
    )


def having_nothing(_: dict[str, Any], __: Settings) -> Any:
    """Send an object without members."""
    return {}


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


def _special(tag: str, who: str, sent: str, expect: Expectation) -> Scenario:
    return _published(tag, "send-code", sent, attrs.evolve(expect, accepted="number-accepted", what=sent), needs=(who,))


def _bad_body(tag: str, operation: Operation, sent: str, *edits: Edit, **more: Any) -> Scenario:
    return _published(tag, operation, sent, _invalid(sent), single(operation, _invalid(sent), *edits), **more)


def _malformed(tag: str, operation: Operation, sent: str, *edits: Edit) -> Scenario:
    return _added(tag, operation, sent, _invalid(sent), single(operation, _invalid(sent), *edits))


def _renumbered(old: str, new: str, sent: str, expect: Expectation, flow: Flow, **more: Any) -> tuple[Scenario, ...]:
    """Return a scenario of validate-code under its tag of 1.0.0 and under its tag since 1.1.0."""
    return (
        _published(old, "validate-code", sent, expect, flow, releases=_ONLY_1_0, **more),
        _published(new, "validate-code", sent, expect, flow, releases=_SINCE_1_1, **more),
    )


PUBLISHED: Final[tuple[Scenario, ...]] = (
    _published(
        "01_send_code_success_scenario",
        "send-code",
        "a well-formed request",
        SENT,
        text_once,
        texts=_one,
        session=FIRST,
    ),
    _published(
        "02_send_code_success_scenario_without_x-correlator",
        "send-code",
        "a well-formed request without x-correlator",
        SENT,
        send_without_correlator,
        texts=_one,
        session=CLOSING,
        place=2,
    ),
    _published(
        "01_validate_code_sucess_scenario",
        "validate-code",
        "the right code",
        VALID,
        right_code,
        uses_text=1,
        session=FIRST,
        place=7,
        needs=("read",),
    ),
    _published(
        "02_validate_code_sucess_scenario_without_x-correlator",
        "validate-code",
        "the right code, without x-correlator",
        VALID,
        right_code_without_correlator,
        uses_text=1,
        session=CLOSING,
        place=3,
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
        uses_text=1,
        session=FIRST,
        place=6,
        needs=("second try",),
    ),
    *_renumbered(
        "09_validate_code_verification_expired_scenario_1",
        "400.6_validate_code_verification_expired_scenario_1",
        "the right code, too late",
        EXPIRED,
        too_late,
        uses_text=1,
        needs=("read", "expire"),
    ),
    *_renumbered(
        "10_validate_code_verification_expired_scenario_2",
        "400.7_validate_code_verification_expired_scenario_2",
        "the right code of the first of two texts to a number",
        EXPIRED,
        superseded,
        uses_text=2,
        session=_PAIR,
        needs=("read",),
    ),
    *_renumbered(
        "11_validate_code_verification_expired_scenario_3",
        "400.8_validate_code_verification_expired_scenario_3",
        "the right code a second time",
        EXPIRED,
        used_twice,
        uses_text=1,
        session=FIRST,
        place=8,
        needs=("read",),
    ),
    *_renumbered(
        "12_validate_code_verification_failed_scenario",
        "400.9_validate_code_verification_failed_scenario",
        "the wrong code that is one too many",
        FAILED,
        last_wrong_code,
        uses_text=1,
        session=CLOSING,
    ),
    _published(
        "404_validate_code_resource_not_found",
        "validate-code",
        "an authenticationId that was never issued",
        NOT_FOUND,
    ),
    *_negotiation("validate-code", "validate_code"),
)


def _digits_beyond_ascii(number: str) -> str:
    return "+" + "".join(chr(0x0660 + int(digit)) for digit in number[1:])


def _numbers(tag: str, sent: str, *turns: Callable[[str], object]) -> Scenario:
    edits = tuple(turning("phoneNumber", turn) for turn in turns)
    return _malformed(f"send_code_phone_number_{tag}", "send-code", sent, *edits)


def _values(name: str, *values: object) -> tuple[Edit, ...]:
    return tuple(having(name, value) for value in values)


_NO_OBJECTS: Final = (of([]), of("text"), of(7), of(None))

_ODD_IDS: Final = ("' OR '1'='1", "a\0b", "../../etc/passwd", "%00", "{{code}}", "ñ你好", " ", "")
_UNKNOWN_ID: Final = attrs.evolve(NOT_FOUND, also=((400, "INVALID_ARGUMENT"),))

INVALID: Final[tuple[Scenario, ...]] = (
    _malformed("send_code_broken_json", "send-code", "JSON that ends too early", cut),
    _malformed("send_code_not_json", "send-code", "JSON with a comma or a word too many", then(b",}"), then(b"} word")),
    _malformed("send_code_no_object", "send-code", "JSON that is no object", *_NO_OBJECTS),
    _malformed("send_code_not_utf8", "send-code", "bytes that are not UTF-8", of(b'{"phoneNumber": "\xff\xfe"}')),
    _numbers("without_plus", "a phoneNumber without its plus sign", lambda number: number[1:]),
    _numbers("with_newline", "a phoneNumber that ends in a line feed", lambda number: number + "\n"),
    _numbers("not_text", "a phoneNumber that is a JSON number", lambda number: int(number[1:])),
    _numbers(
        "other_type",
        "a phoneNumber that is null, a list, an object, true",
        lambda _: None,
        lambda number: [number],
        lambda number: {"number": number},
        lambda _: True,
    ),
    _numbers("empty", "an empty phoneNumber", lambda _: ""),
    _numbers("with_letters", "a phoneNumber with letters", lambda number: number[:-3] + "abc", lambda n: n + "x"),
    _numbers("too_long", "a phoneNumber of 16 digits", lambda number: number.ljust(17, "0")),
    _numbers("too_short", "a phoneNumber of 4 digits", lambda number: number[:5]),
    _numbers("leading_zero", "a phoneNumber that begins with +0", lambda number: f"+0{number[1:]}"[:16]),
    _numbers("with_zeros_for_plus", "a phoneNumber that begins with 00", lambda number: f"00{number[1:]}"),
    _numbers(
        "grouped",
        "a phoneNumber with blanks or dashes",
        lambda number: f"{number[:3]} {number[3:6]} {number[6:]}",
        lambda number: f"{number[:3]}-{number[3:]}",
        lambda number: f" {number}",
    ),
    _numbers("beyond_ascii", "a phoneNumber of digits beyond ASCII", _digits_beyond_ascii),
    _malformed(
        "send_code_message_other_type",
        "send-code",
        "a message that is a number, a list, an object",
        *_values("message", 7, [contract.LABEL], {"text": contract.LABEL}),
    ),
    _malformed(
        "send_code_message_far_too_long",
        "send-code",
        "a message of 20,000 characters",
        message_of(lambda _: 20_000),
    ),
    _malformed("send_code_message_empty", "send-code", "an empty message", having("message", "")),
    _malformed(
        "send_code_single_braces",
        "send-code",
        "a message that holds {code}, not {{code}}",
        having("message", "{code} is your code"),
    ),
    _malformed(
        "send_code_other_label",
        "send-code",
        "a message that holds {{ code }} or {{CODE}}, not {{code}}",
        *_values("message", "{{ code }} is your code", "{{CODE}} is your code"),
    ),
    _malformed("validate_code_broken_json", "validate-code", "JSON that ends too early", cut),
    _malformed(
        "validate_code_not_json", "validate-code", "JSON with a comma or a word too many", then(b",}"), then(b"} x")
    ),
    _malformed("validate_code_no_object", "validate-code", "JSON that is no object", *_NO_OBJECTS),
    _malformed(
        "validate_code_id_too_long",
        "validate-code",
        "an authenticationId of 37 characters",
        turning("authenticationId", lambda old: old + "0"),
    ),
    _added(
        "validate_code_id_odd_characters",
        "validate-code",
        "authenticationIds with quotes, NUL, slashes, letters beyond ASCII; an empty one",
        _UNKNOWN_ID,
        single("validate-code", _UNKNOWN_ID, *_values("authenticationId", *_ODD_IDS)),
    ),
    _malformed(
        "validate_code_id_not_text",
        "validate-code",
        "an authenticationId that is null, a number, a list, an object",
        *_values("authenticationId", None, 7, ["7"], {"id": "7"}),
    ),
    _malformed(
        "validate_code_code_not_text",
        "validate-code",
        "a code that is a JSON number; one that is null",
        *_values("code", 1234, None),
    ),
    _malformed(
        "validate_code_code_other_type",
        "validate-code",
        "a code that is a list, an object, true",
        *_values("code", ["1234"], {"code": "1234"}, True),  # noqa: FBT003
    ),
)

HEADERS: Final[tuple[Scenario, ...]] = (
    _added("send_code_wrong_method", "send-code", "GET", NO_METHOD, wrong_method("send-code", "GET")),
    _added(
        "validate_code_wrong_method",
        "validate-code",
        "PUT",
        NO_METHOD,
        wrong_method("validate-code", "PUT"),
        session=FIRST,
        place=9,
    ),
    _added("unknown_path", "validate-code", "a path that does not exist", NOT_FOUND, unknown_path),
    _added(
        "validate_code_charset",
        "validate-code",
        "Content-Type with a charset",
        NOT_FOUND,
        accepted_headers(
            "a Content-Type with charset=utf-8", headers={"content-type": "application/json; charset=utf-8"}
        ),
    ),
    _added(
        "send_code_charset",
        "send-code",
        "Content-Type with a charset, and a message without the label",
        INVALID_ARGUMENT,
        single(
            "send-code",
            _invalid("a message without the label"),
            having("message", "Your code has no place in this text"),
            headers={"content-type": "application/json; charset=utf-8"},
        ),
    ),
    _added(
        "validate_code_any_accept",
        "validate-code",
        "Accept: */*",
        NOT_FOUND,
        accepted_headers("Accept: */*", headers={"accept": "*/*"}),
    ),
    _added(
        "validate_code_no_accept",
        "validate-code",
        "no Accept header",
        NOT_FOUND,
        accepted_headers("a request without Accept", without=("accept",)),
    ),
    _added(
        "validate_code_capital_headers",
        "validate-code",
        "header names in capital letters",
        NOT_FOUND,
        accepted_headers("header names in capital letters", upper=True),
    ),
    _added("validate_code_duplicate_headers", "validate-code", "x-correlator twice", NOT_FOUND, duplicate_headers),
    _added(
        "validate_code_longest_x-correlator",
        "validate-code",
        "the longest x-correlator, of all characters allowed",
        NOT_FOUND,
        long_correlator,
    ),
    _added("validate_code_empty_x-correlator", "validate-code", "an empty x-correlator", NOT_FOUND, empty_correlator),
    _added(
        "validate_code_malformed_x-correlator",
        "validate-code",
        "an x-correlator with characters that are not allowed",
        INVALID_ARGUMENT,
        single(
            "validate-code",
            _invalid("an x-correlator with characters that are not allowed"),
            headers={"x-correlator": "not allowed?"},
        ),
        releases=("1.1.1",),
    ),
)

_UNSCOPED: Final = Expectation(
    403, ("PERMISSION_DENIED",), accepted="scope-not-checked", what="a token without the scope"
)

TOKENS: Final[tuple[Scenario, ...]] = (
    _added(
        "validate_code_of_another_client",
        "validate-code",
        "the right code with the token of another client",
        attrs.evolve(NOT_FOUND, accepted="id-of-another-client"),
        another_client,
        uses_text=1,
        session=FIRST,
        place=5,
        needs=("read", "other"),
    ),
    _added(
        "send_code_without_scope",
        "send-code",
        "a token without the scope",
        _UNSCOPED,
        single("send-code", _UNSCOPED, client="unscoped"),
        needs=("unscoped",),
    ),
    _added(
        "validate_code_without_scope",
        "validate-code",
        "a token without the scope",
        _UNSCOPED,
        single("validate-code", _UNSCOPED, client="unscoped"),
        needs=("unscoped",),
    ),
)

LIVE: Final[tuple[Scenario, ...]] = (
    _added(
        "validate_code_right_after_closing",
        "validate-code",
        "wrong codes until they are too many, then the right one",
        CLOSED,
        right_after_closing,
        uses_text=1,
        session=CLOSING,
        place=1,
        needs=("read",),
    ),
    _added(
        "validate_code_right_at_last_try",
        "validate-code",
        "wrong codes until one more would be too many, then the right one",
        VALID,
        right_at_last_try,
        uses_text=1,
        needs=("read", "max_try"),
    ),
    _added(
        "validate_code_newest_of_two",
        "validate-code",
        "the right code of the second of two texts to a number, after codes and ids of both were mixed",
        VALID,
        newest,
        uses_text=2,
        session=_PAIR,
        place=1,
        needs=("read",),
    ),
    _added(
        "validate_code_twice_at_once",
        "validate-code",
        "the right code twice at the same moment",
        VALID,
        twice_at_once,
        uses_text=1,
        needs=("read",),
    ),
    _added(
        "validate_code_wrong_at_once",
        "validate-code",
        "many wrong codes at the same moment, then the right one",
        CLOSED,
        wrong_at_once,
        uses_text=1,
        needs=("read",),
    ),
    _added(
        "send_code_longest_message",
        "send-code",
        "a message as long as is allowed, with the label in the middle",
        SENT,
        with_message(f"Check {{ref}}: {contract.LABEL} is your code ", fill="."),
        texts=_one,
    ),
    _added(
        "send_code_message_beyond_ascii",
        "send-code",
        "a message with letters beyond ASCII, with the label last",
        SENT,
        with_message(f"Control {{ref}}: tu código, 你好, es {contract.LABEL}", raw=True),
        texts=_one,
    ),
    _added(
        "send_code_longest_message_beyond_ascii",
        "send-code",
        "a message as long as is allowed, of letters that take several bytes",
        SENT,
        with_message(f"Código {{ref}}: {contract.LABEL} ", fill="ñ"),
        texts=_one,
    ),
    _added(
        "send_code_label_twice",
        "send-code",
        "a message that holds the label twice",
        SENT,
        with_message(f"{contract.LABEL} is your code. Check {{ref}}, code {contract.LABEL}."),
        texts=_one,
    ),
    _added(
        "send_code_several_lines",
        "send-code",
        "a message of several lines",
        SENT,
        with_message(f"Check {{ref}}\nYour code:\n{contract.LABEL}\nThank you"),
        texts=_one,
    ),
)

ADDED: Final[tuple[Scenario, ...]] = INVALID + HEADERS + TOKENS + LIVE

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
