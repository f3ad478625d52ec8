"""How a command ends: what it prints for people, what for scripts, and with which exit code."""

import inspect
import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn

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


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0
    DEVIATES = 1
    USAGE = 2
    REFUSED = 3
    NO_TOKEN = 4
    NOT_SENT = 5
    UNKNOWN = 6
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
    Exit.STOPPED: "stopped at the terminal",
}


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


def cause_and_remedy(kind: type[OTPError]) -> tuple[str, str]:
    """Return why an error comes and what to do about it, as its class says.

    Args:
        kind: The class.
    """
    parts = (inspect.getdoc(kind) or "").split("\n\n")
    words = [" ".join(part.split()) for part in parts if not part.startswith(("Attributes:", "Args:"))]
    return words[0], words[1] if len(words) > 1 else ""


def at_terminal() -> bool:
    """Tell whether there is a person to ask."""
    return sys.stdin.isatty()


def reason_of(error: OTPError) -> str:
    """Return the sentence in an error, without the facts about the call, which are shown by themselves.

    Args:
        error: The failure.
    """
    text = str(error)
    has_facts = error.operation or error.x_correlator or error.attempts > 1 or error.outcome_unknown
    return text.rpartition(" [")[0] if has_facts else text


@attrs.define
class Screen:
    """Where a command writes: results to standard output, everything else to standard error.

    Args:
        as_json: Whether results are JSON, for scripts.
        verbose: Whether each attempt is shown.
    """

    as_json: bool = False
    verbose: bool = False
    out: Console = attrs.field(factory=lambda: Console(highlight=False, soft_wrap=True))
    err: Console = attrs.field(factory=lambda: Console(stderr=True, highlight=False))

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
        if self.as_json:
            self.json(values)
        else:
            self.out.print(Text(text))

    def json(self, values: Any) -> None:
        """Print JSON, one value and a line feed.

        Args:
            values: What to print.
        """
        sys.stdout.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    def note(self, text: str, style: str = "") -> None:
        """Say something to the person.

        Args:
            text: What to say.
            style: How it looks.
        """
        if not self.as_json:
            self.err.print(Text(text, style))

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

    def failed(self, error: OTPError) -> NoReturn:
        """Say what went wrong and end with the exit code that fits.

        Args:
            error: What went wrong.
        """
        code = exit_code(error)
        if self.as_json:
            self.json({"error": _as_table(error, code)})
        else:
            self._explain(error)
        raise typer.Exit(code)

    def _explain(self, error: OTPError) -> None:
        cause, remedy = cause_and_remedy(type(error))
        text = Text()
        if isinstance(error, APIError):
            text.append(f"✗ HTTP {error.status}{f' {error.code}' if error.code else ''}", "bold red")
            text.append(f"\n  {cause}")
            if error.message:
                text.append(f'\n  The operator says: "{error.message}"', "dim")
            if error.retry_after is not None:
                text.append(f"\n  It asks for {error.retry_after:g} s of patience.")
        else:
            text.append("✗ ", "bold red")
            text.append(reason_of(error), "bold")
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
        try:
            agreed = typer.confirm(question, err=True)
        except typer.Abort:
            self.stopped()
        if not agreed:
            self.stopped("Nothing was sent.")

    def prompt(self, text: str, *, otherwise: OTPError | None = None) -> str:
        """Ask for a text.

        Args:
            text: The question.
            otherwise: What to end with if there is no answer; by default that the person stopped.
        """
        try:
            return str(typer.prompt(text, err=True)).strip()
        except typer.Abort:
            if otherwise is not None and not at_terminal():
                self.failed(otherwise)
            self.stopped()

    def stopped(self, text: str = "") -> NoReturn:
        """End because the person said so.

        Args:
            text: What to say.
        """
        self.note(text or "\nStopped.")
        raise typer.Exit(Exit.STOPPED)


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
