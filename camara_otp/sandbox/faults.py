"""Faults on demand: what shall go wrong, for whom and how often, as data; and the book that hands them out."""

import json
import re
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Final, Literal, cast

import attrs

from camara_otp.sandbox import catalogue
from camara_otp.sandbox.http import Headers, HTTPResponse, html_page
from camara_otp.sandbox.rules import OperationName, with_plus

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


def _is_pair(value: object) -> bool:
    if not isinstance(value, list | tuple):
        return False
    parts = cast("list[object]", value)
    return len(parts) == 2 and all(isinstance(part, str) for part in parts)


@attrs.frozen(kw_only=True)
class Fault:
    """Something that goes wrong instead of, or on top of, the right answer.

    Args:
        code: A CAMARA code, as `TOO_MANY_REQUESTS` or `INVALID_OTP`; brings its documented status along.
        status: The HTTP status, 200 to 599, if not the code's own.
        message: The sentence in the error, if not the usual one.
        body: A body of your own instead of a CAMARA error.
        content_type: The type of that body; by default JSON if it is JSON, else plain text.
        html: HTTPResponse with a gateway's HTML page (status 502 unless `status` says otherwise).
        headers: Further headers of the answer.
        retry_after: The value of a Retry-After header, in seconds or as an HTTP date.
        delay: Seconds to wait before answering, at most 600.
        drop: Break the connection: `connect` refuses it (over HTTP it is accepted and closed at once), `before` closes
            it before the operator acts, `after` closes it when the operator has acted.
        acts: Whether the operator acts on the request although the answer is this fault.
        operation: `send-code` or `validate-code`, if only one of them.
        phone_number: Only requests that concern this number.
        times: How many requests it strikes; None means until cleared.
        whole_call: Whether a struck request's repeats, known by their x-correlator, are struck too without counting, so
            that a client which repeats fails all the same.
        rate: The share of matching requests it strikes, 0 to 1.
    """

    code: str | None = attrs.field(default=None, converter=_spelled)
    status: int | None = None
    message: str | None = None
    body: str | None = attrs.field(default=None, repr=False)
    content_type: str | None = None
    html: bool = False
    headers: Headers = attrs.field(default=(), converter=_pairs)
    retry_after: int | str | None = None
    delay: float = 0.0
    drop: Drop | None = None
    acts: bool = False
    operation: OperationName | None = None
    phone_number: str | None = attrs.field(default=None, converter=_known_as, repr=False)
    times: int | None = None
    rate: float = 1.0
    whole_call: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse what no server could do."""
        for problem, wrong in _problems(self):
            if wrong:
                raise ValueError(problem)

    @property
    def answers(self) -> bool:
        """Tell whether this fault brings an answer of its own."""
        return self.code is not None or self.status is not None or self.body is not None or self.html

    @property
    def lets_act(self) -> bool:
        """Tell whether the operator acts on the request all the same."""
        if self.drop is not None:
            return self.drop == "after"
        return self.acts or not self.answers

    @property
    def error(self) -> tuple[str | None, str | None]:
        """The CAMARA code and the sentence that the answer holds; where it is no such error, what was asked for."""
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
        """Build the answer.

        Args:
            correlator: The x-correlator header that an answer to this request carries.
        """
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


def _problems(fault: Fault) -> Iterable[tuple[str, bool]]:
    """Yield every rule for a fault with whether it is broken; types are checked since faults also come as JSON."""
    texts = (fault.code, fault.message, fault.body, fault.content_type, fault.phone_number)
    yield "code, message, body, content_type and phone_number must be strings", not all(map(_is_text, texts))
    yield (
        "html, acts and whole_call must be true or false",
        not all(map(_is_flag, (fault.html, fault.acts, fault.whole_call))),
    )
    waits = fault.retry_after
    yield (
        "retry_after must be a whole number or a string",
        not (_is_text(waits) or (isinstance(waits, int) and not isinstance(waits, bool))),
    )
    yield "status must be a whole number from 200 to 599", not _within(fault.status, 200, 599, whole=True, none=True)
    yield "delay must be from 0 to 600 seconds", not _within(fault.delay, 0, MAX_DELAY)
    yield "rate must be from 0 to 1", not _within(fault.rate, 0, 1)
    yield "times must be a whole number of at least 1", not _within(fault.times, 1, 10**9, whole=True, none=True)
    yield "drop must be connect, before or after", fault.drop not in (None, "connect", "before", "after")
    yield "operation must be send-code or validate-code", fault.operation not in (None, "send-code", "validate-code")
    values = [fault.content_type or "", str(fault.retry_after or ""), *(value for _, value in fault.headers)]
    bad_header = any(not _TOKEN.fullmatch(name) or name in _FRAMING for name, _ in fault.headers)
    yield "headers must be well formed and not about framing", bad_header or not all(map(_VALUE.fullmatch, values))
    nothing = not (fault.answers or fault.delay or fault.drop)
    yield "a fault needs a code, status, body, html, delay or drop", nothing


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _within(value: Any, low: float, high: float, *, whole: bool = False, none: bool = False) -> bool:
    if value is None:
        return none
    return not isinstance(value, bool) and isinstance(value, int if whole else int | float) and low <= value <= high


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


@attrs.define
class ActiveFault:
    """A fault in the book and how many more requests it strikes."""

    number: int
    fault: Fault
    left: int | None


class FaultBook:
    """The faults in force, in the order they were added: the first one that fits a request strikes."""

    def __init__(self, random: Random) -> None:
        """Start empty.

        Args:
            random: Decides for faults that strike at a rate.
        """
        self._random = random
        self._entries: list[ActiveFault] = []
        self._last_calls: dict[int, str | None] = {}
        self._count = 0

    def add(self, fault: Fault) -> int:
        """Put a fault into force and return the number it can be taken back by.

        Raises:
            ValueError: There are a thousand already: clear some.
        """
        if len(self._entries) >= MAX_FAULTS:
            raise ValueError(f"there are {MAX_FAULTS} faults already; clear some first")
        self._count += 1
        self._entries.append(ActiveFault(self._count, fault, fault.times))
        return self._count

    def remove(self, number: int) -> bool:
        """Take a fault back; tell whether it was there."""
        before = len(self._entries)
        self._last_calls.pop(number, None)
        self._entries = [entry for entry in self._entries if entry.number != number]
        return len(self._entries) < before

    def clear(self) -> None:
        """Take all faults back."""
        self._entries.clear()
        self._last_calls.clear()

    def __len__(self) -> int:
        """Count what is in force."""
        return len(self._entries)

    def entries(self) -> list[ActiveFault]:
        """Return what is in force, oldest first."""
        return [attrs.evolve(entry) for entry in self._entries if entry.left != 0]

    def strike(
        self, operation: OperationName, phone_number: str | None, x_correlator: str | None = None
    ) -> Fault | None:
        """Return the fault that strikes a request, if any, and count it."""
        for entry in tuple(self._entries):
            fault = entry.fault
            if x_correlator is not None and self._last_calls.get(entry.number) == x_correlator:
                return fault
            if entry.left == 0:
                # It is spent, and stayed only for the repeats of its last call.
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
