"""Fixtures and helpers for your own tests: `pytest_plugins = ["camara_otp.testing"]` switches them on.

The operator is the sandbox: your code uses the real client, and no SMS is sent.

PYTEST_DONT_REWRITE: there is no assert here, and a test module may import helpers before the plugin is switched on.
"""

from collections.abc import Iterator
from typing import Final, Literal, cast

import attrs
import pytest

from camara_otp import AsyncOTPClient, OTPClient, RetryPolicy
from camara_otp.errors import (
    CODES,
    STATUSES,
    APIError,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    TokenError,
    TransportError,
    UnexpectedResponseError,
)
from camara_otp.guard import MemoryCounters
from camara_otp.sandbox import Fault, Sandbox
from camara_otp.sandbox.config import SandboxOptions, example_token

__all__ = [
    "BASE_URL",
    "async_otp_client",
    "fail_next",
    "otp_client",
    "otp_environment",
    "otp_guard_store",
    "otp_sandbox",
    "otp_sandbox_server",
    "otp_sandbox_settings",
]

BASE_URL: Final = "https://operator.test/camara"
"""The base URL of the clients in process; no such host exists."""

# A test should not wait between attempts.
_RETRY: Final = RetryPolicy(first_wait=0.001, max_wait=0.001)

# The faults behind the errors that are not responses of the operator.
_NO_ANSWER: Final[dict[type[OTPError], Fault]] = {
    RequestNotSentError: Fault(drop="connect"),
    OutcomeUnknownError: Fault(drop="after"),
    TransportError: Fault(drop="after"),
    UnexpectedResponseError: Fault(status=200, html=True, acts=True),
}


@pytest.fixture
def otp_sandbox_settings() -> SandboxOptions:
    """Return the settings of the sandbox; override this fixture to change them: return {"max_send": 10}."""
    return {}


@pytest.fixture
def otp_sandbox(otp_sandbox_settings: SandboxOptions) -> Sandbox:
    """Return the operator of one test: `last_code()`, `messages()`, `sent_count`, `advance()`, `add_fault()`."""
    return Sandbox(**otp_sandbox_settings)


@pytest.fixture
def otp_client(otp_sandbox: Sandbox) -> Iterator[OTPClient]:
    """Return a client of `otp_sandbox`, in process."""
    path, token = _access(otp_sandbox)
    http = otp_sandbox.client()
    with http, OTPClient(BASE_URL, token=token, api_path=path, http_client=http, retry=_RETRY) as client:
        yield client


@pytest.fixture
def async_otp_client(otp_sandbox: Sandbox) -> AsyncOTPClient:
    """Return an asynchronous client of `otp_sandbox`, in process, for any event loop; it holds nothing to close."""
    path, token = _access(otp_sandbox)
    http = otp_sandbox.async_client()
    return AsyncOTPClient(BASE_URL, token=token, api_path=path, http_client=http, retry=_RETRY)


@pytest.fixture
def otp_sandbox_server(otp_sandbox: Sandbox) -> Iterator[str]:
    """Serve `otp_sandbox` on a free port of this machine and return the base URL; needs the extra `sandbox`."""
    with otp_sandbox.serve() as url:
        yield url


@pytest.fixture
def otp_environment(otp_sandbox: Sandbox, otp_sandbox_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point clients that are made without arguments at `otp_sandbox`, by the environment; return the base URL."""
    path, token = _access(otp_sandbox)
    monkeypatch.setenv("CAMARA_BASE_URL", otp_sandbox_server)
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", token)
    monkeypatch.setenv("CAMARA_API_PATH", path)
    return otp_sandbox_server


@pytest.fixture
def otp_guard_store(otp_sandbox: Sandbox) -> MemoryCounters:
    """Return an empty store for a guard, on the clock of `otp_sandbox`: `otp_sandbox.advance(30)` ends a cool-down.

    Put it into the guard of your application: `monkeypatch.setattr(guard, "store", otp_guard_store)`.
    """
    return MemoryCounters(clock=lambda: otp_sandbox.now)


def _access(sandbox: Sandbox) -> tuple[str, str]:
    """Return a path that the sandbox serves and a token that it accepts, independent of settings and environment."""
    return sandbox.config.api_paths[0], example_token(sandbox.config)


def fail_next(
    sandbox: Sandbox,
    error: type[OTPError],
    *,
    operation: Literal["send-code", "validate-code"] | None = None,
    phone_number: str | None = None,
    calls: int = 1,
    retry_after: int | None = None,
) -> None:
    """Make the next calls end in an error, including their retries.

    The operator does not act on them, except where the error means that it may have: the SMS is sent, or the code
    checked, for `OutcomeUnknownError`, `TransportError` and `UnexpectedResponseError`.

    Args:
        sandbox: the operator, as the fixture `otp_sandbox` gives it
        error: the class to be raised, or a base class of it: `InvalidOTPError`, `HTTP503Error`, `APIError`
        operation: `send-code` or `validate-code`, if only one of them
        phone_number: only calls that concern this number
        calls: the number of calls that fail
        retry_after: seconds that the operator asks to wait, as a Retry-After header

    Raises:
        ValueError: `error` is no class below `OTPError`; or no operator can cause it, since it arises before anything
            is sent; or it is
            `RequestNotSentError` and the sandbox is served on a port, which accepts every connection
    """
    given = cast("object", error)  # callers without a type checker may give anything
    if error is OTPError or not (isinstance(given, type) and issubclass(given, OTPError)):
        raise ValueError(
            "error: must be a class of errors below OTPError, such as InvalidOTPError, TooManyRequestsError, APIError "
            "or OutcomeUnknownError"
        )
    if error is RequestNotSentError and sandbox.served:
        raise ValueError(
            "RequestNotSentError: a sandbox that is served accepts every connection; use `otp_client`, which needs no "
            "port, or point your client at a port without a listener: http://127.0.0.1:1"
        )
    fault = attrs.evolve(
        _cause(error),
        operation=operation,
        phone_number=phone_number,
        retry_after=retry_after,
        times=calls,
        whole_call=True,
    )
    sandbox.add_fault(fault)


def _cause(error: type[OTPError]) -> Fault:
    if error in _NO_ANSWER:
        return _NO_ANSWER[error]
    if issubclass(error, APIError):
        status = next((status for status, family in STATUSES.items() if issubclass(error, family)), None)
        code = next((code for code, kind in CODES.items() if kind is error), None)
        # An error without a status of its own, APIError itself, is what an unlisted status gives.
        return Fault(status=status or 418, code=code)
    remedy = "give the client a `token` that raises it" if error is TokenError else "call the client with a wrong value"
    raise ValueError(f"{error.__name__} arises before anything is sent; no operator can cause it: {remedy}")
