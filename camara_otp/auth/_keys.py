"""Signing: a private key in, signed assertions out. The signing library is imported here, and only when used."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import field, frozen

from camara_otp.auth._values import text
from camara_otp.errors import ConfigurationError, TokenError

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    Key = RSAKey | ECKey | OKPKey

PrivateKey = str | bytes | Mapping[str, Any]
"""A private key: PEM text or bytes, or a JWK as a mapping or as JSON text."""

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

# What a JWK says about its use is judged in `signer`: the library would only do so at the first signature.
_ABOUT_USE: Final = frozenset({"alg", "kid", "use", "key_ops"})

_UNREADABLE: Final = (
    "private_key: cannot be read as a private key; give the text of a PEM file, with its line ends and without a "
    "passphrase, or a JWK with its private part, RSA, EC or Ed25519"
)


class PrivateKeyError(ConfigurationError, TokenError):
    """The private key cannot sign as it should: a fault of the set-up, found early, and no token can be had with it.

    Give another key, or the algorithm that fits it; the text says which.
    """


@frozen
class Signer:
    """Sign claims with one key and algorithm."""

    alg: str
    kid: str | None
    key: "Key" = field(repr=False)

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return a compact JWS over the claims."""
        from joserfc import jws  # noqa: PLC0415 - only those who sign need the library

        header = {"alg": self.alg, "typ": "JWT"} | ({"kid": self.kid} if self.kid else {})
        return jws.serialize_compact(header, json.dumps(claims), self.key, registry=_registry())


def signer(private_key: PrivateKey, alg: str | None, kid: str | None) -> Signer:
    """Read a private key and settle the algorithm: the given one, else the JWK's, else the first that fits.

    Raises:
        ConfigurationError: the signing library is not installed.
        PrivateKeyError: the key cannot be read, is public or not for signing, or the algorithm does not fit the key.
    """
    _check_type(private_key)
    key, jwk = _read(private_key)
    if not _is_for_signing(jwk):
        raise PrivateKeyError("private_key: is not for signing, as its use or key_ops says; give the key that signs")
    for name, value in (("alg", alg or jwk.get("alg")), ("kid", kid or jwk.get("kid"))):
        if value is not None:
            text(name, value)
    kind = getattr(key, "curve_name", "RSA")
    alg = alg or jwk.get("alg") or next((name for name, needs in ALGORITHMS.items() if needs == kind), None)
    if alg is None or alg not in ALGORITHMS:
        names = ", ".join(ALGORITHMS)
        raise PrivateKeyError(f"alg: there is no known signature for this key; known are {names}")
    if ALGORITHMS[alg] != kind:
        raise PrivateKeyError(f"alg: {alg} needs a key of kind {ALGORITHMS[alg]}, and private_key is {kind}")
    return Signer(alg=alg, kid=kid or jwk.get("kid"), key=key)


def material(private_key: PrivateKey) -> bytes:
    """Return the key as bytes that are the same in every process that was given the same key."""
    if isinstance(private_key, str):
        return private_key.strip().encode()
    if isinstance(private_key, bytes):
        return private_key.strip()
    return json.dumps(dict(private_key), sort_keys=True).encode()


def _read(private_key: PrivateKey) -> "tuple[Key, Mapping[str, Any]]":
    if not _installed():
        del private_key
        raise ConfigurationError("private_key: signing needs an extra package: pip install 'camara-otp[oauth]'")
    from joserfc import errors  # noqa: PLC0415
    from joserfc import jwk as keys  # noqa: PLC0415

    jwk = _jwk(private_key)
    given: Any = private_key
    if jwk is not None:
        given = {name: value for name, value in jwk.items() if name not in _ABOUT_USE}
    key: Key | None = None
    for kind in (keys.RSAKey, keys.ECKey, keys.OKPKey):
        if jwk is not None and jwk.get("kty") != kind.key_type:
            continue
        try:
            key = kind.import_key(given)
        except errors.InvalidKeyTypeError:
            continue
        except Exception:  # noqa: BLE001 - the library's own words may quote the key
            key = None
        break
    private = key is not None and key.is_private
    if key is None or not private:
        readable = key is not None
        # Nothing that was read may stay in the frame that raises.
        del key, jwk, given, private_key
        raise PrivateKeyError(
            "private_key: is a public key; signing needs the private part" if readable else _UNREADABLE
        )
    return key, jwk or {}


def _check_type(private_key: object) -> None:
    if not isinstance(private_key, str | bytes | Mapping):
        kind = type(private_key).__name__
        raise PrivateKeyError(f"private_key: must be PEM text, or a JWK as text or as a mapping, not {kind}")


def _jwk(private_key: PrivateKey) -> Mapping[str, Any] | None:
    if isinstance(private_key, Mapping):
        return private_key
    if private_key.lstrip()[:1] not in {"{", b"{"}:
        return None
    try:
        value: Any = json.loads(private_key)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _is_for_signing(jwk: Mapping[str, Any]) -> bool:
    use, operations = jwk.get("use"), jwk.get("key_ops")
    return (use is None or use == "sig") and (
        operations is None or (isinstance(operations, list) and "sign" in operations)
    )


def _installed() -> bool:
    try:
        import joserfc.jwk  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]
    except ImportError:
        return False
    return True


def _registry() -> Any:
    from joserfc.jws import JWSRegistry  # noqa: PLC0415

    class Registry(JWSRegistry):
        # ALGORITHMS has decided already; the library's own list warns of the name EdDSA, which servers still expect.
        def get_alg(self, name: str) -> Any:
            return self.algorithms[name]

    return Registry()
