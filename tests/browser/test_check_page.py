"""The page that a check writes, in a real browser: accessible in both themes, nothing loaded, nothing run."""

from functools import partial
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from camara_otp.conformance import plan, run, sandbox_settings, scenarios, settings_from
from camara_otp.conformance.reports import as_html
from camara_otp.sandbox import Sandbox

# What an axe violation names, when there is one.
_IMPACTS = {"serious", "critical", "moderate"}


@pytest.fixture(scope="module", params=["right", "wrong"])
def page_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of a check, of a right operator and of one that is wrong in most ways at once."""
    wrong = {"correlator": False, "error_form": "html", "validated_status": 200, "max_try": 2, "latency": 0.01}
    sandbox = Sandbox(**(wrong if request.param == "wrong" else {}))  # type: ignore[arg-type]
    settings = settings_from(sandbox_settings("http://127.0.0.1:9091", {"maxSend": 4, "maxTry": 3}))
    todo = plan(settings, scenarios(settings.release))
    # The browser's driver has an event loop in this thread.
    with start_blocking_portal() as portal:
        report = portal.call(partial(run, settings, todo, "token", transport=sandbox.transport()))
    path = tmp_path_factory.mktemp("check") / "report.html"
    path.write_text(as_html(report), "utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_is_accessible(browser: Browser, page_file: Path, scheme: str, width: int) -> None:
    """In both themes, wide and narrow: no accessibility fault, no horizontal scrolling, no error of the browser."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(page_file.as_uri())
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (said, asked) == ([], [page_file.as_uri()])
        found = Axe().run(page)
    finally:
        page.close()

    assert overflow <= 0
    assert (background == "rgb(16, 21, 27)") == (scheme == "dark")
    assert [item["id"] for item in found.response["violations"] if item["impact"] in _IMPACTS] == []


def test_the_words_of_a_rule_stay_whole_on_a_phone(browser: Browser, page_file: Path) -> None:
    """A table that does not fit scrolls sideways; it does not break the codes of the contract."""
    page = browser.new_page(viewport={"width": 360, "height": 900})
    try:
        page.goto(page_file.as_uri())
        widths = page.eval_on_selector_all("tbody td:nth-child(3)", "cells => cells.map(cell => cell.clientWidth)")
    finally:
        page.close()

    assert min(widths) > 150
