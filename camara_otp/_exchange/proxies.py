"""Whether the environment sends an origin through a proxy: the rules of httpx, for one host."""

import os
import sys
from typing import Final

# Where the settings of the system count as well as the environment's variables.
_SYSTEM_SETTINGS: Final = sys.platform in ("darwin", "win32")


def uses_proxy(scheme: str, host: str) -> bool:
    """Tell whether requests may go through a proxy, so that httpx has to send them.

    Args:
        scheme: `"https"` or `"http"`.
        host: in lower case, without brackets.
    """
    if _is_local(host) or not (_SYSTEM_SETTINGS or any(name.lower().endswith("_proxy") for name in os.environ)):
        return False
    from urllib.request import getproxies  # noqa: PLC0415 - heavy, and most have no proxy

    proxies = getproxies()
    if not (proxies.get(scheme) or proxies.get("all")):
        return False
    return not any(_excepts(entry.strip().lower(), host) for entry in proxies.get("no", "").split(","))


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _excepts(entry: str, host: str) -> bool:
    """Tell whether an entry of NO_PROXY names the host; where this is too strict, httpx decides in the end."""
    if entry.startswith("."):
        return host.endswith(entry)
    return bool(entry) and (entry in ("*", host) or host.endswith(f".{entry}"))
