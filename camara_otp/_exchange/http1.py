"""One request and its response over a connection, with h11 as the parser.

The request is written here: its bytes differ from call to call in two headers and the body, and building them with h11
is a quarter of the cost of a call. h11 is told of a request of the same method, because that decides how the response
ends.
"""

from typing import Final

import h11

from camara_otp._exchange.answer import Answer, Headers, Outgoing
from camara_otp._exchange.body import Body
from camara_otp._exchange.connect import MAX_HEAD, Connection, of_system
from camara_otp._exchange.waits import PAUSE, Steps

MAX_INTERIM: Final = 100
"""Interim responses (1xx) before a response."""
_EVENTS_AT_A_TIME: Final = 64
"""Events of the parser between two pauses, so that a body of many small chunks blocks no event loop."""


class TooManyInterimResponses(Exception):  # noqa: N818 - an event inside this package, never raised to a caller
    """The server sent more interim responses than any server needs."""


class InvalidHeader(Exception):  # noqa: N818 - as above
    """A header would end its line, and begin a header or a request of its own."""


_STAND_INS: Final = {
    method: h11.Request(method=method, target="/", headers=[("Host", "-"), ("Content-Length", "0")])
    for method in ("GET", "POST")
}
_END: Final = h11.EndOfMessage()


def head_of(outgoing: Outgoing, target: bytes, authority: bytes, extra: Headers = ()) -> bytes:
    """Return the head of a request.

    Raises:
        InvalidHeader: a header holds a control character that ends a line.
    """
    lines = [
        b"%s %s HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: identity"
        % (outgoing.method.encode("ascii"), target, authority),
        *[b"%s: %s" % header for header in outgoing.headers],
        *[b"%s: %s" % header for header in extra],
        b"Content-Length: %d\r\n\r\n" % len(outgoing.body),
    ]
    head = b"\r\n".join(lines)
    if not head.count(b"\n") == head.count(b"\r") == len(lines) + 3 or b"\0" in head:
        raise InvalidHeader
    return head


class Exchanged:
    """The state of one request: the bytes that were sent and the response so far."""

    __slots__ = ("_body", "_cap", "_interim", "_response", "message", "reusable", "sent")

    def __init__(self, message: bytes, cap: int) -> None:
        """Begin before the first byte."""
        self.message = message
        self._cap = cap
        self._interim = 0
        self._response: h11.Response | None = None
        self._body: Body | None = None
        self.sent = False
        self.reusable = False

    def read(self, http: h11.Connection) -> bool | None:
        """Read the next part from the parser; return True at the end of the response, None if it needs more bytes.

        Raises:
            h11.RemoteProtocolError: the response is not valid HTTP/1.1, or was cut off.
            TooManyInterimResponses: more than `MAX_INTERIM`.
        """
        for _ in range(_EVENTS_AT_A_TIME):
            event = http.next_event()
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Data):
                if self._body is not None and not self._body.add(event.data):
                    return True
            elif isinstance(event, h11.Response):
                self._response = event
                self._body = Body(list(event.headers), self._cap)
            elif isinstance(event, h11.InformationalResponse):
                self._interim += 1
                if self._interim > MAX_INTERIM:
                    raise TooManyInterimResponses
            elif isinstance(event, h11.EndOfMessage):
                self.reusable = self._is_exact(http)
                return True
            else:  # the connection was closed, or changes its protocol
                raise h11.RemoteProtocolError("no response")
        return False

    def _is_exact(self, http: h11.Connection) -> bool:
        """Return whether the response ended, beyond doubt, with the last received byte."""
        response = self._response
        names = [name for name, _ in response.headers] if response is not None else []
        return (
            response is not None
            and http.our_state is http.their_state is h11.DONE
            and http.trailing_data == (b"", False)
            and response.http_version == b"1.1"
            and not (b"transfer-encoding" in names and b"content-length" in names)
        )

    def answer(self) -> Answer:
        """Return the response, at its end."""
        response, body = self._response, self._body
        assert response is not None  # noqa: S101 - for type checkers
        assert body is not None  # noqa: S101 - as above
        return body.answer(response.status_code)


def exchange(connection: Connection, method: str, exchanged: Exchanged) -> Steps[None]:
    """Send the message of `exchanged`, and read the response into it."""
    http = connection.http
    if http is None:
        http = connection.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    else:
        http.start_next_cycle()
    http.send(_STAND_INS[method])
    http.send(_END)
    connection.queue(exchanged.message)
    exchanged.message = b""
    exchanged.sent = True
    try:
        yield from connection.flush()
    except OSError as error:
        if not of_system(error):
            raise
        # The server may have answered and closed before it read all. That response is worth reading.
        connection.drop_unsent()
    yield connection.readable
    while True:
        while not _received(connection, http):
            yield connection.readable
        while (ended := exchanged.read(http)) is False:
            yield PAUSE
        if ended:
            return
        yield PAUSE


def _received(connection: Connection, http: h11.Connection) -> bool:
    data = connection.receive()
    if data is None:
        return False
    http.receive_data(data)
    return True
