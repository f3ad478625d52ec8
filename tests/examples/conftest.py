"""An operator over HTTP, with the settings of the examples pointing to it."""

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from camara_otp.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
NUMBER = "+34666111222"


@attrs.frozen
class Served:
    """An operator and its URL."""

    operator: Sandbox
    url: str

    def environment(self, **more):
        """Return the environment of an example that is run as a program."""
        return os.environ | {"CAMARA_BASE_URL": self.url, "CAMARA_BEARER_TOKEN": "any", "PYTHONUNBUFFERED": "1"} | more

    def start(self, *arguments, **options):
        """Start an example as a user does, with pipes."""
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env=self.environment(**options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def served(monkeypatch):
    """Run an operator, and point the settings of this process to it."""
    operator = Sandbox()
    with operator.serve() as url:
        monkeypatch.setenv("CAMARA_BASE_URL", url)
        monkeypatch.setenv("CAMARA_BEARER_TOKEN", "any")
        yield Served(operator, url)
