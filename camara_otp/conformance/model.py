"""The values of a check: what was sent, what came back, what is wrong with it, and the report of it all."""

import json
from enum import Enum, IntEnum
from typing import Any, Final, Literal

import attrs

Operation = Literal["send-code", "validate-code"]
Release = Literal["1.0.0", "1.1.0", "1.1.1"]
Origin = Literal["published", "added", "contract"]

RELEASES: Final[tuple[Release, ...]] = ("1.0.0", "1.1.0", "1.1.1")


class Verdict(Enum):
    """How a scenario ended."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SKIP = "skipped"


class Grade(IntEnum):
    """How much a deviation matters, from least to most."""

    COSMETIC = 1
    DIFFERS = 2
    BREAKS = 3

    @property
    def words(self) -> str:
        """Return the grade as a report says it."""
        return {1: "cosmetic", 2: "differs", 3: "breaks clients"}[self]


@attrs.frozen
class Finding:
    """One deviation.

    Args:
        grade: How much it matters.
        text: What is wrong.
        advice: What to do about it, on the client's side or the operator's.
    """

    grade: Grade
    text: str
    advice: str = ""


@attrs.frozen
class SentRequest:
    """A request as it was sent; header names in lower case."""

    operation: Operation
    method: str
    url: str = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        return dict(self.headers).get(name)


@attrs.frozen
class ReceivedResponse:
    """An answer, its body decoded and cut at the cap."""

    status: int
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    seconds: float

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        return dict(self.headers).get(name)

    @property
    def json(self) -> Any:
        """Return the body as JSON, which is UTF-8, or None if it is none."""
        try:
            return json.loads(self.body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return None


@attrs.frozen
class RoundTrip:
    """A request and what became of it.

    Args:
        request: What was sent.
        response: What came back, or None.
        failure: Why nothing came back.
        code: The code that the phone received upon it, once it is known.
    """

    request: SentRequest
    response: ReceivedResponse | None = None
    failure: str | None = None
    code: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Shown:
    """An exchange fit to be shown to anyone: secrets and numbers are masked.

    Args:
        role: `judged`, or `setup` if it only led there.
        request: The request, as lines of text.
        answer: The answer or the failure, as lines of text.
        seconds: How long the answer took, or None.
    """

    role: str
    request: str
    answer: str
    seconds: float | None


@attrs.frozen
class Outcome:
    """What became of one scenario or contract rule.

    Args:
        tag: Its name; a published one is spelled as CAMARA spells it.
        origin: Whether CAMARA published it, we added it, or it is a rule that every answer has to keep.
        operation: The operation it is about, or None for both.
        sent: What is sent.
        rule: What must come back.
        source: Where that stands.
        verdict: Pass, fail or skipped.
        reason: Why it was skipped.
        findings: The deviations, worst first.
        exchanges: What went over the wire.
        seconds: How long it took.
    """

    tag: str
    origin: Origin
    operation: Operation | None
    sent: str
    rule: str
    source: str
    verdict: Verdict
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    exchanges: tuple[Shown, ...] = ()
    seconds: float = 0.0

    @property
    def grade(self) -> Grade | None:
        """Return the grade of the worst deviation, or None."""
        return max((finding.grade for finding in self.findings), default=None)


@attrs.frozen
class Latency:
    """How long one answer took."""

    operation: Operation
    status: int
    seconds: float


@attrs.frozen
class Report:
    """The whole check; holds no secret.

    Args:
        base_url: The operator's API root.
        api_path: The path between root and operation.
        release: The release of the API that the check speaks of.
        started_at: When it began, as an ISO 8601 date in UTC.
        seconds: How long it took.
        texts: How many sends the operator accepted, each of which is a text.
        outcomes: Scenarios and contract rules, in the order of their tables.
        latencies: All answers, in the order in which they came.
        recommendations: What this operator asks of a client's settings.
        client: A line of Python that makes a client for this operator.
    """

    base_url: str
    api_path: str
    release: Release
    started_at: str
    seconds: float
    texts: int
    outcomes: tuple[Outcome, ...]
    latencies: tuple[Latency, ...]
    recommendations: tuple[str, ...]
    client: str

    def count(self, verdict: Verdict) -> int:
        """Return how many outcomes have this verdict."""
        return sum(outcome.verdict is verdict for outcome in self.outcomes)

    def grades(self) -> dict[Grade, int]:
        """Return how many outcomes deviate, by the grade of their worst deviation, worst first."""
        return {
            grade: sum(outcome.grade == grade for outcome in self.outcomes) for grade in sorted(Grade, reverse=True)
        }

    def is_good(self, fail_on: Grade = Grade.DIFFERS) -> bool:
        """Tell whether no deviation is of this grade or worse.

        Args:
            fail_on: The least grade that counts.
        """
        return all((outcome.grade or 0) < fail_on for outcome in self.outcomes)
