"""Validators of settings, which also come from files, variables and JSON: every message is `name: must ...`."""

from collections.abc import Callable
from typing import Any, Final

Validator = Callable[[Any, Any, Any], None]


def must(rule: str, holds: Callable[[Any], bool]) -> Validator:
    """Return a validator for attrs: `rule` is the rest of the sentence after "must"."""

    def check(_: Any, attribute: Any, value: Any) -> None:
        if not holds(value):
            raise ValueError(f"{attribute.name}: must {rule}")

    return check


def between(low: float, high: float) -> Validator:
    """Require a number within limits."""
    rule = f"be a number from {low:,.15g} to {high:,.15g}"
    return must(rule, lambda value: is_number(value) and low <= value <= high)


def whole(low: int, high: int) -> Validator:
    """Require a whole number within limits."""
    return must(f"be a whole number from {low:,} to {high:,}", lambda value: is_whole(value) and low <= value <= high)


def one_of(*choices: object) -> Any:  # else literal types of defaults would be widened
    """Require one of some values."""
    return must(f"be one of {', '.join(map(str, choices))}", lambda value: value in choices)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a number; True and False are none."""
    return is_whole(value) or isinstance(value, float)


flag: Final = must("be true or false", lambda value: isinstance(value, bool))
any_text: Final = must("be a string", lambda value: isinstance(value, str))
