"""Every scenario of CAMARA's published test definitions, over HTTP, for every release that has it."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from camara_otp.sandbox import Sandbox
from tests.sandbox.conftest import CAMARA, MESSAGE, PHONE, Caller
from tests.sandbox.contract import assert_published

CORRELATOR = {"x-correlator": "b4333c46-49c0-4f62-80d7-f0ef930f1c46"}
RIGHT_BODY = {"phoneNumber": PHONE, "message": MESSAGE}
S, V = "send-code", "validate-code"
ALL, OLD, NEW = ("1.0.0", "1.1.0", "1.1.1"), ("1.0.0",), ("1.1.0", "1.1.1")
SPECIFIC = "ONE_TIME_PASSWORD_SMS."

Play = Callable[[Caller], httpx.Response]


def sends(*, headers: Any = CORRELATOR, token: str | None = "any", **changes: Any) -> Play:
    """Send once, with a changed body; a value of None leaves the property out."""

    def play(caller: Caller) -> httpx.Response:
        body = {key: value for key, value in (RIGHT_BODY | changes).items() if value is not None}
        return caller.post(S, body, headers=headers, token=token)

    return play


def checks(*, headers: Any = CORRELATOR, token: str | None = "any", **changes: Any) -> Play:
    """Check the right code of a fresh send, with a changed body; a value of None leaves the property out."""

    def play(caller: Caller) -> httpx.Response:
        body = {"authenticationId": caller.sent(), "code": caller.code()} | changes
        body = {key: value for key, value in body.items() if value is not None}
        return caller.post(V, body, headers=headers, token=token)

    return play


def posts(operation: str, **options: Any) -> Play:
    """Post to an operation by hand."""
    headers = CORRELATOR | options.pop("headers", {})
    return lambda caller: caller.post(operation, headers=headers, **options)


def too_many_sends(caller: Caller) -> httpx.Response:
    """Send until the max_send-th."""
    for _ in range(caller.sandbox.config.max_send - 1):
        caller.sent()
    return caller.send(headers=CORRELATOR)


def wrong_code(caller: Caller) -> httpx.Response:
    """Check a wrong code."""
    return caller.check(caller.sent(), caller.wrong(), headers=CORRELATOR)


def too_late(caller: Caller) -> httpx.Response:
    """Check the right code after its lifetime."""
    authentication_id, code = caller.sent(), caller.code()
    caller.http.post("/_sandbox/advance", json={"seconds": caller.sandbox.config.code_lifetime})
    return caller.check(authentication_id, code, headers=CORRELATOR)


def superseded(caller: Caller) -> httpx.Response:
    """Check the right code of the first of two sends."""
    authentication_id, code = caller.sent(), caller.code()
    caller.sent()
    return caller.check(authentication_id, code, headers=CORRELATOR)


def reused(caller: Caller) -> httpx.Response:
    """Check the right code twice."""
    authentication_id, code = caller.sent(), caller.code()
    assert caller.check(authentication_id, code).status_code == 204
    return caller.check(authentication_id, code, headers=CORRELATOR)


def exhausted(caller: Caller) -> httpx.Response:
    """Check wrong codes until the max_try-th."""
    authentication_id, code = caller.sent(), caller.wrong()
    for _ in range(caller.sandbox.config.max_try - 1):
        assert caller.check(authentication_id, code).json()["code"] == SPECIFIC + "INVALID_OTP"
    return caller.check(authentication_id, code, headers=CORRELATOR)


XML = {"Content-Type": "application/xml"}
ODD_ACCEPT = CORRELATOR | {"Accept": "application/xml"}
TEXT = {"content": b'{"phoneNumber": "+346661113334"}', "headers": XML}
A = "OTPvalidationAPI_"

TOO_MANY = SPECIFIC + "MAX_OTP_CODES_EXCEEDED"
NOT_ALLOWED = SPECIFIC + "PHONE_NUMBER_NOT_ALLOWED"
BLOCKED = SPECIFIC + "PHONE_NUMBER_BLOCKED"
WRONG = SPECIFIC + "INVALID_OTP"
EXPIRED = SPECIFIC + "VERIFICATION_EXPIRED"
FAILED = SPECIFIC + "VERIFICATION_FAILED"
INVALID = "INVALID_ARGUMENT"
UNKNOWN_TOKEN = "UNAUTHENTICATED"

SCENARIOS: list[tuple[str, str, Play, int, str | None, tuple[str, ...]]] = [
    (A + "01_send_code_success_scenario", S, sends(), 200, None, ALL),
    (A + "02_send_code_success_scenario_without_x-correlator", S, sends(headers={}), 200, None, ALL),
    (A + "01_validate_code_sucess_scenario", V, checks(), 204, None, ALL),
    (A + "02_validate_code_sucess_scenario_without_x-correlator", V, checks(headers={}), 204, None, ALL),
    (A + "03_send_code_max_otp_code", S, too_many_sends, 403, TOO_MANY, ALL),
    (A + "04_send_code_phone_number_not_allowed", S, sends(phoneNumber="+34600000001"), 403, NOT_ALLOWED, ALL),
    (A + "05_send_code_phone_number_not_allowed_3", S, sends(phoneNumber="+34910000001"), 403, NOT_ALLOWED, ALL),
    (A + "06_send_code_phone_number_blocked", S, sends(phoneNumber="+34600000002"), 403, BLOCKED, ALL),
    (A + "400.1_send_code_no_request_body", S, posts(S), 400, INVALID, ALL),
    (A + "400.2_send_code_empty_request_body", S, posts(S, json={}), 400, INVALID, ALL),
    (A + "400.3_missing_phone_number_in_request_body", S, sends(phoneNumber=None), 400, INVALID, OLD),
    (A + "400.4_send_code_incorrect_phone_number_request_body", S, sends(phoneNumber="3301"), 400, INVALID, ALL),
    (A + "400.5_send_code_missing_message", S, sends(message=None), 400, INVALID, ALL),
    (A + "400.6_send_code_missing_code_request_body", S, sends(message="no label"), 400, INVALID, ALL),
    (A + "400.7_send_code_message_too_long", S, sends(message="{{code}}" + "x" * 153), 400, INVALID, ALL),
    (A + "401.1_send_code_no_authorization_header", S, sends(token=None), 401, UNKNOWN_TOKEN, ALL),
    (A + "401.2_send_code_expired_access_token", S, sends(token="expired-token"), 401, UNKNOWN_TOKEN, ALL),
    (A + "401.3_send_code_invalid_access_token", S, sends(token="invalid-token"), 401, UNKNOWN_TOKEN, ALL),
    (
        A + "404.1_send_code_phone_number_not_belong_to_operator",
        S,
        sends(phoneNumber="+447700900001"),
        404,
        "NOT_FOUND",
        ALL,
    ),
    (A + "406_send_code_not_acceptable_scenario", S, sends(headers=ODD_ACCEPT), 406, "NOT_ACCEPTABLE", OLD),
    (A + "415_send_code_unsupported_media_type_scenario", S, posts(S, **TEXT), 415, "UNSUPPORTED_MEDIA_TYPE", OLD),
    (A + "08_validate_code_invalid_otp_scenario", V, wrong_code, 400, WRONG, OLD),
    (A + "09_validate_code_verification_expired_scenario_1", V, too_late, 400, EXPIRED, OLD),
    (A + "10_validate_code_verification_expired_scenario_2", V, superseded, 400, EXPIRED, OLD),
    (A + "11_validate_code_verification_expired_scenario_3", V, reused, 400, EXPIRED, OLD),
    (A + "12_validate_code_verification_failed_scenario", V, exhausted, 400, FAILED, OLD),
    (A + "400.1_validate_code_no_request_body", V, posts(V), 400, INVALID, ALL),
    (A + "400.2_validate_code_empty_request_body", V, posts(V, json={}), 400, INVALID, ALL),
    (A + "400.3_validate_code_missing_authenticationId", V, checks(authenticationId=None), 400, INVALID, ALL),
    (A + "400.3_validate_code_missing_code", V, checks(code=None), 400, INVALID, ALL),
    (A + "400.4_validate_code_exceed_code_max_length", V, checks(code="1" * 11), 400, INVALID, ALL),
    (A + "401.1_validate_code_no_authorization_header", V, checks(token=None), 401, UNKNOWN_TOKEN, ALL),
    (A + "401.2_validate_code_expired_access_token", V, checks(token="expired-token"), 401, UNKNOWN_TOKEN, ALL),
    (A + "401.3_validate_code_invalid_access_token", V, checks(token="invalid-token"), 401, UNKNOWN_TOKEN, ALL),
    (
        A + "404_validate_code_resource_not_found",
        V,
        checks(authenticationId="ea0840f3-3663-4149-bd10-c7c6b8912105"),
        404,
        "NOT_FOUND",
        ALL,
    ),
    (A + "406_validate_code_not_acceptable_scenario", V, checks(headers=ODD_ACCEPT), 406, "NOT_ACCEPTABLE", OLD),
    (A + "415_validate_code_unsupported_media_type_scenario", V, posts(V, **TEXT), 415, "UNSUPPORTED_MEDIA_TYPE", OLD),
    (A + "400.5_validate_code_invalid_otp_scenario", V, wrong_code, 400, WRONG, NEW),
    (A + "400.6_validate_code_verification_expired_scenario_1", V, too_late, 400, EXPIRED, NEW),
    (A + "400.7_validate_code_verification_expired_scenario_2", V, superseded, 400, EXPIRED, NEW),
    (A + "400.8_validate_code_verification_expired_scenario_3", V, reused, 400, EXPIRED, NEW),
    (A + "400.9_validate_code_verification_failed_scenario", V, exhausted, 400, FAILED, NEW),
]


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, Caller]]:
    """Serve one sandbox per release on real ports, and a default one."""
    sandboxes = {release: Sandbox(release=release) for release in ALL}
    servers = [sandbox.serve() for sandbox in sandboxes.values()]
    callers = {
        release: Caller(sandbox, httpx.Client(base_url=server.__enter__(), trust_env=False), CAMARA)
        for (release, sandbox), server in zip(sandboxes.items(), servers, strict=True)
    }
    yield callers
    for caller, server in zip(callers.values(), servers, strict=True):
        caller.http.close()
        server.__exit__(None, None, None)


def test_every_scenario_is_here() -> None:
    """All 42 scenarios run: 37 of release 1.0.0, 32 of 1.1.0 and 32 of 1.1.1."""
    assert len({tag for tag, *_ in SCENARIOS}) == len(SCENARIOS) == 42
    assert [sum(release in scenario[5] for scenario in SCENARIOS) for release in ALL] == [37, 32, 32]


@pytest.mark.parametrize(
    ("release", "operation", "play", "status", "code"),
    [
        pytest.param(release, operation, play, status, code, id=f"{release}-{tag}")
        for tag, operation, play, status, code, releases in SCENARIOS
        for release in releases
    ],
)
def test_scenario(
    served: dict[str, Caller], release: str, operation: str, play: Play, status: int, code: str | None
) -> None:
    """The response has the expected status and code, the published form, and the correlator of the request."""
    caller = served[release]
    caller.http.post("/_sandbox/reset")
    answer = play(caller)
    assert answer.status_code == status
    assert (answer.json()["code"] if status >= 400 else None) == code
    assert_published(answer, release, operation)
    sent = answer.request.headers.get("x-correlator")
    assert sent is None or answer.headers["x-correlator"] == sent
    assert answer.headers["x-correlator"]


@pytest.mark.parametrize(("tag", "play", "status", "code"), [(s[0], s[2], s[3], s[4]) for s in SCENARIOS])
def test_default_settings_play_all(tag: str, play: Play, status: int, code: str | None) -> None:
    """A sandbox without settings passes the scenarios of every release."""
    sandbox = Sandbox()
    with httpx.Client(transport=sandbox.transport(), base_url="https://a.test") as http:
        answer = play(Caller(sandbox, http))
    assert (answer.status_code, answer.json()["code"] if status >= 400 else None) == (status, code)
