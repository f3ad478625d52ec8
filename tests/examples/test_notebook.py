"""The notebook, run in a kernel cell by cell."""

import json

import nbclient
import nbformat
import pytest

from tests.examples.conftest import ROOT

NOTEBOOK = ROOT / "examples/notebook.ipynb"


@pytest.fixture(scope="module")
def executed():
    """Run every cell; a cell that raises fails the test."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return notebook


def shown(notebook, kind):
    """Return every output of a kind, in order."""
    return [
        output["data"][kind]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if kind in output.get("data", {})
    ]


def test_results_and_errors_are_tables(executed):
    """Two sent, two verified, a refusal and an unknown outcome."""
    captions = [table.split("<caption>")[1].split("</caption>")[0] for table in shown(executed, "text/html")]

    assert captions == [
        "SendCodeResponse",
        "ValidateCodeResponse",
        "InvalidOTPError",
        "OutcomeUnknownError",
        "SendCodeResponse",
        "ValidateCodeResponse",
    ]


def test_the_batch_is_counted_and_drawn(executed):
    """Fifty sent, the two special numbers refused, and one picture."""
    (table,) = shown(executed, "text/markdown")

    assert table.splitlines()[2:3] == ["| 200 | sent | False | 50 |"]
    assert "| 403 | PhoneNumberNotAllowedError | False | 1 |" in table
    assert "| 403 | PhoneNumberBlockedError | False | 1 |" in table
    assert len(shown(executed, "image/png")) == 1


def test_nothing_complains_and_nothing_personal_is_shown(executed):
    """No warning of the event loop, and no number, id or code in any output."""
    outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
    text = json.dumps([output for output in outputs if "image/png" not in output.get("data", {})])

    assert {output["output_type"] for output in outputs} <= {"execute_result", "display_data"}, text
    assert "3466" not in text
    assert "3460" not in text


def test_the_notebook_is_kept_without_outputs():
    """So its changes can be reviewed."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook.cells)
