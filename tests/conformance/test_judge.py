"""Single answers held against what had to come back: the grade, the words and the advice."""

import json

import attrs
import pytest

from camara_otp import errors
from camara_otp.conformance import Grade
from camara_otp.conformance.judge import RULES, Expectation, RuleContext, against, over_all, raised
from camara_otp.conformance.model import ReceivedResponse, RoundTrip, SentRequest
from tests.conformance.wrong import INFO, SECRET

SENT, VALID = Expectation(200), Expectation(204)
NO_TOKEN, BAD = Expectation(401, ("UNAUTHENTICATED",)), Expectation(400, ("INVALID_ARGUMENT",))
WRONG = Expectation(400, ("ONE_TIME_PASSWORD_SMS.INVALID_OTP",))
BLOCKED = Expectation(403, ("ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED",))


def exchange(operation, status=None, body=b"", failure=None, method="POST"):
    """Return an exchange with this end."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = (
        None if status is None else ReceivedResponse(status, (("content-type", "application/json"),), content, 0.01)
    )
    return RoundTrip(SentRequest(operation, method, f"http://op/{operation}", (), b""), answer, failure)


def error(status, code):
    """Return an error's body."""
    return {"status": status, "code": code, "message": "No."}


@pytest.mark.parametrize(
    ("expect", "answered", "grade", "text", "advice"),
    [
        (SENT, exchange("send-code", 307), Grade.BREAKS, "a redirect (307) instead of 200", "`base_url`"),
        (NO_TOKEN, exchange("send-code", 302), Grade.BREAKS, "a redirect (302) instead of 401", "`base_url`"),
        (BAD, exchange("send-code", 418), Grade.BREAKS, "418 without a code", "raises APIError with code=None"),
        (BAD, exchange("send-code", 422), Grade.BREAKS, "422 without a code", "raises HTTP422Error with code=None"),
        (BAD, exchange("send-code", 400, {}), Grade.BREAKS, "400 without a code", "raises HTTP400Error with code=None"),
        (BAD, exchange("send-code", 200), Grade.DIFFERS, "accepted with 200", "Well-formed requests are not"),
        (BAD, exchange("validate-code", 204), Grade.BREAKS, "accepted with 204", "the operator has to mend it"),
        (WRONG, exchange("validate-code", 204), Grade.BREAKS, "accepted with 204", "the operator has to mend it"),
        (BLOCKED, exchange("send-code", 200), Grade.BREAKS, "accepted with 200", "the operator has to mend it"),
        (NO_TOKEN, exchange("send-code", 200), Grade.BREAKS, "accepted with 200", "the operator has to mend it"),
        (
            NO_TOKEN,
            exchange("validate-code", 404, error(404, "NOT_FOUND")),
            Grade.BREAKS,
            "answered 404 NOT_FOUND instead of 401",
            "looked up without a good token",
        ),
        (SENT, exchange("send-code", failure="nothing within 1 s"), Grade.BREAKS, "no answer", "Raise `timeout`"),
        (SENT, exchange("send-code", failure="ReadError"), Grade.BREAKS, "no answer: ReadError", "what stands between"),
    ],
)
def test_an_answer_is_graded_by_what_it_does_to_clients(expect, answered, grade, text, advice):
    """With advice that holds for this answer."""
    (found,) = against(expect, answered)

    assert found.grade is grade
    assert text in found.text
    assert advice in found.advice


@pytest.mark.parametrize("status", [*range(400, 430), *range(500, 512), 599, 999])
def test_the_classes_named_in_advice_exist(status):
    """Each status has its own, or the class of all."""
    assert raised(status) == (f"HTTP{status}Error" if hasattr(errors, f"HTTP{status}Error") else "APIError")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"code": "INTERNAL", "message": "año"}'.encode("latin-1"), "text that is not UTF-8"),
        (json.dumps(error(400, "INVALID_ARGUMENT")).encode("utf-16"), "text that is not UTF-8"),
        (b"\xef\xbb\xbf" + json.dumps(error(400, "INVALID_ARGUMENT")).encode(), None),
        (b"[]", "something else than a JSON object"),
        (b"", "empty"),
        (b"<html>", "a page of HTML"),
    ],
)
@pytest.mark.parametrize(("method", "grade"), [("POST", Grade.BREAKS), ("GET", Grade.DIFFERS)])
def test_a_body_that_is_no_error_is_told_by_its_kind(body, text, method, grade):
    """It breaks clients only upon requests that clients make."""
    rule = next(rule for rule in RULES if rule.tag == INFO)
    answered = exchange("send-code", 400, body, method=method)
    found, _ = over_all(rule, [answered], RuleContext("1.1.1", 3.0, 10.0))

    assert [(finding.grade, text in finding.text) for finding, _ in found] == ([(grade, True)] if text else [])


def texted(number, code):
    """Return a send, with the code that the phone received."""
    sent = exchange("send-code", 200, {"authenticationId": "an-id"})
    body = json.dumps({"phoneNumber": number, "message": "{{code}}"}).encode()
    return attrs.evolve(sent, request=attrs.evolve(sent.request, body=body), code=code)


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        ([("+34600000111", "4711"), ("+34600000222", "4711"), ("+34600000333", "4711")], "the same code"),
        (
            [("+34600000111", "000111"), ("+34600000222", "000222"), ("+34600000333", "000333")],
            "a part of what was sent",
        ),
        ([("+34600000111", "4711"), ("+34600000222", "4711"), ("+34600000333", "4712")], None),
        ([("+34600000111", "0001"), ("+34600000222", "0002"), ("+34600000333", "4712")], None),
        ([("+34600000111", "4711"), ("+34600000222", "4711")], None),
        ([("+34600000111", "1"), ("+34600000222", "1"), ("+34600000333", "1")], None),
        ([], None),
    ],
)
def test_codes_that_can_be_known_beforehand_are_no_secret(texts, text):
    """Where they are many and long enough to be no chance."""
    rule = next(rule for rule in RULES if rule.tag == SECRET)
    found, _ = over_all(rule, [texted(*each) for each in texts], RuleContext("1.1.1", 3.0, 10.0))

    assert [(finding.grade, text in finding.text) for finding, _ in found] == ([(Grade.COSMETIC, True)] if text else [])
