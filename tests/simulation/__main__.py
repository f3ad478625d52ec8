"""Simulate for some seconds: `python -m tests.simulation [SECONDS [SEED]]`, or `make simulate SECONDS=60`.

With a seed, run its episode alone and print the schedule.
"""

import secrets
import sys
import time

from tests.simulation import episode
from tests.simulation.world import Violation

CALLS_PER_SECOND = 850
"""A slow machine takes longer, so that a minute always stands for 50,000 calls."""


def main(arguments: list[str]) -> int:
    """Return 1 if an invariant does not hold."""
    if len(arguments) > 1:
        print(episode.schedule(int(arguments[1])))
        return 0
    seconds = float(arguments[0]) if arguments else 60.0
    seed = secrets.randbits(32) - 1
    began = time.perf_counter()

    def seeds():
        nonlocal seed
        while True:
            seed += 1
            yield seed

    try:
        totals = episode.simulate(seeds(), seconds, int(seconds * CALLS_PER_SECOND))
    except Violation as violation:
        print(episode.schedule(seed))
        print(f"{violation}\nrepeat it with: make simulate SECONDS=1 SEED={seed}")
        return 1
    calls, episodes = totals.pop("calls"), totals.pop("episodes")
    print(f"simulated {calls:,} calls in {episodes:,} episodes in {time.perf_counter() - began:.0f} s; no violation")
    for name, number in totals.most_common():
        print(f"{number:>9,}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
