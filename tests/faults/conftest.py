"""The fault server of a session."""

import pytest

from tests.faults.server import FaultServer


@pytest.fixture(scope="session")
def faults(tmp_path_factory):
    """Run the fault server; clients trust its certificates, and no others."""
    with FaultServer() as server:
        path = tmp_path_factory.mktemp("authority") / "ca.pem"
        server.authority.cert_pem.write_to_path(str(path))
        server.trust = str(path)
        yield server
