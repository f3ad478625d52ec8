"""The commands together, and the one place that turns their end into an exit code."""

import sys
import traceback
from collections.abc import Sequence

import click
from click.shell_completion import get_completion_class

from camara_otp import __version__
from camara_otp.cli import check, config, errors, sandbox, send, token, validate, verify
from camara_otp.cli.console import Screen, plain
from camara_otp.cli.exit_codes import Exit
from camara_otp.cli.options import Command, VerdictCommand
from camara_otp.cli.streams import recording_streams

PROGRAM = "camara-otp"


class _Commands(click.Group):
    """The commands, in the order in which a user meets them, and the exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Return the names of the commands."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - Click's signature
        """Write the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(f"{code:d}", code.meaning) for code in Exit])


@click.group(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s", help="Print the version.")
def app() -> None:
    """Send one-time codes by SMS over CAMARA's API, check them, and check the operators that send them."""


@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> Exit:
    """Print the script that completes commands, options, profiles and error codes in a shell.

    Add to the shell's start-up file: eval "$(camara-otp completion bash)"
    """
    script = get_completion_class(shell)
    if script is not None:
        click.echo(script(app, {}, PROGRAM, "_CAMARA_OTP_COMPLETE").source())
    return Exit.DONE


for _function, _kind, _summary in (
    (verify.verify, VerdictCommand, "Send a code, ask for it, and check it."),
    (send.send, Command, "Send a code; print the id that checks it."),
    (check.check, Command, "Check an operator against CAMARA's test scenarios."),
    (config.config, Command, "Show every setting and its source."),
    (token.token, Command, "Fetch a token and describe it."),
    (errors.errors, Command, "Show the error codes, their causes and remedies."),
    (completion, Command, "Print a shell's completion script."),
):
    app.command(cls=_kind, short_help=_summary)(_function)
app.command(
    cls=VerdictCommand,
    short_help="Check a code.",
    # The message about an unknown option would repeat a code.
    context_settings={"ignore_unknown_options": True},
)(validate.validate)
app.command(
    short_help="Run a local operator with an inbox.",
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
