"""A login by text message: one view asks for the number and sends, one asks for the code and checks."""

import logging
from functools import cache

from django.core.cache import cache as store
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils.crypto import salted_hmac
from django.views.generic import FormView
from forms import CodeForm, NumberForm

from camara_otp import (
    InvalidOTPError,
    MaxOTPCodesExceededError,
    NotFoundError,
    OTPClient,
    OTPError,
    PhoneNumberBlockedError,
    PhoneNumberNotAllowedError,
    VerificationExpiredError,
    VerificationFailedError,
)

MESSAGE = "{{code}} is your code for Cool App"
COOLDOWN = 30  # seconds between two texts to one number

log = logging.getLogger(__name__)


@cache
def otp():
    """Return the client that all threads of this process share; made after the server has forked."""
    return OTPClient()


class AskNumber(FormView):
    """Ask for the number and send the code."""

    form_class = NumberForm
    template_name = "form.html"
    success_url = reverse_lazy("code")

    def form_valid(self, form):
        """Send, unless a text went to this number a moment ago."""
        number = form.cleaned_data["phone_number"]
        cooling = "otp-" + salted_hmac("otp", number).hexdigest()
        if not store.add(cooling, True, COOLDOWN):  # noqa: FBT003 - the value is not looked at
            form.add_error(None, f"We have just sent a text to this number. Wait {COOLDOWN} seconds.")
            return self.form_invalid(form)
        try:
            sent = otp().send_code(number, MESSAGE)
        except OTPError as error:
            if not error.outcome_unknown:
                store.delete(cooling)
            form.add_error(None, advice(error))
            return self.form_invalid(form)
        self.request.session.cycle_key()
        self.request.session["verifying"] = {"number": number, "authentication_id": sent.authentication_id}
        return super().form_valid(form)


class AskCode(FormView):
    """Ask for the code and check it."""

    form_class = CodeForm
    template_name = "form.html"
    success_url = reverse_lazy("welcome")

    def dispatch(self, request, *args, **kwargs):
        """Lead back who has not been sent a code."""
        if "verifying" not in request.session:
            return redirect("number")
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form):
        """Let in whose code is right."""
        verifying = self.request.session["verifying"]
        try:
            otp().validate_code(verifying["authentication_id"], form.cleaned_data["code"])
        except (VerificationExpiredError, VerificationFailedError, NotFoundError):
            del self.request.session["verifying"]
            return redirect("number")
        except OTPError as error:
            form.add_error(None, advice(error))
            return self.form_invalid(form)
        del self.request.session["verifying"]
        self.request.session.cycle_key()
        self.request.session["verified_number"] = verifying["number"]
        return super().form_valid(form)


def welcome(request):
    """Greet who is verified."""
    if "verified_number" not in request.session:
        return redirect("number")
    return HttpResponse("Welcome. Your number is verified.")


def advice(error):
    """Return what to tell the person."""
    match error:
        case InvalidOTPError():
            return "That is not the code. Try again."
        case PhoneNumberNotAllowedError() | PhoneNumberBlockedError() | NotFoundError():
            return "This number gets no texts from us. Try another."
        case MaxOTPCodesExceededError():
            return "Too many codes for this number. Use the last one, or come back later."
    log.warning("one-time code: %s", error)  # holds no number and no code
    if error.outcome_unknown:
        return "We cannot tell whether it worked. Ask for a new code in a minute; one that comes now cannot be used."
    return "It did not work. Try again in a moment."
