"""The client credentials grant: tokens of the application itself."""

from typing import TYPE_CHECKING

from camara_otp.auth.cache import CachedProvider
from camara_otp.auth.credentials import ClientAuth, PrivateKey, client_credential
from camara_otp.auth.responses import Token
from camara_otp.auth.scopes import SEND_VALIDATE, checked_scope
from camara_otp.auth.stores import TokenStore
from camara_otp.auth.token_endpoint import TokenEndpoint
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client


class ClientCredentials(CachedProvider):
    """Log in as the application itself: two-legged tokens, the kind that this API is meant for.

    Args:
        token_url: the operator's token endpoint, https (http for loopback only). Or give `issuer`.
        client_id: from the operator
        issuer: URL whose `/.well-known/openid-configuration` names the token endpoint, or that URL itself
        client_secret: from the operator; or `private_key`
        private_key: PEM string or JWK, RSA, P-256 (or -384, -521) or Ed25519; needs `pip install 'camara-otp[oauth]'`
        client_auth: `"client_secret_basic"` (default with a secret), `"client_secret_post"` or `"private_key_jwt"`
            (default with a key)
        scope: the scope to request, see `camara_otp.auth.scope`; None leaves it out
        audience: `aud` of the assertion if the operator requires another than the token endpoint's URL
        alg: signature algorithm; by default the JWK's, else RS256, ES256 or EdDSA, depending on the key
        kid: the operator's name of the key; by default the JWK's
        leeway: seconds ahead of the expiry at which to renew, at most a quarter of the lifetime
        timeout: seconds for one token: every attempt and every wait
        store: shares the token with other processes, as `RedisStore`
        allow_http: True lets the credentials travel over plain http to a host that is not loopback
        http_client: an `httpx.Client`, or `httpx2.Client`, of yours for proxies or certificates; never closed here

    Raises:
        ConfigurationError: an argument is missing, contradicts another or cannot be used; the message says which

    Source: RFC 6749 section 4.4; CAMARA Security and Interoperability Profile, "Client Credentials".
    """

    def __init__(
        self,
        token_url: str | None = None,
        client_id: str = "",
        *,
        issuer: str | None = None,
        client_secret: str | None = None,
        private_key: PrivateKey | None = None,
        client_auth: ClientAuth | None = None,
        scope: str | None = SEND_VALIDATE,
        audience: str | None = None,
        alg: str | None = None,
        kid: str | None = None,
        leeway: float = 60.0,
        timeout: float = 10.0,
        store: TokenStore | None = None,
        allow_http: bool = False,
        http_client: "Client | None" = None,
    ) -> None:
        try:
            credential = client_credential(
                client_id, client_secret, private_key, client_auth=client_auth, audience=audience, alg=alg, kid=kid
            )
            self._endpoint = TokenEndpoint(
                issuer, credential.form, timeout, allow_http=allow_http, http_client=http_client, token_url=token_url
            )
            self._scope = None if scope is None else checked_scope(scope)
            self._keep_tokens(leeway, store, credential.material, "client_credentials", client_id, scope or "")
            self._shown = f"{self._endpoint!r}, {client_id!r}, scope={scope!r}"
        except (ConfigurationError, UserWarning) as error:
            del self, token_url, issuer, client_secret, private_key  # a traceback with locals would show them
            raise error.with_traceback(None) from None

    def _fetch(self, timeout: float) -> Token:
        scope = {} if self._scope is None else {"scope": self._scope}
        return self._endpoint.fetch({"grant_type": "client_credentials"} | scope, self._scope, timeout)
