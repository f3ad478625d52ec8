"""CIBA in poll mode: tokens of one user, who confirms the login on the phone.

OpenID Connect Client-Initiated Backchannel Authentication (CIBA) Core 1.0.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from camara_otp._checks import seconds
from camara_otp._threads import await_future, run_in_thread
from camara_otp.auth.answers import StartedLogin, Token, TokenRefusal, read_started_login, read_token
from camara_otp.auth.assertions import PrivateKey
from camara_otp.auth.cache import GRACE, CachedProvider, TokenCache
from camara_otp.auth.client_auth import ClientAuth, checked_user, client_credential
from camara_otp.auth.scopes import SEND_VALIDATE, checked_scope
from camara_otp.auth.token_endpoint import FormBuilder, TokenEndpoint
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client

CIBA_GRANT: Final = "urn:openid:params:grant-type:ciba"

# Seconds between two polls: at least (one operator publishes an interval of 0), added by slow_down, and at most.
SHORTEST_INTERVAL: Final = 1.0
SLOW_DOWN: Final = 5.0
_LONGEST_INTERVAL: Final = 60.0
_EXPIRED: Final = "expired_token"


class CIBA(CachedProvider):
    """Log in for one user, who confirms the login on the phone (poll mode): three-legged tokens.

    Call `authorize` first: it may take minutes. Afterwards the object provides that token, and renews it if the
    operator sent a refresh token. Without one, and before `authorize`, it raises TokenError.

    Args:
        token_url: the operator's token endpoint, https (http for loopback only). Or give `issuer`.
        backchannel_url: the operator's backchannel authentication endpoint. Or give `issuer`.
        client_id: from the operator.
        issuer: URL whose `/.well-known/openid-configuration` names both endpoints, or that URL itself.
        login_hint: `tel:+` and the number in E.164 form, `ipport:` and address and port, or `operatortoken:` and a
            TS.43 token.
        client_secret, private_key, client_auth: as for `ClientCredentials`.
        scope: the scope to request, `openid` and a purpose included, see `camara_otp.auth.scope`; `offline_access`
            requests a refresh token.
        audience, alg, kid, leeway, allow_http, http_client: as for `ClientCredentials`.
        timeout: seconds for one request to the operator, its repetitions and waits included.

    Raises:
        ConfigurationError: an argument is missing, contradicts another or cannot be used; the text says which.

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
            self._endpoint = TokenEndpoint(
                token_url,
                issuer,
                timeout=timeout,
                allow_http=allow_http,
                http_client=http_client,
                backchannel_url=backchannel_url,
                backchannel=True,
            )
            self._credential = client_credential(
                client_id, client_secret, private_key, client_auth=client_auth, audience=audience, alg=alg, kid=kid
            )
            self._login_hint = checked_user("login_hint", login_hint, ("ipport:", "operatortoken:"))
            self._scope = checked_scope(scope)
            # The refresh tokens of the last login that may still be valid, newest last; None before the first login.
            # In a dict, adding and removing are one step each, so that no lock is necessary.
            self._refresh_tokens: dict[str, None] | None = None
            leeway = seconds("leeway", leeway, zero=True)
            self._cache = TokenCache(self._renew, leeway=leeway, patience=self._endpoint.timeout + GRACE)
            self._shown = f"{self._endpoint!r}, {client_id!r}, login_hint='***', scope={scope!r}"
        except (ConfigurationError, UserWarning) as error:
            # A traceback with locals would show them.
            del self, token_url, backchannel_url, issuer, client_secret, private_key, login_hint
            raise error.with_traceback(None) from None

    def authorize(self, *, timeout: float = 120.0) -> None:
        """Ask the operator to log the user in, and wait until that is done.

        Args:
            timeout: seconds to wait for the user and the operator.

        Raises:
            TokenError: refused, not finished in time, or no usable answer; `error` holds the server's code, or
                `"expired_token"` if the user did not answer in time.
            ConfigurationError: `timeout` is not a number of seconds.
        """
        timeout = seconds("timeout", timeout)
        try:
            _raise(self._log_in(timeout, threading.Event()))
        except BaseException as error:  # noqa: BLE001 - raised again
            raise error.with_traceback(None) from None  # the frames below hold tokens

    async def aauthorize(self, *, timeout: float = 120.0) -> None:
        """Ask the operator to log the user in, and wait in a task; cancelling the task stops the polling.

        The arguments and errors are those of `authorize`.
        """
        timeout = seconds("timeout", timeout)
        refusal: TokenRefusal | None = TokenRefusal("the login was not finished in time")
        stop = threading.Event()
        try:
            login = run_in_thread(self._log_in, timeout, stop)
            await await_future(login, timeout + GRACE)  # the thread observes the timeout; its last poll may end later
            if login.done():
                refusal = login.result()
        except RuntimeError:
            refusal = TokenRefusal("the login needs a thread, and this process cannot start another one")
        finally:
            stop.set()
        _raise(refusal)

    def _log_in(self, timeout: float, stop: threading.Event) -> TokenRefusal | None:
        deadline = time.monotonic() + timeout

        def start() -> StartedLogin | TokenRefusal:
            build = self._form({"scope": self._scope, "login_hint": self._login_hint.reveal()})
            return self._endpoint.ask("backchannel", build, read_started_login, self._until(deadline), rings=True)

        def poll(auth_req_id: str) -> Token | TokenRefusal:
            build = self._form({"grant_type": CIBA_GRANT, "auth_req_id": auth_req_id}, auth_req_id)
            return self._endpoint.ask(
                "token", build, lambda reply: read_token(reply, self._scope), self._until(deadline), attempts=1
            )

        try:
            outcome = poll_login(start, poll, deadline=deadline, clock=time.monotonic, stopped=stop.wait)
        except Exception as error:  # noqa: BLE001 - a caller's own http_client may raise anything
            return TokenRefusal(f"the login failed: it raised {type(error).__name__}")
        if isinstance(outcome, TokenRefusal):
            return outcome
        token, began = outcome
        self._refresh_tokens = {} if token.refresh is None else {token.refresh: None}
        final = Token(token.value, token.lifetime, token.left, final=True)
        self._cache.put(final if token.refresh is None else token, began)
        return None

    def _until(self, deadline: float) -> float:
        return min(deadline, time.monotonic() + self._endpoint.timeout)

    def _form(self, fields: dict[str, str], *secrets: str) -> FormBuilder:
        hint = self._login_hint.reveal()
        return lambda url, now: self._credential.form(fields, url, now, (*secrets, hint, hint.partition(":")[2]))

    def _renew(self, unwanted: str | None, wait_budget: float) -> Token | TokenRefusal:  # noqa: ARG002 - a Source
        """Fetch a token with the newest refresh token of the last login."""
        known = self._refresh_tokens  # of the login at this moment, whatever login follows meanwhile
        if known is None:
            return TokenRefusal("no user is logged in; call authorize() (or await aauthorize()) first")
        if not known:
            return TokenRefusal(
                "the login has expired, and no refresh token is left; authorize again, and request offline_access if "
                "it should last"
            )
        refresh = list(known)[-1]
        fields = {"grant_type": "refresh_token", "refresh_token": refresh}
        outcome = self._endpoint.fetch(self._form(fields, refresh), self._scope)
        if isinstance(outcome, Token):
            # Without a new refresh token the old one stays valid, RFC 6749 section 6.
            if outcome.refresh is not None and outcome.refresh != refresh:
                known[outcome.refresh] = None
                known.pop(refresh, None)
        elif outcome.code == "invalid_grant":
            known.pop(refresh, None)
        return outcome


def _raise(refusal: TokenRefusal | None) -> None:
    if refusal is not None:
        raise refusal.error()


def poll_login(
    start: Callable[[], StartedLogin | TokenRefusal],
    poll: Callable[[str], Token | TokenRefusal],
    *,
    deadline: float,
    clock: Callable[[], float],
    stopped: Callable[[float], bool],
) -> tuple[Token, float] | TokenRefusal:
    """Start a login and poll until it is done, refused or too late; return the token and when its request began.

    `stopped` waits so many seconds and tells whether the login was given up meanwhile.
    """
    login = start()
    if isinstance(login, TokenRefusal):
        return login
    interval = max(login.interval, SHORTEST_INTERVAL)
    ends = clock() + login.expires_in
    has_polled = False
    while True:
        pause = _pause(interval, ends - clock(), has_polled=has_polled)
        if pause is None:
            return TokenRefusal("the user did not answer within the operator's own limit; authorize again", _EXPIRED)
        if clock() + pause >= deadline:
            reason = (
                "the user did not answer in time; give authorize a longer timeout (the operator requires "
                f"{interval:g} s between two polls)"
            )
            return TokenRefusal(reason, _EXPIRED)
        if stopped(pause):
            return TokenRefusal("the login was given up")
        has_polled = True
        began = clock()
        outcome = poll(login.auth_req_id)
        if isinstance(outcome, Token):
            return outcome, began
        if outcome.code == "slow_down":
            interval += SLOW_DOWN
        elif outcome.code != "authorization_pending":
            if not outcome.again:
                return outcome
            # CIBA Core section 7.3: a client that gets no response polls less often.
            interval = max(interval, min(interval * 2, _LONGEST_INTERVAL), outcome.wait)


def _pause(interval: float, left: float, *, has_polled: bool) -> float | None:
    """Return the seconds to wait before the next poll, or None if the login will have expired by then."""
    if interval < left:
        return interval
    # An interval as long as the login lives would allow no poll: there is one, close to the end.
    return None if has_polled else max(left - SHORTEST_INTERVAL, 0.0)
