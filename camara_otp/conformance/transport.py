"""Send one request of a check and read its response, within limits of time and memory."""

import socket
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import anyio
import attrs
import httpx

from camara_otp._version import __version__
from camara_otp.conformance.failures import failure_reason
from camara_otp.conformance.model import ReceivedResponse, RoundTrip, SentRequest
from camara_otp.conformance.settings import Settings, is_loopback_url

MAX_BODY: Final = 65536


@attrs.frozen
class Transport:
    """The HTTP client towards the operator.

    Args:
        settings: timeout and query parameters
        http: the HTTP client; keeps no cookies and follows no redirects
    """

    settings: Settings
    http: httpx.AsyncClient = attrs.field(repr=False)

    async def send(self, request: SentRequest) -> RoundTrip:
        """Send a request once and return the response or the failure."""
        settings = self.settings
        built = self.http.build_request(
            request.method,
            request.url,
            params=dict(settings.params) or None,
            headers=list(request.headers),
            content=request.body or None,
            timeout=settings.timeout,
        )
        try:
            with anyio.fail_after(settings.timeout):
                response = await self._response(built, time.perf_counter())
        except TimeoutError:
            return RoundTrip(request, failure=f"no response within {settings.timeout:g} s")
        except httpx.DecodingError:
            return RoundTrip(request, failure="a content coding that is broken or was not asked for")
        except httpx.HTTPError as error:
            return RoundTrip(request, failure=failure_reason(error))
        return RoundTrip(request, response)

    async def _response(self, request: httpx.Request, began: float) -> ReceivedResponse:
        body = bytearray()
        response = await self.http.send(request, stream=True)
        try:
            if _is_compressed_twice(response.headers.get("content-encoding", "")):
                raise httpx.DecodingError("compressed twice", request=request)
            if response.status_code == 204 and "network_stream" in response.extensions:
                _shut_down(response.extensions["network_stream"])
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY:
                    break
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
        return ReceivedResponse(response.status_code, headers, bytes(body[:MAX_BODY]), time.perf_counter() - began)


@asynccontextmanager
async def open_transport(settings: Settings, transport: httpx.AsyncBaseTransport | None) -> AsyncGenerator[Transport]:
    """Open the HTTP client towards the operator; `transport` replaces the network."""
    limits = httpx.Limits(max_connections=2 * settings.concurrency, max_keepalive_connections=settings.concurrency)
    # camara_otp's client asks for no compression either.
    common = {"user-agent": f"camara-otp-check/{__version__}", "accept-encoding": "identity"}
    # A cookie of one response could authorize the next request, which has to be refused.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    async with httpx.AsyncClient(
        transport=transport,
        limits=limits,
        headers=common,
        cookies=no_cookies,
        verify=trusted(settings) if transport is None else True,
        trust_env=not is_loopback_url(settings.base_url),
    ) as http:
        yield Transport(settings, http)


def trusted(settings: Settings) -> ssl.SSLContext:
    """Return the TLS settings: the usual certificates, and those of `ca_file`."""
    context = httpx.create_ssl_context()
    if settings.ca_file is not None:
        context.load_verify_locations(settings.ca_file)
    return context


def _shut_down(stream: Any) -> None:
    """Make the pool discard a connection after a 204: bytes that follow would be read as the next response.

    The pool discards a socket that is shut down. A closed socket raises in its readiness check on some event loops.
    uvloop's socket object cannot be shut down, so a duplicate is.
    """
    link = stream.get_extra_info("socket")
    if link is not None:
        with suppress(OSError), socket.socket(fileno=socket.dup(link.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)


def _is_compressed_twice(coding: str) -> bool:
    """Return whether a small body could decompress without bound: compressed twice, or by an unknown coding."""
    return coding.strip().lower() not in ("", "identity", "gzip", "x-gzip", "deflate")
