"""Questions to the user, answered at a terminal or on standard input."""

import os
import sys
from getpass import getpass
from pathlib import Path
from typing import TextIO

from camara_otp import OTPError
from camara_otp.cli.console import Screen


def at_terminal() -> bool:
    """Tell whether there is a user to ask."""
    return can_answer() and sys.stdin.isatty()


def can_answer() -> bool:
    """Tell whether standard input can be read: it is neither closed nor the null device."""
    stream: TextIO | None = sys.stdin  # None in a process without a console
    if stream is None or stream.closed:
        return False
    try:
        return not os.path.samestat(os.fstat(stream.fileno()), Path(os.devnull).stat())
    except (OSError, ValueError):
        return True  # a stream without a file, as in a notebook


def require_answers(screen: Screen) -> None:
    """End before a request is sent if the code cannot be given afterwards."""
    if not can_answer():
        screen.usage("code: standard input is closed; pipe the code in, or use send, and validate with --code")


def ask_for_token(screen: Screen) -> str:
    """Return the token in the first line of standard input; the lines after it may be codes."""
    if at_terminal():
        return ask(screen, "Token", hidden=True)
    try:
        token = sys.stdin.readline().strip() if can_answer() else ""
    except ValueError:
        token = ""
    return token or screen.usage("--token-stdin: standard input holds no token")


def confirm(screen: Screen, question: str, *, yes: bool) -> None:
    """Ask before a step that costs money, and end if the answer is no.

    Args:
        screen: the outputs
        question: the question
        yes: whether the user already agreed
    """
    if yes:
        return
    if not at_terminal():
        screen.usage(f"{question} Standard input is not a terminal: give --yes")
    if not is_agreed(screen, question):
        screen.stopped("Nothing was sent.")


def is_agreed(screen: Screen, question: str) -> bool:
    """Ask the user; every answer but a yes is a no.

    Args:
        screen: the outputs
        question: the question
    """
    try:
        return _answer(f"{question} [y/N]").lower() in ("y", "yes")
    except (KeyboardInterrupt, EOFError, OSError):
        screen.stopped()


def ask(
    screen: Screen,
    text: str,
    *,
    otherwise: OTPError | None = None,
    authentication_id: str | None = None,
    hidden: bool = False,
    silent: bool = False,
) -> str:
    """Ask for a text that is not empty.

    Args:
        screen: the outputs
        text: the question
        otherwise: the error to end with if standard input ends; by default the command counts as stopped
        authentication_id: the verification that the answer is for
        hidden: whether the terminal hides the answer
        silent: whether the answer is read without printing the question
    """
    try:
        while not (answer := _answer(text, hidden=hidden, silent=silent)):
            pass
    except (KeyboardInterrupt, EOFError, OSError):  # OSError: the terminal is gone
        is_user = at_terminal()
        if otherwise is not None and not is_user:
            screen.failed(otherwise, authentication_id=authentication_id)
        reason = "\nStopped." if is_user else f"Standard input ended where an answer was needed: {text}."
        screen.stopped(reason, authentication_id=authentication_id)
    except ValueError:
        screen.usage("standard input: is not text")
    return answer


def _answer(question: str, *, hidden: bool = False, silent: bool = False) -> str:
    """Return the next line of standard input; the question goes to standard error."""
    if hidden:
        return getpass(f"{question}: ", sys.stderr).strip()
    if not silent:
        sys.stderr.write(f"{question}: ")
        sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()
