"""What a check means for the settings of a client: advice, and a ready-made line of Python."""

import json
import re
from collections.abc import Iterable, Sequence

from camara_otp.conformance.contract import DOCUMENTED_PATH
from camara_otp.conformance.judge import PATH_UNKNOWN, room
from camara_otp.conformance.model import Grade, Outcome, RoundTrip, Verdict
from camara_otp.conformance.settings import Settings

_WITH = "OTPvalidationAPI_01_send_code_success_scenario"
_WITHOUT = "OTPvalidationAPI_02_send_code_success_scenario_without_x-correlator"
# What a client can be told, and what a scenario says that met a 401 it was not about.
_OPTION = re.compile(r"`(api_path|base_url|timeout)\b")
_UNWELCOME = re.compile(r"(refused with|answered) 401 (?!.*instead of 401)")


def recommendations(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return what to set in a client, and what no setting can cope with.

    Args:
        outcomes: What was found.
    """
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    found = [finding.advice for finding in findings if _OPTION.search(finding.advice)]
    is_ours = any(outcome.reason == PATH_UNKNOWN for outcome in outcomes)
    if is_ours:
        found.insert(0, f"Where the operations are is not known: {PATH_UNKNOWN}.")
    if _refuses_correlators(outcomes):
        found.insert(0, "Requests with an x-correlator are refused: `x_correlator=None`.")
    unwelcome = sum(bool(_UNWELCOME.match(finding.text)) for finding in findings)
    if unwelcome > len(findings) / 2:
        is_ours = True
        found.insert(0, "Most requests were refused with 401: is the access token good, and of this operator?")
    broken = sum(outcome.grade == Grade.BREAKS for outcome in outcomes)
    if broken and not is_ours:
        subject = "One deviation breaks" if broken == 1 else f"{broken} deviations break"
        found.append(f"{subject} clients, whatever their settings: show the operator this report.")
    return tuple(dict.fromkeys(found))


def _refuses_correlators(outcomes: Iterable[Outcome]) -> bool:
    by_tag = {outcome.tag: outcome for outcome in outcomes}
    refused, taken = by_tag.get(_WITH), by_tag.get(_WITHOUT)
    if refused is None or taken is None or taken.verdict is not Verdict.PASS:
        return False
    return any(finding.text.startswith("refused with 400 ") for finding in refused.findings)


def client_line(settings: Settings, api_path: str, outcomes: Sequence[Outcome], exchanges: Iterable[RoundTrip]) -> str:
    """Return the line that makes a client for this operator.

    Args:
        settings: What is known about the operator.
        api_path: The path between root and operation.
        outcomes: What was found.
        exchanges: All there were.
    """
    arguments = [json.dumps(settings.root), "token=..."]
    if api_path != DOCUMENTED_PATH:
        arguments.append(f"api_path={json.dumps(api_path)}")
    slowest = max((exchange.response.seconds for exchange in exchanges if exchange.response), default=0.0)
    if slowest >= settings.slow:
        arguments.append(f"timeout={room(slowest)}")
    if _refuses_correlators(outcomes):
        arguments.append("x_correlator=None")
    for name, table in (("headers", settings.headers), ("params", settings.params)):
        if table:
            arguments.append(f"{name}={{{', '.join(f'{json.dumps(key)}: ...' for key in table)}}}")
    return f"OTPClient({', '.join(arguments)})"
