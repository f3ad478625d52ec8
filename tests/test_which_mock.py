"""The examples of the page "Choose a mock for your tests" are a test suite, and it passes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import blocks

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "which-mock.md"


@pytest.mark.long
def test_the_examples_pass_as_a_test_suite(tmp_path):
    """In a process of its own, because the tools patch their process."""
    source = "\n\n".join(source for _, _, source in blocks(PAGE))
    (tmp_path / "test_page.py").write_text(source, "utf-8")
    plugins = [argument for name in ("camara_otp.testing", "pytest_httpx") for argument in ("-p", name)]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", *plugins, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )

    written = len(re.findall(r"^def test_", source, re.MULTILINE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{written} passed" in done.stdout
