"""Checks of arguments and settings, shared by clients, policies and providers; and the warnings about them."""

import math
import sys
import warnings

from camara_otp.errors import ConfigurationError

LONGEST: float = 1e8
"""Seconds, more than three years: sockets and locks do not accept every number."""


def text(name: str, value: object) -> str:
    """Return a value that is text with a UTF-8 form, without a byte order mark in front.

    Raises:
        ConfigurationError: the value is of another type, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}: must be a string (str), not {type(value).__name__}")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        encodable = False
    else:
        encodable = True
    if not encodable:
        raise ConfigurationError(f"{name}: holds half of a surrogate pair, which has no UTF-8 form; decode it properly")
    return without_bom(value)


def without_bom(value: str) -> str:
    """Return a text without the byte order mark that editors put at the beginning of a file."""
    return value.removeprefix("\ufeff")


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def seconds(name: str, value: object, *, zero: bool = False) -> float:
    """Return a duration in seconds, at most `LONGEST`.

    Raises:
        ConfigurationError: the value is not a finite number above 0, or of at least 0 where `zero` is set.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and (number > 0 or (zero and number == 0)):
            return min(number, LONGEST)
    raise ConfigurationError(f"{name}: must be a finite number of seconds, {'0 or more' if zero else 'above 0'}")


def warn(message: str) -> None:
    """Warn, and attribute the warning to the first frame outside this package."""
    level = 2
    frame = sys._getframe(1)  # noqa: SLF001 - skip_file_prefixes needs Python 3.12  # pyright: ignore[reportPrivateUsage]
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == "camara_otp":
        frame = frame.f_back
        level += 1
    warnings.warn(message, stacklevel=level)
