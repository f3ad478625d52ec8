"""`camara-otp validate`: check a code."""

from typing import Any

import click

from camara_otp import OTPClient, ValidateCodeResponse, VerificationExpiredError, VerificationFailedError
from camara_otp.cli import options, prompts, recent_sends
from camara_otp.cli.console import Screen


def validate_code(screen: Screen, otp: OTPClient, authentication_id: str, code: str) -> ValidateCodeResponse:
    """Validate a code. If it is used up, remove it from the send log.

    The next `send` to this number then does not ask for confirmation.
    """
    stopped = (
        "Stopped while checking: the operator may have accepted the code, or counted a wrong one. "
        "The number does not count as verified."
    )
    try:
        with screen.waiting("Checking", stopped):
            valid = otp.validate_code(authentication_id, code)
    except (VerificationExpiredError, VerificationFailedError):
        recent_sends.remove_used(authentication_id)
        raise
    recent_sends.remove_used(authentication_id)
    return valid


@click.command(
    cls=options.CallCommand,
    help="Check a code.\n\n"
    "ID is the authenticationId that `send` printed. Options about the operator come before it, and -- before an ID "
    "that begins with a hyphen. "
    "Exit code 0 means that the operator responded with HTTP 204, and nothing else.",
)
@click.argument("authentication_id", metavar="ID")
@options.option("--code", help="The code. Without it, the code is read from standard input, or asked for.")
@options.call_options
@click.pass_obj
def validate(screen: Screen, /, *, authentication_id: str, code: str | None, **given: Any) -> None:
    """Check a code."""
    found = options.resolved(screen, given)
    with options.opened_client(found) as otp:
        if code is None:
            prompts.require_answers()
            code = prompts.ask("Code")
        valid = validate_code(screen, otp, authentication_id, code)
    screen.result({"valid": True, "xCorrelator": valid.x_correlator}, "✓ The code is right.")
