"""Log users in by SMS with Flask.

    flask --app flask_login run

Needs Flask and the extra `phone`. The settings are CAMARA_BASE_URL and CAMARA_BEARER_TOKEN. The browser gets a random
session name only; the authentication id and the number stay on the server. With more than one process, keep the logins
in Redis or a database, and give the guard a `RedisCounters`.
"""

import secrets
import time
from functools import cache
from math import ceil

from flask import Flask, abort, make_response, redirect, render_template_string, request, url_for
from flask.typing import ResponseReturnValue

from camara_otp import (
    IdentifierNotFoundError,
    InvalidOTPError,
    MaxOTPCodesExceededError,
    NotFoundError,
    OTPClient,
    OTPError,
    PhoneNumberBlockedError,
    PhoneNumberNotAllowedError,
    RequestValidationError,
    SendRefusedError,
    VerificationExpiredError,
    VerificationFailedError,
)
from camara_otp.guard import Guard, Limit
from camara_otp.phone import PhoneNumber

MESSAGE = "{{code}} is your code for Cool App"
LIFETIME = 600.0  # seconds to finish a login

PAGE = """<!doctype html><title>Cool App</title>
<form method="post">{% if problem %}<p role="alert">{{ problem }}</p>{% endif %}
{% if step == "number" %}<label>Phone number <input name="phone_number" type="tel" autocomplete="tel" required></label>
{% else %}<p>We sent a code to the number that ends in {{ ending }}.</p>
<label>Code <input name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10" required></label>
{% endif %}<button>Continue</button></form>"""

app = Flask(__name__)
logins: dict[str, tuple[float, str, str]] = {}  # session name -> start, number, authentication id

# The guard is also the lock per number: of two clicks at the same moment, one sends a code.
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


@cache
def otp() -> OTPClient:
    """Return the client of this process, shared by its threads. Connections cannot be used after a fork."""
    return OTPClient()


@app.before_request
def refuse_foreign_forms() -> None:
    """Reject forms that another site submits: Flask has no CSRF protection. Browsers send `Sec-Fetch-Site`."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        abort(403)


@app.route("/login", methods=["GET", "POST"])
def ask_number() -> ResponseReturnValue:
    """Ask for the number, and send the code."""
    if request.method == "GET":
        return render_template_string(PAGE, step="number")
    try:
        number = PhoneNumber.parse(request.form.get("phone_number", ""), region="ES").e164
        # Behind a proxy, remote_addr is the proxy's address until ProxyFix of Werkzeug is set up.
        with guard.sending(number, ip=request.remote_addr or "unknown"):
            sent = otp().send_code(number, MESSAGE)
    except OTPError as error:
        return explain(error)
    drop_old_logins()
    name = secrets.token_urlsafe()
    logins[name] = (time.monotonic(), number, sent.authentication_id)
    response = make_response(redirect(url_for("ask_code")))
    response.set_cookie("login", name, max_age=int(LIFETIME), httponly=True, samesite="Lax", secure=request.is_secure)
    return response


def explain(error: OTPError) -> ResponseReturnValue:
    """Return the page, status and headers for an error of `send_code` or of the guard."""
    match error:
        case RequestValidationError():
            problem, status = f"This number {error.reason}.", 422
        case SendRefusedError():
            problem, status = str(error), 429
        case PhoneNumberNotAllowedError() | PhoneNumberBlockedError() | NotFoundError() | IdentifierNotFoundError():
            problem, status = "We cannot send an SMS to this number. Use another number.", 422
        case MaxOTPCodesExceededError():
            problem, status = "Too many codes were sent to this number. Use the last one, or come back later.", 429
        case OTPError(outcome_unknown=True):
            problem, status = "An SMS may arrive. Do not use its code; request a new one in a minute.", 503
        case _:
            problem, status = "No code was sent. Try again.", 503
    # Contains no number. If NotFoundError is logged for every number, the base URL or the API path is wrong.
    app.logger.warning("send_code failed: %s: %s", type(error).__name__, error)
    wait = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(ceil(wait))} if wait else {}
    return render_template_string(PAGE, step="number", problem=problem), status, headers


@app.route("/code", methods=["GET", "POST"])
def ask_code() -> ResponseReturnValue:
    """Ask for the code, and check it."""
    drop_old_logins()
    name = request.cookies.get("login", "")
    login = logins.get(name)
    if login is None:
        return redirect(url_for("ask_number"))
    _, number, authentication_id = login
    problem = None
    if request.method == "POST":
        try:
            otp().validate_code(authentication_id, "".join(request.form.get("code", "").split()))
        except (InvalidOTPError, RequestValidationError):
            problem = "That is not the code. Try again."
        except (VerificationExpiredError, VerificationFailedError, NotFoundError) as error:
            logins.pop(name, None)
            reason = "Too many wrong codes." if isinstance(error, VerificationFailedError) else "The code expired."
            return render_template_string(PAGE, step="number", problem=f"{reason} Request a new one."), 422
        except OTPError as error:
            app.logger.warning("validate_code failed: %s: %s", type(error).__name__, error)
            abort(503)
        else:
            guard.verified(number)
            logins.pop(name, None)
            return "Welcome. Your number is verified."
    return render_template_string(PAGE, step="code", ending=number[-2:], problem=problem), 422 if problem else 200


def drop_old_logins() -> None:
    """Remove the logins that were not finished in time."""
    old = time.monotonic() - LIFETIME
    for name in [name for name, (start, _, _) in list(logins.items()) if start < old]:
        logins.pop(name, None)
