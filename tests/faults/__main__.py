"""Run every scenario in every mode and print the report: `python -m tests.faults`, or `make faults`."""

import os
import sys
import tempfile
from pathlib import Path

from tests.faults import drive
from tests.faults.server import FaultServer


def main() -> int:
    """Return 0 when no scenario ended otherwise than the table says."""
    with FaultServer() as server, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ca.pem"
        server.authority.cert_pem.write_to_path(str(path))
        os.environ["SSL_CERT_FILE"] = str(path)
        results = [result for mode in drive.MODES for result in drive.run(server, mode)]
        results += [result for mode in drive.MODES for result in drive.measured(server, mode)]
    for result in results:
        for kind, text in result.problems():
            print(f"{result.mode}: {result.scenario.name}: {kind}: {text}", file=sys.stderr)
    print(drive.report(results))
    return any(True for result in results for _ in result.problems())


if __name__ == "__main__":
    sys.exit(main())
