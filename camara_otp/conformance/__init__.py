"""Check an operator's endpoint against CAMARA's published scenarios, and report the deviations.

    settings = load_settings(Path("operator.toml"))
    report = await run(settings, plan(settings, scenarios(settings.release)), token="...")

It sends HTTP requests by itself and uses nothing of the client, so that it can send requests that the client rejects.
"""

from camara_otp.conformance.discovery import UnreachableError
from camara_otp.conformance.model import (
    Cause,
    Deviation,
    Finding,
    Grade,
    Latency,
    Outcome,
    Place,
    Report,
    Shown,
    Verdict,
)
from camara_otp.conformance.planning import Plan, Step, plan
from camara_otp.conformance.runner import run
from camara_otp.conformance.scenarios import SCENARIOS, Scenario, scenarios
from camara_otp.conformance.settings import (
    Hook,
    Limits,
    Numbers,
    Settings,
    SettingsError,
    Tokens,
    load_settings,
    sandbox_settings,
    settings_from,
)

__all__ = [
    "SCENARIOS",
    "Cause",
    "Deviation",
    "Finding",
    "Grade",
    "Hook",
    "Latency",
    "Limits",
    "Numbers",
    "Outcome",
    "Place",
    "Plan",
    "Report",
    "Scenario",
    "Settings",
    "SettingsError",
    "Shown",
    "Step",
    "Tokens",
    "UnreachableError",
    "Verdict",
    "load_settings",
    "plan",
    "run",
    "sandbox_settings",
    "scenarios",
    "settings_from",
]
