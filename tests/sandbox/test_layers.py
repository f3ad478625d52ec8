"""The modules of the sandbox import in one direction, and nothing else of this package."""

import ast
from pathlib import Path

import pytest

import camara_otp.sandbox

# Each module may import those above it, also where an import is deferred or for type checking only.
LAYERS = (
    *(
        "validators",
        "http",
        "spec",
        "faults",
        "config",
        "load",
        "operator",
        "authorization",
        "operations",
        "engine",
    ),
    *("control", "routes", "transport", "server", "facade", "__init__", "__main__"),
)
MODULES = sorted(Path(camara_otp.sandbox.__file__).parent.glob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the modules of this package that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("camara_otp")}


def test_every_module_has_its_layer() -> None:
    assert {path.stem for path in MODULES} == set(LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_point_up(path: Path) -> None:
    names = [name.split(".") for name in imported(path)]

    assert all(name[:2] == ["camara_otp", "sandbox"] for name in names)
    assert {name[2] for name in names} <= set(LAYERS[: LAYERS.index(path.stem)])
