"""The exit codes of the command line."""

from enum import IntEnum
from typing import Final, Self

from camara_otp import APIError, ConfigurationError, OTPError, RequestNotSentError, RequestValidationError, TokenError


class Exit(IntEnum):
    """The exit codes, each with its meaning."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Return the member of a code."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done; for validate and verify: the operator responded with HTTP 204"
    DEVIATES = 1, "the check found deviations"
    USAGE = 2, "wrong options or settings; nothing was sent"
    REFUSED = 3, "the operator refused"
    NO_TOKEN = 4, "no access token could be obtained; the operator processed nothing"
    NOT_SENT = 5, "the operator cannot be reached; nothing was sent, calling again is safe"
    UNKNOWN = 6, "the outcome is unknown: the operator may have acted"
    NOT_JUDGED = 7, "the check has no verdict: no right code was accepted, or no wrong one refused"
    FAULT = 70, "a fault of camara-otp itself, with a traceback; the operator may have acted"
    UNWRITTEN = 74, "the output could not be written: a closed pipe, a full disk; the operator may have acted"
    STOPPED = 130, "stopped by the user, or because standard input ended"


class Stopped(OTPError):  # noqa: N818 - the name that JSON tells
    """The user stopped the command, or standard input ended."""

    def __init__(self, reason: str = "Stopped.", *, outcome_unknown: bool = False) -> None:
        super().__init__(reason)
        self.outcome_unknown = outcome_unknown


_CODES: Final = (
    (ConfigurationError, Exit.USAGE),
    (RequestValidationError, Exit.USAGE),
    (TokenError, Exit.NO_TOKEN),
    (RequestNotSentError, Exit.NOT_SENT),
    (APIError, Exit.REFUSED),
)


def exit_code(error: OTPError) -> Exit:
    """Return the exit code of a failed command."""
    if isinstance(error, Stopped):
        return Exit.STOPPED
    if error.outcome_unknown:
        return Exit.UNKNOWN
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.UNKNOWN)
