"""The Django login: a real server process, and a browser that keeps cookies and sends the token of the form."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from camara_otp.sandbox import Fault
from tests.examples.conftest import NUMBER, ROOT


@pytest.fixture
def output(tmp_path):
    """Open a file for the output of the server."""
    with (tmp_path / "output.txt").open("w+", encoding="utf-8") as file:
        yield file


@pytest.fixture
def site(served, output):
    """Run the example as its docstring says, and wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    server = subprocess.Popen(
        [sys.executable, "examples/django_login/manage.py", "runserver", "--noreload", address],
        cwd=ROOT,
        env=served.environment(),
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    url = f"http://{address}"
    deadline = time.monotonic() + 30
    while True:
        assert server.poll() is None, read(output)
        assert time.monotonic() < deadline
        try:
            httpx.get(f"{url}/login", trust_env=False)
            break
        except httpx.ConnectError:
            time.sleep(0.05)
    yield url
    server.terminate()
    server.wait(timeout=30)


def read(output):
    """Return what the server has written so far; its own position in the file stays."""
    return Path(output.name).read_text("utf-8")


class Browser:
    """Submit forms like a browser."""

    def __init__(self, url):
        self.http = httpx.Client(base_url=url, follow_redirects=True, trust_env=False)

    def submit(self, path, **fields):
        """Load a page, fill in its form and send it."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.http.get(path).text)
        assert token, "the form has a token of its own"
        return self.http.post(path, data={"csrfmiddlewaretoken": token[1], **fields})


@pytest.fixture
def browser(site):
    """Return a browser on the site."""
    browser = Browser(site)
    yield browser
    browser.http.close()


def test_a_user_logs_in(browser, served):
    """A number with spaces, a wrong code, the right code; the session gets a new name at the login."""
    assert browser.http.get("/welcome").url.path == "/login"
    page = browser.submit("/login", phone_number="666 111 222")
    assert page.url.path == "/code"
    assert 'autocomplete="one-time-code"' in page.text
    session = browser.http.cookies["sessionid"]

    assert "That is not the code" in browser.submit("/code", code="wrong").text
    page = browser.submit("/code", code=served.operator.last_code(NUMBER))

    assert page.text == "Welcome. Your number is verified."
    assert browser.http.cookies["sessionid"] != session
    assert browser.http.get("/welcome").status_code == 200
    assert served.operator.messages(NUMBER)[0].authentication_id not in str(browser.http.cookies)


def test_a_second_sms_waits_for_the_cool_down(browser, site, served):
    """Also from another browser, which has no session yet."""
    browser.submit("/login", phone_number=NUMBER)
    other = Browser(site)

    page = other.submit("/login", phone_number="666-111-222")

    other.http.close()
    assert page.status_code == 429
    assert 28 <= int(page.headers["Retry-After"]) <= 30
    assert re.search(r"Try again in (30|29|28) seconds", page.text)
    assert served.operator.sent_count == 1


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("12", "This number has too few digits"),
        ("+34 910 00 00 01", "This is not a mobile number"),
        ("+447700900001", "This number is in no range"),
        ("+447400123456", "Use another number"),
    ],
)
def test_a_number_that_cannot_receive_sms_is_explained(browser, served, number, said):
    """The page explains it before anything is sent."""
    assert said in browser.submit("/login", phone_number=number).text
    assert served.operator.calls() == []


@pytest.mark.parametrize(
    ("fault", "said", "again"),
    [
        (Fault(code="PHONE_NUMBER_BLOCKED", times=1), "We cannot send an SMS to this number", True),
        (Fault(code="NOT_FOUND", times=1), "We cannot send an SMS to this number", True),
        (Fault(code="IDENTIFIER_NOT_FOUND", times=1), "We cannot send an SMS to this number", True),
        (Fault(code="MAX_OTP_CODES_EXCEEDED", times=1), "Use the last one", True),
        (Fault(code="UNAUTHENTICATED", times=1), "Try again in a moment", True),
        (Fault(drop="after", acts=True, times=1), "We do not know whether it worked", False),
        (Fault(code="INTERNAL", times=1), "We do not know whether it worked", False),
    ],
)
def test_the_cool_down_holds_if_an_sms_may_have_been_sent(browser, served, fault, said, again):
    """After a refusal the user may try again at once; after an unknown outcome not."""
    served.operator.add_fault(fault)
    assert said in browser.submit("/login", phone_number=NUMBER).text

    page = browser.submit("/login", phone_number=NUMBER)

    assert ("No new code was sent. Try again in" not in page.text) is again
    assert (page.url.path == "/code") is again


@pytest.mark.parametrize("code", ["NOT_FOUND", "PERMISSION_DENIED"])
def test_a_failure_of_the_operator_is_logged(browser, served, output, code):
    """With the class of the error and its correlator, and without the number."""
    served.operator.add_fault(Fault(code=code, retry_after=7, times=1))

    page = browser.submit("/login", phone_number=NUMBER)

    assert page.headers["Retry-After"] == "7"
    log = read(output)
    assert re.search(r"(NotFound|PermissionDenied)Error: .*x-correlator", log)
    assert NUMBER[1:] not in log


def test_after_an_expired_code_the_page_asks_for_the_number(browser, served):
    """The sandbox's codes expire after 300 seconds."""
    browser.submit("/login", phone_number=NUMBER)
    served.operator.advance(301)

    page = browser.submit("/code", code=served.operator.last_code(NUMBER))

    assert page.url.path == "/login"
    assert browser.http.get("/code").url.path == "/login"


def test_logout_and_time_end_the_session(browser, served):
    """The cookie of a login that was not finished lasts ten minutes, that of a login eight hours."""

    def lifetime():
        [cookie] = [cookie for cookie in browser.http.cookies.jar if cookie.name == "sessionid"]
        return cookie.expires - time.time()

    browser.submit("/login", phone_number=NUMBER)
    assert 500 < lifetime() <= 600
    browser.submit("/code", code=served.operator.last_code(NUMBER))
    assert 28_000 < lifetime() <= 8 * 3600

    assert browser.http.post("/logout").status_code == 403, "a form without its token"
    token = re.search(r'value="(\w+)"', browser.http.get("/login").text)[1]
    session = browser.http.cookies["sessionid"]
    assert browser.http.post("/logout", data={"csrfmiddlewaretoken": token}).url.path == "/login"
    browser.http.cookies.set("sessionid", session, domain="127.0.0.1")
    assert browser.http.get("/welcome").url.path == "/login"
