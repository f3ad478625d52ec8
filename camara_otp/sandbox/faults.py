"""Faults on demand, as data, and the list of those in force."""

import json
import re
from collections.abc import Mapping
from random import Random
from typing import Any, Final, Literal, cast

import attrs

from camara_otp.sandbox import catalogue
from camara_otp.sandbox.http import Headers, HTTPResponse, html_page
from camara_otp.sandbox.rules import OperationName, with_plus
from camara_otp.sandbox.validators import between, flag, is_whole, must, one_of, optional_text, whole

Drop = Literal["connect", "before", "after"]

MAX_FAULTS: Final = 1000
MAX_DELAY: Final = 600.0
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_VALUE = re.compile(r"([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,4000}[\x21-\x7e\x80-\xff])?)?")
# These belong to the framing of the answer; a wrong one would break the server's connection, not the client's.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "upgrade", "trailer"})


def _spelled(code: str | None) -> str | None:
    """Accept a code of this API without its prefix."""
    full = f"{catalogue.SPECIFIC}{code}"
    return full if full in catalogue.ERRORS else code


def _known_as(phone_number: str | None) -> str | None:
    if isinstance(phone_number, str) and phone_number[:1].isdecimal():
        return with_plus(phone_number)
    return phone_number


def _pairs(headers: Mapping[str, str] | Headers) -> Headers:
    """Read headers given as a table or as pairs; types are checked since faults also come as JSON."""
    pairs: Any = tuple(headers.items()) if isinstance(headers, Mapping) else headers
    if not isinstance(pairs, list | tuple) or not all(map(_is_pair, cast("list[object]", pairs))):
        raise ValueError("headers must be a table of strings")
    return tuple((name.lower(), value.strip(" \t")) for name, value in dict(cast("Headers", pairs)).items())


def _is_wait(value: Any) -> bool:
    return value is None or isinstance(value, str) or is_whole(value)


def _is_pair(value: object) -> bool:
    if not isinstance(value, list | tuple):
        return False
    parts = cast("list[object]", value)
    return len(parts) == 2 and all(isinstance(part, str) for part in parts)


@attrs.frozen(kw_only=True)
class Fault:
    """A fault that replaces the correct response, or is added to it.

    Args:
        code: A CAMARA code, as `TOO_MANY_REQUESTS` or `INVALID_OTP`, with its documented status.
        status: The HTTP status, 200 to 599, instead of the code's own.
        message: The sentence in the error, instead of the usual one.
        body: A body of your own instead of a CAMARA error.
        content_type: The type of that body; by default JSON if it is JSON, else plain text.
        html: Respond with the HTML page of a gateway, status 502 unless `status` is set.
        headers: Further headers of the response.
        retry_after: The value of a Retry-After header, in seconds or as an HTTP date.
        delay: Seconds by which the response is delayed, at most 600.
        drop: Break the connection: `connect` refuses it (over HTTP it is accepted and closed at once), `before` closes
            it before the operator acts, `after` closes it after the operator has acted.
        acts: Whether the operator acts on the request although the response is this fault.
        operation: `send-code` or `validate-code`, if only one of them.
        phone_number: Only requests that concern this number.
        times: The number of requests that it affects; None means until cleared.
        whole_call: Whether retries of an affected request, which have the same x-correlator, are affected too without
            counting, so that a client with retries fails as well.
        rate: The share of matching requests that it affects, 0 to 1.
    """

    code: str | None = attrs.field(default=None, converter=_spelled, validator=optional_text)
    status: int | None = attrs.field(default=None, validator=whole(200, 599, optional=True))
    message: str | None = attrs.field(default=None, validator=optional_text)
    body: str | None = attrs.field(default=None, repr=False, validator=optional_text)
    content_type: str | None = attrs.field(default=None, validator=optional_text)
    html: bool = attrs.field(default=False, validator=flag)
    headers: Headers = attrs.field(default=(), converter=_pairs)
    retry_after: int | str | None = attrs.field(default=None, validator=must("be a whole number or text", _is_wait))
    delay: float = attrs.field(default=0.0, validator=between(0, MAX_DELAY))
    drop: Drop | None = attrs.field(default=None, validator=one_of("connect", "before", "after", optional=True))
    acts: bool = attrs.field(default=False, validator=flag)
    operation: OperationName | None = attrs.field(
        default=None, validator=one_of("send-code", "validate-code", optional=True)
    )
    phone_number: str | None = attrs.field(default=None, converter=_known_as, validator=optional_text, repr=False)
    times: int | None = attrs.field(default=None, validator=whole(1, 10**9, optional=True))
    rate: float = attrs.field(default=1.0, validator=between(0, 1))
    whole_call: bool = attrs.field(default=False, validator=flag)

    def __attrs_post_init__(self) -> None:
        """Check what concerns several fields."""
        values = [self.content_type or "", str(self.retry_after or ""), *(value for _, value in self.headers)]
        names = [name for name, _ in self.headers]
        if not all(map(_TOKEN.fullmatch, names)) or _FRAMING & {*names} or not all(map(_VALUE.fullmatch, values)):
            raise ValueError("headers must be well-formed and not about framing")
        if not (self.answers or self.delay or self.drop):
            raise ValueError("a fault needs a code, status, body, html, delay or drop")

    @property
    def answers(self) -> bool:
        """Tell whether this fault has a response of its own."""
        return self.code is not None or self.status is not None or self.body is not None or self.html

    @property
    def lets_act(self) -> bool:
        """Tell whether the operator acts on the request nevertheless."""
        if self.drop is not None:
            return self.drop == "after"
        return self.acts or not self.answers

    @property
    def error(self) -> tuple[str | None, str | None]:
        """The CAMARA code and the sentence of the response; for other responses, those of the fault."""
        if not self._is_error:
            return self.code, self.message
        fitting = (code for code, (status, _) in catalogue.ERRORS.items() if status == self._status)
        _, sentence = catalogue.ERRORS.get(self.code or "", (0, "A fault that was asked for."))
        return self.code or next(fitting, "UNKNOWN"), self.message or sentence

    @property
    def _is_error(self) -> bool:
        return not self.html and self.body is None and (self.code is not None or self._status >= 400)

    @property
    def _status(self) -> int:
        usual, _ = catalogue.ERRORS.get(self.code or "", (500, ""))
        return self.status or (502 if self.html else usual)

    def answer(self, correlator: Headers) -> HTTPResponse:
        """Return the response."""
        status = self._status
        headers: dict[str, str] = {}
        if self.html:
            content, kind = html_page(status, self.message or "Bad Gateway"), "text/html"
        elif self.body is not None:
            content, kind = (
                self.body.encode(errors="replace"),
                "application/json" if _is_json(self.body) else "text/plain",
            )
        elif not self._is_error:
            content, kind = b"", None
        else:
            code, message = self.error
            info = {"status": status, "code": code, "message": message}
            content, kind = json.dumps(info, separators=(",", ":")).encode(), "application/json"
        if status in (204, 304):
            content, kind = b"", None
        if self.content_type or kind:
            headers["content-type"] = self.content_type or kind or ""
        headers.update(correlator)
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        headers.update(self.headers)
        return HTTPResponse(status, tuple(headers.items()), content)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


@attrs.define
class ActiveFault:
    """A fault in force, and the number of requests that it still affects."""

    number: int
    fault: Fault
    left: int | None


class FaultBook:
    """The faults in force, in the order they were added: the first that matches a request applies."""

    def __init__(self, random: Random) -> None:
        """Start empty.

        Args:
            random: Decides for faults with a rate.
        """
        self._random = random
        self._entries: list[ActiveFault] = []
        self._last_calls: dict[int, str | None] = {}
        self._count = 0

    def add(self, fault: Fault) -> int:
        """Add a fault and return its number.

        Raises:
            ValueError: There are a thousand faults already; clear some.
        """
        if len(self._entries) >= MAX_FAULTS:
            raise ValueError(f"there are {MAX_FAULTS} faults already; clear some first")
        self._count += 1
        self._entries.append(ActiveFault(self._count, fault, fault.times))
        return self._count

    def remove(self, number: int) -> bool:
        """Remove a fault; return whether it was in force."""
        before = len(self._entries)
        self._last_calls.pop(number, None)
        self._entries = [entry for entry in self._entries if entry.number != number]
        return len(self._entries) < before

    def clear(self) -> None:
        """Remove all faults."""
        self._entries.clear()
        self._last_calls.clear()

    def __len__(self) -> int:
        """Return the number of faults."""
        return len(self._entries)

    def entries(self) -> list[ActiveFault]:
        """Return the faults in force, oldest first."""
        return [attrs.evolve(entry) for entry in self._entries if entry.left != 0]

    def strike(
        self, operation: OperationName, phone_number: str | None, x_correlator: str | None = None
    ) -> Fault | None:
        """Return the fault that applies to a request, or None, and count it."""
        for entry in tuple(self._entries):
            fault = entry.fault
            if x_correlator is not None and self._last_calls.get(entry.number) == x_correlator:
                return fault
            if entry.left == 0:
                # It is used up, and stayed only for the retries of its last call.
                self.remove(entry.number)
                continue
            if fault.operation not in (None, operation) or fault.phone_number not in (None, phone_number):
                continue
            if fault.rate < 1 and self._random.random() >= fault.rate:
                continue
            if entry.left is not None:
                entry.left -= 1
            if fault.whole_call:
                self._last_calls[entry.number] = x_correlator
            return fault
        return None
