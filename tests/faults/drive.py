"""Drive every scenario in every mode, judge what comes back, and print a report."""

import functools
import os
import pickle
import socket
import ssl
import time
import traceback
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import anyio

from camara_otp import AsyncOTPClient, OTPClient, OTPError, RetryPolicy, TransportError
from tests.faults.scenarios import ROWS, TIMEOUT

NUMBER = "+34666111333444"
MESSAGE = "zq-message-zq {{code}}"
AUTHENTICATION_ID = "zq-authentication-id-zq"
CODE = "zqcodezq"
TOKEN = "zq-token-zq"
SECRETS = ("zq-", "zqcode", "666111333444")
ARGUMENTS = {"send_code": (NUMBER, MESSAGE), "validate_code": (AUTHENTICATION_ID, CODE)}
# Rows that do not end by the deadline get a deadline that a busy machine cannot reach.
AMPLE = 20.0
SLACK = 2.0
CAP = 65_536
HEAVY = (
    "a gzip bomb",
    "a deflate bomb",
    "gzip within gzip",
    "a gzip bomb in an error",
    "200 with an id of 10 MB",
    "an endless body",
    "an endless chunked body",
    "a chunk that never ends",
    "flood of one header",
    "flood of header lines",
    "flood of interim answers",
)
MODES = ("sync", "asyncio", "trio")


class Result:
    """What came of a scenario in a mode."""

    def __init__(self, scenario, mode, outcome, seconds, listener):
        self.scenario, self.mode, self.outcome, self.seconds = scenario, mode, outcome, seconds
        self.peak = 0
        self.posts, self.trouble = listener.posts - scenario.warm, listener.trouble

    def problems(self):
        """Return what is wrong, by kind."""
        scenario, outcome = self.scenario, self.outcome
        if isinstance(outcome, BaseException) and not isinstance(outcome, OTPError):
            yield "foreign exception", repr(outcome)
            return
        fits = isinstance(outcome, TransportError) if scenario.expected is TransportError else False
        if type(outcome) is not scenario.expected and not fits:
            yield "wrong result", f"{outcome!r} instead of {scenario.expected.__name__}"
        if isinstance(outcome, OTPError):
            if scenario.unknown is not None and outcome.outcome_unknown is not scenario.unknown:
                yield "outcome_unknown wrong", f"{outcome!r}"
            if scenario.status is not None and getattr(outcome, "status", None) != scenario.status:
                yield "wrong status", f"{outcome!r}"
            if scenario.code is not None and getattr(outcome, "code", None) != scenario.code:
                yield "wrong code", f"{outcome!r}"
            if not outcome.x_correlator or outcome.operation != scenario.operation or not outcome.attempts:
                yield "not said where", f"{outcome.__dict__}"
            shown = " ".join(_shown(outcome))
            if any(secret in shown for secret in SECRETS):
                yield "leak", shown[:300]
            if outcome.__cause__ or outcome.__context__:
                yield "chained", repr(outcome.__cause__ or outcome.__context__)
        if self.seconds > _timeout(scenario) + SLACK:
            yield "late", f"{self.seconds:.2f} s"
        if self.peak > CAP + 8 * 2**20:
            yield "over memory", f"{self.peak / 2**20:.1f} MiB"
        if self.posts > scenario.posts:
            yield "sent twice", f"{self.posts} POSTs"
        if self.trouble:
            yield "server trouble", repr(self.trouble)


def _shown(error):
    yield from (str(error), repr(error), repr(error.__dict__), repr(pickle.dumps(error)))
    for frame in traceback.TracebackException.from_exception(error, capture_locals=True).stack:
        if "camara_otp" in frame.filename:
            yield repr(frame.locals)


def _url(scenario, listener):
    return f"{'https' if scenario.tls else 'http'}://127.0.0.1:{listener.port}"


def _timeout(scenario):
    return TIMEOUT if scenario.slow else AMPLE


def _options(scenario):
    return {"token": TOKEN, "timeout": _timeout(scenario), "retry": RetryPolicy(first_wait=0.01), **scenario.options}


@functools.cache
def _trusting():
    return ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])


class _Refusing:
    """A port that refuses connections: bound, so that no other listener gets it, but not listening."""

    posts, trouble = 0, ()

    def __init__(self):
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def close(self):
        self._socket.close()


def _listen(faults, scenario):
    if scenario.script is None:
        return _Refusing()
    context = None if scenario.tls in (None, "stalled") else getattr(faults, scenario.tls)
    return faults.listen(scenario.script, tls=context)


def run_sync(faults, scenarios, http=None, workers=16):
    """Run the scenarios with the sync client, some at a time; through a caller's client where a library is given."""

    def one(scenario):
        listener = _listen(faults, scenario)
        with (
            http.Client(verify=_trusting()) if http else nullcontext() as http_client,
            OTPClient(_url(scenario, listener), http_client=http_client, **_options(scenario)) as client,
        ):
            for _ in range(scenario.warm):
                getattr(client, scenario.operation)(*ARGUMENTS[scenario.operation])
            began = time.monotonic()
            try:
                outcome = getattr(client, scenario.operation)(*ARGUMENTS[scenario.operation])
            except BaseException as error:
                outcome = error
            seconds = time.monotonic() - began
        listener.close()
        return Result(scenario, "sync", outcome, seconds, listener)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, scenarios))


def run_async(faults, scenarios, backend, http=None, workers=16):
    """Run the scenarios with the async client, some at a time; through a caller's client where a library is given."""
    results = []

    async def one(scenario, limiter):
        async with limiter:
            listener = _listen(faults, scenario)
            async with (
                http.AsyncClient(verify=_trusting()) if http else nullcontext() as http_client,
                AsyncOTPClient(_url(scenario, listener), http_client=http_client, **_options(scenario)) as client,
            ):
                for _ in range(scenario.warm):
                    await getattr(client, scenario.operation)(*ARGUMENTS[scenario.operation])
                began = time.monotonic()
                try:
                    outcome = await getattr(client, scenario.operation)(*ARGUMENTS[scenario.operation])
                except Exception as error:
                    outcome = error
                seconds = time.monotonic() - began
            listener.close()
            results.append(Result(scenario, backend, outcome, seconds, listener))

    async def main():
        limiter = anyio.CapacityLimiter(workers)
        async with anyio.create_task_group() as tasks:
            for scenario in scenarios:
                tasks.start_soon(one, scenario, limiter)

    anyio.run(main, backend=backend)
    return results


def run(faults, mode, scenarios=ROWS, http=None):
    """Run the scenarios in a mode."""
    return run_sync(faults, scenarios, http) if mode == "sync" else run_async(faults, scenarios, mode, http)


def measured(faults, mode):
    """Run the heavy scenarios one at a time, and measure the peak of the whole process, server included."""
    for scenario in ROWS:
        if scenario.name not in HEAVY:
            continue
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            # Measuring slows everything down, so time is judged elsewhere.
            (result,) = run(faults, mode, [scenario._replace(options={**scenario.options, "timeout": 3})])
            result.peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        result.seconds = 0.0
        yield result


def report(results):
    """Return the report over all modes."""
    kinds = Counter(kind for result in results for kind, _ in result.problems())
    modes = sorted({result.mode for result in results}, key=MODES.index)
    slowest = max(result.seconds for result in results if result.scenario.slow)
    lines = [
        f"faults: {len({result.scenario.name for result in results})} scenarios, modes: {', '.join(modes)}",
        *(
            f"  {name}: {kinds[kind]}"
            for name, kind in (
                ("texts sent twice", "sent twice"),
                ("foreign exceptions", "foreign exception"),
                ("late", "late"),
                *((("over memory", "over memory"),) if any(result.peak for result in results) else ()),
                ("leaks", "leak"),
                ("wrong results", "wrong result"),
                ("outcome_unknown wrong", "outcome_unknown wrong"),
            )
        ),
        f"  slowest row with a deadline of {TIMEOUT} s: {slowest:.2f} s",
    ]
    return "\n".join(lines)
