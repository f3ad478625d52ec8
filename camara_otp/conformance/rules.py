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
    error_form,
    id_problem,
    pairing,
    redirected,
    spelling,
    timeout_for,
    wrong_success,
)
from camara_otp.conformance.model import Delivery, Finding, Grade, ReceivedResponse, Release, RoundTrip
from camara_otp.conformance.secrecy import guessable, leaks


@attrs.frozen
class RuleContext:
    """The facts and limits that the rules use.

    Args:
        release: the release of the API
        slow: seconds from which a response counts as slow
        deliveries: the SMS that the operator accepted, by id
    """

    release: Release
    slow: float
    deliveries: Mapping[str, Delivery] = attrs.field(factory=dict[str, Delivery], repr=False)


@attrs.frozen
class ConformanceRule:
    """A rule for every response.

    Args:
        tag: its name
        rule: what it says
        source: where the contract says so
        check: yields the deviations of one response
        applies: returns whether the rule is about this kind of response
        compare: yields the deviations that only show when responses are compared
    """

    tag: str
    rule: str
    source: str
    check: Callable[[RoundTrip, ReceivedResponse, RuleContext], Iterable[Finding]] = lambda _, __, ___: ()
    applies: Callable[[RoundTrip, ReceivedResponse], bool] = lambda _, __: True
    compare: Callable[[Sequence[RoundTrip]], Iterable[Finding]] = lambda _: ()


def _is_error(_: RoundTrip, response: ReceivedResponse) -> bool:
    return response.status >= 400


def _has_outcome(trip: RoundTrip, _: ReceivedResponse) -> bool:
    """Return whether it is known what SMS a send caused."""
    return trip.caused_sms or (
        trip.delivery is not None and (trip.delivery.code is not None or trip.delivery.lost != "")
    )


def _announces_body(response: ReceivedResponse) -> bool:
    """Return whether a 204 has a body or announces one."""
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
        yield found("server-fault", f"{operation} responds with {response.said}", grade, said=response.said)


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
    is_elsewhere = not trip.request.url.partition("?")[0].endswith(f"/{trip.request.operation}")
    worst = Grade.BREAKS if trip.request.method == "POST" and not is_elsewhere else Grade.DIFFERS
    for finding in error_form(response):
        yield attrs.evolve(finding, grade=min(finding.grade, worst))


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
    code = response.code
    if code is None:
        return
    if spelled := spelling(code):
        yield spelled
    elif CODE_FORM.fullmatch(code) and code not in contract.PAIRS:
        yield found("code-unknown", f"{code} with status {response.status}", code=code)
    else:
        yield from pairing(code, response.status)


# Headers that are not lists, so that a client takes one of the values.
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


def _text(trip: RoundTrip, response: ReceivedResponse, _: RuleContext) -> Iterator[Finding]:
    if trip.caused_sms:
        yield found("text-without-permission", f"a send that was refused with {response.said} caused an SMS")
    delivery = trip.delivery
    if delivery is None:
        return
    code = delivery.code
    if code is None:
        yield found("no-text", delivery.lost)
        return
    if not code.strip() or contract.LABEL in code or code in ("{code}", "code"):
        yield found("no-code-in-text", "the label is not replaced" if "code" in code else "the label has no code")
        return
    if len(code) > contract.MAX_CODE:
        yield found("code-too-long", f"a code has {len(code)} characters")
    if delivery.text is not None and not is_message(delivery.text, delivery.message, code):
        yield found("text-differs", _difference(delivery.text, delivery.message, code))
    if delivery.copies > 1:
        yield found("text-twice", f"the inbox holds {delivery.copies} SMS for one send")


def _difference(text: str, message: str, code: str) -> str:
    """Return how an SMS differs from its message."""
    due = message.replace(contract.LABEL, code)
    if contract.LABEL in text:
        return "one of several labels is not replaced"
    if due in text:
        return "the SMS holds more than the message"
    if due.startswith(text.strip()):
        return "the SMS is cut off"
    if not due.isascii():
        return "letters beyond ASCII are changed"
    return "line ends are changed" if "\n" in due else "the words are changed"


RULES: Final[tuple[ConformanceRule, ...]] = (
    ConformanceRule(
        "contract_x-correlator",
        "every response has the x-correlator of its request, unchanged",
        "CAMARA Commonalities 0.2 and later, x-correlator; every published scenario",
        _echo,
        applies=lambda trip, _: bool(dict(trip.request.headers).get("x-correlator")),
    ),
    ConformanceRule(
        "contract_status",
        "200 for send-code, 204 for validate-code, 4xx for a refusal; no redirect, no server fault",
        "CAMARA one-time-password-sms, responses of sendCode and validateCode",
        _status,
    ),
    ConformanceRule(
        "contract_success_body",
        "send-code returns an authenticationId of 1 to 36 characters, validate-code nothing",
        "CAMARA one-time-password-sms, schemas of sendCode and validateCode",
        _success_body,
        applies=lambda trip, _: trip.is_accepted,
    ),
    ConformanceRule(
        "contract_text",
        "the SMS is the message with every label replaced by a code of at most 10 characters",
        "CAMARA one-time-password-sms, sendCode, schemas Message and Code",
        _text,
        applies=_has_outcome,
        compare=guessable,
    ),
    ConformanceRule(
        "contract_code_stays_secret",
        "no response holds the code, the phone number or the token",
        "the purpose of the API: the code proves who holds the phone",
        lambda trip, response, context: leaks(trip, response, context.deliveries),
    ),
    ConformanceRule(
        "contract_error_info",
        "an error is an object with status (the HTTP status), code and message",
        "CAMARA one-time-password-sms, schema ErrorInfo",
        _error_info,
        applies=_is_error,
    ),
    ConformanceRule(
        "contract_content_type",
        "every body is application/json",
        "CAMARA one-time-password-sms, content types; every published scenario",
        _content_type,
        applies=lambda _, response: bool(response.body) and response.status != 204,
    ),
    ConformanceRule(
        "contract_code_and_status",
        "a code is spelled as published and comes with the status that it belongs to",
        "CAMARA one-time-password-sms 1.0.0 to 1.1.1 and the error catalogue of Commonalities",
        _codes,
        applies=_is_error,
    ),
    ConformanceRule("contract_headers", "a header that is not a list is sent once", "RFC 9110, section 5.3", _headers),
    ConformanceRule("contract_latency", "every response comes in time", "the setting `slow`", _latency),
)

PATH_RULE: Final = ConformanceRule(
    "contract_path",
    "the operations are under /one-time-password-sms/v1, or where the documentation has them, under /otpvalidation",
    "CAMARA one-time-password-sms, servers",
)
EVIDENCE_RULE: Final = ConformanceRule(
    "contract_evidence",
    "a right code was accepted and a wrong one refused, and every required scenario was run",
    "the settings of the check",
)

PATH_UNKNOWN: Final = (
    "the response is the same under every path, so the usual one was taken; if it is another, set `api_path`"
)


def path_findings(api_path: str, *, is_given: bool) -> tuple[Finding, ...]:
    """Return what deviates about the path of the operations; it is advice if the settings give the path."""
    if api_path in (contract.CAMARA_PATH, contract.DOCUMENTED_PATH):
        return ()
    path = api_path or "the root itself"
    grade = Grade.ADVICE if is_given else None
    return (found("path", f"they are under {path}", grade, path=path, quoted=json.dumps(api_path)),)


# Servers respond to methods that they do not know before the operation is reached.
_METHODS: Final = ("POST", "GET")


def over_all(
    rule: ConformanceRule, trips: Iterable[RoundTrip], context: RuleContext
) -> tuple[list[tuple[Finding, list[RoundTrip]]], int]:
    """Return the distinct deviations, worst first, each with its round trips, and how many the rule applies to."""
    seen: dict[Finding, list[RoundTrip]] = {}
    concerned: list[RoundTrip] = []
    for trip in trips:
        response = trip.response
        if response is not None and trip.request.method in _METHODS and rule.applies(trip, response):
            concerned.append(trip)
            for finding in rule.check(trip, response, context):
                seen.setdefault(finding, []).append(trip)
    seen |= dict.fromkeys(rule.compare(concerned), concerned)
    return sorted(seen.items(), key=lambda item: -item[0].grade), len(concerned)


def missing_evidence(trips: Sequence[RoundTrip]) -> str:
    """Return which evidence for a verdict is missing, or an empty string if none is."""
    right = [trip for trip in trips if trip.tried == "right"]
    wrong = [trip for trip in trips if trip.tried == "wrong"]
    missing: list[str] = []
    if not any(trip.is_accepted for trip in right):
        missing.append("no right code was accepted" if right else "no right code was tried")
    # A refusal of the token, the path or the rate is none of the code.
    if not any(400 <= trip.status < 500 and trip.status not in (401, 403, 404, 405, 429) for trip in wrong):
        missing.append("no wrong code was refused" if wrong else "no wrong code was tried")
    return " and ".join(missing)
