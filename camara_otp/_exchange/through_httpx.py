"""The way through an httpx client: the caller's own, or ours where a proxy, a mock or an observer asks for it.

httpx2 continues httpx and has its shape; a caller's client may be of either, and no more than the shape is used here.

The client is used as it is: its headers, parameters, cookies, hooks and pool stay its own. What it cannot be made to
promise, a deadline over everything in the sync case and the check for stray bytes, is said in the docs.
"""

import sys
import time
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import anyio.lowlevel

from camara_otp._exchange.answer import Answer, Body, Failure, Headers, Late, NoCertificates, Outgoing, failure_of
from camara_otp._exchange.observers import is_original
from camara_otp._exchange.quiet import exchanging
from camara_otp._exchange.stream import TLSSocket, tls_context
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from camara_otp._exchange.clients import AsyncClient, Client

_CLOSED: Final = Failure(sent=False, reason="the http_client that was given is closed", permanent=True)
_NO_TIME: Final = Failure(sent=False, reason="no connection was made in time")


def check_sync(client: object) -> None:
    """Refuse what is not a synchronous client of httpx or httpx2.

    Raises:
        ConfigurationError: give an `httpx.Client`.
    """
    _check(client, "Client", "OTPClient")


def check_async(client: object) -> None:
    """Refuse what is not an asynchronous client of httpx or httpx2.

    Raises:
        ConfigurationError: give an `httpx.AsyncClient`.
    """
    _check(client, "AsyncClient", "AsyncOTPClient")


_LIBRARIES: Final = ("httpx", "httpx2")


def _check(client: object, name: str, ours: str) -> None:
    # A client is there only where its library was imported.
    kinds = tuple(getattr(sys.modules[library], name) for library in _LIBRARIES if library in sys.modules)
    if not isinstance(client, kinds):
        raise ConfigurationError(
            f"http_client: {ours} needs an httpx.{name} or an httpx2.{name}, not {type(client).__name__}"
        )


class _Watched(TLSSocket):
    """A TLS socket of httpx's that keeps to the deadline of the call as well.

    The timeouts of httpx begin anew with each byte, so that a server which drips them would never be late.
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive, in what is left of the call."""
        deadline = exchanging.get()
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            own = self.gettimeout()
            self.settimeout(left if own is None else min(own, left))
        return super().recv(buflen, flags)


def own_client(*, environment: bool) -> "httpx.Client | Failure":
    """Return a client of ours: no cookies kept; proxies as the environment says, where asked for."""
    import httpx  # noqa: PLC0415 - a caller's client may be of the other library

    try:
        return httpx.Client(
            verify=tls_context(_Watched),
            trust_env=environment,
            cookies=_no_cookies(),
            timeout=None,  # noqa: S113 - each request brings its own
        )
    except Exception as error:  # noqa: BLE001 - what the environment holds may break anything
        return _no_client(error)


def own_async_client(*, environment: bool) -> "httpx.AsyncClient | Failure":
    """Return an asynchronous client of ours: no cookies kept; proxies as the environment says, where asked for."""
    import httpx  # noqa: PLC0415 - a caller's client may be of the other library

    try:
        return httpx.AsyncClient(
            verify=tls_context(),
            trust_env=environment,
            cookies=_no_cookies(),
            timeout=None,  # noqa: S113 - each request brings its own
        )
    except Exception as error:  # noqa: BLE001 - what the environment holds may break anything
        return _no_client(error)


def _no_client(error: Exception) -> Failure:
    if isinstance(error, NoCertificates | OSError):
        return failure_of(error, sent=False)
    reason = "the proxy that the environment names cannot be used; see HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
    return Failure(sent=False, reason=reason, permanent=True)


def _no_cookies() -> CookieJar:
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))


class Through:
    """The way through one client, to one origin.

    Args:
        client: of httpx or httpx2.
        origin: `https://host[:port]`, checked already.
        cap: the most bytes of a decoded body.
    """

    def __init__(self, client: "Client", origin: str, cap: int) -> None:
        """Send nothing yet."""
        self.client = client
        self._requests = _Requests(client, origin)
        self._cap = cap

    def request(self, outgoing: Outgoing) -> Answer | Failure:
        """Exchange through the client; a deadline that passes between two chunks ends the call."""
        unable = _unable(self.client, outgoing)
        if unable is not None:
            return unable
        built = None
        try:
            built = self._requests.build(outgoing)
            response = self.client.send(built, stream=True, follow_redirects=False, **_auth(outgoing.headers))
            try:
                collected = Body(_lowered(response), self._cap)
                for chunk in _chunks(response) or response.iter_raw():
                    if time.monotonic() > outgoing.deadline:
                        raise Late
                    if not collected.add(chunk):
                        break
                    del chunk
                return Answer(response.status_code, collected.headers, *collected.end())
            finally:
                if not response.is_closed:
                    response.close()
        except Exception as error:  # noqa: BLE001 - a client with hooks may raise anything
            return _refused(error, built, self._cap) or _failure(error, built)


class AsyncThrough:
    """The way through one asynchronous client, to one origin; the arguments are those of `Through`."""

    def __init__(self, client: "AsyncClient", origin: str, cap: int) -> None:
        """Send nothing yet."""
        self.client = client
        self._requests = _Requests(client, origin)
        self._cap = cap

    async def request(self, outgoing: Outgoing) -> Answer | Failure:
        """Exchange through the client, within the deadline whatever happens."""
        unable = _unable(self.client, outgoing)
        if unable is not None:
            return unable
        built = None
        with anyio.move_on_after(outgoing.deadline - time.monotonic()) as scope:
            try:
                built = self._requests.build(outgoing)
                response = await self.client.send(built, stream=True, follow_redirects=False, **_auth(outgoing.headers))
                collected = Body(_lowered(response), self._cap)
                try:
                    for chunk in _chunks(response) or ():
                        if not collected.add(chunk):
                            break
                        del chunk
                    else:
                        if not response.is_stream_consumed:
                            await _read(response, collected)
                    return Answer(response.status_code, collected.headers, *collected.end())
                finally:
                    if not response.is_closed:
                        with anyio.CancelScope(shield=True):
                            await response.aclose()
            except Exception as error:  # noqa: BLE001 - a client with hooks may raise anything
                return _refused(error, built, self._cap) or _failure(error, built)
            except anyio.get_cancelled_exc_class():
                if scope.cancel_called:
                    # A transport may raise a cancellation of its own in place of this scope's, which would pass for
                    # somebody else's and leave the call; the scope's own comes again here.
                    await anyio.lowlevel.checkpoint()
                raise
        return failure_of(Late(), sent=True)


def _unable(client: "Client | AsyncClient", outgoing: Outgoing) -> Failure | None:
    if client.is_closed:
        return _CLOSED
    return _NO_TIME if time.monotonic() >= outgoing.deadline else None


def _failure(error: Exception, built: object) -> Failure:
    """Return what an exception means; one about another request, as a hook may send it, says nothing about ours."""
    about = _about(error)
    if built is not None and about is not None and about is not built:
        return Failure(sent=True, reason=f"{type(error).__name__} was raised on the way")
    return failure_of(error, sent=True)


def _about(error: Exception) -> object:
    """Return the request that an exception of the libraries is about, or None."""
    return getattr(error, "_request", None) if type(error).__module__ in _LIBRARIES else None


def _refused(error: Exception, built: object, cap: int) -> Answer | None:
    """Return the refusal that a hook of the caller's has raised; its body is there only where the hook has read it."""
    response: httpx.Response | None = getattr(error, "response", None)
    if built is None or _about(error) is not built or response is None or response.status_code < 400:
        return None
    collected = Body(_lowered(response), cap)
    for chunk in _chunks(response) or ():
        collected.add(chunk)
    return Answer(response.status_code, collected.headers, *collected.end())


async def _read(response: "httpx.Response", collected: Body) -> None:
    """Read a body to its end, or to where no more of it is wanted.

    To leave httpx's generators half-way would leave them to the garbage collector, which no event loop likes; so the
    connection is closed under them, and they end by themselves. A connection of HTTP/2 carries other requests too.
    """
    try:
        async for chunk in response.aiter_raw():
            if not collected.add(chunk):
                stream = response.extensions.get("network_stream")
                if stream is None or response.http_version == "HTTP/2":
                    break
                await stream.aclose()
            del chunk
    except Exception:
        if collected.fault is None:  # else it is the end that was asked for
            raise


# --- Requests --------------------------------------------------------------------------------------------------------

_OF_ONE_CALL: Final = {b"Authorization": "Authorization", b"x-correlator": "x-correlator"}
"""The headers whose values differ from call to call."""


class _Pattern(NamedTuple):
    """A request that the client has built, without what belongs to one call, and what it was built from."""

    defaults: list[tuple[bytes, bytes]]
    params: object
    headers: Headers
    kind: "type[httpx.Request]"
    url: "httpx.URL"
    merged: "httpx.Headers"
    stream: Callable[[bytes], Any]

    def request(self, outgoing: Outgoing) -> "httpx.Request":
        """Return the request that the client would build now."""
        request = self.kind(
            outgoing.method,
            self.url,
            headers=self.merged,
            stream=self.stream(outgoing.body),
            extensions={"timeout": _Left(outgoing)},
        )
        for name, value in outgoing.headers:
            if name in _OF_ONE_CALL:
                request.headers[_OF_ONE_CALL[name]] = value.decode("ascii")
        request.read()
        return request


class _Requests:
    """Build requests as the client does: by the client, or after the pattern of one that it has built.

    `build_request` merges the client's headers, parameters and cookies with ours, a quarter of a call's cost; as long
    as they are what they were, the outcome differs in the body and in two headers.
    """

    def __init__(self, client: Any, origin: str) -> None:
        self._client: Any = client
        self._origin = origin
        self._patterns: dict[tuple[str, str, int], _Pattern] = {}
        # A class of somebody's own may build what it likes.
        self._library = type(client).__module__
        self._plain = self._library in _LIBRARIES and "build_request" not in vars(client)
        self._original: object = None

    def build(self, outgoing: Outgoing) -> "httpx.Request":
        """Return the request, as the client would build it."""
        client = self._client
        if not self._plain or client.cookies or not self._builds_as_ever():
            return self._built(outgoing)
        defaults, params = client.headers.raw, client.params
        headers = [(name, b"" if name in _OF_ONE_CALL else value) for name, value in outgoing.headers]
        key = (outgoing.method, outgoing.target, len(outgoing.body))
        pattern = self._patterns.get(key)
        if pattern is None or pattern[:3] != (defaults, params, headers):
            built = self._built(outgoing._replace(headers=headers))
            if len(self._patterns) >= _MAX_PATTERNS:
                self._patterns.clear()
            pattern = self._patterns[key] = _Pattern(
                defaults, params, headers, type(built), built.url, built.headers, type(built.stream)
            )
        return pattern.request(outgoing)

    def _builds_as_ever(self) -> bool:
        """Tell whether `build_request` is httpx's own, and nothing that adds to each request what belongs to it."""
        function = getattr(type(self._client), "build_request", None)  # pyright: ignore[reportUnknownArgumentType]
        if function is not self._original and is_original(function, self._library, "_client.py"):
            self._original = function
        return function is self._original

    def _built(self, outgoing: Outgoing) -> "httpx.Request":
        built: httpx.Request = self._client.build_request(
            outgoing.method,
            self._origin + outgoing.target,
            headers=list(outgoing.headers),
            # Parameters of the client's own would otherwise take the place of those in the URL.
            params=outgoing.target.partition("?")[2] if self._client.params else None,
            content=outgoing.body,
            extensions={"timeout": _Left(outgoing)},
        )
        return built


# One for each operation and length of body; a caller's texts may have any.
_MAX_PATTERNS: Final = 256


class _Left(dict[str, float]):
    """The timeouts of a request, each of them what is left of the call when the transport asks for it.

    They are per operation, so with fixed ones a slow connection followed by a silent server would take twice the time.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._deadline = outgoing.deadline
        self._connect = outgoing.connect_timeout
        left = self["read"]
        super().__init__(connect=self["connect"], read=left, write=left, pool=left)

    def __getitem__(self, name: str) -> float:
        # Never 0, which means "do not wait" in one place and "for ever" in another.
        left = max(self._deadline - time.monotonic(), 0.001)
        return left if name != "connect" or self._connect is None else min(left, self._connect)

    def get(self, name: str, default: Any = None) -> Any:
        """Return what is left."""
        return self[name] if name in self else default  # noqa: SIM401 - the other way round would be a circle


def _auth(headers: Headers) -> dict[str, Any]:
    # None switches the client's own auth off; leaving it out leaves it on.
    return {"auth": None} if any(name == b"Authorization" for name, _ in headers) else {}


def _chunks(response: "httpx.Response") -> "Sequence[bytes] | None":
    """Return the decoded body where a hook, or a mock, has read it already."""
    return [response.content] if response.is_stream_consumed else None


def _lowered(response: "httpx.Response") -> list[tuple[bytes, bytes]]:
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    if response.is_stream_consumed:
        return [header for header in headers if header[0] != b"content-encoding"]
    return headers
