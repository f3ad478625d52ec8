"""Name the reason why a request got no response, in plain words."""

import socket
import ssl
from collections.abc import Iterator
from typing import Final, cast

import httpx

# The first class that fits gives the words.
_CAUSES: Final[dict[type[BaseException], str]] = {
    ConnectionRefusedError: "connection refused",
    socket.gaierror: "the host name could not be resolved",
}
_FAILURES: Final[dict[type[Exception], str]] = {
    httpx.TimeoutException: "timed out",
    httpx.ConnectError: "no connection could be made",
    httpx.ProxyError: "the proxy refused",
    httpx.RemoteProtocolError: "the connection was closed early, or the response is not valid HTTP",
    httpx.NetworkError: "the connection broke",
}


def failure_reason(error: httpx.HTTPError) -> str:
    """Return why a request got no response; a certificate that does not verify is named."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = cause.verify_message or cause.reason
            return f"the TLS certificate does not verify: {reason}; give its CA with ca_file (--ca-file)"
        if isinstance(cause, ssl.SSLError):
            return f"the TLS handshake failed: {cause.reason}"
        for kind, words in _CAUSES.items():
            if isinstance(cause, kind):
                return words
    return next((words for kind, words in _FAILURES.items() if isinstance(error, kind)), "the request failed")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes; a host with several addresses fails with a group of them."""
    found: BaseException | None = error
    while found is not None:
        yield found
        if isinstance(found, BaseExceptionGroup):
            for member in cast("BaseExceptionGroup[BaseException]", found).exceptions:
                yield from _chain(member)
        found = found.__cause__ or found.__context__
