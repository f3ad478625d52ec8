"""The command line: `camara-otp`. Needs the extra `cli`; without it, it says so."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        # They need the extra.
        from camara_otp.cli.app import app  # noqa: PLC0415
        from camara_otp.cli.outcome import run_command  # noqa: PLC0415
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.stderr.write("camara-otp needs more packages for its command line: pip install 'camara-otp[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(run_command(app, sys.argv[1:]))
