"""The control API: its responses, and its description."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import jsonschema_rs
import pytest

from camara_otp.sandbox import Fault, Sandbox, control
from tests.sandbox.conftest import PHONE, Caller, outcome

# What the description writes as OpenAPI 3.0 has it, JSON Schema has to be told.
DOCUMENT = json.loads(control.DESCRIPTION.read_text("utf-8"))


def _plain(value: Any) -> Any:
    """Replace references, and turn `nullable` into a choice."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _plain(DOCUMENT["components"]["schemas"][value["$ref"].rpartition("/")[2]])
    plain = {key: _plain(item) for key, item in value.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if value.get("nullable") else plain


def described(answer: httpx.Response) -> httpx.Response:
    """Return a response after comparing it with the description."""
    path = answer.request.url.path.partition("/_sandbox")[2]
    response = DOCUMENT["paths"][path][answer.request.method.lower()]["responses"][str(answer.status_code)]
    if "content" in response:
        jsonschema_rs.validate(_plain(response["content"]["application/json"]["schema"]), answer.json())
    else:
        assert answer.content == b""
    return answer


def test_description_lists_what_there_is() -> None:
    """Every name and method of the API is described, and nothing else but the event stream of the server."""
    listed = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    there = {(f"/{name}", method.lower()) for name, methods in control._TABLE.items() for method in methods}
    assert listed == there | {("/events", "get")}


def test_description_is_served(caller: Caller) -> None:
    """The sandbox serves its description."""
    assert described(caller.http.get("/_sandbox/openapi.json")).json() == DOCUMENT


def test_messages(caller: Caller) -> None:
    """A message has the SMS, the code, and its state."""
    authentication_id = caller.sent()
    caller.check(authentication_id, caller.wrong())
    [message] = described(caller.http.get("/_sandbox/messages")).json()
    assert message["text"].startswith(message["code"])
    assert (message["state"], message["triesLeft"], message["phoneNumber"]) == ("waiting", 2, PHONE)
    assert message["expiresAt"] - message["sentAt"] == 300.0


def test_calls(caller: Caller) -> None:
    """Requests are listed with their outcome, those to unknown paths with their path."""
    caller.send()
    caller.http.post("/nowhere")
    calls = described(caller.http.get("/_sandbox/calls")).json()
    assert [(call["operation"].removeprefix("/camara"), call["status"]) for call in calls] == [
        ("send-code", 200),
        ("/nowhere", 404),
    ]


def test_refused_calls_say_why_and_for_whom(caller: Caller) -> None:
    """A refused request is listed with its phone, its id, and the message of its response."""
    authentication_id = caller.sent()
    answers = [
        caller.send(message="no label"),
        caller.send(token="expired-token"),
        caller.send("3301"),
        caller.post("send-code", {"message": "{{code}}"}),
        caller.check(authentication_id, "1", token=None),
        caller.check("never-issued", "1"),
        caller.check("x" * 37, "1"),
        caller.http.post("/nowhere"),
    ]
    calls = described(caller.http.get("/_sandbox/calls")).json()[1:]
    assert [call["message"] for call in calls] == [answer.json()["message"] for answer in answers]
    assert [call["phoneNumber"] for call in calls] == [PHONE, PHONE, "3301", None, PHONE, None, None, None]
    assert [call["authenticationId"] for call in calls[4:]] == [authentication_id, "never-issued", None, None]


def test_refused_numbers_without_plus_are_one_phone(calling: Callable[..., Caller]) -> None:
    """If a release allows numbers without plus, refused and accepted sends have the same phone."""
    caller = calling("/one-time-password-sms/v0", dialect="v0")
    caller.sandbox.add_fault(Fault(code="INTERNAL", phone_number=PHONE, times=1))
    answers = [caller.send(PHONE[1:]), caller.send(PHONE[1:], token=None), caller.send(PHONE[1:])]
    assert [answer.status_code for answer in answers] == [500, 401, 200]
    assert {call.phone_number for call in caller.sandbox.calls()} == {PHONE}


def test_state_since(caller: Caller) -> None:
    """The state since a version has new and changed entries, and all entries after a reset."""
    first = caller.sent()
    before = described(caller.http.get("/_sandbox/state")).json()
    assert before["fresh"]
    assert before["sentCount"] == 1
    assert before["settings"]["maxSend"] == 4
    assert not any("oken" in name for name in before["settings"])
    caller.sent("+346661113335")
    since = {"since": before["version"]}
    after = caller.http.get("/_sandbox/state", params=since).json()
    assert not after["fresh"]
    assert [message["phoneNumber"] for message in after["messages"]] == ["+346661113335"]
    caller.check(first, caller.code())
    after = caller.http.get("/_sandbox/state", params={"since": after["version"]}).json()
    assert [(message["authenticationId"], message["state"]) for message in after["messages"]] == [(first, "verified")]
    assert [call["operation"] for call in after["calls"]] == ["validate-code"]
    caller.http.post("/_sandbox/reset")
    assert described(caller.http.get("/_sandbox/state", params=since)).json()["fresh"]


def test_state_is_limited_to_the_newest() -> None:
    """A request can ask for the newest entries of a large inbox only."""
    sandbox = Sandbox(max_send=100)
    with httpx.Client(transport=sandbox.transport(), base_url="http://localhost") as http:
        ids = [Caller(sandbox, http).sent() for _ in range(9)]
        state = http.get("/_sandbox/state", params={"limit": 3}).json()
    assert [message["authenticationId"] for message in state["messages"]] == ids[-3:]
    assert len(state["calls"]) == 3


def test_advance(caller: Caller) -> None:
    """The clock moves forward, and a reset sets it back."""
    start = caller.sandbox.now
    now = described(caller.http.post("/_sandbox/advance", json={"seconds": 3600})).json()["now"]
    assert 3600 <= now - start < 3700
    caller.http.post("/_sandbox/reset")
    assert caller.sandbox.now - start < 100


@pytest.mark.parametrize(
    "body", [None, {}, [], {"seconds": "1"}, {"seconds": True}, {"seconds": -1}, {"seconds": 1e99}]
)
def test_advance_refuses(caller: Caller, body: Any) -> None:
    """The clock accepts a limited number of seconds only."""
    assert described(caller.http.post("/_sandbox/advance", json=body)).status_code == 400


def test_time_has_an_end() -> None:
    """The clock stops at a hundred years."""
    sandbox = Sandbox()
    sandbox.advance(99 * 366 * 86400.0)
    with pytest.raises(ValueError, match="hundred"):
        sandbox.advance(2 * 366 * 86400.0)


def test_faults(caller: Caller) -> None:
    """A fault is added, listed with its remaining times, and removed, alone or with all others."""
    fault = {"code": "TOO_MANY_REQUESTS", "retryAfter": 5, "phoneNumber": PHONE, "times": 2, "headers": {"X-A": "b"}}
    number = described(caller.http.post("/_sandbox/faults", json=fault)).json()["number"]
    assert outcome(caller.send()) == (429, "TOO_MANY_REQUESTS")
    [entry] = described(caller.http.get("/_sandbox/faults")).json()
    assert (entry["number"], entry["left"], entry["fault"]["headers"]) == (number, 1, [["x-a", "b"]])
    for expected in (204, 404):
        assert described(caller.http.delete("/_sandbox/faults", params={"number": number})).status_code == expected
    caller.sandbox.add_fault(Fault(code="INTERNAL"))
    assert described(caller.http.delete("/_sandbox/faults")).status_code == 204
    assert caller.http.get("/_sandbox/faults").json() == []


def test_a_number_left_out_by_mistake_clears_no_faults(caller: Caller) -> None:
    """An empty number, as from an unset variable, is refused and removes nothing."""
    caller.sandbox.add_fault(Fault(code="INTERNAL"))
    assert described(caller.http.delete("/_sandbox/faults?number=")).status_code == 400
    assert len(caller.sandbox.faults()) == 1


def test_an_empty_phone_number_means_all(caller: Caller) -> None:
    """An empty parameter counts as missing."""
    caller.sent()
    assert len(described(caller.http.get("/_sandbox/messages?phoneNumber=")).json()) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({}, "a fault needs a code, status, body, html, delay or drop"),
        ({"colour": "red"}, "unknown field 'colour'; use code, status, message, body, contentType, html, "),
        ({"status": 99}, "status: must be a whole number from 200 to 599"),
        ({"code": "INTERNAL", "headers": 3}, "headers: must be a table of strings"),
        ({"code": "INTERNAL", "phoneNumber": 3}, "phoneNumber: must be a string"),
        ({"code": "INTERNAL", "retryAfter": []}, "retryAfter: must be a whole number or a string"),
        ({"code": "TOO_MANY_REQUSTS"}, "code: must be one of INVALID_ARGUMENT, OUT_OF_RANGE, "),
    ],
)
def test_faults_refused(caller: Caller, fault: Any, message: str) -> None:
    """An impossible fault is refused with the field and the rule, and is not added."""
    answer = described(caller.http.post("/_sandbox/faults", json=fault))
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(message)
    assert caller.sandbox.faults() == []


def test_a_fault_with_a_code_of_its_own_has_a_status(caller: Caller) -> None:
    """A code that CAMARA does not list is served as given."""
    fault = {"code": "SHINY_NEW", "status": 409}
    assert described(caller.http.post("/_sandbox/faults", json=fault)).status_code == 201
    assert outcome(caller.send()) == (409, "SHINY_NEW")


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("GET", "nothing", None, "Unknown path; under /_sandbox there are: messages, calls, "),
        ("DELETE", "faults?number=x", None, "number: must be a whole number"),
        ("DELETE", "faults?number=7", None, "number: no active fault has it; GET faults lists them"),
        ("GET", "state?limit=x", None, "limit: must be a whole number"),
        ("POST", "advance", {"seconds": -1}, "seconds: must be a number from 0 to a hundred years in all"),
        ("POST", "tokens", {"loginAfter": -1}, "loginAfter: must be a number from 0 to 1,000,000,000"),
        ("POST", "tokens", {"login_later": 1}, "unknown field 'login_later'; use lifetime, login, loginAfter, "),
        ("POST", "revoke", {"token": 7}, "token: must be a string; omit it to revoke all tokens"),
        ("POST", "clients", {"clientId": ""}, "clientId: must be a string of 1 to 256 characters"),
        (
            "POST",
            "clients",
            {"clientId": "a", "clientSecret": 7},
            "clientSecret: must be a string of 1 to 256 characters",
        ),
        (
            "POST",
            "clients",
            {"clientId": "a", "secret": "s"},
            "unknown field 'secret'; use clientId, clientSecret, jwks",
        ),
        ("POST", "clients", {"clientId": "a", "jwks": []}, 'jwks: must be {"keys": [...]}'),
    ],
)
def test_errors_name_field_and_rule(caller: Caller, method: str, path: str, body: Any, message: str) -> None:
    answer = caller.http.request(method, f"/_sandbox/{path}", json=body)
    assert answer.status_code in (400, 404)
    assert answer.json()["message"].startswith(message)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "nothing", 404), ("PUT", "reset", 405), ("POST", "messages", 405), ("GET", "state?since=x", 400)],
)
def test_wrong_calls(caller: Caller, method: str, path: str, status: int) -> None:
    """Unknown names, wrong methods and invalid parameters have different errors."""
    answer = caller.http.request(method, f"/_sandbox/{path}")
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("content", [b"{", b"[" * 5000, b"\xff"])
def test_unreadable_body(caller: Caller, content: bytes) -> None:
    """A body that is not JSON is a 400."""
    assert caller.http.post("/_sandbox/advance", content=content).status_code == 400


def test_authorization_server(caller: Caller) -> None:
    """The description matches the settings of the authorization server."""
    assert described(caller.http.get("/_sandbox/tokens")).json()["live"] == 0
    assert described(caller.http.post("/_sandbox/tokens", json={"lifetime": 5})).json()["lifetime"] == 5
    assert described(caller.http.post("/_sandbox/tokens", json={"colour": 5})).status_code == 400
    assert described(caller.http.post("/_sandbox/revoke")).json() == {"revoked": 0}
    assert described(caller.http.post("/_sandbox/clients", json={"clientId": "me"})).status_code == 204


def test_without_an_sms_there_is_no_code(caller: Caller) -> None:
    """If a phone has no SMS, the error has the outcome of its last request."""
    with pytest.raises(LookupError, match="no request came in"):
        caller.sandbox.last_code(PHONE)
    caller.send(message="no label")
    with pytest.raises(LookupError, match=r"send-code, got HTTP 400 INVALID_ARGUMENT \(message must contain"):
        caller.sandbox.last_code(PHONE)
    caller.sent("+346661113335")
    with pytest.raises(LookupError, match=r"send-code for another phone, got HTTP 200; see calls\(\)"):
        caller.sandbox.last_code(PHONE)
    caller.sandbox.add_fault(Fault(drop="before"))
    with pytest.raises(httpx.TransportError):
        caller.send()
    with pytest.raises(LookupError, match="the connection was dropped"):
        caller.sandbox.last_code(PHONE)


def test_memory_is_bounded() -> None:
    """After ten times as many requests as are kept, only the newest are left."""
    sandbox = Sandbox(keep_total=50, keep_per_number=3, max_send=1000)
    with httpx.Client(transport=sandbox.transport(), base_url="https://a.test") as http:
        caller = Caller(sandbox, http)
        for index in range(500):
            caller.send(f"+34611{index % 40:03}", headers={"x-correlator": "x" * 256})
    assert (len(sandbox.messages()), len(sandbox.calls()), sandbox.sent_count) == (50, 50, 500)


def test_long_correlators_are_not_remembered_whole() -> None:
    """A release without a limit for correlators echoes a long one, but the sandbox stores only a part."""
    sandbox = Sandbox(release="1.0.0")
    with httpx.Client(transport=sandbox.transport(), base_url="https://a.test") as http:
        answer = Caller(sandbox, http).send(headers={"x-correlator": "x" * 60_000})
    assert len(answer.headers["x-correlator"]) == 60_000
    assert [len(item.x_correlator or "") for item in (*sandbox.calls(), *sandbox.messages())] == [256, 256]


def test_injected_clock() -> None:
    """The test can stop the clock."""
    sandbox = Sandbox(clock=lambda: 1000.0)
    with httpx.Client(transport=sandbox.transport(), base_url="https://a.test") as http:
        Caller(sandbox, http).sent()
    assert [message.sent_at for message in sandbox.messages()] == [1000.0]


def test_every_change_has_a_version(caller: Caller) -> None:
    """The stream of events compares versions to notice a change."""
    sandbox = caller.sandbox
    changes: list[Callable[[], object]] = [
        lambda: caller.send(),
        lambda: caller.check("unknown", "1"),
        lambda: caller.http.post("/nowhere"),
        lambda: sandbox.advance(1),
        lambda: sandbox.add_fault(Fault(code="INTERNAL")),
        lambda: sandbox.clear_faults(),
        lambda: sandbox.reset(),
    ]
    for change in changes:
        before = sandbox.version
        change()
        assert sandbox.version > before
