"""How a command ends: what it prints for people, what for scripts, and with which exit code."""

import json
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from getpass import getpass
from pathlib import Path
from typing import Any, NoReturn, TextIO

import attrs
import typer
from rich.console import Console, RenderableType
from rich.text import Text

from camara_otp import (
    APIError,
    ConfigurationError,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RequestValidationError,
    TokenError,
)
from camara_otp.cli.streams import recording_streams


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0
    DEVIATES = 1
    USAGE = 2
    REFUSED = 3
    NO_TOKEN = 4
    NOT_SENT = 5
    UNKNOWN = 6
    FAULT = 70
    UNWRITTEN = 74
    STOPPED = 130

    @property
    def meaning(self) -> str:
        """Return what the code says."""
        return _MEANINGS[self]


_MEANINGS = {
    Exit.DONE: "done",
    Exit.DEVIATES: "the check found deviations",
    Exit.USAGE: "wrong options or settings; nothing was sent",
    Exit.REFUSED: "the operator refused",
    Exit.NO_TOKEN: "no access token could be had; nothing was sent",
    Exit.NOT_SENT: "the operator cannot be reached; nothing was sent, calling again is safe",
    Exit.UNKNOWN: "the outcome is unknown: the operator may have acted",
    Exit.FAULT: "a fault of camara-otp itself, with a traceback; the operator may have acted",
    Exit.UNWRITTEN: "the output could not be written: a closed pipe, a full disk; the operator may have acted",
    Exit.STOPPED: "stopped, by the person or because standard input ended",
}


def run_command(command: Callable[..., Any], arguments: Sequence[str]) -> int:
    """Run a command and return the exit code; a script that asked for JSON gets JSON in every case.

    Args:
        command: the command, which reads the command line itself
        arguments: the command line
    """
    with recording_streams() as out:
        screen = Screen(as_json="--json" in arguments)
        code = _run(command, screen)
        if code == Exit.STOPPED and not out.has_written:
            # Stopped between two steps, which only Typer notices.
            screen.json_error("Stopped", "Stopped.", Exit.STOPPED)
        sys.stdout.flush()
        if out.failure:
            # Includes the id of a text that was sent: without it, its code cannot be checked.
            text = f"✗ standard output cannot be written: {out.failure}. Not written:\n{out.unwritten.rstrip()}"
            screen.err.print(plain(text))
            code = Exit.UNWRITTEN
    return code


def _run(command: Callable[..., Any], screen: "Screen") -> int:
    try:
        return int(command(standalone_mode=False) or Exit.DONE)
    except SystemExit as ended:
        return int(ended.code or Exit.DONE)
    except Exception as error:  # noqa: BLE001 - the exit code would otherwise be that of a check with deviations
        return _wrong(screen, error)


def _wrong(screen: "Screen", error: Exception) -> Exit:
    """Say what is wrong with the command line, or with us, and return the exit code."""
    if isinstance(error, typer.Abort):
        return Exit.STOPPED
    usage: Any = error  # of a class that Typer brings along under a name that differs between its versions
    if not hasattr(usage, "format_message"):
        traceback.print_exc()
        reason = "a fault of camara-otp itself, which standard error tells; the operator may have acted"
        screen.json_error(type(error).__name__, reason, Exit.FAULT, outcome_unknown=True)
        return Exit.FAULT
    if screen.as_json:
        screen.json_error("UsageError", usage.format_message(), Exit.USAGE)
    else:
        usage.show()
    return Exit.USAGE


def exit_code(error: OTPError) -> Exit:
    """Return the exit code of a failed call.

    Args:
        error: The failure.
    """
    if error.outcome_unknown or isinstance(error, OutcomeUnknownError):
        return Exit.UNKNOWN
    for kind, code in (
        (ConfigurationError, Exit.USAGE),
        (RequestValidationError, Exit.USAGE),
        (TokenError, Exit.NO_TOKEN),
        (RequestNotSentError, Exit.NOT_SENT),
        (APIError, Exit.REFUSED),
    ):
        if isinstance(error, kind):
            return code
    return Exit.UNKNOWN


def at_terminal() -> bool:
    """Tell whether there is a person to ask."""
    return can_answer() and sys.stdin.isatty()


def can_answer() -> bool:
    """Tell whether standard input may hold an answer: it is neither closed nor the null device."""
    stream: TextIO | None = sys.stdin  # None where there is no console at all
    if stream is None or stream.closed:
        return False
    try:
        return not os.path.samestat(os.fstat(stream.fileno()), Path(os.devnull).stat())
    except (OSError, ValueError):
        return True  # a stream without a file, as in a notebook


def plain(value: object) -> Text:
    """Return a text as it is shown: not read as markup, and without what a terminal would obey.

    Args:
        value: What to show.
    """
    return Text(_printable(str(value)))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def reason_of(error: OTPError) -> str:
    """Return the sentence in an error, without the facts about the call, which are shown by themselves.

    Args:
        error: The failure.
    """
    text = str(error)
    has_facts = error.operation or error.x_correlator or error.attempts > 1 or error.outcome_unknown
    return text.rpartition(" [")[0] if has_facts else text


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, soft_wrap=not stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        # Nobody's window ends at 80 columns here, and what is broken in two cannot be searched for.
        console.width = _PIPED
    return console


_PIPED = 200


@attrs.define
class Screen:
    """Where a command writes: results to standard output, everything else to standard error.

    Args:
        as_json: Whether results are JSON, for scripts.
        verbose: Whether each attempt is shown.
    """

    as_json: bool = False
    verbose: bool = False
    out: Console = attrs.field(factory=lambda: _console(stderr=False))
    err: Console = attrs.field(factory=lambda: _console(stderr=True))

    def __attrs_post_init__(self) -> None:
        """Show attempts where that is wanted."""
        if self.verbose:
            logger = logging.getLogger("camara_otp")
            logger.setLevel(logging.DEBUG)
            logger.handlers = [_OnScreen(self.err)]

    def result(self, values: dict[str, Any], text: str) -> None:
        """Print what came out.

        Args:
            values: For scripts.
            text: For people.
        """
        # A script gets an id byte for byte; a terminal would obey what a hostile one holds.
        if self.as_json:
            self.json(values)
        else:
            self._write(_printable(text) if self.out.is_terminal else text)

    def json(self, values: Any) -> None:
        """Print JSON, one value and a line feed.

        Args:
            values: what to print
        """
        # In ASCII, which every locale can write.
        self._write(json.dumps(values, indent=2))

    def _write(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def json_error(self, kind: str, reason: str, code: Exit, *, outcome_unknown: bool = False, **more: Any) -> None:
        """Tell a script, if one listens, of an end that is no `OTPError`.

        Args:
            kind: The name of what it is.
            reason: What happened.
            code: The exit code.
            outcome_unknown: Whether the operator may have acted.
            more: What else there is to say.
        """
        if self.as_json:
            told = {"class": kind, "reason": reason, **more, "outcomeUnknown": outcome_unknown, "exitCode": int(code)}
            self.json({"error": told})

    def note(self, text: str, style: str = "") -> None:
        """Say something to the person.

        Args:
            text: What to say.
            style: How it looks.
        """
        if not self.as_json:
            self.err.print(Text(_printable(text), style))

    def note_of(self, what: RenderableType) -> None:
        """Show the person something.

        Args:
            what: What Rich can show.
        """
        if not self.as_json:
            self.err.print(what)

    @contextmanager
    def waiting(self, text: str) -> Generator[None]:
        """Turn a spinner while something takes its time, if a person is watching.

        Args:
            text: What takes its time.
        """
        if self.as_json or not self.err.is_terminal:
            yield
            return
        with self.err.status(text):
            yield

    def failed(self, error: OTPError, *, authentication_id: str | None = None) -> NoReturn:
        """Say what went wrong and end with the exit code that fits.

        Args:
            error: What went wrong.
            authentication_id: The verification that was begun, if a script can go on with it.
        """
        code = exit_code(error)
        if self.as_json:
            self.json({"error": {**_as_table(error, code), **_begun(authentication_id)}})
        else:
            self._explain(error)
        raise typer.Exit(code)

    def _explain(self, error: OTPError) -> None:
        cause, remedy = error.cause, error.remedy
        text = Text()
        if isinstance(error, APIError):
            text.append(f"✗ HTTP {error.status}{f' {error.code}' if error.code else ''}", "bold red")
            text.append(f"\n  {cause}")
            if error.message:
                text.append(f'\n  The operator says: "{_printable(error.message)}"', "dim")
            if error.retry_after is not None:
                text.append(f"\n  It asks for {error.retry_after:g} s of patience.")
        else:
            text.append("✗ ", "bold red")
            text.append(_printable(reason_of(error)), "bold")
            if not isinstance(error, ConfigurationError | RequestValidationError):
                text.append(f"\n  {cause}")
        if remedy and not isinstance(error, ConfigurationError):
            text.append(f"\n  {remedy}")
        if error.outcome_unknown:
            text.append("\n  The operator may have acted: do not simply repeat this.", "yellow")
        if error.x_correlator:
            text.append(f"\n  x-correlator {error.x_correlator}", "dim")
        self.err.print(text)

    def usage(self, text: str) -> NoReturn:
        """Say that the command cannot be carried out like this, and end.

        Args:
            text: What is wrong and what would do.
        """
        self.failed(ConfigurationError(text))

    def token_line(self) -> str:
        """Return the token that comes first on standard input; the lines after it may be codes."""
        if at_terminal():
            return self.prompt("Token", hidden=True)
        try:
            token = sys.stdin.readline().strip() if can_answer() else ""
        except ValueError:
            token = ""
        return token or self.usage("--token-stdin: standard input holds no token")

    def sure(self, question: str, *, yes: bool) -> None:
        """Ask before something that costs, and end if the answer is no.

        Args:
            question: What to ask.
            yes: Whether the answer was given beforehand.
        """
        if yes:
            return
        if not at_terminal():
            self.usage(f"{question} There is nobody to ask: give --yes")
        if not self.agrees(question):
            self.stopped("Nothing was sent.")

    def agrees(self, question: str) -> bool:
        """Ask the person at the terminal; anything but a yes is a no.

        Args:
            question: What to ask.
        """
        try:
            return _answer(f"{question} [y/N]").lower() in ("y", "yes")
        except (KeyboardInterrupt, EOFError, OSError):
            self.stopped()

    def prompt(
        self,
        text: str,
        *,
        otherwise: OTPError | None = None,
        authentication_id: str | None = None,
        hidden: bool = False,
    ) -> str:
        """Ask for a text.

        Args:
            text: The question.
            otherwise: What to end with if there is no answer; by default that the command was stopped.
            authentication_id: The verification that the answer is for, which can be gone on with later.
            hidden: Whether what is typed stays unseen.
        """
        try:
            while not (answer := _answer(text, hidden=hidden)):
                pass
        except (KeyboardInterrupt, EOFError, OSError):  # a terminal that is gone answers no more
            person = at_terminal()
            if otherwise is not None and not person:
                self.failed(otherwise, authentication_id=authentication_id)
            reason = "\nStopped." if person else f"Standard input ended where an answer was needed: {text}."
            self.stopped(reason, authentication_id=authentication_id)
        except ValueError:
            self.usage("standard input holds what is no text")
        return answer

    def stopped(
        self, text: str = "\nStopped.", *, authentication_id: str | None = None, outcome_unknown: bool = False
    ) -> NoReturn:
        """End because the person said so, or because nobody is there to go on.

        Args:
            text: What to say.
            authentication_id: The verification that was begun, which can be gone on with later.
            outcome_unknown: Whether the operator may have acted.
        """
        if authentication_id is not None:
            # To be pasted into a shell: what an operator made up must not be carried out there, nor read as an option.
            dashes = "-- " if authentication_id.startswith("-") else ""
            text += f" The code can still be checked: camara-otp validate {dashes}{shlex.quote(authentication_id)}"
        begun = _begun(authentication_id)
        self.json_error("Stopped", text.strip(), Exit.STOPPED, outcome_unknown=outcome_unknown, **begun)
        self.note(text)
        raise typer.Exit(Exit.STOPPED)


def _answer(question: str, *, hidden: bool = False) -> str:
    """Return the next line of standard input; nothing of the question goes to standard output."""
    if hidden:
        return getpass(f"{question}: ", sys.stderr).strip()
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()


def _begun(authentication_id: str | None) -> dict[str, Any]:
    return {} if authentication_id is None else {"authenticationId": authentication_id}


def _as_table(error: OTPError, code: Exit) -> dict[str, Any]:
    names = ("status", "code", "message", "retry_after", "field", "error", "error_description")
    known = {_camel(name): getattr(error, name, None) for name in names}
    return {
        "class": type(error).__name__,
        "reason": reason_of(error),
        **{name: value for name, value in known.items() if value is not None},
        "xCorrelator": error.x_correlator,
        "attempts": error.attempts,
        "outcomeUnknown": error.outcome_unknown,
        "exitCode": int(code),
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class _OnScreen(logging.Handler):
    """Show the client's log, which holds no secret, on the person's screen."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        self._console.print(Text(f"  {record.getMessage()}", "dim"))
