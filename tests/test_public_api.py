"""The public names are complete, and the two clients are twins."""

import ast
import inspect
import re
import subprocess
import sys

import pytest

import camara_otp
from camara_otp import AsyncOTPClient, OTPClient


def without_async(text):
    """Return the source of the async client with `await` removed."""
    for theirs, ours in (
        ("AsyncOTPClient", "OTPClient"),
        ("AsyncClient", "Client"),
        ("async def ", "def "),
        ("async with", "with"),
        ("await ", ""),
        ("anyio.sleep", "time.sleep"),
        ("atoken_from", "token_from"),
        ("arequest", "request"),
        ("aclose", "close"),
        ("__aenter__", "__enter__"),
        ("__aexit__", "__exit__"),
    ):
        text = text.replace(theirs, ours)
    return text


def test_the_clients_are_twins():
    """They have the same members, bodies and docstrings."""
    sync, twin = (
        {ast.unparse(node).split("(")[0]: node for node in ast.parse(inspect.getsource(kind)).body[0].body}
        for kind in (OTPClient, AsyncOTPClient)
    )

    assert [without_async(name) for name in twin if "def " in name] == [name for name in sync if "def " in name]
    for (name, ours), theirs in zip(sync.items(), twin.values(), strict=True):
        if "def " in name:
            assert without_async(ast.unparse(theirs)) == ast.unparse(ours)


@pytest.mark.parametrize("name", ["send_code", "validate_code", "__init__", "__repr__"])
def test_the_clients_have_equal_signatures(name):
    """Parameters, defaults and annotations are compared."""
    ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (OTPClient, AsyncOTPClient))

    assert str(ours) == without_async(str(theirs))


@pytest.mark.parametrize("kind", [OTPClient, AsyncOTPClient])
@pytest.mark.parametrize("name", ["__init__", "from_env", "send_code", "validate_code"])
def test_the_help_of_both_clients_describes_every_argument(kind, name):
    """Both inherit their docstrings."""
    documented = re.findall(r"^ +(\w+): ", inspect.getdoc(getattr(kind, name)) or "", re.MULTILINE)

    assert {*inspect.signature(getattr(kind, name)).parameters} - {"self"} <= {*documented}


def test_public_names_are_complete_and_sorted():
    """Every public name is listed in `__all__`, and no other name is public."""
    public = {name for name in vars(camara_otp) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(camara_otp, name))}

    assert set(camara_otp.__all__) - {"__version__"} == public - modules
    assert sorted(camara_otp.__all__) == camara_otp.__all__


def test_importing_the_package_imports_no_extra_and_sets_up_no_logging():
    """A base install is enough."""
    program = (
        "import sys, logging, camara_otp, camara_otp.auth\n"
        "extras = {'starlette', 'uvicorn', 'joserfc', 'cryptography', 'jwt', 'redis', 'click', 'rich', 'phonenumbers',"
        " 'httpx2', 'opentelemetry', 'camara_otp.sandbox', 'camara_otp.testing'}\n"
        "print(sorted(extras & set(sys.modules)), logging.getLogger('camara_otp').handlers)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[] []"
