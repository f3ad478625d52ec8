"""Log users in by SMS: one view asks for the number and sends the code, one asks for the code and checks it."""

import logging
from functools import cache
from math import ceil

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.views.decorators.http import require_POST
from django.views.generic import FormView
from forms import CodeForm, NumberForm

from camara_otp import (
    IdentifierNotFoundError,
    InvalidOTPError,
    MaxOTPCodesExceededError,
    NotFoundError,
    OTPClient,
    OTPError,
    PhoneNumberBlockedError,
    PhoneNumberNotAllowedError,
    SendRefusedError,
    VerificationExpiredError,
    VerificationFailedError,
)
from camara_otp.guard import Guard, Limit

MESSAGE = "{{code}} is your code for Cool App"
UNFINISHED = 600  # seconds to finish a login
LOGGED_IN = 8 * 3600  # seconds after which the user is logged out

log = logging.getLogger(__name__)

# The guard is also the lock per number: of two clicks at the same moment, one sends a code. With more than one process,
# give it a RedisCounters, whose secret may be settings.SECRET_KEY.
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
def otp():
    """Return the client of this process, shared by its threads. Connections cannot be used after a fork."""
    return OTPClient()


class AskNumber(FormView):
    """Ask for the number, and send the code."""

    form_class = NumberForm
    template_name = "form.html"
    success_url = reverse_lazy("code")

    def form_valid(self, form):
        """Send the code, unless the guard refuses it."""
        number = form.cleaned_data["phone_number"]
        try:
            # Behind a proxy, REMOTE_ADDR is the address of the proxy until a trusted middleware sets it.
            with guard.sending(number, ip=self.request.META["REMOTE_ADDR"]):
                sent = otp().send_code(number, MESSAGE)
        except OTPError as error:
            if isinstance(error, NotFoundError):  # if it is raised for every number, the base URL or the path is wrong
                log_failure(error)
            form.add_error(None, advice(error))
            return refused(self.form_invalid(form), error)
        self.request.session.cycle_key()
        self.request.session.set_expiry(UNFINISHED)
        self.request.session["verifying"] = {"number": number, "authentication_id": sent.authentication_id}
        return super().form_valid(form)


class AskCode(FormView):
    """Ask for the code, and check it."""

    form_class = CodeForm
    template_name = "form.html"
    success_url = reverse_lazy("welcome")

    def dispatch(self, request, *args, **kwargs):
        """Send the user back to the first page if no code was sent."""
        if "verifying" not in request.session:
            return redirect("number")
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form):
        """Log the user in if the code is right."""
        verifying = self.request.session["verifying"]
        try:
            otp().validate_code(verifying["authentication_id"], "".join(form.cleaned_data["code"].split()))
        except (VerificationExpiredError, VerificationFailedError, NotFoundError):
            del self.request.session["verifying"]
            return redirect("number")
        except OTPError as error:
            form.add_error(None, advice(error))
            return self.form_invalid(form)
        guard.verified(verifying["number"])
        del self.request.session["verifying"]
        self.request.session.cycle_key()
        self.request.session.set_expiry(LOGGED_IN)
        self.request.session["verified_number"] = verifying["number"]
        return super().form_valid(form)


def welcome(request):
    """Greet a user who is logged in."""
    if "verified_number" not in request.session:
        return redirect("number")
    return HttpResponse("Welcome. Your number is verified.")


@require_POST
def leave(request):
    """End the session."""
    request.session.flush()
    return redirect("number")


def refused(page, error):
    """Set the status of a page after a refusal of the guard, and the `Retry-After` header."""
    if isinstance(error, SendRefusedError):
        page.status_code = 429
    if wait := getattr(error, "retry_after", None):
        page["Retry-After"] = str(ceil(wait))
    return page


def log_failure(error):
    """Log an error with the x-correlator of its call. The text contains no number and no code."""
    log.warning("%s: %s", type(error).__name__, error)


def advice(error):
    """Return the message for the user."""
    match error:
        case SendRefusedError():
            return str(error)
        case InvalidOTPError():
            return "That is not the code. Try again."
        case PhoneNumberNotAllowedError() | PhoneNumberBlockedError() | NotFoundError() | IdentifierNotFoundError():
            return "We cannot send an SMS to this number. Use another number."
        case MaxOTPCodesExceededError():
            return "Too many codes for this number. Use the last one, or come back later."
    log_failure(error)
    if error.outcome_unknown:
        return "We do not know whether it worked. Request a new code in a minute; an earlier code cannot be used."
    return "It did not work. Try again in a moment."
