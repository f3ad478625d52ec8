"""Compare one response with the expected one: pure functions that return findings."""

import json
import math
import re
from typing import Final

import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.causes import found
from camara_otp.conformance.model import Finding, Operation, ReceivedResponse, RoundTrip, parsed

CODE_FORM: Final = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z][A-Z0-9_]*)?")


@attrs.frozen
class Expectation:
    """The response that a request must get.

    Args:
        status: the HTTP status
        codes: the codes of the error that are right; empty for a success
        also: other pairs of status and code that are right
        accepted: the cause if the request is accepted although it has to be refused
        what: what the request is, for that cause
    """

    status: int
    codes: tuple[str, ...] = ()
    also: tuple[tuple[int, str], ...] = ()
    accepted: str = "invalid-request-accepted"
    what: str = "the request"

    def __str__(self) -> str:
        """Return it as a report says it."""
        return f"{self.status} {' or '.join(self.codes)}".rstrip()


VALID: Final = Expectation(204)
SENT: Final = Expectation(200)
INVALID_ARGUMENT: Final = Expectation(400, ("INVALID_ARGUMENT",))
NOT_FOUND: Final = Expectation(404, ("NOT_FOUND",), accepted="wrong-code-accepted", what="an unknown id")
INVALID_OTP: Final = Expectation(400, (contract.INVALID_OTP,), accepted="wrong-code-accepted", what="a wrong code")
EXPIRED: Final = Expectation(400, (contract.EXPIRED,))
FAILED: Final = Expectation(400, (contract.FAILED,), accepted="wrong-code-accepted", what="a wrong code")
CLOSED: Final = Expectation(400, (contract.FAILED, contract.EXPIRED), accepted="closed-id-accepted")
UNAUTHENTICATED: Final = Expectation(401, ("UNAUTHENTICATED",))


def limit_met(trip: RoundTrip, expect: Expectation | None = None) -> str:
    """Return which limit of the operator a response reports, other than an expected one, or an empty string."""
    if expect is not None and trip.code in expect.codes:
        return ""
    if trip.status == 429:
        return f"the operator limits the rate or quota ({trip.said}): wait, or set concurrency = 1"
    if trip.code == contract.MAX_CODES:
        return "the phone may get no more SMS for now (MAX_OTP_CODES_EXCEEDED): set more numbers.reachable, or [reset]"
    return ""


def against(expect: Expectation, trip: RoundTrip) -> list[Finding]:
    """Compare a response with the expected one."""
    response, operation = trip.response, trip.request.operation
    if response is None or response.status >= 500:
        return faults(trip, str(expect))
    if 300 <= response.status < 400:
        return [redirected(response, str(expect))]
    if expect.codes:
        return _against_refusal(expect, response)
    return _against_success(expect, operation, response)


def faults(trip: RoundTrip, expected: str = "") -> list[Finding]:
    """Return the finding about a request without a response, or with a 5xx; none for any other response."""
    if trip.response is None:
        failure = trip.failure or "no reason is known"
        return [found("no-response", f"no response: {failure}", failure=failure)]
    if trip.status < 500:
        return []
    instead = f" instead of {expected}" if expected else ""
    return [found("server-fault", f"responded with {trip.said}{instead}", said=trip.said)]


def redirected(response: ReceivedResponse, expected: str) -> Finding:
    """Return the finding about a redirect."""
    return found("redirect", f"responded with a redirect ({response.status}) instead of {expected}")


def _against_success(expect: Expectation, operation: Operation, response: ReceivedResponse) -> list[Finding]:
    text = f"responded with {response.said} instead of {expect}"
    if response.status == 401:
        return [found("good-token-refused", text, said=response.said)]
    if response.status >= 400:
        return [found("good-request-refused", f"{expect.what}: {text}", said=response.said)]
    if response.status != expect.status:
        return [wrong_success(operation, response.status)]
    problem = id_problem(response) if operation == "send-code" else ""
    return [found("success-body", problem, what=problem)] if problem else []


def wrong_success(operation: Operation, status: int) -> Finding:
    """Return the finding about a success with another status than the documented one."""
    expected = contract.SUCCESS[operation]
    text = f"responded with {status} instead of {expected}"
    return found("success-status", text, operation=operation, status=status, expected=expected)


def _against_refusal(expect: Expectation, response: ReceivedResponse) -> list[Finding]:
    if response.status < 300:
        text = f"{expect.what}: accepted with {response.status} instead of {expect}"
        return [found(expect.accepted, text, what=expect.what)]
    code = response.code
    if (response.status == expect.status and code in expect.codes) or (response.status, code) in expect.also:
        return []
    text = f"responded with {response.said} instead of {expect}"
    if code is None:
        formed = error_form(response)
        return [attrs.evolve(finding, text=f"{text}: {finding.text}") for finding in formed if finding.grade > 2]
    if spelled := spelling(code):
        return [attrs.evolve(spelled, text=text)]
    if code in expect.codes:
        return pairing(code, response.status)
    return [_other_code(expect, response, code, text)]


def _other_code(expect: Expectation, response: ReceivedResponse, code: str, text: str) -> Finding:
    if expect.status == 401:
        if code.startswith(contract.SPECIFIC):
            text = f"let through to {response.said} without a good token, instead of {expect}"
            return found(expect.accepted, text, what=expect.what)
        if code == "NOT_FOUND":
            return found("token-checked-late", text)
    is_outcome = any(name.startswith(contract.SPECIFIC) for name in (*expect.codes, code))
    return found("other-outcome" if is_outcome else "other-error", text, got=response.said, expected=str(expect))


def spelling(code: str) -> Finding | None:
    """Return the finding about a code that is not spelled as published, or None."""
    if not CODE_FORM.fullmatch(code):
        return found("code-form", f"the code is {code!r}")
    prefixed = contract.SPECIFIC + code.rpartition(".")[2]
    if code not in contract.PAIRS and prefixed in contract.PAIRS:
        return found("code-prefix", f"{code} instead of {prefixed}")
    return None


def pairing(code: str, status: int) -> list[Finding]:
    """Return the finding about a code with a status that it does not belong to, if there is one."""
    statuses = contract.PAIRS.get(code)
    if statuses is None or status in statuses:
        return []
    expected = " or ".join(map(str, statuses))
    text = f"{code} with status {status} instead of {expected}"
    return [found("code-status", text, code=code, status=status, expected=expected)]


def error_form(response: ReceivedResponse) -> list[Finding]:
    """Return the findings about the form of an error, of a response with status 400 or above."""
    status, info = response.status, response.error
    if info is None:
        kind = body_kind(response.body)
        return [found("error-form", f"the body of a {status} is {kind}", what=f"the body is {kind}")]
    findings: list[Finding] = []
    if info.place:
        findings.append(found("error-nested", f"the ErrorInfo of a {status} is nested", place=info.place))
    table = info.table
    if info.code is None:
        what = "`code` is missing or not a string"
        findings.append(found("error-form", f"the {what} in a {status}", what=what))
    inner = table.get("status")
    if inner is None or isinstance(inner, bool) or not isinstance(inner, int) or inner != status:
        findings.append(found("error-status", f"`status` in the body of a {status} is {_short(inner)}"))
    if not isinstance(table.get("message"), str) or not table["message"].strip():
        findings.append(found("error-message", f"`message` of a {status} is {_short(table.get('message'))}"))
    return findings


def _short(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, str) and not value.strip():
        return "empty"
    return repr(value) if isinstance(value, int) else f"a {type(value).__name__}"


def body_kind(body: bytes) -> str:
    """Return the kind of a body that is not a JSON object."""
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return "text that is not UTF-8"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return _kind_of_other(text, error)
    except (ValueError, RecursionError):
        return "JSON that is not valid"
    if isinstance(value, str):
        is_twice = isinstance(parsed(value.encode("utf-8", "replace")), dict)
        return "JSON that is encoded twice" if is_twice else "a JSON string"
    return f"a JSON {'list' if isinstance(value, list) else 'value that is not an object'}"


def _kind_of_other(text: str, error: json.JSONDecodeError) -> str:
    if not text:
        return "empty"
    if text[0] == "<":
        return "a page of HTML or XML"
    if text[0] not in "{[":
        return "plain text"
    # The body ends inside a string, or where a value or a sign is expected.
    is_cut = "Unterminated" in error.msg or re.fullmatch(r"[\w.+-]*", text[error.pos :])
    return "JSON that is cut off" if is_cut else "JSON that is not valid"


def id_problem(response: ReceivedResponse) -> str:  # noqa: PLR0911
    """Return the fault of the authenticationId in the response to a send, or an empty string."""
    if not isinstance(response.json, dict):
        return f"the body is {body_kind(response.body)}"
    table = response.members
    value = table.get("authenticationId")
    if isinstance(value, str):
        if not value:
            return "authenticationId is empty"
        if len(value) > contract.MAX_ID:
            return f"authenticationId has more than {contract.MAX_ID} characters"
        return "" if value.isprintable() else "authenticationId holds control characters"
    if "authenticationId" in table:
        return "authenticationId is not a string"
    for name, inner in table.items():
        if isinstance(inner, dict) and "authenticationId" in inner:
            return f"authenticationId is under the key `{name[:30]}`"
        if name.replace("_", "").lower() == "authenticationid":
            return f"authenticationId is spelled `{name}`"
    return "authenticationId is missing"


def timeout_for(seconds: float) -> int:
    """Return a client's timeout, in seconds, that suits a response that takes so long."""
    return max(10, 10 * math.ceil(0.2 * seconds))
