"""SandboxOptions: limits, sources, and precedence."""

import inspect
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import httpx
import pytest

from camara_otp.sandbox import Config, Fault, Sandbox
from camara_otp.sandbox.config import DIALECTS, SandboxOptions
from camara_otp.sandbox.load import SETTINGS, load
from tests.sandbox.conftest import CAMARA, MESSAGE, PHONE, Caller, outcome


def caller(layout: str = CAMARA, **settings: Any) -> Caller:
    """Return a caller of a sandbox in process."""
    sandbox = Sandbox(**settings)
    return Caller(sandbox, httpx.Client(transport=sandbox.transport(), base_url="https://a.test"), layout)


def test_keyword_arguments_are_the_fields() -> None:
    """A type checker accepts exactly the arguments that the configuration has."""
    assert set(SandboxOptions.__annotations__) == {field.name for field in attrs.fields(Config)}
    assert {*SETTINGS, "faults"} - {"dialect"} == set(SandboxOptions.__annotations__)


def test_every_field_is_described() -> None:
    """The command line prints a description of each field."""
    for field in attrs.fields(Config):
        assert f"\n    {field.name}: " in (inspect.getdoc(Config) or "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"release": "3.0.0"},
        {"code_length": 11},
        {"code_length": True},
        {"code_length": 6.0},
        {"code_alphabet": ""},
        {"code_alphabet": "\n"},
        {"code_lifetime": 0},
        {"code_lifetime": float("nan")},
        {"code_lifetime": "300"},
        {"max_send": 0},
        {"max_message_length": 161},
        {"tokens": "one"},
        {"tokens": 5},
        {"expired_tokens": [1]},
        {"forbidden_tokens": [["one"]]},
        {"invalid_tokens": None},
        {"blocked_numbers": "+34600000002"},
        {"blocked_numbers": [34600000002]},
        {"foreign_numbers": ["+34 600 000 002"]},
        {"api_paths": 5},
        {"api_paths": [5]},
        {"api_paths": "/one"},
        {"api_paths": []},
        {"api_paths": ["one"]},
        {"api_paths": ["/_sandbox/x"]},
        {"correlator": "yes"},
        {"error_form": "xml"},
        {"unknown_id": "WHATEVER"},
        {"validated_status": 201},
        {"seed": "x"},
        {"seed": True},
        {"dialect": "klingon"},
        {"dialect": []},
    ],
)
def test_limits(wrong: dict[str, Any]) -> None:
    """A setting out of its limits is refused by name."""
    [name] = wrong
    with pytest.raises(ValueError, match=name):
        Sandbox(**wrong)


def test_numbers_may_come_without_plus() -> None:
    """Both forms are the same phone."""
    answer = caller(blocked_numbers=["34600000009"]).send("+34600000009")
    assert outcome(answer) == (403, "PHONE_NUMBER_BLOCKED")


def test_a_fault_finds_a_number_without_plus() -> None:
    """The fault or, if the release allows it, the request leaves out the plus sign."""
    calling = caller(release="0.5.0", faults=[Fault(code="INTERNAL", phone_number="34600000009")])
    assert [calling.send(number).status_code for number in ("+34600000009", "34600000009", PHONE)] == [500, 500, 200]


def test_operations_at_the_root() -> None:
    """The path between root and operation may be empty."""
    calling = caller("", api_paths=["/"])
    assert calling.check(calling.sent(), calling.code()).status_code == 204


def test_arguments_change_a_configuration() -> None:
    """Single settings can be changed in addition to a configuration."""
    sandbox = Sandbox(Config(max_try=5, max_send=9), max_send=7)
    assert (sandbox.config.max_try, sandbox.config.max_send) == (5, 7)


def test_an_unknown_setting_names_the_class() -> None:
    with pytest.raises(TypeError, match=r"^Sandbox\(\) got an unexpected keyword argument 'max_sends'$"):
        Sandbox(max_sends=3)  # type: ignore[call-arg]


def test_repr_of_a_sandbox() -> None:
    """It shows the release, the number of requests, and no secret."""
    asking = caller(release="1.1.1", tokens=["real-token"])
    asking.send()
    assert repr(asking.sandbox) == "Sandbox(release='1.1.1', calls=1)"


def test_secrets_stay_out_of_repr() -> None:
    """A repr shows neither tokens, numbers nor the seed."""
    config = Config(tokens=["real-token"], seed=424242)
    assert not any(secret in repr(config) for secret in ("real-token", "424242", "+34600000001"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with settings and faults."""
    path = tmp_path / "sandbox.toml"
    path.write_text(
        """
        dialect = "camarasim"
        max_send = 9
        max_try = 9
        tokens = ["a", "b"]
        [[faults]]
        code = "TOO_MANY_REQUESTS"
        retry_after = 3
        times = 1
        """,
        "utf-8",
    )
    return path


def test_precedence(file: Path) -> None:
    """Dialect, file, environment and arguments, in this order; the last one wins."""
    environ = {"CAMARA_SANDBOX_CONFIG": str(file), "CAMARA_SANDBOX_MAX_TRY": "8", "CAMARA_SANDBOX_MAX_SEND": "8"}
    config = load(environ=environ, max_send=7)
    assert config.unknown_id == "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED"
    assert (config.max_send, config.max_try, config.tokens) == (7, 8, {"a", "b"})
    assert config.faults == (Fault(code="TOO_MANY_REQUESTS", retry_after=3, times=1),)
    assert load(file, {}, dialect="camara").unknown_id == "NOT_FOUND"


def test_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment, the environment of the process counts; a sandbox created in a test ignores it."""
    monkeypatch.setenv("CAMARA_SANDBOX_CODE_LENGTH", "4")
    assert load().code_length == 4
    assert Sandbox().config.code_length == 6


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("code_length", "4", 4),
        ("code_lifetime", "0.5", 0.5),
        ("release", "1.0.0", "1.0.0"),
        ("correlator", "No", False),
        ("correlator", "true", True),
        ("tokens", "a, b,", {"a", "b"}),
        ("blocked_numbers", ",", frozenset()),
        ("api_paths", "/v1/otp/,/x", ("/v1/otp", "/x")),
        ("seed", "5", 5),
        ("code_alphabet", "ABC", "ABC"),
    ],
)
def test_environment(name: str, text: str, value: object) -> None:
    """Every kind of setting can be written as a string."""
    assert getattr(load(environ={f"CAMARA_SANDBOX_{name.upper()}": text}), name) == value


def test_empty_variables_count_as_unset(tmp_path: Path) -> None:
    """A variable with spaces counts as unset too; the value of a file stays."""
    file = tmp_path / "sandbox.toml"
    file.write_text("max_try = 7\n", "utf-8")
    names = [f"CAMARA_SANDBOX_{name.upper()}" for name in (*SETTINGS, "config", "host", "port")]

    assert load(environ=dict.fromkeys(names, "")) == Config()
    assert load(file, dict.fromkeys(names, " ")) == Config(max_try=7)


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        ({"CAMARA_SANDBOX_MAX_TRY": "many"}, "max_try: must be a whole number, not 'many'"),
        ({"CAMARA_SANDBOX_CODE_LIFETIME": "long"}, "code_lifetime: must be a number, not 'long'"),
        ({"CAMARA_SANDBOX_CORRELATOR": "perhaps"}, "correlator"),
        ({"CAMARA_SANDBOX_DIALECT": "klingon"}, "dialect"),
    ],
)
def test_unreadable_environment(environ: dict[str, str], hint: str) -> None:
    """A string that is not of the setting's kind is refused by the setting's name."""
    with pytest.raises(ValueError, match=hint):
        load(environ=environ)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("max_sends = 3", "max_sends"),
        ("max_send = ", "TOML"),
        ("faults = 3", "faults"),
        ("faults = [3]", "faults"),
        ("[[faults]]\ncolour = 'red'", "colour"),
        ("[[faults]]\ntimes = 1", "needs"),
        ("tokens = 5", "tokens: must be a list of strings"),
        ("blocked_numbers = [34600000002]", "blocked_numbers: must be a list of strings"),
        ("correlator = 'no'", "correlator: must be true or false"),
        ("dialect = []", "dialect"),
    ],
)
def test_wrong_file(tmp_path: Path, text: str, hint: str) -> None:
    """An invalid file is refused with the reason."""
    path = tmp_path / "wrong.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=hint):
        load(path, {})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_serve_the_flow(dialect: str) -> None:
    """In every dialect a code can be sent and checked, on the paths of the dialect."""
    sandbox = Sandbox(dialect=dialect)
    with httpx.Client(transport=sandbox.transport(), base_url="https://a.test") as http:
        someone = Caller(sandbox, http, sandbox.config.api_paths[0])
        authentication_id = someone.sent()
        answer = someone.check(authentication_id, someone.code())
        assert answer.status_code == sandbox.config.validated_status
        assert ("x-correlator" in answer.headers) == sandbox.config.correlator


def test_dialect_settings_can_be_overridden() -> None:
    """A dialect is a set of defaults."""
    assert Sandbox(dialect="omantel", release="1.1.1").config.release == "1.1.1"


@pytest.mark.parametrize(
    ("form", "content_type"),
    [("html", "text/html"), ("empty", None), ("nested", "application/json")],
)
def test_error_forms(form: Any, content_type: str | None) -> None:
    """Errors can have the form of gateways."""
    answer = caller(error_form=form).send(token=None)
    assert answer.status_code == 401
    assert answer.headers.get("content-type") == content_type
    if form == "nested":
        assert answer.json()["detail"]["code"] == "UNAUTHENTICATED"


def test_old_release_takes_a_number_without_plus() -> None:
    """In release 0.5.0 the plus sign is optional; both forms are the same phone."""
    someone = caller(release="0.5.0")
    someone.sent(PHONE[1:])
    assert [message.phone_number for message in someone.sandbox.messages(PHONE)] == [PHONE]
    assert outcome(caller().send(PHONE[1:])) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("release", "correlator", "accepted"),
    [
        ("0.5.0", "anything goes, as it seems", True),
        ("1.0.0", "x" * 300, True),
        ("1.1.0", "a-z" * 18, True),
        ("1.1.0", "x" * 56, False),
        ("1.1.0", "a_b", False),
        ("1.1.1", "a_b:;./<>{}-", True),
        ("1.1.1", "x" * 257, False),
        ("1.1.1", "not this", False),
        ("2.0.0", "x" * 256, True),
    ],
)
def test_correlator_rules(release: Any, correlator: str, accepted: bool) -> None:
    """A correlator that the release allows is echoed; any other is refused and not echoed."""
    answer = caller(release=release).send(headers={"x-correlator": correlator})
    assert answer.status_code == (200 if accepted else 400)
    assert (answer.headers["x-correlator"] == correlator) is accepted


def test_strict_release() -> None:
    """The coming release refuses undeclared properties and malformed ids, and has a new code for a foreign number."""
    someone = caller(release="2.0.0")
    body = {"phoneNumber": PHONE, "message": MESSAGE, "more": 1}
    assert outcome(someone.post("send-code", body)) == (400, "INVALID_ARGUMENT")
    assert outcome(someone.send("+447700900001")) == (404, "IDENTIFIER_NOT_FOUND")
    for malformed in ("", "a_b", "a b", "ab\n", "x" * 37):
        assert outcome(someone.check(malformed, "1")) == (400, "INVALID_ARGUMENT")
    assert outcome(someone.check("unknown", "1")) == (404, "NOT_FOUND")
    assert outcome(caller().post("send-code", body)) == (200, None)
    assert outcome(caller().check("", "1")) == outcome(caller().check("a_b", "1")) == (404, "NOT_FOUND")


def test_tokens() -> None:
    """Only the listed tokens are accepted; those without the scope get their own error."""
    someone = caller(tokens=["good", "weak"], forbidden_tokens=["weak"])
    assert outcome(someone.send(token="good")) == (200, None)
    assert outcome(someone.send(token="weak")) == (403, "PERMISSION_DENIED")
    assert outcome(someone.send(token="other")) == (401, "UNAUTHENTICATED")


def test_latency_is_added() -> None:
    """Every response takes the configured time, even beyond a read timeout."""
    someone = caller(latency=0.05)
    assert someone.send().elapsed.total_seconds() >= 0.05
    with pytest.raises(httpx.ReadTimeout):
        someone.send(timeout=0.01)
    assert someone.sandbox.sent_count == 2


def test_public_names_have_types() -> None:
    """The settings' types can be read at run time."""
    assert get_type_hints(SandboxOptions, localns={"Fault": Fault})["faults"]
