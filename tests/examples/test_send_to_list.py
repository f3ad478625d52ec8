"""The script for a list of numbers: limited, resumable, and never a second SMS."""

import json
import os
import signal
import stat
import time
from collections import Counter

import pytest

from camara_otp.sandbox import Fault

SCRIPT = "examples/send_to_list.py"
NUMBERS = [f"+3466611{number:04}" for number in range(40)]


@pytest.fixture
def files(tmp_path):
    """Write the list, with a line twice and blank lines."""
    (tmp_path / "numbers.txt").write_text("\n\n".join([*NUMBERS, NUMBERS[0], ""]), "utf-8")
    return tmp_path / "numbers.txt", tmp_path / "results.jsonl"


def finish(program):
    """Wait for the end, and return the output."""
    output, errors = program.communicate(timeout=60)
    assert program.returncode == 0, errors
    return output, errors


def states(results):
    """Return the last state of each number."""
    return {record["number"]: record["state"] for record in map(json.loads, results.read_text("utf-8").splitlines())}


def texts(served):
    """Return the number of SMS of each phone."""
    return Counter(message.phone_number for message in served.operator.messages())


def test_every_number_gets_one_sms(served, files):
    """Each number gets one, the id is stored, and the progress reaches its end."""
    output, errors = finish(served.start(SCRIPT, *files))

    assert texts(served) == dict.fromkeys(NUMBERS, 1)
    assert set(states(files[1]).values()) == {"sent"}
    assert output == "    40 sent\n"
    assert errors.endswith(f"[{'#' * 30}] 40/40\n")
    sent = [json.loads(line) for line in files[1].read_text("utf-8").splitlines()]
    ids = {record["number"]: record["authentication_id"] for record in sent if record["state"] == "sent"}
    assert ids == {message.phone_number: message.authentication_id for message in served.operator.messages()}
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o600


def test_a_second_run_sends_nothing(served, files):
    """The result file has the states of the first run."""
    finish(served.start(SCRIPT, *files))
    before = files[1].read_bytes()

    output, _ = finish(served.start(SCRIPT, *files))

    assert served.operator.sent_count == len(NUMBERS)
    assert files[1].read_bytes() == before
    assert output == "    40 sent\n"


@pytest.mark.parametrize("after", [1, 9, 25])
def test_a_killed_run_sends_no_second_sms(served, files, after):
    """Calls in flight are reported as unknown; the next run sends the rest once."""
    slow = served.operator.add_fault(Fault(delay=0.05))
    program = served.start(SCRIPT, *files, "--at-once", "4")
    deadline = time.monotonic() + 30
    while served.operator.sent_count < after:
        assert program.poll() is None, program.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    program.send_signal(signal.SIGKILL)
    program.communicate(timeout=30)
    assert program.returncode == -signal.SIGKILL
    with files[1].open("ab") as results:
        results.write(b'{"number": "+34')  # the disk got half a line
    time.sleep(0.2)  # the operator ends what it had begun
    served.operator.remove_fault(slow)
    assert served.operator.sent_count < len(NUMBERS)

    finish(served.start(SCRIPT, *files))

    assert max(texts(served).values()) == 1
    final = states(files[1])
    assert set(final) == set(NUMBERS)
    unknown = {number for number, state in final.items() if state == "unknown"}
    assert 1 <= len(unknown) <= 4, "what was in flight, and no more"
    assert set(texts(served)) >= set(NUMBERS) - unknown


def test_only_what_was_not_sent_is_tried_again(served, files):
    """A refused connection may be repeated; a lost response may not."""
    served.operator.add_fault(Fault(code="TOO_MANY_REQUESTS", phone_number=NUMBERS[0], times=1))
    served.operator.add_fault(Fault(drop="after", acts=True, phone_number=NUMBERS[1], times=1))
    served.operator.add_fault(Fault(code="PHONE_NUMBER_BLOCKED", phone_number=NUMBERS[2], times=1))
    output, _ = finish(served.start(SCRIPT, *files))
    assert output.splitlines() == ["    37 sent", "     1 not sent", "     1 unknown", "     1 refused"]

    output, _ = finish(served.start(SCRIPT, *files))

    assert output.splitlines() == ["    38 sent", "     1 unknown", "     1 refused"]
    assert texts(served) == dict.fromkeys([number for number in NUMBERS if number != NUMBERS[2]], 1)


def test_without_an_operator_all_can_be_tried_again(served, files):
    """Without an operator, nothing was sent."""
    output, _ = finish(served.start(SCRIPT, *files, CAMARA_BASE_URL="http://127.0.0.1:9"))
    assert output == "    40 not sent\n"

    output, _ = finish(served.start(SCRIPT, *files))
    assert output == "    40 sent\n"


@pytest.mark.parametrize("at_once", [1, 7])
def test_no_more_than_so_many_are_in_flight(served, files, at_once):
    """The result file shows as many calls at the same time as allowed, and never one more."""
    served.operator.add_fault(Fault(delay=0.02))

    finish(served.start(SCRIPT, *files, "--at-once", str(at_once)))

    in_flight, most = 0, 0
    for line in files[1].read_text("utf-8").splitlines():
        in_flight += 1 if json.loads(line)["state"] == "sending" else -1
        most = max(most, in_flight)
    assert (most, in_flight) == (at_once, 0)


@pytest.mark.skipif(os.name != "posix", reason="the example locks files as POSIX does")
def test_two_runs_do_not_share_a_result_file(served, files):
    """The second run ends before it sends anything."""
    served.operator.add_fault(Fault(delay=0.3))
    first = served.start(SCRIPT, *files)
    while not (files[1].exists() and files[1].stat().st_size):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)

    second = served.start(SCRIPT, *files)
    _, errors = second.communicate(timeout=30)

    assert second.returncode == 1
    assert "in use by another run; wait until it ends" in errors
    finish(first)
    assert max(texts(served).values()) == 1
