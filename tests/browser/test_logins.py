"""The example logins in a real browser, with typing, clicking, and typing errors."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
NUMBER = "+34666111222"
SITES = {
    "flask": ["-m", "flask", "--app", "examples/flask_login.py", "run", "--port"],
    "django": ["examples/django_login/manage.py", "runserver", "--noreload"],
}


def free_port():
    """Return a port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(params=SITES)
def site(request, url):
    """Run an example as its docstring says, in front of the sandbox."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, *SITES[request.param], port],
        cwd=ROOT,
        env=os.environ | {"CAMARA_BASE_URL": url, "CAMARA_BEARER_TOKEN": "any"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            assert server.poll() is None
            assert time.monotonic() < deadline
            try:
                httpx.get(f"{address}/login", trust_env=False)
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        yield address
        server.terminate()


@pytest.fixture
def page(browser):
    """Open a window; a script error on a page fails the test."""
    context = browser.new_context()
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    yield page
    context.close()
    assert errors == []


def test_a_person_logs_in(page, site, sandbox):
    """The user types a number with spaces, a wrong code, and then the right one."""
    page.goto(f"{site}/login")
    page.get_by_label("Phone number").fill("666 111 222")
    page.get_by_role("button", name="Continue").click()
    code = page.get_by_label("Code")
    expect(code).to_have_attribute("autocomplete", "one-time-code")
    expect(code).to_have_attribute("inputmode", "numeric")
    code.fill("000000" if sandbox.last_code(NUMBER) != "000000" else "111111")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("That is not the code. Try again.")).to_be_visible()

    page.get_by_label("Code").fill(sandbox.last_code(NUMBER))
    page.get_by_role("button", name="Continue").click()

    expect(page.get_by_text("Welcome. Your number is verified.")).to_be_visible()
    assert sandbox.sent_count == 1


def test_a_number_that_gets_no_sms_is_explained_on_the_page(page, site, sandbox):
    """The user can correct the number; nothing is sent."""
    page.goto(f"{site}/login")
    page.get_by_label("Phone number").fill("12")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("too few digits")).to_be_visible()

    page.get_by_label("Phone number").fill("+34 666 111 222")
    page.get_by_role("button", name="Continue").click()

    expect(page.get_by_label("Code")).to_be_visible()
    assert sandbox.sent_count == 1
