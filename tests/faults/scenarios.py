"""The table of faults: the action of the server, and the expected result of the client, in every mode."""

import gzip
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

from camara_otp import (
    APIError,
    OutcomeUnknownError,
    RequestNotSentError,
    SendCodeResponse,
    TransportError,
    UnexpectedResponseError,
    ValidateCodeResponse,
    errors,
)
from camara_otp.errors import CODES, STATUSES
from tests.faults.proxy import MISBEHAVING

ID = "ea0840f3-3663-4149-bd10-c7c6b8912105"
SENT = json.dumps({"authenticationId": ID}).encode()
TIMEOUT = 0.6


class Scenario(NamedTuple):
    """A row of the table.

    Attributes:
        name: in the report
        script: of the server, for each connection; None: the port refuses connections
        expected: the class of the result or of the error; TransportError stands for each of its subclasses
        unknown: the expected `outcome_unknown`
        posts: the most requests of the measured call that the server may read completely
        operation: the method to call
        tls: the attribute of the server that holds its TLS context, "stalled" for none, or None for plain HTTP
        options: arguments of the client
        status: the expected status code, or None for any
        code: the expected error code, or None for any
        slow: True if the row ends by the deadline
        warm: the number of calls that succeed before the measured one
        first: the method of those calls, if it is another one
        kind: "stray", "drip", "location" or "interim flood": rows that some modes cannot handle
        only: the name of the mode that the row belongs to, or "caller's client"
        host: the name of the server
        caller: makes the arguments of the caller's client, from its library and whether it is asynchronous
        proxied: the expectations that differ where a proxy forwards the request
    """

    name: str
    script: Any
    expected: type
    unknown: bool | None = None
    posts: int = 1
    operation: str = "send_code"
    tls: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})
    status: int | None = None
    code: str | None = None
    slow: bool = False
    warm: int = 0
    first: str | None = None
    kind: str | None = None
    only: str | None = None
    host: str | None = None
    caller: Any = None
    proxied: Mapping[str, Any] = MappingProxyType({})


ROWS: list[Scenario] = []


def row(name, script, expected, unknown=None, **more):
    """Add a row; `outcome_unknown` follows from the class if the class decides it."""
    if unknown is None and expected not in (SendCodeResponse, ValidateCodeResponse, TransportError):
        unknown = expected in (OutcomeUnknownError, UnexpectedResponseError)
    ROWS.append(Scenario(name, script, expected, unknown, **more))


def raw(status=200, body=SENT, *headers, reason="X", length=None, version="1.1"):
    """Return the bytes of a response."""
    lines = [f"HTTP/{version} {status} {reason}".encode()]
    if length is None and not any(h.lower().startswith(b"transfer-encoding") for h in headers) and status != 204:
        lines.append(b"Content-Length: %d" % len(body))
    elif length is not None:
        lines.append(f"Content-Length: {length}".encode())
    return b"\r\n".join([*lines, *headers, b"", body])


def chunked(*pieces):
    """Return pieces as a chunked body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def replies(*answers, then=None):
    """Respond to each request with the next response, the last one for ever; then do `then`."""

    async def script(c):
        left = list(answers)
        while await c.request():
            await c.send(left.pop(0) if len(left) > 1 else left[0])
            if then:
                getattr(c, then)()
                return

    return script


def steps(*actions):
    """Do one thing after the other: a name, or a name with arguments."""

    async def script(c):
        for action in actions:
            name, *arguments = action if isinstance(action, tuple) else (action,)
            result = getattr(c, name)(*arguments)
            if result is not None:
                await result

    return script


def reused(*actions):
    """Respond well to the first request, and do this to the second one, on the same connection only."""

    async def script(c):
        await c.request()
        await c.send(raw())
        if c.number > 1 or await c.request():
            await steps(*actions)(c)

    return script


CHUNKED = b"Transfer-Encoding: chunked"

# --- Success, to know that the rows below fail for their reason ------------------------------------------------------
row("fine", replies(raw()), SendCodeResponse)
row("fine, verified", replies(raw(204, b"")), ValidateCodeResponse, operation="validate_code")
row("fine, chunked", replies(raw(200, chunked(SENT[:5], SENT[5:]), CHUNKED)), SendCodeResponse)
row(
    "fine, chunked with extension and trailer",
    replies(raw(200, b"%x;a=b\r\n%s\r\n0;c\r\nX: y\r\n\r\n" % (len(SENT), SENT), CHUNKED)),
    SendCodeResponse,
)
row("fine, to the end of the connection", replies(b"HTTP/1.1 200 OK\r\n\r\n" + SENT, then="close"), SendCodeResponse)
row("fine, HTTP/1.0", replies(raw(version="1.0"), then="close"), SendCodeResponse)
row("fine, gzip", replies(raw(200, gzip.compress(SENT), b"Content-Encoding: gzip")), SendCodeResponse)
row("fine, x-gzip", replies(raw(200, gzip.compress(SENT), b"CONTENT-ENCODING: X-GZIP")), SendCodeResponse)
row("fine, deflate", replies(raw(200, zlib.compress(SENT), b"Content-Encoding: deflate")), SendCodeResponse)
row("fine, identity", replies(raw(200, SENT, b"Content-Encoding: identity")), SendCodeResponse)
row("fine, bare line feeds", replies(b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(SENT) + SENT), SendCodeResponse)
row("fine, one interim answer", replies(b"HTTP/1.1 100 Continue\r\n\r\n" + raw()), SendCodeResponse)
row("fine, early hints", replies(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + raw()), SendCodeResponse)
row("fine, dripped quickly", steps("request", ("drip", raw(), 0.001), "hold"), SendCodeResponse)
row("fine, over TLS", replies(raw()), SendCodeResponse, tls="tls")
row("fine, verified over TLS", replies(raw(204, b"")), ValidateCodeResponse, operation="validate_code", tls="tls")
row(
    "fine, with cookies and a long header",
    replies(raw(200, SENT, b"Set-Cookie: a=b; Path=/", b"X-Long: " + b"x" * 8000)),
    SendCodeResponse,
)
row(
    "fine, hostile charset", replies(raw(200, SENT, b"Content-Type: application/json; charset=utf-7")), SendCodeResponse
)
row("fine, unknown charset", replies(raw(200, SENT, b"Content-Type: text/html; charset=rot13")), SendCodeResponse)
row(
    "fine, 204 with a length",
    replies(raw(204, b"", b"Content-Length: 0")),
    ValidateCodeResponse,
    operation="validate_code",
)

# --- Before the request can have been read ---------------------------------------------------------------------------
# Whether a byte had left by then is a race; what is said has to fit what is known.
row("closed at once", steps("close"), TransportError, posts=0)
row("reset at once", steps("reset"), TransportError, posts=0)
row("closed in the middle of the request", steps(("read_some", 20), "close"), OutcomeUnknownError, posts=0)
row("reset in the middle of the request", steps(("read_some", 20), "reset"), OutcomeUnknownError, posts=0)
row("silent without reading", steps("hold"), OutcomeUnknownError, posts=1, slow=True)

# --- After the request -----------------------------------------------------------------------------------------------
row("closed after the request", steps("request", "close"), OutcomeUnknownError)
row("reset after the request", steps("request", "reset"), OutcomeUnknownError)
row("silent after the request", steps("request", "hold"), OutcomeUnknownError, slow=True)
for name, part in (
    ("the first byte", b"H"),
    ("half a status line", b"HTTP/1.1 20"),
    ("the status line", b"HTTP/1.1 200 OK\r\n"),
    ("half the headers", b"HTTP/1.1 200 OK\r\nContent-Le"),
    ("the headers", raw()[: -len(SENT)]),
    ("half the body", raw()[:-10]),
    ("half a chunked body", raw(200, chunked(SENT)[:-12], CHUNKED)),
    ("a chunked body without its end", raw(200, chunked(SENT)[:-5], CHUNKED)),
    ("the last byte but one", raw()[:-1]),
):
    row(f"closed after {name}", steps("request", ("send", part), "close"), OutcomeUnknownError)
    row(f"reset after {name}", steps("request", ("send", part), "reset"), OutcomeUnknownError)
    row(f"silent after {name}", steps("request", ("send", part), "hold"), OutcomeUnknownError, slow=True)
for status in (401, 403, 429, 500):
    row(
        f"a {status} cut in the middle of its body",
        steps("request", ("send", raw(status, b'{"code":"X"}')[:-4]), "close"),
        OutcomeUnknownError,
    )
row("drip of a head", steps("request", ("drip", raw(), 0.05)), OutcomeUnknownError, slow=True, kind="drip")
row(
    "drip of a body",
    steps("request", ("send", raw()[:-20]), ("drip", raw()[-20:], 0.1)),
    OutcomeUnknownError,
    slow=True,
    kind="drip",
)
row(
    "drip of a body over TLS",
    steps("request", ("send", raw()[:-20]), ("drip", raw()[-20:], 0.1)),
    OutcomeUnknownError,
    slow=True,
    tls="tls",
    kind="drip",
)
row(
    "drip of an endless header",
    steps("request", ("send", b"HTTP/1.1 200 OK\r\nX: "), ("drip", b"y" * 99, 0.05)),
    OutcomeUnknownError,
    slow=True,
    kind="drip",
)
row(
    "drip of chunks",
    steps("request", ("send", raw(200, b"", CHUNKED)), ("drip", b"1\r\nx\r\n" * 50, 0.02)),
    OutcomeUnknownError,
    slow=True,
    kind="drip",
)
row(
    "drip of interim answers",
    steps("request", *[x for _ in range(30) for x in (("send", b"HTTP/1.1 102 Processing\r\n\r\n"), ("sleep", 0.1))]),
    OutcomeUnknownError,
    slow=True,
    kind="drip",
)
row(
    "flood of interim answers",
    steps("request", ("flood", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 2000)),
    OutcomeUnknownError,
    kind="interim flood",
)
row(
    "flood of header lines",
    steps("request", ("send", b"HTTP/1.1 200 OK\r\n"), ("flood", b"X: y\r\n" * 1000, 3000)),
    OutcomeUnknownError,
)
row(
    "flood of one header",
    steps("request", ("send", b"HTTP/1.1 200 OK\r\nX: "), ("flood", b"y" * 65536, 500)),
    OutcomeUnknownError,
)

# --- On a connection from the pool -----------------------------------------------------------------------------------
for name, actions, expected in (
    ("closed after the request", ("close",), OutcomeUnknownError),
    ("reset after the request", ("reset",), OutcomeUnknownError),
    ("silent", ("hold",), OutcomeUnknownError),
    ("closed in the middle of the headers", (("send", b"HTTP/1.1 200 OK\r\nCont"), "close"), OutcomeUnknownError),
    ("reset in the middle of the body", (("send", raw()[:-5]), "reset"), OutcomeUnknownError),
    ("garbage", (("send", b"\x00garbage\r\n\r\n"), "close"), OutcomeUnknownError),
    ("refused", (("send", raw(403, b"")), "close"), errors.HTTP403Error),
    ("two answers", (("send", raw() + raw(204, b"")), "hold"), SendCodeResponse),
):
    row(f"on reuse: {name}", reused(*actions), expected, warm=1, slow=name == "silent")

# --- No server ----------------------------------------------------------------------------------------------------
# A proxy that forwards a request answers for the server that it cannot reach.
REFUSED = {"expected": errors.HTTP502Error, "unknown": True, "status": 502}
row("refused", None, RequestNotSentError, posts=0, proxied=REFUSED)
row("refused, verifying", None, RequestNotSentError, posts=0, operation="validate_code", proxied=REFUSED)
row("refused over TLS", None, RequestNotSentError, posts=0, tls="stalled")

# --- Not HTTP --------------------------------------------------------------------------------------------------------
for name, garbage in (
    ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ("zero bytes", b"\x00" * 100 + b"\r\n\r\n"),
    ("a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
    ("a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    ("a status of letters", b"HTTP/1.1 abc OK\r\n\r\n"),
    ("a negative status", b"HTTP/1.1 -20 OK\r\n\r\n"),
    ("HTTP/2", b"HTTP/2 200\r\n\r\n"),
    ("no version", b"200 OK\r\n\r\n"),
    ("a header without a colon", b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
    ("a header with a blank in its name", b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n"),
    ("a header with a zero byte", b"HTTP/1.1 200 OK\r\na: b\x00c\r\n\r\n"),
    ("a length that is no number", raw(length="abc")),
    ("a negative length", raw(length="-5")),
    ("two lengths that differ", raw(200, SENT, b"Content-Length: 1")),
    ("a length of 5,000 digits", raw(length="9" * 5000)),
    ("an unknown transfer coding", raw(200, SENT, b"Transfer-Encoding: gzip")),
    ("a chunk size that is no number", raw(200, b"zz\r\nabc\r\n0\r\n\r\n", CHUNKED)),
    ("a negative chunk size", raw(200, b"-1\r\nabc\r\n0\r\n\r\n", CHUNKED)),
    ("a huge chunk size", raw(200, b"f" * 30 + b"\r\nabc\r\n0\r\n\r\n", CHUNKED)),
    ("a chunk without its end", raw(200, b"3\r\nabcdef0\r\n\r\n", CHUNKED)),
):
    row(f"not HTTP: {name}", replies(garbage, then="close"), OutcomeUnknownError)

# --- Bodies ----------------------------------------------------------------------------------------------------------
for name, body in (
    ("empty", b""),
    ("{}", b"{}"),
    ("null", b"null"),
    ("an array", b"[]"),
    ("a text", b'"' + ID.encode() + b'"'),
    ("a null id", b'{"authenticationId":null}'),
    ("a number as id", b'{"authenticationId":7}'),
    ("a list as id", b'{"authenticationId":["a"]}'),
    ("an object as id", b'{"authenticationId":{"a":1}}'),
    ("an empty id", b'{"authenticationId":""}'),
    ("an id of 37 characters", b'{"authenticationId":"' + b"x" * 37 + b'"}'),
    ("half a surrogate pair as id", b'{"authenticationId":"\\ud800"}'),
    ("NaN", b'{"authenticationId":"a","n":NaN}'),
    ("Infinity", b'{"authenticationId":"a","n":-Infinity}'),
    ("an integer of 5,000 digits", b'{"authenticationId":"a","n":' + b"9" * 5000 + b"}"),
    ("deep nesting", b"[" * 60_000),
    ("deep nesting of objects", b'{"a":' * 12_000),
    ("UTF-16", SENT.decode().encode("utf-16")),
    ("UTF-32", SENT.decode().encode("utf-32")),
    ("invalid UTF-8", b'{"authenticationId":"\xff\xfe"}'),
    ("cut JSON", SENT[:-2]),
    ("two values", SENT + SENT),
    ("HTML", b"<html><body>Please log in</body></html>"),
    ("an error in a 200", b'{"status":400,"code":"INVALID_ARGUMENT","message":"x"}'),
    ("a trailing comma", b'{"authenticationId":"a",}'),
    ("single quotes", b"{'authenticationId':'a'}"),
):
    row(f"200 with {name}", replies(raw(200, body)), UnexpectedResponseError, status=200)
row("200 with a byte order mark", replies(raw(200, b"\xef\xbb\xbf" + SENT)), SendCodeResponse)
row("200 with duplicate keys", replies(raw(200, b'{"authenticationId":"a","authenticationId":"b"}')), SendCodeResponse)
row(
    "200 longer than the cap",
    replies(raw(200, b'{"authenticationId":"' + b"x" * 100_000 + b'"}')),
    UnexpectedResponseError,
    status=200,
)
row(
    "200 with an id of 10 MB",
    steps("request", ("send", raw(200, b'{"authenticationId":"', length=10_000_023)), ("flood", b"x" * 10_000, 1000)),
    UnexpectedResponseError,
    status=200,
)
row(
    "an endless body",
    steps("request", ("send", b"HTTP/1.1 200 OK\r\n\r\n"), ("flood", b"x" * 65536, 4000)),
    UnexpectedResponseError,
    status=200,
)
row(
    "an endless chunked body",
    steps("request", ("send", raw(200, b"", CHUNKED)), ("flood", b"1000\r\n" + b"x" * 4096 + b"\r\n", 20_000)),
    UnexpectedResponseError,
    status=200,
)
row(
    "a chunk that never ends",
    steps("request", ("send", raw(200, b"fffffff\r\n", CHUNKED)), ("flood", b"x" * 65536, 2000)),
    UnexpectedResponseError,
    status=200,
)
BOMB = gzip.compress(b" " * 50_000_000, 9)
row("HTTP/9.9", replies(b"HTTP/9.9 200 OK\r\n\r\n", then="close"), UnexpectedResponseError, status=200)
row("a gzip bomb", replies(raw(200, BOMB, b"Content-Encoding: gzip")), UnexpectedResponseError, status=200)
row(
    "a gzip bomb in an error",
    replies(raw(403, BOMB, b"Content-Encoding: gzip")),
    errors.HTTP403Error,
    False,
    status=403,
)
row("a gzip bomb in a 500", replies(raw(500, BOMB, b"Content-Encoding: gzip")), errors.HTTP500Error, True, status=500)
row(
    "a deflate bomb",
    replies(raw(200, zlib.compress(b" " * 50_000_000), b"Content-Encoding: deflate")),
    UnexpectedResponseError,
    status=200,
)
row(
    "gzip within gzip",
    replies(raw(200, gzip.compress(BOMB), b"Content-Encoding: gzip, gzip")),
    UnexpectedResponseError,
    status=200,
)
row(
    "broken gzip",
    replies(raw(200, b"\x1f\x8b" + b"x" * 50, b"Content-Encoding: gzip")),
    UnexpectedResponseError,
    status=200,
)
row(
    "cut gzip",
    replies(raw(200, gzip.compress(SENT)[:-9], b"Content-Encoding: gzip")),
    UnexpectedResponseError,
    status=200,
)
row(
    "gzip with something behind it",
    replies(raw(200, gzip.compress(SENT) + b"x", b"Content-Encoding: gzip")),
    UnexpectedResponseError,
    status=200,
)
row("gzip that is none", replies(raw(200, SENT, b"Content-Encoding: gzip")), UnexpectedResponseError, status=200)
row(
    "a coding that was not asked for",
    replies(raw(200, SENT, b"Content-Encoding: br")),
    UnexpectedResponseError,
    status=200,
)
row(
    "a coding that nobody knows",
    replies(raw(200, SENT, b"Content-Encoding: rot13")),
    UnexpectedResponseError,
    status=200,
)

# --- Statuses --------------------------------------------------------------------------------------------------------
for status in (201, 202, 203, 205, 206, 207, 226, 299):
    row(f"{status} to send-code", replies(raw(status)), UnexpectedResponseError, status=status)
row("204 to send-code", replies(raw(204, b"")), UnexpectedResponseError, status=204)
for status in (200, 201, 202, 205, 206, 208, 299):
    row(
        f"{status} to validate-code",
        replies(raw(status, b"{}")),
        UnexpectedResponseError,
        status=status,
        operation="validate_code",
    )
for status in (300, 301, 302, 303, 304, 307, 308, 399):
    row(
        f"{status} to elsewhere",
        replies(raw(status, b"", b"Location: http://127.0.0.1:9/verified")),
        UnexpectedResponseError,
        status=status,
        operation="validate_code",
    )
row(
    "101 to validate-code",  # which the HTTP parser refuses, since no upgrade was asked for
    replies(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    OutcomeUnknownError,
    operation="validate_code",
)
for status in (402, 407, 418, 421, 423, 426, 431, 451, 499):
    row(f"{status}, which the contract does not know", replies(raw(status, b"")), APIError, False, status=status)
for status in (505, 511, 520, 599, 600, 999):
    row(f"{status}, which the contract does not know", replies(raw(status, b"")), APIError, True, status=status)
for code, kind in CODES.items():
    status = next(s for s, family in STATUSES.items() if issubclass(kind, family))
    body = json.dumps({"status": status, "code": code, "message": "in words"}).encode()
    row(
        f"{status} {code}",
        replies(raw(status, body)),
        kind,
        status >= 500 or code == "ABORTED",
        status=status,
        code=code,
    )
for status in STATUSES:
    for name, body in (
        ("no body", b""),
        ("HTML", b"<html>"),
        ("a null code", b'{"code":null}'),
        ("an array", b"[1]"),
        ("another shape", b'{"fault":{"faultstring":"x"}}'),
    ):
        row(f"{status} with {name}", replies(raw(status, body)), STATUSES[status], status >= 500, status=status)
row(
    "a 500 that says INVALID_OTP",
    replies(raw(500, b'{"code":"ONE_TIME_PASSWORD_SMS.INVALID_OTP"}')),
    errors.InvalidOTPError,
    True,
    status=500,
    operation="validate_code",
)
row(
    "a nested ErrorInfo",
    replies(raw(404, b'{"detail":{"code":"NOT_FOUND","status":404,"message":"x"}}')),
    errors.NotFoundError,
    False,
    status=404,
)
for value in ("0", "1", "99999999999", "-1", "soon", "Mon, 23 Nov 2026 12:00:00 GMT", "9" * 500):
    row(
        f"429 with Retry-After: {value[:30]}",
        replies(raw(429, b'{"code":"TOO_MANY_REQUESTS"}', b"Retry-After: " + value.encode())),
        errors.TooManyRequestsError,
        False,
        status=429,
    )
    row(
        f"503 with Retry-After: {value[:30]}",
        replies(raw(503, b"", b"Retry-After: " + value.encode())),
        errors.HTTP503Error,
        True,
        status=503,
    )
row(
    "401 without another token",
    replies(raw(401, b'{"code":"UNAUTHENTICATED"}')),
    errors.UnauthenticatedError,
    False,
    status=401,
)
for value in (b"", b"theirs", b"a b", b"x" * 300, b"caf\xe9", b"<script>alert(1)</script>"):
    row(f"a correlator that is {value[:12]!r}", replies(raw(200, SENT, b"x-correlator: " + value)), SendCodeResponse)

# --- TLS -------------------------------------------------------------------------------------------------------------
for tls in ("self_signed", "wrong_host", "expired"):
    row(f"a certificate that is {tls}", replies(raw()), RequestNotSentError, posts=0, tls=tls)
row("TLS of another age", replies(raw()), RequestNotSentError, posts=0, tls="ancient")
row("TLS that stalls", steps("hold"), RequestNotSentError, posts=0, tls="stalled", slow=True)
row("TLS that is closed at once", steps("close"), RequestNotSentError, posts=0, tls="stalled")
row("TLS that is reset at once", steps("reset"), RequestNotSentError, posts=0, tls="stalled")
row("plain HTTP where TLS was expected", steps(("send", raw()), "close"), RequestNotSentError, posts=0, tls="stalled")
row(
    "TLS that drips its handshake",
    steps(("drip", b"\x16\x03\x03\x00\x7a\x02" + b"\x00" * 60, 0.05)),
    RequestNotSentError,
    posts=0,
    tls="stalled",
    slow=True,
)
row("TLS closed after the request", steps("request", "close"), OutcomeUnknownError, tls="tls")
row("TLS reset after the request", steps("request", "reset"), OutcomeUnknownError, tls="tls")
row(
    "TLS cut in the middle of the body",
    steps("request", ("send", raw()[:-10]), "close"),
    OutcomeUnknownError,
    tls="tls",
)

# --- Redirects that no library can read ------------------------------------------------------------------------------
for location in (
    "https:login",
    "about:blank",
    "urn:x",
    "javascript:alert(1)",
    "//",
    "http://[::1",
    "\xff",
    "http://x:y/",
):
    for operation in ("send_code", "validate_code"):
        row(
            f"302 to {location!r}, {operation}",
            replies(raw(302, b"", b"Location: " + location.encode("latin-1"))),
            UnexpectedResponseError,
            status=302,
            operation=operation,
            kind="location",
        )

# --- Bytes after a response, and other reasons to use a connection only once -----------------------------------------
OTHER_ID = "00000000-0000-4000-8000-000000000000"
WRONG = raw(400, b'{"code":"ONE_TIME_PASSWORD_SMS.INVALID_OTP"}')


def first_then(first, rest):
    """Respond to the first request of the first connection, and refuse a second one on it; respond to all others."""

    async def script(c):
        used = False
        while await c.request():
            if c.number == 1 and not used:
                await c.send(first)
            else:
                await c.send(raw(500, b"", b"X-Reused: 1") if used else rest)
            used = True

    return script


for name, first in (
    ("a stray 204", raw() + raw(204, b"")),
    ("a stray 204 behind chunks", raw(200, chunked(SENT), CHUNKED) + raw(204, b"")),
    ("half a stray", raw() + b"HTTP/1.1 204"),
    ("a stray line end", raw() + b"\r\n"),
    ("a stray interim response", raw() + b"HTTP/1.1 100 Continue\r\n\r\n"),
    ("a status line of HTTP/1.2", raw(version="1.2")),
    ("Transfer-Encoding with Content-Length", raw(200, chunked(SENT), CHUNKED, b"Content-Length: %d" % len(SENT))),
    ("Connection: close", raw(200, SENT, b"Connection: close")),
):
    for tls in (None, "tls"):
        row(
            f"a wrong code after {name}{' over TLS' if tls else ''}",
            first_then(first, WRONG),
            errors.InvalidOTPError,
            False,
            operation="validate_code",
            warm=1,
            first="send_code",
            kind=None if name == "Connection: close" else "stray",
            tls=tls,
        )
row(
    "a text after the stray response of another text",
    first_then(raw() + raw(200, SENT.replace(ID.encode(), OTHER_ID.encode())), raw()),
    SendCodeResponse,
    warm=1,
    kind="stray",
)
row(
    "fine, 50 interim responses",
    replies(b"HTTP/1.1 102 Processing\r\n\r\n" * 50 + raw(204, b"")),
    ValidateCodeResponse,
    operation="validate_code",
)
row("fine, HTTP/1.2", replies(raw(version="1.2")), SendCodeResponse)
row("HTTP/0.9", replies(SENT, then="close"), OutcomeUnknownError)
row("HTTP/3", replies(b"HTTP/3 200 OK\r\n\r\n" + SENT, then="close"), OutcomeUnknownError)
row("ICY", replies(b"ICY 200 OK\r\n\r\n" + SENT, then="close"), OutcomeUnknownError)
row(
    "a body of one-byte chunks",
    steps("request", ("send", raw(200, b"", CHUNKED)), ("flood", b"1\r\nx\r\n" * 1000, 200)),
    UnexpectedResponseError,
    status=200,
)

# --- A proxy that answers CONNECT ------------------------------------------------------------------------------------
for host in MISBEHAVING:
    row(
        f"a proxy: {host}",
        replies(raw(204, b"")),
        RequestNotSentError,
        posts=0,
        tls="tls",
        only="proxy",
        host=host,
        operation="validate_code",
        slow=host in ("drips.example", "silent.example"),
    )

# --- A caller's client whose own code raises -------------------------------------------------------------------------


def transport(retries=0, mounted=False):
    """Create a client whose transport sends a request again, and at last fails over to a dead server."""

    def make(http, asynchronous):
        class FailOver(http.AsyncBaseTransport if asynchronous else http.BaseTransport):
            def __init__(self):
                self.inner = (http.AsyncHTTPTransport if asynchronous else http.HTTPTransport)(trust_env=False)

            def handle_request(self, request):
                for _ in range(1 + retries):
                    with suppress(http.TransportError):
                        return self.inner.handle_request(request)
                raise http.ConnectError("the second server is down")

            async def handle_async_request(self, request):
                for _ in range(1 + retries):
                    with suppress(http.TransportError):
                        return await self.inner.handle_async_request(request)
                raise http.ConnectError("the second server is down")

            def close(self):
                self.inner.close()

            async def aclose(self):
                await self.inner.aclose()

        return {"mounts": {"all://": FailOver()}} if mounted else {"transport": FailOver()}

    return make


def hook(event, error):
    """Create a client with a hook that raises."""

    def make(http, asynchronous):
        def raising(_):
            raise getattr(http, error)("raised by a hook")

        async def raising_async(_):
            raising(_)

        return {"event_hooks": {event: [raising_async if asynchronous else raising]}}

    return make


def auth(error=None):
    """Create a client with an auth flow that sends again after a 401, or raises after the response."""

    def make(http, asynchronous):
        class Auth(http.Auth):
            def auth_flow(self, request):
                response = yield request
                if error:
                    raise getattr(http, error)("raised by an auth flow")
                if response.status_code == 401:
                    yield request

        return {"auth": Auth()}

    return make


CALLERS = {"only": "caller's client"}
NO_TOKEN = {"options": {"token": None}}
LOST = steps("request", "close")
row("a transport that fails over", LOST, OutcomeUnknownError, caller=transport(), **CALLERS)
row("a transport that fails over, mounted", LOST, OutcomeUnknownError, caller=transport(mounted=True), **CALLERS)
row("a transport that sends again by itself", LOST, OutcomeUnknownError, caller=transport(1), **CALLERS)
row("a transport that finds no server", None, RequestNotSentError, posts=0, caller=transport(), **CALLERS)
for error in ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError"):
    row(
        f"a response hook raises {error}",
        replies(raw()),
        OutcomeUnknownError,
        caller=hook("response", error),
        **CALLERS,
    )
    row(f"an auth flow raises {error}", replies(raw()), OutcomeUnknownError, caller=auth(error), **CALLERS, **NO_TOKEN)
row(
    "a request hook raises",
    replies(raw()),
    RequestNotSentError,
    posts=0,
    caller=hook("request", "PoolTimeout"),
    **CALLERS,
)
row(
    "an auth flow that sends again after a 401",
    replies(raw(401), raw()),
    SendCodeResponse,
    posts=2,
    caller=auth(),
    **CALLERS,
    **NO_TOKEN,
)
