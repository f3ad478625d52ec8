"""The command that checks an operator."""

import fnmatch
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from camara_otp import ConfigurationError, OTPError, RequestNotSentError, TokenError, TokenProvider
from camara_otp.cli.outcome import Exit, Screen, at_terminal, can_answer, plain
from camara_otp.cli.settings import Setting, environment, expanded, profiles_file, resolve, token_source

# What checks is loaded where it is used: the other commands start a quarter sooner without it.
if TYPE_CHECKING:
    from camara_otp.conformance import Grade, Plan, Report, Scenario, Settings

_GRADES = ("breaks", "differs", "cosmetic")
_OPERATOR, _COST, _REPORTS = "The operator", "What it costs", "Reports"


def _grades() -> list[str]:
    return list(_GRADES)


def check(
    *,
    base_url: Annotated[str | None, typer.Argument(metavar="BASE_URL", help="The operator's API root.")] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            metavar="FILE",
            help="TOML file: numbers, limits, how texts are read.",
            rich_help_panel=_OPERATOR,
        ),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Profile to use.", rich_help_panel=_OPERATOR)] = None,
    api_path: Annotated[
        str | None,
        typer.Option(
            help="Path between root and operation; left out, it is looked for.",
            rich_help_panel=_OPERATOR,
        ),
    ] = None,
    release: Annotated[
        str | None, typer.Option(help="Release whose scenarios run: 1.0.0, 1.1.0, 1.1.1.", rich_help_panel=_OPERATOR)
    ] = None,
    number: Annotated[
        list[str] | None,
        typer.Option(help="A phone whose texts you can read; may be repeated.", rich_help_panel=_OPERATOR),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the access token.", rich_help_panel=_OPERATOR)
    ] = None,
    token_stdin: Annotated[
        bool,
        typer.Option("--token-stdin", help="Read the access token from standard input.", rich_help_panel=_OPERATOR),
    ] = False,
    insecure_token: Annotated[
        str | None,
        typer.Option(
            "--insecure-token-argument",
            help="The access token itself, readable in the process list.",
            rich_help_panel=_OPERATOR,
        ),
    ] = None,
    no_sms: Annotated[
        bool, typer.Option("--no-sms", help="Only scenarios that send no text.", rich_help_panel=_COST)
    ] = False,
    max_texts: Annotated[int | None, typer.Option(help="At most so many texts.", rich_help_panel=_COST)] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only scenarios whose tag fits, as '*401*'; may be repeated.", rich_help_panel=_COST),
    ] = None,
    published_only: Annotated[
        bool, typer.Option("--published-only", help="Only CAMARA's own scenarios.", rich_help_panel=_COST)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.", rich_help_panel=_COST)
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=_COST)] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page that can be sent to anyone.", rich_help_panel=_REPORTS),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.", rich_help_panel=_REPORTS)
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json-file", metavar="FILE", help="Write JSON.", rich_help_panel=_REPORTS)
    ] = None,
    to_stdout: Annotated[
        bool, typer.Option("--json", help="Print JSON, for scripts.", rich_help_panel=_REPORTS)
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="List what passed, too.", rich_help_panel=_REPORTS)] = False,
    fail_on: Annotated[
        str,
        typer.Option(
            help="Least deviation that makes the exit code 1: breaks, differs, cosmetic.",
            autocompletion=_grades,
            rich_help_panel=_REPORTS,
        ),
    ] = "differs",
) -> None:
    """Check an operator's endpoint against CAMARA's published test scenarios.

    It says first how many real texts that takes, and asks.
    """
    from camara_otp.conformance import Grade, SettingsError, plan, settings_from  # noqa: PLC0415
    from camara_otp.conformance.reports import as_html, as_json, as_junit  # noqa: PLC0415
    from camara_otp.conformance.reports.terminal import announcement, rendered  # noqa: PLC0415

    screen = Screen(as_json=to_stdout)
    if fail_on not in _GRADES:
        screen.usage(f"--fail-on: must be one of {', '.join(_GRADES)}")
    given = {"release": release, "sms": False if no_sms else None, "max_texts": max_texts}
    environ = environment()
    options = {
        "base_url": base_url,
        "api_path": api_path,
        "token": screen.token_line() if token_stdin else insecure_token,
        "token_file": str(token_file) if token_file else None,
    }
    try:
        made = resolve(options, environ, profile, profiles_file(environ))
        table, is_sandbox = _table(made, settings_file, list(number or ()))
        settings = settings_from(table, **given)
    except SettingsError as error:
        screen.usage(str(error))
    except OTPError as error:
        screen.failed(error)
    for path in (html, junit, json_file):
        _writable(screen, path)
    todo = plan(settings, _chosen(screen, settings, only or ["*"], added=not published_only))
    screen.note_of(announcement(todo, settings.root, sandbox=is_sandbox))
    if dry_run:
        _list(screen, todo)
        return
    _answerable(screen, settings, todo)
    missed: list[TokenError] = []
    try:
        token = _token(token_source(made), missed)
    except OTPError as error:
        screen.failed(error)
    if todo.texts:
        texts = "one text" if todo.texts == 1 else f"{todo.texts} texts"
        screen.sure(f"This sends {texts}. Go on?", yes=yes)
    report = _run(screen, settings, todo, token)
    files = ((html, as_html), (junit, as_junit), (json_file, as_json))
    written = [_write(screen, path, write(report)) for path, write in files if path is not None]
    if to_stdout:
        sys.stdout.write(as_json(report))
    else:
        screen.out.print(rendered(report, every=every), soft_wrap=False)
    raise typer.Exit(_ending(screen, report, missed, Grade[fail_on.upper()]) if all(written) else Exit.UNWRITTEN)


def _answerable(screen: Screen, settings: "Settings", todo: "Plan") -> None:
    """End before a text is sent whose code nobody can be asked for."""
    asks = settings.read is not None and settings.read.how == "ask"
    if asks and not can_answer() and any("read" in step.scenario.needs for step in todo.steps if not step.skip):
        screen.usage('read.how: "ask" needs somebody to ask, and standard input is closed')


def _ending(screen: Screen, report: "Report", missed: list[TokenError], fail_on: "Grade") -> Exit:
    if missed:
        # What was skipped for want of a token would else count as good.
        screen.note("✗ The check is not complete: half-way through, no access token could be had.", "bold red")
        return Exit.NO_TOKEN
    return Exit.DONE if report.is_good(fail_on) else Exit.DEVIATES


def _chosen(screen: Screen, settings: "Settings", patterns: list[str], *, added: bool) -> "list[Scenario]":
    from camara_otp.conformance import scenarios  # noqa: PLC0415

    chosen = [
        scenario
        for scenario in scenarios(settings.release, added=added)
        if any(fnmatch.fnmatchcase(scenario.tag, pattern) for pattern in patterns)
    ]
    if not chosen:
        screen.usage(f"--only: no scenario of {settings.release} has such a tag")
    return chosen


def _table(made: dict[str, Setting], file: Path | None, phones: list[str]) -> tuple[dict[str, Any], bool]:
    """Return the settings of a check, and whether they are what a sandbox says about itself."""
    from camara_otp.conformance import sandbox_settings  # noqa: PLC0415
    from camara_otp.conformance.hooks import sandbox_at  # noqa: PLC0415
    from camara_otp.conformance.settings import read_toml  # noqa: PLC0415

    values: dict[str, Any] = {name: made[name].value for name in _SHARED if name in made}
    if file is None and "check" in made:
        file = expanded(Path(made["check"].value), "check")
    described = sandbox_at(values["base_url"]) if file is None and "base_url" in values else None
    table: dict[str, Any] = {}
    if file is not None:
        table = read_toml(file)
    elif described is not None:
        table = sandbox_settings(values["base_url"], described)
    if phones:
        table["numbers"] = {**table.get("numbers", {}), "reachable": phones}
        if "read" not in table and at_terminal():
            table["read"] = {"how": "ask"}
    if not (values | table).get("base_url"):
        raise ConfigurationError("base_url: is missing; name the operator: camara-otp check https://api.example.com")
    # The file knows this operator better than what stands in the environment for all.
    ours = {name: value for name, value in values.items() if made[name].source == "option" or name not in table}
    return {**{name: value for name, value in table.items() if value is not None}, **ours}, described is not None


_SHARED: Final[tuple[str, ...]] = ("base_url", "api_path", "timeout", "headers", "params")


def _token(source: str | TokenProvider, missed: list[TokenError]) -> str | Callable[[], Awaitable[str]]:
    """Return the token, or what fetches it and takes note where there was none any more."""
    if isinstance(source, str):
        return source
    source.get_token(rejected=None, timeout=30.0)

    async def fetch() -> str:
        try:
            return await source.aget_token(rejected=None, timeout=30.0)
        except TokenError as error:
            missed.append(error)
            raise

    return fetch


def _run(screen: Screen, settings: "Settings", todo: "Plan", token: str | Callable[[], Awaitable[str]]) -> "Report":
    import anyio  # noqa: PLC0415

    from camara_otp.conformance import UnreachableError, run  # noqa: PLC0415
    from camara_otp.conformance.reports.terminal import progress  # noqa: PLC0415

    async def checked() -> "Report":
        with progress(screen.err, todo) as (on_event, prompt):
            return await run(settings, todo, token, on_event=on_event, prompt=prompt)

    try:
        return anyio.run(checked)
    except KeyboardInterrupt:
        screen.stopped("\nStopped. Texts that were on their way may still arrive.", outcome_unknown=todo.texts > 0)
    except UnreachableError as error:
        screen.failed(RequestNotSentError(str(error)))


def _writable(screen: Screen, path: Path | None) -> None:
    """End before a text is sent if the report about it could not be written."""
    if path is None:
        return
    try:
        is_folder, place = path.is_dir(), path if path.exists() else path.parent
    except OSError as error:
        screen.usage(f"{path}: {error.strerror}")
    if is_folder:
        screen.usage(f"{path}: is a folder; name a file in it")
    if not os.access(place, os.W_OK):
        screen.usage(f"{path}: cannot be written; name a file in a folder that is there and is yours")


def _write(screen: Screen, path: Path, text: str) -> bool:
    """Write a report, and return whether that went well: the check is done, and must not be lost for it."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        screen.err.print(plain(f"✗ {path}: {error.strerror}"))
        return False
    screen.note(f"Wrote {path}", "dim")
    return True


def _list(screen: Screen, todo: "Plan") -> None:
    if screen.as_json:
        listed = [{"tag": step.scenario.tag, "texts": step.texts, "skipped": step.skip or None} for step in todo.steps]
        screen.json({"texts": todo.texts, "scenarios": listed})
        return
    for step in todo.steps:
        cost = step.skip or (f"{step.texts} text{'s' * (step.texts != 1)}" if step.texts else "")
        screen.out.print(Text(f"{step.scenario.tag}  ") + Text(cost, "dim"))
