"""One logical call, and the frames of an interruption."""

import anyio
import httpx
import pytest
from rich.pretty import pretty_repr

from camara_otp import AsyncOTPClient, OTPClient
from tests.conftest import BASE_URL

NUMBER, MESSAGE, TOKEN, ID, CODE = "+34666111333", "{{code}} Qjmessage", "Qjtoken", "Qjauthentication", "Qjcode77"
SECRETS = ("666111333", "Qj")


class Stop(BaseException):
    """An exception in place of Ctrl-C or a cancellation."""


def stop(*_):
    raise Stop


class Provider:
    """Return one token, then raise where another is requested."""

    def get_token(self, *, rejected, timeout):
        if rejected is not None:
            del rejected
            raise Stop
        return TOKEN

    async def aget_token(self, *, rejected, timeout):
        return self.get_token(rejected=rejected, timeout=timeout)


MOMENTS = {
    "the correlator's callable": {"x_correlator": stop},
    "the token's callable": {"token": stop},
    "the renewal of a token": {"token": Provider()},
}


def leaves(value):
    """Yield a value and, like error trackers, the values in its containers."""
    yield value
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set):
        for item in value:
            yield from leaves(item)


def shown_by(error):
    """Return the locals of the package's frames as strings, as renderers of tracebacks show them."""
    frame = error.__traceback__
    while frame is not None:
        if "camara_otp" in frame.tb_frame.f_code.co_filename:
            for name, value in frame.tb_frame.f_locals.items():
                for leaf in leaves(value):
                    yield f"{frame.tb_frame.f_code.co_name} {name} {leaf!r} {pretty_repr(leaf)}"
        frame = frame.tb_next


@pytest.mark.parametrize("how", ["sync", "asyncio", "trio"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("operation", ["send_code", "validate_code"])
def test_the_frames_of_an_interrupted_call_hold_no_secret(how, moment, operation):
    """For renderers that print fields of attrs classes, and those that iterate tuples."""
    options = {"token": TOKEN, "on_call": lambda record: None} | MOMENTS[moment]
    arguments = (NUMBER, MESSAGE) if operation == "send_code" else (ID, CODE)
    transport = httpx.MockTransport(lambda _: httpx.Response(401))

    def call():
        with httpx.Client(transport=transport) as http_client:
            getattr(OTPClient(BASE_URL, http_client=http_client, **options), operation)(*arguments)

    async def acall():
        async with httpx.AsyncClient(transport=transport) as http_client:
            await getattr(AsyncOTPClient(BASE_URL, http_client=http_client, **options), operation)(*arguments)

    with pytest.raises(Stop) as caught:
        call() if how == "sync" else anyio.run(acall, backend=how)

    shown = list(shown_by(caught.value))
    assert shown
    assert [text for text in shown if any(secret in text for secret in SECRETS)] == []
