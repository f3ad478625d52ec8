"""`camara-otp verify`: send a code, ask for it, and check it."""

from click.exceptions import Exit as EndOfCommand

from camara_otp import (
    InvalidOTPError,
    OTPError,
    RequestValidationError,
    ValidateCodeResponse,
    VerificationExpiredError,
    VerificationFailedError,
)
from camara_otp.cli import options, prompts
from camara_otp.cli.console import Screen
from camara_otp.cli.exit_codes import Exit, exit_code
from camara_otp.cli.send import send_code
from camara_otp.cli.validate import validate_code


@options.number_argument
@options.message_option
@options.yes_option
@options.output_options
@options.call_options
def verify(*, screen: Screen, given: options.Given, number: str, message: str | None, yes: bool) -> Exit:
    """Send a code to a phone, ask for the code, and check it."""
    found = options.resolved(screen, given)
    with options.opened_client(screen, found) as otp:
        prompts.require_answers(screen)
        sent = send_code(screen, otp, found, number, message, yes=yes)
        screen.note("✓ Accepted for sending.", "green")
        valid: ValidateCodeResponse | None = None
        last: OTPError | None = None
        while valid is None:
            code = prompts.ask(screen, "Code", otherwise=last, authentication_id=sent.authentication_id)
            try:
                valid = validate_code(screen, otp, sent.authentication_id, code)
            except InvalidOTPError as error:
                last = error
                screen.note("✗ That is not the code. Try again.", "yellow")
            except RequestValidationError as error:
                last = error
                screen.note(f"✗ {error.field} {error.reason}. Try again.", "yellow")
            except (VerificationExpiredError, VerificationFailedError) as error:
                if screen.as_json or not prompts.at_terminal():
                    screen.failed(error)
                screen.note(f"✗ {error.cause}", "yellow")
                if not prompts.is_agreed(screen, "Send another code?"):
                    screen.note("No other code was sent.")
                    raise EndOfCommand(exit_code(error)) from None
                last = None
                sent = send_code(screen, otp, found, number, message, yes=True)
                screen.note("✓ Accepted for sending.", "green")
            except OTPError as error:
                screen.failed(error, authentication_id=sent.authentication_id)
    screen.result({"verified": True, "xCorrelator": valid.x_correlator}, "✓ The number is verified.")
    return Exit.DONE
