"""The HTTP clients that a caller may bring, for type checkers: of httpx, or of httpx2, which continues it.

httpx2 is described and not imported, so that it need not be installed for the caller's types to be complete.
"""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import httpx


class _Httpx2(Protocol):
    @property
    def is_closed(self) -> bool: ...
    def build_request(self, method: str, url: str) -> Any: ...
    def send(self, request: Any, *, stream: bool = ..., auth: Any = ..., follow_redirects: Any = ...) -> Any: ...


class _Httpx2Client(_Httpx2, Protocol):
    def close(self) -> None: ...


class _Httpx2AsyncClient(_Httpx2, Protocol):
    async def aclose(self) -> None: ...


if TYPE_CHECKING:
    Client = httpx.Client | _Httpx2Client
    AsyncClient = httpx.AsyncClient | _Httpx2AsyncClient
