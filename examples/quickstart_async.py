"""Send codes to several phones at once, and check one of them.

    python quickstart_async.py +34666111222 +34666111333

The settings are CAMARA_BASE_URL and CAMARA_BEARER_TOKEN.
"""

import asyncio
import sys

from camara_otp import AsyncOTPClient, OTPError, SendCodeResponse

MESSAGE = "{{code}} is your short code to authenticate with Cool App via SMS"


async def send(otp: AsyncOTPClient, phone_number: str) -> SendCodeResponse | None:
    """Send one code and print the result, without the number."""
    try:
        sent = await otp.send_code(phone_number, MESSAGE)
    except OTPError as error:
        print(f"...{phone_number[-2:]}: {type(error).__name__}, may have been sent: {error.outcome_unknown}")
        return None
    print(f"...{phone_number[-2:]}: accepted for sending")
    return sent


async def main(phone_numbers: list[str]) -> None:
    """Send to all numbers at once with one client, then check the first code that was sent."""
    async with AsyncOTPClient() as otp:
        results = await asyncio.gather(*(send(otp, phone_number) for phone_number in phone_numbers))
        first = next((sent for sent in results if sent is not None), None)
        if first is not None:
            code = await asyncio.to_thread(input, "The code in the first SMS: ")
            await otp.validate_code(first.authentication_id, code.strip())
            print("The number is yours.")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
