"""The command line `camara-otp`. Without the extra `cli` it prints how to install it."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from camara_otp.cli.app import run_command  # noqa: PLC0415 - needs the extra
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        sys.stderr.write("camara-otp needs more packages for its command line: pip install 'camara-otp[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(run_command(sys.argv[1:]))
