"""Take secrets and numbers out of what a report shows."""

import html
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Final, cast
from urllib.parse import quote, quote_plus

import attrs

from camara_otp.conformance.model import ReceivedResponse, RoundTrip, Shown

_NUMBER: Final = re.compile(r"(?<![\w-])(\+[0-9]{2})[0-9]{2,10}([0-9]{3})(?![\w-])")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic|dpop) +[A-Za-z0-9\-._~+/]+=*")
_JWT: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_BODY: Final = 2000
# What is shorter stands in too many places by chance, and keeps no secret.
_SHORTEST: Final = 4
_LONG_WORD: Final = 8
_KNOWN_HEADERS: Final = frozenset(
    {"cache-control", "connection", "content-encoding", "content-length", "content-type", "date", "server"}
    | {"strict-transport-security", "transfer-encoding", "vary", "via", "x-correlator"}
)
_PRIVATE_HEADERS: Final = frozenset({"cookie", "set-cookie", "x-api-key", "api-key", "apikey"})


def mask(text: str, secrets: Mapping[str, str]) -> str:
    """Return a text without secrets, numbers and control characters.

    Args:
        text: The text.
        secrets: What must not be shown, and what stands there instead.
    """
    # Longest first: a code may be part of an id.
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            for spelling in _spellings(secret):
                text = text.replace(spelling, secrets[secret])
    text = _JWT.sub("<token>", _BEARER.sub(r"\1 <token>", text))
    return _printable(_NUMBER.sub(r"\1...\2", text))


def _printable(text: str) -> str:
    # A terminal obeys what stands between the letters.
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


@lru_cache(maxsize=1024)
def _spellings(secret: str) -> tuple[str, ...]:
    """Return a secret as it is, and as it stands in a URL, a form, JSON or HTML, where that differs."""
    percent = quote(secret, safe="")
    spelled = json.dumps(secret)[1:-1]
    in_page = html.escape(secret)
    in_url = (percent, _lower_hex(percent), quote_plus(secret))
    in_text = (spelled, spelled.replace("/", "\\/"), in_page, in_page.replace("&#x27;", "&#39;"))
    return tuple(dict.fromkeys((secret, *in_url, *in_text)))


def _lower_hex(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), text)


def parts_of(value: str, name: str) -> dict[str, str]:
    """Return a secret value and its longer words, as of `Bearer abc`, each with what is shown instead.

    Args:
        value: The value.
        name: What is shown.
    """
    words = (word for word in value.split() if len(word) >= _LONG_WORD)
    return dict.fromkeys((value, *words), name)


def number_names(number: str) -> dict[str, str]:
    """Return the spellings of a phone number, each with what is shown instead.

    Args:
        number: The number, with its plus sign.
    """
    shown = f"{number[:3]}...{number[-3:]}"
    return {number: shown, number[1:]: shown[1:], number.replace("+", "%2B"): shown}


def shown(exchange: RoundTrip, role: str, secrets: Mapping[str, str], private_headers: frozenset[str]) -> Shown:
    """Return an exchange fit for anyone's eyes.

    Args:
        exchange: What was sent and what came back.
        role: `judged` or `setup`.
        secrets: What must not be shown, and what stands there instead.
        private_headers: Names of headers, in lower case, whose values are not shown either.
    """
    hidden = private_headers | _PRIVATE_HEADERS
    answer = exchange.response
    if answer is not None and exchange.request.operation == "send-code" and answer.status < 300:
        answer = _without_code(answer)
    request = exchange.request
    # What stands behind the question mark may be a key.
    asked = _shown(f"{request.method} {request.url.partition('?')[0]}", request.headers, request.body, hidden, secrets)
    came = f"no answer: {exchange.failure}"
    if answer is not None:
        came = _shown(f"HTTP {answer.status}", answer.headers, answer.body, hidden, secrets)
    return Shown(role, asked, came, answer.seconds if answer else None)


def _without_code(answer: ReceivedResponse) -> ReceivedResponse:
    """Hide what an operator adds to the answer of a send: it may be a code that was never read from the phone."""
    body = answer.json
    if isinstance(body, dict):
        members = cast("dict[str, object]", body)
        kept = {name: value if name == "authenticationId" else "<hidden>" for name, value in members.items()}
        content = json.dumps(kept).encode()
    else:
        content = b"<hidden>" if answer.body else b""
    headers = tuple((name, value if name in _KNOWN_HEADERS else "<hidden>") for name, value in answer.headers)
    return attrs.evolve(answer, headers=headers, body=content)


def _shown(
    first: str, headers: tuple[tuple[str, str], ...], body: bytes, hidden: frozenset[str], secrets: Mapping[str, str]
) -> str:
    head = "\n".join((first, *_headers(headers, hidden), "", ""))
    text = mask(_text(body), secrets)
    # Cut only now: half a secret looks like none.
    if len(text) > _BODY:
        text = f"{text[:_BODY]}\n... ({len(body)} bytes in all)"
    return mask(head, secrets) + text


def _headers(headers: tuple[tuple[str, str], ...], hidden: frozenset[str]) -> list[str]:
    return [f"{name}: {'<hidden>' if name in hidden else value}" for name, value in headers]


def _text(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    return text
