"""Faults on demand, as data, and the list of those in force."""

import json
import re
from collections.abc import Mapping
from itertools import count
from random import Random
from typing import Any, Final, cast, get_args

import attrs
from attrs.validators import optional

from camara_otp.sandbox.http import Drop, Headers, HTTPResponse, error_response, html_page
from camara_otp.sandbox.spec import ERRORS, OperationName, full_code, with_plus
from camara_otp.sandbox.validators import any_text, between, flag, is_whole, must, one_of, whole

MAX_FAULTS: Final = 1000
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_VALUE: Final = re.compile(r"([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,4000}[\x21-\x7e\x80-\xff])?)?")
# A wrong header of the framing would break the server's connection, not the client's.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "upgrade", "trailer"})


# Faults also come as JSON. Values of a wrong type pass the converters unchanged, and the validators refuse them.


def _spelled(code: str | None) -> str | None:
    return full_code(code) if isinstance(code, str) else code


def _dialed(number: str | None) -> str | None:
    return with_plus(number) if isinstance(number, str) and number[:1].isdecimal() else number


def _pairs(headers: Mapping[str, str] | Headers) -> Headers:
    pairs: Any = list(headers.items()) if isinstance(headers, Mapping) else headers
    if not isinstance(pairs, list | tuple) or not all(map(_is_pair, cast("list[object]", pairs))):
        raise ValueError("headers: must be a table of strings")
    return tuple({name.lower(): value.strip(" \t") for name, value in cast("Headers", pairs)}.items())


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and [type(part) for part in cast("list[object]", value)] == [str, str]


def _is_value(value: Any) -> bool:
    return isinstance(value, str) and _VALUE.fullmatch(value) is not None


def _are_headers(pairs: Headers) -> bool:
    return all(_NAME.fullmatch(name) and name not in _FRAMING and _is_value(value) for name, value in pairs)


@attrs.frozen(kw_only=True)
class Fault:
    """A fault that replaces the correct response, or is added to it.

    Args:
        code: a CAMARA code, as `TOO_MANY_REQUESTS` or `INVALID_OTP`, with its documented status. Another code needs a
            `status`.
        status: the HTTP status, 200 to 599, instead of the code's own
        message: the sentence in the error, instead of the usual one
        body: a body of your own instead of a CAMARA error
        content_type: the type of that body; by default JSON if it is JSON, else plain text
        html: respond with the HTML page of a gateway, status 502 unless `status` is set
        headers: further headers of the response
        retry_after: the value of a Retry-After header, in seconds or as an HTTP date
        delay: seconds by which the response is delayed, at most 600
        drop: break the connection: `connect` refuses it (over HTTP it is accepted and closed at once), `before` closes
            it before the operator acts, `after` closes it after the operator has acted
        acts: whether the operator acts on the request although the response is this fault
        operation: `send-code` or `validate-code`, if only one of them
        phone_number: only requests that concern this number
        times: the number of requests that it affects; None means until cleared
        whole_call: whether retries of an affected request, which have the same x-correlator, are affected too without
            counting, so that a client with retries fails as well
        rate: the share of matching requests that it affects, 0 to 1
    """

    code: str | None = attrs.field(default=None, converter=_spelled, validator=optional(any_text))
    status: int | None = attrs.field(default=None, validator=optional(whole(200, 599)))
    message: str | None = attrs.field(default=None, validator=optional(any_text))
    body: str | None = attrs.field(default=None, repr=False, validator=optional(any_text))
    content_type: str | None = attrs.field(default=None, validator=optional(must("be a header value", _is_value)))
    html: bool = attrs.field(default=False, validator=flag)
    headers: Headers = attrs.field(
        default=(), converter=_pairs, validator=must("be well-formed, without those of the framing", _are_headers)
    )
    retry_after: int | str | None = attrs.field(
        default=None,
        validator=optional(must("be a whole number or a string", lambda value: is_whole(value) or _is_value(value))),
    )
    delay: float = attrs.field(default=0.0, validator=between(0, 600))
    drop: Drop | None = attrs.field(default=None, validator=optional(one_of(*get_args(Drop))))
    acts: bool = attrs.field(default=False, validator=flag)
    operation: OperationName | None = attrs.field(default=None, validator=optional(one_of(*get_args(OperationName))))
    phone_number: str | None = attrs.field(default=None, converter=_dialed, validator=optional(any_text), repr=False)
    times: int | None = attrs.field(default=None, validator=optional(whole(1, 10**9)))
    rate: float = attrs.field(default=1.0, validator=between(0, 1))
    whole_call: bool = attrs.field(default=False, validator=flag)

    def __attrs_post_init__(self) -> None:
        """Check the rules that concern several fields."""
        if not (self.answers or self.delay or self.drop):
            raise ValueError("a fault needs a code, status, body, html, delay or drop")
        if self.code is not None and self.code not in ERRORS and self.status is None:
            raise ValueError(f"code: must be one of {', '.join(ERRORS)}; any other code needs a status")

    @property
    def answers(self) -> bool:
        """Whether this fault has a response of its own."""
        return self.code is not None or self.status is not None or self.body is not None or self.html

    @property
    def lets_act(self) -> bool:
        """Whether the operator acts on the request nevertheless."""
        return self.drop == "after" if self.drop else self.acts or not self.answers

    @property
    def error(self) -> tuple[str | None, str | None]:
        """The CAMARA code and the sentence of the response; for other responses, those of the fault."""
        status = self._status
        if self.html or self.body is not None or (self.code is None and status < 400):
            return self.code, self.message
        fitting = (code for code, (usual, _) in ERRORS.items() if usual == status)
        _, sentence = ERRORS.get(self.code or "", (0, "A fault that was asked for."))
        return self.code or next(fitting, "UNKNOWN"), self.message or sentence

    @property
    def _status(self) -> int:
        usual, _ = ERRORS.get(self.code or "", (500, ""))
        return self.status or (502 if self.html else usual)

    def answer(self, correlator: Headers) -> HTTPResponse:
        """Return the response."""
        status, (code, message) = self._status, self.error
        kind, body = "", b""
        if self.html:
            kind, body = "text/html", html_page(status, self.message or "Bad Gateway")
        elif self.body is not None:
            kind, body = "application/json" if _is_json(self.body) else "text/plain", self.body.encode(errors="replace")
        elif code is not None:
            kind, body = "application/json", error_response(status, code, message or "").body
        if status in (204, 304):
            kind, body = "", b""
        own = {"content-type": self.content_type or kind or None, "retry-after": self.retry_after}
        set_ones = {name: str(value) for name, value in own.items() if value is not None}
        headers = set_ones | dict(correlator) | dict(self.headers)
        return HTTPResponse(status, tuple(headers.items()), body, code, message)


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
    _last_call: str | None = attrs.field(default=None, init=False, repr=False)

    def applies(self, operation: str, phone_number: str | None, x_correlator: str | None, chance: float) -> bool:
        """Return whether the fault applies to a request, and count it unless it is a retry of the last call."""
        if x_correlator is not None and self._last_call == x_correlator:
            return True
        fault = self.fault
        if fault.operation not in (None, operation) or fault.phone_number not in (None, phone_number):
            return False
        if self.left == 0 or chance >= fault.rate:
            return False
        self.left = None if self.left is None else self.left - 1
        self._last_call = x_correlator if fault.whole_call else None
        return True


class FaultBook:
    """The faults in force, in the order they were added: the first that matches a request applies."""

    def __init__(self, random: Random) -> None:
        self._random = random  # decides for faults with a rate
        self._numbers = count(1)
        self.active: dict[int, ActiveFault] = {}

    def add(self, fault: Fault) -> int:
        """Add a fault and return its number."""
        if len(self.active) >= MAX_FAULTS:
            raise ValueError(f"there are {MAX_FAULTS} faults already; clear some first")
        number = next(self._numbers)
        self.active[number] = ActiveFault(number, fault, fault.times)
        return number

    def entries(self) -> list[ActiveFault]:
        """Return copies of the faults in force, oldest first."""
        return [attrs.evolve(entry) for entry in self.active.values() if entry.left != 0]

    def match(self, operation: str, phone_number: str | None, x_correlator: str | None = None) -> Fault | None:
        """Return the fault that applies to a request, or None, and count it."""
        for entry in tuple(self.active.values()):
            if entry.applies(operation, phone_number, x_correlator, self._random.random()):
                return entry.fault
            if entry.left == 0:
                # It stayed only for the retries of its last call.
                del self.active[entry.number]
        return None
