"""Every request gets a response that the published OpenAPI allows, and never an internal error."""

import base64
import json
import time
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS

from camara_otp.sandbox import Fault, Sandbox, authorization, control
from camara_otp.sandbox.spec import ERRORS
from tests.sandbox.conftest import CAMARA, MESSAGE, PHONE
from tests.sandbox.contract import assert_published
from tests.sandbox.openapi_facts import load

pytestmark = pytest.mark.long

RELEASES = ("1.0.0", "1.1.0", "1.1.1", "2.0.0")
bounded = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), database=None)

# Well-formed requests are refused for what is in them: a code is wrong, an id unknown. That is the API.
CHECKED = [check for check in CHECKS.get_all() if check.__name__ != "positive_data_acceptance"]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NEAR = st.fixed_dictionaries(
    {},
    optional={
        "phoneNumber": st.just(PHONE) | st.from_regex(r"\+?[0-9]{0,17}\n?") | JSON,
        "message": st.just(MESSAGE) | st.text().map("{{code}}".join) | JSON,
        "authenticationId": st.uuids().map(str) | JSON,
        "code": st.text(max_size=12) | JSON,
        "more": JSON,
    },
)
BODIES = st.binary(max_size=80) | (JSON | NEAR).map(lambda value: json.dumps(value).encode())
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "authorization": st.just("Bearer any") | HEADER,
        "content-type": st.sampled_from(["application/json", "application/json; charset=utf-8"]) | HEADER,
        "accept": st.sampled_from(["*/*", "application/json;q=0.1, */*;q=0", ";;,q=,"]) | HEADER,
        "x-correlator": st.from_regex(r"[a-z0-9-]{0,60}", fullmatch=True) | HEADER,
    },
)


@pytest.mark.parametrize("operation", ["send-code", "validate-code"])
@pytest.mark.parametrize("release", RELEASES)
def test_openapi_tester_finds_nothing(release: str, operation: str) -> None:
    """An OpenAPI tester with the document of a release finds no wrong response."""
    document = load(release)
    # The same pattern in a spelling that the tester can combine with a length.
    document["components"]["schemas"]["Message"]["pattern"] = "[{][{]code[}][}]"
    schema = schemathesis.openapi.from_dict(document)
    [tested] = [item.ok() for item in schema.get_all_operations() if item.ok().path.endswith(operation)]
    modes = st.sampled_from(list(schemathesis.GenerationMode))
    sandbox = Sandbox(release=release, max_send=1_000_000)

    @bounded
    @given(modes.flatmap(lambda mode: tested.as_strategy(generation_mode=mode)))
    def fuzz(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=url, headers={"Authorization": "Bearer any"}, checks=CHECKED)

    with sandbox.serve() as root:
        url = root + CAMARA
        fuzz()


CONTROL = json.loads(control.DESCRIPTION.read_text("utf-8"))
# Those that end: the stream of events does not. The tester cannot make a wrong request where there is nothing to send.
NAMES = [(path, method) for path, methods in CONTROL["paths"].items() for method in methods if path != "/events"]


@pytest.mark.parametrize(("path", "method"), NAMES)
def test_openapi_tester_finds_nothing_in_the_control_api(path: str, method: str) -> None:
    """An OpenAPI tester with the description of the control API finds no wrong response."""
    tested = schemathesis.openapi.from_dict(CONTROL)[path][method]
    takes_something = "requestBody" in CONTROL["paths"][path][method] or "parameters" in CONTROL["paths"][path][method]
    modes = st.sampled_from(list(schemathesis.GenerationMode)[: 2 if takes_something else 1])
    sandbox = Sandbox()

    @bounded
    @given(modes.flatmap(lambda mode: tested.as_strategy(generation_mode=mode)))
    def fuzz(case: schemathesis.Case) -> None:
        sandbox.clear_faults()
        case.call_and_validate(base_url=root + "/_sandbox", checks=CHECKED)

    with sandbox.serve() as root:
        fuzz()


@pytest.mark.parametrize("release", RELEASES)
def test_any_request_gets_a_published_answer(release: str) -> None:
    """Arbitrary methods, headers and bodies get a response of the published form."""
    sandbox = Sandbox(release=release, max_send=20)
    http = httpx.Client(transport=sandbox.transport(), base_url="https://a.test/root" + CAMARA)

    @settings(bounded, max_examples=300)
    @given(
        st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE", "BREW"]),
        st.sampled_from(["send-code", "validate-code"]),
        HEADERS,
        BODIES,
    )
    def fuzz(method: str, operation: str, headers: dict[str, str], body: bytes) -> None:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        request = http.build_request(method, operation, content=body)
        for name in ("content-type", "accept"):
            request.headers.pop(name, None)
        request.headers = httpx.Headers([*request.headers.raw, *raw])
        assert_published(http.send(request), release, operation)

    fuzz()


@bounded
@given(
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.sampled_from(["messages", "calls", "state", "advance", "reset", "faults", "openapi.json", "nothing", ""]),
    st.dictionaries(st.sampled_from(["phoneNumber", "since", "limit", "number"]), st.text(max_size=20)),
    BODIES | st.fixed_dictionaries({"seconds": JSON}).map(json.dumps).map(str.encode),
)
def test_control_api_never_fails(method: str, name: str, query: dict[str, str], body: bytes) -> None:
    """The control API responds to invalid requests with a 4xx."""
    http = httpx.Client(transport=Sandbox().transport())
    answer = http.request(method, f"http://localhost/_sandbox/{name}", params=query, content=body)
    assert answer.status_code < 500
    if answer.status_code != 204:
        answer.json()


def _jwt(*parts: Any) -> str:
    """Return parts in the form of a JWT without a valid signature."""
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join([*encoded, "c2ln"])


def _spoiled(right: dict[str, Any], wrong: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a valid value but for one or two parts; entirely invalid ones are refused too early."""
    changes = st.dictionaries(st.sampled_from(sorted(right)), wrong, min_size=1, max_size=2)
    return changes.map(lambda changed: right | changed)


NOW = int(time.time())
URLS = st.sampled_from(["http://[", "http://\u2100/", "//", "tel:x"])
SUBJECT = {"iss": "me", "sub": "me", "aud": "http://localhost/oauth2/token", "iat": NOW, "exp": NOW + 290, "jti": "1"}
ASSERTIONS = st.builds(_jwt, _spoiled({"alg": "ES256", "kid": "a"}, JSON), _spoiled(SUBJECT, URLS | JSON)) | st.builds(
    _jwt, st.just({"alg": "ES256"}), _spoiled(SUBJECT, URLS | JSON)
)
LOGINS = (
    st.just({"client_id": "me", "client_secret": "a"})
    | ASSERTIONS.map(lambda text: {"client_assertion_type": authorization._ASSERTION, "client_assertion": text})
    | ASSERTIONS.map(lambda text: {"assertion": text})
)
GRANTS = st.fixed_dictionaries(
    {"grant_type": st.sampled_from([*authorization._GRANTS])},
    optional={
        name: st.just("openid tel:+346661113334") | st.text(max_size=9)
        for name in ("scope", "login_hint", "auth_req_id", "refresh_token")
    },
)


@settings(bounded, max_examples=400)
@given(st.sampled_from(["token", "bc-authorize"]), GRANTS, LOGINS, st.none() | st.none() | HEADER)
def test_authorization_server_never_fails(
    name: str, grant: dict[str, str], login: dict[str, str], authorization: str | None
) -> None:
    """The authorization server responds to invalid requests with an OAuth error."""
    http = httpx.Client(transport=Sandbox(clock=lambda: float(NOW)).transport())
    headers = {} if authorization is None else {b"authorization": authorization.encode("latin-1")}
    answer = http.post(f"http://localhost/oauth2/{name}", data=grant | login, headers=headers)
    assert answer.status_code in (200, 400, 401)
    assert (answer.status_code == 200) != ("error" in answer.json())


FIELDS: dict[str, Any] = {
    "code": st.sampled_from(list(ERRORS)) | JSON,
    "status": st.integers(190, 610) | JSON,
    "message": JSON,
    "body": JSON,
    "contentType": JSON,
    "html": st.booleans() | JSON,
    "headers": st.dictionaries(st.text(max_size=5), st.text(max_size=5)) | JSON,
    "retryAfter": st.integers(0, 99) | JSON,
    "acts": st.booleans() | JSON,
    "operation": JSON,
    "phoneNumber": JSON,
    "times": st.integers(-1, 3) | JSON,
    "rate": st.floats(0, 1) | JSON,
}


@settings(bounded, max_examples=300)
@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_faults_are_refused_or_served(fault: dict[str, Any]) -> None:
    """A fault in JSON is refused with a reason, or changes the next response, and is listed as JSON."""
    http = httpx.Client(transport=Sandbox().transport(), base_url="http://localhost")
    added = http.post("/_sandbox/faults", content=json.dumps(fault))
    assert added.status_code in (201, 400), added.text
    assert len(http.get("/_sandbox/state").json()["faults"]) == (added.status_code == 201)
    answer = http.post("/otpvalidation/send-code", json={"phoneNumber": PHONE, "message": MESSAGE})
    assert 200 <= answer.status_code <= 599


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_documented_error_on_demand(code: str) -> None:
    """A fault can cause each code of the catalogue, with its status and in CAMARA's form."""
    sandbox = Sandbox(faults=[Fault(code=code)])
    http = httpx.Client(transport=sandbox.transport())
    answer = http.post("https://a.test/otpvalidation/send-code", json={})
    status, _ = ERRORS[code]
    jsonschema_rs.validate(load("1.1.1")["components"]["schemas"]["ErrorInfo"], answer.json())
    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (status, status, code)
