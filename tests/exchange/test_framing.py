"""The end of an answer is found wherever the network cuts it, and what follows it is never the parser's."""

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camara_otp._exchange.answer import Babble
from camara_otp._exchange.framing import MAX_HEADS, Framing

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


def play(pieces):
    """Read one answer as httpcore does: from the framing to h11, until h11 has the whole of it."""
    framing = Framing()
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="POST", target="/", headers=[("host", "a"), ("content-length", "0")]))
    parser.send(h11.EndOfMessage())
    arriving, body = iter(pieces), b""
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            while (data := framing.take()) is None:
                framing.feed(next(arriving))
            parser.receive_data(data)
        elif isinstance(event, h11.Response):
            framing.expect_body([(bytes(name), bytes(value)) for name, value in event.headers], event.status_code)
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            for rest in arriving:
                framing.feed(rest)
            return body, framing.exact, parser.trailing_data[0]


@given(answer=answers(), stray=CONTENT, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_an_answer_ends_where_it_ends(answer, stray, cuts):
    """However it is cut: its body is whole, the parser holds nothing more, and a stray is noticed."""
    sent, body = answer
    data = sent + stray
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [data[a:b] for a, b in pairwise(places)]
    found, exact, held = play(pieces)
    assert found == body
    assert held == b""
    assert exact is (stray == b"")


def test_an_answer_until_the_end_is_never_exact():
    """Nobody can tell that it was cut short, so the connection is not kept."""
    body, exact, _ = play([b"HTTP/1.1 200 OK\r\n\r\nhello", b""])
    assert (body, exact) == (b"hello", False)


def test_the_end_of_the_connection_ends_the_answer():
    """What was held back as the beginning of a blank line is handed over then."""
    framing = Framing()
    framing.feed(b"HTTP/1.1 200 OK\r\n")
    assert framing.take() == b"HTTP/1.1 200 OK"
    assert framing.take() is None
    framing.feed(b"")
    assert framing.take() == b"\r\n"
    assert framing.take() == b""
    assert not framing.exact


def test_heads_are_counted():
    """A server that sends interim answers without end is left."""
    framing = Framing()
    head = b"HTTP/1.1 100 Continue\r\n\r\n"
    framing.feed(head * (MAX_HEADS + 1))
    for _ in range(MAX_HEADS):
        assert framing.take() == head
    with pytest.raises(Babble):
        framing.take()


def test_an_answer_that_is_cut_is_over_at_once():
    """Nothing more is handed over, and the connection is not kept."""
    framing = Framing()
    framing.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    framing.take()
    framing.expect_body([(b"content-length", b"9")], 200)
    framing.cut()
    assert framing.take() == b""
    assert not framing.exact
