"""Measure the cost of a call, as ratios to the same call written by hand with httpx: `make bench`.

Every figure is the median of interleaved rounds in one run: a round of ours, a round of theirs, and so on, so that
whatever else the machine does falls on both. CPU is `time.process_time` of the client's process alone.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import trustme
from conditions import conditions

from camara_otp import AsyncOTPClient, OTPClient, OTPError
from camara_otp._exchange import Response

HERE = Path(__file__).parent
LAST = HERE / "results" / "last.json"
NUMBER = "+346661113334"
MESSAGE = "{{code}} is your short code to authenticate with Cool App via SMS"
TOKEN = "eyJhbGciOiJSUzI1NiJ9." + "t" * 780
BODY = b'{"authenticationId":"ea0840f3-3663-4149-bd10-c7c6b8912105"}'
REFUSAL = b'{"status":403,"code":"ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED","message":"Too many codes. Try later."}'
JSON = {"phoneNumber": NUMBER, "message": MESSAGE}
HEADERS = {"Authorization": f"Bearer {TOKEN}", "x-correlator": "b4333c46-49c0-4f62-80d7-f0ef930f1c46"}
PATH = "/otpvalidation/send-code"
ROUNDS = 7


class Report:
    """Collect figures, and print them with their goals and the figures of the last run."""

    def __init__(self):
        self.figures = {}
        self.failed = 0
        self.last = json.loads(LAST.read_text()) if LAST.exists() else {}
        print(f"{'what':<58} {'figure':>8} {'target':>8} {'last':>8}")

    def add(self, name, figure, target=None, note=""):
        """Add a figure; it must not be above its goal."""
        self.figures[name] = round(figure, 3)
        late = target is not None and figure > target
        self.failed += late
        last = self.last.get(name)
        print(
            f"{name:<58} {figure:>8.2f} {'' if target is None else format(target, '>8.2f'):>8} "
            f"{'' if last is None else format(last, '>8.2f'):>8}  {'MISSED ' if late else ''}{note}",
            flush=True,
        )

    def save(self):
        """Keep the figures for the next run."""
        LAST.parent.mkdir(exist_ok=True)
        LAST.write_text(json.dumps(self.figures, indent=1) + "\n")


def cpu(function, times):
    """Return the CPU seconds of one call."""
    gc.collect()
    began = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - began) / times


def interleaved(ours, theirs, rounds=ROUNDS):
    """Return the medians of both, measured alternately."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return tuple(statistics.median(column) for column in zip(*pairs, strict=True))


@contextlib.contextmanager
def operator(*arguments):
    """Run the server in a process of its own, and yield its port."""
    process = subprocess.Popen(
        [sys.executable, HERE / "server.py", *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def by_hand(client, url):
    """Make the call by hand."""
    client.post(url, json=JSON, headers=HEADERS).raise_for_status().json()


def call(client):
    """Make the call through this package."""
    with contextlib.suppress(OTPError):
        client.send_code(NUMBER, MESSAGE)


def in_process(report):
    """Measure over an instant transport: no network, no server."""
    for kind, answer, target, async_target in (
        ("success", (200, BODY), 0.85, 1.00),
        ("error", (403, REFUSAL), 1.90, 1.90),
    ):

        def instant(request, answer=answer):
            return httpx.Response(answer[0], content=answer[1], headers={"content-type": "application/json"})

        def hand(client):
            with contextlib.suppress(httpx.HTTPStatusError):
                by_hand(client, "https://api.example.com" + PATH)

        transport = httpx.MockTransport(instant)
        with httpx.Client(transport=transport) as theirs, httpx.Client(transport=transport) as http_client:
            ours = OTPClient("https://api.example.com", token=TOKEN, http_client=http_client)
            a, b = interleaved(lambda o=ours: cpu(lambda: call(o), 600), lambda t=theirs: cpu(lambda: hand(t), 600))
        report.add(f"in process, sync, {kind}", a / b, target, f"{a * 1e6:.0f} of {b * 1e6:.0f} us")
        asyncio.run(_in_process_async(report, kind, transport, async_target))


async def _in_process_async(report, kind, transport, target):
    async with httpx.AsyncClient(transport=transport) as theirs, httpx.AsyncClient(transport=transport) as http_client:
        ours = AsyncOTPClient("https://api.example.com", token=TOKEN, http_client=http_client)
        url = "https://api.example.com" + PATH

        async def round_of(one):
            began = time.process_time()
            for _ in range(400):
                with contextlib.suppress(OTPError, httpx.HTTPStatusError):
                    await one()
            return (time.process_time() - began) / 400

        async def hand():
            (await theirs.post(url, json=JSON, headers=HEADERS)).raise_for_status().json()

        pairs = [(await round_of(lambda: ours.send_code(NUMBER, MESSAGE)), await round_of(hand)) for _ in range(ROUNDS)]
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    report.add(f"in process, async, {kind}", a / b, target, f"{a * 1e6:.0f} of {b * 1e6:.0f} us")


def own_work(report):
    """Measure the work of this package without the exchange."""

    class Nothing:
        closed = False

        def request(self, outgoing):
            return Response(200, [(b"content-type", b"application/json"), outgoing.headers[-1]], BODY)

        def close(self):
            pass

    ours = OTPClient("https://api.example.com", token=TOKEN)
    ours._exchange = Nothing()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=BODY))
    with httpx.Client(transport=transport) as theirs:
        url = "https://api.example.com" + PATH
        a, b = interleaved(lambda: cpu(lambda: call(ours), 2000), lambda: cpu(lambda: by_hand(theirs, url), 600))
    report.add("own work, exchange taken out", a / b, 0.15, f"{a * 1e6:.1f} of {b * 1e6:.0f} us")


def on_the_wire(report, certificate):
    """Measure over loopback, plain and TLS, with threads and with tasks."""
    for name, scheme, arguments in (("plain", "http", ()), ("TLS", "https", ("--certificate", *certificate))):
        with operator(*arguments) as port:
            url = f"{scheme}://127.0.0.1:{port}"
            with OTPClient(url, token=TOKEN) as ours, httpx.Client() as theirs:
                call(ours)
                by_hand(theirs, url + PATH)
                for threads, times, target in ((1, 300, 0.45), (8, 60, 0.38)):
                    a, b = interleaved(
                        lambda o=ours, n=threads, m=times: _threads(lambda: call(o), n, m),
                        lambda t=theirs, n=threads, m=times, u=url: _threads(lambda: by_hand(t, u + PATH), n, m),
                    )
                    report.add(
                        f"wire, {name}, sync, {threads} thread{'s' * (threads > 1)}",
                        a / b,
                        target,
                        f"{a * 1e6:.0f} of {b * 1e6:.0f} us",
                    )
            asyncio.run(_tasks(report, name, url))


def _threads(function, threads, times):
    began = time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(lambda: [function() for _ in range(times)]) for _ in range(threads)]:
            done.result()
    return (time.process_time() - began) / threads / times


async def _round(tasks, calls, one):
    left = iter(range(calls))

    async def work():
        for _ in left:
            await one()

    cpu_began, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return (time.process_time() - cpu_began) / calls, time.perf_counter() - began


IN_FLIGHT = ((1, 300, 0.34), (10, 600, None), (100, 1000, 0.13), (1000, 3000, None))


async def _alone(url, tasks, calls):
    """Return the CPU of a call while no other client holds objects for the garbage collector to visit."""
    async with AsyncOTPClient(url, token=TOKEN, timeout=60) as ours:

        async def one():
            await ours.send_code(NUMBER, MESSAGE)

        await _round(tasks, tasks, one)
        return statistics.median([(await _round(tasks, calls, one))[0] for _ in range(5)])


async def _tasks(report, name, url, in_flight=IN_FLIGHT):
    for tasks, calls, target in in_flight:
        async with AsyncOTPClient(url, token=TOKEN, timeout=60) as ours, httpx.AsyncClient(timeout=60) as theirs:

            async def one(client=ours):
                await client.send_code(NUMBER, MESSAGE)

            async def hand(client=theirs):
                (await client.post(url + PATH, json=JSON, headers=HEADERS)).raise_for_status().json()

            pairs = []
            for _ in range(3 if tasks > 10 else 5):
                # The other's rounds take longer than an idle connection is kept.
                await _round(tasks, tasks, one)
                mine = (await _round(tasks, calls, one))[0]
                pairs.append((mine, (await _round(tasks, calls if tasks < 1000 else 1000, hand))[0]))
        a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
        report.add(f"wire, {name}, async, {tasks} concurrent", a / b, target, f"{a * 1e6:.0f} of {b * 1e6:.0f} us")
    if in_flight is IN_FLIGHT:
        cost = await _alone(url, 1000, 3000) / await _alone(url, 10, 1000)
        report.add(f"wire, {name}, async, cost at 1,000 over cost at 10", cost, 1.3)


def instrumented(report):
    """Measure over loopback with OpenTelemetry on httpx, for both: the hand-written call is instrumented too."""
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    HTTPXClientInstrumentor().instrument(tracer_provider=TracerProvider())
    try:
        with operator() as port:
            url = f"http://127.0.0.1:{port}"
            with OTPClient(url, token=TOKEN) as ours, httpx.Client() as theirs:
                call(ours)
                by_hand(theirs, url + PATH)
                a, b = interleaved(
                    lambda: cpu(lambda: call(ours), 300), lambda: cpu(lambda: by_hand(theirs, url + PATH), 300)
                )
            report.add("OpenTelemetry on httpx, sync", a / b, 0.75, f"{a * 1e6:.0f} of {b * 1e6:.0f} us")
            asyncio.run(_tasks(report, "OpenTelemetry on httpx", url, ((1, 300, 0.75), (100, 1000, 0.75))))
    finally:
        HTTPXClientInstrumentor().uninstrument()


def slow_operator(report):
    """Measure 1,000 concurrent calls to a server that answers after 200 ms."""

    async def run(url):
        async with AsyncOTPClient(url, token=TOKEN, timeout=60) as ours:

            async def one():
                await ours.send_code(NUMBER, MESSAGE)

            await _round(1000, 1000, one)
            return await _round(1000, 3000, one)

    with operator("--delay", 0.2) as port:
        cost, wall = asyncio.run(run(f"http://127.0.0.1:{port}"))
    # Not faster than the server answers, nor than one core can work.
    ideal = max(0.6, cost * 3000)
    report.add("200 ms server, 1,000 concurrent, wall over ideal", wall / ideal, 1.5, f"{wall:.2f} of {ideal:.2f} s")


def start(report, certificate, authority):
    """Measure fresh interpreters: the import, and the time to the first response over TLS."""
    environment = os.environ | {"SSL_CERT_FILE": authority, "PYTHONDONTWRITEBYTECODE": ""}

    def fresh(program):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, env=environment)
        return time.perf_counter() - began

    bare = min(fresh("pass") for _ in range(5))
    a, b = interleaved(lambda: fresh("import camara_otp") - bare, lambda: fresh("import httpx") - bare, 15)
    report.add("import camara_otp over import httpx", a / b, 1.35, f"{a * 1e3:.0f} of {b * 1e3:.0f} ms")
    with operator("--certificate", *certificate) as port:
        url = f"https://127.0.0.1:{port}"
        ours = f"from camara_otp import OTPClient\nOTPClient({url!r}, token='t').send_code({NUMBER!r}, {MESSAGE!r})"
        hand = f"import httpx\nhttpx.Client().post({url + PATH!r}, json={JSON!r}, headers={HEADERS!r}).json()"
        a, b = interleaved(lambda: fresh(ours), lambda: fresh(hand), 11)
    report.add("process start to first answer over TLS", a / b, 1.20, f"{a * 1e3:.0f} of {b * 1e3:.0f} ms")


def memory(report):
    """Measure the memory kept after the calls, and that of one concurrent call."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=BODY))
    with httpx.Client(transport=transport) as http_client:
        ours = OTPClient("https://api.example.com", token=TOKEN, http_client=http_client)
        for _ in range(2000):
            call(ours)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):
            call(ours)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(100_000):
            call(ours)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    report.add("memory kept after 2,000 calls, KiB", kept / 1024, 16)
    report.add("growth of the peak over 100,000 calls, MiB", grown / 1024, 1)

    async def call_once(url):
        async with AsyncOTPClient(url, token=TOKEN, timeout=60) as ours:
            await ours.send_code(NUMBER, MESSAGE)
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            await asyncio.gather(*(ours.send_code(NUMBER, MESSAGE) for _ in range(500)))
            peak = tracemalloc.get_traced_memory()[1] - before
            tracemalloc.stop()
            return peak / 500

    with operator("--delay", 0.3) as port:
        report.add(
            "peak memory per concurrent call, connection included, KiB",
            asyncio.run(call_once(f"http://127.0.0.1:{port}")) / 1024,
            64,
        )


def main():
    """Run the chosen measurements; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="one of: process, own, wire, instrumented, slow, start, memory")
    only = parser.parse_args().only
    print(conditions("bench", "httpx", "httpcore", "h11"))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        authority, leaf = trustme.CA(), None
        leaf = authority.issue_cert("127.0.0.1")
        paths = {name: str(Path(folder) / name) for name in ("ca.pem", "cert.pem", "key.pem")}
        authority.cert_pem.write_to_path(paths["ca.pem"])
        for blob in leaf.cert_chain_pems:
            blob.write_to_path(paths["cert.pem"], append=True)
        leaf.private_key_pem.write_to_path(paths["key.pem"])
        os.environ["SSL_CERT_FILE"] = paths["ca.pem"]
        certificate = paths["cert.pem"], paths["key.pem"]
        for name, part in {
            "process": lambda: in_process(report),
            "own": lambda: own_work(report),
            "wire": lambda: on_the_wire(report, certificate),
            "instrumented": lambda: instrumented(report),
            "slow": lambda: slow_operator(report),
            "start": lambda: start(report, certificate, paths["ca.pem"]),
            "memory": lambda: memory(report),
        }.items():
            if only in (None, name):
                part()
    if only is None:
        report.save()
    print(f"{report.failed} missed" if report.failed else "all targets met")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
