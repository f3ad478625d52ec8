"""Hooks that read SMS, let codes expire and reset operators: by a person, by HTTP and by a command."""

import io
import json
import os
import sys

import anyio
import httpx
import pytest

from camara_otp.conformance import settings_from
from camara_otp.conformance.hooks import HookError, Hooks, NoTextError, prompt_at_terminal, sandbox_at
from camara_otp.conformance.inbox import dig, find
from camara_otp.sandbox import Sandbox

PHONE = "+34600000100"
SENT = "{{code}} is your code (check 7)"


def hooks(handler=lambda request: httpx.Response(200, text="1234 is your code (check 7)"), prompt=None, **settings):
    """Return hooks that a function answers."""
    made = settings_from({"base_url": "https://api.example.com/", **settings})
    http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return Hooks(made, http, prompt) if prompt else Hooks(made, http)


@pytest.mark.parametrize(
    ("text", "sent", "pattern", "code"),
    [
        ("1234 is your code (check 7)", SENT, None, "1234"),
        ("SHOP: 1234 is your code (check 7). Reply STOP", SENT, None, "1234"),
        ("1111 is your code (check 6)\n2222 is your code (check 7)", SENT, None, "2222"),
        ("1111 is your code (check 6)", SENT, None, None),
        ("AJY3", "{{code}}", None, "AJY3"),
        ("Your code AJY3", "{{code}}", None, "AJY3"),
        ("pin=99 1234 is your code (check 7)", SENT, "pin=([0-9]+)", "99"),
        ("a.b (c)", "{{code}} (c)", None, "a.b"),
        ("", SENT, None, None),
    ],
)
def test_a_code_is_found_in_an_sms(text, sent, pattern, code):
    """It is in the place of the label, whatever the operator adds around it; the newest SMS counts."""
    found = find(text, sent, pattern=pattern)

    assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("value", "field", "found"),
    [
        ([{"text": "a"}, {"text": "b"}], "-1.text", "b"),
        ({"a": [1, 2]}, "a.0", "1"),
        ([], "-1.text", ""),
        ({}, "a.b", ""),
        ("x", "a", ""),
        ({"a": {}}, "a", ""),
    ],
)
def test_a_place_in_json_is_found(value, field, found):
    """A path that does not exist gives None."""
    assert dig(value, field) == found


@pytest.mark.anyio
async def test_an_sms_is_read_over_http():
    """The hook is called again until the SMS has arrived."""
    asked = []

    def handler(request):
        asked.append(str(request.url))
        messages = [{"text": "1234 is your code (check 7)"}] if len(asked) > 2 else []
        return httpx.Response(200, json=messages)

    asked_hooks = hooks(
        handler,
        read={
            "how": "http",
            "url": "{base_url}/inbox/{phone_number}?id={authentication_id}",
            "field": "-1.text",
            "timeout": 4,
        },
    )

    assert (await asked_hooks.text(PHONE, SENT, "a/b")).code == "1234"
    assert asked[0] == "https://api.example.com/inbox/%2B34600000100?id=a%2Fb"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(500), "GET got HTTP 500"),
        (httpx.Response(200, text="no code here"), "the inbox has other content"),
        (httpx.Response(200, text=""), "no SMS arrived within 0.05 s"),
        (httpx.ConnectError("no"), "GET cannot reach its url: no connection could be made"),
    ],
)
async def test_an_sms_that_does_not_arrive_ends_the_wait(answer, words):
    """The wait ends in time, with the reason."""

    def handler(request):
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises((HookError, NoTextError), match=words):
        await hooks(handler, read={"how": "http", "url": "http://h/", "timeout": 0.05}).text(PHONE, SENT, "id")


@pytest.mark.anyio
async def test_an_answer_that_is_not_json_is_said():
    """The hook has `field`, so it needs JSON."""
    read = {"how": "http", "url": "http://h/", "field": "a", "timeout": 0.05}

    with pytest.raises(HookError, match="got no JSON"):
        await hooks(read=read).text(PHONE, SENT, "id")


@pytest.mark.anyio
async def test_an_sms_is_read_by_a_command():
    """The SMS is the output of the command."""
    program = "import sys; print(sys.argv[1][-3:] + '1 is your code (check 7)')"
    read = {"how": "command", "command": [sys.executable, "-c", program, "{phone_number}"], "timeout": 20}

    assert (await hooks(read=read).text(PHONE, SENT, "id")).code == "1001"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("command", "words"),
    [([sys.executable, "-c", "raise SystemExit(3)"], "exit code 3"), (["/does/not/exist"], "cannot be run")],
)
async def test_a_command_that_fails_is_said(command, words):
    """The error contains the exit code."""
    with pytest.raises(HookError, match=words):
        await hooks(reset={"how": "command", "command": command}).reset(PHONE)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [(" 1234\n", "1234", ""), ("\n", None, "no SMS arrived"), ("far too long for a code\n", None, "more than 20")],
)
async def test_a_person_is_asked(answer, code, words):
    """The question does not show the whole number."""
    questions = []

    async def prompt(question):
        questions.append(question)
        return answer

    asked_hooks = hooks(prompt=prompt, read={"how": "ask"})
    if code:
        assert (await asked_hooks.text(PHONE, SENT, "id")).code == code
    else:
        with pytest.raises((HookError, NoTextError), match=words):
            await asked_hooks.text(PHONE, SENT, "id")
    assert SENT in questions[0]
    assert PHONE not in questions[0]


@pytest.fixture
def typing(monkeypatch):
    """Return a descriptor; bytes written to it arrive as typed."""
    ours, theirs = os.pipe()
    with os.fdopen(ours) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield theirs
        os.close(theirs)


@pytest.mark.anyio
async def test_the_terminal_is_asked_without_blocking(typing, capsys):
    """The question goes to standard error; characters typed before it are for the next question."""
    os.write(typing, b"1234\n56")
    assert await prompt_at_terminal("Code? ") == "1234\n"
    assert capsys.readouterr().err == "Code? "
    with anyio.move_on_after(0.2) as scope:
        await prompt_at_terminal("Code? ")
    assert scope.cancelled_caught  # the thread goes on reading, as it does when the person stops the check
    os.write(typing, b"78\n")


@pytest.mark.anyio
@pytest.mark.parametrize("stdin", [None, io.StringIO("")])
async def test_a_terminal_without_a_user_gives_no_answer(monkeypatch, stdin):
    """Neither where there is no console, nor where it is at its end."""
    monkeypatch.setattr(sys, "stdin", stdin)

    assert not await prompt_at_terminal("Code? ")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("expire", "limits", "seconds"),
    [
        ({"how": "wait"}, {}, 302),
        ({"how": "wait"}, {"code_lifetime": 60}, 62),
        ({"how": "wait", "seconds": 0.01}, {"code_lifetime": 60}, 0.01),
    ],
)
async def test_a_code_is_waited_out(expire, limits, seconds):
    """For the setting, else for the lifetime plus a margin, else for five minutes."""
    asked_hooks = hooks(expire=expire, limits=limits)

    assert asked_hooks.waiting == seconds
    if seconds < 1:
        await asked_hooks.expire(PHONE, "id")


@pytest.mark.anyio
async def test_a_request_carries_what_it_is_about():
    """Placeholders in nested values of its body are replaced."""
    seen = []

    def handler(request):
        seen.append((request.method, json.loads(request.content)))
        return httpx.Response(204)

    body = {"who": ["{phone_number}"], "what": {"id": "{authentication_id}"}, "n": 3}
    asked_hooks = hooks(handler, expire={"how": "http", "url": "http://h/", "method": "POST", "body": body})

    await asked_hooks.expire(PHONE, "id-1")

    assert seen == [("POST", {"who": [PHONE], "what": {"id": "id-1"}, "n": 3})]


@pytest.mark.anyio
async def test_help_that_takes_too_long_is_given_up():
    """The limit is the timeout of the hook."""

    async def handler(request):
        await anyio.sleep(5)

    asked_hooks = hooks(handler, reset={"how": "http", "url": "http://h/", "timeout": 0.05})

    with pytest.raises(HookError, match="longer than"):
        await asked_hooks.reset(PHONE)


@pytest.mark.anyio
async def test_help_that_is_not_set_up_is_said():
    """The plan skips such scenarios; a direct call raises an error."""
    with pytest.raises(HookError, match=r"set \[read\]"):
        await hooks().text(PHONE, SENT, "id")
    with pytest.raises(HookError, match=r"set \[expire\]"):
        await hooks().expire(PHONE, "id")


def test_a_sandbox_is_recognised_on_this_machine_only():
    """The check does not ask other hosts, and does not believe other servers on this machine."""
    with Sandbox().serve() as url:
        assert sandbox_at(url + "/")["maxSend"] == 4
        assert sandbox_at(url + "/elsewhere") is None
    assert sandbox_at(url) is None
    assert sandbox_at("https://api.example.com") is None
