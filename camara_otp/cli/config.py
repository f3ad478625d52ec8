"""`camara-otp config`: show the settings and their sources, which `camara_otp._environment` reads."""

import os
from typing import Any, cast

import click

from camara_otp._checks import shown_url
from camara_otp._environment import SETTINGS, Setting, profiles, profiles_file, token_settings
from camara_otp.cli import options
from camara_otp.cli.console import Screen, plain, table_of


@click.command(
    cls=options.Command,
    help="Show every setting and its source.\n\n"
    "Secrets are masked. The table also has the environment variable that sets each setting.",
)
@options.json_option
@options.profile_option
@click.pass_obj
def config(screen: Screen, /, **given: Any) -> None:
    """Show every setting, its source, and the variable that sets it; secrets are masked."""
    found = options.resolved(screen, given)
    path = profiles_file(os.environ)
    names = list(profiles(path))
    _, unused = token_settings(found)
    rows = [_row(name, found.get(name), is_used=name not in unused) for name in SETTINGS]
    # A narrow terminal leaves out the last column, a narrower one the last two.
    columns = 3 + sum(screen.out.width >= width for width in (80, 110))
    titles = ("setting", "value", "from", "variable", "what it is")[:columns]
    table = table_of(titles, [_shown(row)[:columns] for row in rows], whole=("setting", "variable"))
    screen.result({"profilesFile": str(path), "profiles": names, "settings": rows}, table)
    if not screen.as_json:
        screen.out.print(plain(f"Profiles in {path}: {', '.join(names) or 'none'}"))


def _row(name: str, setting: Setting | None, *, is_used: bool) -> dict[str, Any]:
    spec = SETTINGS[name]
    value, source = (None, None) if setting is None else (_masked(name, setting.value), setting.source)
    return {
        "setting": name,
        "value": value,
        "source": source,
        "used": is_used,
        "default": spec.default,
        "variable": spec.variable,
        "about": spec.about,
    }


def _shown(row: dict[str, Any]) -> tuple[object, ...]:
    value, source = row["value"], row["source"] or ""
    if not source and row["default"] is not None:
        value, source = row["default"], "default"
    elif not row["used"]:
        source += ", not used"
    return row["setting"], "" if value is None else value, source, row["variable"] or "", row["about"]


def _masked(name: str, value: Any) -> Any:
    if not SETTINGS[name].hidden:
        return shown_url(value) if isinstance(value, str) and "://" in value else value
    return dict.fromkeys(cast("dict[str, Any]", value), "***") if isinstance(value, dict) else "***"
