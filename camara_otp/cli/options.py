"""The options that commands share, and the form of a command's help."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click

from camara_otp import ConfigurationError, OTPClient, OTPError
from camara_otp.cli import prompts, settings
from camara_otp.cli.console import Screen
from camara_otp.cli.exit_codes import Exit
from camara_otp.cli.settings import Setting

Function = TypeVar("Function", bound=Callable[..., Any])
OPERATOR: Final = "The operator"
FILE: Final = click.Path(path_type=Path)


class Option(click.Option):
    """An option that the help lists under a heading."""

    def __init__(self, *args: Any, heading: str = "Options", **more: Any) -> None:
        """Take the arguments of `click.Option` and the heading."""
        self.heading = heading
        super().__init__(*args, **more)


class Command(click.Command):
    """A command whose help groups the options by heading."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, one section for each heading."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "heading", "Options"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class VerdictCommand(Command):
    """A command whose exit code 0 means that the operator answered HTTP 204; its help ends with another code."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return the option, with an exit code that no script takes for a verified code."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


def _show_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - Click's signature
    if value and not ctx.resilient_parsing:
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit(Exit.USAGE)


def option(*names: str, **more: Any) -> Callable[[Function], Function]:
    """Return a decorator that adds an option."""
    return click.option(*names, cls=Option, **more)


@attrs.frozen
class Given:
    """The settings that the command line gave."""

    profile: str | None = None
    base_url: str | None = None
    api_path: str | None = None
    timeout: float | None = None
    token_file: Path | None = None
    token_stdin: bool = False
    insecure_token: str | None = attrs.field(default=None, repr=False)


def profile_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of profiles, for completion."""
    try:
        names = settings.profiles(settings.profiles_file(settings.environment()))
    except ConfigurationError:
        return []
    return [name for name in names if name.startswith(incomplete)]


_PROFILE = option(
    "--profile", help="Profile to use, from the profiles file.", shell_complete=profile_names, heading=OPERATOR
)
_TOKEN = (
    option("--token-file", type=FILE, help="File with the access token.", heading=OPERATOR),
    option("--token-stdin", is_flag=True, help="Read the access token from standard input.", heading=OPERATOR),
    option(
        "--insecure-token-argument",
        "insecure_token",
        help="The access token itself, which every user of this machine can read in the process list.",
        heading=OPERATOR,
    ),
)
_CALL = (
    option("--base-url", help="The operator's API root.", heading=OPERATOR),
    option("--api-path", help="Path between root and operation; default: /otpvalidation.", heading=OPERATOR),
    option("--timeout", type=float, help="Seconds for one call; default: 10.", heading=OPERATOR),
)


def _settings_options(function: Function, options: Sequence[Callable[..., Any]]) -> Function:
    @functools.wraps(function)
    def command(**values: Any) -> Any:
        names = [field.name for field in attrs.fields(Given) if field.name in values]
        return function(given=Given(**{name: values.pop(name) for name in names}), **values)

    for decorate in reversed(options):
        command = decorate(command)
    return command  # type: ignore[return-value]


def call_options(function: Function) -> Function:
    """Add the options of a command that calls the operator; they arrive as `given`."""
    return _settings_options(function, (_PROFILE, *_CALL, *_TOKEN))


def token_options(function: Function) -> Function:
    """Add the options of a command that needs a token only; they arrive as `given`."""
    return _settings_options(function, (_PROFILE, *_TOKEN))


def profile_option(function: Function) -> Function:
    """Add the option that names a profile; it arrives as `given`."""
    return _settings_options(function, (_PROFILE,))


def output_options(function: Function) -> Function:
    """Add `--json` and `--verbose`; they arrive as `screen`."""

    @functools.wraps(function)
    def command(*, as_json: bool, verbose: bool, **values: Any) -> Any:
        return function(screen=Screen(as_json=as_json, verbose=verbose), **values)

    decorated = option("--verbose", "-v", is_flag=True, help="Show each attempt with its x-correlator.")(command)
    return option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(decorated)  # type: ignore[return-value]


number_argument: Final = click.argument("number", metavar="NUMBER")
message_option: Final = option("--message", help="The text, with the label {{code}}; at most 160 characters.")
yes_option: Final = option("--yes", "-y", is_flag=True, help="Do not ask.")


def resolved(screen: Screen, given: Given) -> dict[str, Setting]:
    """Return the settings of a command, or end with the error in them."""
    if sum((given.token_file is not None, given.token_stdin, given.insecure_token is not None)) > 1:
        screen.usage("give one of --token-file, --token-stdin and --insecure-token-argument")
    options = {
        "base_url": given.base_url,
        "api_path": given.api_path,
        "timeout": given.timeout,
        "token": prompts.ask_for_token(screen) if given.token_stdin else given.insecure_token,
        "token_file": str(given.token_file) if given.token_file else None,
    }
    environ = settings.environment()
    try:
        return settings.resolve(options, environ, given.profile, settings.profiles_file(environ))
    except ConfigurationError as error:
        screen.failed(error)


def opened_client(screen: Screen, found: Mapping[str, Setting]) -> OTPClient:
    """Return a client for settings, or end with the error in them."""
    try:
        return settings.client(found)
    except OTPError as error:
        screen.failed(error)
