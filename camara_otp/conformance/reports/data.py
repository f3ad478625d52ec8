"""The report as plain data, and as JSON."""

import json
from typing import Any

from camara_otp.conformance.model import Deviation, Finding, Grade, Operation, Outcome, Report, Shown, Verdict


def as_table(report: Report) -> dict[str, Any]:
    """Return the report as values that JSON has, with names in CAMARA's style.

    Args:
        report: The report.
    """
    return {
        "baseUrl": report.base_url,
        "apiPath": report.api_path,
        "release": report.release,
        "startedAt": report.started_at,
        "seconds": round(report.seconds, 3),
        "texts": report.texts,
        "good": report.is_good(),
        "judged": not report.not_judged,
        "notJudged": report.not_judged or None,
        "counts": {verdict.value: report.count(verdict) for verdict in Verdict},
        "grades": {grade.words: count for grade, count in report.grades().items()},
        "deviations": [_deviation(deviation) for deviation in report.deviations],
        "notRun": [{"reason": reason, "tags": list(tags)} for reason, tags in report.skips().items()],
        "latency": {operation: latency_of(report, operation) for operation in _OPERATIONS},
        "client": report.client,
        "recommendations": list(report.recommendations),
        "outcomes": [_outcome(outcome) for outcome in report.outcomes],
    }


def as_json(report: Report) -> str:
    """Return the report as JSON.

    Args:
        report: The report.
    """
    return json.dumps(as_table(report), indent=2, ensure_ascii=False) + "\n"


_OPERATIONS: tuple[Operation, ...] = ("send-code", "validate-code")


def latency_of(report: Report, operation: Operation) -> dict[str, float] | None:
    """Return the median, the 95th percentile and the worst of an operation's answers, in seconds, or None.

    Args:
        report: The report.
        operation: The operation.
    """
    times = sorted(latency.seconds for latency in report.latencies if latency.operation == operation)
    if not times:
        return None
    return {
        "count": len(times),
        "median": round(times[(len(times) - 1) // 2], 4),
        "p95": round(times[max(0, -(-len(times) * 95 // 100) - 1)], 4),
        "worst": round(times[-1], 4),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "tag": outcome.tag,
        "origin": outcome.origin,
        "operation": outcome.operation,
        "verdict": outcome.verdict.value,
        "grade": _words(outcome.grade),
        "sent": outcome.sent,
        "rule": outcome.rule,
        "source": outcome.source,
        "reason": outcome.reason or None,
        "seconds": round(outcome.seconds, 4),
        "findings": [_finding(finding) for finding in outcome.findings],
        "exchanges": [_exchange(exchange) for exchange in outcome.exchanges],
    }


def _words(grade: Grade | None) -> str | None:
    return None if grade is None else grade.words


def _finding(finding: Finding) -> dict[str, Any]:
    return {"cause": finding.cause.name, "grade": finding.grade.words, "text": finding.text}


def _deviation(deviation: Deviation) -> dict[str, Any]:
    cause = deviation.cause
    return {
        "cause": cause.name,
        "grade": deviation.grade.words,
        "title": cause.title,
        "operator": cause.operator,
        "client": cause.client,
        "rule": cause.rule,
        "source": cause.source,
        "places": [{"tag": place.tag, "text": place.text} for place in deviation.places],
        "exchanges": [_exchange(exchange) for exchange in deviation.examples],
    }


def _exchange(exchange: Shown) -> dict[str, Any]:
    return {
        "role": exchange.role,
        "request": exchange.request,
        "answer": exchange.answer,
        "seconds": None if exchange.seconds is None else round(exchange.seconds, 4),
    }
