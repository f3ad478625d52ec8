"""The ways to the operator: names, addresses, proxies, and the caller's client."""

import asyncio
import importlib
import socket
import threading
import time

import pytest

from camara_otp import (
    AsyncOTPClient,
    ConfigurationError,
    HTTP400Error,
    HTTP403Error,
    InvalidOTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    SendCodeResponse,
    UnexpectedResponseError,
)
from camara_otp._exchange import connect, mocks
from camara_otp._exchange.waits import drive
from tests.conftest import MESSAGE, NUMBER, has_ipv6
from tests.faults.scenarios import BOMB, SENT, raw, replies, steps
from tests.http import httpx


def url(listener, host="127.0.0.1"):
    return f"http://{host}:{listener.port}"


def test_a_name_is_resolved_and_each_address_tried(faults, shell, monkeypatch):
    """The first address refuses, the second responds."""
    listener = faults.listen(replies(raw()))
    closed = ("127.0.0.2", listener.port)
    real = socket.getaddrinfo

    def two(host, port, *args, **kwargs):
        if host != "localhost":
            return real(host, port, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (closed, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", two)

    assert shell.client(url(listener, "localhost")).send_code(NUMBER, MESSAGE)
    assert listener.posts == 1


def test_a_name_that_does_not_resolve_is_not_sent(shell, monkeypatch):
    def none(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", none)

    with pytest.raises(RequestNotSentError, match="could not be resolved") as caught:
        shell.client("https://nowhere.example", retry=None).send_code(NUMBER, MESSAGE)
    assert not caught.value.permanent


def test_a_name_that_cannot_be_asked_for_is_not_sent(shell):
    """A label of more than 63 characters fails before a DNS request."""
    with pytest.raises(RequestNotSentError, match="could not be resolved"):
        shell.client(f"https://{'x' * 70}.example", retry=None).send_code(NUMBER, MESSAGE)


def test_a_stuck_resolver_ends_with_the_deadline(shell, monkeypatch):
    """The call does not wait for the lookup, which cannot be interrupted."""
    release = threading.Event()

    def stuck(*args, **kwargs):
        if kwargs.get("flags", 0) or (len(args) > 5 and args[5]):
            raise socket.gaierror(socket.EAI_NONAME, "no address")  # asked whether the name is an address
        release.wait(3)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    client = shell.client("https://slow.example", timeout=0.2)
    began = time.monotonic()
    try:
        with pytest.raises(RequestNotSentError, match="timed out"):
            client.send_code(NUMBER, MESSAGE)
        assert time.monotonic() - began < 0.7
    finally:
        release.set()


def test_an_address_that_takes_no_connection_ends_with_the_connect_timeout(shell):
    """A listening socket with a full queue stands for a host that drops packets."""
    from camara_otp import RetryPolicy

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        time.sleep(0.05)
        client = shell.client(
            f"http://127.0.0.1:{full.getsockname()[1]}",
            timeout=5,
            retry=RetryPolicy(connect_timeout=0.1, first_wait=0.01),
        )
        began = time.monotonic()
        with pytest.raises(RequestNotSentError, match="timed out") as caught:
            client.send_code(NUMBER, MESSAGE)
        for filler in fillers:
            filler.close()
    assert caught.value.attempts == 3
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("host", ["[::1]", "localhost"])
def test_other_forms_of_loopback_reach_it(shell, host):
    """IPv6, and a name that may have two addresses."""
    from camara_otp.sandbox import Sandbox

    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with Sandbox().serve(host="::1" if host == "[::1]" else "127.0.0.1") as served:
        port = served.rpartition(":")[2]
        assert shell.client(f"http://{host}:{port}").send_code(NUMBER, MESSAGE)


# --- Proxies ---------------------------------------------------------------------------------------------------------


async def proxy(c):
    """Respond like an operator behind the proxy, whatever the target."""
    while await c.request():
        c.listener.asked = c.head.split(b"\r\n")[0]
        await c.send(raw())


def test_a_proxy_of_the_environment_is_used(faults, shell, monkeypatch):
    """For any host other than loopback."""
    listener = faults.listen(proxy)
    monkeypatch.setenv("HTTP_PROXY", url(listener))

    with pytest.warns(UserWarning, match="plain http"):
        client = shell.client("http://operator.example", allow_http=True)
    assert isinstance(client.send_code(NUMBER, MESSAGE), SendCodeResponse)
    assert listener.asked == b"POST http://operator.example/otpvalidation/send-code HTTP/1.1"


def test_loopback_never_goes_through_a_proxy(faults, shell, monkeypatch):
    through, direct = faults.listen(proxy), faults.listen(replies(raw()))
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, url(through))

    shell.client(url(direct)).send_code(NUMBER, MESSAGE)

    assert (through.posts, direct.posts) == (0, 1)


@pytest.mark.parametrize("refusal", [steps("close"), replies(raw(403, b""), then="close")], ids=["closed", "refused"])
def test_a_proxy_that_refuses_means_not_sent(faults, shell, monkeypatch, refusal):
    """The operator cannot have seen the request."""

    async def script(c):
        await c._reader.readuntil(b"\r\n\r\n")
        await c.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    monkeypatch.setenv("HTTPS_PROXY", url(faults.listen(script)))

    with pytest.raises(RequestNotSentError, match="proxy"):
        shell.client("https://operator.example", retry=None).send_code(NUMBER, MESSAGE)


# --- The caller's client ---------------------------------------------------------------------------------------------


def test_the_callers_client_is_bounded_too(faults, shell):
    """The cap applies to bombs too, and a 4xx with any body is a refusal."""
    for script, expected in (
        (steps("request", ("send", b"HTTP/1.1 200 OK\r\n\r\n"), ("flood", b"x" * 65536, 200)), UnexpectedResponseError),
        (replies(raw(200, BOMB, b"Content-Encoding: gzip")), UnexpectedResponseError),
        (replies(raw(200, SENT, b"Content-Encoding: br")), UnexpectedResponseError),
        (replies(raw(403, BOMB, b"Content-Encoding: gzip")), HTTP403Error),
        (replies(raw()[:-5], then="close"), OutcomeUnknownError),
    ):
        client = shell.client(url(faults.listen(script)), http_client=shell.http_client())
        with pytest.raises(expected):
            client.send_code(NUMBER, MESSAGE)


def test_a_drip_of_the_body_ends_with_the_deadline_on_the_callers_client(faults, shell):
    """The deadline is checked between chunks; slow headers are limited in the async case only."""
    listener = faults.listen(steps("request", ("send", raw()[:-40]), ("drip", raw()[-40:], 0.05)))
    client = shell.client(url(listener), http_client=shell.http_client(), timeout=0.3)
    began = time.monotonic()

    with pytest.raises(OutcomeUnknownError):
        client.send_code(NUMBER, MESSAGE)

    assert time.monotonic() - began < 0.8


def test_a_hook_that_reads_the_response_is_no_hindrance(faults, shell):
    """Logging hooks do; the decoded body is used."""
    import gzip

    seen = []

    def read(response):
        response.read()
        seen.append(response.text)

    async def aread(response):
        await response.aread()
        seen.append(response.text)

    http_client = shell.http_client(event_hooks={"response": [aread if shell.is_async else read]})
    body = gzip.compress(SENT)
    client = shell.client(
        url(faults.listen(replies(raw(200, body, b"Content-Encoding: gzip")))), http_client=http_client
    )

    assert isinstance(client.send_code(NUMBER, MESSAGE), SendCodeResponse)
    assert seen == [SENT.decode()]


def test_a_long_body_that_a_hook_has_read_is_still_refused(faults, shell):
    """The cap applies to it."""

    def read(response):
        response.read()

    async def aread(response):
        await response.aread()

    http_client = shell.http_client(event_hooks={"response": [aread if shell.is_async else read]})
    client = shell.client(url(faults.listen(replies(raw(200, b"x" * 100_000)))), http_client=http_client)

    with pytest.raises(UnexpectedResponseError, match="longer than"):
        client.send_code(NUMBER, MESSAGE)


def test_a_hook_that_raises_is_an_unknown_outcome(faults, shell):
    """It may have sent the request; its exception does not leave the call."""

    def broken(request):
        raise KeyError("hook")

    async def abroken(request):
        broken(request)

    http_client = shell.http_client(event_hooks={"request": [abroken if shell.is_async else broken]})

    with pytest.raises(OutcomeUnknownError, match="KeyError"):
        shell.client("http://127.0.0.1:9", http_client=http_client).send_code(NUMBER, MESSAGE)


def test_a_closed_client_of_the_caller_is_named(shell):
    """Not a RuntimeError, and nothing was sent."""
    http_client = shell.http_client(transport=httpx.MockTransport(lambda request: httpx.Response(204)))
    client = shell.client(http_client=http_client)
    shell.call(http_client.aclose if shell.is_async else http_client.close)

    with pytest.raises((ConfigurationError, RequestNotSentError), match="http_client that was given is closed"):
        client.send_code(NUMBER, MESSAGE)


def test_no_time_left_is_not_sent(shell):
    """The deadline has passed before the request is built."""
    from camara_otp._exchange import open_exchange
    from camara_otp._exchange.values import Failure, Outgoing

    exchange = open_exchange("http://127.0.0.1:9", max_response_bytes=10, http_client=httpx.Client())
    direct = open_exchange("http://127.0.0.1:9", max_response_bytes=10)
    for one in (exchange, direct):
        outcome = one.request(Outgoing("POST", "/x", [], b"", time.monotonic() - 1, None))
        assert isinstance(outcome, Failure)
        assert not outcome.sent
    exchange._callers.client.close()


def test_cookies_are_never_kept(faults, shell):
    """A second request of the default transport has none."""
    heads = []

    async def script(c):
        while await c.request():
            heads.append(c.head)
            await c.send(raw(200, SENT, b"Set-Cookie: session=1; Path=/"))

    client = shell.client(url(faults.listen(script)))
    client.send_code(NUMBER, MESSAGE)
    client.send_code(NUMBER, MESSAGE)

    assert len(heads) == 2
    assert not [head for head in heads if b"cookie" in head.lower()]


def test_the_certificates_of_the_environment_are_used(monkeypatch, faults):
    """Those of SSL_CERT_FILE and SSL_CERT_DIR as in httpx, else those of certifi; one context for each."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)
    theirs = drive(connect.tls_context(), time.monotonic() + 5)
    assert drive(connect.tls_context(), time.monotonic() + 5) is theirs
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    ours = drive(connect.tls_context(), time.monotonic() + 5)

    assert ours is not theirs
    for context in (ours, theirs):
        assert context.check_hostname
        assert context.verify_mode.name == "CERT_REQUIRED"
        assert context.minimum_version.name == "TLSv1_2"


def test_a_foreign_transport_that_calls_a_lost_connection_a_connect_timeout_is_not_believed(shell):
    """Transports over other libraries do; a repeat would send three SMS."""
    sent = []

    class LostError(Exception):
        pass

    def lost(request):
        sent.append(request)
        raise httpx.ConnectTimeout("Server disconnected") from LostError()

    client = shell.client(http_client=shell.http_client(transport=httpx.MockTransport(lost)))

    with pytest.raises(OutcomeUnknownError):
        client.send_code(NUMBER, MESSAGE)
    assert len(sent) == 1


@pytest.mark.parametrize("wraps", [True, False])
def test_a_mock_transport_that_sends_by_other_means_is_not_believed(faults, shell_sync, wraps):
    """Its handler has sent the request through another client before it raises a connect error."""

    async def loses(c):
        await c.request()
        c.close()

    listener = faults.listen(loses)

    def handler(request):
        with httpx.Client() as other:
            try:
                return other.post(request.url, headers=request.headers, content=request.read())
            except httpx.RemoteProtocolError as error:
                if wraps:
                    raise httpx.ConnectError("lost") from error
                raise httpx.ConnectError("lost") from None

    client = shell_sync.client(
        f"http://127.0.0.1:{listener.port}", http_client=httpx.Client(transport=httpx.MockTransport(handler))
    )
    with pytest.raises(OutcomeUnknownError):
        client.send_code(NUMBER, MESSAGE)
    assert listener.posts == 1


@pytest.mark.parametrize(
    "others", [{"NO_PROXY": "[::1],fd12::/48"}, {"HTTP_PROXY": "garbage://x"}, {"ALL_PROXY": "socks5://x.example"}]
)
def test_a_proxy_over_tls_is_used_whatever_the_other_entries_are(faults, shell, monkeypatch, others):
    """The library that connects to it rejects such entries when it reads them itself."""
    asked = threading.Event()

    async def script(c):
        asked.set()
        c.close()

    monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{faults.listen(script).port}")
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RequestNotSentError):
        shell.client("https://operator.example", retry=None, timeout=2).send_code(NUMBER, MESSAGE)
    assert asked.wait(2)


def test_a_hook_whose_own_request_fails_says_nothing_about_ours(faults, shell):
    """The request has a response; the failure is that of the hook's log server."""
    listener = faults.listen(replies(raw()))

    def hook(response):
        with httpx.Client() as other:
            other.get("http://127.0.0.1:9/log")

    async def ahook(response):
        async with httpx.AsyncClient() as other:
            await other.get("http://127.0.0.1:9/log")

    http_client = shell.http_client(event_hooks={"response": [ahook if shell.is_async else hook]})

    with pytest.raises(OutcomeUnknownError):
        shell.client(url(listener), http_client=http_client).send_code(NUMBER, MESSAGE)
    assert listener.posts == 1


def test_a_drip_of_the_head_ends_with_the_deadline_also_under_an_observer(faults, shell, monkeypatch):
    """The client of httpx uses the exchange of this package, with its deadline."""

    async def dripping(c):
        await c.request()
        for byte in raw():
            await c.send(bytes([byte]))
            await asyncio.sleep(0.05)

    listener = faults.listen(dripping)
    monkeypatch.setattr(mocks, "patched", lambda **_: mocks.Patched("httpx", runs_exchange=True))
    client = shell.client(url(listener), timeout=0.5)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknownError, match="timed out"):
        client.send_code(NUMBER, MESSAGE)
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("library", ["httpcore", "httpcore2"])
@pytest.mark.parametrize("kind", ["ConnectionPool", "HTTPConnection"])
def test_an_observer_of_the_connections_below_httpx_leaves_every_guarantee(faults, shell, monkeypatch, library, kind):
    """As Elastic APM observes them: the connection stays open, and a drip of the head ends with the deadline."""
    heads, seen = [], []

    async def script(c):
        for _ in range(2):
            await c.request()
            heads.append(c.head)
            await c.send(raw())
        await c.request()
        for byte in raw():
            await c.send(bytes([byte]))
            await asyncio.sleep(0.05)

    for prefix, name in (("", "handle_request"), ("Async", "handle_async_request")):
        owner = getattr(importlib.import_module(library), f"{prefix}{kind}")
        real = getattr(owner, name)

        def observing(self, request, real=real):
            seen.append(request)
            request.headers.append((b"traceparent", b"of the observer"))
            return real(self, request)

        monkeypatch.setattr(owner, name, observing)

    listener = faults.listen(script)
    client = shell.client(url(listener), timeout=0.5)
    for _ in range(2):
        assert isinstance(client.send_code(NUMBER, MESSAGE), SendCodeResponse)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknownError, match="timed out"):
        client.send_code(NUMBER, MESSAGE)
    assert time.monotonic() - began < 1.5
    assert (len(seen), listener.posts, listener.connections) == (3, 3, 1)
    assert all(b"traceparent: of the observer" in head for head in heads)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "foo://127.0.0.1:9", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_not_sent(shell, monkeypatch, proxy):
    """No exception of another library leaves the call."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(RequestNotSentError, match="HTTPS_PROXY") as caught:
        shell.client("https://operator.example").send_code(NUMBER, MESSAGE)
    assert caught.value.permanent


@pytest.mark.parametrize("reads", [True, False], ids=["read", "not read"])
def test_a_hook_that_raises_for_status_does_not_hide_the_refusal(faults, shell, reads):
    """The code is known only if the hook has read the body."""

    def strict(response):
        if reads:
            response.read()
        response.raise_for_status()

    async def astrict(response):
        if reads:
            await response.aread()
        response.raise_for_status()

    async def script(c):
        while await c.request():
            await c.send(raw(400, b'{"code":"ONE_TIME_PASSWORD_SMS.INVALID_OTP"}'))

    http_client = shell.http_client(event_hooks={"response": [astrict if shell.is_async else strict]})
    client = shell.client(url(faults.listen(script)), http_client=http_client)
    with pytest.raises(HTTP400Error) as caught:
        client.validate_code("ea0840f3", "1234")
    assert isinstance(caught.value, InvalidOTPError) is reads
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize(("status", "expected"), [(204, None), (400, HTTP400Error), (200, UnexpectedResponseError)])
def test_a_hook_that_reads_the_body_without_keeping_it_leaves_the_status(faults, shell, raises, status, expected):
    """A hook that counts or copies bytes iterates over the response, which then has no content."""

    def reads(response):
        for _ in response.iter_bytes():
            pass
        if raises:
            response.raise_for_status()

    async def areads(response):
        async for _ in response.aiter_bytes():
            pass
        if raises:
            response.raise_for_status()

    http_client = shell.http_client(event_hooks={"response": [areads if shell.is_async else reads]})
    body = b"" if status == 204 else SENT
    client = shell.client(url(faults.listen(replies(raw(status, body)))), http_client=http_client)
    if expected is None:
        client.validate_code("ea0840f3", "1234")
        return
    with pytest.raises(expected) as caught:
        client.send_code(NUMBER, MESSAGE)
    assert type(caught.value) is expected


@pytest.mark.parametrize("timeout", [1e9, 1e10, 1e300])
def test_a_huge_timeout_is_as_good_as_any(faults, shell, timeout):
    """Sockets and locks do not accept every number."""

    async def script(c):
        while await c.request():
            await c.send(raw())

    client = shell.client(url(faults.listen(script)), timeout=timeout)
    assert isinstance(client.send_code(NUMBER, MESSAGE), SendCodeResponse)


def test_a_client_whose_loop_has_ended_in_a_call_serves_the_next_loop(faults):
    """The interrupted call belongs to a closed loop."""
    silent = [True]

    async def script(c):
        while await c.request():
            if not silent[0]:
                await c.send(raw())

    client = AsyncOTPClient(url(faults.listen(script)), token="t", timeout=30)
    loop = asyncio.new_event_loop()
    task = loop.create_task(client.send_code(NUMBER, MESSAGE))
    loop.run_until_complete(asyncio.sleep(0.2))
    loop.close()
    silent[0] = False

    assert asyncio.run(client.send_code(NUMBER, MESSAGE)).authentication_id
    task.get_coro().close()
    assert client._exchange._pool.busy == 0
    asyncio.run(client.aclose())
