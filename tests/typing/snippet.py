"""Code of a user for the type checkers: checked by mypy and pyright, never run."""

from collections.abc import Awaitable
from typing import assert_type

import httpx
import httpx2

from camara_otp import (
    APIError,
    AsyncOTPClient,
    InvalidOTPError,
    OTPClient,
    OTPError,
    RetryPolicy,
    SendCodeRequest,
    SendCodeResponse,
    TokenProvider,
    ValidateCodeRequest,
    ValidateCodeResponse,
)
from camara_otp.auth import StaticToken


class Mine:
    """A provider of the user."""

    def get_token(self, *, rejected: str | None, timeout: float) -> str:
        return rejected or str(timeout)

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:
        return rejected or str(timeout)


def text() -> str:
    return "token"


async def later() -> str:
    return "token"


def awaitable() -> Awaitable[str]:
    return later()


provider: TokenProvider = Mine()
static: TokenProvider = StaticToken("token")


def sync() -> None:
    with OTPClient("https://api.example.com", token=text, retry=RetryPolicy(max_attempts=2), params={"a": 1}) as otp:
        assert_type(otp, OTPClient)
        sent = otp.send_code("+346661113334", "{{code}}", x_correlator="a", token=provider, timeout=1)
        assert_type(sent, SendCodeResponse)
        assert_type(sent.authentication_id, str)
        assert_type(otp.send_code(phone_number="+346661113334", message="{{code}}"), SendCodeResponse)
        assert_type(otp.send_code(SendCodeRequest("+346661113334", "{{code}}")), SendCodeResponse)
        assert_type(otp.validate_code(ValidateCodeRequest("a", "b")), ValidateCodeResponse)
        try:
            assert_type(otp.validate_code("a", "b"), ValidateCodeResponse)
        except InvalidOTPError as error:
            assert_type(error.code, str | None)
            assert_type(error.status, int)
        except APIError as error:
            assert_type(error.retry_after, float | None)
        except OTPError as error:
            assert_type(error.outcome_unknown, bool)
            assert_type(error.x_correlator, str | None)
        otp.send_code("+346661113334")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
        otp.validate_code("a", 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    OTPClient(http_client=httpx.Client(), token=None, x_correlator=None, retry=None)
    OTPClient("https://a.example", http_client=httpx.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    OTPClient(http_client=httpx2.Client(), token=None)
    OTPClient("https://a.example", http_client=httpx2.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def asynchronous() -> None:
    async with AsyncOTPClient("https://api.example.com", token=awaitable) as otp:
        assert_type(otp, AsyncOTPClient)
        assert_type(await otp.send_code("+346661113334", "{{code}}", token=later), SendCodeResponse)
        assert_type(await otp.validate_code("a", "b"), ValidateCodeResponse)
    AsyncOTPClient(http_client=httpx.AsyncClient())
    AsyncOTPClient(http_client=httpx2.AsyncClient())
    AsyncOTPClient(http_client=httpx2.Client())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
