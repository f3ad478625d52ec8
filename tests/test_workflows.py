"""The workflows are pinned, have the least permissions, and run what the Makefile and the metadata name."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import camara_otp

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
# The permissions that a job may have beyond reading the repository.
WRITES = {
    "attest": {"attestations", "id-token"},
    "publish": {"id-token"},
    "pages": {"pages", "id-token"},
}


def load(path):
    """Return a workflow as a mapping."""
    return yaml.safe_load(path.read_text("utf-8"))


def steps(workflow):
    """Return the steps of all jobs."""
    return [step for job in workflow["jobs"].values() for step in job.get("steps", ())]


def test_both_workflows_are_here():
    """Otherwise a renamed folder would make the other tests empty."""
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit(path):
    """A tag can be moved; the comment names the release for a reader and for Dependabot."""
    used = re.findall(r"uses: (.+)", path.read_text("utf-8"))

    assert len(used) > 2
    for action in used:
        assert action.startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_have_the_least_permissions(path):
    """None by default, write access only for jobs that need it, and no token in a checkout."""
    workflow = load(path)

    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        writes = {scope for scope, level in job["permissions"].items() if level == "write"}
        assert writes == WRITES.get(name, set()), name
        assert writes or job["permissions"] == {"contents": "read"}, name
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_ends(path):
    """A job with steps has a time limit."""
    for name, job in load(path)["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 120, name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_commands_exist(path):
    """Each make task and each script that a workflow runs is in the repository."""
    tasks = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for step in steps(load(path)):
        program, *words = step.get("run", "").split()[:3] or [""]
        if program == "make":
            assert set(words) <= tasks
        elif program.startswith("."):
            assert (ROOT / program).is_file()


def test_ci_runs_every_python_of_the_metadata_on_three_systems():
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
    matrix = load(ROOT / ".github/workflows/ci.yml")["jobs"]["wheel"]["strategy"]["matrix"]

    prefix = "Programming Language :: Python :: "
    assert matrix["python"] == [text.removeprefix(prefix) for text in classifiers if text.startswith(f"{prefix}3.")]
    assert sorted(system.partition("-")[0] for system in matrix["system"]) == ["macos", "ubuntu", "windows"]


def test_nothing_is_published_before_the_tests_pass():
    """Tests and build, then the attestation, then the release, then the site."""
    jobs = load(ROOT / ".github/workflows/release.yml")["jobs"]

    assert jobs["tests"]["uses"] == "./.github/workflows/ci.yml"
    assert set(jobs["attest"]["needs"]) == {"tests", "build"}
    assert jobs["publish"]["needs"] == "attest"
    assert "publish" in jobs["pages"]["needs"]
    assert jobs["publish"]["environment"] == "release"


def test_the_citation_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == camara_otp.__version__
