"""Find secrets in responses, and codes and ids that can be guessed: pure functions."""

import base64
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from camara_otp._redaction import redact
from camara_otp.conformance.causes import found
from camara_otp.conformance.contract import STANDARD_HEADERS
from camara_otp.conformance.model import Delivery, Finding, ReceivedResponse, RoundTrip

_UUID: Final = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_TIME: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]+(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
    r"|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT"
    r"|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
    r"|[0-9]{1,4}[/.][0-9]{1,2}[/.][0-9]{1,4}"
)
_NO_WORDS: Final = re.compile(rf"{_UUID}|{_TIME}")
_SHORTEST_CODE: Final = 4
_SHORTEST_TOKEN: Final = 8
_TELLING_DIGITS: Final = 7


def leaks(trip: RoundTrip, response: ReceivedResponse, deliveries: Mapping[str, Delivery]) -> Iterator[Finding]:
    """Yield the findings about secrets in one response; `deliveries` has the SMS that were accepted, by id."""
    sent = {name: value for name, value in trip.request.members.items() if isinstance(value, str)}
    own_id, sent_code, number = (sent.get(name, "") for name in ("authenticationId", "code", "phoneNumber"))
    # A value of another form is not the number of a phone.
    sms = trip.delivery or deliveries.get(own_id) or Delivery("", "")
    number = number if re.fullmatch(r"\+[0-9]{8,15}", number) else sms.number
    forms = _forms(sms.code or "")
    token = dict(trip.request.headers).get("authorization", "").partition(" ")[2]
    body = response.body.decode("utf-8", "replace")
    for value in filter(None, (response.authentication_id, own_id)):
        # An id may hold the digits of a short code by chance.
        body = body.replace(value, "")
    places = [("the body", body)]
    for name, value in response.headers:
        if name not in STANDARD_HEADERS and "ratelimit" not in name:
            places.append((f"the header {name}", value))
    what = f"a {response.status} of {trip.request.operation}"
    for place, text in places:
        if any(_is_word(form, text) for form in forms):
            yield found("code-leaked", f"{place} of {what} holds the code of the id")
        elif _is_word(sent_code, text):
            words = "the code that was sent"
            yield found("personal-data-leaked", f"{place} of {what} holds {words}", what=words)
        if number and redact(text, [number]) != text:
            yield found("personal-data-leaked", f"{place} of {what} holds it", what="the phone number")
        if len(token) >= _SHORTEST_TOKEN and token in text:
            yield found("personal-data-leaked", f"{place} of {what} holds it", what="the access token")


def _is_word(code: str, text: str) -> bool:
    """Return whether a string contains a code as a word of its own, and not in a time or an id."""
    if len(code) < _SHORTEST_CODE or not code.strip():
        return False
    pattern = rf"(?<![A-Za-z0-9])(?<![0-9][.:]){re.escape(code)}(?![A-Za-z0-9])(?![.:][0-9])"
    return re.search(pattern, _NO_WORDS.sub(" ", text)) is not None


def _forms(code: str) -> tuple[str, ...]:
    """Return a code as it is, grouped, and in encodings that anyone can decode; none for a short code."""
    if len(code) < _SHORTEST_CODE:
        return ()
    half = len(code) // 2
    data = code.encode()
    encoded = base64.b64encode(data).decode()
    grouped = (f"{code[:half]}{sign}{code[half:]}" for sign in "- .")
    spaced = (" ".join(code), "-".join(code))
    return (code, code.lstrip("0"), *grouped, *spaced, encoded, encoded.rstrip("="), data.hex(), *_digests(code))


def _digests(text: str) -> list[str]:
    names = ("md5", "sha1", "sha256")
    return [hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest() for name in names]


def guessable(trips: Sequence[RoundTrip]) -> Iterator[Finding]:
    """Yield the advice about codes and ids that can be guessed; the sends are in the order in which they were sent."""
    deliveries = [trip.delivery for trip in trips if trip.delivery and trip.delivery.code]
    for how in _ways([delivery.code or "" for delivery in deliveries], deliveries):
        yield found("codes-guessable", how, how=how)
    for how in _id_ways([delivery for delivery in deliveries if delivery.authentication_id]):
        yield found("ids-guessable", how, how=how)


# Fewer may be alike by chance.
_ENOUGH: Final = 3
_MANY: Final = 6


def _ways(codes: list[str], deliveries: list[Delivery]) -> Iterator[str]:
    if codes and all(len(code) < _SHORTEST_CODE for code in codes):
        yield f"they have {max(map(len, codes))} characters"
    if len(codes) < _ENOUGH:
        return
    if all(_is_time(code, delivery.sent_at) for code, delivery in zip(codes, deliveries, strict=True)):
        yield "they are digits of the time"
    elif len(set(codes)) == 1:
        yield "all are the same"
    elif all(code in re.sub(r"\D", "", delivery.number) for code, delivery in zip(codes, deliveries, strict=True)):
        yield "they are digits of the phone number"
    elif _is_sequence(codes):
        yield "they are numbers in sequence"
    elif len(codes) >= _MANY and len(set(codes)) <= len(codes) // 2:
        yield f"{len(codes)} SMS held {len(set(codes))} codes"
    elif len(codes) >= _MANY and len("".join(codes)) >= 30 and len(set("".join(codes))) <= 3:
        yield f"they consist of the characters {', '.join(sorted(set(''.join(codes))))}"


def _is_sequence(values: Iterable[str]) -> bool:
    """Return whether strings are whole numbers that lie close together, in any order."""
    texts = list(values)
    if not all(text.isascii() and text.isdigit() for text in texts):
        return False
    numbers = sorted(map(int, texts))
    steps = {later - earlier for earlier, later in itertools.pairwise(numbers)}
    spread = numbers[-1] - numbers[0]
    return len(set(numbers)) == len(numbers) and (len(steps) == 1 or spread <= 4 * len(numbers))


def _is_time(code: str, sent_at: float) -> bool:
    """Return whether a code is made of the digits of the time at which it was sent."""
    if not code.isdigit() or not sent_at:
        return False
    near = range(int(sent_at) - 1, int(sent_at) + 5)
    clocks = {datetime.fromtimestamp(at, UTC).strftime(form) for at in near for form in ("%H%M%S", "%H%M", "%M%S")}
    return code in clocks or any(str(at).endswith(code) for at in near)


def _id_ways(deliveries: list[Delivery]) -> Iterator[str]:
    values = [delivery.authentication_id for delivery in deliveries]
    if len(values) < 2:
        return
    if all(_holds_number(delivery.authentication_id, delivery.number) for delivery in deliveries):
        yield "they are made from the phone number"
    elif all(_holds_code(delivery.authentication_id, delivery.code or "") for delivery in deliveries):
        yield "they hold the code"
    elif all(_holds_time(delivery.authentication_id, delivery.sent_at) for delivery in deliveries):
        yield "they hold the time"
    elif len(values) >= _ENOUGH and _is_sequence(re.sub(r"\D", "", value) for value in values) and _alike(values):
        yield "they are numbered"
    elif all(len(value) < 8 for value in values):
        yield f"they have {max(map(len, values))} characters"


def _alike(values: Sequence[str]) -> bool:
    """Return whether strings are the same but for their digits."""
    return len({re.sub(r"\d+", "0", value) for value in values}) == 1


def _holds_code(value: str, code: str) -> bool:
    return len(code) >= _SHORTEST_CODE and any(code in text for text in (value, _decoded(value)))


def _holds_number(value: str, number: str) -> bool:
    digits = re.sub(r"\D", "", number)
    telling = digits[-_TELLING_DIGITS:]
    if any(telling in re.sub(r"[^0-9]", "", text) for text in (value, _decoded(value))):
        return True
    bare = value.replace("-", "").lower()
    digests = _digests(number) + _digests(digits)
    return len(bare) >= 8 and any(digest.startswith(bare[:16]) for digest in digests)


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=False).decode("ascii")
    except ValueError:
        return ""


def _holds_time(value: str, sent_at: float) -> bool:  # noqa: PLR0911
    """Return whether an id holds the time at which it was issued: as digits, as a date, or as UUID 1, 6 or 7."""
    if not sent_at:
        return False
    bare = value.replace("-", "").lower()
    near = range(int(sent_at) - 2, int(sent_at) + 6)
    if any(str(second) in value or f"{second:x}" in bare for second in near):
        return True
    if any(datetime.fromtimestamp(second, UTC).strftime("%Y%m%d%H%M%S") in bare for second in near):
        return True
    if not re.fullmatch(_UUID, value):
        return False
    version = value[14]
    if version == "7":
        return abs(int(bare[:12], 16) / 1000 - sent_at) < 60
    if version in "16":
        ticks = int(bare[13:16] + bare[8:12] + bare[:8], 16) if version == "1" else int(bare[:12] + bare[13:16], 16)
        return abs(ticks / 1e7 - 12219292800 - sent_at) < 60
    return False
