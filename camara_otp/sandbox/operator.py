"""The operator's rules for one-time codes: limits of sends and tries, lifetime, single use.

A state machine without clock, network, lock or framework.

Every decision takes the time as an argument. A number has one valid code, for single use, with a lifetime and a limited
number of wrong tries.

Source: CAMARA one-time-password-sms 1.0.0 to 1.1.1, the published test definitions.
"""

import uuid
from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import StrEnum
from random import Random
from typing import Any

import attrs

from camara_otp.sandbox.config import Config
from camara_otp.sandbox.spec import LABEL, full_code


class State(StrEnum):
    """The state of a verification."""

    WAITING = "waiting"
    VERIFIED = "verified"
    EXPIRED = "expired"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@attrs.frozen
class Message:
    """An SMS that a phone in the sandbox received.

    Args:
        phone_number: the phone
        text: the message
        code: the code in the SMS
        authentication_id: the id in the response to the send
        x_correlator: the correlator of the send
        sent_at: the time of sending, in seconds since 1970, by the sandbox's clock
        expires_at: the time at which the code expires
        state: waiting, verified, expired, failed or superseded
        tries_left: the number of wrong codes that closes it
        template: the message that the client sent, with the label
    """

    phone_number: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    code: str = attrs.field(repr=False)
    authentication_id: str = attrs.field(repr=False)
    x_correlator: str | None
    sent_at: float
    expires_at: float
    state: State
    tries_left: int
    template: str = attrs.field(repr=False)


class RefusedError(Exception):
    """The API refuses a request, with an error code and perhaps a sentence other than the usual one."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(code)
        self.code: str = full_code(code)
        self.message = message


@attrs.define(eq=False)
class _Verification:
    """A message and the version of its last change."""

    message: Message
    version: int

    def at(self, now: float) -> Message:
        """Return the message as it is at a time: a code that is still waiting expires."""
        expired = self.message.state is State.WAITING and now >= self.message.expires_at
        return attrs.evolve(self.message, state=State.EXPIRED) if expired else self.message


@attrs.define(eq=False)
class _Phone:
    """The verifications of one phone number, and the times of the sends that count toward its limit; oldest first."""

    sends: deque[float]
    verifications: deque[_Verification] = attrs.field(factory=deque[_Verification])


class Operator:
    """Decides on sends and checks by the rules of the configuration; it stores a bounded number of messages.

    Times are in seconds. Each change of a message takes the next version.
    """

    def __init__(self, config: Config, random: Random, versions: Iterator[int]) -> None:
        self._config = config
        self._refused = {
            config.rules.foreign_number: config.foreign_numbers,
            "PHONE_NUMBER_NOT_ALLOWED": config.unreachable_numbers | config.landline_numbers,
            "PHONE_NUMBER_BLOCKED": config.blocked_numbers,
        }
        self._random = random
        self._versions = versions
        self._phones: dict[str, _Phone] = {}
        self._by_id: OrderedDict[str, _Verification] = OrderedDict()
        self.sent: int = 0

    def find(self, authentication_id: str) -> Message | None:
        """Return the message with this id, or None if it was never issued or was dropped."""
        found = self._by_id.get(authentication_id)
        return found.message if found else None

    def messages(self, now: float, phone_number: str | None = None, *, since: int = -1) -> list[Message]:
        """Return the messages of one number, or of all, that changed after a version, oldest first."""
        phone = self._phones.get(phone_number or "")
        items = self._by_id.values() if phone_number is None else phone.verifications if phone else ()
        return [item.at(now) for item in items if item.version > since]

    def send_code(self, phone_number: str, template: str, now: float, *, x_correlator: str | None = None) -> Message:
        """Send a new code to a number, which supersedes its earlier one, or raise RefusedError."""
        for code, numbers in self._refused.items():
            if phone_number in numbers:
                raise RefusedError(code)
        # The max_send-th send inside the window is the one refused.
        limit = self._config.max_send - 1
        phone = self._phones.get(phone_number) or _Phone(deque(maxlen=limit))
        if len(phone.sends) == limit and (not limit or now < phone.sends[0] + self._config.send_window):
            raise RefusedError("MAX_OTP_CODES_EXCEEDED")
        self._phones[phone_number] = phone
        phone.sends.append(now)
        if phone.verifications and phone.verifications[-1].at(now).state is State.WAITING:
            self._change(phone.verifications[-1], state=State.SUPERSEDED)
        code = self._code()
        message = Message(
            phone_number=phone_number,
            text=template.replace(LABEL, code),
            code=code,
            authentication_id=str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            x_correlator=x_correlator,
            sent_at=now,
            expires_at=now + self._config.code_lifetime,
            state=State.WAITING,
            tries_left=self._config.max_try,
            template=template,
        )
        verification = _Verification(message, next(self._versions))
        phone.verifications.append(verification)
        self._by_id[message.authentication_id] = verification
        self.sent += 1
        self._forget(phone)
        return message

    def validate_code(self, authentication_id: str, code: str, now: float) -> Message:
        """Accept the right code once, or count a wrong one and raise RefusedError."""
        verification = self._by_id.get(authentication_id)
        if verification is None:
            raise RefusedError(self._config.unknown_id)
        message = verification.at(now)
        if message.state is State.FAILED:
            raise RefusedError("VERIFICATION_FAILED")
        if message.state is not State.WAITING:
            raise RefusedError("VERIFICATION_EXPIRED")
        if code == message.code:
            return self._change(verification, state=State.VERIFIED)
        if message.tries_left > 1:
            self._change(verification, tries_left=message.tries_left - 1)
            raise RefusedError("INVALID_OTP")
        self._change(verification, tries_left=0, state=State.FAILED)
        raise RefusedError("VERIFICATION_FAILED")

    def _change(self, verification: _Verification, **changes: Any) -> Message:
        verification.message = attrs.evolve(verification.message, **changes)
        verification.version = next(self._versions)
        return verification.message

    def _code(self) -> str:
        return "".join(self._random.choices(self._config.code_alphabet, k=self._config.code_length))

    def _forget(self, phone: _Phone) -> None:
        """Drop the oldest messages beyond the limits: of this number first, then of all."""
        if len(phone.verifications) > self._config.keep_per_number:
            del self._by_id[phone.verifications.popleft().message.authentication_id]
        if len(self._by_id) > self._config.keep_total:
            _, oldest = self._by_id.popitem(last=False)
            other = self._phones[oldest.message.phone_number]
            other.verifications.popleft()
            if not other.verifications:
                del self._phones[oldest.message.phone_number]
