"""Talk to the operator's authorization server: find its endpoints, send a form, repeat what may be repeated.

A request for a token texts nobody, so a failed one is sent again within the deadline, each time built anew. A refresh
token that works once goes again as well: nothing else could be sent later, and servers that rotate are most lenient at
once. What must not be asked twice, a login that rings the user's phone, is only sent again when it never left.
"""

import random
import time
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from camara_otp._exchange import Answer, Failure, Outgoing, open_exchange
from camara_otp.auth._answers import TOO_MANY, Endpoints, Heard, read_discovery
from camara_otp.auth._values import Endpoint, Form, Refusal, endpoint, seconds, text
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from camara_otp._exchange.clients import Client
    from camara_otp._exchange.direct import Exchange

T = TypeVar("T")
Reader = Callable[[Heard], T | Refusal]

_MAX_RESPONSE_BYTES: Final = 65536
_CONNECT_TIMEOUT: Final = 3.0
_ATTEMPTS: Final = 4
_USER_AGENT: Final = (b"user-agent", b"camara-otp")  # some gateways refuse who does not say what it is
_UNREACHABLE: Final = "check its URL and the network; for a proxy, or a CA of the operator's own, give http_client"
_DISCOVERY_PATH: Final = "/.well-known/openid-configuration"


class Line:
    """The connections of one errand; closed with it, since the next one is due in an hour."""

    def __init__(self, http_client: "Client | None") -> None:
        """Open nothing yet."""
        self._http_client = http_client
        self._exchanges: dict[str, Exchange] = {}

    def __enter__(self) -> Self:
        """Return the line."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close every connection."""
        for exchange in self._exchanges.values():
            exchange.close()

    def ask(
        self,
        who: str,
        where: Endpoint,
        build: Callable[[], Form],
        read: Reader[T],
        *,
        hidden: tuple[str, ...] = (),
        deadline: float,
        method: str = "POST",
        twice: bool = True,
        attempts: int = _ATTEMPTS,
    ) -> T | Refusal:
        """Send a form and read the answer; again when that may help and `twice` and `attempts` allow it."""
        for attempt in count(1):
            form = build()
            answer = self._send(method, where, form, deadline)
            if isinstance(answer, Failure):
                again = not answer.permanent and (twice or not answer.sent)
                outcome: T | Refusal = Refusal(
                    f"{who} could not be asked: {answer.reason}; {_UNREACHABLE}", again=again
                )
            else:
                outcome = read(Heard(who, answer, (*form.secrets, *hidden), time.time()))
                # Who is asking too often was turned away at the door.
                again = twice or answer.status == TOO_MANY
            if not isinstance(outcome, Refusal) or not again:
                return outcome
            pause = pause_before(attempt + 1, outcome, deadline - time.monotonic()) if attempt < attempts else None
            if pause is None:
                return outcome
            time.sleep(pause)
        raise AssertionError("unreachable")  # pragma: no cover

    def _send(self, method: str, where: Endpoint, form: Form, deadline: float) -> Answer | Failure:
        exchange = self._exchanges.get(where.origin)
        if exchange is None:
            exchange = open_exchange(
                where.origin, max_response_bytes=_MAX_RESPONSE_BYTES, http_client=self._http_client
            )
            self._exchanges[where.origin] = exchange
        headers = (_USER_AGENT, *form.headers)
        return exchange.request(Outgoing(method, where.target, headers, form.body, deadline, _CONNECT_TIMEOUT))


def pause_before(attempt: int, refusal: Refusal, left: float) -> float | None:
    """Return how long to wait before an attempt, or None when there shall be none."""
    if not refusal.again:
        return None
    backoff = min(0.05 * 2.0**attempt, 2.0) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
    pause = max(backoff, refusal.wait)
    return pause if pause < left else None


class Authority:
    """An authorization server, by its endpoints or by the issuer that publishes them.

    Args:
        token_url: the token endpoint; or `issuer` instead.
        backchannel_url: the backchannel authentication endpoint, for CIBA; or `issuer` instead.
        issuer: whose `/.well-known/openid-configuration` names the endpoints, or the URL of that; asked once, at the
            first request.
        backchannel: the backchannel endpoint is needed.
        timeout: seconds for one errand: discovery, every attempt and every wait.
        allow_http: True lets credentials travel over plain http to a host that is not loopback.
        http_client: connections of the caller's.
    """

    def __init__(
        self,
        token_url: str | None,
        backchannel_url: str | None,
        issuer: str | None,
        *,
        backchannel: bool,
        timeout: float,
        allow_http: bool,
        http_client: "Client | None",
    ) -> None:
        """Check everything that can be checked without asking."""
        for name, url in (("token_url", token_url), ("backchannel_url", backchannel_url), ("issuer", issuer)):
            if url is not None:
                text(name, url)
        if issuer is not None:
            issuer = issuer.removesuffix(_DISCOVERY_PATH)
        if (token_url is None) == (issuer is None):
            raise ConfigurationError("token_url: give the token endpoint's URL, or issuer=... to have it looked up")
        if backchannel and (backchannel_url is None) == (issuer is None):
            raise ConfigurationError("backchannel_url: give it together with token_url, or issuer=... for both")
        if http_client is not None:
            if hasattr(http_client, "aclose"):
                raise ConfigurationError(
                    "http_client: must be an httpx.Client, also for the async client: tokens are fetched in a thread"
                )
            # The exchange knows what else it cannot use.
            open_exchange("https://localhost", max_response_bytes=1, http_client=http_client).close()
        self.timeout = seconds("timeout", timeout)
        self.name = token_url or issuer or ""
        self._http_client = http_client
        self._allow_http = allow_http
        self._backchannel = backchannel
        self._endpoints: Endpoints | None = None
        if issuer is not None:
            url = issuer.removesuffix("/") + _DISCOVERY_PATH
            self._discovery = issuer, endpoint("issuer", url, allow_http=allow_http)
        else:
            self._endpoints = Endpoints(
                endpoint("token_url", token_url or "", allow_http=allow_http),
                endpoint("backchannel_url", backchannel_url, allow_http=allow_http) if backchannel_url else None,
            )

    def line(self) -> Line:
        """Return connections for one errand."""
        return Line(self._http_client)

    def endpoints(self, line: Line, deadline: float) -> Endpoints | Refusal:
        """Return the endpoints, looked up at the issuer if need be."""
        if self._endpoints is not None:
            return self._endpoints
        issuer, discovery = self._discovery
        found = line.ask(
            "the issuer",
            discovery,
            lambda: Form(headers=((b"accept", b"application/json"),), body=b"", secrets=()),
            lambda heard: read_discovery(heard, issuer, backchannel=self._backchannel, allow_http=self._allow_http),
            deadline=deadline,
            method="GET",
        )
        if isinstance(found, Endpoints):
            self._endpoints = found
        return found
