"""The forms that are sent to an authorization server, byte by byte, and the signatures in them."""

import base64
import json
import pickle
import sys

import pytest
from joserfc import jwk, jws
from joserfc.jws import JWSRegistry

from camara_otp._redaction import Secrets
from camara_otp._secret import Secret
from camara_otp.auth import credentials
from camara_otp.auth.credentials import (
    ALGORITHMS,
    ASSERTION_LIFETIME,
    ClientKey,
    ClientSecret,
    PrivateKeyError,
    client_key,
)
from camara_otp.errors import ConfigurationError, TokenError

URL = "https://op.example/token"
NOW = 1_800_000_000.9


class AnyAlgorithm(JWSRegistry):
    """Verify without the library's warnings about names."""

    def get_alg(self, name):
        return self.algorithms[name]


def verified(assertion, key):
    """Return header and claims of an assertion whose signature is right."""
    made = jws.deserialize_compact(assertion, key, registry=AnyAlgorithm())
    return made.headers(), json.loads(made.payload)


def secret_of(client_id, secret, *, basic=True):
    """Return a credential with a secret."""
    return ClientSecret(client_id, Secret(secret), basic=basic)


def key_of(given, alg=None, kid=None):
    """Return a credential with a key."""
    return client_key("client", given, None, alg, kid)


def fields(form):
    """Return a form's fields as they were written."""
    return dict(pair.split("=") for pair in form.body.decode().split("&"))


def test_client_credentials_with_basic():
    """The header holds both parts form-encoded, then base64 (RFC 6749 section 2.3.1)."""
    form = secret_of("cli:ent ü", "s/e+c%r t").form({"grant_type": "client_credentials", "scope": "a b"}, URL, NOW)

    headers = dict(form.headers)
    assert headers[b"content-type"] == b"application/x-www-form-urlencoded"
    assert headers[b"accept"] == b"application/json"
    scheme, _, value = headers[b"Authorization"].partition(b" ")
    assert scheme == b"Basic"
    assert base64.b64decode(value) == b"cli%3Aent+%C3%BC:s%2Fe%2Bc%25r+t"
    assert form.body == b"grant_type=client_credentials&scope=a+b"
    assert Secrets(*form.secrets).hidden_in("is s/e+c%r t wrong?") == "is *** wrong?"
    assert Secrets(*form.secrets).hidden_in(f"is {value.decode()} wrong?") == "is *** wrong?"


def test_client_credentials_with_post():
    """Id and secret go in the form, and no header."""
    form = secret_of("client", "s e+c", basic=False).form(
        {"grant_type": "client_credentials", "scope": "a:b#c"}, URL, NOW
    )

    assert b"Authorization" not in dict(form.headers)
    assert form.body == b"grant_type=client_credentials&scope=a%3Ab%23c&client_id=client&client_secret=s+e%2Bc"


@pytest.mark.parametrize(
    ("kind", "alg"),
    [("RSA", "RS256"), ("RSA", "PS256"), ("P-256", "ES256"), ("P-384", "ES384"), ("Ed25519", "EdDSA")],
)
@pytest.mark.parametrize("shape", ["pem", "pem text", "jwk", "jwk text"])
def test_client_credentials_with_an_assertion(keys, kind, alg, shape):
    """Each algorithm, from PEM and JWK: the claims of the security profile, rightly signed."""
    key = keys[kind]
    given = {
        "pem": lambda: key.as_pem(private=True),
        "pem text": lambda: "\n" + key.as_pem(private=True).decode(),
        "jwk": lambda: key.as_dict(private=True),
        "jwk text": lambda: " " + json.dumps(key.as_dict(private=True)),
    }[shape]()
    credential = key_of(given, alg, "k1")

    form = credential.form({"grant_type": "client_credentials"}, URL, NOW)

    sent = fields(form)
    assert sent["grant_type"] == "client_credentials"
    assert sent["client_assertion_type"] == "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    header, claims = verified(sent["client_assertion"], key)
    assert header == {"alg": alg, "typ": "JWT", "kid": "k1"}
    assert len(claims.pop("jti")) == 36
    assert claims == {
        "iss": "client",
        "sub": "client",
        "aud": URL,
        "iat": 1_800_000_000,
        "exp": 1_800_000_120,
    }
    assert Secrets(*form.secrets).hidden_in(sent["client_assertion"]) == "***"
    assert b"Authorization" not in dict(form.headers)


def test_assertions_live_no_longer_than_the_profile_allows():
    """At most 300 seconds, with a margin for clocks that differ."""
    assert 60 <= ASSERTION_LIFETIME <= 240


def test_the_audience_can_be_another():
    """Some operators want the issuer."""
    form = FakeKey("https://op.example").form({}, URL, NOW)

    assert json.loads(fields(form)["client_assertion"])["aud"] == "https://op.example"


class FakeKey(ClientKey):
    """Write the claims without a signature."""

    def __init__(self, audience):
        super().__init__("client", audience, "none", None, None)

    def sign(self, claims):
        return json.dumps(claims, separators=(",", ":"))


@pytest.fixture(autouse=True)
def _readable_forms(monkeypatch):
    """Let FakeKey's JSON through unencoded."""
    real = credentials.urlencode
    monkeypatch.setattr(
        credentials,
        "urlencode",
        lambda fields: "&".join(
            f"{name}={value}" if value.startswith("{") else real({name: value}) for name, value in fields.items()
        ),
    )


def test_each_assertion_is_new():
    """A jti is never used twice."""
    key = FakeKey(None)

    assert len({json.loads(key.assertion("a", URL, NOW))["jti"] for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("kind", "alg"), [("RSA", "RS256"), ("P-256", "ES256"), ("P-384", "ES384"), ("Ed25519", "EdDSA")]
)
def test_the_algorithm_follows_the_key(keys, kind, alg):
    assert key_of(keys[kind].as_pem(private=True), None, None).alg == alg


def test_a_jwk_brings_its_algorithm_and_name(keys):
    """`alg` and `kid` of the JWK count, unless given."""
    jwk_ = keys["RSA"].as_dict(private=True) | {"alg": "PS256", "kid": "from-jwk", "use": "sig"}

    assert (key_of(jwk_, None, None).alg, key_of(jwk_, None, None).kid) == ("PS256", "from-jwk")
    assert (key_of(jwk_, "RS256", "own").alg, key_of(jwk_, "RS256", "own").kid) == ("RS256", "own")


def test_an_algorithm_that_is_given_signs_whatever_the_jwk_says(keys):
    """A key registered for one algorithm can be used with another one of its kind."""
    jwk_ = keys["RSA"].as_dict(private=True) | {"alg": "RS256", "kid": "from-jwk", "use": "sig", "key_ops": ["sign"]}

    header, claims = verified(key_of(jwk_, "PS256", None).sign({"iss": "client"}), keys["RSA"])

    assert header == {"alg": "PS256", "typ": "JWT", "kid": "from-jwk"}
    assert claims == {"iss": "client"}


@pytest.mark.parametrize("said", [{"use": "enc"}, {"key_ops": ["verify"]}, {"key_ops": "sign"}, {"use": ["sig"]}])
def test_a_jwk_that_is_not_for_signing_is_refused_at_once(keys, said):
    """It is refused by the constructor, not at the first token."""
    with pytest.raises(PrivateKeyError, match="^private_key: is not for signing"):
        key_of(keys["P-256"].as_dict(private=True) | said, None, None)


@pytest.mark.parametrize(
    ("kind", "alg"), [("RSA", "ES256"), ("P-256", "RS256"), ("P-384", "ES256"), ("Ed25519", "ES256"), ("RSA", "EdDSA")]
)
def test_a_key_of_the_wrong_kind_is_refused(keys, kind, alg):
    """The message of the constructor names both kinds."""
    with pytest.raises(ConfigurationError, match=f"^alg: {alg} needs a key of kind {ALGORITHMS[alg]}.*is {kind}"):
        key_of(keys[kind].as_pem(private=True), alg, None)


@pytest.mark.parametrize("alg", ["HS256", "none", "RS1"])
def test_an_unknown_algorithm_is_refused(keys, alg):
    """Symmetric algorithms and `none` are not valid for private_key_jwt."""
    with pytest.raises(ConfigurationError, match="^alg: "):
        key_of(keys["RSA"].as_pem(private=True), alg, None)


def test_a_curve_without_a_signature_is_refused():
    """secp256k1 has no algorithm here."""
    with pytest.raises(ConfigurationError, match="^alg: "):
        key_of(jwk.ECKey.generate_key("secp256k1").as_dict(private=True), None, None)


@pytest.mark.parametrize("shape", ["pem", "jwk"])
def test_a_public_key_is_refused(keys, shape):
    """A public key cannot sign."""
    key = keys["RSA"]
    given = key.as_pem(private=False) if shape == "pem" else key.as_dict(private=False)

    with pytest.raises(ConfigurationError, match="public key"):
        key_of(given, None, None)


@pytest.mark.parametrize(
    "given",
    [
        "",
        b"",
        "hunter2",
        "/etc/keys/private.pem",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        '{"kty": "RSA", "n": "hunter2"}',
        '{"kty": "oct", "k": "hunter2"}',
        '{"hunter2',
        "[]",
        {},
        {"kty": "EC", "crv": "P-256", "x": "hunter2", "y": "a", "d": "b"},
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(given):
    """The message names the accepted formats, not the value; no foreign exception is chained."""
    with pytest.raises(ConfigurationError, match="^private_key: ") as caught:
        key_of(given, None, None)

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_path_of_a_key_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(PrivateKeyError, match=r"give its content: Path\(\.\.\.\)\.read_text\(\)$"):
        key_of(tmp_path / "key.pem")


def test_an_encrypted_key_is_refused(keys):
    """There is no passphrase argument: the caller decrypts."""
    with pytest.raises(ConfigurationError, match="passphrase"):
        key_of(keys["RSA"].as_pem(private=True, password="hunter2"), None, None)


@pytest.mark.parametrize("blocked", ["joserfc", "joserfc.jwk"])
def test_signing_without_its_package_is_refused_at_once(keys, monkeypatch, blocked):
    """The error names the package to install."""
    monkeypatch.setitem(sys.modules, blocked, None)

    with pytest.raises(ConfigurationError, match=r"pip install 'camara-otp\[oauth\]'"):
        key_of(keys["RSA"].as_pem(private=True), None, None)


def test_a_wrong_key_is_caught_as_either(keys):
    """It is a ConfigurationError and a TokenError, and can be pickled."""
    for kind in (ConfigurationError, TokenError, ValueError):
        with pytest.raises(kind) as caught:
            key_of(keys["P-256"].as_pem(private=True), "RS256", None)
    error = pickle.loads(pickle.dumps(caught.value))

    assert (str(error), error.error, error.outcome_unknown) == (str(caught.value), None, False)


def test_a_signer_does_not_show_its_key(keys):
    """A credential does not show it either."""
    credential = key_of(keys["P-256"].as_dict(private=True), None, "k")

    assert keys["P-256"].as_dict(private=True)["d"] not in repr(credential)
    assert "s3cr3t" not in repr(secret_of("client", "s3cr3t"))


def test_key_material_is_the_same_for_the_same_key(keys):
    """The format, spaces around a PEM, and the order in a JWK make no difference between workers."""
    pem = keys["P-256"].as_pem(private=True)
    jwk_ = keys["P-256"].as_dict(private=True)
    same = [pem, pem.decode() + "\n", b" " + pem, jwk_, dict(reversed(jwk_.items())), jwk_ | {"kid": "k"}]

    assert len({key_of(given).material() for given in same}) == 1
    assert key_of(pem).material() != key_of(keys["P-384"].as_pem(private=True)).material()
