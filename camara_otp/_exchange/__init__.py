"""The one room that knows the HTTP library: bytes out; status, headers and body in; failures as values.

`direct` is the way taken by default, over `pool`, `stream` and `framing`; `through_httpx` the way through a caller's
client, a proxy, a mock or an observer; `answer` what both come to.

The libraries are imported when the first exchange is opened, not before: they are a third of what importing this
package would cost, and a process that only catches errors or makes requests needs none of them.
"""

from typing import TYPE_CHECKING

from camara_otp._exchange.answer import Answer, Failure, Outgoing

if TYPE_CHECKING:
    from camara_otp._exchange.clients import AsyncClient, Client
    from camara_otp._exchange.direct import AsyncExchange, Exchange

__all__ = ["Answer", "Failure", "Outgoing", "open_async_exchange", "open_exchange"]


def open_exchange(origin: str, *, max_response_bytes: int, http_client: "Client | None" = None) -> "Exchange":
    """Return an exchange with one origin, for threads.

    Args:
        origin: `https://host[:port]`, checked already.
        max_response_bytes: the cap on a decoded body.
        http_client: a client of the caller's, of httpx or httpx2, or None.

    Raises:
        ConfigurationError: `http_client` is of another kind.
    """
    from camara_otp._exchange.direct import Exchange  # noqa: PLC0415 - see above

    return Exchange(origin, max_response_bytes=max_response_bytes, http_client=http_client)


def open_async_exchange(
    origin: str, *, max_response_bytes: int, http_client: "AsyncClient | None" = None
) -> "AsyncExchange":
    """Return an exchange with one origin, for tasks; the arguments are those of `open_exchange`."""
    from camara_otp._exchange.direct import AsyncExchange  # noqa: PLC0415 - see above

    return AsyncExchange(origin, max_response_bytes=max_response_bytes, http_client=http_client)
