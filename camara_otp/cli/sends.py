"""Remember when a code went to a number, so that the next one is not sent by mistake; no number is kept readable."""

import hashlib
import hmac
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from camara_otp.cli.settings import home

# As long as a person may reasonably wait for a text.
WINDOW: Final = 600.0


def memory_file(environ: Mapping[str, str]) -> Path:
    """Return where the memory is kept.

    Args:
        environ: The environment.
    """
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home() / "AppData" / "Local") / "camara-otp" / "sends.json"
    return Path(environ.get("XDG_STATE_HOME") or home() / ".local" / "state") / "camara-otp" / "sends.json"


def last(path: Path, operator: str, phone_number: str) -> float | None:
    """Return when a code last went to a number, in seconds since 1970, or None if that is long past.

    Args:
        path: The memory.
        operator: The operator's address.
        phone_number: The number.
    """
    memory = _read(path)
    at = memory["sends"].get(_name(memory, operator, phone_number)) if memory else None
    return at if at is not None and 0 <= time.time() - at < WINDOW else None


def remember(path: Path, operator: str, phone_number: str) -> tuple[float, float | None]:
    """Take note that a code goes to a number now; what cannot be written is not remembered.

    Args:
        path: The memory.
        operator: The operator's address.
        phone_number: The number.

    Returns:
        When that is, and when the send before it was, which may have been made since `last` was asked.
    """
    memory = _read(path) or {"key": secrets.token_hex(16), "sends": {}}
    now = time.time()
    memory["sends"] = {name: then for name, then in memory["sends"].items() if now - then < WINDOW}
    name = _name(memory, operator, phone_number)
    before = memory["sends"].get(name)
    memory["sends"][name] = now
    _write(path, memory)
    return now, before


def take_back(path: Path, operator: str, phone_number: str, at: float, before: float | None) -> None:
    """Forget a send that did not come about, unless another process has made one since.

    Args:
        path: The memory.
        operator: The operator's address.
        phone_number: The number.
        at: When it was to be, as `remember` returned.
        before: When the send before it was, as `remember` returned.
    """
    memory = _read(path)
    if memory is None:
        return
    name = _name(memory, operator, phone_number)
    if memory["sends"].get(name) != at:
        return
    if before is None:
        del memory["sends"][name]
    else:
        memory["sends"][name] = before
    _write(path, memory)


def _write(path: Path, memory: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(memory, file)
        draft.replace(path)
    except OSError:
        return


def _read(path: Path) -> dict[str, Any] | None:
    try:
        memory = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(memory, dict):
        return None
    table = cast("dict[str, Any]", memory)
    sends = table.get("sends")
    if not isinstance(table.get("key"), str) or not isinstance(sends, dict):
        return None
    times = cast("dict[str, Any]", sends)
    return {"key": table["key"], "sends": {name: at for name, at in times.items() if isinstance(at, int | float)}}


def _name(memory: Mapping[str, Any], operator: str, phone_number: str) -> str:
    text = f"{operator.rstrip('/')} {phone_number}".encode("utf-8", "surrogatepass")
    return hmac.new(memory["key"].encode(), text, hashlib.sha256).hexdigest()
