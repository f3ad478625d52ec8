"""The command that checks an operator."""

import fnmatch
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from camara_otp import ConfigurationError, OTPError, RequestNotSentError, TokenError, TokenProvider
from camara_otp.cli import prompts
from camara_otp.cli.console import Screen, plain
from camara_otp.cli.exit_codes import Exit
from camara_otp.cli.options import FILE, OPERATOR, option, profile_names
from camara_otp.cli.settings import Setting, environment, expanded, profiles_file, resolve, token_source

# What checks is loaded where it is used: the other commands start a quarter sooner without it.
if TYPE_CHECKING:
    from camara_otp.conformance import Grade, Plan, Report, Scenario, Settings

_GRADES = ("breaks", "differs", "advice")
_COST, _REPORTS = "Cost", "Reports"


@click.argument("base_url", required=False, metavar="[BASE_URL]")
@option(
    "--settings",
    "settings_file",
    type=FILE,
    metavar="FILE",
    help="TOML file: numbers, limits, how texts are read.",
    heading=OPERATOR,
)
@option("--profile", help="Profile to use.", shell_complete=profile_names, heading=OPERATOR)
@option("--api-path", help="Path between root and operation; left out, it is looked for.", heading=OPERATOR)
@option("--release", help="Release whose scenarios run: 1.0.0, 1.1.0, 1.1.1.", heading=OPERATOR)
@option("--ca-file", type=FILE, metavar="FILE", help="PEM file of certificates to trust as well.", heading=OPERATOR)
@option(
    "--allow-http",
    is_flag=True,
    help="Let the token travel over plain http to another machine.",
    heading=OPERATOR,
)
@option("--number", multiple=True, help="A phone whose texts you can read; may be repeated.", heading=OPERATOR)
@option("--token-file", type=FILE, help="File with the access token.", heading=OPERATOR)
@option("--token-stdin", is_flag=True, help="Read the access token from standard input.", heading=OPERATOR)
@option(
    "--insecure-token-argument",
    "insecure_token",
    help="The access token itself, readable in the process list.",
    heading=OPERATOR,
)
@option("--no-sms", is_flag=True, help="Run only scenarios that send no text.", heading=_COST)
@option("--max-texts", type=int, help="The most texts to send.", heading=_COST)
@option("--only", multiple=True, help="Only scenarios whose tag matches, as '*401*'; may be repeated.", heading=_COST)
@option(
    "--require",
    multiple=True,
    help="Scenarios that must run for a verdict, as '*401*'; may be repeated.",
    heading=_COST,
)
@option("--published-only", is_flag=True, help="Run only CAMARA's own scenarios.", heading=_COST)
@option("--dry-run", is_flag=True, help="List the steps, and do nothing.", heading=_COST)
@option("--yes", "-y", is_flag=True, help="Do not ask.", heading=_COST)
@option("--html", type=FILE, metavar="FILE", help="Write a page that can be sent to anyone.", heading=_REPORTS)
@option("--junit", type=FILE, metavar="FILE", help="Write JUnit XML.", heading=_REPORTS)
@option("--json-file", type=FILE, metavar="FILE", help="Write JSON.", heading=_REPORTS)
@option("--json", "to_stdout", is_flag=True, help="Print JSON, for scripts.", heading=_REPORTS)
@option("--all", "every", is_flag=True, help="List the passed scenarios, too.", heading=_REPORTS)
@option(
    "--fail-on",
    type=click.Choice(_GRADES),
    default="differs",
    help="Least deviation that makes the exit code 1.",
    heading=_REPORTS,
)
def check(
    *,
    base_url: str | None,
    settings_file: Path | None,
    profile: str | None,
    api_path: str | None,
    release: str | None,
    ca_file: Path | None,
    allow_http: bool,
    number: Sequence[str],
    token_file: Path | None,
    token_stdin: bool,
    insecure_token: str | None,
    no_sms: bool,
    max_texts: int | None,
    only: Sequence[str],
    require: Sequence[str],
    published_only: bool,
    dry_run: bool,
    yes: bool,
    html: Path | None,
    junit: Path | None,
    json_file: Path | None,
    to_stdout: bool,
    every: bool,
    fail_on: str,
) -> Exit:
    """Check an operator's endpoint against CAMARA's published test scenarios."""
    from camara_otp.conformance import Grade, SettingsError, plan, settings_from  # noqa: PLC0415
    from camara_otp.conformance.reports import as_html, as_json, as_junit  # noqa: PLC0415
    from camara_otp.conformance.reports.terminal import announcement, rendered  # noqa: PLC0415

    screen = Screen(as_json=to_stdout)
    given: dict[str, Any] = {
        "release": release,
        "sms": False if no_sms else None,
        "max_texts": max_texts,
        "require": tuple(require) or None,
        "ca_file": str(ca_file) if ca_file else None,
        "allow_http": allow_http or None,
    }
    environ = environment()
    options = {
        "base_url": base_url,
        "api_path": api_path,
        "token": prompts.ask_for_token(screen) if token_stdin else insecure_token,
        "token_file": str(token_file) if token_file else None,
    }
    try:
        made = resolve(options, environ, profile, profiles_file(environ))
        table, is_sandbox = _table(made, settings_file, list(number))
        settings = settings_from(table, **given)
    except SettingsError as error:
        screen.usage(str(error))
    except OTPError as error:
        screen.failed(error)
    for path in (html, junit, json_file):
        _writable(screen, path)
    todo = plan(settings, _chosen(screen, settings, list(only) or ["*"], added=not published_only))
    screen.note_of(announcement(todo, settings.root, sandbox=is_sandbox))
    if dry_run:
        _list(screen, todo)
        return Exit.DONE
    _answerable(screen, settings, todo)
    missed: list[TokenError] = []
    try:
        token = _token(token_source(made), missed)
    except OTPError as error:
        screen.failed(error)
    if todo.texts:
        texts = "one text" if todo.texts == 1 else f"{todo.texts} texts"
        prompts.confirm(screen, f"This sends {texts}. Continue?", yes=yes)
    report = _run(screen, settings, todo, token)
    files = ((html, as_html), (junit, as_junit), (json_file, as_json))
    written = [_write(screen, path, write(report)) for path, write in files if path is not None]
    if to_stdout:
        sys.stdout.write(as_json(report))
    else:
        screen.out.print(rendered(report, every=every), soft_wrap=False)
    return _ending(screen, report, missed, Grade[fail_on.upper()]) if all(written) else Exit.UNWRITTEN


def _answerable(screen: Screen, settings: "Settings", todo: "Plan") -> None:
    """End before a text is sent if its code would have to be typed and standard input is closed."""
    asks = settings.read is not None and settings.read.how == "ask"
    if asks and not prompts.can_answer() and any("read" in step.scenario.needs for step in todo.steps if not step.skip):
        screen.usage('read.how: "ask" needs a person at the terminal, and standard input is closed')


def _ending(screen: Screen, report: "Report", missed: list[TokenError], fail_on: "Grade") -> Exit:
    if missed:
        # Scenarios that were skipped without a token would otherwise count as good.
        screen.note("✗ The check is not complete: the access token could not be renewed.", "bold red")
        return Exit.NO_TOKEN
    if (report.worst or 0) >= fail_on:
        return Exit.DEVIATES
    if report.not_judged:
        screen.note(f"? Not judged: {report.not_judged}.", "bold magenta")
        return Exit.NOT_JUDGED
    return Exit.DONE


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
    """Return the settings of a check, and whether a sandbox described itself."""
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
        if "read" not in table and prompts.at_terminal():
            table["read"] = {"how": "ask"}
    if not (values | table).get("base_url"):
        raise ConfigurationError("base_url: is missing; name the operator: camara-otp check https://api.example.com")
    # The file is about this operator, the environment is about all.
    ours = {name: value for name, value in values.items() if made[name].source == "option" or name not in table}
    return {**{name: value for name, value in table.items() if value is not None}, **ours}, described is not None


_SHARED: Final[tuple[str, ...]] = ("base_url", "api_path", "timeout", "headers", "params")


def _token(source: str | TokenProvider, missed: list[TokenError]) -> str | Callable[[], Awaitable[str]]:
    """Return the token, or a callable that fetches it and records each failure."""
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
