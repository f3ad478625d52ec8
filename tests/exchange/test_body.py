"""Bodies are decoded within the cap."""

import gzip
import tracemalloc
import zlib

import pytest

from camara_otp._exchange.body import Body

CAP = 1000


def content_of(body):
    """Return the content and the fault at the end of a body."""
    answer = body.response(200)
    return answer.body, answer.fault


def decoded(coding, *chunks):
    """Read a body as the exchange does."""
    body = Body([(b"content-encoding", coding)] if coding is not None else [], CAP)
    for chunk in chunks:
        if not body.add(chunk):
            break
    return content_of(body)


@pytest.mark.parametrize("coding", [None, b"", b"identity", b" Identity , identity"])
def test_a_plain_body_is_taken_as_it_is(coding):
    """With or without `Content-Encoding: identity`."""
    assert decoded(coding, b"ab", b"", b"c") == (b"abc", None)


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (b"gzip", gzip.compress(b"abc", mtime=0)),
        (b"X-GZIP", gzip.compress(b"abc", mtime=0)),
        (b"deflate", zlib.compress(b"abc")),
    ],
)
def test_one_coding_is_decoded(coding, data):
    """Byte by byte or at once."""
    assert decoded(coding, data) == (b"abc", None)
    assert decoded(coding, *(bytes([byte]) for byte in data)) == (b"abc", None)


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"deflate,gzip", b"compress"])
def test_any_other_coding_is_refused(coding):
    """Nothing of it is decoded or stored."""
    assert decoded(coding, gzip.compress(b"abc", mtime=0)) == (b"", "its content coding was not requested")


@pytest.mark.parametrize(
    "chunks",
    [
        [b"not gzip"],
        [gzip.compress(b"abc", mtime=0)[:-4]],
        [gzip.compress(b"abc", mtime=0) + b"more"],
        [gzip.compress(b"abc", mtime=0), b"more"],
        [gzip.compress(b"abc", mtime=0)[:5], b"\xff" * 20],
    ],
)
def test_a_broken_coding_is_a_fault(chunks):
    """It is wrong, cut, or followed by other bytes."""
    assert decoded(b"gzip", *chunks)[1] == "its content coding is broken"


def test_an_empty_body_with_a_coding_is_empty():
    """Servers send the header without a body."""
    assert decoded(b"gzip") == (b"", None)


@pytest.mark.parametrize(
    ("coding", "chunks"),
    [(None, [b"x" * (CAP + 1)]), (None, [b"x"] * (CAP + 1)), (b"gzip", [gzip.compress(b"x" * (CAP + 1))])],
)
def test_a_body_ends_at_the_cap(coding, chunks):
    """The stored part is never longer, and the rest is not read."""
    body, fault = decoded(coding, *chunks)
    assert body == b"x" * CAP
    assert fault == "it is longer than 1000 bytes"
    assert decoded(coding, *([b"x" * CAP] if coding is None else [gzip.compress(b"x" * CAP)])) == (b"x" * CAP, None)


def test_a_bomb_stops_at_the_cap():
    """200 MiB in 200 KiB cost no memory."""
    bomb = gzip.compress(bytes(200 * 2**20), 9)
    tracemalloc.start()
    try:
        assert len(decoded(b"gzip", bomb)[0]) == CAP
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_coding_that_yields_nothing_ends_too():
    """Endless empty blocks count with their size on the wire."""
    packer = zlib.compressobj(wbits=31)
    chunks = [packer.flush(zlib.Z_FULL_FLUSH) or b"" for _ in range(1)] + [b"\x00\x00\x00\xff\xff"] * CAP
    assert decoded(b"gzip", *chunks)[1] == "it is longer than 1000 bytes"


def test_memory_stays_at_the_cap_whatever_the_chunks_are():
    """Chunks of two bytes need no more memory than their bytes."""
    cap = 2**20
    chunks = [bytes([n % 256, 1]) for n in range(cap // 2)]
    body = Body([], cap)
    tracemalloc.start()
    try:
        for chunk in chunks:
            body.add(chunk)
        content, fault = content_of(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(content), fault) == (cap, None)
    assert peak < cap + 8 * 2**20
