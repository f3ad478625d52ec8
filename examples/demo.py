"""Send a code and check it, with both clients, against an operator that runs on this machine: `make demo`.

Nothing leaves the machine, and no text is paid for.
"""

import asyncio

from camara_otp import AsyncOTPClient, InvalidOTPError, OTPClient, OTPError
from camara_otp.auth import ClientCredentials
from camara_otp.sandbox import Sandbox

NUMBER = "+346661113334"
BARRED = "+34600000002"  # the sandbox plays a phone that receives no texts
MESSAGE = "{{code}} is your short code to authenticate with Cool App via SMS"


def with_the_sync_client(url: str, operator: Sandbox) -> None:
    """Send a code, type a wrong one, then the right one."""
    print("\nOTPClient, the synchronous one")
    with OTPClient(url, token="demo-token") as otp:
        sent = otp.send_code(NUMBER, MESSAGE)
        code = received(operator)
        try:
            otp.validate_code(sent.authentication_id, wrong(code))
        except InvalidOTPError as error:
            print(f"  a wrong code     {type(error).__name__}: {error.message}")
        otp.validate_code(sent.authentication_id, code)
        print("  the right code   verified: the number belongs to the person")


async def with_the_async_client(url: str, operator: Sandbox) -> None:
    """Do the same with awaits."""
    print("\nAsyncOTPClient, for asyncio and trio")
    async with AsyncOTPClient(url, token="demo-token") as otp:
        sent = await otp.send_code(NUMBER, MESSAGE)
        code = received(operator)
        try:
            await otp.validate_code(sent.authentication_id, wrong(code))
        except InvalidOTPError as error:
            print(f"  a wrong code     {type(error).__name__}: {error.message}")
        await otp.validate_code(sent.authentication_id, code)
        print("  the right code   verified: the number belongs to the person")


def tokens_renew_themselves(url: str, operator: Sandbox) -> None:
    """Log in as an application does; lose the token, and go on."""
    print("\nA token provider fetches, keeps and renews the token")
    token = ClientCredentials(f"{url}/oauth2/token", "demo-app", client_secret="demo-secret")
    with OTPClient(url, token=token) as otp:
        otp.send_code(NUMBER, MESSAGE)
        print("  send_code        accepted, with a token fetched on the way")
        operator.with_tokens(lambda server, _: server.revoke())
        otp.send_code(NUMBER, MESSAGE)
        print("  send_code        accepted again, although the operator had revoked that token")


def errors_are_types(url: str) -> None:
    """Meet a phone that receives no texts, and an id that was never issued."""
    print("\nEvery documented error is a class of its own")
    with OTPClient(url, token="demo-token") as otp:
        for title, call in (
            ("a barred phone", lambda: otp.send_code(BARRED, MESSAGE)),
            ("an unknown id", lambda: otp.validate_code("never-issued", "123456")),
        ):
            try:
                call()
            except OTPError as error:
                acted = "may have acted" if error.outcome_unknown else "did not act"
                print(f"  {title:<16} {type(error).__name__}: {error}")
                print(f"  {'':<16} -> the operator {acted}")


def received(operator: Sandbox) -> str:
    """Look at the phone; return the code in its newest text."""
    text = operator.messages(NUMBER)[-1]
    print(f"  send_code        accepted; the phone {NUMBER} shows")
    print(f"                   | {text.text}")
    return text.code


def wrong(code: str) -> str:
    """Return a code of the same length that is not this one."""
    return "1" * len(code) if code == "0" * len(code) else "0" * len(code)


def main() -> None:
    """Start the operator, show both clients, stop it."""
    operator = Sandbox()
    with operator.serve() as url:
        print(f"A local operator answers at {url} (nothing leaves this machine)")
        with_the_sync_client(url, operator)
        asyncio.run(with_the_async_client(url, operator))
        operator.reset()
        tokens_renew_themselves(url, operator)
        errors_are_types(url)
    print("\nDone, and the operator is stopped. Run your own with: python -m camara_otp.sandbox")


if __name__ == "__main__":
    main()
