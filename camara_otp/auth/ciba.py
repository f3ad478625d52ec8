"""CIBA in poll mode: tokens of one user, who confirms the login on the phone.

OpenID Connect Client-Initiated Backchannel Authentication (CIBA) Core 1.0.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from camara_otp._checks import seconds
from camara_otp._threads import await_future, run_in_thread
from camara_otp.auth.cache import GRACE, CachedProvider
from camara_otp.auth.credentials import ClientAuth, Form, PrivateKey, checked_user, client_credential
from camara_otp.auth.responses import StartedLogin, Token, TokenRefusal, read_started_login
from camara_otp.auth.scopes import SEND_VALIDATE, checked_scope
from camara_otp.auth.token_endpoint import TokenEndpoint
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client

_GRANT: Final = "urn:openid:params:grant-type:ciba"
# Seconds between two polls: at least (one operator publishes an interval of 0), added by slow_down, and at most.
SHORTEST_INTERVAL: Final = 1.0
SLOW_DOWN: Final = 5.0
_LONGEST_INTERVAL: Final = 60.0


@define(eq=False)
class _Login:
    """A login that the user has confirmed, and its refresh token, which each renewal may replace."""

    refresh: str | None = field(repr=False)


class CIBA(CachedProvider):
    """Log in for one user, who confirms the login on the phone (poll mode): three-legged tokens.

    Call `authorize` first: it may take minutes. Afterwards the object provides that token, and renews it if the
    operator sent a refresh token. Without one, and before `authorize`, it raises TokenError.

    Args:
        token_url, client_id: as for `ClientCredentials`
        backchannel_url: the operator's backchannel authentication endpoint. Or give `issuer`.
        issuer: URL whose `/.well-known/openid-configuration` names both endpoints, or that URL itself
        login_hint: `tel:+` and the number in E.164 form, `ipport:` and address and port, or `operatortoken:` and a
            TS.43 token
        client_secret, private_key, client_auth: as for `ClientCredentials`
        scope: the scope to request, `openid` and a purpose included, see `camara_otp.auth.scope`; `offline_access`
            requests a refresh token
        audience, alg, kid, leeway, allow_http, http_client: as for `ClientCredentials`
        timeout: seconds for one request to the operator, its repetitions and waits included

    Raises:
        ConfigurationError: an argument is missing, contradicts another or cannot be used; the message says which

    Source: OpenID CIBA Core 1.0; CAMARA Security and Interoperability Profile, "CIBA flow".
    """

    def __init__(
        self,
        token_url: str | None = None,
        backchannel_url: str | None = None,
        client_id: str = "",
        *,
        issuer: str | None = None,
        login_hint: str,
        client_secret: str | None = None,
        private_key: PrivateKey | None = None,
        client_auth: ClientAuth | None = None,
        scope: str = f"openid {SEND_VALIDATE}",
        audience: str | None = None,
        alg: str | None = None,
        kid: str | None = None,
        leeway: float = 60.0,
        timeout: float = 10.0,
        allow_http: bool = False,
        http_client: "Client | None" = None,
    ) -> None:
        try:
            self._credential = client_credential(
                client_id, client_secret, private_key, client_auth=client_auth, audience=audience, alg=alg, kid=kid
            )
            self._login_hint = checked_user("login_hint", login_hint, ("ipport:", "operatortoken:"))
            self._endpoint = TokenEndpoint(
                issuer,
                self._form,
                timeout,
                allow_http=allow_http,
                http_client=http_client,
                token_url=token_url,
                backchannel_url=backchannel_url,
            )
            self._scope = checked_scope(scope)
            self._login: _Login | None = None
            self._keep_tokens(leeway, None, self._credential.material)
            self._shown = f"{self._endpoint!r}, {client_id!r}, login_hint='***', scope={scope!r}"
        except (ConfigurationError, UserWarning) as error:
            # A traceback with locals would show them.
            del self, token_url, backchannel_url, issuer, client_secret, private_key, login_hint
            raise error.with_traceback(None) from None

    def authorize(self, *, timeout: float = 120.0) -> None:
        """Ask the operator to log the user in, and wait until that is done.

        Args:
            timeout: seconds to wait for the user and the operator

        Raises:
            TokenError: refused, not finished in time, or no usable response; `error` holds the server's code, or
                `"expired_token"` if the user did not confirm in time
            ConfigurationError: `timeout` is not a number of seconds
        """
        timeout = seconds("timeout", timeout)
        try:
            outcome = self._log_in(timeout, threading.Event())
        except BaseException as error:  # noqa: BLE001 - raised again
            raise error.with_traceback(None) from None  # the frames below hold tokens
        if isinstance(outcome, TokenRefusal):
            raise outcome.error()

    async def aauthorize(self, *, timeout: float = 120.0) -> None:
        """Ask the operator to log the user in, and wait in a task; cancelling the task stops the polling.

        The arguments and errors are those of `authorize`.
        """
        timeout = seconds("timeout", timeout)
        stop = threading.Event()
        try:
            # The thread observes the timeout; its last poll may end later.
            outcome = await await_future(run_in_thread(self._log_in, timeout, stop), timeout + GRACE)
        except RuntimeError:
            outcome = TokenRefusal("the login needs a thread, and this process cannot start another one")
        finally:
            stop.set()
        if not isinstance(outcome, _Login):
            raise (
                outcome or TokenRefusal("the login was not finished in time; authorize again, with a longer timeout")
            ).error()

    def _log_in(self, timeout: float, stop: threading.Event) -> _Login | TokenRefusal:
        """Log the user in and keep the token; return the login, or the reason why there is none."""
        deadline = time.monotonic() + timeout

        def left() -> float:
            return min(deadline - time.monotonic(), self._endpoint.timeout)

        def poll(auth_req_id: str) -> Token:
            fields = {"grant_type": _GRANT, "auth_req_id": auth_req_id}
            return self._endpoint.fetch(fields, self._scope, left(), attempts=1)

        try:
            fields = {"scope": self._scope, "login_hint": self._login_hint.reveal()}
            started = self._endpoint.ask("backchannel_url", fields, read_started_login, left())
            token = poll_login(started, poll, deadline=deadline, clock=time.monotonic, stopped=stop.wait)
        except TokenRefusal as refusal:
            return refusal.with_traceback(None)  # its frames hold tokens
        except Exception as error:  # noqa: BLE001 - a caller's own http_client may raise anything
            return TokenRefusal(f"the login failed: it raised {type(error).__name__}")
        self._login = login = _Login(token.refresh)
        self._cache.put(evolve(token, final=token.refresh is None))
        return login

    def _form(self, fields: Mapping[str, str], url: str, now: float) -> Form:
        return self._credential.form(fields, url, now).hiding(self._login_hint)

    def _fetch(self, timeout: float) -> Token:
        """Fetch a token with the refresh token of the last login, or raise TokenRefusal."""
        login = self._login  # of this moment, whatever login follows meanwhile
        if login is None:
            raise TokenRefusal("no user is logged in; call authorize() (or await aauthorize()) first")
        refresh = login.refresh
        if refresh is None:
            raise TokenRefusal(
                "the login has expired, and no refresh token is left; authorize again, and request offline_access if "
                "it should last"
            )
        try:
            fields = {"grant_type": "refresh_token", "refresh_token": refresh}
            token = self._endpoint.fetch(fields, self._scope, timeout)
        except TokenRefusal as refusal:
            if refusal.code == "invalid_grant" and login.refresh == refresh:
                login.refresh = None
            raise
        # Without a new refresh token the old one stays valid, RFC 6749 section 6.
        login.refresh = token.refresh or refresh
        return token


def poll_login(
    login: StartedLogin,
    poll: Callable[[str], Token],
    *,
    deadline: float,
    clock: Callable[[], float],
    stopped: Callable[[float], bool],
) -> Token:
    """Poll until a login is done, and return the token.

    `stopped` waits so many seconds, and returns whether the login was cancelled meanwhile.

    Raises:
        TokenRefusal: the login was refused or canceled, or it is too late
    """
    interval = max(login.interval, SHORTEST_INTERVAL)
    ends = clock() + login.expires_in
    # An interval as long as the login lives would allow no poll: there is one, close to the end.
    pause = interval if interval < login.expires_in else max(login.expires_in - SHORTEST_INTERVAL, 0.0)
    while True:
        if clock() + pause >= deadline:
            raise TokenRefusal(
                "the user did not confirm in time; give authorize a longer timeout (the operator requires "
                f"{interval:g} s between two polls)",
                "expired_token",
            )
        if stopped(pause):
            raise TokenRefusal("the login was canceled; authorize again")
        try:
            return poll(login.auth_req_id)
        except TokenRefusal as refusal:
            if refusal.code == "slow_down":
                interval += SLOW_DOWN
            elif refusal.code != "authorization_pending":
                if not refusal.again:
                    raise
                # CIBA Core section 7.3: a client that gets no response polls less often.
                interval = max(interval, min(interval * 2, _LONGEST_INTERVAL), refusal.wait)
        pause = interval
        if clock() + pause >= ends:
            reason = "the user did not confirm within the operator's own limit; authorize again"
            raise TokenRefusal(reason, "expired_token")
