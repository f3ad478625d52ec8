"""`camara-otp token`: fetch a token and describe it."""

import base64
import hashlib
import json
import time
from typing import Any, cast

import click

from camara_otp._environment import client_credentials, token_or_provider
from camara_otp.auth import MemoryStore, StaticToken
from camara_otp.cli import options
from camara_otp.cli.console import Screen, plain


class _LifetimeStore(MemoryStore):
    """A token store that records the lifetime of the last token."""

    seconds: float | None = None

    def save(self, name: str, value: bytes, seconds: float) -> None:
        self.seconds = seconds
        super().save(name, value, seconds)


@click.command(
    cls=options.Command,
    help="Fetch a token and describe it.\n\n"
    "The token itself is not printed. A token that is set is described without fetching one.",
)
@options.json_option
@options.verbose_option
@options.profile_option
@options.token_options
@click.pass_obj
def token(screen: Screen, /, **given: Any) -> None:
    """Fetch an access token, or read the one that is set, and describe it without printing it."""
    found = options.resolved(screen, given)
    source = next((found[name].source for name in ("token", "token_file") if name in found), None)
    if source is None and "client_id" in found:
        store, began = _LifetimeStore(), time.monotonic()
        with screen.waiting("Fetching a token"):
            text = client_credentials(found, store=store).get_token(rejected=None, timeout=30.0)
        described = {
            "from": "client credentials",
            "fetchedInSeconds": round(time.monotonic() - began, 3),
            "expiresInSeconds": None if store.seconds is None else round(store.seconds),
        }
    else:
        text = StaticToken(str(token_or_provider(found))).get_token(rejected=None, timeout=0.0)
        described = {"from": source}
    described |= describe_token(text)
    width = max(map(len, described))
    screen.result(described, plain("\n".join(f" {name:<{width}}  {value}" for name, value in described.items())))


def describe_token(text: str) -> dict[str, Any]:
    """Return facts about a token that do not reveal it."""
    described: dict[str, Any] = {
        "kind": "opaque",
        "characters": len(text),
        "fingerprint": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12],
    }
    try:
        _, body, _ = text.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), parse_constant=str)
    except (ValueError, RecursionError):
        return described
    if not isinstance(claims, dict):
        return described
    known = cast("dict[str, Any]", claims)
    described["kind"] = "JWT"
    # Without the subject, which may be a phone number.
    described |= {name: known[name] for name in ("iss", "aud", "client_id", "scope") if name in known}
    expiry = known.get("exp")
    # A claim may hold any number, also NaN, or one that no float can hold.
    if isinstance(expiry, int | float) and not isinstance(expiry, bool) and abs(expiry) < 1e12:
        described["expiresInSeconds"] = round(expiry - time.time())
    return described
