"""Recommendations for the settings of a client, derived from a check, with a ready-made line of Python."""

import json
from collections.abc import Iterable, Sequence

from camara_otp.conformance.contract import DOCUMENTED_PATH
from camara_otp.conformance.judge import timeout_for
from camara_otp.conformance.model import Grade, Outcome, RoundTrip, Verdict
from camara_otp.conformance.rules import PATH_UNKNOWN
from camara_otp.conformance.settings import Settings

_WITH = "OTPvalidationAPI_01_send_code_success_scenario"
_WITHOUT = "OTPvalidationAPI_02_send_code_success_scenario_without_x-correlator"
# Causes that a setting of the client solves.
_SETTINGS = ("slow", "path", "redirect", "correlator-refused")


def recommendations(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return one sentence per recommended client setting, and one that counts the deviations that no setting solves."""
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    made = [finding.cause.client for finding in findings if finding.cause.name in _SETTINGS]
    is_ours = any(outcome.reason == PATH_UNKNOWN for outcome in outcomes)
    if is_ours:
        made.insert(0, f"Where the operations are is not known: {PATH_UNKNOWN}.")
    if _refuses_correlators(outcomes):
        made.insert(0, "Requests with an x-correlator are refused: `x_correlator=None`.")
    refused = sum(finding.cause.name == "good-token-refused" for finding in findings)
    others = sum("instead of 400" in finding.text and "responded with 401" in finding.text for finding in findings)
    if refused + others > len(findings) / 2:
        is_ours = True
        made.insert(0, "Most requests were refused with 401: is the access token good, and of this operator?")
    broken = len({finding.cause.title for finding in findings if finding.grade == Grade.BREAKS})
    if broken and not is_ours:
        subject = "One deviation breaks" if broken == 1 else f"{broken} deviations break"
        made.append(f"{subject} clients, whatever their settings: show the operator this report.")
    return tuple(dict.fromkeys(made))


def _refuses_correlators(outcomes: Iterable[Outcome]) -> bool:
    by_tag = {outcome.tag: outcome for outcome in outcomes}
    refused, taken = by_tag.get(_WITH), by_tag.get(_WITHOUT)
    if refused is None or taken is None or taken.verdict is not Verdict.PASS:
        return False
    return any("responded with 400 " in finding.text for finding in refused.findings)


def client_line(settings: Settings, api_path: str, outcomes: Sequence[Outcome], trips: Iterable[RoundTrip]) -> str:
    """Return the line of Python that makes a client for this operator."""
    arguments = [json.dumps(settings.root), "token=..."]
    if api_path != DOCUMENTED_PATH:
        arguments.append(f"api_path={json.dumps(api_path)}")
    slowest = max((trip.response.seconds for trip in trips if trip.response), default=0.0)
    if slowest >= settings.slow:
        arguments.append(f"timeout={timeout_for(slowest)}")
    if _refuses_correlators(outcomes):
        arguments.append("x_correlator=None")
    for name, table in (("headers", settings.headers), ("params", settings.params)):
        if table:
            arguments.append(f"{name}={{{', '.join(f'{json.dumps(key)}: ...' for key in table)}}}")
    return f"OTPClient({', '.join(arguments)})"
