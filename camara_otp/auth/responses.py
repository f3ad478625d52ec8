"""The responses of an authorization server: pure functions that return a value, or raise TokenRefusal.

Text from the server is masked before it is shown. A server may repeat the secret, the assertion or the phone number in
its error message.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, cast

from attrs import define, field, frozen

from camara_otp._exchange import Response
from camara_otp._redaction import Secrets, cleaned
from camara_otp._wire import date_of, retry_after
from camara_otp.auth.providers import token_problem
from camara_otp.auth.scopes import missing_scopes
from camara_otp.errors import TokenError

TOO_MANY: Final = 429
# Used when a response does not state the lifetime of its token; a 401 renews the token sooner.
UNSTATED_LIFETIME: Final = 300.0
_LONGEST_LIFETIME: Final = 30 * 86400.0
_CLOCK_TOLERANCE: Final = 30

# The remedy for each error code of RFC 6749, CIBA Core and RFC 9449.
REMEDIES: Final[Mapping[str, str]] = {
    "invalid_request": "check the endpoint's URL, client_auth and scope",
    "invalid_client": "check client_id and its secret or key, and client_auth; for a key also kid, alg, audience and "
    "this machine's clock",
    "invalid_grant": "the grant has expired, or consent is missing: authorize again; with JWTBearer check subject, "
    "key, kid, alg, audience and this machine's clock",
    "unauthorized_client": "ask the operator to enable this grant for the client",
    "unsupported_grant_type": "the operator does not offer this grant; ask which one it agreed for the client",
    "invalid_scope": "check scope; some operators require a purpose, as camara_otp.auth.scope(purpose=...) writes",
    "invalid_target": "check the scope and the audience agreed with the operator",
    "access_denied": "the user or the operator refused; do not ask again automatically",
    "expired_token": "the user did not confirm in time; authorize again",
    "unknown_user_id": "the operator does not know the login_hint; check the number",
    "invalid_binding_message": "the operator does not accept this request; report it",
    "missing_user_code": "the operator requires a user code, which CAMARA does not; report it",
    "invalid_request_object": "the operator requires signed requests; ask it to accept unsigned ones",
    "invalid_dpop_proof": "the operator requires DPoP, which this package does not support; ask it for Bearer tokens",
    "use_dpop_nonce": "the operator requires DPoP, which this package does not support; ask it for Bearer tokens",
    "authorization_pending": "the user has not confirmed yet",
    "slow_down": "the requests come too fast; wait longer between them",
    "temporarily_unavailable": "try again later",
    "server_error": "try again later; if it persists, report it to the operator",
}
_UNKNOWN: Final = "look it up in the operator's documentation"


@frozen
class Token:
    """A token, its lifetime in seconds, and its expiry on the monotonic clock; `final` if it cannot be renewed."""

    value: str = field(repr=False)
    lifetime: float
    expires_at: float
    refresh: str | None = field(default=None, repr=False)
    final: bool = False

    def renew_at(self, leeway: float) -> float:
        """Return the moment to renew the token: `leeway` seconds ahead of its expiry, fewer for a short lifetime."""
        if self.final:
            return self.usable_until()
        return self.expires_at - min(max(leeway, 2.0), max(self.lifetime / 4, min(3.0, self.lifetime / 2)))

    def usable_until(self) -> float:
        """Return the moment to stop using the token: ahead of its expiry, because servers count whole seconds."""
        return self.expires_at - min(2.0, self.lifetime / 3)


@define(eq=False)
class TokenRefusal(Exception):  # noqa: N818 - raised inside this package only; callers get a TokenError
    """There is no token, for this reason. `again`: whether a retry may help, after at least `wait` seconds."""

    reason: str
    code: str | None = None
    description: str | None = None
    again: bool = False
    wait: float = 0.0

    def error(self) -> TokenError:
        """Return a new exception; two callers must never raise the same instance."""
        return TokenError(self.reason, error=self.code, error_description=self.description)


@frozen
class StartedLogin:
    """A login that the server has started: poll with the id, every `interval` seconds, for `expires_in` seconds."""

    auth_req_id: str = field(repr=False)
    interval: float
    expires_in: float


@frozen
class Reply:
    """A response, and what is known about its request."""

    server: str  # its name in messages
    response: Response
    secrets: Secrets
    began: float  # the beginning of the request, on the monotonic clock
    now: float  # the wall-clock time of the response

    def cleaned(self, words: str) -> str:
        """Return text of the server with secrets, signed tokens and phone numbers masked."""
        return cleaned(words, self.secrets, credentials=True)


def read_token(reply: Reply, scope: str | None) -> Token:
    """Read the response of a token endpoint to a request for this scope."""
    document = read_document(reply)
    value = document.get("access_token")
    if not isinstance(value, str) or token_problem(value) is not None:
        raise TokenRefusal("the response of the token endpoint contains no usable access_token; check the token URL")
    # RFC 6749 requires the type; a response without one, or with null, is accepted. Apigee writes BearerToken.
    kind = document.get("token_type")
    kind = "Bearer" if kind is None else kind
    if not isinstance(kind, str) or kind.lower() not in {"bearer", "bearertoken"}:
        shown = reply.cleaned(kind) if isinstance(kind, str) else type(kind).__name__
        raise TokenRefusal(
            f"the token endpoint issued a token of type {shown}, which cannot be used here; ask the operator for "
            "Bearer tokens, without DPoP"
        )
    granted = document.get("scope")
    # An empty string is not a scope (RFC 6749 section 3.3), as if the field were left out.
    missing = missing_scopes(scope, granted) if scope and isinstance(granted, str) and granted.strip() else []
    if missing:
        raise TokenRefusal(
            f"the token endpoint granted less than the requested scope: {' '.join(missing)} is missing; ask the "
            "operator to grant it to the client, or request less"
        )
    lifetime = read_seconds(document.get("expires_in"), UNSTATED_LIFETIME)
    refresh = document.get("refresh_token")
    refresh = refresh if isinstance(refresh, str) and refresh else None
    return Token(value, lifetime, reply.began + lifetime, refresh)


def read_started_login(reply: Reply) -> StartedLogin:
    """Read the response of a backchannel authentication endpoint."""
    document = read_document(reply, prompts_user=True)
    identifier = document.get("auth_req_id")
    if not isinstance(identifier, str) or not identifier:
        raise TokenRefusal(
            "the response of the backchannel endpoint contains no auth_req_id; check the backchannel URL"
        )
    # CIBA Core section 7.3: five seconds where the interval is left out.
    interval = read_seconds(document.get("interval"), 5.0)
    return StartedLogin(identifier, interval, read_seconds(document.get("expires_in"), UNSTATED_LIFETIME))


def read_document(reply: Reply, *, prompts_user: bool = False) -> dict[str, Any]:
    """Return the JSON object of a success, or raise TokenRefusal.

    `prompts_user`: the request asks the user to confirm on the phone. Such a request is retried only after a 429,
    which means that the phone got nothing.
    """
    server, status, fault = reply.server, reply.response.status, reply.response.fault
    document = _json_object(reply.response.body)
    error = None if document is None else document.get("error")
    code = words = None
    passing = status >= 500 or status == TOO_MANY
    if 300 <= status < 400:
        reason = f"{server} redirects (HTTP {status}), which is not followed; give the URL that it leads to"
    elif fault is not None:
        reason = f"{server} sent an unreadable response (HTTP {status}): {fault}; check its URL"
    elif document is not None and isinstance(error, str) and error:
        code, words = reply.cleaned(error), document.get("error_description")
        words = reply.cleaned(words) if isinstance(words, str) else None
        reason = f"{server} refused: {code}{f' ({words})' if words else ''}; {REMEDIES.get(code, _UNKNOWN)}"
        if code in {"invalid_client", "invalid_grant"}:
            reason += _clock_skew(reply)
    elif status != 200:
        # A status without an error code comes from a gateway more often than from the authorization server.
        credentials = "check client_id and its secret or key, client_auth, and the URL"
        remedy = credentials if status in (401, 403) else "check its URL"
        later = ", and try again later" if passing else ""
        reason = f"{server} responded with HTTP {status} without an error code; {remedy}{later}"
    elif document is None:
        reason = f"{server} sent something else than a JSON object; check its URL"
    else:
        return document
    again = status == TOO_MANY or (passing and not prompts_user)
    raise TokenRefusal(
        reason, code, words or None, again=again, wait=retry_after(reply.response.headers, reply.now) or 0
    )


def _json_object(body: bytes | bytearray) -> dict[str, Any] | None:
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _clock_skew(reply: Reply) -> str:
    """Return a clause about this machine's clock, where it differs enough from the server's to matter."""
    date = date_of(reply.response.headers)
    if date is None or abs(date - reply.now) <= _CLOCK_TOLERANCE:
        return ""
    skew = round(date - reply.now)
    return f"; this machine's clock is {abs(skew)} s {'behind' if skew > 0 else 'ahead of'} the server's"


def read_seconds(value: object, unstated: float) -> float:
    """Return a duration that is a number or a string of one; `unstated` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return unstated
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return unstated
    return min(max(number, 0.0), _LONGEST_LIFETIME) if not math.isnan(number) else unstated
