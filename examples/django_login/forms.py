"""The two forms: a number in any usual notation, and the code."""

from django import forms

from camara_otp import RequestValidationError
from camara_otp.phone import PhoneNumber


class NumberForm(forms.Form):
    """Convert the typed number to E.164, or say how to correct it."""

    phone_number = forms.CharField(widget=forms.TextInput({"type": "tel", "autocomplete": "tel"}))

    def clean_phone_number(self):
        """Return the number for `send_code`."""
        try:
            number = PhoneNumber.parse(self.cleaned_data["phone_number"], region="ES")
        except RequestValidationError as error:
            raise forms.ValidationError(f"This number {error.reason}.") from None
        if not number.may_get_texts:
            raise forms.ValidationError("This is no mobile number. Try another.")
        return number.e164


class CodeForm(forms.Form):
    """Take the code as a string, since leading zeros count; phones fill it in by `autocomplete`."""

    code = forms.CharField(
        max_length=10, widget=forms.TextInput({"inputmode": "numeric", "autocomplete": "one-time-code"})
    )
