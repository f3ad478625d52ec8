"""Figures on the pages have a date and a task of the Makefile that measures them again."""

import calendar
import re
from datetime import datetime
from pathlib import Path

import pytest

from benchmarks.conditions import conditions

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in path.parts
}
MONTHS = list(calendar.month_name)[1:]
DATE = re.compile(rf"\b\d{{1,2}} (?:{'|'.join(MONTHS)}) 20\d\d")
BENCHMARK = re.compile(r"by `make (bench[a-z-]*)`")


def undated(text):
    """Return the paragraphs that give the source of figures without a date."""
    return [part for part in text.split("\n\n") if BENCHMARK.search(part) and not DATE.search(part)]


def test_figures_have_their_date():
    """A figure belongs to a day, since dependencies change."""
    assert [(page, part) for page, text in PAGES.items() for part in undated(text)] == []
    assert len(BENCHMARK.findall(PAGES["docs/explanation/performance.md"])) >= 3
    assert BENCHMARK.search(PAGES["README.md"])


def test_a_figure_without_a_date_is_found():
    """The date of another paragraph does not count."""
    assert undated("Taken by `make bench`.\n\n28 November 2026") == ["Taken by `make bench`."]


def test_figures_come_from_a_task_that_exists():
    """The command beside the figures can be run."""
    tasks = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert {task for text in PAGES.values() for task in BENCHMARK.findall(text)} <= tasks


def test_a_benchmark_prints_the_line_for_the_docs():
    """It has the date, in the form that the pages must have."""
    line = conditions("bench", "httpx", "h11")

    found = DATE.search(line)
    assert found is not None
    assert abs((datetime.strptime(found[0], "%d %B %Y") - datetime.now()).days) <= 1  # noqa: DTZ005, DTZ007
    assert BENCHMARK.search(line)
    assert "httpx 0." in line


@pytest.mark.parametrize("name", ["client", "transports", "guard"])
def test_each_benchmark_prints_it(name):
    """The script calls the function above with the task that runs the script."""
    source = (ROOT / f"benchmarks/{name}.py").read_text("utf-8")
    recipes = (ROOT / "Makefile").read_text("utf-8")

    found = re.search(r"conditions\(\"(bench[a-z-]*)\"", source)
    assert found is not None
    assert re.search(rf"^{found[1]}:.*\n\t.*benchmarks/{name}\.py", recipes, re.MULTILINE)
