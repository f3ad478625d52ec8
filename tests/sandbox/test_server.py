"""The server on a real port: start, access, event streams, and end."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from camara_otp.sandbox import Fault, Sandbox, __main__, server
from tests.conftest import has_ipv6
from tests.sandbox.conftest import PHONE, Caller, outcome


@pytest.fixture
def caller(standing: tuple[Sandbox, str]) -> Iterator[Caller]:
    """Return a caller of a sandbox over HTTP."""
    sandbox, url = standing
    with httpx.Client(base_url=url, trust_env=False) as http:
        yield Caller(sandbox, http)


def test_ends_cleanly() -> None:
    """The socket is closed, no thread is left, and the sandbox can be served again."""
    sandbox, before = Sandbox(), set(threading.enumerate())
    for _ in range(2):
        with sandbox.serve() as url:
            assert httpx.get(url + "/_sandbox/messages", trust_env=False).json() == []
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, trust_env=False)
    assert set(threading.enumerate()) <= before


def test_ends_with_a_stream_open() -> None:
    """An open event stream does not delay the end."""
    sandbox, before = Sandbox(), set(threading.enumerate())
    with httpx.Client(trust_env=False) as http:
        with sandbox.serve() as url, http.stream("GET", url + "/_sandbox/events") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("id: ")
            serving = set(threading.enumerate()) - before
        assert not any(thread.is_alive() for thread in serving)


def test_taken_port() -> None:
    """A port that is in use is an error at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="use"):
        Sandbox().serve(port=taken.getsockname()[1]).__enter__()


def test_server_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server thread that ends at once is reported, and the port is closed."""
    sandbox, listeners = Sandbox(), []
    monkeypatch.setattr(server.SandboxServer, "run", lambda _, sockets: listeners.extend(sockets))
    with pytest.raises(RuntimeError, match="did not start"), sandbox.serve():
        pass
    assert [listener.fileno() for listener in listeners] == [-1]
    assert sandbox.served == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_beyond_loopback_only_when_asked(host: str) -> None:
    """An address that others can reach needs the explicit flag; the error explains the risk."""
    with pytest.raises(ValueError, match="read every SMS and code"):
        Sandbox().serve(host)


def test_exposed_when_asked() -> None:
    """With the flag, the inbox is served under any host name."""
    with Sandbox().serve("0.0.0.0", expose=True) as url:
        local = url.replace("0.0.0.0", "127.0.0.1")
        answer = httpx.get(local + "/_sandbox/messages", headers={"Host": "phones.test"}, trust_env=False)
    assert answer.status_code == 200


def test_ipv6() -> None:
    """The server can listen on IPv6 loopback."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with Sandbox().serve("::1") as url:
        assert httpx.get(url + "/_sandbox/messages", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:9091"}, 200),
        ({"Host": "[::1]:9091"}, 200),
        ({"Host": "otp.localhost"}, 200),
        ({"Host": "attacker.test"}, 403),
        ({"Host": "127.0.0.1.attacker.test:9091"}, 403),
        ({"Origin": "https://attacker.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:9091", "Origin": "http://localhost:9091"}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/", "/_sandbox/messages"])
def test_other_web_pages_are_kept_out(caller: Caller, headers: dict[str, str], status: int, path: str) -> None:
    """A page of another origin, or one that rebinds its name to this machine, cannot read the inbox."""
    answer = caller.http.get(path, headers=headers)
    assert answer.status_code == status


def test_operations_are_open_to_any_name(caller: Caller) -> None:
    """A container can send codes with another name for the machine."""
    assert outcome(caller.send(headers={"Host": "operator.internal"})) == (200, None)


def test_page(caller: Caller) -> None:
    """The page is one file with a policy that allows only its own script and style."""
    answer = caller.http.get("/")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", answer.text)
    assert caller.http.head("/").status_code == 200


def test_page_is_only_read(caller: Caller) -> None:
    """An operation request to the root gets the error for a wrong method."""
    answer = caller.http.post("/", json={}, headers={"x-correlator": "abc"})
    assert outcome(answer) == (405, "METHOD_NOT_ALLOWED")
    assert (answer.headers["x-correlator"], answer.headers["allow"]) == ("abc", "GET, HEAD")


def test_body_beyond_all_measure(caller: Caller) -> None:
    """A huge body is refused in CAMARA's form, without being read to the end."""
    answer = caller.post("send-code", content=b"x" * 3_000_000, headers={"Content-Type": "application/json"})
    assert outcome(answer) == (400, "INVALID_ARGUMENT")
    assert outcome(caller.send()) == (200, None)


def test_body_beyond_all_measure_is_not_read(caller: Caller) -> None:
    """The response comes as soon as the body is known to be too large."""
    head = b"POST /otpvalidation/send-code HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer any\r\n"
    with socket.create_connection((caller.http.base_url.host, caller.http.base_url.port or 0), timeout=5) as link:
        link.sendall(head + b"Content-Type: application/json\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 70_000)
        assert link.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_responses_do_not_wait_for_the_network() -> None:
    """Otherwise every second response on a connection waits 40 ms for an acknowledgement."""
    with server.listen("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("authentication_id", "code", "expected"),
    [
        ("x" * 36, "1" * 10, (404, "NOT_FOUND")),
        ("x" * 37, "1", (400, "INVALID_ARGUMENT")),
        ("x", "1" * 11, (400, "INVALID_ARGUMENT")),
        ("", "", (404, "NOT_FOUND")),
    ],
)
def test_limits_of_a_check(caller: Caller, authentication_id: str, code: str, expected: tuple[int, str]) -> None:
    """An id has at most 36 characters and a code at most 10."""
    assert outcome(caller.check(authentication_id, code)) == expected


def test_client_that_leaves_mid_body(caller: Caller) -> None:
    """A client that disconnects before its body is complete does not affect others."""
    for path in ("/otpvalidation/send-code", "/_sandbox/advance"):
        with socket.create_connection((caller.http.base_url.host, caller.http.base_url.port or 0)) as link:
            link.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{".encode())
    assert outcome(caller.send()) == (200, None)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/one-time-password-sms/send-code", (404, "NOT_FOUND")),
        ("POST", "/send-code", (404, "NOT_FOUND")),
        ("POST", "/otpvalidationXsend-code", (404, "NOT_FOUND")),
        ("POST", "/otpvalidation//send-code", (404, "NOT_FOUND")),
        ("POST", "/otpvalidation/send-code/", (404, "NOT_FOUND")),
        ("POST", "/otpvalidation-send-code", (404, "NOT_FOUND")),
        ("POST", "/x/otpvalidation/send-code", (404, "NOT_FOUND")),
        ("GET", "/otpvalidation/", (404, "NOT_FOUND")),
        ("GET", "/otpvalidation/send-code", (405, "METHOD_NOT_ALLOWED")),
        ("DELETE", "/otpvalidation/validate-code", (405, "METHOD_NOT_ALLOWED")),
    ],
)
def test_routes(caller: Caller, method: str, path: str, expected: tuple[int, str]) -> None:
    """Unknown routes and methods are refused in CAMARA's form, with the correlator."""
    answer = caller.http.request(method, path, headers={"x-correlator": "abc"})
    assert outcome(answer) == expected
    assert answer.headers["x-correlator"] == "abc"
    if answer.status_code == 404:
        assert "under /otpvalidation, /one-time-password-sms/v1." in answer.json()["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Basic YTpi"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer two words"}, 401),
        ({"Authorization": "bearer  any"}, 200),
        ({"Accept": "text/html, application/xml;q=0.9"}, 406),
        ({"Accept": "text/html, */*;q=0.1"}, 200),
        ({"Accept": "application/*"}, 200),
        ({"Accept": "application/json;q=0, */*"}, 406),
        ({"Accept": "application/json;q=much"}, 200),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "application/merge-patch+json"}, 415),
        ({"Content-Type": ""}, 415),
    ],
)
def test_head_of_a_request(caller: Caller, headers: dict[str, str], status: int) -> None:
    """Credentials, Accept and Content-Type are read as HTTP says."""
    answer = caller.send(headers=headers)
    assert outcome(answer)[0] == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"phoneNumber": "+346661113334", "message": "{{code}}", "more": NaN}',
        b'{"phoneNumber": "+346661113334", "message": null}',
        b'{"phoneNumber": 346661113334, "message": "{{code}}"}',
        b'{"phoneNumber": "+346661113334\\n", "message": "{{code}}"}',
        b'{"phoneNumber": "+\xd9\xa3\xd9\xa4666111", "message": "{{code}}"}',
        b'{"phoneNumber": "+346661113334", "message": "{code}"}',
        b'{"phoneNumber": "+346661113334", "message": "{{ code }}"}',
        b'{"phoneNumber": "+346661113334", "message": "{{code}} \\ud800"}',
        b'{"phoneNumber": "+346661113334", "message": ' + b"1" * 5000 + b"}",
    ],
)
def test_malformed_bodies(caller: Caller, body: bytes) -> None:
    """A body that is not the described JSON object is an invalid argument."""
    answer = caller.post("send-code", content=body, headers={"Content-Type": "application/json"})
    assert outcome(answer) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("message", ["line\n{{code}}\nline", "{{code}}" + "é" * 152, "{{code}}\u0000\U0001f600"])
def test_legal_messages(caller: Caller, message: str) -> None:
    """Several lines, 160 characters of several bytes, and unusual characters are valid."""
    caller.send(message=message)
    [sent] = caller.sandbox.messages()
    assert sent.text == message.replace("{{code}}", sent.code)


class Events:
    """Reads a stream of server-sent events."""

    def __init__(self, stream: httpx.Response) -> None:
        """Start before the first event."""
        self._lines = stream.iter_lines()
        self.last = ""

    def __next__(self) -> dict[str, Any]:
        """Return the value of the next event; comments are skipped."""
        for line in self._lines:
            if line.startswith("id: "):
                self.last = line[4:]
            if line.startswith("data: "):
                value: dict[str, Any] = json.loads(line[6:])
                return value
        raise AssertionError("the stream ended")


def test_events(caller: Caller) -> None:
    """The stream sends the whole state first, then the changes, and can be resumed."""
    first = caller.sent()
    with caller.http.stream("GET", "/_sandbox/events") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        events = Events(stream)
        event = next(events)
        assert event["fresh"]
        assert [message["authenticationId"] for message in event["messages"]] == [first]
        caller.check(first, caller.code())
        event = next(events)
        assert not event["fresh"]
        assert [message["state"] for message in event["messages"]] == ["verified"]
    second = caller.sent()
    with caller.http.stream("GET", "/_sandbox/events", headers={"Last-Event-ID": events.last}) as stream:
        assert [message["authenticationId"] for message in next(Events(stream))["messages"]] == [second]
    with caller.http.stream("GET", "/_sandbox/events", headers={"Last-Event-ID": "nonsense"}) as stream:
        assert next(Events(stream))["fresh"]


def test_quiet_streams_are_kept_alive(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without events sends a comment from time to time."""
    monkeypatch.setattr(server, "_KEEP_ALIVE", 0.02)
    with caller.http.stream("GET", "/_sandbox/events") as stream:
        lines = stream.iter_lines()
        assert [next(lines) for _ in range(7)].count(":") >= 1


def test_events_for_a_sandbox_used_in_process(caller: Caller) -> None:
    """Changes from any thread of this process are shown on the page, also after the server has ended."""
    with caller.http.stream("GET", "/_sandbox/events") as stream:
        events = Events(stream)
        next(events)
        caller.sandbox.advance(10)
        assert next(events)["messages"] == []


def test_dropped_connection_is_really_gone(caller: Caller) -> None:
    """Over HTTP the client reads the end of the stream, not a response."""
    caller.sandbox.add_fault(Fault(drop="after"))
    request = b"POST /otpvalidation/send-code HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    with socket.create_connection((caller.http.base_url.host, caller.http.base_url.port or 0)) as link:
        link.sendall(request)
        assert link.recv(1000) == b""


# The command line.


def run(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "camara_otp.sandbox", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
        # Tests may run with SIGINT ignored, as under nohup, which a process would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_command(tmp_path: Path) -> None:
    """The command prints the URL of the inbox and a working request, uses its settings, and ends on Ctrl+C."""
    file = tmp_path / "sandbox.toml"
    file.write_text("code_length = 4\n[[faults]]\ncode = 'INTERNAL'\noperation = 'validate-code'\n", "utf-8")
    process = run("--port", "0", "--config", str(file), "--code-alphabet", "Z", CAMARA_SANDBOX_MAX_SEND="9")
    assert process.stdout is not None
    try:
        banner = ""
        while "Stop with" not in banner:
            banner += process.stdout.readline()
        [url] = re.findall(r"inbox +(\S+)/\n", banner)
        [path] = re.findall(r"curl " + re.escape(url) + r"(\S+)", banner)
        [body] = re.findall(r"-d '(.*)'", banner)
        headers = dict(part.split(": ", 1) for part in re.findall(r"-H '([^']*)'", banner))
        answer = httpx.post(url + path, headers=headers, content=body, trust_env=False)
        assert answer.status_code == 200, answer.text
        state = httpx.get(url + "/_sandbox/state", trust_env=False).json()
        assert [message["code"] for message in state["messages"]] == ["ZZZZ"]
        assert (state["settings"]["maxSend"], state["faults"][0]["fault"]["code"]) == (9, "INTERNAL")
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_command_warns_when_exposed() -> None:
    """An exposed server says what other machines can read."""
    process = run("--port", "0", "--host", "0.0.0.0", "--expose")
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert "can read every SMS and code" in errors


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--host", "0.0.0.0"], "--expose"),
        (["--max-send", "many"], "max_send"),
        (["--config", "/nowhere.toml"], ": /nowhere.toml: there is no such file; check --config"),
        (["--port", "99999"], "port"),
        (["--colour", "red"], "colour"),
    ],
)
def test_command_refuses(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid options end with the reason and exit code 2."""
    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments, {})
    assert caught.value.code == 2
    assert hint in capsys.readouterr().err


def test_a_port_in_use_names_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names `--port`."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as caught:
        __main__.main(["--port", str(taken.getsockname()[1])], {})
    assert caught.value.code == 2
    assert "already in use; choose another with --port" in capsys.readouterr().err


def test_help_tells_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """The help lists each setting with its meaning."""
    with pytest.raises(SystemExit):
        __main__.main(["--help"], {})
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "--max-try VALUE The number of wrong codes that closes a verification: 3 allows two, and the third closes it."
        in text
    )


def test_main_runs_the_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command serves with the settings it collected, until interrupted."""
    seen: list[Any] = []

    def interrupted(self: Any, sockets: list[socket.socket]) -> None:
        seen.extend(sockets)
        raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn.Server.run", interrupted)
    assert __main__.main(["--host", "127.0.0.1"], {"CAMARA_SANDBOX_PORT": "0"}) == 0
    assert __main__.main(["--host", "0.0.0.0", "--port", "0", "--expose"], {}) == 0
    assert len(seen) == 2
    assert "can be reached from other machines" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "token"),
    [
        ([], "any-token"),
        (["--tokens", "b-token,a-token"], "a-token"),
        (["--tokens", "a-token,b-token", "--expired-tokens", "a-token"], "b-token"),
        (["--tokens", "it's"], "it's"),
    ],
)
def test_the_banner_shows_a_token_that_is_accepted(
    arguments: list[str], token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)

    assert __main__.main(["--port", "0", *arguments], {}) == 0
    command = capsys.readouterr().out.partition("Try it:")[2].partition("Stop with")[0]
    assert f"Authorization: Bearer {token}" in shlex.split(command)


@pytest.mark.parametrize("port", ["tcp://10.0.0.1:9091", "", " "])
def test_a_variable_that_is_no_port_is_ignored(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets it for a service named camara-sandbox; an empty one counts as unset."""
    ports: list[int] = []
    monkeypatch.setattr(server, "listen", lambda _, port: ports.append(port) or socket.create_server(("127.0.0.1", 0)))
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)

    assert __main__.main([], {"CAMARA_SANDBOX_PORT": port, "CAMARA_SANDBOX_HOST": ""}) == 0
    assert ports == [9091]


def test_help_is_the_same_without_docstrings() -> None:
    """`python -OO` removes docstrings."""
    plain, optimized = (
        subprocess.run(
            [sys.executable, *options, "-m", "camara_otp.sandbox", "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for options in ([], ["-OO"])
    )
    assert "The number of wrong codes that closes a verification: 3 allows two, and the third closes it." in " ".join(
        plain.split()
    )
    assert optimized == plain


ZIPPED = """
import sys
sys.path.insert(0, sys.argv[1])
import httpx
from camara_otp.sandbox import Sandbox, routes
assert routes.__file__.startswith(sys.argv[1])
with Sandbox().serve() as url, httpx.Client(base_url=url, trust_env=False) as http:
    print(http.get("/").text[:15], http.get("/_sandbox/openapi.json").json()["openapi"][:1])
"""


def test_it_runs_from_a_zip(tmp_path: Path) -> None:
    """The page and the description are read through the loader of the package."""
    package = Path(server.__file__).parents[1]
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in package.rglob("*"):
            if path.suffix in {".py", ".html", ".json", ".css"}:
                file.write(path, path.relative_to(package.parent))
    done = subprocess.run(
        [sys.executable, "-c", ZIPPED, str(archive)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "<!doctype html> 3\n", done.stderr


FOREIGN = [
    {"Origin": "https://attacker.test"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "attacker.test:9091", "Origin": "http://attacker.test:9091"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("path", "content_type", "content"),
    [
        ("/_sandbox/reset", "application/x-www-form-urlencoded", ""),
        ("/_sandbox/advance", "text/plain", '{"seconds": 5, "ignored": "="}'),
        ("/_sandbox/faults", "text/plain", '{"delay": 5}'),
        ("/_sandbox/revoke", "multipart/form-data; boundary=x", ""),
        ("/oauth2/token", "application/x-www-form-urlencoded", "grant_type=client_credentials&client_id=a&scope=s"),
        ("/oauth2/bc-authorize", "application/x-www-form-urlencoded", "client_id=a"),
        ("/otpvalidation/send-code", "text/plain", "{}"),
    ],
)
def test_forms_of_a_foreign_page_change_nothing(
    standing: tuple[Sandbox, str], path: str, content_type: str, content: str, headers: dict[str, str]
) -> None:
    sandbox, url = standing
    httpx.post(f"{url}/otpvalidation/send-code", json={}, trust_env=False)
    before = sandbox.changes(), sandbox.with_tokens(lambda server, _: server.requests)

    answer = httpx.post(url + path, headers={**headers, "Content-Type": content_type}, content=content, trust_env=False)

    after = sandbox.changes(), sandbox.with_tokens(lambda server, _: server.requests)
    assert answer.status_code == 403
    assert [attrs.evolve(state, now=0) for state in (before[0], after[0])] == [attrs.evolve(before[0], now=0)] * 2
    assert after[1] == before[1]


def test_a_notebook_starts_and_stops_a_server() -> None:
    """Running a cell twice does not start a second server; a stopped one can be started again."""
    sandbox = Sandbox()
    url = sandbox.start()
    assert sandbox.start() == url
    assert httpx.get(url, trust_env=False).status_code == 200
    sandbox.stop()
    sandbox.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    again = sandbox.start()
    try:
        assert httpx.get(again, trust_env=False).status_code == 200
    finally:
        sandbox.stop()


def test_a_notebook_shows_the_inbox_as_a_table(caller: Caller) -> None:
    """The newest SMS first, escaped."""
    assert "no SMS yet" in caller.sandbox._repr_html_()
    caller.send(PHONE, "first {{code}} <b>")
    caller.send("+34600000009", "second {{code}}")
    caller.check(caller.sandbox.messages()[-1].authentication_id, caller.code("+34600000009"))
    shown = caller.sandbox._repr_html_()

    assert shown.index("second") < shown.index("first")
    assert f"<td>{PHONE}</td><td>first {caller.code()} &lt;b&gt;</td><td>waiting</td>" in shown
    assert "<td>verified</td>" in shown


BLOCK = """
import sys
sys.modules["uvicorn"] = None
from camara_otp.sandbox import Sandbox
Sandbox().transport()
try:
    Sandbox().serve()
except RuntimeError as error:
    print(error)
sys.argv = ["sandbox"]
from camara_otp.sandbox.__main__ import main
main([])
"""


def test_without_the_extra() -> None:
    """In process, the base install is enough; the server needs the extra, and the error names it."""
    done = subprocess.run([sys.executable, "-c", BLOCK], capture_output=True, text=True, check=False, timeout=60)
    assert "pip install 'camara-otp[sandbox]'" in done.stdout
    assert "pip install 'camara-otp[sandbox]'" in done.stderr
    assert done.returncode == 2


def test_phone_of_a_wrong_body_is_not_guessed(caller: Caller) -> None:
    """A fault for a number ignores requests whose number cannot be read."""
    caller.sandbox.add_fault(Fault(code="INTERNAL", phone_number=PHONE))
    assert outcome(caller.post("send-code", {"phoneNumber": 5})) == (400, "INVALID_ARGUMENT")


def test_a_late_answer_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a client that gave up nor the end of the server waits for it, and no failure is logged."""
    body = {"phoneNumber": PHONE, "message": "{{code}}"}
    sandbox = Sandbox(latency=60)
    with ThreadPoolExecutor() as pool:
        with sandbox.serve() as url:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url + "/otpvalidation/send-code", json=body, timeout=0.3)
            waiting = pool.submit(httpx.post, url + "/otpvalidation/send-code", json=body, timeout=30)
            while len(sandbox.calls()) < 2:
                time.sleep(0.01)
            start = time.monotonic()
        assert time.monotonic() - start < 1.5
        with pytest.raises(httpx.RemoteProtocolError):
            waiting.result()
    assert not caplog.records
