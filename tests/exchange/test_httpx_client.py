"""The exchange through httpx: a caller's client is not changed, and its exceptions become values."""

import asyncio
import contextlib
import gc
import time
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camara_otp import ConfigurationError
from camara_otp._exchange import Failure, Outgoing, httpx_client, open_exchange
from tests.exchange.conftest import parts
from tests.http import httpx

ORIGIN = "https://api.example.com"


class Basic(httpx.Auth):
    """An auth of the caller that marks its requests."""

    def auth_flow(self, request):
        request.headers["Authorization"] = "theirs"
        yield request


@pytest.fixture
def through(shell, new_exchange):
    """Open an exchange through a caller's client with a handler function."""

    def opened(handler, cap=65536, **options):
        return new_exchange(
            ORIGIN, cap, http_client=shell.http_client(transport=httpx.MockTransport(handler), **options)
        )

    return opened


def seen(requests, response=None):
    """Respond to requests, and store them."""

    def handler(request):
        requests.append(request)
        return response or httpx.Response(200, content=b"ok")

    return handler


def test_what_is_the_clients_own_stays_and_ours_wins(through):
    """Its headers, parameters and cookies are sent; its auth only if the client has no token."""
    requests = []
    used = through(
        seen(requests),
        headers={"X-Theirs": "1", "X-Both": "theirs"},
        params={"p": "1"},
        cookies={"c": "1"},
        auth=Basic(),
    )
    used.request(headers=[(b"X-Both", b"ours")])
    used.request(headers=[(b"Authorization", b"Bearer ours")])
    first, second = requests
    assert (first.headers["x-theirs"], first.headers["x-both"], first.headers["cookie"]) == ("1", "ours", "c=1")
    assert dict(first.url.params) == {"a": "1", "p": "1"}
    assert first.headers["authorization"] == "theirs"
    assert second.headers["authorization"] == "Bearer ours"


def test_redirects_are_not_followed(through):
    """The setting of the caller's client does not matter."""
    requests = []
    used = through(
        seen(requests, httpx.Response(307, headers={"location": "https://x.example/"})), follow_redirects=True
    )
    assert used.request().status == 307
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("x"), Failure(False, "no connection could be made")),
        (httpx.ProxyError("x"), Failure(False, "the proxy refused the connection")),
        (httpx.ReadError("x"), Failure(True, "the connection was lost")),
        (KeyError("secret"), Failure(True, "KeyError was raised by the http_client")),
    ],
)
def test_what_is_raised_becomes_a_value(through, error, expected):
    """By a transport or by a hook."""

    def handler(_):
        raise error

    assert through(handler).request() == expected


def test_our_close_leaves_the_clients_open(through, shell):
    used = through(seen([]))
    used.request()
    used.close()
    assert used.exchange.closed
    assert not used.exchange._callers.client.is_closed


def test_a_client_of_the_other_kind_is_refused():
    """The message names the right class."""
    with pytest.raises(ConfigurationError, match=r"OTPClient needs an httpx\.Client or an httpx2\.Client, not"):
        open_exchange(ORIGIN, max_response_bytes=1, http_client=httpx.AsyncClient())
    with (
        httpx.Client() as client,
        pytest.raises(ConfigurationError, match=r"needs an httpx\.AsyncClient or an httpx2\.AsyncClient, not"),
    ):
        open_exchange(ORIGIN, kind="AsyncClient", max_response_bytes=1, http_client=client)


def test_each_operation_gets_what_is_left(through):
    """A slow step of a transport leaves less time for the next."""
    left = []

    def handler(request):
        timeouts = request.extensions["timeout"]
        left.append((timeouts["connect"], timeouts.get("read"), timeouts["write"], timeouts["pool"]))
        time.sleep(0.1)
        left.append((timeouts["connect"], timeouts["read"]))
        assert timeouts.get("other", 7) == 7
        assert set(timeouts) == {"connect", "read", "write", "pool"}
        return httpx.Response(200)

    assert through(handler).request(seconds=2.0, connect_timeout=0.5).status == 200
    (connect, *others), (later_connect, later_read) = left
    assert connect == later_connect == 0.5
    assert all(1.9 < each <= 2.0 for each in others)
    assert later_read < others[0] - 0.09


def test_a_silent_server_ends_with_the_deadline(shell, new_exchange, server):
    """Also if connecting took a part of the time."""
    server.pause = 3
    used = new_exchange(server.origin, http_client=shell.http_client())
    began = time.monotonic()
    assert used.request(seconds=0.3) == Failure(True, "timed out before a complete response")
    assert time.monotonic() - began < 0.6


def test_an_answer_is_an_answer(through):
    """Its header names are in lower case."""
    used = through(seen([], httpx.Response(200, headers={"X-A": "B"}, content=b"ok")))
    assert parts(used.request()) == (200, [(b"x-a", b"B"), (b"content-length", b"2")], b"ok", None)


def built(exchange, outgoing):
    """Return the request of a call."""
    return exchange._build(outgoing, exchange._body_kind(outgoing.body, once=True), None)


def test_request_and_response_are_freed_at_the_end_of_the_call(through):
    """Without the garbage collector: they hold the token and the number."""
    kept = []

    def handler(request):
        response = httpx.Response(200, content=b"ok")
        kept.extend((weakref.ref(request), weakref.ref(response)))
        return response

    used = through(handler)
    gc.disable()
    try:
        assert used.request().status == 200
        assert [reference() for reference in kept] == [None, None]
    finally:
        gc.enable()


NAMES = st.sampled_from(["X-A", "x-a", "Accept", "User-Agent", "Authorization", "X-Correlator", "Content-Length"])
VALUES = st.text("abc123 é", max_size=5).map(str.strip)
OURS = st.lists(
    st.tuples(
        st.sampled_from([b"X-A", b"Accept", b"User-Agent", b"Authorization", b"x-correlator"]),
        st.sampled_from([b"1", b"22", b"Bearer x"]),
    ),
    unique_by=lambda header: header[0],
)


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "theirs": st.lists(st.tuples(NAMES, VALUES.map(lambda text: text.encode("latin-1")))),
                "params": st.dictionaries(st.sampled_from("pq"), st.sampled_from(["1", "a b"]), max_size=2),
                "cookies": st.dictionaries(st.just("c"), st.just("1")),
                "ours": OURS,
                "body": st.sampled_from([b"", b"{}", b"[]", b'{"a":"b"}']),
                "target": st.sampled_from(["/x", "/x?a=1&p=2"]),
            }
        ),
        min_size=2,
        max_size=5,
    )
)
def test_a_request_after_a_pattern_is_the_one_that_the_client_builds(rounds):
    """Whatever the headers, parameters and cookies of the client were in the call before."""
    with httpx.Client() as client:
        requests = httpx_client.HttpxExchange(client, "Client", ORIGIN, 65536)
        for each in (*rounds, *rounds):
            client.headers = httpx.Headers(each["theirs"])
            client.params = each["params"]
            client.cookies = each["cookies"]
            method = "POST" if each["body"] else "GET"
            outgoing = Outgoing(method, each["target"], each["ours"], each["body"], time.monotonic() + 9, None)
            mine, theirs = built(requests, outgoing), requests._built(outgoing, outgoing.headers, outgoing.body)
            assert (mine.method, mine.url, mine.headers.raw) == (theirs.method, theirs.url, theirs.headers.raw)
            assert mine.extensions.keys() == {"timeout"}
            assert not mine.stream.was_read
            body = mine.stream
            assert mine.content == outgoing.body
            assert body.was_read


@pytest.mark.parametrize("way", ["class", "instance", "subclass"])
def test_a_build_request_of_somebodys_own_is_asked_each_time(monkeypatch, way):
    """An instrumentation may add a value of its own to each request."""
    calls = []
    kind = type("Own", (httpx.Client,), {}) if way == "subclass" else httpx.Client

    def counting(self, *args, **options):
        calls.append(1)
        return original(self, *args, **options)

    original = httpx.Client.build_request
    if way != "instance":
        monkeypatch.setattr(kind, "build_request", counting, raising=False)
    with kind() as client:
        if way == "instance":
            client.build_request = lambda *args, **options: counting(client, *args, **options)
        requests = httpx_client.HttpxExchange(client, "Client", ORIGIN, 65536)
        for _ in range(3):
            built(requests, Outgoing("POST", "/x", [], b"{}", time.monotonic() + 9, None))
    assert len(calls) == 3


def test_a_build_request_that_signs_gets_the_request_itself():
    """Servers would reject the signature of a placeholder."""

    class Signing(httpx.Client):
        def build_request(self, *args, **options):
            request = super().build_request(*args, **options)
            request.headers["X-Signed"] = f"{request.headers['x-correlator']} {request.content.decode()}"
            return request

    headers = [(b"x-correlator", b"c-1")]
    with Signing() as client:
        requests = httpx_client.HttpxExchange(client, "Client", ORIGIN, 65536)
        request = built(requests, Outgoing("POST", "/x", headers, b"{}", time.monotonic() + 9, None))
    assert request.headers["X-Signed"] == "c-1 {}"
    assert request.content == b"{}"


def test_patterns_are_bounded_and_hold_no_secret():
    """Strings may have any length, and nothing of a call is stored for the next."""
    with httpx.Client() as client:
        requests = httpx_client.HttpxExchange(client, "Client", ORIGIN, 65536)
        headers = [(b"Authorization", b"Bearer zq-token"), (b"x-correlator", b"zq-1")]
        for length in range(2 * httpx_client._MAX_TEMPLATES):
            built(requests, Outgoing("POST", "/x", headers, b"zq-" + b"x" * length, time.monotonic() + 9, None))
        assert len(requests._templates) <= httpx_client._MAX_TEMPLATES
        for _, _, template in requests._templates.values():
            assert "zq-" not in f"{template.headers.raw} {template.content}"


def test_a_transport_with_a_cancellation_of_its_own_does_not_break_the_deadline():
    """At the deadline the call raises an error; a cancellation from outside is still raised."""

    class Replacing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(5)
            # Not raised where the other was caught, so that nothing leads from this one to that.
            raise asyncio.CancelledError("Request was cancelled")

    async def main():
        async with httpx.AsyncClient(transport=Replacing()) as http_client:
            exchange = open_exchange(ORIGIN, kind="AsyncClient", max_response_bytes=10, http_client=http_client)

            def outgoing(seconds):
                return Outgoing("POST", "/x", [], b"{}", time.monotonic() + seconds, None)

            assert await exchange.arequest(outgoing(0.05)) == Failure(False, "timed out while connecting")
            assert asyncio.current_task().cancelling() == 0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await exchange.arequest(outgoing(2))
            task = asyncio.create_task(exchange.arequest(outgoing(2)))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
