"""Failures in the words of this package, with the information whether anything was sent."""

import socket
import ssl

import h11
import pytest

from camara_otp._exchange.connect import Failed, of_system, out_of_sockets
from camara_otp._exchange.exchange import failure_of
from camara_otp._exchange.values import Failure
from camara_otp._exchange.waits import Late


def certificate_error():
    error = ssl.SSLCertVerificationError(1, "text of the server")
    error.verify_message = "self-signed certificate"
    return error


INVALID = "the server closed the connection before a complete response, or did not send valid HTTP/1.1"


@pytest.mark.parametrize(
    ("error", "sent", "expected"),
    [
        (Late(), False, Failure(False, "timed out connecting to a:1")),
        (Late(), True, Failure(True, "timed out before a complete response")),
        (
            Failed("the server sent more interim responses than any server needs", permanent=False),
            True,
            Failure(True, "the server sent more interim responses than any server needs"),
        ),
        (Failed("no file"), False, Failure(False, "no file", permanent=True)),
        (Failed("refused", permanent=False), False, Failure(False, "refused")),
        (socket.gaierror(-2, "api.example"), False, Failure(False, "the host name could not be resolved (a:1)")),
        (ConnectionRefusedError(111, "x"), False, Failure(False, "cannot connect to a:1: Connection refused")),
        (ConnectionResetError(104, "x"), True, Failure(True, "the connection was lost: Connection reset by peer")),
        (
            certificate_error(),
            False,
            Failure(False, "the certificate of a:1 does not verify: self-signed certificate", permanent=True),
        ),
        (ssl.SSLCertVerificationError(1, "x"), True, Failure(True, "TLS with a:1 failed: connection closed")),
        (ssl.SSLError(1, "[SSL: X] x"), False, Failure(False, "TLS with a:1 failed: connection closed")),
        (h11.RemoteProtocolError("secret"), True, Failure(True, INVALID)),
    ],
)
def test_a_failure_says_what_is_known(error, sent, expected):
    """It does not show any string of the server."""
    assert failure_of(error, sent=sent, server="a:1") == expected


def test_running_out_of_sockets_is_recognized():
    """In this process or on the whole machine; no other failure is."""
    assert out_of_sockets(OSError(24, "x"))
    assert out_of_sockets(OSError(23, "x"))
    assert not out_of_sockets(OSError(111, "x"))


def test_an_error_of_a_signal_handler_is_not_the_systems():
    """`raise TimeoutError` in a handler has no error number; every error of a socket has one."""
    assert failure_of(TimeoutError("alarm"), sent=True, server="a:1") is None
    assert failure_of(LookupError("alarm"), sent=True, server="a:1") is None
    assert not of_system(TimeoutError("alarm"))
    assert of_system(TimeoutError(110, "Connection timed out"))
    assert of_system(ssl.SSLError(1, "x"))
