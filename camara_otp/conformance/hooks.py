"""Call the hooks of a check: read an SMS, let a code expire, reset the operator."""

import os
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TextIO, cast
from urllib.parse import quote

import anyio
import attrs
import httpx

from camara_otp.conformance.contract import MAX_CODE
from camara_otp.conformance.failures import failure_reason
from camara_otp.conformance.inbox import Found, find, has_texts
from camara_otp.conformance.model import BlockedError
from camara_otp.conformance.settings import Hook, Settings, is_loopback_url

Prompt = Callable[[str], Awaitable[str]]

_INTERVAL: Final = 0.5
_POLL: Final = 0.05
_OUTPUT: Final = 65536
# Once so many SMS did not arrive and none ever did, the timeout of the next ones is a tenth.
_MISSES: Final = 2
_NAME: Final = re.compile(r"\{(base_url|phone_number|authentication_id)\}")


class HookError(BlockedError):
    """A hook failed; the message gives the reason."""


class NoTextError(BlockedError):
    """An SMS did not arrive."""


async def prompt_at_terminal(question: str) -> str:
    """Ask the user at the terminal, and return the line that was typed."""
    sys.stderr.write(question)
    sys.stderr.flush()
    answers: list[str] = []
    # A daemon thread, since a read from a terminal cannot be cancelled.
    thread = threading.Thread(target=lambda: answers.append(_line()), name="camara-otp-question", daemon=True)
    thread.start()
    while thread.is_alive():  # noqa: ASYNC110 - the thread may outlive the event loop, so it cannot call it
        await anyio.sleep(_POLL)
    return answers[0] if answers else ""


_typed = bytearray()


def _line() -> str:
    """Return the next line of standard input.

    It is read from the descriptor: the lock of `sys.stdin` would be held while the interpreter shuts down.
    """
    stream: TextIO | None = sys.stdin  # None where there is no console
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
    """Return how a sandbox of this package describes itself, or None if none runs on this machine."""
    if not is_loopback_url(base_url):
        return None
    try:
        with httpx.Client(trust_env=False, timeout=2.0) as http:
            answer = http.get(f"{base_url.rstrip('/')}/_sandbox/state", params={"limit": "1"})
            described = answer.json()["settings"] if answer.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None
    return cast("dict[str, Any]", described) if isinstance(described, dict) else None


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """Replace names in braces by their values, in every string of a JSON value."""
    if isinstance(value, str):
        return _NAME.sub(lambda match: words[match[1]], value)
    if isinstance(value, Mapping):
        return {key: _filled(item, words) for key, item in cast("Mapping[str, Any]", value).items()}
    return [_filled(item, words) for item in cast("list[Any]", value)] if isinstance(value, list | tuple) else value


@attrs.define
class Hooks:
    """The hooks of one check.

    Args:
        settings: name each hook
        http: makes the requests of hooks; carries no token and follows no redirect
        prompt: asks a person
        arrived: how many SMS were read so far
        misses: how many SMS did not arrive
    """

    settings: Settings
    http: httpx.AsyncClient
    prompt: Prompt = prompt_at_terminal
    arrived: int = 0
    misses: int = 0

    async def text(self, phone_number: str, sent: str, authentication_id: str) -> Found:
        """Return the code and content of the SMS that a phone received for a message; `sent` holds the label."""
        hook = self.settings.read
        if hook is None:
            raise HookError("no hook reads SMS: set [read]")
        try:
            if hook.how == "ask":
                found = await self._ask(phone_number, sent)
            else:
                found = await self._poll(hook, phone_number, sent, authentication_id)
        except NoTextError:
            self.misses += 1
            raise
        self.arrived += 1
        return found

    async def glance(self, phone_number: str, sent: str) -> bool:
        """Return whether an inbox shows the SMS of a message now; False where the hook cannot tell."""
        hook = self.settings.read
        if hook is None or hook.how == "ask" or hook.pattern is not None:
            return False
        try:
            with anyio.move_on_after(hook.timeout):
                return find(await self._call("read", phone_number), sent, field=hook.field) is not None
        except HookError:
            pass
        return False

    async def _poll(self, hook: Hook, phone_number: str, sent: str, authentication_id: str) -> Found:
        failure, seen = "", False
        timeout = hook.timeout if self.arrived or self.misses < _MISSES else hook.timeout / 10
        with anyio.move_on_after(timeout):
            while True:
                try:
                    content = await self._call("read", phone_number, authentication_id)
                except HookError as error:
                    failure = str(error)
                else:
                    failure, seen = "", has_texts(content, hook.field)
                    found = find(content, sent, field=hook.field, pattern=hook.pattern)
                    if found is not None:
                        return found
                await anyio.sleep(min(_INTERVAL, hook.timeout / 4))
        if failure:
            raise HookError(failure)
        if seen:
            raise NoTextError(f"no SMS with the message arrived within {timeout:g} s; the inbox has other content")
        raise NoTextError(f"no SMS arrived within {timeout:g} s")

    async def _ask(self, phone_number: str, sent: str) -> Found:
        shown = f"{phone_number[:3]}...{phone_number[-3:]}"
        answer = (await self.prompt(f'The code in the SMS "{sent}" to {shown} (Enter if none came): ')).strip()
        if not answer:
            raise NoTextError("no SMS arrived, according to the user at the terminal")
        if len(answer) > 2 * MAX_CODE:
            raise HookError(f"the code that was typed has more than {2 * MAX_CODE} characters")
        return Found(answer)

    async def expire(self, phone_number: str, authentication_id: str) -> None:
        """Return when the code of an id has expired."""
        if self.settings.expire is None:
            raise HookError("no hook lets a code expire: set [expire]")
        if self.settings.expire.how == "wait":
            await anyio.sleep(self.waiting)
        else:
            await self._once("expire", phone_number, authentication_id)

    @property
    def waiting(self) -> float:
        """Return how long to wait until a code has expired, in seconds."""
        hook, lifetime = self.settings.expire, self.settings.limits.code_lifetime
        if hook is not None and hook.seconds is not None:
            return hook.seconds
        return 302.0 if lifetime is None else lifetime + 2

    async def reset(self, phone_number: str) -> None:
        """Reset the operator: it forgets what was sent to a phone, or to every phone."""
        await self._once("reset", phone_number)

    async def _once(self, name: str, phone_number: str, authentication_id: str = "") -> None:
        timeout = getattr(self.settings, name).timeout
        with anyio.move_on_after(timeout):
            await self._call(name, phone_number, authentication_id)
            return
        raise HookError(f"[{name}]: it took longer than {timeout:g} s")

    async def _call(self, name: str, phone_number: str, authentication_id: str = "") -> str:
        hook: Hook = getattr(self.settings, name)
        root = self.settings.root
        words = {"base_url": root, "phone_number": phone_number, "authentication_id": authentication_id}
        try:
            return await (self._request(hook, words) if hook.how == "http" else _run(hook, words))
        except HookError as error:
            raise HookError(f"[{name}]: {error}") from None
        except (ValueError, TypeError) as error:
            # An operator chooses its ids: one that holds NUL or half a surrogate pair fits no URL and no command line.
            raise HookError(f"[{name}]: a value does not fit into it ({type(error).__name__})") from None

    async def _request(self, hook: Hook, words: Mapping[str, str]) -> str:
        quoted = {name: word if name == "base_url" else quote(word, safe="") for name, word in words.items()}
        body = None if hook.body is None else _filled(hook.body, words)
        try:
            answer = await self.http.request(
                hook.method, _filled(hook.url, quoted), headers=dict(hook.headers), json=body, timeout=hook.timeout
            )
        except httpx.HTTPError as error:
            raise HookError(f"{hook.method} cannot reach its url: {failure_reason(error)}") from None
        except httpx.InvalidURL:
            raise HookError(f"{hook.method} cannot reach its url: it is not a valid URL") from None
        if answer.is_redirect:
            raise HookError(f"{hook.method} got HTTP {answer.status_code}; redirects are not followed")
        if not answer.is_success:
            raise HookError(f"{hook.method} got HTTP {answer.status_code}")
        if hook.field:
            try:
                answer.json()
            except ValueError:
                raise HookError(f"{hook.method} got no JSON, in which to look for {hook.field}") from None
        return answer.text


async def _run(hook: Hook, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        is_used = any(f"{{{name}}}" in part for part in hook.command)
        if is_used and (word.startswith("-") or not word.isprintable()):
            raise HookError(f"{name} is not a safe argument for a command: it begins with a dash or is not printable")
    command = _filled(list(hook.command), words)
    try:
        done = await anyio.run_process(command, check=False)
    except OSError as error:
        raise HookError(f"the command cannot be run: {error.strerror}") from None
    if done.returncode:
        raise HookError(f"the command ended with exit code {done.returncode}")
    return done.stdout[-_OUTPUT:].decode("utf-8", "replace")
