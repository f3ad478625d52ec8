"""A real Redis on loopback, one for each test."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.auth.server import TokenServer, serving


class Redis:
    """A redis-server process that can be stopped, continued and killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed; on Debian: apt-get install redis-server"
        self.process = subprocess.Popen(
            [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url, socket_timeout=5)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)
            else:
                return

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kept(self, pattern: str = "*") -> dict[bytes, bytes | None]:
        """Return all keys with their values."""
        return {name: self.client.get(name) for name in self.client.keys(pattern)}

    def end(self) -> None:
        self.client.close()
        self.signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    """Run a Redis."""
    running = Redis(tmp_path)
    yield running
    running.end()


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    """Run an authorization server."""
    with serving() as running:
        yield running
