"""Every example of the pages runs: what a reader copies works.

A block marked `python` runs, in process, against the sandbox; the blocks of one page share their names, as a reader
goes from top to bottom, and may await. Whatever host they call, but for a sandbox that they serve themselves, is the
prepared operator, which is at hand as `operator`, with a client as `otp`; its codes read AJY3. A block that cannot
run says why: `python no-run: the reason`.
"""

import ast
import inspect
import re
import warnings
from pathlib import Path

import anyio
import httpx
import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from camara_otp import OTPClient
from camara_otp.sandbox import Sandbox

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
    if path.exists() and "_build" not in path.parts
]
FENCE = re.compile(r"^( *)```python([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


def blocks(path):
    """Return the Python blocks of a page: line number, what is said after `python`, source."""
    text = path.read_text("utf-8")
    return [
        (text.count("\n", 0, found.start()) + 2, found[2].strip(), inspect.cleandoc("\n" + found[3]))
        for found in FENCE.finditer(text)
    ]


def links(path):
    """Return the pages that a page links to, as a code host shows it: without fenced blocks and comments."""
    shown = re.sub(r"^( *)```.*?^\1```$|<!--.*?-->", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {(path.parent / target).resolve() for target in re.findall(r"\]\(([^):#\s]+\.md)(?:#[^)]*)?\)", shown)}


def served_by_the_page(url):
    """Return whether a URL is that of a sandbox of the page, not of the one in the tutorial's terminal."""
    return url.host in {"127.0.0.1", "localhost", "::1"} and url.port != 9091


@pytest.fixture
def operator(monkeypatch):
    """Respond for every host but this machine."""
    monkeypatch.setattr("camara_otp.sandbox.operator.Operator._code", lambda _: "AJY3")
    operator = Sandbox(max_send=1000)
    for library in (httpx, httpx2):
        replace_transports(library, operator.transport(), monkeypatch)
    return operator


def replace_transports(library, transport, monkeypatch):
    """Let both transports of httpx or httpx2 carry requests to the sandbox."""
    direct, adirect = library.HTTPTransport.handle_request, library.AsyncHTTPTransport.handle_async_request

    def handle(self, request):
        return direct(self, request) if served_by_the_page(request.url) else transport.handle_request(request)

    async def ahandle(self, request):
        if served_by_the_page(request.url):
            return await adirect(self, request)
        return await transport.handle_async_request(request)

    monkeypatch.setattr(library.HTTPTransport, "handle_request", handle)
    monkeypatch.setattr(library.AsyncHTTPTransport, "handle_async_request", ahandle)


def run_page(path, sources, operator, monkeypatch, folder):
    """Run blocks from top to bottom, as `(line, source)`, with warnings as errors."""
    monkeypatch.chdir(folder)
    (folder / "key.pem").write_bytes(KEY)
    monkeypatch.setenv("CAMARA_BASE_URL", "https://api.example.com/camara")
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", "token-of-the-docs")
    monkeypatch.setattr("builtins.input", lambda prompt="": "AJY3")
    with OTPClient() as otp:
        names = {"__name__": "docs", "operator": operator, "otp": otp}

        async def page():
            for line, source in sources:
                filling = "\n" * (line - 1) + source
                code = compile(filling, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                result = eval(code, names)
                if inspect.iscoroutine(result):
                    await result

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            anyio.run(page)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_runs(path, operator, monkeypatch, tmp_path):
    """From top to bottom, without a warning or an exception."""
    run_page(path, [(line, source) for line, said, source in blocks(path) if not said], operator, monkeypatch, tmp_path)


IMPORT = re.compile(r"^import httpx$", re.MULTILINE)


@pytest.mark.parametrize(
    "path",
    [path for path in PAGES if any(IMPORT.search(source) for _, said, source in blocks(path) if not said)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_example_with_httpx_runs_with_httpx2(path, operator, monkeypatch, tmp_path):
    """Only the import differs."""
    sources = [(line, IMPORT.sub("import httpx2 as httpx", source)) for line, said, source in blocks(path) if not said]
    run_page(path, sources, operator, monkeypatch, tmp_path)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_block_that_does_not_run_says_why(path):
    """The only other mark is `no-run:` with a reason."""
    for line, said, _ in blocks(path):
        assert not said or re.fullmatch(r"no-run: \S.{9,}", said), f"{path.name}:{line}"


def test_the_examples_are_found(tmp_path):
    """The search sees marked, indented and plain blocks, and nothing else."""
    page = tmp_path / "page.md"
    page.write_text(
        "```python\na = 1\n```\n\n```console\n$ x\n```\n- item\n  ```python no-run: needs a tower\n  b = 2\n  ```\n",
        "utf-8",
    )

    assert blocks(page) == [(2, "", "a = 1"), (10, "no-run: needs a tower", "b = 2")]
    assert len(blocks(ROOT / "README.md")) >= 2


def test_every_page_can_be_reached_from_the_readme():
    """By links that a code host shows; the sidebar is only on the site."""
    reached, waiting = set(), {(ROOT / "README.md").resolve()}
    while waiting:
        page = waiting.pop()
        reached.add(page)
        waiting |= {target for target in links(page) if target.exists()} - reached

    assert [str(page.relative_to(ROOT)) for page in PAGES if page.resolve() not in reached] == []


def test_the_links_are_those_that_a_reader_sees(tmp_path):
    """Links in fences, in comments, and to other sites do not count."""
    page = tmp_path / "page.md"
    page.write_text(
        "[a](a.md) and [b](../b.md#part)\n\n```{toctree}\nc\n[c](c.md)\n```\n<!-- [d](d.md) -->\n"
        "[e](https://example.com/e.md) ![f](f.svg) [g](#part)\n",
        "utf-8",
    )

    assert links(page) == {(tmp_path / "a.md").resolve(), (tmp_path.parent / "b.md").resolve()}


def test_llms_txt_links_every_page():
    """A program that reads `llms.txt` first finds each page there, and no page that does not exist."""
    listed = links(ROOT / "llms.txt")

    assert [str(page.relative_to(ROOT)) for page in PAGES if page.resolve() not in listed] == []
    assert [str(page) for page in listed if not page.exists()] == []
