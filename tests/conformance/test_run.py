"""A check in progress, with operators that are unreachable, slow, faulty or busy, and its advice."""

from collections import defaultdict
from functools import partial

import anyio
import httpx
import pytest

from camara_otp.conformance import (
    Grade,
    UnreachableError,
    Verdict,
    contract,
    plan,
    run,
    sandbox_settings,
    scenarios,
    settings_from,
)
from camara_otp.conformance.check import NO_TEXTS_LEFT
from camara_otp.conformance.rules import PATH_UNKNOWN
from camara_otp.sandbox import Sandbox
from tests.conformance.wrong import CASES, DEFAULTS, OPTIONAL, V01

URL = "http://127.0.0.1:9091"


def checked(settings, transport, only="", **options):
    """Run the scenarios whose tags contain some words."""
    chosen = [scenario for scenario in scenarios(settings.release) if only in scenario.tag]
    return anyio.run(partial(run, settings, plan(settings, chosen), "good-token", transport=transport, **options))


def by_tag(report):
    """Return outcomes by tag."""
    return {outcome.tag: outcome for outcome in report.outcomes}


def told(**settings):
    """Return the settings for a sandbox."""
    usual = sandbox_settings(URL, DEFAULTS)
    # In process, an SMS arrives at once, or never.
    return settings_from({**usual, "read": {**usual["read"], "timeout": 1.0}, **settings})


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_runs_on_both_event_loops(backend):
    """The verdict is the same on asyncio and trio."""
    settings = told()
    todo = plan(settings, scenarios("1.1.1"))

    report = anyio.run(partial(run, settings, todo, "t", transport=Sandbox().transport()), backend=backend)

    assert report.is_good()


@pytest.mark.parametrize(
    ("error", "words"),
    [(httpx.ConnectError("no"), "no connection could be made"), (httpx.ReadTimeout("late"), "timed out")],
)
def test_an_operator_that_is_away_is_no_finding(error, words):
    def away(request):
        raise error

    with pytest.raises(UnreachableError, match=f"{URL}: {words}$"):
        checked(told(), httpx.MockTransport(away))


def test_an_answer_that_does_not_come_fails_its_scenario():
    """It fails within its time, and fails no other scenario."""
    inner = Sandbox().transport()

    async def handler(request):
        if request.content == b"{}" and b"send-code" in request.url.raw_path:
            await anyio.sleep(5)
        return await inner.handle_async_request(request)

    report = checked(told(timeout=0.3), httpx.MockTransport(handler))

    failed = [outcome for outcome in report.outcomes if outcome.verdict is Verdict.FAIL]
    assert [outcome.tag for outcome in failed] == ["OTPvalidationAPI_400.2_send_code_empty_request_body"]
    assert failed[0].findings[0].text == "no response: no response within 0.3 s"


@pytest.mark.parametrize(
    ("path", "settings"), [("/one-time-password-sms/v0", {}), ("/otpvalidation", {}), ("/x/y", {"api_path": "/x/y/"})]
)
def test_the_operations_are_found(path, settings):
    """At the paths that operators use, or at the path of the settings."""
    report = checked(told(**settings), Sandbox(api_paths=[path]).transport(), only="401")

    assert report.api_path == path
    # What the settings name is no surprise.
    assert report.count(Verdict.FAIL) == (path == "/one-time-password-sms/v0")


def test_operations_that_are_nowhere_fail_everything():
    """They are sent to the first path, which the report does not call right."""
    report = checked(told(), httpx.MockTransport(lambda _: httpx.Response(404)), only="40")

    assert report.api_path == "/one-time-password-sms/v1"
    assert report.count(Verdict.FAIL) > 5
    assert by_tag(report)["contract_path"].verdict is Verdict.SKIP
    assert PATH_UNKNOWN in report.recommendations[0]


def gateway(sandbox, refuses, status=401):
    """Return an operator behind a gateway that refuses some requests in the same way, whatever their path."""

    async def handler(request):
        if refuses(request):
            return httpx.Response(status, json={"status": status, "code": "UNAUTHENTICATED", "message": "no"})
        return await inner.handle_async_request(request)

    inner = sandbox.transport()
    return httpx.MockTransport(handler)


def without_token(request):
    """Return whether a gateway that requires a valid token refuses a request."""
    return request.headers.get("authorization") != "Bearer good-token" or request.headers.get("x-api-key") != "k"


@pytest.mark.parametrize("status", [401, 404])
@pytest.mark.parametrize("path", ["/one-time-password-sms/v1", "/v1/otp", "/otpvalidation"])
def test_the_operations_are_found_behind_a_gateway_that_asks_for_the_token_first(path, status):
    """A 401 or 404 proves nothing; a request without properties does, if it is refused as such."""
    operator = gateway(Sandbox(api_paths=[path]), without_token, status)
    report = checked(told(headers={"X-Api-Key": "k"}), operator, only="01_")

    assert report.api_path == path
    assert (report.worst is None) is (path != "/v1/otp")
    assert {outcome.tag for outcome in report.outcomes if outcome.verdict is Verdict.FAIL} <= {"contract_path"}


def test_the_operations_are_found_where_what_is_not_there_is_forbidden():
    """Some gateways respond with 403 for unknown paths."""
    operator = gateway(Sandbox(api_paths=["/v1/otp"]), lambda request: not request.url.path.startswith("/v1/otp"), 403)

    assert checked(told(), operator, only="01_").api_path == "/v1/otp"


def test_operations_that_nothing_tells_from_other_paths_are_said_to_be_guessed():
    """Then all failures may be due to a wrong path."""
    report = checked(told(), gateway(Sandbox(), lambda _: True), only="01_")
    outcome = by_tag(report)["contract_path"]

    assert report.api_path == "/one-time-password-sms/v1"
    assert (outcome.verdict, outcome.reason) == (Verdict.SKIP, PATH_UNKNOWN)
    assert PATH_UNKNOWN in report.recommendations[0]
    assert "show the operator" not in " ".join(report.recommendations)


@pytest.mark.parametrize("dialect", ["mock", "v2", "omantel", "camara"])
def test_a_sandbox_says_where_its_operations_are(dialect):
    """Also at paths that no operator is known to use."""
    sandbox = Sandbox(dialect=dialect)
    with sandbox.client() as http:
        described = http.get(f"{URL}/_sandbox/state").json()["settings"]
    report = checked(settings_from(sandbox_settings(URL, described)), sandbox.transport(), only="01_send")

    assert report.api_path in sandbox.config.api_paths
    assert by_tag(report)["OTPvalidationAPI_01_send_code_success_scenario"].verdict is Verdict.PASS


def test_an_operator_that_drops_what_is_not_there_is_found():
    """A path without a response does not exclude the path with one."""

    def handler(request):
        if not request.url.path.startswith("/one-time-password-sms/v1"):
            raise httpx.ReadTimeout("late")
        return httpx.Response(401)

    report = checked(told(), httpx.MockTransport(handler), only="401")

    assert report.api_path == "/one-time-password-sms/v1"
    assert by_tag(report)["contract_path"].verdict is Verdict.PASS


def test_a_large_body_is_cut():
    """The rest of the body is not stored."""
    body = b'{"authenticationId": "' + b"x" * 10**6 + b'"}'
    report = checked(told(), httpx.MockTransport(lambda _: httpx.Response(200, content=body)), only="01_send")

    assert by_tag(report)["OTPvalidationAPI_01_send_code_success_scenario"].verdict is Verdict.FAIL


@pytest.mark.parametrize("retry_after", ["0", "soon", "-1", "inf", None])
def test_a_request_turned_away_for_its_rate_goes_again(retry_after, monkeypatch):
    """It is repeated a few times after the requested pause, then judged."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr("camara_otp.conformance.throttle.anyio.sleep", sleep)
    headers = {} if retry_after is None else {"retry-after": retry_after}
    body = {"status": 429, "code": "TOO_MANY_REQUESTS", "message": "Slow down."}

    def operator(request):
        looks_for_the_path = "x-correlator" not in request.headers
        return httpx.Response(401) if looks_for_the_path else httpx.Response(429, headers=headers, json=body)

    report = checked(told(), httpx.MockTransport(operator), only="01_send")

    assert pauses == [0.0 if retry_after == "0" else 1.0] * 2
    outcome = by_tag(report)["OTPvalidationAPI_01_send_code_success_scenario"]
    assert (outcome.verdict, "limits the rate" in outcome.reason) == (Verdict.SKIP, True)
    assert report.not_judged


class Bucket:
    """An operator that accepts a number of requests at a time, then one more after each pause."""

    def __init__(self, inner, room):
        self.inner, self.room, self.left = inner, room, room

    async def pause(self, _):
        await anyio.lowlevel.checkpoint()
        self.left = self.room

    async def __call__(self, request):
        if "_sandbox" not in request.url.path:
            self.left -= 1
            if self.left < 0:
                body = {"status": 429, "code": "TOO_MANY_REQUESTS", "message": "Slow down."}
                headers = {"x-correlator": request.headers.get("x-correlator", "none"), "retry-after": "1"}
                return httpx.Response(429, headers=headers, json=body)
        return await self.inner.handle_async_request(request)


@pytest.mark.parametrize("room", [1, 3, 20])
def test_an_operator_that_limits_rates_is_asked_as_it_wishes(room, monkeypatch):
    """Parallel requests would use up the rate of each other, and fail scenarios about something else."""
    sandbox = Sandbox()
    bucket = Bucket(sandbox.transport(), room)
    monkeypatch.setattr("camara_otp.conformance.throttle.anyio.sleep", bucket.pause)

    report = checked(told(), httpx.MockTransport(bucket))

    # One after the other, they would pass whatever the operator does.
    others = {outcome.tag: outcome.verdict for outcome in report.outcomes if outcome.verdict is not Verdict.PASS}
    at_once = {"camara_otp_validate_code_twice_at_once", "camara_otp_validate_code_wrong_at_once"}
    assert others == dict.fromkeys(at_once | OPTIONAL, Verdict.SKIP)
    assert "only one request at a time" in by_tag(report)["camara_otp_validate_code_twice_at_once"].reason
    assert report.texts == sandbox.sent_count


def test_who_asks_one_at_a_time_does_not_judge_two_at_once():
    """The scenario would pass with any operator, and cost an SMS."""
    sandbox = Sandbox()
    tag = "camara_otp_validate_code_twice_at_once"
    report = checked(told(concurrency=1), sandbox.transport(), only=tag)

    assert by_tag(report)[tag].verdict is Verdict.SKIP
    assert sandbox.sent_count == 0


def test_one_that_is_turned_away_for_good_leaves_the_others_their_patience(monkeypatch):
    """An operator may limit the rate for one number only."""
    answered = defaultdict(list)

    async def sleep(_):
        await anyio.lowlevel.checkpoint()

    def operator(request):
        answers = answered[request.headers.get("x-correlator")]
        answers.append(429 if len(answers) < 2 or b"no place in this text" in request.content else 400)
        return httpx.Response(answers[-1], json={"status": answers[-1], "code": "X", "message": "Slow down."})

    monkeypatch.setattr("camara_otp.conformance.throttle.anyio.sleep", sleep)
    checked(told(), httpx.MockTransport(operator), only="400.")
    del answered[None]

    assert sorted(answered.values()) == [[429, 429, 400]] * (len(answered) - 1) + [[429, 429, 429]]


def test_patience_is_lost_once(monkeypatch):
    """An operator that rate-limits every request does not delay a check for hours."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr("camara_otp.conformance.throttle.anyio.sleep", sleep)
    report = checked(told(), httpx.MockTransport(lambda _: httpx.Response(429, headers={"retry-after": "3600"})))

    assert pauses == [30.0, 30.0, 30.0, 30.0]
    assert "limits the rate" in by_tag(report)["OTPvalidationAPI_01_send_code_success_scenario"].reason
    assert "limits the rate" in by_tag(report)["OTPvalidationAPI_400.1_send_code_no_request_body"].reason
    assert report.not_judged


def test_a_quota_that_is_used_up_is_not_pressed():
    """Waiting does not renew it."""
    asked = []

    def handler(request):
        asked.append(request)
        return httpx.Response(429, json={"status": 429, "code": "QUOTA_EXCEEDED", "message": "Used up."})

    checked(told(), httpx.MockTransport(handler), only="01_send")

    assert len(asked) <= len(contract.API_PATHS) + 1


def advised(name):
    """Return the report on a wrong operator."""
    case = next(case for case in CASES if case.name == name)
    transport, settings = case.operator()
    return checked(settings, transport)


@pytest.mark.parametrize(
    ("name", "client", "advice"),
    [
        ("every x-correlator is refused", "x_correlator=None", "`x_correlator=None`"),
        ("answers come late", "timeout=10", "`timeout=10`"),
        ("the operations are elsewhere", 'api_path="/v1/otp"', '`api_path="/v1/otp"`'),
        ("404 is a page of HTML", "OTPClient(", "breaks clients, whatever their settings"),
        ("GET is not found", "OTPClient(", ""),
    ],
)
def test_the_advice_fits_the_operator(name, client, advice):
    """The advice is a setting of a client, if one helps."""
    report = advised(name)

    assert client in report.client
    assert advice in " ".join(report.recommendations)


def test_the_client_line_names_headers_but_not_their_values():
    """A value may be an API key."""
    settings = told(headers={"X-Sender": "s3cret-1"}, params={"mock-key": "s3cret-2"})
    report = checked(settings, Sandbox().transport(), only="400.1")

    assert report.client.endswith('headers={"X-Sender": ...}, params={"mock-key": ...})')
    assert report.worst is None
    assert "s3cret" not in repr(report)


def test_a_refused_token_is_recognised():
    """Otherwise the report would name a fault in every scenario."""
    for only in ("", "01_send_code_success"):
        report = checked(told(), Sandbox(tokens=["another"]).transport(), only=only)
        assert "is the access token good" in report.recommendations[0]
        assert "show the operator" not in " ".join(report.recommendations)


@pytest.mark.parametrize(
    "name",
    [
        "no token is needed",
        "any token is accepted",
        "a refused token is 403",
        "401 says unauthenticated in small letters",
    ],
)
def test_a_good_token_is_not_doubted_for_what_bad_ones_meet(name):
    """A request that must be refused with 401, but is not, proves nothing about the token of the check."""
    assert "is the access token good" not in " ".join(advised(name).recommendations)


def test_a_request_that_gets_no_answer_does_not_mean_that_correlators_are_refused():
    """Neither the advice nor the result for long correlators says so."""
    inner = Sandbox().transport()

    async def handler(request):
        if "x-correlator" in request.headers and request.headers.get("authorization"):
            raise httpx.ReadError("reset")
        return await inner.handle_async_request(request)

    report = checked(told(), httpx.MockTransport(handler))
    long = by_tag(report)["camara_otp_validate_code_longest_x-correlator"]

    assert "x_correlator" not in report.client + " ".join(report.recommendations)
    assert long.findings[0].text == "no response: the connection broke"


def test_a_send_without_an_id_is_said_to_be_one():
    """Its status alone would look like a success."""
    report = advised("an id is a number")

    assert by_tag(report)[V01].reason == "the send that comes first went wrong: 200 without authenticationId"


def test_helpers_that_fail_block_their_scenarios_only():
    """They are skipped with the reason; the operator is not blamed."""
    broken = {"how": "http", "url": "http://127.0.0.1:9091/_sandbox/nothing", "timeout": 0.05}
    settings = told(
        read=broken, reset=broken, expire=broken, numbers={"reachable": ["+34600000100"]}, limits={"max_send": 4}
    )

    report = checked(settings, Sandbox().transport())
    outcomes = by_tag(report)

    assert report.count(Verdict.FAIL) == 0
    assert "got HTTP 404" in outcomes["OTPvalidationAPI_01_validate_code_sucess_scenario"].reason


def test_a_code_that_cannot_be_made_to_expire_is_said():
    """The scenario is skipped."""
    broken = {"how": "http", "url": "http://127.0.0.1:9091/_sandbox/nothing"}

    report = checked(told(expire=broken), Sandbox().transport(), only="expired_scenario_1")

    assert "got HTTP 404" in report.outcomes[0].reason


RESET = {"how": "http", "method": "POST", "url": "{base_url}/_sandbox/reset"}


@pytest.mark.parametrize("phones", [1, 2, 3, 7])
@pytest.mark.parametrize("only", ["", "03_send_code_max"])
def test_a_reset_lets_few_phones_do_again_and_again(phones, only):
    """Whatever the operator's limit, the SMS of earlier checks, and a reset of all phones."""
    sandbox = Sandbox()
    reachable = [f"+346000001{index:02d}" for index in range(phones)]
    settings = told(numbers={**sandbox_settings(URL, DEFAULTS)["numbers"], "reachable": reachable}, reset=RESET)

    for _ in range(2):
        report = checked(settings, sandbox.transport(), only=only)
        assert [outcome for outcome in report.outcomes if outcome.verdict is Verdict.FAIL] == []
        assert {outcome.tag for outcome in report.outcomes if outcome.verdict is Verdict.SKIP} == OPTIONAL or only


def test_a_reset_of_one_phone_leaves_the_others_side_by_side():
    """Each is reset before its first text."""
    sandbox, forgotten = Sandbox(), []
    inner = sandbox.transport()

    async def handler(request):
        if request.url.path.startswith("/forget/"):
            forgotten.append(request.url.path)
            return httpx.Response(204)
        return await inner.handle_async_request(request)

    settings = told(reset={"how": "http", "url": "{base_url}/forget/{phone_number}"})

    assert checked(settings, httpx.MockTransport(handler)).is_good()
    assert len(forgotten) == len(set(forgotten)) == len({message.phone_number for message in sandbox.messages()})


def test_a_mistyped_code_is_thought_of():
    """The report considers a typing error before it blames the operator."""

    async def prompt(_):
        return "9999x"

    settings = told(read={"how": "ask"})
    report = checked(settings, Sandbox().transport(), only="01_validate", prompt=prompt)

    assert "mistyped" in report.outcomes[0].findings[0].text


def test_a_token_that_was_never_issued_and_gets_to_the_rules_behind_it_is_grave():
    """Any later refusal of the request does not change this."""

    def handler(request):
        if request.headers.get("authorization") != "Bearer good-token" and request.content:
            body = {"status": 403, "code": "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED", "message": "x"}
            return httpx.Response(403, json=body)
        return httpx.Response(401, json={"status": 401, "code": "UNAUTHENTICATED", "message": "x"})

    report = checked(told(), httpx.MockTransport(handler), only="401.3_send")

    assert report.outcomes[0].findings[0].text.startswith("let through to 403")
    assert report.outcomes[0].grade is Grade.BREAKS


def test_a_person_is_not_asked_for_what_can_do_without():
    """A wrong code needs no SMS, so only scenarios that need it ask."""
    sandbox = Sandbox()
    asked = []

    async def prompt(question):
        asked.append(question)
        return sandbox.messages()[-1].code

    report = checked(told(read={"how": "ask"}), sandbox.transport(), prompt=prompt, only="40")

    assert report.count(Verdict.FAIL) == 0
    assert len(asked) == 3


@pytest.mark.parametrize("answer", [httpx.Response(302), httpx.ReadTimeout("late")])
def test_a_request_that_may_have_caused_an_sms_counts_as_one(answer):
    """It is unknown whether it did."""
    asked = []

    def silent(request):
        if not request.url.path.endswith("/send-code"):
            return httpx.Response(401)
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    checked(told(sms=False), httpx.MockTransport(silent))

    assert len(asked) == 1


def test_a_token_that_runs_out_between_two_requests_at_once_is_no_crash():
    """The report names the scenarios that were not run."""
    given = []

    async def token():
        given.append(1)
        if len(given) > 1:
            raise ValueError("no more")
        return "any"

    tag = "camara_otp_validate_code_twice_at_once"
    chosen = [scenario for scenario in scenarios("1.1.1") if scenario.tag == tag]
    report = anyio.run(partial(run, told(), plan(told(), chosen), token, transport=Sandbox().transport()))

    assert (by_tag(report)[tag].verdict, "no more" in by_tag(report)[tag].reason) == (Verdict.SKIP, True)


@pytest.mark.parametrize("limit", [{"sms": False}, {"max_texts": 1}, {"max_texts": 5}, {}])
def test_an_operator_that_refuses_no_send_gets_no_more_than_were_announced(limit):
    """A send that must be refused, but is not, costs an SMS; the deviation is reported."""
    texts = []

    def accepting(request):
        if request.url.path.endswith("/send-code") and request.method == "POST":
            texts.append(request)
        return httpx.Response(200, json={"authenticationId": "an-id"})

    settings = told(**limit)
    announced = plan(settings, scenarios("1.1.1")).texts
    report = checked(settings, httpx.MockTransport(accepting))

    assert 1 <= len(texts) <= max(1, announced)
    assert report.texts == len(texts)
    assert NO_TEXTS_LEFT in report.skips()
    assert "invalid-request-accepted" in {found.cause.name for found in report.deviations} or announced < 3
