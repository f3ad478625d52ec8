"""The waits, and the two drivers: one for threads, one for tasks."""

import time
from types import SimpleNamespace

import anyio
import pytest

from camara_otp._exchange import waits
from camara_otp._exchange.waits import PAUSE, Late, Signal, TimeLimit, adrive, drive

BACKENDS = ["asyncio", "trio"]


@pytest.fixture(params=["threads", *BACKENDS])
def driven(request):
    """Return a function that drives a generator of waits to its end."""

    def to_its_end(steps, seconds):
        deadline = time.monotonic() + seconds
        if request.param == "threads":
            return drive(steps, deadline)
        return anyio.run(adrive, steps, deadline, backend=request.param)

    return to_its_end


def test_after_a_limit_has_passed_the_next_one_counts(driven):
    """As for the next address of a host, when the one before did not respond."""

    def steps():
        events = []
        for seconds in (0.01, 0.01, 60):
            yield TimeLimit(time.monotonic() + seconds)
            try:
                yield PAUSE if seconds == 60 else Signal()
                events.append("in time")
            except Late:
                events.append("late")
        return events

    assert driven(steps(), 60) == ["late", "late", "in time"]


def test_the_end_of_a_driver_closes_the_generator(driven):
    """Whatever ends it: here an exception out of a wait."""
    closed = []

    class Broken(Signal):
        def block(self, seconds):
            raise KeyError(seconds)

        async def arrive(self):
            raise KeyError

    def steps():
        try:
            yield Broken()
        finally:
            closed.append(True)

    generator = steps()
    with pytest.raises(KeyError):
        driven(generator, 60)
    assert closed


def test_a_signal_that_comes_while_the_wait_begins_is_not_lost(driven, monkeypatch):
    """A thread may announce the event between two lines of the wait."""
    signal = Signal()
    lock, setter = waits.threading.Lock, waits.setter

    def at_that_moment(begin):
        def begun(*args):
            signal.set()
            return begin(*args)

        return begun

    monkeypatch.setattr(waits, "threading", SimpleNamespace(Lock=at_that_moment(lock)))
    monkeypatch.setattr(waits, "setter", at_that_moment(setter))

    def steps():
        yield signal
        return "woken"

    assert driven(steps(), 5) == "woken"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pause_lets_other_tasks_run(backend):
    """A long computation on an event loop takes turns with them."""
    turns = []

    async def pausing():
        for _ in range(5):
            turns.append("pause")
            await PAUSE.arrive()

    async def other():
        for _ in range(5):
            turns.append("other")
            await anyio.lowlevel.checkpoint()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(pausing)
            group.start_soon(other)

    anyio.run(main, backend=backend)
    assert " ".join(["pause"] * 5) not in " ".join(turns)
