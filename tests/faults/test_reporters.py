"""No error reporter finds a secret in the frames of this package: the standard library, Sentry and Rich.

Sentry iterates tuples and mappings whatever their `repr`; Rich prints the fields of attrs classes despite `repr=False`.
"""

import asyncio
import json
import signal
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import sentry_sdk
from rich.traceback import Traceback
from sentry_sdk.transport import Transport
from sentry_sdk.utils import event_from_exception

from camara_otp import AsyncOTPClient, ConfigurationError, OTPClient, OTPError, SendCodeRequest, ValidateCodeRequest
from camara_otp import client as client_module
from camara_otp._exchange.waits import Ready
from camara_otp.auth import CIBA, ClientCredentials, JWTBearer
from tests.faults.drive import ARGUMENTS, SECRETS, TOKEN
from tests.faults.scenarios import raw
from tests.interrupts import entered_at

KEY = "zq-key-zq"
PACKAGE = str(Path(client_module.__file__).parent)


class _Captured(Transport):
    """Store the events instead of sending them."""

    def __init__(self, options=None):
        super().__init__(options)
        self.events = []

    def capture_envelope(self, envelope):
        self.events.append(envelope.get_event())


def _standard(error):
    for summary in traceback.TracebackException.from_exception(error, capture_locals=True).stack:
        yield summary.filename, summary.name, repr(summary.locals)


def _sentry(error):
    """Yield what Sentry sends about each frame, by its default settings; its integrations patch the process."""
    transport = _Captured()
    client = sentry_sdk.Client(
        dsn="http://key@127.0.0.1/1",
        transport=transport,
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    client.capture_event(*event_from_exception(error, client_options=client.options))
    (event,) = transport.events
    client.close(timeout=0)
    for value in event["exception"]["values"]:
        for frame in value["stacktrace"]["frames"]:
            yield frame["abs_path"], frame["function"], json.dumps(frame["vars"])


def _rich(error):
    for stack in Traceback.extract(type(error), error, error.__traceback__, show_locals=True).stacks:
        for frame in stack.frames:
            yield frame.filename, frame.name, " ".join(f"{name}={node}" for name, node in (frame.locals or {}).items())


REPORTERS = {"standard library": _standard, "Sentry": _sentry, "Rich": _rich}


def leaks(error, only="/camara_otp/"):
    """Return the reporter, file, function and text of each frame that shows a secret."""
    found = []
    seen = 0
    for reporter, frames in REPORTERS.items():
        for filename, function, text in frames(error):
            if only in filename:
                seen += 1
                found += [
                    f"{reporter}: {filename.rpartition('/')[2]}, {function}: ...{text[max(at - 100, 0) : at + 30]}"
                    for at in [text.find(secret) for secret in (*SECRETS, KEY)]
                    if at >= 0
                ]
    assert seen, "no frame of the package"
    return found


@pytest.fixture(params=["silent", "half a response"])
def operator(faults, request):
    """Return the URL of an operator that does not respond, or echoes the request in half a response."""

    async def script(c):
        await c.request()
        if request.param != "silent":
            await c.send(raw(200, b'{"authenticationId":"zq-id"}', b"X-Echo: zq-echo", length=100))
        await c.hold()

    return f"http://127.0.0.1:{faults.listen(script).port}"


def _arguments(operation, form):
    values = ARGUMENTS[operation]
    if form == "request":
        return ((SendCodeRequest if operation == "send_code" else ValidateCodeRequest)(*values),)
    return values


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("operation", ARGUMENTS)
@pytest.mark.parametrize("form", ["values", "request"])
def test_a_signal_leaves_no_secret_in_a_frame(operator, kind, operation, form):
    def handler(*_):
        raise kind

    arguments = _arguments(operation, form)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with OTPClient(operator, token=TOKEN, headers={"X-Key": KEY}) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(kind) as caught:
                getattr(client, operation)(*arguments)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert not leaks(caught.value)


@pytest.mark.parametrize("operation", ARGUMENTS)
@pytest.mark.parametrize("form", ["values", "request"])
def test_a_cancelled_task_leaves_no_secret_in_a_frame(operator, operation, form):
    async def main():
        async with AsyncOTPClient(operator, token=TOKEN, headers={"X-Key": KEY}) as client:
            task = asyncio.create_task(getattr(client, operation)(*_arguments(operation, form)))
            await asyncio.sleep(0.2)
            task.cancel()
            await task

    with pytest.raises(asyncio.CancelledError) as caught:
        asyncio.run(main())

    assert not leaks(caught.value)


PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n"
REFUSED = {
    "base_url": lambda make: make("ftp://x", token=TOKEN, headers={"X-Key": KEY}, params={"k": KEY}),
    "base_url with credentials": lambda make: make(f"https://user:{KEY}@operator.example", token=TOKEN),
    "plain http": lambda make: make("http://operator.example", token=TOKEN),
    "plain http, with a warning": lambda make: make("http://operator.example", token=TOKEN, allow_http=True),
    "api_path": lambda make: make("https://operator.example", api_path="/a?b", token=TOKEN),
    "token": lambda make: make("https://operator.example", token=f"{TOKEN}\n"),
    "token of another type": lambda make: make("https://operator.example", token=[TOKEN]),
    "timeout": lambda make: make("https://operator.example", token=TOKEN, timeout=0, headers={"X-Key": KEY}),
    "retry": lambda make: make("https://operator.example", token=TOKEN, retry=3, headers={"X-Key": KEY}),
    "headers": lambda make: make("https://operator.example", token=TOKEN, headers={"X-Key": f"{KEY}\n"}),
    "a header of ours": lambda make: make("https://operator.example", token=TOKEN, headers={"Authorization": KEY}),
    "params": lambda make: make("https://operator.example", token=TOKEN, params=7, headers={"X-Key": KEY}),
    "max_response_bytes": lambda make: make("https://operator.example", token=TOKEN, max_response_bytes=0),
    "http_client": lambda make: make("https://operator.example", token=TOKEN, http_client=object()),
    "on_call": lambda make: make("https://operator.example", token=TOKEN, on_call=3, headers={"X-Key": KEY}),
}
GRANTS = {
    "token_url": lambda: ClientCredentials("ftp://x", "app", client_secret=KEY),
    "token_url with a password": lambda: ClientCredentials(f"https://u:{KEY}@x.example", "app", client_secret=KEY),
    "client_auth": lambda: ClientCredentials("https://x.example", "app", client_secret=KEY, client_auth="other"),
    "private_key": lambda: ClientCredentials("https://x.example", "app", private_key=PEM),
    "subject": lambda: JWTBearer("https://x.example", "app", private_key=PEM, subject="+34666111333444"),
    "scope": lambda: ClientCredentials("https://x.example", "app", client_secret=KEY, scope="\n"),
    "login_hint": lambda: CIBA(
        "https://x.example", "https://x.example", "app", client_secret=KEY, login_hint="\n+34666111333444"
    ),
}


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("make", [OTPClient, AsyncOTPClient])
def test_a_refused_argument_of_a_client_is_in_no_frame(make, refused):
    """With warnings as errors, as with `python -W error`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((ConfigurationError, UserWarning)) as caught:
            REFUSED[refused](make)

    assert not leaks(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("refused", GRANTS)
def test_a_refused_argument_of_a_grant_is_in_no_frame(refused):
    with pytest.raises(ConfigurationError) as caught:
        GRANTS[refused]()

    assert not leaks(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("make", [OTPClient, AsyncOTPClient])
def test_an_interrupt_while_the_exchange_is_opened_leaves_no_secret_in_a_frame(monkeypatch, make):
    """The first client imports the libraries of the exchange, which takes long enough for Ctrl-C."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(client_module, "open_exchange", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        make("https://operator.example", token=TOKEN, headers={"X-Key": KEY}, params={"k": KEY})

    assert not leaks(caught.value)


REFUSED_CALLS = {
    "phone_number": ("send_code", ("666111333444", "{{code}}"), {}),
    "message": ("send_code", ("+34666111333444", "zq-message-zq"), {}),
    "authentication_id": ("validate_code", ("zq-id" * 20, "zqcode"), {}),
    "code": ("validate_code", ("zq-id", "zqcodezqcodezqcode"), {}),
    "token": ("send_code", ARGUMENTS["send_code"], {"token": "zq-token\n"}),
    "timeout": ("send_code", ARGUMENTS["send_code"], {"timeout": -1}),
    "x_correlator": ("send_code", ARGUMENTS["send_code"], {"x_correlator": "of two words"}),
    "a token callable that fails": ("send_code", ARGUMENTS["send_code"], {"token": lambda: 1 / 0}),
}


@pytest.mark.parametrize("refused", REFUSED_CALLS)
@pytest.mark.parametrize("make", [OTPClient, AsyncOTPClient])
def test_a_refused_argument_of_a_call_is_in_no_frame(make, refused):
    operation, arguments, options = REFUSED_CALLS[refused]
    client = make("https://operator.example", token=TOKEN, headers={"X-Key": KEY})

    async def main():
        await getattr(client, operation)(*arguments, **options)

    with pytest.raises(OTPError) as caught:
        asyncio.run(main()) if make is AsyncOTPClient else getattr(client, operation)(*arguments, **options)

    assert not leaks(caught.value)


@pytest.mark.parametrize("observed", [False, True], ids=["direct", "observed"])
@pytest.mark.parametrize("tls", [None, "tls"], ids=["plain", "TLS"])
@pytest.mark.parametrize("operation", ARGUMENTS)
def test_an_interrupt_at_any_wait_of_an_exchange_leaves_no_secret_in_a_frame(
    faults, monkeypatch, operation, tls, observed
):
    """Connecting, in the TLS handshake, and before and within the response; also where a tool observes httpx."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)
    if observed:
        real = httpx.HTTPTransport.handle_request
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda *arguments: real(*arguments))

    async def script(c):
        while await c.request():
            for byte in raw(400, b'{"code":"INVALID_ARGUMENT","message":"zq-echo"}', b"X-Echo: zq-echo"):
                await c.send(bytes([byte]))
                await c.sleep(0)

    interruptions, left = [], 0
    block = Ready.block

    def interrupted(self, seconds):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return block(self, seconds)

    monkeypatch.setattr(Ready, "block", interrupted)
    url = f"http{'s' if tls else ''}://127.0.0.1:{faults.listen(script, tls=tls and faults.tls).port}"
    for number in range(20):
        with OTPClient(url, token=TOKEN, headers={"X-Key": KEY}, timeout=20) as client:
            left = number
            try:
                getattr(client, operation)(*ARGUMENTS[operation])
            except KeyboardInterrupt as interruption:
                interruptions.append(interruption)
            except OTPError:
                break
    assert len(interruptions) >= 2
    assert not [leak for interruption in interruptions for leak in leaks(interruption)]


EVERY_LINE = [
    ("direct", "send_code"),
    *[
        pytest.param(way, operation, marks=pytest.mark.long)
        for way in ("direct", "TLS", "observed", "caller's client", "task")
        for operation in ARGUMENTS
        if (way, operation) != ("direct", "send_code")
    ],
]


@pytest.mark.parametrize(("way", "operation"), EVERY_LINE)
def test_an_interrupt_at_any_line_of_a_call_leaves_no_secret_in_a_frame(faults, monkeypatch, way, operation):
    """Also where bytes are made and read; the arguments of the method itself are the caller's to hide."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)
    if way == "observed":
        real = httpx.HTTPTransport.handle_request
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda *arguments: real(*arguments))

    async def script(c):
        while await c.request():
            await c.send(raw(400, b'{"code":"INVALID_ARGUMENT","message":"zq-echo"}', b"X-Echo: zq-echo"))

    tls = faults.tls if way == "TLS" else None
    url = f"http{'s' if tls else ''}://127.0.0.1:{faults.listen(script, tls=tls).port}"
    options = {"token": TOKEN, "headers": {"X-Key": KEY}, "timeout": 20}

    async def in_a_task(client):
        with suppress(OTPError):
            await getattr(client, operation)(*ARGUMENTS[operation])

    def in_a_thread(client):
        with suppress(OTPError):
            getattr(client, operation)(*ARGUMENTS[operation])

    def interrupt():
        raise KeyboardInterrupt

    found = set()
    with httpx.Client() as http_client, asyncio.Runner() as runner:
        for line in range(1, 2000):
            if way == "task":
                client = AsyncOTPClient(url, **options)
                work, end = (lambda c=client: runner.run(in_a_task(c))), (lambda c=client: runner.run(c.aclose()))
            else:
                client = OTPClient(url, **options, http_client=http_client if way == "caller's client" else None)
                work, end = (lambda c=client: in_a_thread(c)), client.close
            work()
            try:
                assert not entered_at(line, work, PACKAGE, interrupt)
            except KeyboardInterrupt as interruption:
                found.update(leaks(interruption, only=""))
            else:
                break
            finally:
                end()
    assert line > 200
    assert not {leak for leak in found if f"client.py, {operation}:" not in leak and "test_reporters.py" not in leak}
