"""The page about alternatives: its lines about httpx by hand and this client, against a real server."""

import asyncio
import time

import httpx
import pytest

from camara_otp import HTTP503Error, InvalidOTPError, OTPClient, OutcomeUnknownError, UnexpectedResponseError
from tests.faults.conftest import faults
from tests.faults.scenarios import raw

__all__ = ["faults"]

PAGE = b"<html><h1>Sign in</h1></html>"
WRONG_CODE = b'{"status":400,"code":"ONE_TIME_PASSWORD_SMS.INVALID_OTP","message":"wrong"}'


@pytest.mark.parametrize(
    ("answer", "by_hand", "here"),
    [
        (raw(204, b""), None, None),
        (raw(200, PAGE), None, UnexpectedResponseError),
        (raw(302, b"", b"Location: /elsewhere"), httpx.HTTPStatusError, UnexpectedResponseError),
        (raw(503, PAGE), httpx.HTTPStatusError, HTTP503Error),
        (raw(400, WRONG_CODE), httpx.HTTPStatusError, InvalidOTPError),
    ],
)
def test_what_an_answer_comes_to(faults, answer, by_hand, here):
    """By hand, the page of a gateway is no failure; with this client, only 204 verifies."""

    async def script(c):
        while await c.request():
            await c.send(answer)

    url = f"http://127.0.0.1:{faults.listen(script).port}"

    def hand():
        httpx.post(f"{url}/otpvalidation/validate-code", json={}, timeout=1).raise_for_status()

    def ours():
        with OTPClient(url, token="any") as otp:
            otp.validate_code("ea0840f3", "AJY3")

    for call, expected in ((hand, by_hand), (ours, here)):
        if expected is None:
            call()
        else:
            with pytest.raises(expected):
                call()


def test_how_long_a_timeout_of_a_second_lasts(faults):
    """By hand, each byte starts the timeout again."""

    async def script(c):
        await c.request()
        for byte in raw(200, b"x" * 30):
            await c.send(bytes([byte]))
            await asyncio.sleep(0.025)

    url = f"http://127.0.0.1:{faults.listen(script).port}"
    began = time.monotonic()
    httpx.post(url, json={}, timeout=1)
    assert time.monotonic() - began > 1.5
    began = time.monotonic()
    with OTPClient(url, token="any", timeout=1) as otp, pytest.raises(OutcomeUnknownError):
        otp.validate_code("ea0840f3", "AJY3")
    assert time.monotonic() - began < 1.5
