"""Keep httpcore's and httpx's own log lines of our exchanges out of every log: they print what a server sends.

An operator that repeats the token in a header or in its reason phrase would put it there. Our own logger says what
happened; the lines about other requests of the process, and about those of a caller's `http_client`, stay.
"""

import logging
from contextvars import ContextVar
from typing import Final

exchanging: Final[ContextVar[float | None]] = ContextVar("camara_otp_exchanging", default=None)
"""The deadline of the exchange on connections of ours that runs here and now, by `time.monotonic()`, or None."""


def _is_of_others(record: logging.LogRecord) -> bool:  # noqa: ARG001 - a filter is given the record
    return exchanging.get() is None


def hush() -> None:
    """Let the libraries' loggers pass over our exchanges; to do it again changes nothing."""
    for name in ("httpx", *(f"httpcore.{room}" for room in ("connection", "http11", "http2", "proxy", "socks"))):
        logging.getLogger(name).addFilter(_is_of_others)
