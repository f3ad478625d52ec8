"""The rules for every response of a check: a table of pure functions."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.causes import found
from camara_otp.conformance.inbox import is_message
from camara_otp.conformance.judge import (
    CODE_FORM,
    code_of,
    error_form,
    id_problem,
    pairing,
    redirected,
    said,
    spelling,
    timeout_for,
    wrong_success,
)
from camara_otp.conformance.model import Finding, Grade, ReceivedResponse, Release, RoundTrip
from camara_otp.conformance.secrecy import guessable, leaks


@attrs.frozen
class RuleContext:
    """The facts and limits that the rules use.

    Args:
        release: the release of the API
        slow: seconds from which a response counts as slow
        codes: the code of each id whose text was read
        numbers: the phone of each id
    """

    release: Release
    slow: float
    codes: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    numbers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)


RuleCheck = Callable[[RoundTrip, ReceivedResponse, RuleContext], Iterable[Finding]]
Compare = Callable[[Sequence[RoundTrip], RuleContext], Iterable[Finding]]


@attrs.frozen
class ConformanceRule:
    """Something that every response has to keep.

    Args:
        tag: its name
        rule: what it says
        source: where the contract says so
        check: yields the deviations of one response
        applies: tells whether a response is of the kind that the rule is about
        compare: yields the deviations that only show when responses are compared
    """

    tag: str
    rule: str
    source: str
    check: RuleCheck
    applies: Callable[[RoundTrip, ReceivedResponse], bool] = lambda _, __: True
    compare: Compare = lambda _, __: ()


def _is_success(_: RoundTrip, response: ReceivedResponse) -> bool:
    return response.status < 300


def _is_error(_: RoundTrip, response: ReceivedResponse) -> bool:
    return response.status >= 400


def _has_body(_: RoundTrip, response: ReceivedResponse) -> bool:
    return bool(response.body) and response.status != 204


def _carries_correlator(trip: RoundTrip, _: ReceivedResponse) -> bool:
    return bool(trip.request.header("x-correlator"))


def _has_delivery(trip: RoundTrip, _: ReceivedResponse) -> bool:
    return trip.delivery is not None and (trip.delivery.code is not None or trip.delivery.is_lost)


def _announces_body(response: ReceivedResponse) -> bool:
    """Tell whether a 204 has a body or announces one."""
    length = response.header("content-length") or "0"
    return bool(response.body) or length.strip("0") != "" or response.header("transfer-encoding") is not None


def _echo(trip: RoundTrip, response: ReceivedResponse, context: RuleContext) -> Iterator[Finding]:
    sent = [value for name, value in trip.request.headers if name.lower() == "x-correlator"]
    came = response.header("x-correlator")
    if came == sent[-1] or len(sent) > 1 or not contract.CORRELATOR[context.release].fullmatch(sent[-1]):
        return
    what = "is missing" if came is None else "is not the one that was sent"
    where = "successes" if response.status < 400 else "errors"
    yield found("correlator-echo", f"it {what} on {where} of {trip.request.operation}", what=what)


def _status(trip: RoundTrip, response: ReceivedResponse, _: RuleContext) -> Iterator[Finding]:
    operation, status = trip.request.operation, response.status
    is_post = trip.request.method == "POST"
    if status < 300 and status != contract.SUCCESS[operation] and is_post:
        yield wrong_success(operation, status)
    elif 300 <= status < 400:
        yield redirected(response, str(contract.SUCCESS[operation]))
    elif status >= 500:
        grade = None if is_post else Grade.DIFFERS
        yield found("server-fault", f"{operation} answers {said(response)}", grade, said=said(response))


def _success_body(trip: RoundTrip, response: ReceivedResponse, _: RuleContext) -> Iterator[Finding]:
    if trip.request.operation == "validate-code":
        if response.status == 204 and _announces_body(response):
            yield found("body-after-204", "a 204 has a body, or announces one, which HTTP does not allow")
        return
    problem = id_problem(response) if trip.request.method == "POST" else ""
    if problem:
        yield found("success-body", problem, what=problem)


def _error_info(trip: RoundTrip, response: ReceivedResponse, _: RuleContext) -> Iterator[Finding]:
    # No client uses another method or path: what happens there breaks none.
    worst = Grade.BREAKS if trip.request.method == "POST" and not _is_elsewhere(trip) else Grade.DIFFERS
    for finding in error_form(response):
        yield attrs.evolve(finding, grade=min(finding.grade, worst))


def _is_elsewhere(trip: RoundTrip) -> bool:
    return not trip.request.url.partition("?")[0].endswith(f"/{trip.request.operation}")


def _content_type(_: RoundTrip, response: ReceivedResponse, __: RuleContext) -> Iterator[Finding]:
    given = response.header("content-type") or ""
    media_type, parameters = (part.strip().lower() for part in given.partition(";")[::2])
    if media_type != "application/json":
        what = media_type or "missing"
        yield found("content-type", f"Content-Type is {what} on a {response.status}", what=what)
    elif parameters and parameters.replace('"', "") != "charset=utf-8":
        yield found("content-type", f"it has the parameter {parameters}", what=f"application/json; {parameters}")
    elif parameters:
        yield found("content-type-parameter", f"it has the parameter {parameters}")


def _codes(_: RoundTrip, response: ReceivedResponse, __: RuleContext) -> Iterator[Finding]:
    code = code_of(response)
    if code is None:
        return
    spelled = spelling(code)
    if spelled is not None:
        yield spelled
    elif CODE_FORM.fullmatch(code) and code not in contract.PAIRS:
        yield found("code-unknown", f"{code} with status {response.status}", code=code)
    else:
        yield from pairing(code, response.status)


# Headers that are no lists, so that a client takes one of the values.
_SINGLE: Final = ("content-type", "x-correlator", "content-length", "retry-after", "location", "date")


def _headers(_: RoundTrip, response: ReceivedResponse, __: RuleContext) -> Iterator[Finding]:
    names = [name for name, _ in response.headers]
    for name in _SINGLE:
        if names.count(name) > 1:
            yield found("duplicate-header", f"{name} stands {names.count(name)} times", header=name)


def _latency(trip: RoundTrip, response: ReceivedResponse, context: RuleContext) -> Iterator[Finding]:
    if response.seconds >= context.slow:
        text = f"{trip.request.operation} takes longer than {context.slow:g} s"
        yield found("slow", text, limit=context.slow, timeout=timeout_for(response.seconds))


def _text(trip: RoundTrip, _: ReceivedResponse, __: RuleContext) -> Iterator[Finding]:
    delivery = trip.delivery
    assert delivery is not None  # noqa: S101  (`_has_delivery` says so)
    code = delivery.code
    if code is None:
        yield found("no-text" if "arrived" in delivery.problem else "no-code-in-text", delivery.problem)
        return
    if not code.strip() or contract.LABEL in code or code in (contract.LABEL, "{code}", "code"):
        yield found("no-code-in-text", "the label is not replaced" if "code" in code else "the label has no code")
        return
    if len(code) > contract.MAX_CODE:
        yield found("code-too-long", f"a code has {len(code)} characters")
    if delivery.text is not None and not is_message(delivery.text, delivery.message, code):
        yield found("text-differs", _difference(delivery.text, delivery.message, code))
    if delivery.copies > 1:
        yield found("text-twice", f"the inbox holds {delivery.copies} texts for one send")


def _difference(text: str, message: str, code: str) -> str:
    """Return how a text differs from a message."""
    due = message.replace(contract.LABEL, code)
    if contract.LABEL in text:
        return "one of several labels is not replaced"
    if due in text:
        return "the text holds more than the message"
    if due.startswith(text.strip()):
        return "the text is cut off"
    if not due.isascii():
        return "letters beyond ASCII are changed"
    return "line ends are changed" if "\n" in due else "the words are changed"


def _text_statistics(trips: Sequence[RoundTrip], _: RuleContext) -> Iterator[Finding]:
    yield from guessable(trips)


def _leaks(trip: RoundTrip, response: ReceivedResponse, context: RuleContext) -> Iterator[Finding]:
    yield from leaks(trip, response, context.codes, context.numbers)


RULES: Final[tuple[ConformanceRule, ...]] = (
    ConformanceRule(
        "contract_x-correlator",
        "every response has the x-correlator of its request, unchanged",
        "CAMARA Commonalities 0.2 and later, x-correlator; every published scenario",
        _echo,
        _carries_correlator,
    ),
    ConformanceRule(
        "contract_status",
        "200 for send-code, 204 for validate-code, 4xx for a refusal; no redirect, no server fault",
        "CAMARA one-time-password-sms, responses of sendCode and validateCode",
        _status,
    ),
    ConformanceRule(
        "contract_success_body",
        "send-code answers an authenticationId of 1 to 36 characters, validate-code nothing",
        "CAMARA one-time-password-sms, schemas of sendCode and validateCode",
        _success_body,
        _is_success,
    ),
    ConformanceRule(
        "contract_text",
        "the text is the message with every label replaced by a code of at most 10 characters",
        "CAMARA one-time-password-sms, sendCode, schemas Message and Code",
        _text,
        _has_delivery,
        _text_statistics,
    ),
    ConformanceRule(
        "contract_code_stays_secret",
        "no response holds the code, the phone number or the token",
        "the purpose of the API: the code proves who holds the phone",
        _leaks,
    ),
    ConformanceRule(
        "contract_error_info",
        "an error is an object with status (the HTTP status), code and message",
        "CAMARA one-time-password-sms, schema ErrorInfo",
        _error_info,
        _is_error,
    ),
    ConformanceRule(
        "contract_content_type",
        "every body is application/json",
        "CAMARA one-time-password-sms, content types; every published scenario",
        _content_type,
        _has_body,
    ),
    ConformanceRule(
        "contract_code_and_status",
        "a code is spelled as published and comes with the status that it belongs to",
        "CAMARA one-time-password-sms 1.0.0 to 1.1.1 and the error catalogue of Commonalities",
        _codes,
        _is_error,
    ),
    ConformanceRule(
        "contract_headers",
        "a header that is not a list is sent once",
        "RFC 9110, section 5.3",
        _headers,
    ),
    ConformanceRule(
        "contract_latency",
        "every response comes in time",
        "the setting `slow`",
        _latency,
    ),
)

PATH_RULE: Final = ConformanceRule(
    "contract_path",
    "the operations are under /one-time-password-sms/v1, or where the documentation has them, under /otpvalidation",
    "CAMARA one-time-password-sms, servers",
    lambda _, __, ___: (),
)
EVIDENCE_RULE: Final = ConformanceRule(
    "contract_evidence",
    "a right code was accepted and a wrong one refused, and every required scenario was run",
    "the settings of the check",
    lambda _, __, ___: (),
)

PATH_UNKNOWN: Final = "every path is answered alike, so the usual one was taken; if it is another, set `api_path`"


def path_findings(api_path: str, *, is_given: bool) -> tuple[Finding, ...]:
    """Return what deviates about where the operations are.

    Args:
        api_path: the path between root and operation
        is_given: whether the settings name it
    """
    if api_path in (contract.CAMARA_PATH, contract.DOCUMENTED_PATH):
        return ()
    path = api_path or "the root itself"
    grade = Grade.ADVICE if is_given else None
    return (found("path", f"they are under {path}", grade, path=path, quoted=json.dumps(api_path)),)


# Servers answer methods that they do not know before the operation is reached.
_METHODS: Final = ("POST", "GET")


def over_all(
    rule: ConformanceRule, trips: Iterable[RoundTrip], context: RuleContext
) -> tuple[list[tuple[Finding, list[RoundTrip]]], int]:
    """Return the distinct deviations from a rule, worst first, with the round trips that show each, and their number.

    Args:
        rule: the rule
        trips: all requests and responses
        context: what the rules measure by
    """
    seen: dict[Finding, list[RoundTrip]] = {}
    concerned: list[RoundTrip] = []
    for trip in trips:
        response = trip.response
        if response is not None and trip.request.method in _METHODS and rule.applies(trip, response):
            concerned.append(trip)
            for finding in rule.check(trip, response, context):
                seen.setdefault(finding, []).append(trip)
    seen |= dict.fromkeys(rule.compare(concerned, context), concerned)
    return sorted(seen.items(), key=lambda item: -item[0].grade), len(concerned)


def evidence(trips: Iterable[RoundTrip]) -> str:
    """Return which evidence for a verdict is missing, or an empty text if none is.

    Args:
        trips: all requests and responses
    """
    tried = list(trips)
    right = [trip for trip in tried if trip.tried == "right"]
    wrong = [trip for trip in tried if trip.tried == "wrong"]
    missing: list[str] = []
    if not any(trip.response is not None and trip.response.status < 300 for trip in right):
        missing.append("no right code was accepted" if right else "no right code was tried")
    if not any(trip.response is not None and _is_refusal_of_code(trip.response) for trip in wrong):
        missing.append("no wrong code was refused" if wrong else "no wrong code was tried")
    return " and ".join(missing)


def _is_refusal_of_code(response: ReceivedResponse) -> bool:
    """Tell whether a response refuses a code, and not the token, the path or the rate."""
    return 400 <= response.status < 500 and response.status not in (401, 403, 404, 405, 429)
