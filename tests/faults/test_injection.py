"""The values of a caller and of the environment never add to the request or change its target."""

import http.cookiejar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camara_otp import ConfigurationError, OTPError, RequestValidationError, TokenError
from tests.faults.scenarios import SENT, raw
from tests.http import httpx

CONTROLS = [
    "\r\n",
    "\n",
    "\r",
    "\x00",
    "\t",
    "\x0b",
    "\x7f",
    "\x85",
    "\u2028",
    " ",
    "\xa0",
    "é",
    "\U0001f600",
    "\ud800",
]
TEXTS = st.text(st.characters(), max_size=30) | st.sampled_from(CONTROLS).map("a{}X-Evil: 1".format)
_hunting = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def wire(faults):
    """Run a server that stores the bytes that it reads."""

    class Wire:
        pass

    async def script(c):
        while await c.request():
            Wire.heads.append(c.head)
            Wire.bodies.append(c.body)
            await c.send(raw(200, SENT, b"Set-Cookie: session=evil; Path=/"))

    Wire.heads, Wire.bodies = [], []
    Wire.url = f"http://127.0.0.1:{faults.listen(script).port}"
    return Wire


def names(head):
    """Return the header names of a request."""
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return [line.partition(":")[0].lower() for line in lines]


# fmt: off
EXPECTED = sorted((
    "host", "accept-encoding", "content-type", "accept", "user-agent", "authorization", "x-correlator",
    "content-length",
))
# fmt: on


def test_what_travels_is_known_to_the_last_header(wire, shell):
    shell.client(wire.url).send_code("+346661113334", "{{code}}")

    assert sorted(names(wire.heads[0])) == EXPECTED


@pytest.mark.parametrize("where", ["token", "callable", "x_correlator", "factory", "headers", "name"])
def test_no_string_breaks_out_of_a_header(wire, shell_sync, where):
    """The string is refused, or sent as one header value."""

    @_hunting
    @given(TEXTS)
    def hunted(text):
        before = len(wire.heads)
        options, call = {}, {}
        match where:
            case "token":
                call["token"] = text
            case "callable":
                call["token"] = lambda: text
            case "x_correlator":
                call["x_correlator"] = text
            case "factory":
                options["x_correlator"] = lambda: text
            case "headers":
                options["headers"] = {"X-Extra": text}
            case "name":
                options["headers"] = {text: "x"}
        try:
            shell_sync.client(wire.url, **options).send_code("+346661113334", "{{code}}", **call)
        except (ConfigurationError, RequestValidationError, TokenError):
            assert len(wire.heads) == before
            return
        (head,) = wire.heads[before:]
        extra = {"headers": ["x-extra"], "name": [text.lower()]}.get(where, [])
        # A User-Agent of the caller's takes the place of ours.
        assert sorted(names(head)) == sorted({*EXPECTED, *extra})
        assert text.encode("ascii") in head

    hunted()


@_hunting
@given(message=TEXTS.map("{{{{code}}}}{}".format), code=TEXTS)
def test_no_string_breaks_out_of_the_body(wire, shell_sync, message, code):
    """The server reads the given value and nothing else."""
    import json

    client = shell_sync.client(wire.url)
    for call, expected in (
        (lambda: client.send_code("+346661113334", message), {"phoneNumber": "+346661113334", "message": message}),
        (lambda: client.validate_code("an-id", code), {"authenticationId": "an-id", "code": code}),
    ):
        before = len(wire.bodies)
        try:
            call()
        except RequestValidationError:
            assert len(wire.bodies) == before
            continue
        except OTPError:
            pass  # 200 does not verify
        (body,) = wire.bodies[before:]
        assert json.loads(body) == expected


def test_netrc_is_not_read(wire, shell, monkeypatch, tmp_path):
    """The Authorization header has the token, whatever a .netrc has for the host."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    shell.client(wire.url, token="the-token").send_code("+346661113334", "{{code}}")

    assert b"\r\nAuthorization: Bearer the-token\r\n" in wire.heads[0]
    assert b"Basic" not in wire.heads[0]


def test_cookies_are_not_kept(wire, shell):
    """A cookie of a response is not sent with the next request, not even on the same connection."""
    client = shell.client(wire.url)
    for _ in range(3):
        client.send_code("+346661113334", "{{code}}")

    assert all(b"cookie" not in head.lower() for head in wire.heads)


def test_cookies_are_not_kept_on_the_way_through_a_proxy(faults, shell, monkeypatch):
    """Also if a proxy of the environment leads through httpx."""
    heads = []

    async def proxy(c):
        while await c.request():
            heads.append(c.head)
            await c.send(raw(200, SENT, b"Set-Cookie: session=evil; Path=/"))

    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{faults.listen(proxy).port}")
    with pytest.warns(UserWarning, match="plain http"):
        client = shell.client("http://api.example.com", allow_http=True)
    for _ in range(2):
        client.send_code("+346661113334", "{{code}}")

    assert [head.split(b"\r\n")[0] for head in heads] == [
        b"POST http://api.example.com/otpvalidation/send-code HTTP/1.1"
    ] * 2
    assert all(b"cookie" not in head.lower() for head in heads)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_loopback_never_goes_through_a_proxy(wire, shell, monkeypatch, name):
    """A sandbox on this machine is called directly."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    shell.client(wire.url).send_code("+346661113334", "{{code}}")

    assert len(wire.heads) == 1


def test_a_proxy_that_refuses_is_not_sent(shell, monkeypatch, faults):
    """CONNECT was refused, so neither the request nor the token was sent."""
    heads = []

    async def proxy(c):
        await c.request()
        heads.append(c.head)
        await c.send(raw(403, b"no"))
        c.close()

    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{faults.listen(proxy).port}")
    client = shell.client("https://api.example.com", retry=None, token="the-token")
    with pytest.raises(OTPError) as caught:
        client.send_code("+346661113334", "{{code}}")

    assert not caught.value.outcome_unknown
    assert heads[0].startswith(b"CONNECT api.example.com:443 ")
    assert b"the-token" not in b"".join(heads)


@pytest.mark.parametrize("variable", ["PYTHONHTTPSVERIFY", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSLKEYLOGFILE"])
def test_no_variable_turns_the_certificate_check_off(faults, shell, monkeypatch, variable, tmp_path):
    """The variables of other programs have no effect."""
    monkeypatch.setenv(variable, "0" if variable == "PYTHONHTTPSVERIFY" else str(tmp_path / "none"))

    async def script(c):
        while await c.request():
            await c.send(raw())

    listener = faults.listen(script, tls=faults.self_signed)
    with pytest.raises(OTPError, match="certificate") as caught:
        shell.client(f"https://127.0.0.1:{listener.port}").send_code("+346661113334", "{{code}}")

    assert caught.value.permanent
    assert listener.posts == 0


def test_the_signature_offers_no_way_to_skip_the_check():
    """There is no `verify` or `insecure`; a caller can only pass an httpx client."""
    import inspect

    from camara_otp import AsyncOTPClient, OTPClient

    for kind in (OTPClient, AsyncOTPClient):
        assert not {"verify", "insecure", "ssl", "cert", "verify_ssl"} & set(inspect.signature(kind).parameters)


def test_a_cookie_jar_of_the_callers_client_stays_its_own(wire, shell):
    http_client = shell.http_client(cookies=httpx.Cookies(http.cookiejar.CookieJar()))
    client = shell.client(wire.url, http_client=http_client)
    client.send_code("+346661113334", "{{code}}")
    client.send_code("+346661113334", "{{code}}")

    assert b"session=evil" in wire.heads[1]
