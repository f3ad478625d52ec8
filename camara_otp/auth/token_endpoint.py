"""Ask an authorization server: find its endpoints, send a form, repeat a request that may be repeated.

A request for a token sends no SMS, so a failed one is sent again within the deadline, each time with a new form. This
includes a refresh token that works once, because there is no other. Servers that rotate refresh tokens tolerate an
immediate repetition best. A request that asks the user to confirm on the phone is sent again only after a 429, or if it
cannot have arrived.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from camara_otp._checks import URL_PATH, SplitURL, is_local, seconds, shown_url, split_url, text, warn, without_bom
from camara_otp._exchange import Failure, Outgoing, open_exchange
from camara_otp._redaction import Secrets
from camara_otp.auth.credentials import Form
from camara_otp.auth.responses import Reply, Token, TokenRefusal, read_document, read_token
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client
    from camara_otp._exchange.exchange import Exchange

T = TypeVar("T")
FormBuilder = Callable[[Mapping[str, str], str, float], Form]
"""Makes the form of a request from its fields, the endpoint's URL and the wall-clock time."""

_CONFIGURATION: Final = "/.well-known/openid-configuration"
# The endpoint of each argument: its name in messages, and its field in a configuration.
_ENDPOINTS: Final[Mapping[str, tuple[str, str]]] = {
    "issuer": ("the issuer", ""),
    "token_url": ("the token endpoint", "token_endpoint"),
    "backchannel_url": ("the backchannel endpoint", "backchannel_authentication_endpoint"),
}
_MAX_RESPONSE_BYTES: Final = 65536
_CONNECT_TIMEOUT: Final = 3.0
_ATTEMPTS: Final = 4
_USER_AGENT: Final = (b"user-agent", b"camara-otp")  # some gateways reject requests without a User-Agent
_UNREACHABLE: Final = "check its URL and the network; for a proxy, or a CA of the operator's own, give http_client"


def split_endpoint(name: str, url: str, *, allow_http: bool) -> SplitURL:
    """Check a URL and return its parts, the query in the path, or raise ConfigurationError.

    Unlike a base_url, the URL of an endpoint may carry a query (RFC 6749 section 3.2).
    """
    path, mark, query = url.partition("?")
    if not URL_PATH.fullmatch(query.replace("?", "/")):  # RFC 3986 section 3.4: a query may hold question marks too
        raise ConfigurationError(f"{name}: has a query with characters that must be percent-encoded, or a fragment")
    if "@" in path:
        raise ConfigurationError(
            f"{name}: must not contain a user name or password; give client_id and its secret instead"
        )
    parts = split_url(name, path, allow_http=allow_http)
    return parts._replace(path=f"{parts.path or '/'}{mark}{query}")


def issuer_of(issuer: str) -> tuple[tuple[str, ...], str]:
    """Return the names that an issuer's configuration may state, and the URL of that configuration.

    A configuration URL does not tell whether the issuer's name ends in a slash, so both names are accepted for it.
    """
    name = issuer.removesuffix(_CONFIGURATION)
    names = (name,) if name == issuer else (name, f"{name}/")
    return names, name.removesuffix("/") + _CONFIGURATION


def read_configuration(reply: Reply, issuer: str, wanted: Iterable[str], *, allow_http: bool) -> dict[str, str]:
    """Read the wanted endpoints in an OpenID configuration, which must state the issuer exactly as the caller did."""
    document = read_document(reply)
    stated = document.get("issuer")
    if stated not in issuer_of(issuer)[0]:
        shown = reply.cleaned(stated) if isinstance(stated, str) else "none"
        raise TokenRefusal(
            f"the issuer's configuration is another issuer's ({shown}); give issuer exactly as it is there"
        )
    endpoints: dict[str, str] = {}
    for name in wanted:
        key = _ENDPOINTS[name][1]
        url = document.get(key)
        if not isinstance(url, str):
            raise TokenRefusal(f"the issuer's configuration names no {key}; the operator may not offer this grant")
        try:
            origin, _, _ = split_endpoint(f"the issuer's {key}", url, allow_http=allow_http)
        except ConfigurationError as error:
            raise TokenRefusal(str(error)) from None
        if is_local(urlsplit(origin).hostname or "") and not is_local(urlsplit(issuer).hostname or ""):
            raise TokenRefusal(
                f"the issuer's {key} is an address of this machine or link, which its configuration must not name; "
                "report it to the operator"
            )
        endpoints[name] = without_bom(url)
    return endpoints


def pause_before(attempt: int, refusal: TokenRefusal, left: float) -> float | None:
    """Return the seconds to wait before an attempt, or None when it must not be made."""
    if not refusal.again:
        return None
    backoff = min(0.05 * 2.0**attempt, 2.0) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
    pause = max(backoff, refusal.wait)
    return pause if pause < left else None


class TokenEndpoint:
    """The endpoints of an authorization server that a grant needs.

    Args:
        issuer, allow_http, http_client: the arguments of the providers
        build: adds the client's credentials to the fields of a request
        timeout: seconds for one token: discovery, every attempt and every wait
        urls: the arguments `token_url` and, for CIBA, `backchannel_url`; None if `issuer` is given
    """

    def __init__(
        self,
        issuer: str | None,
        build: FormBuilder,
        timeout: float,
        *,
        allow_http: bool,
        http_client: "Client | None",
        **urls: str | None,
    ) -> None:
        for name, url in urls.items():
            if (url is None) == (issuer is None):
                raise ConfigurationError(f"{name}: give the URL, or issuer=... to have it looked up; one of the two")
        if http_client is not None:
            if hasattr(http_client, "aclose"):
                raise ConfigurationError(
                    "http_client: must be a synchronous httpx.Client or httpx2.Client; AsyncOTPClient fetches tokens "
                    "in a thread too"
                )
            # The exchange checks what else it cannot use.
            open_exchange("https://localhost", max_response_bytes=1, http_client=http_client).close()
        self.timeout: float = seconds("timeout", timeout)
        self._build = build
        self._http_client = http_client
        self._allow_http = allow_http
        self._wanted = tuple(urls)
        if issuer is None:
            self._urls = {name: text(name, url) for name, url in urls.items()}
            self.name: str = self._urls["token_url"]
        else:
            self._issuer = text("issuer", issuer)
            self._urls = {"issuer": issuer_of(self._issuer)[1]}
            self.name = issuer_of(self._issuer)[0][0]
        for name, url in self._urls.items():
            if split_endpoint(name, url, allow_http=allow_http).in_the_clear:
                warn(f"{name}: the credentials travel over plain http, readable on the network; use https")

    def __repr__(self) -> str:
        return repr(shown_url(getattr(self, "name", "")))

    def fetch(
        self, fields: Mapping[str, str], scope: str | None, timeout: float, *, attempts: int = _ATTEMPTS
    ) -> Token:
        """Fetch a token with the fields of a grant, or raise TokenRefusal."""
        return self.ask("token_url", fields, lambda reply: read_token(reply, scope), timeout, attempts=attempts)

    def ask(
        self,
        which: str,
        fields: Mapping[str, str],
        read: Callable[[Reply], T],
        timeout: float,
        *,
        attempts: int = _ATTEMPTS,
    ) -> T:
        """Send fields to an endpoint, repeat that within attempts and timeout, and return what `read` returns.

        Raises TokenRefusal if the last attempt failed, or must not be repeated.
        """
        deadline = time.monotonic() + timeout
        if which not in self._urls:
            self._urls |= self.ask(
                "issuer",
                {},
                lambda reply: read_configuration(reply, self._issuer, self._wanted, allow_http=self._allow_http),
                timeout,
            )
        origin, target, _ = split_endpoint(which, self._urls[which], allow_http=True)
        # The connection is closed at the end, since the next token is due in an hour.
        with closing(
            open_exchange(origin, max_response_bytes=_MAX_RESPONSE_BYTES, http_client=self._http_client)
        ) as exchange:
            attempt = 1
            while True:
                try:
                    return read(self._send(exchange, which, target, fields, deadline))
                except TokenRefusal as refusal:
                    attempt += 1
                    pause = pause_before(attempt, refusal, deadline - time.monotonic())
                    if pause is None or attempt > attempts:
                        raise
                time.sleep(pause)

    def _send(self, exchange: "Exchange", which: str, target: str, fields: Mapping[str, str], deadline: float) -> Reply:
        form = self._build(fields, self._urls[which], time.time()) if fields else Form({})
        headers = (_USER_AGENT, *form.headers)
        method = "POST" if fields else "GET"
        server = _ENDPOINTS[which][0]
        began = time.monotonic()
        response = exchange.request(Outgoing(method, target, headers, form.body, deadline, _CONNECT_TIMEOUT))
        if isinstance(response, Failure):
            # A request to the backchannel endpoint asks the user to confirm on the phone.
            again = not response.permanent and not (response.sent and which == "backchannel_url")
            raise TokenRefusal(f"{server} could not be reached: {response.reason}; {_UNREACHABLE}", again=again)
        return Reply(server, response, Secrets(*form.secrets), began, time.time())
