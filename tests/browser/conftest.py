"""A real browser, the Chromium of the system, and a sandbox on a real port."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from camara_otp.sandbox import Sandbox

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium once; a machine without it fails these tests, which are run on purpose only."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("no Chromium: apt-get install chromium, or name one with CHROMIUM=/path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def _served() -> Iterator[tuple[Sandbox, str]]:
    sandbox = Sandbox(max_send=50)
    with sandbox.serve() as url:
        yield sandbox, url


@pytest.fixture
def sandbox(_served: tuple[Sandbox, str]) -> Sandbox:
    """Return a sandbox without messages."""
    _served[0].reset()
    return _served[0]


@pytest.fixture
def url(sandbox: Sandbox, _served: tuple[Sandbox, str]) -> str:
    """Return where the sandbox is served."""
    return _served[1]


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """Return a caller of the operator that uses plain HTTP."""
    with httpx.Client(base_url=url, headers={"Authorization": "Bearer any"}, trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def send(http: httpx.Client) -> Callable[..., httpx.Response]:
    """Return a function that sends an SMS to a phone."""

    def send(
        phone_number: str, message: str = "{{code}} is your code", *, correlator: str | None = None
    ) -> httpx.Response:
        headers = {"x-correlator": correlator} if correlator else {}
        body = {"phoneNumber": phone_number, "message": message}
        return http.post("/otpvalidation/send-code", json=body, headers=headers)

    return send


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Open the inbox in a window; an error in its console fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page: Page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: request.url.startswith((url, "data:")) or complaints.append(f"went to {request.url}"),
        )
        page.goto(url + path)
        page.wait_for_selector("#link[data-live=yes]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
