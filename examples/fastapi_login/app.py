"""Log people in by a code on their phone: one shared client, and an answer for everything that can go wrong.

Try it against the sandbox, in two terminals:

    python -m camara_otp.sandbox
    CAMARA_BASE_URL=http://127.0.0.1:9091 CAMARA_BEARER_TOKEN=any uvicorn examples.fastapi_login.app:app
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

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
    VerificationExpiredError,
    VerificationFailedError,
)

TEXT = "{{code}} is your code for Cool App. We never ask you for it."


class Start(BaseModel):
    """Who wants to log in."""

    phone_number: Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{4,14}$")]


class Check(BaseModel):
    """What the person typed."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=10, strip_whitespace=True)]


Answers = dict[type[OTPError], tuple[int, str]]

# What a person should read, and the status of our own answer. An error that is not here is a 502 of ours.
AFTER_SENDING: Answers = {
    MaxOTPCodesExceededError: (429, "We have sent you several codes already. Please try again later."),
    PhoneNumberNotAllowedError: (422, "This number cannot receive text messages."),
    PhoneNumberBlockedError: (422, "Text messages to this number are barred."),
    NotFoundError: (422, "We cannot reach this number."),
    IdentifierNotFoundError: (422, "We cannot reach this number."),
}
AFTER_CHECKING: Answers = {
    InvalidOTPError: (400, "This is not the code we sent. Please look again."),
    VerificationExpiredError: (410, "This code is over. Please ask for a new one."),
    VerificationFailedError: (410, "Too many wrong codes. Please ask for a new one."),
    NotFoundError: (410, "This code is over. Please ask for a new one."),
}
# When the operator may have acted: a text that comes all the same holds a code that nobody can check, and a code that
# was on its way may be used up. Nothing is repeated here; the person asks again.
IN_DOUBT = {
    "send_code": "We are not sure that it worked. Please wait a minute and ask for a new code.",
    "validate_code": "We could not check your code. Please ask for a new one.",
}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open one client for the whole life of the application; its settings come from the environment."""
    async with AsyncOTPClient() as otp:
        app.state.otp = otp
        # One process remembers who is being checked and who is logged in; a real site uses its session store.
        app.state.pending = {}
        app.state.people = {}
        yield


app = FastAPI(title="Login by phone", lifespan=lifespan)


@app.post("/login", status_code=202)
async def start(body: Start, request: Request, response: Response) -> dict[str, str]:
    """Text a code to a number. The id of the verification stays on the server; the browser gets a cookie."""
    sent = await request.app.state.otp.send_code(body.phone_number, TEXT)
    session = new_session(request, response)
    request.app.state.pending[session] = (sent.authentication_id, body.phone_number)
    return {"say": "We have sent you a code."}


@app.post("/login/code")
async def check(body: Check, request: Request, response: Response) -> dict[str, str]:
    """Check the code. Only when the call returns is the number proven."""
    session = request.cookies.get("login", "")
    if session not in request.app.state.pending:
        raise HTTPException(409, "Please ask for a code first.")
    authentication_id, phone_number = request.app.state.pending[session]
    await request.app.state.otp.validate_code(authentication_id, body.code)
    del request.app.state.pending[session]
    # Whoever may have known the old name, or slipped it in, is not logged in along with the person.
    request.app.state.people[new_session(request, response)] = phone_number
    return {"say": "Welcome.", "phone_number": phone_number}


def new_session(request: Request, response: Response) -> str:
    """Name a new session and leave the name with the browser."""
    session = secrets.token_urlsafe(32)
    response.set_cookie("login", session, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return session


@app.get("/me")
async def me(request: Request) -> dict[str, str]:
    """Tell who is logged in."""
    session = request.cookies.get("login", "")
    if session not in request.app.state.people:
        raise HTTPException(401, "Please log in.")
    return {"phone_number": request.app.state.people[session]}


@app.exception_handler(OTPError)
async def explain(_: Request, error: OTPError) -> JSONResponse:
    """Turn what went wrong into something to say; details belong into the log, under the error's x_correlator."""
    operation = error.operation or "send_code"
    for kind, (status, say) in (AFTER_CHECKING if operation == "validate_code" else AFTER_SENDING).items():
        if isinstance(error, kind):
            return JSONResponse({"say": say}, status)
    if error.outcome_unknown:
        return JSONResponse({"say": IN_DOUBT[operation]}, 502)
    return JSONResponse({"say": "This does not work at the moment. Please try again."}, 502)
