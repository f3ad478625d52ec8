"""The way through an httpx client: the caller's own, or ours where a proxy, a mock or an observer asks for it.

The client is used as it is: its headers, parameters, cookies, hooks and pool stay its own. What it cannot be made to
promise, a deadline over everything in the sync case and the check for stray bytes, is said in the docs.
"""

import functools
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx

from camara_otp._exchange.answer import Answer, Body, Failure, Headers, Late, Outgoing, failure_of
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLOSED: Final = Failure(sent=False, reason="the http_client that was given is closed", permanent=True)


def check_sync(client: object) -> None:
    """Refuse what is not a synchronous httpx client.

    Raises:
        ConfigurationError: give an `httpx.Client`.
    """
    _check(client, "Client", "OTPClient")


def check_async(client: object) -> None:
    """Refuse what is not an asynchronous httpx client.

    Raises:
        ConfigurationError: give an `httpx.AsyncClient`.
    """
    _check(client, "AsyncClient", "AsyncOTPClient")


def _check(client: object, name: str, ours: str) -> None:
    if not isinstance(client, getattr(httpx, name)):
        raise ConfigurationError(f"http_client: {ours} needs an httpx.{name}, not {type(client).__name__}")


def own_client(*, environment: bool) -> httpx.Client:
    """Return a client of ours: no cookies kept; proxies as the environment says, where asked for."""
    return httpx.Client(trust_env=environment, cookies=_no_cookies(), timeout=None)  # noqa: S113 - each request brings its own


def own_async_client(*, environment: bool) -> httpx.AsyncClient:
    """Return an asynchronous client of ours: no cookies kept; proxies as the environment says, where asked for."""
    return httpx.AsyncClient(trust_env=environment, cookies=_no_cookies(), timeout=None)  # noqa: S113 - each request brings its own


def _no_cookies() -> CookieJar:
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))


def request(client: httpx.Client, origin: str, outgoing: Outgoing, cap: int) -> Answer | Failure:
    """Exchange through a client; a deadline that passes between two chunks ends the call."""
    if client.is_closed:
        return _CLOSED
    built = None
    try:
        built = _built(client, origin, outgoing)
        response = client.send(built, stream=True, follow_redirects=False, **_auth(outgoing.headers))
        try:
            headers = _lowered(response)
            collected = Body(headers, cap)
            for chunk in _chunks(response) or response.iter_raw():
                if time.monotonic() > outgoing.deadline:
                    raise Late
                if not collected.add(chunk):
                    break
            return Answer(response.status_code, headers, *collected.end())
        finally:
            response.close()
    except Exception as error:  # noqa: BLE001 - a client with hooks may raise anything
        return _failure(error, built)


async def arequest(client: httpx.AsyncClient, origin: str, outgoing: Outgoing, cap: int) -> Answer | Failure:
    """Exchange through an asynchronous client, within the deadline whatever happens."""
    if client.is_closed:
        return _CLOSED
    built = None
    with anyio.move_on_after(outgoing.deadline - time.monotonic()):
        try:
            built = _built(client, origin, outgoing)
            response = await client.send(built, stream=True, follow_redirects=False, **_auth(outgoing.headers))
            headers = _lowered(response)
            collected = Body(headers, cap)
            try:
                for chunk in _chunks(response) or ():
                    if not collected.add(chunk):
                        break
                else:
                    if not response.is_stream_consumed:
                        await _read(response, collected)
                return Answer(response.status_code, headers, *collected.end())
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
        except Exception as error:  # noqa: BLE001 - a client with hooks may raise anything
            return _failure(error, built)
    return failure_of(Late(), sent=True)


def _failure(error: Exception, built: httpx.Request | None) -> Failure:
    """Return what an exception means; one about another request, as a hook may send it, says nothing about ours."""
    about = getattr(error, "_request", None) if isinstance(error, httpx.RequestError) else None
    if built is not None and about is not None and about is not built:
        return Failure(sent=True, reason=f"{type(error).__name__} was raised on the way")
    return failure_of(error, sent=True)


async def _read(response: httpx.Response, collected: Body) -> None:
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
    except Exception:
        if collected.fault is None:  # else it is the end that was asked for
            raise


def _built(client: httpx.Client | httpx.AsyncClient, origin: str, outgoing: Outgoing) -> httpx.Request:
    left = outgoing.deadline - time.monotonic()
    if left <= 0:
        raise httpx.ConnectTimeout("no time left")
    return client.build_request(
        outgoing.method,
        _url(origin + outgoing.target),
        headers=list(outgoing.headers),
        # Parameters of the client's own would otherwise take the place of those in the URL.
        params=outgoing.target.partition("?")[2] if client.params else None,
        content=outgoing.body,
        extensions={"timeout": _Left(outgoing)},
    )


# A client has a handful of targets, and to parse one costs a sixth of a call.
_url: Final = functools.lru_cache(64)(httpx.URL)


class _Left(dict[str, float]):
    """The timeouts of a request, each of them what is left of the call when the transport asks for it.

    They are per operation, so with fixed ones a slow connection followed by a silent server would take twice the time.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._deadline = outgoing.deadline
        self._connect = outgoing.connect_timeout
        super().__init__({name: self[name] for name in ("connect", "read", "write", "pool")})

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


def _chunks(response: httpx.Response) -> "Sequence[bytes] | None":
    """Return the decoded body where a hook, or a mock, has read it already."""
    return [response.content] if response.is_stream_consumed else None


def _lowered(response: httpx.Response) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    if response.is_stream_consumed:
        return [header for header in headers if header[0] != b"content-encoding"]
    return headers
