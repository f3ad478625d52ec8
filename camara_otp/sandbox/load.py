"""Read settings from a TOML file and from the environment; arguments take precedence."""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import attrs

from camara_otp.sandbox.config import Config, in_dialect
from camara_otp.sandbox.faults import Fault

PREFIX: Final = "CAMARA_SANDBOX_"
_FLAGS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


# How a string becomes a value, by the type of the field.
_READERS: Final[Mapping[Any, tuple[str, Callable[[str], Any]]]] = {
    int: ("a whole number", int),
    int | None: ("a whole number", int),
    float: ("a number", float),
    bool: ("true or false", lambda text: _FLAGS[text.strip().lower()]),
    **dict.fromkeys(
        (frozenset[str], frozenset[str] | None, tuple[str, ...]),
        ("a list", lambda text: [part.strip() for part in text.split(",") if part.strip()]),
    ),
}
_TYPES: Final[Mapping[str, Any]] = {field.name: field.type for field in attrs.fields(Config)}

SETTINGS: Final = (*(name for name in _TYPES if name != "faults"), "dialect")
"""The settings that can be written as one string."""


def load(file: str | Path | None = None, environ: Mapping[str, str] | None = None, **settings: Any) -> Config:
    """Collect the settings: defaults, then the dialect, the file, the environment and the arguments.

    Args:
        file: a TOML file whose keys are the fields of `Config`, `dialect`, and tables `[[faults]]` with the fields of
            `Fault`; by default the one that `CAMARA_SANDBOX_CONFIG` names, if any
        environ: the environment, where `CAMARA_SANDBOX_MAX_SEND=9` sets `max_send`; by default the process's own
        settings: fields of `Config`, and `dialect`

    Raises:
        ValueError: a setting is unknown, unreadable or out of its limits; the message names it
        OSError: the file cannot be read
    """
    texts = variables(os.environ if environ is None else environ)
    file = file or texts.get("config")
    in_environment = {name: parse(name, text) for name, text in texts.items() if name in SETTINGS}
    merged = {**(_from_file(Path(file)) if file else {}), **in_environment, **settings}
    return in_dialect(merged.pop("dialect", "camara"), merged)


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the variables that begin with `CAMARA_SANDBOX_`, by the rest of their names in lower case.

    An empty variable counts as unset, and so does the URL of a service named camara-sandbox, which Kubernetes puts into
    `CAMARA_SANDBOX_PORT`.
    """
    found = {key.removeprefix(PREFIX).lower(): text for key, text in environ.items() if key.startswith(PREFIX)}
    return {name: text for name, text in found.items() if text.strip() and not (name == "port" and "://" in text)}


def parse(name: str, text: str) -> Any:
    """Return the value of a setting that is written as a string; a ValueError names the setting and its kind."""
    kind, read = _READERS.get(_TYPES.get(name), ("a string", str))
    try:
        return read(text)
    except (ValueError, KeyError):
        raise ValueError(f"{name}: must be {kind}, not {text!r}") from None


def fields_from(
    kind: type[attrs.AttrsInstance], table: Mapping[str, Any], spelled: Callable[[str], str] = str
) -> dict[str, Any]:
    """Return a table of a file or a JSON object, with each field named as in the class."""
    names = {spelled(field.name): field.name for field in attrs.fields(kind)}
    unknown = sorted(set(table) - {*names, *names.values()})
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}; use {', '.join(names)}")
    return {names.get(name, name): value for name, value in table.items()}


def _from_file(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}") from None
    unknown = sorted(set(found) - {*SETTINGS, "faults"})
    if unknown:
        raise ValueError(f"{file} sets {', '.join(unknown)}, which the sandbox does not know")
    tables = found.get("faults", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in cast("list[object]", tables)):
        raise ValueError(f"{file}: faults must be tables, each under [[faults]]")
    found["faults"] = [Fault(**fields_from(Fault, table)) for table in cast("list[dict[str, Any]]", tables)]
    return found
