"""The only package on the client's path that knows HTTP libraries: bytes out; status, headers and body in.

The libraries are imported when the first exchange is opened: they are a third of the cost of importing this package.
"""

from typing import TYPE_CHECKING

from camara_otp._exchange.values import Failure, Headers, Outgoing, Response

if TYPE_CHECKING:
    from camara_otp._exchange.clients import AsyncClient, Client
    from camara_otp._exchange.exchange import AsyncExchange, Exchange

__all__ = ["Failure", "Headers", "Outgoing", "Response", "open_async_exchange", "open_exchange"]


def open_exchange(origin: str, *, max_response_bytes: int, http_client: "Client | None" = None) -> "Exchange":
    """Return an exchange with one origin, for threads.

    Args:
        origin: `https://host[:port]`, checked already
        max_response_bytes: the cap on a decoded body
        http_client: a client of the caller, of httpx or httpx2, or None

    Raises:
        ConfigurationError: `http_client` is of another kind
    """
    from camara_otp._exchange.exchange import Exchange  # noqa: PLC0415 - see above

    return Exchange(origin, max_response_bytes, "Client", http_client)


def open_async_exchange(
    origin: str, *, max_response_bytes: int, http_client: "AsyncClient | None" = None
) -> "AsyncExchange":
    """Return an exchange with one origin, for tasks; the arguments are those of `open_exchange`."""
    from camara_otp._exchange.exchange import AsyncExchange  # noqa: PLC0415 - see above

    return AsyncExchange(origin, max_response_bytes, "AsyncClient", http_client)
