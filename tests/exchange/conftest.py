"""A real server on loopback, one driver for the sync and the async exchange, and the fault server."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from camara_otp._exchange import Outgoing, open_exchange
from tests.conftest import Shell
from tests.faults.conftest import faults

__all__ = ["faults"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Response each request on each connection with the same bytes; count both."""

    def __init__(self) -> None:
        self.answer = OK
        self.pause = 0.0
        self.requests: list[bytes] = []
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.origin = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            data = b""
            while chunk := sock.recv(65536):
                data += chunk
                head, _, body = data.partition(b"\r\n\r\n")
                if len(body) < int(re.search(rb"content-length: (\d+)", head.lower() + b"content-length: 9999999")[1]):
                    continue
                self.requests.append(data)
                data = b""
                time.sleep(self.pause)
                sock.sendall(self.answer)
        except OSError:
            pass

    def close(self) -> None:
        self._listening.close()
        for sock in self._open:
            sock.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """Run a server that counts its requests."""
    running = Server()
    yield running
    running.close()


def parts(answer):
    """Return the values of a response, to compare them."""
    return answer.status, list(answer.headers), bytes(answer.body), answer.fault


class DrivenExchange:
    """An exchange whose methods are called synchronously."""

    def __init__(self, shell: Shell, origin: str, cap: int = 65536, http_client=None) -> None:
        self._shell = shell
        kind = "AsyncClient" if shell.is_async else "Client"
        self.exchange = open_exchange(origin, max_response_bytes=cap, kind=kind, http_client=http_client)

    def request(self, *, seconds=5.0, connect_timeout=None, headers=(), body=b"{}", target="/x?a=1"):
        return self._shell.call(
            partial(
                self.exchange.arequest if self._shell.is_async else self.exchange.request,
                Outgoing("POST", target, list(headers), body, time.monotonic() + seconds, connect_timeout),
            )
        )

    def close(self):
        self.exchange.close()


@pytest.fixture
def new_exchange(shell):
    """Open exchanges that are closed when the test ends."""
    exchanges = []

    def opened(*args, **options) -> DrivenExchange:
        exchanges.append(DrivenExchange(shell, *args, **options))
        return exchanges[-1]

    yield opened
    for each in exchanges:
        each.close()
