"""Help from outside: reading a text, letting a code expire, making the operator forget."""

import os
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TextIO, cast
from urllib.parse import quote, urlsplit

import anyio
import attrs
import httpx

from camara_otp.conformance.contract import LABEL, MAX_CODE

if TYPE_CHECKING:
    from camara_otp.conformance.settings import Hook, Settings

Prompt = Callable[[str], Awaitable[str]]

_INTERVAL: Final = 0.5
_GLANCE: Final = 0.05
_OUTPUT: Final = 65536


class HookError(Exception):
    """Help that did not come; the text says why."""


async def prompt_at_terminal(question: str) -> str:
    """Ask the person at the terminal.

    Args:
        question: The question.
    """
    sys.stderr.write(question)
    sys.stderr.flush()
    answers: list[str] = []
    # A thread that the interpreter does not wait for at its end: a read from a terminal cannot be called off.
    thread = threading.Thread(target=lambda: answers.append(_line()), name="camara-otp-question", daemon=True)
    thread.start()
    while thread.is_alive():  # noqa: ASYNC110 - the thread outlives the loop, and could not reach it any more
        await anyio.sleep(_GLANCE)
    return answers[0] if answers else ""


_typed = bytearray()


def _line() -> str:
    """Return the next line of standard input.

    Not by `sys.stdin`, whose lock would be held while the interpreter ends.
    """
    stream: TextIO | None = sys.stdin  # None where there is no console at all
    try:
        descriptor = -1 if stream is None else stream.fileno()
    except (OSError, ValueError):
        return sys.stdin.readline()  # no file, as in a notebook
    while descriptor >= 0 and b"\n" not in _typed:
        part = os.read(descriptor, 1024)
        if not part:
            break
        _typed.extend(part)
    line, end, rest = _typed.partition(b"\n")
    _typed[:] = rest
    return (line + end).decode("utf-8", "replace")


def sandbox_at(base_url: str) -> dict[str, Any] | None:
    """Return how a sandbox of this package describes itself, if one answers on this machine; else None.

    Args:
        base_url: Where to look.
    """
    if is_far(base_url):
        return None
    try:
        with httpx.Client(trust_env=False, timeout=2.0) as http:
            answer = http.get(f"{base_url.rstrip('/')}/_sandbox/state", params={"limit": "1"})
            described = answer.json()["settings"] if answer.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None
    return cast("dict[str, Any]", described) if isinstance(described, dict) else None


def is_far(url: str) -> bool:
    """Tell whether a URL leads off this machine.

    Args:
        url: The URL.
    """
    try:
        return urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1")
    except ValueError:
        return True


def code_in(text: str, sent: str, pattern: str | None) -> str | None:
    """Return the code in what a phone received, or None.

    Args:
        text: What was received; the newest text last.
        sent: The message as it was sent, with the label.
        pattern: A regular expression with one group, to use instead of the place of the label.
    """
    if pattern is None:
        before, _, after = (re.escape(part) for part in sent.partition(LABEL))
        pattern = rf"{before}(\S{{1,{MAX_CODE}}}?){after}"
        if not (before or after):
            pattern = rf"(?<!\S)(\S{{1,{MAX_CODE}}})(?!\S)"
    found = re.findall(pattern, text)
    return found[-1] if found else None


def dug(value: Any, field: str) -> str:
    """Return what stands at a place in JSON, as a text; empty if nothing does.

    Args:
        value: The JSON.
        field: Names and positions, separated by dots.
    """
    for step in field.split("."):
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(step)
        elif isinstance(value, list) and re.fullmatch(r"-?[0-9]+", step):
            items = cast("list[Any]", value)  # type: ignore[redundant-cast]
            value = items[int(step)] if -len(items) <= int(step) < len(items) else None
        else:
            return ""
    return value if isinstance(value, str | int) else ""  # type: ignore[return-value]


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """Put values in the place of their names, in every text of a JSON value."""
    if isinstance(value, str):
        for name, word in words.items():
            value = value.replace(f"{{{name}}}", word)
        return value
    if isinstance(value, Mapping):
        return {key: _filled(item, words) for key, item in cast("Mapping[str, Any]", value).items()}
    return [_filled(item, words) for item in cast("list[Any]", value)] if isinstance(value, list | tuple) else value


@attrs.frozen
class Hooks:
    """The helpers of one check.

    Args:
        settings: Say how each kind of help is had.
        http: Makes the requests to helpers; carries no token.
        prompt: Asks a person.
    """

    settings: "Settings"
    http: httpx.AsyncClient
    prompt: Prompt = prompt_at_terminal

    async def code(self, phone_number: str, sent: str, authentication_id: str) -> str:
        """Return the code that a phone received.

        Args:
            phone_number: The phone.
            sent: The message as it was sent, with the label.
            authentication_id: The id that the send answered with.

        Raises:
            HookError: It cannot be had.
        """
        hook = self.settings.read
        if hook is None:
            raise HookError("nothing says how a text is read: set [read]")
        if hook.how == "ask":
            return await self._asked(phone_number, sent)
        words = {"phone_number": phone_number, "authentication_id": authentication_id}
        last = "nothing came"
        with anyio.move_on_after(hook.timeout):
            while True:
                try:
                    text = await self._carried_out("read", hook, words)
                except HookError as error:
                    last = str(error)
                else:
                    code = code_in(text, sent, hook.pattern)
                    if code is not None:
                        return code
                    last = "what came holds no code" if text.strip() else last
                await anyio.sleep(min(_INTERVAL, hook.timeout / 4))
        raise HookError(f"no text could be read within {hook.timeout:g} s: {last}")

    async def _asked(self, phone_number: str, sent: str) -> str:
        shown = f"{phone_number[:3]}...{phone_number[-3:]}"
        answer = (await self.prompt(f'The code in the text "{sent}" to {shown} (Enter if none came): ')).strip()
        if not answer:
            raise HookError("the person at the terminal had no code to give")
        if len(answer) > MAX_CODE:
            raise HookError(f"what was typed has more than {MAX_CODE} characters")
        return answer

    async def expire(self, phone_number: str, authentication_id: str) -> None:
        """Return when a code has expired.

        Args:
            phone_number: The phone it went to.
            authentication_id: The id that the send answered with.

        Raises:
            HookError: It cannot be done.
        """
        hook = self.settings.expire
        if hook is None:
            raise HookError("nothing says how a code expires: set [expire]")
        if hook.how == "wait":
            await anyio.sleep(self.waiting)
        else:
            await self._once("expire", hook, {"phone_number": phone_number, "authentication_id": authentication_id})

    @property
    def waiting(self) -> float:
        """Return how long a code has to be waited out, in seconds."""
        hook, lifetime = self.settings.expire, self.settings.limits.code_lifetime
        if hook is not None and hook.seconds is not None:
            return hook.seconds
        return 302.0 if lifetime is None else lifetime + 2

    async def reset(self, phone_number: str) -> None:
        """Make the operator forget what was sent.

        Args:
            phone_number: The phone concerned.

        Raises:
            HookError: It cannot be done.
        """
        hook = self.settings.reset
        assert hook is not None  # noqa: S101  (the plan asks for it only where it is set)
        await self._once("reset", hook, {"phone_number": phone_number, "authentication_id": ""})

    async def _once(self, name: str, hook: "Hook", words: Mapping[str, str]) -> None:
        with anyio.move_on_after(hook.timeout):
            await self._carried_out(name, hook, words)
            return
        raise HookError(f"[{name}]: it took longer than {hook.timeout:g} s")

    async def _carried_out(self, name: str, hook: "Hook", words: Mapping[str, str]) -> str:
        words = {"base_url": self.settings.root, **words}
        try:
            return await (self._requested(hook, words) if hook.how == "http" else _run(hook, words))
        except HookError as error:
            raise HookError(f"[{name}]: {error}") from None

    async def _requested(self, hook: "Hook", words: Mapping[str, str]) -> str:
        quoted = {name: word if name == "base_url" else quote(word, safe="") for name, word in words.items()}
        body = None if hook.body is None else _filled(hook.body, words)
        try:
            answer = await self.http.request(
                hook.method, _filled(hook.url, quoted), headers=dict(hook.headers), json=body, timeout=hook.timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise HookError(f"{hook.method} cannot reach its url: {type(error).__name__}") from None
        if not answer.is_success:
            raise HookError(f"{hook.method} was answered with {answer.status_code}")
        if not hook.field:
            return answer.text
        try:
            return str(dug(answer.json(), hook.field))
        except ValueError:
            raise HookError(f"{hook.method} was not answered with JSON, in which to look for {hook.field}") from None


async def _run(hook: "Hook", words: Mapping[str, str]) -> str:
    command = _filled(list(hook.command), words)
    try:
        done = await anyio.run_process(command, check=False)
    except OSError as error:
        raise HookError(f"the command cannot be run: {error.strerror}") from None
    if done.returncode:
        raise HookError(f"the command ended with exit code {done.returncode}")
    return done.stdout[-_OUTPUT:].decode("utf-8", "replace")
