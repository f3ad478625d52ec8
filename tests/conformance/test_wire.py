"""A check over real HTTP: a response does not affect the next one, and none fills the memory."""

import gzip
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import httpx
import pytest

from camara_otp.conformance import (
    Grade,
    UnreachableError,
    Verdict,
    plan,
    run,
    sandbox_settings,
    scenarios,
    settings_from,
)
from camara_otp.sandbox import Sandbox
from tests.conformance.wrong import DEFAULTS, OPTIONAL, SUCCESS_BODY


def reason_at(url, backend):
    """Return the error of a check of a URL that does not answer."""
    settings = settings_from({**sandbox_settings(url, DEFAULTS), "timeout": 5.0})
    with pytest.raises(UnreachableError) as caught:
        anyio.run(partial(run, settings, plan(settings, scenarios("1.1.1")), "t"), backend=backend)
    return str(caught.value).removeprefix(f"no response from {url}: ")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refused_connection_is_named(host, backend):
    """A host with several addresses is refused at each of them."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening, so that no other server takes the port

        assert reason_at(f"http://{host}:{taken.getsockname()[1]}", backend) == "connection refused"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_unknown_host_name_is_named(backend, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert reason_at("https://operator.example", backend) == "the host name could not be resolved"


@contextmanager
def operator(sandbox, more_headers=(), rest=b"", turned=lambda asked, answer: answer):
    """Serve a sandbox with more headers and bytes after each 204, and other changed responses."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet
        inner = sandbox.transport()

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked = httpx.Request(self.command, f"http://operator{self.path}", headers=dict(self.headers), content=body)
            answer = turned(asked, self.inner.handle_request(asked))
            answer.read()
            kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
            self.send_response(answer.status_code)
            for name, value in kept.items():
                self.send_header(name, value)
            if answer.status_code == 204:
                for name, value in more_headers:
                    self.send_header(name, value)
            else:
                self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(rest if answer.status_code == 204 else answer.content)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # the default of 5 resets connections of a check that opens 16 at once

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("headers", "rest", "grade"),
    [
        ([("content-length", "12")], b'{"ok": true}', Grade.DIFFERS),
        ([("transfer-encoding", "chunked")], b"0\r\n\r\n", Grade.DIFFERS),
        ([("content-length", "0")], b"", None),
        ([], b"", None),
        ([], b"stray", None),
    ],
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_body_after_a_204_fails_its_rule_and_no_other_scenario(headers, rest, grade, backend):
    """HTTP ends the response before it, so its bytes come where the next response begins."""
    with operator(Sandbox(), headers, rest) as url:
        settings = settings_from({**sandbox_settings(url, DEFAULTS), "concurrency": 2})
        todo = plan(settings, scenarios("1.1.1"))
        report = anyio.run(partial(run, settings, todo, "good-token"), backend=backend)

    graded = {outcome.tag: outcome.grade for outcome in report.outcomes if outcome.grade}
    assert graded == ({SUCCESS_BODY: grade} if grade else {})
    assert {outcome.tag for outcome in report.outcomes if outcome.verdict is Verdict.SKIP} == OPTIONAL


def test_a_cookie_of_one_answer_does_not_let_the_next_request_in():
    """A gateway may keep a session; the check judges the token."""
    seen = []

    def turned(asked, answer):
        if "_sandbox" not in asked.url.path:
            seen.append(asked.headers.get("cookie"))
        answer.headers["set-cookie"] = "session=open; Path=/"
        return answer

    with operator(Sandbox(), turned=turned) as url:
        settings = settings_from(sandbox_settings(url, DEFAULTS))
        assert anyio.run(partial(run, settings, plan(settings, scenarios("1.1.1")), "good-token")).is_good()

    assert set(seen) == {None}


@pytest.mark.parametrize(("coding", "times"), [("gzip, gzip", 2), ("br", 0), ("gzip", 0)])
def test_a_body_in_an_unrequested_coding_ends_at_once(coding, times):
    """Compressed twice, a few kilobytes become gigabytes."""
    body = b"0" * 3 * 10**8 if times else b"what is not packed"
    for _ in range(times):
        body = gzip.compress(body, 1)
    asked_for = []

    def turned(asked, answer):
        asked_for.append(asked.headers.get("accept-encoding"))
        if asked.content != b"{}":
            return answer
        # What a response is made of at once is unpacked at once.
        packed = httpx.Response(400, headers={"content-type": "application/json"}, content=body)
        packed.headers["content-encoding"] = coding
        return packed

    with operator(Sandbox(), turned=turned) as url:
        settings = settings_from(sandbox_settings(url, DEFAULTS))
        chosen = [scenario for scenario in scenarios("1.1.1") if "400.2" in scenario.tag]
        began = time.monotonic()
        report = anyio.run(partial(run, settings, plan(settings, chosen), "good-token"))

    assert time.monotonic() - began < 5
    assert {finding.text for outcome in report.outcomes[:2] for finding in outcome.findings} == {
        "no response: a content coding that is broken or was not asked for"
    }
    assert set(asked_for) == {"identity"}
