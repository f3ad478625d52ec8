"""Reading the responses of an authorization server."""

import json
import math
import time

import pytest

from camara_otp._exchange import Response
from camara_otp._redaction import Secrets, cleaned
from camara_otp.auth.responses import (
    REMEDIES,
    UNSTATED_LIFETIME,
    Reply,
    StartedLogin,
    Token,
    TokenRefusal,
    read_seconds,
    read_started_login,
    read_token,
)
from camara_otp.auth.token_endpoint import issuer_of, read_configuration, split_endpoint
from camara_otp.errors import ConfigurationError

SCOPE = "one-time-password-sms:send-validate"
BEGAN = 500.0
NOW = 1_800_000_000.0
NOW_AS_DATE = b"Fri, 15 Jan 2027 08:00:00 GMT"
SECRET = "s3cr3t/+ value"


def heard(body, status=200, headers=(), fault=None, secrets=(SECRET,)):
    """Return the reply of a token endpoint."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply("the token endpoint", Response(status, tuple(headers), raw, fault), Secrets(*secrets), BEGAN, NOW)


def good(**more):
    """Return the body of a good response."""
    return {"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600} | more


def outcome(read, *args, **options):
    """Return what a function returns, or the refusal that it raises."""
    try:
        return read(*args, **options)
    except TokenRefusal as refusal:
        return refusal


def read(body, **options):
    """Read the response of a token endpoint."""
    return outcome(read_token, heard(body, **options), SCOPE)


def test_a_good_answer_gives_a_token():
    """Value, lifetime, expiry and the refresh token; the lifetime counts from the beginning of the request."""
    assert read(good(refresh_token="r")) == Token("t0ken", 3600.0, BEGAN + 3600.0, "r")


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER", "BearerToken", "bearertoken"])
def test_the_token_type_is_bearer_in_any_case(kind):
    """RFC 6749 section 5.1: case-insensitive; one gateway has a longer name for it."""
    assert isinstance(read(good(token_type=kind)), Token)


def test_a_missing_token_type_is_not_held_against_an_answer():
    body = good()
    del body["token_type"]

    assert isinstance(read(body), Token)
    assert isinstance(read(good(token_type=None)), Token)


@pytest.mark.parametrize("kind", ["DPoP", "mac", "N_A", "", 7])
def test_another_token_type_is_refused_with_the_remedy(kind):
    """A DPoP-bound token is of no use in a Bearer header."""
    refusal = read(good(token_type=kind))

    assert isinstance(refusal, TokenRefusal)
    assert "Bearer" in refusal.reason
    assert not refusal.again


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (" 60 ", 60),
        (59.5, 59.5),
        ("59.5", 59.5),
        (0, 0),
        (-1, 0),
        (3, 3),
        (10**400, UNSTATED_LIFETIME),
        (1e300, 30 * 86400),
        ("inf", 30 * 86400),
        ("nan", UNSTATED_LIFETIME),
        ("soon", UNSTATED_LIFETIME),
        ("", UNSTATED_LIFETIME),
        (None, UNSTATED_LIFETIME),
        (True, UNSTATED_LIFETIME),
        ([], UNSTATED_LIFETIME),
        (math.nan, UNSTATED_LIFETIME),
    ],
)
def test_any_expires_in_is_read(value, seconds):
    """Numbers, text, nonsense and extremes."""
    assert read_seconds(value, UNSTATED_LIFETIME) == seconds


@pytest.mark.parametrize("token", [None, "", 7, ["t"], "two words", "new\nline", "töken", {"a": 1}, "Bearer t"])
def test_an_unusable_access_token_is_refused_and_not_shown(token):
    """A token that no header can contain is rejected."""
    refusal = read(good(access_token=token))

    assert isinstance(refusal, TokenRefusal)
    assert "access_token" in refusal.reason
    assert "two words" not in refusal.reason


def test_a_narrower_scope_is_named():
    """The caller learns which scope is missing."""
    refusal = read(good(scope="profile"))

    assert isinstance(refusal, TokenRefusal)
    assert SCOPE in refusal.reason


@pytest.mark.parametrize("scope", [SCOPE, f"x {SCOPE}", None, 7, "", " "])
def test_an_equal_wider_or_unsaid_scope_is_fine(scope):
    """The field may be missing if the whole scope is granted (RFC 6749 section 5.1)."""
    assert isinstance(read(good(scope=scope)), Token)


def test_without_a_requested_scope_any_is_fine():
    assert isinstance(read_token(heard(good(scope="other")), None), Token)


@pytest.mark.parametrize("code", sorted(REMEDIES))
def test_each_known_error_comes_with_its_remedy(code):
    """`error` has the code, the message has the remedy."""
    refusal = read({"error": code, "error_description": "why"}, status=400)

    assert isinstance(refusal, TokenRefusal)
    assert (refusal.code, refusal.description) == (code, "why")
    assert code in refusal.reason
    assert "why" in refusal.reason
    assert REMEDIES[code] in refusal.reason
    assert not refusal.again
    error = refusal.error()
    assert (error.error, error.error_description, error.outcome_unknown) == (code, "why", False)


def test_an_unknown_error_comes_with_a_remedy_too():
    """Operators use codes of their own."""
    refusal = read({"error": "quota"}, status=400)

    assert isinstance(refusal, TokenRefusal)
    assert refusal.reason == "the token endpoint refused: quota; look it up in the operator's documentation"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"", b"<html>", {"status": 401, "code": "UNAUTHENTICATED", "message": "no"}])
def test_after_a_gateway_has_refused_the_remedy_names_the_credentials(status, body):
    """The URL is seldom wrong."""
    refusal = read(body, status=status)

    assert isinstance(refusal, TokenRefusal)
    assert "check client_id and its secret or key, client_auth, and the URL" in refusal.reason


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429])
def test_an_error_counts_whatever_the_status(status):
    """Some servers respond with 200 or 401 where RFC 6749 requires 400."""
    refusal = read({"error": "invalid_client"}, status=status)

    assert isinstance(refusal, TokenRefusal)
    assert (refusal.code, refusal.description) == ("invalid_client", None)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_failure_of_the_server_may_be_tried_again(status):
    """With or without an RFC 6749 body."""
    for body in ({"error": "server_error"}, b"<html>", b""):
        refusal = read(body, status=status)
        assert isinstance(refusal, TokenRefusal)
        assert refusal.again


@pytest.mark.parametrize(
    ("value", "wait"),
    [(b"7", 7.0), (b"Fri, 15 Jan 2027 08:00:30 GMT", 30.0), (b"Fri, 15 Jan 2027 07:00:00 GMT", 0.0), (b"later", 0.0)],
)
def test_retry_after_is_read(value, wait):
    """Retry-After holds seconds or a date."""
    refusal = read(b"", status=503, headers=[(b"retry-after", value)])

    assert isinstance(refusal, TokenRefusal)
    assert refusal.wait == wait


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_a_redirect_is_not_followed(status):
    """Credentials are for the configured URL only."""
    refusal = read(good(), status=status, headers=[(b"location", b"https://evil.example/")])

    assert isinstance(refusal, TokenRefusal)
    assert "redirect" in refusal.reason
    assert "evil" not in refusal.reason


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>sign in</html>", b"[]", b'"t"', b"null", b"\xff\xfe", b"{", b"[" * 100_000, b'{"error":7}'],
)
def test_anything_but_a_json_object_is_refused(body):
    """A login page is not a token response."""
    assert isinstance(read(body), TokenRefusal)


@pytest.mark.parametrize("status", [201, 204, 206, 400, 404, 418])
def test_another_status_without_an_error_is_refused_by_number(status):
    """Only 200 gives a token."""
    refusal = read(good(), status=status)

    assert isinstance(refusal, TokenRefusal)
    assert str(status) in refusal.reason
    assert refusal.code is None
    assert not refusal.again


def test_an_answer_over_the_cap_is_refused():
    """The message contains the reason from the exchange."""
    refusal = read(b"", fault="more than 65536 bytes")

    assert isinstance(refusal, TokenRefusal)
    assert "65536" in refusal.reason
    assert "check its URL" in refusal.reason


@pytest.mark.parametrize(
    ("date", "said"),
    [
        (b"Fri, 15 Jan 2027 08:10:00 GMT", "600 s behind"),
        (b"Fri, 15 Jan 2027 07:50:00 GMT", "600 s ahead of"),
        (NOW_AS_DATE, None),
        (b"yesterday", None),
    ],
)
def test_a_wrong_clock_is_found_out(date, said):
    """If a server with another clock refuses an assertion, the message gives the difference."""
    refusal = read({"error": "invalid_client"}, status=401, headers=[(b"date", date)])

    assert isinstance(refusal, TokenRefusal)
    assert (said in refusal.reason) if said else ("the server's" not in refusal.reason)


@pytest.mark.parametrize(
    "words",
    [
        f"secret {SECRET} is wrong",
        "secret s3cr3t%2F%2B%20value is wrong",
        "secret s3cr3t%2F%2B+value is wrong",
        "assertion eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl is wrong",
        "assertion eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOi is wrong",
        "number +34666111333 is wrong",
    ],
)
def test_what_a_server_echoes_is_not_shown(words):
    """Secrets, assertions and numbers in error messages, in any form."""
    refusal = read({"error": "invalid_request", "error_description": words}, status=400)

    assert isinstance(refusal, TokenRefusal)
    assert refusal.description is not None
    assert refusal.description.split()[1:] == ["***", "is", "wrong"]


def test_a_secret_in_the_error_code_is_not_shown_either():
    """The code is a string from the server too."""
    refusal = read({"error": SECRET}, status=400)

    assert isinstance(refusal, TokenRefusal)
    assert refusal.code == "***"
    assert SECRET not in refusal.reason


def test_words_are_printable_and_short():
    """Line ends, escape codes and long strings do not reach a log."""
    text = cleaned("a\r\nb\x1b[31m\u202e" + "x" * 500, Secrets())

    assert text.isprintable()
    assert text.startswith("a b [31m x")
    assert len(text) == 200


def test_a_secret_is_cut_before_the_text_is():
    """Half a secret at the end of a shortened message is a secret too."""
    assert "s3cr3t" not in cleaned("x" * 190 + SECRET, Secrets(SECRET))


def test_a_login_is_read():
    """Id, interval and expiry, with the default interval of CIBA."""
    assert read_started_login(heard({"auth_req_id": "1", "interval": 2, "expires_in": "60"})) == StartedLogin(
        "1", 2.0, 60.0
    )
    assert read_started_login(heard({"auth_req_id": "1", "expires_in": 60})) == StartedLogin("1", 5.0, 60.0)


@pytest.mark.parametrize("body", [{}, {"auth_req_id": ""}, {"auth_req_id": 1}, {"error": "unknown_user_id"}])
def test_a_login_without_an_id_is_refused(body):
    """Polling needs the id."""
    assert isinstance(outcome(read_started_login, heard(body)), TokenRefusal)


def discovery(allow_http=False, backchannel=False, asked="https://op.example", **document):
    """Read an OpenID configuration."""
    wanted = ("token_url", "backchannel_url") if backchannel else ("token_url",)
    return outcome(read_configuration, heard(document), asked, wanted, allow_http=allow_http)


def test_discovery_names_the_endpoints():
    """Both, when both are needed."""
    found = discovery(
        backchannel=True,
        issuer="https://op.example",
        token_endpoint="https://op.example/token?x=1",
        backchannel_authentication_endpoint="https://other.example:8443/bc",
    )

    assert isinstance(found, dict)
    assert found == {"token_url": "https://op.example/token?x=1", "backchannel_url": "https://other.example:8443/bc"}
    parts = split_endpoint("token_url", found["token_url"], allow_http=False)
    assert parts == ("https://op.example", "/token?x=1", False)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"issuer": "https://evil.example", "token_endpoint": "https://evil.example/t"}, "another issuer"),
        ({"issuer": "https://op.example/", "token_endpoint": "https://op.example/t"}, "another issuer"),
        ({"token_endpoint": "https://op.example/t"}, "another issuer"),
        ({"issuer": "https://op.example"}, "token_endpoint"),
        ({"issuer": "https://op.example", "token_endpoint": 7}, "token_endpoint"),
        ({"issuer": "https://op.example", "token_endpoint": "http://op.example/t"}, "plain http"),
        ({"issuer": "https://op.example", "token_endpoint": "not a url"}, "URL"),
        ({"error": "server_error"}, "server_error"),
    ],
)
def test_a_wrong_configuration_is_refused(document, said):
    """Another issuer's, without the endpoint, or with an endpoint over plain http."""
    refusal = discovery(**document)

    assert isinstance(refusal, TokenRefusal)
    assert said in refusal.reason


def test_a_configuration_without_the_backchannel_is_refused_when_it_is_needed():
    """The operator may not offer CIBA."""
    refusal = discovery(backchannel=True, issuer="https://op.example", token_endpoint="https://op.example/t")

    assert isinstance(refusal, TokenRefusal)
    assert "backchannel_authentication_endpoint" in refusal.reason


@pytest.mark.parametrize("stated", ["https://op.example", "https://op.example/"])
def test_a_configuration_url_stands_for_an_issuer_with_and_without_a_slash(stated):
    """The URL does not tell which of the two is the issuer."""
    for asked in ("https://op.example/.well-known/openid-configuration",):
        found = discovery(asked=asked, issuer=stated, token_endpoint="https://op.example/t")

        assert isinstance(found, dict)


def test_an_issuer_is_compared_to_the_letter():
    """A slash at the end is part of the issuer."""
    asked = "https://op.example/"

    assert issuer_of(asked)[1] == "https://op.example/.well-known/openid-configuration"
    assert isinstance(discovery(asked=asked, issuer=asked, token_endpoint="https://op.example/t"), dict)
    refusal = discovery(asked=asked, issuer="https://op.example", token_endpoint="https://op.example/t")
    assert isinstance(refusal, TokenRefusal)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "[::1]",
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "x.localhost",
    ],
)
def test_an_issuer_elsewhere_must_not_name_an_address_of_this_machine_or_link(host):
    """Its configuration would send the credentials to a metadata service, or to a neighbor."""
    refusal = discovery(issuer="https://op.example", token_endpoint=f"https://{host}/t")

    assert isinstance(refusal, TokenRefusal)
    assert "token_endpoint" in refusal.reason
    assert not refusal.again


@pytest.mark.parametrize("query", ["%", "%4", "%?41", "a b", "a=%zz", "#f"])
def test_a_query_that_is_not_percent_encoded_is_rejected(query):
    with pytest.raises(ConfigurationError, match="percent-encoded"):
        split_endpoint("token_url", f"https://op.example/t?{query}", allow_http=False)


@pytest.mark.parametrize("marks", ["\ufeff", "\ufeff\ufeff"])
def test_a_byte_order_mark_hides_no_address_of_this_machine(marks):
    assert isinstance(
        discovery(issuer="https://op.example", token_endpoint=f"{marks}https://127.0.0.1/t"), TokenRefusal
    )


def test_a_byte_order_mark_is_no_part_of_a_discovered_endpoint():
    """A server rejects an assertion with it in the audience."""
    found = discovery(issuer="https://op.example", token_endpoint="\ufeffhttps://op.example/t")

    assert found == {"token_url": "https://op.example/t"}


def test_an_issuer_on_this_machine_may_name_one():
    """A sandbox on this machine does."""
    found = discovery(asked="http://127.0.0.1:1", issuer="http://127.0.0.1:1", token_endpoint="http://127.0.0.1:1/t")

    assert isinstance(found, dict)


def test_a_date_without_a_zone_is_gmt(monkeypatch):
    """HTTP dates are in GMT; the time zone of this machine has no effect."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        wrong_clock = read({"error": "invalid_client"}, status=401, headers=[(b"date", NOW_AS_DATE[:-4])])
        later = read(b"", status=503, headers=[(b"retry-after", b"Fri, 15 Jan 2027 08:00:30")])
    finally:
        monkeypatch.undo()
        time.tzset()

    assert isinstance(wrong_clock, TokenRefusal)
    assert "clock is" not in wrong_clock.reason
    assert isinstance(later, TokenRefusal)
    assert later.wait == 30.0
