"""Measure the cost of a call over other transports, given as `http_client`: `make bench-transports`.

Each figure is client CPU per call over TLS on loopback, as a ratio to the default transport's in the same interleaved
run: one call at a time, and 100 at once. The server speaks HTTP/1.1 and HTTP/2.
"""

import asyncio
import contextlib
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import client as bench  # its neighbor: a script's own folder is on the path
import httpx
import httpx2
import hypercorn.asyncio
import hypercorn.config
import trustme
from conditions import conditions
from httpx_aiohttp import AiohttpTransport
from pyreqwest.client import ClientBuilder, SyncClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport, SyncHttpxTransport

from camara_otp import AsyncOTPClient, OTPClient

ROUNDS = 7


async def operator(scope, receive, send):
    """Respond to every request like a successful send."""
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(bench.BODY))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bench.BODY})


def serve(certificate, key):
    """Serve until killed; print the port."""
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.certfile, config.keyfile = certificate, key
    config.keep_alive_max_requests = 10**9
    sockets = config.create_sockets()
    print(sockets.secure_sockets[0].getsockname()[1], flush=True)
    config.create_sockets = lambda: sockets
    asyncio.run(hypercorn.asyncio.serve(operator, config))


@contextlib.contextmanager
def running(*arguments):
    """Run the server in a process of its own, and yield its URL."""
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield f"https://localhost:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def trusting(authority):
    """Return a context for one client: httpx writes into it which protocols to offer."""
    return ssl.create_default_context(cafile=authority)


def reqwest(builder, authority):
    """Build a client of pyreqwest's that follows no redirect: it would send a code a second time."""
    return builder().add_root_certificate_pem(Path(authority).read_bytes()).follow_redirects(enable=False).build()


def sync_clients(authority):
    return {
        "default": None,
        "httpx": httpx.Client(verify=trusting(authority)),
        "httpx2": httpx2.Client(verify=trusting(authority)),
        "httpx, HTTP/2": httpx.Client(verify=trusting(authority), http2=True),
        "pyreqwest": httpx.Client(transport=SyncHttpxTransport(reqwest(SyncClientBuilder, authority))),
    }


def async_clients(authority):
    return {
        "default": None,
        "httpx": httpx.AsyncClient(verify=trusting(authority)),
        "httpx2": httpx2.AsyncClient(verify=trusting(authority)),
        "httpx, HTTP/2": httpx.AsyncClient(verify=trusting(authority), http2=True),
        "httpx-aiohttp": httpx.AsyncClient(transport=AiohttpTransport(verify=trusting(authority))),
        "pyreqwest": httpx.AsyncClient(transport=HttpxTransport(reqwest(ClientBuilder, authority))),
    }


def table(title, rounds):
    """Print the medians, as ratios to the default's."""
    cost = {name: statistics.median(figures) for name, figures in rounds.items()}
    print(title)
    for name, figure in cost.items():
        print(f"  {name:<16} {figure / cost['default']:6.2f}   {figure * 1e6:6.0f} us")


def synchronous(url, authority):
    """Measure one call at a time."""
    clients = sync_clients(authority)
    otps = {name: OTPClient(url, token=bench.TOKEN, http_client=client) for name, client in clients.items()}
    rounds = {name: [] for name in otps}
    for _ in range(ROUNDS):
        for name, otp in otps.items():
            otp.send_code(bench.NUMBER, bench.MESSAGE)
            rounds[name].append(bench.cpu(lambda otp=otp: otp.send_code(bench.NUMBER, bench.MESSAGE), 200))
    table("sync, one at a time", rounds)
    for each in (*otps.values(), *filter(None, clients.values())):
        each.close()


async def asynchronous(url, authority):
    """Measure one call at a time, and 100 at once."""
    for tasks, calls in ((1, 200), (100, 1000)):
        clients = async_clients(authority)
        otps = {name: AsyncOTPClient(url, token=bench.TOKEN, http_client=client) for name, client in clients.items()}
        rounds = {name: [] for name in otps}
        for _ in range(ROUNDS):
            for name, otp in otps.items():

                async def one(otp=otp):
                    await otp.send_code(bench.NUMBER, bench.MESSAGE, timeout=60)

                await bench._round(tasks, tasks, one)
                rounds[name].append((await bench._round(tasks, calls, one))[0])
        table(f"async, {tasks} at once", rounds)
        for each in (*otps.values(), *filter(None, clients.values())):
            await each.aclose()


def main():
    """Serve with a certificate of our own, and measure."""
    began = time.monotonic()
    print(conditions("bench-transports", "httpx", "httpx2", "httpx-aiohttp", "pyreqwest"))
    with tempfile.TemporaryDirectory() as folder:
        authority, certificate, key = (str(Path(folder) / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        ca = trustme.CA()
        leaf = ca.issue_cert("localhost")
        ca.cert_pem.write_to_path(authority)
        leaf.private_key_pem.write_to_path(key)
        for blob in leaf.cert_chain_pems:
            blob.write_to_path(certificate, append=True)
        os.environ["SSL_CERT_FILE"] = authority
        with running(certificate, key) as url:
            synchronous(url, authority)
            asyncio.run(asynchronous(url, authority))
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    serve(*sys.argv[1:]) if len(sys.argv) == 3 else main()
