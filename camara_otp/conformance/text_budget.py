"""Keep a check within the number of SMS that it announced."""

import anyio
import attrs


@attrs.define(eq=False)
class TextBudget:
    """The SMS that a check may cause.

    A send is counted before it is sent. The count is undone if the operator refused the send, and uses it up
    if an SMS was sent or may have been.

    Args:
        limit: the most SMS that may be caused
        used: how many were sent, or may have been
        in_flight: how many sends have no response yet
    """

    limit: int
    used: int = 0
    in_flight: int = 0
    _changed: anyio.Condition = attrs.field(factory=anyio.Condition, repr=False, init=False)

    async def take(self) -> bool:
        """Reserve one SMS, after waiting for sends without a response; return False if the budget is used up."""
        async with self._changed:
            while self.used + self.in_flight >= self.limit:
                if self.used >= self.limit:
                    return False
                await self._changed.wait()
            self.in_flight += 1
            return True

    async def settle(self, *, caused_sms: bool) -> None:
        """Return a place, or use it up if an SMS was sent or may have been."""
        with anyio.CancelScope(shield=True):
            async with self._changed:
                self.in_flight -= 1
                self.used += caused_sms
                self._changed.notify_all()
