"""The models and the limits of the API."""

import copy
import json
import pickle
import re
import traceback
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camara_otp import (
    RequestValidationError,
    SendCodeRequest,
    SendCodeResponse,
    ValidateCodeRequest,
    ValidateCodeResponse,
)
from camara_otp.models import (
    broken_limit,
    masked,
)

CONTRACT = json.loads((Path(__file__).parent / "data" / "contract.json").read_text("utf-8"))
LIMITS = CONTRACT["1.1.1"]["operations"]
GOOD = "{{code}} is your code"


@pytest.mark.parametrize("number", ["+12345", "+123456789012345", "+346661113334", "+99012345"])
def test_a_number_in_e164_is_taken(number):
    """5 to 15 digits after the plus sign are fine."""
    assert broken_limit(phone_number=number) is None


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("346661113334", "country code first"),
        ("00346661113334", "country code first"),
        ("+0346661113334", "never starts with 0"),
        ("+1234", "5 to 15 digits"),
        ("+1234567890123456", "5 to 15 digits"),
        ("+346661113334\n", "strip it"),
        (" +346661113334", "strip it"),
        ("+34 666 111 333", "remove spaces"),
        ("+34-666-111-333", "remove spaces"),
        ("+٣٤٦٦٦١١١٣٣٣", "digits 0 to 9"),
        ("+34666111333a", "digits 0 to 9"),
        ("+", "5 to 15 digits"),
        ("", "country code first"),
        (346661113334, "must be a string (str), not int"),
        (None, "must be a string (str), not NoneType"),
        (b"+346661113334", "must be a string (str), not bytes"),
    ],
)
def test_a_bad_number_is_refused_with_rule_and_remedy(number, says):
    """The reason names the rule, never the number."""
    with pytest.raises(RequestValidationError) as caught:
        SendCodeRequest(number, GOOD)

    assert caught.value.field == "phone_number"
    assert says in caught.value.reason
    assert str(caught.value) == f"phone_number: {caught.value.reason}"
    assert not isinstance(number, str) or len(number) < 4 or number.strip("+ \n") not in str(caught.value)


@pytest.mark.parametrize(
    "message",
    [
        "{{code}}",
        "Hello\n{{code}} is your code\nBye",
        "x" * 152 + "{{code}}",
        "é" * 152 + "{{code}}",
        "😀" * 152 + "{{code}}",
        "{{code}} {{code}}",
    ],
)
def test_a_message_of_160_characters_with_the_label_is_taken(message):
    """Characters count, not bytes; the label may be on any line."""
    assert broken_limit(message=message) is None


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("no label", "must contain {{code}}"),
        ("{{ code }} is your code", "no spaces inside the braces"),
        ("{code} is your code", "f-string"),
        ("{{CODE}}", "must contain {{code}}"),
        ("", "must contain {{code}}"),
        ("x" * 153 + "{{code}}", "has 161; shorten it"),
        ("\ud800 {{code}}", "surrogate"),
        (None, "must be a string"),
    ],
)
def test_a_bad_message_is_refused_with_rule_and_remedy(message, says):
    """Braces halved by an f-string have their own hint."""
    with pytest.raises(RequestValidationError) as caught:
        SendCodeRequest("+346661113334", message)

    assert caught.value.field == "message"
    assert says in caught.value.reason


@pytest.mark.parametrize(
    ("authentication_id", "says"),
    [("", "has 0"), ("x" * 37, "has 37"), (7, "must be a string"), ("\udfff", "surrogate")],
)
def test_a_bad_authentication_id_is_refused(authentication_id, says):
    """1 to 36 characters, opaque otherwise."""
    with pytest.raises(RequestValidationError) as caught:
        ValidateCodeRequest(authentication_id, "AJY3")

    assert caught.value.field == "authentication_id"
    assert says in caught.value.reason


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("", "has 0"),
        ("12345678901", "has 11"),
        (1234, "leading zeros"),
        (None, "must be a string"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_bad_code_is_refused(code, says):
    """1 to 10 characters, and never a number."""
    with pytest.raises(RequestValidationError) as caught:
        ValidateCodeRequest("ea0840f3", code)

    assert caught.value.field == "code"
    assert says in caught.value.reason


@pytest.mark.parametrize("code", ["0042", "AJY3", "ajy3", "a", "٤٢", " 12 ", "1234567890"])
def test_a_code_is_kept_as_it_was_typed(code):
    """Leading zeros, case and spaces are kept."""
    assert ValidateCodeRequest("ea0840f3", code).code == code


@pytest.mark.parametrize("value", ["a", "A-b_9:;./<>{}", "x" * 256, "b4333c46-49c0-4f62-80d7-f0ef930f1c46"])
def test_a_correlator_of_the_pattern_is_taken(value):
    """1 to 256 characters of release 1.1.1."""
    assert broken_limit(x_correlator=value) is None


@pytest.mark.parametrize("value", ["", "x" * 257, "a b", "a\n", "a\r\nX: y", "é", "a,b", 7, None])
def test_a_bad_correlator_is_refused(value):
    """Nothing that a header could be broken with."""
    problem = broken_limit(x_correlator=value)

    assert isinstance(problem, RequestValidationError)
    assert problem.field == "x_correlator"


@given(st.text() | st.from_regex(r"\+[0-9]{3,18}\n?"))
def test_numbers_are_judged_as_the_published_pattern_judges_them(number):
    """The published pattern, read as a whole-string match, agrees with the check."""
    pattern = LIMITS["sendCode"]["limits"]["phoneNumber"]["pattern"]

    assert (broken_limit(phone_number=number) is None) is bool(re.fullmatch(pattern.strip("^$"), number, re.ASCII))


@given(st.text(max_size=200) | st.builds(lambda a, b: a + "{{code}}" + b, st.text(max_size=90), st.text(max_size=90)))
def test_messages_are_judged_as_the_published_limits_judge_them(message):
    """The published pattern is an unanchored search, the length counts characters."""
    limits = LIMITS["sendCode"]["limits"]["message"]

    allowed = bool(re.search(limits["pattern"], message)) and len(message) <= limits["maxLength"]
    assert (broken_limit(message=message) is None) is allowed


@given(st.text(max_size=50))
def test_ids_and_codes_are_judged_by_length_alone(text):
    """Every string with a length within the published limits is accepted."""
    limits = LIMITS["validateCode"]["limits"]

    assert (broken_limit(authentication_id=text) is None) is (1 <= len(text) <= limits["authenticationId"]["maxLength"])
    assert (broken_limit(code=text) is None) is (1 <= len(text) <= limits["code"]["maxLength"])


@given(st.text(max_size=300))
def test_correlators_are_judged_as_the_published_pattern_judges_them(text):
    """The pattern of 1.1.1, as a whole-string match, without the empty string."""
    pattern = LIMITS["sendCode"]["x-correlator"]["pattern"].strip("^$")

    assert (broken_limit(x_correlator=text) is None) is (bool(re.fullmatch(pattern, text)) and text != "")


@pytest.mark.parametrize(
    ("model", "secrets"),
    [
        (SendCodeRequest("+346661113334", GOOD), ["34666", "111333", GOOD, "is your code"]),
        (ValidateCodeRequest("ea0840f3", "AJY3"), ["ea0840f3", "AJY3"]),
        (SendCodeResponse("ea0840f3", "corr"), ["ea0840f3"]),
    ],
)
def test_repr_masks_what_is_personal(model, secrets):
    """Only the last two digits of a number are shown."""
    assert type(model).__name__ in repr(model)
    assert not [secret for secret in secrets if secret in repr(model) or secret in str(model)]


def test_a_masked_number_keeps_its_last_two_digits():
    """They distinguish two test numbers."""
    assert masked("+346661113334") == "***34"


@pytest.mark.parametrize(
    "model",
    [
        SendCodeRequest("+346661113334", GOOD),
        ValidateCodeRequest("ea0840f3", "AJY3"),
        SendCodeResponse("ea0840f3", "corr"),
        ValidateCodeResponse(None),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_are_frozen_values_that_travel(model):
    """They can be compared, hashed, copied and pickled, and do not change."""
    assert pickle.loads(pickle.dumps(model)) == model == copy.deepcopy(model)
    assert hash(model) == hash(copy.copy(model))
    assert not hasattr(model, "__dict__")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(model, attrs.fields(type(model))[0].name, "other")


def test_evolving_a_request_checks_it_again():
    """attrs.evolve goes through the same checks."""
    with pytest.raises(RequestValidationError):
        attrs.evolve(SendCodeRequest("+346661113334", GOOD), message="no label")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (SendCodeRequest, ("0-secret-number", GOOD)),
        (SendCodeRequest, ("+346661113334", "secret without the label")),
        (ValidateCodeRequest, ("secret-id", "secret-code-that-is-too-long")),
        (ValidateCodeRequest, ("secret-id" * 9, "secret")),
    ],
)
def test_a_refused_value_stands_in_no_frame(kind, values):
    """A traceback with locals does not show the refused value."""
    with pytest.raises(RequestValidationError) as caught:
        kind(*values)

    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    ours = [frame for frame in frames if "camara_otp" in frame.filename and "tests" not in frame.filename]
    assert ours
    assert not [frame for frame in ours if "secret" in repr(frame.locals) or "666111" in repr(frame.locals)]
