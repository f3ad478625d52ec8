"""The house rules that a reader relies on: arrows between modules, twins, names."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import camara_otp
from camara_otp import AsyncOTPClient, OTPClient

PACKAGE = Path(camara_otp.__file__).parent

# What each room of the client's path may import of ours; a room that is not listed may import none of the client's.
ARROWS = {
    "errors": set(),
    "_version": set(),
    "models": {"errors"},
    "_endpoint": {"errors"},
    "retry": {"errors"},
    "_redaction": set(),
    "_wire": {"errors", "models", "_redaction"},
    "_exchange": {"errors", "_exchange"},
    "_tokens": {"errors"},
    "auth": {"errors", "_exchange", "_endpoint", "_redaction", "_tokens", "auth"},
    "client": {"errors", "models", "retry", "_tokens", "_wire", "_endpoint", "_exchange", "_version"},
    "guard": {"errors", "models", "guard"},
    "sandbox": {"sandbox"},
    "conformance": {"conformance", "_version"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    """Return the room that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Return what a module imports at run time: dotted names, without what is for type checking only."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for part in branch.body
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_one_way(path):
    """A room imports only what it may."""
    if room(path) not in ARROWS:
        return
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("camara_otp.")}

    assert ours <= ARROWS[room(path)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_room_of_the_clients_path_knows_the_http_library(path):
    """Only the exchange imports httpx and httpcore: the one room."""
    if room(path) in {"sandbox", "testing", "conformance", "telemetry", "cli"}:
        return
    foreign = {name.split(".")[0] for name in imports(path)} & {"httpx", "httpcore", "h11", "httpx2"}

    assert not foreign or room(path) == "_exchange"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path):
    """A docstring opens each."""
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def without_async(text):
    """Return the text of the async twin as the sync one would have it."""
    for theirs, ours in (
        ("AsyncOTPClient", "OTPClient"),
        ("open_async_exchange", "open_exchange"),
        ("AsyncClient", "Client"),
        ("async def ", "def "),
        ("async with", "with"),
        ("await ", ""),
        ("anyio.sleep", "time.sleep"),
        ("afetch", "fetch"),
        ("aclose", "close"),
        ("__aenter__", "__enter__"),
        ("__aexit__", "__exit__"),
    ):
        text = text.replace(theirs, ours)
    return text


def test_the_shells_are_twins():
    """The async client is the sync one with awaits: the same members, bodies and docstrings."""
    sync, twin = (
        {ast.unparse(node).split("(")[0]: node for node in ast.parse(inspect.getsource(kind)).body[0].body}
        for kind in (OTPClient, AsyncOTPClient)
    )

    assert [without_async(name) for name in twin if "def " in name] == [name for name in sync if "def " in name]
    for (name, ours), theirs in zip(sync.items(), twin.values(), strict=True):
        if "def " in name:
            assert without_async(ast.unparse(theirs)) == ast.unparse(ours)


@pytest.mark.parametrize("name", ["send_code", "validate_code", "__init__", "__repr__"])
def test_the_shells_have_equal_signatures(name):
    """Parameters, defaults, annotations."""
    ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (OTPClient, AsyncOTPClient))

    assert str(ours) == without_async(str(theirs))


def test_public_names_are_complete_and_sorted():
    """What the package imports for users is listed, and nothing else is public."""
    public = {name for name in vars(camara_otp) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(camara_otp, name))}

    assert set(camara_otp.__all__) - {"__version__"} == public - modules
    assert sorted(camara_otp.__all__) == camara_otp.__all__


def test_importing_the_package_imports_no_extra_and_sets_up_no_logging():
    """A base install is enough, and a login page starts light."""
    program = (
        "import sys, logging, camara_otp, camara_otp.auth\n"
        "extras = {'starlette', 'uvicorn', 'joserfc', 'cryptography', 'jwt', 'redis', 'typer', 'rich', 'phonenumbers',"
        " 'httpx2', 'opentelemetry', 'camara_otp.sandbox', 'camara_otp.testing'}\n"
        "print(sorted(extras & set(sys.modules)), logging.getLogger('camara_otp').handlers)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[] []"
