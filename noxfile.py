"""The matrix: the tests on the built wheel, on each Python, and with the oldest dependencies that are promised.

An interpreter that is not on this machine is named in the summary as skipped; where CI is set, it is a failure.
"""

import shutil
import tomllib
from itertools import chain
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.options.sessions = ["wheel", "lowest"]
nox.options.default_venv_backend = "venv"

PROJECT = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = ",".join(PROJECT["optional-dependencies"])
PYTHONS = [
    text.rpartition(" ")[2]
    for text in PROJECT["classifiers"]
    if text.startswith("Programming Language :: Python :: 3.")
]


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Run the tests on the wheel, with the newest dependencies."""
    install_wheel(session)
    run_tests(session)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests on the wheel, with each dependency at its lower bound."""
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text("\n".join(lower_bounds()) + "\n", "utf-8")
    install_wheel(session, "--constraint", str(constraints.resolve()))
    run_tests(session)


def install_wheel(session: nox.Session, *options: str) -> None:
    """Install the wheel as a user would, and the packages of the tests."""
    session.install("--upgrade", "pip>=25.1", silent=True)
    built = Path(session.create_tmp()) / "built"
    shutil.rmtree(built, ignore_errors=True)
    session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(built), ".", silent=True)
    (file,) = built.glob("*.whl")
    session.install(f"{file}[{EXTRAS}]", "--group", "test", *options)


def left_out(folder: str, names: list[str]) -> set[str]:
    """Return the names in a folder that the tests must not see: the package, caches and what was built."""
    ignored = shutil.ignore_patterns("camara_otp", ".*", "dist", "node_modules", "_build")(folder, names)
    return ignored - {".ci", ".dockerignore", ".github"}


def run_tests(session: nox.Session) -> None:
    """Run the tests where the checkout's package cannot be imported by accident."""
    outside = Path(session.create_tmp()) / "outside"
    shutil.rmtree(outside, ignore_errors=True)
    shutil.copytree(".", outside, ignore=left_out)
    session.chdir(outside)
    session.run("python", "-m", "pytest", "-q", *session.posargs)


def lower_bounds() -> list[str]:
    """Return `name==version` for each dependency of the package and its extras.

    The command line's are left out: a tool of the tests needs newer ones of the same name.
    """
    extras = PROJECT["optional-dependencies"]
    requirements = chain(PROJECT["dependencies"], *(extras[name] for name in extras if name != "cli"))
    return sorted(
        {
            f"{requirement.name}=={specifier.version}"
            for requirement in map(Requirement, requirements)
            for specifier in requirement.specifier
            if specifier.operator == ">="
        }
    )
