"""The page about the sandbox: its examples run, and its tables are complete."""

import re
import tomllib
from pathlib import Path

import attrs
import pytest

from camara_otp.sandbox import Config, control
from camara_otp.sandbox.config import DIALECTS
from camara_otp.sandbox.load import load

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Return the examples in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", blocks("python"))
def test_examples_run(example: str) -> None:
    exec(compile(example, "docs/sandbox.md", "exec"), {})


def test_file_loads(tmp_path: Path) -> None:
    """The sandbox accepts the example of a file."""
    [text] = blocks("toml")
    file = tmp_path / "sandbox.toml"
    file.write_text(text, "utf-8")
    config = load(file, {})
    assert config.code_length == tomllib.loads(text)["code_length"]
    assert len(config.faults) == 2


def test_every_setting_is_listed() -> None:
    """The table has each setting with its default and meaning."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", PAGE, re.MULTILINE))
    assert list(rows) == [field.name for field in attrs.fields(Config)]
    for name, shown in rows.items():
        default = getattr(Config(), name)
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert float(shown) == default


def test_everything_else_is_listed() -> None:
    """Dialects and control calls are all mentioned."""
    assert all(f"`{name}`" in PAGE or f"--dialect {name}" in PAGE for name in DIALECTS if name != "camara")
    assert all(name in PAGE for name in control._TABLE)
