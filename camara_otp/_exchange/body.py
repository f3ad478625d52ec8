"""A response body, decoded and collected within a cap."""

import zlib
from typing import Final

from camara_otp._exchange.values import Headers, Response

_STEP: Final = 65_536
"""Bytes decoded at a time, so that a compressed bomb never takes more memory than the cap and one step."""


class Body:
    """Collect a body up to a cap.

    One gzip or deflate coding is decoded. Any other coding was not requested and is a fault.
    """

    __slots__ = ("_cap", "_content", "_decoder", "_headers", "_raw", "fault")

    def __init__(self, headers: Headers, cap: int) -> None:
        codings = [
            coding
            for name, value in headers
            if name == b"content-encoding"
            for coding in value.lower().replace(b" ", b"").replace(b"\t", b"").split(b",")
            if coding not in (b"", b"identity")
        ]
        self._headers = headers
        self._cap = cap
        self._content = bytearray()
        self._raw = 0
        self._decoder = None
        self.fault: str | None = None
        if codings in ([b"gzip"], [b"x-gzip"], [b"deflate"]):
            self._decoder = zlib.decompressobj(47)  # gzip or zlib, detected from the first bytes
        elif codings:
            self.fault = "its content coding was not requested"

    def add(self, chunk: bytes) -> bool:
        """Add a chunk and return whether more is wanted."""
        self._raw += len(chunk)
        if self.fault is None:
            if self._decoder is None:
                self._content += chunk[: self._cap - len(self._content) + 1]
            else:
                self._decode(chunk)
        if self.fault is None and max(len(self._content), self._raw) > self._cap:
            del self._content[self._cap :]
            self.fault = f"it is longer than {self._cap} bytes"
        return self.fault is None

    def _decode(self, chunk: bytes) -> None:
        decoder = self._decoder
        try:
            while decoder is not None and chunk and len(self._content) <= self._cap:
                self._content += decoder.decompress(chunk, min(self._cap - len(self._content) + 1, _STEP))
                chunk = decoder.unconsumed_tail
        except zlib.error:
            self.fault = "its content coding is broken"

    def response(self, status: int) -> Response:
        """Return the response, after the last chunk."""
        decoder = self._decoder
        if decoder is not None and self.fault is None and self._raw and (not decoder.eof or decoder.unused_data):
            self.fault = "its content coding is broken"
        return Response(status, self._headers, self._content, self.fault)
