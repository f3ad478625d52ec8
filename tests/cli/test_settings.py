"""The sources of settings, their precedence, and the masking of secrets."""

import json
import os
import re
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from camara_otp import errors
from camara_otp._environment import profiles_file
from camara_otp.cli import recent_sends
from camara_otp.cli.app import app
from camara_otp.cli.console import in_cli_words
from camara_otp.cli.exit_codes import Exit
from camara_otp.cli.token import describe_token
from tests.cli.conftest import TOKEN

NUMBER = "+346661113334"


def shown(cli, *arguments):
    """Return the settings with their sources."""
    rows = cli("config", "--json", *arguments).json["settings"]
    return {row["setting"]: (row["value"], row["source"]) for row in rows if row["source"]}


def test_a_profile_holds_an_operator(cli, profiles, url, sandbox, tmp_path):
    """It has the URL, the path, the token and the message."""
    (tmp_path / "token").write_text(f"{TOKEN}\n", "utf-8")
    profiles(
        f'[local]\nbase_url = "{url}"\napi_path = "/one-time-password-sms/v1"\ntoken_file = "{tmp_path}/token"\n'
        'message = "{{code}} from the profile"\nx_correlator = false\ntimeout = 5\nparams = { key = "v" }\n'
    )

    ran = cli("send", "--profile", "local", NUMBER)

    assert ran.code == 0
    assert sandbox.messages()[0].text.endswith(" from the profile")


def test_options_win_over_a_named_profile_over_the_environment(cli, profiles, monkeypatch):
    """A profile that the environment names comes last."""
    profiles(
        '[one]\nbase_url = "https://one.example"\ntimeout = 1\n[two]\nbase_url = "https://two.example"\nscope = "s"\n'
    )
    monkeypatch.setenv("CAMARA_BASE_URL", "https://environment.example")
    monkeypatch.setenv("CAMARA_TIMEOUT", "9")
    monkeypatch.setenv("CAMARA_PROFILE", "two")

    assert shown(cli)["base_url"] == ("https://environment.example", "environment")
    assert shown(cli)["timeout"] == (9.0, "environment")
    assert shown(cli, "--profile", "one")["base_url"] == ("https://one.example", "profile one")
    assert shown(cli, "--profile", "one")["timeout"] == (1, "profile one")
    monkeypatch.delenv("CAMARA_BASE_URL")
    assert shown(cli)["base_url"] == ("https://two.example", "profile two")


def test_credentials_come_from_one_place(cli, profiles, monkeypatch):
    """A secret from the environment is never combined with the client id or the token of a profile."""
    profiles('[one]\ntoken_file = "/one"\n[two]\nclient_id = "two"\ntoken_url = "https://two.example/token"\n')
    monkeypatch.setenv("CAMARA_CLIENT_ID", "environment")
    monkeypatch.setenv("CAMARA_CLIENT_SECRET", "s3cret-of-the-environment")

    assert set(shown(cli, "--profile", "one")) == {"token_file"}
    assert set(shown(cli)) == {"client_id", "client_secret"}


@pytest.mark.parametrize("name", ["BEARER_TOKEN", "BEARER_TOKEN_FILE"])
def test_a_token_that_wins_over_client_credentials_is_named(cli, monkeypatch, url, tmp_path, name):
    """It may be forgotten, and have expired; scripts that ask for JSON get nothing else."""
    (tmp_path / "token").write_text(TOKEN, "utf-8")
    monkeypatch.setenv("CAMARA_BASE_URL", url)
    monkeypatch.setenv("CAMARA_CLIENT_ID", "an-id")
    monkeypatch.setenv("CAMARA_CLIENT_SECRET", "s3cret")
    assert "wins over" not in cli("config").err
    monkeypatch.setenv(f"CAMARA_{name}", TOKEN if name == "BEARER_TOKEN" else str(tmp_path / "token"))

    for command in (["send", NUMBER], ["token"], ["check", "--no-sms", "--dry-run"], ["config"]):
        ran = cli(*command)
        assert ran.code == Exit.DONE
        assert ran.err.count(f"! CAMARA_{name} wins over CAMARA_CLIENT_ID: unset one of them.\n") == 1
        assert "wins over" not in ran.out
    lines = [line.replace("\u2502", " ").split() for line in ran.out.splitlines()]
    unused = {line[0] for line in lines if line[2:5] == ["environment,", "not", "used"]}
    assert unused == {"client_id", "client_secret"}
    ran = cli("config", "--json")
    assert ran.err == ""
    assert {row["setting"] for row in ran.json["settings"] if row["source"] and not row["used"]} == unused


def test_a_token_of_an_option_wins_without_a_word(cli, monkeypatch):
    """It was given on purpose."""
    monkeypatch.setenv("CAMARA_CLIENT_ID", "an-id")
    monkeypatch.setenv("CAMARA_CLIENT_SECRET", "s3cret")

    assert cli("token", "--insecure-token-argument", TOKEN).err == ""


def test_config_shows_what_holds_where_nothing_is_set(cli, monkeypatch):
    """Defaults are shown as they are used."""
    monkeypatch.setenv("CAMARA_API_PATH", "/x")
    rows = {row["setting"]: row for row in cli("config", "--json").json["settings"]}
    assert (rows["message"]["value"], rows["message"]["default"]) == (None, "{{code}} is your code")
    assert (rows["api_path"]["value"], rows["api_path"]["default"]) == ("/x", "/otpvalidation")

    lines = [line.split() for line in cli("config").out.replace("\u2502", " ").splitlines()]
    assert [line[1:3] for line in lines if line[:1] == ["timeout"]] == [["10.0", "default"]]
    assert [line[1:3] for line in lines if line[:1] == ["api_path"]] == [["/x", "environment"]]


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_config_shows_values_in_a_window_of_any_width(cli, monkeypatch, width):
    """Other columns are left out first."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("CAMARA_API_PATH", "/x")

    out = cli("config").out

    assert "/x" in out
    assert "client_secret_file" in out
    assert ("CAMARA_BEARER_TOKEN_FILE" in out, "access token" in out) == (width >= 80, width >= 110)


def test_a_secret_without_an_id_misses_the_id(cli, monkeypatch, url):
    """The message names the client id, not the token."""
    monkeypatch.setenv("CAMARA_BASE_URL", url)
    monkeypatch.setenv("CAMARA_CLIENT_SECRET", "s3cret")

    assert "client_id: is missing" in cli("send", NUMBER).err


def test_an_id_without_a_secret_misses_the_secret(cli, monkeypatch, url):
    """The message names the id, not the token."""
    monkeypatch.setenv("CAMARA_BASE_URL", url)
    monkeypatch.setenv("CAMARA_TOKEN_URL", f"{url}/oauth2/token")
    monkeypatch.setenv("CAMARA_CLIENT_ID", "an-id")

    assert "client_secret" in cli("send", NUMBER).err
    assert shown(cli)["client_id"] == ("an-id", "environment")


def test_config_shows_no_secret(cli, profiles, monkeypatch):
    """Neither in the table, nor in JSON, nor in a URL."""
    path = profiles(
        '[one]\nclient_secret = "s3cret-1"\nheaders = { x-key = "s3cret-2" }\n'
        'base_url = "https://me:s3/cret-4@one.example/x"\ntoken_url = "https://me:s3cret@5@one.example"\n'
    )
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", "s3cret-3")

    for arguments in ([], ["--json"], ["--profile", "one"], ["--profile", "one", "--json"]):
        ran = cli("config", *arguments)
        assert ran.code == 0
        assert "s3cret" not in ran.out + ran.err
        assert "cret-4" not in ran.out + ran.err
        assert str(path) in ran.out
    assert shown(cli, "--profile", "one")["headers"] == ({"x-key": "***"}, "profile one")
    assert shown(cli, "--profile", "one")["base_url"] == ("https://***@one.example/x", "profile one")


def test_config_shows_no_key_in_a_query(cli, profiles):
    """Some gateways take their key in the query of the token endpoint, or as a parameter."""
    profiles(
        '[p]\ntoken_url = "https://one.example/token?key=s3cret"\nclient_id = "i"\nclient_secret = "s"\n'
        'params = { key = "s3cret" }\n'
    )

    assert shown(cli, "--profile", "p")["token_url"] == ("https://one.example/token?***", "profile p")
    assert shown(cli, "--profile", "p")["params"] == ({"key": "***"}, "profile p")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[p]\nbase_urk = ''\n", "base_urk is unknown"),
        ("[p]\nbase_url = 3\n", "base_url must be a string"),
        ("[p]\ntimeout = '3'\n", "timeout must be a number of seconds"),
        ("[p]\nx_correlator = 'no'\n", "x_correlator must be true or false"),
        ("[p]\nheaders = { a = 1 }\n", "headers must be a table of strings"),
        ("[p\n", "profiles.toml"),
    ],
)
def test_a_wrong_profile_is_refused_by_name(cli, profiles, text, words):
    """The message names the problem."""
    profiles(text)

    ran = cli("send", "--profile", "p", NUMBER)

    assert ran.code == Exit.USAGE
    assert words in ran.err


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_config_names_a_file_of_profiles_that_cannot_be_read(cli, profiles, as_json):
    """It does so without `--profile` too."""
    profiles("[p\n")

    ran = cli("config", *as_json)

    assert (ran.code, "profiles.toml" in ran.out + ran.err) == (Exit.USAGE, True)
    assert "setting" not in ran.out


@pytest.mark.parametrize(("command", "setting"), [("send", "token_file"), ("check", "check")])
def test_a_home_folder_that_is_not_there_is_refused_by_name(cli, profiles, url, command, setting):
    profiles(f'[p]\nbase_url = "{url}"\n{setting} = "~nobody-of-this-name/x"\n')

    ran = cli(command, "--profile", "p", *([NUMBER] if command == "send" else []))

    assert ran.code == Exit.USAGE
    assert f"{setting}: ~nobody-of-this-name/x: there is no such home folder" in ran.err


def test_a_user_without_a_home_can_send(cli, ready, monkeypatch):
    """A container may run under a numeric user; there are no profiles then, and no log of sends."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.delenv(name)

    def homeless():
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)

    assert cli("send", NUMBER).code == Exit.DONE
    assert cli("config", "--json").json["profiles"] == []
    assert "there: none" in cli("send", "--profile", "p", NUMBER).err


def test_an_empty_name_is_no_profile(cli, ready, sandbox):
    """An unset variable must not select another operator."""
    assert cli("send", "--profile", "", NUMBER).code == Exit.USAGE
    assert sandbox.sent_count == 0


def test_a_wrong_variable_is_refused_by_name(cli, monkeypatch):
    """It is rejected like a wrong option."""
    monkeypatch.setenv("CAMARA_TIMEOUT", "soon")

    assert "CAMARA_TIMEOUT" in cli("config").err


class TestToken:
    """The access token: its sources, none of which shows it in the process list except by an explicit option."""

    @pytest.mark.parametrize(
        "arguments", [["--token-file", "{file}"], ["--token-stdin"], ["--insecure-token-argument", TOKEN]]
    )
    def test_it_is_taken_from_where_it_is(self, cli, sandbox, url, tmp_path, arguments):
        """A file, standard input, or an argument."""
        sandbox.reset()
        file = tmp_path / "token"
        file.write_text(f"  {TOKEN}\n", "utf-8")

        ran = cli(
            "send", "--base-url", url, *(part.format(file=file) for part in arguments), NUMBER, stdin=f"{TOKEN}\n"
        )

        assert ran.code == 0

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--token-file", "/does/not/exist"], "token_file: /does/not/exist"),
            (["--token-file", "{empty}"], "is empty"),
            (["--token-stdin"], "contains no token"),
            (["--token-stdin", "--insecure-token-argument", "x"], "give one of"),
        ],
    )
    def test_none_is_said(self, cli, url, tmp_path, arguments, words):
        """The error comes before anything is sent."""
        (tmp_path / "empty").write_text("\n", "utf-8")

        ran = cli("send", "--base-url", url, *(part.format(empty=tmp_path / "empty") for part in arguments), NUMBER)

        assert ran.code == Exit.USAGE
        assert words in ran.err.replace("\n", "")

    def test_there_is_no_option_for_it_that_looks_harmless(self, cli, url):
        assert cli("send", "--base-url", url, "--token", "x", NUMBER).code == 2

    @pytest.mark.parametrize("token", ["", "a b", "Bearer x", "\u00e9", "a\nb"])
    def test_what_is_no_token_is_not_described_as_one(self, cli, token):
        """It is rejected, as in the other commands."""
        ran = cli("token", "--insecure-token-argument", token)

        assert (ran.code, ran.out) == (Exit.USAGE, "")
        assert "token:" in ran.err

    def test_it_is_described_without_being_shown(self, cli, monkeypatch):
        """The output tells source, kind and lifetime."""
        monkeypatch.setenv("CAMARA_BEARER_TOKEN", TOKEN)

        ran = cli("token", "--json")

        assert ran.json["from"] == "environment"
        assert ran.json["characters"] == len(TOKEN)
        assert TOKEN not in cli("token").out + ran.out

    def test_it_is_fetched_with_client_credentials(self, cli, url, monkeypatch):
        """From the operator's token endpoint."""
        monkeypatch.setenv("CAMARA_TOKEN_URL", f"{url}/oauth2/token")
        monkeypatch.setenv("CAMARA_CLIENT_ID", "sandbox-client")
        monkeypatch.setenv("CAMARA_CLIENT_SECRET", "sandbox-secret")
        monkeypatch.setenv("CAMARA_BASE_URL", url)

        described = cli("token", "--json").json
        assert described["from"] == "client credentials"
        assert described["expiresInSeconds"] > 0
        assert cli("send", NUMBER).code == 0

    def test_a_refusal_has_its_own_exit_code(self, cli, url, monkeypatch):
        """No token: nothing was sent."""
        monkeypatch.setenv("CAMARA_TOKEN_URL", f"{url}/nowhere")
        monkeypatch.setenv("CAMARA_CLIENT_ID", "sandbox-client")
        monkeypatch.setenv("CAMARA_CLIENT_SECRET", "s3cret")
        monkeypatch.setenv("CAMARA_BASE_URL", url)

        for arguments in (["token"], ["send", NUMBER], ["check", "--yes"]):
            ran = cli(*arguments)
            assert ran.code == Exit.NO_TOKEN
            assert "s3cret" not in ran.err

    def test_a_file_may_hold_the_secret(self, cli, url, profiles, tmp_path):
        """The profile can then be shared."""
        (tmp_path / "secret").write_text("sandbox-secret\n", "utf-8")
        profiles(
            f'[p]\ntoken_url = "{url}/oauth2/token"\nclient_id = "sandbox-client"\n'
            f'client_secret_file = "{tmp_path}/secret"\n'
        )

        assert cli("token", "--profile", "p", "--json").json["from"] == "client credentials"


def jwt(claims):
    """Return a token that looks like a JWT."""
    body = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJh.{body}.c2ln"


def test_a_jwt_tells_its_claims_but_not_its_subject():
    """The subject may be a phone number."""
    described = describe_token(jwt({"iss": "https://operator.example", "sub": "tel:+34600000000", "exp": 10**10}))

    assert described["kind"] == "JWT"
    assert described["iss"] == "https://operator.example"
    assert described["expiresInSeconds"] > 0
    assert "600000000" not in str(described)


@pytest.mark.parametrize("expiry", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 400, "true", '"soon"', "null", "[]"])
def test_a_lifetime_that_is_none_is_left_out(expiry):
    """A claim may have any value."""
    body = urlsafe_b64encode(f'{{"iss": "x", "exp": {expiry}}}'.encode()).decode().rstrip("=")

    described = describe_token(f"eyJh.{body}.c2ln")

    assert (described["kind"], "expiresInSeconds" in described) == ("JWT", False)


def test_claims_are_shown_as_they_are(cli, url, monkeypatch):
    """Neither markup nor control characters take effect."""
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", jwt({"iss": "[red]x[/nothing]\x1b[2J", "aud": ["[a]"]}))

    ran = cli("token")

    assert ran.code == 0
    assert "[red]x[/nothing]" in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.!!.c", jwt([1]), "a." + "W1tb" * 30000 + ".c", "\ud800"])
def test_anything_else_is_opaque(token):
    """Two dots do not make a JWT."""
    assert describe_token(token)["kind"] == "opaque"


def every_class_of_errors():
    """Return the classes that the package defines."""
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.OTPError)]


class TestErrors:
    """The table of codes."""

    def test_all_codes_are_shown(self, cli):
        """With the remedy of each."""
        rows = cli("errors", "--json").json
        assert {"code", "class", "status", "cause", "remedy"} == set(rows[0])
        assert len(rows) > 30

    @pytest.mark.parametrize(
        "name", ["INVALID_OTP", "invalid_otp", "ONE_TIME_PASSWORD_SMS.INVALID_OTP", "InvalidOTPError", "invalid_o"]
    )
    def test_one_code_is_shown(self, cli, name):
        """Letter case and prefix do not matter."""
        assert "Ask the user to look at the SMS" in cli("errors", name).out
        assert len(cli("errors", name, "--json").json) == 1

    def test_a_status_and_a_beginning_show_several(self, cli):
        assert {row["status"] for row in cli("errors", "403", "--json").json} == {403}
        assert len(cli("errors", "verification", "--json").json) == 2

    @pytest.mark.parametrize(
        "kind",
        [
            errors.OutcomeUnknownError,
            errors.RequestNotSentError,
            errors.UnexpectedResponseError,
            errors.TokenError,
            errors.SendRefusedError,
            errors.ConfigurationError,
            errors.RequestValidationError,
        ],
    )
    def test_a_class_without_a_code_is_shown(self, cli, kind):
        name = kind.__name__
        shown = {"code": None, "class": name, "status": None, "cause": kind.cause, "remedy": kind.remedy}

        assert cli("errors", name, "--json").json == [shown]
        table = " ".join(cli("errors", name.lower()).out.split())
        assert (name in table, "None" in table, "`" in table) == (True, False, False)

    @pytest.mark.parametrize("kind", [*every_class_of_errors()])
    def test_causes_and_remedies_are_in_the_words_of_the_command_line(self, kind):
        """Users of the command line see no names of Python."""
        for text in (kind.cause, kind.remedy):
            shown = in_cli_words(text)
            assert not re.search("`|_|True|False|None|Policy", shown), shown
            assert shown[0].isupper()
            assert shown.endswith(".")

    def test_a_class_of_a_status_is_shown_with_its_status(self, cli):
        assert [row["status"] for row in cli("errors", "HTTP403Error", "--json").json] == [403]

    def test_an_unknown_code_is_refused(self, cli):
        """The exit code is that of a wrong option."""
        assert cli("errors", "NOPE").code == Exit.USAGE


def completions(*words):
    """Return the completions of the last word."""
    from click.shell_completion import ShellComplete

    found = ShellComplete(app, {}, "camara-otp", "").get_completions(list(words[:-1]), words[-1])
    return [each.value for each in found]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion_script(cli, shell):
    ran = cli("completion", shell)

    assert (ran.code, "_CAMARA_OTP_COMPLETE" in ran.out) == (0, True)


def test_a_shell_gets_completions():
    """As its completion script asks for them."""
    words = {"COMP_WORDS": "camara-otp con", "COMP_CWORD": "1", "_CAMARA_OTP_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "camara_otp"], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **words},
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "plain,config\n", "")


def test_an_empty_variable_asks_for_no_completions(cli, monkeypatch):
    """It counts as unset, as every other variable; a script otherwise gets the help and nothing is sent."""
    monkeypatch.setenv("_CAMARA_OTP_COMPLETE", "")
    ran = cli("errors", "INVALID_OTP")

    assert (ran.code, "INVALID_OTP" in ran.out) == (0, True)


@pytest.mark.parametrize("columns", ["0", "-1", "1", "99999999999999999999", "wide", "٣٠"])
def test_absurd_widths_fall_back(cli, monkeypatch, columns):
    """A width that fits no table counts as unset."""
    monkeypatch.setenv("COLUMNS", columns)

    assert "AUTHENTICATION_REQUIRED" in cli("errors").out
    assert "CAMARA_BASE_URL" in cli("config").out


def test_force_color_colors_and_never_animates(cli, ready, sandbox, monkeypatch):
    """A CI log shows colors, but spinners would fill it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    sent = cli("send", NUMBER)
    check = cli("check", ready, "--no-sms", "--yes")

    assert "\x1b[32m✓" in sent.err
    assert sent.out == sandbox.messages()[0].authentication_id + "\n"
    for sequence in ("\x1b[?25l", "\x1b[2K", "\x1b[1A", "\r"):
        assert sequence not in sent.err + check.err + check.out


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_of_profiles_that_others_can_write_is_refused(cli, profiles, ready, sandbox, monkeypatch, mode):
    """It could send the token to another host. A narrow terminal does not break the command."""
    monkeypatch.setenv("COLUMNS", "40")
    path = profiles("[p]\nmessage = '{{code}}'\n")
    path.chmod(mode)

    ran = cli("send", "--profile", "p", NUMBER)

    assert (
        ran.code,
        ran.err.endswith(f"✗ profiles file: other users can change it and redirect tokens; run: chmod go-w {path}\n"),
    ) == (Exit.USAGE, True)
    assert ran.err.count(str(path)) == 1
    assert sandbox.sent_count == 0


def test_names_complete(profiles):
    """Profiles and codes are completed; a broken file causes no output."""
    profiles("[orange]\n[omantel]\n[telefonica]\n")
    assert completions("config", "--profile", "o") == ["orange", "omantel"]
    assert completions("errors", "invalid_o") == ["INVALID_OTP"]
    profiles("[")
    assert completions("config", "--profile", "o") == []


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_files_are_where_the_platform_has_them(monkeypatch, platform):
    """They are in the folders of the user."""
    monkeypatch.setattr(sys, "platform", platform)

    assert profiles_file({}).parts[-2:] == ("camara-otp", "profiles.toml")
    assert recent_sends.log_file().parts[-2:] == ("camara-otp", "sends.json")
    assert profiles_file({"CAMARA_PROFILES": "/x/y.toml"}) == Path("/x/y.toml")


def test_help_lists_the_most_used_commands_first(cli):
    listed = cli("--help").out.partition("Commands:\n")[2].partition("\n\n")[0]

    assert [line.split()[0] for line in listed.splitlines()] == [
        *("verify", "send", "validate", "check", "errors", "token", "config", "sandbox", "completion")
    ]


def test_the_version_is_told(cli):
    """Bug reports need it."""
    assert cli("--version").out.startswith("camara-otp ")


def test_without_the_extra_it_says_what_to_install():
    """The message has no traceback."""
    program = (
        "import sys; sys.modules['click'] = None\nfrom camara_otp.cli import main\nsys.argv = ['camara-otp']\nmain()\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == ("camara-otp needs more packages for its command line: pip install 'camara-otp[cli]'")


def test_it_runs_as_a_module_and_is_plain_when_piped():
    """The output has no colors and no box-drawing characters."""
    done = subprocess.run(
        [sys.executable, "-m", "camara_otp", "errors", "NOT_FOUND"], capture_output=True, timeout=60, check=True
    )

    assert b"\x1b" not in done.stdout
    assert b"NOT_FOUND" in done.stdout


@pytest.mark.parametrize("command", [[], *([name] for name in app.commands)], ids=lambda command: "".join(command))
def test_help_is_the_same_without_docstrings(command):
    """`python -OO` removes docstrings."""
    plain, optimized = (
        subprocess.run(
            [sys.executable, *options, "-m", "camara_otp", *command, "--help"],
            capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        ).stdout
        for options in ([], ["-OO"])
    )  # fmt: skip

    assert plain.lower().startswith("usage: ")
    assert optimized == plain
