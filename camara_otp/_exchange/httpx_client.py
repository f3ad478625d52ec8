"""The exchange through a client of httpx or httpx2: the caller's, or one of `observers`.

The client is used as it is: its headers, parameters, cookies, hooks and pool stay its own. A request counts as not sent
only if nothing has read its body; the names of exceptions prove nothing, since hooks and transports may raise any.
"""

import functools
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.lowlevel

from camara_otp._exchange.answer import Answer, Failure, Headers, Outgoing
from camara_otp._exchange.body import Body
from camara_otp._exchange.mocks import is_mocks_own, is_original, raised_by_mock
from camara_otp._exchange.waits import Late
from camara_otp.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx

    from camara_otp._exchange.clients import AsyncClient, Client

_LIBRARIES: Final = ("httpx", "httpx2")
_CLOSED: Final = Failure(sent=False, reason="the http_client that was given is closed", permanent=True)
_NO_TIME: Final = Failure(sent=False, reason="timed out before the request could be sent")


class HttpxExchange:
    """Exchange through a synchronous client.

    Args:
        client: of httpx or httpx2.
        origin: `https://host[:port]`, checked already.
        cap: the most bytes of a decoded body.

    Raises:
        ConfigurationError: give an `httpx.Client` or `httpx2.Client`.
    """

    def __init__(self, client: "Client", origin: str, cap: int) -> None:
        """Check the client."""
        self.client = client
        self._requests = _Requests(client, _library_of(client, "Client", "OTPClient"), origin)
        self._cap = cap

    def request(self, outgoing: Outgoing, extensions: Mapping[str, object] | None = None) -> Answer | Failure:
        """Exchange through the client; a deadline that passes between two chunks ends the call."""
        if self.client.is_closed:
            return _CLOSED
        if time.monotonic() >= outgoing.deadline:
            return _NO_TIME
        built = None
        try:
            built = self._requests.build(outgoing, extensions)
            response = self.client.send(built, stream=True, follow_redirects=False, **_auth(outgoing.headers))
            try:
                collected = Body(_headers_of(response), self._cap)
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
        except Exception as error:
            if is_mocks_own(error):
                raise
            return _refusal(error, built, self._cap) or _failure(error, built)


class AsyncHttpxExchange:
    """Exchange through an asynchronous client; the arguments are those of `HttpxExchange`."""

    def __init__(self, client: "AsyncClient", origin: str, cap: int) -> None:
        """Check the client."""
        self.client = client
        self._requests = _Requests(client, _library_of(client, "AsyncClient", "AsyncOTPClient"), origin)
        self._cap = cap

    async def request(  # noqa: C901 - one step after the other
        self, outgoing: Outgoing, extensions: Mapping[str, object] | None = None
    ) -> Answer | Failure:
        """Exchange through the client, and end at the deadline in every case."""
        if self.client.is_closed:
            return _CLOSED
        if time.monotonic() >= outgoing.deadline:
            return _NO_TIME
        built = None
        # A carried exchange keeps the deadline itself, and knows better what was sent.
        grace = 1.0 if extensions else 0.0
        with anyio.move_on_after(outgoing.deadline - time.monotonic() + grace) as scope:
            try:
                built = self._requests.build(outgoing, extensions)
                response = await self.client.send(built, stream=True, follow_redirects=False, **_auth(outgoing.headers))
                try:
                    collected = Body(_headers_of(response), self._cap)
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
            except Exception as error:
                if is_mocks_own(error):
                    raise
                return _refusal(error, built, self._cap) or _failure(error, built)
            except anyio.get_cancelled_exc_class():
                if scope.cancel_called:
                    # A transport may raise a cancellation of its own in place of this scope's, which would leave the
                    # call as if it came from outside; the scope's own is raised again here.
                    await anyio.lowlevel.checkpoint()
                raise
        return _failure(Late(), built)


def _library_of(client: object, kind: str, ours: str) -> str:
    for library in _LIBRARIES:
        # A client exists only where its library was imported.
        if library in sys.modules and isinstance(client, getattr(sys.modules[library], kind)):
            return library
    raise ConfigurationError(
        f"http_client: {ours} needs an httpx.{kind} or an httpx2.{kind}, not {type(client).__name__}"
    )


# --- Requests --------------------------------------------------------------------------------------------------------

_OF_ONE_CALL: Final = frozenset({b"Authorization", b"x-correlator"})
"""The headers whose values differ from call to call."""
_MAX_TEMPLATES: Final = 256  # one for each operation and length of body


@functools.cache
def _kinds(library: str) -> tuple[Any, Any]:
    """Return the classes of a request and of its body that note whether the body was read."""
    module: Any = sys.modules[library]

    def read(self: Any) -> Iterator[bytes]:
        self.was_read = True
        return iter((self.content,))

    async def aread(self: Any) -> AsyncIterator[bytes]:
        self.was_read = True
        yield self.content

    methods = {"content": b"", "was_read": False, "__iter__": read, "__aiter__": aread}
    body = type("NotedBody", (module.SyncByteStream, module.AsyncByteStream), methods)
    request = type("NotedRequest", (module.Request,), {"content": property(lambda self: self.read())})
    return request, body


class _Requests:
    """Build requests as the client does, from a template that the client has built.

    `build_request` merges the client's headers, parameters and cookies with ours, a quarter of the cost of a call. As
    long as those are unchanged, requests of the same length differ in the body and in two headers.
    """

    def __init__(self, client: Any, library: str, origin: str) -> None:
        self._client: Any = client
        self._library = library
        self._origin = origin
        self._templates: dict[tuple[str, str, int], tuple[object, object, httpx.Request]] = {}
        self._original: object = None

    def build(self, outgoing: Outgoing, extensions: Mapping[str, object] | None) -> "httpx.Request":
        """Return the request, as the client would build it; its body notes whether it was read."""
        template = self._template(outgoing)
        kind, body_kind = _kinds(self._library)
        body = body_kind()
        body.content = outgoing.body
        of_this_call = {name: value for name, value in outgoing.headers if name in _OF_ONE_CALL}
        request: httpx.Request = kind(
            outgoing.method,
            template.url,
            headers=[(name, of_this_call.get(name, value)) for name, value in template.headers.raw],
            stream=body,
            extensions={**template.extensions, **(extensions or {}), "timeout": _Left(outgoing)},
        )
        request.body = body  # type: ignore[attr-defined] # `stream` is replaced once it was read
        return request

    def _template(self, outgoing: Outgoing) -> "httpx.Request":
        client = self._client
        if not self._builds_as_ever() or client.cookies:
            return self._built(outgoing, outgoing.headers, outgoing.body)  # which the caller's method may sign
        headers = [(name, b"" if name in _OF_ONE_CALL else value) for name, value in outgoing.headers]
        key = (outgoing.method, outgoing.target, len(outgoing.body))
        params, made_of = client.params, (client.headers.raw, headers)
        found = self._templates.get(key)
        if (
            found is None or found[0] is not params or found[1] != made_of
        ):  # parameters are immutable, and slow to compare
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            found = self._templates[key] = (params, made_of, self._built(outgoing, headers, bytes(len(outgoing.body))))
        return found[2]

    def _builds_as_ever(self) -> bool:
        """Return whether `build_request` is the library's own, and nothing that adds to each request."""
        function = getattr(type(self._client), "build_request", None)  # pyright: ignore[reportUnknownArgumentType]
        if function is not self._original and is_original(function, self._library, "_client.py"):
            self._original = function
        return function is self._original and "build_request" not in vars(self._client)

    def _built(self, outgoing: Outgoing, headers: Headers, content: bytes) -> "httpx.Request":
        built: httpx.Request = self._client.build_request(
            outgoing.method,
            self._origin + outgoing.target,
            headers=list(headers),
            # Parameters of the client's own would otherwise replace those in the URL.
            params=outgoing.target.partition("?")[2] if self._client.params else None,
            content=content,
        )
        built.extensions.pop("timeout", None)
        return built


class _Left(dict[str, float]):
    """The timeouts of a request: each is the time that is left of the call when the transport asks for it.

    They are per operation, so that with fixed ones a slow connection before a silent server would take twice the time.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._deadline = outgoing.deadline
        self._connect = outgoing.connect_timeout
        left = self["read"]
        super().__init__(connect=min(left, self._connect or left), read=left, write=left, pool=left)

    def __getitem__(self, name: str) -> float:
        # Never 0, which means "do not wait" in one place and "for ever" in another.
        left = max(self._deadline - time.monotonic(), 0.001)
        return left if name != "connect" or self._connect is None else min(left, self._connect)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the time that is left."""
        return self[name] if name in self else default  # noqa: SIM401 - `get` would call itself


def _auth(headers: Headers) -> dict[str, Any]:
    # None switches the client's own auth off; leaving it out leaves it on.
    return {"auth": None} if any(name == b"Authorization" for name, _ in headers) else {}


# --- Responses -------------------------------------------------------------------------------------------------------


async def _read(response: "httpx.Response", collected: Body) -> None:
    """Read a body to its end, or until no more of it is wanted.

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


def _chunks(response: "httpx.Response") -> Iterable[bytes] | None:
    """Return the decoded body if a hook, or a mock, has read it already."""
    return [response.content] if response.is_stream_consumed else None


def _headers_of(response: "httpx.Response") -> list[tuple[bytes, bytes]]:
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    if response.is_stream_consumed:
        return [header for header in headers if header[0] != b"content-encoding"]
    return headers


def _refusal(error: Exception, built: "httpx.Request | None", cap: int) -> Answer | None:
    """Return the response that a hook has turned into an exception; its body is there if the hook has read it."""
    if type(error).__module__ not in _LIBRARIES or built is None or getattr(error, "_request", None) is not built:
        return None
    response: httpx.Response | None = getattr(error, "response", None)
    if response is None or response.status_code < 400:
        return None
    collected = Body(_headers_of(response), cap)
    for chunk in _chunks(response) or ():
        collected.add(chunk)
    return Answer(response.status_code, collected.headers, *collected.end())


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


def _failure(error: Exception, built: Any) -> Failure:
    """Return what an exception means: whether the request was sent shows in its body, not in the exception."""
    name = type(error).__name__
    of_library = type(error).__module__.partition(".")[0] in (*_LIBRARIES, "httpcore", "httpcore2")
    # Other exceptions are of the caller's code, which may have sent the request by itself.
    sent = built is not None and (built.body.was_read or not (of_library or isinstance(error, Late)))
    if sent and of_library and name in _NOT_SENT and raised_by_mock(error):
        sent = False  # a mock reads the request before it raises this in place of a transport
    certificate = _certificate_problem(error)
    if certificate is not None and not sent:
        return Failure(sent=False, reason=f"the certificate does not verify: {certificate}", permanent=True)
    if isinstance(error, Late):
        reason = "timed out before a complete response" if sent else "timed out while connecting"
    else:
        reason = (_REASONS.get(name) if of_library else None) or f"{name} was raised by the http_client"
    return Failure(sent, reason)


def _certificate_problem(error: BaseException | None) -> str | None:
    for _ in range(20):  # an exception of a hook may name itself as its cause
        if isinstance(error, ssl.SSLCertVerificationError):
            return str(getattr(error, "verify_message", "") or "no reason given")
        if error is None:
            break
        error = error.__cause__ or error.__context__
    return None
