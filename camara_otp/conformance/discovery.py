"""Find the path of the operations, with requests that have to be refused."""

import uuid
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.model import SentRequest
from camara_otp.conformance.scenario_run import BlockedError
from camara_otp.conformance.settings import Settings
from camara_otp.conformance.throttle import Throttle

_BAD_REQUEST: Final = frozenset({400, 422})
_REFUSED: Final = _BAD_REQUEST | {401, 403}


class UnreachableError(Exception):
    """No server responds at the base URL; the message lists the attempts."""


@attrs.frozen
class ApiPath:
    """Where the operations are.

    Args:
        path: the path between root and operation
        is_guess: whether nothing distinguishes it from other paths
    """

    path: str
    is_guess: bool = False


@attrs.frozen
class Discovery:
    """The search for the path of the operations.

    Args:
        settings: the settings of the check
        throttle: sends requests
        token: returns the access token, or raises BlockedError
    """

    settings: Settings
    throttle: Throttle
    token: Callable[[], Awaitable[str]]

    async def find(self) -> ApiPath:
        """Return the path of the operations.

        Raises:
            UnreachableError: no server responds
        """
        given = self.settings.api_path
        if given is not None:
            path = given.rstrip("/")
            await self._status(path)
            return ApiPath(path)
        statuses: dict[str, int] = {}
        nowhere: int | None = None
        for path in contract.API_PATHS:
            try:
                status = statuses[path] = await self._status(path)
                if status in _REFUSED:
                    # A gateway may refuse every request without a token, also where there is nothing.
                    nowhere = nowhere or await self._status(f"/{uuid.uuid4().hex}")
            except UnreachableError:
                if not statuses:
                    raise
                break
            if status in _REFUSED and status != nowhere:
                return ApiPath(path)
        best = min(statuses, key=lambda path: _strangeness(statuses[path]))
        # A gateway may also answer 404, or any other status, to every request without a token.
        if nowhere is not None or len(statuses) > len(set(statuses.values())) == 1:
            refused = [path for path, status in statuses.items() if status in _REFUSED]
            found = await self._find_with_token(refused or [path for path, s in statuses.items() if s != 429])
            return ApiPath(best, is_guess=True) if found is None else ApiPath(found)
        return ApiPath(best)

    async def _find_with_token(self, paths: Iterable[str]) -> str | None:
        for path in paths:
            with suppress(BlockedError, UnreachableError):
                if await self._status(path, await self.token()) in _BAD_REQUEST:
                    return path
        return None

    async def _status(self, path: str, token: str | None = None) -> int:
        """Return the status of the response to a request that no operation accepts."""
        url = f"{self.settings.root}{path}/validate-code"
        headers, body = {}, b""
        if token is not None:
            headers = {name.lower(): value for name, value in self.settings.headers.items()}
            headers |= {"authorization": f"Bearer {token}", "content-type": "application/json"}
            body = b"{}"
        trip = (await self.throttle.send(SentRequest("validate-code", "POST", url, tuple(headers.items()), body)))[-1]
        if trip.response is None:
            raise UnreachableError(f"no response from {self.settings.root}: {trip.failure}")
        return trip.response.status


def _strangeness(status: int) -> int:
    """Return how little a status looks like one of an operation: 0 if it does."""
    if status in _REFUSED:
        return 0
    return 2 if status in (404, 405) else 1
