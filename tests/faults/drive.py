"""Drive every row of the fault table in every mode and runtime, judge the outcomes, and print a report."""

import functools
import gc
import os
import pickle
import socket
import ssl
import time
import traceback
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import anyio

from camara_otp import (
    AsyncOTPClient,
    OTPClient,
    OTPError,
    RetryPolicy,
    SendCodeResponse,
    TransportError,
    ValidateCodeResponse,
)
from tests.faults.modes import MODES, RUNTIMES, entered
from tests.faults.scenarios import OTHER_ID, ROWS, TIMEOUT

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
KINDS = {
    "sent twice": "sent twice",
    "falsely verified": "falsely verified",
    "foreign exception": "foreign",
    "late": "late",
    "over memory": "memory",
    "leak": "leaks",
    "wrong result": "wrong result",
    "outcome_unknown wrong": "unknown wrong",
}
"""The kinds of problems that the report counts, and their columns."""


class Result:
    """The outcome of a row in a mode and a runtime."""

    def __init__(self, scenario, mode, runtime, outcome, seconds, listener):
        self.scenario, self.mode, self.runtime, self.outcome, self.seconds = scenario, mode, runtime, outcome, seconds
        self.peak = 0
        self.posts, self.trouble = listener.posts - scenario.warm, listener.trouble

    def unexpected(self):
        """Return the problems that the mode does not excuse."""
        excused = self.mode.excuses(self.scenario, self.runtime)
        return [(kind, text) for kind, text in self.problems() if kind not in excused]

    def problems(self):
        """Yield what is wrong, by kind."""
        scenario, outcome = self.scenario, self.outcome
        if isinstance(outcome, BaseException) and not isinstance(outcome, OTPError):
            yield "foreign exception", repr(outcome)
            return
        fits = isinstance(outcome, TransportError) if scenario.expected is TransportError else False
        if type(outcome) is not scenario.expected and not fits:
            kind = "falsely verified" if isinstance(outcome, ValidateCodeResponse) else "wrong result"
            yield kind, f"{outcome!r} instead of {scenario.expected.__name__}"
        if isinstance(outcome, SendCodeResponse) and outcome.authentication_id == OTHER_ID:
            yield "wrong result", "the id of another text"
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


def _url(scenario, mode, listener):
    return f"{'https' if scenario.tls else 'http'}://{scenario.host or mode.host}:{listener.port}"


def _timeout(scenario):
    return TIMEOUT if scenario.slow else AMPLE


def _options(scenario, mode, http_client):
    return {
        "token": TOKEN,
        "timeout": _timeout(scenario),
        "retry": RetryPolicy(first_wait=0.01),
        "allow_http": mode.host != "127.0.0.1",
        "http_client": http_client,
        **scenario.options,
    }


@functools.cache
def _trusting():
    return ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])


def _callers_client(scenario, mode, *, asynchronous):
    made = {}
    if scenario.caller is not None:
        made = scenario.caller(import_module(mode.library), asynchronous)
    return mode.client("AsyncClient" if asynchronous else "Client", verify=_trusting(), **made)


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


def _in_mode(scenario, mode):
    """Return the row as a mode expects it to end."""
    forwarded = mode.name == "proxy" and scenario.tls is None
    return scenario._replace(**scenario.proxied) if forwarded else scenario


def _run_sync(faults, mode, scenarios, workers):
    def one(scenario):
        listener = _listen(faults, scenario)
        with (
            _callers_client(scenario, mode, asynchronous=False) as http_client,
            OTPClient(_url(scenario, mode, listener), **_options(scenario, mode, http_client)) as client,
        ):
            first = scenario.first or scenario.operation
            for _ in range(scenario.warm):
                getattr(client, first)(*ARGUMENTS[first])
            began = time.monotonic()
            try:
                outcome = getattr(client, scenario.operation)(*ARGUMENTS[scenario.operation])
            except BaseException as error:
                outcome = error
            seconds = time.monotonic() - began
        listener.close()
        return Result(scenario, mode, "sync", outcome, seconds, listener)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, scenarios))


def _run_async(faults, mode, runtime, scenarios, workers):
    results = []

    async def one(scenario, limiter):
        async with limiter:
            listener = _listen(faults, scenario)
            async with (
                _callers_client(scenario, mode, asynchronous=True) as http_client,
                AsyncOTPClient(_url(scenario, mode, listener), **_options(scenario, mode, http_client)) as client,
            ):
                first = scenario.first or scenario.operation
                for _ in range(scenario.warm):
                    await getattr(client, first)(*ARGUMENTS[first])
                began = time.monotonic()
                try:
                    outcome = await getattr(client, scenario.operation)(*ARGUMENTS[scenario.operation])
                except Exception as error:
                    outcome = error
                seconds = time.monotonic() - began
            listener.close()
            results.append(Result(scenario, mode, runtime, outcome, seconds, listener))

    async def main():
        limiter = anyio.CapacityLimiter(workers)
        async with anyio.create_task_group() as tasks:
            for scenario in scenarios:
                tasks.start_soon(one, scenario, limiter)

    anyio.run(main, backend=runtime)
    return results


def run(faults, mode, runtime, scenarios=ROWS, workers=16):
    """Run the rows of a mode in a runtime, some at a time."""
    scenarios = [_in_mode(scenario, mode) for scenario in scenarios if mode.runs(scenario)]
    with entered(mode, faults):
        try:
            if runtime == "sync":
                return _run_sync(faults, mode, scenarios, workers)
            return _run_async(faults, mode, runtime, scenarios, workers)
        finally:
            gc.collect()


def measured(faults, mode, runtime):
    """Run the heavy rows one at a time, and measure the peak of the whole process, server included."""
    for scenario in ROWS:
        if scenario.name not in HEAVY or not mode.runs(scenario):
            continue
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            (result,) = run(faults, mode, runtime, [scenario])
            result.peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        result.seconds = 0.0  # the measurement takes time; `run` judges it
        yield result


def report(results):
    """Return the table of problems by mode and runtime; those that a mode excuses are in brackets."""
    lines = [f"{'mode':<26}{'rows':>6}" + "".join(f"{column:>18}" for column in KINDS.values())]
    for mode in MODES.values():
        for runtime in RUNTIMES:
            mine = [result for result in results if result.mode is mode and result.runtime == runtime]
            if mine:
                lines.append(f"{f'{mode.name}, {runtime}':<26}{len({r.scenario.name for r in mine}):>6}{_cells(mine)}")
    slowest = max(result.seconds for result in results if result.scenario.slow and result.scenario.kind != "drip")
    return "\n".join(
        [
            *lines,
            "In brackets: what a caller's client cannot be made to keep (SECURITY.md).",
            f"Slowest row with a deadline of {TIMEOUT} s, drips excepted: {slowest:.2f} s.",
        ]
    )


def _cells(results):
    counted, excused = Counter(), Counter()
    for result in results:
        excuses = result.mode.excuses(result.scenario, result.runtime)
        for kind, _ in result.problems():
            (excused if kind in excuses else counted)[kind] += 1
    return "".join(f"{f'{counted[kind]}' + (f' ({excused[kind]})' if excused[kind] else ''):>18}" for kind in KINDS)
