"""The settings of the command line: read as `OTPClient.from_env` reads them, named in the words of its options."""

import os
from collections.abc import Mapping

from camara_otp import ConfigurationError, OTPClient, TokenProvider, _environment
from camara_otp._environment import (
    DEFAULT_MESSAGE,
    SETTINGS,
    Setting,
    arguments_for,
    client_credentials,
    expanded,
    home,
    profile,
    profiles,
    profiles_file,
    resolve,
)

__all__ = [
    "DEFAULT_MESSAGE",
    "SETTINGS",
    "Setting",
    "client",
    "client_credentials",
    "environment",
    "expanded",
    "home",
    "profile",
    "profiles",
    "profiles_file",
    "resolve",
    "token_source",
]


def environment() -> Mapping[str, str]:
    """Return the environment."""
    return os.environ


def client(settings: Mapping[str, Setting]) -> OTPClient:
    """Return a client for these settings.

    Raises:
        ConfigurationError: a setting is missing or wrong; the message names it and the remedy.
    """
    if "base_url" not in settings:
        raise ConfigurationError("base_url: is missing; give --base-url, set CAMARA_BASE_URL, or name a --profile")
    return OTPClient(**arguments_for(settings, token_source(settings)))


def token_source(settings: Mapping[str, Setting]) -> str | TokenProvider:
    """Return the token, or the provider that fetches one.

    Raises:
        ConfigurationError: there is none; the text names the settings and options that give one.
    """
    if not _environment.has_token(settings):
        raise ConfigurationError(
            "token: is missing; set CAMARA_BEARER_TOKEN, give --token-file or --token-stdin, or set up client "
            "credentials"
        )
    return _environment.token_or_provider(settings)
