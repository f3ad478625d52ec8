"""Send a code to each of a list of test numbers, some at a time, and never to one twice, also after a crash.

    python examples/send_to_list.py numbers.txt results.jsonl --at-once 10

Every line of the result file is written through to the disk. The line that says "sending" is there before the request
goes out, so a number whose request was cut short by a crash is known, and is reported as unknown instead of being
texted again. Run it again to go on where it stopped. Settings come from CAMARA_BASE_URL and CAMARA_BEARER_TOKEN.
"""

import argparse
import asyncio
import fcntl
import json
import os
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from camara_otp import (
    AsyncOTPClient,
    HTTP401Error,
    OTPError,
    RequestNotSentError,
    TokenError,
    TooManyRequestsError,
)

MESSAGE = "{{code}} is your code for Cool App"
# After these errors no text was sent, so another run may try again: no connection, no valid token, too fast.
NOT_SENT = (RequestNotSentError, TokenError, HTTP401Error, TooManyRequestsError)


class Results:
    """The result file: what became of each number, by the last line that names it."""

    def __init__(self, file: Any) -> None:
        """Read what earlier runs wrote; a line that a crash cut short is dropped."""
        self._file = file
        self.state: dict[str, str] = {}
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            record = json.loads(line)
            self.state[record["number"]] = record["state"]
            whole += len(line)
        file.truncate(whole)
        file.seek(whole)

    def write(self, number: str, state: str, **more: Any) -> None:
        """Write one line and wait until the disk has it."""
        self._file.write(json.dumps({"number": number, "state": state, **more}).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.state[number] = state


@contextmanager
def opened(path: Path) -> Generator[Results, None, None]:
    """Open a result file for this process alone; others may not read it, for it holds numbers."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"{path} is in use by another run")
        yield Results(file)


async def send(otp: AsyncOTPClient, number: str, results: Results) -> None:
    """Send one code, with a line before and a line after."""
    results.write(number, "sending")
    try:
        sent = await otp.send_code(number, MESSAGE)
    except NOT_SENT as error:
        results.write(number, "not sent", error=type(error).__name__, x_correlator=error.x_correlator)
    except OTPError as error:
        state = "unknown" if error.outcome_unknown else "refused"
        results.write(number, state, error=type(error).__name__, x_correlator=error.x_correlator)
    else:
        results.write(number, "sent", authentication_id=sent.authentication_id, x_correlator=sent.x_correlator)


async def send_all(numbers: list[str], results: Results, at_once: int) -> None:
    """Work through the numbers that are left, showing how far it is."""
    left = [number for number in numbers if results.state.get(number, "not sent") == "not sent"]
    waiting = iter(left)
    done = 0

    async def worker() -> None:
        nonlocal done
        for number in waiting:  # one iterator for all: each number is taken once
            await send(otp, number, results)
            done += 1
            bar = "#" * (30 * done // len(left))
            print(f"\r[{bar:<30}] {done}/{len(left)}", end="", file=sys.stderr, flush=True)

    async with AsyncOTPClient() as otp, asyncio.TaskGroup() as tasks:
        for _ in range(min(at_once, len(left))):
            tasks.create_task(worker())
    print(file=sys.stderr)


def main() -> None:
    """Read the numbers, send, and say what became of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("numbers", type=Path, help="text file with one number in E.164 form on each line")
    parser.add_argument("results", type=Path, help="result file, made or gone on with")
    parser.add_argument("--at-once", type=int, default=10, help="calls in flight (default: 10)")
    options = parser.parse_args()
    numbers = list(dict.fromkeys(options.numbers.read_text("utf-8").split()))
    with opened(options.results) as results:
        for number, state in list(results.state.items()):
            if state == "sending":
                results.write(number, "unknown", error="interrupted")
        asyncio.run(send_all(numbers, results, options.at_once))
        for state, count in Counter(results.state[number] for number in numbers).most_common():
            print(f"{count:>6} {state}")


if __name__ == "__main__":
    main()
