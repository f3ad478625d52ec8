"""What is right and what is wrong about an answer: pure functions over what was sent and what came back."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, cast

import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.model import Finding, Grade, Operation, ReceivedResponse, Release, RoundTrip

_CODE_FORM = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z][A-Z0-9_]*)?")
_MEND = "Nothing on the client's side can cope: the operator has to mend it."


@attrs.frozen
class Expectation:
    """What must come back.

    Args:
        status: The HTTP status.
        codes: The code of the error, or those that would do; empty for a success.
    """

    status: int
    codes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it as a report says it."""
        return f"{self.status} {' or '.join(self.codes)}".rstrip()


@attrs.frozen
class ErrorInfo:
    """What could be read of an error, and where it stood: at the top, or under the name of a wrapper."""

    code: str | None
    place: str
    table: dict[str, Any]


def error_info(answer: ReceivedResponse) -> ErrorInfo | None:
    """Return the error in an answer's body, also from one level down, or None.

    Args:
        answer: The answer.
    """
    body = answer.json
    if not isinstance(body, dict):
        return None
    table = cast("dict[str, Any]", body)
    if "code" not in table:
        for place in ("detail", "error"):
            if isinstance(table.get(place), dict):
                return _info(table[place], place)
    return _info(table, "")


def _info(table: dict[str, Any], place: str) -> ErrorInfo:
    code = table.get("code")
    return ErrorInfo(code if isinstance(code, str) and code else None, place, table)


def authentication_id(answer: ReceivedResponse) -> str | None:
    """Return the id that a successful send answered with, or None.

    Args:
        answer: The answer.
    """
    body = answer.json
    found = cast("dict[str, Any]", body).get("authenticationId") if isinstance(body, dict) else None
    return found if isinstance(found, str) and found else None


def said(answer: ReceivedResponse) -> str:
    """Return an answer's status and code, in short."""
    info = error_info(answer) if answer.status >= 400 else None
    return f"{answer.status} {info.code if info and info.code else ''}".rstrip()


def against(expect: Expectation, exchange: RoundTrip) -> list[Finding]:
    """Hold an answer against what a scenario expects.

    Args:
        expect: What must come back.
        exchange: What was sent and what came back.
    """
    answer, operation = exchange.response, exchange.request.operation
    if answer is None:
        failure = exchange.failure or ""
        advice = "Raise `timeout`, or look at the network." if failure.startswith(LATE) else _BROKEN_ADVICE
        return [Finding(Grade.BREAKS, f"no answer: {failure}", advice)]
    if 300 <= answer.status < 400:
        return [Finding(Grade.BREAKS, f"answered with a redirect ({answer.status}) instead of {expect}", _REDIRECTED)]
    if expect.codes:
        return _against_refusal(expect, operation, answer)
    return _against_success(expect, operation, answer)


# How the failure of a request begins that nothing came back upon.
LATE: Final = "nothing within"
_BROKEN_ADVICE: Final = "The connection or the HTTP on it was broken: look at what stands between, such as gateways."
_REDIRECTED: Final = "camara_otp never follows one: put the address it leads to into `base_url`."
_LIMITED_ADVICE: Final = "The operator limits the rate of requests: check fewer scenarios at a time, with --only."
_REFUSED_ADVICE: Final = "Look at the answer: path, token, number and limits have to be those of this operator."


def _against_success(expect: Expectation, operation: Operation, answer: ReceivedResponse) -> list[Finding]:
    if answer.status >= 400:
        advice = _LIMITED_ADVICE if answer.status == 429 else _REFUSED_ADVICE
        return [Finding(Grade.BREAKS, f"refused with {said(answer)} instead of {expect}", advice)]
    if answer.status != expect.status:
        advice = "camara_otp takes 204 alone as proof and raises UnexpectedResponseError: the operator has to mend it."
        if operation == "send-code":
            advice = (
                "camara_otp takes 200 alone as sent and raises UnexpectedResponseError: the operator has to mend it."
            )
        return [Finding(Grade.BREAKS, f"answered {answer.status} instead of {expect}", advice)]
    if operation == "send-code" and authentication_id(answer) is None:
        return [Finding(Grade.BREAKS, "the answer holds no authenticationId", "Without an id no code can be checked.")]
    return []


def _against_refusal(expect: Expectation, operation: Operation, answer: ReceivedResponse) -> list[Finding]:
    if answer.status < 300:
        return [_accepted(expect, operation, answer)]
    info = error_info(answer)
    code = info.code if info else None
    if answer.status == expect.status and code in expect.codes:
        return []
    found = _refused_otherwise(expect, operation, answer, code)
    return [attrs.evolve(found, advice=_LIMITED_ADVICE) if answer.status == 429 and code not in expect.codes else found]


def _refused_otherwise(
    expect: Expectation, operation: Operation, answer: ReceivedResponse, code: str | None
) -> Finding:
    if code is None:
        text = f"answered {answer.status} without a code instead of {expect}"
        return Finding(Grade.BREAKS, text, f"camara_otp raises {raised(answer.status)} with code=None: catch that.")
    if code in expect.codes:
        text = f"answered {code} with status {answer.status} instead of {expect.status}"
        advice = "camara_otp picks the class by the code, so it copes; code that looks at the status does not."
        return Finding(Grade.DIFFERS, text, advice)
    if expect.status == 401 and code.startswith(contract.SPECIFIC):
        return Finding(Grade.BREAKS, f"let through to {said(answer)} without a good token, instead of {expect}", _MEND)
    text = f"answered {said(answer)} instead of {expect}"
    if expect.status == 401 and code == "NOT_FOUND" and operation == "validate-code":
        advice = f"The id was looked up without a good token, or nothing is there at all. {_MEND}"
        return Finding(Grade.BREAKS, text, advice)
    specific = any(expected.startswith(contract.SPECIFIC) for expected in expect.codes)
    grade = Grade.BREAKS if specific or answer.status >= 500 else Grade.DIFFERS
    advice = f"Your code will meet {code} where the contract has {' or '.join(expect.codes)}: handle both."
    return Finding(grade, text, advice)


def _accepted(expect: Expectation, operation: Operation, answer: ReceivedResponse) -> Finding:
    text = f"accepted with {answer.status} instead of {expect}"
    if operation == "send-code" and expect.status in (400, 406, 415):
        advice = "Well-formed requests are not concerned; a client with a fault in it is not told."
        return Finding(Grade.DIFFERS, text, advice)
    return Finding(Grade.BREAKS, text, _MEND)


def raised(status: int) -> str:
    """Return the name of the class that camara_otp raises for an error of this status.

    Args:
        status: The HTTP status.
    """
    known = status == 408 or any(status in statuses for statuses in contract.PAIRS.values())
    return f"HTTP{status}Error" if known else "APIError"


@attrs.frozen
class RuleContext:
    """What the contract rules measure by."""

    release: Release
    slow: float
    timeout: float


Check = Callable[[RoundTrip, ReceivedResponse, RuleContext], Iterable[Finding]]
Compare = Callable[[Sequence[RoundTrip]], Iterable[Finding]]


@attrs.frozen
class Rule:
    """Something that every answer has to keep, whatever was asked.

    Args:
        tag: Its name.
        rule: What it says.
        source: Where that stands.
        check: Yields the deviations of one answer.
        applies: Tells whether an answer is of the kind that the rule is about.
        compare: Yields the deviations that only show when such answers are laid side by side.
    """

    tag: str
    rule: str
    source: str
    check: Check
    applies: Callable[[RoundTrip, ReceivedResponse], bool] = lambda _, __: True
    compare: Compare = lambda _: ()


def _is_success(_: RoundTrip, answer: ReceivedResponse) -> bool:
    return answer.status < 300


def _is_error(_: RoundTrip, answer: ReceivedResponse) -> bool:
    return answer.status >= 400


def _has_body(_: RoundTrip, answer: ReceivedResponse) -> bool:
    return bool(answer.body) and answer.status != 204


def _announces_body(answer: ReceivedResponse) -> bool:
    """Tell whether there is a body where HTTP has none, so that it is not read as one."""
    length = answer.header("content-length") or "0"
    return bool(answer.body) or length.strip("0") != "" or answer.header("transfer-encoding") is not None


def _has_known_code(exchange: RoundTrip, _: ReceivedResponse) -> bool:
    return exchange.request.operation == "send-code" and len(exchange.code or "") >= 4


def _carries_correlator(exchange: RoundTrip, _: ReceivedResponse) -> bool:
    return bool(exchange.request.header("x-correlator"))


def _echo(exchange: RoundTrip, answer: ReceivedResponse, by: RuleContext) -> Iterator[Finding]:
    sent = exchange.request.header("x-correlator")
    came = answer.header("x-correlator")
    if came == sent or not contract.CORRELATOR[by.release].fullmatch(sent or ""):
        return
    what = "is missing" if came is None else "is not the one that was sent"
    where = "successes" if answer.status < 400 else "errors"
    text = f"x-correlator {what} on {where} of {exchange.request.operation}"
    yield Finding(Grade.DIFFERS, text, "camara_otp copes: it reports the value that it sent.")


def _status(exchange: RoundTrip, answer: ReceivedResponse, _: RuleContext) -> Iterator[Finding]:
    operation, status = exchange.request.operation, answer.status
    if status < 300 and status != contract.SUCCESS[operation]:
        text = f"{operation} answers {status}; its success is {contract.SUCCESS[operation]}"
        yield Finding(Grade.BREAKS, text, "camara_otp raises UnexpectedResponseError.")
    elif 300 <= status < 400:
        text = f"{operation} answers with a redirect ({status})"
        yield Finding(Grade.BREAKS, text, _REDIRECTED)
    elif status >= 500:
        yield Finding(Grade.BREAKS, f"{operation} answers {said(answer)}", "Clients see outcome_unknown=True.")


def _success_body(exchange: RoundTrip, answer: ReceivedResponse, _: RuleContext) -> Iterator[Finding]:
    if exchange.request.operation == "validate-code":
        if answer.status == 204 and _announces_body(answer):
            text = "a 204 of validate-code has a body, which HTTP does not allow"
            advice = "camara_otp copes: it closes the connection; other clients take it for the next answer."
            yield Finding(Grade.DIFFERS, text, advice)
        elif answer.body:
            yield Finding(Grade.COSMETIC, f"a {answer.status} of validate-code has a body", "It is not read.")
        return
    found = authentication_id(answer)
    if found is None:
        yield Finding(Grade.BREAKS, "authenticationId is missing, empty or not a text", "No code can be checked.")
    elif len(found) > contract.MAX_ID:
        text = f"authenticationId has {len(found)} characters; at most {contract.MAX_ID} are allowed"
        yield Finding(Grade.BREAKS, text, "camara_otp raises UnexpectedResponseError.")


def _hidden_code(exchange: RoundTrip, answer: ReceivedResponse, _: RuleContext) -> Iterator[Finding]:
    code = exchange.code or ""
    # An id may hold the digits of a short code by chance.
    body = answer.body.replace((authentication_id(answer) or "\0").encode(), b"")
    head = " ".join(value for name, value in answer.headers if name not in ("date", "x-correlator", "content-length"))
    if code.encode() in body or re.search(rf"(?<![A-Za-z0-9]){re.escape(code)}(?![A-Za-z0-9])", head):
        yield Finding(Grade.BREAKS, "the answer to send-code holds the code that was texted", _MEND)


def _guessable(exchanges: Sequence[RoundTrip]) -> Iterator[Finding]:
    # As test environments have it, so that no contract is broken; on a live operator it would be the end of it.
    advice = "Right for a test environment; on a live one, anybody who knows it passes."
    # Fewer may be alike by chance.
    if len(exchanges) < _ENOUGH_CODES:
        return
    codes = [exchange.code or "" for exchange in exchanges]
    if len(set(codes)) == 1:
        yield Finding(Grade.COSMETIC, "every text holds the same code", advice)
    elif all(code.encode() in exchange.request.body for code, exchange in zip(codes, exchanges, strict=True)):
        yield Finding(Grade.COSMETIC, "every code is a part of what was sent, such as the phone's number", advice)


_ENOUGH_CODES: Final = 3


def _error_info(exchange: RoundTrip, answer: ReceivedResponse, _: RuleContext) -> Iterator[Finding]:
    # No client uses another method: what that meets breaks none.
    worst = Grade.BREAKS if exchange.request.method == "POST" else Grade.DIFFERS
    for finding in _ill_formed(answer):
        yield attrs.evolve(finding, grade=min(finding.grade, worst))


def _ill_formed(answer: ReceivedResponse) -> Iterator[Finding]:
    info = error_info(answer)
    if info is None:
        text = f"the body of a {answer.status} is not ErrorInfo but {_kind(answer)}"
        yield Finding(Grade.BREAKS, text, f"camara_otp raises {raised(answer.status)} with code=None.")
        return
    if info.place:
        text = f"ErrorInfo stands under `{info.place}`"
        yield Finding(Grade.DIFFERS, text, "camara_otp unwraps it; other clients find no code.")
    yield from _members(answer.status, info.table)


def _members(status: int, table: dict[str, Any]) -> Iterator[Finding]:
    if not isinstance(table.get("code"), str) or not table["code"]:
        yield Finding(Grade.BREAKS, f"the `code` of a {status} is missing or not a text", "Catch the status's class.")
    elif not _CODE_FORM.fullmatch(table["code"]):
        yield Finding(
            Grade.DIFFERS, f"the code of a {status} is not in SCREAMING_SNAKE_CASE", "It is in .code as it came."
        )
    inner = table.get("status")
    if inner is None or isinstance(inner, bool) or not isinstance(inner, int):
        text = f"the `status` in the body of a {status} is missing or not a whole number"
        yield Finding(Grade.DIFFERS, text, "camara_otp copes: it uses the HTTP status.")
    elif inner != status:
        text = f"the `status` in the body is {inner}, the HTTP status {status}"
        yield Finding(Grade.DIFFERS, text, "camara_otp copes: it uses the HTTP status.")
    if not isinstance(table.get("message"), str) or not table["message"].strip():
        text = f"the `message` of a {status} is missing, empty or not a text"
        yield Finding(Grade.DIFFERS, text, "camara_otp copes: the error has no message.")


def _kind(answer: ReceivedResponse) -> str:
    if not answer.body:
        return "empty"
    if answer.body.lstrip()[:1] == b"<":
        return "a page of HTML or XML"
    try:
        answer.body.decode()
    except UnicodeDecodeError:
        return "text that is not UTF-8"
    return "something else than a JSON object"


def _content_type(_: RoundTrip, answer: ReceivedResponse, __: RuleContext) -> Iterator[Finding]:
    given = answer.header("content-type") or ""
    media_type, parameters = (part.strip().lower() for part in given.partition(";")[::2])
    if media_type != "application/json":
        text = f"Content-Type is {media_type or 'missing'} on a {answer.status}"
        yield Finding(Grade.DIFFERS, text, "camara_otp copes: it reads the body whatever its type.")
    elif parameters and parameters.replace('"', "") != "charset=utf-8":
        yield Finding(Grade.DIFFERS, f"Content-Type has the parameter {parameters}", "JSON is always UTF-8.")
    elif parameters:
        yield Finding(
            Grade.COSMETIC, f"Content-Type has the parameter {parameters}", "It means what JSON means anyway."
        )


def _pairs(_: RoundTrip, answer: ReceivedResponse, __: RuleContext) -> Iterator[Finding]:
    info = error_info(answer)
    code = info.code if info else None
    if not code or not _CODE_FORM.fullmatch(code):
        return
    statuses = contract.PAIRS.get(code)
    if statuses is None:
        prefixed = contract.SPECIFIC + code.rpartition(".")[2]
        if prefixed in contract.PAIRS:
            text = f"{code} is not spelled as published: {prefixed}"
            yield Finding(Grade.BREAKS, text, "Your code will meet this spelling in .code.")
        else:
            yield Finding(Grade.COSMETIC, f"{code} is in no catalogue", "camara_otp raises the class of the status.")
    elif answer.status not in statuses:
        text = f"{code} came with status {answer.status}; it belongs to {' or '.join(map(str, sorted(statuses)))}"
        yield Finding(Grade.DIFFERS, text, "camara_otp picks the class by the code.")


def _latency(exchange: RoundTrip, answer: ReceivedResponse, by: RuleContext) -> Iterator[Finding]:
    if answer.seconds < by.slow:
        return
    text = f"{exchange.request.operation} takes longer than {by.slow:g} s"
    yield Finding(Grade.DIFFERS, text, f"Give the client room: `timeout={room(answer.seconds)}`.")


def room(seconds: float) -> int:
    """Return a timeout that leaves room for an answer that takes so long.

    Args:
        seconds: What the answer took.
    """
    return max(10, 10 * math.ceil(0.2 * seconds))


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "contract_x-correlator",
        "every answer carries the x-correlator of its request, unchanged",
        "CAMARA Commonalities 0.2 and later, x-correlator; every published scenario",
        _echo,
        _carries_correlator,
    ),
    Rule(
        "contract_status",
        "200 for send-code, 204 for validate-code, 4xx for a refusal; no redirect, no server fault",
        "CAMARA one-time-password-sms, responses of sendCode and validateCode",
        _status,
    ),
    Rule(
        "contract_success_body",
        "send-code answers an authenticationId of 1 to 36 characters, validate-code nothing",
        "CAMARA one-time-password-sms, schemas of sendCode and validateCode",
        _success_body,
        _is_success,
    ),
    Rule(
        "contract_code_stays_secret",
        "what is texted is not in the answer",
        "the purpose of the API: the code proves who holds the phone",
        _hidden_code,
        _has_known_code,
        _guessable,
    ),
    Rule(
        "contract_error_info",
        "an error is an object with status (the HTTP status), code and message",
        "CAMARA one-time-password-sms, schema ErrorInfo",
        _error_info,
        _is_error,
    ),
    Rule(
        "contract_content_type",
        "every body is application/json",
        "CAMARA one-time-password-sms, content types; every published scenario",
        _content_type,
        _has_body,
    ),
    Rule(
        "contract_code_and_status",
        "a code is spelled as published and comes with the status that it belongs to",
        "CAMARA one-time-password-sms 1.0.0 to 1.1.1 and the error catalogue of Commonalities",
        _pairs,
        _is_error,
    ),
    Rule(
        "contract_latency",
        "every answer comes in time",
        "the setting `slow`",
        _latency,
    ),
)

PATH_RULE: Final = Rule(
    "contract_path",
    "the operations are under /one-time-password-sms/v1, or where the documentation has them, under /otpvalidation",
    "CAMARA one-time-password-sms, servers",
    lambda _, __, ___: (),
)

PATH_UNKNOWN: Final = "every path is answered alike, so the usual one was taken; if it is another, set `api_path`"


def path_findings(api_path: str) -> tuple[Finding, ...]:
    """Return what is to be said about where the operations are.

    Args:
        api_path: The path between root and operation.
    """
    if api_path in (contract.CAMARA_PATH, contract.DOCUMENTED_PATH):
        return ()
    return (
        Finding(
            Grade.DIFFERS, f"the operations are under {api_path or 'the root itself'}", f'Set `api_path="{api_path}"`.'
        ),
    )


def over_all(
    rule: Rule, exchanges: Iterable[RoundTrip], by: RuleContext
) -> tuple[list[tuple[Finding, list[RoundTrip]]], int]:
    """Return the distinct deviations from a rule, worst first, each with the exchanges that show it; and of how many.

    Args:
        rule: The rule.
        exchanges: All there were.
        by: What it measures by.
    """
    found: dict[Finding, list[RoundTrip]] = {}
    concerned: list[RoundTrip] = []
    for exchange in exchanges:
        answer = exchange.response
        if answer is not None and rule.applies(exchange, answer):
            concerned.append(exchange)
            for finding in rule.check(exchange, answer, by):
                found.setdefault(finding, []).append(exchange)
    found |= dict.fromkeys(rule.compare(concerned), concerned)
    return sorted(found.items(), key=lambda item: -item[0].grade), len(concerned)
