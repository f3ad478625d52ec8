"""The sends of the last minutes whose codes are not used up, so that a second one is not made by mistake.

The file keeps 16 bits of a salted scrypt digest of each number: too few to tell which of many numbers it was, and slow
to compute. A digest of the authenticationId tells which code was used.
"""

import hashlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any, Final

import attrs

from camara_otp._environment import folder

# As long as a user may reasonably wait for an SMS, in seconds.
WINDOW: Final = 600.0

# The time of a send in seconds since 1970, and the digest of its authenticationId, empty until the operator told it.
Send = tuple[float, str]


def log_file() -> Path:
    """Return the path of the log."""
    return folder(os.environ, ("LOCALAPPDATA", "AppData/Local"), ("XDG_STATE_HOME", ".local/state")) / "sends.json"


@attrs.frozen
class SendLog:
    """The last send to a number. A log that cannot be written stays empty."""

    salt: str
    digest: str

    @property
    def last(self) -> Send | None:
        """Return the last send, or None if there was none within the window."""
        salt, sends = _read()
        return sends.get(self.digest) if salt == self.salt else None

    def replace(self, old: Send | None, new: Send | None) -> None:
        """Set the last send to `new`, or remove it if `new` is None.

        Do nothing if the last send is no longer `old`, because another process changed it.
        """
        salt, sends = _read()
        others = {digest: send for digest, send in sends.items() if digest != self.digest and salt == self.salt}
        if self.last == old != new:
            _write(self.salt, others if new is None else {**others, self.digest: new})


def open_log(operator: str, phone_number: str) -> SendLog:
    """Return the log of the sends to a number by way of an operator's base URL."""
    salt, _ = _read()
    text = f"{operator.rstrip('/')} {phone_number}".encode("utf-8", "surrogatepass")
    return SendLog(salt, hashlib.scrypt(text, salt=salt.encode(), n=2**14, r=8, p=1, dklen=2).hex())


def remove_used(authentication_id: str) -> None:
    """Remove the send of an authenticationId, whose code is used up."""
    salt, sends = _read()
    used = digest_of_id(salt, authentication_id)
    if any(of == used for _, of in sends.values()):
        _write(salt, {digest: send for digest, send in sends.items() if send[1] != used})


def digest_of_id(salt: str, authentication_id: str) -> str:
    """Return the digest by which a send is found again."""
    return hashlib.sha256(f"{salt} {authentication_id}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read() -> tuple[str, dict[str, Send]]:
    """Return the salt, and the recent sends by the digest of the number; a new salt if there is no such file."""
    try:
        content: Any = json.loads(log_file().read_text("utf-8"))
        sends = {digest: (float(at), str(of)) for digest, (at, of) in content["sends"].items()}
        salt = str(content["salt"])
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return secrets.token_hex(16), {}
    return salt, {digest: send for digest, send in sends.items() if 0 <= time.time() - send[0] < WINDOW}


def _write(salt: str, sends: dict[str, Send]) -> None:
    path = log_file()
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump({"salt": salt, "sends": sends}, file)
        draft.replace(path)
    except OSError:
        return
