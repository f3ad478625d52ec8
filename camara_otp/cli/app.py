"""The commands together, and the one place that turns their end into an exit code."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click
from click.shell_completion import get_completion_class

from camara_otp import OTPError, __version__
from camara_otp.cli.check import check
from camara_otp.cli.config import config
from camara_otp.cli.console import Screen, plain
from camara_otp.cli.errors import errors
from camara_otp.cli.exit_codes import Exit, Stopped
from camara_otp.cli.options import Command
from camara_otp.cli.sandbox import sandbox
from camara_otp.cli.send import send
from camara_otp.cli.streams import recording_streams
from camara_otp.cli.token import token
from camara_otp.cli.validate import validate
from camara_otp.cli.verify import verify

PROGRAM: Final = "camara-otp"
_COMPLETE: Final = "_CAMARA_OTP_COMPLETE"


class _Commands(click.Group):
    """The commands, in the order in which they are added, and the exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - Click's signature
        with formatter.section("Exit codes"):
            formatter.write_dl([(f"{code:d}", code.meaning) for code in Exit])


# The words of the help are data, not docstrings, which python -OO removes.
@click.group(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Send one-time codes by SMS over CAMARA's API, check them, and check the operators that send them.",
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s", help="Print the version.")
def app() -> None:
    """Run one of the commands."""


@click.command(
    cls=Command,
    help="Print a shell's completion script.\n\n"
    "It completes commands, options, profiles and error codes. "
    'Add to the shell\'s start-up file: eval "$(camara-otp completion bash)"',
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print the completion script of a shell."""
    script = get_completion_class(shell)
    if script is not None:
        click.echo(script(app, {}, PROGRAM, _COMPLETE).source())


# Most used first.
for _command in (verify, send, validate, check, errors, token, config, sandbox, completion):
    app.add_command(_command)


def run_command(arguments: Sequence[str]) -> int:
    """Run a command with its arguments, and return the exit code; with `--json`, every failure is JSON, too."""
    if os.environ.get(_COMPLETE):  # the shell asks for completions, in bytes
        app.main([], prog_name=PROGRAM)
    with recording_streams() as out:
        screen = Screen(as_json="--json" in arguments)  # until the command line is parsed, which may fail
        code = _run(arguments, screen)
        sys.stdout.flush()
        if out.failure:
            # The unwritten output may contain the id of an SMS that was sent, without which its code cannot be checked.
            text = f"✗ standard output cannot be written: {out.failure}. Not written:\n{out.unwritten.rstrip()}"
            screen.err.print(plain(text))
            code = Exit.UNWRITTEN
    return code


def _run(arguments: Sequence[str], screen: Screen) -> int:
    try:
        return app.main(list(arguments), prog_name=PROGRAM, standalone_mode=False, obj=screen) or Exit.DONE
    except OTPError as error:
        return screen.failed(error)
    except click.Abort:
        return screen.failed(Stopped())
    except click.ClickException as error:
        if screen.as_json:
            screen.error({"class": "UsageError", "reason": error.format_message()}, Exit.USAGE)
        else:
            error.show()
        return Exit.USAGE
    except BaseException as error:  # noqa: BLE001 - every other code would be the verdict of some command
        traceback.print_exc()
        if screen.as_json:
            reason = "a fault of camara-otp itself, printed on standard error; the operator may have acted"
            screen.error({"class": type(error).__name__, "reason": reason}, Exit.FAULT, outcome_unknown=True)
        return Exit.FAULT
