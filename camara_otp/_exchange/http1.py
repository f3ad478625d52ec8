"""One request and its response over a connection, with h11 as the parser.

The request is written here. Its bytes differ from call to call in two headers and the body, and building them with h11
costs a quarter of a call. h11 gets a request of the same method, because the method decides how the response ends.
"""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Final

import h11

from camara_otp._exchange.body import Body
from camara_otp._exchange.connect import Connection, Failed, of_system
from camara_otp._exchange.proxies import Proxy
from camara_otp._exchange.values import Response
from camara_otp._exchange.waits import PAUSE, Steps

MAX_INTERIM: Final = 100
"""Interim responses (1xx) before a response."""
_MAX_HEAD: Final = 102_400
_TURNS_AT_A_TIME: Final = 64
"""Turns of the parser between two pauses, so that a body of many small chunks blocks no event loop."""
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


def exchange(connection: Connection, method: str, cap: int | None) -> Steps[Response]:
    """Send the request that is queued on a connection, and return its response.

    Args:
        connection: open, with the request in its queue
        method: of the request
        cap: the most bytes of a decoded body; None reads no body, as for CONNECT
    """
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
    return (yield from read_response(connection, http, cap))


def read_response(connection: Connection, http: h11.Connection, cap: int | None) -> Steps[Response]:
    """Read a response to its end, or as far as it is wanted.

    Raises:
        h11.RemoteProtocolError: the response is not valid HTTP/1.1, or was cut off
        Failed: more than `MAX_INTERIM` interim responses
    """
    turns = count(1)
    for _ in range(MAX_INTERIM + 1):
        head = yield from _next_event(connection, http, turns)
        if not isinstance(head, h11.InformationalResponse):
            break
    else:
        raise Failed("the server sent more interim responses than any server needs", permanent=False)
    if not isinstance(head, h11.Response):
        raise h11.RemoteProtocolError("no response")  # the connection was closed, or changes its protocol
    body = Body(list(head.headers), cap or 0)
    more = cap is not None
    while more:
        event = yield from _next_event(connection, http, turns)
        more = isinstance(event, h11.Data) and body.add(event.data)
    connection.reusable = _is_exact(http, head)
    return body.response(head.status_code)


def _next_event(connection: Connection, http: h11.Connection, turns: Iterator[int]) -> Steps[object]:
    while True:
        if next(turns) % _TURNS_AT_A_TIME == 0:
            yield PAUSE
        event = http.next_event()
        if event is not h11.NEED_DATA:
            return event
        while (data := connection.receive()) is None:
            yield connection.readable
        http.receive_data(data)


def _is_exact(http: h11.Connection, head: h11.Response) -> bool:
    """Return whether the response ended, beyond doubt, with the last received byte."""
    names = [name for name, _ in head.headers]
    return (
        http.our_state is http.their_state is h11.DONE
        and http.trailing_data == (b"", False)
        and head.http_version == b"1.1"
        and not (b"transfer-encoding" in names and b"content-length" in names)
    )


def tunnel(connection: Connection, proxy: Proxy, authority: bytes) -> Steps[None]:
    """Have a proxy connect to the server (RFC 9110 section 9.3.6).

    Raises:
        Failed: the proxy refused
    """
    connection.queue(head_of("CONNECT", authority, authority, proxy.headers))
    try:
        response = yield from exchange(connection, "CONNECT", None)
    except h11.ProtocolError:
        raise Failed(f"{proxy}: closed the connection, or did not send valid HTTP/1.1", permanent=False) from None
    if not 200 <= response.status <= 299:
        raise Failed(
            f"{proxy}: the proxy refused the connection with HTTP {response.status}; check its credentials and "
            "rules, or except this host in NO_PROXY",
            permanent=response.status < 500,
        )
    if connection.http is None or connection.http.trailing_data[0]:
        raise Failed(f"{proxy}: the proxy sent data of its own into the tunnel")
    connection.http = None
