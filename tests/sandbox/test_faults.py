"""Faults on request: their effect, target and frequency, in process and over HTTP."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import httpx
import httpx2
import pytest
import respx

from camara_otp.sandbox import Fault, Sandbox
from camara_otp.sandbox.faults import FaultBook
from tests.sandbox.conftest import DOCUMENTED, MESSAGE, PHONE, Caller, outcome

OTHER = "+346661113335"


def test_any_error_any_number_of_times(caller: Caller) -> None:
    """A documented error applies to the next requests, and then no more."""
    caller.sandbox.add_fault(Fault(code="MAX_OTP_CODES_EXCEEDED", times=2))
    outcomes = [outcome(caller.send()) for _ in range(3)]
    assert outcomes == [(403, "MAX_OTP_CODES_EXCEEDED")] * 2 + [(200, None)]
    assert caller.sandbox.sent_count == 1


def test_correlator_is_echoed_on_faults(caller: Caller) -> None:
    """The error of a fault echoes the correlator like a real one."""
    caller.sandbox.add_fault(Fault(status=503, code="UNAVAILABLE"))
    assert caller.send(headers={"x-correlator": "abc"}).headers["x-correlator"] == "abc"


def test_only_one_number(caller: Caller) -> None:
    """A fault for one number applies to both operations, and to no other number."""
    authentication_id, other = caller.sent(), caller.sent(OTHER)
    caller.sandbox.add_fault(Fault(code="TIMEOUT", phone_number=PHONE))
    assert outcome(caller.send()) == (504, "TIMEOUT")
    assert outcome(caller.check(authentication_id, caller.code())) == (504, "TIMEOUT")
    assert outcome(caller.check(other, caller.code(OTHER))) == (204, None)
    assert outcome(caller.post("send-code", content=b"no json")) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert outcome(caller.check("unknown", "1")) == (404, "NOT_FOUND")


def test_only_one_operation(caller: Caller) -> None:
    """A fault for one operation does not apply to the other."""
    caller.sandbox.add_fault(Fault(code="INTERNAL", operation="validate-code"))
    assert outcome(caller.check(caller.sent(), caller.code())) == (500, "INTERNAL")


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)])
def test_rate(rate: float, least: int, most: int) -> None:
    """A fault with a rate applies to about that share of the requests."""
    sandbox = Sandbox(faults=[Fault(code="INTERNAL", rate=rate)], seed=3)
    with httpx.Client(transport=sandbox.transport(), base_url="https://a.test") as http:
        struck = sum(Caller(sandbox, http).check("x", "1").status_code == 500 for _ in range(200))
    assert least <= struck <= most


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "text"),
    [
        (Fault(status=418, body="short and stout"), 418, "text/plain", "short and stout"),
        (Fault(status=200, body='{"odd": 1}'), 200, "application/json", '{"odd": 1}'),
        (Fault(status=500, body="", content_type="text/xml"), 500, "text/xml", ""),
        (Fault(status=302, headers={"Location": "https://login.test/"}), 302, None, ""),
        (Fault(status=204), 204, None, ""),
        (Fault(status=304, body="no"), 304, None, ""),
    ],
)
def test_any_status_any_body(caller: Caller, fault: Fault, status: int, content_type: str | None, text: str) -> None:
    """A response can have any status, headers and body."""
    caller.sandbox.add_fault(fault)
    answer = caller.send(follow_redirects=False)
    assert (answer.status_code, answer.headers.get("content-type"), answer.text) == (status, content_type, text)
    assert all(answer.headers[name] == value for name, value in fault.headers)


def test_gateway_page(caller: Caller) -> None:
    """The page of a gateway is HTML with status 502, or another."""
    caller.sandbox.add_fault(Fault(html=True, times=1))
    caller.sandbox.add_fault(Fault(html=True, status=503, message="Service Unavailable"))
    page = caller.send()
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html")
    assert "<h1>502 Bad Gateway</h1>" in page.text
    assert "503 Service Unavailable" in caller.send().text


@pytest.mark.parametrize(("message", "shown"), [("<script>", "&lt;script&gt;"), ("a\ud800b", "a?b"), ("é", "é")])
def test_a_page_holds_any_message(caller: Caller, message: str, shown: str) -> None:
    """Also a string that cannot be encoded."""
    caller.sandbox.add_fault(Fault(html=True, message=message))
    answer = caller.send()
    assert (answer.status_code, f"<h1>502 {shown}</h1>" in answer.content.decode()) == (502, True)


@pytest.mark.parametrize("value", [7, "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_rate_limit(caller: Caller, value: int | str) -> None:
    """A 429 can have Retry-After in seconds or as a date."""
    caller.sandbox.add_fault(Fault(code="TOO_MANY_REQUESTS", retry_after=value, message="Slow down"))
    answer = caller.send()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, str(value))
    assert answer.json()["message"] == "Slow down"


def test_delay(caller: Caller) -> None:
    """A late response comes after the operator has acted: if a client gives up, the SMS was sent."""
    caller.sandbox.add_fault(Fault(delay=0.1, times=2))
    start = time.monotonic()
    assert caller.send().status_code == 200
    assert time.monotonic() - start >= 0.1
    with pytest.raises(httpx.ReadTimeout):
        caller.send(timeout=0.03)
    assert caller.sandbox.sent_count == 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_delay_leaves_the_event_loop_free(backend: str) -> None:
    """In process, a late response delays only its own caller."""
    sandbox = Sandbox(faults=[Fault(delay=0.1, phone_number=PHONE)])
    order: list[str] = []

    async def ask(http: httpx.AsyncClient, number: str) -> None:
        body = {"phoneNumber": number, "message": MESSAGE}
        await http.post("https://a.test/otpvalidation/send-code", json=body, headers={"Authorization": "Bearer any"})
        order.append(number)

    async def both() -> None:
        async with httpx.AsyncClient(transport=sandbox.transport()) as http, anyio.create_task_group() as tasks:
            tasks.start_soon(ask, http, PHONE)
            await anyio.sleep(0.01)
            tasks.start_soon(ask, http, OTHER)

    anyio.run(both, backend=backend)
    assert order == [OTHER, PHONE]


@pytest.mark.parametrize(("drop", "texts"), [("before", 0), ("after", 1)])
def test_connection_dropped(caller: Caller, drop: Any, texts: int) -> None:
    """The connection is closed without a response, before or after the SMS was sent; the next one works."""
    caller.sandbox.add_fault(Fault(drop=drop, times=1))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.send()
    assert len(caller.sandbox.messages(PHONE)) == texts
    assert [call.status for call in caller.sandbox.calls()] == [0]
    assert caller.send().status_code == 200


def test_refused_in_process() -> None:
    """In process, a connection can be refused, as without a server."""
    sandbox = Sandbox(faults=[Fault(drop="connect")])
    with httpx.Client(transport=sandbox.transport()) as http, pytest.raises(httpx.ConnectError) as caught:
        http.post("https://a.test/otpvalidation/send-code")
    assert caught.value.request.url.host == "a.test"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(drop="connect"), "ConnectError"),
        (Fault(drop="before"), "RemoteProtocolError"),
        (Fault(delay=9), "ReadTimeout"),
    ],
)
@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_a_client_of_either_library_gets_responses_and_errors_of_its_own_library(
    library: Any, fault: Fault, error: str
) -> None:
    sandbox = Sandbox()
    body = {"phoneNumber": PHONE, "message": MESSAGE}
    sandbox.add_fault(fault)

    async def post() -> Any:
        async with library.AsyncClient(transport=sandbox.transport(), headers={"Authorization": "Bearer t"}) as http:
            return await http.post("https://a.test/otpvalidation/send-code", json=body, timeout=0.01)

    with pytest.raises(getattr(library, error)) as caught:
        anyio.run(post)
    assert caught.value.request.url.host == "a.test"
    sandbox.clear_faults()
    response = anyio.run(post)
    assert (type(response), response.status_code) == (library.Response, 200)
    # The sandbox is also a function from a request to a response, for mocks.
    assert type(sandbox(library.Request("POST", "https://a.test/otpvalidation/send-code"))) is library.Response


def test_acting_although_failing(caller: Caller) -> None:
    """An operator can send the SMS and still respond with an error."""
    caller.sandbox.add_fault(Fault(code="TIMEOUT", acts=True))
    assert outcome(caller.send()) == (504, "TIMEOUT")
    assert len(caller.sandbox.messages(PHONE)) == 1


def test_first_fault_wins_and_can_be_taken_back(caller: Caller) -> None:
    """Faults apply in the order of adding; one can be removed, or all."""
    sandbox = caller.sandbox
    first, second = sandbox.add_fault(Fault(code="INTERNAL")), sandbox.add_fault(Fault(code="UNAVAILABLE"))
    assert outcome(caller.send()) == (500, "INTERNAL")
    assert sandbox.remove_fault(first)
    assert not sandbox.remove_fault(first)
    assert [entry.number for entry in sandbox.faults()] == [second]
    assert outcome(caller.send()) == (503, "UNAVAILABLE")
    sandbox.clear_faults()
    assert outcome(caller.send()) == (200, None)


def test_calls_tell_what_was_asked_for(caller: Caller) -> None:
    """The record of requests marks those with a fault."""
    caller.send()
    caller.sandbox.add_fault(Fault(code="INTERNAL", times=1))
    caller.send()
    caller.send(headers={"x-correlator": "abc"})
    seen = [(call.status, call.code, call.phone_number, call.fault) for call in caller.sandbox.calls()]
    assert seen == [(200, None, PHONE, False), (500, "INTERNAL", PHONE, True), (200, None, PHONE, False)]
    assert caller.sandbox.calls()[-1].x_correlator == "abc"


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (Fault(code="INTERNAL"), "INTERNAL", "The operator's system failed."),
        (Fault(status=503, message="Closed."), "UNAVAILABLE", "Closed."),
        (Fault(status=418), "UNKNOWN", "A fault that was asked for."),
        (Fault(html=True), None, None),
        (Fault(status=500, body="?"), None, None),
        (Fault(drop="before"), None, None),
        (Fault(status=201), None, None),
    ],
)
def test_calls_tell_what_a_fault_said(fault: Fault, code: str | None, message: str | None) -> None:
    """The record of requests has the code and message of the response, whatever its source."""
    sandbox = Sandbox()
    sandbox.add_fault(fault)
    with httpx.Client(transport=sandbox.transport(), base_url="https://a.test") as http, suppress(httpx.TransportError):
        Caller(sandbox, http).send()
    [call] = sandbox.calls()
    assert (call.code, call.message) == (code, message)


def test_configured_faults_survive_a_reset() -> None:
    """Faults of the configuration apply from the start, and again after a reset."""
    sandbox = Sandbox(faults=[Fault(code="INTERNAL", times=1)])
    with httpx.Client(transport=sandbox.transport(), base_url="https://a.test") as http:
        caller = Caller(sandbox, http)
        outcomes = [outcome(caller.send()), outcome(caller.send())]
        sandbox.reset()
        outcomes.append(outcome(caller.send()))
    assert outcomes == [(500, "INTERNAL"), (200, None), (500, "INTERNAL")]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"status": 199},
        {"status": 600},
        {"status": True},
        {"code": 5},
        {"html": "yes"},
        {"code": "INTERNAL", "times": 0},
        {"code": "INTERNAL", "rate": 1.1},
        {"code": "INTERNAL", "rate": None},
        {"delay": -1},
        {"delay": 601},
        {"drop": "sideways"},
        {"code": "INTERNAL", "operation": "delete-code"},
        {"code": "INTERNAL", "headers": {"bad name": "x"}},
        {"code": "INTERNAL", "headers": {"x": "a\nb"}},
        {"code": "INTERNAL", "headers": {"x": None}},
        {"code": "INTERNAL", "headers": ["xy"]},
        {"code": "INTERNAL", "headers": [["x", "y", "z"]]},
        {"code": "INTERNAL", "headers": "x"},
        {"code": "INTERNAL", "headers": 3},
        {"code": "INTERNAL", "headers": {"Content-Length": "7"}},
        {"code": "INTERNAL", "retry_after": "a\r\nb"},
        {"code": "INTERNAL", "retry_after": float("nan")},
        {"code": "INTERNAL", "retry_after": True},
        {"code": "INTERNAL", "retry_after": ["5"]},
    ],
)
def test_impossible_faults(wrong: dict[str, Any]) -> None:
    """A fault that no server can have is refused when it is created."""
    with pytest.raises(ValueError, match=r"must|needs"):
        Fault(**wrong)


def test_an_unknown_code_needs_a_status() -> None:
    """A typo in a code is refused with the known ones; a code that CAMARA does not list comes with its status."""
    assert Fault(code="SHINY_NEW", status=409).answer(()).body.startswith(b'{"status":409,"code":"SHINY_NEW"')
    for wrong in ({}, {"delay": 1}, {"body": "{}"}, {"drop": "after"}):
        with pytest.raises(
            ValueError, match="^code: must be one of INVALID_ARGUMENT, .*INVALID_OTP, .* needs a status$"
        ):
            Fault(code="TOO_MANY_REQUSTS", **wrong)


def test_faults_are_bounded(calling: Callable[..., Caller]) -> None:
    """The thousand-and-first fault is refused."""
    sandbox = calling().sandbox
    for _ in range(1000):
        sandbox.add_fault(Fault(code="INTERNAL"))
    with pytest.raises(ValueError, match="clear"):
        sandbox.add_fault(Fault(code="INTERNAL"))


def test_whole_call(caller: Caller) -> None:
    """A fault for a whole call applies to its repeats too, but not to the next call or the list of faults."""
    caller.sandbox.add_fault(Fault(code="UNAVAILABLE", times=1, whole_call=True))
    outcomes = [outcome(caller.send(headers={"x-correlator": name})) for name in ("a", "a", "b", "a")]
    assert outcomes == [(503, "UNAVAILABLE"), (503, "UNAVAILABLE"), (200, None), (200, None)]
    assert caller.sandbox.faults() == []
    number = caller.sandbox.add_fault(Fault(code="UNAVAILABLE", times=1, whole_call=True))
    caller.send(headers={"x-correlator": "c"})
    assert not caller.sandbox.remove_fault(number)
    caller.sandbox.add_fault(Fault(code="UNAVAILABLE", times=1, whole_call=True))
    assert [caller.send("+34600000003").status_code for _ in range(2)] == [503, 200]


def test_status_alone_brings_a_code_that_fits() -> None:
    """An error status without a code gets the first code of the catalogue for it."""
    assert b'"code":"UNAVAILABLE"' in Fault(status=503).answer(()).body
    assert b'"code":"UNKNOWN"' in Fault(status=418).answer(()).body


def test_book_hands_out_copies() -> None:
    """Counting down in the book does not change a copy."""
    from random import Random

    book = FaultBook(Random(1))
    book.add(Fault(code="INTERNAL", times=2))
    [entry] = book.entries()
    book.match("send-code", None)
    assert (entry.left, book.entries()[0].left) == (2, 1)


def test_respx() -> None:
    """The sandbox is a side effect for respx, with its faults."""
    sandbox = Sandbox(faults=[Fault(drop="before", times=1)])
    with respx.mock(base_url="https://api.test/camara") as router:
        router.route().mock(side_effect=sandbox)
        body = {"phoneNumber": PHONE, "message": MESSAGE}
        url, headers = f"https://api.test/camara{DOCUMENTED}/send-code", {"Authorization": "Bearer any"}
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(url, json=body, headers=headers)
        answer = httpx.post(url, json=body, headers=headers)
    assert answer.status_code == 200
    assert sandbox.last_code(PHONE) in sandbox.messages(PHONE)[0].text


def test_called_by_hand() -> None:
    """Calling the sandbox with a request returns a response that is already read."""
    assert Sandbox()(httpx.Request("POST", "https://a.test/nothing")).json()["code"] == "NOT_FOUND"
