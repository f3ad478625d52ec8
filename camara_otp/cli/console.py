"""Where a command writes: results to standard output, everything else to standard error."""

import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TextIO

import attrs
from click.exceptions import Exit as EndOfCommand
from rich.console import Console, RenderableType
from rich.text import Text

from camara_otp import APIError, ConfigurationError, OTPError, RequestValidationError
from camara_otp.cli.exit_codes import Exit, exit_code


def plain(value: object) -> Text:
    """Return a value as text without markup and without control characters.

    Args:
        value: the value
    """
    return Text(_printable(str(value)))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _reason(error: OTPError) -> str:
    """Return the sentence of an error, without the facts about the call that follow it in brackets.

    Args:
        error: the error
    """
    text = str(error)
    has_facts = error.operation or error.x_correlator or error.attempts > 1 or error.outcome_unknown
    return text.rpartition(" [")[0] if has_facts else text


# Output that is piped has no width; a line broken in two cannot be searched for.
_PIPED_WIDTH: Final = 200
_USABLE_WIDTHS: Final = range(20, 1001)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    is_usable = columns.isascii() and columns.isdigit() and int(columns[:9]) in _USABLE_WIDTHS
    console = Console(
        stderr=stderr,
        highlight=False,
        soft_wrap=not stderr,
        _environ={name: value for name, value in os.environ.items() if is_usable or name != "COLUMNS"},
        # FORCE_COLOR asks for colors where nothing can be animated.
        force_interactive=_is_terminal(stream),
    )
    if not is_usable and not _is_terminal(stream):
        console.width = _PIPED_WIDTH
    return console


def _cause(error: OTPError) -> str:
    """Return the cause of an error, or the part of it for the operation that failed."""
    parts: dict[str, str] = dict(re.findall(r"For (\w+): (.+?\.)(?= For |$)", error.cause))
    part = parts.get(error.operation or "", error.cause)
    return part[:1].upper() + part[1:]


@attrs.define
class Screen:
    """The two outputs of a command.

    Args:
        as_json: whether results are JSON, for scripts
        verbose: whether each attempt is shown
    """

    as_json: bool = False
    verbose: bool = False
    out: Console = attrs.field(factory=lambda: _console(stderr=False))
    err: Console = attrs.field(factory=lambda: _console(stderr=True))

    def __attrs_post_init__(self) -> None:
        """Show attempts if `verbose` is set."""
        if self.verbose:
            logger = logging.getLogger("camara_otp")
            logger.setLevel(logging.DEBUG)
            logger.handlers = [_OnScreen(self.err)]

    def result(self, values: dict[str, Any], text: str) -> None:
        """Print the result.

        Args:
            values: the result for scripts
            text: the result for users
        """
        # Scripts get an id byte for byte; a terminal would interpret control characters in it.
        if self.as_json:
            self.json(values)
        else:
            self._write(_printable(text) if self.out.is_interactive else text)

    def json(self, values: Any) -> None:
        """Print JSON, one value and a line feed.

        Args:
            values: the value
        """
        # In ASCII, which every locale can write.
        self._write(json.dumps(values, indent=2))

    def _write(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def json_error(self, kind: str, reason: str, code: Exit, *, outcome_unknown: bool = False, **more: Any) -> None:
        """Print JSON for a failure that is not an `OTPError`, if JSON is wanted.

        Args:
            kind: the class of the failure
            reason: its reason
            code: the exit code
            outcome_unknown: whether the operator may have acted
            more: further values
        """
        if self.as_json:
            told = {"class": kind, "reason": reason, **more, "outcomeUnknown": outcome_unknown, "exitCode": int(code)}
            self.json({"error": told})

    def note(self, text: str, style: str = "") -> None:
        """Print a message for the user.

        Args:
            text: the message
            style: its style, as Rich names it
        """
        if not self.as_json:
            self.err.print(Text(_printable(text), style))

    def note_of(self, renderable: RenderableType) -> None:
        """Print an object for the user.

        Args:
            renderable: the object
        """
        if not self.as_json:
            self.err.print(renderable)

    @contextmanager
    def waiting(self, text: str) -> Generator[None]:
        """Show a spinner during a block, on a terminal.

        Args:
            text: the text beside it
        """
        if self.as_json or not self.err.is_interactive:
            yield
            return
        with self.err.status(text):
            yield

    def failed(self, error: OTPError, *, authentication_id: str | None = None) -> NoReturn:
        """Print an error and end with its exit code.

        Args:
            error: the error
            authentication_id: the verification that a script can continue with `validate`
        """
        code = exit_code(error)
        if self.as_json:
            self.json({"error": {**_as_table(error, code), **_begun(authentication_id)}})
        else:
            self._explain(error)
        raise EndOfCommand(code)

    def _explain(self, error: OTPError) -> None:
        cause, remedy = _cause(error), error.remedy
        text = Text()
        if isinstance(error, APIError):
            text.append(f"✗ HTTP {error.status}{f' {error.code}' if error.code else ''}", "bold red")
            text.append(f"\n  {cause}")
            if error.message:
                text.append(f'\n  The operator says: "{_printable(error.message)}"', "dim")
            if error.retry_after is not None:
                text.append(f"\n  Retry after {error.retry_after:g} s.")
        else:
            text.append("✗ ", "bold red")
            text.append(_printable(_reason(error)), "bold")
            if not isinstance(error, ConfigurationError | RequestValidationError):
                text.append(f"\n  {cause}")
        if remedy and not isinstance(error, ConfigurationError):
            text.append(f"\n  {remedy}")
        if error.outcome_unknown:
            text.append("\n  The operator may have acted: do not simply repeat this.", "yellow")
        if error.x_correlator:
            text.append(f"\n  x-correlator {error.x_correlator}", "dim")
        # The remedy for a setting may be a command or a path, which has to be copied in one piece.
        self.err.print(text, soft_wrap=isinstance(error, ConfigurationError))

    def usage(self, text: str) -> NoReturn:
        """Reject the command line or the settings, and end.

        Args:
            text: the setting, the problem and the remedy
        """
        self.failed(ConfigurationError(text))

    def stopped(
        self, text: str = "\nStopped.", *, authentication_id: str | None = None, outcome_unknown: bool = False
    ) -> NoReturn:
        """End because the user stopped the command, or because standard input ended.

        Args:
            text: the message
            authentication_id: the verification that the user can continue with `validate`
            outcome_unknown: whether the operator may have acted
        """
        if authentication_id is not None:
            # The user may paste this into a shell, and the operator chose the id: quote it, and mark it as a value.
            dashes = "-- " if authentication_id.startswith("-") else ""
            text += f" The code can still be checked: camara-otp validate {dashes}{shlex.quote(authentication_id)}"
        begun = _begun(authentication_id)
        self.json_error("Stopped", text.strip(), Exit.STOPPED, outcome_unknown=outcome_unknown, **begun)
        self.note(text)
        raise EndOfCommand(Exit.STOPPED)


def _begun(authentication_id: str | None) -> dict[str, Any]:
    return {} if authentication_id is None else {"authenticationId": authentication_id}


def _as_table(error: OTPError, code: Exit) -> dict[str, Any]:
    names = ("status", "code", "message", "retry_after", "field", "error", "error_description")
    known = {_camel(name): getattr(error, name, None) for name in names}
    return {
        "class": type(error).__name__,
        "reason": _reason(error),
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
    """A log handler that prints the client's log, which holds no secrets, on standard error."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        self._console.print(Text(f"  {record.getMessage()}", "dim"))
