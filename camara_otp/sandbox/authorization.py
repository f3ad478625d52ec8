"""The sandbox's authorization server: tokens that expire and can be revoked, to test how a client obtains them.

Client credentials (secret or signed assertion), JWT bearer and CIBA in poll mode, with refresh tokens. Any client may
log in with any secret until clients are registered; signatures are checked for clients registered with their keys.

Source: RFC 6749, RFC 7523, OpenID CIBA Core 1.0, CAMARA Security and Interoperability Profile.
"""

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast
from urllib.parse import parse_qsl, unquote_plus

import attrs
from attrs.validators import optional

from camara_otp.sandbox.http import MAX_BODY, HTTPRequest, HTTPResponse, is_this_machine, json_object, json_response
from camara_otp.sandbox.validators import between, must, one_of

TOKEN_PATH: Final = "/oauth2/token"  # noqa: S105
BACKCHANNEL_PATH: Final = "/oauth2/bc-authorize"
DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
API_SCOPE: Final = "one-time-password-sms:send-validate"

# A token with this beginning is one of ours, or none at all: it never passes as "any token works".
PREFIX: Final = "sandbox-"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
_ASSERTION_LIFETIME: Final = 300
# What is stored must be bounded: entries of a kind, clients, characters of a client_id, sub or jti, and of a scope.
_KEPT: Final = 10_000
_MAX_CLIENTS: Final = 100
_MAX_TEXT: Final = 256
_MAX_SCOPE: Final = 1000
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*")
_USER: Final = re.compile(r"tel:(\+[1-9][0-9]{4,14})|operatortoken:[!-~]+|ipport:[!-~]+")
# Headers that HTTP requires with a status.
_REQUIRED_HEADERS: Final = {401: (("www-authenticate", 'Basic realm="sandbox"'),), 405: (("allow", "POST"),)}

Login = Literal["approve", "deny", "wait"]
TokenStatus = Literal["foreign", "good", "invalid", "out of scope"]
"""Not a token of this server, valid, expired or revoked, or without the scope of the API."""


class _OAuthError(Exception):
    def __init__(self, error: str, description: str, status: int | None = None) -> None:
        super().__init__(error)
        status = status or (401 if error == "invalid_client" else 400)
        value = {"error": error, "error_description": description}
        self.response = _response(value, status, *_REQUIRED_HEADERS.get(status, ()))


def _require(holds: object, error: str, description: str, status: int | None = None) -> None:
    if not holds:
        raise _OAuthError(error, description, status)


@attrs.frozen(kw_only=True)
class TokenSettings:
    """The settings of the authorization server.

    Args:
        lifetime: seconds for which a token is valid
        login: the user's answer to a CIBA login: approve it, deny it, or none
        login_after: seconds until the user answers
        login_lifetime: seconds after which an unanswered login expires
        interval: seconds that a client must leave between two polls
    """

    lifetime: float = attrs.field(default=3600.0, validator=between(0, 1e9))
    login: Login = attrs.field(default="approve", validator=one_of("approve", "deny", "wait"))
    login_after: float = attrs.field(default=0.0, validator=between(0, 1e9))
    login_lifetime: float = attrs.field(default=120.0, validator=between(0, 1e9))
    interval: float = attrs.field(default=1.0, validator=between(0, 1e9))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT


_TEXT: Final = must(f"be a string of 1 to {_MAX_TEXT} characters", _is_text)
# Up to the end of the year 9999.
_DATE: Final = between(0, 253402300799)


def _is_key_set(value: Any) -> bool:
    keys = cast("dict[str, Any]", value).get("keys") if isinstance(value, dict) else None
    return isinstance(keys, list) and all(isinstance(key, dict) for key in cast("list[object]", keys))


@attrs.frozen
class RegisteredClient:
    """A registered client: its secret, or its public keys as a JSON Web Key Set."""

    client_id: str = attrs.field(validator=_TEXT)
    client_secret: str | None = attrs.field(repr=False, validator=optional(_TEXT))
    jwks: Mapping[str, Any] = attrs.field(repr=False, validator=must('be {"keys": [...]}', _is_key_set))


@attrs.frozen
class _Grant:
    client_id: str
    scope: str
    expires_at: float


@attrs.define
class _Login:
    client_id: str
    scope: str
    began: float
    settings: TokenSettings
    interval: float
    polled: float


@attrs.frozen
class _Claims:
    """The claims of an assertion, of the right types."""

    iss: str = attrs.field(validator=_TEXT)
    sub: str = attrs.field(validator=_TEXT)
    jti: str = attrs.field(validator=_TEXT)
    iat: float = attrs.field(validator=_DATE)
    exp: float = attrs.field(validator=_DATE)
    aud: object
    scope: object


@attrs.frozen
class _FormRequest:
    """A form posted to an endpoint, and the time: the sandbox's and the real one."""

    http: HTTPRequest
    form: Mapping[str, str] = attrs.field(repr=False)
    now: float
    wall: float

    def field(self, name: str) -> str:
        """Return a field of the form, which must not be empty."""
        _require(self.form.get(name), "invalid_request", f"{name} is missing.")
        return self.form[name]

    def scope(self) -> str:
        """Return the scope."""
        scope = self.form.get("scope", "")
        rule = f"scope: must be names separated by single spaces, at most {_MAX_SCOPE} characters."
        _require(_is_scope(scope), "invalid_scope", rule)
        return scope

    def is_called(self, audience: object) -> bool:
        """Return whether an audience is the URL of this request; a proxy may have changed the scheme."""
        audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
        called = f"//{self.http.headers.get('host', '')}{self.http.path}".lower()
        return any(isinstance(one, str) and one.lower().partition(":")[2] == called for one in audiences)


class AuthorizationServer:
    """Issues access tokens and knows their status. The caller holds a lock."""

    def __init__(self) -> None:
        self.settings: TokenSettings = TokenSettings()
        self.requests: int = 0
        self._clients: dict[str, RegisteredClient] = {}
        self._tokens: dict[str, _Grant] = {}
        self._refresh: dict[str, _Grant] = {}
        self._logins: dict[str, _Login] = {}
        self._seen: dict[str, None] = {}

    def respond(self, request: HTTPRequest, *, now: float, wall: float) -> HTTPResponse | None:
        """Respond to a request to one of the endpoints, under any root; None for any other path.

        Tokens expire by `now`, the sandbox's time, which tests can advance. A client dates its assertions by `wall`.
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

    def register(self, client: RegisteredClient) -> None:
        """Register a client: from now on, clients that are not registered are rejected."""
        _store(self._clients, client.client_id, client, _MAX_CLIENTS)

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

    def token(self, request: _FormRequest) -> HTTPResponse:
        """Serve the token endpoint."""
        grant = _GRANTS.get(request.field("grant_type"))
        if grant is None:
            raise _OAuthError("unsupported_grant_type", f"grant_type: must be one of {', '.join(_GRANTS)}.")
        return grant(self, request)

    def client_credentials(self, request: _FormRequest) -> HTTPResponse:
        """Issue a token to the client itself."""
        return self._issue(self._authenticate(request), request.scope(), request.now)

    def jwt_bearer(self, request: _FormRequest) -> HTTPResponse:
        """Issue a token for the user in the subject of an assertion."""
        _require("scope" not in request.form, "invalid_request", "scope: must be a claim, not a field of the form.")
        claims = self._claims(request.field("assertion"), request, "invalid_grant")
        is_user = _USER.fullmatch(claims.sub) and not claims.sub.startswith("ipport:")
        _require(is_user, "invalid_grant", "sub: must be tel: and a number, or operatortoken:.")
        scope = claims.scope if isinstance(claims.scope, str) else ""
        is_good = _is_scope(scope) and "openid" not in scope.split()
        _require(is_good, "invalid_scope", "scope: the claim is missing, malformed, or holds openid.")
        return self._issue(claims.iss, scope, request.now)

    def backchannel(self, request: _FormRequest) -> HTTPResponse:
        """Serve the backchannel authentication endpoint: ask the user."""
        client_id, scope = self._authenticate(request), request.scope()
        _require("openid" in scope.split(), "invalid_scope", "scope: must contain openid for a CIBA login.")
        other_hints = {"login_hint_token", "id_token_hint"}.intersection(request.form)
        _require(not other_hints, "invalid_request", "CAMARA allows login_hint only.")
        rule = "login_hint: does not identify a user; a plus sign must be percent-encoded."
        _require(_USER.fullmatch(request.field("login_hint")), "unknown_user_id", rule)
        identifier, settings = secrets.token_urlsafe(24), self.settings
        login = _Login(client_id, scope, request.now, settings, settings.interval, request.now)
        _store(self._logins, identifier, login)
        expires_in = int(settings.login_lifetime)
        return _response({"auth_req_id": identifier, "expires_in": expires_in, "interval": settings.interval})

    def poll(self, request: _FormRequest) -> HTTPResponse:
        """Return the token of a login, or that the user has not confirmed yet."""
        client_id = self._authenticate(request)
        identifier = request.field("auth_req_id")
        login = self._logins.get(identifier)
        if login is None or login.client_id != client_id:
            raise _OAuthError("invalid_grant", "auth_req_id: there is no such login, or it is finished.")
        since, login.polled = request.now - login.polled, request.now
        in_time = request.now < login.began + login.settings.login_lifetime
        _require(in_time, "expired_token", "The user did not confirm in time.")
        # Clocks and networks are not exact, so a tenth less is accepted.
        if since < login.interval * 0.9:
            login.interval += 5
            raise _OAuthError("slow_down", f"Leave {login.interval:g} s between two polls.")
        answered = login.settings.login != "wait" and request.now >= login.began + login.settings.login_after
        _require(answered, "authorization_pending", "The user has not confirmed yet.")
        del self._logins[identifier]
        _require(login.settings.login == "approve", "access_denied", "The user denied the login.")
        return self._issue(client_id, login.scope, request.now, offline="offline_access" in login.scope.split())

    def refresh(self, request: _FormRequest) -> HTTPResponse:
        """Exchange a refresh token, which is valid once."""
        client_id = self._authenticate(request)
        grant = self._refresh.pop(request.field("refresh_token"), None)
        if grant is None or grant.client_id != client_id:
            raise _OAuthError("invalid_grant", "refresh_token: is unknown, used or revoked.")
        return self._issue(client_id, grant.scope, request.now, offline=True)

    def _issue(self, client_id: str, scope: str, now: float, *, offline: bool = False) -> HTTPResponse:
        lifetime = self.settings.lifetime
        grant = _Grant(client_id, scope, now + lifetime)
        token, renewal = (PREFIX + secrets.token_urlsafe(24) for _ in range(2))
        _store(self._tokens, token, grant)
        expires_in = int(lifetime) if lifetime == int(lifetime) else lifetime
        content = {"access_token": token, "token_type": "Bearer", "expires_in": expires_in, "scope": scope}
        if offline:
            _store(self._refresh, renewal, grant)
            content["refresh_token"] = renewal
        return _response(content)

    def _authenticate(self, request: _FormRequest) -> str:
        """Return the id of the client, which must authenticate in one way."""
        basic, form = request.http.header("authorization"), request.form
        ways = [bool(basic), "client_secret" in form, "client_assertion" in form].count(True)
        _require(ways == 1, "invalid_client", "Log in one way: Basic, client_secret or client_assertion.")
        if "client_assertion" in form:
            is_jwt = form.get("client_assertion_type") == _ASSERTION
            _require(is_jwt, "invalid_client", f"client_assertion_type: must be {_ASSERTION}.")
            claims = self._claims(form["client_assertion"], request, "invalid_client")
            _require(claims.sub == claims.iss, "invalid_client", "iss and sub must both be the client_id.")
            return claims.iss
        client_id, secret = _basic(basic) if basic else (request.field("client_id"), form["client_secret"])
        known = self._known(client_id)
        is_right = _is_text(client_id) and secret and (known is None or known.client_secret == secret)
        _require(is_right, "invalid_client", "The client_secret is wrong.")
        return client_id

    def _known(self, client_id: str) -> RegisteredClient | None:
        known = self._clients.get(client_id)
        _require(known or (client_id and not self._clients), "invalid_client", "This client is not registered.")
        return known

    def _claims(self, assertion: str, request: _FormRequest, error: str) -> _Claims:
        try:
            parts = assertion.split(".")[:2]
            header, fields = (json_object(base64.urlsafe_b64decode(part + "==")) for part in parts)
        except ValueError:
            header, fields = {}, {}
        _require(header and assertion.count(".") == 2, error, "The assertion is not a signed JWT.")
        known = self._known(str(fields.get("iss", "")))
        named: dict[str, Any] = {field.name: fields.get(field.name) for field in attrs.fields(_Claims)}
        try:
            claims = _Claims(**named)
        except ValueError as problem:
            raise _OAuthError(error, f"The assertion is refused: {problem}.") from None
        limit = _ASSERTION_LIFETIME
        rules = (
            (header.get("alg") in _ALGORITHMS, f"alg: must be one of {', '.join(_ALGORITHMS)}"),
            (request.is_called(claims.aud), "aud: must be the URL that is called"),
            (claims.exp > request.wall, "exp: must be in the future"),
            (claims.exp <= request.wall + limit, f"exp: must be at most {limit} s ahead"),
            (claims.exp - claims.iat <= limit, f"exp: must be at most {limit} s after iat"),
            (claims.jti not in self._seen, "jti: must be new; it was used before"),
        )
        for holds, rule in rules:
            _require(holds, error, f"The assertion is refused: {rule}.")
        is_signed = known is None or _signed(assertion, header, known)
        _require(is_signed, error, "The assertion is refused: its signature is wrong.")
        _store(self._seen, claims.jti, None)
        return claims


_Endpoint = Callable[[AuthorizationServer, _FormRequest], HTTPResponse]
_ENDPOINTS: Final[Mapping[str, _Endpoint]] = {
    TOKEN_PATH: AuthorizationServer.token,
    BACKCHANNEL_PATH: AuthorizationServer.backchannel,
}
_GRANTS: Final[Mapping[str, _Endpoint]] = {
    "client_credentials": AuthorizationServer.client_credentials,
    "urn:ietf:params:oauth:grant-type:jwt-bearer": AuthorizationServer.jwt_bearer,
    "urn:openid:params:grant-type:ciba": AuthorizationServer.poll,
    "refresh_token": AuthorizationServer.refresh,
}


def _response(value: object, status: int = 200, *headers: tuple[str, str]) -> HTTPResponse:
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
    _require(request.method == "POST", "invalid_request", "Use POST.", 405)
    body = request.body
    is_form = request.media_type == "application/x-www-form-urlencoded" and len(body) <= MAX_BODY
    _require(is_form, "invalid_request", f"The body must be a form of at most {MAX_BODY} bytes.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict")
    except ValueError:
        raise _OAuthError("invalid_request", "The form cannot be read.") from None
    _require(len(dict(pairs)) == len(pairs), "invalid_request", "A form field occurs twice.")
    return dict(pairs)


def _is_scope(text: str) -> bool:
    return len(text) <= _MAX_SCOPE and _SCOPE.fullmatch(text) is not None


def _basic(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    try:
        text = base64.b64decode(value, validate=True).decode("ascii")
    except ValueError:
        text = ""
    client_id, colon, secret = text.partition(":")
    _require(colon and scheme.lower() == "basic", "invalid_client", "The Authorization header is not Basic.")
    # RFC 6749 section 2.3.1: both parts were form-encoded.
    return unquote_plus(client_id), unquote_plus(secret)


def _signed(assertion: str, header: Mapping[str, Any], client: RegisteredClient) -> bool:
    try:
        from joserfc import jws  # noqa: PLC0415  (an extra, and only for clients with keys)
        from joserfc.jwk import import_key  # noqa: PLC0415
        from joserfc.jws import JWSRegistry  # noqa: PLC0415
    except ImportError:
        remedy = "pip install 'camara-otp[oauth]'"
        raise _OAuthError("invalid_client", f"Checking signatures needs an extra: {remedy}.") from None

    class Registry(JWSRegistry):
        # EdDSA by its old name is accepted without a warning.
        def get_alg(self, name: str) -> Any:
            return self.algorithms[name]

    for key in client.jwks["keys"]:
        if "kid" in header and key.get("kid", header["kid"]) != header["kid"]:
            continue
        try:
            jws.deserialize_compact(assertion, import_key(dict(key)), registry=Registry())
        except Exception:  # noqa: BLE001, S112  (for any reason, this key has not signed it)
            continue
        return True
    return False


def _store(table: dict[str, Any], key: str, value: object, limit: int = _KEPT) -> None:
    """Store an entry, and drop the oldest ones beyond the limit."""
    table[key] = value
    while len(table) > min(limit, _KEPT):
        del table[next(iter(table))]
