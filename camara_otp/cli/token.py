"""`camara-otp token`: fetch a token and describe it."""

import base64
import hashlib
import json
import time
from typing import Any, Final, cast

from rich.table import Table

from camara_otp import OTPError
from camara_otp.auth import MemoryStore, StaticToken
from camara_otp.cli import options
from camara_otp.cli.console import Screen, plain
from camara_otp.cli.exit_codes import Exit
from camara_otp.cli.settings import client_credentials, token_source


class _LifetimeStore(MemoryStore):
    """A token store that records the lifetime of the last token."""

    seconds: float | None = None

    def save(self, name: str, value: bytes, seconds: float) -> None:
        """Save a token and record its lifetime."""
        self.seconds = seconds
        super().save(name, value, seconds)


@options.output_options
@options.token_options
def token(*, screen: Screen, given: options.Given) -> Exit:
    """Fetch an access token, or read the one that is set, and describe it without printing it."""
    found = options.resolved(screen, given)
    store = _LifetimeStore()
    try:
        if "client_id" in found and "token" not in found and "token_file" not in found:
            provider = client_credentials(found, store=store)
            began = time.monotonic()
            with screen.waiting("Fetching a token"):
                text = provider.get_token(rejected=None, timeout=30.0)
            source: dict[str, Any] = {
                "from": "client credentials",
                "fetchedInSeconds": round(time.monotonic() - began, 3),
                "expiresInSeconds": None if store.seconds is None else round(store.seconds),
            }
        else:
            text = StaticToken(str(token_source(found))).get_token(rejected=None, timeout=0.0)
            source = {"from": found["token" if "token" in found else "token_file"].source}
    except KeyboardInterrupt:
        screen.stopped()
    except OTPError as error:
        screen.failed(error)
    described = {**source, **describe_token(text)}
    if screen.as_json:
        screen.json(described)
        return Exit.DONE
    table = Table(box=None, show_header=False)
    for name, value in described.items():
        table.add_row(plain(name), plain(value))
    screen.out.print(table)
    return Exit.DONE


# The last second that `datetime` can hold; a claim may hold any number.
_END_OF_TIME: Final = 253402300800


def describe_token(text: str) -> dict[str, Any]:
    """Return facts about a token that do not reveal it.

    Args:
        text: the token
    """
    described: dict[str, Any] = {
        "kind": "opaque",
        "characters": len(text),
        "fingerprint": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12],
    }
    parts = text.split(".")
    if len(parts) != 3:
        return described
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(raw, parse_constant=str)
    except (ValueError, RecursionError):
        return described
    if not isinstance(claims, dict):
        return described
    known = cast("dict[str, Any]", claims)
    described["kind"] = "JWT"
    # Without the subject, which may be a phone number.
    described |= {name: known[name] for name in ("iss", "aud", "client_id", "scope") if name in known}
    expiry = known.get("exp")
    if isinstance(expiry, int | float) and not isinstance(expiry, bool) and abs(expiry) < _END_OF_TIME:
        described["expiresInSeconds"] = round(expiry - time.time())
    return described
