"""The scenarios: CAMARA's published ones under their own tags, and those we add, as one table.

Facts: the test definitions of CAMARA one-time-password-sms 1.0.0, 1.1.0 and 1.1.1. Tags are spelled as published.
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
    INVALID_OTP,
    NO_METHOD,
    NOT_FOUND,
    SENT,
    UNAUTHENTICATED,
    VALID,
    Edit,
    Flow,
    cut,
    empty,
    having,
    last_wrong_code,
    long_correlator,
    message_of,
    newest,
    nothing,
    one_send_too_many,
    right_after_wrong,
    right_code,
    single,
    superseded,
    too_late,
    turning,
    twice_at_once,
    used_twice,
    without,
    wrong_code,
    wrong_method,
)
from camara_otp.conformance.judge import Expectation
from camara_otp.conformance.model import RELEASES, Operation, Origin, Release
from camara_otp.conformance.settings import Limits, Settings


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
    expect: Expectation
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
SPECIAL_NUMBERS: Final = ("unreachable", "landline", "blocked", "foreign")


def _published(
    tag: str, operation: Operation, sent: str, expect: Expectation, flow: Flow | None = None, **more: Any
) -> Scenario:
    return Scenario(f"OTPvalidationAPI_{tag}", operation, sent, expect, flow or single(operation, expect), **more)


def _added(tag: str, operation: Operation, sent: str, expect: Expectation, flow: Flow, **more: Any) -> Scenario:
    return Scenario(f"camara_otp_{tag}", operation, sent, expect, flow, origin="added", **more)


def _one(_: Limits) -> int:
    return 1


def _two(_: Limits) -> int:
    return 2


def _all_but_one(limits: Limits) -> int:
    return max(0, (limits.max_send or 1) - 1)


def _refused(code: str, status: int = 403) -> Expectation:
    return Expectation(status, (code,))


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


def _special(tag: str, who: str, sent: str, expect: Expectation) -> Scenario:
    return _published(tag, "send-code", sent, expect, needs=(who,))


def _bad_body(tag: str, operation: Operation, sent: str, *edits: Edit, **more: Any) -> Scenario:
    return _published(tag, operation, sent, INVALID_ARGUMENT, single(operation, INVALID_ARGUMENT, *edits), **more)


def _malformed(tag: str, operation: Operation, sent: str, *edits: Edit) -> Scenario:
    return _added(tag, operation, sent, INVALID_ARGUMENT, single(operation, INVALID_ARGUMENT, *edits))


def _renumbered(old: str, new: str, sent: str, expect: Expectation, flow: Flow, **more: Any) -> tuple[Scenario, ...]:
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
