"""Ask an authorization server: find its endpoints, send a form, repeat a request that may be repeated.

A request for a token texts no user, so a failed one is sent again within the deadline, each time with a new form. A
refresh token that works once is sent again as well: there is no other, and servers that rotate refresh tokens tolerate
an immediate repetition best. A request that rings the user's phone is sent again only if it cannot have arrived.
"""

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from attrs import frozen

from camara_otp._checks import is_local, seconds, shown_url, split_url, text, warn
from camara_otp._exchange import Failure, Outgoing, open_exchange
from camara_otp.auth.answers import Reply, Token, TokenRefusal, read_document, read_token
from camara_otp.auth.credentials import Form
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client
    from camara_otp._exchange.exchange import Exchange

T = TypeVar("T")
FormBuilder = Callable[[str, float], Form]
"""Makes the form for an endpoint's URL and the wall-clock time."""

_QUERY: Final = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
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


@frozen
class EndpointURL:
    """A checked URL, with the parts that an exchange needs; the query may hold a key, so repr masks it."""

    url: str
    origin: str
    target: str
    is_clear_text: bool

    def __repr__(self) -> str:
        return f"EndpointURL({shown_url(self.url)!r})"

    @property
    def is_local(self) -> bool:
        """Tell whether the URL is an address of this machine or link."""
        return is_local(urlsplit(self.origin).hostname or "")


def endpoint_url(name: str, url: object, *, allow_http: bool) -> EndpointURL:
    """Check a URL, or raise ConfigurationError. Unlike a base_url, it may carry a query (RFC 6749 section 3.2)."""
    url = text(name, url)
    path, mark, query = url.partition("?")
    if not _QUERY.fullmatch(query):
        raise ConfigurationError(f"{name}: has a query with characters that must be percent-encoded, or a fragment")
    if "@" in path:
        raise ConfigurationError(f"{name}: must hold no user name or password; give client_id and its secret instead")
    parts = split_url(name, path, allow_http=allow_http)
    return EndpointURL(url, parts.origin, f"{parts.path or '/'}{mark}{query}", parts.in_the_clear)


@frozen
class Issuer:
    """An issuer: the names that its configuration may state, and the URL of that configuration."""

    names: tuple[str, ...]
    configuration: EndpointURL


def issuer_of(issuer: object, *, allow_http: bool) -> Issuer:
    """Return the issuer for its name or for the URL of its configuration.

    A configuration URL does not tell whether the issuer's name ends in a slash, so both names are accepted for it.
    """
    given = text("issuer", issuer)
    name = given.removesuffix(_CONFIGURATION)
    names = (name,) if name == given else (name, f"{name}/")
    return Issuer(names, endpoint_url("issuer", name.removesuffix("/") + _CONFIGURATION, allow_http=allow_http))


def read_configuration(
    reply: Reply, issuer: Issuer, wanted: Iterable[str], *, allow_http: bool
) -> dict[str, EndpointURL]:
    """Read the wanted endpoints in an OpenID configuration, which must state the issuer exactly as the caller did."""
    document = read_document(reply)
    stated = document.get("issuer")
    if stated not in issuer.names:
        shown = reply.cleaned(stated) if isinstance(stated, str) else "none"
        raise TokenRefusal(
            f"the issuer's configuration is another issuer's ({shown}); give issuer exactly as it is there"
        )
    endpoints: dict[str, EndpointURL] = {}
    for name in wanted:
        key = _ENDPOINTS[name][1]
        if not isinstance(document.get(key), str):
            raise TokenRefusal(f"the issuer's configuration names no {key}; the operator may not offer this grant")
        try:
            endpoints[name] = endpoint_url(f"the issuer's {key}", document[key], allow_http=allow_http)
        except ConfigurationError as error:
            raise TokenRefusal(str(error)) from None
        if endpoints[name].is_local and not issuer.configuration.is_local:
            raise TokenRefusal(
                f"the issuer's {key} is an address of this machine or link, which its configuration must not name; "
                "report it to the operator"
            )
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
        urls: the grant's arguments for them, `token_url` first; all are None if `issuer` is given.
        issuer, allow_http, http_client: the arguments of the providers.
        timeout: seconds for one token: discovery, every attempt and every wait.
    """

    def __init__(
        self,
        urls: Mapping[str, str | None],
        issuer: str | None,
        *,
        timeout: float,
        allow_http: bool,
        http_client: "Client | None",
    ) -> None:
        for name, url in urls.items():
            if (url is None) == (issuer is None):
                raise ConfigurationError(f"{name}: give the URL, or issuer=... to have it looked up; one of the two")
        if http_client is not None:
            if hasattr(http_client, "aclose"):
                raise ConfigurationError(
                    "http_client: must be an httpx.Client, also for the async client: tokens are fetched in a thread"
                )
            # The exchange checks what else it cannot use.
            open_exchange("https://localhost", max_response_bytes=1, http_client=http_client).close()
        self.timeout: float = seconds("timeout", timeout)
        self._http_client = http_client
        self._allow_http = allow_http
        self._wanted = tuple(urls)
        self._urls: dict[str, EndpointURL]
        if issuer is not None:
            self._issuer = issuer_of(issuer, allow_http=allow_http)
            self._urls = {"issuer": self._issuer.configuration}
            self.name: str = self._issuer.names[0]
        else:
            self._urls = {name: endpoint_url(name, url, allow_http=allow_http) for name, url in urls.items()}
            self.name = self._urls["token_url"].url
        for name, found in self._urls.items():
            if found.is_clear_text:
                warn(f"{name}: the credentials travel over plain http, readable by everyone on the way")

    def __repr__(self) -> str:
        return repr(shown_url(getattr(self, "name", "")))

    def fetch(self, build: FormBuilder, scope: str | None, timeout: float) -> Token:
        """Fetch a token with the grant that `build` makes the form of, or raise TokenRefusal."""
        return self.ask("token_url", build, lambda reply: read_token(reply, scope), time.monotonic() + timeout)

    def ask(
        self, which: str, build: FormBuilder, read: Callable[[Reply], T], deadline: float, attempts: int = _ATTEMPTS
    ) -> T:
        """Send a form to an endpoint, repeat that within attempts and deadline, and return what `read` returns.

        Raises:
            TokenRefusal: the last attempt failed, or must not be repeated.
        """
        if which not in self._urls:
            self._urls |= self.ask(
                "issuer",
                lambda _url, _now: Form({}),
                lambda reply: read_configuration(reply, self._issuer, self._wanted, allow_http=self._allow_http),
                deadline,
            )
        # The connection is closed at the end, since the next token is due in an hour.
        with closing(
            open_exchange(
                self._urls[which].origin, max_response_bytes=_MAX_RESPONSE_BYTES, http_client=self._http_client
            )
        ) as exchange:
            attempt = 1
            while True:
                try:
                    return read(self._send(exchange, which, build, deadline))
                except TokenRefusal as refusal:
                    attempt += 1
                    pause = pause_before(attempt, refusal, deadline - time.monotonic())
                    if pause is None or attempt > attempts:
                        raise
                time.sleep(pause)

    def _send(self, exchange: "Exchange", which: str, build: FormBuilder, deadline: float) -> Reply:
        where, server = self._urls[which], _ENDPOINTS[which][0]
        form = build(where.url, time.time())
        began = time.monotonic()
        method = "POST" if form.body else "GET"
        headers = (_USER_AGENT, *form.headers)
        answer = exchange.request(Outgoing(method, where.target, headers, form.body, deadline, _CONNECT_TIMEOUT))
        if isinstance(answer, Failure):
            # A request to the backchannel endpoint rings the user's phone.
            again = not answer.permanent and not (answer.sent and which == "backchannel_url")
            raise TokenRefusal(f"{server} could not be reached: {answer.reason}; {_UNREACHABLE}", again=again)
        return Reply(server, answer, form.secrets, began, time.time())
