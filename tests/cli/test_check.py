"""The command that checks an operator: what it asks, what it writes, and its exit code."""

import errno
import json
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from camara_otp.cli.exit_codes import Exit
from camara_otp.errors import TokenError
from camara_otp.sandbox import Fault, Sandbox
from tests.cli.conftest import TOKEN


def test_a_sandbox_is_recognised_and_passes(cli, ready, sandbox):
    """No setting is needed."""
    ran = cli("check", ready, "--yes", "--all")

    assert ran.code == Exit.DONE
    assert "This is a sandbox" in ran.err
    assert "83 scenarios against" in ran.err
    assert "Scenarios: 83 passed   0 failed   3 skipped" in ran.out
    assert "Rules:     12 passed   0 failed   0 skipped" in ran.out
    assert "15 SMS" in ran.out
    assert f'OTPClient("{ready}", token=..., api_path="/one-time-password-sms/v1")' in ran.out
    assert sandbox.sent_count == 15


@pytest.mark.parametrize("path", ["/otpvalidation", "/one-time-password-sms/v1/"])
def test_a_sandbox_is_recognised_by_an_address_with_the_api_path(cli, ready, sandbox, path):
    ran = cli("check", ready + path, "--yes", "--only", "*_01_*")

    assert "This is a sandbox" in ran.err
    assert f'OTPClient("{ready}", token=...' in ran.out
    assert (ran.code, sandbox.sent_count) == (Exit.DONE, 1)


@pytest.mark.parametrize("address", ["{}/elsewhere", "{}/otpvalidation/send-code"])
def test_another_path_of_a_sandbox_is_checked_as_it_is(cli, ready, address):
    assert "This is a sandbox" not in cli("check", address.format(ready), "--no-sms", "--dry-run").err


def test_deviations_have_an_exit_code(cli, monkeypatch):
    """`--fail-on` sets which deviations count."""
    with Sandbox(correlator=False).serve() as url:
        monkeypatch.setenv("CAMARA_BEARER_TOKEN", TOKEN)
        ran = cli("check", url, "--yes", "--only", "*401*")
        assert ran.code == Exit.DEVIATES
        assert "contract_x-correlator" in ran.out
        assert cli("check", url, "--yes", "--only", "*401*", "--fail-on", "breaks").code == Exit.NOT_JUDGED


def test_it_asks_before_it_sends(cli, ready, sandbox, person):
    """It prints the cost first; "no" ends the check."""
    ran = cli("check", ready, stdin="n\n")

    assert ran.code == Exit.STOPPED
    assert "16 SMS to 12 phones" in ran.err
    assert sandbox.sent_count == 0


def test_it_sends_nothing_without_a_terminal_and_without_yes(cli, ready, sandbox):
    """The exit code is that of a wrong option."""
    assert cli("check", ready).code == Exit.USAGE
    assert sandbox.sent_count == 0


def test_no_sms_is_sent_with_no_sms(cli, ready, sandbox):
    ran = cli("check", ready, "--no-sms", "--json")

    assert ran.code == Exit.NOT_JUDGED
    assert ran.json["notJudged"] == "no right code was tried and no wrong code was tried"
    assert sandbox.sent_count == ran.json["texts"] == 0
    assert ran.json["counts"] == {"pass": 72, "fail": 0, "skipped": 25, "not judged": 1}
    assert (ran.json["good"], ran.json["judged"]) == (False, False)


def test_a_dry_run_sends_nothing_at_all(cli, ready, sandbox):
    """It lists the scenarios with their cost."""
    ran = cli("check", ready, "--dry-run")
    listed = cli("check", ready, "--dry-run", "--json")

    assert "OTPvalidationAPI_01_send_code_success_scenario  1 SMS" in ran.out
    assert (listed.json["texts"], len(listed.json["scenarios"])) == (16, 86)
    assert sandbox.calls() == []


def test_reports_are_written(cli, ready, tmp_path):
    """A page, JUnit XML and JSON; none contains a secret."""
    page, junit, data = (tmp_path / name for name in ("r.html", "r.xml", "r.json"))

    ran = cli("check", ready, "--yes", "--html", page, "--junit", junit, "--json-file", data)

    assert ran.code == 0
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert len(list(parse(junit).iter("testcase"))) == 98
    assert len(json.loads(data.read_text("utf-8"))["outcomes"]) == 98
    for path in (page, junit, data):
        assert TOKEN not in path.read_text("utf-8")


@pytest.mark.parametrize("path", ["none/r.html", ".", "closed.html", "r" * 300])
@pytest.mark.parametrize("option", ["--html", "--junit", "--json-file"])
def test_a_report_that_cannot_be_written_is_said(cli, ready, sandbox, tmp_path, monkeypatch, option, path):
    """It is an error of an option, before an SMS is sent."""
    monkeypatch.setattr("camara_otp.cli.check.os.access", lambda where, _: where == tmp_path)
    (tmp_path / "closed.html").touch()

    ran = cli("check", ready, "--yes", option, tmp_path / path)

    assert ran.code == Exit.USAGE
    assert str(tmp_path / path) in ran.err.replace("\n", "")
    assert sandbox.sent_count == 0


def test_a_check_is_not_lost_for_a_report_that_fails(cli, ready, tmp_path, monkeypatch):
    """The results are printed, and the other reports are written."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("camara_otp.conformance.reports.as_html", lambda _: None)
    write = Path.write_text
    monkeypatch.setattr(Path, "write_text", lambda self, text, _: full() if text is None else write(self, text))

    ran = cli("check", ready, "--no-sms", "--html", tmp_path / "r.html", "--junit", tmp_path / "r.xml")

    assert ran.code == Exit.UNWRITTEN
    assert "No space left on device" in ran.err
    assert "Deviations: none" in ran.out
    assert (tmp_path / "r.xml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fail-on", "everything"], "is not one of 'breaks', 'differs', 'advice'"),
        (["--only", "nothing-like-this"], "no scenario of 1.1.1"),
        (["--release", "9.9"], "release: must be one of 1.0.0, 1.1.0, 1.1.1"),
        (["--settings", "/does/not/exist.toml"], "/does/not/exist.toml"),
        (["--number", "12"], "international form"),
    ],
)
def test_wrong_options_are_refused(cli, ready, arguments, words):
    """The error comes before anything is sent."""
    ran = cli("check", ready, *arguments)

    assert ran.code == Exit.USAGE
    assert words in ran.err.replace("\n", " ")


def test_an_operator_has_to_be_named(cli):
    """On the command line, in the environment, in a profile, or in the file."""
    assert "name the operator" in cli("check").err


def test_what_is_missing_is_named(cli, url):
    """The token, or the operator itself."""
    assert cli("check", url, "--no-sms").code == Exit.USAGE
    ran = cli("check", "http://127.0.0.1:9", "--no-sms", "--insecure-token-argument", "x")
    assert (ran.code, "no response from http://127.0.0.1:9" in ran.err) == (Exit.NOT_SENT, True)


def test_a_file_describes_an_operator(cli, ready, sandbox, tmp_path):
    """It has numbers, limits and hooks; options take precedence."""
    file = tmp_path / "operator.toml"
    file.write_text(
        f'base_url = "{ready}"\nrelease = "1.0.0"\n[numbers]\nreachable = ["+34600000123"]\n[limits]\nmax_send = 4\n'
        '[read]\nhow = "http"\nfield = "-1.text"\n'
        'url = "{base_url}/_sandbox/messages?phoneNumber={phone_number}"\n',
        "utf-8",
    )

    ran = cli("check", "--settings", file, "--only", "*01_*", "--yes", "--json")
    assert (ran.code, ran.json["release"], ran.json["texts"]) == (0, "1.0.0", 1)
    assert {message.phone_number for message in sandbox.messages()} == {"+34600000123"}
    assert cli("check", "--settings", file, "--release", "1.1.1", "--dry-run", "--json").json["texts"] == 4


def test_a_profile_names_the_file(cli, ready, profiles, tmp_path):
    (tmp_path / "operator.toml").write_text('release = "1.1.0"\n', "utf-8")
    profiles(f'[p]\nbase_url = "{ready}"\ncheck = "{tmp_path}/operator.toml"\n')

    assert cli("check", "--profile", "p", "--no-sms", "--json").json["release"] == "1.1.0"


def test_numbers_may_be_given_in_passing(cli, ready, sandbox, monkeypatch):
    """One phone is enough for a first check."""
    ran = cli(
        "check", ready, "--number", "+34600000124", "--only", "*success*", "--only", "*sucess*", "--yes", "--json"
    )

    assert ran.json["counts"]["fail"] == 0
    assert {message.phone_number for message in sandbox.messages()} == {"+34600000124"}


def test_a_person_reads_the_sms(cli, sandbox, person, monkeypatch):
    """The user types the code if no hook can read it."""
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", TOKEN)
    monkeypatch.setattr("camara_otp.conformance.hooks.sandbox_at", lambda _: None)
    questions = []

    async def prompt(question):
        questions.append(question)
        return sandbox.last_code("+34600000125") + "\n"

    monkeypatch.setattr("camara_otp.conformance.reports.terminal.prompt_at_terminal", prompt)

    with sandbox.serve() as url:
        ran = cli("check", url, "--number", "+34600000125", "--only", "*01_validate*", "--yes")

    assert ran.code == 0
    assert "+34...125" in questions[0]


def test_a_token_that_cannot_be_renewed_ends_the_check(cli, ready, monkeypatch):
    """The exit code is that of a token error; there is no traceback."""

    class Exhausted:
        def get_token(self, *, rejected, timeout):
            return "good-once"

        async def aget_token(self, *, rejected, timeout):
            raise TokenError("it was refused")

    monkeypatch.setattr("camara_otp.cli.check.token_or_provider", lambda _: Exhausted())

    ran = cli("check", ready, "--no-sms", "--all")

    assert ran.code == Exit.NO_TOKEN
    assert "not complete" in ran.err
    assert "the token could not be obtained: it was refused" in ran.out.replace("\n", " ").replace("  ", " ")


def test_stopping_is_said(cli, ready, monkeypatch):
    """SMS may still arrive."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("anyio.run", stop)

    ran = cli("check", ready, "--yes")

    assert (ran.code, "SMS that were already sent may still arrive" in ran.err) == (Exit.STOPPED, True)


def test_a_fault_of_ours_is_not_hidden(cli, ready, monkeypatch):
    """The user gets a traceback, and the exit code of a bug."""

    def fail(*_, **__):
        raise ExceptionGroup("lanes", [ZeroDivisionError()])

    monkeypatch.setattr("anyio.run", fail)

    ran = cli("check", ready, "--yes")

    assert (ran.code, "ExceptionGroup: lanes" in ran.err) == (Exit.FAULT, True)


def test_a_failing_operator_is_shown_with_what_it_said(cli, ready, sandbox):
    """Request and response are shown masked."""
    sandbox.add_fault(Fault(html=True, status=503, operation="validate-code"))

    ran = cli("check", ready, "--no-sms", "--only", "*404_validate*")

    assert ran.code == Exit.DEVIATES
    assert "> POST" in ran.out
    assert "< HTTP 503" in ran.out
    assert TOKEN not in ran.out
