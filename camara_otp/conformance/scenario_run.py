"""One run of one scenario: its requests, the text that it shares with others, and its findings."""

import json
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Literal, cast

import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.causes import found
from camara_otp.conformance.guesses import GUESSES, Guess, JSONObject, Material, wrong_codes
from camara_otp.conformance.hooks import HookError, Hooks, NoTextError
from camara_otp.conformance.inbox import Found
from camara_otp.conformance.judge import (
    Expectation,
    against,
    authentication_id,
    code_of,
    limit_met,
    said,
)
from camara_otp.conformance.model import Delivery, Finding, Operation, RoundTrip, SentRequest, Tried
from camara_otp.conformance.settings import Settings

Post = Callable[[SentRequest], Awaitable[RoundTrip]]
GetToken = Callable[[], Awaitable[str]]

VALID: Final = Expectation(204)
INVALID_OTP: Final = Expectation(400, (contract.INVALID_OTP,), accepted="wrong-code-accepted", what="a wrong code")
_CLOSED: Final = (contract.FAILED, contract.EXPIRED)
_MANY_LOST: Final = 3


class BlockedError(Exception):
    """A scenario cannot continue for a reason unrelated to its subject; the message gives the reason."""


@attrs.define(eq=False)
class TextSession:
    """A text that scenarios use one after the other, and what became of its id.

    Args:
        trip: the send that brought it, or None as long as there is none
        authentication_id: the id
        message: the message, with the label
        code: the code, once it was read
        state: whether the id is live, used, closed by wrong codes, or superseded
        wrong: how many wrong codes were tried
        tried: the wrong codes that were tried
        closed: the number of the phone if an earlier id of it was closed by wrong codes
        old: id and code of the text before, if its phone got another one since
        problem: why the last send brought no id; then no other is sent for the same purpose
    """

    trip: RoundTrip | None = None
    authentication_id: str = attrs.field(default="", repr=False)
    message: str = ""
    code: str | None = attrs.field(default=None, repr=False)
    state: Literal["live", "used", "closed", "superseded"] = "live"
    wrong: int = 0
    tried: set[str] = attrs.field(factory=set[str], repr=False)
    closed: bool = False
    old: tuple[str, str] | None = attrs.field(default=None, repr=False)
    problem: str = ""


@attrs.define(eq=False)
class CheckState:
    """The state that all scenarios of a check share.

    Args:
        trips: all requests with their responses, in order
        sends: how many texts each phone received
        uncertain: phones that may have got more texts than `sends` says
        secrets: texts that must not be shown, with what is shown instead
        tried: codes that were sent, likewise; most of them are wrong
        codes: the code of each id whose text was read
        numbers: the phone of each id
        sessions: the texts that scenarios share, by name
        guesses: the wrong codes and ids that were not tried yet
        max_try: the wrong code that closed an id, as seen so far
        is_unlimited: whether wrong codes turned out not to close an id
        accepts_wrong: whether a wrong code of the form of a code was accepted
        refuses_right: whether a right code was refused although nothing spoke against it
    """

    trips: list[RoundTrip] = attrs.field(factory=list[RoundTrip], repr=False)
    sends: dict[str, int] = attrs.field(factory=dict[str, int], repr=False)
    uncertain: set[str] = attrs.field(factory=set[str], repr=False)
    secrets: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    tried: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    codes: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    numbers: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    sessions: dict[str, TextSession] = attrs.field(factory=dict[str, TextSession], repr=False)
    guesses: list[Guess] = attrs.field(factory=lambda: list(GUESSES), repr=False)
    max_try: int | None = None
    is_unlimited: bool = False
    accepts_wrong: bool = False
    refuses_right: bool = False

    def conceal(self, value: Any, name: str) -> None:
        """Remember a text that must not be shown.

        Args:
            value: the text
            name: what is shown instead
        """
        if isinstance(value, str) and value:
            self.secrets[value] = name

    def take_guesses(self, material: Material, count: int, *, plain: bool = False) -> list[tuple[Guess, JSONObject]]:
        """Take guesses that can be made, and that no id was used for yet.

        Args:
            material: what they are made from
            count: how many at most
            plain: only those that have the form of a code
        """
        taken: list[tuple[Guess, JSONObject]] = []
        for guess in list(self.guesses):
            body = guess.body(material) if guess.is_plain or not plain else None
            if len(taken) < count and body is not None:
                self.guesses.remove(guess)
                taken.append((guess, body))
        return taken


@attrs.define(eq=False)
class ScenarioRun:
    """One run of one scenario.

    Args:
        settings: the settings of the check
        url: where the operations are, without a trailing slash
        number: the phone
        post: sends a request and records the response
        token: returns the access token
        hooks: the hooks of the check
        state: what all scenarios share
        session: the text that this scenario shares with others
        has_text: whether the plan gives it a text
        is_concurrent: tells whether two requests can be in flight at once
        trips: its requests with their responses, in order
        judged: the places in `trips` of those that show a deviation
        findings: the deviations
    """

    settings: Settings
    url: str
    number: str
    post: Post
    token: GetToken
    hooks: Hooks
    state: CheckState
    session: TextSession
    has_text: bool
    is_concurrent: Callable[[], bool]
    trips: list[RoundTrip] = attrs.field(factory=list[RoundTrip])
    judged: set[int] = attrs.field(factory=set[int])
    findings: list[Finding] = attrs.field(factory=list[Finding])

    # Requests.

    def message(self, template: str = "") -> str:
        """Return a message that differs from every other one if its length allows it.

        Args:
            template: a message in which `{ref}` stands for a number; empty: that of the settings
        """
        return (template or self.settings.message).replace("{ref}", str(secrets.randbelow(90000) + 10000))

    async def ask(
        self,
        operation: Operation,
        body: Any,
        *,
        method: str = "POST",
        path: str = "",
        token: str | None = None,
        without: Iterable[str] = (),
        headers: dict[str, str] | None = None,
        more: Sequence[tuple[str, str]] = (),
        upper: bool = False,
        raw: bool = False,
        tried: Tried = "",
        guess: str = "",
    ) -> RoundTrip:
        """Send one request, valid or not, and return it with its response.

        Args:
            operation: the operation
            body: the body as JSON, as bytes, or None for none
            method: the HTTP method
            path: another path than that of the operation
            token: an access token other than the good one
            without: headers to leave out
            headers: headers to replace, names in lower case
            more: headers to add
            upper: whether header names are sent in capital letters
            raw: whether the body goes out in UTF-8 instead of ASCII escapes
            tried: whether the code is right or wrong for a live id
            guess: how a wrong code was made
        """
        fields = {
            **{name.lower(): value for name, value in self.settings.headers.items()},
            "authorization": "" if "authorization" in without else f"Bearer {token or await self.token()}",
            "content-type": "application/json",
            "accept": "application/json",
            "x-correlator": str(uuid.uuid4()),
            **(headers or {}),
        }
        content = (
            body
            if isinstance(body, bytes)
            else b""
            if body is None
            else json.dumps(body, ensure_ascii=not raw).encode()
        )
        kept = [(name, value) for name, value in fields.items() if name not in without]
        sent = tuple((name.upper() if upper else name, value) for name, value in (*kept, *more))
        url = f"{self.url}/{path or operation}"
        trip = await self.post(SentRequest(operation, method, url, sent, content))
        trip = self._amended(trip, tried=tried, guess=guess) if tried or guess else trip
        self.trips.append(trip)
        self._remember(trip, body)
        return trip

    def _remember(self, trip: RoundTrip, body: Any) -> None:
        values = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
        if isinstance(values.get("code"), str):
            self.state.tried[values["code"]] = "<code>"
        response = trip.response
        if trip.request.operation != "send-code":
            return
        if response is None or trip.texted or 300 <= response.status < 400 or response.status >= 500:
            self.state.uncertain.add(self.number)
            return
        if response.status < 300:
            self.state.sends[self.number] = self.state.sends.get(self.number, 0) + 1
            issued = authentication_id(response)
            self.state.conceal(issued, "<authenticationId>")
            if issued in self.state.numbers:
                self.judge(trip, [found("id-not-unique", "two sends were answered with the same authenticationId")])
            elif issued:
                self.state.numbers[issued] = self.number

    def _amended(self, trip: RoundTrip, **changes: Any) -> RoundTrip:
        """Add a fact about a request to each of its records."""
        known = attrs.evolve(trip, **changes)
        for trips in (self.trips, self.state.trips):
            for at, other in enumerate(trips):
                if other is trip:
                    trips[at] = known
        return known

    # The text that scenarios share.

    async def start(self, message: str = "", *, without: Iterable[str] = (), raw: bool = False) -> RoundTrip:
        """Send a text to the phone, and return the send, delivered or not.

        Args:
            message: the message; empty: that of the settings
            without: headers to leave out
            raw: whether the body goes out in UTF-8 instead of ASCII escapes
        """
        if not self.hooks.arrived and self.hooks.misses >= _MANY_LOST:
            raise BlockedError(f"none of {self.hooks.misses} texts arrived, so no more are sent")
        message = message or self.message()
        sent_at = time.time()
        body = {"phoneNumber": self.number, "message": message}
        trip = await self.ask("send-code", body, without=without, raw=raw)
        response, session = trip.response, self.session
        issued = authentication_id(response) if response is not None and response.status < 300 else None
        session.problem = _problem(trip)
        if issued is not None:
            if session.trip is not None and session.code is not None:
                session.old = session.authentication_id, session.code
            was_closed = session.closed or session.state == "closed"
            session.closed = was_closed and self.state.numbers.get(session.authentication_id) == self.number
            trip = self._amended(trip, delivery=Delivery(self.number, message, sent_at=sent_at))
            session.trip, session.authentication_id, session.message = trip, issued, message
            session.code, session.state, session.wrong, session.tried = None, "live", 0, set()
        return trip

    async def live(self) -> TextSession:
        """Return a text whose id is live; text the phone if there is none.

        Raises:
            BlockedError: no text was sent
        """
        session = self.session
        if session.problem:
            raise BlockedError(session.problem)
        if session.trip is None or session.state != "live":
            self.need_sent(await self.start())
        elif session.trip not in self.trips:
            self.trips.append(session.trip)
        return session

    def need_sent(self, trip: RoundTrip) -> None:
        """Stop if a send was not answered with an id.

        Args:
            trip: the send

        Raises:
            BlockedError: it was not
        """
        problem = _problem(trip)
        if problem:
            raise BlockedError(problem)

    async def code(self) -> str:
        """Return the code of the text; read it if that was not done yet.

        Raises:
            BlockedError: it cannot be read
        """
        session = self.session
        if session.code is not None:
            return session.code
        trip = session.trip
        assert trip is not None  # noqa: S101  (every caller has a live text)
        try:
            received = await self.hooks.text(self.number, session.message, session.authentication_id)
        except (HookError, NoTextError) as error:
            self._deliver(Found(""), str(error), is_lost=isinstance(error, NoTextError))
            raise BlockedError(str(error)) from None
        self._deliver(received)
        session.code = received.code
        self.state.conceal(received.code, "<code>")
        self.state.codes[session.authentication_id] = received.code
        if not received.code.strip() or contract.LABEL in received.code:
            raise BlockedError("the text holds no code")
        return received.code

    def _deliver(self, received: Found, problem: str = "", *, is_lost: bool = False) -> None:
        trip = self.session.trip
        assert trip is not None  # noqa: S101
        assert trip.delivery is not None  # noqa: S101
        delivery = attrs.evolve(
            trip.delivery,
            code=None if problem else received.code,
            text=received.text,
            copies=received.copies,
            problem=problem,
            is_lost=is_lost,
        )
        self.session.trip = self._amended(trip, delivery=delivery)

    @property
    def max_try(self) -> int | None:
        """Return the wrong code that closes an id, as far as it is known."""
        return self.settings.limits.max_try or self.state.max_try

    async def try_right(self, **how: Any) -> RoundTrip:
        """Validate the right code of the live id.

        Args:
            how: for `ask`
        """
        session = self.session
        trip = await self.validate(session.authentication_id, await self.code(), tried="right", **how)
        if trip.response is not None and trip.response.status < 300:
            session.state = "used"
        return trip

    async def try_wrong(self, wrong: object, *, guess: str = "", body: JSONObject | None = None) -> RoundTrip:
        """Validate a wrong code for the live id, and keep track of what becomes of the id.

        Args:
            wrong: the code
            guess: how it was made
            body: the whole body, for a wrong id
        """
        session = self.session
        whole = body or {"authenticationId": session.authentication_id, "code": wrong}
        trip = await self.ask("validate-code", whole, tried="wrong", guess=guess)
        session.wrong += 1
        session.tried |= {wrong} if isinstance(wrong, str) else set()
        response = trip.response
        if response is not None and response.status < 300:
            session.state = "used"
        elif response is not None and code_of(response) in _CLOSED:
            session.state = "closed"
            if code_of(response) == contract.FAILED:
                self.state.max_try = session.wrong
        return trip

    def wrong_codes(self, code: str, count: int) -> list[str]:
        """Return so many different wrong codes of the form of a code, most telling first, that were not tried yet.

        Args:
            code: the right code of the live id
            count: how many
        """
        # No more than are tried for sure: an id may close early.
        guesses = self.state.take_guesses(self.material(code), min(count, self.max_try or 1), plain=True)
        made = [body["code"] for _, body in guesses]
        more = wrong_codes(code, 2 * count + len(self.session.tried))
        return [wrong for wrong in dict.fromkeys((*made, *more)) if wrong not in self.session.tried][:count]

    async def spend_tries(self, keep: int = 0) -> None:
        """Use the tries that the live id has left for wrong codes and ids that were not tried yet.

        Args:
            keep: how many tries to leave
        """
        session = self.session
        limit = self.max_try
        count = (1 if limit is None else limit - 1) - session.wrong - keep
        code = await self.code()
        for guess, body in self.state.take_guesses(self.material(code), max(0, count)):
            trip = await self.try_wrong(body["code"], guess=guess.name, body=body)
            self.judge_guess(guess, trip)
            if session.state != "live":
                return

    def material(self, code: str) -> Material:
        """Return what guesses are made from.

        Args:
            code: the right code of the live id
        """
        session = self.session
        others = [other for owner, other in self.state.codes.items() if owner != session.authentication_id]
        same_length = [other for other in others if other != code]
        return Material(session.authentication_id, code, same_length[-1] if same_length else None)

    def judge_guess(self, guess: Guess, trip: RoundTrip) -> None:
        """Judge the response to a wrong code or id.

        Args:
            guess: how it was made
            trip: what came back
        """
        response = trip.response
        if response is not None and response.status < 300:
            self.state.accepts_wrong = self.state.accepts_wrong or guess.is_plain
            cause = "wrong-code-accepted" if self.state.accepts_wrong else guess.cause
            self.judge(trip, [found(cause, f"{guess.name}: accepted with {response.status}")])
        elif response is None or response.status >= 500:
            findings = against(INVALID_OTP, trip)
            self.judge(trip, [attrs.evolve(finding, text=f"{guess.name}: {finding.text}") for finding in findings])

    async def validate(self, authentication_id: str, code: object, **how: Any) -> RoundTrip:
        """Validate a code.

        Args:
            authentication_id: the id
            code: the code
            how: for `ask`
        """
        return await self.ask("validate-code", {"authenticationId": authentication_id, "code": code}, **how)

    async def expired(self) -> None:
        """Return when the code of the live text has expired.

        Raises:
            BlockedError: the hook failed
        """
        try:
            await self.hooks.expire(self.number, self.session.authentication_id)
        except HookError as error:
            raise BlockedError(str(error)) from None

    # Judging.

    def expect(self, expect: Expectation, trip: RoundTrip) -> None:
        """Judge a response.

        Args:
            expect: what must have come back
            trip: what came back

        Raises:
            BlockedError: a limit of the operator was met, which says nothing about what is expected
        """
        # Without a good token, no limit of a phone may show.
        is_refused = trip.response is not None and (expect.status != 401 or trip.response.status == 429)
        limit = self.limit(trip, expect) if is_refused else ""
        if limit:
            raise BlockedError(limit)
        self.judge(trip, against(expect, trip))

    def limit(self, trip: RoundTrip, expect: Expectation | None = None) -> str:
        """Return which limit of the operator a response reports, or an empty text; judge one that is met too early.

        Args:
            trip: what came back
            expect: what should have come back
        """
        response = trip.response
        limit = limit_met(response, expect) if response is not None else ""
        told, had = self.settings.limits.max_send, self.state.sends.get(self.number, 0)
        is_for_number = response is not None and code_of(response) == contract.MAX_CODES
        is_send = trip.request.operation == "send-code" and self.number not in self.state.uncertain
        if limit and is_for_number and is_send and told is not None and had + 1 < told:
            text = f"send {had + 1} to a phone was refused; {told - 1} are allowed"
            self.judge(trip, [found("send-limit-early", text)])
        return limit

    def expect_right(self, trip: RoundTrip, cause: str = "right-code-refused", context: str = "") -> bool:
        """Judge the response to a right code, and tell whether it was accepted.

        Args:
            trip: what came back
            cause: the cause if it was refused
            context: what came before, for the finding

        Raises:
            BlockedError: a limit of the operator was met
        """
        limit = self.limit(trip)
        if limit:
            raise BlockedError(limit)
        response = trip.response
        if response is None or response.status < 400 or response.status >= 500 or response.status == 401:
            findings = against(VALID, trip)
        else:
            text = f"the right code was refused with {said(response)}{context}"
            if self.settings.read is not None and self.settings.read.how == "ask":
                text += "; or was it mistyped? Then run this scenario again, with --only"
            is_lock = cause == "phone-locked" and code_of(response) == contract.EXPIRED
            usual = self.state.refuses_right or is_lock
            findings = [found("right-code-refused" if usual else cause, text, said=said(response))]
            self.state.refuses_right = self.state.refuses_right or cause == "right-code-refused"
        self.judge(trip, findings)
        return not findings

    def judge(self, trip: RoundTrip, findings: Iterable[Finding]) -> None:
        """Record the deviations that a response shows.

        Args:
            trip: what came back
            findings: the deviations
        """
        made = list(findings)
        if made:
            self.judged |= {at for at, other in enumerate(self.trips) if other is trip}
        self.findings.extend(made)

    def never_issued(self) -> str:
        """Return an id that no operator has issued."""
        return str(uuid.uuid4())


def _problem(trip: RoundTrip) -> str:
    """Return why a send brought no id, or an empty text."""
    response = trip.response
    if response is None:
        return f"the send that comes first got no response: {trip.failure}"
    limit = limit_met(response)
    if limit:
        return limit
    if response.status >= 300:
        return f"the send that comes first was refused: {said(response)}"
    is_missing = authentication_id(response) is None
    return f"the send that comes first went wrong: {said(response)} without authenticationId" if is_missing else ""
