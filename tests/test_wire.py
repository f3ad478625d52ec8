"""The wire format: requests to bytes, responses to models and errors."""

import json
import re
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camara_otp import errors
from camara_otp._exchange import Response
from camara_otp._redaction import MAX_EXCERPT, Secrets
from camara_otp._secret import Secret
from camara_otp._wire import (
    CallContext,
    encode,
    error_info_of,
    read_send_code,
    read_validate_code,
    retry_after,
    with_call_headers,
)
from camara_otp.errors import CODES, STATUSES, SUPERSEDED, APIError, OTPError, UnexpectedResponseError
from camara_otp.models import ErrorInfo, SendCodeRequest, SendCodeResponse, ValidateCodeRequest, ValidateCodeResponse

NUMBER = "+346661113334"
MESSAGE = '{{code}} is "your" <code>\nfor Café'
READERS = [read_send_code, read_validate_code]


def context(request=None, token=None, x_correlator="sent-1"):
    """Return the context of a call; without a request, only the token is masked."""
    made = CallContext("send_code" if isinstance(request, SendCodeRequest) else "validate_code", request, x_correlator)
    made.token = Secret(token) if token is not None else None
    return made


def read(reader, status, body=b"", headers=(), fault=None, call=None, now=0.0):
    """Read a response; the body may be given as a JSON value."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return reader(Response(status, headers, body, fault), call or context(), now)


def test_a_request_carries_the_documented_properties_and_no_others():
    """Compact UTF-8 JSON, camel case, no nulls."""
    assert encode(SendCodeRequest(NUMBER, "{{code}} ñ")) == (
        '{"phoneNumber":"+346661113334","message":"{{code}} ñ"}'.encode()
    )
    assert encode(ValidateCodeRequest("ea08", "0042")) == b'{"authenticationId":"ea08","code":"0042"}'


def test_each_attempt_carries_token_and_correlator():
    """Both are optional."""
    static = ((b"Accept", b"application/json"),)

    assert with_call_headers(static, Secret("tok"), "corr") == [
        (b"Accept", b"application/json"),
        (b"Authorization", b"Bearer tok"),
        (b"x-correlator", b"corr"),
    ]
    assert with_call_headers(static, None, None) == list(static)


@pytest.mark.parametrize(
    "body",
    [
        b'{"authenticationId":"ea0840f3-3663-4149-bd10-c7c6b8912105"}',
        b'{"authenticationId":"a","more":[1,{"x":null}],"x_correlator":"theirs"}',
        b'\xef\xbb\xbf{"authenticationId":"a"}',
        b'{"authenticationId":"' + b"x" * 36 + b'"}',
    ],
    ids=["documented", "more properties", "byte order mark", "36 characters"],
)
def test_200_with_an_id_is_a_sent_code(body):
    """Unknown properties are ignored, the id is kept byte for byte."""
    response = read(read_send_code, 200, body)

    assert isinstance(response, SendCodeResponse)
    assert response.authentication_id == json.loads(body.decode("utf-8-sig"))["authenticationId"]
    assert response.x_correlator == "sent-1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b'"ea0840f3"',
        b'{"authenticationId":null}',
        b'{"authenticationId":7}',
        b'{"authenticationId":["a"]}',
        b'{"authenticationId":{"a":"b"}}',
        b'{"authenticationId":true}',
        b'{"authenticationId":""}',
        b'{"authenticationId":"' + b"x" * 37 + b'"}',
        b'{"authenticationId":"\\ud800"}',
        b'{"AuthenticationId":"a"}',
        b'{"authenticationId":"a","n":NaN}',
        b'{"authenticationId":"a"',
        b'{"authenticationId":"\xff"}',
        '{"authenticationId":"a"}'.encode("utf-16"),
        '{"authenticationId":"a"}'.encode("utf-32"),
        b"[" * 50_000,
        b'{"authenticationId":' * 5_000,
        b'{"n":' + b"9" * 5_000 + b"}",
        b"<html>Please log in</html>",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_200_without_a_usable_id_is_never_a_sent_code(body):
    """The response is outside the contract, so the outcome is unknown."""
    error = read(read_send_code, 200, body)

    assert isinstance(error, UnexpectedResponseError)
    assert error.status == 200
    assert error.outcome_unknown
    assert error.x_correlator == "sent-1"


def test_204_alone_is_a_verified_number():
    """The body does not matter."""
    assert read(read_validate_code, 204) == ValidateCodeResponse("sent-1")
    assert read(read_validate_code, 204, b"<html>", fault="too long") == ValidateCodeResponse("sent-1")


@pytest.mark.parametrize("body", [b"", b'{"authenticationId":"a"}', b'{"code":"OK"}'], ids=["empty", "id", "code"])
def test_no_other_status_below_400_verifies(body):
    """A login page with 200, a redirect, a 206: all are outside the contract."""
    for status in set(range(100, 400)) - {204}:
        error = read(read_validate_code, status, body)

        assert isinstance(error, UnexpectedResponseError)
        assert error.status == status
        assert error.outcome_unknown


def test_no_other_status_below_400_sends():
    """Even with a valid body."""
    for status in set(range(100, 400)) - {200}:
        assert isinstance(read(read_send_code, status, {"authenticationId": "a"}), UnexpectedResponseError)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("status", [*STATUSES, 402, 418, 499, 599, 999])
def test_a_refusal_keeps_status_code_and_message(reader, status):
    """The class comes from the code, the status from HTTP; the status in the body is ignored."""
    for code in (*CODES, *SUPERSEDED, "SOMETHING_NEW", "ONE_TIME_PASSWORD_SMS.OTHER"):
        error = read(reader, status, {"status": 200, "code": code, "message": "in words"})

        assert isinstance(error, APIError)
        assert type(error) is errors.error_class(status, code)
        assert (error.status, error.code, error.message) == (status, code, "in words")
        assert error.outcome_unknown is (status >= 500 or (status == 409 and code == "ABORTED"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status": 404, "code": "NOT_FOUND", "message": "m"}, ErrorInfo(404, "NOT_FOUND", "m")),
        ({"status": "404", "code": "NOT_FOUND", "message": None}, ErrorInfo(None, "NOT_FOUND", None)),
        ({"status": True, "code": "NOT_FOUND", "message": 7}, ErrorInfo(None, "NOT_FOUND", None)),
        ({"code": "NOT_FOUND"}, ErrorInfo(None, "NOT_FOUND", None)),
        ({"detail": {"status": 404, "code": "NOT_FOUND", "message": "m"}}, ErrorInfo(404, "NOT_FOUND", "m")),
        ({"error": {"code": "NOT_FOUND"}}, ErrorInfo(None, "NOT_FOUND", None)),
        ({"code": None, "detail": {"code": "NOT_FOUND"}}, ErrorInfo(None, "NOT_FOUND", None)),
        ({"code": "OUTER", "detail": {"code": "INNER"}}, ErrorInfo(None, "OUTER", None)),
        ({"code": 404}, None),
        ({"code": ""}, None),
        ({"code": ["NOT_FOUND"]}, None),
        ({"detail": {"detail": {"code": "NOT_FOUND"}}}, None),
        ({"detail": "not found"}, None),
        ({"error": "invalid_token", "error_description": "x"}, None),
        ([{"code": "NOT_FOUND"}], None),
        (None, None),
        ("NOT_FOUND", None),
    ],
)
def test_error_info_is_read_tolerantly(body, expected):
    """A string as code is enough, also one level down; anything else is not an ErrorInfo."""
    assert error_info_of(json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        (b"", None),
        (b"   \n ", None),
        (b"<html>\n  <h1>502</h1>\n</html>", "<html> <h1>502</h1> </html>"),
        (b"\x1b[31mred\x00\x07", "[31mred"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u202eevil".encode(), "evil"),
        (b"[" * 60_000, "[" * 199 + "…"),
        (b'{"fault":{"faultstring":"x"}}', '{"fault":{"faultstring":"x"}}'),
    ],
)
def test_an_answer_without_error_info_is_excerpted(body, excerpt):
    """The status class, no code, and at most 200 printable characters of the body on one line."""
    error = read(read_send_code, 503, body)

    assert isinstance(error, errors.HTTP503Error)
    assert error.code is None
    assert (error.message or "").strip() == (excerpt or "")
    assert len(error.message or "") <= MAX_EXCERPT
    assert (error.message or "").isprintable()


def test_a_refusal_whose_body_could_not_be_read_is_still_a_refusal():
    """4xx is final with any body; the part that was read becomes an excerpt."""
    error = read(read_send_code, 401, b'{"code":"UNAUTHENTICATED"}', fault="longer than 65536 bytes")

    assert type(error) is errors.HTTP401Error
    assert error.code is None
    assert not error.outcome_unknown


def test_a_success_whose_body_could_not_be_read_is_unknown():
    """The reason names the fault of the body."""
    error = read(read_send_code, 200, b'{"authenticationId":"a"}', fault="longer than 65536 bytes")

    assert isinstance(error, UnexpectedResponseError)
    assert "longer than 65536 bytes" in str(error)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], "sent-1"),
        ([(b"x-correlator", b"theirs")], "theirs"),
        ([(b"x-correlator", b" theirs\t")], "theirs"),
        ([(b"x-correlator", b"")], "sent-1"),
        ([(b"x-correlator", b"a b")], "sent-1"),
        ([(b"x-correlator", b"a\x00b")], "sent-1"),
        ([(b"x-correlator", b"\xff")], "sent-1"),
        ([(b"x-correlator", b"x" * 257)], "sent-1"),
        ([(b"x-correlator", b"first"), (b"x-correlator", b"second")], "first"),
        ([(b"x-correlator", b"secret-token")], "sent-1"),
    ],
)
def test_the_operators_echo_is_preferred_where_it_fits(headers, expected):
    """An echo outside the pattern, or with a secret, is ignored."""
    assert context(token="secret-token").reported_correlator(headers) == expected


def test_without_a_correlator_there_is_none_unless_the_operator_gives_one():
    assert context(x_correlator=None).reported_correlator([]) is None
    assert context(x_correlator=None).reported_correlator([(b"x-correlator", b"theirs")]) == "theirs"


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("007", 7.0),
        ("1.5", 1.5),
        ("999999999", 86_400.0),
        ("9" * 60, 86_400.0),
        ("9" * 5_000, None),
        (format_datetime(NOW.replace(minute=1), usegmt=True), 60.0),
        (format_datetime(NOW.replace(hour=11), usegmt=True), 0.0),
        ("Mon, 23 Nov 2026 12:00:30", 30.0),
        ("Mon, 23 Nov 9999 12:00:30 GMT", 86_400.0),
        ("-1", None),
        ("+7", None),
        ("7s", None),
        ("٧", None),
        ("", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("1e9", None),
        ("Mon, 32 Nov 2026 12:00:30 GMT", None),
        ("Mon, 23 Nov 2026 25:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped(value, seconds):
    """Seconds or an HTTP date, never negative, at most a day; anything else is ignored."""
    headers = [(b"retry-after", value.encode("utf-8"))]

    assert retry_after(headers, NOW.timestamp()) == seconds


def test_retry_after_stands_on_the_error():
    """The status of the response does not matter."""
    error = read(read_send_code, 429, {"code": "TOO_MANY_REQUESTS"}, [(b"retry-after", b"7")])

    assert error.retry_after == 7.0
    assert read(read_send_code, 429, {"code": "TOO_MANY_REQUESTS"}).retry_after is None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: json.dumps(s),
        lambda s: json.dumps({"echo": s}, ensure_ascii=False),
        lambda s: __import__("html").escape(s),
        lambda s: __import__("html").escape(json.dumps(s)),
        lambda s: __import__("urllib.parse").parse.quote(s),
        lambda s: __import__("urllib.parse").parse.quote_plus(s),
        lambda s: f"x{s}y",
    ],
    ids=["plain", "json", "json utf-8", "html", "html of json", "percent", "form", "inside a word"],
)
@pytest.mark.parametrize("status", [400, 401, 503])
def test_no_string_of_a_server_repeats_a_secret(wrap, status):
    """Token, number, message, id and code are masked in code, message and excerpt."""
    request = SendCodeRequest(NUMBER, MESSAGE)
    call = context(request, "eyJhb.Gci-Oi_J")
    for secret in (NUMBER, MESSAGE, "eyJhb.Gci-Oi_J"):
        echo = wrap(secret)
        for body in (echo.encode(), json.dumps({"code": f"BAD {echo}", "message": f"no: {echo}"}).encode()):
            error = read(read_send_code, status, body, call=call)
            shown = f"{error} {error!r} {error.__dict__}"
            assert "***" in shown
            assert not [s for s in ("666111", "eyJhb", "is your", "Caf", "for ") if s in shown], shown


def test_a_short_code_vanishes_where_it_stands_alone():
    """A code of three characters must not mask parts of words."""
    secrets = context(ValidateCodeRequest("ea0840f3", "or")).secrets

    assert secrets.hidden_in("the code 'or' is wrong, or for ever") == "the code '***' is wrong, *** for ever"


def test_a_secret_of_signs_alone_vanishes_too():
    """A code without letters and digits is found too."""
    assert Secrets("#!*+").hidden_in("code #!*+ refused") == "code *** refused"


@given(
    reader=st.sampled_from(READERS),
    status=st.integers(100, 999),
    body=st.binary(max_size=300)
    | st.recursive(
        st.none() | st.text() | st.integers() | st.booleans(),
        lambda c: (
            st.lists(c)
            | st.dictionaries(
                st.sampled_from(["code", "message", "detail", "error", "status", "authenticationId"]) | st.text(), c
            )
        ),
    ).map(lambda v: json.dumps(v).encode()),
    headers=st.lists(
        st.tuples(st.sampled_from([b"x-correlator", b"retry-after", b"content-type"]), st.binary(max_size=60))
    ),
)
def test_any_answer_has_a_defined_result(reader, status, body, headers):
    """Any response has a result of this package, and is a success only by the contract."""
    result = read(reader, status, body, headers)

    if isinstance(result, OTPError):
        assert isinstance(result, UnexpectedResponseError if status < 400 else APIError)
        assert str(result).isprintable()
    else:
        assert (reader, status) in {(read_send_code, 200), (read_validate_code, 204)}


@pytest.mark.parametrize("known", [*CODES, *SUPERSEDED])
def test_what_a_person_types_never_changes_what_the_operator_said(known):
    """A typed code or id equal to a part of a code of the contract changes neither class, code nor outcome_unknown."""
    body = json.dumps({"code": known, "message": "m"}).encode()
    for status in (400, 401, 409, 429):
        honest = read(read_validate_code, status, body)
        for word in {known[:10], *re.split(r"[._]", known)}:
            for typed in (word[:10], word[:10].lower()):
                call = context(ValidateCodeRequest(typed, typed), typed)
                error = read(read_validate_code, status, body, call=call)
                assert type(error) is type(honest)
                assert (error.code, error.outcome_unknown) == (known, honest.outcome_unknown)


def test_an_unknown_code_is_kept_short_and_without_secrets():
    """It may be an echo of any length."""
    call = context(ValidateCodeRequest("ea0840f3", "zebra"))
    error = read(read_validate_code, 400, json.dumps({"code": "ZEBRA" + "X" * 60_000}).encode(), call=call)
    assert error.code.startswith("***X")
    assert len(error.code) == MAX_EXCERPT


@pytest.mark.parametrize(
    "written",
    [
        "+346661113334",
        "34 666 111 3334",
        "+34-666-111-3334",
        "(+34)666.111.3334",
        "6661113334",
        "06661113334",
        "0034 6661113334",
        "666\u00a0111\u00a0333\u00a04",
        "(0)666 / 111 - 33 34",
    ],
)
def test_a_number_vanishes_however_it_is_written(written):
    """With any grouping and any prefix; other numbers stay."""
    secrets = context(SendCodeRequest(NUMBER, MESSAGE)).secrets
    shown = secrets.hidden_in(f"not to {written}, since 2024-11-23 12:30; call +1 555 0100 200")
    assert not re.search(r"111.{0,3}33", shown)
    assert "2024-11-23 12:30; call +1 555 0100 200" in shown
