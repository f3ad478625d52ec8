"""What an exchange comes to, as plain values: an answer, or a failure that says whether anything was sent."""

import errno
import os
import socket
import ssl
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

Headers = Sequence[tuple[bytes, bytes]]


# What a frame of this room holds of a request or an answer has no telling repr: where a call is interrupted, a
# traceback that shows locals would print the token, the number or the code.


class Outgoing(NamedTuple):
    """A request, and when it has to be over.

    Attributes:
        method: `"POST"`, `"GET"`.
        target: path and query, ASCII.
        headers: all but what belongs to the connection.
        body: the whole content.
        deadline: when the exchange ends, by `time.monotonic()`.
        connect_timeout: seconds for one connection to be made, or None for all that is left.
    """

    method: str
    target: str
    headers: Headers
    body: bytes
    deadline: float
    connect_timeout: float | None

    def __repr__(self) -> str:
        """Return a text without any value."""
        return "Outgoing(***)"


class Answer(NamedTuple):
    """An HTTP answer.

    `headers` have lower-case names. `body` is decoded and never longer than the cap. `fault` says why the body could
    not be read whole, or is None.
    """

    status: int
    headers: Headers
    body: bytes
    fault: str | None = None

    def __repr__(self) -> str:
        """Return a text without the operator's words."""
        return f"Answer({self.status}, ***)"


class Failure(NamedTuple):
    """An exchange without a whole answer, as a value, so that no foreign frame or request hangs on an error.

    `sent` is False when the operator cannot have seen the request. `reason` is a clause of our own words: never bytes
    that a server chose. `permanent` is True when trying again cannot help.
    """

    sent: bool
    reason: str
    permanent: bool = False


class Late(Exception):  # noqa: N818 - it is no error yet, and never leaves this room
    """The time that was given is over."""


class NoCertificates(Exception):  # noqa: N818 - as above
    """The certificates to check servers by cannot be read."""


class Babble(Exception):  # noqa: N818 - as above
    """The server sends more heads than any answer has."""


# --- Bodies ----------------------------------------------------------------------------------------------------------


class Body:
    """Collect a body within a cap, decoded.

    A body of one gzip or deflate coding is decoded with the cap at hand, so that a bomb stops at the cap; any other
    coding was not asked for and is not decoded at all.
    """

    __slots__ = ("_cap", "_decoder", "_parts", "_raw", "_size", "fault", "headers")

    def __init__(self, headers: Headers, cap: int) -> None:
        """Look at the content codings."""
        codings = [
            coding
            for name, value in headers
            if name == b"content-encoding"
            for coding in value.lower().replace(b" ", b"").replace(b"\t", b"").split(b",")
            if coding not in (b"", b"identity")
        ]
        self.headers = headers
        self._cap = cap
        self._parts: list[bytes] = []
        self._size = 0
        self._raw = 0
        self._decoder = None
        self.fault: str | None = None
        if codings in ([b"gzip"], [b"x-gzip"], [b"deflate"]):
            self._decoder = zlib.decompressobj(47)  # gzip or zlib, as their first bytes say
        elif codings:
            self.fault = "its content coding was not asked for"

    def add(self, chunk: bytes) -> bool:
        """Take a chunk; return whether more is wanted."""
        self._raw += len(chunk)
        if self.fault is None and self._decoder is not None:
            try:
                chunk = self._decoder.decompress(chunk, self._cap - self._size + 1)
            except zlib.error:
                self.fault = "its content coding is broken"
                return False
        if self.fault is not None:
            return False
        room = self._cap - self._size
        if len(chunk) > room or self._raw > self._cap:
            self._parts.append(chunk[:room])
            self.fault = f"it is longer than {self._cap} bytes"
            return False
        if chunk:
            self._parts.append(chunk)
            self._size += len(chunk)
        return True

    def end(self) -> tuple[bytes, str | None]:
        """Return what was collected, after the last chunk or when no more was wanted, and what is wrong with it."""
        decoder = self._decoder
        if decoder is not None and self.fault is None and self._raw and (not decoder.eof or decoder.unused_data):
            self.fault = "its content coding is broken"
        return b"".join(self._parts), self.fault


# --- Failures --------------------------------------------------------------------------------------------------------

# What httpx and httpcore raise when no byte of a request has left: their own transports, and mocks that play them.
_NOT_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "InvalidURL"}
)
_LIBRARIES: Final = frozenset({"httpx", "httpcore", "httpx2", "httpcore2"})
_MOCKS: Final = frozenset({"respx", "pytest_httpx"})
_MAX_CAUSES: Final = 20  # an exception of somebody's hook may well name itself as its cause


def failure_of(error: Exception, *, sent: bool) -> Failure:
    """Return what an exception of the exchange means.

    Args:
        error: whatever was raised.
        sent: whether a byte of the request may have left, as far as is known besides the error.
    """
    if isinstance(error, NoCertificates):
        return Failure(sent=False, reason=str(error), permanent=True)
    certificate = _certificate_error(error)
    library = type(error).__module__.partition(".")[0] in _LIBRARIES
    if library and type(error).__name__ in _NOT_SENT and _says_what_it_means(error):
        sent = False
    if certificate is not None and not sent:
        return Failure(sent=False, reason=f"the certificate does not verify: {certificate}", permanent=True)
    return Failure(sent, _reason(error, sent=sent, library=library))


def _says_what_it_means(error: Exception) -> bool:
    """Tell whether httpx's own transport raised this, or a mock.

    Transports over other libraries translate those libraries' exceptions, and not always with care: one makes a
    ConnectTimeout of every lost connection, also of one that was lost with the request on the other side.
    """
    cause = error.__cause__ or error.__context__
    return (
        cause is None
        or isinstance(cause, ssl.SSLCertVerificationError)
        or type(cause).__module__.partition(".")[0] in _LIBRARIES | _MOCKS
    )


def _certificate_error(error: BaseException | None) -> str | None:
    for _ in range(_MAX_CAUSES):
        if isinstance(error, ssl.SSLCertVerificationError):
            return str(getattr(error, "verify_message", "") or "no reason given")
        if error is None:
            break
        error = error.__cause__ or error.__context__
    return None


def _reason(error: Exception, *, sent: bool, library: bool) -> str:  # noqa: PLR0911 - a list, one kind a line
    if isinstance(error, Late | TimeoutError):
        return "no whole answer came in time" if sent else "no connection was made in time"
    if isinstance(error, Babble):
        return "the server sent more interim answers than any answer has"
    if isinstance(error, socket.gaierror):
        return "the host name could not be resolved"
    if isinstance(error, ssl.SSLError):
        return (
            f"TLS failed ({getattr(error, 'reason', None) or 'connection closed'})".replace("_", " ")
            .lower()
            .replace("tls", "TLS")
        )
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return f"{'the connection was lost' if sent else 'no connection could be made'}: {os.strerror(error.errno)}"
    if library:
        return _LIBRARY_REASONS.get(type(error).__name__, type(error).__name__)
    return f"{type(error).__name__} was raised on the way"


_LIBRARY_REASONS: Final = {
    "ConnectError": "no connection could be made",
    "ConnectTimeout": "no connection was made in time",
    "PoolTimeout": "no connection was free in time",
    "ProxyError": "the proxy refused",
    "ReadTimeout": "no whole answer came in time",
    "WriteTimeout": "the request could not be written in time",
    "ReadError": "the connection was lost",
    "WriteError": "the connection was lost",
    "RemoteProtocolError": "the server closed the connection, or its answer is no HTTP",
}


def out_of_sockets(error: Exception) -> bool:
    """Tell whether this process may open no further socket."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
