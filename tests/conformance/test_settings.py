"""The TOML file of a check: its settings and their errors."""

import pytest

from camara_otp.conformance import SettingsError, load_settings, settings_from

URL = "https://api.example.com/root/"


def test_a_whole_file_is_read(tmp_path, monkeypatch):
    """Secrets may come from the environment."""
    monkeypatch.setenv("OLD_TOKEN", "expired-s3cret")
    file = tmp_path / "operator.toml"
    file.write_text(
        f"""
        base_url = "{URL}"
        api_path = "/v1/otp"
        release = "1.1.0"
        message = "{{{{code}}}} for you"
        max_texts = 5
        [numbers]
        reachable = "+34600000100"
        landline = "+34910000001"
        [limits]
        max_send = 5
        code_lifetime = 120
        [tokens]
        expired_env = "OLD_TOKEN"
        invalid_env = "NOT_SET"
        [read]
        how = "command"
        command = ["read-sms", "{{phone_number}}"]
        pattern = "code ([0-9]+)"
        [expire]
        how = "wait"
        [headers]
        x-sender = "shop"
        """,
        "utf-8",
    )

    settings = load_settings(file, release="1.1.1", api_path=None)

    assert settings.root == "https://api.example.com/root"
    assert (settings.release, settings.api_path) == ("1.1.1", "/v1/otp")
    assert settings.numbers.reachable == ("+34600000100",)
    assert settings.tokens.expired == "expired-s3cret"
    assert "s3cret" not in repr(settings)
    assert "+34600000100" not in repr(settings)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"base_url": ""}, "base_url: must be an http or https address"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"base_url": "http://["}, "base_url"),
        ({"base_url": "http://x:0"}, "base_url"),
        ({"base_url": "http://x:99999"}, "base_url"),
        ({"base_url": "http://x y"}, "base_url"),
        ({"expire": {"how": "http", "url": "http://x", "body": "{}"}}, "expire.body: must be a table"),
        ({"base_url": "https://u:p@x"}, "base_url"),
        ({"base_url": "https://x?key=1"}, "base_url"),
        ({"api_path": "v1"}, "api_path: must start with a slash"),
        ({"release": "2.0.0"}, "release: must be one of 1.0.0, 1.1.0, 1.1.1"),
        ({"numbers": {"reachable": ["34600000000"]}}, "numbers.reachable: must be in international form"),
        ({"numbers": {"landline": 34}}, "numbers.landline"),
        ({"numbers": {"landlines": "+34600000000"}}, "numbers.landlines: is unknown; there are reachable"),
        ({"numbers": 3}, "numbers: must be a table"),
        ({"limits": {"max_send": 0}}, "limits.max_send: must be a whole number of at least 1"),
        ({"limits": {"max_try": 2.5}}, "limits.max_try: must be a whole number"),
        ({"limits": {"max_try": True}}, "limits.max_try"),
        ({"limits": {"code_lifetime": float("nan")}}, "limits.code_lifetime: must be a number"),
        ({"tokens": {"expired": ""}}, "tokens.expired: must be a string"),
        ({"read": {}}, "read.how: is missing"),
        ({"read": {"how": "guess"}}, "read.how: must be one of ask, wait, http, command"),
        ({"read": {"how": "wait"}}, "read: how must be one of ask, http, command"),
        ({"read": {"how": "http"}}, "read.url: is missing"),
        ({"read": {"how": "command"}}, "read.command: is missing"),
        ({"read": {"how": "ask", "pattern": "("}}, "read.pattern"),
        ({"read": {"how": "ask", "pattern": "x"}}, "exactly one group"),
        ({"read": {"how": "ask", "headers": {"a": 1}}}, "read.headers: must be a table of strings"),
        ({"expire": {"how": "ask"}}, "expire: how must be one of wait, http, command"),
        ({"reset": {"how": "wait"}}, "reset: how must be one of http, command"),
        ({"message": "no label"}, "message: must contain {{code}}"),
        ({"headers": ["a"]}, "headers: must be a table of strings"),
        ({"sms": "no"}, "sms: must be one of True, False"),
        ({"speed": 1}, "speed: is unknown"),
    ],
)
def test_what_is_wrong_is_named(table, words):
    """The message contains the setting and its rule."""
    with pytest.raises(SettingsError) as caught:
        settings_from({"base_url": URL, **table})

    assert words in str(caught.value)


def test_an_operator_has_to_be_named():
    """The setting base_url has no default."""
    with pytest.raises(SettingsError, match="base_url: is missing"):
        settings_from({})


@pytest.mark.parametrize("content", [None, b"[", b"\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    """It is missing, is not TOML, or is not text."""
    file = tmp_path / "operator.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError, match=r"operator\.toml"):
        load_settings(file)
