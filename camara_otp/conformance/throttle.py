"""Limit the concurrent requests, and repeat a request that the operator rate-limited."""

import math
import time
from typing import Final

import anyio
import attrs

from camara_otp.conformance.model import RoundTrip, SentRequest
from camara_otp.conformance.transport import Transport

_MAX_ATTEMPTS: Final = 3
_MAX_PAUSE: Final = 30.0


@attrs.define(eq=False)
class Throttle:
    """The limit on concurrent requests.

    Args:
        transport: sends one request
        limiter: limits the concurrent requests
        pausing: held by a request that waits to be repeated
        paused_until: the time at which the last pause ended
        refused_in_a_row: how many requests in a row were rate-limited after all attempts
    """

    transport: Transport
    limiter: anyio.CapacityLimiter
    pausing: anyio.Lock = attrs.field(factory=anyio.Lock, repr=False)
    paused_until: float = -math.inf
    refused_in_a_row: int = 0

    @property
    def is_concurrent(self) -> bool:
        """Return whether two requests can be sent at the same time."""
        return self.limiter.total_tokens > 1

    async def send(self, request: SentRequest) -> list[RoundTrip]:
        """Send a request, repeat it after a pause if the operator rate-limited it, and return all round trips."""
        async with self.limiter:
            tries = [await self.transport.send(request)]
            came = time.perf_counter()
            if _pause(tries[0]) is not None:
                # Concurrent requests use up each other's rate: from now on, one at a time.
                self.limiter.total_tokens = 1
                async with self.pausing:
                    # One request may be refused for its content; after two in a row, waiting does not help.
                    attempts = 1 if self.refused_in_a_row > 1 else _MAX_ATTEMPTS
                    while (pause := _pause(tries[-1])) is not None and len(tries) < attempts:
                        # Requests that were refused together need one pause together.
                        if came > self.paused_until:
                            await anyio.sleep(pause)
                            self.paused_until = time.perf_counter()
                        tries.append(await self.transport.send(request))
                        came = time.perf_counter()
            self.refused_in_a_row = 0 if _pause(tries[-1]) is None else self.refused_in_a_row + 1
            return tries


def _pause(trip: RoundTrip) -> float | None:
    """Return the seconds to wait before a rate-limited request is repeated, or None if it is not rate-limited."""
    response = trip.response
    if response is None or response.status != 429 or response.code == "QUOTA_EXCEEDED":
        return None
    try:
        wanted = float(response.header("retry-after") or "1")
    except ValueError:
        wanted = 1.0
    return min(wanted, _MAX_PAUSE) if math.isfinite(wanted) and wanted >= 0 else 1.0
