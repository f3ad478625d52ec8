"""`camara-otp errors`: explain the error codes."""

from typing import Any

import click

from camara_otp import OTPError
from camara_otp import errors as catalogue
from camara_otp.cli import options
from camara_otp.cli.console import Screen, in_cli_words, table_of
from camara_otp.errors import CODES, STATUSES


def _completed(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in map(_short, CODES) if name.startswith(incomplete.upper())]


@click.command(
    cls=options.Command,
    help="Show the error codes, their causes and remedies.\n\n"
    "CODE is a code, the beginning of one, a class of errors or an HTTP status.",
)
@click.argument("code", default="", shell_complete=_completed)
@options.json_option
@click.pass_obj
def errors(screen: Screen, /, *, code: str) -> None:
    """Show the error codes: the cause of each, and the remedy."""
    chosen = _named(code.strip().upper())
    if not chosen:
        raise click.UsageError(f"{code}: there is no such code or class of errors; `camara-otp errors` shows all codes")
    rows: list[dict[str, Any]] = [
        {"code": name, "class": kind.__name__, "status": _status(kind), "cause": kind.cause, "remedy": kind.remedy}
        for name, kind in chosen
    ]
    shown = [
        (row["status"] or "", _short(row["code"] or row["class"]), *map(in_cli_words, (row["cause"], row["remedy"])))
        for row in rows
    ]
    screen.result(rows, table_of(("HTTP", "code", "when", "what to do"), shown, whole=("code",)))


def _short(code: str) -> str:
    return code.removeprefix("ONE_TIME_PASSWORD_SMS.")


def _named(text: str) -> list[tuple[str | None, type[OTPError]]]:
    """Return the code or class of this name; without one, all codes of this status or with this beginning."""
    kinds = (kind for kind in vars(catalogue).values() if isinstance(kind, type) and issubclass(kind, OTPError))
    every = [*CODES.items(), *((None, kind) for kind in kinds if kind not in CODES.values())]
    text = _short(text)
    exact = [(name, kind) for name, kind in every if text in (_short(name or ""), kind.__name__.upper())]
    if text and exact:
        return exact
    return [(n, kind) for n, kind in every if n and (_short(n).startswith(text) or str(_status(kind)) == text)]


def _status(kind: type[OTPError]) -> int | None:
    """Return the HTTP status of a class, or None for a class that belongs to no status."""
    return next((status for status, family in STATUSES.items() if issubclass(kind, family)), None)
