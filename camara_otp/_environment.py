"""The settings outside the program: environment variables, a file of profiles, and the token that they lead to.

`OTPClient.from_env`, `AsyncOTPClient.from_env` and the command line read them through this module. A setting that is
missing or wrong raises ConfigurationError, which names it and the remedy.
"""

import os
import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import attrs

from camara_otp._checks import without_bom
from camara_otp._settings import DEFAULT_API_PATH, DEFAULT_TIMEOUT
from camara_otp.auth.providers import TokenProvider
from camara_otp.errors import ConfigurationError


@attrs.frozen
class SettingSpec:
    """The form and purpose of a setting.

    Attributes:
        kind: the type of its value: str, float (seconds), bool, or dict (of strings)
        variable: its environment variable, or None
        about: its purpose
        hidden: whether its value is a secret
        default: its value where it is not set
    """

    kind: type
    variable: str | None
    about: str
    hidden: bool = False
    default: Any = None


DEFAULT_MESSAGE: Final = "{{code}} is your code"

SETTINGS: Final[dict[str, SettingSpec]] = {
    "base_url": SettingSpec(str, "CAMARA_BASE_URL", "the operator's API root"),
    "api_path": SettingSpec(str, "CAMARA_API_PATH", "path between root and operation", default=DEFAULT_API_PATH),
    "timeout": SettingSpec(float, "CAMARA_TIMEOUT", "seconds for one call", default=DEFAULT_TIMEOUT),
    "x_correlator": SettingSpec(bool, None, "whether calls carry an x-correlator", default=True),
    "allow_http": SettingSpec(bool, None, "whether a token may travel over plain http", default=False),
    "headers": SettingSpec(dict, None, "extra headers", hidden=True),
    "params": SettingSpec(dict, None, "extra query parameters", hidden=True),
    "message": SettingSpec(
        str, None, "the SMS with the label {{code}}, at most 160 characters", default=DEFAULT_MESSAGE
    ),
    "check": SettingSpec(str, None, "TOML file with the settings of `check`"),
    "token": SettingSpec(str, "CAMARA_BEARER_TOKEN", "the access token", hidden=True),
    "token_file": SettingSpec(str, "CAMARA_BEARER_TOKEN_FILE", "file with the access token"),
    "token_url": SettingSpec(str, "CAMARA_TOKEN_URL", "the operator's token endpoint"),
    "issuer": SettingSpec(str, "CAMARA_ISSUER", "the operator's issuer, instead of the token endpoint"),
    "client_id": SettingSpec(str, "CAMARA_CLIENT_ID", "the client id for client credentials"),
    "client_secret": SettingSpec(str, "CAMARA_CLIENT_SECRET", "the client secret", hidden=True),
    "client_secret_file": SettingSpec(str, "CAMARA_CLIENT_SECRET_FILE", "file with the client secret"),
    "private_key": SettingSpec(str, "CAMARA_PRIVATE_KEY", "the private key, PEM or JWK", hidden=True),
    "private_key_file": SettingSpec(str, "CAMARA_PRIVATE_KEY_FILE", "file with the private key"),
    "client_auth": SettingSpec(str, "CAMARA_CLIENT_AUTH", "how the client authenticates"),
    "scope": SettingSpec(str, "CAMARA_SCOPE", "the scope to request"),
}
# A token, or the settings that obtain one. They are read from one source together: a secret of one source must not be
# sent with the client id of another.
_CREDENTIALS: Final = tuple(SETTINGS)[tuple(SETTINGS).index("token") :]
# A source with one of these has credentials of its own.
_PROOFS: Final = ("token", "token_file", "client_secret", "client_secret_file", "private_key", "private_key_file")
_CLIENT: Final = ("base_url", "api_path", "timeout", "allow_http", "headers", "params")

_WORDS: Final = {str: "a string", float: "a number of seconds", bool: "true or false", dict: "a table of strings"}


@attrs.frozen
class Setting:
    """The value of a setting and its source."""

    value: Any = attrs.field(repr=False)
    source: str


def profiles_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the file of profiles."""
    given = environ.get("CAMARA_PROFILES")
    if given:
        return Path(given)
    return folder(environ, ("APPDATA", "AppData/Roaming"), ("XDG_CONFIG_HOME", ".config")) / "profiles.toml"


def folder(environ: Mapping[str, str], windows: tuple[str, str], elsewhere: tuple[str, str]) -> Path:
    """Return the user's folder for files of this package; its parent is named by a variable, or is in the home."""
    variable, default = windows if sys.platform == "win32" else elsewhere
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(os.devnull)  # no home folder, as in some containers: a path under which no file can be
    return Path(environ.get(variable) or home / default) / "camara-otp"


def expanded(path: Path, name: str) -> Path:
    """Return the path of the setting `name` with `~` expanded."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ConfigurationError(f"{name}: {path}: there is no such home folder; give the whole path") from None


def profile(name: str, path: Path) -> dict[str, Any]:
    """Return the settings of one profile, checked."""
    tables = profiles(path)
    if name not in tables:
        known = ", ".join(tables) or "none"
        raise ConfigurationError(f"profile {name}: is not in {path}; there: {known}")
    for key, value in tables[name].items():
        if key not in SETTINGS:
            raise ConfigurationError(f"profile {name}: {key} is unknown; there are {', '.join(SETTINGS)}")
        if not _fits(SETTINGS[key].kind, value):
            raise ConfigurationError(f"profile {name}: {key} must be {_WORDS[SETTINGS[key].kind]}")
    return tables[name]


def profiles(path: Path) -> dict[str, dict[str, Any]]:
    """Return all profiles by name; none if there is no file."""
    try:
        is_open_to_others = os.name == "posix" and path.stat().st_mode & 0o022
        tables = {} if is_open_to_others else tomllib.loads(path.read_text("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if is_open_to_others:
        command = f"chmod go-w {shlex.quote(str(path))}"
        raise ConfigurationError(f"profiles file: other users can change it and redirect tokens; run: {command}")
    return {name: cast("dict[str, Any]", table) for name, table in tables.items() if isinstance(table, dict)}


def _fits(kind: type, value: Any) -> bool:
    if kind is dict:
        return isinstance(value, dict) and all(isinstance(item, str) for item in cast("dict[str, Any]", value).values())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def resolve(
    options: Mapping[str, Any], environ: Mapping[str, str], named_profile: str | None, path: Path
) -> dict[str, Setting]:
    """Return every setting that is set: options win, then the named profile, then the environment.

    A profile that only the environment names (CAMARA_PROFILE) comes last. An option of None and an empty variable count
    as unset.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("option", {name: value for name, value in options.items() if value is not None}),
        ("environment", _variables(environ)),
    ]
    standing = environ.get("CAMARA_PROFILE")
    if named_profile is not None:
        layers.insert(1, (f"profile {named_profile}", profile(named_profile, path)))
    elif standing:
        layers.append((f"profile {standing}", profile(standing, path)))
    found: dict[str, Setting] = {}
    with_credentials = next((source for source, layer in layers if any(name in layer for name in _PROOFS)), None)
    for source, layer in layers:
        for name, value in layer.items():
            fits = name not in _CREDENTIALS or with_credentials is None or source in (with_credentials, "option")
            if name not in found and fits:
                found[name] = Setting(value, source)
    return found


def _variables(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, spec in SETTINGS.items():
        if spec.variable and (value := without_bom(environ.get(spec.variable, ""))):
            try:
                values[name] = spec.kind(value)
            except ValueError:
                raise ConfigurationError(f"{spec.variable}: must be {_WORDS[spec.kind]}") from None
    return values


def client_arguments(environ: Mapping[str, str], named_profile: str | None) -> dict[str, Any]:
    """Return the keyword arguments of `OTPClient`, read from environment variables and the file of profiles."""
    try:
        return arguments_for(resolve({}, environ, named_profile, profiles_file(environ)))
    except (ConfigurationError, UserWarning) as error:
        del environ  # a traceback with locals would show its secrets, and those of the frames below
        raise error.with_traceback(None) from None


def arguments_for(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Return the keyword arguments of `OTPClient` for these settings."""
    missing = "base_url: is missing; set CAMARA_BASE_URL, or name a profile that has it"
    try:
        token = token_or_provider(settings)
    except ConfigurationError as error:
        if "base_url" in settings:
            raise
        raise ConfigurationError(f"{missing}. {error}") from None
    if "base_url" not in settings:
        raise ConfigurationError(missing)
    arguments = {name: settings[name].value for name in _CLIENT if name in settings}
    if "x_correlator" in settings and settings["x_correlator"].value is False:
        arguments["x_correlator"] = None
    return arguments | {"token": token}


def token_settings(settings: Mapping[str, Setting]) -> tuple[str | None, list[str]]:
    """Return the name of the setting that holds the token, and those of the credentials that it leaves unused."""
    used = next((name for name in ("token", "token_file") if name in settings), None)
    return used, [name for name in _CREDENTIALS if used and name in settings and name != used]


def token_or_provider(settings: Mapping[str, Setting]) -> str | TokenProvider:
    """Return the token, or the provider that fetches one."""
    if "token" in settings:
        return str(settings["token"].value)
    if "token_file" in settings:
        return secret_in(Path(settings["token_file"].value), "token_file")
    if "client_id" in settings:
        return client_credentials(settings)
    if any(name in settings for name in _PROOFS):
        raise ConfigurationError("client_id: is missing; client credentials need it: CAMARA_CLIENT_ID, or a profile")
    raise ConfigurationError(
        "token: is missing; set CAMARA_BEARER_TOKEN or CAMARA_BEARER_TOKEN_FILE (on the command line: --token-file or "
        "--token-stdin), or client credentials: CAMARA_TOKEN_URL or CAMARA_ISSUER, CAMARA_CLIENT_ID, and "
        "CAMARA_CLIENT_SECRET or CAMARA_PRIVATE_KEY_FILE"
    )


def client_credentials(settings: Mapping[str, Setting], **more: Any) -> TokenProvider:
    """Return the provider that fetches tokens with client credentials; `more` are further arguments of it."""
    from camara_otp.auth.client_credentials import ClientCredentials  # noqa: PLC0415 - most callers have a token

    values = {name: setting.value for name, setting in settings.items() if name in _CREDENTIALS}
    for file, name in (("client_secret_file", "client_secret"), ("private_key_file", "private_key")):
        if file in values:
            values[name] = secret_in(Path(values.pop(file)), file)
    for one, other in (("token_url", "issuer"), ("client_secret", "private_key")):
        _require_one_of(values, one, other)
    return ClientCredentials(**values, **more)


def _require_one_of(values: Mapping[str, Any], one: str, other: str) -> None:
    variables = f"{SETTINGS[one].variable} or {SETTINGS[other].variable}"
    if one not in values and other not in values:
        raise ConfigurationError(f"{one}: is missing; set {variables}, or {one} or {other} in the profile")
    if one in values and other in values:
        raise ConfigurationError(f"{one}: is set, and so is {other}; keep {variables}, or one of both in the profile")


def secret_in(path: Path, name: str) -> str:
    """Return the content of the file that the setting `name` names, without byte order mark and white space around."""
    file = expanded(path, name)
    try:
        text = file.read_text("utf-8-sig").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name}: {path}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}") from None
    if not text:
        raise ConfigurationError(f"{name}: {path}: is empty; write the value into the file")
    return text
