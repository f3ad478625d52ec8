"""Attack the example logins for an hour of simulated time, without and with the guard, and count the SMS.

    python -m tests.examples.attack

prints the table into the page "Protect your login page". Each attack is 600 requests to the page that sends the code,
one every six seconds, against the sandbox with its default limits.
"""

import asyncio
import importlib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

import httpx

from camara_otp import AsyncOTPClient, OTPClient
from camara_otp.guard import Guard, Limit, MemoryCounters
from camara_otp.sandbox import Sandbox

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/howto/protect-login.md"
REQUESTS: Final = 600
SECONDS: Final = 3600 / REQUESTS

# From the serial number of a request to the number and the IP address.
ATTACKS: Final[dict[str, Callable[[int], tuple[str, str]]]] = {
    "one number, many addresses": lambda i: ("+34666111222", f"198.51.{i // 250}.{i % 250}"),
    "many numbers of one prefix, many addresses": lambda i: (f"+3466611{i:04}", f"198.51.{i // 250}.{i % 250}"),
    "many prefixes, one address": lambda i: (f"+346{1000 + i}1234", "198.51.100.7"),
    "many prefixes, many addresses": lambda i: (f"+346{1000 + i}1234", f"198.51.{i // 250}.{i % 250}"),
    "many prefixes abroad, many addresses": lambda i: (f"+336{1000 + i}1234", f"198.51.{i // 250}.{i % 250}"),
}

# Posts a number from an address and returns the status of the page.
Post = Callable[[str, str], int]


@contextmanager
def flask_site(operator: Sandbox) -> Iterator[tuple[ModuleType, Post]]:
    """Open the Flask example."""
    spec = importlib.util.spec_from_file_location("flask_login", ROOT / "examples/flask_login.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with _client(operator) as otp:
        vars(module)["otp"] = lambda: otp

        def post(number: str, address: str) -> int:
            browser = module.app.test_client()
            data = {"phone_number": number}
            return browser.post("/login", data=data, environ_overrides={"REMOTE_ADDR": address}).status_code

        yield module, post


@contextmanager
def django_site(operator: Sandbox) -> Iterator[tuple[ModuleType, Post]]:
    """Open the Django example. A script can load the form first, so CSRF protection does not stop it."""
    folder = str(ROOT / "examples/django_login")
    if folder not in sys.path:
        sys.path.insert(0, folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
        importlib.import_module("django").setup()
    from django.test import Client

    views = importlib.import_module("views")
    with _client(operator) as otp:
        vars(views)["otp"] = lambda: otp

        def post(number: str, address: str) -> int:
            return Client().post("/login", {"phone_number": number}, REMOTE_ADDR=address).status_code

        yield views, post


@contextmanager
def fastapi_site(operator: Sandbox) -> Iterator[tuple[ModuleType, Post]]:
    """Open the FastAPI example."""
    module = importlib.import_module("examples.fastapi_login.app")
    with asyncio.Runner() as runner, ExitStack() as stack:
        lifespan = module.lifespan(module.app)
        runner.run(lifespan.__aenter__())
        stack.callback(lambda: runner.run(lifespan.__aexit__(None, None, None)))
        module.app.state.otp = AsyncOTPClient("https://operator.test", token="any", http_client=operator.async_client())

        async def apost(number: str, address: str) -> int:
            transport = httpx.ASGITransport(module.app, client=(address, 12345))
            async with httpx.AsyncClient(transport=transport, base_url="http://site.test") as browser:
                return (await browser.post("/login", json={"phone_number": number})).status_code

        yield module, lambda number, address: runner.run(apost(number, address))


@contextmanager
def _client(operator: Sandbox) -> Iterator[OTPClient]:
    with operator.client() as http, OTPClient("https://operator.test", token="any", http_client=http) as otp:
        yield otp


SITES: Final = {"FastAPI": fastapi_site, "Django": django_site, "Flask": flask_site}


def texts_sent(site: str, attack: str, *, guarded: bool) -> int:
    """Run one attack, and return the number of SMS that the operator sent."""
    now = 1_000_000.0

    def clock() -> float:
        return now

    operator = Sandbox(clock=clock)
    with SITES[site](operator) as (module, post):
        guard = module.guard
        guard.store = MemoryCounters(clock=clock)
        if not guarded:
            vars(module)["guard"] = Guard(cooldown=None, limits=[Limit("ip", 10**9, per=3600)])
        try:
            for serial in range(REQUESTS):
                status = post(*ATTACKS[attack](serial))
                assert status in {200, 202, 302, 429}, status
                now += SECONDS
        finally:
            vars(module)["guard"] = guard
    return operator.sent_count


def table() -> str:
    """Attack every example, and return the table of SMS sent."""
    lines = ["| attack | without the guard | with the guard |", "|---|---|---|"]
    for attack in ATTACKS:
        counts = {(texts_sent(site, attack, guarded=False), texts_sent(site, attack, guarded=True)) for site in SITES}
        assert len(counts) == 1, f"the examples differ under {attack}: {counts}"
        [(without, guarded)] = counts
        lines.append(f"| {attack} | {without} | {guarded} |")
    return "\n".join(lines)


def printed(page: str) -> str:
    """Return the table that a page holds."""
    found = re.search(r"<!-- attack -->\n\n(.*?)\n\n<!-- /attack -->", page, re.DOTALL)
    assert found is not None
    return found[1]


def main(path: Path = PAGE) -> None:
    page = path.read_text("utf-8")
    path.write_text(page.replace(printed(page), table()), "utf-8")


if __name__ == "__main__":
    os.environ |= {"CAMARA_BASE_URL": "https://operator.test", "CAMARA_BEARER_TOKEN": "any"}
    logging.disable()
    main(*map(Path, sys.argv[1:]))
