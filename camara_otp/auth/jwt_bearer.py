"""The JWT bearer grant: tokens of one user, obtained with only a signed assertion."""

from typing import TYPE_CHECKING

from camara_otp._checks import seconds
from camara_otp.auth.assertions import PrivateKey
from camara_otp.auth.cache import GRACE, CachedProvider, TokenCache
from camara_otp.auth.client_auth import Form, checked_user, client_key, encoded
from camara_otp.auth.scopes import SEND_VALIDATE, checked_scope
from camara_otp.auth.sharing import StoreKey, source_through
from camara_otp.auth.stores import TokenStore
from camara_otp.auth.token_endpoint import TokenEndpoint
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class JWTBearer(CachedProvider):
    """Log in for one user with only an assertion: three-legged tokens without any action of the user.

    Args:
        token_url: the operator's token endpoint, https (http for loopback only). Or give `issuer`.
        client_id: from the operator.
        issuer: URL whose `/.well-known/openid-configuration` names the token endpoint, or that URL itself.
        private_key: PEM text or JWK; needs `pip install 'camara-otp[oauth]'`.
        subject: `tel:+` and the number in E.164 form, or `operatortoken:` and a TS.43 token.
        scope: the scope to request, a purpose included; never `openid`. See `camara_otp.auth.scope`.
        audience, alg, kid, leeway, timeout, store, allow_http, http_client: as for `ClientCredentials`.

    Raises:
        ConfigurationError: an argument is missing, contradicts another or cannot be used; the text says which.

    Source: RFC 7523 section 2.1; CAMARA Security and Interoperability Profile, "JWT Bearer Flow".
    """

    def __init__(
        self,
        token_url: str | None = None,
        client_id: str = "",
        *,
        issuer: str | None = None,
        private_key: PrivateKey,
        subject: str,
        scope: str = SEND_VALIDATE,
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
            endpoint = TokenEndpoint(token_url, issuer, timeout=timeout, allow_http=allow_http, http_client=http_client)
            key = client_key(client_id, private_key, audience, alg, kid)
            user = checked_user("subject", subject, ("operatortoken:",))
            scope = _without_openid(checked_scope(scope))
            leeway = seconds("leeway", leeway, zero=True)

            def form(url: str, now: float) -> Form:
                # The assertion is grant, scope and login in one, so no other field goes along.
                assertion = key.assertion(user.reveal(), url, now, scope=scope)
                secrets = (assertion, user.reveal(), user.reveal().partition(":")[2])
                return encoded({"grant_type": JWT_BEARER, "assertion": assertion}, secrets=secrets)

            def store_key() -> StoreKey:
                return StoreKey.derive(key.material(), "jwt_bearer", endpoint.name, client_id, scope, user.reveal())

            source = source_through(
                lambda left: endpoint.fetch(form, scope, left), store, store_key, endpoint.timeout, leeway
            )
            self._cache = TokenCache(source, leeway=leeway, patience=endpoint.timeout + GRACE)
            self._shown = f"{endpoint!r}, {client_id!r}, subject='***', scope={scope!r}"
        except (ConfigurationError, UserWarning) as error:
            del self, token_url, issuer, private_key, subject  # a traceback with locals would show them
            raise error.with_traceback(None) from None


def _without_openid(scope: str) -> str:
    if "openid" in scope.split():
        raise ConfigurationError("scope: a JWT bearer assertion must not hold openid; leave it out")
    return scope
