"""`camara-otp validate`: check a code."""

import click

from camara_otp import OTPClient, OTPError, ValidateCodeResponse
from camara_otp.cli import options, prompts
from camara_otp.cli.console import Screen
from camara_otp.cli.exit_codes import Exit


def validate_code(screen: Screen, otp: OTPClient, authentication_id: str, code: str) -> ValidateCodeResponse:
    """Check a code; end if the user stops the call.

    Args:
        screen: the outputs
        otp: the client
        authentication_id: the verification
        code: the code
    """
    try:
        with screen.waiting("Checking"):
            return otp.validate_code(authentication_id, code)
    except KeyboardInterrupt:
        screen.stopped(
            "\nStopped while checking: the operator may have accepted the code, or counted a wrong one. "
            "The number does not count as verified.",
            outcome_unknown=True,
        )


@click.argument("authentication_id", metavar="ID")
# Collected to be rejected: Click's own messages would repeat a code.
@click.argument("surplus", nargs=-1, metavar="")
@options.option("--code", help="The code. Without it, the code is read from standard input, or asked for.")
@options.output_options
@options.call_options
def validate(
    *, screen: Screen, given: options.Given, authentication_id: str, surplus: tuple[str, ...], code: str | None
) -> Exit:
    """Check a code."""
    if surplus:
        screen.usage("after ID: unexpected argument; give the code with --code, on standard input, or at the prompt")
    found = options.resolved(screen, given)
    with options.opened_client(screen, found) as otp:
        if code is None:
            prompts.require_answers(screen)
            code = prompts.ask(screen, "Code", silent=not prompts.at_terminal())
        try:
            valid = validate_code(screen, otp, authentication_id, code)
        except OTPError as error:
            screen.failed(error)
    screen.result({"valid": True, "xCorrelator": valid.x_correlator}, "✓ The code is right.")
    return Exit.DONE
