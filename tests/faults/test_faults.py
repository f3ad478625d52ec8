"""Every scenario of the table, in every mode."""

import pytest

from tests.faults import drive
from tests.faults.conftest import FAULTS
from tests.faults.scenarios import ROWS


@pytest.mark.parametrize("mode", drive.MODES)
def test_every_fault_has_its_defined_end(faults, mode, monkeypatch, pytestconfig):
    """Ours, in time, said rightly, never sent twice, nothing leaked."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)

    results = drive.run(faults, mode)

    pytestconfig.stash.setdefault(FAULTS, []).extend(results)
    problems = [f"{r.scenario.name}: {kind}: {text}" for r in results for kind, text in r.problems()]
    assert not problems, "\n".join(problems)
    assert len(results) == len(ROWS) >= 100


def test_names_are_unique():
    """A report names each row."""
    assert len({row.name for row in ROWS}) == len(ROWS)
