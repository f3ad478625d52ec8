"""Checks over real connections, and of hostile operators: none ends a run or gets a secret."""

import json
import ssl
from functools import partial
from xml.etree.ElementTree import fromstring

import anyio
import httpx
import pytest
import trustme

from camara_otp.conformance import SettingsError, UnreachableError, Verdict, plan, run, scenarios, settings_from
from camara_otp.conformance.reports import as_html, as_json, as_junit
from tests.conformance.independent import GOOD, PHONES, Operator, served, told
from tests.conformance.test_independent import causes, check

pytestmark = pytest.mark.long  # whole checks over real connections

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjbGllbnQifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"


@pytest.mark.parametrize(("protocol", "chunked"), [("HTTP/1.0", False), ("HTTP/1.1", False), ("HTTP/1.1", True)])
def test_a_right_operator_passes_over_any_form_of_http(protocol, chunked):
    operator = Operator()
    with served(operator, protocol=protocol, chunked=chunked) as url:
        report = check(operator, base=url)

    assert [(found.cause.title, found.places) for found in report.deviations] == []
    assert report.is_good()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def context_of(authority, name="localhost"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_a_certificate_that_does_not_verify_is_named(authority):
    operator = Operator()
    with served(operator, context=context_of(authority)) as url, pytest.raises(UnreachableError) as caught:
        check(operator, base=url)

    assert "the TLS certificate does not verify" in str(caught.value)
    assert "--ca-file" in str(caught.value)


def test_the_authority_of_a_certificate_can_be_given(authority, tmp_path):
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    operator = Operator()
    with served(operator, context=context_of(authority)) as url:
        assert check(operator, base=url, ca_file=str(file)).is_good()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base_url": "http://api.example.com"}, "plain http would show the access token"),
        ({"base_url": "https://api.example.com", "ca_file": "/does/not/exist"}, "ca_file: must be the path"),
        ({"base_url": "https://api.example.com", "require": [7]}, "require: must be a list of tags"),
    ],
)
def test_settings_that_would_do_harm_are_refused(settings, words):
    with pytest.raises(SettingsError, match=words):
        settings_from(settings)


def test_plain_http_is_allowed_on_this_machine_and_on_request():
    assert settings_from({"base_url": "http://127.0.0.1:9091"}).root
    assert settings_from({"base_url": "http://[::1]:9091"}).root
    assert settings_from({"base_url": "http://operator.internal", "allow_http": True}).root


HOSTILE = ["\0", "\ud800", "a\nb\r\nc: d", "x" * 70_000, "{base_url}{phone_number}", "-rf", "<script>alert(1)</script>"]


@pytest.mark.parametrize("value", [*HOSTILE, "\x1b[2J", "../../..", "%00", "\u202e\u200b"])
@pytest.mark.parametrize("how", ["http", "command"])
def test_no_id_ends_a_run(value, how):
    operator = Operator()
    inner = operator.new_id
    operator.new_id = lambda *args: value if not operator.ids else inner(*args)
    expire = {"how": "http", "url": "{base_url}/clock/{authentication_id}", "method": "POST", "timeout": 1}
    if how == "command":
        expire = {"how": "command", "command": ["true", "{authentication_id}"]}
    read = {"how": "http", "url": "{base_url}/inbox/{phone_number}", "timeout": 0.3}
    report = check(operator, expire=expire, read=read)

    assert not [outcome for outcome in report.outcomes if "check itself failed" in outcome.reason]
    for write in (as_html, as_json, as_junit):
        write(report).encode()
    assert fromstring(as_junit(report)) is not None


def test_a_value_that_a_hook_cannot_take_skips_one_scenario():
    operator = Operator()
    operator.new_id = lambda *_: f"-{len(operator.ids)}-id"
    report = check(operator, expire={"how": "command", "command": ["true", "{authentication_id}"]})

    reasons = [outcome.tag for outcome in report.outcomes if "not a safe argument" in outcome.reason]
    assert reasons == ["OTPvalidationAPI_400.6_validate_code_verification_expired_scenario_1"]


def test_a_hook_follows_no_redirect():
    operator = Operator()

    async def handler(request):
        if request.url.path.startswith("/inbox/"):
            return httpx.Response(302, headers={"location": "http://127.0.0.1:9091/elsewhere"})
        assert request.url.path != "/elsewhere"
        return await operator.handle_async_request(request)

    report = check(operator, transport=httpx.MockTransport(handler))

    assert any("redirects are not followed" in reason for reason in report.skips())
    assert report.not_judged


@pytest.mark.parametrize("deviation", ["label-not-required", "text-before-token", "any-token", "length-unlimited"])
@pytest.mark.parametrize("phones", [1, 8])
@pytest.mark.parametrize("limit", [{}, {"max_texts": 5}, {"max_texts": 3}, {"sms": False}])
def test_no_operator_sends_more_sms_than_were_announced(deviation, phones, limit):
    operator = Operator(deviation)
    settings = told(operator, numbers={"reachable": PHONES[:phones]}, **limit)
    announced = plan(settings, scenarios("1.1.1")).texts
    report = check(operator, numbers={"reachable": PHONES[:phones]}, **limit)

    assert len(operator.texts) <= max(1, announced)
    assert announced <= limit.get("max_texts", 100)
    assert not report.is_good()


@pytest.mark.parametrize("limit", [{"max_texts": 5}, {"max_texts": 3}])
def test_the_basics_come_first(limit):
    report = check(Operator(), numbers={"reachable": PHONES[:1]}, **limit)
    by_tag = {outcome.tag: outcome.verdict for outcome in report.outcomes}

    basics = ("01_validate_code_sucess_scenario", "400.5_validate_code_invalid_otp_scenario")
    basics += (
        "400.8_validate_code_verification_expired_scenario_3",
        "400.9_validate_code_verification_failed_scenario",
    )
    assert {by_tag[f"OTPvalidationAPI_{tag}"] for tag in basics} == {Verdict.PASS}
    assert report.is_good()


def test_a_signature_that_is_not_checked_is_found():
    def checked(*wrong):
        operator = Operator(*wrong, jwt=JWT)
        settings = told(operator)
        todo = plan(settings, scenarios("1.1.1"))
        return anyio.run(partial(run, settings, todo, JWT, transport=operator))

    assert causes(checked("signature-unchecked")) == ["token-not-checked"]
    assert checked().is_good()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"read": None}, "no right code was tried"),
        ({"numbers": None}, "no right code was tried and no wrong code was tried"),
        ({"sms": False}, "no right code was tried and no wrong code was tried"),
        ({"expire": None, "require": ["*expired_scenario_1"]}, "required scenarios were not run"),
    ],
)
def test_without_evidence_there_is_no_verdict(changes, reason):
    report = check(Operator(), **changes)

    assert report.worst is None
    assert reason in report.not_judged
    assert not report.is_good()
    assert "Not judged" in as_html(report)
    assert json.loads(as_json(report))["judged"] is False
    errors = fromstring(as_junit(report)).findall(".//error")
    assert [error.get("type") for error in errors] == ["not judged"]
    assert report.skips()


def test_many_failures_with_one_cause_are_one_deviation():
    report = check(Operator("error-html"))

    assert causes(report) == ["error-form"]
    assert len(report.deviations[0].places) > 40
    assert "HTTP" in report.deviations[0].examples[0].answer


@pytest.mark.parametrize("deviation", ["code-in-body", "token-in-header", "number-in-error", "sent-code-in-error"])
def test_no_report_shows_what_an_operator_leaks(deviation):
    operator = Operator(deviation)
    report = check(operator)

    secrets = {*operator.ids, *(found.code for found in operator.ids.values()), GOOD}
    digits = {number[-7:] for number, _, _ in operator.texts}
    for write in (as_html, as_json, as_junit):
        text = write(report)
        assert not {secret for secret in secrets if secret in text}
        assert not {number for number in digits if number in text.replace(" ", "")}


def test_a_symptom_is_not_a_deviation_of_its_own():
    report = check(Operator("accepts-any"))

    assert causes(report) == ["wrong-code-accepted"]
    assert "deviation-1" in as_html(report)
