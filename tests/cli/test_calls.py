"""Sending and checking codes from the terminal: output, stream, and exit code."""

import json

import pytest

from camara_otp.cli import recent_sends
from camara_otp.cli.exit_codes import Exit, exit_code
from camara_otp.errors import OTPError, OutcomeUnknownError, UnexpectedResponseError
from camara_otp.sandbox import Fault
from tests.cli.conftest import TOKEN

NUMBER = "+346661113334"


def test_a_code_is_sent_and_checked(cli, ready, sandbox):
    """The id alone goes to standard output, so that a script can take it."""
    sent = cli("send", NUMBER, "--message", "Your code: {{code}}")
    assert (sent.code, sent.out.strip()) == (0, sandbox.messages()[0].authentication_id)
    assert sandbox.messages()[0].text.startswith("Your code: ")

    checked = cli("validate", sent.out.strip(), "--code", sandbox.last_code(NUMBER))
    assert (checked.code, checked.out) == (0, "✓ The code is right.\n")


@pytest.mark.parametrize(
    ("arguments", "shown", "hidden"),
    [
        (["send", "+447700900001"], "The number is not this operator's.", "never issued"),
        (["validate", "an-id", "--code", "AJY3"], "The authentication_id was never issued.", "not this operator's"),
    ],
)
def test_the_cause_of_a_404_is_that_of_the_operation(cli, ready, arguments, shown, hidden):
    """NOT_FOUND has one meaning per operation."""
    ran = cli(*arguments)

    assert ran.code == Exit.REFUSED
    assert shown in " ".join(ran.err.split())
    assert hidden not in ran.err


def test_a_code_that_is_not_given_is_asked_for(cli, ready, sandbox):
    """It need not stand in the process list."""
    sent = cli("send", NUMBER)

    assert cli("validate", sent.out.strip(), stdin=sandbox.last_code(NUMBER) + "\n").code == 0


def test_scripts_get_json(cli, ready, sandbox):
    """One object, on standard output, for success and failure alike."""
    sent = cli("send", NUMBER, "--json")
    assert sent.json["authenticationId"] == sandbox.messages()[0].authentication_id
    assert sent.json["xCorrelator"] == sandbox.messages()[0].x_correlator
    assert sent.err == ""

    wrong = cli("validate", sent.json["authenticationId"], "--code", "000000x", "--json")
    assert wrong.code == Exit.REFUSED
    assert wrong.json["error"]["class"] == "InvalidOTPError"
    assert wrong.json["error"]["code"] == "ONE_TIME_PASSWORD_SMS.INVALID_OTP"
    assert wrong.json["error"]["status"] == 400
    assert wrong.json["error"]["outcomeUnknown"] is False
    assert wrong.json["error"]["exitCode"] == 3
    assert wrong.err == ""

    right = cli("validate", sent.json["authenticationId"], "--code", sandbox.last_code(NUMBER), "--json")
    assert right.json["valid"] is True


@pytest.mark.parametrize(
    ("arguments", "fault", "code", "words"),
    [
        (["+34600000001"], None, Exit.REFUSED, "PHONE_NUMBER_NOT_ALLOWED"),
        (["34"], None, Exit.USAGE, "phone_number: must be in E.164 form"),
        ([NUMBER, "--message", "{code}"], None, Exit.USAGE, "message"),
        ([NUMBER, "--base-url", "http://127.0.0.1:9"], None, Exit.NOT_SENT, "Calling again is safe"),
        ([NUMBER, "--base-url", "http://api.example.com"], None, Exit.USAGE, "base_url"),
        ([NUMBER, "--api-path", "/elsewhere"], None, Exit.REFUSED, "NOT_FOUND"),
        ([NUMBER, "--profile", "nowhere"], None, Exit.USAGE, "profile nowhere: is not in"),
        ([NUMBER], Fault(drop="after"), Exit.UNKNOWN, "do not simply repeat this"),
        ([NUMBER], Fault(code="INTERNAL"), Exit.UNKNOWN, "do not simply repeat this"),
        ([NUMBER], Fault(code="TOO_MANY_REQUESTS", retry_after=7), Exit.REFUSED, "Retry after 7 s"),
        ([NUMBER, "--timeout", "0.2"], Fault(delay=1.0), Exit.UNKNOWN, "do not simply repeat this"),
        ([NUMBER], Fault(status=302, body="", headers={"location": "/"}), Exit.UNKNOWN, "outside the contract"),
    ],
)
def test_each_class_of_outcome_has_its_exit_code(cli, ready, sandbox, arguments, fault, code, words):
    """Standard error names the problem and the remedy."""
    if fault:
        sandbox.add_fault(fault)

    ran = cli("send", *arguments)

    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert TOKEN not in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutcomeUnknownError("x"), Exit.UNKNOWN),
        (UnexpectedResponseError("x", status=200), Exit.UNKNOWN),
        (OTPError("x"), Exit.UNKNOWN),
    ],
)
def test_what_is_not_known_to_be_harmless_is_unknown(error, code):
    """Even where the exception does not say."""
    assert exit_code(error) == code


def test_what_is_missing_is_named(cli, monkeypatch, url):
    """With the ways to give it."""
    no_url = cli("send", NUMBER)
    assert (no_url.code, "--base-url, set CAMARA_BASE_URL" in no_url.err) == (2, True)

    no_token = cli("send", NUMBER, "--base-url", url)
    assert (no_token.code, "CAMARA_BEARER_TOKEN" in no_token.err) == (2, True)


def test_attempts_are_shown_on_request(cli, ready, sandbox):
    """With their correlators, and nothing secret."""
    ran = cli("send", NUMBER, "--verbose")

    assert "attempt 1: HTTP 200" in ran.err
    assert sandbox.messages()[0].x_correlator in ran.err
    assert NUMBER not in ran.err


def test_a_second_send_to_a_number_needs_a_yes(cli, ready, sandbox, monkeypatch, home):
    """It would spoil the first; another number does not matter, nor does a number that is long forgotten."""
    assert cli("send", NUMBER).code == 0

    refused = cli("send", NUMBER)
    assert refused.code == Exit.USAGE
    assert "give --yes" in refused.err
    assert cli("send", "+346661113335").code == 0
    assert cli("send", NUMBER, "--yes").code == 0
    monkeypatch.setattr("camara_otp.cli.recent_sends.WINDOW", 0.0)
    assert cli("send", NUMBER).code == 0
    assert sandbox.sent_count == 4
    memory = next((home / "XDG_STATE_HOME").rglob("*.json")).read_text("utf-8")
    assert NUMBER[1:] not in memory


@pytest.mark.parametrize(
    ("answer", "code", "texts"), [("y\n", Exit.DONE, 2), ("n\n", Exit.STOPPED, 1), ("", Exit.STOPPED, 1)]
)
def test_a_person_is_asked(cli, ready, sandbox, person, answer, code, texts):
    """Before another code makes the first worthless."""
    cli("send", NUMBER)

    ran = cli("send", NUMBER, stdin=answer)

    assert ran.code == code
    assert "Sending another invalidates it" in ran.err
    assert sandbox.sent_count == texts


@pytest.mark.parametrize("memory", ["", "[]", "{}", '{"salt": 1, "sends": {}}', '{"salt": "k", "sends": {"a": "b"}}'])
def test_a_broken_memory_is_no_obstacle(cli, ready, home, memory):
    """The file is written anew."""
    path = home / "XDG_STATE_HOME" / "camara-otp" / "sends.json"
    path.parent.mkdir(parents=True)
    path.write_text(memory, "utf-8")

    assert cli("send", NUMBER).code == 0
    assert cli("send", NUMBER).code == Exit.USAGE


def test_an_empty_text_is_not_replaced_by_another(cli, ready, sandbox):
    """The caller gave it on purpose."""
    assert cli("send", NUMBER, "--message", "").code == Exit.USAGE
    assert sandbox.sent_count == 0


def test_bytes_that_are_no_text_are_refused_as_a_number(cli, ready):
    """An argument may hold anything, also once there is a memory of sends to look it up in."""
    cli("send", NUMBER)

    ran = cli("send", "\udcff")

    assert (ran.code, "phone_number" in ran.err) == (Exit.USAGE, True)


def test_a_memory_that_cannot_be_written_is_no_obstacle(cli, ready, home):
    """A send succeeds all the same."""
    (home / "XDG_STATE_HOME").write_text("a file where a folder should be", "utf-8")

    assert cli("send", NUMBER).code == 0


def test_an_unknown_outcome_counts_as_a_send(cli, ready, sandbox):
    """A text may have gone out."""
    sandbox.add_fault(Fault(drop="after", times=1))
    assert cli("send", NUMBER).code == Exit.UNKNOWN

    assert cli("send", NUMBER).code == Exit.USAGE


def test_a_process_that_is_killed_half_way_counts_as_a_send(cli, ready, monkeypatch):
    """It has no time left to take note of anything."""

    def killed(*_, **__):
        raise SystemExit(137)

    with monkeypatch.context() as patch:
        patch.setattr("camara_otp.OTPClient.send_code", killed)
        cli("send", NUMBER)

    assert cli("send", NUMBER).code == Exit.USAGE


def test_a_refused_send_does_not_count(cli, ready, sandbox):
    """There is no code that another one could spoil; an earlier one still is."""
    sandbox.add_fault(Fault(status=403, times=1))
    assert cli("send", NUMBER).code == Exit.REFUSED
    assert cli("send", NUMBER).code == Exit.DONE

    sandbox.add_fault(Fault(status=403, times=1))
    assert cli("send", NUMBER, "--yes").code == Exit.REFUSED
    assert cli("send", NUMBER).code == Exit.USAGE
    assert sandbox.sent_count == 1


def test_a_refused_send_removes_no_other(cli, ready, sandbox, monkeypatch):
    """Another process recorded a send to the number during the call."""
    sandbox.add_fault(Fault(status=403, times=1))
    remove = recent_sends.SendLog.remove

    def late(log, at):
        log.add()
        remove(log, at)

    monkeypatch.setattr("camara_otp.cli.recent_sends.SendLog.remove", late)

    assert cli("send", NUMBER).code == Exit.REFUSED
    assert cli("send", NUMBER).code == Exit.USAGE
    assert sandbox.sent_count == 0


def test_a_refused_send_keeps_one_made_during_the_question(cli, ready, sandbox, monkeypatch):
    """The question may stay open for minutes, in which another process sends."""
    sandbox.add_fault(Fault(status=403, times=1))
    add = recent_sends.SendLog.add

    def early(log):
        monkeypatch.setattr("camara_otp.cli.recent_sends.SendLog.add", add)
        recent_sends.SendLog(log.path, log.salt, log.digest).add()
        return log.add()

    monkeypatch.setattr("camara_otp.cli.recent_sends.SendLog.add", early)

    assert cli("send", NUMBER).code == Exit.REFUSED
    assert cli("send", NUMBER).code == Exit.USAGE


def test_a_log_that_was_deleted_stays_deleted(tmp_path):
    """Removing a send from it writes no file."""
    log = recent_sends.open_log({"XDG_STATE_HOME": str(tmp_path)}, "https://api.example.com", NUMBER)

    log.remove(1.0)

    assert list(tmp_path.rglob("*.json")) == []


def test_the_log_does_not_tell_numbers_apart(cli, ready, home):
    """Of a million numbers, about 15 have the same digest, so that none of them is known to have been texted."""
    assert cli("send", NUMBER).code == 0
    content = json.loads(next((home / "XDG_STATE_HOME").rglob("*.json")).read_text("utf-8"))

    assert set(content) == {"salt", "sends"}
    assert [len(digest) for digest in content["sends"]] == [4]


@pytest.mark.parametrize("command", ["validate", "verify"])
def test_help_never_ends_with_the_code_of_a_verified_number(cli, ready, sandbox, command):
    """A script that passes `-h` as a code must not take the help for HTTP 204."""
    for arguments in (["-h"], ["--help"], ["an-id", "-h"], ["an-id", "--json", "--help"]):
        ran = cli(command, *arguments)
        assert (ran.code, "Usage:" in ran.out) == (Exit.USAGE, True)


@pytest.mark.parametrize("code", ["-h", "--help", "--base-url=http://127.0.0.1:9", "--version", "-1", "--"])
def test_a_code_is_a_value_whatever_it_looks_like(cli, ready, sandbox, code):
    """Given with --code or on standard input, it reaches the operator, or is refused as a code."""
    sent = cli("send", NUMBER).out.strip()

    for ran in (cli("validate", sent, "--code", code), cli("validate", sent, stdin=f"{code}\n")):
        assert ran.code in (Exit.REFUSED, Exit.USAGE)
        assert "InvalidOTP" in ran.err or "INVALID_OTP" in ran.err or "code" in ran.err
        assert "Usage:" not in ran.out


@pytest.mark.parametrize("surplus", ["739164", "--73916", "-7"])
def test_a_code_is_no_argument_and_is_not_repeated(cli, ready, surplus):
    """The process list shows arguments to every user, and a log shows messages."""
    ran = cli("validate", "an-id", surplus)

    assert (ran.code, surplus in ran.err + ran.out) == (Exit.USAGE, False)
    assert "--code" in ran.err


class TestVerify:
    """Send, ask, check: in one go."""

    def code(self, monkeypatch, sandbox, *answers):
        """Answer the prompts, one after the other; a function is called when its turn comes."""
        turn = iter(answers)

        def prompt(text, **_):
            answer = next(turn)
            return answer() if callable(answer) else answer

        monkeypatch.setattr("camara_otp.cli.prompts._answer", prompt)

    def test_the_right_code_verifies(self, cli, ready, sandbox, monkeypatch):
        """After wrong ones, too long ones included, each of which may be tried again."""
        self.code(monkeypatch, sandbox, "000000x", "far too long for a code", lambda: sandbox.last_code(NUMBER))

        ran = cli("verify", NUMBER)

        assert (ran.code, ran.out) == (0, "✓ The number is verified.\n")
        assert "Try again" in ran.err

    def test_a_person_may_have_another_code(self, cli, ready, sandbox, monkeypatch, person):
        """When the first is closed."""
        self.code(monkeypatch, sandbox, "0x", "0x", "0x", "y", lambda: sandbox.last_code(NUMBER))

        ran = cli("verify", NUMBER)

        assert ran.code == 0
        assert ran.err.count("✓ Accepted for sending.") == 2
        assert sandbox.sent_count == 2

    def test_a_person_may_have_had_enough(self, cli, ready, sandbox, monkeypatch, person):
        """The refusal stands, and one text was sent."""
        self.code(monkeypatch, sandbox, "0x", "0x", "0x", "n")

        ran = cli("verify", NUMBER)

        assert ran.code == Exit.REFUSED
        assert "No other code was sent." in ran.err
        assert sandbox.sent_count == 1

    def test_a_script_gets_the_refusal(self, cli, ready, sandbox):
        """When the codes that it has are used up, by it or by the operator."""
        ran = cli("verify", NUMBER, "--json", stdin="0x\n")
        assert (ran.code, ran.json["error"]["class"]) == (Exit.REFUSED, "InvalidOTPError")

        ran = cli("verify", "+346661113399", "--json", stdin="0x\n0x\n0x\n")
        assert (ran.code, ran.json["error"]["class"]) == (Exit.REFUSED, "VerificationFailedError")

    def test_no_answer_ends_it(self, cli, ready, sandbox):
        """As when the user leaves."""
        assert cli("verify", NUMBER, stdin="").code == Exit.STOPPED

    def test_any_other_failure_ends_it(self, cli, ready, sandbox):
        """With its own exit code."""
        sandbox.add_fault(Fault(code="UNAVAILABLE", operation="validate-code"))

        assert cli("verify", NUMBER, stdin="1234\n").code == Exit.UNKNOWN


@pytest.mark.parametrize("piped", [True, False])
def test_validate_asks_for_the_code_at_a_terminal_only(cli, ready, sandbox, monkeypatch, piped):
    monkeypatch.setattr("camara_otp.cli.prompts.at_terminal", lambda: not piped)
    sent = cli("send", NUMBER, "--yes", "--json").json["authenticationId"]

    ran = cli("validate", sent, stdin=sandbox.messages()[0].code + "\n")

    assert (ran.code, "Code: " in ran.err) == (0, not piped)


def test_stopping_while_sending_counts_as_a_send(cli, ready, monkeypatch):
    """A text may have gone out."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("camara_otp.OTPClient.send_code", stop)
        ran = cli("send", NUMBER)
    assert ran.code == Exit.STOPPED
    assert "may have gone out" in ran.err

    assert cli("send", NUMBER).code == Exit.USAGE


def test_the_sandbox_is_at_hand(cli):
    """Its own help, and its own refusals."""
    assert cli("sandbox", "--port", "nonsense").code == 2
