"""The public interface as text: every public name and its parameters. `python -m tests.api` renews the record.

What stands in `tests/data/api.txt` is promised to users. A line that changes or goes needs the deprecation that
CONTRIBUTING.md describes; a line that is added needs a word in the changelog.
"""

import importlib
import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

RECORD = Path(__file__).parent / "data" / "api.txt"
MODULES = (
    "camara_otp",
    "camara_otp.auth",
    "camara_otp.conformance",
    "camara_otp.guard",
    "camara_otp.messages",
    "camara_otp.phone",
    "camara_otp.sandbox",
    "camara_otp.telemetry",
    "camara_otp.testing",
)


def lines() -> Iterator[str]:
    """Yield a line for each name of each module, and for each public member of each class."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        names = getattr(module, "__all__", None) or [
            name for name, value in vars(module).items() if getattr(value, "__module__", None) == module_name
        ]
        for name in sorted(names):
            if name.startswith("_"):
                continue
            value = getattr(module, name)
            yield f"{module_name}.{name}{called_with(value)}"
            if inspect.isclass(value):
                yield from (f"  {module_name}.{name}.{member}" for member in members(value))


def members(kind: type) -> Iterator[str]:
    """Yield the public members of a class; those of a base that is public stand there."""
    private = [base for base in kind.__mro__[1:] if base.__module__.startswith("camara_otp.") and not is_public(base)]
    for name in sorted({name for owner in (kind, *private) for name in vars(owner)}):
        if not name.startswith("_"):
            value = getattr(kind, name)
            yield name + (called_with(value) if callable(value) else "")


def is_public(kind: type) -> bool:
    """Return whether a class has lines of its own."""
    return any(getattr(importlib.import_module(name), kind.__name__, None) is kind for name in MODULES)


def called_with(value: object) -> str:
    """Return the parameters of what can be called: names, kinds and whether they may be left out."""
    if inspect.isclass(value) and issubclass(value, Enum):
        return ""  # called to look a value up, and described differently by each Python
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    parameters = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=inspect.Parameter.empty if parameter.default is inspect.Parameter.empty else Ellipsis,
        )
        for parameter in signature.parameters.values()
    ]
    return str(inspect.Signature(parameters)).replace("=Ellipsis", "=...")


if __name__ == "__main__":
    RECORD.write_text("\n".join(lines()) + "\n", "utf-8")
