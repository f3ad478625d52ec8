"""The sends of the last minutes, so that a second one is not made by mistake.

The file keeps 16 bits of a salted scrypt digest of each number: too few to tell which of many numbers it was, and slow
to compute.
"""

import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import attrs

from camara_otp.cli.settings import home

# As long as a user may reasonably wait for a text, in seconds.
WINDOW: Final = 600.0


def log_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the log.

    Args:
        environ: the environment
    """
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home() / "AppData" / "Local") / "camara-otp" / "sends.json"
    return Path(environ.get("XDG_STATE_HOME") or home() / ".local" / "state") / "camara-otp" / "sends.json"


def open_log(environ: Mapping[str, str], operator: str, phone_number: str) -> "SendLog":
    """Return the log of the sends to a number.

    Args:
        environ: the environment
        operator: the operator's base URL
        phone_number: the number, which the log does not keep
    """
    path = log_file(environ)
    salt = _read(path).get("salt") or secrets.token_hex(16)
    text = f"{operator.rstrip('/')} {phone_number}".encode("utf-8", "surrogatepass")
    digest = hashlib.scrypt(text, salt=salt.encode(), n=2**14, r=8, p=1, dklen=2).hex()
    return SendLog(path, salt, digest)


@attrs.define
class SendLog:
    """The sends to one number. A log that cannot be written stays empty."""

    path: Path
    salt: str
    digest: str
    _replaced: float | None = None

    @property
    def last(self) -> float | None:
        """Return the time of the last send in seconds since 1970, or None if there was none within the window."""
        at = self._sends().get(self.digest)
        return at if at is not None and 0 <= time.time() - at < WINDOW else None

    def add(self) -> float:
        """Record a send now, and return its time."""
        now = time.time()
        sends = {digest: at for digest, at in self._sends().items() if now - at < WINDOW}
        self._replaced = sends.get(self.digest)
        self._write({**sends, self.digest: now})
        return now

    def remove(self, at: float) -> None:
        """Remove a send that the operator refused, unless another process has recorded one since.

        Args:
            at: the time that `add` returned
        """
        sends = self._sends()
        if sends.get(self.digest) != at:
            return
        del sends[self.digest]
        self._write(sends if self._replaced is None else {**sends, self.digest: self._replaced})

    def _sends(self) -> dict[str, float]:
        log = _read(self.path)
        return log["sends"] if log.get("salt") == self.salt else {}

    def _write(self, sends: Mapping[str, float]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft = self.path.with_suffix(f".{os.getpid()}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump({"salt": self.salt, "sends": sends}, file)
            draft.replace(self.path)
        except OSError:
            return


def _read(path: Path) -> dict[str, Any]:
    """Return the content of the file; empty if there is none, or if its form is another."""
    try:
        content: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    table = cast("dict[str, Any]", content)
    sends = table.get("sends")
    if not isinstance(table.get("salt"), str) or not isinstance(sends, dict):
        return {}
    times = cast("dict[str, Any]", sends)
    return {"salt": table["salt"], "sends": {key: at for key, at in times.items() if isinstance(at, int | float)}}
