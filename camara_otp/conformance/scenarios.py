"""The scenarios: CAMARA's published ones under their own tags, and the added ones, as one table.

Facts: the test definitions of CAMARA one-time-password-sms 1.0.0, 1.1.0 and 1.1.1. Tags are spelled as published.
Scenarios with the same session share one SMS: each continues where the one before it stopped.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import attrs

from camara_otp.conformance import contract, flows
from camara_otp.conformance.flows import Edit, Flow, having, of, requests, then, turning, without
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

_NOT_ALLOWED: Final = Expectation(403, (contract.NOT_ALLOWED,))
_BLOCKED: Final = Expectation(403, (contract.BLOCKED,))
_NOT_ACCEPTABLE: Final = Expectation(406, ("NOT_ACCEPTABLE",))
_UNSUPPORTED_MEDIA_TYPE: Final = Expectation(415, ("UNSUPPORTED_MEDIA_TYPE",))
_NO_METHOD: Final = Expectation(405, ("METHOD_NOT_ALLOWED",))
_NO_SCOPE: Final = Expectation(403, ("PERMISSION_DENIED",), accepted="scope-not-checked")
_OTHER_CLIENT: Final = Expectation(
    404,
    ("NOT_FOUND",),
    also=((403, "PERMISSION_DENIED"), (403, "INVALID_TOKEN_CONTEXT"), (400, contract.EXPIRED)),
    accepted="id-of-another-client",
)

_ONLY_1_0: Final[tuple[Release, ...]] = ("1.0.0",)
_SINCE_1_1: Final[tuple[Release, ...]] = ("1.1.0", "1.1.1")


def _one(_: Limits) -> int:
    return 1


def _all_but_one(limits: Limits) -> int:
    return (limits.max_send or 1) - 1


def _reads(session: str = "", place: int = 0, *, texts: int = 1, needs: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a scenario that reads the code of an SMS, which others may share."""
    return {"session": session, "place": place, "uses_text": texts, "needs": ("read", *needs)}


def _scenario(tag: str, sent: str, expect: Expectation, flow: Flow, accepted: str = "", **more: Any) -> Scenario:
    """Return a scenario.

    Args:
        tag: its name, which holds the operation
        sent: the request, in words; the subject of its findings
        expect: the response that is due
        flow: performs it
        accepted: the cause if the request is accepted; empty: that of `expect`
        more: further fields
    """
    operation: Operation = "send-code" if re.search("send_code|phone_number", tag) else "validate-code"
    expect = attrs.evolve(expect, what=sent, accepted=accepted or expect.accepted)
    return Scenario(tag, operation, sent, expect, flow, **more)


def _published(tag: str, sent: str, expect: Expectation, flow: Flow | None = None, **more: Any) -> Scenario:
    return _scenario(f"OTPvalidationAPI_{tag}", sent, expect, flow or requests(), **more)


def _added(tag: str, sent: str, expect: Expectation, flow: Flow, **more: Any) -> Scenario:
    return _scenario(f"camara_otp_{tag}", sent, expect, flow, **more, origin="added")


def _bad_body(tag: str, sent: str, *edits: Edit, **more: Any) -> Scenario:
    return _published(tag, sent, INVALID_ARGUMENT, requests(*edits), **more)


def _malformed(tag: str, sent: str, *edits: Edit) -> Scenario:
    return _added(tag, sent, INVALID_ARGUMENT, requests(*edits))


def _special(tag: str, who: str, sent: str, expect: Expectation) -> Scenario:
    return _published(tag, sent, expect, accepted="number-accepted", needs=(who,))


def _message(tag: str, sent: str, template: str, **how: Any) -> Scenario:
    return _added(f"send_code_{tag}", sent, SENT, flows.with_message(template, **how), texts=_one)


_BAD_TOKENS: Final = (
    ("", "no_authorization_header", "no Authorization header", "token-not-required"),
    ("expired", "expired_access_token", "an expired token", "expired-token-accepted"),
    ("invalid", "invalid_access_token", "a token that was never issued", "token-not-checked"),
)


def _refusals(name: str) -> tuple[Scenario, ...]:
    """Return the scenarios that both operations have, as the tags name them."""
    shares = {"session": FIRST, "uses_text": 1, "can_do_without": True} if name == "validate_code" else {}
    return (
        _bad_body(f"400.1_{name}_no_request_body", "no body at all", flows.nothing),
        _bad_body(f"400.2_{name}_empty_request_body", "an empty object", of({})),
        *(
            _published(
                f"401.{place}_{name}_{tag}",
                sent,
                UNAUTHENTICATED,
                flows.bad_token(token),
                accepted=cause,
                needs=("expired",) if token == "expired" else (),  # noqa: S105
                place=place,
                **shares,
            )
            for place, (token, tag, sent, cause) in enumerate(_BAD_TOKENS, 1)
        ),
    )


def _negotiation(name: str) -> tuple[Scenario, ...]:
    """Return the scenarios about media types, which only 1.0.0 has."""
    return tuple(
        _published(
            f"{due.status}_{name}_{tag}_scenario",
            sent,
            due,
            requests(headers={header: "application/xml"}),
            releases=_ONLY_1_0,
        )
        for tag, sent, header, due in (
            ("not_acceptable", "an Accept that cannot be served", "accept", _NOT_ACCEPTABLE),
            ("unsupported_media_type", "a Content-Type other than JSON", "content-type", _UNSUPPORTED_MEDIA_TYPE),
        )
    )


def _renumbered(old: str, new: str, tag: str, *row: Any, **more: Any) -> tuple[Scenario, ...]:
    """Return a scenario of validate-code under its number of 1.0.0 and under its number since 1.1.0."""
    return (
        _published(f"{old}_{tag}", *row, **more, releases=_ONLY_1_0),
        _published(f"{new}_{tag}", *row, **more, releases=_SINCE_1_1),
    )


_NO_LABEL: Final = having("message", "Your code has no place in this text")

PUBLISHED: Final[tuple[Scenario, ...]] = (
    _published(
        "01_send_code_success_scenario", "a well-formed request", SENT, flows.text_once, texts=_one, session=FIRST
    ),
    _published(
        "02_send_code_success_scenario_without_x-correlator",
        "a well-formed request without x-correlator",
        SENT,
        flows.send_without_correlator,
        texts=_one,
        session=CLOSING,
        place=2,
    ),
    _published("01_validate_code_sucess_scenario", "the right code", VALID, flows.right_code, **_reads(FIRST, 7)),
    _published(
        "02_validate_code_sucess_scenario_without_x-correlator",
        "the right code, without x-correlator",
        VALID,
        flows.right_code_without_correlator,
        **_reads(CLOSING, 3),
    ),
    _published(
        "03_send_code_max_otp_code",
        "one send more than the operator allows for a number",
        Expectation(403, (contract.MAX_CODES,)),
        flows.one_send_too_many,
        accepted="send-limit-missing",
        texts=_all_but_one,
        needs=("max_send",),
    ),
    _special("04_send_code_phone_number_not_allowed", "unreachable", "a number that cannot receive SMS", _NOT_ALLOWED),
    _special("05_send_code_phone_number_not_allowed_3", "landline", "a landline", _NOT_ALLOWED),
    _special("06_send_code_phone_number_blocked", "blocked", "a number with SMS barring", _BLOCKED),
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
    _bad_body("400.7_send_code_message_too_long", "a message one character too long", flows.too_long_message),
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
        flows.wrong_code,
        session=FIRST,
        place=6,
        uses_text=1,
        needs=("second try",),
    ),
    *_renumbered(
        "09",
        "400.6",
        "validate_code_verification_expired_scenario_1",
        "the right code, too late",
        EXPIRED,
        flows.too_late,
        accepted="expired-code-accepted",
        **_reads(needs=("expire",)),
    ),
    *_renumbered(
        "10",
        "400.7",
        "validate_code_verification_expired_scenario_2",
        "the right code of the first of two SMS to a number",
        EXPIRED,
        flows.superseded,
        accepted="superseded-code-accepted",
        **_reads(_PAIR, texts=2),
    ),
    *_renumbered(
        "11",
        "400.8",
        "validate_code_verification_expired_scenario_3",
        "the right code a second time",
        EXPIRED,
        flows.used_twice,
        accepted="used-code-accepted",
        **_reads(FIRST, 8),
    ),
    *_renumbered(
        "12",
        "400.9",
        "validate_code_verification_failed_scenario",
        "the wrong code that is one too many",
        FAILED,
        flows.last_wrong_code,
        session=CLOSING,
        uses_text=1,
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
    _malformed("send_code_no_object", "JSON that is not an object", *_NO_OBJECTS),
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
        "a phoneNumber with spaces or dashes",
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
    _malformed(
        "send_code_message_far_too_long", "a message of 20,000 characters", *turning("message", "{:.<20000}".format)
    ),
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
    _malformed("validate_code_no_object", "JSON that is not an object", *_NO_OBJECTS),
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


def _unusual(tag: str, sent: str, **how: Any) -> Scenario:
    return _added(f"validate_code_{tag}", sent, NOT_FOUND, flows.accepted_headers(**how))


HEADERS: Final[tuple[Scenario, ...]] = (
    _added("send_code_wrong_method", "GET", _NO_METHOD, flows.another_method("GET")),
    _added("validate_code_wrong_method", "PUT", _NO_METHOD, flows.another_method("PUT"), session=FIRST, place=9),
    _added("unknown_path", "a path that does not exist", NOT_FOUND, flows.unknown_path),
    _unusual("charset", "Content-Type with a charset", headers=_CHARSET),
    _added(
        "send_code_charset",
        "Content-Type with a charset, and a message without the label",
        INVALID_ARGUMENT,
        requests(*_NO_LABEL, headers=_CHARSET),
    ),
    _unusual("any_accept", "Accept: */*", headers={"accept": "*/*"}),
    _unusual("no_accept", "no Accept header", without=("accept",)),
    _unusual("capital_headers", "header names in capital letters", upper=True),
    _added("validate_code_duplicate_headers", "x-correlator twice", NOT_FOUND, flows.duplicate_headers),
    _added(
        "validate_code_longest_x-correlator",
        "the longest x-correlator, of all characters allowed",
        NOT_FOUND,
        flows.long_correlator,
    ),
    _added("validate_code_empty_x-correlator", "an empty x-correlator", NOT_FOUND, flows.empty_correlator),
    _added(
        "validate_code_malformed_x-correlator",
        "an x-correlator with characters that are not allowed",
        INVALID_ARGUMENT,
        requests(headers={"x-correlator": "not allowed?"}),
        releases=("1.1.1",),
    ),
)

TOKENS: Final[tuple[Scenario, ...]] = (
    _added(
        "validate_code_of_another_client",
        "the right code with the token of another client",
        _OTHER_CLIENT,
        flows.another_client,
        **_reads(FIRST, 5, needs=("other",)),
    ),
    *(
        _added(tag, "a token without the scope", _NO_SCOPE, requests(client="unscoped"), needs=("unscoped",))
        for tag in ("send_code_without_scope", "validate_code_without_scope")
    ),
)

LIVE: Final[tuple[Scenario, ...]] = (
    _added(
        "validate_code_right_after_closing",
        "wrong codes until they are too many, then the right one",
        CLOSED,
        flows.right_after_closing,
        **_reads(CLOSING, 1),
    ),
    _added(
        "validate_code_right_at_last_try",
        "wrong codes until one more would be too many, then the right one",
        VALID,
        flows.right_at_last_try,
        **_reads(needs=("max_try",)),
    ),
    _added(
        "validate_code_newest_of_two",
        "the right code of the second of two SMS to a number, after codes and ids of both were mixed",
        VALID,
        flows.newest,
        **_reads(_PAIR, 1, texts=2),
    ),
    _added(
        "validate_code_twice_at_once", "the right code twice at the same moment", VALID, flows.twice_at_once, **_reads()
    ),
    _added(
        "validate_code_wrong_at_once",
        "many wrong codes at the same moment, then the right one",
        CLOSED,
        flows.wrong_at_once,
        **_reads(),
    ),
    _message(
        "longest_message",
        "a message as long as is allowed, with the label in the middle",
        "Check {ref}: {{code}} is your code ",
        fill=".",
    ),
    _message(
        "message_beyond_ascii",
        "a message with letters beyond ASCII, with the label last",
        "Control {ref}: tu código, 你好, es {{code}}",
        raw=True,
    ),
    _message(
        "longest_message_beyond_ascii",
        "a message as long as is allowed, of letters that take several bytes",
        "Código {ref}: {{code}} ",
        fill="ñ",
    ),
    _message(
        "label_twice", "a message that holds the label twice", "{{code}} is your code. Check {ref}, code {{code}}."
    ),
    _message("several_lines", "a message of several lines", "Check {ref}\nYour code:\n{{code}}\nThank you"),
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
