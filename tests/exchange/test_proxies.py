"""Proxies come from the environment, by httpx's rules, and never stand before this machine itself."""

import httpx
import pytest

from camara_otp._exchange.proxies import uses_proxy


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
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": ".example.com"}, "https://example.com", True),
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": "example.com"}, "https://badexample.com", True),
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": "10.0.0.7"}, "https://10.0.0.7", False),
        ({"ALL_PROXY": "http://p.example:1", "NO_PROXY": ""}, "https://10.0.0.7", True),
        ({"HTTPS_PROXY": ""}, "https://api.example.com", False),
        ({"FTP_PROXY": "http://p.example:1"}, "https://api.example.com", False),
    ],
)
def test_the_rules_are_those_of_httpx(monkeypatch, environment, origin, expected):
    """Both ways of spelling, the exceptions, and the scheme of the origin."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    scheme, host = origin.split("://")
    assert uses_proxy(scheme, host) is expected
    with httpx.Client() as client:
        proxied = client._transport_for_url(httpx.URL(origin)) is not client._transport
    assert proxied is expected


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_is_never_behind_a_proxy(monkeypatch, host):
    """The token of a local test stays here."""
    monkeypatch.setenv("ALL_PROXY", "http://p.example:1")
    assert not uses_proxy("http", host)
