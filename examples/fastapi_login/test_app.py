"""Test the login without a phone: `pytest`, in the folder of this file. The operator is the sandbox."""

from collections.abc import AsyncIterator

import httpx
import pytest
from app import AFTER_CHECKING, AFTER_SENDING, IN_DOUBT, Sessions, app, guard, lifespan

from camara_otp import (
    InternalError,
    MaxOTPCodesExceededError,
    NotFoundError,
    OTPError,
    OutcomeUnknownError,
    PermissionDeniedError,
    TooManyRequestsError,
    UnauthenticatedError,
)
from camara_otp.guard import MemoryCounters
from camara_otp.sandbox import Sandbox
from camara_otp.testing import fail_next

# In a suite with a conftest.py, this line must be in the top-level one.
pytest_plugins = ["camara_otp.testing"]

PHONE = "+346661113334"


pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio, as uvicorn does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def empty_guard(otp_guard_store: MemoryCounters, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test with empty limits, on the clock of the sandbox."""
    monkeypatch.setattr(guard, "store", otp_guard_store)


@pytest.fixture
async def site(otp_environment: str) -> AsyncIterator[httpx.AsyncClient]:
    """Open the site; its client finds the sandbox through the environment."""
    transport = httpx.ASGITransport(app)
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://site.test") as browser:
        yield browser


async def log_in(site: httpx.AsyncClient) -> None:
    """Request a code."""
    assert (await site.post("/login", json={"phone_number": PHONE})).status_code == 202


async def test_login(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """The code in the SMS logs the user in."""
    await log_in(site)
    assert (await site.get("/me")).status_code == 401
    answer = await site.post("/login/code", json={"code": otp_sandbox.last_code(PHONE)})
    assert answer.json() == {"say": "Welcome.", "phone_number": PHONE}
    assert (await site.get("/me")).json() == {"phone_number": PHONE}


async def test_login_gives_a_new_session(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """The cookie from before the login is invalid after it."""
    await log_in(site)
    before = site.cookies["login"]
    await site.post("/login/code", json={"code": otp_sandbox.last_code(PHONE)})
    assert (await site.get("/me")).status_code == 200
    site.cookies = httpx.Cookies({"login": before})
    assert (await site.get("/me")).status_code == 401


async def test_id_stays_on_the_server(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """The browser never gets the authentication id."""
    answer = await site.post("/login", json={"phone_number": PHONE})
    [message] = otp_sandbox.messages(PHONE)
    assert message.authentication_id not in answer.text + str(answer.headers)


async def test_wrong_codes(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """After two wrong codes the user may try again; the third one closes the verification."""
    await log_in(site)
    statuses = [(await site.post("/login/code", json={"code": "nope"})).status_code for _ in range(3)]
    assert statuses == [400, 400, 410]
    assert (await site.post("/login/code", json={"code": otp_sandbox.last_code(PHONE)})).status_code == 410


async def test_late_code(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """A code expires after five minutes on the clock of the sandbox; the test does not wait."""
    await log_in(site)
    otp_sandbox.advance(300)
    answer = await site.post("/login/code", json={"code": otp_sandbox.last_code(PHONE)})
    assert (answer.status_code, answer.json()["say"]) == (410, "This code expired. Request a new one.")


async def test_second_click(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """A second SMS to a number has to wait for the cool-down; a call that sent nothing starts no cool-down."""
    fail_next(otp_sandbox, UnauthenticatedError)
    assert (await site.post("/login", json={"phone_number": PHONE})).status_code == 502
    await log_in(site)
    answer = await site.post("/login", json={"phone_number": PHONE})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert answer.json() == {"say": "No new code was sent. Try again in 30 seconds."}
    assert otp_sandbox.sent_count == 1
    otp_sandbox.advance(30)
    await log_in(site)


async def test_too_many_codes(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """The operator refuses the fourth code within ten minutes, and no SMS is sent."""
    for _ in range(3):
        await log_in(site)
        otp_sandbox.advance(30)
    answer = await site.post("/login", json={"phone_number": PHONE})
    assert (answer.status_code, answer.json()["say"]) == AFTER_SENDING[MaxOTPCodesExceededError]
    assert otp_sandbox.sent_count == 3


async def test_logout_ends_the_session(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """The cookie is invalid afterwards, and so is a copy of it."""
    await log_in(site)
    await site.post("/login/code", json={"code": otp_sandbox.last_code(PHONE)})
    copy = site.cookies["login"]
    assert (await site.post("/logout")).status_code == 204
    site.cookies = httpx.Cookies({"login": copy})
    assert (await site.get("/me")).status_code == 401


def test_sessions_expire() -> None:
    """A session is found until it expires."""
    sessions = Sessions[str](lifetime=60.0)
    assert sessions.find(sessions.open("value")) == "value"
    over = Sessions[str](lifetime=-1.0)
    assert over.find(over.open("value")) is None


@pytest.mark.parametrize(
    ("number", "status"),
    [("+34910000001", 422), ("+34600000002", 422), ("+447700900001", 429), ("666111333", 422), ("+12", 422)],
)
async def test_numbers_that_get_no_sms(site: httpx.AsyncClient, otp_sandbox: Sandbox, number: str, status: int) -> None:
    """Landlines, blocked, foreign and malformed numbers each have a response."""
    assert (await site.post("/login", json={"phone_number": number})).status_code == status
    assert otp_sandbox.sent_count == 0


async def test_code_without_asking(site: httpx.AsyncClient) -> None:
    """A code cannot be checked before one was requested."""
    assert (await site.post("/login/code", json={"code": "1234"})).status_code == 409


@pytest.mark.parametrize("error", [OutcomeUnknownError, PermissionDeniedError, NotFoundError])
async def test_failures_are_logged(
    site: httpx.AsyncClient, otp_sandbox: Sandbox, error: type[OTPError], caplog: pytest.LogCaptureFixture
) -> None:
    """The cause and the correlator are in the log, and the number is not."""
    fail_next(otp_sandbox, error)
    await site.post("/login", json={"phone_number": PHONE})
    [text] = [record.getMessage() for record in caplog.records if record.name == "app"]
    assert text.startswith(f"{error.__name__}: ")
    assert "x-correlator" in text
    assert PHONE not in text


async def test_unknown_outcome_of_a_send_is_explained(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """After a lost response an SMS may arrive: the user has to wait, and nothing is sent again."""
    fail_next(otp_sandbox, OutcomeUnknownError)
    answer = await site.post("/login", json={"phone_number": PHONE})
    assert (answer.status_code, answer.json()["say"]) == (502, IN_DOUBT["send_code"])
    assert otp_sandbox.sent_count == 1


async def test_unknown_outcome_of_a_check_is_no_login(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """After a lost response the code may be used up: the user is asked to request a new one."""
    await log_in(site)
    fail_next(otp_sandbox, OutcomeUnknownError, operation="validate-code")
    answer = await site.post("/login/code", json={"code": otp_sandbox.last_code(PHONE)})
    assert (answer.status_code, answer.json()["say"]) == (502, IN_DOUBT["validate_code"])
    assert (await site.get("/me")).status_code == 401


@pytest.mark.parametrize("error", [UnauthenticatedError, TooManyRequestsError])
async def test_an_error_of_the_site_has_a_general_message(
    site: httpx.AsyncClient, otp_sandbox: Sandbox, error: type[OTPError]
) -> None:
    """The response to an expired token or a rate limit has no details."""
    fail_next(otp_sandbox, error)
    answer = await site.post("/login", json={"phone_number": PHONE})
    assert (answer.status_code, answer.json()) == (502, {"say": "This does not work at the moment. Try again."})


@pytest.mark.parametrize("error", AFTER_SENDING)
async def test_each_refused_send_is_explained(
    site: httpx.AsyncClient, otp_sandbox: Sandbox, error: type[OTPError]
) -> None:
    """Each refusal has its message, and no SMS is sent."""
    fail_next(otp_sandbox, error, operation="send-code")
    answer = await site.post("/login", json={"phone_number": PHONE})
    assert (answer.status_code, answer.json()["say"]) == AFTER_SENDING[error]
    assert otp_sandbox.sent_count == 0


@pytest.mark.parametrize("error", AFTER_CHECKING)
async def test_each_refused_code_is_explained(
    site: httpx.AsyncClient, otp_sandbox: Sandbox, error: type[OTPError]
) -> None:
    """Each refusal has its message, and no user is logged in."""
    await log_in(site)
    fail_next(otp_sandbox, error, operation="validate-code")
    answer = await site.post("/login/code", json={"code": otp_sandbox.last_code(PHONE)})
    assert (answer.status_code, answer.json()["say"]) == AFTER_CHECKING[error]
    assert (await site.get("/me")).status_code == 401


async def test_a_failing_operator_is_no_login(site: httpx.AsyncClient, otp_sandbox: Sandbox) -> None:
    """Not even with the right code."""
    await log_in(site)
    fail_next(otp_sandbox, InternalError, operation="validate-code")
    answer = await site.post("/login/code", json={"code": otp_sandbox.last_code(PHONE)})
    assert (answer.status_code, (await site.get("/me")).status_code) == (502, 401)
