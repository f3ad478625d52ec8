"""The outputs of a command: results on standard output, everything else on standard error."""

import json
import logging
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import attrs
from rich.console import Console, RenderableType
from rich.file_proxy import FileProxy
from rich.table import Table
from rich.text import Text

from camara_otp import APIError, ConfigurationError, OTPError, RequestValidationError
from camara_otp.cli.exit_codes import Exit, Stopped, exit_code

# Names of Python in causes and remedies, and what the command line calls them.
_NAMES: Final = {
    "send_code": "send",
    "validate_code": "validate",
    "authentication_id": "authenticationId",
    "base_url": "--base-url",
    "api_path": "--api-path",
}
_USABLE_WIDTHS: Final = frozenset(map(str, range(20, 1001)))


def plain(value: object) -> Text:
    """Return a value as printable characters without markup."""
    return Text(_printable(str(value)))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def table_of(titles: Sequence[str], rows: Iterable[Iterable[object]], *, whole: Collection[str]) -> Table:
    """Return a table; the columns named in `whole` are not broken into lines."""
    table = Table(pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in whole)
    for row in rows:
        table.add_row(*map(plain, row))
    return table


def in_cli_words(text: str) -> str:
    """Return a cause or remedy without names of Python: asides in brackets are left out, the others translated."""
    text = re.sub(r" \(`.*?`\)", "", text)
    return re.sub(rf"`?\b({'|'.join(_NAMES)})\b`?", lambda match: _NAMES[match[1]], text)


def _console(*, stderr: bool) -> Console:
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    environ = {name: text for name, text in os.environ.items() if name != "COLUMNS" or text in _USABLE_WIDTHS}
    # Interactive on a terminal only: FORCE_COLOR asks for colors where nothing can be animated.
    console = Console(
        stderr=stderr, highlight=False, soft_wrap=not stderr, force_interactive=is_terminal, _environ=environ
    )
    if "COLUMNS" not in environ and not is_terminal:
        console.width = 200  # a pipe has no width, and a line broken in two cannot be searched for
    return console


@attrs.define
class Screen:
    """The two outputs of a command.

    Args:
        as_json: whether results are JSON, for scripts
        authentication_id: the verification that the command began and that `validate` can continue, or None
    """

    as_json: bool = False
    authentication_id: str | None = None
    out: Console = attrs.field(factory=lambda: _console(stderr=False))
    err: Console = attrs.field(factory=lambda: _console(stderr=True))

    def show_attempts(self) -> None:
        """Print the client's log, which holds no secrets, on standard error."""
        handler = logging.StreamHandler(FileProxy(self.err, sys.stderr))  # prints above a spinner
        handler.setFormatter(logging.Formatter("  %(message)s"))
        logger = logging.getLogger("camara_otp")
        logger.setLevel(logging.DEBUG)
        logger.handlers = [handler]

    def result(self, values: Any, shown: str | RenderableType) -> None:
        """Print the result: values as JSON, or what is shown to users."""
        if self.as_json:
            self.json(values)
        elif isinstance(shown, str):
            # Scripts get an id byte for byte; a terminal would interpret control characters in it.
            sys.stdout.write((_printable(shown) if self.out.is_interactive else shown) + "\n")
        else:
            self.out.print(shown, soft_wrap=isinstance(shown, Text))

    def json(self, values: Any) -> None:
        """Print JSON, one value and a line feed, in ASCII, which every locale can write."""
        sys.stdout.write(json.dumps(values, indent=2) + "\n")

    def note(self, message: str | RenderableType, style: str = "") -> None:
        """Print a message for the user, in a style of Rich."""
        if not self.as_json:
            self.err.print(Text(_printable(message), style) if isinstance(message, str) else message)

    @contextmanager
    def waiting(self, text: str, stopped: str = "Stopped.") -> Generator[None]:
        """Show a spinner during a request, on a terminal; `stopped` says what it means if the user stops it."""
        is_animated = self.err.is_interactive and not self.as_json
        try:
            with self.err.status(text) if is_animated else nullcontext():
                yield
        except KeyboardInterrupt:
            raise Stopped(f"\n{stopped}", outcome_unknown=stopped != "Stopped.") from None

    def failed(self, error: OTPError) -> Exit:
        """Print why a command failed, and return its exit code."""
        code, reason, begun = exit_code(error), _reason(error), self.authentication_id
        if isinstance(error, Stopped) and begun is not None:
            # The user may paste this into a shell, and the operator chose the id: quote it, and mark it as a value.
            argument = ("-- " if begun.startswith("-") else "") + shlex.quote(begun)
            reason += f" The code can still be checked: camara-otp validate {argument}"
        if self.as_json:
            told = {"class": type(error).__name__, "reason": reason.strip(), **_facts(error)}
            told |= {} if begun is None else {"authenticationId": begun}
            self.error(told, code, outcome_unknown=error.outcome_unknown)
        else:
            # The remedy for a setting or a stop may be a command or a path, which has to be copied in one piece.
            is_whole = isinstance(error, ConfigurationError)
            explained = _explanation(error, reason, sys.maxsize if is_whole else self.err.width)
            self.err.print(plain(reason) if isinstance(error, Stopped) else explained, soft_wrap=True)
        return code

    def error(self, told: Mapping[str, Any], code: Exit, *, outcome_unknown: bool = False) -> None:
        """Print a failure as JSON, with its exit code."""
        self.json({"error": {**told, "outcomeUnknown": outcome_unknown, "exitCode": int(code)}})


def _indented(text: str, width: int) -> str:
    """Indent a sentence and wrap it at spaces only, so that an address stays in one piece."""
    return textwrap.fill(
        text, width, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _reason(error: OTPError) -> str:
    """Return the sentence of an error, without the facts about the call that follow it in brackets."""
    text = str(error)
    has_facts = error.operation or error.x_correlator or error.attempts > 1 or error.outcome_unknown
    return text.rpartition(" [")[0] if has_facts else text


def _facts(error: OTPError) -> dict[str, Any]:
    names = ("status", "code", "message", "retry_after", "field", "error", "error_description")
    known = {re.sub("_d|_a", lambda match: match[0][1].upper(), name): getattr(error, name, None) for name in names}
    told = {name: value for name, value in known.items() if value is not None}
    return {**told, "xCorrelator": error.x_correlator, "attempts": error.attempts}


def _explanation(error: OTPError, reason: str, width: int) -> Text:
    lines: list[tuple[str, str]] = []
    if isinstance(error, APIError):
        reason = f"HTTP {error.status} {error.code or ''}".rstrip()
    if not isinstance(error, ConfigurationError | RequestValidationError):
        lines.append((in_cli_words(_cause(error)), ""))
        if isinstance(error, APIError) and error.message:
            lines.append((f'The operator says: "{error.message}"', "dim"))
        if isinstance(error, APIError) and error.retry_after is not None:
            lines.append((f"Retry after {error.retry_after:g} s.", ""))
        lines.append((in_cli_words(error.remedy), ""))
    if error.outcome_unknown:
        lines.append(("The operator may have acted: do not simply repeat this.", "yellow"))
    if error.x_correlator:
        lines.append((f"x-correlator {error.x_correlator}", "dim"))
    told = [(f"\n{_indented(_printable(line), width)}", style) for line, style in lines]
    return Text.assemble(("✗ ", "bold red"), (_indented(_printable(reason), width).lstrip(), "bold"), *told)


def _cause(error: OTPError) -> str:
    """Return the cause of an error, or the part of it for the operation that failed."""
    parts: dict[str, str] = dict(re.findall(r"For (\w+): (.+?\.)(?= For |$)", error.cause))
    part = parts.get(error.operation or "", error.cause)
    return part[:1].upper() + part[1:]
