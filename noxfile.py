"""The matrix: the tests on the built wheel and sdist, on each Python, and with the oldest dependencies of the metadata.

Dependencies are those locked in requirements/, or with NEWEST=1 the newest ones. A missing interpreter is named in the
summary as skipped; where CI is set, it is a failure.
"""

import os
import shutil
import tarfile
import tempfile
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["wheel", "sdist", "lowest"]
nox.options.default_venv_backend = "venv"

ROOT = Path(__file__).parent
PROJECT = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = ",".join(PROJECT["optional-dependencies"])
PYTHONS = [
    text.rpartition(" ")[2]
    for text in PROJECT["classifiers"]
    if text.startswith("Programming Language :: Python :: 3.")
]


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Run the tests on the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        if os.environ.get("NEWEST"):
            session.install("--upgrade", "pip>=25.1", silent=True)
            session.install(f"{build_wheel(session, folder)}[{EXTRAS}]", "--group", "test")
        else:
            install_locked(session)
            session.install("--no-deps", build_wheel(session, folder))
        run_tests(session, Path(), folder)


@nox.session(python=PYTHONS[0])
def sdist(session: nox.Session) -> None:
    """Build the sdist, install it, and run the tests that it contains."""
    with tempfile.TemporaryDirectory() as folder:
        install_locked(session)
        session.install("build")
        session.run("python", "-m", "build", "-q", "--sdist", "--no-isolation", "-o", folder)
        (file,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
        session.install("--no-deps", "--no-build-isolation", str(file))
        run_tests(session, Path(folder) / file.name.removesuffix(".tar.gz"), folder)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests on the wheel, with each dependency at its lower bound."""
    with tempfile.TemporaryDirectory() as folder:
        install_locked(session, "lowest")
        session.install("--no-deps", build_wheel(session, folder))
        run_tests(session, Path(), folder)


def install_locked(session: nox.Session, name: str = "dev") -> None:
    """Install the locked dependencies of the package and of its tests."""
    session.install("--require-hashes", "-r", f"requirements/{name}.txt")


def build_wheel(session: nox.Session, folder: str) -> str:
    """Build the wheel of the checkout and return its path."""
    session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ".", silent=True)
    (file,) = Path(folder).glob("*.whl")
    return str(file)


def left_out(folder: str, names: list[str]) -> set[str]:
    """Return the names in a folder that the tests must not see: the package, caches and what was built."""
    ignored = shutil.ignore_patterns("camara_otp", ".*", "dist", "node_modules", "_build")(folder, names)
    return ignored - {".ci", ".dockerignore", ".github"}


def run_tests(session: nox.Session, source: Path, folder: str) -> None:
    """Run the tests of a source tree in a folder where its package cannot be imported by accident."""
    outside = Path(folder) / "outside"
    shutil.copytree(source, outside, ignore=left_out)
    session.chdir(outside)
    session.run("python", "-m", "pytest", "-q", *session.posargs)
    session.chdir(ROOT)  # the folder is removed
