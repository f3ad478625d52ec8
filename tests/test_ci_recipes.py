"""The container and the CI recipes of the docs work: their steps run here, without Docker and without a CI service."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from camara_otp.sandbox import Sandbox

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/howto/ci.md").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "")
RECIPES = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
# What a partner's suite does: it sends a code and reads it from the sandbox.
PARTNER_TEST = """
import json, os, urllib.request
from camara_otp import OTPClient

def test_login():
    number = "+346661113334"
    with OTPClient() as otp:
        sent = otp.send_code(number, "{{code}} is your code")
        url = os.environ["CAMARA_BASE_URL"] + "/_sandbox/messages?phoneNumber=%2B346661113334"
        with urllib.request.urlopen(url) as response:
            otp.validate_code(sent.authentication_id, json.load(response)[-1]["code"])
"""
# The file that the nightly check reads, for a sandbox in place of the operator.
OPERATOR = """
concurrency = 16
[tokens]
invalid = "invalid-token"
[numbers]
reachable = ["+34600000100", "+34600000101", "+34600000102", "+34600000103", "+34600000104", "+34600000105"]
[read]
how = "http"
url = "{{url}}/_sandbox/messages?phoneNumber={phone_number}"
field = "-1.text"
"""


def job_of(recipe):
    """Return the only job of a recipe for GitHub or GitLab."""
    (job,) = recipe.get("jobs", recipe).values()
    return job


def commands(job):
    """Return the shell lines of a job, in order."""
    lines = job.get("script") or [step["run"] for step in job["steps"] if "run" in step]
    return "\n".join(lines).splitlines()


def free_port():
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def instruction(name):
    """Return the arguments of the last instruction of this name in the Dockerfile."""
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)[-1]


def run_steps(lines, folder, settings):
    """Run shell lines as a CI service does, and stop the processes that they started."""
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        **settings,
    }
    script = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "\n".join(lines)
    command = ["bash", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env=environ, check=False, timeout=50, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_the_page_has_four_recipes():
    """Two recipes for each of two services."""
    assert len(RECIPES) == 4


@pytest.mark.parametrize("recipe", RECIPES, ids=["tests-github", "tests-gitlab", "check-github", "check-gitlab"])
def test_a_recipe_installs_extras_that_exist(recipe):
    """The first command installs the package with the extras that the other commands need."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    install, *others = commands(job_of(recipe))

    found = re.search(r"camara-otp\[([a-z,]+)\]", install)
    assert found is not None
    named = set(found[1].split(","))
    assert named <= set(extras)
    assert named == {"sandbox" if "camara_otp.sandbox" in others[0] else "cli"}


@pytest.mark.parametrize(
    ("recipe", "suite", "code"),
    [
        (RECIPES[0], PARTNER_TEST, 0),
        (RECIPES[1], PARTNER_TEST, 0),
        (RECIPES[1], "def test_login():\n    assert 0\n", 1),
    ],
    ids=["github", "gitlab", "gitlab, failing"],
)
def test_the_recipe_runs_a_partners_tests(recipe, suite, code, tmp_path):
    """A passing suite passes and a failing one fails the job."""
    job, port = job_of(recipe), str(free_port())
    settings = {name: value.replace("9091", port) for name, value in (job.get("env") or job["variables"]).items()}
    lines = [line.replace("9091", port) for line in commands(job)[1:]]
    (tmp_path / "test_login.py").write_text(suite, "utf-8")

    done = run_steps(lines, tmp_path, settings)

    assert (done.returncode, b"1 passed" in done.stdout) == (code, not code), done.stdout.decode()


@pytest.mark.parametrize("recipe", RECIPES[2:], ids=["github", "gitlab"])
def test_the_nightly_check_writes_its_report(recipe, tmp_path):
    """The report is where the recipe collects it, and a deviation fails the job."""
    job = job_of(recipe)
    kept = job["steps"][-1]["with"]["path"] if "steps" in job else job["artifacts"]["reports"]["junit"]

    for operator, code in ((Sandbox(), 0), (Sandbox(validated_status=200), 1)):
        with operator.serve() as url:
            (tmp_path / "operator.toml").write_text(OPERATOR.replace("{{url}}", url), "utf-8")
            done = run_steps(commands(job)[1:], tmp_path, {"CAMARA_BASE_URL": url, "CAMARA_BEARER_TOKEN": "any"})
        assert done.returncode == code, done.stdout.decode()
        cases = list(ET.parse(tmp_path / kept).getroot().iter("testcase"))
        assert len(cases) > 20
        assert any(case.find("failure") is not None for case in cases) is bool(code)


def test_the_container_runs_as_a_user_without_rights():
    """Neither root by name nor by number."""
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", instruction("USER"))


def test_the_build_of_the_container_gets_every_file_that_it_copies():
    """`.dockerignore` allows exactly the files that the build needs."""
    copied = {word for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}

    assert copied == allowed
    assert {"camara_otp", "hatch_build.py", "LICENSE", "pyproject.toml", "README.md", "requirements/demo.txt"} == copied
    assert all((ROOT / name).is_file() for name in copied - {"camara_otp"})


def test_the_container_starts_and_its_health_check_tells_whether_it_answers(tmp_path):
    """The entry point and the check of the Dockerfile, run as they stand there, on a free port."""
    port = free_port()
    entry = json.loads(instruction("ENTRYPOINT"))
    assert entry[-5:] == ["--host", "0.0.0.0", "--port", "9091", "--expose"]
    command, check = (
        [re.sub(r"\b9091\b", str(port), word) for word in [sys.executable, *words[1:]]]
        for words in (entry, json.loads(instruction("HEALTHCHECK").partition("CMD ")[2]))
    )
    service = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["sandbox"]

    def healthy():
        return subprocess.run(check, check=False, timeout=20, stderr=subprocess.DEVNULL).returncode == 0

    assert not healthy()
    environ = {**os.environ, **service["environment"]}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 20
            while not healthy():
                assert server.poll() is None, shlex.join(command)
                assert time.monotonic() < deadline
        finally:
            server.terminate()
    assert server.returncode in {0, -15}


def test_the_compose_file_publishes_the_port_to_this_machine_only():
    """The sandbox has no password."""
    service = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["sandbox"]

    assert service["ports"] == [f"127.0.0.1:{instruction('EXPOSE')}:{instruction('EXPOSE')}"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
