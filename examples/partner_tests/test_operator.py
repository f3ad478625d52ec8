"""Tests of your product against the operator that you will use. They send three SMS, which cost money.

pytest -s
"""

import pytest

from camara_otp import (
    InvalidOTPError,
    NotFoundError,
    RequestValidationError,
    UnauthenticatedError,
    VerificationExpiredError,
)

MESSAGE = "{{code}} is your code for Cool App"


def test_a_mistyped_code_leaves_another_try_and_the_right_one_verifies_once(otp, number, read_code):
    """After a wrong code the same authentication id is still valid; a code is accepted once."""
    sent = otp.send_code(number, MESSAGE)
    code = read_code()
    with pytest.raises(InvalidOTPError):
        otp.validate_code(sent.authentication_id, code[:-1] + ("0" if code[-1] != "0" else "1"))

    otp.validate_code(sent.authentication_id, code)

    with pytest.raises(VerificationExpiredError):
        otp.validate_code(sent.authentication_id, code)


def test_a_new_code_invalidates_the_one_before(otp, number, read_code):
    """After a resend, the first authentication id is invalid."""
    first = otp.send_code(number, MESSAGE)
    code = read_code()
    otp.send_code(number, MESSAGE)

    with pytest.raises(VerificationExpiredError):
        otp.validate_code(first.authentication_id, code)


def test_an_id_that_was_never_issued_is_not_found(otp):
    """This test sends no SMS."""
    with pytest.raises(NotFoundError):
        otp.validate_code("00000000-0000-4000-8000-000000000000", "000000")


def test_an_invalid_token_is_refused(otp, number):
    """This test sends no SMS if the operator checks tokens."""
    with pytest.raises(UnauthenticatedError):
        otp.send_code(number, MESSAGE, token="invalid-token")


def test_a_message_without_the_label_is_rejected(otp, number):
    """A message without `{{code}}` is rejected before anything is sent."""
    with pytest.raises(RequestValidationError):
        otp.send_code(number, "your code is on its way")
