"""The page "What happens when it fails" agrees with the code."""

from pathlib import Path

from camara_otp.retry import RULES
from docs.tables import COVERED, failures_table, outcomes_table, renewed

PAGE = Path(__file__).parents[1] / "docs" / "failures.md"


def test_the_tables_of_the_page_are_printed_from_the_code():
    """`python -m docs.tables` writes them."""
    page = PAGE.read_text("utf-8")

    assert page == renewed(page)
    assert outcomes_table() in page
    assert failures_table() in page


def test_every_rule_stands_on_the_page():
    page = PAGE.read_text("utf-8")

    assert all(COVERED[outcome] in page and outcome.value in page for outcome in RULES)
