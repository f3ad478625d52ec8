"""The recipes of the page about web frameworks: each logs a user in, and answers a wrong code and a second click."""

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from tests.test_docs import blocks

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "frameworks.md"
NUMBER = "+34666111222"


@pytest.fixture
def recipe(monkeypatch):
    """Return a function that makes a module of the first block of the page and of blocks of a section."""

    def make(heading, count=1):
        start = PAGE.read_text("utf-8").splitlines().index(f"## {heading}")
        section = [source for line, _, source in blocks(PAGE) if line > start]
        for source in (blocks(PAGE)[0][2], *section[:count]):
            exec(compile(source, str(PAGE), "exec"), vars(module))
        return module

    module = ModuleType("login")
    monkeypatch.setitem(sys.modules, "login", module)
    yield make
    if hasattr(module, "otp"):
        module.otp().close()


def log_in(served, post):
    """Run one login through a function that posts JSON and returns the status; it keeps cookies."""
    assert post("/code", {"code": "1"}) == 409
    assert post("/login", {"number": "0666"}) == 422
    assert post("/login", {"number": NUMBER}) == 200
    assert post("/login", {"number": NUMBER}) == 429
    assert post("/code", {"code": "wrong"}) == 422
    assert post("/code", {"code": f" {served.operator.last_code(NUMBER)}\n"}) == 200
    assert post("/code", {"code": "1"}) == 409, "a login is used once"
    assert served.operator.sent_count == 1


@pytest.mark.parametrize("framework", ["FastAPI", "Starlette"])
def test_fastapi_and_starlette(served, recipe, framework):
    with TestClient(recipe(framework).app) as client:
        log_in(served, lambda path, values: client.post(path, json=values).status_code)


def test_litestar(served, recipe):
    from litestar.testing import TestClient as LitestarClient

    with LitestarClient(recipe("Litestar").app) as client:
        log_in(served, lambda path, values: client.post(path, json=values).status_code)


def test_aiohttp(served, recipe):
    from aiohttp.test_utils import TestClient as AiohttpClient
    from aiohttp.test_utils import TestServer

    async def main():
        cookies = {}
        async with AiohttpClient(TestServer(recipe("aiohttp server").app)) as client:

            async def post(path, values):
                response = await client.post(path, json=values, cookies=cookies)
                cookies.update({name: morsel.value for name, morsel in response.cookies.items()})
                return response.status

            def wait(path, values):
                return asyncio.run_coroutine_threadsafe(post(path, values), loop).result(10)

            loop = asyncio.get_running_loop()
            await asyncio.to_thread(log_in, served, wait)

    asyncio.run(main())


def test_flask(served, recipe):
    client = recipe("Flask").app.test_client()
    log_in(served, lambda path, values: client.post(path, json=values).status_code)


@pytest.fixture
def django():
    """Set Django up once per process, without a database."""
    from django import setup
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["testserver"],
            SECRET_KEY="key-of-the-tests",
            REST_FRAMEWORK={
                "DEFAULT_AUTHENTICATION_CLASSES": [],
                "DEFAULT_PERMISSION_CLASSES": [],
                "EXCEPTION_HANDLER": "login.failed",
                "UNAUTHENTICATED_USER": None,
            },
        )
        setup()
    return settings


@pytest.mark.parametrize("count", [1, 2], ids=["Django", "Django REST framework"])
def test_django(served, recipe, django, count):
    from django.test import Client
    from django.test.utils import override_settings

    recipe("Django and Django REST framework", count)
    client = Client()
    with override_settings(ROOT_URLCONF="login"):
        log_in(
            served,
            lambda path, values: client.post(path, values, content_type="application/json").status_code,
        )


def test_each_recipe_is_tested():
    """A section with a recipe that no test above runs fails here."""
    headings = re.findall(r"^## (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert headings[1:] == [
        "FastAPI",
        "Starlette",
        "Litestar",
        "aiohttp server",
        "Flask",
        "Django and Django REST framework",
    ]
