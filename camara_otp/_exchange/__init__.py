"""The only package on the client's path that knows HTTP libraries: bytes out; status, headers and body in.

The libraries are imported when the first exchange is opened: they are a third of the cost of importing this package.
"""

from typing import TYPE_CHECKING

from camara_otp._exchange.values import Failure, Headers, Outgoing, Response

if TYPE_CHECKING:
    from camara_otp._exchange.clients import AsyncClient, Client
    from camara_otp._exchange.exchange import Exchange

__all__ = ["Failure", "Headers", "Outgoing", "Response", "open_exchange"]


def open_exchange(
    origin: str, *, max_response_bytes: int, kind: str = "Client", http_client: "Client | AsyncClient | None" = None
) -> "Exchange":
    """Return an exchange with one origin.

    Args:
        origin: `https://host[:port]`, checked already
        max_response_bytes: the cap on a decoded body
        kind: the class of `http_client`: `"Client"` for calls in threads, `"AsyncClient"` for calls in tasks
        http_client: a client of the caller, of httpx or httpx2, or None

    Raises:
        ConfigurationError: `http_client` is of another kind
    """
    from camara_otp._exchange.exchange import Exchange  # noqa: PLC0415 - see above

    return Exchange(origin, max_response_bytes, kind, http_client)
