"""How a client authenticates at an authorization server: with a secret, or with an assertion that a private key signs.

RFC 6749 section 2.3.1 and RFC 7523, as the CAMARA Security and Interoperability Profile narrows them. The signing
library, an extra, is imported on use.
"""

import base64
import json
import os
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import quote_plus, urlencode

from attrs import field, frozen

from camara_otp._checks import text, without_bom
from camara_otp._secret import Secret
from camara_otp.errors import ConfigurationError, TokenError

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    Key = RSAKey | ECKey | OKPKey

ClientAuth = Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]

PrivateKey = str | bytes | Mapping[str, Any]
"""A private key: PEM as string or bytes, or a JWK as a mapping or JSON string."""

# Seconds. The profile caps exp - iat at 300 and rejects an exp further than that ahead of the server's clock: the
# middle tolerates clocks that differ by minutes either way.
ASSERTION_LIFETIME: Final = 120

# Each algorithm and the kind of key that it needs: RSA, or the name of a curve.
ALGORITHMS: Final[Mapping[str, str]] = {
    "RS256": "RSA",
    "PS256": "RSA",
    "ES256": "P-256",
    "EdDSA": "Ed25519",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS384": "RSA",
    "PS512": "RSA",
    "ES384": "P-384",
    "ES512": "P-521",
    "Ed25519": "Ed25519",
}

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# Fields whose values a message may repeat.
_PUBLIC: Final = frozenset({"client_assertion_type", "client_id", "grant_type", "scope"})
_VISIBLE: Final = re.compile(r"[ -~]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_TEL: Final = re.compile(r"tel:\+[1-9][0-9]{4,14}")
# The use that a JWK states is checked in `client_key`: the library would check it at the first signature only.
_ABOUT_USE: Final = frozenset({"alg", "kid", "use", "key_ops"})
_UNREADABLE: Final = (
    "private_key: cannot be read as a private key; give the content of a PEM file, with its line ends and without a "
    "passphrase, or a JWK with its private part, RSA, EC or Ed25519"
)


class PrivateKeyError(ConfigurationError, TokenError):
    """The private key cannot sign as required: an error of the settings, found when the provider is made.

    Give another key, or the algorithm that fits it; the message says which.
    """


class Form:
    """The headers and the body of one request, and the strings in it that no message may repeat."""

    __slots__ = ("body", "headers", "secrets")

    def __init__(self, fields: Mapping[str, str], *headers: tuple[bytes, bytes], secrets: tuple[str, ...] = ()) -> None:
        kind = ((b"content-type", b"application/x-www-form-urlencoded"),) if fields else ()
        self.headers: tuple[tuple[bytes, bytes], ...] = ((b"accept", b"application/json"), *kind, *headers)
        self.body: bytes = urlencode(fields).encode("ascii")
        self.secrets: tuple[str, ...] = (*(fields[name] for name in fields if name not in _PUBLIC), *secrets)

    def hiding(self, user: Secret) -> "Form":
        """Return this form; no message may repeat the name of the user either."""
        name = user.reveal()
        self.secrets += (name, name.partition(":")[2])
        return self


@frozen
class ClientSecret:
    """A client secret, sent in the Authorization header (`client_secret_basic`) or in the form."""

    client_id: str
    secret: Secret
    basic: bool

    def form(self, fields: Mapping[str, str], url: str, now: float) -> Form:  # noqa: ARG002
        """Return the request with the credentials in it."""
        secret = self.secret.reveal()
        if not self.basic:
            return Form({**fields, "client_id": self.client_id, "client_secret": secret})
        # RFC 6749 section 2.3.1: each part is form-encoded before the two are joined.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(secret)}"
        basic = base64.b64encode(pair.encode()).decode()
        return Form(fields, (b"Authorization", f"Basic {basic}".encode()), secrets=(secret, basic))

    def material(self) -> bytes:
        """Return bytes that only this client has, the same in each of its processes."""
        return self.secret.reveal().encode()


@frozen
class ClientKey:
    """A private key, which signs an assertion for each request (`private_key_jwt`)."""

    client_id: str
    audience: str | None
    alg: str
    kid: str | None
    key: "Key" = field(repr=False)

    def form(self, fields: Mapping[str, str], url: str, now: float) -> Form:
        """Return the request with a new assertion in it."""
        assertion = self.assertion(self.client_id, url, now)
        return Form({**fields, "client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion})

    def assertion(self, subject: str, url: str, now: float, **claims: object) -> str:
        """Return a new assertion about a subject, for an endpoint (RFC 7523 section 3); `now` is wall-clock time."""
        return self.sign(
            {
                "iss": self.client_id,
                "sub": subject,
                "aud": self.audience or url,
                "iat": int(now),
                "exp": int(now) + ASSERTION_LIFETIME,
                "jti": str(uuid.uuid4()),
                **claims,
            }
        )

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return a compact JWS over the claims."""
        from joserfc import jws  # noqa: PLC0415 - an extra

        class Registry(jws.JWSRegistry):
            # ALGORITHMS has decided already; the library's own list warns of the name EdDSA, which servers expect.
            def get_alg(self, name: str) -> Any:
                return self.algorithms[name]

        header = {"alg": self.alg, "typ": "JWT"} | ({"kid": self.kid} if self.kid else {})
        return jws.serialize_compact(header, json.dumps(claims), self.key, registry=Registry())

    def material(self) -> bytes:
        """Return bytes that only this client has, the same in each of its processes."""
        return self.key.as_der(private=True)


def client_credential(
    client_id: str,
    client_secret: str | None,
    private_key: PrivateKey | None,
    *,
    client_auth: str | None,
    audience: str | None,
    alg: str | None,
    kid: str | None,
) -> ClientSecret | ClientKey:
    """Return the credential for the arguments of a provider, or raise ConfigurationError."""
    if client_auth not in (None, "client_secret_basic", "client_secret_post", "private_key_jwt"):
        raise ConfigurationError("client_auth: must be client_secret_basic, client_secret_post or private_key_jwt")
    if (client_secret is None) == (private_key is None):
        raise ConfigurationError("client_secret: give it or private_key, one of the two")
    has_key = private_key is not None
    if client_auth is not None and (client_auth == "private_key_jwt") != has_key:
        raise ConfigurationError(f"client_auth: {client_auth} needs {'client_secret' if has_key else 'private_key'}")
    if private_key is not None:
        return client_key(client_id, private_key, audience, alg, kid)
    if (audience, alg, kid) != (None, None, None):
        raise ConfigurationError("audience, alg and kid belong to private_key; leave them out with a client_secret")
    secret = text("client_secret", client_secret)
    if not secret:
        raise ConfigurationError("client_secret: is empty; give the secret that the operator issued")
    if _CONTROL.search(secret):
        raise ConfigurationError("client_secret: holds a line end or another control character; strip it")
    return ClientSecret(_checked_id(client_id), Secret(secret), basic=client_auth != "client_secret_post")


def client_key(
    client_id: str, private_key: PrivateKey, audience: str | None, alg: str | None, kid: str | None
) -> ClientKey:
    """Return the credential for a private key, with the given algorithm, the JWK's, or the first that fits the key.

    Raises ConfigurationError, and PrivateKeyError if the key cannot sign with the algorithm.
    """
    given = _pem_or_jwk(private_key)
    stated: Mapping[str, Any] = {} if isinstance(given, str) else given
    key = _imported(given if isinstance(given, str) else {name: given[name] for name in given.keys() - _ABOUT_USE})
    operations = stated.get("key_ops", ["sign"])
    if stated.get("use", "sig") != "sig" or not isinstance(operations, list) or "sign" not in operations:
        raise PrivateKeyError("private_key: is not for signing, as its use or key_ops says; give the key that signs")
    alg, kid = alg or stated.get("alg"), kid or stated.get("kid")
    for name, value in (("alg", alg), ("kid", kid), ("audience", audience)):
        if value is not None:
            text(name, value)
    kind = getattr(key, "curve_name", "RSA")
    alg = alg or next((name for name, needs in ALGORITHMS.items() if needs == kind), None)
    if alg is None or alg not in ALGORITHMS:
        raise PrivateKeyError(f"alg: there is no known signature for this key; known are {', '.join(ALGORITHMS)}")
    if ALGORITHMS[alg] != kind:
        raise PrivateKeyError(f"alg: {alg} needs a key of kind {ALGORITHMS[alg]}, and private_key is {kind}")
    return ClientKey(_checked_id(client_id), audience, alg, kid, key)


def _pem_or_jwk(private_key: object) -> str | Mapping[str, Any]:
    """Return a key as a PEM string, or as a JWK.

    An environment variable may hold a PEM file with a byte order mark, or with a backslash and n for each line end.
    """
    if isinstance(private_key, Mapping):
        return cast("Mapping[str, Any]", private_key)
    if isinstance(private_key, bytes):
        private_key = private_key.decode("utf-8", "replace")
    if not isinstance(private_key, str):
        kind = type(private_key).__name__
        remedy = "; give its content: Path(...).read_text()" if isinstance(private_key, os.PathLike) else ""
        raise PrivateKeyError(f"private_key: must be a PEM string, or a JWK as a string or mapping, not {kind}{remedy}")
    private_key = without_bom(private_key.strip()).strip()
    if private_key.startswith("{"):
        with suppress(ValueError):
            return cast("dict[str, Any]", json.loads(private_key))
    return private_key.replace("\\r", "").replace("\\n", "\n")


def _imported(given: Any) -> "Key":
    try:
        import joserfc.jwk  # noqa: PLC0415 - an extra
    except ImportError:
        problem = "private_key: signing needs an extra package: pip install 'camara-otp[oauth]'"
        raise ConfigurationError(problem) from None
    for kind in (joserfc.jwk.RSAKey, joserfc.jwk.ECKey, joserfc.jwk.OKPKey):
        try:
            key = kind.import_key(given)
        except Exception:  # noqa: BLE001, S112 - of another kind, or unreadable: the library's words may quote the key
            continue
        if not key.is_private:
            raise PrivateKeyError("private_key: is a public key; signing needs the private part")
        return key
    raise PrivateKeyError(_UNREADABLE)


def _checked_id(client_id: object) -> str:
    client_id = client_id.removeprefix("\ufeff") if isinstance(client_id, str) else client_id
    if not isinstance(client_id, str) or _VISIBLE.fullmatch(client_id) is None:
        raise ConfigurationError("client_id: must be given, as the operator issued it")
    return client_id


def checked_user(name: str, value: object, prefixes: tuple[str, ...]) -> Secret:
    """Return the name of a user, `tel:+` and a number or a string with a prefix, or raise ConfigurationError."""
    user = text(name, value)
    if _TEL.fullmatch(user) or (user.startswith(prefixes) and _VISIBLE.fullmatch(user) and " " not in user):
        return Secret(user)
    others = " or ".join(prefixes)
    raise ConfigurationError(f"{name}: must be tel:+ and digits, without separators, or start with {others}")
