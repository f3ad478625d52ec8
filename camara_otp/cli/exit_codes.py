"""The exit codes of the command line."""

from enum import IntEnum

from camara_otp import (
    APIError,
    ConfigurationError,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RequestValidationError,
    TokenError,
)


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0
    DEVIATES = 1
    USAGE = 2
    REFUSED = 3
    NO_TOKEN = 4
    NOT_SENT = 5
    UNKNOWN = 6
    NOT_JUDGED = 7
    FAULT = 70
    UNWRITTEN = 74
    STOPPED = 130

    @property
    def meaning(self) -> str:
        """Return the meaning of the code."""
        return _MEANINGS[self]


_MEANINGS = {
    Exit.DONE: "done; for validate and verify: the operator answered HTTP 204",
    Exit.DEVIATES: "the check found deviations",
    Exit.USAGE: "wrong options or settings; nothing was sent",
    Exit.REFUSED: "the operator refused",
    Exit.NO_TOKEN: "no access token could be obtained; nothing was sent",
    Exit.NOT_SENT: "the operator cannot be reached; nothing was sent, calling again is safe",
    Exit.UNKNOWN: "the outcome is unknown: the operator may have acted",
    Exit.NOT_JUDGED: "the check has no verdict: no right code was accepted, or no wrong one refused",
    Exit.FAULT: "a fault of camara-otp itself, with a traceback; the operator may have acted",
    Exit.UNWRITTEN: "the output could not be written: a closed pipe, a full disk; the operator may have acted",
    Exit.STOPPED: "stopped by the user, or because standard input ended",
}


def exit_code(error: OTPError) -> Exit:
    """Return the exit code of a failed call.

    Args:
        error: the failure
    """
    if error.outcome_unknown or isinstance(error, OutcomeUnknownError):
        return Exit.UNKNOWN
    for kind, code in (
        (ConfigurationError, Exit.USAGE),
        (RequestValidationError, Exit.USAGE),
        (TokenError, Exit.NO_TOKEN),
        (RequestNotSentError, Exit.NOT_SENT),
        (APIError, Exit.REFUSED),
    ):
        if isinstance(error, kind):
            return code
    return Exit.UNKNOWN
