"""Signed assertions: a private key and claims in, a compact JWS out. The signing library is imported on use."""

import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import field, frozen

from camara_otp._checks import text, without_bom
from camara_otp.errors import ConfigurationError, TokenError

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    Key = RSAKey | ECKey | OKPKey

PrivateKey = str | bytes | Mapping[str, Any]
"""A private key: PEM text or bytes, or a JWK as a mapping or as JSON text."""

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

# The use that a JWK states is checked in `signer_of`: the library would check it at the first signature only.
_ABOUT_USE: Final = frozenset({"alg", "kid", "use", "key_ops"})

_UNREADABLE: Final = (
    "private_key: cannot be read as a private key; give the text of a PEM file, with its line ends and without a "
    "passphrase, or a JWK with its private part, RSA, EC or Ed25519"
)


class PrivateKeyError(ConfigurationError, TokenError):
    """The private key cannot sign as required: an error of the settings, found when the provider is made.

    Give another key, or the algorithm that fits it; the text says which.
    """


def assertion_claims(issuer: str, subject: str, audience: str, now: float) -> dict[str, object]:
    """Return the claims of an assertion, RFC 7523 section 3; `now` is wall-clock time."""
    issued = int(now)
    return {
        "iss": issuer,
        "sub": subject,
        "aud": audience,
        "iat": issued,
        "exp": issued + ASSERTION_LIFETIME,
        "jti": str(uuid.uuid4()),
    }


@frozen
class Signer:
    """Sign claims with one key and algorithm."""

    alg: str
    kid: str | None
    key: "Key" = field(repr=False)

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return a compact JWS over the claims."""
        from joserfc import jws  # noqa: PLC0415 - an extra

        class Registry(jws.JWSRegistry):
            # ALGORITHMS has decided already; the library's own list warns of the name EdDSA, which servers expect.
            def get_alg(self, name: str) -> Any:
                return self.algorithms[name]

        header = {"alg": self.alg, "typ": "JWT"} | ({"kid": self.kid} if self.kid else {})
        return jws.serialize_compact(header, json.dumps(claims), self.key, registry=Registry())


def signer_of(private_key: PrivateKey, alg: str | None, kid: str | None) -> Signer:
    """Read a private key and choose the algorithm: the given one, else the JWK's, else the first that fits.

    Raises:
        ConfigurationError: the signing library is not installed.
        PrivateKeyError: the key cannot be read, is public or not for signing, or the algorithm does not fit the key.
    """
    given = _normal_form(private_key)
    jwk = _jwk(given)
    key = _imported(given if jwk is None else {name: jwk[name] for name in jwk if name not in _ABOUT_USE})
    use, operations = (jwk or {}).get("use", "sig"), (jwk or {}).get("key_ops", ["sign"])
    if use != "sig" or not isinstance(operations, list) or "sign" not in operations:
        raise PrivateKeyError("private_key: is not for signing, as its use or key_ops says; give the key that signs")
    alg, kid = alg or (jwk or {}).get("alg"), kid or (jwk or {}).get("kid")
    for name, value in (("alg", alg), ("kid", kid)):
        if value is not None:
            text(name, value)
    kind = getattr(key, "curve_name", "RSA")
    alg = alg or next((name for name, needs in ALGORITHMS.items() if needs == kind), None)
    if alg is None or alg not in ALGORITHMS:
        raise PrivateKeyError(f"alg: there is no known signature for this key; known are {', '.join(ALGORITHMS)}")
    if ALGORITHMS[alg] != kind:
        raise PrivateKeyError(f"alg: {alg} needs a key of kind {ALGORITHMS[alg]}, and private_key is {kind}")
    return Signer(alg=alg, kid=kid, key=key)


def key_material(private_key: PrivateKey) -> bytes:
    """Return the key as bytes that are the same in every process with the same key."""
    given = _normal_form(private_key)
    return given.encode() if isinstance(given, str) else json.dumps(dict(given), sort_keys=True).encode()


def _normal_form(private_key: object) -> str | Mapping[str, Any]:
    """Return a key as text without blanks around it, or as a mapping.

    An environment variable may hold a PEM file with a byte order mark, or with a backslash and n for each line end.
    """
    if isinstance(private_key, Mapping):
        return cast("Mapping[str, Any]", private_key)
    if isinstance(private_key, bytes):
        private_key = private_key.decode("utf-8", "replace")
    if not isinstance(private_key, str):
        kind = type(private_key).__name__
        raise PrivateKeyError(f"private_key: must be PEM text, or a JWK as text or as a mapping, not {kind}")
    private_key = without_bom(private_key.strip()).strip()
    return private_key.replace("\\r", "").replace("\\n", "\n").strip() if private_key[:5] == "-----" else private_key


def _jwk(given: str | Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a key as a JWK, or None for a key in PEM."""
    if isinstance(given, Mapping) or not given.startswith("{"):
        return given if isinstance(given, Mapping) else None
    try:
        value: Any = json.loads(given)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _imported(given: Any) -> "Key":
    try:
        import joserfc.jwk  # noqa: PLC0415 - an extra
    except ImportError:
        problem = "private_key: signing needs an extra package: pip install 'camara-otp[oauth]'"
        raise ConfigurationError(problem) from None
    key: Key | None = None
    for kind in (joserfc.jwk.RSAKey, joserfc.jwk.ECKey, joserfc.jwk.OKPKey):
        try:
            key = kind.import_key(given)
        except Exception:  # noqa: BLE001, S112 - of another kind, or unreadable: the library's words may quote the key
            continue
        break
    if key is None or not key.is_private:
        raise PrivateKeyError(
            _UNREADABLE if key is None else "private_key: is a public key; signing needs the private part"
        )
    return key
