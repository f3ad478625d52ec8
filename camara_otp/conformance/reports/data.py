"""The report as plain data, and as JSON."""

import json
from typing import Any, Final

import attrs

from camara_otp.conformance.model import Deviation, Operation, Origin, Outcome, Report, Shown, Verdict

TITLES: Final[dict[Origin, str]] = {
    "published": "CAMARA's scenarios",
    "added": "Scenarios added by camara-otp",
    "contract": "Rules for every response",
}
OPERATIONS: Final[tuple[Operation, ...]] = ("send-code", "validate-code")


def as_table(report: Report) -> dict[str, Any]:
    """Return the report as values that JSON has, with names in CAMARA's style.

    Args:
        report: the report
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
        "latency": {operation: latency_of(report, operation) for operation in OPERATIONS},
        "client": report.client,
        "recommendations": list(report.recommendations),
        "outcomes": [_outcome(outcome) for outcome in report.outcomes],
    }


def as_json(report: Report) -> str:
    """Return the report as JSON.

    Args:
        report: the report
    """
    return json.dumps(as_table(report), indent=2, ensure_ascii=False) + "\n"


def outcomes_of(report: Report, origin: Origin) -> list[Outcome]:
    """Return the outcomes of one origin."""
    return [outcome for outcome in report.outcomes if outcome.origin == origin]


def counts_of(report: Report, *, rules: bool) -> dict[str, int]:
    """Return how many scenarios, or rules, have each verdict, in words; "not judged" only if there is one."""
    verdicts = [outcome.verdict for outcome in report.outcomes if (outcome.origin == "contract") is rules]
    counts = {"passed": Verdict.PASS, "failed": Verdict.FAIL, "skipped": Verdict.SKIP, "not judged": Verdict.NOT_JUDGED}
    made = {word: verdicts.count(verdict) for word, verdict in counts.items()}
    return {word: count for word, count in made.items() if count or word != "not judged"}


def latency_of(report: Report, operation: Operation) -> dict[str, float] | None:
    """Return count, median, 95th percentile and worst of an operation's response times, in seconds, or None."""
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
    findings = outcome.findings
    return {
        **attrs.asdict(outcome, recurse=False),
        "verdict": outcome.verdict.value,
        "grade": None if outcome.grade is None else outcome.grade.words,
        "reason": outcome.reason or None,
        "seconds": round(outcome.seconds, 4),
        "findings": [{"cause": each.cause.name, "grade": each.grade.words, "text": each.text} for each in findings],
        "exchanges": [_exchange(exchange) for exchange in outcome.exchanges],
    }


def _deviation(deviation: Deviation) -> dict[str, Any]:
    cause = attrs.asdict(deviation.cause)
    return {
        "cause": cause.pop("name"),
        **cause,
        "grade": deviation.grade.words,
        "places": [attrs.asdict(place) for place in deviation.places],
        "exchanges": [_exchange(exchange) for exchange in deviation.examples],
    }


def _exchange(exchange: Shown) -> dict[str, Any]:
    seconds = exchange.seconds
    return {**attrs.asdict(exchange), "seconds": None if seconds is None else round(seconds, 4)}
