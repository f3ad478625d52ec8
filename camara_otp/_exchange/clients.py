"""The HTTP clients that a caller may bring, for type checkers: of httpx, or of httpx2, which continues it.

httpx2 is described and not imported, so that it need not be installed for a caller's types to be whole.
"""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import httpx


class _Builds(Protocol):
    @property
    def is_closed(self) -> bool:
        """Tell whether the client was closed."""
        ...

    @property
    def trust_env(self) -> bool:
        """Tell whether the environment's settings count."""
        ...

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: Any = ...,
        params: Any = ...,
        headers: Any = ...,
        extensions: Any = ...,
    ) -> Any:
        """Return a request with the client's own headers, parameters and cookies in it."""
        ...


class Httpx2Client(_Builds, Protocol):
    """What an `httpx2.Client` is."""

    def send(self, request: Any, *, stream: bool = ..., auth: Any = ..., follow_redirects: Any = ...) -> Any:
        """Send a request."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Httpx2AsyncClient(_Builds, Protocol):
    """What an `httpx2.AsyncClient` is."""

    async def send(self, request: Any, *, stream: bool = ..., auth: Any = ..., follow_redirects: Any = ...) -> Any:
        """Send a request."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


if TYPE_CHECKING:
    Client = httpx.Client | Httpx2Client
    AsyncClient = httpx.AsyncClient | Httpx2AsyncClient
