"""Each mock tool answers a mocked call, and raises its own exception for an unmocked one, without a retry.

The tools patch their process, so each one runs in a test suite of its own.
"""

import os
import re
import subprocess
import sys
import textwrap

import pytest

from tests.faults.scenarios import raw

CONFTEST = """
    import os

    import anyio
    import pytest

    from camara_otp import AsyncOTPClient, OTPClient, OTPError, RetryPolicy

    ROOT = os.environ["OPERATOR"]
    URL = f"{ROOT}/otpvalidation/send-code"
    ARGUMENTS = "+346661113334", "{{code}}"


    @pytest.fixture(params=["sync", "asyncio", "trio"])
    def call(request):
        def send():
            options = {"token": "t", "on_call": records.append, "retry": RetryPolicy(first_wait=0.001), "timeout": 30}
            if request.param == "sync":
                with OTPClient(ROOT, **options) as client:
                    return client.send_code(*ARGUMENTS).authentication_id

            async def main():
                async with AsyncOTPClient(ROOT, **options) as client:
                    return (await client.send_code(*ARGUMENTS)).authentication_id

            return anyio.run(main, backend=request.param)

        records = send.records = []
        return send


    @pytest.fixture
    def refused(call):
        def check(kind):
            with pytest.raises(kind) as caught:
                call()
            assert type(caught.value) is kind
            assert not isinstance(caught.value, OTPError)
            assert [record.attempts for record in call.records] == [1]

        return check
"""
RESPX = """
    import httpx
    import pytest
    import respx
    from conftest import URL

    @pytest.mark.parametrize("using", ["httpcore", "httpx"])
    def test_mocked(call, using):
        with respx.mock(using=using) as mock:
            mock.post(URL).respond(200, json={"authenticationId": "a"})
            assert call() == "a"

    @pytest.mark.parametrize("using", ["httpcore", "httpx"])
    def test_unmocked(refused, using):
        with respx.mock(using=using, assert_all_called=False) as mock:
            mock.post("https://elsewhere.example").respond(200)
            refused(respx.models.AllMockedAssertionError)
"""
PYTEST_HTTPX = """
    import pytest
    from camara_otp import OutcomeUnknownError

    def test_mocked(call, MOCK):
        MOCK.add_response(json={"authenticationId": "a"}, method="POST")
        assert call() == "a"

    @pytest.mark.xfail(strict=True, reason="the tool raises TimeoutException, and fails the test at its end")
    def test_unmocked(call, MOCK):
        MOCK.add_response(json={"authenticationId": "a"}, url="https://elsewhere.example")
        assert call() == "a"

    @pytest.mark.MOCK(assert_all_requests_were_expected=False, assert_all_responses_were_requested=False)
    def test_unmocked_is_sent_once(call, MOCK):
        with pytest.raises(OutcomeUnknownError):
            call()
        assert [record.attempts for record in call.records] == [1]
        assert len(MOCK.get_requests()) == 1
"""
REPLACED = """
    import httpx2
    import pytest

    @pytest.fixture
    def transport(monkeypatch):
        def handle_request(self, request):
            if answer is None:
                raise AssertionError("not mocked")
            seen.append(request)
            return httpx2.Response(200, json={"authenticationId": "a"})

        async def handle_async_request(self, request):
            return handle_request(self, request)

        answer, seen = "a", []
        monkeypatch.setattr(httpx2.HTTPTransport, "handle_request", handle_request)
        monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", handle_async_request)
        def mock(value):
            nonlocal answer
            answer = value
            return seen
        return mock

    def test_mocked(call, transport):
        seen = transport("a")
        assert call() == "a"
        assert len(seen) == 1

    def test_unmocked(refused, transport):
        transport(None)
        refused(AssertionError)
"""
VCRPY = """
    import pytest
    import vcr
    from conftest import URL
    from vcr.errors import CannotOverwriteExistingCassetteException

    @pytest.fixture
    def cassette(tmp_path):
        path = tmp_path / "cassette.yaml"
        def use(url):
            path.write_text(
                "interactions:\\n- request: {body: '', headers: {}, method: POST, uri: '%s'}\\n"
                "  response:\\n    body: {string: '{\\"authenticationId\\": \\"a\\"}'}\\n"
                "    headers: {content-type: [application/json]}\\n"
                "    status: {code: 200, message: OK}\\nversion: 1\\n" % url
            )
            return vcr.use_cassette(str(path), record_mode="none")
        return use

    def test_mocked(call, cassette):
        with cassette(URL):
            assert call() == "a"

    def test_unmocked(refused, cassette):
        with cassette("https://elsewhere.example/"):
            refused(CannotOverwriteExistingCassetteException)
"""
POOK = """
    import pook
    from conftest import URL

    def test_mocked(call):
        with pook.use():
            pook.post(URL).reply(200).json({"authenticationId": "a"})
            assert call() == "a"

    def test_unmocked(refused):
        with pook.use():
            pook.post("https://elsewhere.example/").reply(200)
            refused(pook.exceptions.PookNoMatches)
"""
PYTEST_SOCKET = """
    import pytest_socket

    def test_blocked_connections(refused):
        pytest_socket.socket_allow_hosts(["192.0.2.1"])
        refused(pytest_socket.SocketConnectBlockedError)

    def test_blocked_sockets(refused):
        pytest_socket.disable_socket(allow_unix_socket=True)
        refused(pytest_socket.SocketBlockedError)
"""
TOOLS = {
    "respx": (RESPX, (), 12),
    "pytest-httpx": (PYTEST_HTTPX.replace("MOCK", "httpx_mock"), ("pytest_httpx",), 6),
    "httpx2-pytest": (PYTEST_HTTPX.replace("MOCK", "httpx2_mock"), ("pytest_httpx2",), 6),
    "a replaced transport of httpx2": (REPLACED, (), 6),
    "vcrpy": (VCRPY, (), 6),
    "pook": (POOK, (), 6),
    "pytest-socket": (PYTEST_SOCKET, ("pytest_socket",), 6),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_mock_answers_and_its_own_failure_is_raised_as_it_is(faults, tmp_path, tool):
    suite, plugins, passed = TOOLS[tool]
    (tmp_path / "conftest.py").write_text(textwrap.dedent(CONFTEST))
    (tmp_path / "test_partner.py").write_text(textwrap.dedent(suite))

    async def script(c):
        while await c.request():
            await c.send(raw())

    listener = faults.listen(script)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
        + [argument for plugin in plugins for argument in ("-p", plugin)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
            "OPERATOR": f"http://127.0.0.1:{listener.port}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
    )

    assert re.search(rf"\b{passed} passed", done.stdout), done.stdout + done.stderr
    assert done.returncode == 0, done.stdout
    assert listener.posts == 0
