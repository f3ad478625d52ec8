"""What is asked of an authorization server: pure functions from values to forms.

RFC 6749 (client credentials, refresh), RFC 7523 (assertions, JWT bearer) and OpenID CIBA Core, as the CAMARA
Security and Interoperability Profile narrows them.
"""

import base64
import uuid
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote_plus, urlencode

from attrs import field, frozen

from camara_otp.auth._keys import Signer
from camara_otp.auth._values import Form

CLIENT_CREDENTIALS: Final = "client_credentials"
REFRESH: Final = "refresh_token"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CIBA: Final = "urn:openid:params:grant-type:ciba"
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# The profile caps exp - iat at 300 s and refuses an exp further than that ahead of the server's clock: the middle
# leaves room for clocks that differ by minutes either way.
ASSERTION_LIFETIME: Final = 120

_HEADERS: Final = ((b"accept", b"application/json"), (b"content-type", b"application/x-www-form-urlencoded"))

NewId = Callable[[], str]


def new_id() -> str:
    """Return an identifier that was never used before."""
    return str(uuid.uuid4())


@frozen
class Secret:
    """Log in with a client secret: in the Authorization header, or in the form."""

    client_id: str
    secret: str = field(repr=False)
    basic: bool

    def form(self, fields: Mapping[str, str], url: str, now: float, fresh: NewId) -> Form:  # noqa: ARG002
        """Return the request with the credentials in it."""
        if not self.basic:
            return _form({**fields, "client_id": self.client_id, "client_secret": self.secret}, secrets=(self.secret,))
        # RFC 6749 section 2.3.1: each part is form-encoded before the two are joined.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
        basic = base64.b64encode(pair.encode()).decode()
        header = (b"Authorization", f"Basic {basic}".encode())
        return _form(fields, header, secrets=(self.secret, basic))


@frozen
class Key:
    """Log in with a signed assertion (`private_key_jwt`)."""

    client_id: str
    signer: Signer
    audience: str | None

    def form(self, fields: Mapping[str, str], url: str, now: float, fresh: NewId) -> Form:
        """Return the request with a new assertion in it."""
        claims = assertion_claims(self.client_id, self.client_id, self.audience or url, now, fresh())
        assertion = self.signer.sign(claims)
        return _form(
            {**fields, "client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}, secrets=(assertion,)
        )


Credential = Secret | Key


def assertion_claims(issuer: str, subject: str, audience: str, now: float, jti: str) -> dict[str, object]:
    """Return the claims of an assertion, RFC 7523 section 3; `now` is wall-clock time."""
    issued = int(now)
    return {
        "iss": issuer,
        "sub": subject,
        "aud": audience,
        "iat": issued,
        "exp": issued + ASSERTION_LIFETIME,
        "jti": jti,
    }


def client_credentials(scope: str | None) -> dict[str, str]:
    """Return the fields of a client credentials request."""
    return {"grant_type": CLIENT_CREDENTIALS} | ({"scope": scope} if scope is not None else {})


def refresh(token: str) -> dict[str, str]:
    """Return the fields of a refresh request."""
    return {"grant_type": REFRESH, "refresh_token": token}


def jwt_bearer(key: Key, subject: str, scope: str, *, url: str, now: float, fresh: NewId) -> Form:
    """Return a JWT bearer request: the assertion is grant, scope and login in one, so no other field goes along."""
    claims = assertion_claims(key.client_id, subject, key.audience or url, now, fresh()) | {"scope": scope}
    assertion = key.signer.sign(claims)
    secrets = (assertion, subject, subject.partition(":")[2])
    return _form({"grant_type": JWT_BEARER, "assertion": assertion}, secrets=secrets)


def backchannel(scope: str, login_hint: str) -> dict[str, str]:
    """Return the fields that ask for a login, CIBA Core section 7.1."""
    return {"scope": scope, "login_hint": login_hint}


def poll(auth_req_id: str) -> dict[str, str]:
    """Return the fields that ask whether the login is done, CIBA Core section 10.1."""
    return {"grant_type": CIBA, "auth_req_id": auth_req_id}


def _form(fields: Mapping[str, str], *headers: tuple[bytes, bytes], secrets: tuple[str, ...]) -> Form:
    return Form(headers=(*_HEADERS, *headers), body=urlencode(fields).encode("ascii"), secrets=secrets)
