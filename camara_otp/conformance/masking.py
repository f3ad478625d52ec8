"""Mask secrets and numbers in the strings of a report."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import attrs

from camara_otp._redaction import redact
from camara_otp.conformance.contract import STANDARD_HEADERS
from camara_otp.conformance.model import ReceivedResponse, RoundTrip, Shown

_NUMBER: Final = re.compile(r"(?<![\w-])(\+[0-9]{2})[0-9]{2,10}([0-9]{3})(?![\w-])")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic|dpop) +[A-Za-z0-9\-._~+/]+=*")
_JWT: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_LONGEST: Final = 3000
# A shorter value occurs in too many places by chance, and keeps no secret.
_SHORTEST: Final = 4
_PRIVATE_HEADERS: Final = frozenset({"cookie", "set-cookie", "x-api-key", "api-key", "apikey"})


def mask(text: str, secrets: Mapping[str, str]) -> str:
    """Return a string without secrets, numbers and control characters; `secrets` has the replacement of each."""
    text = redact(text, {secret: shown for secret, shown in secrets.items() if len(secret) >= _SHORTEST})
    text = _JWT.sub("<token>", _BEARER.sub(r"\1 <token>", text))
    text = _NUMBER.sub(r"\1...\2", text)
    # A terminal obeys control characters.
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def number_names(number: str) -> dict[str, str]:
    """Return a phone number, which begins with a plus sign, with its replacement."""
    return {number[1:]: f"{number[1:3]}...{number[-3:]}"}


def shown(trip: RoundTrip, role: str, secrets: Mapping[str, str], private_headers: frozenset[str]) -> Shown:
    """Return a request with its response, without secrets and without the values of private headers (lower case)."""
    request, response = trip.request, trip.response
    hidden = private_headers | _PRIVATE_HEADERS
    # The query may hold a key.
    asked = [f"{request.method} {request.url.partition('?')[0]}", *_lines(request.headers, hidden), "", ""]
    answer = f"no response: {trip.failure}"
    if response is not None:
        if request.operation == "send-code" and trip.is_accepted:
            response = _without_code(response)
        came = [f"HTTP {response.status}", *_lines(response.headers, hidden), "", ""]
        answer = _shown("\n".join(came), response.body, secrets)
    return Shown(role, _shown("\n".join(asked), request.body, secrets), answer, response.seconds if response else None)


def _lines(headers: Iterable[tuple[str, str]], hidden: frozenset[str]) -> list[str]:
    return [f"{name}: {'<hidden>' if name.lower() in hidden else value}" for name, value in headers]


def _without_code(response: ReceivedResponse) -> ReceivedResponse:
    """Hide what an operator adds to the response of a send: it may be a code that was never read from the phone."""
    content = b"<hidden>" if response.body else b""
    if isinstance(response.json, dict):
        members = response.members.items()
        kept = {name: value if name == "authenticationId" else "<hidden>" for name, value in members}
        content = json.dumps(kept).encode()
    headers = tuple((name, value if name in STANDARD_HEADERS else "<hidden>") for name, value in response.headers)
    return attrs.evolve(response, headers=headers, body=content)


def _shown(head: str, body: bytes, secrets: Mapping[str, str]) -> str:
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    text = mask(head + text, secrets)
    # Cut last: half a secret would not be recognized.
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n... ({len(body)} bytes in all)"
