"""A login by text message in Flask: `flask --app examples/flask_login.py run`.

Settings come from CAMARA_BASE_URL and CAMARA_BEARER_TOKEN. What the browser holds is a random name of a session; the
authentication id and the number stay on the server. Put the sessions into Redis or a database when there is more than
one process.
"""

import secrets
import time
from functools import cache

from flask import Flask, abort, make_response, redirect, render_template_string, request, url_for
from flask.typing import ResponseReturnValue

from camara_otp import (
    InvalidOTPError,
    MaxOTPCodesExceededError,
    OTPClient,
    OTPError,
    PhoneNumberBlockedError,
    PhoneNumberNotAllowedError,
    RequestValidationError,
    VerificationExpiredError,
    VerificationFailedError,
)
from camara_otp.phone import PhoneNumber

MESSAGE = "{{code}} is your code for Cool App"
LIFETIME = 600.0  # seconds that a half-finished login is kept

PAGE = """<!doctype html><title>Cool App</title>
<form method="post">{% if problem %}<p role="alert">{{ problem }}</p>{% endif %}
{% if step == "number" %}<label>Phone number <input name="phone_number" type="tel" autocomplete="tel" required></label>
{% else %}<p>We sent a code to the number that ends in {{ ending }}.</p>
<label>Code <input name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10" required></label>
{% endif %}<button>Go on</button></form>"""

app = Flask(__name__)
logins: dict[str, tuple[float, str, str]] = {}  # session name -> when, number, authentication id


@cache
def otp() -> OTPClient:
    """Return the client that all threads of this process share; made after the server has forked."""
    return OTPClient()


@app.route("/login", methods=["GET", "POST"])
def ask_number() -> ResponseReturnValue:
    """Ask for the number and send the code."""
    if request.method == "GET":
        return render_template_string(PAGE, step="number")
    try:
        number = PhoneNumber.parse(request.form.get("phone_number", ""), region="ES")
        sent = otp().send_code(number.e164, MESSAGE)
    except RequestValidationError as error:
        return render_template_string(PAGE, step="number", problem=f"This number {error.reason}."), 422
    except (PhoneNumberNotAllowedError, PhoneNumberBlockedError):
        return render_template_string(PAGE, step="number", problem="This number gets no texts. Try another."), 422
    except MaxOTPCodesExceededError:
        return render_template_string(
            PAGE, step="number", problem="Too many codes. Use the last, or come back later."
        ), 429
    except OTPError as error:
        app.logger.warning("send_code failed: %s", error)
        problem = "If a text comes, leave it. Ask for a new one in a minute." if error.outcome_unknown else "Try again."
        return render_template_string(PAGE, step="number", problem=problem), 503
    forget_old_logins()
    name = secrets.token_urlsafe()
    logins[name] = (time.monotonic(), number.e164, sent.authentication_id)
    response = make_response(redirect(url_for("ask_code")))
    response.set_cookie("login", name, max_age=int(LIFETIME), httponly=True, samesite="Lax", secure=request.is_secure)
    return response


@app.route("/code", methods=["GET", "POST"])
def ask_code() -> ResponseReturnValue:
    """Ask for the code and check it."""
    name = request.cookies.get("login", "")
    if name not in logins:
        return redirect(url_for("ask_number"))
    _, number, authentication_id = logins[name]
    problem = None
    if request.method == "POST":
        try:
            otp().validate_code(authentication_id, request.form.get("code", "").strip())
        except (InvalidOTPError, RequestValidationError):
            problem = "That is not the code. Try again."
        except (VerificationExpiredError, VerificationFailedError):
            del logins[name]
            return render_template_string(PAGE, step="number", problem="This code has ended. Ask for a new one."), 422
        except OTPError as error:
            app.logger.warning("validate_code failed: %s", error)
            abort(503)
        else:
            del logins[name]
            return "Welcome. Your number is verified."
    return render_template_string(PAGE, step="code", ending=number[-2:], problem=problem), 422 if problem else 200


def forget_old_logins() -> None:
    """Drop what nobody finished."""
    old = time.monotonic() - LIFETIME
    for name in [name for name, (began, _, _) in logins.items() if began < old]:
        logins.pop(name, None)
