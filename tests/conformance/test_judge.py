"""Single responses compared with the expected ones: the grade, the words and the advice."""

import json
import re

import attrs
import pytest

from camara_otp.conformance import Grade
from camara_otp.conformance.judge import Expectation, against
from camara_otp.conformance.model import Delivery, ReceivedResponse, RoundTrip, SentRequest
from camara_otp.conformance.rules import RULES, RuleContext, over_all
from tests.conformance.wrong import INFO, TEXT

SENT, VALID = Expectation(200), Expectation(204)
NO_TOKEN = Expectation(401, ("UNAUTHENTICATED",), accepted="token-not-required")
BAD = Expectation(400, ("INVALID_ARGUMENT",))
WRONG = Expectation(400, ("ONE_TIME_PASSWORD_SMS.INVALID_OTP",), accepted="wrong-code-accepted")
BLOCKED = Expectation(403, ("ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED",), accepted="number-accepted", what="a line")


def exchange(operation, status=None, body=b"", failure=None, method="POST"):
    """Return an exchange with this response."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = (
        None if status is None else ReceivedResponse(status, (("content-type", "application/json"),), content, 0.01)
    )
    return RoundTrip(SentRequest(operation, method, f"http://op/{operation}", (), b""), answer, failure)


def error(status, code):
    """Return an error's body."""
    return {"status": status, "code": code, "message": "No."}


@pytest.mark.parametrize(
    ("expect", "answered", "cause", "text"),
    [
        (SENT, exchange("send-code", 307), "redirect", "a redirect (307) instead of 200"),
        (NO_TOKEN, exchange("send-code", 302), "redirect", "a redirect (302) instead of 401"),
        (
            BAD,
            exchange("send-code", 418),
            "error-form",
            "responded with 418 instead of 400 INVALID_ARGUMENT: the body of",
        ),
        (
            BAD,
            exchange("send-code", 400, {}),
            "error-form",
            "responded with 400 instead of 400 INVALID_ARGUMENT: the `code`",
        ),
        (BAD, exchange("send-code", 200), "invalid-request-accepted", "accepted with 200"),
        (BAD, exchange("validate-code", 204), "invalid-request-accepted", "accepted with 204"),
        (BAD, exchange("send-code", 500, error(500, "INTERNAL")), "server-fault", "responded with 500 INTERNAL"),
        (BAD, exchange("send-code", 403, error(403, "PERMISSION_DENIED")), "other-error", "403 PERMISSION_DENIED"),
        (WRONG, exchange("validate-code", 204), "wrong-code-accepted", "accepted with 204"),
        (WRONG, exchange("validate-code", 400, error(400, "INVALID_OTP")), "code-prefix", "400 INVALID_OTP instead of"),
        (WRONG, exchange("validate-code", 400, error(400, "wrong")), "code-form", "400 wrong instead of"),
        (WRONG, exchange("validate-code", 422, error(422, WRONG.codes[0])), "code-status", "with status 422"),
        (WRONG, exchange("validate-code", 400, error(400, "INVALID_ARGUMENT")), "other-outcome", "INVALID_ARGUMENT"),
        (BLOCKED, exchange("send-code", 200), "number-accepted", "accepted with 200"),
        (NO_TOKEN, exchange("send-code", 200), "token-not-required", "accepted with 200"),
        (
            NO_TOKEN,
            exchange("validate-code", 400, error(400, WRONG.codes[0])),
            "token-not-required",
            "let through to 400",
        ),
        (
            NO_TOKEN,
            exchange("validate-code", 404, error(404, "NOT_FOUND")),
            "token-checked-late",
            "responded with 404 NOT_FOUND instead of 401",
        ),
        (SENT, exchange("send-code", 401, error(401, "UNAUTHENTICATED")), "good-token-refused", "401 UNAUTHENTICATED"),
        (SENT, exchange("send-code", 201), "success-status", "responded with 201 instead of 200"),
        (SENT, exchange("send-code", 200, b"{"), "success-body", "JSON that is cut off"),
        (SENT, exchange("send-code", failure="no response within 1 s"), "no-response", "no response within 1 s"),
    ],
)
def test_a_response_is_judged_by_its_cause(expect, answered, cause, text):
    (found,) = against(expect, answered)

    assert found.cause.name == cause
    assert text in found.text
    # Nothing in braces is left of the table.
    assert not re.search(r"\{[a-z_]+[:}]", found.cause.title + found.cause.operator.replace("{{code}}", ""))


def test_a_right_response_has_no_finding():
    assert against(VALID, exchange("validate-code", 204)) == []
    assert against(SENT, exchange("send-code", 200, {"authenticationId": "an-id"})) == []
    assert against(BAD, exchange("send-code", 400, error(400, "INVALID_ARGUMENT"))) == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"code": "INTERNAL", "message": "año"}'.encode("latin-1"), "text that is not UTF-8"),
        (json.dumps(error(400, "INVALID_ARGUMENT")).encode("utf-16"), "text that is not UTF-8"),
        (b"\xef\xbb\xbf" + json.dumps(error(400, "INVALID_ARGUMENT")).encode(), None),
        (b"[]", "a JSON list"),
        (b'{"code": "X", "mess', "JSON that is cut off"),
        (b'{"code": "X",}', "JSON that is not valid"),
        (json.dumps(json.dumps(error(400, "INVALID_ARGUMENT"))).encode(), "JSON that is encoded twice"),
        (b"", "empty"),
        (b"<html>", "a page of HTML"),
    ],
)
@pytest.mark.parametrize(("method", "grade"), [("POST", Grade.BREAKS), ("GET", Grade.DIFFERS)])
def test_a_body_that_is_no_error_is_told_by_its_kind(body, text, method, grade):
    """It breaks clients only for requests that clients make."""
    rule = next(rule for rule in RULES if rule.tag == INFO)
    answered = exchange("send-code", 400, body, method=method)
    found, _ = over_all(rule, [answered], RuleContext("1.1.1", 3.0))

    assert [(finding.grade, text in finding.text) for finding, _ in found] == ([(grade, True)] if text else [])


def received(number, code):
    """Return a send with the code that the phone received."""
    sent = exchange("send-code", 200, {"authenticationId": "an-id"})
    body = json.dumps({"phoneNumber": number, "message": "{{code}}"}).encode()
    return attrs.evolve(
        sent, request=attrs.evolve(sent.request, body=body), delivery=Delivery(number, "{{code}}", code, code)
    )


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        ([("+34600000111", "4711"), ("+34600000222", "4711"), ("+34600000333", "4711")], "all are the same"),
        (
            [("+34600000111", "000111"), ("+34600000222", "000222"), ("+34600000333", "000333")],
            "digits of the phone number",
        ),
        ([("+34600000111", "4711"), ("+34600000222", "4711"), ("+34600000333", "4712")], None),
        ([("+34600000111", "0001"), ("+34600000222", "0002"), ("+34600000333", "4712")], None),
        ([("+34600000111", "4711"), ("+34600000222", "4713"), ("+34600000333", "4712")], "in sequence"),
        ([("+34600000111", "4711"), ("+34600000222", "4711")], None),
        ([("+34600000111", "192"), ("+34600000222", "803"), ("+34600000333", "475")], "3 characters"),
        ([], None),
    ],
)
def test_codes_that_can_be_known_beforehand_are_no_secret(texts, text):
    """Only if they are many, and too long to match by chance."""
    rule = next(rule for rule in RULES if rule.tag == TEXT)
    found, _ = over_all(rule, [received(*each) for each in texts], RuleContext("1.1.1", 3.0))

    said = [finding for finding, _ in found if finding.cause.name == "codes-guessable"]
    assert [(finding.grade, text in finding.text) for finding in said] == ([(Grade.ADVICE, True)] if text else [])
