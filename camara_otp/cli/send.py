"""`camara-otp send`: send a code to a phone."""

import time
from collections.abc import Mapping
from typing import Any

import click

from camara_otp import OTPClient, OTPError, SendCodeResponse
from camara_otp._environment import DEFAULT_MESSAGE, Setting
from camara_otp.cli import options, prompts, recent_sends
from camara_otp.cli.console import Screen


def send_code(
    screen: Screen, otp: OTPClient, found: Mapping[str, Setting], number: str, *, yes: bool
) -> SendCodeResponse:
    """Send a code; ask first if the code of a recent send to the number can still be used."""
    log = recent_sends.open_log(str(found["base_url"].value), number)
    if log.last is not None:
        question = (
            f"A code was, or may have been, sent to this number {time.time() - log.last[0]:.0f} s ago. "
            "Sending another invalidates it. Send again?"
        )
        prompts.confirm(question, yes=yes)
    message = str(found["message"].value) if "message" in found else DEFAULT_MESSAGE
    # Recorded before the call: a process that is killed during the call may have sent an SMS, too.
    before, now = log.last, (time.time(), "")
    log.replace(before, now)
    try:
        with screen.waiting("Sending", "Stopped while sending: an SMS may have been sent."):
            sent = otp.send_code(number, message)
    except OTPError as error:
        if not error.outcome_unknown:
            log.replace(now, before)
        raise
    log.replace(now, (now[0], recent_sends.digest_of_id(log.salt, sent.authentication_id)))
    return sent


@click.command(
    cls=options.CallCommand,
    help="Send a code; print the id that checks it.\n\n"
    "NUMBER is the phone in international form: +34600000000. Options about the operator come before it. The id is "
    "the operator's authenticationId.",
)
@options.send_options
@click.pass_obj
def send(screen: Screen, /, *, number: str, yes: bool, **given: Any) -> None:
    """Send a code to a phone, and print the authenticationId that checks it."""
    found = options.resolved(screen, given)
    with options.opened_client(found) as otp:
        sent = send_code(screen, otp, found, number, yes=yes)
    screen.note("✓ Accepted for sending. The authenticationId:", "green")
    screen.result(
        {"authenticationId": sent.authentication_id, "xCorrelator": sent.x_correlator}, sent.authentication_id
    )
