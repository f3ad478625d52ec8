"""Measure what the sandbox costs: python benchmarks/sandbox.py [rounds].

Prints CPU per flow in process, CPU and rate per request over HTTP next to the smallest ASGI application on the same
server, and how far memory grows in a soak. Figures depend on the machine; the comparisons should not.
"""

import asyncio
import gc
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import httpx
import uvicorn

from camara_otp import OTPClient
from camara_otp.sandbox import Sandbox, server
from camara_otp.sandbox.http import HTTPRequest

PHONE, TEXT = "+346661113334", "{{code}} is your short code to authenticate with Cool App via SMS"
ENDLESS = {"max_send": 10_000_000}
BODY = json.dumps({"phoneNumber": PHONE, "message": TEXT}).encode()
HEADERS = {"authorization": "Bearer any", "content-type": "application/json", "x-correlator": "b4333c46-49c0-4f62"}
WIRE = (
    b"POST /otpvalidation/send-code HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer any\r\n"
    b"Content-Type: application/json\r\nx-correlator: b4333c46-49c0-4f62\r\nContent-Length: %d\r\n\r\n%s"
) % (len(BODY), BODY)


def cpu_per_round(rounds: int, action: Callable[[], object]) -> float:
    """Return the median CPU of an action in microseconds, over seven batches."""
    action()
    batches = []
    gc.collect()
    for _ in range(7):
        start = time.process_time()
        for _ in range(rounds):
            action()
        batches.append((time.process_time() - start) / rounds * 1e6)
    return statistics.median(batches)


def decisions(rounds: int) -> None:
    """Measure the sandbox alone: one send, one read, one check, no HTTP library."""
    sandbox = Sandbox(**ENDLESS)

    def flow() -> None:
        sent = sandbox.handle(HTTPRequest("POST", "/otpvalidation/send-code", HEADERS, BODY))
        code = sandbox.last_code(PHONE)
        body = json.dumps({**json.loads(sent.body), "code": code}).encode()
        assert sandbox.handle(HTTPRequest("POST", "/otpvalidation/validate-code", HEADERS, body)).status == 204

    print(f"sandbox alone, one flow:            {cpu_per_round(rounds, flow):7.0f} us CPU")


def in_process(rounds: int) -> None:
    """Measure a test of a user: client and sandbox in one process."""
    sandbox = Sandbox(**ENDLESS)
    with sandbox.client() as http, OTPClient("https://api.example.com/camara", token="any", http_client=http) as otp:

        def flow() -> None:
            sent = otp.send_code(PHONE, TEXT)
            otp.validate_code(sent.authentication_id, sandbox.last_code(PHONE))

        print(f"client() and OTPClient, one flow:   {cpu_per_round(rounds, flow):7.0f} us CPU (two calls)")

    with httpx.Client(transport=sandbox.transport()) as http:

        def by_hand() -> None:
            sent = http.post("https://a.test/otpvalidation/send-code", content=BODY, headers=HEADERS).json()
            body = {**sent, "code": sandbox.last_code(PHONE)}
            http.post("https://a.test/otpvalidation/validate-code", json=body, headers=HEADERS)

        print(f"transport() by hand, one flow:      {cpu_per_round(rounds, by_hand):7.0f} us CPU (two calls)")


async def smallest(_: dict, receive: Callable, send: Callable) -> None:
    """Read a request and respond to it: the smallest ASGI application."""
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def serve(kind: str, pipe: Connection) -> None:
    """Serve until told to stop, then report the CPU time."""
    if kind == "sandbox":
        running = server.SandboxServer(Sandbox(**ENDLESS))
    else:
        running = uvicorn.Server(
            uvicorn.Config(smallest, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
        )
    with server.listen("127.0.0.1", 0) as listener:
        pipe.send(listener.getsockname()[1])

        async def main() -> None:
            serving = asyncio.create_task(running.serve(sockets=[listener]))
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, pipe.recv)
            before = resource.getrusage(resource.RUSAGE_SELF)
            await loop.run_in_executor(None, pipe.recv)
            after = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            running.should_exit = True
            await serving

        asyncio.run(main())


async def load(port: int, requests: int, links: int) -> float:
    """Send requests over keep-alive connections and return the seconds that took."""

    async def link() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // links):
            writer.write(WIRE)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(link() for _ in range(links)))
    return time.perf_counter() - start


def over_http(requests: int, links: int = 20) -> None:
    """Measure the server process next to the smallest application on the same server."""
    for kind in ("smallest", "sandbox"):
        here, there = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(kind, there))
        process.start()
        port = here.recv()
        asyncio.run(load(port, 500, links))
        here.send("start")
        seconds = asyncio.run(load(port, requests, links))
        here.send("stop")
        cpu = here.recv() / requests * 1e6
        process.join()
        print(f"HTTP, {kind:9}: {requests / seconds:7.0f} requests/s, {cpu:5.0f} us CPU of the server per request")


def soak(sends: int) -> None:
    """Measure how memory grows when many more messages are sent than are kept."""
    sandbox = Sandbox(keep_total=2000, **ENDLESS)
    template = {"message": TEXT}

    def burst(count: int, start: int) -> None:
        for index in range(start, start + count):
            body = json.dumps({**template, "phoneNumber": f"+34{index % 1_000_000 + 600_000_000}"}).encode()
            sandbox.handle(HTTPRequest("POST", "/otpvalidation/send-code", HEADERS, body))

    burst(sends // 5, 0)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    burst(sends, sends)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"soak, {sends} texts, 2000 kept:     {growth / 1024:7.1f} MiB growth of peak memory")


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    decisions(rounds)
    soak(rounds * 200)
    in_process(rounds)
    over_http(rounds * 20)
