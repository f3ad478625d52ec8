"""The published specs, the code table, the classes and the page of errors agree."""

import json
from pathlib import Path

import pytest

from camara_otp import SendCodeRequest, ValidateCodeRequest, errors
from camara_otp._settings import DEFAULT_API_PATH
from camara_otp._wire import SEND_CODE, VALIDATE_CODE, encode
from camara_otp.errors import CODES, STATUSES
from camara_otp.models import MAX_AUTHENTICATION_ID_LENGTH, MAX_CODE_LENGTH, MAX_MESSAGE_LENGTH
from docs.tables import errors_table
from tests.conftest import MESSAGE, NUMBER
from tests.http import httpx

ROOT = Path(__file__).parents[1]
CONTRACT = json.loads((ROOT / "tests" / "data" / "contract.json").read_text("utf-8"))
OPERATIONS = [(release, name) for release, facts in CONTRACT.items() for name in facts["operations"]]
ERRORS = sorted(
    {
        (release, name, int(status), code)
        for release, name in OPERATIONS
        for status, codes in CONTRACT[release]["operations"][name]["errors"].items()
        for code in codes
    }
)
REQUESTS = {"sendCode": SendCodeRequest(NUMBER, MESSAGE), "validateCode": ValidateCodeRequest("ea0840f3", "AJY3")}


def test_every_release_is_there():
    """All releases with the URL version 1, the next one, and the merged layout."""
    assert set(CONTRACT) == {"1.0.0", "1.1.0", "1.1.1", "wip", "seed-otpvalidation"}
    assert len(ERRORS) > 80


@pytest.mark.parametrize(("release", "name", "status", "code"), ERRORS)
def test_every_documented_error_has_its_own_class_under_its_status(release, name, status, code):
    """The class of the code is a subclass of the class of the status it is documented with."""
    assert issubclass(CODES[code], STATUSES[status])


@pytest.mark.parametrize(("release", "name", "status", "code"), ERRORS)
def test_every_documented_error_arrives_as_its_class(shell_sync, release, name, status, code):
    """With status, code and message intact."""
    body = {"status": status, "code": code, "message": f"{code} in words"}
    client = shell_sync.mocked(lambda request: httpx.Response(status, json=body), retry=None)
    call = {"sendCode": client.send_code, "validateCode": client.validate_code}[name]

    with pytest.raises(CODES[code]) as caught:
        call(REQUESTS[name])

    assert (caught.value.status, caught.value.code, caught.value.message) == (status, code, f"{code} in words")


@pytest.mark.parametrize(("release", "name"), OPERATIONS)
def test_requests_and_limits_are_the_published_ones(release, name):
    """Properties, lengths, paths and success statuses."""
    facts = CONTRACT[release]["operations"][name]
    body = json.loads(encode(REQUESTS[name]))

    assert sorted(body) == facts["required"] == sorted(facts["limits"])
    lengths = {field: limits.get("maxLength") for field, limits in facts["limits"].items()}
    expected = {
        "message": MAX_MESSAGE_LENGTH,
        "authenticationId": MAX_AUTHENTICATION_ID_LENGTH,
        "code": MAX_CODE_LENGTH,
    }
    assert all(length in {None, expected.get(field, 16)} for field, length in lengths.items())
    assert facts["success"] == {"sendCode": 200, "validateCode": 204}[name]
    path = {"sendCode": SEND_CODE.path, "validateCode": VALIDATE_CODE.path}[name]
    assert facts["path"] == (DEFAULT_API_PATH if release == "seed-otpvalidation" else "") + path


def test_the_docs_page_prints_the_table():
    """`python -m docs.tables` writes it."""
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")

    assert errors_table() in page
    assert all(kind.__name__ in page for kind in (*CODES.values(), *STATUSES.values()))
    assert all(f"`{code}`" in page for code in (*CODES, *errors.SUPERSEDED))
