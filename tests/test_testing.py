"""The fixtures and helpers for the tests of users."""

import re
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import respx

from camara_otp import AsyncOTPClient, OTPClient, OTPError, errors, testing
from camara_otp.errors import (
    CODES,
    STATUSES,
    APIError,
    ConfigurationError,
    InvalidOTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RequestValidationError,
    SendRefusedError,
    TokenError,
    TooManyRequestsError,
    TransportError,
    UnexpectedResponseError,
    VerificationExpiredError,
)
from camara_otp.guard import Guard, MemoryCounters
from camara_otp.sandbox import Sandbox
from camara_otp.sandbox.config import SandboxOptions
from camara_otp.testing import BASE_URL, fail_next

pytest_plugins = ["pytester", "camara_otp.testing"]

PHONE, TEXT = "+346661113334", "{{code}} is your code"
PAGE = (Path(__file__).parents[1] / "docs" / "testing.md").read_text("utf-8")
CAUSED = [
    RequestNotSentError,
    OutcomeUnknownError,
    TransportError,
    UnexpectedResponseError,
    APIError,
    *STATUSES.values(),
    *dict.fromkeys(CODES.values()),
]


class TestFixtures:
    """Each fixture is one operator per test, in front of a real client."""

    def test_client(self, otp_client: OTPClient, otp_sandbox: Sandbox) -> None:
        """The client calls the sandbox of the same test."""
        sent = otp_client.send_code(PHONE, TEXT)
        with pytest.raises(InvalidOTPError):
            otp_client.validate_code(sent.authentication_id, "wrong")
        otp_client.validate_code(sent.authentication_id, otp_sandbox.last_code(PHONE))
        assert otp_sandbox.sent_count == 1

    def test_each_test_starts_afresh(self, otp_sandbox: Sandbox) -> None:
        """The state of the test before is gone."""
        assert otp_sandbox.calls() == []

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_async_client(self, async_otp_client: AsyncOTPClient, otp_sandbox: Sandbox, backend: str) -> None:
        """The asynchronous client works under every event loop."""

        async def flow() -> None:
            sent = await async_otp_client.send_code(PHONE, TEXT)
            otp_sandbox.advance(300)
            with pytest.raises(VerificationExpiredError):
                await async_otp_client.validate_code(sent.authentication_id, otp_sandbox.last_code(PHONE))

        anyio.run(flow, backend=backend)

    def test_server(self, otp_sandbox_server: str, otp_sandbox: Sandbox) -> None:
        """The server serves the same sandbox on a real port."""
        with OTPClient(otp_sandbox_server, token="any") as client:
            client.send_code(PHONE, TEXT)
        assert otp_sandbox.messages(PHONE)

    def test_environment(self, otp_environment: str, otp_sandbox: Sandbox) -> None:
        """A client made without arguments finds the sandbox."""
        with OTPClient() as client:
            client.send_code(PHONE, TEXT)
        assert otp_sandbox.sent_count == 1

    def test_guard_store(self, otp_guard_store: MemoryCounters, otp_sandbox: Sandbox) -> None:
        """A guard of the application counts in a store of this test, with the clock of the sandbox."""
        guard = Guard(cooldown=30.0)
        guard.store = otp_guard_store
        with guard.sending(PHONE):
            otp_sandbox.advance(29)
        with pytest.raises(SendRefusedError, match=r"in 1 second\."), guard.sending(PHONE):
            pass
        otp_sandbox.advance(1)
        with guard.sending(PHONE):
            pass

    def test_respx(self, otp_sandbox: Sandbox) -> None:
        """Code that creates its own client can be redirected with respx."""
        with respx.mock:
            respx.route(host="api.example.com").mock(side_effect=otp_sandbox)
            with OTPClient("https://api.example.com/camara", token="any") as client:
                sent = client.send_code(PHONE, TEXT)
                client.validate_code(sent.authentication_id, otp_sandbox.last_code(PHONE))


@pytest.mark.parametrize("error", CAUSED, ids=lambda error: error.__name__)
def test_any_error_on_demand(otp_client: OTPClient, otp_sandbox: Sandbox, error: type[OTPError]) -> None:
    """The next call raises the class, including its repeats; the call after it succeeds."""
    fail_next(otp_sandbox, error)
    with pytest.raises(error) as caught:
        otp_client.send_code(PHONE, TEXT)
    assert caught.value.outcome_unknown == (caught.value.outcome_unknown and otp_sandbox.sent_count <= 1)
    otp_client.send_code(PHONE, TEXT)


@pytest.mark.parametrize("error", [OutcomeUnknownError, UnexpectedResponseError])
def test_acting_errors_act(otp_client: OTPClient, otp_sandbox: Sandbox, error: type[OTPError]) -> None:
    """If the error means that the operator may have acted, the sandbox has acted."""
    fail_next(otp_sandbox, error)
    with pytest.raises(error) as caught:
        otp_client.send_code(PHONE, TEXT)
    assert caught.value.outcome_unknown
    assert otp_sandbox.sent_count == 1


def test_selected_calls_fail(otp_client: OTPClient, otp_sandbox: Sandbox) -> None:
    """A failure can apply to one operation, one number or some calls, and can have Retry-After."""
    sent = otp_client.send_code(PHONE, TEXT)
    fail_next(otp_sandbox, TooManyRequestsError, operation="validate-code", phone_number=PHONE, calls=2, retry_after=7)
    otp_client.send_code("+447700900123", TEXT)
    for _ in range(2):
        with pytest.raises(TooManyRequestsError) as caught:
            otp_client.validate_code(sent.authentication_id, "1")
        assert caught.value.retry_after == 7
    otp_client.validate_code(sent.authentication_id, otp_sandbox.last_code(PHONE))


@pytest.mark.parametrize("error", [TokenError, RequestValidationError, ConfigurationError, SendRefusedError])
def test_errors_no_operator_can_cause(otp_sandbox: Sandbox, error: type[OTPError]) -> None:
    """An error of the client itself is refused with the reason."""
    with pytest.raises(ValueError, match="before anything is sent"):
        fail_next(otp_sandbox, error)


@pytest.mark.parametrize("error", [OTPError, ValueError, "InvalidOTPError", OutcomeUnknownError("x")])
def test_an_error_that_is_no_subclass_is_explained(otp_sandbox: Sandbox, error: Any) -> None:
    with pytest.raises(ValueError, match="below OTPError, such as InvalidOTPError"):
        fail_next(otp_sandbox, error)


class TestOwnSettings:
    """The clients fit a sandbox with changed settings, whatever the environment."""

    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set variables that a developer may have set for another operator."""
        monkeypatch.setenv("CAMARA_API_PATH", "/v1/other")

    @pytest.fixture(
        params=[
            {},
            {
                "api_paths": ["/v1/otp"],
                "tokens": ["a-token-without-the-scope", "token-of-the-tests"],
                "forbidden_tokens": ["a-token-without-the-scope"],
            },
        ],
        ids=["usual", "own"],
    )
    def otp_sandbox_settings(self, request: pytest.FixtureRequest) -> SandboxOptions:
        """Return the settings, as a user overrides them."""
        settings: SandboxOptions = request.param
        return settings

    def test_client(self, otp_client: OTPClient, otp_sandbox: Sandbox) -> None:
        """The client calls the sandbox of the same test."""
        otp_client.send_code(PHONE, TEXT)
        assert otp_sandbox.sent_count == 1

    def test_async_client(self, async_otp_client: AsyncOTPClient, otp_sandbox: Sandbox) -> None:
        """So does the asynchronous one."""
        anyio.run(async_otp_client.send_code, PHONE, TEXT)
        assert otp_sandbox.sent_count == 1

    def test_environment(self, otp_environment: str, otp_sandbox: Sandbox) -> None:
        """And one from the environment."""
        with OTPClient() as client:
            client.send_code(PHONE, TEXT)
        assert otp_sandbox.sent_count == 1
        assert otp_environment.startswith("http://127.0.0.1:")


def test_a_served_sandbox_takes_every_connection(otp_sandbox_server: str, otp_sandbox: Sandbox) -> None:
    """So RequestNotSentError is refused with the remedy."""
    with pytest.raises(ValueError, match="use `otp_client`"):
        fail_next(otp_sandbox, RequestNotSentError)
    assert otp_sandbox_server


def test_a_server_that_is_gone_takes_none(otp_sandbox: Sandbox, otp_client: OTPClient) -> None:
    """The refusal ends with the server."""
    with otp_sandbox.serve():
        assert otp_sandbox.served == 1
    fail_next(otp_sandbox, RequestNotSentError)
    with pytest.raises(RequestNotSentError):
        otp_client.send_code(PHONE, TEXT)
    assert otp_sandbox.sent_count == 0


def test_sandbox_client_accepts_query_and_credentials(otp_sandbox: Sandbox) -> None:
    """It responds like a client of httpx, and raises an error once it is closed."""
    with otp_sandbox.client() as http:
        url = BASE_URL + "/otpvalidation/send-code"
        headers = {"Authorization": "Bearer any", "Content-Type": "application/json"}
        content = b'{"phoneNumber": "+346661113334", "message": "{{code}}"}'
        plain = http.post(url, headers=headers, content=content)
        with_query = http.post(url, headers=headers, content=content, params={"a": "b"})
        assert plain.json().keys() == with_query.json().keys() == {"authenticationId"}
        assert http.post(url, auth=("a", "b"), content=content).json()["code"] == "UNAUTHENTICATED"
        assert http.build_request("GET", "/relative-to-nothing").method == "GET"
    with pytest.raises(RuntimeError, match="closed"):
        http.post(url)


def test_asynchronous_sandbox_client_accepts_json_and_credentials(otp_sandbox: Sandbox) -> None:
    """It responds like an asynchronous client of httpx."""

    async def flow() -> list[int]:
        async with otp_sandbox.async_client() as http:
            url = BASE_URL + "/otpvalidation/send-code"
            answers = [await http.post(url, content=b"{}"), await http.post(url, json={}, auth=("a", "b"))]
            return [answer.json()["status"] for answer in answers]

    assert anyio.run(flow) == [401, 401]


def test_the_sandboxs_clients_are_plain_clients_of_httpx(otp_sandbox: Sandbox) -> None:
    """Hooks, redirects and authentication of the caller work, and reach the sandbox."""
    seen: list[str] = []
    with otp_sandbox.client() as http, OTPClient(BASE_URL, token="any", http_client=http) as otp:
        http.event_hooks = {"request": [lambda request: seen.append(request.url.path)]}
        sent = otp.send_code(PHONE, TEXT)
        otp.validate_code(sent.authentication_id, otp_sandbox.last_code(PHONE))

    async def flow() -> None:
        async with AsyncOTPClient(BASE_URL, token="any", http_client=otp_sandbox.async_client()) as aotp:
            sent = await aotp.send_code(PHONE, TEXT)
            await aotp.validate_code(sent.authentication_id, otp_sandbox.last_code(PHONE))

    anyio.run(flow)
    assert [call.status for call in otp_sandbox.calls()] == [200, 204] * 2
    assert len(seen) == 2


@pytest.mark.long
def test_plugin_is_off_until_asked_for(pytester: pytest.Pytester) -> None:
    """Installing the package adds no fixture; one line does, and settings can be overridden."""
    pytester.makepyfile(test_off="def test(otp_sandbox): pass")
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(errors=1)
    pytester.makeconftest(
        """
        import pytest

        pytest_plugins = ["camara_otp.testing"]

        @pytest.fixture
        def otp_sandbox_settings():
            return {"code_length": 4}
        """
    )
    pytester.makepyfile(
        test_off="""
        def test(otp_client, otp_sandbox):
            otp_client.send_code("+346661113334", "{{code}}")
            assert len(otp_sandbox.last_code("+346661113334")) == 4
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


def test_every_error_class_is_covered() -> None:
    """Each public error can be caused, or is refused with the reason."""
    ours = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OTPError)}
    assert ours == {*CAUSED, TokenError, RequestValidationError, ConfigurationError, SendRefusedError, OTPError}


def test_drops_on_a_real_port(otp_sandbox_server: str, otp_sandbox: Sandbox) -> None:
    """Over a real connection, a dropped call has an unknown outcome too."""
    fail_next(otp_sandbox, OutcomeUnknownError)
    with OTPClient(otp_sandbox_server, token="any") as client, pytest.raises(OutcomeUnknownError):
        client.send_code(PHONE, TEXT)
    assert otp_sandbox.sent_count == 1
    assert httpx.get(otp_sandbox_server + "/_sandbox/calls", trust_env=False).json()[0]["status"] == 0


def test_examples_in_the_docs(pytester: pytest.Pytester) -> None:
    """The tests on the page pass in a suite with the one line that it requires."""
    line, *examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    pytester.makeconftest(line)
    pytester.makepyfile(**{f"test_example_{number}": example for number, example in enumerate(examples)})
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=8)


def test_every_fixture_is_in_the_docs() -> None:
    assert all(f"`{name}`" in PAGE for name in testing.__all__ if name != "BASE_URL")
