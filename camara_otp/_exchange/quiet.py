"""Keep httpcore's and httpx's own log lines of our exchanges out of every log: they print what a server sends.

An operator that repeats the token in a header or in its reason phrase would put it there. Our own logger says what
happened; the lines about other requests of the process, and about those of a caller's `http_client`, stay.
"""

import logging
from contextvars import ContextVar
from typing import Final

exchanging: Final[ContextVar[bool]] = ContextVar("camara_otp_exchanging", default=False)
"""Whether what runs here and now is an exchange on connections of ours."""


def _is_of_others(record: logging.LogRecord) -> bool:  # noqa: ARG001 - a filter is given the record
    return not exchanging.get()


def hush() -> None:
    """Let the libraries' loggers pass over our exchanges; to do it again changes nothing."""
    for name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.http2"):
        logging.getLogger(name).addFilter(_is_of_others)
