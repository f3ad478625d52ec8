"""`camara-otp config`: show the settings and their sources."""

from typing import Any, Final, cast

from rich.table import Table

from camara_otp import ConfigurationError
from camara_otp._checks import shown_url
from camara_otp.cli import options
from camara_otp.cli.console import Screen, plain
from camara_otp.cli.exit_codes import Exit
from camara_otp.cli.settings import SETTINGS, Setting, environment, profiles, profiles_file

# A narrow terminal leaves out the last column, a narrower one the last two.
_WIDTHS: Final = (80, 110)


@options.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@options.profile_option
def config(*, given: options.Given, as_json: bool) -> Exit:
    """Show every setting, its source, and the variable that sets it; secrets are masked."""
    screen = Screen(as_json=as_json)
    found = options.resolved(screen, given)
    path = profiles_file(environment())
    try:
        names = list(profiles(path))
    except ConfigurationError as error:
        screen.failed(error)
    rows = [_row(name, found.get(name)) for name in SETTINGS]
    if as_json:
        screen.json({"profilesFile": str(path), "profiles": names, "settings": rows})
        return Exit.DONE
    table = Table(pad_edge=False)
    extra = sum(screen.out.width >= width for width in _WIDTHS)
    titles = ("setting", "value", "from", "variable", "what it is")[: 3 + extra]
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in ("setting", "variable"))
    for row in rows:
        pair = (row["value"], row["source"]) if row["source"] else (row["default"], "default")
        value, source = ("", "") if pair[0] is None else pair
        shown = (row["setting"], value, source, row["variable"] or "", row["about"])
        table.add_row(*map(plain, shown[: len(titles)]))
    screen.out.print(table, soft_wrap=False)
    screen.out.print(plain(f"Profiles in {path}: {', '.join(names) or 'none'}"), soft_wrap=True)
    return Exit.DONE


def _row(name: str, setting: Setting | None) -> dict[str, Any]:
    spec = SETTINGS[name]
    return {
        "setting": name,
        "value": None if setting is None else _masked(name, setting.value),
        "source": None if setting is None else setting.source,
        "default": spec.default,
        "variable": spec.variable,
        "about": spec.about,
    }


def _masked(name: str, value: Any) -> Any:
    if not SETTINGS[name].hidden:
        return shown_url(value) if isinstance(value, str) and "://" in value else value
    if isinstance(value, dict):
        return dict.fromkeys(cast("dict[str, Any]", value), "***")
    return "***"
