"""Find the path of the operations, with requests that have to be refused."""

import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from camara_otp.conformance import contract
from camara_otp.conformance.check import Check
from camara_otp.conformance.model import BlockedError, SentRequest

_BAD_REQUEST: Final = frozenset({400, 422})
_REFUSED: Final = _BAD_REQUEST | {401, 403}


class UnreachableError(Exception):
    """No server responds at the base URL; the message lists the attempts."""


async def find_api_path(check: Check) -> None:
    """Find the path between root and operation; raise UnreachableError if no server responds."""
    given = check.settings.api_path
    if given is not None:
        check.api_path = given.rstrip("/")
        await _status(check, check.api_path)
        return
    statuses: dict[str, int] = {}
    nowhere: int | None = None
    for path in contract.API_PATHS:
        try:
            status = statuses[path] = await _status(check, path)
            if status in _REFUSED:
                # A gateway may refuse every request without a token, also where there is nothing.
                nowhere = nowhere or await _status(check, f"/{uuid.uuid4().hex}")
        except UnreachableError:
            if not statuses:
                raise
            break
        if status in _REFUSED and status != nowhere:
            check.api_path = path
            return
    # The least strange: refused as an operation refuses, else any status, else a path or method that does not exist.
    check.api_path = min(statuses, key=lambda path: (statuses[path] not in _REFUSED, statuses[path] in (404, 405)))
    # A gateway may also respond with 404, or any other status, to every request without a token.
    if nowhere is not None or len(statuses) > len(set(statuses.values())) == 1:
        refused = [path for path, status in statuses.items() if status in _REFUSED]
        found = await _find_with_token(check, refused or [path for path, s in statuses.items() if s != 429])
        check.path_is_guess = found is None
        check.api_path = check.api_path if found is None else found


async def _find_with_token(check: Check, paths: Iterable[str]) -> str | None:
    for path in paths:
        with suppress(BlockedError, UnreachableError):
            if await _status(check, path, await check.token()) in _BAD_REQUEST:
                return path
    return None


async def _status(check: Check, path: str, token: str | None = None) -> int:
    """Return the status of the response to a request that no operation accepts."""
    url = f"{check.settings.root}{path}/validate-code"
    headers, body = {}, b""
    if token is not None:
        headers = {name.lower(): value for name, value in check.settings.headers.items()}
        headers |= {"authorization": f"Bearer {token}", "content-type": "application/json"}
        body = b"{}"
    trip = (await check.throttle.send(SentRequest("validate-code", "POST", url, tuple(headers.items()), body)))[-1]
    if trip.response is None:
        raise UnreachableError(f"no response from {check.settings.root}: {trip.failure}")
    return trip.response.status
