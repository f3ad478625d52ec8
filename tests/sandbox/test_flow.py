"""The whole flow by raw HTTP: in process and on a real port, synchronous and asynchronous."""

import threading
import time
from collections.abc import Callable

import anyio
import httpx
import pytest

from camara_otp.sandbox import Sandbox, engine
from tests.sandbox.conftest import CAMARA, DOCUMENTED, MESSAGE, PHONE, Caller, outcome


@pytest.mark.parametrize("layout", [DOCUMENTED, CAMARA])
def test_code_sent_and_checked(calling: Callable[..., Caller], layout: str) -> None:
    """A code arrives on the phone in the message, and is accepted with 204 and no body."""
    caller = calling(layout)
    authentication_id = caller.sent()
    [message] = caller.sandbox.messages(PHONE)
    assert message.text == MESSAGE.replace("{{code}}", message.code)
    assert len(message.code) == 6
    assert message.code.isdecimal()
    answer = caller.check(authentication_id, message.code)
    assert (answer.status_code, answer.content) == (204, b"")
    assert [item.state for item in caller.sandbox.messages()] == ["verified"]


def test_correlator_echoed(caller: Caller) -> None:
    """Success and error have the correlator of the request, or a new one."""
    headers = {"x-correlator": "b4333c46-49c0-4f62-80d7-f0ef930f1c46"}
    assert caller.send(headers=headers).headers["x-correlator"] == headers["x-correlator"]
    assert caller.check("unknown", "1", headers=headers).headers["x-correlator"] == headers["x-correlator"]
    assert caller.send().headers["x-correlator"]


def test_control_api(caller: Caller) -> None:
    """Any HTTP client can use messages, clock and reset."""
    first, second = caller.sent(), caller.sent("+346661113335")
    listed = caller.http.get("/_sandbox/messages", params={"phoneNumber": PHONE}).json()
    assert [(item["authenticationId"], item["code"]) for item in listed] == [(first, caller.code())]
    assert [item["authenticationId"] for item in caller.http.get("/_sandbox/messages").json()] == [first, second]
    assert caller.http.post("/_sandbox/advance", json={"seconds": 300}).is_success
    assert outcome(caller.check(first, caller.code())) == (400, "VERIFICATION_EXPIRED")
    assert caller.http.post("/_sandbox/reset").is_success
    assert caller.http.get("/_sandbox/messages").json() == []


def test_plus_sign_in_query_may_be_unescaped(caller: Caller) -> None:
    """A number with an unescaped plus sign in a URL finds its messages."""
    caller.sent()
    for spelled in (PHONE, PHONE.replace("+", "%2B"), PHONE[1:]):
        assert len(caller.http.get(f"/_sandbox/messages?phoneNumber={spelled}").json()) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_client_in_process(backend: str) -> None:
    """The same transport serves an async client under both event loops."""
    sandbox = Sandbox()
    asked = {"phoneNumber": PHONE, "message": MESSAGE}

    async def flow() -> int:
        async with httpx.AsyncClient(transport=sandbox.transport(), headers={"Authorization": "Bearer t"}) as http:
            sent = await http.post("https://a.test/otpvalidation/send-code", json=asked)
            body = {"authenticationId": sent.json()["authenticationId"], "code": sandbox.last_code(PHONE)}
            return (await http.post("https://a.test/otpvalidation/validate-code", json=body)).status_code

    assert anyio.run(flow, backend=backend) == 204


def test_threads_share_a_sandbox() -> None:
    """Sends from many threads all arrive, each with its own id."""
    sandbox = Sandbox(max_send=1000)
    caller = Caller(sandbox, httpx.Client(transport=sandbox.transport(), base_url="https://a.test"))
    threads = [threading.Thread(target=lambda: [caller.sent() for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.sent_count == 160
    assert len({item.authentication_id for item in sandbox.messages()}) == 100


@pytest.mark.skipif(engine._THROUGH_SLEEP is None, reason="this system has no such clock by name")
def test_codes_age_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a night of sleep of the machine, the codes of the day before have expired."""
    asleep, real = 0.0, time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + asleep * (clock == engine._THROUGH_SLEEP))
    sandbox = Sandbox()
    evening = sandbox.now
    with sandbox.client() as http:
        http.post(
            f"https://operator.test{DOCUMENTED}/send-code",
            json={"phoneNumber": PHONE, "message": MESSAGE},
            headers={"authorization": "Bearer any"},
        )
    asleep = 8 * 3600.0
    assert sandbox.now - evening >= asleep
    assert [message.state for message in sandbox.messages()] == ["expired"]
