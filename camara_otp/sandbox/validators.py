"""Validators of settings, which also come from files, variables and JSON: every message is `name: must ...`."""

from collections.abc import Callable
from typing import Any, Final

Validator = Callable[[Any, Any, Any], None]


def must(rule: str, holds: Callable[[Any], bool], *, optional: bool = False) -> Validator:
    """Return a validator for attrs: `rule` is the rest of the sentence after "must"."""

    def check(_: Any, attribute: Any, value: Any) -> None:
        if not (optional and value is None) and not holds(value):
            raise ValueError(f"{attribute.name}: must {rule}")

    return check


def between(low: float, high: float) -> Validator:
    """Require a number within limits."""
    rule = f"be a number from {low:,.15g} to {high:,.15g}"
    return must(rule, lambda value: is_number(value) and low <= value <= high)


def whole(low: int, high: int, *, optional: bool = False) -> Validator:
    """Require a whole number within limits."""
    rule = f"be a whole number from {low:,} to {high:,}"
    return must(rule, lambda value: is_whole(value) and low <= value <= high, optional=optional)


def one_of(*choices: object, optional: bool = False) -> Any:  # else literal types of defaults would be widened
    """Require one of some values."""
    return must(f"be one of {', '.join(map(str, choices))}", lambda value: value in choices, optional=optional)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a number; True and False are none."""
    return is_whole(value) or isinstance(value, float)


flag: Final[Validator] = must("be true or false", lambda value: isinstance(value, bool))
optional_text: Final[Validator] = must("be text", lambda value: isinstance(value, str), optional=True)
