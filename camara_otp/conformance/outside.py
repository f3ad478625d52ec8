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
    from camara_otp.conformance.settings import Help, Settings

Prompt = Callable[[str], Awaitable[str]]

_INTERVAL: Final = 0.5
_GLANCE: Final = 0.05
_OUTPUT: Final = 65536


class HelpError(Exception):
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
class Outside:
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
            HelpError: It cannot be had.
        """
        help_ = self.settings.read
        if help_ is None:
            raise HelpError("nothing says how a text is read: set [read]")
        if help_.how == "ask":
            return await self._asked(phone_number, sent)
        words = {"phone_number": phone_number, "authentication_id": authentication_id}
        last = "nothing came"
        with anyio.move_on_after(help_.timeout):
            while True:
                try:
                    text = await self._carried_out("read", help_, words)
                except HelpError as error:
                    last = str(error)
                else:
                    code = code_in(text, sent, help_.pattern)
                    if code is not None:
                        return code
                    last = "what came holds no code" if text.strip() else last
                await anyio.sleep(min(_INTERVAL, help_.timeout / 4))
        raise HelpError(f"no text could be read within {help_.timeout:g} s: {last}")

    async def _asked(self, phone_number: str, sent: str) -> str:
        shown = f"{phone_number[:3]}...{phone_number[-3:]}"
        answer = (await self.prompt(f'The code in the text "{sent}" to {shown} (Enter if none came): ')).strip()
        if not answer:
            raise HelpError("the person at the terminal had no code to give")
        if len(answer) > MAX_CODE:
            raise HelpError(f"what was typed has more than {MAX_CODE} characters")
        return answer

    async def expire(self, phone_number: str, authentication_id: str) -> None:
        """Return when a code has expired.

        Args:
            phone_number: The phone it went to.
            authentication_id: The id that the send answered with.

        Raises:
            HelpError: It cannot be done.
        """
        help_ = self.settings.expire
        if help_ is None:
            raise HelpError("nothing says how a code expires: set [expire]")
        if help_.how == "wait":
            await anyio.sleep(self.waiting)
        else:
            await self._once("expire", help_, {"phone_number": phone_number, "authentication_id": authentication_id})

    @property
    def waiting(self) -> float:
        """Return how long a code has to be waited out, in seconds."""
        help_, lifetime = self.settings.expire, self.settings.limits.code_lifetime
        if help_ is not None and help_.seconds is not None:
            return help_.seconds
        return 302.0 if lifetime is None else lifetime + 2

    async def reset(self, phone_number: str) -> None:
        """Make the operator forget what was sent.

        Args:
            phone_number: The phone concerned.

        Raises:
            HelpError: It cannot be done.
        """
        help_ = self.settings.reset
        assert help_ is not None  # noqa: S101  (the plan asks for it only where it is set)
        await self._once("reset", help_, {"phone_number": phone_number, "authentication_id": ""})

    async def _once(self, name: str, help_: "Help", words: Mapping[str, str]) -> None:
        with anyio.move_on_after(help_.timeout):
            await self._carried_out(name, help_, words)
            return
        raise HelpError(f"[{name}]: it took longer than {help_.timeout:g} s")

    async def _carried_out(self, name: str, help_: "Help", words: Mapping[str, str]) -> str:
        words = {"base_url": self.settings.root, **words}
        try:
            return await (self._requested(help_, words) if help_.how == "http" else _run(help_, words))
        except HelpError as error:
            raise HelpError(f"[{name}]: {error}") from None

    async def _requested(self, help_: "Help", words: Mapping[str, str]) -> str:
        quoted = {name: word if name == "base_url" else quote(word, safe="") for name, word in words.items()}
        body = None if help_.body is None else _filled(help_.body, words)
        try:
            answer = await self.http.request(
                help_.method, _filled(help_.url, quoted), headers=dict(help_.headers), json=body, timeout=help_.timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise HelpError(f"{help_.method} cannot reach its url: {type(error).__name__}") from None
        if not answer.is_success:
            raise HelpError(f"{help_.method} was answered with {answer.status_code}")
        if not help_.field:
            return answer.text
        try:
            return str(dug(answer.json(), help_.field))
        except ValueError:
            raise HelpError(f"{help_.method} was not answered with JSON, in which to look for {help_.field}") from None


async def _run(help_: "Help", words: Mapping[str, str]) -> str:
    command = _filled(list(help_.command), words)
    try:
        done = await anyio.run_process(command, check=False)
    except OSError as error:
        raise HelpError(f"the command cannot be run: {error.strerror}") from None
    if done.returncode:
        raise HelpError(f"the command ended with exit code {done.returncode}")
    return done.stdout[-_OUTPUT:].decode("utf-8", "replace")
