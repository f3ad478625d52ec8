"""Each example works in a folder of its own, without the rest of the repository."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.examples.conftest import ROOT

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.suffix == ".py" or path.is_dir())
# Importing these starts something, or needs the settings of Django.
NOT_IMPORTED = {"conftest", "manage", "views", "forms", "urls"}


def run(folder, *arguments):
    """Run Python in a folder, without the repository on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "example", [path for path in EXAMPLES if path.name != "__pycache__"], ids=lambda path: path.stem
)
def test_a_copy_can_be_imported(example, tmp_path):
    if example.is_dir():
        shutil.copytree(example, tmp_path, dirs_exist_ok=True)
    else:
        shutil.copy(example, tmp_path)

    names = [path.stem for path in sorted(tmp_path.glob("*.py")) if path.stem not in NOT_IMPORTED]
    done = run(tmp_path, "-c", f"import {', '.join(names)}")

    assert done.returncode == 0, done.stderr


def test_the_tests_of_the_fastapi_login_pass_in_a_copy(tmp_path):
    shutil.copytree(ROOT / "examples/fastapi_login", tmp_path, dirs_exist_ok=True)

    done = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_copy_of_the_django_login_passes_its_check(tmp_path):
    shutil.copytree(ROOT / "examples/django_login", tmp_path, dirs_exist_ok=True)

    done = run(tmp_path, "manage.py", "check")

    assert done.returncode == 0, done.stderr
