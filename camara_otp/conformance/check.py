"""One check: its requests to the operator, and the facts that its scenarios share."""

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from camara_otp.conformance.contract import LABEL
from camara_otp.conformance.guesses import GUESSES, Guess, Material
from camara_otp.conformance.hooks import Hooks
from camara_otp.conformance.model import BlockedError, Delivery, JSONObject, RoundTrip, SentRequest
from camara_otp.conformance.settings import Settings
from camara_otp.conformance.text_budget import TextBudget
from camara_otp.conformance.throttle import Throttle

NO_TEXTS_LEFT: Final = (
    "no announced SMS is left for a request that could cause one: the operator sent more than it should, "
    "or max_texts is too small"
)
_LONG_WORD: Final = 8


@attrs.define(eq=False)
class TextSession:
    """An SMS that scenarios use one after the other.

    Args:
        trip: the send that caused it, or None as long as there is none
        old: the SMS before, if its code is known
        closed: whether an earlier id of the same phone was closed by wrong codes
        problem: why the last send returned no id; then no other is sent for the same purpose
    """

    trip: RoundTrip | None = None
    old: Delivery | None = None
    closed: bool = False
    problem: str = ""


@attrs.define(eq=False)
class Check:
    """A check in progress.

    Args:
        settings: the settings of the check
        throttle: sends requests to the operator
        hooks: read SMS, let codes expire, reset the operator
        fetch: returns the access token
        budget: the SMS that the check may cause
        api_path: the path between root and operation
        path_is_guess: whether nothing distinguished the path of the operations from other paths
        trips: all requests with their responses, in order
        sends: how many SMS each phone received
        uncertain: phones that may have received more SMS than `sends` says
        secrets: strings that must not be shown, with their replacements
        tried: codes that were sent, likewise; most of them are wrong
        deliveries: the SMS that the operator accepted, by id
        sessions: the SMS that scenarios share, by name
        guesses: the wrong codes and ids that were not tried yet
        max_try: the wrong code that closed an id, as seen so far
        is_unlimited: whether wrong codes turned out not to close an id
        accepts_wrong: whether a wrong code of the form of a code was accepted
        refuses_right: whether a right code was refused although it had to be accepted
    """

    settings: Settings
    throttle: Throttle = attrs.field(repr=False)
    hooks: Hooks = attrs.field(repr=False)
    fetch: Callable[[], Awaitable[str]] = attrs.field(repr=False)
    budget: TextBudget = attrs.field(repr=False)
    api_path: str = ""
    path_is_guess: bool = False
    trips: list[RoundTrip] = attrs.field(factory=list[RoundTrip], repr=False)
    sends: dict[str, int] = attrs.field(factory=dict[str, int], repr=False)
    uncertain: set[str] = attrs.field(factory=set[str], repr=False)
    secrets: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    tried: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    deliveries: dict[str, Delivery] = attrs.field(factory=dict[str, Delivery], repr=False)
    sessions: dict[str, TextSession] = attrs.field(factory=dict[str, TextSession], repr=False)
    guesses: list[Guess] = attrs.field(factory=lambda: list(GUESSES), repr=False)
    max_try: int | None = None
    is_unlimited: bool = False
    accepts_wrong: bool = False
    refuses_right: bool = False

    def __attrs_post_init__(self) -> None:
        """Learn the tokens, keys and cookies that an operator may repeat in its responses."""
        for token in attrs.astuple(self.settings.tokens):
            self.conceal(token, "<token>")
        for kind, table in (("header", self.settings.headers), ("param", self.settings.params)):
            for name, value in table.items():
                # The words of a value are secrets too, as in `Bearer abc`.
                for part in (value, *(word for word in value.split() if len(word) >= _LONG_WORD)):
                    self.conceal(part, f"<{kind} {name}>")

    def conceal(self, value: str | None, name: str) -> None:
        """Store a string that must not be shown, and its replacement."""
        if value:
            self.secrets[value] = name

    async def token(self) -> str:
        """Return the access token, or raise BlockedError if none could be obtained."""
        try:
            token = await self.fetch()
        except Exception as error:  # noqa: BLE001 - of any kind: it says nothing about the operator
            raise BlockedError(f"the token could not be obtained: {error}") from None
        self.conceal(token, "<token>")
        return token

    async def post(self, request: SentRequest) -> RoundTrip:
        """Send a request and record every response to it; raise BlockedError once the announced SMS are used up."""
        if request.operation != "send-code":
            return await self._post(request)
        if not await self.budget.take():
            raise BlockedError(NO_TEXTS_LEFT)
        caused_sms = True
        try:
            trip = await self._post(request)
            is_refused = 400 <= trip.status < 500
            trip.caused_sms = is_refused and trip.status != 429 and await self._caused_a_text(request)
            caused_sms = trip.caused_sms or not is_refused
        finally:
            await self.budget.settle(caused_sms=caused_sms)
        return trip

    async def _post(self, request: SentRequest) -> RoundTrip:
        tries = await self.throttle.send(request)
        self.trips.extend(tries)
        return tries[-1]

    async def _caused_a_text(self, request: SentRequest) -> bool:
        """Return whether the SMS of a send that was refused is in the inbox."""
        number, message = request.members.get("phoneNumber"), request.members.get("message")
        if number not in self.settings.numbers.reachable or not isinstance(message, str) or LABEL not in message:
            return False
        # A message that is the same in every send may be that of an accepted one.
        return message != self.settings.message and await self.hooks.glance(str(number), message)

    async def look_for_late_texts(self) -> None:
        """Record which sends that were refused caused an SMS after all."""
        sends = [trip for trip in self.trips if trip.request.operation == "send-code"]
        # A send that the operator rate-limited is repeated.
        accepted = {trip.request.body for trip in sends if 0 < trip.status < 400}
        for trip in sends:
            if trip.status >= 400 and trip.status != 429 and trip.request.body not in accepted and not trip.caused_sms:
                trip.caused_sms = await self._caused_a_text(trip.request)

    def take_guesses(self, material: Material, count: int, *, plain: bool = False) -> list[tuple[Guess, JSONObject]]:
        """Take at most `count` guesses that no id was used for yet; if `plain`, only those of the form of a code."""
        taken: list[tuple[Guess, JSONObject]] = []
        for guess in list(self.guesses):
            body = guess.body(material) if guess.is_plain or not plain else None
            if len(taken) < count and body is not None:
                self.guesses.remove(guess)
                taken.append((guess, body))
        return taken
