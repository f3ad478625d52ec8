"""Every row of the fault table, directly; `make faults` runs the other ways to the operator."""

import pytest

from tests.faults import drive
from tests.faults.conftest import FAULTS
from tests.faults.modes import MODES, RUNTIMES
from tests.faults.scenarios import ROWS


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_fault_has_its_defined_end(faults, runtime, monkeypatch, pytestconfig):
    """An exception of this package, in time, with the right `outcome_unknown`, one request, and no secret."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)

    results = drive.run(faults, MODES["direct"], runtime)

    pytestconfig.stash.setdefault(FAULTS, []).extend(results)
    problems = [f"{r.scenario.name}: {kind}: {text}" for r in results for kind, text in r.unexpected()]
    assert not problems, "\n".join(problems)
    assert len(results) >= 100


def test_names_are_unique():
    """A report names each row."""
    assert len({row.name for row in ROWS}) == len(ROWS)
