"""An authorization server on loopback with scripted responses."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

Reply = tuple[int, dict[str, str], bytes]


def answer(status: int = 200, headers: dict[str, str] | None = None, **body: Any) -> Reply:
    """Return a JSON answer."""
    return status, {"Content-Type": "application/json"} | (headers or {}), json.dumps(body).encode()


class Seen:
    """One request as it arrived."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.pairs = parse_qsl(body.decode(), keep_blank_values=True)
        self.form = dict(self.pairs)


class TokenServer:
    """Issue `token-1`, `token-2`, ... until told otherwise by `replies` (taken in turn) or `reply`."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.replies: list[Callable[[Seen], Reply] | Reply] = []
        self.reply: Callable[[Seen], Reply] | None = None
        self.expires_in: Any = 3600
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, fields, content = server.respond(Seen(self.command, self.path, headers, body))
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                if "Content-Length" not in fields:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = handle_any  # noqa: N815 - the names that http.server calls

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *args: object) -> None:
                pass

        self.http = Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.http.server_port}"
        self.url = f"{self.origin}/token"

    def respond(self, seen: Seen) -> Reply:
        with self._lock:
            self.seen.append(seen)
            number = len(self.seen)
            reply = self.replies.pop(0) if self.replies else self.reply
        self.gate.wait(10)
        if reply is None:
            return answer(access_token=f"token-{number}", token_type="Bearer", expires_in=self.expires_in)
        return reply(seen) if callable(reply) else reply

    @property
    def count(self) -> int:
        return len(self.seen)


@contextmanager
def serving() -> Iterator[TokenServer]:
    """Run an authorization server for the length of a `with` block."""
    server = TokenServer()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.gate.set()
    server.http.shutdown()
    thread.join(10)
    server.http.server_close()
