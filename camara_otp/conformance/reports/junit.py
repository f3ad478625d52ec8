"""The report as JUnit XML, which every CI system reads."""

import re
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from camara_otp.conformance.model import Origin, Outcome, Report, Verdict
from camara_otp.conformance.reports.data import outcomes_of

_SUITES: Final[dict[Origin, str]] = {
    "published": "CAMARA's scenarios",
    "added": "camara-otp's scenarios",
    "contract": "rules for every response",
}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(report: Report) -> str:
    """Return the report as JUnit XML: one suite for CAMARA's scenarios, one for the added ones, one for the rules.

    Args:
        report: the report
    """
    root = Element("testsuites", name=f"camara-otp check {report.base_url}", time=f"{report.seconds:.3f}")
    for origin, name in _SUITES.items():
        outcomes = outcomes_of(report, origin)
        verdicts = [outcome.verdict for outcome in outcomes]
        suite = SubElement(
            root,
            "testsuite",
            name=name,
            timestamp=report.started_at,
            tests=str(len(outcomes)),
            failures=str(verdicts.count(Verdict.FAIL)),
            skipped=str(verdicts.count(Verdict.SKIP)),
            errors=str(verdicts.count(Verdict.NOT_JUDGED)),
            time=f"{sum(outcome.seconds for outcome in outcomes):.3f}",
        )
        for outcome in outcomes:
            _case(suite, outcome)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(suite: Element, outcome: Outcome) -> None:
    case = SubElement(
        suite,
        "testcase",
        classname=f"{outcome.origin}.{outcome.operation or 'every-response'}",
        name=outcome.tag,
        time=f"{outcome.seconds:.3f}",
    )
    if outcome.verdict is Verdict.SKIP:
        SubElement(case, "skipped", message=_clean(outcome.reason))
    elif outcome.verdict is Verdict.NOT_JUDGED:
        SubElement(case, "error", message=_clean(f"not judged: {outcome.reason}"), type=outcome.verdict.value)
    elif outcome.verdict is Verdict.FAIL:
        worst = outcome.findings[0]
        failure = SubElement(case, "failure", message=_clean(worst.text), type=worst.grade.words)
        failure.text = _clean(told(outcome))
    elif outcome.findings:
        SubElement(case, "system-out").text = _clean(told(outcome))


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def told(outcome: Outcome) -> str:
    """Return everything about an outcome as lines."""
    lines = [f"sent: {outcome.sent}", f"expected response: {outcome.rule}", f"source: {outcome.source}", ""]
    for finding in outcome.findings:
        cause = finding.cause
        lines += [
            f"{finding.grade.words}: {cause.title}: {finding.text}",
            f"  the operator has to change: {cause.operator}",
            f"  a client has to expect: {cause.client}",
            f"  the rule: {cause.rule}",
            f"  where it is: {cause.source}",
        ]
    for exchange in outcome.exchanges:
        if exchange.role == "judged":
            lines += ["", exchange.request, "", exchange.answer]
    return "\n".join(lines)
