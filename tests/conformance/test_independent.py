"""The judgement of an independent operator in wrong and right versions, each with the expected cause."""

from functools import partial

import anyio
import pytest

from camara_otp.conformance import Grade, plan, run, scenarios
from tests.conformance.independent import GOOD, PHONES, Operator, told

# Hundreds of whole checks.
pytestmark = pytest.mark.long

# What is wrong with the operator, and the cause that the check has to name.
WRONG = {
    # Codes.
    "accepts-any": "wrong-code-accepted",
    "accepts-first-four": "wrong-code-accepted",
    "accepts-last-four": "wrong-code-accepted",
    "accepts-ends": "wrong-code-accepted",
    "accepts-longer": "wrong-code-accepted",
    "accepts-prefix": "wrong-code-accepted",
    "accepts-suffix": "wrong-code-accepted",
    "accepts-substring": "wrong-code-accepted",
    "accepts-empty": "wrong-code-accepted",
    "accepts-blank": "wrong-code-accepted",
    "accepts-trimmed": "code-format-not-strict",
    "accepts-as-number": "code-format-not-strict",
    "accepts-any-issued": "wrong-code-accepted",
    "accepts-phone-codes": "wrong-code-accepted",
    "accepts-master": "wrong-code-accepted",
    "accepts-master-123456": "wrong-code-accepted",
    "accepts-sorted": "wrong-code-accepted",
    "accepts-same-length": "wrong-code-accepted",
    "accepts-second-try": "wrong-code-accepted",
    "code-as-int": "code-format-not-strict",
    "code-in-list": "code-format-not-strict",
    "refuses-right": "right-code-refused",
    "wrong-is-422": "code-status",
    "wrong-is-401": "other-outcome",
    "wrong-is-argument": "other-outcome",
    "wrong-is-200": "wrong-code-accepted",
    # Ids.
    "id-case": "id-not-exact",
    "id-trimmed": "id-not-exact",
    "id-in-list": "id-not-exact",
    "id-same-for-phone": "id-not-unique",
    "unknown-id-expired": "other-outcome",
    "unknown-id-invalid-otp": "other-outcome",
    "unknown-id-204": "wrong-code-accepted",
    "id-length-unchecked": "other-error",
    "code-length-unchecked": "other-error",
    # The life of an id.
    "used-again": "used-code-accepted",
    "used-invalid": "other-outcome",
    "old-id-lives": "superseded-code-accepted",
    "never-expires": "expired-code-accepted",
    "expired-failed": "other-outcome",
    "closed-opens": "closed-id-accepted",
    "closing-invalid-otp": "tries-miscounted",
    "closing-expired": "other-outcome",
    "tries-unlimited": "tries-not-limited",
    "tries-one-more": "tries-miscounted",
    "tries-one-less": "tries-miscounted",
    "distinct-only": "tries-not-limited",
    "tries-per-phone": "phone-locked",
    "phone-locked": "phone-locked",
    "phone-locked-send": "phone-locked",
    "race-use": "used-code-accepted",
    "race-tries": "tries-race",
    "limit-early": "send-limit-early",
    "limit-global": "send-limit-early",
    "limit-missing": "send-limit-missing",
    "limit-429": "code-status",
    # Tokens.
    "token-optional": "token-not-required",
    "token-optional-on-validate": "token-not-required",
    "token-optional-on-send": "token-not-required",
    "any-token": "token-not-checked",
    "any-token-on-validate": "token-not-checked",
    "expired-token-good": "expired-token-accepted",
    "expired-token-good-on-validate": "expired-token-accepted",
    "scope-unchecked": "scope-not-checked",
    "clients-mixed": "id-of-another-client",
    "403-for-401": "other-error",
    "401-own-code": "other-error",
    "internal-for-401": "server-fault",
    "text-before-token": "text-without-permission",
    # Secrets.
    "code-in-body": "code-leaked",
    "code-in-debug-text": "code-leaked",
    "code-in-header": "code-leaked",
    "code-base64": "code-leaked",
    "code-hashed": "code-leaked",
    "code-in-error": "code-leaked",
    "sent-code-in-error": "personal-data-leaked",
    "number-in-success": "personal-data-leaked",
    "number-in-error": "personal-data-leaked",
    "token-in-header": "personal-data-leaked",
    # Texts.
    "no-text": "no-text",
    "text-to-another": "no-text",
    "text-own-words": "no-text",
    "label-kept": "no-code-in-text",
    "text-no-code": "no-code-in-text",
    "label-once": "text-differs",
    "text-advert": "text-differs",
    "text-prefix": "text-differs",
    "text-cut": "text-differs",
    "text-ascii": "text-differs",
    "text-no-accents": "text-differs",
    "text-one-line": "text-differs",
    "text-twice": "text-twice",
    "code-eleven": "code-too-long",
    # Requests.
    "number-as-int": "invalid-request-accepted",
    "number-in-list": "invalid-request-accepted",
    "number-blanks": "invalid-request-accepted",
    "number-letters": "invalid-request-accepted",
    "number-00": "invalid-request-accepted",
    "number-leading-zero": "invalid-request-accepted",
    "number-unicode-digits": "invalid-request-accepted",
    "number-too-long": "invalid-request-accepted",
    "number-too-short": "invalid-request-accepted",
    "number-plus-optional": "invalid-request-accepted",
    "number-newline": "invalid-request-accepted",
    "message-any-type": "invalid-request-accepted",
    "empty-message-default": "invalid-request-accepted",
    "label-spaced": "invalid-request-accepted",
    "label-not-required": "invalid-request-accepted",
    "length-unlimited": "invalid-request-accepted",
    "correlator-unchecked": "other-error",
    "length-in-bytes": "good-request-refused",
    "length-after-substitution": "good-request-refused",
    "length-140": "good-request-refused",
    "length-159": "good-request-refused",
    "message-single-line": "good-request-refused",
    "label-must-be-first": "good-request-refused",
    "label-only-once": "good-request-refused",
    "ascii-only": "good-request-refused",
    "charset-refused": "good-request-refused",
    "accept-any-refused": "good-request-refused",
    "correlator-required": "good-request-refused",
    "correlator-uuid-only": "correlator-refused",
    "empty-correlator-crashes": "server-fault",
    "broken-json-500": "server-fault",
    "no-object-500": "server-fault",
    "types-500": "server-fault",
    "any-method": "method",
    "unknown-path-200": "unknown-path",
    "unknown-path-500": "server-fault",
    "unknown-path-html": "error-form",
    "landline-caused_sms": "number-accepted",
    "unreachable-caused_sms": "number-accepted",
    "barred-caused_sms": "number-accepted",
    "foreign-caused_sms": "number-accepted",
    # The form of responses.
    "correlator-lowered": "correlator-echo",
    "correlator-cut": "correlator-echo",
    "correlator-only-on-success": "correlator-echo",
    "no-correlator-on-401": "correlator-echo",
    "no-correlator-on-204": "correlator-echo",
    "correlator-new": "correlator-echo",
    "correlator-twice": "duplicate-header",
    "type-twice": "duplicate-header",
    "type-missing-on-errors": "content-type",
    "type-html": "content-type",
    "type-problem": "content-type",
    "type-utf16": "content-type",
    "id-snake": "success-body",
    "id-nested": "success-body",
    "id-null": "success-body",
    "id-missing": "success-body",
    "id-too-long": "success-body",
    "success-twice-encoded": "success-body",
    "success-cut": "success-body",
    "success-list": "success-body",
    "send-201": "success-status",
    "send-202": "success-status",
    "validate-200": "success-status",
    "redirect-after-validate": "redirect",
    "error-html": "error-form",
    "error-empty": "error-form",
    "error-plain": "error-form",
    "error-cut": "error-form",
    "error-twice-encoded": "error-form",
    "error-latin1": "error-form",
    "error-rfc6749": "error-form",
    "error-in-errors": "error-form",
    "error-under-detail": "error-nested",
    "error-status-text": "error-status",
    "error-no-message": "error-message",
    "code-other-prefix": "code-prefix",
    "code-lower": "code-form",
}

# Without these the deviation cannot show.
QUIRKS = {"accepts-as-number": {"codes": "zeros"}, "id-trimmed": {"ids": "opaque"}}

# Said as advice: a test environment may do so.
ADVISED = {
    "code-constant": "all are the same",
    "code-counter": "numbers in sequence",
    "code-from-number": "digits of the phone number",
    "code-from-time": "digits of the time",
    "code-three-digits": "3 characters",
    "code-pool": "held 2 codes",
    "id-counter": "numbered",
    "id-with-number": "made from the phone number",
    "id-with-code": "hold the code",
    "id-with-time": "hold the time",
    "id-uuid1": "hold the time",
    "id-hash": "made from the phone number",
}

FEW = {"numbers": {"reachable": PHONES[:1], "landline": None, "unreachable": None, "blocked": None, "foreign": None}}

# Right operators: how they are, and what the settings tell about them.
RIGHT = {
    "usual": ({}, {}),
    "limits not told": ({}, {"limits": {}}),
    "one phone, limits not told": ({}, {**FEW, "limits": {}}),
    "one phone": ({}, FEW),
    "first wrong code closes": ({"max_try": 1}, {}),
    "first wrong code closes, not told": ({"max_try": 1}, {"limits": {}}),
    "second wrong code closes, not told": ({"max_try": 2}, {"limits": {}}),
    "ten tries, not told": ({"max_try": 10}, {"limits": {}}),
    "one text to a phone, not told": ({"max_send": 2}, {"limits": {}}),
    "many texts to a phone": ({"max_send": 20, "max_try": 5}, {}),
    "number first": ({"number_first": True}, {}),
    "number first, no phone": ({"number_first": True}, {"numbers": None}),
    "token after the body": ({"token_after_body": True}, {}),
    "aborts one of two at once": ({"aborts": True}, {}),
    "codes of letters": ({"codes": "letters"}, {}),
    "codes of all letters": ({"codes": "mixed", "ids": "opaque"}, {}),
    "codes of ten digits": ({"codes": "digits10"}, {}),
    "codes of four digits among numbers": ({"codes": "digits4", "extra_members": True, "noise": True}, {}),
    "codes with zeros in front": ({"codes": "zeros"}, {}),
    "inbox of XML": ({"inbox": "xml"}, {}),
    "inbox of HTML": ({"inbox": "html"}, {}),
    "plain inbox": ({"inbox": "plain"}, {}),
    "a closed id is expired": ({"closed_is_expired": True}, {}),
    "strict bodies, own correlator": ({"strict": True, "own_correlator": True, "charset": True}, {}),
    "slow": ({"latency": 0.02}, {"slow": 0.01}),
    "late texts": ({"late": 0.4}, {"read": {"how": "http", "url": "{base_url}/inbox/{phone_number}", "timeout": 5}}),
    "elsewhere, as told": ({"path": "/x/otp/v9"}, {"api_path": "/x/otp/v9"}),
    "last text only": (
        {},
        {"read": {"how": "http", "url": "{base_url}/inbox/{phone_number}", "field": "-1.text", "timeout": 0.3}},
    ),
    "other clients not told": ({}, {"tokens": None}),
    "rate limited": ({"rate": 9}, {}),
}


def check(operator, transport=None, base=None, **changes):
    """Run a whole check."""
    settings = told(operator, base, **changes) if base else told(operator, **changes)
    todo = plan(settings, scenarios(settings.release))
    report = anyio.run(partial(run, settings, todo, GOOD, transport=transport or (None if base else operator)))
    assert len(operator.texts) <= max(1, todo.texts) * (1 + operator.has("text-twice"))
    return report


def causes(report):
    """Return the causes in the report, worst first."""
    return [deviation.cause.name for deviation in report.deviations if deviation.grade > Grade.ADVICE]


@pytest.mark.parametrize(("deviation", "cause"), WRONG.items(), ids=WRONG)
def test_a_wrong_operator_is_caught_with_its_cause(deviation, cause):
    report = check(Operator(deviation, **QUIRKS.get(deviation, {})))

    assert cause in causes(report)
    assert not report.is_good()


@pytest.mark.parametrize(("deviation", "words"), ADVISED.items(), ids=ADVISED)
def test_what_can_be_guessed_is_said_as_advice(deviation, words):
    report = check(Operator(deviation))

    said = [found.cause.title for found in report.deviations if found.cause.name.endswith("guessable")]
    assert [words in title for title in said] == [True]
    assert report.is_good()


@pytest.mark.parametrize(("quirks", "changes"), RIGHT.values(), ids=RIGHT)
def test_a_right_operator_is_not_called_wrong(quirks, changes, monkeypatch):
    async def sleep(_):
        await anyio.lowlevel.checkpoint()

    if "rate" in quirks:
        monkeypatch.setattr("camara_otp.conformance.throttle.anyio.sleep", sleep)
    report = check(Operator(**quirks), **changes)

    places = [(place.tag, place.text) for found in report.deviations if found.grade > 1 for place in found.places]
    assert places == []
    assert (report.not_judged == "") is (changes.get("numbers", {}) is not None)
