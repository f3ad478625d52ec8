"""Run the sandbox's server: `python -m camara_otp.sandbox`."""

import argparse
import contextlib
import sys
from collections.abc import Sequence

from camara_otp.sandbox.core import Sandbox

_BANNER = """\
The sandbox is open: {url}
  inbox      {url}/
  base URL   {url}   (documented layout; CAMARA's is under {url}/one-time-password-sms/v1)

Try it:
  curl {url}/otpvalidation/send-code -H 'Authorization: Bearer any' -H 'Content-Type: application/json' \\
    -d '{{"phoneNumber": "+346661113334", "message": "{{{{code}}}} is your code"}}'

Any access token works. Stop with Ctrl+C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted.

    Args:
        arguments: The command line, without the program's name.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m camara_otp.sandbox", description="Run a local operator.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=9091, help="port to listen on; 0 takes a free one (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        from camara_otp.sandbox.server import listen, server, url_of  # noqa: PLC0415  (needs the extra)
    except RuntimeError as error:
        parser.exit(2, f"{error}\n")
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        parser.exit(1, f"cannot listen on {options.host} port {options.port}: {error}\n")
    with listener:
        print(_BANNER.format(url=url_of(listener)), flush=True)  # noqa: T201
        with contextlib.suppress(KeyboardInterrupt):
            server(Sandbox()).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
