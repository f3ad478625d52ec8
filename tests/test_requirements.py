"""The locked dependencies: `make test` and CI install these releases, checked by hash, from any index."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FILES = sorted((ROOT / "requirements").glob("*.txt"))
ENTRY = re.compile(
    r"(?P<pin>[a-z0-9.-]+==[^\s;]+)(?P<marker> ; [^\\]+)?(?P<hashes>( \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


def pins(name):
    """Return `{distribution: release}` of a file; a distribution may be locked once for each marker."""
    found = ENTRY.finditer((ROOT / "requirements" / f"{name}.txt").read_text("utf-8"))
    return {canonicalize_name(name): release for name, release in (match["pin"].split("==") for match in found)}


def group(name):
    """Return the requirements of a dependency group."""
    for entry in PROJECT["dependency-groups"][name]:
        yield from [Requirement(entry)] if isinstance(entry, str) else group(entry["include-group"])


def test_each_environment_of_the_makefile_has_its_file():
    text = (ROOT / "Makefile").read_text("utf-8")
    line = re.search(r"^ENVIRONMENTS := (.*)$", text, re.MULTILINE)
    assert line is not None
    assert {file.stem for file in FILES} == {"base", "lowest", *line[1].split()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_holds_exact_releases_with_hashes_and_nothing_else(file):
    """No option, no address of an index, no requirement without a hash."""
    text = file.read_text("utf-8")
    assert ENTRY.sub("", text) == ""
    assert "://" not in text


@pytest.mark.parametrize(
    "name", [name for name in PROJECT["dependency-groups"] if (ROOT / f"requirements/{name}.txt").exists()]
)
def test_the_locked_releases_are_those_that_the_project_asks_for(name):
    """A changed bound or a new dependency without `make lock` fails."""
    locked = pins(name)
    own = [] if name == "build" else map(Requirement, PROJECT["project"]["dependencies"])
    for requirement in (*own, *group(name)):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_the_lowest_releases_are_the_lower_bounds_of_the_metadata():
    """Those of the command line aside: a test tool needs newer releases of click and rich."""
    locked, project = pins("lowest"), PROJECT["project"]
    extras = [text for name, texts in project["optional-dependencies"].items() if name != "cli" for text in texts]
    for requirement in map(Requirement, (*project["dependencies"], *extras)):
        (lowest,) = [each.version for each in requirement.specifier if each.operator == ">="]
        assert Version(locked[canonicalize_name(requirement.name)]) == Version(lowest), requirement
