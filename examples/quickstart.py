"""Send a code to a phone, and check the code that the user types.

    python quickstart.py

The settings are CAMARA_BASE_URL and CAMARA_BEARER_TOKEN. To try it without an operator, run
`python -m camara_otp.sandbox` in another terminal, set CAMARA_BASE_URL=http://127.0.0.1:9091 and
CAMARA_BEARER_TOKEN=any, and read the code on the page at that address.
"""

import sys

from camara_otp import InvalidOTPError, OTPClient, OTPError

MESSAGE = "{{code}} is your short code to authenticate with Cool App via SMS"


def verify(otp: OTPClient, phone_number: str) -> None:
    """Return after the user has typed the right code; raise if the verification fails."""
    sent = otp.send_code(phone_number, MESSAGE)
    while True:
        try:
            otp.validate_code(sent.authentication_id, input("The code in the SMS: ").strip())
        except InvalidOTPError:
            print("That is not the code. Try again.")
        else:
            return


if __name__ == "__main__":
    with OTPClient() as client:
        try:
            verify(client, input("Phone number, with its country code (+...): ").strip())
        except OTPError as error:
            acted = "may have acted" if error.outcome_unknown else "did not act on this call"
            sys.exit(f"{type(error).__name__}: {error} (the operator {acted})")
    print("The number is yours.")
