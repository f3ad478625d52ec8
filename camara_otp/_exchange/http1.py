"""One request and its response over a connection, with h11 as the parser.

The request is written here. Its bytes differ from call to call in two headers and the body, and building them with h11
costs a quarter of a call. h11 gets a request of the same method, because the method decides how the response ends.
"""

from collections.abc import Iterable
from typing import Final

import h11

from camara_otp._exchange.body import Body
from camara_otp._exchange.connect import Connection, Failed, of_system
from camara_otp._exchange.proxies import Proxy
from camara_otp._exchange.values import Response
from camara_otp._exchange.waits import PAUSE, Steps, Wait

MAX_INTERIM: Final = 100
"""Interim responses (1xx) before a response."""
_MAX_HEAD: Final = 102_400
_STEPS_AT_A_TIME: Final = 64
"""Steps of the parser between two pauses, so that a body of many small chunks blocks no event loop."""
_STAND_INS: Final = {
    method: h11.Request(method=method, target="-", headers=[("Host", "-"), ("Content-Length", "0")])
    for method in ("GET", "POST", "CONNECT")
}
_END: Final = h11.EndOfMessage()


def head_of(method: str, target: bytes, authority: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request.

    Raises:
        Failed: a header holds a control character that ends a line, or the header would begin a request of its own
    """
    lines = [
        b"%s %s HTTP/1.1\r\nHost: %s" % (method.encode("ascii"), target, authority),
        *[b"%s: %s" % header for header in headers],
    ]
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    if not head.count(b"\n") == head.count(b"\r") == len(lines) + 2 or b"\0" in head:
        raise Failed("a header holds a line end; check what adds headers to the request")
    return head


class ResponseReader:
    """Read one response.

    An object keeps what has arrived, and not the generator, because a traceback shows the variables of a generator.

    Args:
        cap: the most bytes of a decoded body; None reads no body, as for CONNECT
    """

    _head: h11.Response
    _body: Body

    def __init__(self, cap: int | None) -> None:
        self._cap = cap
        self._interim = 0
        self._needs_data = True

    def read(self, connection: Connection, http: h11.Connection) -> Wait | None:
        """Read what has arrived; return what to wait for, or None at the end of the response.

        Raises:
            h11.RemoteProtocolError: the response is not valid HTTP/1.1, or was cut off
            Failed: more than `MAX_INTERIM` interim responses
        """
        for _ in range(_STEPS_AT_A_TIME):
            if self._needs_data:
                data = connection.receive()
                if data is None:
                    return connection.readable
                http.receive_data(data)
            event = http.next_event()
            self._needs_data = event is h11.NEED_DATA
            if not self._needs_data and self._ends_with(event):
                connection.reusable = self._is_exact(http)
                return None
        return PAUSE

    def _ends_with(self, event: object) -> bool:
        if isinstance(event, h11.Data):
            return not self._body.add(event.data)
        if isinstance(event, h11.Response):
            self._head = event
            self._body = Body(list(event.headers), self._cap or 0)
            return self._cap is None
        if isinstance(event, h11.InformationalResponse):
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise Failed("the server sent more interim responses than any server needs", permanent=False)
            return False
        if isinstance(event, h11.EndOfMessage):
            return True
        raise h11.RemoteProtocolError("no response")  # the connection was closed, or changes its protocol

    def _is_exact(self, http: h11.Connection) -> bool:
        """Return whether the response ended, beyond doubt, with the last received byte."""
        names = [name for name, _ in self._head.headers]
        return (
            http.our_state is http.their_state is h11.DONE
            and http.trailing_data == (b"", False)
            and self._head.http_version == b"1.1"
            and not (b"transfer-encoding" in names and b"content-length" in names)
        )

    def response(self) -> Response:
        """Return the response, at its end."""
        return self._body.response(self._head.status_code)


def exchange(connection: Connection, method: str, reader: ResponseReader) -> Steps[None]:
    """Send the request that is queued on a connection, and read the response."""
    http = connection.http
    if http is None:
        http = connection.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
    else:
        http.start_next_cycle()
    http.send(_STAND_INS[method])
    http.send(_END)
    try:
        while (wait := connection.flush()) is not None:
            yield wait
    except OSError as error:
        if not of_system(error):
            raise
        # The server may have answered and closed before it read all. That response is worth reading.
    yield connection.readable
    while (more := reader.read(connection, http)) is not None:
        yield more


def tunnel(connection: Connection, proxy: Proxy, authority: bytes) -> Steps[None]:
    """Have a proxy connect to the server (RFC 9110 section 9.3.6).

    Raises:
        Failed: the proxy refused
    """
    connection.queue(head_of("CONNECT", authority, authority, proxy.headers))
    reader = ResponseReader(None)
    try:
        yield from exchange(connection, "CONNECT", reader)
    except h11.ProtocolError:
        raise Failed(f"{proxy}: closed the connection, or did not send valid HTTP/1.1", permanent=False) from None
    status = reader.response().status
    if not 200 <= status <= 299:
        raise Failed(
            f"{proxy}: the proxy refused the connection with HTTP {status}; check its credentials and rules, or except "
            "this host in NO_PROXY",
            permanent=status < 500,
        )
    if connection.http is None or connection.http.trailing_data[0]:
        raise Failed(f"{proxy}: the proxy sent data of its own into the tunnel")
    connection.http = None
