"""The options that commands share, and the form of a command's help."""

import os
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Final, NoReturn

import click
from click.exceptions import Exit as EndOfCommand

from camara_otp import ConfigurationError, OTPClient, _environment
from camara_otp._environment import SETTINGS, Setting, profiles, profiles_file, resolve, token_settings
from camara_otp.cli import prompts
from camara_otp.cli.console import Screen
from camara_otp.cli.exit_codes import Exit

Decorator = Callable[[Any], Any]
OPERATOR: Final = "The operator"


class HeadedOption(click.Option):
    """An option that the help lists under a heading."""

    def __init__(self, *args: Any, heading: str = "Options", **more: Any) -> None:
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


class CallCommand(Command):
    """A command with one value, an id or a number, which may come from a stranger.

    The value must neither be read as an option that sends the token elsewhere, nor lead to exit code 0 without a call.
    """

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the parts of the usage line, in the order that `parse_args` requires."""
        options, *values = super().collect_usage_pieces(ctx)
        return ["[OPERATOR OPTIONS]", *values, options]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; options about the operator must come before the value."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        try:
            before, _ = self._parsed(ctx, args, interspersed=False)
            given, surplus = self._parsed(ctx, args, interspersed=True)
        except click.NoSuchOption as error:
            similar = f" (did you mean {error.possibilities[0]}?)" if error.possibilities else ""
            self._reject(ctx, f"unknown option{similar}")
        if surplus:
            self._reject(ctx, "an argument too many")
        for option in self.params:
            if getattr(option, "heading", "") == OPERATOR and before.get(option.name) != given.get(option.name):
                ctx.fail(
                    f"{option.opts[0]} must come before the id or number: arguments after it may come from a stranger"
                )
        try:
            return super().parse_args(ctx, args)
        except EndOfCommand:  # --help
            ctx.exit(Exit.USAGE)

    def _parsed(self, ctx: click.Context, args: list[str], *, interspersed: bool) -> tuple[dict[str, Any], list[str]]:
        ctx.allow_interspersed_args = interspersed
        return self.make_parser(ctx).parse_args(list(args))[:2]

    def _reject(self, ctx: click.Context, problem: str) -> NoReturn:
        ctx.fail(
            f"{problem} (not repeated: it may be a code). Give a code with --code, on standard input, or when asked."
        )


def option(*names: str, **more: Any) -> Decorator:
    """Return a decorator that adds an option."""
    return click.option(*names, cls=HeadedOption, **more)


def setting(name: str, *names: str, about: str = "", **more: Any) -> Decorator:
    """Return a decorator that adds the option of a setting."""
    spec = SETTINGS[name]
    default = "" if spec.default is None else f"; default: {spec.default}".removesuffix(".0")
    text = about or f"{spec.about[0].upper()}{spec.about[1:]}{default}."
    text += f" [{spec.variable}]" if spec.variable else ""
    return option(*(names or [f"--{name.replace('_', '-')}"]), name, help=text, **{"heading": OPERATOR, **more})


def together(*decorators: Decorator) -> Decorator:
    """Return a decorator that applies several; the help lists their options in this order."""
    return lambda function: reduce(lambda decorated, decorate: decorate(decorated), reversed(decorators), function)


def _profile_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    try:
        return [name for name in profiles(profiles_file(os.environ)) if name.startswith(incomplete)]
    except ConfigurationError:
        return []


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - Click's signature
    if not ctx.resilient_parsing:
        ctx.obj.as_json = value


profile_option: Final = option(
    "--profile", help="Profile to use, from the profiles file.", shell_complete=_profile_names, heading=OPERATOR
)
token_options: Final = together(
    setting("token_file", type=click.Path()),
    option("--token-stdin", is_flag=True, help="Read the access token from standard input.", heading=OPERATOR),
    setting(
        "token",
        "--insecure-token-argument",
        about="The access token itself, which every user of this machine can read in the process list.",
    ),
)
json_option: Final = option(
    "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print JSON, for scripts."
)
verbose_option: Final = option("--verbose", "-v", is_flag=True, help="Show each attempt with its x-correlator.")
yes_option: Final = option("--yes", "-y", is_flag=True, help="Do not ask.")
call_options: Final = together(
    json_option,
    verbose_option,
    setting("timeout", type=float, heading="Options"),
    profile_option,
    setting("base_url"),
    setting("api_path"),
    token_options,
)
send_options: Final = together(
    click.argument("number", metavar="NUMBER"), setting("message", heading="Options"), yes_option, call_options
)


def resolved(screen: Screen, given: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the settings of a command: from the options given, the profile, and the environment."""
    if given.get("verbose"):
        screen.show_attempts()
    if sum(given.get(name) not in (None, False) for name in ("token_file", "token_stdin", "token")) > 1:
        raise click.UsageError("give one of --token-file, --token-stdin and --insecure-token-argument")
    options = {name: given.get(name) for name in SETTINGS}
    if given.get("token_stdin"):
        options["token"] = prompts.ask_for_token()
    found = resolve(options, os.environ, given.get("profile"), profiles_file(os.environ))
    used, unused = token_settings(found)
    if used and "client_id" in unused:
        names = [
            SETTINGS[name].variable if found[name].source == "environment" else name for name in (used, "client_id")
        ]
        screen.note(f"! {names[0]} wins over {names[1]}: unset one of them.", "yellow")
    return found


def opened_client(found: Mapping[str, Setting]) -> OTPClient:
    """Return a client for the settings of a command."""
    if "base_url" not in found:
        raise ConfigurationError("base_url: is missing; give --base-url, set CAMARA_BASE_URL, or name a --profile")
    return OTPClient(**_environment.arguments_for(found))
