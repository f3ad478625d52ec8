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


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"must be a whole number, not {text!r}") from None


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"must be a number, not {text!r}") from None


_PARSERS: Final[Mapping[Any, Callable[[str], Any]]] = {
    int: _whole,
    int | None: _whole,
    float: _seconds,
    bool: _flag,
    frozenset[str]: _list,
    frozenset[str] | None: _list,
    tuple[str, ...]: _list,
}

# Every setting that can be written as one text, with what reads it. Lists are separated by commas.
PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    field.name: _PARSERS.get(field.type, str) for field in attrs.fields(Config) if field.name != "faults"
}


def load(file: str | Path | None = None, environ: Mapping[str, str] | None = None, **settings: Any) -> Config:
    """Collect the settings: defaults, then the dialect, the file, the environment and the arguments.

    Args:
        file: A TOML file whose keys are the fields of `Config`, `dialect`, and tables `[[faults]]` with the fields of
            `Fault`; by default the one that `CAMARA_SANDBOX_CONFIG` names, if any.
        environ: The environment, where `CAMARA_SANDBOX_MAX_SEND=9` sets `max_send`; by default the process's own.
        settings: Fields of `Config`, and `dialect`.

    Raises:
        ValueError: A setting is unknown, unreadable or out of its limits; the text names it.
        OSError: The file cannot be read.
    """
    texts = variables(os.environ if environ is None else environ)
    file = file or texts.get("config")
    in_environment = {name: parse(name, text) for name, text in texts.items() if name in {*PARSERS, "dialect"}}
    merged = {**(_from_file(Path(file)) if file else {}), **in_environment, **settings}
    return in_dialect(merged.pop("dialect", "camara"), merged)


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the variables that begin with `CAMARA_SANDBOX_`, by the rest of their names in lower case.

    An empty variable counts as unset, and so does the URL of a service named camara-sandbox, which Kubernetes puts into
    `CAMARA_SANDBOX_PORT`.

    Args:
        environ: The environment.
    """
    found = {key.removeprefix(PREFIX).lower(): text for key, text in environ.items() if key.startswith(PREFIX)}
    return {name: text for name, text in found.items() if text.strip() and not (name == "port" and "://" in text)}


def parse(name: str, text: str) -> Any:
    """Read one setting from a text.

    Args:
        name: The field of `Config`, or `dialect`.
        text: Its value.

    Raises:
        ValueError: The text is not of the field's kind.
    """
    try:
        return PARSERS.get(name, str)(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def fault_from(table: Mapping[str, Any]) -> Fault:
    """Build a fault from a table of a file or from JSON.

    Args:
        table: The fields of `Fault`.

    Raises:
        ValueError: A field is unknown or wrong; the text names it.
    """
    known = {field.name for field in attrs.fields(Fault)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"a fault has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return Fault(**table)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}") from None
    unknown = sorted(set(found) - {*PARSERS, "dialect", "faults"})
    if unknown:
        raise ValueError(f"{file} sets {', '.join(unknown)}, which the sandbox does not know")
    tables = found.get("faults", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in cast("list[object]", tables)):
        raise ValueError(f"{file}: faults must be tables, each under [[faults]]")
    found["faults"] = [fault_from(table) for table in cast("list[dict[str, Any]]", tables)]
    return found
