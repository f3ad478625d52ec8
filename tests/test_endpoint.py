"""The URL of the operator: base_url, api_path, params and headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camara_otp._checks import is_local, is_loopback, shown_url, split_url
from camara_otp._settings import endpoint, static_headers
from camara_otp.errors import ConfigurationError


@pytest.mark.parametrize(
    ("base_url", "api_path", "target"),
    [
        ("https://api.example.com", "/otpvalidation", "https://api.example.com|/otpvalidation/send-code"),
        ("https://api.example.com/", "/otpvalidation", "https://api.example.com|/otpvalidation/send-code"),
        ("https://api.example.com/camara", "/otpvalidation", "https://api.example.com|/camara/otpvalidation/send-code"),
        ("https://api.example.com/a/b/", "v1/otp/", "https://api.example.com|/a/b/v1/otp/send-code"),
        ("https://api.example.com/a", "", "https://api.example.com|/a/send-code"),
        ("https://api.example.com/a", "/", "https://api.example.com|/a/send-code"),
        ("HTTPS://API.Example.com:8443/A", "/x", "https://api.example.com:8443|/A/x/send-code"),
        ("http://localhost:9091", "/x", "http://localhost:9091|/x/send-code"),
        ("http://127.0.0.1", "/x", "http://127.0.0.1|/x/send-code"),
        ("http://127.8.8.8:1", "/x", "http://127.8.8.8:1|/x/send-code"),
        ("http://[::1]:9091/p", "/x", "http://[::1]:9091|/p/x/send-code"),
        ("https://[2001:DB8::1]", "/x", "https://[2001:db8::1]|/x/send-code"),
        ("https://xn--bcher-kva.example/%C3%A9", "/x", "https://xn--bcher-kva.example|/%C3%A9/x/send-code"),
    ],
)
def test_paths_are_joined_by_concatenation(base_url, api_path, target):
    """A path in the root stays, slashes are neither doubled nor lost."""
    place = endpoint(base_url, api_path, None, allow_http=False)

    assert f"{place.origin}|{place.target('/send-code')}" == target
    assert not place.shows_token


@pytest.mark.parametrize("operation", ["send-code", "validate-code"])
def test_an_operation_is_no_part_of_where_it_is(operation):
    """Otherwise every response would be a 404, which looks like an unknown number."""
    for field, arguments in (
        ("base_url", (f"https://api.example.com/otpvalidation/{operation}/", "")),
        ("api_path", ("https://api.example.com", f"/otpvalidation/{operation}")),
    ):
        with pytest.raises(ConfigurationError, match=f"^{field}: ends in the name of an operation"):
            endpoint(*arguments, None, allow_http=False)


@pytest.mark.parametrize("path", ["/..", "/a/../b", "/./a", "/a/%2e%2E/b", "/a/.%2e", "/.", "/a/."])
def test_dot_segments_are_rejected(path):
    """A proxy that removes them would send the token elsewhere (RFC 3986 section 5.2.4)."""
    with pytest.raises(ConfigurationError, match=r"^base_url: contains a segment"):
        endpoint(f"https://api.example.com{path}", "/x", None, allow_http=False)
    with pytest.raises(ConfigurationError, match=r"^api_path: contains a segment"):
        endpoint("https://api.example.com", path, None, allow_http=False)
    assert endpoint("https://api.example.com/a..b/.well", "/v1.0", None, allow_http=False)


def test_params_follow_the_path():
    """Values are encoded once, and lists are repeated."""
    place = endpoint("https://a.example", "/x", {"mock-key": "a b&c", "n": [1, 2]}, allow_http=False)

    assert place.target("/send-code") == "/x/send-code?mock-key=a+b%26c&n=1&n=2"


@pytest.mark.parametrize(
    ("base_url", "says"),
    [
        ("api.example.com", "https://"),
        ("//api.example.com", "https://"),
        ("ftp://api.example.com", "https://"),
        ("file:///etc/passwd", "https://"),
        ("httpx://api.example.com", "https://"),
        ("https://", "no host"),
        ("https:///path", "no host"),
        ("https://user:secret@api.example.com", "must not contain a user name"),
        ("https://token@api.example.com", "must not contain a user name"),
        ("https://api.example.com?x=1", "must not contain a query"),
        ("https://api.example.com/?", "must not contain a query"),
        ("https://api.example.com#x", "or a fragment"),
        ("https://api.example.com:99999", "not a URL"),
        ("https://api.example.com:0", "no host"),
        ("https://api.example.com:", "no host"),
        ("https://api.example.com:x", "not a URL"),
        ("https://[::1", "not a URL"),
        ("https://[fe80::1%25eth0]", "no host"),
        ("https://[v1.x]", "no"),
        ("https://bücher.example", "xn--"),
        ("https://аpi.example.com", "xn--"),
        ("https://api.example.com/é", "ASCII"),
        ("https://api.example.com/a b", "spaces"),
        (" https://api.example.com", "spaces"),
        ("https://api.example.com\n", "spaces"),
        ("https://api.exa\tmple.com", "spaces"),
        ("https://api.example.com\\@evil.example", "no"),
        ("https://api%2eexample.com", "no host"),
        ("https://api.example.com/%zz", "percent-encoded"),
        ("https://api.example.com/<x>", "percent-encoded"),
        ("https://-api.example.com", "no host"),
        ("http://api.example.com", "plain http"),
        ("http://localhost.evil.example", "plain http"),
        ("http://127.0.0.1.evil.example", "plain http"),
        ("http://0.0.0.0", "plain http"),
        ("http://127.1", "plain http"),
        ("http://0x7f000001", "plain http"),
        ("http://[::ffff:8.8.8.8]", "plain http"),
    ],
)
def test_a_base_url_that_two_readers_could_read_differently_is_refused(base_url, says):
    """The message names base_url and the remedy, and repeats no credentials."""
    with pytest.raises(ConfigurationError, match="^base_url: ") as caught:
        endpoint(base_url, "/x", None, allow_http=False)

    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("api_path", ["/a?b", "/a#b", "/a b", "/é", "/%zz", "/a\r\nX: y"])
def test_a_bad_api_path_is_refused(api_path):
    """No character may end the request line."""
    with pytest.raises(ConfigurationError, match="^api_path: "):
        endpoint("https://a.example", api_path, None, allow_http=False)


def test_plain_http_is_allowed_where_asked_for():
    """And the endpoint says that it shows the token."""
    assert endpoint("http://api:8080", "/x", None, allow_http=True).shows_token
    assert not endpoint("http://localhost", "/x", None, allow_http=True).shows_token


@given(st.text(max_size=40) | st.from_regex(r"https?://[!-~]{0,30}", fullmatch=True))
def test_any_text_is_taken_or_refused(url):
    """An accepted URL has an ASCII origin and path, and shows no token."""
    try:
        found = split_url("base_url", url, allow_http=False)
    except ConfigurationError:
        return
    assert f"{found.origin}{found.path}".isascii()
    assert (
        found.origin.startswith("https://")
        or is_loopback(found.origin.split("//")[1].split(":")[0].strip("[]"))
        or "[" in found.origin
    )


def test_headers_of_the_caller_win_over_defaults():
    """Names compare without case, each is sent once."""
    assert static_headers(
        {"user-agent": "mine", "x-otp-sms-header": "Sender"}, {"User-Agent": "ours", "Accept": "a"}
    ) == (
        (b"user-agent", b"mine"),
        (b"Accept", b"a"),
        (b"x-otp-sms-header", b"Sender"),
    )
    assert static_headers(None, {}) == ()
    assert static_headers({"X-Empty": ""}, {}) == ((b"X-Empty", b""),)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer secret"},
        {"content-type": "text/plain"},
        {"ACCEPT": "*/*"},
        {"X-Correlator": "a"},
        {"Host": "evil.example"},
        {"Content-Length": "0"},
        {"transfer-encoding": "chunked"},
        {"Connection": "close"},
        {"X-A": "secret\r\nX-B: c"},
        {"X-A": "secret\n"},
        {"X-A": "\x00"},
        {"X-A": " padded"},
        {"X-A": "é"},
        {"X-A": 7},
        {"X A": "b"},
        {"X-A:": "b"},
        {"": "b"},
        {b"X-A": "b"},
        {"X-A\r\nX-B": "c"},
    ],
    ids=repr,
)
def test_a_header_that_could_break_the_request_is_refused(headers):
    """Reserved names, line ends, other types; the value is not repeated."""
    with pytest.raises(ConfigurationError, match="^headers: ") as caught:
        static_headers(headers, {})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("api.localhost", True),
        ("127.0.0.1", True),
        ("127.1", True),
        ("0x7f000001", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("169.254.169.254", True),
        ("fe80::1", True),
        ("0.0.0.0", True),
        ("10.0.0.1", False),
        ("op.example", False),
        ("localhost.example", False),
        ("8.8.8.8", False),
    ],
)
def test_an_address_of_this_machine_or_link_is_recognized(host, local):
    """All spellings that resolvers accept are covered."""
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://op.example/token", "https://op.example/token"),
        ("https://op.example/token?key=k3y", "https://op.example/token?***"),
        ("https://op.example/token?key=k3y@x", "https://***"),
        ("https://user:k3y@op.example/x", "https://***@op.example/x"),
        ("https://user:k/3y@5@op.example", "https://***@op.example"),
        ("https://user:k3y?@op.example", "https://***"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    """Neither user name, password nor query."""
    assert shown_url(url) == shown
