"""Hold one response against what a scenario expects: pure functions that return findings."""

import math
import re
from typing import Any, Final, cast

import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.causes import found
from camara_otp.conformance.model import Finding, Grade, Operation, ReceivedResponse, RoundTrip

CODE_FORM: Final = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z][A-Z0-9_]*)?")
LATE: Final = "no response within"
"""How the failure of a request begins that was not answered in time."""


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
    what: str = "requests that break the schema"

    def __str__(self) -> str:
        """Return it as a report says it."""
        return f"{self.status} {' or '.join(self.codes)}".rstrip()


@attrs.frozen
class ReceivedError:
    """The readable parts of an error body, and their place: the top level, or the key of a wrapper."""

    code: str | None
    place: str
    table: dict[str, Any]


def error_info(response: ReceivedResponse) -> ReceivedError | None:
    """Return the error in a response's body, also from one level down, or None.

    Args:
        response: the response
    """
    body = response.json
    if not isinstance(body, dict):
        return None
    table = cast("dict[str, Any]", body)
    if "code" not in table:
        for place in ("detail", "error"):
            if isinstance(table.get(place), dict):
                return _info(table[place], place)
    return _info(table, "")


def _info(table: dict[str, Any], place: str) -> ReceivedError:
    code = table.get("code")
    return ReceivedError(code if isinstance(code, str) and code else None, place, table)


def authentication_id(response: ReceivedResponse) -> str | None:
    """Return the id that a successful send was answered with, or None.

    Args:
        response: the response
    """
    body = response.json
    value = cast("dict[str, Any]", body).get("authenticationId") if isinstance(body, dict) else None
    return value if isinstance(value, str) and value else None


def said(response: ReceivedResponse) -> str:
    """Return a response's status and code, in short.

    Args:
        response: the response
    """
    info = error_info(response) if response.status >= 400 else None
    return f"{response.status} {info.code if info and info.code else ''}".rstrip()


def code_of(response: ReceivedResponse) -> str | None:
    """Return the code of an error, or None.

    Args:
        response: the response
    """
    info = error_info(response) if response.status >= 400 else None
    return info.code if info else None


def limit_met(response: ReceivedResponse, expect: Expectation | None = None) -> str:
    """Return which limit of the operator a response reports, or an empty text.

    Args:
        response: the response
        expect: what should have come back; a limit that is expected is none that is met
    """
    code = code_of(response)
    if code is not None and expect is not None and code in expect.codes:
        return ""
    if response.status == 429:
        return f"the operator limits the rate or quota ({said(response)}): wait, or set concurrency = 1"
    if code == contract.MAX_CODES:
        return (
            "the phone may get no more texts for now (MAX_OTP_CODES_EXCEEDED): set more numbers.reachable, or [reset]"
        )
    return ""


def against(expect: Expectation, trip: RoundTrip) -> list[Finding]:
    """Hold a response against what a scenario expects.

    Args:
        expect: what must come back
        trip: what was sent and what came back
    """
    response, operation = trip.response, trip.request.operation
    if response is None:
        return [no_response(trip)]
    if 300 <= response.status < 400:
        return [redirected(response, str(expect))]
    if expect.codes:
        return _against_refusal(expect, response)
    return _against_success(expect, operation, response)


def no_response(trip: RoundTrip) -> Finding:
    """Return the finding about a request that got no response.

    Args:
        trip: what was sent
    """
    failure = trip.failure or "no reason is known"
    return found("no-response", f"no response: {failure}", failure=failure)


def redirected(response: ReceivedResponse, expected: str) -> Finding:
    """Return the finding about a redirect.

    Args:
        response: the response
        expected: what should have come back
    """
    return found("redirect", f"answered with a redirect ({response.status}) instead of {expected}")


def _against_success(expect: Expectation, operation: Operation, response: ReceivedResponse) -> list[Finding]:
    text = f"answered {said(response)} instead of {expect}"
    if response.status >= 500:
        return [found("server-fault", text, said=said(response))]
    if response.status == 401:
        return [found("good-token-refused", text, said=said(response))]
    if response.status >= 400:
        what = expect.what if expect.what != Expectation(0).what else f"a well-formed {operation}"
        return [found("good-request-refused", f"{what}: {text}", said=said(response))]
    if response.status != expect.status:
        return [wrong_success(operation, response.status)]
    problem = id_problem(response) if operation == "send-code" else ""
    return [found("success-body", problem, what=problem)] if problem else []


def wrong_success(operation: Operation, status: int) -> Finding:
    """Return the finding about a success with another status than the documented one.

    Args:
        operation: the operation
        status: the status
    """
    expected = contract.SUCCESS[operation]
    text = f"answered {status} instead of {expected}"
    return found("success-status", text, operation=operation, status=status, expected=expected)


def _against_refusal(expect: Expectation, response: ReceivedResponse) -> list[Finding]:  # noqa: PLR0911
    if response.status < 300:
        text = f"{expect.what}: accepted with {response.status} instead of {expect}"
        return [found(expect.accepted, text, what=expect.what)]
    code = code_of(response)
    if (response.status == expect.status and code in expect.codes) or (response.status, code) in expect.also:
        return []
    text = f"answered {said(response)} instead of {expect}"
    if response.status >= 500:
        return [found("server-fault", text, said=said(response))]
    if code is None:
        formed = error_form(response)
        return [attrs.evolve(finding, text=f"{text}: {finding.text}") for finding in formed if finding.grade > 2]
    spelled = spelling(code)
    if spelled:
        return [attrs.evolve(spelled, text=text)]
    if code in expect.codes:
        return pairing(code, response.status)
    return [_other(expect, response, code, text)]


def _other(expect: Expectation, response: ReceivedResponse, code: str, text: str) -> Finding:
    if expect.status == 401:
        if code.startswith(contract.SPECIFIC):
            return found(expect.accepted, f"let through to {said(response)} without a good token, instead of {expect}")
        if code == "NOT_FOUND":
            return found("token-checked-late", text)
    own = (*expect.codes, code)
    is_outcome = any(name.startswith(contract.SPECIFIC) for name in own)
    return found("other-outcome" if is_outcome else "other-error", text, got=said(response), expected=str(expect))


def spelling(code: str) -> Finding | None:
    """Return the finding about a code that is not spelled as published, or None.

    Args:
        code: the code
    """
    if not CODE_FORM.fullmatch(code):
        return found("code-form", f"the code is {code!r}")
    prefixed = contract.SPECIFIC + code.rpartition(".")[2]
    if code not in contract.PAIRS and prefixed in contract.PAIRS:
        return found("code-prefix", f"{code} instead of {prefixed}")
    return None


def pairing(code: str, status: int) -> list[Finding]:
    """Return the finding about a code with a status that it does not belong to, if there is one.

    Args:
        code: the code
        status: the HTTP status
    """
    statuses = contract.PAIRS.get(code)
    if statuses is None or status in statuses:
        return []
    expected = " or ".join(map(str, sorted(statuses)))
    text = f"{code} with status {status} instead of {expected}"
    return [found("code-status", text, code=code, status=status, expected=expected)]


def error_form(response: ReceivedResponse) -> list[Finding]:
    """Return the findings about the form of an error.

    Args:
        response: a response with status 400 or above
    """
    status = response.status
    info = error_info(response)
    if info is None:
        kind = body_kind(response.body)
        return [found("error-form", f"the body of a {status} is {kind}", what=f"the body is {kind}")]
    findings: list[Finding] = []
    if info.place:
        findings.append(found("error-nested", f"the ErrorInfo of a {status} is nested", place=info.place))
    table = info.table
    if info.code is None:
        what = "`code` is missing or not a text"
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


def body_kind(body: bytes) -> str:  # noqa: PLR0911
    """Return what a body is that is not a JSON object.

    Args:
        body: the body
    """
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return "text that is not UTF-8"
    if not text:
        return "empty"
    if text[0] == "<":
        return "a page of HTML or XML"
    response = ReceivedResponse(0, (), body, 0.0)
    value = response.json
    if isinstance(value, str):
        is_twice = isinstance(ReceivedResponse(0, (), value.encode("utf-8", "replace"), 0.0).json, dict)
        return "JSON that is encoded twice" if is_twice else "a JSON text"
    if value is not None or text == "null":
        return f"a JSON {'list' if isinstance(value, list) else 'value that is not an object'}"
    if text[0] in "{[":
        return "JSON that is cut off" if _is_cut(text) else "JSON that is not valid"
    return "plain text"


def _is_cut(text: str) -> bool:
    """Tell whether JSON ends inside a text or before its last bracket."""
    depth, is_quoted, escaped = 0, False, False
    for letter in text:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = is_quoted
        elif letter == '"':
            is_quoted = not is_quoted
        elif not is_quoted:
            depth += (letter in "{[") - (letter in "}]")
    return depth > 0 or is_quoted


def id_problem(response: ReceivedResponse) -> str:  # noqa: PLR0911
    """Return the fault of the authenticationId in the response to a send, or an empty string.

    Args:
        response: a response with status 200
    """
    body = response.json
    if not isinstance(body, dict):
        return f"the body is {body_kind(response.body)}"
    table = cast("dict[str, Any]", body)
    value = table.get("authenticationId")
    if isinstance(value, str):
        if not value:
            return "authenticationId is empty"
        if len(value) > contract.MAX_ID:
            return f"authenticationId has more than {contract.MAX_ID} characters"
        return "" if value.isprintable() else "authenticationId holds control characters"
    if "authenticationId" in table:
        return "authenticationId is not a text"
    for name, inner in table.items():
        if isinstance(inner, dict) and "authenticationId" in inner:
            return f"authenticationId is under the key `{name[:30]}`"
        if name.replace("_", "").lower() == "authenticationid":
            return f"authenticationId is spelled `{name}`"
    return "authenticationId is missing"


def timeout_for(seconds: float) -> int:
    """Return a timeout, in seconds, that suits a response that takes so long.

    Args:
        seconds: how long the response took
    """
    return max(10, 10 * math.ceil(0.2 * seconds))


def lenient(findings: list[Finding]) -> list[Finding]:
    """Return findings graded as advice."""
    return [attrs.evolve(finding, grade=Grade.ADVICE) for finding in findings]
