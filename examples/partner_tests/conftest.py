"""Fixtures for the operator under test, which is set by environment variables.

CAMARA_BASE_URL, CAMARA_BEARER_TOKEN, CAMARA_API_PATH    as for the client
OTP_TEST_NUMBER      a phone of yours at this operator, in E.164 form
OTP_READ_CODE        a command that prints the newest code on that phone; its last argument is the number.
                     Without it, the tests ask you to type the code (run pytest with -s).
"""

import os
import shlex
import subprocess

import pytest

from camara_otp import OTPClient


@pytest.fixture(scope="session")
def otp():
    """Return one client for all tests."""
    with OTPClient() as client:
        yield client


@pytest.fixture(scope="session")
def number():
    """Return the number of the test phone."""
    return os.environ["OTP_TEST_NUMBER"]


@pytest.fixture(scope="session")
def read_code(number):
    """Return a function that returns the newest code on the phone."""
    command = os.environ.get("OTP_READ_CODE")
    if command is None:
        return lambda: input("The newest code on the test phone: ").strip()
    # The command is yours: it reads your phone.
    return lambda: subprocess.run(
        [*shlex.split(command), number], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()
