"""The settings of a check: facts about an operator, as data and as a TOML file."""

import ipaddress
import math
import os
import random
import re
import ssl
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args
from urllib.parse import urlsplit

import attrs

from camara_otp.conformance.contract import API_PATHS, LABEL, MAX_MESSAGE
from camara_otp.conformance.model import RELEASES, Release

How = Literal["ask", "wait", "http", "command"]
T = TypeVar("T")


NEVER_ISSUED: Final = "never-issued-by-this-operator"


class SettingsError(ValueError):
    """A setting that cannot be used; the text names it and says what would do."""


def _table(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise SettingsError(f"{attribute.name}: must be a table, which is sent as JSON: {{ seconds = 301 }}")


def _one_of(*choices: object) -> Any:
    def check(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if value not in choices:
            raise SettingsError(f"{attribute.name}: must be one of {', '.join(map(str, choices))}")

    return check


def _number(low: float, *, whole: bool = False, optional: bool = False) -> Any:
    kind, word = (int, "a whole number") if whole else ((int, float), "a number")

    def check(_: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if optional and value is None:
            return
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value) or value < low:
            raise SettingsError(f"{attribute.name}: must be {word} of at least {low:g}")

    return check


def _text(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise SettingsError(f"{attribute.name}: must be a text")


def _phone(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    numbers = cast("tuple[object, ...]", value) if isinstance(value, tuple) else () if value is None else (value,)
    for number in numbers:
        if not isinstance(number, str) or not re.fullmatch(r"\+[1-9][0-9]{4,14}", number):
            raise SettingsError(f"{attribute.name}: must be in international form, such as +34600000000")


def _strings(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    pairs = cast("Mapping[object, object]", value).items() if isinstance(value, Mapping) else [(None, None)]
    if not all(isinstance(name, str) and isinstance(text, str) for name, text in pairs):
        raise SettingsError(f"{attribute.name}: must be a table of texts")


def _sequence(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


@attrs.frozen(kw_only=True)
class Numbers:
    """Telephone numbers with a part to play.

    Args:
        reachable: Phones whose texts can be read; more of them let more scenarios run, side by side.
        unreachable: A number that cannot receive text messages.
        landline: A landline.
        blocked: A number whose text messages are barred.
        foreign: A number of another operator.
    """

    reachable: tuple[str, ...] = attrs.field(default=(), converter=_sequence, validator=_phone, repr=False)
    unreachable: str | None = attrs.field(default=None, validator=_phone, repr=False)
    landline: str | None = attrs.field(default=None, validator=_phone, repr=False)
    blocked: str | None = attrs.field(default=None, validator=_phone, repr=False)
    foreign: str | None = attrs.field(default=None, validator=_phone, repr=False)


@attrs.frozen(kw_only=True)
class Limits:
    """The limits that an operator sets itself.

    Args:
        max_send: The send to one number that is refused, counted from 1; None if unknown.
        max_try: The wrong code for one verification that closes it, counted from 1; None if unknown.
        max_length: Characters that a message may have, at most 160.
        code_lifetime: Seconds that a code is good for; None if unknown.
    """

    max_send: int | None = attrs.field(default=None, validator=_number(1, whole=True, optional=True))
    max_try: int | None = attrs.field(default=None, validator=_number(1, whole=True, optional=True))
    max_length: int = attrs.field(default=MAX_MESSAGE, validator=_number(len(LABEL), whole=True))
    code_lifetime: float | None = attrs.field(default=None, validator=_number(0, optional=True))


@attrs.frozen(kw_only=True)
class Tokens:
    """Access tokens with a part to play, beside the good one.

    Args:
        expired: A token that was good once; None leaves the scenarios out that need it.
        invalid: A token that was never issued.
        other: A good token of a second client; None leaves the scenario out that needs it.
        unscoped: A good token without the scope; None leaves the scenarios out that need it.
    """

    expired: str | None = attrs.field(default=None, validator=_text, repr=False)
    invalid: str = attrs.field(default=NEVER_ISSUED, validator=_text, repr=False)
    other: str | None = attrs.field(default=None, validator=_text, repr=False)
    unscoped: str | None = attrs.field(default=None, validator=_text, repr=False)


@attrs.frozen(kw_only=True)
class Hook:
    """How the outside world is asked for something: a person, a pause, an HTTP request, a command.

    In `url`, `body` and `command`, `{base_url}`, `{phone_number}` and `{authentication_id}` stand for their values.

    Args:
        how: `ask`, `wait`, `http` or `command`.
        url: For `http`: where to.
        method: For `http`: the method.
        headers: For `http`: headers.
        body: For `http`: an object that is sent as JSON.
        field: For `http`, when a text is read: where it stands, as `-1.text`; by default anywhere.
        command: For `command`: the program and its arguments; a text is read from its output.
        pattern: When a text is read: a regular expression with one group, the code. By default the code is what stands
            in the place of the label.
        seconds: For `wait`: how long; by default the lifetime of a code and two seconds more.
        timeout: How long to go on, in seconds.
    """

    how: How = attrs.field(validator=_one_of(*get_args(How)))
    url: str | None = attrs.field(default=None, validator=_text)
    method: str = attrs.field(default="GET", validator=_text)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_strings, repr=False)
    body: Mapping[str, Any] | None = attrs.field(default=None, validator=_table, repr=False)
    field: str = ""
    command: tuple[str, ...] = attrs.field(default=(), converter=_sequence, repr=False)
    pattern: str | None = attrs.field(default=None, validator=_text)
    seconds: float | None = attrs.field(default=None, validator=_number(0, optional=True))
    timeout: float = attrs.field(default=60.0, validator=_number(0.001))

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be carried out."""
        if self.how == "http" and not self.url:
            raise SettingsError('url: is missing; how = "http" needs one')
        if self.how == "command" and not self.command:
            raise SettingsError('command: is missing; how = "command" needs a program and its arguments')
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groups
            except re.error as error:
                raise SettingsError(f"pattern: {error}") from None
            if groups != 1:
                raise SettingsError("pattern: must have exactly one group, the code")

    def is_for_one(self, name: str) -> bool:
        """Tell whether a request or command affects only one number or id, so that others may continue."""
        return f"{{{name}}}" in f"{self.url}{self.body}{self.command}"


def _may(*hows: How) -> Any:
    def check(_: object, attribute: "attrs.Attribute[Any]", value: Hook | None) -> None:
        if value is not None and value.how not in hows:
            raise SettingsError(f"{attribute.name}: how must be one of {', '.join(hows)}")

    return check


def is_loopback_url(url: str) -> bool:
    """Tell whether a URL leads to this machine: localhost, 127.0.0.0/8 or ::1.

    Args:
        url: the URL
    """
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _certificates(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is None:
        return
    try:
        ssl.create_default_context().load_verify_locations(cast("str", value))
    except (OSError, TypeError, ValueError):
        raise SettingsError(f"{attribute.name}: must be the path of a file of certificates in PEM format") from None


def _patterns(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    items = cast("tuple[object, ...]", value)
    if not all(isinstance(item, str) and item for item in items):
        raise SettingsError(f"{attribute.name}: must be a list of tags, in which * stands for anything")


def _url(_: object, __: "attrs.Attribute[Any]", value: object) -> None:
    try:
        parts = urlsplit(value if isinstance(value, str) and _VISIBLE.fullmatch(value) else "")
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        more = parts.query or parts.fragment or "@" in parts.netloc
    except ValueError:
        whole, more = False, ""
    if not whole or more:
        raise SettingsError(
            "base_url: must be an http or https address, https://host[:port][/path], without user, query or fragment"
        )


_VISIBLE: Final = re.compile(r"[!-~]+")


def _path(_: object, __: "attrs.Attribute[Any]", value: str | None) -> None:
    if value and (not value.startswith("/") or "?" in value):
        raise SettingsError("api_path: must start with a slash and have no query")


def _message(_: object, __: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, str) or LABEL not in value or len(value) > MAX_MESSAGE:
        raise SettingsError(f"message: must contain {LABEL} and have at most {MAX_MESSAGE} characters")


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that a check needs to know.

    Args:
        base_url: The API root; may carry a path.
        api_path: The path between root and operation; None looks in the places where operators have it.
        release: The release whose scenarios are run.
        numbers: Telephone numbers.
        limits: The operator's own limits.
        tokens: Access tokens that must be refused.
        read: How a text is read: `ask`, `http` or `command`.
        expire: How a code is made to expire: `wait`, `http` or `command`.
        reset: How the operator is made to forget what was sent: `http` or `command`.
        message: The text that is sent; `{ref}` in it stands for a number that tells the texts apart.
        sms: Whether texts may be sent at all.
        max_texts: At most so many texts; None: as many as the scenarios take.
        require: Tags of scenarios that must run, with * for anything; without them the check is not judged.
        headers: Headers that this operator wants with every request.
        params: Query parameters that this operator wants with every request.
        timeout: Seconds that an answer may take before it counts as none.
        slow: Seconds from which an answer counts as late.
        concurrency: How many requests may be in flight at once.
        ca_file: A file of certificates in PEM format that are trusted as well.
        allow_http: Whether the token may travel over plain http to another machine.
    """

    base_url: str = attrs.field(validator=_url)
    api_path: str | None = attrs.field(default=None, validator=_path)
    release: Release = attrs.field(default="1.1.1", validator=_one_of(*RELEASES))
    numbers: Numbers = attrs.field(factory=Numbers)
    limits: Limits = attrs.field(factory=Limits)
    tokens: Tokens = attrs.field(factory=Tokens)
    read: Hook | None = attrs.field(default=None, validator=_may("ask", "http", "command"))
    expire: Hook | None = attrs.field(default=None, validator=_may("wait", "http", "command"))
    reset: Hook | None = attrs.field(default=None, validator=_may("http", "command"))
    message: str = attrs.field(default=LABEL + " is your code (check {ref})", validator=_message)
    sms: bool = attrs.field(default=True, validator=_one_of(True, False))  # noqa: FBT003
    max_texts: int | None = attrs.field(default=None, validator=_number(0, whole=True, optional=True))
    require: tuple[str, ...] = attrs.field(default=(), converter=_sequence, validator=_patterns)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_strings, repr=False)
    params: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_strings, repr=False)
    timeout: float = attrs.field(default=10.0, validator=_number(0.001))
    slow: float = attrs.field(default=3.0, validator=_number(0))
    concurrency: int = attrs.field(default=4, validator=_number(1, whole=True))
    ca_file: str | None = attrs.field(default=None, validator=_certificates)
    allow_http: bool = attrs.field(default=False, validator=_one_of(True, False))  # noqa: FBT003

    def __attrs_post_init__(self) -> None:
        """Refuse to show the token to a network."""
        if self.base_url.startswith("http:") and not self.allow_http and not is_loopback_url(self.base_url):
            raise SettingsError(
                "base_url: plain http would show the access token to the network; use https, or set allow_http = true"
            )

    @property
    def root(self) -> str:
        """Return the API root without a trailing slash."""
        return self.base_url.rstrip("/")


_PARTS: Final[Mapping[str, type[Any]]] = {
    "numbers": Numbers,
    "limits": Limits,
    "tokens": Tokens,
    "read": Hook,
    "expire": Hook,
    "reset": Hook,
}


def settings_from(table: Mapping[str, Any], **given: Any) -> Settings:
    """Return settings from the content of a TOML file.

    Args:
        table: The content.
        given: Settings that win over the file's; None leaves the file's.

    Raises:
        SettingsError: A setting is unknown, missing or wrong; the text names it.
    """
    values = {**table, **{name: value for name, value in given.items() if value is not None}}
    for name, kind in _PARTS.items():
        if isinstance(values.get(name), Mapping):
            values[name] = _made(kind, _from_environment(values[name]), f"{name}.")
        elif values.get(name) is not None and not isinstance(values[name], kind):
            raise SettingsError(f"{name}: must be a table")
    if "base_url" not in values:
        raise SettingsError("base_url: is missing; give the operator's API root")
    return _made(Settings, values, "")


def load_settings(path: Path, **given: Any) -> Settings:
    """Return settings from a TOML file.

    Args:
        path: The file.
        given: Settings that win over the file's; None leaves the file's.

    Raises:
        SettingsError: The file cannot be read, or a setting is wrong; the text names it.
    """
    return settings_from(read_toml(path), **given)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Args:
        path: The file.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None


def _made(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    known = [field.name for field in attrs.fields(cast("Any", kind))]
    for name in values:
        if name not in known:
            raise SettingsError(f"{prefix}{name}: is unknown; there are {', '.join(known)}")
    try:
        return kind(**values)
    except SettingsError as error:
        raise SettingsError(f"{prefix}{error}") from None
    except TypeError:
        raise SettingsError(f"{prefix}how: is missing") from None


def _from_environment(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace `name_env = "VARIABLE"` by what the variable holds, so that secrets stay out of files."""
    plain = {name: value for name, value in values.items() if not name.endswith("_env")}
    for name, variable in values.items():
        if name.endswith("_env") and isinstance(variable, str):
            value = os.environ.get(variable)
            if value is not None:
                plain[name.removesuffix("_env")] = value
    return plain


# What the sandbox's description of itself is called here.
_SANDBOX_LIMITS: Final = {
    "maxSend": "max_send",
    "maxTry": "max_try",
    "maxMessageLength": "max_length",
    "codeLifetime": "code_lifetime",
}
_SANDBOX_NUMBERS: Final = ("unreachable", "landline", "blocked", "foreign")


def _path_in(paths: Sequence[str]) -> dict[str, str]:
    """Return the path of a sandbox that serves none of those which are looked for."""
    return {"api_path": paths[0]} if paths and not set(paths).intersection(API_PATHS) else {}


def sandbox_settings(base_url: str, description: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings for a sandbox of this package, which has an inbox to read and a clock to turn.

    Args:
        base_url: Where it is.
        description: The `settings` that its `/_sandbox/state` tells.
    """
    root = base_url.rstrip("/")
    limits = {ours: description[theirs] for theirs, ours in _SANDBOX_LIMITS.items() if theirs in description}
    special = {name: next(iter(description.get(f"{name}Numbers", ())), None) for name in _SANDBOX_NUMBERS}
    # Another block of numbers for each run, so that the next run is not refused for the sends of this one.
    block = random.randrange(10**5, 10**6)  # noqa: S311
    release = description.get("release")
    return {
        "base_url": base_url,
        **_path_in(description.get("apiPaths") or ()),
        # A sandbox may play a release that has no scenarios.
        "release": release if release in RELEASES else RELEASES[-1],
        "numbers": {"reachable": [f"+346{block}{index:02d}" for index in range(60)], **special},
        "limits": limits,
        "tokens": {"expired": "expired-token", "invalid": "invalid-token"},
        "read": {
            "how": "http",
            "url": f"{root}/_sandbox/messages?phoneNumber={{phone_number}}",
            "field": "-1.text",
            "timeout": 5.0,
        },
        "expire": {
            "how": "http",
            "method": "POST",
            "url": f"{root}/_sandbox/advance",
            "body": {"seconds": limits.get("code_lifetime", 300) + 1},
        },
        "concurrency": 16,
    }
