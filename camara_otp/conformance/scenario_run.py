"""One run of one scenario: its requests, the SMS that it shares with other scenarios, and its findings."""

import json
import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from camara_otp.conformance import contract
from camara_otp.conformance.causes import found
from camara_otp.conformance.check import Check, TextSession
from camara_otp.conformance.guesses import Guess, Material, wrong_codes
from camara_otp.conformance.hooks import NoTextError
from camara_otp.conformance.judge import INVALID_OTP, VALID, Expectation, against, limit_met
from camara_otp.conformance.model import (
    BlockedError,
    Delivery,
    Finding,
    JSONObject,
    Operation,
    RoundTrip,
    SentRequest,
    Tried,
)
from camara_otp.conformance.settings import Settings

_MANY_LOST: Final = 3


@attrs.define(eq=False)
class ScenarioRun:
    """One run of one scenario.

    Args:
        check: the check
        operation: the operation that the scenario is about
        due: the response that the scenario expects
        number: the phone
        session: the SMS that this scenario shares with others
        has_text: whether the plan gives it an SMS
        trips: its requests with their responses, in order
        judged: those that show a deviation
        findings: the deviations
    """

    check: Check
    operation: Operation
    due: Expectation
    number: str
    session: TextSession
    has_text: bool
    trips: list[RoundTrip] = attrs.field(factory=list[RoundTrip])
    judged: list[RoundTrip] = attrs.field(factory=list[RoundTrip])
    findings: list[Finding] = attrs.field(factory=list[Finding])

    @property
    def settings(self) -> Settings:
        """Return the settings of the check."""
        return self.check.settings

    @property
    def max_try(self) -> int | None:
        """Return which wrong code closes an id, as far as it is known."""
        return self.settings.limits.max_try or self.check.max_try

    @property
    def can_read(self) -> bool:
        """Return whether the plan gives the scenario an SMS that a hook can read."""
        return self.has_text and self.settings.read is not None

    # Requests.

    def message(self, template: str = "") -> str:
        """Return the message with `{ref}` replaced by a random number of five digits, so that two are rarely equal."""
        return (template or self.settings.message).replace("{ref}", str(secrets.randbelow(90000) + 10000))

    def body(self) -> JSONObject:
        """Return a well-formed body of the scenario's operation; the id of a validation was never issued."""
        if self.operation == "send-code":
            return {"phoneNumber": self.number, "message": self.message()}
        return {"authenticationId": str(uuid.uuid4()), "code": "1234"}

    async def ask(
        self,
        body: Any,
        *,
        operation: Operation | None = None,
        method: str = "POST",
        path: str = "",
        token: str | None = None,
        without: Iterable[str] = (),
        headers: dict[str, str] | None = None,
        more: Sequence[tuple[str, str]] = (),
        upper: bool = False,
        raw: bool = False,
        tried: Tried = "",
    ) -> RoundTrip:
        """Send one request, valid or not, and return it with its response.

        Args:
            body: the body as JSON, as bytes, or None for none
            operation: the operation; None: that of the scenario
            method: the HTTP method
            path: another path than that of the operation
            token: an access token other than the good one
            without: headers to leave out
            headers: headers to replace, names in lower case
            more: headers to add
            upper: whether header names are sent in capital letters
            raw: whether the body is sent in UTF-8 instead of ASCII escapes
            tried: whether the code is right or wrong for a valid id
        """
        operation = operation or self.operation
        fields = {
            **{name.lower(): value for name, value in self.settings.headers.items()},
            "authorization": "" if "authorization" in without else f"Bearer {token or await self.check.token()}",
            "content-type": "application/json",
            "accept": "application/json",
            "x-correlator": str(uuid.uuid4()),
            **(headers or {}),
        }
        content = b"" if body is None else body
        if not isinstance(content, bytes):
            content = json.dumps(content, ensure_ascii=not raw).encode()
        kept = [(name, value) for name, value in fields.items() if name not in without]
        sent = tuple((name.upper() if upper else name, value) for name, value in (*kept, *more))
        url = f"{self.settings.root}{self.check.api_path}/{path or operation}"
        sent_at = time.time()
        trip = await self.check.post(SentRequest(operation, method, url, sent, content))
        trip.tried = tried
        self.trips.append(trip)
        self._remember(trip, sent_at)
        return trip

    def _remember(self, trip: RoundTrip, sent_at: float) -> None:
        code = trip.request.members.get("code")
        if isinstance(code, str):
            self.check.tried[code] = "<code>"
        if trip.request.operation != "send-code":
            return
        if trip.caused_sms or not (trip.is_accepted or 400 <= trip.status < 500):
            self.check.uncertain.add(self.number)
        elif trip.is_accepted:
            self.check.sends[self.number] = self.check.sends.get(self.number, 0) + 1
            issued, message = trip.issued_id, trip.request.members.get("message")
            if issued in self.check.deliveries:
                self.judge(trip, [found("id-not-unique", "two sends got the same authenticationId")])
            if issued:
                self.check.conceal(issued, "<authenticationId>")
                trip.delivery = Delivery(self.number, str(message), sent_at=sent_at, authentication_id=issued)
                self.check.deliveries[issued] = trip.delivery

    async def validate(self, authentication_id: str, code: object, **how: Any) -> RoundTrip:
        """Validate a code."""
        return await self.ask({"authenticationId": authentication_id, "code": code}, operation="validate-code", **how)

    # The SMS that scenarios share.

    async def start(self, message: str = "", **how: Any) -> RoundTrip:
        """Send an SMS to the phone, and return the send, delivered or not."""
        hooks, session = self.check.hooks, self.session
        if not hooks.arrived and hooks.misses >= _MANY_LOST:
            raise BlockedError(f"none of {hooks.misses} SMS arrived, so no more are sent")
        body = {"phoneNumber": self.number, "message": message or self.message()}
        trip = await self.ask(body, operation="send-code", **how)
        session.problem = _problem(trip)
        if trip.delivery is not None:
            session.old = self.sms if self.sms.code is not None else session.old
            session.closed = self.phone_was_closed
            session.trip = trip
        return trip

    @property
    def sms(self) -> Delivery:
        """Return the SMS of the session; a blank one if none was sent."""
        trip = self.session.trip
        return trip.delivery if trip is not None and trip.delivery is not None else Delivery("", "")

    @property
    def phone_was_closed(self) -> bool:
        """Return whether wrong codes closed the last id of the phone."""
        is_closed = self.session.closed or self.sms.state == "closed"
        return is_closed and self.sms.number == self.number

    async def live(self) -> Delivery:
        """Return an SMS whose id is valid; send one if there is none."""
        session = self.session
        if session.problem:
            raise BlockedError(session.problem)
        if session.trip is None or self.sms.state != "live":
            self.need_sent(await self.start())
        elif session.trip not in self.trips:
            self.trips.append(session.trip)
        return self.sms

    def need_sent(self, trip: RoundTrip) -> None:
        """Raise BlockedError if the response to a send has no id."""
        if problem := _problem(trip):
            raise BlockedError(problem)

    async def code(self) -> str:
        """Return the code of the SMS; read it if that was not done yet."""
        sms = self.sms
        if sms.code is None:
            try:
                received = await self.check.hooks.text(self.number, sms.message, sms.authentication_id)
            except NoTextError as error:
                sms.lost = str(error)
                raise
            sms.code, sms.text, sms.copies = received.code, received.text, received.copies
        if not sms.code.strip() or contract.LABEL in sms.code:
            raise BlockedError("the SMS contains no code")
        self.check.conceal(sms.code, "<code>")
        return sms.code

    async def live_code(self) -> str:
        """Return the code of a valid id; send an SMS if there is none."""
        await self.live()
        return await self.code()

    async def guessed_code(self) -> str:
        """Return the code of a valid id whose remaining tries were used for guesses; send an SMS if they closed it."""
        await self.live_code()
        await self.spend_tries()
        return await self.live_code()

    async def try_right(self, *, tried: Tried = "right", **how: Any) -> RoundTrip:
        """Validate the right code of the valid id."""
        trip = await self.validate(self.sms.authentication_id, await self.code(), tried=tried, **how)
        if trip.is_accepted:
            self.sms.state = "used"
        return trip

    async def try_wrong(self, wrong: object, body: JSONObject | None = None) -> RoundTrip:
        """Validate a wrong code for the valid id, or send a whole body with a wrong id; record the state of the id."""
        sms = self.sms
        body = body or {"authenticationId": sms.authentication_id, "code": wrong}
        trip = await self.ask(body, operation="validate-code", tried="wrong")
        sms.wrong += 1
        sms.tried |= {wrong} if isinstance(wrong, str) else set()
        if trip.is_accepted:
            sms.state = "used"
        elif trip.code in (contract.FAILED, contract.EXPIRED):
            sms.state = "closed"
            if trip.code == contract.FAILED:
                self.check.max_try = sms.wrong
        return trip

    def wrong_codes(self, code: str, count: int) -> list[str]:
        """Return up to a number of untried wrong codes in the form of a code, the most useful first."""
        # No more than are tried for sure: an id may close early.
        guesses = self.check.take_guesses(self._material(code), min(count, self.max_try or 1), plain=True)
        made = [body["code"] for _, body in guesses]
        more = wrong_codes(code, 2 * count + len(self.sms.tried))
        return [wrong for wrong in dict.fromkeys((*made, *more)) if wrong not in self.sms.tried][:count]

    async def spend_tries(self, keep: int = 0) -> None:
        """Use the tries of the valid id, except the last and `keep` more, for wrong codes and ids not tried yet."""
        limit = self.max_try
        count = (1 if limit is None else limit - 1) - self.sms.wrong - keep
        code = await self.code()
        for guess, body in self.check.take_guesses(self._material(code), max(0, count)):
            self._judge_guess(guess, await self.try_wrong(body["code"], body))
            if self.sms.state != "live":
                return

    def _material(self, code: str) -> Material:
        own = self.sms.authentication_id
        known = [sms.code for sms in self.check.deliveries.values() if sms.authentication_id != own and sms.code]
        others = [other for other in known if other != code]
        return Material(own, code, others[-1] if others else None)

    def _judge_guess(self, guess: Guess, trip: RoundTrip) -> None:
        if trip.is_accepted:
            self.check.accepts_wrong = self.check.accepts_wrong or guess.is_plain
            cause = "wrong-code-accepted" if self.check.accepts_wrong else guess.cause
            self.judge(trip, [found(cause, f"{guess.name}: accepted with {trip.status}")])
        elif trip.response is None or trip.status >= 500:
            findings = against(INVALID_OTP, trip)
            self.judge(trip, [attrs.evolve(finding, text=f"{guess.name}: {finding.text}") for finding in findings])

    # Judging.

    def expect(self, trip: RoundTrip, expect: Expectation | None = None, **changes: Any) -> None:
        """Judge a response by `expect`, or by the expectation of the scenario, with changes.

        Raises:
            BlockedError: the response reports a limit of the operator, which says nothing about the scenario
        """
        expect = attrs.evolve(expect or self.due, **changes)
        # An operator may look at the number first; the number used without a phone has no owner.
        is_about_number = "PHONE_NUMBER" in (trip.code or "") or trip.code in ("NOT_FOUND", "IDENTIFIER_NOT_FOUND")
        if self.number == contract.FICTIONAL_NUMBER and expect.status in (400, 401) and is_about_number:
            raise BlockedError("the operator looks at the number first, and no phone is known: set numbers.reachable")
        # Without a good token, no limit of a phone may show.
        if expect.status != 401 or trip.status == 429:
            self.need_no_limit(trip, expect)
        self.judge(trip, against(expect, trip))

    def need_no_limit(self, trip: RoundTrip, expect: Expectation | None = None) -> None:
        """Raise BlockedError if a response reports a limit of the operator."""
        if limit := self.limit(trip, expect):
            raise BlockedError(limit)

    def limit(self, trip: RoundTrip, expect: Expectation | None = None) -> str:
        """Return which limit of the operator a response reports, or an empty string; judge one reached too early."""
        limit = limit_met(trip, expect)
        told, had = self.settings.limits.max_send, self.check.sends.get(self.number, 0)
        is_send = trip.request.operation == "send-code" and self.number not in self.check.uncertain
        if limit and trip.code == contract.MAX_CODES and is_send and told is not None and had + 1 < told:
            text = f"send {had + 1} to a phone was refused; {told - 1} are allowed"
            self.judge(trip, [found("send-limit-early", text)])
        return limit

    def expect_right(self, trip: RoundTrip, cause: str = "right-code-refused", context: str = "") -> bool:
        """Judge the response to a right code, and tell whether it was accepted; `cause` is that of a refusal."""
        self.need_no_limit(trip)
        if not 400 <= trip.status < 500 or trip.status == 401:
            findings = against(VALID, trip)
        else:
            text = f"the right code was refused with {trip.said}{context}"
            if self.settings.read is not None and self.settings.read.how == "ask":
                text += "; or was it mistyped? Then run this scenario again, with --only"
            is_lock = cause == "phone-locked" and trip.code == contract.EXPIRED
            usual = self.check.refuses_right or is_lock
            findings = [found("right-code-refused" if usual else cause, text, said=trip.said)]
            self.check.refuses_right = self.check.refuses_right or cause == "right-code-refused"
        self.judge(trip, findings)
        return not findings

    def judge(self, trip: RoundTrip, findings: Iterable[Finding]) -> None:
        """Record the deviations that a response shows."""
        made = list(findings)
        self.judged += [trip] if made else []
        self.findings += made


def _problem(trip: RoundTrip) -> str:
    """Return why a send returned no id, or an empty string."""
    if trip.response is None:
        return f"the send that comes first got no response: {trip.failure}"
    if limit := limit_met(trip):
        return limit
    if not trip.is_accepted:
        return f"the send that comes first was refused: {trip.said}"
    return "" if trip.issued_id else f"the send that comes first went wrong: {trip.said} without authenticationId"
