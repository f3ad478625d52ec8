"""Run the sandbox's server: `python -m camara_otp.sandbox`."""

import argparse
import contextlib
import errno
import os
import shlex
import sys
from collections.abc import Mapping, Sequence

from camara_otp.sandbox.config import DESCRIPTIONS, DIALECTS, example_token
from camara_otp.sandbox.engine import Engine
from camara_otp.sandbox.http import is_this_machine
from camara_otp.sandbox.load import PREFIX, SETTINGS, load, parse, variables

_BANNER = """\
The sandbox is running.

  inbox     {url}/
  base URL  {url}
  paths     {paths}

Try it:

  curl {url}{path}/send-code \\
    -H {authorization} -H 'Content-Type: application/json' \\
    -d '{{"phoneNumber": "+346661113334", "message": "{{{{code}}}} is your code"}}'

Stop with Ctrl+C."""

_EXPOSED = """\
Warning: {host} can be reached from other machines. Any of them can read every SMS and code in the
inbox, send and check codes, and change or reset this sandbox. It has no password.
"""


def main(
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    program: str = "python -m camara_otp.sandbox",
) -> int:
    """Run the server until it is interrupted, and return the exit code.

    By default, arguments and environment are the process's own. `program` is its name in messages.
    """
    environ = os.environ if environ is None else environ
    parser = _parser(variables(environ), program)
    options = vars(parser.parse_args(arguments))
    host, port, file, expose = (options.pop(name) for name in ("host", "port", "config", "expose"))
    try:
        # Only here, since this needs the extra; the command line's help does not.
        from camara_otp.sandbox import server  # noqa: PLC0415

        config = load(file, environ, **{name: parse(name, text) for name, text in options.items() if text is not None})
        server.check_exposure(host, expose=expose)
        listener = server.listen(host, port)
    except FileNotFoundError as error:
        parser.exit(2, f"{parser.prog}: {error.filename}: there is no such file; check --config or {PREFIX}CONFIG\n")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            parser.exit(2, f"{parser.prog}: {error}\n")
        parser.exit(2, f"{parser.prog}: port {port}: already in use; choose another with --port, or --port 0 for any\n")
    except (ValueError, RuntimeError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    with listener:
        url = server.url_of(listener)
        if not is_this_machine(host):
            sys.stderr.write(_EXPOSED.format(host=host))
        paths = ", ".join(path or "/" for path in config.api_paths)
        authorization = shlex.quote(f"Authorization: Bearer {example_token(config)}")
        banner = _BANNER.format(url=url, path=config.api_paths[0], paths=paths, authorization=authorization)
        print(banner, flush=True)  # noqa: T201
        with contextlib.suppress(KeyboardInterrupt):
            server.SandboxServer(Engine(config), exposed=expose).run(sockets=[listener])
    return 0


def _parser(texts: Mapping[str, str], program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Run a local operator for one-time codes, with an inbox to look at.",
        epilog=f"Every setting can also be set in the environment, as {PREFIX}MAX_SEND=9, or in the TOML file.",
    )
    parser.add_argument("--host", default=texts.get("host", "127.0.0.1"), help="address to listen on")
    parser.add_argument(
        "--port", type=int, default=texts.get("port", "9091"), help="port to listen on; 0 takes a free one"
    )
    parser.add_argument(
        "--expose",
        action="store_true",
        help="allow an address beyond loopback: others can then read every code and change the sandbox",
    )
    parser.add_argument("--config", metavar="FILE", help="a TOML file with settings and [[faults]]")
    settings = parser.add_argument_group("settings")
    settings.add_argument("--dialect", choices=tuple(DIALECTS), help="settings of a server seen in the field")
    for name, text in DESCRIPTIONS.items():
        if name in SETTINGS:
            option = "--" + name.replace("_", "-")
            settings.add_argument(option, metavar="VALUE", dest=name, help=text.replace("%", "%%"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
