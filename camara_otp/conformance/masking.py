"""Mask secrets and numbers in what a report shows."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, cast

import attrs

from camara_otp._redaction import redact
from camara_otp.conformance.model import ReceivedResponse, RoundTrip, Shown

_NUMBER: Final = re.compile(r"(?<![\w-])(\+[0-9]{2})[0-9]{2,10}([0-9]{3})(?![\w-])")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic|dpop) +[A-Za-z0-9\-._~+/]+=*")
_JWT: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_LONGEST: Final = 3000
# A shorter value occurs in too many places by chance, and keeps no secret.
_SHORTEST: Final = 4
_KNOWN_HEADERS: Final = frozenset(
    {"cache-control", "connection", "content-encoding", "content-length", "content-type", "date", "server"}
    | {"strict-transport-security", "transfer-encoding", "vary", "via", "x-correlator"}
)
_PRIVATE_HEADERS: Final = frozenset({"cookie", "set-cookie", "x-api-key", "api-key", "apikey"})


def mask(text: str, secrets: Mapping[str, str]) -> str:
    """Return a text without secrets, numbers and control characters.

    Args:
        text: the text
        secrets: what must not be shown, and what is shown instead
    """
    text = redact(text, {secret: shown for secret, shown in secrets.items() if len(secret) >= _SHORTEST})
    text = _JWT.sub("<token>", _BEARER.sub(r"\1 <token>", text))
    return _printable(_NUMBER.sub(r"\1...\2", text))


def _printable(text: str) -> str:
    # A terminal obeys control characters.
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def number_names(number: str) -> dict[str, str]:
    """Return a phone number, which begins with a plus sign, with its replacement."""
    return {number[1:]: f"{number[1:3]}...{number[-3:]}"}


def shown(trip: RoundTrip, role: str, secrets: Mapping[str, str], private_headers: frozenset[str]) -> Shown:
    """Return a request with its response, fit to be shown to anyone.

    Args:
        trip: what was sent and what came back
        role: `judged` or `setup`
        secrets: what must not be shown, and what is shown instead
        private_headers: names of headers, in lower case, whose values are not shown either
    """
    hidden = private_headers | _PRIVATE_HEADERS
    response = trip.response
    if response is not None and trip.request.operation == "send-code" and response.status < 300:
        response = _without_code(response)
    request = trip.request
    # The query may hold a key.
    asked = _shown(f"{request.method} {request.url.partition('?')[0]}", request.headers, request.body, hidden, secrets)
    came = f"no response: {trip.failure}"
    if response is not None:
        came = _shown(f"HTTP {response.status}", response.headers, response.body, hidden, secrets)
    return Shown(role, asked, came, response.seconds if response else None)


def _without_code(response: ReceivedResponse) -> ReceivedResponse:
    """Hide what an operator adds to the response of a send: it may be a code that was never read from the phone."""
    body = response.json
    if isinstance(body, dict):
        members = cast("dict[str, object]", body)
        kept = {name: value if name == "authenticationId" else "<hidden>" for name, value in members.items()}
        content = json.dumps(kept).encode()
    else:
        content = b"<hidden>" if response.body else b""
    headers = tuple((name, value if name in _KNOWN_HEADERS else "<hidden>") for name, value in response.headers)
    return attrs.evolve(response, headers=headers, body=content)


def _shown(
    first: str, headers: tuple[tuple[str, str], ...], body: bytes, hidden: frozenset[str], secrets: Mapping[str, str]
) -> str:
    head = "\n".join((first, *_headers(headers, hidden), "", ""))
    text = mask(head + _text(body), secrets)
    # Cut last: half a secret would not be recognized.
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n... ({len(body)} bytes in all)"


def _headers(headers: tuple[tuple[str, str], ...], hidden: frozenset[str]) -> list[str]:
    return [f"{name}: {'<hidden>' if name.lower() in hidden else value}" for name, value in headers]


def _text(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    return text
