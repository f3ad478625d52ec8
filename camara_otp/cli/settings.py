"""Where the command line's settings come from: options, a profile, the environment; and the token among them."""

import inspect
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

import attrs

from camara_otp import ConfigurationError, OTPClient, TokenProvider
from camara_otp.client import DEFAULT_API_PATH

Kind = Literal["text", "seconds", "yes or no", "table"]


@attrs.frozen
class Known:
    """A setting that there is.

    Args:
        kind: What it is.
        variable: Its environment variable, or None.
        hidden: Whether its value is a secret.
        about: What it is for.
        default: What holds where it is not set.
    """

    kind: Kind
    variable: str | None
    about: str
    hidden: bool = False
    default: Any = None


_SIGNATURE: Final = inspect.signature(OTPClient.__init__).parameters
DEFAULT_MESSAGE: Final = "{{code}} is your code"

KNOWN: Final[dict[str, Known]] = {
    "base_url": Known("text", "CAMARA_BASE_URL", "the operator's API root"),
    "api_path": Known("text", "CAMARA_API_PATH", "path between root and operation", default=DEFAULT_API_PATH),
    "timeout": Known("seconds", "CAMARA_TIMEOUT", "seconds for one call", default=_SIGNATURE["timeout"].default),
    "x_correlator": Known("yes or no", None, "whether calls carry an x-correlator", default=True),
    "allow_http": Known("yes or no", None, "whether a token may travel over plain http", default=False),
    "headers": Known("table", None, "extra headers", hidden=True),
    "params": Known("table", None, "extra query parameters", hidden=True),
    "message": Known("text", None, "the text to send, with the label {{code}}", default=DEFAULT_MESSAGE),
    "check": Known("text", None, "TOML file with the settings of `check`"),
    "token": Known("text", "CAMARA_BEARER_TOKEN", "the access token", hidden=True),
    "token_file": Known("text", "CAMARA_BEARER_TOKEN_FILE", "file with the access token"),
    "token_url": Known("text", "CAMARA_TOKEN_URL", "the operator's token endpoint"),
    "issuer": Known("text", "CAMARA_ISSUER", "the operator's issuer, instead of the token endpoint"),
    "client_id": Known("text", "CAMARA_CLIENT_ID", "the client id for client credentials"),
    "client_secret": Known("text", "CAMARA_CLIENT_SECRET", "the client secret", hidden=True),
    "client_secret_file": Known("text", "CAMARA_CLIENT_SECRET_FILE", "file with the client secret"),
    "private_key_file": Known("text", "CAMARA_PRIVATE_KEY_FILE", "file with the private key"),
    "client_auth": Known("text", "CAMARA_CLIENT_AUTH", "how the client proves itself"),
    "scope": Known("text", "CAMARA_SCOPE", "what the token is asked for"),
}
# A token, or what gets one. They are taken from one place together: a secret must not meet another operator's id.
CREDENTIALS: Final = tuple(KNOWN)[tuple(KNOWN).index("token") :]


@attrs.frozen
class Setting:
    """A setting's value and where it came from."""

    value: Any = attrs.field(repr=False)
    source: str


def profiles_file(environ: Mapping[str, str]) -> Path:
    """Return where profiles are kept.

    Args:
        environ: The environment.
    """
    given = environ.get("CAMARA_PROFILES")
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(environ.get("APPDATA") or home() / "AppData" / "Roaming") / "camara-otp" / "profiles.toml"
    return Path(environ.get("XDG_CONFIG_HOME") or home() / ".config") / "camara-otp" / "profiles.toml"


def home() -> Path:
    """Return the user's own folder; for a user without one, as in a container, a place where nothing can be."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


def expanded(path: Path, name: str) -> Path:
    """Return a path with the home folder that it begins with.

    Args:
        path: The path.
        name: The setting that names it.

    Raises:
        ConfigurationError: There is no such home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise ConfigurationError(f"{name}: {path}: there is no such home folder; give the whole path") from None


def profile(name: str, path: Path) -> dict[str, Any]:
    """Return a profile.

    Args:
        name: Its name.
        path: The file.

    Raises:
        ConfigurationError: There is none, or it holds what it cannot; the text says which.
    """
    tables = profiles(path)
    if name not in tables:
        there = ", ".join(tables) or "none"
        raise ConfigurationError(f"profile {name}: is not in {path}; there: {there}")
    for key, value in tables[name].items():
        wanted = KNOWN[key].kind if key in KNOWN else None
        if wanted is None:
            raise ConfigurationError(f"profile {name}: {key} is unknown; there are {', '.join(KNOWN)}")
        if not _fits(wanted, value):
            raise ConfigurationError(f"profile {name}: {key} must be {_WORDS[wanted]}")
    return tables[name]


def profiles(path: Path) -> dict[str, dict[str, Any]]:
    """Return all profiles by name.

    Args:
        path: The file; none there means no profiles.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return {name: cast("dict[str, Any]", table) for name, table in content.items() if isinstance(table, dict)}


_WORDS: Final[dict[Kind, str]] = {
    "text": "a text",
    "seconds": "a number of seconds",
    "yes or no": "true or false",
    "table": "a table of texts",
}


def _fits(kind: Kind, value: Any) -> bool:
    if kind == "table":
        return isinstance(value, dict) and all(isinstance(item, str) for item in cast("dict[str, Any]", value).values())
    if kind == "seconds":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool if kind == "yes or no" else str)


def resolve(
    options: Mapping[str, Any], environ: Mapping[str, str], named_profile: str | None, path: Path
) -> dict[str, Setting]:
    """Return every setting that is made somewhere: options win, then a profile that was named, then the environment.

    A profile that only the environment names (CAMARA_PROFILE) comes last.

    Args:
        options: What the command line gave; None is nothing.
        environ: The environment.
        named_profile: The profile that the command line named.
        path: The file of profiles.

    Raises:
        ConfigurationError: A profile is missing or wrong, or a variable is.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("option", {name: value for name, value in options.items() if value is not None}),
        ("environment", _from_environment(environ)),
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
            fits = name not in CREDENTIALS or with_credentials is None or source in (with_credentials, "option")
            if name not in found and fits:
                found[name] = Setting(value, source)
    return found


# Who has one of these has a credential of its own.
_PROOFS: Final = ("token", "token_file", "client_secret", "client_secret_file", "private_key_file")


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, known in KNOWN.items():
        text = environ.get(known.variable) if known.variable else None
        if not text:
            continue
        values[name] = text
        if known.kind == "seconds":
            try:
                values[name] = float(text)
            except ValueError:
                raise ConfigurationError(f"{known.variable}: must be {_WORDS[known.kind]}") from None
    return values


def token_source(settings: Mapping[str, Setting]) -> "str | TokenProvider":
    """Return the token, or what fetches one.

    Args:
        settings: The settings.

    Raises:
        ConfigurationError: There is none; the text says how to give one.
    """
    if "token" in settings:
        return str(settings["token"].value)
    if "token_file" in settings:
        return secret_in(Path(settings["token_file"].value), "token_file")
    if "client_id" in settings:
        return provider(settings)
    if any(name in settings for name in _PROOFS):
        raise ConfigurationError("client_id: is missing; client credentials need it: CAMARA_CLIENT_ID, or a profile")
    raise ConfigurationError(
        "token: is missing; set CAMARA_BEARER_TOKEN, give --token-file or --token-stdin, or set up client credentials"
    )


def provider(settings: Mapping[str, Setting], **more: Any) -> "TokenProvider":
    """Return what fetches tokens with client credentials.

    Args:
        settings: The settings.
        more: Further arguments for `ClientCredentials`.

    Raises:
        ConfigurationError: A setting is missing or wrong.
    """
    from camara_otp.auth import ClientCredentials  # noqa: PLC0415  (most calls have a token)

    values = {name: setting.value for name, setting in settings.items() if name in CREDENTIALS}
    files = {"client_secret_file": "client_secret", "private_key_file": "private_key"}
    for file, name in files.items():
        if file in values:
            values[name] = secret_in(Path(values.pop(file)), file)
    return ClientCredentials(**values, **more)


def secret_in(path: Path, name: str) -> str:
    """Return what a file holds, without the white space around it.

    Args:
        path: The file.
        name: The setting that names it.

    Raises:
        ConfigurationError: It cannot be read, or is empty.
    """
    file = expanded(path, name)
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name}: {path}: {getattr(error, 'strerror', None) or 'is not text'}") from None
    if not text:
        raise ConfigurationError(f"{name}: {path} is empty")
    return text


def client(settings: Mapping[str, Setting]) -> OTPClient:
    """Return a client.

    Args:
        settings: The settings.

    Raises:
        ConfigurationError: A setting is missing or wrong.
    """
    values = {name: settings[name].value for name in _CLIENT if name in settings}
    if settings.get("x_correlator", Setting(value=True, source="")).value is False:
        values["x_correlator"] = None
    if "base_url" not in settings:
        raise ConfigurationError("base_url: is missing; give --base-url, set CAMARA_BASE_URL, or name a --profile")
    return OTPClient(token=token_source(settings), **values)


_CLIENT: Final = ("base_url", "api_path", "timeout", "allow_http", "headers", "params")


def environment() -> Mapping[str, str]:
    """Return the environment."""
    return os.environ
