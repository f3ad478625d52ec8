"""`camara-otp verify`: send a code, ask for it, and check it."""

from typing import Any

import click
from click.exceptions import Exit as EndOfCommand

from camara_otp import (
    InvalidOTPError,
    OTPError,
    RequestValidationError,
    VerificationExpiredError,
    VerificationFailedError,
)
from camara_otp.cli import options, prompts
from camara_otp.cli.console import Screen, in_cli_words
from camara_otp.cli.exit_codes import exit_code
from camara_otp.cli.send import send_code
from camara_otp.cli.validate import validate_code


@click.command(
    cls=options.CallCommand,
    help="Send a code, ask for it, and check it.\n\n"
    "NUMBER is the phone in international form: +34600000000. Options about the operator come before it. Codes come "
    "from standard input or a prompt. Exit code 0 means that the operator responded with HTTP 204, and nothing else.",
)
@options.send_options
@click.pass_obj
def verify(screen: Screen, /, *, number: str, yes: bool, **given: Any) -> None:
    """Send a code to a phone, ask for the code, and check it."""
    found = options.resolved(screen, given)
    last: OTPError | None = None
    with options.opened_client(found) as otp:
        prompts.require_answers()
        while True:
            if screen.authentication_id is None:
                screen.authentication_id = send_code(screen, otp, found, number, yes=yes).authentication_id
                screen.note("✓ Accepted for sending.", "green")
            code = prompts.ask("Code", otherwise=last)
            try:
                valid = validate_code(screen, otp, screen.authentication_id, code)
            except InvalidOTPError as error:
                last = error
                screen.note("✗ That is not the code. Try again.", "yellow")
            except RequestValidationError as error:
                last = error
                screen.note(f"✗ {error.field} {error.reason}. Try again.", "yellow")
            except (VerificationExpiredError, VerificationFailedError) as error:
                screen.authentication_id = last = None
                if screen.as_json or not prompts.at_terminal():
                    raise
                screen.note(f"✗ {in_cli_words(error.cause)}", "yellow")
                if not prompts.is_agreed("Send another code?"):
                    screen.note("No other code was sent.")
                    raise EndOfCommand(exit_code(error)) from None
                yes = True
            else:
                screen.result({"verified": True, "xCorrelator": valid.x_correlator}, "✓ The number is verified.")
                return
