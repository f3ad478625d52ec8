"""A check over real HTTP: what one answer leaves on a connection is not held against the next."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import httpx
import pytest

from camara_otp.conformance import Grade, Verdict, plan, run, sandbox_settings, scenarios, settings_from
from camara_otp.sandbox import Sandbox
from tests.conformance.wrong import DEFAULTS, SUCCESS_BODY


@contextmanager
def operator(sandbox, more_headers=(), rest=b""):
    """Serve a sandbox, with more headers and bytes after each 204."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet
        inner = sandbox.transport()

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked = httpx.Request(self.command, f"http://operator{self.path}", headers=dict(self.headers), content=body)
            answer = self.inner.handle_request(asked)
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
    """HTTP ends the answer before it, so that the rest stands where the next answer begins."""
    with operator(Sandbox(), headers, rest) as url:
        settings = settings_from({**sandbox_settings(url, DEFAULTS), "concurrency": 2})
        todo = plan(settings, scenarios("1.1.1"))
        report = anyio.run(partial(run, settings, todo, "good-token"), backend=backend)

    graded = {outcome.tag: outcome.grade for outcome in report.outcomes if outcome.grade}
    assert graded == ({SUCCESS_BODY: grade} if grade else {})
    assert report.count(Verdict.SKIP) == 0
