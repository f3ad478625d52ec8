"""The reports: what they say, and what they never show."""

import base64
import hashlib
import json
import re
from functools import partial
from html.parser import HTMLParser
from io import StringIO
from xml.etree.ElementTree import fromstring

import anyio
import pytest
from rich.console import Console

from camara_otp.conformance import Finding, Grade, Outcome, Report, Shown, Verdict, plan, run, scenarios
from camara_otp.conformance.contract import PAIRS
from camara_otp.conformance.masking import mask, number_names
from camara_otp.conformance.model import Latency
from camara_otp.conformance.reports import as_html, as_json, as_junit, as_table
from camara_otp.conformance.reports.page import _round_up
from camara_otp.conformance.reports.terminal import progress, rendered
from tests.conformance.wrong import CASES

TOKEN = "the-access-token"


@pytest.fixture(scope="module", params=["the code is in the answer to the send", "404 is a page of HTML"])
def checked(request):
    """Return the report on a wrong operator, and that operator."""
    case = next(case for case in CASES if case.name == request.param)
    transport, settings = case.operator()
    todo = plan(settings, scenarios(settings.release))
    return anyio.run(partial(run, settings, todo, TOKEN, transport=transport)), transport


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
        "findings": (Finding(Grade.BREAKS, "<b>no</b>", "Set `timeout=20`."),),
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
        latencies=latencies,
        advice=("Set `timeout=20`.",),
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
    """Neither token nor code nor id nor number, whatever the operator repeats."""
    made, operator = checked
    text = write(made)

    assert TOKEN not in text
    for message in operator.sandbox.messages():
        assert message.authentication_id not in text
        assert message.phone_number[1:] not in text
        found = re.search(rf"(?<![0-9a-f.-]){message.code}(?![0-9a-f-])", text)
        assert not found, text[found.start() - 200 : found.end() + 50]


@pytest.mark.parametrize("write", WRITERS)
def test_every_report_names_what_failed(checked, write):
    """With its tag."""
    made, _ = checked
    text = write(made).replace("\n", "")

    for found in made.outcomes:
        if found.verdict is Verdict.FAIL:
            assert found.tag in text


class Page(HTMLParser):
    """What a page is made of."""

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
    """No script, no handler, nothing loaded, and a policy that would forbid it; every tag is closed."""
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
    """Markup in an answer stays text."""
    text = as_html(report(outcome()))

    assert "<b>no</b>" not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    assert "<code>timeout=20</code>" in text


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        ((), "No deviation"),
        ((Finding(Grade.COSMETIC, "x"),), "Cosmetic deviations only"),
        ((Finding(Grade.DIFFERS, "x"),), "Differs from the contract"),
        ((Finding(Grade.BREAKS, "x"),), "Breaks clients"),
    ],
)
def test_the_page_says_at_once_how_bad_it_is(findings, words):
    """The worst deviation counts."""
    made = report(
        outcome(findings=findings, verdict=Verdict.PASS), outcome(tag="other", findings=(), verdict=Verdict.PASS)
    )

    assert words in as_html(made)


def test_a_check_without_an_answer_has_no_chart():
    """Nor does it fail."""
    made = report(outcome(verdict=Verdict.SKIP, reason="no <number>", findings=(), exchanges=()), latencies=())

    assert "<svg" not in as_html(made)
    assert as_table(made)["latency"] == {"send-code": None, "validate-code": None}
    assert "no &lt;number&gt;" in as_html(made)


@pytest.mark.parametrize(("seconds", "top"), [(0.0, 1e-4), (0.00015, 2e-4), (0.03, 0.04), (1.0, 1.0), (7.1, 8.0)])
def test_the_chart_ends_at_a_round_number(seconds, top):
    """Not below the slowest answer."""
    assert _round_up(seconds) == pytest.approx(top)


def test_junit_is_what_ci_systems_read():
    """Suites, counts, failures with type, skips; and no character that XML forbids."""
    made = report(
        outcome(),
        outcome(tag="s", verdict=Verdict.SKIP, reason="why", findings=()),
        outcome(
            tag="c", origin="contract", operation=None, verdict=Verdict.PASS, findings=(Finding(Grade.COSMETIC, "m"),)
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
    assert "cosmetic: m" in root.find(".//system-out").text


def test_json_is_plain_data(checked):
    """And says the same."""
    made, _ = checked
    table = json.loads(as_json(made))

    assert table == json.loads(json.dumps(as_table(made)))
    assert table["counts"]["fail"] == made.count(Verdict.FAIL)
    assert table["latency"]["send-code"]["count"] + table["latency"]["validate-code"]["count"] == len(made.latencies)
    assert table["good"] is False


def test_the_terminal_is_not_taken_over_by_what_an_operator_says():
    """Markup of Rich's is text, too, and long answers are cut."""
    long = "\n".join(f"line {index}" for index in range(40))
    text = on_terminal(report(outcome(exchanges=(Shown("judged", "POST", f"[bold red]{long}", 0.1),), tag="[red]x")))

    assert "[bold red]line 0" in text
    assert "26 more lines" in text


def test_progress_is_shown_at_a_terminal_only():
    """A log gets none of it; at a terminal failures show as they come."""
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
    """Else it would be overwritten."""

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
    """Known ones wherever they stand, unknown ones by their form."""
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
