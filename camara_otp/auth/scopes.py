"""Scope strings: the permitted use of a token, and its purpose."""

import re
from typing import Final

from camara_otp._checks import text
from camara_otp.errors import ConfigurationError

SEND_VALIDATE: Final = "one-time-password-sms:send-validate"

# RFC 6749 section 3.3.
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_PURPOSE: Final = re.compile(r"(?:dpv:)?([A-Za-z][A-Za-z0-9]*)")

# Scopes of OpenID Connect: a response may leave them out without granting less of the API.
_OPENID: Final = frozenset({"openid", "offline_access", "profile", "email", "phone", "address"})


def scope(
    *names: str, purpose: str | None = None, joined: bool = False, openid: bool = False, offline: bool = False
) -> str:
    """Build the scope string of a token request.

    Args:
        names: scopes of the API; without any, `one-time-password-sms:send-validate`
        purpose: a purpose of the W3C Data Privacy Vocabulary, as `"FraudPreventionAndDetection"`, with or without
            `dpv:` in front. Three-legged tokens need one; for client credentials the operator decides.
        joined: write the older form `dpv:Purpose#scope`, which some operators still publish
        openid: ask for `openid` too, which CIBA requires
        offline: ask for `offline_access` too, to obtain a refresh token

    Returns:
        the scopes, separated by spaces

    Raises:
        ConfigurationError: a name or the purpose holds a character that no scope can hold, or `joined` lacks a purpose

    Source: CAMARA Security and Interoperability Profile, "Purpose as a scope".
    """
    names = tuple(text("scope", name) for name in names) or (SEND_VALIDATE,)
    parts = ["openid"] * openid + ["offline_access"] * offline
    if purpose is None:
        if joined:
            raise ConfigurationError("joined: needs a purpose to join to the scope")
        return checked_scope(" ".join([*parts, *names]))
    known = _PURPOSE.fullmatch(text("purpose", purpose))
    if known is None:
        raise ConfigurationError("purpose: must be a term of the Data Privacy Vocabulary, letters and digits only")
    term = f"dpv:{known[1]}"
    parts += [f"{term}#{name}" for name in names] if joined else [term, *names]
    return checked_scope(" ".join(parts))


def checked_scope(value: object, *, openid: bool = True) -> str:
    """Return a scope string that RFC 6749 allows, or raise ConfigurationError."""
    names = text("scope", value)
    if _SCOPE.fullmatch(names) is None:
        raise ConfigurationError("scope: must be names of visible ASCII characters, separated by single spaces")
    if not openid and "openid" in names.split():
        raise ConfigurationError("scope: a JWT bearer assertion must not hold openid; leave it out")
    return names


def missing_scopes(requested: str, granted: str) -> list[str]:
    """Return the requested scopes of the API that were not granted; purposes and OpenID's own scopes do not count.

    Servers write the granted scope in their own ways: separated by commas, in another case, with the name of the
    resource in front (`api://resource/scope`).
    """
    has = {part for name in re.split(r"[\s,]+", granted.lower()) for part in (name, name.rpartition("#")[2])}

    def is_granted(name: str) -> bool:
        return name in has or any(other.endswith(f"/{name}") for other in has)

    return [
        name
        for name in requested.split()
        if name not in _OPENID
        and not (name.startswith("dpv:") and "#" not in name)
        and not (is_granted(name.lower()) or is_granted(name.lower().rpartition("#")[2]))
    ]
