"""Nothing leaks: random secrets are hunted for in everything that a call leaves behind.

The server echoes each secret, in every escaping that servers use, in bodies, headers, status lines and reason phrases.
What is searched: results, errors and their chains, tracebacks with locals, pickles, log records of every logger at
DEBUG, warnings. The oracle undoes escapings by the standard library's own decoders, not by the code under test.
"""

import asyncio
import base64
import copy
import html
import json
import logging
import pickle
import re
import signal
import socket
import time
import traceback
import warnings
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import anyio
import pytest
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st

from camara_otp import AsyncOTPClient, OTPClient, OTPError, SendCodeRequest, ValidateCodeRequest
from camara_otp._redaction import redact
from tests.faults.drive import ARGUMENTS, SECRETS, TOKEN
from tests.faults.scenarios import raw
from tests.http import httpx

VISIBLE = [chr(c) for c in range(33, 127)]
WORDS = st.text(st.sampled_from("abcxyz" + "ABCXYZ"), min_size=6, max_size=12)


def secret(alphabet, low, high):
    """Draw strings that no message of the package contains by chance: letters inside keep them apart."""
    return st.builds("{}{}".format, WORDS.map("Qj{}".format), st.text(alphabet, min_size=low, max_size=high))


TOKENS = secret(st.sampled_from(VISIBLE), 4, 40)
IDS = secret(st.characters(exclude_categories=["Cs"]), 0, 20)
# A code is short: four letters that no English word holds, and whatever else fits.
CODES = st.text(st.sampled_from("QJXZ"), min_size=4, max_size=6).flatmap(
    lambda start: st.text(st.characters(exclude_categories=["Cs"]), max_size=4).map(start.__add__)
)
MESSAGES = secret(st.characters(exclude_categories=["Cs"]), 0, 100).map("{{{{code}}}} {}".format)
NUMBERS = st.integers(10**9, 10**14).map("+{}".format)


def _numeric(text, form):
    return "".join(c if c.isalnum() and c.isascii() else form.format(ord(c)) for c in text)


ECHOES = {
    "plain": str,
    "JSON in ASCII": lambda s: json.dumps(s)[1:-1],
    "JSON in UTF-8": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "JSON with escaped slashes": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "JSON made safe for HTML": lambda s: json.dumps(s)[1:-1].translate(
        {ord(c): f"\\u{ord(c):04x}" for c in "<>&'+={}"}
    ),
    "JSON in upper-case hexadecimal": lambda s: json.dumps(s)[1:-1].translate(
        {ord(c): f"\\u{ord(c):04X}" for c in "<>&'+={}/"}
    ),
    "JSON, every character escaped": lambda s: "".join(
        f"\\u{unit:04x}" for unit in memoryview(s.encode("utf-16-le")).cast("H")
    ),
    "HTML": html.escape,
    "HTML without quotes": lambda s: html.escape(s, quote=False),
    "HTML, decimal": lambda s: _numeric(s, "&#{};"),
    "HTML, hexadecimal": lambda s: _numeric(s, "&#x{:X};"),
    "HTML of JSON": lambda s: html.escape(json.dumps(s)[1:-1]),
    "percent": lambda s: quote(s, safe=""),
    "percent, slashes kept": quote,
    "percent, lower case": lambda s: re.sub("%..", lambda found: found[0].lower(), quote(s, safe="")),
    "percent, as JavaScript does": lambda s: quote(s, safe="!'()*"),
    "form": quote_plus,
    "percent twice": lambda s: quote(quote(s, safe=""), safe=""),
}


def decoded(text):
    """Return the readings of a string, with its escapes undone."""
    seen = {text}
    if not re.search(r"[%&\\+]", text):
        return seen
    for _ in range(2):
        for reading in tuple(seen):
            seen |= {html.unescape(reading), unquote(reading), unquote_plus(reading), _without_backslashes(reading)}
    return seen


def _without_backslashes(text):
    def one(found):
        escape = found[1]
        if escape[0] == "u":
            return chr(int(escape[1:], 16))
        return {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}.get(escape, escape)

    text = re.sub(r"\\(u[0-9a-fA-F]{4}|[^u])", one, text, flags=re.DOTALL)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def left_behind(outcome):
    """Return every string that a result or an error can become, by name."""
    yield "str", str(outcome)
    yield "repr", repr(outcome)
    yield "notebook", outcome._repr_html_()
    if not isinstance(outcome, BaseException):
        return
    for way, travelled in (("pickle", pickle.loads(pickle.dumps(outcome))), ("deep copy", copy.deepcopy(outcome))):
        yield way, f"{travelled} {travelled.__dict__} {travelled.args}"
    yield "pickled bytes", pickle.dumps(outcome, 0).decode("latin-1")
    chain, error = [], outcome
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    for error in chain:
        yield "attributes", f"{error} {error!r} {error.args} {getattr(error, '__dict__', '')}"
        frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
        for frame in frames:
            # The thread that runs an event loop for the tests holds the call that it was given.
            if not re.search(r"/tests/|hypothesis|from_thread|/asyncio/|/concurrent/", frame.filename):
                yield f"locals of {frame.name} in {frame.filename}", repr(frame.locals)


def hunt(texts, secrets):
    """Fail if a secret is in a string, in any reading of it."""
    for text, where in {text: where for where, text in texts}.items():
        for reading in decoded(text):
            for name, value in secrets.items():
                assert value not in reading, f"the {name} is in the {where}: {text[:300]}"


class _Records(logging.Handler):
    def __init__(self):
        super().__init__(logging.DEBUG)
        self.texts = []

    def emit(self, record):
        self.texts.append((f"log of {record.name}", f"{record.getMessage()} {record.args}"))


@pytest.fixture
def records():
    """Listen to every logger at DEBUG."""
    handler, root = _Records(), logging.getLogger()
    before = root.level
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    for name in ("httpx", "httpcore", "camara_otp", "asyncio", "urllib3"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


SHAPES = {
    "200 as the id": lambda e: raw(200, json.dumps({"authenticationId": 7, "echo": e}).encode()),
    "200 that is no JSON": lambda e: raw(200, e.encode()),
    "302": lambda e: raw(302, e.encode(), b"Location: https://x.example/?t=" + quote(e).encode()),
    "400 as message": lambda e: raw(400, json.dumps({"code": "INVALID_ARGUMENT", "message": f"no {e} here"}).encode()),
    "400 as raw message": lambda e: raw(400, b'{"code":"INVALID_ARGUMENT","message":"' + e.encode() + b'"}'),
    "400 as code": lambda e: raw(400, json.dumps({"code": e}).encode()),
    "401 as text": lambda e: raw(401, f"Your token {e} is bad".encode()),
    "403 nested": lambda e: raw(403, json.dumps({"detail": {"code": f"X{e}", "message": e}}).encode()),
    "403 inside a word": lambda e: raw(403, f"<p>{e}{e}</p>".encode()),
    "404 of unknown shape": lambda e: raw(404, b'{"fault": {"text": "' + e.encode() + b'"}}'),
    "429": lambda e: raw(429, e.encode(), b"Retry-After: " + quote(e).encode()),
    "500 across the limit of the excerpt": lambda e: raw(500, ("x" * 190 + e).encode()),
    "500 cut off": lambda e: raw(500, e.encode(), length=5000),
    "503 in the reason": lambda e: raw(503, b"", reason=quote(e)),
    "a correlator": lambda e: raw(400, b"", b"x-correlator: " + re.sub(rb"[^!-~]", b"", e.encode())),
    "a header": lambda e: raw(400, b"", b"WWW-Authenticate: Bearer error=" + quote(e).encode()),
    "a coding": lambda e: raw(200, b"{}", b"Content-Encoding: " + quote(e).encode()),
    "a length": lambda e: raw(200, b"{}", length=quote(e)),
    "a transfer coding": lambda e: raw(200, b"{}", b"Transfer-Encoding: " + quote(e).encode()),
    "a header's name": lambda e: raw(200, b"{}", quote(e).encode() + b" : x"),
    "no HTTP at all": lambda e: quote(e).encode() + b"\r\n\r\n",
    "nothing": lambda e: b"",
}
# What httpcore's own log at DEBUG shows of an answer is its head; SECURITY.md says so.
IN_THE_HEAD = {
    *("302", "429", "503 in the reason", "a correlator", "a header", "a coding", "a length", "a transfer coding"),
    *("a header's name", "no HTTP at all"),
}
_slow = settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _outcome(call):
    try:
        return call()
    except OTPError as error:
        return error


@pytest.mark.parametrize("shape", SHAPES)
def test_no_secret_is_left_behind_by_a_failure(faults, shell_sync, records, shape):
    """In any place of the response, and with any escaping."""
    answer = [b""]

    async def script(c):
        while await c.request():
            if not answer[0]:
                break
            await c.send(answer[0])
            if shape in ("500 cut off", "no HTTP at all"):
                break
        c.close()

    listener = faults.listen(script)
    client = shell_sync.client(f"http://127.0.0.1:{listener.port}", retry=None, timeout=0.5)

    @_slow
    @given(
        st.sampled_from(list(ECHOES)),
        TOKENS,
        NUMBERS,
        MESSAGES,
        IDS,
        CODES,
        st.sampled_from(["token", "number", "message", "id", "code"]),
    )
    @example(
        "JSON with escaped slashes",
        "Qjabcabc/abc+abc=",
        "+346661113334",
        "{{code}} Qjabcabc/",
        "Qja/b",
        "QJ/X",
        "token",
    )
    @example("plain", "Qjabcabc", "+346661113334", "{{code}} Qjabcabc", "Qjabcabc", "QJXZ", "code")
    def hunted(echo, token, number, message, authentication_id, code, which):
        secrets = {"token": token, "number": number[1:], "message": message, "id": authentication_id, "code": code}
        answer[0] = b"" if shape == "nothing" else SHAPES[shape](ECHOES[echo](secrets[which]))
        records.texts.clear()
        sending = which in ("token", "number", "message")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if sending:
                outcome = _outcome(lambda: client.send_code(number, message, token=token))
                request = SendCodeRequest(number, message)
            else:
                outcome = _outcome(lambda: client.validate_code(authentication_id, code, token=token))
                request = ValidateCodeRequest(authentication_id, code)
        used = ("token", "number", "message") if sending else ("token", "id", "code")
        hunt(
            [*left_behind(outcome), ("request", repr(request))]
            + records.texts
            + [("warning", str(entry.message)) for entry in caught],
            {name: secrets[name] for name in used},
        )

    hunted()


@pytest.mark.parametrize("cap", range(20, 64, 4))
def test_a_secret_cut_by_the_cap_is_not_shown_in_part(faults, shell_sync, cap):
    """If a body is cut within an echo, the beginning of the echo is not shown."""
    token = "QjTokenThatIsLongEnoughToBeCutSomewhere"

    async def script(c):
        while await c.request():
            await c.send(raw(403, f"refused: {token} is no token".encode()))

    listener = faults.listen(script)
    client = shell_sync.client(f"http://127.0.0.1:{listener.port}", max_response_bytes=cap, token=token, retry=None)
    error = _outcome(lambda: client.send_code("+346661113334", "{{code}}"))

    assert token[:6] not in f"{error} {error.__dict__}"


HOSTILE = ["\\", "\\u", "\\u0041", "&", "&amp;", "&#", "%", "%25", "%41", "Qj", "+", "&a", "\\n", "%2", "\u0130", "0"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_body_makes_looking_for_secrets_slow(piece):
    """A body that fills the cap is searched in half of a deadline at most; a quadratic search took 20 s."""
    body = (piece * 65536)[:65536]
    for secret in ("QjQjQjQjQjx", "AAAAAAAAAAB", "\\\\\\\\x", "&&&&&&&&x", "+46661113334", "J77", "0" * 36):
        began = time.process_time()
        redact(body, (secret,))
        assert time.process_time() - began < 5  # 0.3 s, but coverage and another process may make it 2 s


def test_no_secret_is_left_behind_on_the_way_to_success(faults, shell, records):
    """Results, logs of every library and warnings, in all modes, with headers that echo the request."""
    secrets = {
        "token": "QjToken/abc+def==",
        "number": "34666111333444",
        "message": "{{code}} QjMessage",
        "id": "QjAuthenticationId",
        "code": "QjCode7",
    }

    async def script(c):
        while await c.request():
            echo = b"X-Echo: " + " ".join(secrets.values()).encode()
            if b"/send-code" in c.head:
                await c.send(raw(200, json.dumps({"authenticationId": secrets["id"]}).encode(), echo))
            else:
                await c.send(raw(204, b"", echo))

    listener = faults.listen(script)
    client = shell.client(f"http://127.0.0.1:{listener.port}", token=secrets["token"])
    sent = client.send_code("+" + secrets["number"], secrets["message"])
    checked = client.validate_code(sent.authentication_id, secrets["code"])

    texts = [("repr", repr([sent, checked, client.client])), ("client", str(vars(type(client.client)).keys()))]
    hunt(texts + records.texts, secrets)
    assert any(where == "log of camara_otp" for where, _ in records.texts)


def test_no_secret_is_left_behind_when_nothing_answers(faults, shell, records):
    """Refused, reset, too late, in all modes: frames, chains and logs."""
    secrets = {"token": "QjTokenOfTheTests", "number": "34666111333444", "message": "{{code}} QjMessage"}

    async def hold(c):
        await c.request()
        await c.sleep(1)

    async def reset(c):
        await c.request()
        c.reset()

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ports = [faults.listen(hold).port, faults.listen(reset).port, unused.getsockname()[1]]
        for port in ports:
            client = shell.client(f"http://127.0.0.1:{port}", token=secrets["token"], timeout=0.3)
            outcome = _outcome(lambda: client.send_code("+" + secrets["number"], secrets["message"]))  # noqa: B023
            assert isinstance(outcome, OTPError)
            hunt([*left_behind(outcome), *records.texts], secrets)


@_slow
@given(token=st.text(min_size=8, max_size=30), number=st.text(max_size=25), message=st.text(max_size=200))
def test_a_refused_argument_is_not_repeated(shell_sync, token, number, message):
    """The message has field, rule and remedy, and never the value."""
    number, message, token = f"Qjnumber{number}", f"Qjmessage{message}", f"Qjtoken {token}"
    client = shell_sync.client("https://api.example.com")
    for call in (
        lambda: client.send_code(number, "{{code}}"),
        lambda: client.send_code("+346661113334", message),
        lambda: client.validate_code(message * 5, "1"),
        lambda: client.validate_code("1", number * 3),
        lambda: client.send_code("+346661113334", "{{code}}", token=token),
    ):
        outcome = _outcome(call)
        assume("{{code}}" not in message)
        assert isinstance(outcome, OTPError)
        for where, text in left_behind(outcome):
            assert "Qj" not in text, (where, text)


@pytest.mark.parametrize("echo", ECHOES)
def test_the_client_secret_is_not_repeated_by_a_token_error(faults, shell_sync, records, echo):
    """The token endpoint echoes the request in every escaping."""
    from camara_otp.auth import ClientCredentials

    client_secret = "QjClient/Secret+of=the&tests"
    basic = base64.b64encode(f"app:{quote_plus(client_secret)}".encode()).decode()
    shapes = [
        lambda e: raw(401, b'{"error":"invalid_client","error_description":"' + e.encode() + b'"}'),
        lambda e: raw(400, json.dumps({"error": e, "error_description": f"bad {e}"}).encode()),
        lambda e: raw(400, f"<p>{e}</p>".encode()),
        lambda e: raw(200, json.dumps({"access_token": 7, "echo": e}).encode()),
        lambda e: raw(200, json.dumps({"access_token": f"a b {e}", "token_type": "Bearer"}).encode()),
    ]
    for shape in shapes:
        for value in (client_secret, basic):
            echoed = shape(ECHOES[echo](value))

            async def script(c, answer=echoed):
                while await c.request():
                    await c.send(answer)

            url = f"http://127.0.0.1:{faults.listen(script).port}"
            for way in ("client_secret_basic", "client_secret_post"):
                provider = ClientCredentials(f"{url}/token", "app", client_secret=client_secret, client_auth=way)
                client = shell_sync.client(url, token=provider, timeout=0.5, retry=None)
                outcome = _outcome(lambda: client.send_code("+346661113334", "{{code}}"))  # noqa: B023
                assert isinstance(outcome, OTPError)
                hunt(
                    [*left_behind(outcome), ("provider", repr(provider)), *records.texts],
                    {"client secret": client_secret} | ({"credentials": basic} if way.endswith("basic") else {}),
                )


class _Interruption(BaseException):
    """Raised by a signal handler, as KeyboardInterrupt is."""


@pytest.mark.parametrize("echo", [False, True], ids=["silent", "echo"])
@pytest.mark.parametrize("method", ["send_code", "validate_code"])
@pytest.mark.parametrize("theirs", [False, True], ids=["default transport", "caller's client"])
def test_an_interrupted_call_leaves_no_secret_in_the_traceback(faults, echo, method, theirs):
    """By a signal or a timeout: no waiting frame shows the request, and no frame of the package the response."""

    async def script(c):
        await c.request()
        if echo:
            await c.send(raw(200, b'{"authenticationId":"zq-id"}', b"X-Echo: zq-echo", length=100))
        await anyio.sleep(2)

    url = f"http://127.0.0.1:{faults.listen(script).port}"
    arguments = ARGUMENTS[method]

    def interrupt(*_):
        raise _Interruption

    def sync():
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with (
                httpx.Client() as http_client,
                OTPClient(url, token=TOKEN, http_client=http_client if theirs else None) as client,
            ):
                signal.setitimer(signal.ITIMER_REAL, 0.15)
                getattr(client, method)(*arguments)
        finally:
            signal.signal(signal.SIGALRM, before)

    async def asynchronous():
        async with (
            httpx.AsyncClient() as http_client,
            AsyncOTPClient(url, token=TOKEN, http_client=http_client if theirs else None) as client,
            asyncio.timeout(0.15),
        ):
            await getattr(client, method)(*arguments)

    for run in (sync, lambda: asyncio.run(asynchronous())):
        with pytest.raises((_Interruption, TimeoutError)) as caught:
            run()
        frames = list(frames_of(caught.value))
        assert any("camara_otp/_exchange" in frame.filename for frame in frames)
        for frame in frames:
            if not echo or "camara_otp" in frame.filename:
                assert not [s for s in SECRETS if s in repr(frame.locals)], frame.name


def frames_of(error):
    """Return every frame of an exception and its chain, with locals, without those of the tests."""
    while error is not None:
        stack = traceback.TracebackException.from_exception(error, capture_locals=True).stack
        yield from (frame for frame in stack if "/tests/" not in frame.filename)
        error = error.__cause__ or error.__context__
