"""Bodies are decoded within the cap, and failures say whether anything was sent."""

import gzip
import socket
import ssl
import tracemalloc
import zlib

import httpcore
import httpx
import pytest

from camara_otp._exchange.answer import Babble, Body, Failure, Late, NoCertificates, failure_of, out_of_sockets

CAP = 1000


def decoded(coding, *chunks):
    """Read a body as the exchange does."""
    body = Body([(b"content-encoding", coding)] if coding is not None else [], CAP)
    for chunk in chunks:
        if not body.add(chunk):
            break
    return body.end()


@pytest.mark.parametrize("coding", [None, b"", b"identity", b" Identity , identity"])
def test_a_plain_body_is_taken_as_it_is(coding):
    """With or without saying so."""
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
    """Nothing of it is decoded or kept."""
    assert decoded(coding, gzip.compress(b"abc", mtime=0)) == (b"", "its content coding was not asked for")


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
    """Wrong, cut short, or followed by something else."""
    assert decoded(b"gzip", *chunks)[1] == "its content coding is broken"


def test_an_empty_body_with_a_coding_is_empty():
    """Servers label what has no content."""
    assert decoded(b"gzip") == (b"", None)


@pytest.mark.parametrize(
    ("coding", "chunks"),
    [(None, [b"x" * (CAP + 1)]), (None, [b"x"] * (CAP + 1)), (b"gzip", [gzip.compress(b"x" * (CAP + 1))])],
)
def test_a_body_ends_at_the_cap(coding, chunks):
    """What is kept is never longer, and the rest is not wanted."""
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
    """Empty blocks without end count as what they are on the wire."""
    packer = zlib.compressobj(wbits=31)
    chunks = [packer.flush(zlib.Z_FULL_FLUSH) or b"" for _ in range(1)] + [b"\x00\x00\x00\xff\xff"] * CAP
    assert decoded(b"gzip", *chunks)[1] == "it is longer than 1000 bytes"


def certificate_error():
    error = ssl.SSLCertVerificationError(1, "text of the server")
    error.verify_message = "self-signed certificate"
    return error


def caused(error, cause):
    error.__cause__ = cause
    return error


def looped():
    error = RuntimeError()
    error.__cause__ = error
    return error


@pytest.mark.parametrize(
    ("error", "sent", "expected"),
    [
        (Late(), False, Failure(False, "no connection was made in time")),
        (Late(), True, Failure(True, "no whole answer came in time")),
        (TimeoutError(), True, Failure(True, "no whole answer came in time")),
        (Babble(), True, Failure(True, "the server sent more interim answers than any answer has")),
        (NoCertificates("no file"), False, Failure(False, "no file", permanent=True)),
        (socket.gaierror(-2, "api.example"), False, Failure(False, "the host name could not be resolved")),
        (ConnectionRefusedError(111, "x"), False, Failure(False, "no connection could be made: Connection refused")),
        (ConnectionResetError(104, "x"), True, Failure(True, "the connection was lost: Connection reset by peer")),
        (
            certificate_error(),
            False,
            Failure(False, "the certificate does not verify: self-signed certificate", permanent=True),
        ),
        (
            caused(httpx.ConnectError("x"), certificate_error()),
            True,
            Failure(False, "the certificate does not verify: self-signed certificate", permanent=True),
        ),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x"), False, Failure(False, "TLS failed (connection closed)")),
        (
            ssl.SSLCertVerificationError("x"),
            False,
            Failure(False, "the certificate does not verify: no reason given", permanent=True),
        ),
        (OSError("x", "y"), True, Failure(True, "OSError was raised on the way")),
        (httpx.ProxyError("407 secret"), True, Failure(False, "the proxy refused")),
        (httpcore.ReadError("x"), True, Failure(True, "the connection was lost")),
        (httpcore.LocalProtocolError("x"), True, Failure(True, "LocalProtocolError")),
        (ZeroDivisionError("x"), True, Failure(True, "ZeroDivisionError was raised on the way")),
        (RuntimeError("x"), False, Failure(False, "RuntimeError was raised on the way")),
        (looped(), True, Failure(True, "RuntimeError was raised on the way")),
    ],
)
def test_a_failure_says_what_is_known(error, sent, expected):
    """In our words; what is known besides the error decides, but where the error itself says that nothing was sent."""
    assert failure_of(error, sent=sent) == expected


def test_running_out_of_sockets_is_recognised():
    """In this process or on the whole machine; nothing else is."""
    assert out_of_sockets(OSError(24, "x"))
    assert out_of_sockets(OSError(23, "x"))
    assert not out_of_sockets(OSError(111, "x"))
    assert not out_of_sockets(ValueError())
