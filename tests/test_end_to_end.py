"""The whole call over real HTTP: the default transport with the sandbox's server, and in process."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import pytest
import respx

from camara_otp import (
    AsyncOTPClient,
    InvalidOTPError,
    MaxOTPCodesExceededError,
    NotFoundError,
    OTPClient,
    PhoneNumberBlockedError,
    PhoneNumberNotAllowedError,
    RequestNotSentError,
    RetryPolicy,
    UnauthenticatedError,
    VerificationExpiredError,
    VerificationFailedError,
)
from camara_otp.sandbox import Sandbox
from tests.conftest import MESSAGE, NUMBER

ROOT = Path(__file__).parents[1]


@pytest.fixture
def operator():
    """Return a fresh sandbox."""
    return Sandbox(max_send=100)


@pytest.fixture
def url(operator):
    """Serve the sandbox on a free port."""
    with operator.serve() as url:
        yield url


@pytest.fixture(params=["served", "in process"])
def client(request, shell, operator):
    """Return a client of the sandbox, over a socket or not."""
    if request.param == "served":
        return shell.client(request.getfixturevalue("url"))
    return shell.client(http_client=shell.http_client(transport=operator.transport()))


def wrong(code):
    """Return a code that is not this one."""
    return "1" * len(code) if code == "0" * len(code) else "0" * len(code)


def test_a_code_is_sent_and_checked(client, operator):
    sent = client.send_code(NUMBER, MESSAGE)
    (message,) = operator.messages(NUMBER)

    verified = client.validate_code(sent.authentication_id, message.code)

    assert message.text == MESSAGE.replace("{{code}}", message.code)
    assert message.authentication_id == sent.authentication_id
    assert message.x_correlator == sent.x_correlator
    assert verified.x_correlator != sent.x_correlator


def test_the_rules_of_the_operator_arrive_as_classes(client, operator):
    """Wrong, exhausted, superseded, used, expired and unknown."""
    first = client.send_code(NUMBER, MESSAGE)
    old = operator.last_code(NUMBER)
    second = client.send_code(NUMBER, MESSAGE)
    code = operator.last_code(NUMBER)
    with pytest.raises(VerificationExpiredError):
        client.validate_code(first.authentication_id, old)
    for _ in range(2):
        with pytest.raises(InvalidOTPError):
            client.validate_code(second.authentication_id, wrong(code))
    with pytest.raises(VerificationFailedError):
        client.validate_code(second.authentication_id, wrong(code))

    third = client.send_code(NUMBER, MESSAGE)
    client.validate_code(third.authentication_id, operator.last_code(NUMBER))
    with pytest.raises(VerificationExpiredError):
        client.validate_code(third.authentication_id, operator.last_code(NUMBER))

    fourth = client.send_code(NUMBER, MESSAGE)
    operator.advance(301)
    with pytest.raises(VerificationExpiredError):
        client.validate_code(fourth.authentication_id, operator.last_code(NUMBER))
    with pytest.raises(NotFoundError):
        client.validate_code("never-issued", "123456")


@pytest.mark.parametrize(
    ("number", "error"),
    [
        ("+34600000001", PhoneNumberNotAllowedError),
        ("+34910000001", PhoneNumberNotAllowedError),
        ("+34600000002", PhoneNumberBlockedError),
        ("+447700900001", NotFoundError),
    ],
)
def test_special_numbers_are_refused_without_an_sms(client, operator, number, error):
    """Not allowed, landline, barred, foreign."""
    with pytest.raises(error) as caught:
        client.send_code(number, MESSAGE)

    assert not caught.value.outcome_unknown
    assert operator.messages() == []


@pytest.mark.parametrize("token", ["expired-token", "invalid-token"])
def test_a_bad_token_is_refused_and_a_renewed_one_accepted(shell, url, operator, token):
    """One renewal, one repeat, one SMS."""
    tokens = iter([token, "good-token"])

    assert shell.client(url, token=lambda: next(tokens)).send_code(NUMBER, MESSAGE)
    with pytest.raises(UnauthenticatedError):
        shell.client(url, token=token).send_code(NUMBER, MESSAGE)
    assert len(operator.messages()) == 1


def test_the_number_of_sends_is_limited(shell):
    """The fourth send is refused."""
    operator = Sandbox()
    client = shell.client(http_client=shell.http_client(transport=operator.transport()))
    for _ in range(3):
        client.send_code(NUMBER, MESSAGE)

    with pytest.raises(MaxOTPCodesExceededError):
        client.send_code(NUMBER, MESSAGE)
    assert len(operator.messages()) == 3


@pytest.mark.parametrize("api_path", [None, "/otpvalidation", "/one-time-password-sms/v1"])
def test_both_layouts_are_served(shell, url, api_path):
    """The documented one by default, CAMARA's by api_path."""
    assert shell.client(url, api_path=api_path).send_code(NUMBER, MESSAGE)


def test_one_client_is_shared_between_threads(url, operator):
    """Every response belongs to its request."""
    numbers = [f"+3466600{n:04}" for n in range(40)]
    with OTPClient(url, token="t") as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: (number, client.send_code(number, MESSAGE)), numbers))

    assert {n: operator.messages(n)[0].authentication_id for n in numbers} == {
        number: answer.authentication_id for number, answer in answers
    }


@pytest.mark.anyio
async def test_one_client_is_shared_between_tasks(url, operator):
    """Every response belongs to its request."""
    answers = {}
    async with AsyncOTPClient(url, token="t") as client, anyio.create_task_group() as tasks:

        async def send(number):
            answers[number] = (await client.send_code(number, MESSAGE)).authentication_id

        for n in range(40):
            tasks.start_soon(send, f"+3466600{n:04}")

    assert answers == {number: operator.messages(number)[0].authentication_id for number in answers}
    assert len(answers) == 40


def test_without_a_listener_nothing_is_sent(shell, unused_port):
    """Connection refused, tried three times, nothing unknown."""
    client = shell.client(f"http://127.0.0.1:{unused_port}", retry=RetryPolicy(first_wait=0.01))

    with pytest.raises(RequestNotSentError) as caught:
        client.send_code(NUMBER, MESSAGE)

    assert (caught.value.attempts, caught.value.outcome_unknown) == (3, False)


@pytest.fixture
def unused_port():
    """Yield a port of loopback that refuses connections: bound until the test ends, but not listening."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


@respx.mock
def test_the_default_transport_is_mocked_by_respx():
    """A mocked test never reaches the network."""
    route = respx.post("https://api.example.com/camara/otpvalidation/send-code").mock(
        httpx.Response(200, json={"authenticationId": "ea0840f3"})
    )

    with OTPClient("https://api.example.com/camara", token="t") as client:
        assert client.send_code(NUMBER, MESSAGE).authentication_id == "ea0840f3"
    assert route.call_count == 1
    assert route.calls.last.request.headers["authorization"] == "Bearer t"


@pytest.mark.anyio
async def test_the_default_async_transport_is_mocked_by_respx():
    with respx.mock:
        route = respx.post("https://api.example.com/camara/otpvalidation/validate-code").mock(httpx.Response(204))
        async with AsyncOTPClient("https://api.example.com/camara", token="t") as client:
            assert await client.validate_code("ea0840f3", "AJY3")
    assert route.call_count == 1


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_the_demo_runs_in_every_terminal(encoding):
    """`make demo` prints ASCII only."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding="ascii",
        check=True,
        timeout=60,
    )

    assert done.stdout.count("is your short code to authenticate with Cool App via SMS") == 2
    assert done.stdout.count("InvalidOTPError: ") == 2
    assert done.stdout.count("verified: the number belongs to the user") == 2
    assert "PhoneNumberBlockedError: 403 " in done.stdout
    assert "NotFoundError: 404 " in done.stdout
    assert done.stderr == ""
