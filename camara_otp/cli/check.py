"""`camara-otp check`: check an operator."""

import fnmatch
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from camara_otp import ConfigurationError, RequestNotSentError, TokenError, TokenProvider
from camara_otp._environment import Setting, expanded, token_or_provider
from camara_otp.cli import options, prompts
from camara_otp.cli.console import Screen, plain
from camara_otp.cli.exit_codes import Exit, Stopped
from camara_otp.cli.options import OPERATOR, option

# `camara_otp.conformance` is imported where it is used: the other commands start a quarter sooner without it.
if TYPE_CHECKING:
    from camara_otp.conformance import Grade, Plan, Report, Settings

_about_operator = partial(option, heading=OPERATOR)
_about_cost = partial(option, heading="Cost")
_about_reports = partial(option, heading="Reports")
_FILE: Final[dict[str, Any]] = {"type": click.Path(path_type=Path), "metavar": "FILE"}
# Settings of the client that are settings of the check, too, and settings of the check that are options.
_SHARED: Final = ("base_url", "api_path", "timeout", "headers", "params")
_OWN: Final = ("release", "sms", "max_texts", "require", "ca_file", "allow_http")


@click.command(
    cls=options.Command,
    help="Check an operator against CAMARA's test scenarios.\n\n"
    "BASE_URL is the operator's API root. The command first shows how many SMS the check sends, and asks.",
)
@click.argument("base_url", required=False, metavar="[BASE_URL]")
@_about_operator("--settings", "file", help="TOML file: numbers, limits, how SMS are read.", **_FILE)
@options.profile_option
@options.setting("api_path", about="Path between root and operation; left out, it is looked for.")
@_about_operator("--release", help="Release whose scenarios run: 1.0.0, 1.1.0, 1.1.1.")
@_about_operator("--ca-file", metavar="FILE", help="PEM file of certificates to trust as well.")
@_about_operator(
    "--allow-http", flag_value=True, default=None, help="Let the token travel over plain http to another machine."
)
@_about_operator("--number", "phones", multiple=True, help="A phone whose SMS you can read; may be repeated.")
@options.token_options
@_about_cost("--no-sms", "sms", flag_value=False, default=None, help="Run only scenarios that send no SMS.")
@_about_cost("--max-texts", type=int, help="The most SMS to send.")
@_about_cost("--only", multiple=True, help="Only scenarios whose tag matches, as '*401*'; may be repeated.")
@_about_cost("--require", multiple=True, help="Scenarios that must run for a verdict, as '*401*'; may be repeated.")
@_about_cost("--published-only", is_flag=True, help="Run only CAMARA's own scenarios.")
@_about_cost("--dry-run", is_flag=True, help="List the steps, and do nothing.")
@_about_cost("--yes", "-y", is_flag=True, help="Do not ask.")
@_about_reports("--html", help="Write a page that can be sent to anyone.", **_FILE)
@_about_reports("--junit", help="Write JUnit XML.", **_FILE)
@_about_reports("--json-file", help="Write JSON.", **_FILE)
@options.json_option
@_about_reports("--all", "every", is_flag=True, help="List the passed scenarios, too.")
@_about_reports(
    "--fail-on",
    type=click.Choice(("breaks", "differs", "advice")),
    default="differs",
    help="Least deviation that makes the exit code 1.",
)
@click.pass_obj
def check(
    screen: Screen,
    /,
    *,
    file: Path | None,
    phones: Sequence[str],
    only: Sequence[str],
    published_only: bool,
    dry_run: bool,
    yes: bool,
    every: bool,
    fail_on: str,
    **given: Any,
) -> Exit:
    """Check an operator's endpoint against CAMARA's published test scenarios."""
    from camara_otp.conformance import Grade, SettingsError, plan, scenarios, settings_from  # noqa: PLC0415
    from camara_otp.conformance.reports import as_html, as_json, as_junit  # noqa: PLC0415
    from camara_otp.conformance.reports.terminal import announcement, rendered  # noqa: PLC0415

    found = options.resolved(screen, given)
    own = {name: given[name] for name in _OWN} | {"require": given["require"] or None}
    try:
        table, is_sandbox = _table(found, file, phones)
        settings = settings_from(table, **own)
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None
    writers = {"html": as_html, "junit": as_junit, "json_file": as_json}
    files = [(given[name], write) for name, write in writers.items() if given[name] is not None]
    for path, _ in files:
        _require_writable(path)
    chosen = [
        scenario
        for scenario in scenarios(settings.release, added=not published_only)
        if any(fnmatch.fnmatchcase(scenario.tag, pattern) for pattern in only or ["*"])
    ]
    if not chosen:
        raise ConfigurationError(f"--only: no scenario of {settings.release} has such a tag")
    todo = plan(settings, chosen)
    screen.note(announcement(todo, settings.root, sandbox=is_sandbox))
    if dry_run:
        _list(screen, todo)
        return Exit.DONE
    _require_reader(settings, todo)
    source = token_or_provider(found)
    if not isinstance(source, str):
        source.get_token(rejected=None, timeout=30.0)
    if todo.texts:
        sms = "one SMS" if todo.texts == 1 else f"{todo.texts} SMS"
        prompts.confirm(f"This sends {sms}. Continue?", yes=yes)
    report, missed = _run(screen, settings, todo, source)
    written = [_write(screen, path, write(report)) for path, write in files]
    if screen.as_json:
        sys.stdout.write(as_json(report))
    else:
        screen.out.print(rendered(report, every=every), soft_wrap=False)
    return _ending(screen, report, missed, Grade[fail_on.upper()]) if all(written) else Exit.UNWRITTEN


def _table(found: Mapping[str, Setting], file: Path | None, phones: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Return the settings of a check, and whether a sandbox described itself."""
    from camara_otp.conformance.settings import read_toml  # noqa: PLC0415

    values: dict[str, Any] = {name: found[name].value for name in _SHARED if name in found}
    if file is None and "check" in found:
        file = expanded(Path(found["check"].value), "check")
    sandbox = _settings_of_sandbox(values) if file is None and "base_url" in values else None
    table = (sandbox or {}) if file is None else read_toml(file)
    if phones:
        table["numbers"] = {**table.get("numbers", {}), "reachable": list(phones)}
        if "read" not in table and prompts.at_terminal():
            table["read"] = {"how": "ask"}
    if not (values | table).get("base_url"):
        raise ConfigurationError("base_url: is missing; name the operator: camara-otp check https://api.example.com")
    # The file is about this operator, the environment is about all.
    ours = {name: value for name, value in values.items() if found[name].source == "option" or name not in table}
    return {**{name: value for name, value in table.items() if value is not None}, **ours}, sandbox is not None


def _settings_of_sandbox(values: dict[str, Any]) -> dict[str, Any] | None:
    """Return the settings of the sandbox at the base URL, or None; an API path in the URL becomes a setting."""
    from camara_otp.conformance import sandbox_settings  # noqa: PLC0415
    from camara_otp.conformance.hooks import sandbox_at  # noqa: PLC0415

    base_url = values["base_url"]
    described = sandbox_at(base_url)
    if described is not None:
        return sandbox_settings(base_url, described)
    address = re.fullmatch(r"(\w+://[^/]+)(/.+?)/*", base_url)
    if address is None or "api_path" in values:
        return None
    root, path = address.groups()
    described = sandbox_at(root)
    if described is None or path not in described.get("apiPaths", ()):
        return None
    values["base_url"] = root
    return sandbox_settings(root, described) | {"api_path": path}


def _require_writable(path: Path) -> None:
    """Refuse to send an SMS if the report about it could not be written."""
    try:
        is_folder, place = path.is_dir(), path if path.exists() else path.parent
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    if is_folder:
        raise ConfigurationError(f"{path}: is a folder; name a file in it")
    if not os.access(place, os.W_OK):
        raise ConfigurationError(f"{path}: cannot be written; name a file in an existing folder that you can write to")


def _list(screen: Screen, todo: "Plan") -> None:
    if screen.as_json:
        listed = [{"tag": step.scenario.tag, "texts": step.texts, "skipped": step.skip or None} for step in todo.steps]
        screen.json({"texts": todo.texts, "scenarios": listed})
        return
    for step in todo.steps:
        cost = step.skip or (f"{step.texts} SMS" if step.texts else "")
        screen.out.print(Text(f"{step.scenario.tag}  ") + Text(cost, "dim"))


def _require_reader(settings: "Settings", todo: "Plan") -> None:
    """Refuse to send an SMS if its code would have to be typed and standard input is closed."""
    asks = settings.read is not None and settings.read.how == "ask"
    if asks and not prompts.can_answer() and any("read" in step.scenario.needs for step in todo.steps if not step.skip):
        raise ConfigurationError(
            'read.how: "ask" needs a user at the terminal, but standard input is closed; use "http" or "command"'
        )


def _run(
    screen: Screen, settings: "Settings", todo: "Plan", source: str | TokenProvider
) -> "tuple[Report, TokenError | None]":
    """Run the check; return the report, and the error if a token could not be renewed."""
    import anyio  # noqa: PLC0415

    from camara_otp.conformance import UnreachableError, run  # noqa: PLC0415
    from camara_otp.conformance.reports.terminal import progress  # noqa: PLC0415

    missed: TokenError | None = None

    async def token() -> str:
        nonlocal missed
        try:
            return source if isinstance(source, str) else await source.aget_token(rejected=None, timeout=30.0)
        except TokenError as error:
            missed = error
            raise

    async def checked() -> "Report":
        with progress(screen.err, todo) as (on_event, prompt):
            return await run(settings, todo, token, on_event=on_event, prompt=prompt)

    try:
        return anyio.run(checked), missed
    except KeyboardInterrupt:
        reason = "\nStopped. SMS that were already sent may still arrive."
        raise Stopped(reason, outcome_unknown=todo.texts > 0) from None
    except UnreachableError as error:
        raise RequestNotSentError(str(error)) from None


def _write(screen: Screen, path: Path, text: str) -> bool:
    """Write a report, and return whether that went well: the check is done, and must not be lost for it."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        screen.err.print(plain(f"✗ {path}: {error.strerror}"))
        return False
    screen.note(f"Wrote {path}", "dim")
    return True


def _ending(screen: Screen, report: "Report", missed: TokenError | None, fail_on: "Grade") -> Exit:
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
