"""The three grants and every client authentication, against an independent OpenID provider."""

import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest

from camara_otp.auth import CIBA, ClientCredentials, JWTBearer, scope
from camara_otp.errors import TokenError

SECRET = "p%ss w+rd/=&-0123456789-0123456789"
API = "one-time-password-sms:send-validate"
WITH_PURPOSE = scope(purpose="FraudPreventionAndDetection")
HINT = "tel:+34600000007"


def get(provider, rejected=None):
    """Get a token as the sync client does."""
    return provider.get_token(rejected=rejected, timeout=10)


def introspect(issuer, token):
    """Return the provider's own description of a token."""
    answer = httpx.post(
        f"{issuer}/token/introspection",
        data={"token": token, "client_id": "post", "client_secret": SECRET},
        trust_env=False,
    )
    return answer.raise_for_status().json()


def pem(keys, alg):
    """Return a private key as PEM."""
    return keys[alg].as_pem(private=True)


@pytest.mark.parametrize("where", ["url", "issuer"])
@pytest.mark.parametrize(
    ("client_id", "client_auth"), [("basic client:1", "client_secret_basic"), ("post", "client_secret_post")]
)
def test_client_credentials_with_a_secret(issuer, client_id, client_auth, where):
    """Characters that need encoding arrive unchanged."""
    place = {"token_url": f"{issuer}/token"} if where == "url" else {"issuer": issuer}
    provider = ClientCredentials(
        **place, client_id=client_id, client_secret=SECRET, client_auth=client_auth, scope=WITH_PURPOSE
    )
    token = get(provider)

    known = introspect(issuer, token)
    assert known["active"]
    assert known["client_id"] == client_id
    assert set(known["scope"].split()) == set(WITH_PURPOSE.split())
    assert get(provider) == token
    assert get(provider, rejected=token) != token


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("shape", ["pem", "jwk"])
def test_client_credentials_with_an_assertion(issuer, keys, alg, shape):
    """A provider that checks signature, audience, lifetime and jti accepts each one."""
    key = pem(keys, alg) if shape == "pem" else keys[alg].as_dict(private=True)
    provider = ClientCredentials(f"{issuer}/token", alg, private_key=key, alg=alg, kid=alg)
    tokens = [get(provider)]
    for _ in range(3):
        tokens.append(get(provider, rejected=tokens[-1]))

    assert len(set(tokens)) == 4
    assert introspect(issuer, tokens[-1])["client_id"] == alg


def test_another_audience(issuer, keys):
    """The issuer instead of the endpoint, as some operators require; any other value is refused."""
    made = ClientCredentials(f"{issuer}/token", "ES256", private_key=pem(keys, "ES256"), audience=issuer)
    assert get(made)
    made = ClientCredentials(f"{issuer}/token", "ES256", private_key=pem(keys, "ES256"), audience="https://x.example")
    with pytest.raises(TokenError) as caught:
        get(made)
    assert caught.value.error == "invalid_client"


def test_jwt_tokens(issuer):
    """A token that is a JWT is treated like any other."""
    made = ClientCredentials(f"{issuer}/token", "jwt-tokens", client_secret=SECRET, client_auth="client_secret_post")

    assert get(made).count(".") == 2


def test_three_second_tokens(issuer):
    """No token is expired, with four callers at once, for two lifetimes."""
    made = ClientCredentials(
        f"{issuer}/token", "short", client_secret=SECRET, client_auth="client_secret_post", timeout=5
    )
    seen = set()

    def use(_):
        ends = time.monotonic() + 6.5
        while time.monotonic() < ends:
            token = get(made)
            assert introspect(issuer, token)["active"]
            seen.add(token)
            time.sleep(0.05)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))

    assert 4 <= len(seen) <= 6


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_async_client_is_served(issuer, backend):
    """The same object works on both event loops."""
    made = ClientCredentials(f"{issuer}/token", "post", client_secret=SECRET, client_auth="client_secret_post")

    async def ask():
        return await made.aget_token(rejected=None, timeout=10)

    assert introspect(issuer, anyio.run(ask, backend=backend))["active"]


@pytest.mark.parametrize(
    ("client_id", "options", "error"),
    [
        ("post", {"client_secret": "wrong-secret"}, "invalid_client"),
        ("nobody", {}, "invalid_client"),
        ("narrow", {}, "invalid_scope"),
        ("dpop", {}, "invalid_grant"),
    ],
)
def test_refusals_are_named(issuer, client_id, options, error):
    """The error codes of the provider; no message has the secret."""
    options = {"client_secret": SECRET, "client_auth": "client_secret_post"} | options
    with pytest.raises(TokenError) as caught:
        get(ClientCredentials(f"{issuer}/token", client_id, **options))

    assert caught.value.error == error
    assert options["client_secret"] not in str(caught.value)


def test_a_narrower_grant_is_refused_by_name(issuer):
    """The provider leaves out scopes that it does not know."""
    made = ClientCredentials(
        f"{issuer}/token", "post", client_secret=SECRET, client_auth="client_secret_post", scope=f"{API} unknown:scope"
    )
    with pytest.raises(TokenError, match="unknown:scope is missing"):
        get(made)


def test_a_key_that_the_provider_does_not_know(issuer, keys):
    """The error is the provider's, with the remedies for assertions."""
    made = ClientCredentials(f"{issuer}/token", "RS256", private_key=pem(keys, "PS256"), alg="RS256", kid="RS256")
    with pytest.raises(TokenError, match="kid") as caught:
        get(made)

    assert caught.value.error == "invalid_client"


@pytest.mark.parametrize("how", ["sync", "asyncio", "trio"])
def test_a_ciba_login(issuer, keys, how):
    """Requested, polled until the user confirms, then refreshed with rotation."""
    made = CIBA(
        issuer=issuer,
        client_id="ciba",
        private_key=pem(keys, "ES256"),
        login_hint=HINT,
        scope=scope(purpose="FraudPreventionAndDetection", openid=True, offline=True),
    )
    if how == "sync":
        made.authorize(timeout=30)
    else:
        anyio.run(lambda: made.aauthorize(timeout=30), backend=how)
    tokens = [get(made)]
    for _ in range(3):
        tokens.append(get(made, rejected=tokens[-1]))

    assert len(set(tokens)) == 4
    known = introspect(issuer, tokens[-1])
    assert (known["active"], known["sub"]) == (True, HINT)
    assert API in known["scope"]


@pytest.mark.parametrize(
    ("hint", "error"), [("tel:+34600000008", "access_denied"), ("tel:+34600000009", "unknown_user_id")]
)
def test_a_refused_ciba_login(issuer, keys, hint, error):
    """The user refuses, or the number is unknown."""
    made = CIBA(f"{issuer}/token", f"{issuer}/backchannel", "ciba", private_key=pem(keys, "ES256"), login_hint=hint)
    with pytest.raises(TokenError) as caught:
        made.authorize(timeout=30)

    assert caught.value.error == error
    assert hint.removeprefix("tel:") not in str(caught.value)


def test_jwt_bearer(issuer, keys):
    """Another library checks the assertion: audience, age, and every mandatory claim."""
    made = JWTBearer(f"{issuer}/bearer", "bearer", private_key=pem(keys, "ES256"), subject=HINT, scope=WITH_PURPOSE)
    token = get(made)

    known = introspect(issuer, token)
    assert (known["active"], known["sub"], known["scope"]) == (True, HINT, WITH_PURPOSE)


def test_a_jwt_bearer_assertion_for_another_server(issuer, keys):
    """A wrong audience is rejected as an invalid grant."""
    made = JWTBearer(
        f"{issuer}/bearer", "bearer", private_key=pem(keys, "ES256"), subject=HINT, audience="https://x.example"
    )
    with pytest.raises(TokenError) as caught:
        get(made)

    assert caught.value.error == "invalid_grant"
