r"""Where an answer ends, proven: the bytes of a connection, handed to the HTTP parser no further than its message.

A stray answer that waits behind the one asked for must never be taken for the next one's: a smuggled 204 would make a
wrong code valid. So the parser never holds a byte beyond its message. A head ends with a blank line, and so does a
chunked body; bytes are handed over up to each blank line, and the parser either wants more or is done exactly there. A
body with a length is counted. Whatever is left here when the parser is done is a stray, and ends the connection.
"""

import re
from typing import Final

from camara_otp._exchange.answer import Babble

# The end of lines as h11 accepts it: RFC 9112 section 2.2 lets a line end without its carriage return.
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")

MAX_HEADS: Final = 16
"""Heads of one answer: interim ones (1xx) and the final one."""


class Framing:
    """Hold what was received, and hand it over piece by piece."""

    __slots__ = ("_buffer", "_ended", "_heads", "_left", "_to_the_end")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._buffer = bytearray()
        self._ended = False
        self.begin()

    def begin(self) -> None:
        """Expect a new answer, head first."""
        self._left: int | None = None
        self._heads = 0
        self._to_the_end = False

    def expect_body(self, headers: list[tuple[bytes, bytes]], status: int) -> None:
        """Say what follows the head, by the rules of RFC 9112 section 6.3."""
        self._heads = -1
        if status < 200 or status in (204, 304):
            self._left = 0
            return
        length = None
        for name, value in headers:
            if name == b"transfer-encoding":
                return  # chunked: on to each blank line
            if name == b"content-length":
                length = int(value)
        self._left = length
        self._to_the_end = length is None

    def feed(self, data: bytes) -> None:
        """Take what was received; nothing at all is the end."""
        if data:
            self._buffer += data
        else:
            self._ended = True

    def take(self) -> bytes | None:
        """Return the next bytes for the parser, nothing at the end, or None when more must be received."""
        buffer = self._buffer
        if self._left is not None:
            size = min(self._left, len(buffer))
            self._left -= size
        elif self._to_the_end:
            size = len(buffer)
        elif (blank := _BLANK_LINE.search(buffer)) is not None:
            size = blank.end()
            if self._heads >= 0:
                self._heads += 1
                if self._heads > MAX_HEADS:
                    raise Babble
        else:
            # A blank line may be cut in two by its arrival: keep what could be its beginning.
            size = len(buffer) if self._ended else max(len(buffer) - 2, 0)
        if size:
            piece = bytes(buffer[:size])
            del buffer[:size]
            return piece
        return b"" if self._ended else None

    def cut(self) -> None:
        """Let go of what was received, and have nothing more to hand over."""
        self._buffer.clear()
        self._left = None
        self._ended = self._to_the_end = True

    @property
    def exact(self) -> bool:
        """Tell whether the answer ended where the received bytes end."""
        return not self._buffer and not self._ended and not self._to_the_end and self._left in (None, 0)
