"""The command line: `camara-otp`. Needs the extra `cli`; without it, it says so."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from camara_otp.cli.app import app  # noqa: PLC0415  (needs the extra)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.exit("camara-otp needs more packages for its command line: pip install 'camara-otp[cli]'")
    app()
