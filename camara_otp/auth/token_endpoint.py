"""Ask an authorization server: find its endpoints, send a form, repeat a request that may be repeated.

A request for a token texts no user, so a failed one is sent again within the deadline, each time with a new form. A
refresh token that works once is sent again as well: there is no other, and servers that rotate refresh tokens tolerate
an immediate repetition best. A request that rings the user's phone is sent again only if it cannot have arrived.
"""

import random
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from camara_otp._checks import seconds, shown_url, warn
from camara_otp._exchange import Failure, Outgoing, open_exchange
from camara_otp.auth.answers import TOO_MANY, Reply, Token, TokenRefusal, read_token
from camara_otp.auth.client_auth import Form
from camara_otp.auth.discovery import Endpoints, EndpointURL, endpoint_url, issuer_of, read_configuration
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client

T = TypeVar("T")
FormBuilder = Callable[[str, float], Form]
"""Makes the form for an endpoint's URL and the wall-clock time."""

_MAX_RESPONSE_BYTES: Final = 65536
_CONNECT_TIMEOUT: Final = 3.0
_ATTEMPTS: Final = 4
_USER_AGENT: Final = (b"user-agent", b"camara-otp")  # some gateways reject requests without a User-Agent
_UNREACHABLE: Final = "check its URL and the network; for a proxy, or a CA of the operator's own, give http_client"


def pause_before(attempt: int, refusal: TokenRefusal, left: float) -> float | None:
    """Return the seconds to wait before an attempt, or None when it must not be made."""
    if not refusal.again:
        return None
    backoff = min(0.05 * 2.0**attempt, 2.0) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
    pause = max(backoff, refusal.wait)
    return pause if pause < left else None


class TokenEndpoint:
    """An authorization server, given by its endpoints or by the issuer that publishes them.

    `timeout` is for one token: discovery, every attempt and every wait. `backchannel` is set where that endpoint is
    needed, for CIBA. The other arguments are those of the providers.
    """

    def __init__(
        self,
        token_url: str | None,
        issuer: str | None,
        *,
        timeout: float,
        allow_http: bool,
        http_client: "Client | None",
        backchannel_url: str | None = None,
        backchannel: bool = False,
    ) -> None:
        if (token_url is None) == (issuer is None):
            raise ConfigurationError("token_url: give the token endpoint's URL, or issuer=... to have it looked up")
        if backchannel and (backchannel_url is None) == (issuer is None):
            raise ConfigurationError("backchannel_url: give it together with token_url, or issuer=... for both")
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
        self._backchannel = backchannel
        self._endpoints: Endpoints | None = None
        if issuer is not None:
            self._issuer = issuer_of(issuer, allow_http=allow_http)
            given = {"issuer": self._issuer.configuration}
            self.name: str = self._issuer.names[0]
        else:
            given = {"token_url": endpoint_url("token_url", token_url, allow_http=allow_http)}
            self.name = given["token_url"].url
            if backchannel:
                given["backchannel_url"] = endpoint_url("backchannel_url", backchannel_url, allow_http=allow_http)
            self._endpoints = Endpoints(given["token_url"], given.get("backchannel_url"))
        for name, url in given.items():
            if url.is_clear_text:
                warn(f"{name}: the credentials travel over plain http, readable by everyone on the way")

    def __repr__(self) -> str:
        return repr(shown_url(getattr(self, "name", "")))

    def fetch(self, build: FormBuilder, scope: str | None, seconds: float | None = None) -> Token | TokenRefusal:
        """Fetch a token of the grant that `build` makes the form of, within `seconds` or the endpoint's timeout."""
        deadline = time.monotonic() + (self.timeout if seconds is None else seconds)
        return self.ask("token", build, lambda reply: read_token(reply, scope), deadline)

    def ask(
        self,
        which: Literal["token", "backchannel"],
        build: FormBuilder,
        read: Callable[[Reply], T | TokenRefusal],
        deadline: float,
        *,
        attempts: int = _ATTEMPTS,
        rings: bool = False,
    ) -> T | TokenRefusal:
        """Send a form to an endpoint and read the response, in up to `attempts` requests until the deadline.

        A request that `rings` the user's phone is sent again only if it cannot have arrived.
        """
        endpoints = self._endpoints or self._discovered(deadline)
        if isinstance(endpoints, TokenRefusal):
            return endpoints
        where = endpoints.token if which == "token" else endpoints.backchannel
        if where is None:
            raise AssertionError("unreachable")  # pragma: no cover - CIBA sets `backchannel`
        return self._send(f"the {which} endpoint", where, build, read, deadline, attempts=attempts, rings=rings)

    def _discovered(self, deadline: float) -> Endpoints | TokenRefusal:
        found = self._send(
            "the issuer",
            self._issuer.configuration,
            lambda _url, _now: Form(((b"accept", b"application/json"),)),
            lambda reply: read_configuration(
                reply, self._issuer, backchannel=self._backchannel, allow_http=self._allow_http
            ),
            deadline,
            method="GET",
        )
        if isinstance(found, Endpoints):
            self._endpoints = found
        return found

    def _send(
        self,
        server: str,
        where: EndpointURL,
        build: FormBuilder,
        read: Callable[[Reply], T | TokenRefusal],
        deadline: float,
        *,
        method: str = "POST",
        attempts: int = _ATTEMPTS,
        rings: bool = False,
    ) -> T | TokenRefusal:
        # The connection is closed at the end, since the next token is due in an hour.
        with closing(
            open_exchange(where.origin, max_response_bytes=_MAX_RESPONSE_BYTES, http_client=self._http_client)
        ) as exchange:
            for attempt in count(1):
                form = build(where.url, time.time())
                answer = exchange.request(
                    Outgoing(method, where.target, (_USER_AGENT, *form.headers), form.body, deadline, _CONNECT_TIMEOUT)
                )
                if isinstance(answer, Failure):
                    again = not answer.permanent and not (rings and answer.sent)
                    reason = f"{server} could not be reached: {answer.reason}; {_UNREACHABLE}"
                    outcome: T | TokenRefusal = TokenRefusal(reason, again=again)
                else:
                    outcome = read(Reply(server, answer, form.secrets, time.time()))
                    again = not rings or answer.status == TOO_MANY  # a request that was rate limited rang no phone
                if not isinstance(outcome, TokenRefusal) or not again or attempt >= attempts:
                    return outcome
                pause = pause_before(attempt + 1, outcome, deadline - time.monotonic())
                if pause is None:
                    return outcome
                time.sleep(pause)
        raise AssertionError("unreachable")  # pragma: no cover
