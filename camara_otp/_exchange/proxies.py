"""The proxy that the environment names for an origin, read as curl and requests read it."""

import base64
import os
import re
import sys
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes, urlsplit

from camara_otp._checks import is_loopback

if TYPE_CHECKING:
    from camara_otp._exchange.values import Headers

# Where the settings of the system count as well as the environment's variables.
_SYSTEM_SETTINGS: Final = sys.platform in ("darwin", "win32")
_BY_HTTPX: Final = ("https", "socks5", "socks5h")
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]+")


class Proxy:
    """A proxy of the environment. Its `str` names the variable and the server, never the credentials.

    Attributes:
        host: without brackets
        port: of the proxy
        headers: Proxy-Authorization, if the URL holds credentials
        url: with its credentials, for a kind of proxy that httpx has to connect to (https or SOCKS), else None
        problem: why the proxy cannot be used, or None
    """

    def __init__(self, variable: str, url: str) -> None:
        self._named = variable
        self.headers: Headers = ()
        self.problem: str | None = None
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            self.port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            parts, self.port = urlsplit(""), 0
        self.host = parts.hostname or ""
        self.url = url if parts.scheme in _BY_HTTPX else None
        if not _NAME.fullmatch(self.host) or parts.scheme not in ("http", *_BY_HTTPX):
            self.problem = (
                f"{variable}: is not the URL of a proxy that can be used; set http://[user:password@]host:port, "
                "or except this host in NO_PROXY"
            )
            return
        self._named = f"{variable} ({self.host}:{self.port})"
        if parts.username is not None:
            userinfo = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
            self.headers = ((b"Proxy-Authorization", b"Basic " + base64.b64encode(userinfo)),)

    def __str__(self) -> str:
        return self._named


def proxy_of(scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy for an origin, or None for a direct connection; addresses of this machine are always direct.

    Args:
        scheme: `"https"` or `"http"`
        host: in lower case, without brackets
        port: of the origin
    """
    if is_loopback(host) or not (_SYSTEM_SETTINGS or any(name.lower().endswith("_proxy") for name in os.environ)):
        return None
    from urllib.request import getproxies  # noqa: PLC0415 - heavy, and most environments have no proxy

    proxies = getproxies()
    kind = next((kind for kind in (scheme, "all") if proxies.get(kind)), None)
    entries = re.split(r"[,\s]+", proxies.get("no", "").lower())
    if kind is None or any(_excepts(entry, host.rstrip("."), port) for entry in entries):
        return None
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    variable = next((name for name in names if os.environ.get(name)), "the proxy settings of the system")
    return Proxy(variable, proxies[kind])


def _excepts(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of NO_PROXY names the host: a name, a suffix, an address, or a network."""
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of them is a name, or the entry has a port
    name, _, wanted = entry.rpartition(":")
    if name and wanted.isdecimal() and (":" not in name or name.endswith("]")):
        return int(wanted) == port and _excepts(name, host, port)
    suffix = entry.lstrip("*").strip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))
