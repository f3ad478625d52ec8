"""The console and TOML examples of the two pages are true."""

import os
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from camara_otp._environment import SETTINGS, profile
from camara_otp.cli.exit_codes import Exit
from camara_otp.conformance import settings_from
from camara_otp.sandbox import Sandbox

DOCS = Path(__file__).parents[2] / "docs"
ADDRESS = "http://127.0.0.1:9091"


def blocks(page, kind):
    """Return the fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(page):
    """Return the commands of a page, each with the output that the page shows."""
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def like(shown, real):
    """Compare an output with the one on the page; three dots match anything."""
    pattern = ".*?".join(re.escape(part) for part in shown.strip().split("..."))
    return re.search(pattern, re.sub(" +$", "", real, flags=re.MULTILINE).strip(), re.DOTALL) is not None


@pytest.mark.parametrize("page", ["cli.md", "check.md"])
def test_what_the_page_shows_is_what_comes(page, cli, monkeypatch):
    """Each command runs against a sandbox whose code is always 481516."""
    monkeypatch.setattr("camara_otp.sandbox.operator.Operator._code", lambda _: "481516")
    sandbox = Sandbox()
    ran = 0
    with sandbox.serve() as url:
        for command, output in commands(page):
            program, *arguments = shlex.split(command.replace(ADDRESS, url))
            if program == "export":
                for setting in arguments:
                    monkeypatch.setenv(*setting.split("=", 1))
            if program != "camara-otp":
                continue
            newest = sandbox.messages()[-1].authentication_id if sandbox.messages() else ""
            done = cli(*(newest if part == "ID" else part for part in arguments), stdin="481516\n")
            answered = (done.err + done.out).replace(url, ADDRESS) if "Accepted" in output else done.err + done.out
            # A code that is piped in is not asked for.
            assert like(output.replace("Code: 481516\n", ""), answered), (command, answered)
            ran += 1

    assert ran >= 2
    assert "CAMARA_BEARER_TOKEN" in os.environ


def test_the_profile_of_the_page_is_one(tmp_path):
    """Every name in it is known."""
    (block,) = blocks("cli.md", "toml")
    path = tmp_path / "profiles.toml"
    path.write_text(block, "utf-8")

    assert profile("orange", path)["base_url"] == "https://api.example.com"


def test_the_file_of_the_page_describes_an_operator(monkeypatch):
    """It sets every hook."""
    monkeypatch.setenv("EXPIRED_TOKEN", "expired")
    (block,) = blocks("check.md", "toml")

    settings = settings_from(tomllib.loads(block))

    assert settings.tokens.expired == "expired"
    assert (settings.read.how, settings.expire.how, settings.reset.how) == ("http", "wait", "command")


def test_the_page_lists_every_setting_and_exit_code():
    page = (DOCS / "cli.md").read_text("utf-8")

    for name, known in SETTINGS.items():
        assert f"`{name}`" in page, name
        assert known.variable is None or f"`{known.variable}`" in page, name
    for code in Exit:
        assert f"| {code:d} |" in page
