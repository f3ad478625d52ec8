"""Run the fault table in every mode and print the report: `python -m tests.faults [MODE ...]`, or `make faults`."""

import os
import sys
import tempfile
from pathlib import Path

from tests.faults import drive
from tests.faults.modes import MODES, RUNTIMES
from tests.faults.server import FaultServer


def main(names: list[str]) -> int:
    """Return 0 if every row of every mode ended as the table says."""
    results = []
    with FaultServer() as server, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ca.pem"
        server.authority.cert_pem.write_to_path(str(path))
        os.environ["SSL_CERT_FILE"] = str(path)
        for mode in [MODES[name] for name in names or MODES]:
            for runtime in RUNTIMES:
                for result in [*drive.run(server, mode, runtime), *drive.measured(server, mode, runtime)]:
                    results.append(result)
                    for kind, text in result.unexpected():
                        print(f"{mode.name}, {runtime}: {result.scenario.name}: {kind}: {text}", file=sys.stderr)
    print(drive.report(results))
    return any(result.unexpected() for result in results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
