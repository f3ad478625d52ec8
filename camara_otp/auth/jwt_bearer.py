"""The JWT bearer grant: tokens of one user, obtained with only a signed assertion."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from camara_otp.auth.cache import CachedProvider
from camara_otp.auth.credentials import Form, PrivateKey, checked_user, client_key
from camara_otp.auth.responses import Token
from camara_otp.auth.scopes import SEND_VALIDATE, checked_scope
from camara_otp.auth.stores import TokenStore
from camara_otp.auth.token_endpoint import TokenEndpoint
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client


class JWTBearer(CachedProvider):
    """Log in for one user with only an assertion: three-legged tokens without any action of the user.

    Args:
        token_url, client_id, issuer, private_key: as for `ClientCredentials`
        subject: `tel:+` and the number in E.164 form, or `operatortoken:` and a TS.43 token
        scope: the scope to request, a purpose included; never `openid`. See `camara_otp.auth.scope`.
        audience, alg, kid, leeway, timeout, store, allow_http, http_client: as for `ClientCredentials`

    Raises:
        ConfigurationError: an argument is missing, contradicts another or cannot be used; the message says which

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
            self._key = client_key(client_id, private_key, audience, alg, kid)
            self._subject = checked_user("subject", subject, ("operatortoken:",))
            self._endpoint = TokenEndpoint(
                issuer, self._form, timeout, allow_http=allow_http, http_client=http_client, token_url=token_url
            )
            self._scope = checked_scope(scope, openid=False)
            self._keep_tokens(leeway, store, self._key.material, "jwt_bearer", client_id, scope, subject)
            self._shown = f"{self._endpoint!r}, {client_id!r}, subject='***', scope={scope!r}"
        except (ConfigurationError, UserWarning) as error:
            del self, token_url, issuer, private_key, subject  # a traceback with locals would show them
            raise error.with_traceback(None) from None

    def _fetch(self, timeout: float) -> Token:
        fields = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
        return self._endpoint.fetch(fields, self._scope, timeout)

    def _form(self, fields: Mapping[str, str], url: str, now: float) -> Form:
        # The assertion stands for the scope and for the login of the client too, so no other field goes along.
        assertion = self._key.assertion(self._subject.reveal(), url, now, scope=self._scope)
        return Form({**fields, "assertion": assertion}).hiding(self._subject)
