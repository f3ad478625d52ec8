"""What an authorization server answers: pure functions from status, headers and body to a value or a refusal.

Nothing that the server says is shown unless it was cleaned first: a careless server repeats the secret, the
assertion or the number in its error text.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

from attrs import field, frozen

from camara_otp._exchange import Answer
from camara_otp._redaction import MASK, redact
from camara_otp._tokens import token_problem
from camara_otp.auth._scope import missing
from camara_otp.auth._values import Endpoint, Refusal, Token, endpoint
from camara_otp.errors import ConfigurationError

Headers = Sequence[tuple[bytes, bytes]]

# Used when an answer does not say how long its token lives; a 401 renews it sooner.
UNSTATED_LIFETIME: Final = 300.0
TOO_MANY: Final = 429
_LONGEST_LIFETIME: Final = 30 * 86400.0
_LONGEST_TEXT: Final = 200
_CLOCK_TOLERANCE: Final = 30
_BACKCHANNEL: Final = "backchannel_authentication_endpoint"

# What to do about each error code of RFC 6749, CIBA Core and RFC 9449.
REMEDIES: Final[Mapping[str, str]] = {
    "invalid_request": "check the endpoint's URL, client_auth and scope",
    "invalid_client": "check client_id and its secret or key, and client_auth; for a key also kid, alg, audience and "
    "this machine's clock",
    "invalid_grant": "the grant is dead, or consent is missing: authorize again; with JWTBearer check subject, key, "
    "kid, alg, audience and this machine's clock",
    "unauthorized_client": "have the operator enable this grant for the client",
    "unsupported_grant_type": "the operator does not offer this grant; ask which one it agreed for the client",
    "invalid_scope": "check scope; some operators want a purpose in it, as camara_otp.auth.scope(purpose=...) writes",
    "invalid_target": "check the scope and the audience agreed with the operator",
    "access_denied": "the user or the operator said no; do not ask again by yourself",
    "expired_token": "the login was not finished in time; authorize again",
    "unknown_user_id": "the operator does not know the login_hint; check the number",
    "invalid_binding_message": "the operator does not take this request; report it",
    "missing_user_code": "the operator wants a user code, which CAMARA does not; report it",
    "invalid_request_object": "the operator wants signed requests; ask it to accept unsigned ones",
    "invalid_dpop_proof": "the operator wants DPoP, which this package does not do; ask it for Bearer tokens",
    "use_dpop_nonce": "the operator wants DPoP, which this package does not do; ask it for Bearer tokens",
    "authorization_pending": "the user has not answered yet",
    "slow_down": "the requests come too fast",
    "temporarily_unavailable": "try again later",
    "server_error": "try again later; if it stays, report it to the operator",
}
_REMEDY: Final = "look it up in the operator's documentation"

# What to do about a status that came without an error code: it is some gateway's, seldom the authorization server's.
_REMEDIES_BY_STATUS: Final[Mapping[int, str]] = dict.fromkeys(
    (401, 403), "check client_id and its secret or key, client_auth, and the URL"
)


@frozen
class Asked:
    """A login that was asked for: poll with the id, every `interval` seconds, for `expires_in` seconds."""

    auth_req_id: str = field(repr=False)
    interval: float
    expires_in: float


@frozen
class Endpoints:
    """Where to ask for tokens and, with CIBA, for logins."""

    token: Endpoint
    backchannel: Endpoint | None


@frozen
class Heard:
    """An answer, whose it is, what it must not be quoted with, and when (wall-clock time) it came."""

    who: str
    answer: Answer
    secrets: tuple[str, ...] = field(repr=False)
    now: float


def read_token(heard: Heard, scope: str | None) -> Token | Refusal:
    """Read the answer of a token endpoint that was asked for this scope."""
    document = _document(heard)
    if isinstance(document, Refusal):
        return document
    value = document.get("access_token")
    problem = token_problem(value)
    if problem is not None or not isinstance(value, str):
        return Refusal("the token endpoint's answer holds no usable access_token; check the token URL")
    # RFC 6749 demands the type; where an answer leaves it out, or null, there is nothing to disagree with.
    # BearerToken is what Apigee writes.
    kind = document.get("token_type")
    kind = "Bearer" if kind is None else kind
    if not isinstance(kind, str) or kind.lower() not in {"bearer", "bearertoken"}:
        shown = clean(kind, (*heard.secrets, value)) if isinstance(kind, str) else type(kind).__name__
        return Refusal(
            f"the token endpoint gave a token of type {shown}, which cannot be used here; ask the operator for Bearer "
            "tokens, without DPoP"
        )
    granted = document.get("scope")
    # An empty text is no scope (RFC 6749 section 3.3), so it says as much as none.
    lacking = missing(scope, granted) if scope is not None and isinstance(granted, str) and granted.strip() else []
    if lacking:
        return Refusal(
            f"the token endpoint granted less than was asked for: {' '.join(lacking)} is missing; have the operator "
            "grant it to the client, or ask for less"
        )
    lifetime = read_seconds(document.get("expires_in"), UNSTATED_LIFETIME)
    renewal = document.get("refresh_token")
    return Token(value, lifetime, lifetime, renewal if isinstance(renewal, str) and renewal else None)


def read_asked(heard: Heard) -> Asked | Refusal:
    """Read the answer of a backchannel authentication endpoint."""
    document = _document(heard)
    if isinstance(document, Refusal):
        return document
    identifier = document.get("auth_req_id")
    if not isinstance(identifier, str) or not identifier:
        return Refusal("the backchannel endpoint's answer holds no auth_req_id; check the backchannel URL")
    # CIBA Core section 7.3: five seconds where the interval is left out.
    return Asked(
        identifier,
        read_seconds(document.get("interval"), 5.0),
        read_seconds(document.get("expires_in"), UNSTATED_LIFETIME),
    )


def read_discovery(heard: Heard, issuer: str, *, backchannel: bool, allow_http: bool) -> Endpoints | Refusal:
    """Read an OpenID configuration. Its issuer must be the one that was asked, to the letter."""
    document = _document(heard)
    if isinstance(document, Refusal):
        return document
    named = document.get("issuer")
    if named != issuer:
        shown = clean(named, ()) if isinstance(named, str) else "none"
        return Refusal(f"the issuer's configuration is another issuer's ({shown}); give issuer exactly as it is there")
    try:
        token = _named(document, "token_endpoint", allow_http=allow_http)
        asking = _named(document, _BACKCHANNEL, allow_http=allow_http) if backchannel else None
    except ConfigurationError as error:
        return Refusal(str(error))
    return Endpoints(token, asking)


def _named(document: dict[str, Any], key: str, *, allow_http: bool) -> Endpoint:
    url = document.get(key)
    if not isinstance(url, str):
        raise ConfigurationError(f"the issuer's configuration names no {key}; the operator may not offer this grant")
    return endpoint(f"the issuer's {key}", url, allow_http=allow_http)


def read_seconds(value: object, unstated: float) -> float:
    """Return a duration that came as a number or as text; `unstated` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return unstated
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return unstated
    return min(max(number, 0.0), _LONGEST_LIFETIME) if not math.isnan(number) else unstated


def clean(text: str, secrets: Sequence[str]) -> str:
    """Return a server's words, printable, short, and without anything that must not be shown."""
    # A login hint is a phone number with the prefix of its URI.
    text = redact(text, {*secrets, *(secret.removeprefix(_TEL) for secret in secrets)})
    text = _CREDENTIAL.sub(MASK, text)
    text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


_TEL: Final = "tel:"
# Signed tokens, whole or cut off, and telephone numbers.
_CREDENTIAL: Final = re.compile(r"ey[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*|\+?[0-9]{7,}")


def _document(heard: Heard) -> dict[str, Any] | Refusal:
    who, (status, headers, body, fault) = heard.who, heard.answer
    if 300 <= status < 400:
        return Refusal(f"{who} redirects (HTTP {status}), which is not followed; give the URL that it leads to")
    if fault is not None:
        return Refusal(
            f"{who} gave an answer that cannot be read (HTTP {status}): {fault}; check its URL",
            again=_is_passing(status),
        )
    document = _object(body)
    code = document.get("error") if document is not None else None
    if document is not None and isinstance(code, str) and code:
        return _refused(heard, code, document.get("error_description"))
    if status != 200:
        return Refusal(
            f"{who} answered HTTP {status} without saying why; {_REMEDIES_BY_STATUS.get(status, 'check its URL')}"
            + (", and try again later" if _is_passing(status) else ""),
            again=_is_passing(status),
            wait=_retry_after(headers, heard.now),
        )
    if document is None:
        return Refusal(f"{who} answered with something else than a JSON object; check its URL")
    return document


def _refused(heard: Heard, code: str, description: object) -> Refusal:
    code = clean(code, heard.secrets)
    words = clean(description, heard.secrets) if isinstance(description, str) else None
    reason = f"{heard.who} refused: {code}"
    if words:
        reason += f" ({words})"
    reason += f"; {REMEDIES.get(code, _REMEDY)}"
    status, headers, _, _ = heard.answer
    skew = _skew(headers, heard.now) if code in {"invalid_client", "invalid_grant"} else None
    if skew is not None:
        reason += f"; this machine's clock is {abs(skew)} s {'behind' if skew > 0 else 'ahead of'} the server's"
    return Refusal(reason, code, words or None, again=_is_passing(status), wait=_retry_after(headers, heard.now))


def _is_passing(status: int) -> bool:
    """Tell whether a status says that the same request may do better later."""
    return status >= 500 or status == TOO_MANY


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _header(headers: Headers, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text is not None else None
    except (ValueError, TypeError, OverflowError):
        return None


def _skew(headers: Headers, now: float) -> int | None:
    """Return by how many seconds the server's clock is ahead of ours, where that is worth telling."""
    date = _date(_header(headers, b"date"))
    return round(date - now) if date is not None and abs(date - now) > _CLOCK_TOLERANCE else None


def _retry_after(headers: Headers, now: float) -> float:
    text = _header(headers, b"retry-after")
    date = _date(text)
    return read_seconds(text, 0.0) if date is None else max(0.0, date - now)
