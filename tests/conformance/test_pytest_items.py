"""The scenarios as test items, run in a process of its own, as in the CI of a user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from camara_otp.sandbox import Sandbox

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


@pytest.fixture
def items(tmp_path):
    """Return a function that runs pytest on the package's scenarios."""

    def run(*arguments, is_on=True, **environ):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CAMARA", "PYTEST"))}
        # The package has to be found without being installed.
        environment |= {"PYTHONPATH": str(ROOT), "CAMARA_BEARER_TOKEN": "t", **environ}
        command = [sys.executable, "-m", "pytest", "--pyargs", "camara_otp.conformance", "-p", "no:cacheprovider"]
        command += ["-p", "camara_otp.testing.check"] * is_on
        return subprocess.run(
            [*command, "-p", "no:schemathesis", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_every_scenario_is_an_item(items):
    """Each passes on the sandbox."""
    with Sandbox().serve() as url:
        done = items("--otp-base-url", url, "-v")

    assert done.returncode == 0, done.stdout
    assert "95 passed, 3 skipped" in done.stdout
    assert "test_scenario[OTPvalidationAPI_404_validate_code_resource_not_found] PASSED" in done.stdout
    assert "test_contract[contract_error_info] PASSED" in done.stdout


def test_a_deviation_fails_its_item(items, tmp_path):
    """The message has the scenario, the rule and the response; settings come from a file."""
    file = tmp_path / "operator.toml"
    file.write_text('[numbers]\nlandline = "+34910000001"\n', "utf-8")
    with Sandbox(landline_numbers=[]).serve() as url:
        done = items("--otp-base-url", url, "--otp-settings", str(file), "--otp-published-only", "-k", "_05_")

    assert done.returncode == 1
    assert "accepted with 200 instead of 403" in done.stdout
    assert "source: CAMARA one-time-password-sms 1.0.0, 1.1.0, 1.1.1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        ([], {}, "no operator is named"),
        (["--otp-base-url", ""], {}, "no operator is named"),
        (
            ["--otp-base-url", "http://127.0.0.1:9", "--otp-token-file", "nowhere"],
            {},
            "--otp-token-file: nowhere: No such",
        ),
        (["--otp-base-url", "http://127.0.0.1:9"], {"CAMARA_BEARER_TOKEN": ""}, "no access token"),
        (["--otp-base-url", "nonsense"], {}, "base_url: must be an http or https address"),
        (["--otp-base-url", "http://127.0.0.1:9"], {}, "no response from http://127.0.0.1:9"),
    ],
)
def test_what_is_missing_is_said_once(items, arguments, environ, words):
    done = items(*arguments, **environ)

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(words) <= 3


def test_a_token_file_is_enough_and_no_sms_is_sent(items, tmp_path):
    (tmp_path / "token").write_text("t\n", "utf-8")
    sandbox = Sandbox()
    with sandbox.serve() as url:
        done = items(
            "--otp-base-url", url, "--otp-no-sms", "--otp-token-file", str(tmp_path / "token"), CAMARA_BEARER_TOKEN=""
        )

    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "not judged: no right code was tried" in done.stdout
    assert "1 failed" in done.stdout
    assert sandbox.sent_count == 0


def test_no_entry_point_adds_options_to_other_test_runs(items):
    """Pytest loads the package only if it is told to."""
    from importlib.metadata import distribution

    assert not [entry for entry in distribution("camara-otp").entry_points if entry.group == "pytest11"]
    assert "--otp-base-url" not in items("--help", is_on=False).stdout
    assert "--otp-base-url" in items("--help").stdout


def test_items_without_the_plugin_say_how_to_switch_it_on(items):
    """The message is one line without a traceback."""
    done = items(is_on=False)

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "pytest -p camara_otp.testing.check --pyargs camara_otp.conformance" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
