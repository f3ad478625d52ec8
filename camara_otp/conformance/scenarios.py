"""The scenarios: CAMARA's published ones under their own tags, and the added ones, as one table.

Facts: the test definitions of CAMARA one-time-password-sms 1.0.0, 1.1.0 and 1.1.1. Tags are spelled as published.
Scenarios with the same session share one SMS: each continues where the one before it stopped.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.flows import (
    Edit,
    Flow,
    accepted_headers,
    another_client,
    another_method,
    bad_token,
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
    requests,
    right_after_closing,
    right_at_last_try,
    right_code,
    right_code_without_correlator,
    send_without_correlator,
    superseded,
    text_once,
    then,
    too_late,
    turning,
    twice_at_once,
    unknown_path,
    used_twice,
    with_message,
    without,
    wrong_at_once,
    wrong_code,
)
from camara_otp.conformance.judge import (
    CLOSED,
    EXPIRED,
    FAILED,
    INVALID_ARGUMENT,
    INVALID_OTP,
    NOT_FOUND,
    SENT,
    UNAUTHENTICATED,
    VALID,
    Expectation,
)
from camara_otp.conformance.model import RELEASES, Operation, Origin, Release
from camara_otp.conformance.settings import Limits, Settings


@attrs.frozen
class Scenario:
    """One row of the table.

    Args:
        tag: its name
        operation: the operation it is about
        sent: the request, in words
        expect: the response that is due
        flow: performs it
        texts: how many SMS it always sends, given the operator's limits
        uses_text: how many SMS it sends if its session has none yet; 0: it needs none
        can_do_without: whether it also runs where no SMS can be sent or read
        session: the name of the SMS that it shares with others; empty: none is shared
        place: its place in the session
        needs: names in `NEEDS` of the settings it needs
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


# The settings that scenarios need, and how to set them.
NEEDS: Final[dict[str, tuple[Callable[[Settings], object], str]]] = {
    "read": (lambda settings: settings.read, "no hook reads SMS: set [read]"),
    "expire": (lambda settings: settings.expire, "no hook lets a code expire: set [expire]"),
    "max_send": (lambda settings: settings.limits.max_send, "set limits.max_send"),
    "max_try": (lambda settings: settings.limits.max_try, "set limits.max_try"),
    "second try": (lambda settings: settings.limits.max_try != 1, "the first wrong code closes a verification here"),
    "expired": (lambda settings: settings.tokens.expired, "set tokens.expired, or tokens.expired_env"),
    "other": (lambda settings: settings.tokens.other, "set tokens.other, the token of a second client"),
    "unscoped": (lambda settings: settings.tokens.unscoped, "set tokens.unscoped, a token without the scope"),
    "unreachable": (lambda settings: settings.numbers.unreachable, "set numbers.unreachable"),
    "landline": (lambda settings: settings.numbers.landline, "set numbers.landline"),
    "blocked": (lambda settings: settings.numbers.blocked, "set numbers.blocked"),
    "foreign": (lambda settings: settings.numbers.foreign, "set numbers.foreign"),
}
SPECIAL_NUMBERS: Final = ("unreachable", "landline", "blocked", "foreign")

# Sessions of the basics, which are run first: they need one phone and three SMS.
FIRST, CLOSING = "first", "closing"
BASICS: Final = (FIRST, CLOSING)
_PAIR: Final = "pair"

_ONLY_1_0: Final[tuple[Release, ...]] = ("1.0.0",)
_SINCE_1_1: Final[tuple[Release, ...]] = ("1.1.0", "1.1.1")


def _one(_: Limits) -> int:
    return 1


def _all_but_one(limits: Limits) -> int:
    return (limits.max_send or 1) - 1


_ONE_TEXT: Final[dict[str, Any]] = {"texts": _one}


def _reads(session: str = "", place: int = 0, *, texts: int = 1, needs: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a scenario that reads the code of an SMS, which others may share."""
    return {"session": session, "place": place, "uses_text": texts, "needs": ("read", *needs)}


def _scenario(tag: str, sent: str, expect: Expectation, flow: Flow, **more: Any) -> Scenario:
    """Return a scenario. Its tag names the operation, and `sent` is the subject of its findings."""
    operation: Operation = "send-code" if re.search("send_code|phone_number", tag) else "validate-code"
    return Scenario(tag, operation, sent, attrs.evolve(expect, what=sent), flow, **more)


def _published(tag: str, sent: str, expect: Expectation, flow: Flow | None = None, **more: Any) -> Scenario:
    return _scenario(f"OTPvalidationAPI_{tag}", sent, expect, flow or requests(), **more)


def _added(tag: str, sent: str, expect: Expectation, flow: Flow, **more: Any) -> Scenario:
    return _scenario(f"camara_otp_{tag}", sent, expect, flow, **more, origin="added")


def _bad_body(tag: str, sent: str, *edits: Edit, **more: Any) -> Scenario:
    return _published(tag, sent, INVALID_ARGUMENT, requests(*edits), **more)


def _malformed(tag: str, sent: str, *edits: Edit) -> Scenario:
    return _added(tag, sent, INVALID_ARGUMENT, requests(*edits))


def _special(tag: str, who: str, sent: str, expect: Expectation) -> Scenario:
    return _published(tag, sent, attrs.evolve(expect, accepted="number-accepted"), needs=(who,))


def _refusals(name: str) -> tuple[Scenario, ...]:
    """Return the scenarios that both operations have, as the tags name them."""
    shares = {"session": FIRST, "uses_text": 1, "can_do_without": True} if name == "validate_code" else {}
    return (
        _bad_body(f"400.1_{name}_no_request_body", "no body at all", nothing),
        _bad_body(f"400.2_{name}_empty_request_body", "an empty object", of({})),
        _published(
            f"401.1_{name}_no_authorization_header",
            "no Authorization header",
            attrs.evolve(UNAUTHENTICATED, accepted="token-not-required"),
            bad_token(""),
            **shares,
            place=1,
        ),
        _published(
            f"401.2_{name}_expired_access_token",
            "an expired token",
            attrs.evolve(UNAUTHENTICATED, accepted="expired-token-accepted"),
            bad_token("expired"),
            **shares,
            place=2,
            needs=("expired",),
        ),
        _published(
            f"401.3_{name}_invalid_access_token",
            "a token that was never issued",
            attrs.evolve(UNAUTHENTICATED, accepted="token-not-checked"),
            bad_token("invalid"),
            **shares,
            place=3,
        ),
    )


def _negotiation(name: str) -> tuple[Scenario, ...]:
    """Return the scenarios about media types, which only 1.0.0 has."""
    return (
        _published(
            f"406_{name}_not_acceptable_scenario",
            "an Accept that cannot be served",
            Expectation(406, ("NOT_ACCEPTABLE",)),
            requests(headers={"accept": "application/xml"}),
            releases=_ONLY_1_0,
        ),
        _published(
            f"415_{name}_unsupported_media_type_scenario",
            "a Content-Type other than JSON",
            Expectation(415, ("UNSUPPORTED_MEDIA_TYPE",)),
            requests(headers={"content-type": "application/xml"}),
            releases=_ONLY_1_0,
        ),
    )


def _renumbered(old: str, new: str, tag: str, *row: Any, **more: Any) -> tuple[Scenario, ...]:
    """Return a scenario of validate-code under its number of 1.0.0 and under its number since 1.1.0."""
    return (
        _published(f"{old}_{tag}", *row, **more, releases=_ONLY_1_0),
        _published(f"{new}_{tag}", *row, **more, releases=_SINCE_1_1),
    )


_NO_LABEL: Final = having("message", "Your code has no place in this text")

PUBLISHED: Final[tuple[Scenario, ...]] = (
    _published("01_send_code_success_scenario", "a well-formed request", SENT, text_once, **_ONE_TEXT, session=FIRST),
    _published(
        "02_send_code_success_scenario_without_x-correlator",
        "a well-formed request without x-correlator",
        SENT,
        send_without_correlator,
        **_ONE_TEXT,
        session=CLOSING,
        place=2,
    ),
    _published("01_validate_code_sucess_scenario", "the right code", VALID, right_code, **_reads(FIRST, 7)),
    _published(
        "02_validate_code_sucess_scenario_without_x-correlator",
        "the right code, without x-correlator",
        VALID,
        right_code_without_correlator,
        **_reads(CLOSING, 3),
    ),
    _published(
        "03_send_code_max_otp_code",
        "one send more than the operator allows for a number",
        Expectation(403, (contract.MAX_CODES,), accepted="send-limit-missing"),
        one_send_too_many,
        texts=_all_but_one,
        needs=("max_send",),
    ),
    _special(
        "04_send_code_phone_number_not_allowed",
        "unreachable",
        "a number that cannot receive SMS",
        Expectation(403, (contract.NOT_ALLOWED,)),
    ),
    _special(
        "05_send_code_phone_number_not_allowed_3",
        "landline",
        "a landline",
        Expectation(403, (contract.NOT_ALLOWED,)),
    ),
    _special(
        "06_send_code_phone_number_blocked",
        "blocked",
        "a number with SMS barring",
        Expectation(403, (contract.BLOCKED,)),
    ),
    *_refusals("send_code"),
    _bad_body(
        "400.3_missing_phone_number_in_request_body", "no phoneNumber", without("phoneNumber"), releases=_ONLY_1_0
    ),
    _bad_body(
        "400.4_send_code_incorrect_phone_number_request_body", "the phoneNumber 3301", *having("phoneNumber", "3301")
    ),
    _bad_body(
        "400.5_send_code_missing_message",
        "no message; a message that is null",
        without("message"),
        *having("message", None),
    ),
    _bad_body("400.6_send_code_missing_code_request_body", "a message without the label", *_NO_LABEL),
    _bad_body(
        "400.7_send_code_message_too_long",
        "a message one character too long",
        message_of(lambda settings: settings.limits.max_length + 1),
    ),
    _special(
        "404.1_send_code_phone_number_not_belong_to_operator", "foreign", "a number of another operator", NOT_FOUND
    ),
    *_negotiation("send_code"),
    *_refusals("validate_code"),
    _bad_body("400.3_validate_code_missing_authenticationId", "no authenticationId", without("authenticationId")),
    _bad_body("400.3_validate_code_missing_code", "no code", without("code")),
    _bad_body("400.4_validate_code_exceed_code_max_length", "a code of 11 characters", *having("code", "12345678901")),
    *_renumbered(
        "08",
        "400.5",
        "validate_code_invalid_otp_scenario",
        "a wrong code",
        INVALID_OTP,
        wrong_code,
        **{**_reads(FIRST, 6), "needs": ("second try",)},
    ),
    *_renumbered(
        "09",
        "400.6",
        "validate_code_verification_expired_scenario_1",
        "the right code, too late",
        attrs.evolve(EXPIRED, accepted="expired-code-accepted"),
        too_late,
        **_reads(needs=("expire",)),
    ),
    *_renumbered(
        "10",
        "400.7",
        "validate_code_verification_expired_scenario_2",
        "the right code of the first of two SMS to a number",
        attrs.evolve(EXPIRED, accepted="superseded-code-accepted"),
        superseded,
        **_reads(_PAIR, texts=2),
    ),
    *_renumbered(
        "11",
        "400.8",
        "validate_code_verification_expired_scenario_3",
        "the right code a second time",
        attrs.evolve(EXPIRED, accepted="used-code-accepted"),
        used_twice,
        **_reads(FIRST, 8),
    ),
    *_renumbered(
        "12",
        "400.9",
        "validate_code_verification_failed_scenario",
        "the wrong code that is one too many",
        FAILED,
        last_wrong_code,
        uses_text=1,
        session=CLOSING,
    ),
    _published("404_validate_code_resource_not_found", "an authenticationId that was never issued", NOT_FOUND),
    *_negotiation("validate_code"),
)


def _digits_beyond_ascii(number: str) -> str:
    return "+" + "".join(chr(0x0660 + int(digit)) for digit in number[1:])


def _numbers(tag: str, sent: str, *turns: Callable[[str], object]) -> Scenario:
    return _malformed(f"send_code_phone_number_{tag}", sent, *turning("phoneNumber", *turns))


_NO_OBJECTS: Final = (of([]), of("text"), of(7), of(None))
_ODD_IDS: Final = ("' OR '1'='1", "a\0b", "../../etc/passwd", "%00", "{{code}}", "ñ你好", " ", "")

INVALID: Final[tuple[Scenario, ...]] = (
    _malformed("send_code_broken_json", "JSON that ends too early", then(b"")),
    _malformed("send_code_not_json", "JSON with a comma or a word too many", then(b",}"), then(b"} word")),
    _malformed("send_code_no_object", "JSON that is no object", *_NO_OBJECTS),
    _malformed("send_code_not_utf8", "bytes that are not UTF-8", of(b'{"phoneNumber": "\xff\xfe"}')),
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
        "a message that is a number, a list, an object",
        *having("message", 7, [contract.LABEL], {"text": contract.LABEL}),
    ),
    _malformed("send_code_message_far_too_long", "a message of 20,000 characters", message_of(lambda _: 20_000)),
    _malformed("send_code_message_empty", "an empty message", *having("message", "")),
    _malformed(
        "send_code_single_braces",
        "a message that holds {code}, not {{code}}",
        *having("message", "{code} is your code"),
    ),
    _malformed(
        "send_code_other_label",
        "a message that holds {{ code }} or {{CODE}}, not {{code}}",
        *having("message", "{{ code }} is your code", "{{CODE}} is your code"),
    ),
    _malformed("validate_code_broken_json", "JSON that ends too early", then(b"")),
    _malformed("validate_code_not_json", "JSON with a comma or a word too many", then(b",}"), then(b"} x")),
    _malformed("validate_code_no_object", "JSON that is no object", *_NO_OBJECTS),
    _malformed(
        "validate_code_id_too_long",
        "an authenticationId of 37 characters",
        *turning("authenticationId", lambda old: old + "0"),
    ),
    _added(
        "validate_code_id_odd_characters",
        "authenticationIds with quotes, NUL, slashes, letters beyond ASCII; an empty one",
        attrs.evolve(NOT_FOUND, also=((400, "INVALID_ARGUMENT"),)),
        requests(*having("authenticationId", *_ODD_IDS)),
    ),
    _malformed(
        "validate_code_id_not_text",
        "an authenticationId that is null, a number, a list, an object",
        *having("authenticationId", None, 7, ["7"], {"id": "7"}),
    ),
    _malformed(
        "validate_code_code_not_text", "a code that is a JSON number; one that is null", *having("code", 1234, None)
    ),
    _malformed(
        "validate_code_code_other_type",
        "a code that is a list, an object, true",
        *having("code", ["1234"], {"code": "1234"}, True),  # noqa: FBT003
    ),
)

_CHARSET: Final = {"content-type": "application/json; charset=utf-8"}

HEADERS: Final[tuple[Scenario, ...]] = (
    _added("send_code_wrong_method", "GET", Expectation(405, ("METHOD_NOT_ALLOWED",)), another_method("GET")),
    _added(
        "validate_code_wrong_method",
        "PUT",
        Expectation(405, ("METHOD_NOT_ALLOWED",)),
        another_method("PUT"),
        session=FIRST,
        place=9,
    ),
    _added("unknown_path", "a path that does not exist", NOT_FOUND, unknown_path),
    _added(
        "validate_code_charset",
        "Content-Type with a charset",
        NOT_FOUND,
        accepted_headers("a Content-Type with charset=utf-8", headers=_CHARSET),
    ),
    _added(
        "send_code_charset",
        "Content-Type with a charset, and a message without the label",
        INVALID_ARGUMENT,
        requests(*_NO_LABEL, headers=_CHARSET),
    ),
    _added(
        "validate_code_any_accept", "Accept: */*", NOT_FOUND, accepted_headers("Accept: */*", headers={"accept": "*/*"})
    ),
    _added(
        "validate_code_no_accept",
        "no Accept header",
        NOT_FOUND,
        accepted_headers("a request without Accept", without=("accept",)),
    ),
    _added(
        "validate_code_capital_headers",
        "header names in capital letters",
        NOT_FOUND,
        accepted_headers("header names in capital letters", upper=True),
    ),
    _added("validate_code_duplicate_headers", "x-correlator twice", NOT_FOUND, duplicate_headers),
    _added(
        "validate_code_longest_x-correlator",
        "the longest x-correlator, of all characters allowed",
        NOT_FOUND,
        long_correlator,
    ),
    _added("validate_code_empty_x-correlator", "an empty x-correlator", NOT_FOUND, empty_correlator),
    _added(
        "validate_code_malformed_x-correlator",
        "an x-correlator with characters that are not allowed",
        INVALID_ARGUMENT,
        requests(headers={"x-correlator": "not allowed?"}),
        releases=("1.1.1",),
    ),
)

_UNSCOPED: Final = Expectation(403, ("PERMISSION_DENIED",), accepted="scope-not-checked")
_OTHER_CLIENT: Final = attrs.evolve(
    NOT_FOUND,
    also=((403, "PERMISSION_DENIED"), (403, "INVALID_TOKEN_CONTEXT"), (400, contract.EXPIRED)),
    accepted="id-of-another-client",
)

TOKENS: Final[tuple[Scenario, ...]] = (
    _added(
        "validate_code_of_another_client",
        "the right code with the token of another client",
        _OTHER_CLIENT,
        another_client,
        **_reads(FIRST, 5, needs=("other",)),
    ),
    *(
        _added(tag, "a token without the scope", _UNSCOPED, requests(client="unscoped"), needs=("unscoped",))
        for tag in ("send_code_without_scope", "validate_code_without_scope")
    ),
)

LIVE: Final[tuple[Scenario, ...]] = (
    _added(
        "validate_code_right_after_closing",
        "wrong codes until they are too many, then the right one",
        CLOSED,
        right_after_closing,
        **_reads(CLOSING, 1),
    ),
    _added(
        "validate_code_right_at_last_try",
        "wrong codes until one more would be too many, then the right one",
        VALID,
        right_at_last_try,
        **_reads(needs=("max_try",)),
    ),
    _added(
        "validate_code_newest_of_two",
        "the right code of the second of two SMS to a number, after codes and ids of both were mixed",
        VALID,
        newest,
        **_reads(_PAIR, 1, texts=2),
    ),
    _added("validate_code_twice_at_once", "the right code twice at the same moment", VALID, twice_at_once, **_reads()),
    _added(
        "validate_code_wrong_at_once",
        "many wrong codes at the same moment, then the right one",
        CLOSED,
        wrong_at_once,
        **_reads(),
    ),
    _added(
        "send_code_longest_message",
        "a message as long as is allowed, with the label in the middle",
        SENT,
        with_message(f"Check {{ref}}: {contract.LABEL} is your code ", fill="."),
        **_ONE_TEXT,
    ),
    _added(
        "send_code_message_beyond_ascii",
        "a message with letters beyond ASCII, with the label last",
        SENT,
        with_message(f"Control {{ref}}: tu código, 你好, es {contract.LABEL}", raw=True),
        **_ONE_TEXT,
    ),
    _added(
        "send_code_longest_message_beyond_ascii",
        "a message as long as is allowed, of letters that take several bytes",
        SENT,
        with_message(f"Código {{ref}}: {contract.LABEL} ", fill="ñ"),
        **_ONE_TEXT,
    ),
    _added(
        "send_code_label_twice",
        "a message that holds the label twice",
        SENT,
        with_message(f"{contract.LABEL} is your code. Check {{ref}}, code {contract.LABEL}."),
        **_ONE_TEXT,
    ),
    _added(
        "send_code_several_lines",
        "a message of several lines",
        SENT,
        with_message(f"Check {{ref}}\nYour code:\n{contract.LABEL}\nThank you"),
        **_ONE_TEXT,
    ),
)

SCENARIOS: Final[tuple[Scenario, ...]] = PUBLISHED + INVALID + HEADERS + TOKENS + LIVE


def scenarios(release: Release, *, added: bool = True) -> tuple[Scenario, ...]:
    """Return the scenarios of a release.

    Args:
        release: the release: `1.0.0`, `1.1.0` or `1.1.1`
        added: whether to include those that CAMARA did not publish
    """
    return tuple(
        scenario for scenario in SCENARIOS if release in scenario.releases and (added or scenario.origin == "published")
    )
