"""The SMS of a send, and its code, in inboxes of several kinds."""

import html
import json

import pytest

from camara_otp.conformance.inbox import find, is_message

FIRST = "{{code}} is your code (check 12345)"
MIDDLE = "Check 12345: {{code}} is your code"
LAST = "Check 12345: your code is {{code}}"
TWICE = "{{code}} is your code. Check 12345, code {{code}}."


def received(message, code):
    return message.replace("{{code}}", code)


def in_json(text):
    return json.dumps([{"to": "+34600000100", "text": "1111 is your code (check 99999)"}, {"text": text}])


def in_nested_json(text):
    return json.dumps({"messages": [{"body": {"content": text}, "id": "123456"}]})


def in_xml(text):
    return f'<?xml version="1.0"?><inbox><sms to="+34600000100"><text>{html.escape(text)}</text></sms></inbox>'


def in_cdata(text):
    return f"<inbox><sms><![CDATA[{text}]]></sms></inbox>"


def in_attribute(text):
    return f'<inbox><sms text="{html.escape(text)}"/></inbox>'


def in_html(text):
    return f"<!DOCTYPE html><table><tr><td>654321</td><td>{html.escape(text)}</td></tr></table>"


def as_it_is(text):
    return text


def in_lines(text):
    return f"2026-11-28 10:00 OPERATOR 1111 is your code (check 99999)\n2026-11-28 10:01 OPERATOR {text}\n"


@pytest.mark.parametrize(
    "inbox", [in_json, in_nested_json, in_xml, in_cdata, in_attribute, in_html, as_it_is, in_lines]
)
@pytest.mark.parametrize("message", [FIRST, MIDDLE, LAST, TWICE])
@pytest.mark.parametrize("code", ["1234", "123456", "AJY3", "0012", "1234567890", "12345678901"])
def test_a_code_is_found_in_any_inbox(inbox, message, code):
    found = find(inbox(received(message, code)), message)

    assert found is not None
    assert found.code == code
    if found.text is not None:
        assert is_message(found.text, message, code)


@pytest.mark.parametrize("inbox", [in_json, in_xml, as_it_is])
@pytest.mark.parametrize("message", [FIRST, MIDDLE, LAST])
def test_the_label_is_never_taken_for_a_code(inbox, message):
    found = find(inbox(message), message)

    assert found is not None
    assert found.code == "{{code}}"


@pytest.mark.parametrize("inbox", [in_json, in_xml, in_lines])
def test_an_sms_of_another_send_is_not_used(inbox):
    assert find(inbox("1234 is your code (check 54321)"), FIRST) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SHOP: 1234 is your code (check 12345)", "1234"),
        ("1234 is your code (check 12345) Reply STOP", "1234"),
        ("1234 is  your\tcode (check 12345)", "1234"),
        ("1234 is your code (ch", "1234"),
        (" is your code (check 12345)", ""),
    ],
)
def test_a_changed_text_is_recognized(text, code):
    found = find(json.dumps([text]), FIRST)

    assert found is not None
    assert found.code == code
    assert not is_message(found.text, FIRST, code) or not code


def test_letters_that_were_changed_do_not_hide_the_code():
    message = "Control 12345: tu código, 你好, es {{code}}"
    found = find(json.dumps(["Control 12345: tu c?digo, ??, es 4711"]), message)

    assert found is not None
    assert (found.code, is_message(found.text, message, "4711")) == ("4711", False)


def test_a_pattern_does_not_take_the_number_of_the_check_for_a_code():
    found = find(json.dumps(["4711 is your code (check 12345)"]), FIRST, pattern="([0-9]{4,6})")

    assert found is not None
    assert found.code == "4711"


def test_sms_of_one_send_are_counted():
    text = received(FIRST, "4711")

    assert find(json.dumps([{"text": text, "raw": text}]), FIRST).copies == 1
    assert find(json.dumps({"items": [{"text": text}, {"text": text}]}), FIRST).copies == 2


@pytest.mark.parametrize("content", ["", "{", "[", "<a", "<![CDATA[", "[" * 100_000, "null", "7", "\0", "&#x110000;"])
def test_a_broken_inbox_shows_nothing(content):
    assert find(content, FIRST) is None
