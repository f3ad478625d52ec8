"""Log users in by SMS with FastAPI: one shared client, a guard, and a response for each error.

Needs FastAPI, uvicorn and the extra `sandbox`. Start the sandbox in one terminal:

    python -m camara_otp.sandbox

Start the application in another one, in the folder of this file:

    CAMARA_BASE_URL=http://127.0.0.1:9091 CAMARA_BEARER_TOKEN=any uvicorn app:app
"""

import logging
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import ceil
from typing import Annotated, Generic, TypeVar

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, StringConstraints

from camara_otp import (
    AsyncOTPClient,
    IdentifierNotFoundError,
    InvalidOTPError,
    MaxOTPCodesExceededError,
    NotFoundError,
    OTPError,
    PhoneNumberBlockedError,
    PhoneNumberNotAllowedError,
    SendRefusedError,
    VerificationExpiredError,
    VerificationFailedError,
)
from camara_otp.guard import Guard, Limit

MESSAGE = "{{code}} is your code for Cool App. We never ask you for it."

T = TypeVar("T")

log = logging.getLogger(__name__)

# The guard is also the lock per number: of two clicks at the same moment, one sends a code. With more than one process,
# give it a RedisCounters, and keep the sessions in Redis or a database.
guard = Guard(
    countries=["34"],
    cooldown=30.0,
    limits=[
        Limit("number", 5, per=3600),
        Limit("ip", 20, per=3600),
        Limit("prefix", 100, per=3600),
        Limit("all", 200, per=3600),
    ],
)


class Start(BaseModel):
    """The number to log in with."""

    phone_number: Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{4,14}$")]


class Check(BaseModel):
    """The code that the user typed."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=10, strip_whitespace=True)]


class Sessions(Generic[T]):
    """Values under random names, each with a limited lifetime."""

    def __init__(self, lifetime: float) -> None:
        """Start empty; `lifetime` is in seconds."""
        self._lifetime = lifetime
        self._values: dict[str, tuple[float, T]] = {}

    def open(self, value: T) -> str:
        """Store a value and return its name."""
        now = time.monotonic()
        self._values = {name: kept for name, kept in self._values.items() if kept[0] > now}
        name = secrets.token_urlsafe(32)
        self._values[name] = now + self._lifetime, value
        return name

    def find(self, name: str) -> T | None:
        """Return the value, or None if there is none or it has expired."""
        until, value = self._values.get(name, (0.0, None))
        return value if until > time.monotonic() else None

    def end(self, name: str) -> None:
        """Remove a value."""
        self._values.pop(name, None)


Answers = dict[type[OTPError], tuple[int, str]]

# The status of the response, and the message for the user. Any other error is a 502.
AFTER_SENDING: Answers = {
    MaxOTPCodesExceededError: (429, "We have sent you several codes already. Use the last one, or try again later."),
    PhoneNumberNotAllowedError: (422, "This number cannot receive SMS. Use another number."),
    PhoneNumberBlockedError: (422, "SMS to this number are blocked. Use another number."),
    NotFoundError: (422, "We cannot send an SMS to this number. Use another number."),
    IdentifierNotFoundError: (422, "We cannot send an SMS to this number. Use another number."),
}
AFTER_CHECKING: Answers = {
    InvalidOTPError: (400, "This is not the code we sent. Please look again."),
    VerificationExpiredError: (410, "This code expired. Request a new one."),
    VerificationFailedError: (410, "Too many wrong codes. Request a new one."),
    NotFoundError: (410, "This code expired. Request a new one."),
}
# The operator may have acted: the code of an SMS that arrives cannot be checked, and a code that was sent for checking
# may be used up. The application repeats nothing; the user requests a new code.
IN_DOUBT = {
    "send_code": "An SMS may arrive, but its code cannot be used. Request a new code in a minute.",
    "validate_code": "We could not check your code. Request a new one.",
}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open one client for the lifetime of the application, with settings from the environment."""
    async with AsyncOTPClient() as otp:
        app.state.otp = otp
        app.state.pending = Sessions[tuple[str, str]](lifetime=600.0)  # authentication id and number
        app.state.users = Sessions[str](lifetime=8 * 3600.0)  # number
        yield


app = FastAPI(title="Login by phone", lifespan=lifespan)


@app.post("/login", status_code=202)
async def start(body: Start, request: Request, response: Response) -> dict[str, str]:
    """Send a code to a number. The authentication id stays on the server; the browser gets a cookie."""
    # Behind a proxy this is the address of the proxy, unless uvicorn runs with --forwarded-allow-ips.
    address = request.client.host if request.client else "unknown"
    async with guard.sending(body.phone_number, ip=address):
        sent = await request.app.state.otp.send_code(body.phone_number, MESSAGE)
    name = request.app.state.pending.open((sent.authentication_id, body.phone_number))
    set_cookie(name, request, response)
    return {"say": "We have sent you a code."}


@app.post("/login/code")
async def check(body: Check, request: Request, response: Response) -> dict[str, str]:
    """Check the code. The number is verified only if the call returns."""
    session = request.cookies.get("login", "")
    pending = request.app.state.pending.find(session)
    if pending is None:
        raise HTTPException(409, "Request a code first.")
    authentication_id, phone_number = pending
    await request.app.state.otp.validate_code(authentication_id, "".join(body.code.split()))
    await guard.averified(phone_number)
    request.app.state.pending.end(session)
    # A new name, so that an attacker with the old name is not logged in (session fixation).
    set_cookie(request.app.state.users.open(phone_number), request, response)
    return {"say": "Welcome.", "phone_number": phone_number}


@app.post("/logout", status_code=204)
async def leave(request: Request, response: Response) -> None:
    """End the session."""
    request.app.state.users.end(request.cookies.get("login", ""))
    response.delete_cookie("login")


def set_cookie(session: str, request: Request, response: Response) -> None:
    """Set the cookie with the name of the session. `samesite` prevents its use by other sites (CSRF)."""
    response.set_cookie("login", session, httponly=True, samesite="strict", secure=request.url.scheme == "https")


@app.get("/me")
async def me(request: Request) -> dict[str, str]:
    """Return the number that is logged in."""
    phone_number = request.app.state.users.find(request.cookies.get("login", ""))
    if phone_number is None:
        raise HTTPException(401, "Please log in.")
    return {"phone_number": phone_number}


@app.exception_handler(OTPError)
async def explain(_: Request, error: OTPError) -> JSONResponse:
    """Return the response to an error. The log has the cause of each 502, with the x-correlator of the call."""
    operation = error.operation or "send_code"
    known = AFTER_CHECKING if operation == "validate_code" else AFTER_SENDING
    if isinstance(error, SendRefusedError):
        status, say = 429, str(error)
    else:
        general = IN_DOUBT[operation] if error.outcome_unknown else "This does not work at the moment. Try again."
        status, say = next((answer for kind, answer in known.items() if isinstance(error, kind)), (502, general))
    # If every number is refused with 404, the base URL or the API path is wrong.
    if status == 502 or (isinstance(error, NotFoundError) and operation == "send_code"):
        log.warning("%s: %s", type(error).__name__, error)  # contains no number and no code
    wait = getattr(error, "retry_after", None)
    return JSONResponse({"say": say}, status, {"Retry-After": str(ceil(wait))} if wait else {})
