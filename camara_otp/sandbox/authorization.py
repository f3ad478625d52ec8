"""The sandbox's authorization server: tokens that live, expire and are revoked, for trying out how a client logs in.

Client credentials (secret or signed assertion), JWT bearer and CIBA in poll mode, with refresh tokens. Any client may
log in with any secret until clients are registered; signatures are checked for clients registered with their keys.

Source: RFC 6749, RFC 7523, OpenID CIBA Core 1.0, CAMARA Security and Interoperability Profile.
"""

import base64
import binascii
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import attrs

from camara_otp.sandbox.http import MAX_BODY, HTTPRequest, HTTPResponse, is_this_machine, json_response
from camara_otp.sandbox.validators import is_number, must, one_of

TOKEN_PATH: Final = "/oauth2/token"  # noqa: S105
BACKCHANNEL_PATH: Final = "/oauth2/bc-authorize"
DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
API_SCOPE: Final = "one-time-password-sms:send-validate"

# A token with this beginning is one of ours, or none at all: it never passes as "any token works".
PREFIX: Final = "sandbox-"
_KEPT: Final = 10_000
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
_ASSERTION_LIFETIME: Final = 300
MAX_TEXT: Final = 256
"""Characters that a client_id, a sub or a jti may have: what is stored must be bounded."""
_MAX_CLIENTS: Final = 100
_MAX_SCOPE: Final = 1000
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*")
_USER: Final = re.compile(r"tel:(\+[1-9][0-9]{4,14})|operatortoken:[!-~]+|ipport:[!-~]+")

Login = Literal["approve", "deny", "wait"]
TokenStatus = Literal["foreign", "good", "invalid", "out of scope"]
"""Not a token of this server, valid, expired or revoked, or without the scope of the API."""


class _OAuthError(Exception):
    """An OAuth error response."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        told = {"error": error, "error_description": description}
        self.response = _response(status, told, *_REQUIRED_HEADERS.get(status, ()))


# Headers that HTTP requires with a status.
_REQUIRED_HEADERS: Final = {401: (("www-authenticate", 'Basic realm="sandbox"'),), 405: (("allow", "POST"),)}


_SECONDS: Final = must("be a number of seconds", lambda value: is_number(value) and 0 <= value <= 1e9)


@attrs.frozen(kw_only=True)
class TokenSettings:
    """The settings of the authorization server.

    Args:
        lifetime: Seconds for which a token is valid.
        login: The user's answer to a CIBA login: approve it, deny it, or none.
        login_after: Seconds until the user answers.
        login_lifetime: Seconds after which an unanswered login expires.
        interval: Seconds that a client must leave between two polls.
    """

    lifetime: float = attrs.field(default=3600.0, validator=_SECONDS)
    login: Login = attrs.field(default="approve", validator=one_of("approve", "deny", "wait"))
    login_after: float = attrs.field(default=0.0, validator=_SECONDS)
    login_lifetime: float = attrs.field(default=120.0, validator=_SECONDS)
    interval: float = attrs.field(default=1.0, validator=_SECONDS)


@attrs.frozen
class RegisteredClient:
    """A registered client: its secret, or its public keys as JWKs."""

    client_id: str
    secret: str | None = attrs.field(default=None, repr=False)
    keys: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)


@attrs.frozen
class _Grant:
    client_id: str
    scope: str
    expires_at: float


@attrs.define
class _Asked:
    client_id: str
    scope: str
    began: float
    settings: TokenSettings
    interval: float
    polled: float


@attrs.frozen
class _FormRequest:
    """A form posted to an endpoint, and the time: the sandbox's and the real one."""

    http: HTTPRequest
    form: Mapping[str, str] = attrs.field(repr=False)
    now: float
    wall: float

    def is_called(self, audience: object) -> bool:
        """Tell whether an audience is the URL of this request; a proxy may have changed the scheme."""
        wanted = (self.http.headers.get("host", "").lower(), self.http.path)
        audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
        return any(isinstance(one, str) and _host_and_path(one) == wanted for one in audiences)


def _host_and_path(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return (parts.netloc.lower(), parts.path) if parts.scheme else None


class AuthorizationServer:
    """Issues access tokens and knows their status. The caller holds a lock."""

    def __init__(self) -> None:
        """Start without tokens and registered clients."""
        self.settings: TokenSettings = TokenSettings()
        self.requests: int = 0
        self._clients: dict[str, RegisteredClient] = {}
        self._tokens: dict[str, _Grant] = {}
        self._refresh: dict[str, _Grant] = {}
        self._logins: dict[str, _Asked] = {}
        self._seen: dict[str, None] = {}

    # The endpoints.

    def respond(self, request: HTTPRequest, *, now: float, wall: float) -> HTTPResponse | None:
        """Respond to a request to one of the endpoints; None for any other path.

        Args:
            request: The request; what precedes the path of an endpoint is ignored.
            now: The sandbox's time, which tests can advance: tokens live by it.
            wall: The real time, by which a client dates its assertions.
        """
        if request.path.endswith(DISCOVERY_PATH):
            return _discovery(request)
        act = next((act for end, act in _ENDPOINTS.items() if request.path.endswith(end)), None)
        if act is None:
            return None
        self.requests += 1
        try:
            return act(self, _FormRequest(request, _form(request), now, wall))
        except _OAuthError as error:
            return error.response

    def status(self, token: str, now: float) -> TokenStatus:
        """Return the status of a token."""
        if not token.startswith(PREFIX):
            return "foreign"
        grant = self._tokens.get(token)
        if grant is None or now >= grant.expires_at:
            return "invalid"
        names = {name.rpartition("#")[2] for name in grant.scope.split()}
        return "good" if API_SCOPE in names else "out of scope"

    # What a test decides.

    def register(self, client: RegisteredClient) -> None:
        """Register a client: from now on, clients that are not registered are rejected."""
        self._clients[client.client_id] = client
        _forget(self._clients, _MAX_CLIENTS)

    def revoke(self, token: str | None = None) -> int:
        """Revoke one token, or all tokens and refresh tokens; return how many tokens were known."""
        if token is not None:
            return int(self._tokens.pop(token, None) is not None)
        count = len(self._tokens)
        self._tokens.clear()
        self._refresh.clear()
        return count

    def live(self, now: float) -> int:
        """Return how many tokens are valid."""
        return sum(now < grant.expires_at for grant in self._tokens.values())

    # The grants.

    def token(self, request: _FormRequest) -> HTTPResponse:
        """Serve the token endpoint."""
        grant = _GRANTS.get(_field(request.form, "grant_type"))
        if grant is None:
            raise _OAuthError("unsupported_grant_type", f"This server knows {', '.join(_GRANTS)}.")
        return grant(self, request)

    def client_credentials(self, request: _FormRequest) -> HTTPResponse:
        """Issue a token to the client itself."""
        client_id = self._authenticate(request)
        return self._issue(client_id, _scope(request.form), request.now)

    def jwt_bearer(self, request: _FormRequest) -> HTTPResponse:
        """Issue a token for the user in the subject of an assertion."""
        if "scope" in request.form:
            raise _OAuthError("invalid_request", "The scope belongs in the assertion.")
        claims = self._claims(_field(request.form, "assertion"), request, "invalid_grant")
        user, scope = str(claims["sub"]), claims.get("scope")
        if _USER.fullmatch(user) is None or user.startswith("ipport:"):
            raise _OAuthError("invalid_grant", "sub must be tel: and a number, or operatortoken:.")
        if not isinstance(scope, str) or not _is_scope(scope) or "openid" in scope.split():
            raise _OAuthError("invalid_scope", "The claim scope is missing, malformed, or holds openid.")
        return self._issue(str(claims["iss"]), scope, request.now)

    def backchannel(self, request: _FormRequest) -> HTTPResponse:
        """Serve the backchannel authentication endpoint: ask the user."""
        client_id = self._authenticate(request)
        scope = _scope(request.form)
        if "openid" not in scope.split():
            raise _OAuthError("invalid_scope", "A CIBA login needs openid in its scope.")
        if "login_hint_token" in request.form or "id_token_hint" in request.form:
            raise _OAuthError("invalid_request", "CAMARA knows login_hint only.")
        if _USER.fullmatch(_field(request.form, "login_hint")) is None:
            raise _OAuthError("unknown_user_id", "login_hint names no user; a plus sign must be percent-encoded.")
        identifier = secrets.token_urlsafe(24)
        settings = self.settings
        self._logins[identifier] = _Asked(client_id, scope, request.now, settings, settings.interval, request.now)
        _forget(self._logins)
        expires_in = int(settings.login_lifetime)
        return _response(200, {"auth_req_id": identifier, "expires_in": expires_in, "interval": settings.interval})

    def poll(self, request: _FormRequest) -> HTTPResponse:
        """Return the token of a login, or that the user has not answered yet."""
        client_id = self._authenticate(request)
        identifier = _field(request.form, "auth_req_id")
        asked = self._logins.get(identifier)
        if asked is None or asked.client_id != client_id:
            raise _OAuthError("invalid_grant", "There is no such login, or it is finished.")
        since, asked.polled = request.now - asked.polled, request.now
        if request.now >= asked.began + asked.settings.login_lifetime:
            raise _OAuthError("expired_token", "The user did not answer in time.")
        # Clocks and networks are not exact, so a tenth less is accepted.
        if since < asked.interval * 0.9:
            asked.interval += 5
            raise _OAuthError("slow_down", f"Leave {asked.interval:g} s between two polls.")
        if asked.settings.login == "wait" or request.now < asked.began + asked.settings.login_after:
            raise _OAuthError("authorization_pending", "The user has not answered yet.")
        del self._logins[identifier]
        if asked.settings.login == "deny":
            raise _OAuthError("access_denied", "The user said no.")
        return self._issue(client_id, asked.scope, request.now, offline="offline_access" in asked.scope.split())

    def refresh(self, request: _FormRequest) -> HTTPResponse:
        """Exchange a refresh token, which is valid once."""
        client_id = self._authenticate(request)
        grant = self._refresh.pop(_field(request.form, "refresh_token"), None)
        if grant is None or grant.client_id != client_id:
            raise _OAuthError("invalid_grant", "This refresh token is unknown, used or revoked.")
        return self._issue(client_id, grant.scope, request.now, offline=True)

    def _issue(self, client_id: str, scope: str, now: float, *, offline: bool = False) -> HTTPResponse:
        grant = _Grant(client_id, scope, now + self.settings.lifetime)
        token = PREFIX + secrets.token_urlsafe(24)
        self._tokens[token] = grant
        _forget(self._tokens)
        lifetime = self.settings.lifetime
        answer: dict[str, object] = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(lifetime) if lifetime == int(lifetime) else lifetime,
            "scope": scope,
        }
        if offline:
            answer["refresh_token"] = renewal = PREFIX + secrets.token_urlsafe(24)
            self._refresh[renewal] = grant
            _forget(self._refresh)
        return _response(200, answer)

    # Client authentication.

    def _authenticate(self, request: _FormRequest) -> str:
        """Return the id of the client, which must authenticate in one way."""
        basic = request.http.header("authorization")
        ways = [bool(basic), "client_secret" in request.form, "client_assertion" in request.form]
        if sum(ways) != 1:
            raise _OAuthError("invalid_client", "Log in one way: Basic, client_secret or client_assertion.", 401)
        if ways[2]:
            if request.form.get("client_assertion_type") != _ASSERTION:
                raise _OAuthError("invalid_client", "client_assertion_type is not the one for JWTs.", 401)
            claims = self._claims(request.form["client_assertion"], request, "invalid_client")
            if claims["sub"] != claims["iss"]:
                raise _OAuthError("invalid_client", "iss and sub must both be the client_id.", 401)
            return str(claims["iss"])
        form = request.form
        client_id, secret = _basic(basic) if ways[0] else (_field(form, "client_id"), form["client_secret"])
        known = self._known(client_id)
        right = known is None or (known.secret is not None and _is_same(known.secret, secret))
        if not secret or not right or len(client_id) > MAX_TEXT:
            raise _OAuthError("invalid_client", "The client_secret is wrong.", 401)
        return client_id

    def _known(self, client_id: str) -> RegisteredClient | None:
        known = self._clients.get(client_id)
        if known is None and (self._clients or not client_id):
            raise _OAuthError("invalid_client", "This client is not registered.", 401)
        return known

    def _claims(self, assertion: str, request: _FormRequest, error: str) -> Mapping[str, Any]:
        """Return the claims of a valid assertion."""
        status = 401 if error == "invalid_client" else 400
        header, claims = _decoded(assertion, 0), _decoded(assertion, 1)
        if header is None or claims is None or assertion.count(".") != 2:
            raise _OAuthError(error, "The assertion is not a signed JWT.", status)
        known = self._known(str(claims.get("iss", "")))
        problem = _assertion_problem(request, header, claims)
        if problem is None and claims["jti"] in self._seen:
            problem = "its jti was used before"
        if problem is None and known is not None and not _signed(assertion, header, known):
            problem = "its signature is wrong"
        if problem is not None:
            raise _OAuthError(error, f"The assertion is refused: {problem}.", status)
        self._seen[claims["jti"]] = None
        _forget(self._seen)
        return claims


_ENDPOINTS: Final[Mapping[str, Callable[[AuthorizationServer, _FormRequest], HTTPResponse]]] = {
    TOKEN_PATH: AuthorizationServer.token,
    BACKCHANNEL_PATH: AuthorizationServer.backchannel,
}
_GRANTS: Final[Mapping[str, Callable[[AuthorizationServer, _FormRequest], HTTPResponse]]] = {
    "client_credentials": AuthorizationServer.client_credentials,
    "urn:ietf:params:oauth:grant-type:jwt-bearer": AuthorizationServer.jwt_bearer,
    "urn:openid:params:grant-type:ciba": AuthorizationServer.poll,
    "refresh_token": AuthorizationServer.refresh,
}


def _response(status: int, value: object, *headers: tuple[str, str]) -> HTTPResponse:
    return json_response(status, value, (("cache-control", "no-store"), *headers))


def _discovery(request: HTTPRequest) -> HTTPResponse:
    host = request.headers.get("host", "localhost")
    scheme = request.headers.get("x-forwarded-proto", "http" if is_this_machine(host) else "https")
    issuer = f"{scheme}://{host}{request.path.removesuffix(DISCOVERY_PATH)}"
    return json_response(
        200,
        {
            "issuer": issuer,
            "token_endpoint": issuer + TOKEN_PATH,
            "backchannel_authentication_endpoint": issuer + BACKCHANNEL_PATH,
            "backchannel_token_delivery_modes_supported": ["poll"],
            "grant_types_supported": list(_GRANTS),
            "scopes_supported": ["openid", "offline_access", API_SCOPE],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": list(_ALGORITHMS),
        },
    )


def _form(request: HTTPRequest) -> Mapping[str, str]:
    if request.method != "POST":
        raise _OAuthError("invalid_request", "Use POST.", 405)
    if request.media_type != "application/x-www-form-urlencoded" or len(request.body) > MAX_BODY:
        raise _OAuthError("invalid_request", f"The body must be a form of at most {MAX_BODY} bytes.")
    text = request.body
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:
        raise _OAuthError("invalid_request", "The form cannot be read.") from None
    if len(dict(pairs)) != len(pairs):
        raise _OAuthError("invalid_request", "A form field occurs twice.")
    return dict(pairs)


def _field(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise _OAuthError("invalid_request", f"{name} is missing.")
    return form[name]


def _is_scope(text: str) -> bool:
    return len(text) <= _MAX_SCOPE and _SCOPE.fullmatch(text) is not None


def _scope(form: Mapping[str, str]) -> str:
    scope = form.get("scope", "")
    if not _is_scope(scope):
        reason = f"A scope is needed: names separated by single blanks, at most {_MAX_SCOPE} characters."
        raise _OAuthError("invalid_scope", reason)
    return scope


def _basic(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    try:
        text = base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    client_id, colon, secret = text.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise _OAuthError("invalid_client", "The Authorization header is not Basic.", 401)
    # RFC 6749 section 2.3.1: both parts were form-encoded.
    return unquote_plus(client_id), unquote_plus(secret)


def _decoded(assertion: str, part: int) -> dict[str, Any] | None:
    parts = assertion.split(".")
    if len(parts) <= part:
        return None
    try:
        value: Any = json.loads(base64.urlsafe_b64decode(parts[part] + "=" * (-len(parts[part]) % 4)))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _assertion_problem(request: _FormRequest, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str | None:
    if header.get("alg") not in _ALGORITHMS:
        return "alg must be one of " + ", ".join(_ALGORITHMS)
    if not _complete(claims):
        return f"iss, sub, aud, exp, iat and jti are needed, texts of at most {MAX_TEXT} characters"
    if not request.is_called(claims["aud"]):
        return "aud must be the URL that is called"
    if claims["exp"] <= request.wall:
        return "it has expired"
    if claims["exp"] > request.wall + _ASSERTION_LIFETIME:
        return "exp is more than 300 s ahead"
    return "it lives longer than 300 s" if claims["exp"] - claims["iat"] > _ASSERTION_LIFETIME else None


def _complete(claims: Mapping[str, Any]) -> bool:
    texts = all(
        isinstance(claims.get(name), str) and 0 < len(claims[name]) <= MAX_TEXT for name in ("iss", "sub", "jti")
    )
    return texts and _is_date(claims.get("exp")) and _is_date(claims.get("iat")) and "aud" in claims


def _is_date(value: object) -> bool:
    # A claim may hold any number, and some that are none: NaN compares with nothing.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LAST_YEAR


# The end of the year 9999, in seconds.
_LAST_YEAR: Final = 253402300800


def _is_same(one: str, other: str) -> bool:
    # Bytes, since texts outside ASCII cannot be compared in constant time.
    return hmac.compare_digest(one.encode(errors="surrogatepass"), other.encode(errors="surrogatepass"))


def _signed(assertion: str, header: Mapping[str, Any], client: RegisteredClient) -> bool:
    try:
        from joserfc import jws  # noqa: PLC0415  (an extra, and only for clients with keys)
        from joserfc.jwk import import_key  # noqa: PLC0415
        from joserfc.jws import JWSRegistry  # noqa: PLC0415
    except ImportError:
        raise _OAuthError(
            "invalid_client", "Checking signatures needs an extra: pip install 'camara-otp[oauth]'.", 401
        ) from None

    class Registry(JWSRegistry):
        # EdDSA by its old name is accepted without a warning.
        def get_alg(self, name: str) -> Any:
            return self.algorithms[name]

    named = [key for key in client.keys if "kid" not in header or key.get("kid", header["kid"]) == header["kid"]]
    for key in named:
        try:
            jws.deserialize_compact(assertion, import_key(dict(key)), registry=Registry())
        except Exception:  # noqa: BLE001, S112  (whatever is wrong with it, this key has not signed it)
            continue
        return True
    return False


def _forget(table: dict[str, Any], limit: int | None = None) -> None:
    """Drop the oldest entries beyond the limit."""
    while len(table) > min(limit or _KEPT, _KEPT):
        del table[next(iter(table))]
