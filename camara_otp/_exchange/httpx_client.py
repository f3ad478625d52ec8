"""The exchange through a client of httpx or httpx2: the caller's, or one of `observers`.

The client is used as it is: its headers, parameters, cookies, hooks and pool stay its own. A request counts as not sent
only if nothing has read its body. The names of exceptions prove nothing, since hooks and transports may raise any.
"""

import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import anyio.lowlevel

from camara_otp._exchange.body import Body
from camara_otp._exchange.mocks import is_mocks_own, is_of_library, is_original, raised_by_mock
from camara_otp._exchange.values import Failure, Headers, Outgoing, Response
from camara_otp._exchange.waits import Late
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx

_CLOSED: Final = Failure(sent=False, reason="the http_client that was given is closed", permanent=True)
_OF_ONE_CALL: Final = (b"Authorization", b"x-correlator")
"""The headers whose values differ from call to call."""
_MAX_TEMPLATES: Final = 256  # one for each operation and length of body
_TIMEOUTS: Final = ("connect", "read", "write", "pool")
OBSERVED: Final = "camara_otp"
"""The extension of a request that holds its `ObservedCall`."""


class _NotedBody:
    """The body of a request, which notes whether it was read.

    Args:
        content: the bytes
        once: whether it can be read once only, so that no transport of the caller sends the request again
    """

    def __init__(self, content: bytes, *, once: bool) -> None:
        self._content = content
        self.once = once
        self.was_read = False

    def _read(self) -> bytes:
        if self.was_read and self.once:
            raise RuntimeError("the request may have been sent already, and must not be sent again")
        self.was_read = True
        return self._content

    def __iter__(self) -> Iterator[bytes]:
        return iter((self._read(),))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._read()


class _Left(Mapping[str, float]):
    """The timeouts of a request: each is the time that is left of the call when the transport asks for it.

    They are per operation, so that with fixed ones a slow connection before a silent server would take twice the time.
    """

    __slots__ = ("_connect", "_deadline")

    def __init__(self, outgoing: Outgoing) -> None:
        self._deadline = outgoing.deadline
        self._connect = outgoing.connect_timeout

    def __getitem__(self, name: str) -> float:
        if name not in _TIMEOUTS:
            raise KeyError(name)
        # Never 0, which means "do not wait" in one place and "for ever" in another.
        left = max(self._deadline - time.monotonic(), 0.001)
        return left if name != "connect" or self._connect is None else min(left, self._connect)

    def __iter__(self) -> Iterator[str]:
        return iter(_TIMEOUTS)

    def __len__(self) -> int:
        return len(_TIMEOUTS)


class ObservedCall:
    """A call through a client whose transport is our exchange: its request, and the outcome of our exchange."""

    __slots__ = ("began", "outcome", "outgoing")

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self.began = False
        self.outcome: Response | Failure | Exception | None = None

    def __deepcopy__(self, _: object) -> Self:
        return self  # a tool that copies a request and sends it again must not send it twice


class HttpxExchange:
    """Exchange through a client.

    Args:
        client: of httpx or httpx2
        kind: `"Client"` or `"AsyncClient"`
        origin: `https://host[:port]`, checked already
        cap: the most bytes of a decoded body

    Raises:
        ConfigurationError: `client` is of another kind
    """

    def __init__(self, client: Any, kind: str, origin: str, cap: int) -> None:
        self.client: Any = client
        self._library = library = _library_of(client, kind)
        content = property(lambda request: request.read())
        self._request_kind = type("NotedRequest", (library.Request,), {"content": content})
        self._body_kind = type("NotedBody", (_NotedBody, library.SyncByteStream, library.AsyncByteStream), {})
        self._no_auth = library.Auth()
        self._is_async = kind == "AsyncClient"
        self._origin = origin
        self._cap = cap
        self._templates: dict[tuple[str, str, int], tuple[object, object, httpx.Request]] = {}

    async def request(self, outgoing: Outgoing, observed: ObservedCall | None = None) -> Response | Failure:
        """Exchange through the client.

        With a synchronous client, this never waits in a task, and a deadline that passes between two chunks of the
        response ends it. With an asynchronous one, the deadline ends it in every case.
        """
        # Without a token of ours, the client's own auth applies, and may send the request again.
        body = self._body_kind(outgoing.body, once=b"Authorization" in dict(outgoing.headers))
        if not self._is_async:
            return await self._exchange(outgoing, body, observed)
        # An exchange in our own transport enforces the deadline itself and knows whether bytes were sent, so wait 1 s
        # longer for it.
        grace = 0.0 if observed is None else 1.0
        with anyio.move_on_after(outgoing.deadline - time.monotonic() + grace) as scope:
            try:
                return await self._exchange(outgoing, body, observed)
            except anyio.get_cancelled_exc_class():
                if scope.cancel_called:
                    # A transport may raise a cancellation of its own in place of this scope's, which would leave the
                    # call as if it came from outside; the scope's own is raised again here.
                    await anyio.lowlevel.checkpoint()
                raise
        return _late(body)

    async def _exchange(
        self, outgoing: Outgoing, body: _NotedBody, observed: ObservedCall | None
    ) -> Response | Failure:
        if self.client.is_closed:
            return _CLOSED
        if time.monotonic() >= outgoing.deadline:
            return _late(body)
        built = None
        try:
            built = self._build(outgoing, body, observed)
            auth = self._no_auth if body.once else self._library.USE_CLIENT_DEFAULT
            response = self.client.send(built, stream=True, auth=auth, follow_redirects=False)
            if self._is_async:
                response = await response
            try:
                if observed is not None and isinstance(observed.outcome, Response):
                    return observed.outcome
                return await self._received(response, outgoing.deadline)
            finally:
                if not response.is_closed:
                    await self._close(response)
                response.stream = built.stream  # its own refers to it: a cycle that would keep the token and the body
        except Late:
            return _late(body)
        except Exception as error:
            if is_mocks_own(error):
                raise
            return _refusal(error, built, self._cap) or _failure(error, body, handed_over=built is not None)

    async def _received(self, response: Any, deadline: float) -> Response:
        collected = _collected(response, self._cap)
        if not response.is_stream_consumed:
            if self._is_async:
                await _aread(response, collected)
            else:
                _read(response, collected, deadline)
        return collected.response(response.status_code)

    async def _close(self, response: Any) -> None:
        if self._is_async:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        else:
            response.close()

    def _build(self, outgoing: Outgoing, body: _NotedBody, observed: ObservedCall | None) -> Any:
        """Return the request as the client would build it, with a body that notes whether it was read."""
        template = self._template(outgoing)
        of_this_call = {name: value for name, value in outgoing.headers if name in _OF_ONE_CALL}
        built = self._request_kind(
            outgoing.method,
            template.url,
            headers=[(name, of_this_call.get(name, value)) for name, value in template.headers.raw],
            stream=body,
            extensions={**template.extensions, "timeout": _Left(outgoing)},
        )
        if observed is not None:
            built.extensions[OBSERVED] = observed
        built.headers.encoding = template.headers.encoding  # else the first look-up decodes all of them to find it
        return built

    def _template(self, outgoing: Outgoing) -> "httpx.Request":
        """Return a request that the client has built, for this call or for one that differs only in `_OF_ONE_CALL`.

        `build_request` merges the client's headers, parameters and cookies with ours, a quarter of the cost of a call.
        """
        client = self.client
        if client.cookies or not self._builds_as_ever():
            return self._built(outgoing, outgoing.headers, outgoing.body)  # the caller's method may sign it
        headers = [(name, b"" if name in _OF_ONE_CALL else value) for name, value in outgoing.headers]
        key = (outgoing.method, outgoing.target, len(outgoing.body))
        params, made_of = client.params, (client.headers.raw, headers)
        found = self._templates.get(key)
        # Parameters are immutable, and slow to compare.
        if found is None or found[0] is not params or found[1] != made_of:
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            found = self._templates[key] = (params, made_of, self._built(outgoing, headers, bytes(len(outgoing.body))))
        return found[2]

    def _builds_as_ever(self) -> bool:
        method = getattr(self.client, "build_request", None)
        place = f"{self._library.__name__}.BaseClient.build_request"
        return isinstance(method, MethodType) and is_original(method.__func__, place)

    def _built(self, outgoing: Outgoing, headers: Headers, content: bytes) -> "httpx.Request":
        built: httpx.Request = self.client.build_request(
            outgoing.method,
            self._origin + outgoing.target,
            headers=list(headers),
            # Parameters of the client's own would otherwise replace those in the URL.
            params=outgoing.target.partition("?")[2] if self.client.params else None,
            content=content,
        )
        built.extensions.pop("timeout", None)
        return built


def _library_of(client: object, kind: str) -> Any:
    for name in ("httpx", "httpx2"):
        library: Any = sys.modules.get(name)  # a client exists only where its library was imported
        if library is not None and isinstance(client, getattr(library, kind)):
            return library
    ours = kind.replace("Client", "OTPClient")
    raise ConfigurationError(
        f"http_client: {ours} needs an httpx.{kind} or an httpx2.{kind}, not {type(client).__name__}"
    )


# --- Responses -------------------------------------------------------------------------------------------------------


def _collected(response: "httpx.Response", cap: int) -> Body:
    """Return the body as far as a hook, or a mock, has read and decoded it."""
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    if not response.is_stream_consumed:
        return Body(headers, cap)
    collected = Body([header for header in headers if header[0] != b"content-encoding"], cap)
    try:
        collected.add(response.content)
    except RuntimeError:
        collected.fault = "a hook of the http_client has read it without keeping it; call response.read() there"
    return collected


def _read(response: "httpx.Response", collected: Body, deadline: float) -> None:
    """Read a body to its end, or until no more of it is wanted.

    Raises:
        Late: the deadline has passed
    """
    for chunk in response.iter_raw():
        if time.monotonic() > deadline:
            raise Late
        if not collected.add(chunk):
            break
        del chunk


async def _aread(response: "httpx.Response", collected: Body) -> None:
    """Read a body as `_read` does.

    A generator of httpx that is left half-way would be closed by the garbage collector, outside the event loop. So its
    connection is closed under it, and it ends by itself. A connection of HTTP/2 carries other requests too.
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


def _refusal(error: Exception, built: "httpx.Request | None", cap: int) -> Response | None:
    """Return the response that a hook has turned into an exception; its body is there if the hook has read it."""
    if not is_of_library(error) or built is None or getattr(error, "_request", None) is not built:
        return None
    response: httpx.Response | None = getattr(error, "response", None)
    if response is None or response.status_code < 400:
        return None
    return _collected(response, cap).response(response.status_code)


# --- Failures --------------------------------------------------------------------------------------------------------

_NOT_SENT: Final = {
    "ConnectError": "no connection could be made",
    "ConnectTimeout": "timed out while connecting",
    "PoolTimeout": "timed out waiting for a free connection",
    "ProxyError": "the proxy refused the connection",
    "UnsupportedProtocol": "the http_client does not serve this URL",
}
_REASONS: Final = _NOT_SENT | {
    "ReadTimeout": "timed out before a complete response",
    "WriteTimeout": "timed out while the request was sent",
    "ReadError": "the connection was lost",
    "WriteError": "the connection was lost",
    "RemoteProtocolError": "the server closed the connection before a complete response, or did not send valid HTTP",
}


def _late(body: _NotedBody) -> Failure:
    return Failure(body.was_read, _REASONS["ReadTimeout" if body.was_read else "ConnectTimeout"])


def _failure(error: Exception, body: _NotedBody, *, handed_over: bool) -> Failure:
    """Return what an exception means: whether the request was sent shows in its body, not in the exception."""
    name = type(error).__name__
    reason = _REASONS.get(name) if is_of_library(error) else None
    # Other exceptions are of the caller's code, which may have sent the request by itself. A mock reads the request
    # before it raises the library's exception in place of a transport.
    sent = body.was_read or (handed_over and not is_of_library(error))
    if sent and reason is not None and name in _NOT_SENT and raised_by_mock(error):
        sent = False
    certificate = _certificate_problem(error)
    if certificate is not None and not sent:
        return Failure(sent=False, reason=f"the certificate does not verify: {certificate}", permanent=True)
    return Failure(sent, reason or f"{name} was raised by the http_client")


def _certificate_problem(error: BaseException | None) -> str | None:
    for _ in range(20):  # an exception of a hook may name itself as its cause
        if isinstance(error, ssl.SSLCertVerificationError):
            return str(getattr(error, "verify_message", "") or "no reason given")
        if error is None:
            break
        error = error.__cause__ or error.__context__
    return None
