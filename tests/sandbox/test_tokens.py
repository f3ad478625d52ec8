"""The authorization server of the sandbox; these tests use no code of the client."""

import base64
import json
import time
import uuid

import attrs
import httpx
import pytest
from joserfc import jwk, jws
from joserfc.jws import JWSRegistry

from camara_otp.sandbox import Sandbox
from camara_otp.sandbox.authorization import API_SCOPE, TokenSettings
from tests.sandbox.conftest import Caller
from tests.sandbox.test_control import described

CIBA = "urn:openid:params:grant-type:ciba"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
HINT = "tel:+346661113334"


class AnyAlgorithm(JWSRegistry):
    def get_alg(self, name):
        return self.algorithms[name]


@attrs.define
class Asking:
    """A caller of the authorization server and its control API."""

    caller: object

    @property
    def http(self):
        return self.caller.http

    def post(self, path, form, **options):
        return self.http.post(f"/oauth2/{path}", data=form, **options)

    def token(self, **form):
        return self.post("token", {"grant_type": "client_credentials", "scope": API_SCOPE} | secret() | form)

    def login(self, **form):
        return self.post("bc-authorize", {"scope": f"openid {API_SCOPE}", "login_hint": HINT} | secret() | form)

    def poll(self, identifier, **form):
        return self.post("token", {"grant_type": CIBA, "auth_req_id": identifier} | secret() | form)

    def control(self, method, name, body=None):
        return described(self.http.request(method, f"/_sandbox/{name}", json=body))

    def settings(self, **settings):
        assert self.control("POST", "tokens", settings).status_code == 200

    def url(self, path="token"):
        return str(self.http.base_url.join(f"{self.http.base_url.path.rstrip('/')}/oauth2/{path}"))


@pytest.fixture
def asking():
    """Call a sandbox that accepts only its own tokens, in process."""
    sandbox = Sandbox(tokens=())
    with httpx.Client(transport=sandbox.transport(), base_url="https://api.example.com/camara") as http:
        yield Asking(Caller(sandbox, http))


@pytest.fixture
def both(calling):
    """Call such a sandbox in process and over HTTP."""
    return Asking(calling(tokens=()))


def secret(client_id="client", value="secret"):
    return {"client_id": client_id, "client_secret": value}


def refused(answer, error, status=400):
    """Check the form of an OAuth error."""
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] == error
    assert answer.json()["error_description"]
    assert answer.headers["cache-control"] == "no-store"


KEY = jwk.ECKey.generate_key("P-256")


def assertion(url, *, key=KEY, alg="ES256", **claims):
    """Return a signed assertion, like that of a client."""
    now = int(time.time())
    claims = {
        "iss": "client",
        "sub": "client",
        "aud": url,
        "iat": now,
        "exp": now + 120,
        "jti": str(uuid.uuid4()),
    } | claims
    claims = {name: value for name, value in claims.items() if value is not None}
    return jws.serialize_compact({"alg": alg}, json.dumps(claims), key, registry=AnyAlgorithm())


def test_a_token_opens_the_api(both):
    """With the setting, only issued tokens are accepted."""
    assert both.caller.send(token="any").status_code == 401
    answer = both.token()

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, API_SCOPE)
    assert both.caller.send(token=body["access_token"]).status_code == 200


def test_tokens_expire_by_the_sandboxs_clock(asking):
    """With short lifetimes and a clock that is moved."""
    asking.settings(lifetime=3)
    body = asking.token().json()
    assert body["expires_in"] == 3
    assert asking.caller.send(token=body["access_token"]).status_code == 200
    asking.caller.sandbox.advance(3)

    answer = asking.caller.send(token=body["access_token"])
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")


def test_an_issued_token_that_is_over_never_passes_as_any_token(calling):
    """Although every other token is accepted by default."""
    asking = Asking(calling())
    token = asking.token().json()["access_token"]

    assert asking.caller.send(token=token).status_code == 200
    assert asking.caller.send(token="anything").status_code == 200
    assert asking.control("POST", "revoke", {"token": token}).json() == {"revoked": 1}
    assert asking.caller.send(token=token).status_code == 401
    assert asking.control("POST", "revoke", {"token": token}).json() == {"revoked": 0}


def test_revocation_of_all(asking):
    """Each issued token is rejected with 401 afterwards."""
    tokens = [asking.token().json()["access_token"] for _ in range(3)]

    assert asking.control("GET", "tokens").json()["live"] == 3
    assert asking.control("POST", "revoke").json() == {"revoked": 3}
    assert [asking.caller.send(token=token).status_code for token in tokens] == [401] * 3
    assert asking.control("GET", "tokens").json() == {
        "lifetime": 3600.0,
        "login": "approve",
        "loginAfter": 0.0,
        "loginLifetime": 120.0,
        "interval": 1.0,
        "requests": 3,
        "live": 0,
    }


@pytest.mark.parametrize("scope", [API_SCOPE, f"dpv:X {API_SCOPE}", f"dpv:X#{API_SCOPE}"])
def test_both_forms_of_a_purpose_open_the_api(asking, scope):
    """A scope with a separate and with a joined purpose."""
    token = asking.token(scope=scope).json()["access_token"]

    assert asking.caller.send(token=token).status_code == 200


def test_a_token_without_the_scope_is_forbidden(asking):
    """The status is 403, because a new token of the same kind would not help."""
    token = asking.token(scope="other:scope").json()["access_token"]
    answer = asking.caller.send(token=token)

    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")


def test_basic_is_form_encoded(asking):
    """Source: RFC 6749 section 2.3.1."""
    asking.control("POST", "clients", {"clientId": "cli:ent", "clientSecret": "s e+c"})
    form = {"grant_type": "client_credentials", "scope": API_SCOPE}

    def ask(pair):
        value = base64.b64encode(pair).decode()
        return asking.post("token", form, headers={"Authorization": f"Basic {value}"})

    assert ask(b"cli%3Aent:s+e%2Bc").status_code == 200
    refused(ask(b"cli%3Aent:s e+c"), "invalid_client", 401)
    assert ask(b"cli%3Aent:wrong").headers["www-authenticate"].startswith("Basic")
    refused(ask(b"nocolon"), "invalid_client", 401)
    refused(asking.post("token", form, headers={"Authorization": "Basic ***"}), "invalid_client", 401)
    refused(asking.post("token", form, headers={"Authorization": "Bearer x"}), "invalid_client", 401)


def test_registered_clients_only(asking):
    """After the first registration, other clients are refused."""
    assert asking.control("POST", "clients", secretly("known", "right")).status_code == 204

    assert asking.token(**secret("known", "right")).status_code == 200
    refused(asking.token(**secret("known", "wrong")), "invalid_client", 401)
    refused(asking.token(**secret("other", "right")), "invalid_client", 401)


def test_secrets_may_be_of_any_letters(asking):
    """A wrong one is refused like any other."""
    asking.control("POST", "clients", secretly("known", "pässwörd"))

    assert asking.token(**secret("known", "pässwörd")).status_code == 200
    refused(asking.token(**secret("known", "passwort")), "invalid_client", 401)
    refused(asking.token(**secret("known", "\N{PILE OF POO}")), "invalid_client", 401)


def secretly(client_id, value):
    return {"clientId": client_id, "clientSecret": value}


@pytest.mark.parametrize(
    ("form", "error", "status"),
    [
        ({"client_secret": ""}, "invalid_client", 401),
        ({"client_id": ""}, "invalid_request", 400),
        ({"grant_type": "password"}, "unsupported_grant_type", 400),
        ({"grant_type": ""}, "invalid_request", 400),
        ({"scope": ""}, "invalid_scope", 400),
        ({"scope": "a  b"}, "invalid_scope", 400),
        ({"client_assertion": "x"}, "invalid_client", 401),
        ({"grant_type": "refresh_token"}, "invalid_request", 400),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, "invalid_grant", 400),
        ({"grant_type": CIBA, "auth_req_id": "unknown"}, "invalid_grant", 400),
    ],
)
def test_wrong_requests_are_refused(asking, form, error, status):
    """The error codes are those of RFC 6749."""
    refused(asking.token(**form), error, status)


def test_what_is_no_form_is_refused(asking):
    """Another method, another type, a field twice, broken encoding, too many bytes."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    other_method = asking.http.get("/oauth2/token")
    refused(other_method, "invalid_request", 405)
    assert other_method.headers["allow"] == "POST"
    refused(asking.http.post("/oauth2/token", json={}), "invalid_request")
    for content in (b"scope=a&scope=b", b"scope", b"\xff=1", b"a=" + b"x" * 70_000, b""):
        refused(asking.http.post("/oauth2/token", content=content, headers=form), "invalid_request")


def test_an_assertion_logs_in(both):
    """The public key is registered, the private key signs."""
    both.control("POST", "clients", {"clientId": "client", "jwks": {"keys": [KEY.as_dict(private=False)]}})
    form = {"grant_type": "client_credentials", "scope": API_SCOPE, "client_assertion_type": TYPE}

    def ask(**claims):
        return both.post("token", form | {"client_assertion": assertion(both.url(), **claims)})

    assert ask().status_code == 200
    assert ask(aud=[both.url(), "https://other.example"]).status_code == 200
    refused(ask(key=jwk.ECKey.generate_key("P-256")), "invalid_client", 401)
    refused(both.token(client_secret="x"), "invalid_client", 401)
    refused(both.post("token", form | {"client_assertion": "x", "client_assertion_type": "y"}), "invalid_client", 401)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example/oauth2/token"},
        {"aud": "client"},
        {"aud": None},
        {"aud": 7},
        {"aud": "http://["},
        {"aud": ["http://\N{ACCOUNT OF}/"]},
        {"sub": "other"},
        {"iss": None},
        {"jti": None},
        {"jti": ["a"]},
        {"exp": None},
        {"exp": True},
        {"exp": int(time.time()) - 1},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": -1},
        {"iat": float("nan")},
        {"iat": float("-inf")},
        {"iat": 1.5, "exp": 10**400},
        {"exp": int(time.time()) + 1000, "iat": int(time.time()) + 900},
        {"iat": int(time.time()) - 1000},
        {"iat": None},
    ],
)
def test_a_wrong_assertion_is_refused(asking, claims):
    """Each claim of the security profile is checked, also without a registered client."""
    form = {"grant_type": "client_credentials", "scope": API_SCOPE, "client_assertion_type": TYPE}

    refused(asking.post("token", form | {"client_assertion": assertion(asking.url(), **claims)}), "invalid_client", 401)


@pytest.mark.parametrize("text", ["x", "a.b", "a.b.c", "e30.e30.", "e30.W10.c", "....", "é.é.é"])
def test_what_is_no_jwt_is_refused(asking, text):
    """Each part of the JWT is broken in turn."""
    form = {"grant_type": "client_credentials", "scope": API_SCOPE, "client_assertion_type": TYPE}

    refused(asking.post("token", form | {"client_assertion": text}), "invalid_client", 401)


def test_an_unsigned_assertion_is_refused(asking):
    """`none` and symmetric algorithms are not accepted."""
    form = {"grant_type": "client_credentials", "scope": API_SCOPE, "client_assertion_type": TYPE}
    key = jwk.OctKey.import_key("x" * 64)

    sent = form | {"client_assertion": assertion(asking.url(), key=key, alg="HS256")}
    refused(asking.post("token", sent), "invalid_client", 401)


def test_an_assertion_works_once(asking):
    """Its jti is stored."""
    form = {"grant_type": "client_credentials", "scope": API_SCOPE, "client_assertion_type": TYPE}
    form |= {"client_assertion": assertion(asking.url())}

    assert asking.post("token", form).status_code == 200
    refused(asking.post("token", form), "invalid_client", 401)


def test_jwt_bearer(asking):
    """The assertion is enough; it has the scope, and never openid."""

    def ask(more=None, **claims):
        claims = {"sub": HINT, "scope": f"dpv:X {API_SCOPE}"} | claims
        return asking.post(
            "token", {"grant_type": BEARER, "assertion": assertion(asking.url(), **claims)} | (more or {})
        )

    token = ask().json()["access_token"]
    assert asking.caller.send(token=token).status_code == 200
    refused(ask({"scope": API_SCOPE}), "invalid_request")
    refused(ask(scope=f"openid {API_SCOPE}"), "invalid_scope")
    refused(ask(scope=None), "invalid_scope")
    refused(ask(sub="+346661113334"), "invalid_grant")
    refused(ask(sub="ipport:1.2.3.4:5"), "invalid_grant")
    refused(ask(aud="https://other.example/oauth2/token"), "invalid_grant")


def test_a_login_is_polled_for(both):
    """Pending until the user has answered; polling too fast is slowed down, and the id works once."""
    both.settings(loginAfter=10)
    body = both.login().json()
    assert (body["interval"], body["expires_in"]) == (1.0, 120)
    identifier = body["auth_req_id"]

    refused(both.poll(identifier), "slow_down")
    both.caller.sandbox.advance(6)
    refused(both.poll(identifier), "authorization_pending")
    both.caller.sandbox.advance(5)
    refused(both.poll(identifier), "slow_down")
    refused(both.poll(identifier, client_id="thief"), "invalid_grant")
    both.caller.sandbox.advance(11)
    token = both.poll(identifier).json()["access_token"]
    assert both.caller.send(token=token).status_code == 200
    refused(both.poll(identifier), "invalid_grant")


@pytest.mark.parametrize(
    ("settings", "seconds", "error"),
    [
        ({"login": "deny"}, 1, "access_denied"),
        ({"login": "wait"}, 1, "authorization_pending"),
        ({"login": "wait", "loginLifetime": 30}, 30, "expired_token"),
    ],
)
def test_a_login_can_fail(asking, settings, seconds, error):
    """The user denies it, or does not respond."""
    asking.settings(**settings)
    identifier = asking.login().json()["auth_req_id"]
    asking.caller.sandbox.advance(seconds)

    refused(asking.poll(identifier), error)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"scope": API_SCOPE}, "invalid_scope"),
        ({"login_hint": "tel: 346661113334"}, "unknown_user_id"),
        ({"login_hint": ""}, "invalid_request"),
        ({"id_token_hint": "x"}, "invalid_request"),
        ({"login_hint_token": "x"}, "invalid_request"),
    ],
)
def test_a_wrong_login_is_refused(asking, form, error):
    """A plus sign that was not encoded arrives as a space."""
    refused(asking.login(**form), error)


def test_refresh_tokens_rotate(asking):
    """Only with offline_access, each valid once, all invalid after a revocation."""
    identifier = asking.login(scope=f"openid offline_access {API_SCOPE}").json()["auth_req_id"]
    asking.caller.sandbox.advance(1)
    first = asking.poll(identifier).json()

    def refresh(token, **form):
        return asking.token(grant_type="refresh_token", refresh_token=token, **form)

    second = refresh(first["refresh_token"]).json()
    assert second["access_token"] != first["access_token"]
    refused(refresh(first["refresh_token"]), "invalid_grant")
    third = refresh(second["refresh_token"]).json()
    asking.control("POST", "revoke")
    refused(refresh(third["refresh_token"]), "invalid_grant")


def test_discovery(both):
    """The endpoints are under the root of the request."""
    found = both.http.get("/.well-known/openid-configuration").json()

    assert found["issuer"] == str(both.http.base_url).rstrip("/")
    assert found["token_endpoint"] == both.url()
    assert found["backchannel_authentication_endpoint"] == both.url("bc-authorize")


@pytest.mark.parametrize(
    ("method", "name", "body"),
    [
        ("POST", "tokens", {"lifetime": -1}),
        ("POST", "tokens", {"lifetime": "3"}),
        ("POST", "tokens", {"lifetime": True}),
        ("POST", "tokens", {"login": "perhaps"}),
        ("POST", "tokens", {"unknown": 1}),
        ("POST", "revoke", {"token": 7}),
        ("POST", "clients", {}),
        ("POST", "clients", {"clientId": ""}),
        ("POST", "clients", {"clientId": "a", "clientSecret": ""}),
        ("POST", "clients", {"clientId": "a", "jwks": []}),
        ("POST", "clients", {"clientId": "a", "jwks": {"keys": ["x"]}}),
    ],
)
def test_wrong_settings_are_refused(asking, method, name, body):
    """A refused request changes nothing."""
    answer = asking.control(method, name, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")


def test_a_reset_forgets_tokens_and_clients(asking):
    token = asking.token().json()["access_token"]
    asking.control("POST", "clients", secretly("a", "b"))
    asking.control("POST", "reset")

    assert asking.caller.send(token=token).status_code == 401
    assert asking.token().status_code == 200


def test_settings_are_checked_in_python_too():
    """The limits are those of the control API."""
    with pytest.raises(ValueError, match="interval"):
        TokenSettings(interval=float("nan"))


def test_without_the_signing_package_keys_are_refused_with_the_remedy(asking, monkeypatch):
    """An unchecked signature is never accepted."""
    asking.control("POST", "clients", {"clientId": "client", "jwks": {"keys": [KEY.as_dict(private=False)]}})
    sent = assertion(asking.url())
    monkeypatch.setitem(__import__("sys").modules, "joserfc", None)
    form = {"grant_type": "client_credentials", "scope": API_SCOPE, "client_assertion_type": TYPE}
    answer = asking.post("token", form | {"client_assertion": sent})

    refused(answer, "invalid_client", 401)
    assert "camara-otp[oauth]" in answer.json()["error_description"]


def test_what_is_kept_is_bounded(asking, monkeypatch):
    """The oldest token and the oldest client are dropped first."""
    monkeypatch.setattr("camara_otp.sandbox.authorization._KEPT", 2)
    first, *others = (asking.token().json()["access_token"] for _ in range(3))

    assert [asking.caller.send(token=token).status_code for token in (first, *others)] == [401, 200, 200]

    for client_id in "abc":
        asking.control("POST", "clients", secretly(client_id, "secret"))
    assert [asking.token(**secret(client_id)).status_code for client_id in "abc"] == [401, 200, 200]


LONG = "x" * 257


def test_what_is_stored_has_a_limit(asking):
    """Long scopes, client ids, subjects and jti would fill the memory of a sandbox that runs for days."""
    assert asking.token(scope="s" * 1000).status_code == 200
    refused(asking.token(scope="s" * 1001), "invalid_scope", 400)
    refused(asking.token(client_id=LONG), "invalid_client", 401)
    form = {"grant_type": "client_credentials", "scope": API_SCOPE, "client_assertion_type": TYPE}
    for claims in ({"jti": LONG}, {"iss": LONG, "sub": LONG}):
        answer = asking.post("token", form | {"client_assertion": assertion(asking.url(), **claims)})
        refused(answer, "invalid_client", 401)
    for body in ({"clientId": LONG, "clientSecret": "s"}, {"clientId": "a", "clientSecret": LONG}):
        assert asking.control("POST", "clients", body).status_code == 400
