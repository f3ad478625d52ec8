"""A response ends where it ends, wherever the network cuts it, and what follows it ends the connection."""

import math
from itertools import islice, pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camara_otp._exchange.connect import Failed
from camara_otp._exchange.http1 import MAX_INTERIM, head_of, read_response
from camara_otp._exchange.waits import PAUSE, drive

NASTY = st.sampled_from(
    [b"\n\n", b"\r\n\r\n", b"0\r\n\r\n", b"\n", b"\r", b"\n\r\n", b"0\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"]
)
CONTENT = st.lists(st.one_of(NASTY, st.binary(max_size=20)), max_size=6).map(b"".join)
LINE_END = st.sampled_from([b"\r\n", b"\n"])


@st.composite
def answers(draw):
    """Return a well-formed answer, its body, and whether its end can be proven."""
    interim = b"".join(draw(st.lists(st.just(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"), max_size=3)))
    body = draw(CONTENT)
    kind = draw(st.sampled_from(["length", "chunked", "none"]))
    end = draw(LINE_END)
    if kind == "none":
        return interim + b"HTTP/1.1 204 No Content" + end + b"x: y" + end + end, b""
    if kind == "length":
        return interim + b"HTTP/1.1 200 OK" + end + b"Content-Length: %d" % len(body) + end + end + body, body
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
    trailer = draw(st.sampled_from([b"", b"x-check: 1\r\n"]))
    coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailer + b"\r\n"
    return interim + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded, body


class Arriving:
    """A connection on which the pieces arrive, one at a time."""

    reusable = False
    readable = object()

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def receive(self):
        return self.pieces.pop(0)


def parser():
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method="POST", target="/", headers=[("host", "a"), ("content-length", "0")]))
    http.send(h11.EndOfMessage())
    return http


def read(pieces, cap=65536):
    """Read one response from the arriving pieces; return it, and the connection after it."""
    connection = Arriving(*pieces)
    return drive(read_response(connection, parser(), cap), math.inf), connection


@settings(deadline=None)
@given(answer=answers(), stray=CONTENT, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_a_response_ends_where_it_ends(answer, stray, cuts):
    """However it is cut: its body is whole, and a stray that has arrived with it is noticed."""
    sent, body = answer
    data = sent + stray
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    answer, connection = read([data[a:b] for a, b in pairwise(places) if a < b])
    assert bytes(answer.body) == body
    # What arrives later is found by `Connection.is_clean` before the next request.
    assert connection.reusable is (stray == b"".join(connection.pieces))


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["to the end", "HTTP/1.0", "close", "HTTP/1.0 with keep-alive", "chunked with a length"],
)
def test_a_connection_is_not_used_again_in_doubt(response):
    """For example if the end of the response is not certain."""
    answer, connection = read([response, b""])
    assert bytes(answer.body) == b"hello"
    assert not connection.reusable


def test_interim_responses_are_counted():
    """Many are accepted; endless ones end the connection."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    answer, _ = read([interim * 50, interim * (MAX_INTERIM - 50), b"HTTP/1.1 204 No Content\r\n\r\n"])
    assert answer.status == 204
    with pytest.raises(Failed, match="more interim responses"):
        read([interim * (MAX_INTERIM + 1)])


def test_reading_pauses_in_a_body_of_many_chunks():
    """So that an event loop can run other tasks in between."""
    arriving = Arriving(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000, None)
    waits = list(islice(read_response(arriving, parser(), 65536), 11))
    assert waits[:10] == [PAUSE] * 10


@pytest.mark.parametrize("value", [b"a\nX: y", b"a\rX: y", b"a\r\nX: y", b"a\0", b"\r\n\r\n", b"a\r\n"])
@pytest.mark.parametrize("place", [0, 1])
def test_no_header_ends_its_line(value, place):
    """An observer cannot add a second request in a header."""
    header = [b"X-Trace", b"1"]
    header[place] = value
    with pytest.raises(Failed, match="a header holds a line end; check what adds headers") as caught:
        head_of("POST", b"/", b"a", [tuple(header)])
    assert caught.value.permanent


def test_the_head_of_a_request():
    """The bytes are compared exactly."""
    assert head_of("POST", b"/x", b"a:1", [(b"X-A", b"1"), (b"Content-Length", b"2")]) == (
        b"POST /x HTTP/1.1\r\nHost: a:1\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n"
    )
