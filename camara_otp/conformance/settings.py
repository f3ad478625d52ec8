"""The settings of a check: facts about an operator, as data and as a TOML file."""

import ipaddress
import math
import os
import random
import re
import ssl
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
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
    """A setting is wrong; the message names it and the remedy."""


def _must(rule: str, test: Callable[[Any], bool], *, optional: bool = False) -> Any:
    """Return a validator that rejects a value if the test returns False or raises; None passes if it is optional."""

    def validate(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if optional and value is None:
            return
        with suppress(AttributeError, OSError, TypeError, ValueError):
            if test(value):
                return
        raise SettingsError(f"{attribute.name}: must {rule}")

    return validate


def _one_of(*choices: object) -> Any:
    return _must(f"be one of {', '.join(map(str, choices))}", lambda value: value in choices)


def _number(low: float, *, whole: bool = False, optional: bool = False) -> Any:
    kinds, word = (int, "a whole number") if whole else ((int, float), "a number")

    def test(value: Any) -> bool:
        is_number = isinstance(value, kinds) and not isinstance(value, bool)
        return is_number and math.isfinite(value) and value >= low

    return _must(f"be {word} of at least {low:g}", test, optional=optional)


def _how(*hows: How) -> Any:
    def validate(_: object, attribute: "attrs.Attribute[Any]", value: Hook | None) -> None:
        if value is not None and value.how not in hows:
            raise SettingsError(f"{attribute.name}: how must be one of {', '.join(hows)}")

    return validate


def _is_string(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_phone(value: str) -> bool:
    return re.fullmatch(r"\+[1-9][0-9]{4,14}", value) is not None


def _is_root(value: str) -> bool:
    parts = urlsplit(value)
    is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    is_bare = not parts.query and not parts.fragment and "@" not in parts.netloc
    return is_whole and is_bare and re.fullmatch(r"[!-~]+", value) is not None


def _has_certificates(value: Any) -> bool:
    ssl.create_default_context().load_verify_locations(value)
    return True


def _sequence(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


_text = _must("be a string", _is_string, optional=True)
_PHONE: Final = "be in international form, such as +34600000000"
_phone = _must(_PHONE, _is_phone, optional=True)
_texts = _must(
    "be a table of strings", lambda table: all(isinstance(part, str) for row in table.items() for part in row)
)
_table = _must(
    "be a table, which is sent as JSON: { seconds = 301 }", lambda table: isinstance(table, Mapping), optional=True
)


@attrs.frozen(kw_only=True)
class Numbers:
    """Telephone numbers, in international form.

    Args:
        reachable: phones whose SMS can be read; with more of them, more scenarios run, and more of them at once
        unreachable: a number that cannot receive SMS
        landline: a landline
        blocked: a number with SMS barring
        foreign: a number of another operator
    """

    reachable: tuple[str, ...] = attrs.field(
        default=(),
        converter=_sequence,
        validator=_must(_PHONE, lambda numbers: all(map(_is_phone, numbers))),
        repr=False,
    )
    unreachable: str | None = attrs.field(default=None, validator=_phone, repr=False)
    landline: str | None = attrs.field(default=None, validator=_phone, repr=False)
    blocked: str | None = attrs.field(default=None, validator=_phone, repr=False)
    foreign: str | None = attrs.field(default=None, validator=_phone, repr=False)


@attrs.frozen(kw_only=True)
class Limits:
    """The limits that an operator sets.

    Args:
        max_send: the send to one number that is refused, counted from 1; None if unknown
        max_try: the wrong code for one verification that closes it, counted from 1; None if unknown
        max_length: characters that a message may have, at most 160
        code_lifetime: seconds until a code expires; None if unknown
    """

    max_send: int | None = attrs.field(default=None, validator=_number(1, whole=True, optional=True))
    max_try: int | None = attrs.field(default=None, validator=_number(1, whole=True, optional=True))
    max_length: int = attrs.field(default=MAX_MESSAGE, validator=_number(len(LABEL), whole=True))
    code_lifetime: float | None = attrs.field(default=None, validator=_number(0, optional=True))


@attrs.frozen(kw_only=True)
class Tokens:
    """Access tokens other than the good one. Scenarios that need a token which is None are skipped.

    Args:
        expired: an expired token
        invalid: a token that was never issued
        other: a good token of a second client
        unscoped: a good token without the scope
    """

    expired: str | None = attrs.field(default=None, validator=_text, repr=False)
    invalid: str = attrs.field(default=NEVER_ISSUED, validator=_text, repr=False)
    other: str | None = attrs.field(default=None, validator=_text, repr=False)
    unscoped: str | None = attrs.field(default=None, validator=_text, repr=False)


@attrs.frozen(kw_only=True)
class Hook:
    """How to read an SMS, let a code expire or reset the operator: by a person, a pause, an HTTP request, a command.

    In `url`, `body` and `command`, `{base_url}`, `{phone_number}` and `{authentication_id}` stand for their values.

    Args:
        how: `ask`, `wait`, `http` or `command`
        url: for `http`: the URL
        method: for `http`: the method
        headers: for `http`: the headers
        body: for `http`: an object that is sent as JSON
        field: for `http`, to read an SMS: its place in the JSON response, such as `-1.text`; by default anywhere
        command: for `command`: the program and its arguments; an SMS is read from its output
        pattern: to read an SMS: a regular expression with one group, the code; by default the code is the part in
            place of the label
        seconds: for `wait`: the seconds to wait; by default the lifetime of a code and two seconds more
        timeout: seconds after which the hook fails
    """

    how: How = attrs.field(validator=_one_of(*get_args(How)))
    url: str | None = attrs.field(default=None, validator=_text)
    method: str = attrs.field(default="GET", validator=_text)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_texts, repr=False)
    body: Mapping[str, Any] | None = attrs.field(default=None, validator=_table, repr=False)
    field: str = ""
    command: tuple[str, ...] = attrs.field(default=(), converter=_sequence, repr=False)
    pattern: str | None = attrs.field(default=None, validator=_text)
    seconds: float | None = attrs.field(default=None, validator=_number(0, optional=True))
    timeout: float = attrs.field(default=60.0, validator=_number(0.001))

    def __attrs_post_init__(self) -> None:
        """Reject a hook that lacks a setting or has a wrong pattern."""
        if self.how == "http" and not self.url:
            raise SettingsError('url: is missing; how = "http" needs one')
        if self.how == "command" and not self.command:
            raise SettingsError('command: is missing; how = "command" needs a program and its arguments')
        try:
            groups = 1 if self.pattern is None else re.compile(self.pattern).groups
        except re.error as error:
            raise SettingsError(f"pattern: {error}") from None
        if groups != 1:
            raise SettingsError("pattern: must have exactly one group, the code")

    def is_for_one(self, name: str) -> bool:
        """Return whether a request or command affects only one number or id, so that others may continue.

        Args:
            name: `phone_number` or `authentication_id`
        """
        return f"{{{name}}}" in f"{self.url}{self.body}{self.command}"


def is_loopback_url(url: str) -> bool:
    """Return whether a URL leads to this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a check.

    Args:
        base_url: the API root; may carry a path
        api_path: the path between root and operation; None searches the places where operators have it
        release: the release whose scenarios run
        numbers: telephone numbers
        limits: the operator's own limits
        tokens: access tokens that must be refused
        read: how an SMS is read: `ask`, `http` or `command`
        expire: how a code is made to expire: `wait`, `http` or `command`
        reset: how the operator is made to forget previous sends: `http` or `command`
        message: the message that is sent; `{ref}` in it is replaced by a number that identifies the SMS
        sms: whether SMS may be sent
        max_texts: the most SMS to send; None: as many as the scenarios need
        require: tags of scenarios that must run, with * for anything; without them the check is not judged
        headers: headers that are sent with every request
        params: query parameters that are sent with every request
        timeout: seconds after which a request counts as without a response
        slow: seconds from which a response counts as slow
        concurrency: the most requests that wait for a response at the same time
        ca_file: a file of certificates in PEM format that are trusted as well
        allow_http: whether the token may be sent over plain http to another machine
    """

    base_url: str = attrs.field(
        validator=_must(
            "be an http or https address, https://host[:port][/path], without user, query or fragment", _is_root
        )
    )
    api_path: str | None = attrs.field(
        default=None,
        validator=_must(
            "start with a slash and have no query",
            lambda path: path == "" or (path.startswith("/") and "?" not in path),
            optional=True,
        ),
    )
    release: Release = attrs.field(default="1.1.1", validator=_one_of(*RELEASES))
    numbers: Numbers = attrs.field(factory=Numbers)
    limits: Limits = attrs.field(factory=Limits)
    tokens: Tokens = attrs.field(factory=Tokens)
    read: Hook | None = attrs.field(default=None, validator=_how("ask", "http", "command"))
    expire: Hook | None = attrs.field(default=None, validator=_how("wait", "http", "command"))
    reset: Hook | None = attrs.field(default=None, validator=_how("http", "command"))
    message: str = attrs.field(
        default=LABEL + " is your code (check {ref})",
        validator=_must(
            f"contain {LABEL} and have at most {MAX_MESSAGE} characters",
            lambda message: isinstance(message, str) and LABEL in message and len(message) <= MAX_MESSAGE,
        ),
    )
    sms: bool = attrs.field(default=True, validator=_one_of(True, False))  # noqa: FBT003
    max_texts: int | None = attrs.field(default=None, validator=_number(0, whole=True, optional=True))
    require: tuple[str, ...] = attrs.field(
        default=(),
        converter=_sequence,
        validator=_must("be a list of tags, in which * stands for anything", lambda tags: all(map(_is_string, tags))),
    )
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_texts, repr=False)
    params: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_texts, repr=False)
    timeout: float = attrs.field(default=10.0, validator=_number(0.001))
    slow: float = attrs.field(default=3.0, validator=_number(0))
    concurrency: int = attrs.field(default=4, validator=_number(1, whole=True))
    ca_file: str | None = attrs.field(
        default=None,
        validator=_must("be the path of a file of certificates in PEM format", _has_certificates, optional=True),
    )
    allow_http: bool = attrs.field(default=False, validator=_one_of(True, False))  # noqa: FBT003

    def __attrs_post_init__(self) -> None:
        """Reject plain http, which shows the token to the network."""
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
        table: the content
        given: settings that take precedence over the file's; None leaves the file's

    Raises:
        SettingsError: a setting is unknown, missing or wrong; the message names it
    """
    values = {**table, **{name: value for name, value in given.items() if value is not None}}
    for name, kind in _PARTS.items():
        if isinstance(values.get(name), Mapping):
            values[name] = _structured(kind, _from_environment(values[name]), f"{name}.")
        elif values.get(name) is not None and not isinstance(values[name], kind):
            raise SettingsError(f"{name}: must be a table")
    if "base_url" not in values:
        raise SettingsError("base_url: is missing; give the operator's API root")
    return _structured(Settings, values, "")


def load_settings(path: Path, **given: Any) -> Settings:
    """Return settings from a TOML file.

    Args:
        path: the file
        given: settings that take precedence over the file's; None leaves the file's

    Raises:
        SettingsError: the file cannot be read, or a setting is wrong; the message names it
    """
    return settings_from(read_toml(path), **given)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; raise SettingsError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None


def _structured(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
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
    """Replace `name_env = "VARIABLE"` by the value of the variable, so that secrets stay out of files."""
    plain = {name: value for name, value in values.items() if not name.endswith("_env")}
    for name, variable in values.items():
        if name.endswith("_env") and isinstance(variable, str) and variable in os.environ:
            plain[name.removesuffix("_env")] = os.environ[variable]
    return plain


# The names of a sandbox's settings, and the names here.
_SANDBOX_LIMITS: Final = {
    "maxSend": "max_send",
    "maxTry": "max_try",
    "maxMessageLength": "max_length",
    "codeLifetime": "code_lifetime",
}


def sandbox_settings(base_url: str, description: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings for a sandbox of this package, which has an inbox to read and a clock to advance.

    Args:
        base_url: the root of the sandbox
        description: the `settings` in the response of its `/_sandbox/state`
    """
    root = base_url.rstrip("/")
    limits = {ours: description[theirs] for theirs, ours in _SANDBOX_LIMITS.items() if theirs in description}
    special = {
        name: next(iter(description.get(f"{name}Numbers", ())), None)
        for name in ("unreachable", "landline", "blocked", "foreign")
    }
    # Another block of numbers for each run, so that the next run is not refused for the sends of this one.
    block = random.randrange(10**5, 10**6)  # noqa: S311
    release = description.get("release")
    paths = description.get("apiPaths") or ()
    # Unless the search would find one of its paths.
    given_path = {"api_path": paths[0]} if paths and not set(paths).intersection(API_PATHS) else {}
    return {
        "base_url": base_url,
        **given_path,
        # A sandbox may follow a release that has no scenarios.
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
