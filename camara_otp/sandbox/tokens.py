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
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import attrs

from camara_otp.sandbox.gateway import MAX_BODY, Answer, json_answer

if TYPE_CHECKING:
    from camara_otp.sandbox.core import Sandbox

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
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*")
_USER: Final = re.compile(r"tel:(\+[1-9][0-9]{4,14})|operatortoken:[!-~]+|ipport:[!-~]+")

Login = Literal["approve", "deny", "wait"]
Form = Mapping[str, str]


class _RefusedError(Exception):
    """An OAuth error on its way out."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        told = {"error": error, "error_description": description}
        self.answer = _answer(status, told, *_REQUIRED_HEADERS.get(status, ()))


# What HTTP asks of an answer with this status.
_REQUIRED_HEADERS: Final = {401: (("www-authenticate", 'Basic realm="sandbox"'),), 405: (("allow", "POST"),)}


@attrs.frozen(kw_only=True)
class TokenSettings:
    """How the authorization server behaves.

    Args:
        lifetime: Seconds a token is good for.
        login: What the user of a CIBA login does: approve it, deny it, or not answer.
        login_after: Seconds until the user does so.
        login_lifetime: Seconds after which an unanswered login is over.
        interval: Seconds that a client has to leave between two polls.
    """

    lifetime: float = 3600.0
    login: Login = "approve"
    login_after: float = 0.0
    login_lifetime: float = 120.0
    interval: float = 1.0

    def __attrs_post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.login not in ("approve", "deny", "wait"):
            raise ValueError("login must be approve, deny or wait")
        for name in ("lifetime", "login_after", "login_lifetime", "interval"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
                raise ValueError(f"{name} must be a number of seconds")


@attrs.frozen
class Client:
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


class TokenDesk:
    """Issue tokens and tell whether they are still good. Not safe for threads by itself; the sandbox holds a lock."""

    def __init__(self) -> None:
        """Start with nothing issued and nobody registered."""
        self.settings: TokenSettings = TokenSettings()
        self.requests: int = 0
        self._clients: dict[str, Client] = {}
        self._tokens: dict[str, _Grant] = {}
        self._refresh: dict[str, _Grant] = {}
        self._logins: dict[str, _Asked] = {}
        self._seen: deque[str] = deque(maxlen=_KEPT)

    # What a client meets.

    def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, now: float, wall: float
    ) -> Answer | None:
        """Answer a request to one of the server's endpoints; None for any other path.

        Args:
            method: The HTTP method.
            path: The path of the URL; whatever stands before an endpoint's path is ignored.
            headers: The headers, names in lower case.
            body: The body.
            now: The sandbox's time, which can be moved forward: tokens live by it.
            wall: The real time, by which a client dates its assertions.
        """
        if path.endswith(DISCOVERY_PATH):
            return _discovery(path.removesuffix(DISCOVERY_PATH), headers)
        act = next((act for end, act in _ENDPOINTS.items() if path.endswith(end)), None)
        if act is None:
            return None
        self.requests += 1
        try:
            form = _form(method, headers, body)
            return act(self, form, _Door(headers, path, now, wall))
        except _RefusedError as refused:
            return refused.answer

    def verdict(self, token: str, now: float) -> Literal["foreign", "good", "dead", "narrow"]:
        """Tell what a token is worth: not one of ours, good, expired or revoked, or without this API's scope."""
        if not token.startswith(PREFIX):
            return "foreign"
        grant = self._tokens.get(token)
        if grant is None or now >= grant.expires_at:
            return "dead"
        names = {name.rpartition("#")[2] for name in grant.scope.split()}
        return "good" if API_SCOPE in names else "narrow"

    # What a test or a person decides.

    def register(self, client: Client) -> None:
        """Know a client: from now on nobody else may log in."""
        self._clients[client.client_id] = client
        _forget(self._clients)

    def revoke(self, token: str | None = None) -> int:
        """Revoke one token, or all of them and every refresh token; return how many were good until now."""
        if token is not None:
            return int(self._tokens.pop(token, None) is not None)
        count = len(self._tokens)
        self._tokens.clear()
        self._refresh.clear()
        return count

    def live(self, now: float) -> int:
        """Return how many tokens are good."""
        return sum(now < grant.expires_at for grant in self._tokens.values())

    # The grants.

    def token(self, form: Form, door: "_Door") -> Answer:
        """Serve the token endpoint."""
        grant = _GRANTS.get(_field(form, "grant_type"))
        if grant is None:
            raise _RefusedError("unsupported_grant_type", f"This server knows {', '.join(_GRANTS)}.")
        return grant(self, form, door)

    def client_credentials(self, form: Form, door: "_Door") -> Answer:
        """Issue a token to the client itself."""
        client_id = self._authenticate(form, door)
        return self._issue(client_id, _scope(form), door.now)

    def jwt_bearer(self, form: Form, door: "_Door") -> Answer:
        """Issue a token for the user whom an assertion names."""
        if "scope" in form:
            raise _RefusedError("invalid_request", "The scope belongs in the assertion.")
        claims = self._claims(_field(form, "assertion"), door, "invalid_grant")
        user, scope = str(claims["sub"]), claims.get("scope")
        if _USER.fullmatch(user) is None or user.startswith("ipport:"):
            raise _RefusedError("invalid_grant", "sub must be tel: and a number, or operatortoken:.")
        if not isinstance(scope, str) or _SCOPE.fullmatch(scope) is None or "openid" in scope.split():
            raise _RefusedError("invalid_scope", "The claim scope is missing, malformed, or holds openid.")
        return self._issue(str(claims["iss"]), scope, door.now)

    def backchannel(self, form: Form, door: "_Door") -> Answer:
        """Serve the backchannel authentication endpoint: ask the user."""
        client_id = self._authenticate(form, door)
        scope = _scope(form)
        if "openid" not in scope.split():
            raise _RefusedError("invalid_scope", "A CIBA login needs openid in its scope.")
        if "login_hint_token" in form or "id_token_hint" in form:
            raise _RefusedError("invalid_request", "CAMARA knows login_hint only.")
        if _USER.fullmatch(_field(form, "login_hint")) is None:
            raise _RefusedError("unknown_user_id", "login_hint names nobody; a plus sign must be percent-encoded.")
        identifier = secrets.token_urlsafe(24)
        settings = self.settings
        self._logins[identifier] = _Asked(client_id, scope, door.now, settings, settings.interval, door.now)
        _forget(self._logins)
        expires_in = int(settings.login_lifetime)
        return _answer(200, {"auth_req_id": identifier, "expires_in": expires_in, "interval": settings.interval})

    def poll(self, form: Form, door: "_Door") -> Answer:
        """Tell how a login stands."""
        client_id = self._authenticate(form, door)
        identifier = _field(form, "auth_req_id")
        asked = self._logins.get(identifier)
        if asked is None or asked.client_id != client_id:
            raise _RefusedError("invalid_grant", "No such login, or it is done.")
        since, asked.polled = door.now - asked.polled, door.now
        if door.now >= asked.began + asked.settings.login_lifetime:
            raise _RefusedError("expired_token", "Nobody answered in time.")
        # Clocks and networks are not exact: a tenth too early is forgiven.
        if since < asked.interval * 0.9:
            asked.interval += 5
            raise _RefusedError("slow_down", f"Leave {asked.interval:g} s between two polls.")
        if asked.settings.login == "wait" or door.now < asked.began + asked.settings.login_after:
            raise _RefusedError("authorization_pending", "The user has not answered yet.")
        del self._logins[identifier]
        if asked.settings.login == "deny":
            raise _RefusedError("access_denied", "The user said no.")
        return self._issue(client_id, asked.scope, door.now, offline="offline_access" in asked.scope.split())

    def refresh(self, form: Form, door: "_Door") -> Answer:
        """Exchange a refresh token, which is good once."""
        client_id = self._authenticate(form, door)
        grant = self._refresh.pop(_field(form, "refresh_token"), None)
        if grant is None or grant.client_id != client_id:
            raise _RefusedError("invalid_grant", "This refresh token is unknown, used or revoked.")
        return self._issue(client_id, grant.scope, door.now, offline=True)

    def _issue(self, client_id: str, scope: str, now: float, *, offline: bool = False) -> Answer:
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
        return _answer(200, answer)

    # Who is asking.

    def _authenticate(self, form: Form, door: "_Door") -> str:
        """Return the client's id, if it proves to be who it says."""
        basic = door.headers.get("authorization", "")
        ways = [bool(basic), "client_secret" in form, "client_assertion" in form]
        if sum(ways) != 1:
            raise _RefusedError("invalid_client", "Log in one way: Basic, client_secret or client_assertion.", 401)
        if ways[2]:
            if form.get("client_assertion_type") != _ASSERTION:
                raise _RefusedError("invalid_client", "client_assertion_type is not the one for JWTs.", 401)
            claims = self._claims(form["client_assertion"], door, "invalid_client")
            if claims["sub"] != claims["iss"]:
                raise _RefusedError("invalid_client", "iss and sub must both be the client_id.", 401)
            return str(claims["iss"])
        client_id, secret = _basic(basic) if ways[0] else (_field(form, "client_id"), form["client_secret"])
        known = self._known(client_id)
        right = known is None or (known.secret is not None and _is_same(known.secret, secret))
        if not secret or not right:
            raise _RefusedError("invalid_client", "The client_secret is wrong.", 401)
        return client_id

    def _known(self, client_id: str) -> Client | None:
        known = self._clients.get(client_id)
        if known is None and (self._clients or not client_id):
            raise _RefusedError("invalid_client", "This client is not registered.", 401)
        return known

    def _claims(self, assertion: str, door: "_Door", error: str) -> Mapping[str, Any]:
        """Return the claims of an assertion that is in order."""
        status = 401 if error == "invalid_client" else 400
        header, claims = _decoded(assertion, 0), _decoded(assertion, 1)
        if header is None or claims is None or assertion.count(".") != 2:
            raise _RefusedError(error, "The assertion is not a signed JWT.", status)
        known = self._known(str(claims.get("iss", "")))
        for problem, wrong in (
            ("alg must be one of " + ", ".join(_ALGORITHMS), header.get("alg") not in _ALGORITHMS),
            ("iss, sub, aud, exp, iat and jti are needed", not _complete(claims)),
            ("aud must be the URL that is called", not _complete(claims) or not door.is_called(claims["aud"])),
            ("it has expired", not _complete(claims) or claims["exp"] <= door.wall),
            ("exp is more than 300 s ahead", not _complete(claims) or claims["exp"] > door.wall + _ASSERTION_LIFETIME),
            (
                "it lives longer than 300 s",
                not _complete(claims) or claims["exp"] - claims["iat"] > _ASSERTION_LIFETIME,
            ),
            ("its jti was used before", claims.get("jti") in self._seen),
            ("its signature is wrong", known is not None and not _signed(assertion, header, known)),
        ):
            if wrong:
                raise _RefusedError(error, f"The assertion is refused: {problem}.", status)
        self._seen.append(claims["jti"])
        return claims


@attrs.frozen
class _Door:
    headers: Mapping[str, str] = attrs.field(repr=False)
    path: str
    now: float
    wall: float

    def is_called(self, audience: object) -> bool:
        """Tell whether an audience is the URL of this request; the scheme is the proxy's business."""
        wanted = (self.headers.get("host", "").lower(), self.path)
        audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
        return any(isinstance(one, str) and _place(one) == wanted for one in audiences)


def _place(url: str) -> tuple[str, str] | None:
    """Return the host and the path of a URL, or None for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return (parts.netloc.lower(), parts.path) if parts.scheme else None


_ENDPOINTS: Final[Mapping[str, Callable[[TokenDesk, Form, _Door], Answer]]] = {
    TOKEN_PATH: TokenDesk.token,
    BACKCHANNEL_PATH: TokenDesk.backchannel,
}
_GRANTS: Final[Mapping[str, Callable[[TokenDesk, Form, _Door], Answer]]] = {
    "client_credentials": TokenDesk.client_credentials,
    "urn:ietf:params:oauth:grant-type:jwt-bearer": TokenDesk.jwt_bearer,
    "urn:openid:params:grant-type:ciba": TokenDesk.poll,
    "refresh_token": TokenDesk.refresh,
}


def _answer(status: int, value: object, *headers: tuple[str, str]) -> Answer:
    return json_answer(status, value, (("cache-control", "no-store"), *headers))


def _discovery(root: str, headers: Mapping[str, str]) -> Answer:
    host = headers.get("host", "localhost")
    scheme = headers.get("x-forwarded-proto", "http" if _is_loopback(host) else "https")
    issuer = f"{scheme}://{host}{root}"
    return json_answer(
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


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return name in {"localhost", "[::1]"} or name.startswith("127.")


def _form(method: str, headers: Mapping[str, str], body: bytes) -> Form:
    if method != "POST":
        raise _RefusedError("invalid_request", "Use POST.", 405)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded" or len(body) > MAX_BODY:
        raise _RefusedError("invalid_request", "The body must be a form of at most 65536 bytes.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict")
    except ValueError:
        raise _RefusedError("invalid_request", "The form cannot be read.") from None
    if len(dict(pairs)) != len(pairs):
        raise _RefusedError("invalid_request", "A field stands in the form twice.")
    return dict(pairs)


def _field(form: Form, name: str) -> str:
    if not form.get(name):
        raise _RefusedError("invalid_request", f"{name} is missing.")
    return form[name]


def _scope(form: Form) -> str:
    scope = form.get("scope", "")
    if _SCOPE.fullmatch(scope) is None:
        raise _RefusedError("invalid_scope", "A scope is needed: names separated by single blanks.")
    return scope


def _basic(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    try:
        text = base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    client_id, colon, secret = text.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise _RefusedError("invalid_client", "The Authorization header is not Basic.", 401)
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


def _complete(claims: Mapping[str, Any]) -> bool:
    texts = all(isinstance(claims.get(name), str) and claims[name] for name in ("iss", "sub", "jti"))
    return texts and _is_date(claims.get("exp")) and _is_date(claims.get("iat")) and "aud" in claims


def _is_date(value: object) -> bool:
    # A claim may hold any number, and some that are none: NaN compares with nothing.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LAST_YEAR


# The end of the year 9999, in seconds.
_LAST_YEAR: Final = 253402300800


def _is_same(one: str, other: str) -> bool:
    # Bytes, since texts outside ASCII cannot be compared in constant time.
    return hmac.compare_digest(one.encode(errors="surrogatepass"), other.encode(errors="surrogatepass"))


def _signed(assertion: str, header: Mapping[str, Any], client: Client) -> bool:
    try:
        from joserfc import jws  # noqa: PLC0415  (an extra, and only for clients with keys)
        from joserfc.jwk import import_key  # noqa: PLC0415
        from joserfc.jws import JWSRegistry  # noqa: PLC0415
    except ImportError:
        raise _RefusedError(
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


def _forget(table: dict[str, Any]) -> None:
    while len(table) > _KEPT:
        del table[next(iter(table))]


# The control API: `tokens`, `revoke` and `clients` under `/_sandbox`.


def show(sandbox: "Sandbox", _: Mapping[str, str], __: Mapping[str, Any]) -> Answer:
    """Tell the settings, and how many requests came in and tokens are good; never a token."""
    return json_answer(200, sandbox.with_tokens(_shown))


def change(sandbox: "Sandbox", _: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
    """Change some settings: `{"lifetime": 3}`."""
    names = {_camel(field.name): field.name for field in attrs.fields(TokenSettings)}
    unknown = sorted(set(body) - set(names))
    if unknown:
        return _wrong(f"Known are {', '.join(names)}.")

    def act(desk: TokenDesk, now: float) -> dict[str, object]:
        desk.settings = attrs.evolve(desk.settings, **{names[name]: value for name, value in body.items()})
        return _shown(desk, now)

    try:
        return json_answer(200, sandbox.with_tokens(act))
    except ValueError as error:
        return _wrong(str(error))


def revoke(sandbox: "Sandbox", _: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
    """Revoke `{"token": "..."}`, or without a body every token."""
    token = body.get("token")
    if token is not None and not isinstance(token, str):
        return _wrong('The body must be {"token": text}, or empty for all.')
    return json_answer(200, {"revoked": sandbox.with_tokens(lambda desk, _: desk.revoke(token))})


def register(sandbox: "Sandbox", _: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
    """Register `{"clientId": "...", "clientSecret": "..."}` or `{"clientId": "...", "jwks": {"keys": [...]}}`."""
    client_id, secret, jwks = body.get("clientId"), body.get("clientSecret"), body.get("jwks", {"keys": []})
    keys: list[object] | None = cast("dict[str, Any]", jwks).get("keys") if isinstance(jwks, dict) else None
    right = isinstance(client_id, str) and client_id and (secret is None or (isinstance(secret, str) and secret))
    if not right or not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        return _wrong("The body must hold clientId, and clientSecret or jwks.")
    client = Client(str(client_id), secret, tuple(cast("list[dict[str, Any]]", keys)))
    sandbox.with_tokens(lambda desk, _: desk.register(client))
    return Answer(204)


def _shown(desk: TokenDesk, now: float) -> dict[str, object]:
    settings = {_camel(name): value for name, value in attrs.asdict(desk.settings).items()}
    return {**settings, "requests": desk.requests, "live": desk.live(now)}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _wrong(message: str) -> Answer:
    return json_answer(400, {"status": 400, "code": "INVALID_ARGUMENT", "message": message})
