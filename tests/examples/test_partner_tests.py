"""The example tests of an operator, run as a user runs them."""

import shlex
import subprocess
import sys

from camara_otp.sandbox import Sandbox
from tests.examples.conftest import NUMBER, ROOT, Served

READ_CODE = """
import json, os, sys, urllib.parse, urllib.request
query = urllib.parse.urlencode({"phoneNumber": sys.argv[1]})
with urllib.request.urlopen(f"{os.environ['CAMARA_BASE_URL']}/_sandbox/messages?{query}") as answer:
    messages = json.load(answer)
messages = messages["messages"] if isinstance(messages, dict) else messages
print(messages[-1]["code"])
"""


def run(served, tmp_path, **environment):
    """Run the folder's tests in a process of their own."""
    (tmp_path / "read_code.py").write_text(READ_CODE, "utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "examples/partner_tests", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"],
        cwd=ROOT,
        env=served.environment(
            OTP_TEST_NUMBER=NUMBER,
            OTP_READ_CODE=shlex.join([sys.executable, str(tmp_path / "read_code.py")]),
            **environment,
        ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_operator_that_keeps_the_contract_passes(served, tmp_path):
    """All five tests pass with three SMS, because operators limit them."""
    done = run(served, tmp_path)

    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
    assert served.operator.sent_count == 3


def test_an_operator_that_does_not_fails(tmp_path):
    """It accepts an invalid token, and reports another code for an unknown id."""
    operator = Sandbox(unknown_id="INVALID_ARGUMENT", invalid_tokens=[])
    with operator.serve() as url:
        done = run(Served(operator, url), tmp_path)

    assert done.returncode == 1
    assert "test_an_id_that_was_never_issued_is_not_found" in done.stdout
    assert "test_an_invalid_token_is_refused" in done.stdout
