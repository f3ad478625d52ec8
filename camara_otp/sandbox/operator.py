"""The operator's rules for one-time codes as a state machine: no clock, no network, no lock, no framework.

Every decision takes the time as an argument, so a test can walk through a code's whole life in no time at all.
One live verification per number, each for single use, with a lifetime and a limited number of wrong tries.

Source: CAMARA one-time-password-sms 1.0.0 to 1.1.1, the published test definitions.
"""

import uuid
from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import StrEnum
from random import Random

import attrs

from camara_otp.sandbox import catalogue
from camara_otp.sandbox.config import Config
from camara_otp.sandbox.rules import LABEL


class State(StrEnum):
    """The state of a verification."""

    WAITING = "waiting"
    VERIFIED = "verified"
    EXPIRED = "expired"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class Denial(StrEnum):
    """The reasons for which the operator refuses, as CAMARA codes."""

    FOREIGN = catalogue.NOT_FOUND
    UNKNOWN_ID = "unknown authenticationId"
    NOT_ALLOWED = catalogue.PHONE_NUMBER_NOT_ALLOWED
    BLOCKED = catalogue.PHONE_NUMBER_BLOCKED
    TOO_MANY_SENDS = catalogue.MAX_OTP_CODES_EXCEEDED
    WRONG = catalogue.INVALID_OTP
    EXPIRED = catalogue.VERIFICATION_EXPIRED
    FAILED = catalogue.VERIFICATION_FAILED


@attrs.define(eq=False)
class Verification:
    """One text message, and the state of the code in it."""

    authentication_id: str = attrs.field(repr=False)
    phone_number: str = attrs.field(repr=False)
    template: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    code: str = attrs.field(repr=False)
    sent_at: float
    expires_at: float
    x_correlator: str | None
    version: int
    wrong_tries: int = 0
    settled: State | None = None

    def state(self, now: float) -> State:
        """Return the state at a time; a verification that is settled does not expire."""
        if self.settled is not None:
            return self.settled
        return State.EXPIRED if now >= self.expires_at else State.WAITING


@attrs.define(eq=False)
class _Phone:
    """The sends to one phone number and its verifications, oldest first."""

    sends: deque[float]
    verifications: deque[Verification] = attrs.field(factory=deque[Verification])


class Operator:
    """Decides on sends and checks by the rules of the configuration; it stores a bounded number of verifications.

    Times are in seconds. The numbers of the versions grow; a verification has the one of its last change.
    """

    def __init__(self, config: Config, random: Random, versions: Iterator[int]) -> None:
        """Start without verifications."""
        self._config = config
        self._random = random
        self._versions = versions
        self._phones: dict[str, _Phone] = {}
        self._by_id: OrderedDict[str, Verification] = OrderedDict()
        self.sent: int = 0

    def find(self, authentication_id: str) -> Verification | None:
        """Return the verification with this id, or None if it was never issued or was dropped."""
        return self._by_id.get(authentication_id)

    def verifications(self, phone_number: str | None = None) -> Iterator[Verification]:
        """Yield the verifications of one number, or of all, oldest first."""
        if phone_number is None:
            yield from self._by_id.values()
        elif phone := self._phones.get(phone_number):
            yield from phone.verifications

    def newest(self, phone_number: str) -> Verification | None:
        """Return the newest verification of a number, or None."""
        phone = self._phones.get(phone_number)
        return phone.verifications[-1] if phone and phone.verifications else None

    def send_code(
        self, phone_number: str, template: str, now: float, *, x_correlator: str | None = None
    ) -> Verification | Denial:
        """Send a new code to a number, which supersedes its earlier verification, or refuse."""
        refusal = self._special(phone_number)
        if refusal is not None:
            return refusal
        phone = self._phones.get(phone_number)
        if phone is None:
            # Only the sends that can still count are kept.
            phone = self._phones[phone_number] = _Phone(deque(maxlen=self._config.max_send - 1))
        # The max_send-th send inside the window is the one refused.
        full = len(phone.sends) == self._config.max_send - 1
        if full and (not phone.sends or now < phone.sends[0] + self._config.send_window):
            if not phone.verifications:
                del self._phones[phone_number]
            return Denial.TOO_MANY_SENDS
        phone.sends.append(now)
        if phone.verifications and phone.verifications[-1].state(now) is State.WAITING:
            self._settle(phone.verifications[-1], State.SUPERSEDED)
        verification = self._issue(phone_number, template, now, x_correlator)
        phone.verifications.append(verification)
        self._by_id[verification.authentication_id] = verification
        self.sent += 1
        self._forget(phone)
        return verification

    def validate_code(self, authentication_id: str, code: str, now: float) -> Verification | Denial:
        """Accept the right code once, or refuse and count."""
        verification = self._by_id.get(authentication_id)
        if verification is None:
            return Denial.UNKNOWN_ID
        state = verification.state(now)
        if state is State.FAILED:
            return Denial.FAILED
        if state is not State.WAITING:
            return Denial.EXPIRED
        if code == verification.code:
            self._settle(verification, State.VERIFIED)
            return verification
        verification.wrong_tries += 1
        # The max_try-th wrong code is the one that closes the verification.
        if verification.wrong_tries >= self._config.max_try:
            self._settle(verification, State.FAILED)
            return Denial.FAILED
        verification.version = next(self._versions)
        return Denial.WRONG

    def _special(self, phone_number: str) -> Denial | None:
        config = self._config
        if phone_number in config.foreign_numbers:
            return Denial.FOREIGN
        if phone_number in config.unreachable_numbers or phone_number in config.landline_numbers:
            return Denial.NOT_ALLOWED
        if phone_number in config.blocked_numbers:
            return Denial.BLOCKED
        return None

    def _settle(self, verification: Verification, state: State) -> None:
        verification.settled = state
        verification.version = next(self._versions)

    def _issue(self, phone_number: str, template: str, now: float, x_correlator: str | None) -> Verification:
        code = self._code()
        return Verification(
            authentication_id=str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            phone_number=phone_number,
            template=template,
            text=template.replace(LABEL, code),
            code=code,
            sent_at=now,
            expires_at=now + self._config.code_lifetime,
            x_correlator=x_correlator,
            version=next(self._versions),
        )

    def _code(self) -> str:
        """Draw one number and write it in the alphabet: one draw is much cheaper than one per character."""
        alphabet, length = self._config.code_alphabet, self._config.code_length
        number = self._random.randrange(len(alphabet) ** length)
        characters: list[str] = []
        for _ in range(length):
            number, index = divmod(number, len(alphabet))
            characters.append(alphabet[index])
        return "".join(characters)

    def _forget(self, phone: _Phone) -> None:
        """Drop the oldest beyond the limits: of this number first, then of all."""
        if len(phone.verifications) > self._config.keep_per_number:
            del self._by_id[phone.verifications.popleft().authentication_id]
        if len(self._by_id) > self._config.keep_total:
            _, oldest = self._by_id.popitem(last=False)
            other = self._phones[oldest.phone_number]
            other.verifications.popleft()
            if not other.verifications:
                del self._phones[oldest.phone_number]
