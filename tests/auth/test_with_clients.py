"""Both clients, the providers and the sandbox's authorization server together."""

import time
from contextlib import ExitStack

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from joserfc import jwk

from camara_otp import TokenError
from camara_otp.auth import CIBA, ClientCredentials, JWTBearer, scope
from camara_otp.sandbox import Sandbox
from tests.conftest import MESSAGE, NUMBER, Shell

KEY = jwk.ECKey.generate_key("P-256")


@pytest.fixture(scope="module")
def operator():
    """Run a sandbox that accepts its own tokens only."""
    sandbox = Sandbox(tokens=(), max_send=1000)
    with sandbox.serve() as url:
        yield sandbox, url


@pytest.fixture
def url(operator):
    """Yield its URL; its state is reset."""
    sandbox, url = operator
    sandbox.reset()
    return url


def control(url, method, name, body=None):
    """Use the control API."""
    return httpx.request(method, f"{url}/_sandbox/{name}", json=body, trust_env=False).raise_for_status().json()


def with_secret(url, **options):
    """Return a provider that logs in with a secret."""
    return ClientCredentials(f"{url}/oauth2/token", "client", client_secret="secret", **options)


def with_login(url):
    """Return a provider whose user has logged in."""
    provider = CIBA(
        issuer=url,
        client_id="client",
        client_secret="secret",
        login_hint=f"tel:{NUMBER}",
        scope=scope(purpose="FraudPreventionAndDetection", openid=True, offline=True),
    )
    provider.authorize(timeout=10)
    return provider


PEM = KEY.as_pem(private=True)
PROVIDERS = {
    "secret": with_secret,
    "assertion": lambda url: ClientCredentials(issuer=url, client_id="client", private_key=PEM),
    "jwt bearer": lambda url: JWTBearer(issuer=url, client_id="client", private_key=PEM, subject=f"tel:{NUMBER}"),
    "ciba": with_login,
}


@pytest.mark.parametrize("kind", ["secret", "assertion", "jwt bearer", "ciba"])
def test_a_code_is_sent_and_checked(shell, operator, url, kind):
    """With every grant, sync and async; the token is fetched once."""
    otp = shell.client(url, token=PROVIDERS[kind](url))
    before = control(url, "GET", "tokens")["requests"]
    sent = otp.send_code(NUMBER, MESSAGE)
    otp.validate_code(sent.authentication_id, operator[0].last_code(NUMBER))

    assert control(url, "GET", "tokens")["requests"] - before == (0 if kind == "ciba" else 1)


@pytest.mark.parametrize("kind", ["secret", "assertion", "jwt bearer"])
def test_a_revoked_token_is_renewed_unnoticed(shell, operator, url, kind):
    """After the 401, the request is repeated with a new token; one SMS is sent."""
    otp = shell.client(url, token=PROVIDERS[kind](url))
    otp.send_code(NUMBER, MESSAGE)
    before = control(url, "GET", "tokens")["requests"]
    control(url, "POST", "revoke")
    otp.send_code(NUMBER, MESSAGE)

    assert len(operator[0].messages(NUMBER)) == 2
    assert control(url, "GET", "tokens")["requests"] - before == 1


def test_a_token_that_ends_is_renewed_in_time(shell, operator, url):
    """The operator never gets an expired token."""
    control(url, "POST", "tokens", {"lifetime": 1})
    otp = shell.client(url, token=with_secret(url))
    ends = time.monotonic() + 1.5
    while time.monotonic() < ends:
        otp.send_code(NUMBER, MESSAGE)
        time.sleep(0.05)

    assert {call.status for call in operator[0].calls()} == {200}
    assert control(url, "GET", "tokens")["requests"] >= 2


def test_no_token_means_no_request(shell, operator, url):
    """The error has the reason, and `outcome_unknown` is False."""
    httpx.post(
        f"{url}/_sandbox/clients", json={"clientId": "client", "clientSecret": "another"}, trust_env=False
    ).raise_for_status()
    with pytest.raises(TokenError, match="invalid_client") as caught:
        shell.client(url, token=with_secret(url)).send_code(NUMBER, MESSAGE)

    assert (caught.value.error, caught.value.attempts, caught.value.outcome_unknown) == ("invalid_client", 0, False)
    assert operator[0].calls() == []


def test_one_provider_serves_clients_of_every_kind(operator, url):
    """Sync, asyncio and trio share one token."""
    provider = with_secret(url)
    for kind in ("sync", "asyncio", "trio"):
        with ExitStack() as stack:
            portal = None if kind == "sync" else stack.enter_context(start_blocking_portal(kind))
            Shell(kind, portal, stack).client(url, token=provider).send_code(NUMBER, MESSAGE)

    assert control(url, "GET", "tokens")["requests"] == 1
