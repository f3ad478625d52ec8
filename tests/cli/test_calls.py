"""Sending and checking codes from the terminal: output, stream, and exit code."""

import json
import time

import pytest

from camara_otp import OTPClient
from camara_otp.cli import recent_sends
from camara_otp.cli.exit_codes import Exit, exit_code
from camara_otp.errors import OTPError, OutcomeUnknownError, UnexpectedResponseError
from camara_otp.sandbox import Fault
from tests.cli.conftest import TOKEN

NUMBER = "+346661113334"


def test_a_code_is_sent_and_checked(cli, ready, sandbox):
    """Only the id goes to standard output, so that a script can read it."""
    sent = cli("send", NUMBER, "--message", "Your code: {{code}}")
    assert (sent.code, sent.out.strip()) == (0, sandbox.messages()[0].authentication_id)
    assert sandbox.messages()[0].text.startswith("Your code: ")

    checked = cli("validate", sent.out.strip(), "--code", sandbox.last_code(NUMBER))
    assert (checked.code, checked.out) == (0, "✓ The code is right.\n")


@pytest.mark.parametrize(
    ("arguments", "shown", "hidden"),
    [
        (["send", "+447700900001"], "The number is not this operator's.", "never issued"),
        (["validate", "an-id", "--code", "AJY3"], "The authenticationId was never issued.", "not this operator's"),
    ],
)
def test_the_cause_of_a_404_is_that_of_the_operation(cli, ready, arguments, shown, hidden):
    """NOT_FOUND has one meaning per operation."""
    ran = cli(*arguments)

    assert ran.code == Exit.REFUSED
    assert shown in " ".join(ran.err.split())
    assert hidden not in ran.err


def test_a_code_that_is_not_given_is_asked_for(cli, ready, sandbox):
    """It is not in the process list."""
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
        (["--base-url", "http://127.0.0.1:9", NUMBER], None, Exit.NOT_SENT, "Calling again is safe"),
        (["--base-url", "http://api.example.com", NUMBER], None, Exit.USAGE, "base_url"),
        (["--api-path", "/elsewhere", NUMBER], None, Exit.REFUSED, "NOT_FOUND"),
        (["--profile", "nowhere", NUMBER], None, Exit.USAGE, "profile nowhere: is not in"),
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


def test_an_error_in_a_narrow_window_is_indented_and_keeps_addresses_whole(cli, ready, sandbox, monkeypatch):
    address = f"https://api.example.com/{'documentation/' * 5}"
    monkeypatch.setenv("COLUMNS", "60")
    sandbox.add_fault(
        Fault(status=403, body=json.dumps({"status": 403, "code": "X", "message": f"Read {address} now"}))
    )

    first, *others = cli("send", NUMBER).err.splitlines()

    assert first == "✗ HTTP 403 X"
    assert [line for line in others if not line.startswith("  ") or line != line.rstrip()] == []
    assert [line for line in others if len(line) > 60 and address not in line] == []
    assert address in "\n".join(others)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutcomeUnknownError("x"), Exit.UNKNOWN),
        (UnexpectedResponseError("x", status=200), Exit.UNKNOWN),
        (OTPError("x"), Exit.UNKNOWN),
    ],
)
def test_what_is_not_known_to_be_harmless_is_unknown(error, code):
    assert exit_code(error) == code


def test_what_is_missing_is_named(cli, monkeypatch, url):
    """The message names the ways to set it."""
    no_url = cli("send", NUMBER)
    assert (no_url.code, "--base-url, set CAMARA_BASE_URL" in no_url.err) == (2, True)

    no_token = cli("send", "--base-url", url, NUMBER)
    assert (no_token.code, "CAMARA_BEARER_TOKEN" in no_token.err) == (2, True)


def test_attempts_are_shown_on_request(cli, ready, sandbox):
    """With their correlators, and without secrets."""
    ran = cli("send", NUMBER, "--verbose")

    assert "attempt 1: HTTP 200" in ran.err
    assert ran.err.startswith("  send_code")
    assert all(line == line.rstrip() for line in ran.err.splitlines())
    assert sandbox.messages()[0].x_correlator in ran.err
    assert NUMBER not in ran.err


def test_a_second_send_to_a_number_needs_a_yes(cli, ready, sandbox, monkeypatch, home):
    """It would invalidate the first code; other numbers and old sends do not count."""
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
    """The question comes before another code invalidates the first."""
    cli("send", NUMBER)

    ran = cli("send", NUMBER, stdin=answer)

    assert ran.code == code
    assert "Sending another invalidates it" in ran.err
    assert sandbox.sent_count == texts


@pytest.mark.parametrize("memory", ["", "[]", "{}", '{"salt": 1, "sends": {}}', '{"salt": "k", "sends": {"a": "b"}}'])
def test_a_broken_memory_is_no_obstacle(cli, ready, home, memory):
    """The file is written again."""
    path = home / "XDG_STATE_HOME" / "camara-otp" / "sends.json"
    path.parent.mkdir(parents=True)
    path.write_text(memory, "utf-8")

    assert cli("send", NUMBER).code == 0
    assert cli("send", NUMBER).code == Exit.USAGE


def test_an_empty_text_is_not_replaced_by_another(cli, ready, sandbox):
    """An empty message is rejected, not replaced by the default."""
    assert cli("send", NUMBER, "--message", "").code == Exit.USAGE
    assert sandbox.sent_count == 0


def test_bytes_that_are_not_utf_8_are_refused_as_a_number(cli, ready):
    """An argument may have any bytes, also if the log of sends is searched for it."""
    cli("send", NUMBER)

    ran = cli("send", "\udcff")

    assert (ran.code, "phone_number" in ran.err) == (Exit.USAGE, True)


def test_a_memory_that_cannot_be_written_is_no_obstacle(cli, ready, home):
    (home / "XDG_STATE_HOME").write_text("a file where a folder should be", "utf-8")

    assert cli("send", NUMBER).code == 0


def test_an_unknown_outcome_counts_as_a_send(cli, ready, sandbox):
    """An SMS may have been sent."""
    sandbox.add_fault(Fault(drop="after", times=1))
    assert cli("send", NUMBER).code == Exit.UNKNOWN

    assert cli("send", NUMBER).code == Exit.USAGE


def test_a_process_that_is_killed_half_way_counts_as_a_send(cli, ready, monkeypatch):
    """The send is recorded before the request."""

    def killed(*_, **__):
        raise SystemExit(137)

    with monkeypatch.context() as patch:
        patch.setattr("camara_otp.OTPClient.send_code", killed)
        cli("send", NUMBER)

    assert cli("send", NUMBER).code == Exit.USAGE


def test_a_refused_send_does_not_count(cli, ready, sandbox):
    """It invalidates no code; an earlier send still counts."""
    sandbox.add_fault(Fault(status=403, times=1))
    assert cli("send", NUMBER).code == Exit.REFUSED
    assert cli("send", NUMBER).code == Exit.DONE

    sandbox.add_fault(Fault(status=403, times=1))
    assert cli("send", NUMBER, "--yes").code == Exit.REFUSED
    assert cli("send", NUMBER).code == Exit.USAGE
    assert sandbox.sent_count == 1


def record_a_send(operator):
    """Record a send to the number, as another process does."""
    log = recent_sends.open_log(operator, NUMBER)
    log.replace(log.last, (time.time(), ""))


def test_a_refused_send_removes_no_other(cli, ready, sandbox, monkeypatch):
    """Another process recorded a send to the number during the call."""
    sandbox.add_fault(Fault(status=403, times=1))
    send_code = OTPClient.send_code

    def late(*arguments):
        record_a_send(ready)
        return send_code(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("camara_otp.OTPClient.send_code", late)
        assert cli("send", NUMBER).code == Exit.REFUSED
    assert cli("send", NUMBER).code == Exit.USAGE
    assert sandbox.sent_count == 0


def test_a_refused_send_keeps_one_made_during_the_question(cli, ready, sandbox, monkeypatch):
    """Another process may send while the question is open."""
    monkeypatch.setattr("camara_otp.cli.recent_sends.WINDOW", 3600.0)
    record_a_send(ready)
    before = recent_sends.open_log(ready, NUMBER).last
    sandbox.add_fault(Fault(status=403, times=1))

    def answer(*_, **__):
        record_a_send(ready)
        return "y"

    with monkeypatch.context() as patch:
        patch.setattr("camara_otp.cli.prompts.at_terminal", lambda: True)
        patch.setattr("camara_otp.cli.prompts._answer", answer)
        assert cli("send", NUMBER).code == Exit.REFUSED
    assert cli("send", NUMBER).code == Exit.USAGE
    assert recent_sends.open_log(ready, NUMBER).last > before


def test_a_log_that_was_deleted_stays_deleted(home):
    """Removing a send from it does not create the file."""
    log = recent_sends.open_log("https://api.example.com", NUMBER)

    log.replace((1.0, ""), None)
    recent_sends.remove_used("an-id")

    assert list(home.rglob("*.json")) == []


def test_the_code_of_a_second_send_that_is_used_up_needs_no_question(cli, ready, sandbox):
    cli("send", NUMBER)
    sent = cli("send", NUMBER, "--yes").out.strip()

    assert cli("validate", sent, "--code", sandbox.last_code(NUMBER)).code == Exit.DONE
    assert cli("send", NUMBER).code == Exit.DONE


@pytest.mark.parametrize("codes", ["right", "three wrong ones", "asked for by verify"])
def test_a_code_that_is_used_up_needs_no_question(cli, ready, sandbox, monkeypatch, codes):
    """Another send invalidates nothing."""
    if codes == "asked for by verify":
        monkeypatch.setattr("camara_otp.cli.prompts._answer", lambda *_, **__: sandbox.last_code(NUMBER))
        assert cli("verify", NUMBER).code == Exit.DONE
    else:
        sent = cli("send", NUMBER).out.strip()
        assert cli("send", NUMBER).code == Exit.USAGE
        for code in [sandbox.last_code(NUMBER)] if codes == "right" else ["0x", "0x", "0x"]:
            cli("validate", sent, "--code", code)

    assert cli("send", NUMBER).code == Exit.DONE
    assert cli("send", NUMBER).code == Exit.USAGE


def test_a_wrong_code_leaves_the_question(cli, ready, sandbox):
    """Attempts are left, so another send would invalidate the code."""
    cli("validate", cli("send", NUMBER).out.strip(), "--code", "0x")

    assert cli("send", NUMBER).code == Exit.USAGE


def test_the_log_does_not_tell_numbers_apart(cli, ready, home):
    """Of a million numbers, about 15 have the same digest, so the file does not prove a send to any of them."""
    assert cli("send", NUMBER).code == 0
    content = json.loads(next((home / "XDG_STATE_HOME").rglob("*.json")).read_text("utf-8"))

    assert set(content) == {"salt", "sends"}
    assert [len(digest) for digest in content["sends"]] == [4]


@pytest.mark.parametrize(("command", "value"), [("send", "NUMBER"), ("validate", "ID"), ("verify", "NUMBER")])
def test_help_shows_the_order_of_the_arguments_and_the_variables(cli, command, value):
    shown = cli(command, "--help").out

    assert f"camara-otp {command} [OPERATOR OPTIONS] {value} [OPTIONS]" in shown
    assert "[CAMARA_BASE_URL]" in shown
    assert "[CAMARA_BEARER_TOKEN]" in shown


@pytest.mark.parametrize("command", ["validate", "verify"])
def test_help_never_ends_with_the_code_of_a_verified_number(cli, ready, sandbox, command):
    """If a script passes `-h` as a code, the help must not look like HTTP 204."""
    for arguments in (["-h"], ["--help"], ["an-id", "-h"], ["an-id", "--json", "--help"]):
        ran = cli(command, *arguments)
        assert (ran.code, "Usage:" in ran.out) == (Exit.USAGE, True)


@pytest.mark.parametrize("code", ["-h", "--help", "--base-url=http://127.0.0.1:9", "--version", "-1", "--"])
def test_a_code_is_a_value_whatever_it_looks_like(cli, ready, sandbox, code):
    """With --code or on standard input, it reaches the operator, or is rejected as a code."""
    sent = cli("send", NUMBER).out.strip()

    for ran in (cli("validate", sent, "--code", code), cli("validate", sent, stdin=f"{code}\n")):
        assert ran.code in (Exit.REFUSED, Exit.USAGE)
        assert "InvalidOTP" in ran.err or "INVALID_OTP" in ran.err or "code" in ran.err
        assert "Usage:" not in ran.out


def test_a_code_does_not_change_the_form_of_the_output(cli, ready):
    ran = cli("validate", "an-id", "--code", "--json")

    assert (ran.code, ran.out) == (Exit.REFUSED, "")


OTHER_HOST = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "option",
    [
        [f"--base-url={OTHER_HOST}"],
        ["--base-url", OTHER_HOST],
        ["--profile=other"],
        ["--api-path=/x"],
        ["--token-file=/x"],
        ["--token-stdin"],
        ["--insecure-token-argument=x"],
    ],
)
@pytest.mark.parametrize("command", ["send", "verify", "validate"])
def test_an_option_after_the_value_cannot_send_the_token_elsewhere(cli, ready, profiles, sandbox, command, option):
    """A script may pass on what a stranger typed; before the value, the option counts."""
    profiles(f'[other]\nbase_url = "{OTHER_HOST}"\n')

    ran = cli(command, NUMBER, *option, "--json", stdin="1234\n")

    assert (ran.code, ran.json["error"]["class"]) == (Exit.USAGE, "UsageError")
    assert f"{option[0].partition('=')[0]} must come before" in ran.json["error"]["reason"]
    assert sandbox.calls() == []
    assert f"{option[0].partition('=')[0]} must come" not in cli(command, *option, NUMBER, "--json", stdin="t\n1\n").out


@pytest.mark.parametrize("value", [f"--base-url={OTHER_HOST}", "--json", "-v", "-abc", "--base-url"])
@pytest.mark.parametrize("more", [[], ["--code", "1234"], ["1234"]])
def test_a_value_that_begins_with_a_hyphen_reaches_no_other_host(cli, ready, sandbox, value, more):
    """It is a value after `--` only."""
    ran = cli("validate", value, *more, stdin="1234\n")

    assert ran.code in ((Exit.USAGE, Exit.REFUSED) if value in ("--json", "-v") else (Exit.USAGE, Exit.NOT_SENT))


def test_an_id_that_begins_with_a_hyphen_is_a_value_after_two(cli, ready, sandbox):
    sandbox.add_fault(Fault(status=200, body='{"authenticationId": "--base-url=http://127.0.0.1:9"}', times=1))
    sent = cli("send", NUMBER).out.strip()

    assert cli("validate", "--code", "1234", "--", sent).code == Exit.REFUSED
    assert sandbox.calls()[-1].operation == "validate-code"


def test_an_option_that_is_mistyped_is_told_with_the_right_one(cli, ready):
    ran = cli("send", NUMBER, "--mesage", "{{code}}")

    assert (ran.code, "did you mean --message?" in " ".join(ran.err.split())) == (Exit.USAGE, True)


@pytest.mark.parametrize("command", ["validate", "verify"])
@pytest.mark.parametrize("surplus", ["739164", "--73916", "-7"])
def test_a_code_is_no_argument_and_is_not_repeated(cli, ready, command, surplus):
    """The process list shows arguments to every user, and a log shows messages."""
    ran = cli(command, "an-id", surplus)

    assert (ran.code, surplus in ran.err + ran.out) == (Exit.USAGE, False)
    assert "--code" in ran.err


class TestVerify:
    """Send, ask, check: in one go."""

    def code(self, monkeypatch, sandbox, *answers):
        """Answer the prompts in turn; a function is called at its turn."""
        turn = iter(answers)

        def prompt(text, **_):
            answer = next(turn)
            return answer() if callable(answer) else answer

        monkeypatch.setattr("camara_otp.cli.prompts._answer", prompt)

    def test_the_right_code_verifies(self, cli, ready, sandbox, monkeypatch):
        """It verifies after wrong and too long codes, each of which may be corrected."""
        self.code(monkeypatch, sandbox, "000000x", "far too long for a code", lambda: sandbox.last_code(NUMBER))

        ran = cli("verify", NUMBER)

        assert (ran.code, ran.out) == (0, "✓ The number is verified.\n")
        assert "Try again" in ran.err

    def test_a_person_may_have_another_code(self, cli, ready, sandbox, monkeypatch, person):
        """A new code is offered when the verification is closed."""
        self.code(monkeypatch, sandbox, "0x", "0x", "0x", "y", lambda: sandbox.last_code(NUMBER))

        ran = cli("verify", NUMBER)

        assert ran.code == 0
        assert ran.err.count("✓ Accepted for sending.") == 2
        assert sandbox.sent_count == 2

    def test_a_person_may_have_had_enough(self, cli, ready, sandbox, monkeypatch, person):
        """If the user declines, the refusal is reported, and one SMS was sent."""
        self.code(monkeypatch, sandbox, "0x", "0x", "0x", "n")

        ran = cli("verify", NUMBER)

        assert ran.code == Exit.REFUSED
        assert "No other code was sent." in ran.err
        assert sandbox.sent_count == 1

    def test_a_script_gets_the_refusal(self, cli, ready, sandbox):
        """It ends when its codes are used up, or when the operator closes the verification."""
        ran = cli("verify", NUMBER, "--json", stdin="0x\n")
        assert (ran.code, ran.json["error"]["class"]) == (Exit.REFUSED, "InvalidOTPError")

        ran = cli("verify", "+346661113399", "--json", stdin="0x\n0x\n0x\n")
        assert (ran.code, ran.json["error"]["class"]) == (Exit.REFUSED, "VerificationFailedError")

    def test_no_answer_ends_it(self, cli, ready, sandbox):
        assert cli("verify", NUMBER, stdin="").code == Exit.STOPPED

    def test_any_other_failure_ends_it(self, cli, ready, sandbox):
        """The exit code is that of the failure."""
        sandbox.add_fault(Fault(code="UNAVAILABLE", operation="validate-code"))

        assert cli("verify", NUMBER, stdin="1234\n").code == Exit.UNKNOWN


@pytest.mark.parametrize("piped", [True, False])
def test_validate_asks_for_the_code_at_a_terminal_only(cli, ready, sandbox, monkeypatch, piped):
    monkeypatch.setattr("camara_otp.cli.prompts.at_terminal", lambda: not piped)
    sent = cli("send", NUMBER, "--yes", "--json").json["authenticationId"]

    ran = cli("validate", sent, stdin=sandbox.messages()[0].code + "\n")

    assert (ran.code, "Code: " in ran.err) == (0, not piped)


def test_stopping_while_sending_counts_as_a_send(cli, ready, monkeypatch):
    """An SMS may have been sent."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("camara_otp.OTPClient.send_code", stop)
        ran = cli("send", NUMBER)
    assert ran.code == Exit.STOPPED
    assert "an SMS may have been sent" in ran.err

    assert cli("send", NUMBER).code == Exit.USAGE


def test_the_sandbox_is_at_hand(cli):
    """It has its own help and its own errors."""
    assert cli("sandbox", "--port", "nonsense").code == 2
