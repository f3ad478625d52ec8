"""Ask the user at a terminal, or read from standard input."""

import os
import sys
from getpass import getpass
from pathlib import Path
from typing import TextIO

from camara_otp import ConfigurationError, OTPError
from camara_otp.cli.exit_codes import Stopped


def at_terminal() -> bool:
    """Return whether standard input is a terminal."""
    return can_answer() and sys.stdin.isatty()


def can_answer() -> bool:
    """Return whether standard input can be read: it is neither closed nor the null device."""
    stream: TextIO | None = sys.stdin  # None in a process without a console
    if stream is None or stream.closed:
        return False
    try:
        return not os.path.samestat(os.fstat(stream.fileno()), Path(os.devnull).stat())
    except (OSError, ValueError):
        return True  # a stream without a file, as in a notebook


def require_answers() -> None:
    """Refuse to send a request if the code cannot be given afterwards."""
    if not can_answer():
        raise ConfigurationError(
            "code: standard input is closed; pipe the code in, or use send, and validate with --code"
        )


def ask_for_token() -> str:
    """Return the token in the first line of standard input; the lines after it may be codes."""
    if at_terminal():
        return ask("Token", hidden=True)
    try:
        token = sys.stdin.readline().strip() if can_answer() else ""
    except ValueError:
        token = ""
    if not token:
        raise ConfigurationError("--token-stdin: standard input contains no token; write it in the first line")
    return token


def confirm(question: str, *, yes: bool) -> None:
    """Ask before a step that costs money, unless the user passed --yes; raise Stopped if the user refuses."""
    if yes:
        return
    if not at_terminal():
        raise ConfigurationError(f"{question} Standard input is not a terminal: give --yes")
    if not is_agreed(question):
        raise Stopped("Nothing was sent.")


def is_agreed(question: str) -> bool:
    """Return whether the user typed `y` or `yes`."""
    return _answer(f"{question} [y/N]").lower() in ("y", "yes")


def ask(question: str, *, otherwise: OTPError | None = None, hidden: bool = False) -> str:
    """Ask for a string that is not empty; if piped input ends, raise `otherwise`, or `Stopped`."""
    try:
        while not (answer := _answer(question, hidden=hidden)):
            pass
    except EOFError:
        if at_terminal():
            raise
        raise otherwise or Stopped(f"Standard input ended where an answer was needed: {question}.") from None
    except ValueError:
        raise ConfigurationError("standard input: must be UTF-8 text") from None
    return answer


def _answer(question: str, *, hidden: bool = False) -> str:
    """Return the next line of standard input; the question goes to standard error."""
    if hidden:
        return getpass(f"{question}: ", sys.stderr).strip()
    if at_terminal():
        sys.stderr.write(f"{question}: ")
        sys.stderr.flush()
    try:
        line = sys.stdin.readline()
    except OSError:  # the terminal is gone
        line = ""
    if not line:
        raise EOFError
    return line.strip()
