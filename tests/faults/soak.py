"""The long soak: `make soak` drives both clients at full speed for ten minutes and watches memory and connections.

    python -m tests.faults.soak [MINUTES]

Most calls end well, some end as faults; what belongs to the process at the end is what belonged to it after the first
tenth of the time.
"""

import gc
import os
import sys
import time
from collections import Counter
from pathlib import Path

import anyio

from camara_otp import AsyncOTPClient, OTPClient, OTPError, RetryPolicy
from tests.faults.drive import MESSAGE, NUMBER, TOKEN
from tests.faults.scenarios import raw
from tests.faults.server import FaultServer

ANSWERS = [raw()] * 95 + [
    raw(400, b'{"code":"INVALID_ARGUMENT"}'),
    raw(500, b"<html>"),
    raw(200, b"{}"),
    raw()[:-5],
    raw() + raw(204, b""),
]
GROWTH = 8 * 2**20


async def script(c):
    """Respond well to most requests; cut, stray and break some."""
    while await c.request():
        answer = ANSWERS[c.listener.posts % len(ANSWERS)]
        await c.send(answer)
        if len(answer) < len(raw()) - 1 and answer.startswith(b"HTTP/1.1 200") and not answer.endswith(b"{}"):
            c.close()
            return


def resident():
    """Return the memory of this process, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors():
    """Return the number of open files and sockets of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def soak(minutes: float) -> int:
    """Run, print the counts, and return 1 if memory or descriptors grew."""
    ends = Counter()
    until = time.monotonic() + minutes * 60
    first_tenth = time.monotonic() + minutes * 6
    with FaultServer() as server:
        listener = server.listen(script)
        url, options = f"http://127.0.0.1:{listener.port}", {"token": TOKEN, "retry": RetryPolicy(first_wait=0.001)}
        before = None
        with OTPClient(url, **options) as client:
            while time.monotonic() < until:
                for _ in range(1000):
                    ends[_end(client)] += 1
                anyio.run(_tasks, url, options, ends, backend="trio" if sum(ends.values()) % 4000 else "asyncio")
                if before is None and time.monotonic() >= first_tenth:
                    before = resident(), descriptors()
        after = resident(), descriptors()
    before = before or after
    print(f"{sum(ends.values())} calls in {minutes:g} minutes: {dict(ends)}")
    print(f"memory {before[0] >> 20} -> {after[0] >> 20} MiB, descriptors {before[1]} -> {after[1]}")
    return int(after[0] - before[0] > GROWTH or after[1] - before[1] > 50)


def _end(client):
    try:
        return type(client.send_code(NUMBER, MESSAGE)).__name__
    except OTPError as error:
        return type(error).__name__


async def _tasks(url, options, ends):
    async with AsyncOTPClient(url, **options) as client, anyio.create_task_group() as tasks:

        async def work():
            for _ in range(20):
                try:
                    ends[type(await client.send_code(NUMBER, MESSAGE)).__name__] += 1
                except OTPError as error:
                    ends[type(error).__name__] += 1

        for _ in range(50):
            tasks.start_soon(work)


if __name__ == "__main__":
    sys.exit(soak(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0))
