"""Every scenario of the table, in every mode."""

import gc
import warnings

import pytest

from camara_otp import OutcomeUnknownError
from tests.faults import drive
from tests.faults.conftest import FAULTS
from tests.faults.scenarios import ROWS
from tests.http import httpx


@pytest.mark.parametrize("mode", drive.MODES)
def test_every_fault_has_its_defined_end(faults, mode, monkeypatch, pytestconfig):
    """Ours, in time, said rightly, never sent twice, nothing leaked."""
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)

    results = drive.run(faults, mode)

    pytestconfig.stash.setdefault(FAULTS, []).extend(results)
    problems = [f"{r.scenario.name}: {kind}: {text}" for r in results for kind, text in r.problems()]
    assert not problems, "\n".join(problems)
    assert len(results) == len(ROWS) >= 100


@pytest.mark.long
@pytest.mark.parametrize("mode", drive.MODES)
def test_every_fault_has_the_same_end_through_a_callers_client(faults, mode, monkeypatch):
    """But for what it cannot be made to tell or to keep, and errs to the safe side.

    A server that drips is late for a synchronous call. Where a handshake takes all the time there is, an asynchronous
    one cannot tell that nothing was sent.
    """
    monkeypatch.setenv("SSL_CERT_FILE", faults.trust)

    # httpx reads interim answers without end, at the cost of whoever else runs in this process.
    rows = [row for row in ROWS if row.name != "flood of interim answers"]
    with warnings.catch_warnings():
        # A handshake that is cancelled leaves httpx's socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        results = drive.run(faults, mode, rows, httpx)
        gc.collect()

    wrong = {r.scenario.name: r.outcome for r in results if {kind for kind, _ in r.problems()} - {"late"}}
    late = {r.scenario.name for r in results if "late" in dict(r.problems())}
    if mode == "sync":
        assert not wrong, wrong
    else:
        assert all(name.startswith("TLS") for name in wrong), wrong
        assert all(isinstance(outcome, OutcomeUnknownError) for outcome in wrong.values())
        assert not late
    assert len(results) == len(rows)


def test_names_are_unique():
    """A report names each row."""
    assert len({row.name for row in ROWS}) == len(ROWS)
