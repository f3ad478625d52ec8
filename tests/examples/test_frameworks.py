"""Each page about a web framework, as a reader follows it: save the files, run the tests, start the server."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import attrs
import httpx
import pytest

from camara_otp.sandbox import Fault
from tests.examples.conftest import NUMBER, ROOT
from tests.test_docs import blocks

SHARED = ROOT / "docs/howto/frameworks.md"
PAGES = ROOT / "docs/howto/frameworks"
# The page and the files that its blocks are saved as, from top to bottom; a later block is added to an earlier file.
RECIPES = {
    "aiohttp": ("aiohttp.md", ["app.py", "test_app.py"]),
    "Django": ("django.md", ["app.py", "settings.py", "test_app.py"]),
    "Django REST framework": ("django.md", [None, "settings.py", "test_app.py", "app.py", "settings.py"]),
    "FastAPI": ("fastapi.md", ["app.py", "test_app.py"]),
    "Flask": ("flask.md", ["app.py", "test_app.py"]),
    "Litestar": ("litestar.md", ["app.py", "test_app.py"]),
    "Starlette": ("starlette.md", ["app.py", "test_app.py"]),
}


@pytest.fixture(params=RECIPES)
def folder(request, tmp_path):
    """Save the files of a recipe, and return their folder and the page."""
    page, names = RECIPES[request.param]
    for path, files in ((SHARED, ["login.py", "conftest.py"]), (PAGES / page, names)):
        for (_, _, source), name in zip(blocks(path), files, strict=False):
            if name:
                with (tmp_path / name).open("a", encoding="utf-8") as file:
                    file.write(source + "\n")
    return tmp_path, PAGES / page


@attrs.frozen
class Site:
    """A running recipe."""

    browser: httpx.Client
    output: Path

    def post(self, path, **values):
        return self.browser.post(path, json=values)


@pytest.fixture
def site(served, folder, tmp_path):
    """Start the server by the command of the page, on a free port and with the operator of this test."""
    path, page = folder
    command = re.search(r"^\$ (CAMARA_BASE_URL=.+)$", page.read_text("utf-8"), re.MULTILINE)[1]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "http://127.0.0.1:9091 " in command
    assert " 8000" in command
    command = command.replace("http://127.0.0.1:9091", served.url).replace(" 8000", f" {port}")
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": search, "PYTHONPATH": str(ROOT), "DJANGO_SECRET_KEY": "key-of-the-tests"}
    # The reloader of Django starts a second process, which would outlive the first.
    command = command.replace("runserver", "runserver --noreload").replace("CAMARA", "exec env CAMARA", 1)
    output = tmp_path / "output.txt"
    with output.open("w", encoding="utf-8") as file:
        server = subprocess.Popen(
            command, shell=True, cwd=path, env=environment, stdout=file, stderr=subprocess.STDOUT, text=True
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as browser:
            deadline = time.monotonic() + 60
            while True:
                assert server.poll() is None, output.read_text("utf-8")
                assert time.monotonic() < deadline
                try:
                    browser.get("/")
                    break
                except httpx.ConnectError:
                    time.sleep(0.05)
            yield Site(browser, output)
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_the_tests_of_the_page_pass(folder):
    path, _ = folder
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:randomly"],
        cwd=path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_user_logs_in_once(served, site):
    """Each step has a status of its own, and one SMS is sent."""
    assert site.post("/code", code="1").status_code == 409
    assert site.post("/login", number="0666").status_code == 422
    assert site.post("/login", number=NUMBER).status_code == 200
    again = site.post("/login", number=NUMBER)
    assert (again.status_code, int(again.headers["Retry-After"]) in range(20, 31)) == (429, True)
    assert site.post("/code", code="wrong").status_code == 422
    code = served.operator.last_code(NUMBER)
    assert site.post("/code", code=f" {code[:2]} {code[2:]}\n").status_code == 200
    assert site.post("/code", code="1").status_code == 409, "a login is used once"
    assert served.operator.sent_count == 1
    assert "Error: " not in site.output.read_text("utf-8"), "a failure of the user is not logged"


def test_each_failure_has_its_response(served, site):
    """Another operator's number, a lost response, and a used-up code."""
    foreign = site.post("/login", number="+447700900001")
    assert (foreign.status_code, "Use another number" in foreign.json()["say"]) == (422, True)

    served.operator.add_fault(Fault(drop="after", acts=True, times=1))
    lost = site.post("/login", number="+34666111333")
    assert (lost.status_code, "An SMS may arrive" in lost.json()["say"]) == (503, True)

    assert site.post("/login", number=NUMBER).status_code == 200
    served.operator.add_fault(Fault(code="INTERNAL", times=1))
    unchecked = site.post("/code", code="123456")
    assert (unchecked.status_code, "may be used up" in unchecked.json()["say"]) == (503, True)

    served.operator.advance(301)
    expired = site.post("/code", code=served.operator.last_code(NUMBER))
    assert (expired.status_code, "Request a new one" in expired.json()["say"]) == (410, True)
    assert served.operator.sent_count == 2

    served.operator.add_fault(Fault(code="UNAUTHENTICATED", retry_after=7, times=1))
    denied = site.post("/login", number="+34666111444")
    assert (denied.status_code, denied.headers["Retry-After"]) == (503, "7")
    assert site.post("/login", number="+34666111444").status_code == 200
    wrong = [site.post("/code", code="wrong") for _ in range(3)]
    assert (wrong[2].status_code, wrong[2].json()["say"]) == (410, "Too many wrong codes. Request a new one.")

    log = site.output.read_text("utf-8")
    for name in ("NotFoundError", "OutcomeUnknownError", "InternalError", "UnauthenticatedError"):
        assert re.search(rf"{name}: .*x-correlator", log), name
    assert not re.search(r"InvalidOTPError: |VerificationFailedError: |\+?34666111", log)


def test_each_page_and_each_block_is_tested():
    assert {page for page, _ in RECIPES.values()} == {path.name for path in PAGES.glob("*.md")}
    for page in PAGES.glob("*.md"):
        longest = max(len(names) for name, names in RECIPES.values() if name == page.name)
        assert len(blocks(page)) == longest, page.name
    assert len(blocks(SHARED)) == 2
