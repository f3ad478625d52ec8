"""A sandbox on a port, and the command line called as a user calls it."""

import json
import logging

import pytest
from typer.testing import CliRunner

from camara_otp.cli.app import app
from camara_otp.sandbox import Sandbox

TOKEN = "token-of-the-command-line"


class Ran:
    """What a command left behind."""

    def __init__(self, result):
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr
        self.error = result.exception

    @property
    def json(self):
        # What the runner was given on standard input is echoed before it.
        return json.loads(self.out[min(at for at in map(self.out.find, "{[") if at >= 0) :])


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """Keep the files of this machine's user out of the tests."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("CAMARA_PROFILE", "CAMARA_PROFILES", "CAMARA_CLIENT_ID", "CAMARA_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


@pytest.fixture(autouse=True)
def quiet():
    """Take back what `--verbose` does to the log of this process."""
    logger = logging.getLogger("camara_otp")
    handlers, level = logger.handlers, logger.level
    yield
    logger.handlers = handlers
    logger.setLevel(level)


@pytest.fixture
def sandbox():
    """Return a sandbox."""
    return Sandbox()


@pytest.fixture
def url(sandbox):
    """Serve it."""
    with sandbox.serve() as url:
        yield url


@pytest.fixture
def cli():
    """Return a function that runs a command."""
    return lambda *arguments, stdin=None: Ran(CliRunner().invoke(app, [str(part) for part in arguments], input=stdin))


@pytest.fixture
def ready(monkeypatch, url):
    """Set the operator and the token in the environment."""
    monkeypatch.setenv("CAMARA_BASE_URL", url)
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", TOKEN)
    return url


@pytest.fixture
def profiles(home):
    """Return a function that writes the file of profiles."""

    def write(text):
        path = home / "XDG_CONFIG_HOME" / "camara-otp" / "profiles.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.fixture
def person(monkeypatch):
    """Put somebody at the terminal."""
    for module in ("outcome", "app", "check"):
        monkeypatch.setattr(f"camara_otp.cli.{module}.at_terminal", lambda: True)
