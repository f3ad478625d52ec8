"""A raw HTTP client for a sandbox: these tests use no code of the client."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import httpx
import pytest

from camara_otp.sandbox import Sandbox

PHONE = "+346661113334"
MESSAGE = "{{code}} is your short code to authenticate with Cool App via SMS"
DOCUMENTED = "/otpvalidation"
CAMARA = "/one-time-password-sms/v1"


@attrs.define
class Caller:
    """A caller of a sandbox that uses plain HTTP."""

    sandbox: Sandbox
    http: httpx.Client
    layout: str = DOCUMENTED

    def post(self, operation: str, json: Any = None, *, token: str | None = "any", **options: Any) -> httpx.Response:
        """Post to an operation like a well-behaved client, unless told otherwise."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers |= options.pop("headers", {})
        if json is not None:
            options["json"] = json
        return self.http.post(f"{self.layout}/{operation}", headers=headers, **options)

    def send(self, phone_number: str = PHONE, message: str = MESSAGE, **options: Any) -> httpx.Response:
        """Send a code."""
        return self.post("send-code", {"phoneNumber": phone_number, "message": message}, **options)

    def sent(self, phone_number: str = PHONE) -> str:
        """Send a code, and return the id."""
        answer = self.send(phone_number)
        assert answer.status_code == 200, answer.text
        identifier: str = answer.json()["authenticationId"]
        return identifier

    def check(self, authentication_id: str, code: str, **options: Any) -> httpx.Response:
        """Check a code."""
        return self.post("validate-code", {"authenticationId": authentication_id, "code": code}, **options)

    def code(self, phone_number: str = PHONE) -> str:
        """Read the newest code on a phone."""
        return self.sandbox.last_code(phone_number)

    def wrong(self, phone_number: str = PHONE) -> str:
        """Return a code that is not the newest one on a phone."""
        return self.code(phone_number)[:-1] + "x"


@pytest.fixture(scope="session")
def _standing_server() -> Iterator[tuple[Sandbox, str]]:
    sandbox = Sandbox()
    with sandbox.serve() as url:
        yield sandbox, url


@pytest.fixture
def standing(_standing_server: tuple[Sandbox, str]) -> tuple[Sandbox, str]:
    """Return a new sandbox with the default settings, and its URL."""
    _standing_server[0].reset()
    return _standing_server


@pytest.fixture(params=["in process", "over HTTP"])
def calling(request: pytest.FixtureRequest, standing: tuple[Sandbox, str]) -> Iterator[Callable[..., Caller]]:
    """Open sandboxes with given settings, in process and over HTTP, and return a caller of each."""
    with ExitStack() as stack:

        def call(layout: str = DOCUMENTED, **settings: Any) -> Caller:
            if request.param == "in process":
                sandbox = Sandbox(**settings)
                http = httpx.Client(transport=sandbox.transport(), base_url="https://api.example.com/camara")
            elif settings:
                sandbox = Sandbox(**settings)
                http = httpx.Client(base_url=stack.enter_context(sandbox.serve()), trust_env=False)
            else:
                sandbox, url = standing
                http = httpx.Client(base_url=url, trust_env=False)
            return Caller(sandbox, stack.enter_context(http), layout)

        yield call


@pytest.fixture
def caller(calling: Callable[..., Caller]) -> Caller:
    """Return a caller of a sandbox with the default settings."""
    return calling()


def outcome(answer: httpx.Response) -> tuple[int, str | None]:
    """Return status and code of a response, after checking that an error has CAMARA's form."""
    if answer.status_code < 400:
        return answer.status_code, None
    body = answer.json()
    assert set(body) == {"status", "code", "message"}
    assert body["status"] == answer.status_code
    assert body["message"]
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, body["code"].removeprefix("ONE_TIME_PASSWORD_SMS.")
