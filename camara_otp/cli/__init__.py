"""The command line: `camara-otp`. Needs the extra `cli`; without it, it says so."""

import sys
import traceback


def main() -> None:
    """Run the command line."""
    try:
        from camara_otp.cli.app import app  # noqa: PLC0415  (needs the extra)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.stderr.write("camara-otp needs more packages for its command line: pip install 'camara-otp[cli]'\n")
        sys.exit(2)
    try:
        app()
    except Exception:  # noqa: BLE001 - else the exit code would be that of a check with deviations
        traceback.print_exc()
        sys.exit(70)
