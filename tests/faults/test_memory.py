"""Memory stays within the cap plus 8 MiB."""

import tracemalloc

import pytest

from camara_otp import OTPError
from tests.faults.drive import ARGUMENTS, TOKEN
from tests.faults.scenarios import ROWS

HEAVY = [
    "a gzip bomb",
    "a deflate bomb",
    "gzip within gzip",
    "a gzip bomb in an error",
    "200 with an id of 10 MB",
    "an endless body",
    "an endless chunked body",
    "a chunk that never ends",
    "flood of one header",
    "flood of header lines",
    "flood of interim answers",
]


@pytest.mark.parametrize("name", HEAVY)
def test_a_flood_is_not_kept(faults, shell, name):
    """The peak of the whole process, server included, stays small."""
    scenario = next(row for row in ROWS if row.name == name)
    listener = faults.listen(scenario.script)
    client = shell.client(f"http://127.0.0.1:{listener.port}", token=TOKEN, timeout=3)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        with pytest.raises(OTPError):
            getattr(client, scenario.operation)(*ARGUMENTS[scenario.operation])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak - before < 65_536 + 8 * 2**20
