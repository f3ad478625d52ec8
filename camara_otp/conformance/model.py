"""The values of a check: requests, responses, SMS, findings, and the report."""

import json
from enum import Enum, IntEnum
from typing import Any, Final, Literal, cast

import attrs

Operation = Literal["send-code", "validate-code"]
Release = Literal["1.0.0", "1.1.0", "1.1.1"]
Origin = Literal["published", "added", "contract"]
Tried = Literal["", "right", "wrong"]
JSONObject = dict[str, Any]

RELEASES: Final[tuple[Release, ...]] = ("1.0.0", "1.1.0", "1.1.1")


class BlockedError(Exception):
    """A scenario cannot continue for a reason unrelated to its subject; the message gives the reason."""


class Verdict(Enum):
    """How a scenario or a rule ended."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SKIP = "skipped"
    NOT_JUDGED = "not judged"


class Grade(IntEnum):
    """How much a deviation matters, from least to most."""

    ADVICE = 1
    DIFFERS = 2
    BREAKS = 3

    @property
    def words(self) -> str:
        """Return the grade as a report says it."""
        return {1: "advice", 2: "differs", 3: "breaks clients"}[self]


@attrs.frozen
class Cause:
    """One thing that an operator does wrong, however many scenarios it fails.

    Args:
        name: its name in reports and in JSON
        grade: how much it matters
        title: what is wrong
        operator: what the operator has to change
        client: what a client developer has to expect
        rule: what the contract says
        source: where the contract says it
    """

    name: str
    grade: Grade
    title: str
    operator: str
    client: str
    rule: str
    source: str


@attrs.frozen
class Finding:
    """A cause that shows in one scenario or rule.

    Args:
        cause: what is wrong
        text: how it shows
        grade: how much it matters; that of the cause unless given
    """

    cause: Cause
    text: str
    grade: Grade = attrs.field(default=attrs.Factory(lambda self: self.cause.grade, takes_self=True))


@attrs.frozen
class SentRequest:
    """A request as it was sent."""

    operation: Operation
    method: str
    url: str = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    @property
    def members(self) -> JSONObject:
        """Return the JSON object in the body, or an empty dict if the body is not one."""
        return members_of(parsed(self.body))


@attrs.frozen
class ReceivedError:
    """The readable parts of an error body, and their place: the top level, or the key of a wrapper."""

    code: str | None
    place: str
    table: JSONObject


@attrs.frozen
class ReceivedResponse:
    """A response, its body decoded and cut at the cap; header names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    seconds: float

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        return dict(self.headers).get(name)

    @property
    def json(self) -> Any:
        """Return the body as JSON, or None if it is not JSON in UTF-8."""
        return parsed(self.body)

    @property
    def members(self) -> JSONObject:
        """Return the JSON object in the body, or an empty dict if the body is not one."""
        return members_of(self.json)

    @property
    def authentication_id(self) -> str | None:
        """Return the authenticationId in the body, or None."""
        value = self.members.get("authenticationId")
        return value if isinstance(value, str) and value else None

    @property
    def error(self) -> ReceivedError | None:
        """Return the error in the body, also from one level down, or None if the body is not a JSON object."""
        if self.status < 400 or not isinstance(self.json, dict):
            return None
        table, place = self.members, ""
        if "code" not in table:
            place = next((name for name in ("detail", "error") if isinstance(table.get(name), dict)), "")
            table = table[place] if place else table
        code = table.get("code")
        return ReceivedError(code if isinstance(code, str) and code else None, place, table)

    @property
    def code(self) -> str | None:
        """Return the code of an error, or None."""
        return self.error.code if self.error else None

    @property
    def said(self) -> str:
        """Return the status and the code, in short."""
        return f"{self.status} {self.code or ''}".rstrip()


def parsed(body: bytes) -> Any:
    """Return a body as JSON, or None if it is not JSON in UTF-8."""
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def members_of(value: Any) -> JSONObject:
    """Return the members of a JSON object; none for any other value."""
    return cast("JSONObject", value) if isinstance(value, dict) else {}


@attrs.define(eq=False)
class Delivery:
    """The record of an SMS that the operator accepted, and of its id.

    Args:
        number: the phone
        message: the message that was sent, with the label
        code: the code in the SMS, or None
        text: the whole SMS, if the inbox shows where it begins and ends; else None
        copies: how many SMS the inbox holds for this send
        lost: the words that report that the SMS did not arrive, or empty
        sent_at: when it was sent, in seconds since the epoch
        authentication_id: its id
        state: whether the id is valid (live), used, or closed by wrong codes
        wrong: how many wrong codes were tried
        tried: the wrong codes that were tried
    """

    number: str = attrs.field(repr=False)
    message: str
    code: str | None = attrs.field(default=None, repr=False)
    text: str | None = attrs.field(default=None, repr=False)
    copies: int = 1
    lost: str = ""
    sent_at: float = 0.0
    authentication_id: str = attrs.field(default="", repr=False)
    state: Literal["live", "used", "closed"] = "live"
    wrong: int = 0
    tried: set[str] = attrs.field(factory=set[str], repr=False)


@attrs.define(eq=False)
class RoundTrip:
    """The record of a request with its response or failure.

    Args:
        request: the request
        response: the response, or None
        failure: why there is no response
        delivery: the delivery of the SMS, for an accepted send
        tried: for a validation with a good token, whether its code was right or wrong for a valid id
        caused_sms: whether a send that was refused caused an SMS all the same
    """

    request: SentRequest
    response: ReceivedResponse | None = None
    failure: str | None = None
    delivery: Delivery | None = None
    tried: Tried = ""
    caused_sms: bool = False

    @property
    def is_accepted(self) -> bool:
        """Return whether the response is a success."""
        return self.response is not None and self.response.status < 300

    @property
    def status(self) -> int:
        """Return the status of the response; 0 if there is none."""
        return self.response.status if self.response else 0

    @property
    def code(self) -> str | None:
        """Return the code of the error that the response holds, or None."""
        return self.response.code if self.response else None

    @property
    def said(self) -> str:
        """Return the status and the code of the response, in short."""
        return self.response.said if self.response else "no response"

    @property
    def issued_id(self) -> str | None:
        """Return the authenticationId of an accepted send, or None."""
        return self.response.authentication_id if self.response and self.is_accepted else None


@attrs.frozen
class Shown:
    """A request with its response, with secrets and numbers masked.

    Args:
        role: `judged`, or `setup` if it only prepared what was judged
        request: the request
        answer: the response or the failure
        seconds: how long the response took, or None
    """

    role: str
    request: str
    answer: str
    seconds: float | None


@attrs.frozen
class Outcome:
    """The result of one scenario or contract rule.

    Args:
        tag: its name; a published one is spelled as CAMARA spells it
        origin: whether CAMARA published it, this package added it, or it is a rule for every response
        operation: the operation it is about, or None for both
        sent: what is sent
        rule: what must come back
        source: where the contract says so
        verdict: how it ended
        reason: why it was skipped or not judged
        findings: the deviations, worst first
        exchanges: requests and responses
        seconds: how long it took
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
class Place:
    """Where a deviation shows.

    Args:
        tag: the scenario or rule
        text: how it shows
    """

    tag: str
    text: str


@attrs.frozen
class Deviation:
    """One cause with all its places.

    Args:
        cause: what is wrong, what to change, what to expect
        grade: the worst grade among the places
        places: where it shows
        examples: requests and responses that show it
    """

    cause: Cause
    grade: Grade
    places: tuple[Place, ...]
    examples: tuple[Shown, ...] = ()


@attrs.frozen
class Latency:
    """How long one response took."""

    operation: Operation
    status: int
    seconds: float


@attrs.frozen
class Report:
    """The whole check; holds no secret.

    Args:
        base_url: the operator's API root
        api_path: the path between root and operation
        release: the release whose scenarios were run
        started_at: when it began, as an ISO 8601 date in UTC
        seconds: how long it took
        texts: how many SMS the operator sent or may have sent
        outcomes: scenarios and contract rules, in the order of their tables
        deviations: one per cause, worst first
        latencies: all responses, in the order in which they came
        recommendations: what this operator needs in a client's settings
        client: a line of Python that makes a client for this operator
    """

    base_url: str
    api_path: str
    release: Release
    started_at: str
    seconds: float
    texts: int
    outcomes: tuple[Outcome, ...]
    deviations: tuple[Deviation, ...]
    latencies: tuple[Latency, ...]
    recommendations: tuple[str, ...]
    client: str

    def count(self, verdict: Verdict) -> int:
        """Return how many outcomes have this verdict."""
        return sum(outcome.verdict is verdict for outcome in self.outcomes)

    def grades(self) -> dict[Grade, int]:
        """Return how many deviations have each grade, worst first."""
        return {grade: sum(found.grade == grade for found in self.deviations) for grade in sorted(Grade, reverse=True)}

    @property
    def worst(self) -> Grade | None:
        """Return the grade of the worst deviation, or None."""
        return max((found.grade for found in self.deviations), default=None)

    @property
    def not_judged(self) -> str:
        """Return why the check allows no verdict, or an empty string if it does."""
        return "; ".join(outcome.reason for outcome in self.outcomes if outcome.verdict is Verdict.NOT_JUDGED)

    def skips(self) -> dict[str, tuple[str, ...]]:
        """Return the tags of the scenarios that were not run, by reason."""
        reasons: dict[str, list[str]] = {}
        for outcome in self.outcomes:
            if outcome.verdict is Verdict.SKIP:
                reasons.setdefault(outcome.reason, []).append(outcome.tag)
        return {reason: tuple(tags) for reason, tags in reasons.items()}

    def is_good(self, fail_on: Grade = Grade.DIFFERS) -> bool:
        """Return whether the check was judged and no deviation is of this grade or worse.

        Args:
            fail_on: the least grade that counts
        """
        return not self.not_judged and (self.worst or 0) < fail_on
