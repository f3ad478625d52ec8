"""Providers that fetch tokens from the operator's authorization server and renew them in time.

Each is one object for any number of sync and async clients, threads and event loops. Until a token is due, giving it
takes no lock; then one fetch, in a thread of its own, serves everybody.
"""

import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from camara_otp._tokens import Bounded
from camara_otp.auth import _requests as requests
from camara_otp.auth._answers import Asked, read_asked, read_token
from camara_otp.auth._authority import Authority, Line
from camara_otp.auth._cache import Cache, await_, in_thread
from camara_otp.auth._fleet import Fleet, Seal
from camara_otp.auth._keys import PrivateKey, material, signer
from camara_otp.auth._login import log_in
from camara_otp.auth._scope import SEND_VALIDATE, checked
from camara_otp.auth._values import Endpoint, Form, Refusal, Token, seconds, text
from camara_otp.auth.stores import TokenStore
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client

ClientAuth = Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]

_LEEWAY: Final = 60.0
_TIMEOUT: Final = 10.0
# A flight that overstays its own timeout by this much is given up.
_GRACE: Final = 2.0
_VISIBLE: Final = re.compile(r"[ -~]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_TEL: Final = re.compile(r"tel:\+[1-9][0-9]{4,14}")


class _Renewing(Bounded):
    """Give what the cache holds, or raise why there is nothing: the same for every grant."""

    _cache: Cache

    def get_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the sync client.

        Args:
            rejected: the token that the operator has just refused with 401, or None.
            timeout: seconds to wait for a token that has to be fetched.

        Returns:
            A token other than `rejected`, if one can be had.

        Raises:
            TokenError: none could be had; `error` holds the server's code, the text says what to do.
        """
        token = self._cache.fresh(rejected)
        if token is not None:
            return token
        try:
            outcome = self._cache.get(rejected, timeout)
        except BaseException as interruption:  # noqa: BLE001 - it is passed on
            raise _without_frames(interruption) from None
        finally:
            del rejected
        if isinstance(outcome, str):
            return outcome
        raise outcome.error()

    async def aget_token(self, *, rejected: str | None, timeout: float) -> str:
        """Return a token, for the async client.

        Args:
            rejected: the token that the operator has just refused with 401, or None.
            timeout: seconds to wait for a token that has to be fetched.

        Returns:
            A token other than `rejected`, if one can be had.

        Raises:
            TokenError: none could be had; `error` holds the server's code, the text says what to do.
        """
        token = self._cache.fresh(rejected)
        if token is not None:
            return token
        try:
            outcome = await self._cache.aget(rejected, timeout)
        except BaseException as interruption:  # noqa: BLE001 - it is passed on
            raise _without_frames(interruption) from None
        finally:
            del rejected
        if isinstance(outcome, str):
            return outcome
        raise outcome.error()


class ClientCredentials(_Renewing):
    """Log in as the application itself: two-legged tokens, what this API is meant for.

    Args:
        token_url: the operator's token endpoint, https (http for loopback only). Or give `issuer`.
        client_id: from the operator.
        issuer: URL whose `/.well-known/openid-configuration` names the token endpoint; that URL itself does as well.
        client_secret: from the operator; or `private_key`.
        private_key: PEM text or JWK, RSA, P-256 (or -384, -521) or Ed25519; needs `pip install 'camara-otp[oauth]'`.
        client_auth: `"client_secret_basic"` (default with a secret), `"client_secret_post"` or `"private_key_jwt"`
            (default with a key).
        scope: what to ask for, see `camara_otp.auth.scope`; None leaves it out.
        audience: `aud` of the assertion where the operator wants another than the token endpoint's URL.
        alg: signature; by default the JWK's, else RS256, ES256 or EdDSA as the key is.
        kid: the key's name at the operator; by default the JWK's.
        leeway: renew so many seconds ahead of the end, at most a quarter of the token's life.
        timeout: seconds for fetching one token: every attempt and every wait.
        store: share the token with other processes, as `RedisStore`.
        allow_http: True lets the credentials travel over plain http to a host that is not loopback.
        http_client: an `httpx.Client`, or `httpx2.Client`, of the caller's for proxies or certificates; never closed
            here.

    Raises:
        ConfigurationError: an argument is missing, contradicts another or cannot be used; the text says which.

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
        leeway: float = _LEEWAY,
        timeout: float = _TIMEOUT,
        store: TokenStore | None = None,
        allow_http: bool = False,
        http_client: "Client | None" = None,
    ) -> None:
        """Check the arguments; nothing is sent yet."""
        try:
            self._authority = Authority(
                token_url,
                None,
                issuer,
                backchannel=False,
                timeout=timeout,
                allow_http=allow_http,
                http_client=http_client,
            )
            self._credential = _credential(
                client_id, client_secret, private_key, client_auth=client_auth, audience=audience, alg=alg, kid=kid
            )
            self._scope = checked(scope) if scope is not None else None
            leeway = seconds("leeway", leeway, zero=True)
            if store is None:
                self._fleet = None
            else:
                made_of = ("client_credentials", self._authority.name, client_id, scope or "")
                self._fleet = Fleet(store, lambda: Seal.make(_known_by(client_secret, private_key), *made_of), leeway)
            self._cache = Cache(self._fetch, leeway=leeway, patience=timeout + _GRACE)
            self._fields = requests.client_credentials(self._scope)
        except ConfigurationError as error:
            # No frame that is shown with its locals shall hold what was given.
            del self, client_secret, private_key
            raise error.with_traceback(None) from None

    def _fetch(self, unwanted: str | None, hurry: float) -> Token | Refusal:
        deadline = time.monotonic() + self._authority.timeout
        if self._fleet is not None:
            return self._fleet.fetch(unwanted, lambda: self._own(deadline), deadline, hurry)
        return self._own(deadline)

    def _own(self, deadline: float) -> Token | Refusal:
        def build(where: Endpoint) -> Form:
            return self._credential.form(self._fields, where.url, time.time(), requests.new_id)

        return _token(self._authority, build, self._scope, deadline)

    def __repr__(self) -> str:
        """Return a text without the secret or the key."""
        return f"ClientCredentials({self._authority.name!r}, {self._credential.client_id!r}, scope={self._scope!r})"


class JWTBearer(_Renewing):
    """Log in for one user by an assertion alone: three-legged tokens without the user's part in it.

    Args:
        token_url: the operator's token endpoint, https (http for loopback only). Or give `issuer`.
        client_id: from the operator.
        issuer: URL whose `/.well-known/openid-configuration` names the token endpoint; that URL itself does as well.
        private_key: PEM text or JWK; needs `pip install 'camara-otp[oauth]'`.
        subject: `tel:+` and the number in E.164 form, or `operatortoken:` and a TS.43 token.
        scope: what to ask for, a purpose included; never `openid`. See `camara_otp.auth.scope`.
        audience: `aud` of the assertion where the operator wants another than the token endpoint's URL.
        alg: signature; by default the JWK's, else RS256, ES256 or EdDSA as the key is.
        kid: the key's name at the operator; by default the JWK's.
        leeway: renew so many seconds ahead of the end, at most a quarter of the token's life.
        timeout: seconds for fetching one token: every attempt and every wait.
        store: share the token with other processes, as `RedisStore`.
        allow_http: True lets the assertion travel over plain http to a host that is not loopback.
        http_client: an `httpx.Client`, or `httpx2.Client`, of the caller's for proxies or certificates; never closed
            here.

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
        leeway: float = _LEEWAY,
        timeout: float = _TIMEOUT,
        store: TokenStore | None = None,
        allow_http: bool = False,
        http_client: "Client | None" = None,
    ) -> None:
        """Check the arguments; nothing is sent yet."""
        try:
            self._authority = Authority(
                token_url,
                None,
                issuer,
                backchannel=False,
                timeout=timeout,
                allow_http=allow_http,
                http_client=http_client,
            )
            self._key = _key(client_id, private_key, audience, alg, kid)
            self._subject = _user("subject", subject, ("operatortoken:",))
            self._scope = _without_openid(checked(scope))
            leeway = seconds("leeway", leeway, zero=True)
            if store is None:
                self._fleet = None
            else:
                made_of = ("jwt_bearer", self._authority.name, client_id, scope)
                self._fleet = Fleet(store, lambda: Seal.make(material(private_key), *made_of, subject), leeway)
            self._cache = Cache(self._fetch, leeway=leeway, patience=timeout + _GRACE)
        except ConfigurationError as error:
            # No frame that is shown with its locals shall hold what was given.
            del self, private_key, subject
            raise error.with_traceback(None) from None

    def _fetch(self, unwanted: str | None, hurry: float) -> Token | Refusal:
        deadline = time.monotonic() + self._authority.timeout
        if self._fleet is not None:
            return self._fleet.fetch(unwanted, lambda: self._own(deadline), deadline, hurry)
        return self._own(deadline)

    def _own(self, deadline: float) -> Token | Refusal:
        def build(where: Endpoint) -> Form:
            return requests.jwt_bearer(
                self._key, self._subject, self._scope, url=where.url, now=time.time(), fresh=requests.new_id
            )

        return _token(self._authority, build, self._scope, deadline)

    def __repr__(self) -> str:
        """Return a text without the key or the user."""
        return f"JWTBearer({self._authority.name!r}, {self._key.client_id!r}, subject='***', scope={self._scope!r})"


class CIBA(_Renewing):
    """Log in for one user, whom the operator asks on another way, in poll mode: three-legged tokens.

    Call `authorize` first: it may take minutes. Afterwards the object gives that token, and renews it if the operator
    sent a refresh token. Without one, and before `authorize`, it raises TokenError.

    Args:
        token_url: the operator's token endpoint, https (http for loopback only). Or give `issuer`.
        backchannel_url: the operator's backchannel authentication endpoint. Or give `issuer`.
        client_id: from the operator.
        issuer: URL whose `/.well-known/openid-configuration` names both endpoints; that URL itself does as well.
        login_hint: `tel:+` and the number in E.164 form, `ipport:` and address and port, or `operatortoken:` and a
            TS.43 token.
        client_secret: from the operator; or `private_key`.
        private_key: PEM text or JWK; needs `pip install 'camara-otp[oauth]'`.
        client_auth: `"client_secret_basic"` (default with a secret), `"client_secret_post"` or `"private_key_jwt"`
            (default with a key).
        scope: what to ask for, `openid` and a purpose included, see `camara_otp.auth.scope`; `offline_access` asks
            for a refresh token.
        audience: `aud` of the assertions where the operator wants another than the URL of the endpoint called.
        alg: signature; by default the JWK's, else RS256, ES256 or EdDSA as the key is.
        kid: the key's name at the operator; by default the JWK's.
        leeway: renew so many seconds ahead of the end, at most a quarter of the token's life.
        timeout: seconds for one request to the operator, its repetitions and waits included.
        allow_http: True lets the credentials travel over plain http to a host that is not loopback.
        http_client: an `httpx.Client`, or `httpx2.Client`, of the caller's for proxies or certificates; never closed
            here.

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
        leeway: float = _LEEWAY,
        timeout: float = _TIMEOUT,
        allow_http: bool = False,
        http_client: "Client | None" = None,
    ) -> None:
        """Check the arguments; nothing is sent yet."""
        try:
            self._authority = Authority(
                token_url,
                backchannel_url,
                issuer,
                backchannel=True,
                timeout=timeout,
                allow_http=allow_http,
                http_client=http_client,
            )
            self._credential = _credential(
                client_id, client_secret, private_key, client_auth=client_auth, audience=audience, alg=alg, kid=kid
            )
            self._login_hint = _user("login_hint", login_hint, ("ipport:", "operatortoken:"))
            self._scope = checked(scope)
            self._cache = Cache(self._fetch, leeway=seconds("leeway", leeway, zero=True), patience=timeout + _GRACE)
            # The refresh tokens of the last login that may still be good, newest last; None before the first login. A
            # dict, because adding to it and taking one out of it are each a single step.
            self._login: dict[str, None] | None = None
        except ConfigurationError as error:
            # No frame that is shown with its locals shall hold what was given.
            del self, client_secret, private_key, login_hint
            raise error.with_traceback(None) from None

    def authorize(self, *, timeout: float = 120.0) -> None:
        """Ask the operator to log the user in, and wait until that is done.

        Args:
            timeout: seconds to wait for the user and the operator.

        Raises:
            TokenError: refused, not finished in time, or no usable answer; `error` holds the server's code.
            ConfigurationError: `timeout` is not a number of seconds.
        """
        timeout = seconds("timeout", timeout)
        try:
            refusal = self._log_in(timeout, threading.Event())
        except BaseException as interruption:  # noqa: BLE001 - it is passed on
            raise _without_frames(interruption) from None
        if refusal is not None:
            raise refusal.error()

    async def aauthorize(self, *, timeout: float = 120.0) -> None:
        """Ask the operator to log the user in, and wait until that is done, in a task; cancelling it gives up.

        Args:
            timeout: seconds to wait for the user and the operator.

        Raises:
            TokenError: refused, not finished in time, or no usable answer; `error` holds the server's code.
            ConfigurationError: `timeout` is not a number of seconds.
        """
        refusal: Refusal | None = Refusal("the login was not finished in time")
        timeout = seconds("timeout", timeout)
        given_up = threading.Event()
        try:
            login = in_thread(self._log_in, timeout, given_up)
            # The thread keeps the time; its last question may end a little later.
            await await_(login, timeout + _GRACE)
            if login.done():
                refusal = login.result()
        except RuntimeError:
            refusal = Refusal("the login needs a thread, and this process cannot start another one")
        finally:
            given_up.set()
        if refusal is not None:
            raise refusal.error()

    def _log_in(self, timeout: float, given_up: threading.Event) -> Refusal | None:
        deadline = time.monotonic() + timeout
        try:
            with self._authority.line() as line:
                outcome = self._converse(line, deadline, given_up)
        except Exception as error:  # noqa: BLE001 - a caller's own http_client may raise anything
            return Refusal(f"the login failed: it raised {type(error).__name__}")
        if isinstance(outcome, Refusal):
            return outcome
        self._take(*outcome)
        return None

    def _converse(self, line: Line, deadline: float, given_up: threading.Event) -> tuple[Token, float] | Refusal:
        endpoints = self._authority.endpoints(line, self._until(deadline))
        if isinstance(endpoints, Refusal):
            return endpoints
        token, asking = endpoints.token, endpoints.backchannel
        if asking is None:
            return Refusal("the backchannel endpoint is not known")  # pragma: no cover - the authority sees to it
        hidden = (self._login_hint, self._login_hint.partition(":")[2])

        def ask() -> Asked | Refusal:
            fields = requests.backchannel(self._scope, self._login_hint)
            return line.ask(
                "the backchannel endpoint",
                asking,
                lambda: self._form(fields, asking),
                read_asked,
                hidden=hidden,
                deadline=self._until(deadline),
                twice=False,
            )

        def poll(identifier: str) -> Token | Refusal:
            return line.ask(
                "the token endpoint",
                token,
                lambda: self._form(requests.poll(identifier), token),
                lambda heard: read_token(heard, self._scope),
                hidden=(*hidden, identifier),
                deadline=self._until(deadline),
                attempts=1,
            )

        return log_in(ask, poll, deadline=deadline, clock=time.monotonic, stopped=given_up.wait)

    def _until(self, deadline: float) -> float:
        return min(deadline, time.monotonic() + self._authority.timeout)

    def _form(self, fields: dict[str, str], where: Endpoint) -> Form:
        return self._credential.form(fields, where.url, time.time(), requests.new_id)

    def _take(self, token: Token, began: float) -> None:
        self._login = {token.refresh: None} if token.refresh is not None else {}
        self._cache.put(_final(token), began)

    def _fetch(self, unwanted: str | None, hurry: float) -> Token | Refusal:  # noqa: ARG002 - there is one way only
        # What this flight learns belongs to the login that it began with, whatever comes in between.
        login = self._login
        alive = list(login) if login is not None else []
        if login is None or not alive:
            return Refusal(
                "nobody is logged in; call authorize() (or await aauthorize()) first"
                if login is None
                else "the login has run out, and no refresh token is left; authorize again, and ask for offline_access "
                "if it should last"
            )
        refresh = alive[-1]
        deadline = time.monotonic() + self._authority.timeout
        fields = requests.refresh(refresh)
        outcome = _token(self._authority, lambda where: self._form(fields, where), self._scope, deadline, (refresh,))
        if isinstance(outcome, Token):
            # Without a new one the old refresh token stays good, RFC 6749 section 6.
            if outcome.refresh is not None and outcome.refresh != refresh:
                login[outcome.refresh] = None
                login.pop(refresh, None)
        elif outcome.code == "invalid_grant":
            login.pop(refresh, None)
        return outcome

    def __repr__(self) -> str:
        """Return a text without credentials, tokens or the user."""
        return (
            f"CIBA({self._authority.name!r}, {self._credential.client_id!r}, login_hint='***', scope={self._scope!r})"
        )


def _token(
    authority: Authority,
    build: Callable[[Endpoint], Form],
    scope: str | None,
    deadline: float,
    hidden: tuple[str, ...] = (),
) -> Token | Refusal:
    """Ask the token endpoint, on connections of its own."""
    with authority.line() as line:
        endpoints = authority.endpoints(line, deadline)
        if isinstance(endpoints, Refusal):
            return endpoints
        where = endpoints.token
        return line.ask(
            "the token endpoint",
            where,
            lambda: build(where),
            lambda heard: read_token(heard, scope),
            hidden=hidden,
            deadline=deadline,
        )


def _without_frames(interruption: BaseException) -> BaseException:
    """Return Ctrl-C, a cancellation or whatever a signal raised without the frames that know what was sent."""
    return interruption.with_traceback(None)


def _final(token: Token) -> Token:
    return token if token.refresh is not None else Token(token.value, token.lifetime, token.left, final=True)


def _credential(
    client_id: str,
    client_secret: str | None,
    private_key: PrivateKey | None,
    *,
    client_auth: str | None,
    audience: str | None,
    alg: str | None,
    kid: str | None,
) -> requests.Credential:
    problem = None
    if client_auth is not None and client_auth not in ("client_secret_basic", "client_secret_post", "private_key_jwt"):
        problem = "client_auth: must be client_secret_basic, client_secret_post or private_key_jwt"
    elif (client_secret is None) == (private_key is None):
        problem = "client_secret: give it or private_key, one of the two"
    elif private_key is None and client_auth == "private_key_jwt":
        problem = "client_auth: private_key_jwt needs private_key"
    elif private_key is not None and client_auth not in (None, "private_key_jwt"):
        problem = f"client_auth: {client_auth} needs client_secret"
    elif client_secret is not None and (audience, alg, kid) != (None, None, None):
        problem = "audience, alg and kid belong to private_key; leave them out with a client_secret"
    elif client_secret is not None and not text("client_secret", client_secret):
        problem = "client_secret: is empty"
    elif client_secret is not None and _CONTROL.search(client_secret):
        problem = "client_secret: holds a line end or another control character; strip it"
    if problem is not None:
        del client_secret, private_key
        raise ConfigurationError(problem)
    if private_key is not None:
        return _key(client_id, private_key, audience, alg, kid)
    return requests.Secret(_client_id(client_id), client_secret or "", basic=client_auth != "client_secret_post")


def _key(
    client_id: str, private_key: PrivateKey, audience: str | None, alg: str | None, kid: str | None
) -> requests.Key:
    if audience is not None:
        text("audience", audience)
    return requests.Key(_client_id(client_id), signer(private_key, alg, kid), audience)


def _client_id(client_id: object) -> str:
    if not isinstance(client_id, str) or _VISIBLE.fullmatch(client_id) is None:
        raise ConfigurationError("client_id: must be given, as the operator issued it")
    return client_id


def _known_by(client_secret: str | None, private_key: PrivateKey | None) -> bytes:
    return material(private_key) if private_key is not None else (client_secret or "").encode()


def _without_openid(scope: str) -> str:
    if "openid" in scope.split():
        raise ConfigurationError("scope: openid has no place in a JWT bearer assertion; leave it out")
    return scope


def _user(name: str, value: str, prefixes: tuple[str, ...]) -> str:
    """Check how a user is named, without repeating it."""
    text(name, value)
    known = _TEL.fullmatch(value) or (value.startswith(prefixes) and _VISIBLE.fullmatch(value) and " " not in value)
    if known:
        return value
    others = " or ".join(prefixes)
    del value
    raise ConfigurationError(f"{name}: must be tel:+ and digits, without separators, or start with {others}")
