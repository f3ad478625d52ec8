"""The settings of a client: environment variables, profiles, files, and clients of other libraries."""

import os
import random
import traceback
import uuid
import warnings

import httpx
import pytest

from camara_otp import AsyncOTPClient, ConfigurationError, OTPClient
from camara_otp._environment import profiles_file, resolve
from camara_otp._settings import new_x_correlator
from camara_otp.cli.options import opened_client
from tests.conftest import BASE_URL

KINDS = [OTPClient, AsyncOTPClient]


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Return a function that sets variables, in an environment without any of this package."""
    for name in [name for name in os.environ if name.startswith("CAMARA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CAMARA_PROFILES", str(tmp_path / "profiles.toml"))

    def set_variables(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"CAMARA_{name}", value)

    return set_variables


def credentials(**more):
    """Return the variables of client credentials."""
    return {
        "BASE_URL": BASE_URL,
        "TOKEN_URL": "https://auth.example.com/token",
        "CLIENT_ID": "my-app",
        "CLIENT_SECRET": "s3cr3t",
    } | more


@pytest.mark.parametrize("kind", KINDS)
def test_from_env_reads_client_credentials(kind, environment):
    """With the path, the timeout and the scope."""
    environment(**credentials(API_PATH="/v1", TIMEOUT="3", SCOPE="a"))
    made = kind.from_env()

    assert repr(made) == f"{kind.__name__}({BASE_URL}/v1)"
    assert made._settings.timeout == 3.0
    assert repr(made._settings.provider) == ("ClientCredentials('https://auth.example.com/token', 'my-app', scope='a')")


@pytest.mark.parametrize("kind", KINDS)
def test_from_env_reads_a_profile_by_its_name(kind, environment, tmp_path):
    """The profile takes precedence over the environment; CAMARA_PROFILE comes last."""
    environment(BASE_URL=BASE_URL, BEARER_TOKEN="t")
    (tmp_path / "profiles.toml").write_text(
        '[one]\nbase_url = "https://one.example"\ntoken = "one"\nx_correlator = false\n', "utf-8-sig"
    )

    assert repr(kind.from_env("one")) == f"{kind.__name__}(https://one.example/otpvalidation)"
    assert kind.from_env("one")._settings.x_correlator is None
    assert repr(kind.from_env()) == f"{kind.__name__}({BASE_URL}/otpvalidation)"
    with pytest.raises(ConfigurationError, match="profile two: is not in"):
        kind.from_env("two")


def test_the_command_line_makes_the_same_client(environment, monkeypatch):
    """Both use one table of settings."""
    import os

    environment(**credentials())
    settings = resolve({}, os.environ, None, profiles_file(os.environ))

    assert repr(opened_client(settings)._settings.provider) == repr(OTPClient.from_env()._settings.provider)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "base_url: is missing; set CAMARA_BASE_URL.*token: is missing.*CAMARA_BEARER_TOKEN.*CAMARA_CLIENT_ID"),
        ({"BASE_URL": BASE_URL}, "^token: is missing.*CAMARA_BEARER_TOKEN.*--token-stdin.*CAMARA_CLIENT_ID"),
        ({"BEARER_TOKEN": "t"}, "base_url: is missing.*CAMARA_BASE_URL"),
        ({"BASE_URL": BASE_URL, "CLIENT_SECRET": "s3cr3t"}, "client_id: is missing.*CAMARA_CLIENT_ID"),
        (
            {"BASE_URL": BASE_URL, "CLIENT_ID": "id", "CLIENT_SECRET": "s3cr3t"},
            "token_url: is missing; set CAMARA_TOKEN_URL or CAMARA_ISSUER, or token_url or issuer in the profile",
        ),
        (
            {"BASE_URL": BASE_URL, "CLIENT_ID": "id", "TOKEN_URL": BASE_URL},
            "client_secret: is missing; set CAMARA_CLIENT_SECRET or CAMARA_PRIVATE_KEY, or",
        ),
        (
            {"BASE_URL": BASE_URL, "CLIENT_ID": "id", "TOKEN_URL": BASE_URL, "ISSUER": BASE_URL},
            "token_url: is set, and so is issuer; keep CAMARA_TOKEN_URL or CAMARA_ISSUER, or one",
        ),
        ({"BASE_URL": BASE_URL, "BEARER_TOKEN_FILE": "/no/such/file"}, "token_file: /no/such/file"),
        ({"BASE_URL": BASE_URL, "BEARER_TOKEN": "s3cr3t\n"}, "token: has"),
        ({"TIMEOUT": "soon"}, "CAMARA_TIMEOUT"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_from_env_names_the_setting_that_is_missing_or_wrong(kind, environment, variables, words):
    """Neither the message nor a frame has a secret."""
    environment(**variables)
    with pytest.raises(ConfigurationError, match=words) as caught:
        kind.from_env()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "s3cr3t" not in shown.replace(repr(variables), "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_without_a_token_names_from_env_where_credentials_are_set(kind, environment):
    """The constructor reads a token only."""
    environment(**credentials())

    with pytest.raises(ConfigurationError, match=r"^token: is missing.*from_env\(\)"):
        kind()


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_variable_counts_as_unset(kind, environment):
    """Compose files and CI systems set empty variables."""
    environment(BASE_URL=BASE_URL, BEARER_TOKEN="t", API_PATH="", TIMEOUT="", CLIENT_ID="", TOKEN_URL="", PROFILE="")

    assert repr(kind()) == repr(kind.from_env()) == f"{kind.__name__}({BASE_URL}/otpvalidation)"
    environment(BEARER_TOKEN="")
    with pytest.raises(ConfigurationError, match="token: is missing"):
        kind()


@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_order_mark_is_dropped(kind, environment, tmp_path):
    """From variables and from files."""
    (tmp_path / "token").write_text(" t0ken\n", "utf-8-sig")
    environment(BASE_URL=f"\ufeff{BASE_URL}", BEARER_TOKEN="\ufefft0ken")

    assert kind()._settings.provider.get_token(rejected=None, timeout=1) == "t0ken"
    environment(BEARER_TOKEN="", BEARER_TOKEN_FILE=str(tmp_path / "token"))
    assert kind.from_env()._settings.provider.get_token(rejected=None, timeout=1) == "t0ken"


@pytest.mark.parametrize("kind", KINDS)
def test_a_warning_names_the_callers_line(kind, environment):
    """For the constructor and for `from_env`."""
    environment(BASE_URL="http://op.example", BEARER_TOKEN="t")
    with pytest.warns(UserWarning, match="plain http") as caught:
        kind(allow_http=True)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", KINDS)
def test_a_warning_that_is_an_error_leaves_no_secret_in_a_frame(kind):
    """Under `-W error` the constructor raises it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="plain http") as caught:
            kind("http://op.example", token="s3cr3t", allow_http=True)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())

    assert "s3cr3t" not in shown.replace('token="s3cr3t"', "")


class AddsTokenInRequest(httpx.Client):
    """A client that adds its token like Authlib's OAuth2Client."""

    def request(self, method, url, **options):
        return super().request(method, url, auth=("user", "token"), **options)


def test_a_client_that_adds_its_token_in_request_is_refused():
    """This package calls `send`, so the token would not be added."""
    with AddsTokenInRequest() as http_client:
        with pytest.raises(ConfigurationError, match=r"token: is None.*AddsTokenInRequest.*token=lambda"):
            OTPClient(BASE_URL, token=None, http_client=http_client)
        OTPClient(BASE_URL, token="t", http_client=http_client).close()
    with AddsTokenInRequest(auth=("user", "password")) as http_client:
        OTPClient(BASE_URL, token=None, http_client=http_client).close()


@pytest.mark.parametrize(("kind", "name"), [(OTPClient, "OAuth2Client"), (AsyncOTPClient, "AsyncOAuth2Client")])
@pytest.mark.filterwarnings("ignore")
def test_a_client_of_authlib_is_refused(kind, name):
    """The real class, with the remedy."""
    authlib = pytest.importorskip("authlib.integrations.httpx_client")
    http_client = getattr(authlib, name)("id", "secret", token_endpoint="https://auth.example.com/token")

    with pytest.raises(ConfigurationError, match=f"token: is None.*{name}"):
        kind(BASE_URL, token=None, http_client=http_client)


def test_a_parameter_of_none_is_refused():
    """It would be sent as the string None."""
    with pytest.raises(ConfigurationError, match="^params: "):
        OTPClient(BASE_URL, token="t", params={"a": None})


# Observers of calls.


def test_on_call_is_told_about_each_call(shell):
    """One function or several, after the call has ended, with a complete record."""
    records, more = [], []
    client = shell.mocked(lambda _: httpx.Response(204), on_call=[records.append, more.append])
    client.validate_code("id", "1234")

    [record] = records
    assert more == records
    assert (record.operation, record.attempts, record.status, record.error) == ("validate_code", 1, 204, None)
    assert record.server == "api.example.com:443"
    assert record.x_correlator
    client.client.on_call.clear()
    client.validate_code("id", "1234")
    assert len(records) == 1


def test_an_observer_that_raises_changes_nothing(shell, caplog):
    """Its error is logged, and the others are called."""
    records = []

    def broken(record):
        raise ValueError("s3cr3t")

    client = shell.mocked(lambda _: httpx.Response(204), on_call=[records.append, broken])
    client.validate_code("id", "1234")

    assert len(records) == 1
    assert "ValueError" in caplog.text
    assert "s3cr3t" not in caplog.text


async def asynchronous(record):
    """Take a record."""


@pytest.mark.parametrize("on_call", [5, "text", [5], asynchronous, [asynchronous]])
@pytest.mark.parametrize("kind", KINDS)
def test_an_observer_that_cannot_be_called_is_refused(kind, on_call):
    """The error comes before the first call."""
    with pytest.raises(ConfigurationError, match="^on_call: "):
        kind(BASE_URL, token="t", on_call=on_call)


def test_a_caller_that_seeds_the_random_module_gets_no_correlator_twice():
    """Notebooks and test suites seed it, so that their own numbers repeat."""
    random.seed(0)
    first = new_x_correlator()
    random.seed(0)

    assert new_x_correlator() != first
    assert uuid.UUID(first).version == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_makes_correlators_of_its_own():
    """A pre-forking server must not give the calls of two workers the same correlator."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 and newer, if another test left a thread
        child = os.fork()
    if child == 0:
        try:
            os.write(writer, new_x_correlator().encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        theirs = pipe.read()

    assert uuid.UUID(theirs).version == 4
    assert theirs != new_x_correlator()
