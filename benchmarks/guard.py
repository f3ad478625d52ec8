"""Measure the CPU time of one `Guard.sending` with the memory store, in microseconds; the bar is 20.

    make bench-guard

Each call has a new number and a new IP address. The figure is the best of several rounds, so that other work on the
machine does not count.
"""

import itertools
import time

from conditions import conditions

from camara_otp.guard import Guard, Limit

CALLS = 20_000
ROUNDS = 7
BAR = 20.0

_serial = itertools.count()


def microseconds(guard: Guard, **keys: str) -> float:
    """Return the CPU time per call, without that of making the numbers."""
    numbers = [f"+3466{next(_serial):07}" for _ in range(CALLS)]
    sending = guard.sending
    began = time.process_time()
    for number in numbers:
        with sending(number, **keys):
            pass
    return (time.process_time() - began) / CALLS * 1e6


def main() -> int:
    unlimited = 10**9
    limits = [Limit("number", 5, per=3600), Limit("ip", unlimited, per=3600), Limit("prefix", unlimited, per=3600)]
    figures = {
        "cool-down and countries": min(microseconds(Guard(countries=["34"])) for _ in range(ROUNDS)),
        "and three limits": min(
            microseconds(Guard(countries=["34"], limits=limits), ip="203.0.113.7") for _ in range(ROUNDS)
        ),
        "and conversion": min(
            microseconds(
                Guard(countries=["34"], limits=limits, min_conversion=0.1, conversion_sample=unlimited),
                ip="203.0.113.7",
            )
            for _ in range(ROUNDS)
        ),
    }
    print(conditions("bench-guard", "camara-otp"))
    for name, figure in figures.items():
        print(f"{name:26}{figure:6.1f} us")
    return int(max(figures.values()) > BAR)


if __name__ == "__main__":
    raise SystemExit(main())
