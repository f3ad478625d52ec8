"""The two quickstarts, run as programs with a user at the keyboard."""

import pytest

from tests.examples.conftest import NUMBER

QUICKSTART = "examples/quickstart.py"
QUICKSTART_ASYNC = "examples/quickstart_async.py"


def read_until(stream, words):
    """Read a prompt, which has no line end."""
    text = ""
    while not text.endswith(words):
        character = stream.read(1)
        assert character, f"the program ended after: {text}"
        text += character
    return text


def test_a_person_types_a_wrong_code_and_then_the_right_one(served):
    with served.start(QUICKSTART) as program:
        read_until(program.stdout, "(+...): ")
        print(NUMBER, file=program.stdin, flush=True)
        read_until(program.stdout, "The code in the SMS: ")
        print("wrong", file=program.stdin, flush=True)
        read_until(program.stdout, "Try again.\nThe code in the SMS: ")
        print(served.operator.last_code(NUMBER), file=program.stdin, flush=True)
        output, errors = program.communicate(timeout=30)

    assert (program.returncode, output, errors) == (0, "The number is yours.\n", "")
    assert served.operator.sent_count == 1


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("+34600000002", "PhoneNumberBlockedError: 403"),
        ("0612345678", "RequestValidationError: phone_number: must be in E.164 form"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_happened(served, number, said):
    """No stack trace, no number."""
    with served.start(QUICKSTART) as program:
        output, errors = program.communicate(f"{number}\n", timeout=30)

    assert program.returncode == 1
    assert errors.startswith(said)
    assert errors.endswith("(the operator did not act on this call)\n")
    assert number not in output + errors


def test_codes_go_to_several_phones_at_once(served):
    """Each phone gets one, a blocked one is named by its last digits, and the first is verified."""
    phones = [NUMBER, "+34600000002", "+34666111333"]
    with served.start(QUICKSTART_ASYNC, *phones) as program:
        output = read_until(program.stdout, "The code in the first SMS: ")
        print(served.operator.last_code(NUMBER), file=program.stdin, flush=True)
        rest, errors = program.communicate(timeout=30)

    assert (program.returncode, rest, errors) == (0, "The number is yours.\n", "")
    assert "...22: accepted for sending" in output
    assert "...02: PhoneNumberBlockedError, may have been sent: False" in output
    assert served.operator.sent_count == 2
