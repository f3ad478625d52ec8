"""The exception tree and the code table."""

import copy
import inspect
import os
import pickle
import subprocess
import sys
import traceback

import pytest

import camara_otp
from camara_otp import errors
from camara_otp.errors import (
    CODES,
    STATUSES,
    SUPERSEDED,
    APIError,
    ConfigurationError,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RequestValidationError,
    SendRefusedError,
    TokenError,
    TransportError,
    UnexpectedResponseError,
    error_class,
)

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, OTPError)]


def made(kind: type[OTPError]) -> OTPError:
    """Return an instance of a class with the attributes that a call sets."""
    if issubclass(kind, APIError):
        status = next((s for s, family in STATUSES.items() if issubclass(kind, family)), 499)
        error: OTPError = kind(status, "SOME_CODE", "some words", retry_after=3.5)
    elif issubclass(kind, RequestValidationError):
        error = kind("message", "must contain {{code}}")
    elif issubclass(kind, UnexpectedResponseError):
        error = kind("HTTP 200 is not the documented success", status=200)
    elif issubclass(kind, TokenError):
        error = kind("refused", error="invalid_client", error_description="unknown client")
    elif issubclass(kind, RequestNotSentError):
        error = kind("refused", permanent=True)
    else:
        error = kind("a reason")
    error.operation, error.x_correlator, error.attempts = "send_code", "6f1c", 2
    return error


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "travel",
    [copy.copy, copy.deepcopy, *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(6))],
    ids=["copy", "deepcopy", *(f"pickle{p}" for p in range(6))],
)
def test_every_error_travels_whole(kind, travel):
    """Pickling and copying keep the class, the message and every attribute."""
    error = made(kind)

    arrived = travel(error)

    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert arrived.__dict__ == error.__dict__
    assert arrived.args == error.args
    assert arrived.outcome_unknown is error.outcome_unknown


@pytest.mark.parametrize(
    "kind", [kind for kind in CLASSES if kind is not SendRefusedError], ids=lambda kind: kind.__name__
)
def test_every_error_reads_well_in_a_traceback(kind):
    """The last line of a traceback names the class, the reason, the operation and the correlator.

    The text of SendRefusedError is for the user and holds the reason alone.
    """
    error = made(kind)

    (line,) = traceback.format_exception_only(error)

    assert line.startswith(f"camara_otp.errors.{kind.__name__}: ")
    assert "send_code, x-correlator 6f1c, attempt 2" in line
    assert ("the operator may have acted" in line) is error.outcome_unknown


def test_an_error_outside_a_call_is_its_reason_alone():
    """Without a call there are no brackets."""
    assert str(ConfigurationError("base_url: is missing")) == "base_url: is missing"


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_the_class_that_its_name_says(code):
    """A leaf is named after its code, under the class of a status."""
    name = "".join(
        "OTP" if word == "OTP" else word.title() for word in code.removeprefix("ONE_TIME_PASSWORD_SMS.").split("_")
    )
    expected = {"TimeoutError": "GatewayTimeoutError", "NotImplementedError": "OperationNotImplementedError"}.get(
        f"{name}Error", f"{name}Error"
    )

    assert CODES[code].__name__ == expected
    assert CODES[code].__bases__[0] in STATUSES.values()


def test_every_leaf_stands_in_the_table_and_every_family_is_a_status():
    """Every class can be raised, and no two codes share one."""
    leaves = {kind for kind in CLASSES if issubclass(kind, APIError) and kind.__mro__[2] is APIError}
    families = {kind for kind in CLASSES if issubclass(kind, APIError) and kind.__mro__[1] is APIError}

    assert set(CODES.values()) == leaves
    assert len(set(CODES.values())) == len(CODES)
    assert set(STATUSES.values()) == families
    assert all(kind.__name__ == f"HTTP{status}Error" for status, kind in STATUSES.items())


def test_superseded_spellings_lead_to_codes_of_today():
    """An old spelling is not a current code; its replacement is one."""
    assert all(old not in CODES and new in CODES for old, new in SUPERSEDED.items())


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP", errors.InvalidOTPError),
        (412, "FAILED_PRECONDITION", errors.FailedPreconditionError),
        (400, "FAILED_PRECONDITION", errors.FailedPreconditionError),
        (504, "UNAVAILABLE", errors.UnavailableError),
        (404, "DEVICE_NOT_FOUND", errors.IdentifierNotFoundError),
        (400, "INVALID_INPUT", errors.InvalidArgumentError),
        (400, "NUMBER_VERIFICATION_SMS.INVALID_OTP", errors.InvalidOTPError),
        (403, "ONE_TIME_PASSWORD_SMS.SOMETHING_NEW", errors.HTTP403Error),
        (401, "EXPIRED_CODE", errors.HTTP401Error),
        (408, None, errors.HTTP408Error),
        (418, "TEAPOT", APIError),
        (599, None, APIError),
        (500, "invalid_otp", errors.HTTP500Error),
    ],
)
def test_the_code_picks_the_class_and_the_status_where_no_code_is_known(status, code, expected):
    """A known code decides; else the status; else the base class of all refusals."""
    assert error_class(status, code) is expected


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (ConfigurationError("x"), False),
        (RequestValidationError("code", "x"), False),
        (TokenError("x"), False),
        (RequestNotSentError("x"), False),
        (OutcomeUnknownError("x"), True),
        (UnexpectedResponseError("x", status=302), True),
        (APIError(400), False),
        (errors.InvalidOTPError(500, "ONE_TIME_PASSWORD_SMS.INVALID_OTP"), True),
        (errors.AbortedError(409, "ABORTED"), True),
        (errors.AbortedError(400, "ABORTED"), False),
        (errors.ConflictError(409, "CONFLICT"), False),
        (APIError(499), False),
        (APIError(500), True),
        (APIError(999), True),
    ],
)
def test_an_error_says_whether_the_operator_may_have_acted(error, unknown):
    """Refusals below 500 are final, but for ABORTED; everything after sending is unknown."""
    assert error.outcome_unknown is unknown


def test_bad_arguments_are_value_errors_too():
    """Code that catches ValueError keeps working."""
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(RequestValidationError, ValueError)
    assert issubclass(RequestNotSentError, TransportError)
    assert issubclass(OutcomeUnknownError, TransportError)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_exported_and_says_what_to_do(kind):
    """Each class can be imported from the package, and each leaf has a cause and a remedy."""
    assert getattr(camara_otp, kind.__name__) is kind
    assert kind.__name__ in camara_otp.__all__
    assert kind.__doc__
    for text in (kind.cause, kind.remedy):
        assert text[0].isupper() or text[0] == "`"
        assert text.endswith(".")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_has_a_cause_of_its_own(kind):
    """An inherited cause would say less than the name of the class."""
    assert "cause" in vars(kind)
    assert "remedy" in vars(kind) or kind.remedy == errors.HTTP500Error.remedy


SHOW = """
from camara_otp import errors
for kind in vars(errors).values():
    if isinstance(kind, type) and issubclass(kind, errors.OTPError):
        error = kind(400, "CODE", "text") if issubclass(kind, errors.APIError) else kind("one", "two") \\
            if kind is errors.RequestValidationError else kind("one")
        print(kind.__name__, kind.cause, kind.remedy, error, error._repr_html_())
"""


@pytest.mark.parametrize("arguments", [["-c", SHOW], ["-m", "camara_otp", "errors"]], ids=["notebook", "command line"])
def test_errors_say_the_same_without_docstrings(arguments):
    """`python -OO` removes docstrings and assertions."""
    environ = {**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}
    plain, optimized = (
        subprocess.run(
            [sys.executable, *options, *arguments], capture_output=True, text=True, check=True, timeout=60, env=environ
        ).stdout
        for options in ([], ["-OO"])
    )

    assert "The code is wrong, and attempts are left." in plain
    assert optimized == plain
