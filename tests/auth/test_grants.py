"""The three grants against a server on loopback: fetch, cache, renew, repeat and reject."""

import asyncio
import base64
import contextlib
import datetime as dt
import json
import pickle
import signal
import socket
import ssl
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from joserfc.jws import JWSRegistry

from camara_otp._secret import Secret
from camara_otp.auth import CIBA, ClientCredentials, JWTBearer, MemoryStore, TokenProvider, scope, token_endpoint
from camara_otp.auth.providers import atoken_from, token_from
from camara_otp.auth.responses import TokenRefusal
from camara_otp.auth.token_endpoint import pause_before
from camara_otp.errors import ConfigurationError, TokenError
from tests.auth.server import answer

SECRET = "s3cr3t-value"
SCOPE = "one-time-password-sms:send-validate"
HINT = "tel:+34666111333"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    """Repeat at once."""
    monkeypatch.setattr(token_endpoint.random, "uniform", lambda low, high: 0.01)


def secret(tokens, **options):
    """Return a provider that logs in with a secret."""
    return ClientCredentials(tokens.url, "client", client_secret=SECRET, **options)


def get(provider, rejected=None, timeout=5.0):
    """Ask as the sync client does."""
    return provider.get_token(rejected=rejected, timeout=timeout)


def claims(assertion, key):
    """Return the claims of a rightly signed assertion."""
    return json.loads(jws.deserialize_compact(assertion, key, registry=AnyAlgorithm()).payload)


class AnyAlgorithm(JWSRegistry):
    def get_alg(self, name):
        return self.algorithms[name]


def providers(tokens, keys):
    """Return one provider of each kind."""
    pem = keys["P-256"].as_pem(private=True)
    return [
        secret(tokens),
        JWTBearer(tokens.url, "client", private_key=pem, subject=HINT),
        CIBA(tokens.url, f"{tokens.origin}/bc", "client", client_secret=SECRET, login_hint=HINT),
    ]


def test_all_are_token_providers(tokens, keys):
    """The client takes any of them."""
    assert all(isinstance(provider, TokenProvider) for provider in providers(tokens, keys))


def test_a_token_is_fetched_once_and_kept(tokens):
    """Basic by default, the scope of this API."""
    provider = secret(tokens)

    assert [get(provider) for _ in range(5)] == ["token-1"] * 5
    [seen] = tokens.seen
    assert (seen.method, seen.path) == ("POST", "/token")
    assert seen.form == {"grant_type": "client_credentials", "scope": SCOPE}
    assert seen.headers["authorization"] == httpx.BasicAuth("client", SECRET)._auth_header
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    assert seen.headers["user-agent"] == "camara-otp"


@pytest.mark.anyio
async def test_the_async_client_is_served_by_the_same_object(tokens):
    """Fetched in a task, used in a thread, and back."""
    provider = secret(tokens)

    assert await provider.aget_token(rejected=None, timeout=5) == "token-1"
    assert await provider.aget_token(rejected=None, timeout=5) == "token-1"
    assert get(provider) == "token-1"
    assert await provider.aget_token(rejected="token-1", timeout=5) == "token-2"
    assert tokens.count == 2


def test_one_object_serves_many_loops(tokens):
    """Nothing is bound to the first event loop."""
    provider = secret(tokens)

    async def call(rejected):
        return await provider.aget_token(rejected=rejected, timeout=5)

    assert asyncio.run(call(None)) == "token-1"
    assert asyncio.run(call("token-1")) == "token-2"
    assert anyio.run(call, "token-2", backend="trio") == "token-3"


@pytest.mark.anyio
async def test_a_hundred_tasks_cost_one_request(tokens):
    """After a rejection for all of them, they make one more."""
    provider = secret(tokens)
    got = []

    async def call(rejected):
        got.append(await provider.aget_token(rejected=rejected, timeout=10))

    for rejected in (None, "token-1"):
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(call, rejected)

    assert got == ["token-1"] * 100 + ["token-2"] * 100
    assert tokens.count == 2


def test_a_hundred_threads_cost_one_request(tokens):
    """Without a first call to warm the provider up."""
    provider = secret(tokens)

    with ThreadPoolExecutor(100) as pool:
        assert set(pool.map(lambda _: get(provider), range(100))) == {"token-1"}

    assert tokens.count == 1


def test_the_lifetime_of_a_token_counts_from_its_request(tokens):
    """A response that takes a while does not make its token expire later."""
    tokens.gate.clear()
    opener = threading.Timer(0.5, tokens.gate.set)
    opener.start()
    provider = secret(tokens)
    began = time.monotonic()
    get(provider)

    assert 3600 <= provider._cache._token.expires_at - began < 3600.4
    opener.join()


def test_a_short_token_is_renewed_in_time(tokens):
    """Real time, real server: never an expired token, and no fetch per call."""
    tokens.expires_in = 1
    provider = secret(tokens)
    ends = time.monotonic() + 2.0
    while time.monotonic() < ends:
        number = int(get(provider).removeprefix("token-"))
        assert number >= tokens.count - 1
        time.sleep(0.01)

    assert 4 <= tokens.count <= 6


def test_credentials_in_the_form(tokens):
    get(secret(tokens, client_auth="client_secret_post", scope="a b"))

    assert tokens.seen[0].form == {
        "grant_type": "client_credentials",
        "scope": "a b",
        "client_id": "client",
        "client_secret": SECRET,
    }
    assert "authorization" not in tokens.seen[0].headers


def test_credentials_by_assertion(tokens, keys):
    """`private_key_jwt`: the endpoint as audience, a new jti each time."""
    key = keys["RSA"]
    provider = ClientCredentials(tokens.url, "client", private_key=key.as_pem(private=True), kid="k")
    get(provider)
    get(provider, rejected="token-1")

    sent = [claims(seen.form["client_assertion"], key) for seen in tokens.seen]
    assert [one["aud"] for one in sent] == [tokens.url] * 2
    assert all(0 < one["exp"] - one["iat"] <= 300 and abs(one["iat"] - time.time()) < 10 for one in sent)
    assert len({one["jti"] for one in sent}) == 2


def test_jwt_bearer(tokens, keys):
    """Grant and assertion, nothing else; renewed by a new assertion."""
    provider = JWTBearer(
        tokens.url, "client", private_key=keys["P-256"].as_pem(private=True), subject=HINT, scope=f"dpv:X {SCOPE}"
    )

    assert get(provider) == "token-1"
    assert get(provider, rejected="token-1") == "token-2"
    for seen in tokens.seen:
        assert sorted(seen.form) == ["assertion", "grant_type"]
        sent = claims(seen.form["assertion"], keys["P-256"])
        assert (sent["sub"], sent["scope"], sent["aud"]) == (HINT, f"dpv:X {SCOPE}", tokens.url)


def discovery(tokens, **more):
    """Return an OpenID configuration."""
    return answer(
        issuer=tokens.origin,
        token_endpoint=tokens.url,
        backchannel_authentication_endpoint=f"{tokens.origin}/bc",
        **more,
    )


def test_the_configuration_is_named_as_well_as_its_issuer(tokens):
    """Operators hand out the one or the other; specs call the longer one openIdConnectUrl."""
    tokens.replies = [discovery(tokens)]
    provider = ClientCredentials(
        issuer=f"{tokens.origin}/.well-known/openid-configuration", client_id="client", client_secret=SECRET
    )

    assert get(provider) == "token-2"
    assert tokens.seen[0].path == "/.well-known/openid-configuration"


def test_endpoints_are_discovered_once(tokens, keys):
    """The configuration is read at the first fetch, and its token endpoint is the audience."""
    tokens.replies = [discovery(tokens)]
    provider = ClientCredentials(
        issuer=tokens.origin, client_id="client", private_key=keys["P-256"].as_pem(private=True)
    )

    assert get(provider) == "token-2"
    assert get(provider, rejected="token-2") == "token-3"
    assert [(seen.method, seen.path) for seen in tokens.seen] == [
        ("GET", "/.well-known/openid-configuration"),
        ("POST", "/token"),
        ("POST", "/token"),
    ]
    assert claims(tokens.seen[1].form["client_assertion"], keys["P-256"])["aud"] == tokens.url


def test_a_failed_discovery_is_a_token_error_and_not_kept(tokens):
    """Another issuer's configuration now, the right one later."""
    tokens.replies = [answer(issuer="https://evil.example", token_endpoint="https://evil.example/t"), discovery(tokens)]
    provider = ClientCredentials(issuer=tokens.origin, client_id="client", client_secret=SECRET)

    with pytest.raises(TokenError, match="another issuer"):
        get(provider)
    assert get(provider) == "token-3"


def test_failures_of_the_server_are_repeated(tokens, keys):
    """A reset and a 503, then a token: one call, with a new jti for each request."""
    tokens.replies = [(0, {}, b""), (503, {}, b""), answer(502, error="server_error")]
    provider = ClientCredentials(tokens.url, "client", private_key=keys["P-256"].as_pem(private=True))

    assert get(provider) == "token-4"
    assert len({claims(seen.form["client_assertion"], keys["P-256"])["jti"] for seen in tokens.seen}) == 4


def test_repetitions_end(tokens):
    """After four attempts, the last failure is raised."""
    tokens.reply = lambda seen: (503, {}, b"")

    with pytest.raises(TokenError, match="503"):
        get(secret(tokens))
    assert tokens.count == 4


def test_a_wait_beyond_the_deadline_is_not_begun(tokens):
    """The server asks for a minute, the provider has a second."""
    tokens.reply = lambda seen: (503, {"Retry-After": "60"}, b"")
    began = time.monotonic()

    with pytest.raises(TokenError, match="503"):
        get(secret(tokens, timeout=1))
    assert time.monotonic() - began < 0.9
    assert tokens.count == 1


@pytest.mark.parametrize(
    ("refusal", "attempt", "left", "pause"),
    [
        (TokenRefusal("x"), 2, 10, None),
        (TokenRefusal("x", again=True), 2, 0.001, None),
        (TokenRefusal("x", again=True), 2, 10, 0.002),
        (TokenRefusal("x", again=True), 9, 10, 0.02),
        (TokenRefusal("x", again=True, wait=3), 2, 10, 3),
        (TokenRefusal("x", again=True, wait=11), 2, 10, None),
    ],
)
def test_pauses_grow_and_fit(refusal, attempt, left, pause):
    """Exponential up to a limit, at least the server's Retry-After, never beyond the deadline."""
    assert pause_before(attempt, refusal, left) == (pytest.approx(pause) if pause is not None else None)


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (answer(401, error="invalid_client", error_description="nope"), "invalid_client", "nope"),
        (answer(400, error="invalid_scope"), "invalid_scope", "scope"),
        ((200, {"Content-Type": "text/html"}, b"<html>sign in</html>"), None, "JSON"),
        ((200, {}, b""), None, "JSON"),
        ((404, {}, b"nothing here"), None, "404"),
        ((302, {"Location": "https://evil.example/"}, b""), None, "redirect"),
        (answer(access_token="t", token_type="DPoP"), None, "DPoP"),
        (answer(access_token="t", token_type="Bearer", scope="other"), None, SCOPE),
        (answer(access_token="t" * 70_000, token_type="Bearer"), None, "token endpoint"),
        (answer(token_type="Bearer"), None, "access_token"),
    ],
)
def test_bad_answers_become_token_errors(tokens, reply, code, said):
    """The provider makes one request, because a repeat would not help."""
    tokens.reply = lambda seen: reply

    with pytest.raises(TokenError, match=said) as caught:
        get(secret(tokens))

    assert caught.value.error == code
    assert caught.value.outcome_unknown is False
    assert tokens.count == 1


def test_a_refused_connection_is_repeated_then_reported():
    with pytest.raises(TokenError, match="could not be reached.*check its URL"):
        get(ClientCredentials("http://127.0.0.1:9/token", "client", client_secret=SECRET, timeout=2))


@pytest.mark.parametrize(
    "bytes_of_answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]
)
@pytest.mark.parametrize("how", ["sync", "asyncio", "trio"])
def test_a_silent_server_ends_with_the_time_of_the_call(bytes_of_answer, how):
    """The deadline of the call applies, even if a part of the response has arrived."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        provider = ClientCredentials(
            f"http://127.0.0.1:{listener.getsockname()[1]}/token", "client", client_secret=SECRET, timeout=1
        )
        taken = []

        def serve():
            link, _ = listener.accept()
            taken.append(link)
            link.sendall(bytes_of_answer)

        thread = threading.Thread(target=serve)
        thread.start()
        began = time.monotonic()
        calls = {
            "sync": lambda: get(provider, timeout=0.2),
            "asyncio": lambda: asyncio.run(provider.aget_token(rejected=None, timeout=0.2)),
            "trio": lambda: anyio.run(lambda: provider.aget_token(rejected=None, timeout=0.2), backend="trio"),
        }
        with pytest.raises(TokenError, match="time") as caught:
            calls[how]()
        assert time.monotonic() - began < 0.8
        assert caught.value.outcome_unknown is False
        thread.join()
        taken[0].close()


def test_a_certificate_that_does_not_verify_is_told_and_not_tried_again(tmp_path):
    """The secret is not sent; a repeat cannot help."""
    handshakes = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        context = self_signed(tmp_path)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    link, _ = listener.accept()
                    handshakes.append(1)
                    with contextlib.suppress(OSError), context.wrap_socket(link, server_side=True) as tls:
                        handshakes.append(tls.recv(10_000))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        provider = ClientCredentials(
            f"https://127.0.0.1:{listener.getsockname()[1]}/token", "client", client_secret=SECRET
        )
        with pytest.raises(TokenError, match="certificate.*CA.*http_client"):
            get(provider)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert handshakes == [1]


def self_signed(folder):
    """Return a server's TLS context with a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_errors_hold_nothing_that_is_secret(tokens, keys):
    """Message, repr, pickle and a traceback with locals, although the server echoes the request."""

    def echo(seen):
        return answer(400, error="invalid_request", error_description=" ".join(value for _, value in seen.pairs))

    tokens.reply = echo
    provider = ClientCredentials(tokens.url, "client", client_secret=SECRET, client_auth="client_secret_post")
    with pytest.raises(TokenError) as caught:
        provider.get_token(rejected="r3jected", timeout=5)

    error = caught.value
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    kept = repr(error) + str(error) + str(error.error_description)
    for text in (shown, kept, repr(provider)):
        assert SECRET not in text
        assert "r3jected" not in text.replace('rejected="r3jected"', "")
    assert error.__cause__ is None
    assert error.__context__ is None
    assert pickle.loads(pickle.dumps(error)).error == "invalid_request"

    tokens.seen.clear()
    provider = JWTBearer(tokens.url, "client", private_key=keys["P-256"].as_pem(private=True), subject=HINT)
    with pytest.raises(TokenError) as caught:
        get(provider)
    assert tokens.seen[0].form["assertion"] not in str(caught.value)
    assert "eyJ" not in str(caught.value)


@pytest.fixture
def alarm():
    """Return a function that raises KeyboardInterrupt in this thread a moment later, as Ctrl-C does."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.15)
    signal.signal(signal.SIGALRM, before)


def locals_of(error):
    """Return the locals of every frame but those of this file, of an error and all that led to it."""
    shown = []
    while error is not None:
        stack = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), capture_locals=True)
        shown += [f"{frame.name} {frame.locals}" for frame in stack if frame.filename != __file__]
        error = error.__context__
    return shown


@pytest.mark.parametrize("moment", ["asking", "waiting", "polling"])
@pytest.mark.usefixtures("quick_polls")
def test_an_interrupted_login_leaves_no_secret_in_the_traceback(tokens, alarm, moment):
    """Ctrl-C ends most logins that take too long, and error trackers show the locals of every frame."""
    late = threading.Event()

    def reply(seen):
        if seen.path == f"/{moment}":
            late.wait(5)
        return answer(auth_req_id="r3q-id", expires_in=120, interval=0 if moment == "polling" else 60)

    tokens.reply = reply
    provider = CIBA(
        f"{tokens.origin}/polling",
        f"{tokens.origin}/asking",
        "client",
        client_secret=SECRET,
        client_auth="client_secret_post",
        login_hint=HINT,
    )
    alarm()
    with pytest.raises(KeyboardInterrupt) as caught:
        provider.authorize(timeout=100)
    late.set()
    shown = locals_of(caught.value)
    assert shown
    assert [text for text in shown if any(secret in text for secret in (SECRET, HINT[4:], "r3q-id"))] == []


@pytest.mark.parametrize("ask", [get, lambda provider, rejected: token_from(provider, Secret(rejected), 5.0)])
def test_an_interrupted_wait_for_a_token_leaves_none_in_the_traceback(tokens, alarm, ask):
    """The rejected token may be valid for another gateway."""
    tokens.gate.clear()
    provider = secret(tokens)
    alarm()
    with pytest.raises(KeyboardInterrupt) as caught:
        ask(provider, "r3fused")
    shown = locals_of(caught.value)
    assert shown
    assert [text for text in shown if "r3fused" in text] == []


def test_an_exception_of_a_signal_handler_ends_the_wait_for_a_token(tokens):
    """TimeoutError is what such handlers usually raise; it is not the end of the time of the call."""

    def handler(*_):
        raise TimeoutError("of the handler")

    before = signal.signal(signal.SIGALRM, handler)
    tokens.gate.clear()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        with pytest.raises(TimeoutError, match="of the handler"):
            secret(tokens).get_token(rejected=None, timeout=5.0)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "ask",
    [
        lambda provider: provider.aget_token(rejected="r3fused", timeout=5.0),
        lambda provider: atoken_from(provider, Secret("r3fused"), 5.0),
    ],
)
async def test_a_cancelled_wait_for_a_token_leaves_none_in_the_traceback(tokens, ask):
    tokens.gate.clear()
    with anyio.move_on_after(0.15):
        try:
            await ask(secret(tokens))
        except anyio.get_cancelled_exc_class() as error:
            shown = locals_of(error)
            raise
    assert any("get_token" in text or "fetch" in text for text in shown)
    assert [text for text in shown if "r3fused" in text] == []


def test_reprs_hold_nothing_that_is_secret(tokens, keys):
    """Endpoint, client and scope may be shown."""
    for provider in providers(tokens, keys):
        text = repr(provider)
        assert tokens.url in text
        assert "client" in text
        assert SECRET not in text
        assert "666111333" not in text
        assert "PRIVATE" not in text


def test_a_callers_http_client_is_used_and_left_open(tokens):
    """Proxy, certificates and hooks are the caller's."""
    hooked = []
    with httpx.Client(event_hooks={"request": [hooked.append]}) as http_client:
        provider = secret(tokens, http_client=http_client)
        assert get(provider) == "token-1"
        assert get(provider, rejected="token-1") == "token-2"
        assert not http_client.is_closed

    assert len(hooked) == 2


def test_the_credentials_win_over_the_auth_of_a_callers_http_client(tokens):
    """That auth may be for the operator or for a proxy."""
    with httpx.Client(auth=("somebody", "else")) as http_client:
        provider = secret(tokens, http_client=http_client)
        get(provider)
        get(provider, rejected="token-1")
    expected = "Basic " + base64.b64encode(f"client:{SECRET}".encode()).decode()
    assert [request.headers["authorization"] for request in tokens.seen] == [expected] * 2


def test_a_callers_http_client_that_raises_is_a_token_error(tokens):
    """A hook may raise any exception."""

    def hook(_):
        raise LookupError(SECRET)

    with httpx.Client(event_hooks={"request": [hook]}) as http_client, pytest.raises(TokenError) as caught:
        get(secret(tokens, http_client=http_client))
    assert SECRET not in str(caught.value)


def test_an_async_http_client_is_refused(tokens):
    """Tokens are fetched in a thread, for the async client too."""
    with pytest.raises(ConfigurationError, match=r"^http_client: .*httpx\.Client"):
        secret(tokens, http_client=httpx.AsyncClient())
    with pytest.raises(ConfigurationError, match=r"^http_client: "):
        secret(tokens, http_client="client")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"token_url": None}, "token_url"),
        ({"issuer": "https://op.example"}, "token_url"),
        ({"token_url": "http://op.example/token"}, "token_url"),
        ({"token_url": "https://user:pw@op.example/token"}, "token_url"),
        ({"token_url": "https://op.example/token#x"}, "token_url"),
        ({"token_url": "https://op.example/token?a=ü"}, "token_url"),
        ({"token_url": "/token"}, "token_url"),
        ({"token_url": None, "issuer": "http://op.example"}, "issuer"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": "a\nb"}, "client_id"),
        ({"client_id": None}, "client_id"),
        ({"client_secret": None}, "client_secret"),
        ({"client_secret": ""}, "client_secret"),
        ({"client_secret": f"{SECRET}\n"}, "client_secret"),
        ({"client_secret": f"{SECRET}\x00"}, "client_secret"),
        ({"private_key": "k"}, "client_secret"),
        ({"client_auth": "none"}, "client_auth"),
        ({"client_auth": "private_key_jwt"}, "client_auth"),
        ({"client_secret": None, "private_key": "k", "client_auth": "client_secret_post"}, "client_auth"),
        ({"audience": "x"}, "audience"),
        ({"alg": "RS256"}, "audience"),
        ({"scope": ""}, "scope"),
        ({"scope": "a  b"}, "scope"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": "10"}, "timeout"),
        ({"leeway": -1}, "leeway"),
        ({"leeway": float("nan")}, "leeway"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options, field):
    """The message begins with the argument's name and shows no secret."""
    given = {"token_url": "https://op.example/token", "client_id": "client", "client_secret": SECRET} | options

    with pytest.raises(ConfigurationError, match=f"^{field}") as caught:
        ClientCredentials(**given)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClientCredentials("https://op.example", "client", client_secret=SECRET, timeout=0),
        lambda: ClientCredentials("https://op.example", "client", private_key=SECRET),
        lambda: JWTBearer("https://op.example", "client", private_key=SECRET, subject=HINT),
        lambda: CIBA("https://op.example", "https://op.example", client_secret=SECRET, login_hint=HINT),
    ],
)
def test_a_refused_argument_leaves_no_secret_in_a_frame(make):
    with pytest.raises(ConfigurationError) as caught:
        make()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())

    assert SECRET not in shown
    assert HINT not in shown


def test_plain_http_is_for_closed_networks_and_warns():
    """The rule is the same as for base_url."""
    with pytest.warns(UserWarning, match="plain http") as caught:
        ClientCredentials("http://op.example/token", "client", client_secret=SECRET, allow_http=True)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"subject": "+34666111333"}, "subject"),
        ({"subject": "tel:34666111333"}, "subject"),
        ({"subject": "tel:+34 666 111 333"}, "subject"),
        ({"subject": "tel:+34666111333\n"}, "subject"),
        ({"subject": "ipport:80.90.34.2:16790"}, "subject"),
        ({"scope": "openid a"}, "scope"),
        ({"private_key": "k"}, "private_key"),
    ],
)
def test_wrong_arguments_of_a_jwt_bearer(keys, options, field):
    """The subject has a form of the profile, and the scope has no openid."""
    given = {"private_key": keys["P-256"].as_pem(private=True), "subject": HINT} | options

    with pytest.raises(ConfigurationError, match=f"^{field}: ") as caught:
        JWTBearer("https://op.example/token", "client", **given)
    assert "666" not in str(caught.value)


@pytest.mark.parametrize("hint", [HINT, "ipport:80.90.34.2:16790", "ipport:[2001:db8::1]:8080", "operatortoken:abc"])
def test_all_login_hints_are_taken(hint):
    """The three forms of the profile."""
    CIBA("https://op.example/token", "https://op.example/bc", "client", client_secret=SECRET, login_hint=hint)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"backchannel_url": None}, "backchannel_url"),
        ({"backchannel_url": "http://op.example/bc"}, "backchannel_url"),
        ({"login_hint": "+34666111333"}, "login_hint"),
        ({"login_hint": "operatortoken:a b"}, "login_hint"),
    ],
)
def test_wrong_arguments_of_a_ciba_login(options, field):
    """Both endpoints are needed, and a hint that the profile knows."""
    given = {"backchannel_url": "https://op.example/bc", "login_hint": HINT, "client_secret": SECRET} | options

    with pytest.raises(ConfigurationError, match=f"^{field}: "):
        CIBA("https://op.example/token", client_id="client", **given)


# CIBA: the dialogue itself is tested in test_login; here it runs over the wire.


@pytest.fixture
def quick_polls(monkeypatch):
    """Poll every few milliseconds."""
    monkeypatch.setattr("camara_otp.auth.ciba.SHORTEST_INTERVAL", 0.01)


def ciba(tokens, **options):
    """Return a provider whose login has the scripted responses."""
    options.setdefault("client_secret", SECRET)
    return CIBA(tokens.url, f"{tokens.origin}/bc", "client", login_hint=HINT, **options)


ASKED = answer(auth_req_id="r3q", expires_in=120, interval=0)
PENDING = answer(400, error="authorization_pending")
TOKEN = answer(access_token="t1", token_type="Bearer", expires_in=3600, id_token="eyJ")


def test_before_the_login_there_is_no_token(tokens):
    """A login takes minutes, so a call never starts one."""
    with pytest.raises(TokenError, match="authorize"):
        get(ciba(tokens))
    assert tokens.count == 0


@pytest.mark.parametrize("how", ["sync", "asyncio", "trio"])
@pytest.mark.usefixtures("quick_polls")
def test_a_login(tokens, keys, how):
    """One request, polls until it is done, then a token; each assertion has its endpoint as audience."""
    tokens.replies = [ASKED, PENDING, PENDING, TOKEN]
    provider = ciba(tokens, client_secret=None, private_key=keys["P-256"].as_pem(private=True))
    if how == "sync":
        provider.authorize(timeout=10)
    else:
        anyio.run(lambda: provider.aauthorize(timeout=10), backend=how)

    assert get(provider) == "t1"
    assert [seen.path for seen in tokens.seen] == ["/bc", "/token", "/token", "/token"]
    asked, *polls = tokens.seen
    assert asked.form["login_hint"] == HINT
    assert asked.form["scope"] == f"openid {SCOPE}"
    assert b"login_hint=tel%3A%2B34666111333" in asked.body
    assert {(seen.form["grant_type"], seen.form["auth_req_id"]) for seen in polls} == {
        ("urn:openid:params:grant-type:ciba", "r3q")
    }
    audiences = [claims(seen.form["client_assertion"], keys["P-256"])["aud"] for seen in tokens.seen]
    assert audiences == [f"{tokens.origin}/bc"] + [tokens.url] * 3


@pytest.mark.usefixtures("quick_polls")
def test_a_refused_token_of_a_login_is_given_again(tokens):
    """Without a refresh token there is no other token, so the 401 is raised."""
    tokens.replies = [ASKED, TOKEN]
    provider = ciba(tokens)
    provider.authorize(timeout=10)

    assert get(provider, rejected="t1") == "t1"
    assert tokens.count == 2


@pytest.mark.usefixtures("quick_polls")
def test_a_login_that_ran_out_has_to_be_repeated(tokens):
    """After the expiry without a refresh token, the error asks for `authorize`, which works."""
    short = answer(access_token="t0", token_type="Bearer", expires_in=0)
    tokens.replies = [ASKED, short, ASKED, TOKEN]
    provider = ciba(tokens)
    provider.authorize(timeout=10)

    with pytest.raises(TokenError, match="has expired, and no refresh token is left"):
        get(provider)
    provider.authorize(timeout=10)
    assert get(provider) == "t1"


@pytest.mark.usefixtures("quick_polls")
def test_refresh_tokens_are_used_and_rotated(tokens):
    """Each renewal uses the newest one; if the server sends none, the old one stays valid."""
    tokens.replies = [
        ASKED,
        answer(access_token="t1", token_type="Bearer", expires_in=3600, refresh_token="r1"),
        answer(access_token="t2", token_type="Bearer", expires_in=3600, refresh_token="r2"),
        answer(access_token="t3", token_type="Bearer", expires_in=3600),
        answer(400, error="invalid_grant"),
    ]
    provider = ciba(tokens)
    provider.authorize(timeout=10)

    assert [get(provider, rejected=old) for old in (None, "t1", "t2")] == ["t1", "t2", "t3"]
    with pytest.raises(TokenError) as caught:
        get(provider, rejected="t3")
    assert caught.value.error == "invalid_grant"
    with pytest.raises(TokenError, match="no refresh token is left; authorize again"):
        get(provider, rejected="t3")
    assert [seen.form.get("refresh_token") for seen in tokens.seen] == [None, None, "r1", "r2", "r2"]


@pytest.mark.parametrize("late", [answer(400, error="invalid_grant"), (200, "t-late", "r-late")])
@pytest.mark.usefixtures("quick_polls")
def test_a_late_refresh_of_the_login_before_leaves_the_new_one_alone(tokens, late):
    """It does not change the refresh token or the token of the new login."""
    if isinstance(late[1], str):
        late = answer(access_token=late[1], token_type="Bearer", expires_in=9999, refresh_token=late[2])
    arrived, go = threading.Event(), threading.Event()

    def held_back(_):
        arrived.set()
        assert go.wait(10)
        return late

    def renewed(number):
        return answer(
            access_token=f"t{number}", token_type="Bearer", expires_in=3600, refresh_token=f"r{number}", scope=""
        )

    tokens.replies = [ASKED, renewed(1), held_back, ASKED, renewed(2), renewed(3)]
    provider = ciba(tokens)
    provider.authorize(timeout=10)
    got = []
    asker = threading.Thread(target=lambda: got.append(get(provider, rejected="t1")))
    asker.start()
    assert arrived.wait(10)
    provider.authorize(timeout=10)
    go.set()
    asker.join(10)

    assert got == ["t2"]
    assert get(provider) == "t2"
    assert get(provider, rejected="t2") == "t3"
    assert [seen.form.get("refresh_token") for seen in tokens.seen if "refresh_token" in seen.form] == ["r1", "r2"]


def refresh(provider):
    """Renew the token of a login, as the cache does; return the token or the refusal."""
    try:
        return provider._fetch(10.0)
    except TokenRefusal as refusal:
        return refusal


@pytest.mark.usefixtures("quick_polls")
def test_a_refresh_that_was_overtaken_by_another_forgets_only_its_own(tokens):
    """Of two refreshes with one token, the second gets invalid_grant; the new token of the first stays."""
    tokens.replies = [ASKED, answer(access_token="t1", token_type="Bearer", refresh_token="r1")]
    provider = ciba(tokens)
    provider.authorize(timeout=10)
    inner = []

    def overtaken(seen):
        if seen.form["refresh_token"] == "r1" and not inner:
            inner.append(1)
            inner.append(refresh(provider))
            return answer(access_token="t2", token_type="Bearer", refresh_token="r2")
        return answer(400, error="invalid_grant")

    tokens.reply = overtaken
    assert refresh(provider).value == "t2"
    assert inner[1].code == "invalid_grant"
    assert refresh(provider).code == "invalid_grant"
    assert tokens.seen[-1].form["refresh_token"] == "r2"


@pytest.mark.usefixtures("quick_polls")
def test_a_late_refusal_of_a_replaced_refresh_token_forgets_none(tokens):
    """Two refreshes of one login with one token: the refusal of the second arrives after the successor of the first."""
    tokens.replies = [ASKED, answer(access_token="t1", token_type="Bearer", refresh_token="r1")]
    provider = ciba(tokens)
    provider.authorize(timeout=10)
    inner = []

    def overtaking(seen):
        if seen.form["refresh_token"] == "r1" and not inner:
            inner.append(1)
            inner.append(refresh(provider))
            return answer(400, error="invalid_grant")
        return answer(access_token="t2", token_type="Bearer", refresh_token="r2")

    tokens.reply = overtaking
    assert refresh(provider).code == "invalid_grant"
    assert inner[1].value == "t2"
    assert refresh(provider).value == "t2"
    assert tokens.seen[-1].form["refresh_token"] == "r2"


@pytest.mark.usefixtures("quick_polls")
@pytest.mark.parametrize(("trouble", "said"), [((0, {}, b""), "could not be reached"), ((503, {}, b""), "503")])
def test_the_user_is_asked_once(tokens, trouble, said):
    """The request that notifies the phone is not repeated after it may have arrived."""
    tokens.replies = [trouble]
    provider = ciba(tokens)
    with pytest.raises(TokenError, match=said):
        provider.authorize(timeout=10)
    assert tokens.count == 1


@pytest.mark.usefixtures("quick_polls")
@pytest.mark.parametrize("trouble", [(0, {}, b""), (503, {}, b"")])
def test_a_renewal_survives_trouble_on_the_way(tokens, trouble):
    """A failed refresh is repeated within the deadline, like any token request."""
    tokens.replies = [
        ASKED,
        answer(access_token="t1", token_type="Bearer", refresh_token="r1"),
        trouble,
        answer(access_token="t2", token_type="Bearer"),
    ]
    provider = ciba(tokens)
    provider.authorize(timeout=10)

    assert get(provider, rejected="t1") == "t2"
    assert [seen.form["refresh_token"] for seen in tokens.seen[2:]] == ["r1", "r1"]


@pytest.mark.usefixtures("quick_polls")
def test_a_login_survives_a_failing_poll(tokens):
    """Polling continues after a reset or a 503."""
    tokens.replies = [ASKED, (0, {}, b""), (503, {}, b""), TOKEN]
    provider = ciba(tokens)
    provider.authorize(timeout=10)

    assert get(provider) == "t1"


@pytest.mark.usefixtures("quick_polls")
def test_too_many_requests_end_no_login_and_no_renewal(tokens, monkeypatch):
    """After a 429, the request, the poll and the refresh wait for Retry-After."""
    monkeypatch.setattr("camara_otp.auth.token_endpoint.random.uniform", lambda *_: 0.0)
    soon = {"Retry-After": "1"}
    tokens.replies = [
        (429, {}, b""),
        ASKED,
        answer(429, error="rate_limited"),
        answer(access_token="t1", token_type="Bearer", expires_in=3600, refresh_token="r1"),
        answer(429, soon, error="rate_limited"),
        answer(access_token="t2", token_type="Bearer", expires_in=3600),
    ]
    provider = ciba(tokens)
    provider.authorize(timeout=10)
    began = time.monotonic()

    assert get(provider, rejected="t1") == "t2"
    assert time.monotonic() - began >= 1.0
    assert tokens.count == 6


@pytest.mark.parametrize("code", ["access_denied", "expired_token", "unknown_user_id", "invalid_client"])
@pytest.mark.usefixtures("quick_polls")
def test_a_refused_login_says_why(tokens, code):
    """Polling stops at once."""
    tokens.replies = [ASKED, answer(400, error=code, error_description=f"{HINT} r3q")]
    with pytest.raises(TokenError, match=code) as caught:
        ciba(tokens).authorize(timeout=10)

    assert caught.value.error == code
    assert "666" not in str(caught.value)
    assert "r3q" not in str(caught.value)
    assert tokens.count == 2


def test_a_login_keeps_to_its_timeout(tokens):
    """If no poll fits, the error comes at once and names the operator's interval."""
    tokens.replies = [answer(auth_req_id="r", expires_in=120, interval=5)]
    began = time.monotonic()

    with pytest.raises(TokenError, match="5 s"):
        ciba(tokens).authorize(timeout=1)
    assert time.monotonic() - began < 1


@pytest.mark.anyio
async def test_a_cancelled_login_stops_polling(tokens, anyio_backend):
    """The thread behind it ends with the task."""
    tokens.reply = lambda seen: ASKED if seen.path == "/bc" else PENDING
    provider = ciba(tokens)
    with anyio.move_on_after(0.3) as scope:
        await provider.aauthorize(timeout=60)
    assert scope.cancelled_caught
    for thread in threading.enumerate():
        if thread.name == "camara-otp":
            await anyio.to_thread.run_sync(thread.join, 20)
            assert not thread.is_alive(), "the login would go on for 60 s"


def test_a_login_that_breaks_is_a_token_error(tokens, monkeypatch):
    """The message has the class of the exception, not its text."""
    provider = ciba(tokens)

    def broken(*_):
        raise LookupError(SECRET)

    monkeypatch.setattr(provider._endpoint, "_build", broken)
    with pytest.raises(TokenError, match="LookupError") as caught:
        provider.authorize(timeout=5)
    assert SECRET not in str(caught.value)


def test_a_login_without_a_thread_is_a_token_error(tokens, monkeypatch):
    """The process is at its limit of threads."""

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    async def log_in():
        with monkeypatch.context() as patch:
            patch.setattr("camara_otp._threads.start_thread", no_thread)
            await ciba(tokens).aauthorize(timeout=5)

    with pytest.raises(TokenError, match="thread"):
        anyio.run(log_in)


@pytest.mark.anyio
async def test_a_refused_token_request_reaches_the_async_client(tokens):
    """The same error as in a thread."""
    tokens.reply = lambda seen: answer(401, error="invalid_client")

    with pytest.raises(TokenError) as caught:
        await secret(tokens).aget_token(rejected=None, timeout=5)
    assert caught.value.error == "invalid_client"


@pytest.mark.anyio
async def test_a_login_that_hangs_is_left_behind(tokens, monkeypatch):
    """The task does not wait for the late thread."""
    monkeypatch.setattr("camara_otp.auth.ciba.GRACE", -0.9)
    tokens.gate.clear()

    with pytest.raises(TokenError, match="in time"):
        await ciba(tokens).aauthorize(timeout=1)
    tokens.gate.set()


def test_a_login_by_discovery(tokens, monkeypatch):
    """Both endpoints from the issuer."""
    monkeypatch.setattr("camara_otp.auth.ciba.SHORTEST_INTERVAL", 0.01)
    tokens.replies = [discovery(tokens), ASKED, TOKEN]
    provider = CIBA(issuer=tokens.origin, client_id="client", client_secret=SECRET, login_hint=HINT)
    provider.authorize(timeout=10)

    assert get(provider) == "t1"


def test_a_login_by_an_issuer_that_fails(tokens):
    tokens.reply = lambda seen: (404, {}, b"")

    with pytest.raises(TokenError, match="issuer"):
        CIBA(issuer=tokens.origin, client_id="client", client_secret=SECRET, login_hint=HINT).authorize(timeout=5)


def test_a_login_over_a_client_that_raises(tokens):
    """A hook may raise any exception."""

    def hook(_):
        raise LookupError(SECRET)

    with httpx.Client(event_hooks={"request": [hook]}) as http_client, pytest.raises(TokenError) as caught:
        ciba(tokens, http_client=http_client).authorize(timeout=5)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), None])
def test_a_login_needs_a_sensible_timeout(tokens, timeout):
    """Nothing is sent without one."""
    with pytest.raises(ConfigurationError, match="^timeout: "):
        ciba(tokens).authorize(timeout=timeout)
    assert tokens.count == 0


# Shared tokens; the store's own rules are tested in test_sharing.


def test_two_providers_share_a_token(tokens, keys):
    """Both make one fetch, and one more after a rejection."""
    store = MemoryStore()
    pem = keys["P-256"].as_pem(private=True)
    for make in (
        lambda: secret(tokens, store=store),
        lambda: JWTBearer(tokens.url, "client", private_key=pem, subject=HINT, store=store),
    ):
        tokens.seen.clear()
        one, other = make(), make()
        assert get(one) == get(other) == "token-1"
        assert get(one, rejected="token-1") == get(other, rejected="token-1") == "token-2"
        assert tokens.count == 2
    assert SECRET not in str(store._values)


# Secrets that a careless server repeats, and arguments of wrong types.


@pytest.mark.parametrize(
    "words",
    [
        "no consent of tel:+34666111333",
        "no consent of +34 666 111 333",
        "no consent of 0034 666-111-333",
        "no consent of 666 111 333 in Spain",
        "no consent of %2B34666111333",
    ],
)
def test_a_user_named_in_a_refusal_is_not_shown(tokens, keys, words):
    """The server may group the digits of the number in any way."""
    tokens.reply = answer(400, error="invalid_grant", error_description=words)
    bearer = JWTBearer(tokens.url, "client", private_key=keys["P-256"].as_pem(private=True), subject=HINT)

    for ask in (lambda: get(bearer), lambda: ciba(tokens).authorize(timeout=5)):
        with pytest.raises(TokenError, match="no consent of") as caught:
            ask()
        shown = f"{caught.value} {caught.value.error_description}"
        assert "666" not in shown
        assert "333" not in shown


def test_a_token_for_a_subject_is_not_shown(tokens, keys):
    tokens.reply = answer(400, error="invalid_grant", error_description="what is Abc.Def-123?")
    bearer = JWTBearer(
        tokens.url, "client", private_key=keys["P-256"].as_pem(private=True), subject="operatortoken:Abc.Def-123"
    )
    with pytest.raises(TokenError, match="what is") as caught:
        get(bearer)
    assert "Abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"client_secret": 123}, "client_secret"),
        ({"client_secret": b"s3cr3t-in-bytes"}, "client_secret"),
        ({"client_secret": "\udc80"}, "client_secret"),
        ({"scope": ["a"]}, "scope"),
        ({"scope": 5}, "scope"),
        ({"token_url": 5}, "token_url"),
        ({"token_url": None, "issuer": 5}, "issuer"),
        ({"client_id": 5}, "client_id"),
        ({"store": 5}, "store"),
        ({"store": object()}, "store"),
        ({"client_secret": None, "private_key": 5}, "private_key"),
        ({"client_secret": None, "private_key": ["k3y"]}, "private_key"),
        ({"client_secret": None, "private_key": "RSA", "alg": 5}, "alg"),
        ({"client_secret": None, "private_key": "RSA", "alg": ["RS256"]}, "alg"),
        ({"client_secret": None, "private_key": "RSA", "kid": 5}, "kid"),
        ({"client_secret": None, "private_key": "RSA", "audience": ["a"]}, "audience"),
        ({"client_auth": []}, "client_auth"),
        ({"timeout": "5"}, "timeout"),
        ({"leeway": None}, "leeway"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named_and_not_shown(keys, options, field):
    """No TypeError is raised from internal code, and no frame has the secret."""
    given = {"token_url": "https://op.example/token", "client_id": "client", "client_secret": SECRET} | options
    if given.get("private_key") == "RSA":
        given["private_key"] = keys["RSA"].as_pem(private=True)

    with pytest.raises(ConfigurationError, match=f"^{field}: ") as caught:
        ClientCredentials(**given)
    frames = traceback.walk_tb(caught.value.__traceback__)
    inside = [frame.f_locals for frame, _ in frames if frame.f_code.co_filename.endswith("client_credentials.py")]
    assert inside
    assert not any(name in frame for frame in inside for name in ("client_secret", "private_key"))


@pytest.mark.parametrize("hint", [None, 5, b"tel:+34666111333", ["tel:+34666111333"]])
def test_a_user_of_a_wrong_type_is_named(keys, hint):
    with pytest.raises(ConfigurationError, match="^login_hint: must be a string"):
        CIBA("https://op.example/token", "https://op.example/bc", "client", client_secret=SECRET, login_hint=hint)
    with pytest.raises(ConfigurationError, match="^subject: must be a string"):
        JWTBearer("https://op.example/token", "client", private_key=keys["RSA"].as_pem(private=True), subject=hint)


@pytest.mark.parametrize("member", ["alg", "kid"])
def test_a_jwk_with_a_member_of_a_wrong_type_is_refused(keys, member):
    """The constructor rejects it."""
    jwk = keys["P-256"].as_dict(private=True) | {member: ["x"]}

    with pytest.raises(ConfigurationError, match=f"^({member}|private_key): "):
        ClientCredentials("https://op.example/token", "client", private_key=jwk)


@pytest.mark.parametrize("given", [{"names": (5,)}, {"purpose": 5}])
def test_a_scope_of_anything_but_text_is_refused(given):
    with pytest.raises(ConfigurationError, match="must be a string"):
        scope(*given.get("names", ()), purpose=given.get("purpose"))


# Values as platforms, editors and operators write them.


@pytest.mark.parametrize("shape", [lambda pem: "\ufeff" + pem, lambda pem: pem.replace("\n", "\\n"), str.encode])
def test_a_key_is_read_as_platforms_write_it(tokens, keys, shape):
    """With a byte order mark, or with a literal backslash and n for each line end, as in environment variables."""
    pem = keys["P-256"].as_pem(private=True).decode()
    store = MemoryStore()
    given = [ClientCredentials(tokens.url, "c", private_key=key, store=store) for key in (pem, shape(pem))]

    assert [get(provider) for provider in given] == ["token-1"] * 2


def test_a_secret_and_an_id_lose_a_byte_order_mark(tokens):
    """Some editors put one at the beginning of a file."""
    get(ClientCredentials(tokens.url, "\ufeffclient", client_secret=f"\ufeff{SECRET}"))

    assert tokens.seen[0].headers["authorization"] == httpx.BasicAuth("client", SECRET)._auth_header


@pytest.mark.parametrize("kind", [ClientCredentials, JWTBearer, CIBA])
def test_a_provider_whose_arguments_were_rejected_has_a_repr(kind):
    """A debugger calls it."""
    assert repr(kind.__new__(kind)) == f"{kind.__name__}()"


@pytest.mark.parametrize(
    "make",
    [
        lambda url: ClientCredentials(url, "client", client_secret=SECRET),
        lambda url: CIBA(url, url, "client", client_secret=SECRET, login_hint=HINT),
    ],
)
def test_the_query_of_a_token_url_is_not_shown(make):
    """Some gateways have an API key in it."""
    shown = repr(make("https://op.example/token?apikey=k3y&x=1"))

    assert "https://op.example/token?***" in shown
    assert "k3y" not in shown


def test_the_query_of_a_token_url_is_not_in_errors():
    """Neither when it is rejected nor when it does not answer."""
    with pytest.raises(ConfigurationError) as rejected:
        ClientCredentials("https://op.example/token?apikey=k3y#x", "client", client_secret=SECRET)
    with pytest.raises(TokenError) as failed:
        get(ClientCredentials("http://127.0.0.1:9/token?apikey=k3y", "client", client_secret=SECRET, timeout=1))

    assert "k3y" not in str(rejected.value) + str(failed.value)


def test_a_warning_names_the_callers_line_also_for_a_subclass():
    class Mine(ClientCredentials):
        def __init__(self):
            super().__init__("http://op.example/token", "client", client_secret=SECRET, allow_http=True)

    with pytest.warns(UserWarning, match="plain http") as caught:
        Mine()
    assert caught[0].filename == __file__


def test_a_warning_that_is_an_error_leaves_no_secret_in_a_frame():
    """Under `-W error` a constructor raises it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="plain http") as caught:
            ClientCredentials("http://op.example/token", "client", client_secret=SECRET, allow_http=True)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())

    assert SECRET not in shown.replace(f'client_secret="{SECRET}"', "")


def test_a_thread_that_fetches_warns_of_nothing(tokens):
    """The constructor has warned about plain http already."""
    tokens.replies = [answer(issuer=tokens.origin, token_endpoint="http://op.example.invalid/token")]
    provider = ClientCredentials(
        issuer=tokens.origin, client_id="client", client_secret=SECRET, allow_http=True, timeout=1
    )
    with pytest.raises(TokenError, match="could not be reached"):
        get(provider)


@pytest.mark.usefixtures("quick_polls")
@pytest.mark.parametrize("limit", ["operator", "caller"])
def test_a_login_without_confirmation_by_the_user_is_an_expired_token(tokens, limit):
    """The caller's timeout and the operator's limit raise the same error."""
    started = answer(auth_req_id="r", expires_in=1 if limit == "operator" else 100, interval=0)
    tokens.reply = lambda seen: started if seen.path == "/bc" else PENDING
    with pytest.raises(TokenError, match="user did not confirm") as caught:
        ciba(tokens).authorize(timeout=10 if limit == "operator" else 0.3)

    assert caught.value.error == "expired_token"
