"""`camara-otp send`: send a code to a phone."""

import time
from collections.abc import Mapping

from camara_otp import OTPClient, OTPError, SendCodeResponse
from camara_otp.cli import options, prompts, recent_sends
from camara_otp.cli.console import Screen
from camara_otp.cli.exit_codes import Exit
from camara_otp.cli.settings import DEFAULT_MESSAGE, Setting, environment


def send_code(
    screen: Screen, otp: OTPClient, found: Mapping[str, Setting], number: str, message: str | None, *, yes: bool
) -> SendCodeResponse:
    """Send a code, after a question if one was sent to the number a short while ago; end on failure.

    Args:
        screen: the outputs
        otp: the client
        found: the settings
        number: the phone number
        message: the text, or None for the one in the settings
        yes: whether the user already agreed to a second text
    """
    log = recent_sends.open_log(environment(), str(found["base_url"].value), number)
    if log.last is not None:
        ago = time.time() - log.last
        question = (
            f"A code was, or may have been, sent to this number {ago:.0f} s ago. "
            "Sending another invalidates it. Send again?"
        )
        prompts.confirm(screen, question, yes=yes)
    text = message
    if text is None:
        text = str(found["message"].value) if "message" in found else DEFAULT_MESSAGE
    # Before the call: a process that is killed during the call may have sent a text, too.
    sent_at = log.add()
    try:
        with screen.waiting("Sending"):
            return otp.send_code(number, text)
    except KeyboardInterrupt:
        screen.stopped("\nStopped while sending: a text may have gone out.", outcome_unknown=True)
    except OTPError as error:
        if not error.outcome_unknown:
            log.remove(sent_at)
        screen.failed(error)


@options.number_argument
@options.message_option
@options.yes_option
@options.output_options
@options.call_options
def send(*, screen: Screen, given: options.Given, number: str, message: str | None, yes: bool) -> Exit:
    """Send a code to a phone, and print the authenticationId that checks it."""
    found = options.resolved(screen, given)
    with options.opened_client(screen, found) as otp:
        sent = send_code(screen, otp, found, number, message, yes=yes)
    screen.note("✓ Accepted for sending. The authenticationId:", "green")
    screen.result(
        {"authenticationId": sent.authentication_id, "xCorrelator": sent.x_correlator}, sent.authentication_id
    )
    return Exit.DONE
