"""The content of the reports, and the masking of secrets in them."""

import base64
import hashlib
import html
import json
import re
from functools import partial
from html.parser import HTMLParser
from io import StringIO
from urllib.parse import quote, quote_plus
from xml.etree.ElementTree import fromstring

import anyio
import httpx
import pytest
from rich.console import Console

from camara_otp.conformance import (
    Cause,
    Finding,
    Grade,
    Outcome,
    Report,
    Shown,
    Verdict,
    plan,
    run,
    sandbox_settings,
    scenarios,
    settings_from,
)
from camara_otp.conformance.causes import deviations
from camara_otp.conformance.contract import PAIRS
from camara_otp.conformance.masking import mask, number_names, shown
from camara_otp.conformance.model import Latency, ReceivedResponse, RoundTrip, SentRequest
from camara_otp.conformance.reports import as_html, as_json, as_junit, as_table
from camara_otp.conformance.reports.page import _round_up
from camara_otp.conformance.reports.terminal import progress, rendered
from camara_otp.errors import TokenError
from camara_otp.sandbox import Sandbox
from tests.conformance.wrong import CASES, DEFAULTS

TOKEN = "the-access-token"
URL = "http://127.0.0.1:9091"


@pytest.fixture(scope="module", params=["the code is in the answer to the send", "404 is a page of HTML"])
def checked(request):
    """Return the report on a wrong operator, and that operator."""
    case = next(case for case in CASES if case.name == request.param)
    transport, settings = case.operator()
    todo = plan(settings, scenarios(settings.release))
    return anyio.run(partial(run, settings, todo, TOKEN, transport=transport)), transport


def finding(grade, text):
    """Return a finding with a cause of its own."""
    cause = Cause("a-cause", grade, f"It is {text}", "Mend `it`.", "Set `timeout=20`.", "a rule", "a source")
    return Finding(cause, text)


def outcome(**changes):
    """Return an outcome."""
    values = {
        "tag": "camara_otp_x",
        "origin": "added",
        "operation": "send-code",
        "sent": "a <thing>",
        "rule": "200",
        "source": "us",
        "verdict": Verdict.FAIL,
        "findings": (finding(Grade.BREAKS, "<b>no</b>"),),
        "exchanges": (
            Shown("judged", "POST <x>\x00", "HTTP 200\n\x1b[31m", 0.2),
            Shown("setup", "a", "no answer: x", None),
        ),
    }
    return Outcome(**{**values, **changes})


LATENCIES = (Latency("send-code", 200, 0.2),)


def report(*outcomes, latencies=LATENCIES):
    """Return a report."""
    return Report(
        base_url="https://api.example.com/<x>",
        api_path="/v1/otp",
        release="1.1.1",
        started_at="2026-01-01T00:00:00+00:00",
        seconds=1.5,
        texts=1,
        outcomes=outcomes,
        deviations=deviations(outcomes),
        latencies=latencies,
        recommendations=("Set `timeout=20`.",),
        client='OTPClient("https://api.example.com")',
    )


def on_terminal(made, *, every=True):
    """Return the report as a terminal shows it."""
    console = Console(file=StringIO(), width=120, force_terminal=False)
    console.print(rendered(made, every=every))
    return console.file.getvalue()


WRITERS = [as_html, as_json, as_junit, on_terminal]


@pytest.mark.parametrize("write", WRITERS)
def test_no_report_shows_a_secret(checked, write):
    """Neither token, code, id nor number, whatever the operator repeats."""
    made, operator = checked
    text = write(made)

    assert TOKEN not in text
    for message in operator.sandbox.messages():
        assert message.authentication_id not in text
        assert message.phone_number[1:] not in text
        found = re.search(rf"(?<![0-9a-f.-]){message.code}(?![0-9a-f-])", text)
        assert not found, text[found.start() - 200 : found.end() + 50]


HEADERS = {"x-api-key": "k3y-of<the&tests/+='", "Cookie": 'session="crumb le-of-a-b1scuit"'}
PARAMS = {"mock-key": "p4ram of/the+tests=", "tiny": "y"}
LONG_TOKEN = "l0ng-t0ken-" + "".join(chr(97 + place * 7 % 26) for place in range(900))


def pieces(text):
    """Return every piece of a string of a length that must not appear."""
    return {text[start : start + 8] for start in range(len(text) - 7)}


def repeats_as_json(request):
    """Respond like a gateway that repeats the request in its error, which a report cuts at any place."""
    said = {**{name: [value] for name, value in request.headers.items()}, "url": str(request.url)}
    padding = "z" * (len(request.headers.get("authorization", "")) * 7 % 1900)
    seen = {name: request.headers.get(name, "") for name in ("x-correlator", "x-api-key")}
    return httpx.Response(
        418,
        headers={"x-correlator": seen["x-correlator"], "x-seen": seen["x-api-key"]},
        json={"status": 418, "code": f"SAW {request.headers.get('authorization')}", "message": padding, "saw": said},
    )


def repeats_as_page(request):
    """Respond with a page that shows the request, escaped; its body has no spaces, and a report cuts it."""
    shown = "<br>".join(f"{name}={html.escape(value)}" for name, value in request.headers.items())
    padding = "z" * (1300 - len(request.content) * 31 % 900)
    return httpx.Response(502, html=f"<pre>{html.escape(str(request.url))}{padding}{shown}</pre>")


@pytest.fixture(scope="module", params=[repeats_as_json, repeats_as_page])
def repeated(request):
    """Return the report on an operator that repeats what it was sent."""
    settings = settings_from({**sandbox_settings(URL, DEFAULTS), "headers": HEADERS, "params": PARAMS})
    todo = plan(settings, scenarios(settings.release))
    return anyio.run(partial(run, settings, todo, LONG_TOKEN, transport=httpx.MockTransport(request.param)))


@pytest.mark.long
@pytest.mark.parametrize("write", WRITERS)
def test_no_report_shows_a_piece_of_what_an_operator_repeats(repeated, write):
    """Keys in headers and in the URL, and the token, in plain form and as in JSON, in a URL and in a page."""
    text = write(repeated)

    for secret in (*HEADERS.values(), *PARAMS.values(), LONG_TOKEN):
        for spelled in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]):
            for way in (spelled, html.escape(spelled)):
                assert not {piece for piece in pieces(way) if piece in text}


@pytest.mark.long
def test_a_report_says_which_key_was_repeated(repeated):
    """The reader learns that the operator repeats it."""
    for name in ("<header x-api-key>", "<param mock-key>", "<token>"):
        assert name in json.dumps(json.loads(as_json(repeated)), ensure_ascii=False)


@pytest.mark.parametrize("cut", range(1960, 2040))
def test_a_secret_at_the_place_where_a_body_is_cut_is_masked_whole(cut):
    """A part of a secret is not recognized as one."""
    secret = "s3cr3t-0f-thirty-two-letters-abcd"
    answer = ReceivedResponse(400, (), b"z" * (cut - 20) + secret.encode() + b"z" * 100, 0.1)
    made = shown(
        RoundTrip(SentRequest("send-code", "POST", URL, (), b""), answer), "judged", {secret: "<x>"}, frozenset()
    )

    assert not {piece for piece in pieces(secret) if piece in made.answer}


def test_a_token_that_cannot_be_renewed_half_way_skips_what_is_left():
    """No traceback, no verdict about the operator, and no secret in the reason."""
    left = [TOKEN] * 12

    async def fetch():
        if left:
            return left.pop()
        raise TokenError(f"the token endpoint said {TOKEN}")

    settings = settings_from(sandbox_settings(URL, DEFAULTS))
    todo = plan(settings, scenarios(settings.release))
    made = anyio.run(partial(run, settings, todo, fetch, transport=Sandbox().transport()))

    reasons = {found.reason for found in made.outcomes if found.verdict is Verdict.SKIP}
    assert "the token could not be obtained: the token endpoint said <token>" in reasons
    assert not [found for found in made.outcomes if found.verdict is Verdict.FAIL]


@pytest.mark.parametrize("write", WRITERS)
def test_every_report_names_what_failed(checked, write):
    """The report contains the scenario's tag."""
    made, _ = checked
    text = write(made).replace("\n", "")

    for found in made.outcomes:
        if found.verdict is Verdict.FAIL:
            assert found.tag in text


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.attributes = []
        self.open = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in ("meta", "rect", "line", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag


def test_the_page_is_self_contained(checked):
    """It has no script and no handler, loads nothing, and has a policy that would forbid it; every tag is closed."""
    text = as_html(checked[0])
    page = Page(text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    policy = next(value for tag, name, value in page.attributes if (tag, name) == ("meta", "content"))

    assert page.open == []
    assert not {"script", "img", "link", "iframe", "form", "object"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("src", "style")]
    assert all(value.startswith("#") for _, name, value in page.attributes if name == "href")
    assert "url(" not in style
    assert policy.startswith("default-src 'none'")
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy


def test_the_page_leads_from_the_table_to_the_deviation(checked):
    """Each link has its target."""
    page = Page(as_html(checked[0]))
    targets = {value for _, name, value in page.attributes if name == "id"}

    assert {value[1:] for _, name, value in page.attributes if name == "href"} <= targets
    assert targets


def test_the_page_escapes_what_an_operator_says():
    """Markup in a response is shown as text."""
    text = as_html(report(outcome()))

    assert "<b>no</b>" not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    assert "<code>timeout=20</code>" in text


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        ((), "No deviation"),
        ((finding(Grade.ADVICE, "x"),), "Advice only"),
        ((finding(Grade.DIFFERS, "x"),), "Differs from the contract"),
        ((finding(Grade.BREAKS, "x"),), "Breaks clients"),
    ],
)
def test_the_page_says_at_once_how_bad_it_is(findings, words):
    """The badge follows the worst deviation."""
    made = report(
        outcome(findings=findings, verdict=Verdict.PASS), outcome(tag="other", findings=(), verdict=Verdict.PASS)
    )

    assert words in as_html(made)


def test_a_check_without_an_answer_has_no_chart():
    """The report is written."""
    made = report(outcome(verdict=Verdict.SKIP, reason="no <number>", findings=(), exchanges=()), latencies=())

    assert "<svg" not in as_html(made)
    assert as_table(made)["latency"] == {"send-code": None, "validate-code": None}
    assert "no &lt;number&gt;" in as_html(made)


@pytest.mark.parametrize(("seconds", "top"), [(0.0, 1e-4), (0.00015, 2e-4), (0.03, 0.04), (1.0, 1.0), (7.1, 8.0)])
def test_the_chart_ends_at_a_round_number(seconds, top):
    """It is not below the slowest response."""
    assert _round_up(seconds) == pytest.approx(top)


def test_junit_is_what_ci_systems_read():
    """Suites, counts, failures with type, skips; no character that XML forbids."""
    made = report(
        outcome(),
        outcome(tag="s", verdict=Verdict.SKIP, reason="why", findings=()),
        outcome(
            tag="c", origin="contract", operation=None, verdict=Verdict.PASS, findings=(finding(Grade.ADVICE, "m"),)
        ),
    )
    root = fromstring(as_junit(made))
    ours = next(suite for suite in root if suite.get("name") == "camara-otp's scenarios")

    assert (ours.get("tests"), ours.get("failures"), ours.get("skipped")) == ("2", "1", "1")
    failure = ours.find("testcase/failure")
    assert (failure.get("type"), failure.get("message")) == ("breaks clients", "<b>no</b>")
    assert "HTTP 200" in failure.text
    assert "\x1b" not in failure.text
    assert root.find(".//skipped").get("message") == "why"
    assert "advice: It is m: m" in root.find(".//system-out").text


def test_json_is_plain_data(checked):
    """Every value is of a JSON type."""
    made, _ = checked
    table = json.loads(as_json(made))

    assert table == json.loads(json.dumps(as_table(made)))
    assert table["counts"]["fail"] == made.count(Verdict.FAIL)
    assert table["latency"]["send-code"]["count"] + table["latency"]["validate-code"]["count"] == len(made.latencies)
    assert table["good"] is False


def test_the_terminal_is_not_taken_over_by_what_an_operator_says():
    """Markup of Rich is shown as text, and long responses are cut."""
    long = "\n".join(f"line {index}" for index in range(40))
    text = on_terminal(report(outcome(exchanges=(Shown("judged", "POST", f"[bold red]{long}", 0.1),), tag="[red]x")))

    assert "[bold red]line 0" in text
    assert "26 more lines" in text


def test_progress_is_shown_at_a_terminal_only():
    """A log gets no progress; a terminal shows failures when they happen."""
    case = next(case for case in CASES if case.name.startswith("a landline"))
    transport, settings = case.operator()
    todo = plan(settings, scenarios(settings.release))
    shown = {}
    for terminal in (True, False):
        console = Console(file=StringIO(), width=120, force_terminal=terminal)
        with progress(console, todo) as (on_event, _):
            anyio.run(partial(run, settings, todo, TOKEN, on_event=on_event, transport=transport))
        shown[terminal] = console.file.getvalue()

    assert "✗ " in shown[True]
    assert "OTPvalidationAPI_05_send_code_phone_number_not_allowed_3" in shown[True]
    assert shown[False] == ""


def test_a_question_pauses_the_progress(monkeypatch):
    """Otherwise the progress would overwrite the question."""

    async def prompt(question):
        return "1234"

    monkeypatch.setattr("camara_otp.conformance.reports.terminal.prompt_at_terminal", prompt)
    case = CASES[0]
    todo = plan(case.operator()[1], scenarios("1.1.1"))
    with progress(Console(file=StringIO(), force_terminal=True), todo) as (_, ask):
        assert anyio.run(ask, "Code? ") == "1234"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("call +34600000100 now", "call +34...100 now"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer <token>"),
        ("basic dXNlcjpwYXNz", "basic <token>"),
        ("eyJhbGciOiJI.eyJzdWIi.c2ln", "<token>"),
        ("id s3cret-id of s3cret", "id <id> of <code>"),
        ("34600000100", "34...100"),
        ("0af-460-x +1", "0af-460-x +1"),
    ],
)
def test_secrets_and_numbers_are_masked(text, shown):
    """Known ones anywhere, unknown ones by their form."""
    assert mask(text, {"s3cret": "<code>", "s3cret-id": "<id>", **number_names("+34600000100")}) == shown


def test_the_catalogue_holds_every_pair_that_is_published():
    """Statuses and codes of all releases."""
    with open("tests/data/contract.json", encoding="utf-8") as file:  # noqa: PTH123
        published = json.load(file)

    for release in ("1.0.0", "1.1.0", "1.1.1"):
        for operation in published[release]["operations"].values():
            for status, codes in operation["errors"].items():
                for code in codes:
                    assert int(status) in PAIRS[code]
