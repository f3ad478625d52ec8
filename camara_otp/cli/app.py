"""The commands together, and the one place that turns their end into an exit code."""

import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click
from click.shell_completion import get_completion_class

from camara_otp import __version__
from camara_otp.cli import check, config, errors, sandbox, send, token, validate, verify
from camara_otp.cli.console import Screen, plain
from camara_otp.cli.exit_codes import Exit
from camara_otp.cli.options import Command, VerdictCommand
from camara_otp.cli.streams import recording_streams

PROGRAM = "camara-otp"


# Most used first.
_ORDER: Final = ("verify", "send", "validate", "check", "errors", "token", "config", "sandbox", "completion")


class _Commands(click.Group):
    """The commands, the most used ones first, and the exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Return the names of the commands."""
        return sorted(self.commands, key=_ORDER.index)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - Click's signature
        """Write the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(f"{code:d}", code.meaning) for code in Exit])


@click.group(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Send one-time codes by SMS over CAMARA's API, check them, and check the operators that send them.",
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s", help="Print the version.")
def app() -> None:
    """Run one of the commands."""


@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> Exit:
    """Print the completion script of a shell."""
    script = get_completion_class(shell)
    if script is not None:
        click.echo(script(app, {}, PROGRAM, "_CAMARA_OTP_COMPLETE").source())
    return Exit.DONE


# The texts of the help are data, not docstrings, which python -OO removes.
for _function, _kind, _summary, _help in (
    (
        verify.verify,
        VerdictCommand,
        "Send a code, ask for it, and check it.",
        (
            "Send a code to a phone, ask for the code, and check it.\n\n"
            "NUMBER is the phone in international form: +34600000000. Codes come from standard input or a prompt. "
            "Exit code 0 means that the operator answered HTTP 204, and nothing else."
        ),
    ),
    (
        send.send,
        Command,
        "Send a code; print the id that checks it.",
        (
            "Send a code to a phone, and print the authenticationId that checks it.\n\n"
            "NUMBER is the phone in international form: +34600000000."
        ),
    ),
    (
        check.check,
        Command,
        "Check an operator against CAMARA's test scenarios.",
        (
            "Check an operator's endpoint against CAMARA's published test scenarios.\n\n"
            "BASE_URL is the operator's API root. The command first shows how many texts the check sends, and asks."
        ),
    ),
    (
        config.config,
        Command,
        "Show every setting and its source.",
        "Show every setting, its source, and the variable that sets it; secrets are masked.",
    ),
    (
        token.token,
        Command,
        "Fetch a token and describe it.",
        "Fetch an access token, or read the one that is set, and describe it without printing it.",
    ),
    (
        errors.errors,
        Command,
        "Show the error codes, their causes and remedies.",
        (
            "Show the error codes: the cause of each, and the remedy.\n\n"
            "CODE is a code, the beginning of one, a class of errors or an HTTP status."
        ),
    ),
    (
        completion,
        Command,
        "Print a shell's completion script.",
        (
            "Print the script that completes commands, options, profiles and error codes in a shell.\n\n"
            'Add to the shell\'s start-up file: eval "$(camara-otp completion bash)"'
        ),
    ),
):
    app.command(cls=_kind, short_help=_summary, help=_help)(_function)
app.command(
    cls=VerdictCommand,
    short_help="Check a code.",
    help="Check a code.\n\n"
    "ID is the authenticationId that `send` printed. Exit code 0 means that the operator answered HTTP 204, and "
    "nothing else.",
    # The message about an unknown option would repeat a code.
    context_settings={"ignore_unknown_options": True},
)(validate.validate)
app.command(
    short_help="Run a local operator with an inbox.",
    help="Run a local operator with an inbox; see `camara-otp sandbox --help`.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)(sandbox.sandbox)


def run_command(arguments: Sequence[str]) -> int:
    """Run a command and return the exit code; a script that asked for JSON gets JSON in every case.

    Args:
        arguments: the command line, without the program's name
    """
    with recording_streams() as out:
        screen = Screen(as_json="--json" in arguments)
        code = _run(arguments, screen)
        if code == Exit.STOPPED and not out.has_written:
            # Stopped between two steps, which only Click notices.
            screen.json_error("Stopped", "Stopped.", Exit.STOPPED)
        sys.stdout.flush()
        if out.failure:
            # The unwritten text may hold the id of a text that was sent, without which its code cannot be checked.
            text = f"✗ standard output cannot be written: {out.failure}. Not written:\n{out.unwritten.rstrip()}"
            screen.err.print(plain(text))
            code = Exit.UNWRITTEN
    return code


def _run(arguments: Sequence[str], screen: Screen) -> int:
    try:
        return int(app.main(list(arguments), prog_name=PROGRAM, standalone_mode=False))
    except click.Abort:
        return Exit.STOPPED
    except click.ClickException as error:
        if screen.as_json:
            screen.json_error("UsageError", error.format_message(), Exit.USAGE)
        else:
            error.show()
        return Exit.USAGE
    except BaseException as error:  # noqa: BLE001 - every other code would be the verdict of some command
        traceback.print_exc()
        reason = "a fault of camara-otp itself, printed on standard error; the operator may have acted"
        screen.json_error(type(error).__name__, reason, Exit.FAULT, outcome_unknown=True)
        return Exit.FAULT
