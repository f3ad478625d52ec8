"""A sandbox on a port, and the command line called as a user calls it."""

import io
import json
import logging

import pytest

from camara_otp.cli.app import run_command
from camara_otp.sandbox import Sandbox

TOKEN = "token-of-the-command-line"


class Ran:
    """The exit code and the outputs of a command."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)


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
    """Undo the logging setup of `--verbose`."""
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
def cli(monkeypatch, capsys):
    """Return a function that runs a command in this process."""

    def run(*arguments, stdin=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        return Ran(run_command([str(part) for part in arguments]), *capsys.readouterr())

    return run


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
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def person(monkeypatch):
    """Let standard input count as a terminal."""
    monkeypatch.setattr("camara_otp.cli.prompts.at_terminal", lambda: True)
