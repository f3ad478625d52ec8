"""The command line as a process: standard input, interruption, broken streams, bugs, and hostile strings."""

import builtins
import errno
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import NamedTuple

import pytest

from camara_otp.cli import main
from camara_otp.cli.exit_codes import Exit
from camara_otp.sandbox import Fault
from tests.cli.conftest import TOKEN

NUMBER = "+346661114400"
COMMAND = [sys.executable, "-m", "camara_otp"]
posix = pytest.mark.skipif(os.name != "posix", reason="signals and closed descriptors as POSIX has them")


def run(*arguments, stdin=None, **options):
    """Run a command in a process of its own; by default it has the null device to read from."""
    given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [*COMMAND, *arguments], **given, capture_output=True, text=True, timeout=60, check=False, **options
    )


class Full(io.StringIO):
    """A standard output on a disk that is full."""

    def write(self, text):
        return len(text)

    def flush(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def call(monkeypatch, capsys):
    """Return a function that calls the command line in this process as its entry point does."""

    def called(*arguments):
        monkeypatch.setattr("sys.argv", ["camara-otp", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return Called(caught.value.code, *capsys.readouterr())

    return called


class Called(NamedTuple):
    """The exit code and the outputs of a command."""

    code: int
    out: str
    err: str


@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize("command", [["verify", NUMBER], ["validate", "an-id"]])
def test_nothing_is_sent_where_no_code_can_ever_be_given(ready, sandbox, command, as_json):
    """For example under cron."""
    ran = run(*command, *as_json)

    assert ran.returncode == Exit.USAGE
    assert "standard input is closed" in ran.stdout + ran.stderr
    assert sandbox.sent_count == 0
    if as_json:
        assert json.loads(ran.stdout)["error"]["exitCode"] == Exit.USAGE


@posix
def test_a_closed_standard_input_is_the_same(ready, sandbox):
    """File descriptor 0 may be closed."""
    ran = run("verify", NUMBER, preexec_fn=lambda: os.close(0))

    assert ran.returncode == Exit.USAGE
    assert "standard input is closed" in ran.stderr
    assert sandbox.sent_count == 0


def test_an_input_that_ends_too_early_leaves_the_id_to_go_on_with(ready, sandbox):
    """The SMS was sent; a script can still check its code."""
    ran = run("verify", NUMBER, "--json", stdin="")
    error = json.loads(ran.stdout)["error"]

    assert (ran.returncode, error["exitCode"], error["class"]) == (Exit.STOPPED, Exit.STOPPED, "Stopped")
    assert not error["outcomeUnknown"]
    checked = run("validate", error["authenticationId"], "--code", sandbox.last_code(NUMBER))
    assert checked.returncode == 0


@pytest.mark.parametrize(("typed", "kind"), [("0x\n", "InvalidOTPError"), ("x" * 11 + "\n", "RequestValidationError")])
def test_the_last_refusal_comes_with_the_id(ready, typed, kind):
    """Either the operator refused, or the code could not be sent."""
    ran = run("verify", NUMBER, "--json", stdin=typed)
    error = json.loads(ran.stdout)["error"]

    assert error["class"] == kind
    assert error["authenticationId"]


def test_a_person_is_told_how_to_go_on(ready):
    """Otherwise the id would be lost."""
    ran = run("verify", NUMBER, stdin="")

    assert ran.returncode == Exit.STOPPED
    assert "Standard input ended" in ran.stderr
    assert "camara-otp validate " in ran.stderr


def test_a_token_and_a_code_share_standard_input(monkeypatch, url, sandbox):
    """The first line is the token; the next ones are codes."""
    monkeypatch.setenv("CAMARA_BASE_URL", url)
    monkeypatch.delenv("CAMARA_BEARER_TOKEN", raising=False)
    sent = run("send", "--token-stdin", NUMBER, stdin=f"{TOKEN}\n")
    assert sent.returncode == 0

    ran = run("validate", "--token-stdin", sent.stdout.strip(), stdin=f"{TOKEN}\n{sandbox.last_code(NUMBER)}\n")
    assert (ran.returncode, "The code is right.\n" in ran.stdout) == (0, True)

    wrong = run("verify", "--token-stdin", "+346661114401", "--json", stdin=f"{TOKEN}\n0x\n")
    assert json.loads(wrong.stdout)["error"]["class"] == "InvalidOTPError"


def test_a_check_takes_its_token_from_standard_input(monkeypatch, url):
    monkeypatch.delenv("CAMARA_BEARER_TOKEN", raising=False)
    ran = run("check", url, "--no-sms", "--token-stdin", stdin=f"{TOKEN}\n")

    assert (ran.returncode, "PASS" in ran.stdout or "pass" in ran.stdout) == (Exit.NOT_JUDGED, True)


def test_what_is_piped_is_not_broken_at_80_columns(ready, monkeypatch):
    """So codes and tags can be searched."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert "AUTHENTICATION_REQUIRED" in run("errors").stdout
    assert (
        "OTPvalidationAPI_400.8_validate_code_verification_expired_scenario_3"
        in run("check", ready, "--all", "--yes").stdout
    )


@pytest.mark.parametrize("stdin", [None, "", "\n"])
def test_a_missing_token_is_said(monkeypatch, url, stdin):
    """Nothing is sent without one."""
    monkeypatch.setenv("CAMARA_BASE_URL", url)
    ran = run("send", "--token-stdin", NUMBER, stdin=stdin)

    assert (ran.returncode, "contains no token" in ran.stderr) == (Exit.USAGE, True)


def test_input_that_is_not_utf_8_is_refused(ready, monkeypatch, sandbox):
    """A binary file in place of the token or the code."""
    monkeypatch.setenv("PYTHONUTF8", "1")
    for arguments in (["send", "--token-stdin", NUMBER], ["validate", "an-id"]):
        ran = subprocess.run([*COMMAND, *arguments], input=b"\xff\xfe\n", capture_output=True, timeout=60, check=False)
        assert ran.returncode == Exit.USAGE
        assert b"Traceback" not in ran.stderr
    assert sandbox.sent_count == 0


def stopped(*arguments, when, stdin=subprocess.PIPE):
    """Run a command, press Ctrl-C once standard error fulfills a condition, and return exit code and outputs."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Tests may run with SIGINT ignored, as under nohup, which a process would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        end, err = time.monotonic() + 60, b""
        try:
            while not when(err.decode()) and time.monotonic() < end and process.poll() is None:
                if select.select([process.stderr], [], [], 0.02)[0]:
                    err += os.read(process.stderr.fileno(), 65_536)
            process.send_signal(signal.SIGINT)
            out, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out.decode(), (err + rest).decode()


@pytest.fixture
def silent_operator():
    """Listen without a response; return the URL and an event that is set once a request has arrived."""
    arrived = threading.Event()

    def accept():
        with suppress(OSError), listener.accept()[0] as connection:
            while connection.recv(65_536):
                arrived.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", arrived
        thread.join(10)


@posix
@pytest.mark.parametrize("operation", ["send-code", "validate-code"])
def test_a_stop_in_the_middle_says_what_the_operator_may_have_done(ready, silent_operator, operation):
    """In the terminal and in JSON."""
    url, arrived = silent_operator
    command = ["send"] if operation == "send-code" else ["validate", "--code", "1234"]
    words = {"send-code": "an SMS may have been sent", "validate-code": "does not count as verified"}[operation]

    code, out, err = stopped(*command, "--base-url", url, NUMBER, "--json", when=lambda _: arrived.is_set())

    error = json.loads(out)["error"]
    assert (code, error["exitCode"], error["outcomeUnknown"]) == (Exit.STOPPED, Exit.STOPPED, True)
    assert words in error["reason"]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "url", ["http://[", "http://x:abc", "http://x:99999", "http://a b", "http://ex ample.com", "http://ü.example", "x"]
)
def test_an_address_that_is_none_is_refused(call, url, monkeypatch):
    """There is no traceback, and the operator is not reported as unreachable."""
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", TOKEN)
    ran = call("check", url, "--no-sms")

    assert ran.code == Exit.USAGE
    assert "base_url" in ran.err
    assert "Traceback" not in ran.err


def test_a_fault_of_ours_has_an_exit_code_of_its_own(ready):
    """Otherwise a script would read it as the verdict about an operator."""
    program = (
        "import sys, camara_otp, camara_otp.cli as cli\n"
        "def fail(*_, **__): raise ZeroDivisionError\n"
        "camara_otp.OTPClient.send_code = fail\n"
        f"sys.argv = ['camara-otp', 'send', '{NUMBER}']\n"
        "cli.main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == Exit.FAULT
    assert "ZeroDivisionError" in ran.stderr


@pytest.mark.parametrize(
    "line",
    [
        "send --json",
        "send +34600000000 --json --nonsense",
        "send +34600000000 --json --timeout soon",
        "errors A B --json",
        "check --json --max-texts some",
        "nonsense --json",
        "--json send",
    ],
)
def test_a_wrong_command_line_is_json_for_scripts(call, line):
    ran = call(*line.split())

    error = json.loads(ran.out)["error"]
    assert (ran.code, error["class"], error["exitCode"]) == (Exit.USAGE, "UsageError", Exit.USAGE)
    assert (ran.err, error["outcomeUnknown"]) == ("", False)


def test_a_wrong_command_line_is_told_to_people(call):
    """The error names `--help`."""
    ran = call("send")

    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "NUMBER" in ran.err
    assert "camara-otp send --help" in ran.err


def test_a_fault_of_ours_is_json_for_scripts(call, ready, monkeypatch):
    """The traceback is on standard error."""
    monkeypatch.setattr("camara_otp.OTPClient.send_code", lambda *_, **__: 1 / 0)

    ran = call("send", NUMBER, "--json")

    error = json.loads(ran.out)["error"]
    assert (ran.code, error["class"], error["exitCode"]) == (Exit.FAULT, "ZeroDivisionError", Exit.FAULT)
    assert error["outcomeUnknown"]
    assert "Traceback" in ran.err


@pytest.mark.parametrize("line", ["--version", "sandbox --help", "sandbox --nonsense"])
def test_a_command_ends_with_its_own_code(call, line):
    """Also if it ends the process itself."""
    assert call(*line.split()).code == (Exit.USAGE if "nonsense" in line else Exit.DONE)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, EOFError])
def test_a_stop_between_two_steps_is_a_stop(call, ready, monkeypatch, raised):
    """There is no traceback, and the exit code is not that of deviations."""

    def stop(*_, **__):
        raise raised

    monkeypatch.setattr("camara_otp.cli.options.resolve", stop)

    for options in ([], ["--json"]):
        ran = call("config", *options)
        assert (ran.code, "Traceback" in ran.err) == (Exit.STOPPED, False)
    assert json.loads(ran.out)["error"]["class"] == "Stopped"


def test_a_stop_while_a_token_is_fetched_is_told_to_scripts(call, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("camara_otp.cli.token.token_or_provider", stop)

    ran = call("token", "--json")

    assert (ran.code, json.loads(ran.out)["error"]["class"]) == (Exit.STOPPED, "Stopped")


def test_a_stop_while_starting_is_a_stop(monkeypatch):
    """Imports take some time."""
    load = builtins.__import__

    def stop(name, *arguments, **options):
        if name == "camara_otp.cli.app":
            raise KeyboardInterrupt
        return load(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "camara_otp.cli.app")
    monkeypatch.setattr("builtins.__import__", stop)

    with pytest.raises(SystemExit) as caught:
        main()

    assert caught.value.code == Exit.STOPPED


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_an_id_that_cannot_be_written_is_told_all_the_same(call, ready, sandbox, monkeypatch, as_json):
    """The SMS was sent, so the id must not be lost if the disk is full."""
    monkeypatch.setattr("sys.stdout", Full())

    ran = call("send", NUMBER, *as_json)

    assert ran.code == Exit.UNWRITTEN
    assert sandbox.messages()[0].authentication_id in ran.err
    assert "No space left" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("line", ["errors --json", "errors", "errors NONSENSE --json", "send --json", "--help"])
def test_a_full_disk_ends_any_command(call, monkeypatch, line):
    """With a message and an exit code of its own."""
    monkeypatch.setattr("sys.stdout", Full())

    ran = call(*line.split())

    assert (ran.code, "No space left" in ran.err, "Traceback" in ran.err) == (Exit.UNWRITTEN, True, False)


@posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["errors", "--help", f"send {NUMBER}"])
def test_a_closed_pipe_is_no_verdict_about_an_operator(ready, line, unbuffered):
    """`camara-otp check ... | head -1` must not look like a check that found deviations."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = subprocess.run(
            [*COMMAND, *line.split()], stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE, text=True,
            timeout=60, check=False, env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    finally:
        os.close(writer)

    assert ran.returncode == Exit.UNWRITTEN
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr


@posix
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_an_id_that_has_nowhere_to_go_is_told_all_the_same(ready, sandbox, as_json):
    """Standard output may be closed from the start, as under some service managers."""
    ran = run("send", NUMBER, *as_json, preexec_fn=lambda: os.close(1))

    assert (ran.returncode, ran.stderr.count("Traceback")) == (Exit.UNWRITTEN, 0)
    assert sandbox.messages()[0].authentication_id in ran.stderr


def closed():
    """Close standard error."""
    os.close(2)


def full():
    """Connect standard error to a full disk."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)


def broken():
    """Connect standard error to a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 2)


@posix
@pytest.mark.parametrize("standard_error", [closed, full, broken])
@pytest.mark.parametrize(
    ("options", "unbuffered"),
    [([], ""), ([], "1"), (["--json"], ""), (["--json", "--verbose"], ""), (["--verbose"], "")],
)
def test_no_failure_of_standard_error_ends_a_command(ready, sandbox, standard_error, options, unbuffered):
    """The flush of the interpreter at exit must not set exit code 120 either."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ran = run("send", NUMBER, *options, preexec_fn=standard_error, env=environment)

    assert ran.returncode == Exit.DONE
    assert sandbox.messages()[0].authentication_id in ran.stdout


def test_streams_that_are_not_there_are_left_so(call, monkeypatch):
    monkeypatch.setattr("sys.stdout", None)

    assert call("errors", "--json").code == Exit.UNWRITTEN
    assert sys.stdout is None


@posix
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_command_without_any_stream_is_no_verdict_about_an_operator(ready, sandbox, encoding):
    """The exit code must not be that of deviations."""

    def close():
        os.close(1)
        os.close(2)

    sent = run("send", NUMBER, preexec_fn=close, env={**os.environ, "PYTHONIOENCODING": encoding})
    wrong = run("nonsense", preexec_fn=close, env={**os.environ, "PYTHONIOENCODING": encoding})

    assert (sent.returncode, wrong.returncode) == (Exit.UNWRITTEN, Exit.USAGE)
    assert sandbox.sent_count == 1


@posix
def test_a_narrow_locale_bypasses_no_guard(ready):
    """With an ASCII locale, libraries write bytes to the stream directly."""
    for arguments, code in ((["nonsense"], Exit.USAGE), (["errors"], Exit.DONE)):
        ran = run(*arguments, preexec_fn=full, env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert ran.returncode == code


def test_a_last_word_that_cannot_be_written_leaves_the_id(call, ready, sandbox, monkeypatch):
    """The JSON would have contained it."""
    monkeypatch.setattr("sys.stdin", io.StringIO("0x\n"))
    monkeypatch.setattr("sys.stdout", Full())

    ran = call("verify", NUMBER, "--json")

    assert ran.code == Exit.UNWRITTEN
    assert sandbox.messages()[0].authentication_id in ran.err


class Gone(io.StringIO):
    """A terminal that was closed."""

    def readline(self, _=-1):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_terminal_that_goes_away_is_the_end_of_the_input(call, ready, sandbox, monkeypatch):
    """The id is printed, as after the end of the input."""
    monkeypatch.setattr("sys.stdin", Gone())

    ran = call("verify", NUMBER, "--json")

    error = json.loads(ran.out)["error"]
    assert (ran.code, error["class"]) == (Exit.STOPPED, "Stopped")
    assert error["authenticationId"] == sandbox.messages()[0].authentication_id


@pytest.mark.parametrize("arguments", [["config"], ["check", "--no-sms"]])
def test_a_fault_of_the_disk_elsewhere_is_no_closed_pipe(call, ready, monkeypatch, arguments):
    """The exit code is that of a bug, because standard output works."""

    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("camara_otp.cli.options.resolve", fail)

    ran = call(*arguments, "--json")

    assert (ran.code, json.loads(ran.out)["error"]["exitCode"]) == (Exit.FAULT, Exit.FAULT)


def test_a_narrow_locale_ends_no_command(ready, sandbox):
    """The check mark is not in ASCII."""
    sent = run("send", NUMBER)
    code = sandbox.last_code(NUMBER)

    ran = run("validate", sent.stdout.strip(), "--code", code, env={**os.environ, "PYTHONIOENCODING": "ascii"})

    assert (ran.returncode, "The code is right." in ran.stdout) == (Exit.DONE, True)


HOSTILE = "\x1b[2J$(touch x);\u202e[red]"


def hostile_id(sandbox, text):
    """Return an id with characters that a terminal, a shell or Rich would interpret."""
    sandbox.add_fault(Fault(status=200, body=json.dumps({"authenticationId": text})))


def test_a_hostile_id_is_shown_to_a_terminal_in_print(call, ready, sandbox, monkeypatch):
    """A terminal would interpret its control characters."""
    hostile_id(sandbox, HOSTILE)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    ran = call("send", NUMBER)

    assert ran.out == "\ufffd[2J$(touch x);\ufffd[red]\n"


def test_a_script_gets_an_id_byte_for_byte(call, ready, sandbox):
    """Otherwise the operator would not know the id."""
    text = "a\tb  [/]\x1f "
    hostile_id(sandbox, text)

    assert call("send", NUMBER).out == f"{text}\n"


@pytest.mark.parametrize(
    ("text", "shown"), [(HOSTILE, "'\ufffd[2J$(touch x);\ufffd[red]'"), ("-v", "-- -v"), ("an-id", "an-id")]
)
def test_the_command_to_go_on_with_can_be_pasted(cli, ready, sandbox, monkeypatch, text, shown):
    """The shell does not run the id, the command does not read it as an option, and it is on one line."""
    monkeypatch.setenv("COLUMNS", "60")
    hostile_id(sandbox, text)

    ran = cli("verify", NUMBER, stdin="")

    assert ran.err.rstrip().endswith(f"camara-otp validate {shown}")


def test_what_others_write_is_not_read_as_markup(cli, profiles, monkeypatch):
    """The name of a profile or a value does not vanish, change colors, or end the command."""
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", TOKEN)
    profiles('["[/nothing]"]\nmessage = "[bold]{{code}}[/] [link=http://evil.example]x\\u001b[31m"\n')

    ran = cli("config", "--profile", "[/nothing]")

    assert ran.code == 0
    assert "[bold]{{code}}[/]" in ran.out
    assert "[link=http://evil.example]x" in ran.out
    assert "[/nothing]" in ran.out
    assert "\x1b" not in ran.out


def test_what_a_server_says_does_not_reach_the_terminal_raw(cli, ready, sandbox):
    """A terminal would interpret an escape sequence in a message."""
    body = {"status": 409, "code": "CONFLICT", "message": "\x1b[2Jgone [bold]x[/]"}
    sandbox.add_fault(Fault(status=409, body=json.dumps(body)))

    ran = cli("send", NUMBER)

    assert ran.code == Exit.REFUSED
    assert "[bold]x[/]" in ran.err
    assert "\x1b" not in ran.err


def test_json_is_in_ascii(cli, ready, sandbox):
    """Half a surrogate pair or an ASCII locale cannot break it."""
    sandbox.add_fault(Fault(status=409, body='{"status": 409, "code": "CONFLICT", "message": "caf\\u00e9 \\ud800"}'))

    ran = cli("send", NUMBER, "--json")

    assert ran.json["error"]["message"].startswith("café")
    assert ran.out.isascii()


def test_a_check_that_cannot_ask_sends_nothing(ready, sandbox, tmp_path):
    """The codes of its SMS could not be read."""
    file = tmp_path / "operator.toml"
    file.write_text('[numbers]\nreachable = ["+34600000125"]\n[read]\nhow = "ask"\n', "utf-8")
    ran = run("check", ready, "--settings", str(file), "--only", "*01_validate*", "--yes")

    assert (ran.returncode, sandbox.sent_count) == (Exit.USAGE, 0)
    assert "standard input is closed" in ran.stderr


@posix
def test_a_check_stopped_at_a_question_ends_at_once(ready, sandbox, tmp_path):
    """The read from the terminal cannot be cancelled."""
    import pty

    file = tmp_path / "operator.toml"
    file.write_text('[numbers]\nreachable = ["+34600000125"]\n[read]\nhow = "ask"\n', "utf-8")
    keyboard, terminal = pty.openpty()
    try:
        began = time.monotonic()
        command = ["check", ready, "--settings", str(file), "--only", "*01_validate*", "--yes"]
        code, _, err = stopped(*command, when=lambda shown: "(Enter" in shown, stdin=terminal)
    finally:
        os.close(keyboard)
        os.close(terminal)

    assert code == Exit.STOPPED
    assert time.monotonic() - began < 20
    assert "may still arrive" in err
    assert "Traceback" not in err
    assert "Fatal" not in err


@posix
def test_questions_at_a_terminal_leave_standard_output_to_the_result(ready, sandbox):
    """`ID=$(camara-otp send ...)` has only the id, even after a question."""
    import pty

    keyboard, terminal = pty.openpty()
    try:
        ids = [run_at(terminal, "send", NUMBER).stdout]
        os.write(keyboard, b"y\n")
        ids.append(run_at(terminal, "send", NUMBER).stdout)
        os.write(keyboard, f"\n\n{sandbox.last_code(NUMBER)}\n".encode())
        checked = run_at(terminal, "validate", ids[1].strip(), "--json")
    finally:
        os.close(keyboard)
        os.close(terminal)

    assert [len(printed) for printed in ids] == [37, 37]
    assert checked.stdout.startswith("{")
    assert json.loads(checked.stdout)["valid"]


def run_at(terminal, *arguments):
    """Run a command whose standard input is a terminal."""
    return subprocess.run(
        [*COMMAND, *arguments], stdin=terminal, capture_output=True, text=True, timeout=60, check=False
    )


@posix
def test_a_person_who_stops_at_the_question_is_told_how_to_go_on(ready, sandbox):
    """The SMS was sent, and its code can still be checked."""
    import pty

    keyboard, terminal = pty.openpty()
    try:
        code, out, err = stopped("verify", NUMBER, when=lambda shown: "Code:" in shown, stdin=terminal)
    finally:
        os.close(keyboard)
        os.close(terminal)

    assert (code, out) == (Exit.STOPPED, "")
    assert "camara-otp validate " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("line", ["--help", "errors 404", "send +34600000000", "check --help"])
def test_a_command_loads_nothing_that_others_need(ready, line):
    """Help and send start without the modules of `check` and its HTTP library."""
    program = (
        f"import sys; sys.argv = ['camara-otp', *{line.split()}]; import atexit; from camara_otp.cli import main\n"
        "atexit.register(lambda: print('loaded', *sys.modules))\n"
        "main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    loaded = ran.stdout.rpartition("loaded ")[2].split()
    assert "camara_otp.cli.check" in loaded
    assert not {"camara_otp.conformance", "camara_otp.sandbox", "uvicorn", "httpx"}.intersection(loaded)
