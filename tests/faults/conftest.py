"""The fault server of a session."""

import pytest

from tests.faults import drive
from tests.faults.server import FaultServer

FAULTS = pytest.StashKey[list]()
"""What came of the scenarios, for the report at the end of a test run."""


def pytest_terminal_summary(terminalreporter, config):
    """Print the report of the faults."""
    results = config.stash.get(FAULTS, [])
    if results:
        terminalreporter.section("faults")
        terminalreporter.write_line(drive.report(results))


@pytest.fixture(scope="session")
def faults(tmp_path_factory):
    """Run the fault server; clients trust its certificates, and no others."""
    with FaultServer() as server:
        path = tmp_path_factory.mktemp("authority") / "ca.pem"
        server.authority.cert_pem.write_to_path(str(path))
        server.trust = str(path)
        yield server
