"""The scenarios as test items: `pytest -p camara_otp.testing.check --pyargs camara_otp.conformance`."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from camara_otp.conformance import (
    Outcome,
    Plan,
    Settings,
    SettingsError,
    Step,
    UnreachableError,
    Verdict,
    load_settings,
    plan,
    sandbox_settings,
    scenarios,
    settings_from,
)
from camara_otp.conformance.check import Check
from camara_otp.conformance.hooks import prompt_at_terminal, sandbox_at
from camara_otp.conformance.reports.junit import told
from camara_otp.conformance.rules import EVIDENCE_RULE, PATH_RULE, RULES
from camara_otp.conformance.runner import open_check, perform, rule_outcomes

_RULES = tuple(rule.tag for rule in (*RULES, PATH_RULE, EVIDENCE_RULE))


@attrs.frozen
class Item:
    """A step or rule with its place in the order."""

    place: int
    tag: str
    step: Step | None = None


def settings_of(config: pytest.Config) -> Settings:
    """Return the settings that the options give; raise SettingsError if they are wrong or name no operator."""
    if not config.pluginmanager.has_plugin("camara_otp.testing.check"):
        raise SettingsError(
            "the options of the check are not switched on: "
            "run pytest -p camara_otp.testing.check --pyargs camara_otp.conformance"
        )
    option = config.getoption
    url: str | None = option("--otp-base-url") or os.environ.get("CAMARA_BASE_URL")
    file: str | None = option("--otp-settings")
    given: dict[str, Any] = {
        "base_url": url,
        "release": option("--otp-release"),
        "api_path": option("--otp-api-path") or os.environ.get("CAMARA_API_PATH"),
        "sms": False if option("--otp-no-sms") else None,
    }
    if file:
        return load_settings(Path(file), **given)
    if not url:
        # Skipped items would be a green run without a check.
        raise SettingsError("no operator is named: give --otp-base-url or set CAMARA_BASE_URL")
    described = sandbox_at(url)
    return settings_from({} if described is None else sandbox_settings(url, described), **given)


def token_of(config: pytest.Config) -> str:
    """Return the access token; raise SettingsError if there is none."""
    file: str | None = config.getoption("--otp-token-file")
    try:
        token = Path(file).read_text("utf-8").strip() if file else os.environ.get("CAMARA_BEARER_TOKEN", "")
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "is not text"
        raise SettingsError(f"--otp-token-file: {file}: {problem}") from None
    if not token:
        raise SettingsError("no access token: set CAMARA_BEARER_TOKEN, or give --otp-token-file")
    return token


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item of each scenario, in the order of the plan, and one of each contract rule."""
    if "otp_step" not in metafunc.fixturenames:
        return
    try:
        places = _rule_places() if metafunc.function is test_contract else _step_places(metafunc.config)
    except SettingsError:
        # The first item ends the run with the error; raised here, it would have a traceback.
        places = [Item(0, "settings")]
    metafunc.parametrize("otp_step", places, ids=[place.tag for place in places])


def _rule_places() -> list[Item]:
    return [Item(10**6 + index, tag) for index, tag in enumerate(_RULES)]


def _step_places(config: pytest.Config) -> list[Item]:
    _, todo = _planned(config)
    return [Item(index, step.scenario.tag, step) for index, step in enumerate(todo.in_order)]


def _planned(config: pytest.Config) -> tuple[Settings, Plan]:
    settings = settings_of(config)
    return settings, plan(settings, scenarios(settings.release, added=not config.getoption("--otp-published-only")))


@attrs.frozen
class Session:
    """One check over all items, and the portal to its event loop."""

    check: Check
    portal: BlockingPortal


@pytest.fixture(scope="session")
def otp_session(pytestconfig: pytest.Config) -> Iterator[Session]:
    """Open the check that all items share; a missing or wrong setting ends the run, once."""
    capture: Any = pytestconfig.pluginmanager.getplugin("capturemanager")

    async def prompt(question: str) -> str:
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        try:
            return await prompt_at_terminal(question)
        finally:
            if capture is not None:
                capture.resume_global_capture()

    with start_blocking_portal() as portal, ExitStack() as stack:
        try:
            settings, todo = _planned(pytestconfig)
            opening = open_check(settings, token_of(pytestconfig), todo.texts, prompt=prompt)
            check = stack.enter_context(portal.wrap_async_context_manager(opening))
        except (SettingsError, UnreachableError) as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
        yield Session(check, portal)


def _report(outcome: Outcome) -> None:
    if outcome.verdict is Verdict.SKIP:
        pytest.skip(outcome.reason)
    if outcome.verdict is Verdict.NOT_JUDGED:
        pytest.fail(f"not judged: {outcome.reason}", pytrace=False)
    if outcome.verdict is Verdict.FAIL:
        pytest.fail(f"{outcome.findings[0].text}\n{told(outcome)}", pytrace=False)


def test_scenario(otp_step: Item, otp_session: Session) -> None:
    """Check that the operator does what the scenario says."""
    _report(otp_session.portal.call(perform, otp_session.check, cast("Step", otp_step.step)))


def test_contract(otp_step: Item, otp_session: Session) -> None:
    """Check that every response so far keeps the rule."""
    _report(next(outcome for outcome in rule_outcomes(otp_session.check) if outcome.tag == otp_step.tag))
