"""The two forms: a number as people write it, and the code."""

from django import forms

from camara_otp import RequestValidationError
from camara_otp.phone import PhoneNumber


class NumberForm(forms.Form):
    """Convert the typed number to E.164, or explain the error."""

    phone_number = forms.CharField(widget=forms.TextInput({"type": "tel", "autocomplete": "tel"}))

    def clean_phone_number(self):
        """Return the number for `send_code`."""
        try:
            number = PhoneNumber.parse(self.cleaned_data["phone_number"], region="ES")
        except RequestValidationError as error:
            raise forms.ValidationError(f"This number {error.reason}.") from None
        if not number.may_get_texts:
            raise forms.ValidationError("This is not a mobile number. Use another number.")
        return number.e164


class CodeForm(forms.Form):
    """Take the code as a string, because leading zeros count. Phones fill in the field through `autocomplete`."""

    code = forms.CharField(
        max_length=10, widget=forms.TextInput({"inputmode": "numeric", "autocomplete": "one-time-code"})
    )
