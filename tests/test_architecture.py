"""The rules of the architecture: the direction of imports, and the package that imports HTTP libraries."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import camara_otp

PACKAGE = Path(camara_otp.__file__).parent

# Each module or package may import those above it, and no other. The root package (its public names) stands between
# the client and the modules above it.
ORDER = [
    "_version",
    "errors",
    "_secret",
    "_redaction",
    "_checks",
    "_threads",
    "models",
    "retry",
    "_exchange",
    "_wire",
    "auth",
    "_settings",
    "_environment",
    "_call",
    "client",
    "camara_otp",
    "guard",
    "telemetry",
    "phone",
    "messages",
    "sandbox",
    "conformance",
    "testing",
    "cli",
    "__main__",
]

# Parts that are independent of the client, and all that they may import.
INDEPENDENT = {
    "sandbox": set(),
    "conformance": {"_version", "_redaction"},
    "guard": {"errors", "models", "_checks", "_secret", "_threads"},
    "_exchange": {"errors", "_secret", "_checks", "_threads", "_version"},
}

# The only parts that may import an HTTP library. The sandbox, the check and the command line do not use the client's.
HTTP_LIBRARIES = {"httpx", "httpx2", "httpcore", "httpcore2", "h11", "ssl"}
USE_HTTP = {"_exchange", "sandbox", "conformance", "testing", "cli"}

MODULES = {
    ".".join(("camara_otp", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def unit_of(module: str) -> str:
    """Return the module or package below the root that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def imports_of(path: Path) -> Iterator[str]:
    """Return the imports of a module: at its top, in functions, and for type checking alike."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def own_imports(module: str) -> set[str]:
    """Return the modules of this package that a module imports."""
    return {name for name in imports_of(MODULES[module]) if name in MODULES} - {module}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_up_the_order(module):
    """At run time, in functions and for type checking alike."""
    unit = unit_of(module)
    above = set(ORDER[: ORDER.index(unit)]) | {unit}

    assert {unit_of(name) for name in own_imports(module)} <= above


@pytest.mark.parametrize("module", [name for name in MODULES if unit_of(name) in INDEPENDENT])
def test_an_independent_part_imports_nothing_of_the_client(module):
    """The sandbox implements the specification separately; a check and a guard work without a client."""
    unit = unit_of(module)

    assert {unit_of(name) for name in own_imports(module)} - {unit} <= INDEPENDENT[unit]


def test_no_module_imports_itself_through_others():
    """Not even for type checking."""
    graph = {module: own_imports(module) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_only_the_exchange_knows_the_http_libraries(module):
    """On the way of a call, no other module imports httpx, httpx2, httpcore, h11 or ssl."""
    if unit_of(module) in USE_HTTP:
        return

    assert not {name.split(".")[0] for name in imports_of(MODULES[module])} & HTTP_LIBRARIES


def public_names_of(path: Path) -> dict[str, bool]:
    """Return the public names that a module defines at its top, and whether each is a class or a function."""
    names: dict[str, bool] = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names[name] = True
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names[name] = False
            case _:
                pass
    return {name: defines for name, defines in names.items() if not name.startswith("_")}


def test_a_class_or_public_function_has_a_name_of_its_own():
    """One name has one meaning in the whole package; constants such as `RULES` are read with their module."""
    modules: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for name in public_names_of(path):
            modules.setdefault(name, []).append(module)
    callables = {name for path in MODULES.values() for name, defines in public_names_of(path).items() if defines}

    # `main` starts a program, and each program has one.
    assert {name: found for name, found in modules.items() if len(found) > 1 and name in callables - {"main"}} == {}


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_every_module_has_a_docstring(path):
    """A reader of the tree learns the purpose of each."""
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_every_module_imports_under_the_strictest_interpreter():
    """`python -bb` turns comparisons of text and bytes into errors, `-W error` warnings."""
    names = [name for name in MODULES if "__main__" not in name and "test_" not in name and name != "camara_otp.phone"]
    program = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"

    done = subprocess.run(
        [sys.executable, "-bb", "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stderr == ""


def test_every_file_and_name_on_the_page_about_architecture_exists():
    page = (Path(__file__).parents[1] / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    files = re.findall(r"`(?:camara_otp/)?((?:[a-z0-9_]+/)*[a-z0-9_]+\.py)`", page)
    tree = re.findall(r"^  ([a-z_]+(?:\.py|/))", page, re.MULTILINE)
    named = re.findall(r"`([A-Za-z_]+(?:\.[a-z_]+)?)`(?: \(| in `camara_otp/)([a-z_/]+\.py)?", page)

    assert len(files) > 20
    assert [name for name in (*files, *tree) if not (PACKAGE / name).exists() and not name.startswith("tests")] == []
    for name, file in named:
        if file:
            assert name.rpartition(".")[2] in (PACKAGE / file).read_text("utf-8"), f"{name} in {file}"
