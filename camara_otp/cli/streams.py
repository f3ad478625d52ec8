"""Standard streams whose failures do not stop a command before it is complete."""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast


class _RecordingStream:
    """A standard stream that records a failed write instead of raising it.

    Libraries react to the exception of a failed write by ending the process with an exit code of their own.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: Any = stream or io.StringIO()
        self._failure_on_write = "" if stream else os.strerror(errno.EBADF)
        self.failure = ""
        self.unwritten = ""

    def write(self, text: str) -> int:
        self.unwritten += text
        self.failure = self.failure or self._failure_on_write
        self._record(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._record(self._stream.flush)
        self.unwritten = self.unwritten if self.failure else ""

    def _record(self, operation: Any) -> None:
        try:
            operation()
        except OSError as error:
            self.failure = error.strerror or str(error)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # bytes written there would bypass the record
            raise AttributeError(name)
        return getattr(self._stream, name)


@contextmanager
def recording_streams() -> Generator[_RecordingStream]:
    """Replace standard output and standard error by streams that record failures; yield standard output."""
    given = sys.stdout, sys.stderr
    for stream in given:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal ends no command
    recording = _RecordingStream(given[0]), _RecordingStream(given[1])
    sys.stdout, sys.stderr = cast("tuple[TextIO, TextIO]", recording)
    try:
        yield recording[0]
    finally:
        sys.stdout, sys.stderr = given
        for stream in filter(None, given):
            try:
                stream.flush()
            except OSError:
                # Discard the buffer: the flush at exit would fail, too, and set exit code 120.
                with suppress(OSError), Path(os.devnull).open("w", encoding="utf-8") as null:
                    os.dup2(null.fileno(), stream.fileno())
