"""How a client authenticates at an authorization server: with a secret, or with a signed assertion.

RFC 6749 section 2.3.1 and RFC 7523, as the CAMARA Security and Interoperability Profile narrows them.
"""

import base64
import re
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import quote_plus, urlencode

from attrs import field, frozen

from camara_otp._checks import text
from camara_otp._secret import Secret
from camara_otp._text import Secrets
from camara_otp.auth.assertions import PrivateKey, Signer, assertion_claims, key_material, signer_of
from camara_otp.errors import ConfigurationError

ClientAuth = Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_HEADERS: Final = ((b"accept", b"application/json"), (b"content-type", b"application/x-www-form-urlencoded"))
_VISIBLE: Final = re.compile(r"[ -~]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_TEL: Final = re.compile(r"tel:\+[1-9][0-9]{4,14}")


class Form:
    """The headers and the body of one request, and the texts in it that no message may repeat."""

    __slots__ = ("body", "headers", "secrets")

    def __init__(
        self, headers: tuple[tuple[bytes, bytes], ...], body: bytes = b"", secrets: Secrets | None = None
    ) -> None:
        self.headers: tuple[tuple[bytes, bytes], ...] = headers
        self.body: bytes = body
        self.secrets: Secrets = secrets or Secrets()


def encoded(fields: Mapping[str, str], *headers: tuple[bytes, bytes], secrets: tuple[str, ...]) -> Form:
    """Return the form for these fields."""
    return Form((*_HEADERS, *headers), urlencode(fields).encode("ascii"), Secrets(*secrets))


@frozen
class ClientSecret:
    """A client secret, sent in the Authorization header (`client_secret_basic`) or in the form."""

    client_id: str
    secret: Secret
    basic: bool

    def form(self, fields: Mapping[str, str], url: str, now: float, secrets: tuple[str, ...] = ()) -> Form:  # noqa: ARG002
        """Return the request with the credentials in it."""
        secret = self.secret.reveal()
        if not self.basic:
            fields = {**fields, "client_id": self.client_id, "client_secret": secret}
            return encoded(fields, secrets=(*secrets, secret))
        # RFC 6749 section 2.3.1: each part is form-encoded before the two are joined.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(secret)}"
        basic = base64.b64encode(pair.encode()).decode()
        return encoded(fields, (b"Authorization", f"Basic {basic}".encode()), secrets=(*secrets, secret, basic))

    def material(self) -> bytes:
        """Return bytes that only this client has, the same in each of its processes."""
        return self.secret.reveal().encode()


@frozen
class ClientKey:
    """A private key, which signs an assertion for each request (`private_key_jwt`)."""

    client_id: str
    signer: Signer
    audience: str | None
    private_key: bytes = field(repr=False)

    def form(self, fields: Mapping[str, str], url: str, now: float, secrets: tuple[str, ...] = ()) -> Form:
        """Return the request with a new assertion in it."""
        assertion = self.assertion(self.client_id, url, now)
        fields = {**fields, "client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}
        return encoded(fields, secrets=(*secrets, assertion))

    def assertion(self, subject: str, url: str, now: float, **claims: str) -> str:
        """Return a signed assertion about a subject, for an endpoint."""
        return self.signer.sign(assertion_claims(self.client_id, subject, self.audience or url, now) | claims)

    def material(self) -> bytes:
        """Return bytes that only this client has, the same in each of its processes."""
        return self.private_key


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
    problem = None
    if client_auth not in (None, "client_secret_basic", "client_secret_post", "private_key_jwt"):
        problem = "client_auth: must be client_secret_basic, client_secret_post or private_key_jwt"
    elif (client_secret is None) == (private_key is None):
        problem = "client_secret: give it or private_key, one of the two"
    elif private_key is None and client_auth == "private_key_jwt":
        problem = "client_auth: private_key_jwt needs private_key"
    elif private_key is not None and client_auth not in (None, "private_key_jwt"):
        problem = f"client_auth: {client_auth} needs client_secret"
    elif client_secret is not None and (audience, alg, kid) != (None, None, None):
        problem = "audience, alg and kid belong to private_key; leave them out with a client_secret"
    if problem is not None:
        raise ConfigurationError(problem)
    if private_key is not None:
        return client_key(client_id, private_key, audience, alg, kid)
    secret = text("client_secret", client_secret)
    if not secret:
        raise ConfigurationError("client_secret: is empty; give the secret that the operator issued")
    if _CONTROL.search(secret):
        raise ConfigurationError("client_secret: holds a line end or another control character; strip it")
    return ClientSecret(_checked_id(client_id), Secret(secret), basic=client_auth != "client_secret_post")


def client_key(
    client_id: str, private_key: PrivateKey, audience: str | None, alg: str | None, kid: str | None
) -> ClientKey:
    """Return the credential for a private key, or raise ConfigurationError."""
    if audience is not None:
        text("audience", audience)
    return ClientKey(_checked_id(client_id), signer_of(private_key, alg, kid), audience, key_material(private_key))


def _checked_id(client_id: object) -> str:
    client_id = client_id.removeprefix("\ufeff") if isinstance(client_id, str) else client_id
    if not isinstance(client_id, str) or _VISIBLE.fullmatch(client_id) is None:
        raise ConfigurationError("client_id: must be given, as the operator issued it")
    return client_id


def checked_user(name: str, value: object, prefixes: tuple[str, ...]) -> Secret:
    """Return the name of a user, `tel:+` and a number or a text with a prefix, or raise ConfigurationError."""
    user = text(name, value)
    if _TEL.fullmatch(user) or (user.startswith(prefixes) and _VISIBLE.fullmatch(user) and " " not in user):
        return Secret(user)
    others = " or ".join(prefixes)
    raise ConfigurationError(f"{name}: must be tel:+ and digits, without separators, or start with {others}")
