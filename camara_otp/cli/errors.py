"""`camara-otp errors`: explain the error codes."""

import click
from rich.table import Table

from camara_otp import OTPError
from camara_otp import errors as catalogue
from camara_otp.cli import options
from camara_otp.cli.console import Screen, plain
from camara_otp.cli.exit_codes import Exit
from camara_otp.errors import CODES, STATUSES


def _names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in map(_short, CODES) if name.startswith(incomplete.upper())]


@click.argument("code", required=False, shell_complete=_names)
@options.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def errors(*, code: str | None, as_json: bool) -> Exit:
    """Show the error codes: the cause of each, and the remedy."""
    screen = Screen(as_json=as_json)
    text = code or ""
    chosen = _classes_named(text) or [(name, CODES[name]) for name in _matching(text)]
    if not chosen:
        screen.usage(f"{code}: there is no such code or class of errors; `camara-otp errors` shows all codes")
    rows = [
        {"code": name, "class": kind.__name__, "status": _status(kind), "cause": kind.cause, "remedy": kind.remedy}
        for name, kind in chosen
    ]
    if as_json:
        screen.json(rows)
        return Exit.DONE
    table = Table(show_lines=False, pad_edge=False)
    for title in ("HTTP", "code", "when", "what to do"):
        table.add_column(title, overflow="fold", no_wrap=title == "code")
    for row in rows:
        name = row["class"] if row["code"] is None else _short(str(row["code"]))
        table.add_row(*map(plain, (row["status"] or "", name, row["cause"], row["remedy"])))
    screen.out.print(table, soft_wrap=False)
    return Exit.DONE


def _short(code: str) -> str:
    return code.removeprefix("ONE_TIME_PASSWORD_SMS.")


def _matching(text: str) -> list[str]:
    """Return the code of this name or class; without one, all codes of this status or with this beginning."""
    short = _short(text.upper())
    exact = [name for name, kind in CODES.items() if short in (_short(name), kind.__name__.upper())]
    return exact or [
        name for name, kind in CODES.items() if _short(name).startswith(short) or str(_status(kind)) == text
    ]


def _classes_named(text: str) -> list[tuple[str | None, type[OTPError]]]:
    """Return the class of this name that belongs to no code, as a list of one or none."""
    kinds = [kind for kind in vars(catalogue).values() if isinstance(kind, type) and issubclass(kind, OTPError)]
    return [
        (None, kind) for kind in kinds if kind not in CODES.values() and kind.__name__.upper() == text.strip().upper()
    ]


def _status(kind: type[OTPError]) -> int | None:
    """Return the HTTP status of a class, or None for a class that belongs to no status."""
    return next((status for status, family in STATUSES.items() if issubclass(kind, family)), None)
