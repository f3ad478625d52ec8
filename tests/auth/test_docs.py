"""The two pages about tokens: every example runs, and every name and figure is right."""

import contextlib
import inspect
import io
import re
from pathlib import Path

import pytest
from joserfc import jwk

from camara_otp import auth
from camara_otp.auth import ClientCredentials, TokenStore
from camara_otp.auth.responses import REMEDIES
from camara_otp.auth.sharing import LOCK_SECONDS
from camara_otp.sandbox import Sandbox

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text("utf-8") for name in ("tokens.md", "share-tokens.md")}
EXAMPLES = [
    pytest.param(example, id=f"{name}-{number}")
    for name, page in PAGES.items()
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", page, re.DOTALL), 1)
]


@pytest.fixture(scope="module")
def url():
    """Run an operator with its authorization server."""
    with Sandbox(max_send=1000).serve() as url:
        yield url


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_runs(example, url, tmp_path, monkeypatch):
    """It runs against the sandbox, and prints the output in its comments."""
    (tmp_path / "key.pem").write_bytes(jwk.ECKey.generate_key("P-256").as_pem(private=True))
    monkeypatch.chdir(tmp_path)
    program = example.replace("https://auth.example.com", url).replace("https://api.example.com/camara", url)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "example", "exec"), {"__name__": "example"})

    for line in printed.getvalue().splitlines():
        assert f"# {line}" in example


def test_every_known_error_is_on_the_page_or_close_to_it():
    """Each code in the table exists."""
    named = set(re.findall(r"^\| (`.*?) \|", PAGES["tokens.md"], re.MULTILINE))
    codes = {code for cell in named for code in re.findall(r"`([a-z_]+)`", cell)} & set(REMEDIES)

    assert {"invalid_client", "invalid_grant", "invalid_scope", "access_denied", "unknown_user_id"} <= codes


def test_the_figures_on_the_pages_are_those_of_the_code():
    """Leeway, timeouts and the lock's time."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(ClientCredentials).parameters.items()}

    assert f"leeway={defaults['leeway']:g}" in PAGES["tokens.md"]
    assert f"timeout={defaults['timeout']:g}" in PAGES["tokens.md"]
    assert LOCK_SECONDS == 4.0
    assert "expires after four seconds" in PAGES["share-tokens.md"]


def test_the_stores_methods_are_the_protocols():
    """The class on the page and the protocol have the same methods."""
    page = re.findall(r"^    def (\w+)\(", PAGES["share-tokens.md"], re.MULTILINE)

    assert page == [name for name, value in vars(TokenStore).items() if callable(value) and name[0] != "_"]


def test_public_names_are_sorted_and_there():
    """`__all__` is complete."""
    assert sorted(auth.__all__) == auth.__all__
    assert all(hasattr(auth, name) for name in auth.__all__)
