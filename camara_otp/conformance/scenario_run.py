"""What a scenario does: well-formed requests, wrong ones, codes from phones, and the judging of answers."""

import json
import secrets
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, cast

import attrs

from camara_otp.conformance.hooks import HookError, Hooks
from camara_otp.conformance.judge import Expectation, against, authentication_id, said
from camara_otp.conformance.model import Finding, Operation, RoundTrip, SentRequest
from camara_otp.conformance.settings import Settings

Post = Callable[[SentRequest], Awaitable[RoundTrip]]
Token = Callable[[], Awaitable[str]]


_MISTYPED: Final = "Or was the code mistyped? Then run this scenario again, with --only."


class BlockedError(Exception):
    """A scenario that cannot go on, through no fault that it is about; the text says why."""


@attrs.frozen
class Sent:
    """A text that went out.

    Args:
        authentication_id: The id of the verification.
        message: The message, with the label.
        exchange: The request and the answer.
    """

    authentication_id: str = attrs.field(repr=False)
    message: str
    exchange: RoundTrip


@attrs.define(eq=False)
class ScenarioRun:
    """One performance of one scenario, and what it left behind.

    Args:
        settings: Those of the check.
        url: Where the operations are, without a trailing slash.
        number: The phone.
        post: Sends a request and records the exchange.
        token: Gives the access token.
        outside: Helps.
        sends: How many texts each phone received in this check; shared by all scenarios.
        secrets: Texts that must not be shown; shared by all scenarios.
        side_by_side: Tells whether two requests can be on their way at the same moment.
        exchanges: What went over the wire, in order.
        judged: The places in `exchanges` of what was judged.
        findings: The deviations.
    """

    settings: Settings
    url: str
    number: str
    post: Post
    token: Token
    hooks: Hooks
    sends: dict[str, int]
    secrets: dict[str, str]
    side_by_side: Callable[[], bool]
    exchanges: list[RoundTrip] = attrs.field(factory=list[RoundTrip])
    judged: set[int] = attrs.field(factory=set[int])
    findings: list[Finding] = attrs.field(factory=list[Finding])

    def message(self) -> str:
        """Return a message that differs from every other one where it has room to."""
        return self.settings.message.replace("{ref}", str(secrets.randbelow(90000) + 10000))

    async def ask(
        self,
        operation: Operation,
        body: Any,
        *,
        method: str = "POST",
        token: str | None = None,
        without: Iterable[str] = (),
        headers: dict[str, str] | None = None,
    ) -> RoundTrip:
        """Send one request, right or wrong, and return what became of it.

        Args:
            operation: The operation.
            body: The body as JSON, as bytes, or None for none at all.
            method: The HTTP method.
            token: An access token other than the good one.
            without: Headers to leave out.
            headers: Headers to set instead of the usual ones, names in lower case.
        """
        fields = {
            **{name.lower(): value for name, value in self.settings.headers.items()},
            "authorization": "" if "authorization" in without else f"Bearer {token or await self.token()}",
            "content-type": "application/json",
            "accept": "application/json",
            "x-correlator": str(uuid.uuid4()),
            **(headers or {}),
        }
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kept = tuple((name, value) for name, value in fields.items() if name not in without)
        exchange = await self.post(SentRequest(operation, method, f"{self.url}/{operation}", kept, content))
        self._remember(exchange, body)
        return exchange

    def _remember(self, exchange: RoundTrip, body: Any) -> None:
        self.exchanges.append(exchange)
        if isinstance(body, dict):
            values = cast("dict[str, Any]", body)
            self._conceal(values.get("authenticationId"), "<authenticationId>")
            self._conceal(values.get("code"), "<code>")
        answer = exchange.response
        if exchange.request.operation == "send-code" and answer is not None and answer.status < 300:
            self.sends[self.number] = self.sends.get(self.number, 0) + 1
            self._conceal(authentication_id(answer), "<authenticationId>")

    def _conceal(self, value: Any, name: str) -> None:
        if isinstance(value, str) and value:
            self.secrets[value] = name

    async def sent(self) -> Sent:
        """Text the phone, as a step towards something else.

        Raises:
            BlockedError: No text went out.
        """
        message = self.message()
        exchange = await self.ask("send-code", {"phoneNumber": self.number, "message": message})
        answer = exchange.response
        found = authentication_id(answer) if answer is not None and answer.status < 300 else None
        if found is None:
            reason = exchange.failure or (said(answer) if answer else "")
            if answer is not None and answer.status < 300:
                reason += " without authenticationId"
            raise BlockedError(f"the send that comes first went wrong: {reason}")
        return Sent(found, message, exchange)

    async def code(self, sent: Sent) -> str:
        """Return the code that the phone received.

        Args:
            sent: The text.

        Raises:
            BlockedError: It cannot be read.
        """
        try:
            code = await self.hooks.code(self.number, sent.message, sent.authentication_id)
        except HookError as error:
            raise BlockedError(str(error)) from None
        self._conceal(code, "<code>")
        known = attrs.evolve(sent.exchange, code=code)
        at = next(index for index, exchange in enumerate(self.exchanges) if exchange is sent.exchange)
        self.exchanges[at] = known
        return code

    async def validate(self, authentication_id: str, code: str) -> RoundTrip:
        """Try a code.

        Args:
            authentication_id: The id.
            code: The code.
        """
        return await self.ask("validate-code", {"authenticationId": authentication_id, "code": code})

    async def expired(self, sent: Sent) -> None:
        """Return when a code has expired.

        Args:
            sent: The text.

        Raises:
            BlockedError: It cannot be made to.
        """
        try:
            await self.hooks.expire(self.number, sent.authentication_id)
        except HookError as error:
            raise BlockedError(str(error)) from None

    def expect(self, expect: Expectation, exchange: RoundTrip) -> None:
        """Judge an answer.

        Args:
            expect: What must have come back.
            exchange: What came back.
        """
        found = against(expect, exchange)
        read, answer = self.settings.read, exchange.response
        if found and read is not None and read.how == "ask" and answer is not None and "INVALID_OTP" in said(answer):
            found = [attrs.evolve(finding, advice=f"{finding.advice} {_MISTYPED}") for finding in found]
        self.judge(exchange, found)

    def judge(self, exchange: RoundTrip, findings: Iterable[Finding]) -> None:
        """Take note of what is wrong with an answer.

        Args:
            exchange: What came back.
            findings: The deviations.
        """
        self.judged.add(next(index for index, other in enumerate(self.exchanges) if other is exchange))
        self.findings.extend(findings)

    def never_issued(self) -> str:
        """Return an id that no operator has issued."""
        return str(uuid.uuid4())
