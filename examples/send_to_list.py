"""Send a code to each number of a list, several at a time, and never twice to one number, even after a crash.

    python send_to_list.py numbers.txt results.jsonl --at-once 10

Each line of the result file is written to the disk at once. The line with the state "sending" is written before the
request is sent. So after a crash, a number with that state is reported as unknown, and no second SMS is sent to it.
Run the script again to continue. The settings are CAMARA_BASE_URL and CAMARA_BEARER_TOKEN.
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
# After these errors no SMS was sent, so the next run tries again: no connection, no valid token, rate limit.
NOT_SENT = (RequestNotSentError, TokenError, HTTP401Error, TooManyRequestsError)


class Results:
    """The result file: the state of each number is in the last line that names it."""

    def __init__(self, file: Any) -> None:
        """Read the lines of earlier runs, and drop an incomplete last line."""
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
        """Write one line, and wait until it is on the disk."""
        self._file.write(json.dumps({"number": number, "state": state, **more}).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.state[number] = state


@contextmanager
def opened(path: Path) -> Generator[Results, None, None]:
    """Open and lock a result file. Only its owner can read it, because it contains numbers."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"{path}: in use by another run; wait until it ends")
        yield Results(file)


async def send(otp: AsyncOTPClient, number: str, results: Results) -> None:
    """Send one code, and write a line before and after it."""
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
    """Send to the remaining numbers, and print the progress."""
    left = [number for number in numbers if results.state.get(number, "not sent") == "not sent"]
    waiting = iter(left)
    done = 0

    async def worker() -> None:
        nonlocal done
        for number in waiting:  # all workers share one iterator, so each number is taken once
            await send(otp, number, results)
            done += 1
            bar = "#" * (30 * done // len(left))
            print(f"\r[{bar:<30}] {done}/{len(left)}", end="", file=sys.stderr, flush=True)

    async with AsyncOTPClient() as otp, asyncio.TaskGroup() as tasks:
        for _ in range(min(at_once, len(left))):
            tasks.create_task(worker())
    print(file=sys.stderr)


def main() -> None:
    """Read the numbers, send the codes, and print a count of each state."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("numbers", type=Path, help="text file with one number in E.164 form on each line")
    parser.add_argument("results", type=Path, help="result file; created, or continued")
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
