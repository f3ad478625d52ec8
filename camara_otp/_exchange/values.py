"""The values of an exchange: a request, and a response or a failure."""

from collections.abc import Sequence
from typing import NamedTuple

Headers = Sequence[tuple[bytes, bytes]]


# Plain classes, not tuples or attrs classes: error reporters iterate tuples and read attrs fields whatever the repr.


class Outgoing:
    """A request and its limits.

    Args:
        method: `"POST"` or `"GET"`
        target: path and query, ASCII
        headers: all headers except Host, Accept-Encoding, Connection, and Content-Length
        body: the whole content
        deadline: the end of the exchange, by `time.monotonic()`
        connect_timeout: seconds for making a connection, or None for all the time that is left
    """

    __slots__ = ("body", "connect_timeout", "deadline", "headers", "method", "target")

    def __init__(  # noqa: PLR0917 - the parts of a request, in the order in which they travel
        self, method: str, target: str, headers: Headers, body: bytes, deadline: float, connect_timeout: float | None
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.deadline = deadline
        self.connect_timeout = connect_timeout


class Response:
    """An HTTP response.

    Args:
        status: the status code
        headers: names in lower case
        body: decoded, and never longer than the cap
        fault: why the body is incomplete or unreadable, or None
    """

    __slots__ = ("body", "fault", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes | bytearray, fault: str | None = None) -> None:
        self.status: int = status
        self.headers: Headers = headers
        self.body: bytes | bytearray = body
        self.fault: str | None = fault


class Failure(NamedTuple):
    """An exchange without a complete response.

    Attributes:
        sent: False if the server cannot have seen the request
        reason: a clause in words of this package, without a string from a server
        permanent: True if a retry cannot help
    """

    sent: bool
    reason: str
    permanent: bool = False
