"""Fixtures: the operator that the tests call, from the environment.

CAMARA_BASE_URL, CAMARA_BEARER_TOKEN, CAMARA_API_PATH    as for the client
OTP_TEST_NUMBER      a phone of yours at this operator, in E.164 form
OTP_READ_CODE        a command that prints the newest code on that phone, given its number as last argument.
                     Left out: the tests ask you to type it (run pytest with -s).
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
    """Return the phone that is texted."""
    return os.environ["OTP_TEST_NUMBER"]


@pytest.fixture(scope="session")
def read_code(number):
    """Return a function that gives the newest code on the phone."""
    command = os.environ.get("OTP_READ_CODE")
    if command is None:
        return lambda: input("The newest code on the test phone: ").strip()
    # The command is yours: it reads your phone.
    return lambda: subprocess.run(
        [*shlex.split(command), number], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()
