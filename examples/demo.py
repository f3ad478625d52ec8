"""Send a code and check it, with both clients, against a local operator: `make demo`.

Every request stays on this machine, and no SMS is sent. Needs the extra `sandbox`.
"""

import asyncio

from camara_otp import AsyncOTPClient, InvalidOTPError, OTPClient, OTPError
from camara_otp.auth import ClientCredentials
from camara_otp.sandbox import Sandbox

NUMBER = "+346661113334"
BLOCKED = "+34600000002"  # the sandbox blocks SMS to this number
MESSAGE = "{{code}} is your short code to authenticate with Cool App via SMS"


def with_the_sync_client(url: str, operator: Sandbox) -> None:
    """Send a code, type a wrong one, then the right one."""
    print("\nOTPClient, the synchronous client")
    with OTPClient(url, token="demo-token") as otp:
        sent = otp.send_code(NUMBER, MESSAGE)
        code = received(operator)
        try:
            otp.validate_code(sent.authentication_id, wrong(code))
        except InvalidOTPError as error:
            print(f"  a wrong code     {type(error).__name__}: {error.message}")
        otp.validate_code(sent.authentication_id, code)
        print("  the right code   verified: the number belongs to the user")


async def with_the_async_client(url: str, operator: Sandbox) -> None:
    """Send a code, type a wrong one, then the right one, with `await`."""
    print("\nAsyncOTPClient, for asyncio and trio")
    async with AsyncOTPClient(url, token="demo-token") as otp:
        sent = await otp.send_code(NUMBER, MESSAGE)
        code = received(operator)
        try:
            await otp.validate_code(sent.authentication_id, wrong(code))
        except InvalidOTPError as error:
            print(f"  a wrong code     {type(error).__name__}: {error.message}")
        await otp.validate_code(sent.authentication_id, code)
        print("  the right code   verified: the number belongs to the user")


def tokens_renew_themselves(url: str, operator: Sandbox) -> None:
    """Fetch a token with client credentials, revoke it, and send again."""
    print("\nA token provider fetches, keeps and renews the token")
    token = ClientCredentials(f"{url}/oauth2/token", "demo-app", client_secret="demo-secret")
    with OTPClient(url, token=token) as otp:
        otp.send_code(NUMBER, MESSAGE)
        print("  send_code        accepted; the token was fetched first")
        operator.with_tokens(lambda server, _: server.revoke())
        otp.send_code(NUMBER, MESSAGE)
        print("  send_code        accepted again with a renewed token, after the operator revoked the first")


def errors_are_types(url: str) -> None:
    """Send to a blocked number, and check the code of an unknown id."""
    print("\nEvery documented error is a class of its own")
    with OTPClient(url, token="demo-token") as otp:
        for title, call in (
            ("a blocked number", lambda: otp.send_code(BLOCKED, MESSAGE)),
            ("an unknown id", lambda: otp.validate_code("never-issued", "123456")),
        ):
            try:
                call()
            except OTPError as error:
                acted = "may have acted" if error.outcome_unknown else "did not act"
                print(f"  {title:<16} {type(error).__name__}: {error}")
                print(f"  {'':<16} -> the operator {acted}")


def received(operator: Sandbox) -> str:
    """Print the newest SMS of the phone, and return its code."""
    sms = operator.messages(NUMBER)[-1]
    print(f"  send_code        accepted; the phone {NUMBER} shows")
    print(f"                   | {sms.text}")
    return sms.code


def wrong(code: str) -> str:
    """Return a code of the same length that is not this one."""
    return "1" * len(code) if code == "0" * len(code) else "0" * len(code)


def main() -> None:
    """Start the operator, run each part, and stop the operator."""
    operator = Sandbox()
    with operator.serve() as url:
        print(f"A local operator listens at {url} (every request stays on this machine)")
        with_the_sync_client(url, operator)
        asyncio.run(with_the_async_client(url, operator))
        operator.reset()
        tokens_renew_themselves(url, operator)
        errors_are_types(url)
    print("\nDone. The operator is stopped. To start one: python -m camara_otp.sandbox")


if __name__ == "__main__":
    main()
