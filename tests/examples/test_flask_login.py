"""The Flask login, page by page, against an operator over HTTP."""

import importlib.util

import pytest

from camara_otp.guard import MemoryCounters
from camara_otp.sandbox import Fault
from tests.examples.conftest import NUMBER, ROOT


@pytest.fixture
def example(served):
    """Load the example again, so that its client uses the operator of this test."""
    spec = importlib.util.spec_from_file_location("flask_login", ROOT / "examples/flask_login.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.guard.store = MemoryCounters(clock=lambda: served.operator.now)
    yield module
    module.otp().close()


@pytest.fixture
def browser(example):
    """Return a browser."""
    return example.app.test_client()


def test_a_user_logs_in(browser, served, example):
    """A number with spaces, a wrong code, the right code; then the server has removed the login."""
    assert browser.get("/login").status_code == 200
    assert browser.post("/login", data={"phone_number": "666 111 222"}).location == "/code"
    page = browser.get("/code")
    assert "ends in 22" in page.text
    assert 'autocomplete="one-time-code"' in page.text

    wrong = browser.post("/code", data={"code": "wrong"})
    right = browser.post("/code", data={"code": f" {served.operator.last_code(NUMBER)} "})

    assert wrong.status_code == 422
    assert "Try again" in wrong.text
    assert right.text == "Welcome. Your number is verified."
    assert example.logins == {}
    assert browser.get("/code").location == "/login"


def test_the_browser_holds_neither_the_id_nor_the_number(browser, served):
    """The cookie is a random name, not readable by scripts."""
    answer = browser.post("/login", data={"phone_number": NUMBER})

    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert served.operator.messages(NUMBER)[-1].authentication_id not in cookie
    assert NUMBER[1:] not in cookie


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        ("12", 422, "This number has too few digits"),
        ("+34910000001", 422, "We cannot send an SMS to this number"),
        ("+447400123456", 429, "Use another number"),
        ("", 422, "This number is not a phone number"),
    ],
)
def test_a_number_that_cannot_receive_sms_is_explained(browser, served, number, status, said):
    """The page says what to do, and nothing is sent."""
    answer = browser.post("/login", data={"phone_number": number})

    assert (answer.status_code, served.operator.sent_count) == (status, 0)
    assert said in answer.text


def test_after_an_unknown_outcome_the_user_is_asked_to_wait(browser, served):
    """The operator sent one SMS."""
    served.operator.add_fault(Fault(drop="after", acts=True, times=1))

    answer = browser.post("/login", data={"phone_number": NUMBER})

    assert answer.status_code == 503
    assert "Do not use its code" in answer.text
    assert served.operator.sent_count == 1


@pytest.mark.parametrize("code", ["NOT_FOUND", "IDENTIFIER_NOT_FOUND"])
def test_a_number_of_another_operator_is_not_tried_again(browser, served, code):
    served.operator.add_fault(Fault(code=code, times=1))

    answer = browser.post("/login", data={"phone_number": NUMBER})

    assert answer.status_code == 422
    assert "Use another number" in answer.text


def test_a_second_sms_waits_for_the_cool_down(browser, example, served):
    """Also from another browser, which has no session yet."""
    browser.post("/login", data={"phone_number": NUMBER})

    answer = example.app.test_client().post("/login", data={"phone_number": "666-111-222"})

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert "Try again in 30 seconds" in answer.text
    assert served.operator.sent_count == 1


def test_a_failure_that_sent_nothing_starts_no_cool_down(browser, served):
    served.operator.add_fault(Fault(code="UNAUTHENTICATED", retry_after=7, times=1))

    answers = [browser.post("/login", data={"phone_number": NUMBER}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [503, 302]
    assert answers[0].headers["Retry-After"] == "7"
    assert "No code was sent. Try again." in answers[0].text


def test_a_form_of_another_site_is_rejected(browser, served):
    foreign = {"Sec-Fetch-Site": "cross-site"}

    assert browser.post("/login", data={"phone_number": NUMBER}, headers=foreign).status_code == 403
    assert served.operator.sent_count == 0


def test_too_many_codes_for_a_number(browser, served):
    """The operator's limit per number becomes a message for the user."""
    answers = []
    for _ in range(4):
        answers.append(browser.post("/login", data={"phone_number": NUMBER}))
        served.operator.advance(30)

    assert [answer.status_code for answer in answers] == [302, 302, 302, 429]
    assert "Too many codes" in answers[-1].text


def test_after_an_expired_code_the_page_asks_for_the_number(browser, served):
    """The sandbox's codes expire after 300 seconds."""
    browser.post("/login", data={"phone_number": NUMBER})
    served.operator.advance(301)

    answer = browser.post("/code", data={"code": served.operator.last_code(NUMBER)})

    assert answer.status_code == 422
    assert "Request a new one" in answer.text
    assert "Phone number" in answer.text


def test_after_three_wrong_codes_the_page_asks_for_the_number(browser):
    browser.post("/login", data={"phone_number": NUMBER})

    answers = [browser.post("/code", data={"code": "wrong"}) for _ in range(3)]

    assert "Too many wrong codes. Request a new one." in answers[-1].text


def test_an_operator_that_fails_while_checking(browser, served):
    """The login stays, so that the user can try again."""
    browser.post("/login", data={"phone_number": NUMBER})
    served.operator.add_fault(Fault(code="UNAVAILABLE", times=1))
    assert browser.post("/code", data={"code": served.operator.last_code(NUMBER)}).status_code == 503

    assert browser.post("/code", data={"code": served.operator.last_code(NUMBER)}).status_code == 200


def test_logins_that_were_not_finished_end(browser, example, monkeypatch):
    """Each new login removes them."""
    browser.post("/login", data={"phone_number": NUMBER})
    monkeypatch.setattr(example, "LIFETIME", -1.0)

    browser.post("/login", data={"phone_number": "666111333"})

    assert len(example.logins) == 1
