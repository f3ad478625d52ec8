"""The figures on the page about the guard are those of a run of the attack."""

import subprocess
import sys

from tests.examples.attack import PAGE, ROOT, printed


def test_the_page_prints_the_figures_of_a_run(tmp_path):
    """In a process of its own, because Django is set up once per process; the page is not changed."""
    page = PAGE.read_text("utf-8")
    copy = tmp_path / "page.md"
    copy.write_text(page.replace(printed(page), "not measured"), "utf-8")

    subprocess.run([sys.executable, "-m", "tests.examples.attack", str(copy)], cwd=ROOT, check=True, timeout=300)

    assert copy.read_text("utf-8") == page
    assert printed(page).count("\n") == 6
