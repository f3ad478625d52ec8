"""Scope strings: what a token may be used for, and the purpose of using it."""

import re
from typing import Final

from camara_otp.auth._values import text
from camara_otp.errors import ConfigurationError

SEND_VALIDATE: Final = "one-time-password-sms:send-validate"

# RFC 6749 section 3.3.
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_PURPOSE: Final = re.compile(r"(?:dpv:)?([A-Za-z][A-Za-z0-9]*)")

# What an answer may leave out of its scope without granting less of the API.
_NOT_ACCESS: Final = frozenset({"openid", "offline_access", "profile", "email", "phone", "address"})


def scope(
    *names: str, purpose: str | None = None, joined: bool = False, openid: bool = False, offline: bool = False
) -> str:
    """Build the scope string of a token request.

    Args:
        names: scopes of the API; without any, `one-time-password-sms:send-validate`.
        purpose: a purpose of the W3C Data Privacy Vocabulary, as `"FraudPreventionAndDetection"`, with or without
            `dpv:` in front. Three-legged tokens need one; for client credentials the operator decides.
        joined: write the older form `dpv:Purpose#scope`, which some operators still publish.
        openid: ask for `openid` too, as CIBA wants.
        offline: ask for `offline_access` too, so that a refresh token may come along.

    Returns:
        The scopes, separated by blanks.

    Raises:
        ConfigurationError: a name or the purpose holds what a scope cannot hold, or `joined` lacks a purpose.

    Source: CAMARA Security and Interoperability Profile, "Purpose as a scope".
    """
    names = tuple(text("scope", name) for name in names) or (SEND_VALIDATE,)
    parts = ["openid"] * openid + ["offline_access"] * offline
    if purpose is None:
        if joined:
            raise ConfigurationError("joined: needs a purpose to join to the scope")
        return checked(" ".join([*parts, *names]))
    known = _PURPOSE.fullmatch(text("purpose", purpose))
    if known is None:
        raise ConfigurationError("purpose: must be a term of the Data Privacy Vocabulary, letters and digits only")
    term = f"dpv:{known[1]}"
    parts += [f"{term}#{name}" for name in names] if joined else [term, *names]
    return checked(" ".join(parts))


def checked(value: object) -> str:
    """Return a scope string that a request can carry.

    Raises:
        ConfigurationError: it is empty or holds a character that RFC 6749 does not allow.
    """
    names = text("scope", value)
    if _SCOPE.fullmatch(names) is None:
        raise ConfigurationError("scope: must be names of visible ASCII characters, separated by single blanks")
    return names


def missing(requested: str, granted: str) -> list[str]:
    """Return what was requested of the API and not granted; purposes and OpenID's own scopes do not count."""
    has = {name for part in granted.split() for name in (part, part.rpartition("#")[2])}
    return [
        name
        for name in requested.split()
        if name not in _NOT_ACCESS
        and not (name.startswith("dpv:") and "#" not in name)
        and name not in has
        and name.rpartition("#")[2] not in has
    ]
