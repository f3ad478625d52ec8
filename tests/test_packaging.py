"""The installed package: few distributions, a stable interface, correct metadata."""

import re
import subprocess
import sys
from importlib.metadata import distribution, metadata, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import camara_otp
from tests import api

# What an old release of a dependency needs, and today's does without.
BY_OLDER_RELEASES = {"sniffio"}


def closure(name, extras=frozenset()):
    """Return the distributions of an install on this machine, the package included."""
    found, waiting = set(), [(name, extras)]
    while waiting:
        current, wanted = waiting.pop()
        found.add(re.sub(r"[-_.]+", "-", current).lower())
        for text in distribution(current).requires or ():
            requirement = Requirement(text)
            marks = [{"extra": extra} for extra in wanted] or [{"extra": ""}]
            needed = requirement.marker is None or any(requirement.marker.evaluate(mark) for mark in marks)
            if needed and re.sub(r"[-_.]+", "-", requirement.name).lower() not in found:
                waiting.append((requirement.name, requirement.extras))
    return found


def test_a_base_install_is_light():
    """At most ten distributions, ours included."""
    brought = closure("camara-otp") - BY_OLDER_RELEASES

    assert len(brought) <= 10, sorted(brought)
    assert {"camara-otp", "httpx", "httpcore", "attrs", "cattrs", "anyio"} <= brought


def test_the_page_of_dependencies_tells_the_truth():
    """It has the same names and licenses."""
    page = (Path(__file__).parents[1] / "docs/reference/dependencies.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| ([a-z0-9-]+) \| (\S+) \|", page, re.MULTILINE))
    listed.pop("distribution", None)

    installed = closure("camara-otp") - BY_OLDER_RELEASES
    assert set(listed) - installed <= {"typing-extensions"}, "newer Pythons do without it"
    assert installed <= set(listed)
    for name in installed:
        said = metadata(name)
        assert listed[name] in {said.get("License-Expression"), said.get("License")}, name


@pytest.mark.parametrize("page", ["README.md", "docs/reference/settings.md"])
def test_the_tables_of_extras_are_whole(page):
    """Each extra that can be installed has its line, and no other has one."""
    text = (Path(__file__).parents[1] / page).read_text("utf-8")
    table = re.search(r"^\| extra \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)

    assert table is not None
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", table[1], re.MULTILINE)
    assert sorted(listed) == sorted(metadata("camara-otp").get_all("Provides-Extra"))


def test_the_public_interface_is_the_recorded_one():
    """After a deliberate change, renew the record with `python -m tests.api`, and add a changelog entry."""
    assert "\n".join(api.lines()) + "\n" == api.RECORD.read_text("utf-8")


def test_the_version_has_one_source():
    """The package, its metadata and the changelog agree on their form."""
    assert camara_otp.__version__ == version("camara-otp")
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", camara_otp.__version__)


@pytest.mark.parametrize("field", ["License-Expression", "Requires-Python", "Summary", "Author"])
def test_the_metadata_says_who_and_what(field):
    assert metadata("camara-otp")[field]


def test_the_package_itself_runs_the_command_line():
    """`python -m camara_otp` needs no script on the PATH."""
    command = [sys.executable, "-m", "camara_otp", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout, done.returncode) == (f"camara-otp {camara_otp.__version__}\n", 0)
