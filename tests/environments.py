"""Run a part of the tests in each environment that users have: `make environments`."""

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TESTS = [
    "tests/cli/test_streams.py",
    "tests/sandbox/test_server.py",
    "tests/test_end_to_end.py",
]
SECONDS = 300
NOBODY = 65534
# These change what a child process inherits; pytest itself must keep its assertions.
FOR_CHILDREN = "import os, sys, pytest; os.environ.update({!r}); sys.exit(pytest.main())"


class Environment(NamedTuple):
    """How the tests run: variables (None removes one), interpreter options, and the steps before they start."""

    name: str
    variables: Mapping[str, str | None] = {}
    options: tuple[str, ...] = ("-m", "pytest")
    prefix: tuple[str, ...] = ()
    prepare: Callable[[], object] | None = None
    busy: int = 0
    workers: int = 2
    umask: int = -1


def bring_up_loopback() -> None:
    """Start the loopback interface of a new network namespace, without IPv6."""
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up, running


ENVIRONMENTS = [
    Environment("LC_ALL=POSIX", {"LC_ALL": "POSIX"}),
    Environment("ASCII", {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    Environment("HOME unset", {"HOME": None}),
    Environment("HOME read-only", {"HOME": "/proc"}),
    Environment("time zone 14 hours ahead", {"TZ": "Pacific/Kiritimati"}),
    Environment("SIGINT ignored", prepare=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)),
    Environment("warnings are errors", {"PYTHONWARNINGS": "error"}),
    Environment("unbuffered", {"PYTHONUNBUFFERED": "1"}),
    Environment("python -bb", options=("-bb", "-m", "pytest"), workers=0),
    Environment("PYTHONOPTIMIZE=2", options=("-c", FOR_CHILDREN.format({"PYTHONOPTIMIZE": "2"})), workers=0),
    Environment("one core", prepare=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})),
    Environment("two busy processes", busy=2),
]
# An unprivileged user who may read everything, because the interpreter may be installed in a private folder.
AS_NOBODY = (
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
)  # fmt: skip
FOR_ROOT = [
    Environment("not root, umask 077", prefix=AS_NOBODY, umask=0o077),
    Environment("no IPv6", prefix=("unshare", "--net", sys.executable, __file__, "--without-ipv6")),
]


def run(environment: Environment, log: Path) -> tuple[bool, str]:
    """Run the tests in an environment; return whether they passed, and the last line of their output."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if environment.prefix == AS_NOBODY:
            os.chown(folder, NOBODY, NOBODY)
        for _ in range(environment.busy):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(busy.wait)
            stack.callback(busy.kill)
        variables = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment.variables}
        command = [
            *environment.prefix, sys.executable, *environment.options, "-q", "-m", "not long",
            "-n", environment.workers, "-p", "no:cacheprovider", "--basetemp", folder / "tests", *TESTS,
        ]  # fmt: skip
        with log.open("w") as output:
            done = subprocess.run(
                list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={name: value for name, value in variables.items() if value is not None},
                preexec_fn=environment.prepare, umask=environment.umask, timeout=SECONDS, check=False,
            )  # fmt: skip
    lines = log.read_text("utf-8", "replace").split("\n")
    return done.returncode == 0, next((line for line in reversed(lines) if line.strip()), "")


def main(arguments: list[str]) -> int:
    """Run the environments whose name holds an argument, or all; print a table."""
    if arguments[:1] == ["--without-ipv6"]:
        bring_up_loopback()
        os.execv(arguments[1], arguments[1:])
    chosen = [e for e in ENVIRONMENTS + FOR_ROOT if not arguments or any(part in e.name for part in arguments)]
    failed = []
    with tempfile.TemporaryDirectory() as logs:
        for environment in chosen:
            began = time.monotonic()
            if environment in FOR_ROOT and (os.geteuid() != 0 or not shutil.which(environment.prefix[0])):
                passed, line = not os.environ.get("CI"), f"skipped: needs root and {environment.prefix[0]}"
            else:
                passed, line = run(environment, log := Path(logs) / "log")
                if not passed:
                    print(log.read_text("utf-8", "replace"))
            failed += [] if passed else [environment.name]
            seconds, verdict = time.monotonic() - began, "ok" if passed else "FAILED"
            print(f"{environment.name:<26} {verdict:<7} {seconds:5.1f} s  {line}", flush=True)
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
