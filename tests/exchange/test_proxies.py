"""Proxies of the environment, by the rules of httpx; loopback is never reached through one."""

import base64
from urllib.parse import urlsplit

import httpx
import pytest

from camara_otp._exchange.proxies import proxy_of


@pytest.mark.parametrize(
    ("environment", "origin", "expected"),
    [
        ({}, "https://api.example.com", False),
        ({"HTTPS_PROXY": "http://p.example:1"}, "https://api.example.com", True),
        ({"https_proxy": "http://p.example:1"}, "https://api.example.com", True),
        ({"HTTP_PROXY": "http://p.example:1"}, "https://api.example.com", False),
        ({"http_proxy": "http://p.example:1"}, "http://api.example.com", True),
        ({"ALL_PROXY": "http://p.example:1"}, "https://api.example.com", True),
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": "*"}, "https://api.example.com", False),
        (
            {"ALL_PROXY": "http://p.example:1", "NO_PROXY": "x.example, api.example.com"},
            "https://api.example.com",
            False,
        ),
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": "example.com"}, "https://api.example.com", False),
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": ".example.com"}, "https://api.example.com", False),
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": "example.com"}, "https://badexample.com", True),
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": "10.0.0.7"}, "https://10.0.0.7", False),
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": ""}, "https://10.0.0.7", True),
        ({"HTTPS_PROXY": ""}, "https://api.example.com", False),
        ({"FTP_PROXY": "http://p.example:1"}, "https://api.example.com", False),
    ],
)
def test_the_rules_are_those_of_httpx(monkeypatch, environment, origin, expected):
    """Both spellings, the exceptions, and the scheme of the origin."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    scheme, host = origin.split("://")
    assert (proxy_of(scheme, host, 443) is not None) is expected
    with httpx.Client() as client:
        proxied = client._transport_for_url(httpx.URL(origin)) is not client._transport
    assert proxied is expected


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_is_never_behind_a_proxy(monkeypatch, host):
    """The token of a local test does not leave the machine."""
    monkeypatch.setenv("ALL_PROXY", "http://p.example:1")
    assert not proxy_of("http", host, 80)


def proxy_for(monkeypatch, origin="https://api.example.com", **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    parts = urlsplit(origin)
    return proxy_of(parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))


@pytest.mark.parametrize(
    ("entry", "origin", "excepted"),
    [
        (".example.com", "https://example.com", True),
        ("*.example.com", "https://api.example.com", True),
        ("api.example.com:443", "https://api.example.com", True),
        ("api.example.com:8443", "https://api.example.com", False),
        ("api.example.com:8443", "https://api.example.com:8443", True),
        ("example.com.", "https://api.example.com", True),
        ("API.EXAMPLE.COM", "https://api.example.com", True),
        ("a.example b.example", "https://b.example", True),
        ("2001:db8::1", "https://[2001:db8::1]", True),
        ("[2001:db8::1]", "https://[2001:db8::1]", True),
        ("[2001:db8::1]:443", "https://[2001:db8::1]", True),
        ("[2001:db8::1]:444", "https://[2001:db8::1]", False),
        ("2001:db8:0::1", "https://[2001:db8::1]", True),
        ("fd12::/48", "https://[fd12::7]", True),
        ("fd12::/48", "https://[fd13::7]", False),
        ("192.0.2.0/24", "https://192.0.2.7", True),
        ("192.0.2.0/24", "https://192.0.3.7", False),
        ("192.0.2.7/24", "https://192.0.2.9", True),
        ("192.0.2.0/24", "https://a192.0.2.0", False),
        ("192.0.2.7:8443", "https://192.0.2.7:8443", True),
        ("ple.com", "https://api.example.com", False),
        (" , ,", "https://api.example.com", False),
        ("::bad::", "https://api.example.com", False),
    ],
)
def test_no_proxy_is_read_as_curl_and_requests_read_it(monkeypatch, entry, origin, excepted):
    """Names, suffixes, ports, addresses, and networks."""
    proxy = proxy_for(monkeypatch, origin, HTTPS_PROXY="http://p.example:1", NO_PROXY=entry)
    assert (proxy is None) is excepted


def test_a_proxy_url_is_read_with_its_credentials(monkeypatch):
    """They are percent-decoded; the string of the proxy shows host and port only."""
    proxy = proxy_for(monkeypatch, HTTPS_PROXY="http://us%40er:pa%3Ass@p.example:3128/")
    assert (proxy.host, proxy.port, proxy.problem) == ("p.example", 3128, None)
    assert proxy.headers == ((b"Proxy-Authorization", b"Basic " + base64.b64encode(b"us@er:pa:ss")),)
    assert str(proxy) == "HTTPS_PROXY (p.example:3128)"


@pytest.mark.parametrize(
    ("url", "host", "port"), [("p.example:3128", "p.example", 3128), ("http://[::1]", "::1", 80), ("p", "p", 80)]
)
def test_other_forms_of_a_proxy_url(monkeypatch, url, host, port):
    """Without a scheme, with an IPv6 address, without a port."""
    proxy = proxy_for(monkeypatch, HTTPS_PROXY=url)
    assert (proxy.host, proxy.port, proxy.problem) == (host, port, None)


def test_an_unusable_entry_matters_only_for_an_origin_that_would_use_it(monkeypatch):
    """A desktop sets ALL_PROXY=socks://... and a valid HTTPS_PROXY."""
    environment = {"HTTPS_PROXY": "http://good.example:1", "ALL_PROXY": "socks://x"}
    assert proxy_for(monkeypatch, **environment).problem is None
    problem = proxy_for(monkeypatch, "http://api.example.com", **environment).problem
    assert problem.startswith("ALL_PROXY: ")
    assert "NO_PROXY" in problem


@pytest.mark.parametrize("url", ["foo://p:1", "http://", "http://p:abc", "http://[::1", "http://a b:1"])
def test_an_invalid_proxy_url_is_named_by_its_variable(monkeypatch, url):
    """The message has the right form, and not the value, which may have credentials."""
    problem = proxy_for(monkeypatch, https_proxy=url).problem
    assert problem.startswith("https_proxy: ")
    assert "http://[user:password@]host:port" in problem


@pytest.mark.parametrize("url", ["socks5://p:1", "socks5h://u:p@p:1", "https://p:1"])
def test_proxies_of_other_kinds_are_left_to_httpx(monkeypatch, url):
    """It supports SOCKS, and TLS to the proxy."""
    assert proxy_for(monkeypatch, HTTPS_PROXY=url).url == url
