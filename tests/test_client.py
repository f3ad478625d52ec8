"""Both clients, with a caller's httpx client and a handler function; the same tests run for all shells."""

import copy
import json
import logging
import math
import pickle
import time
import traceback
import uuid

import anyio
import pytest

from camara_otp import (
    APIError,
    AsyncOTPClient,
    ConfigurationError,
    InvalidOTPError,
    OTPClient,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RequestValidationError,
    RetryPolicy,
    SendCodeRequest,
    SendCodeResponse,
    TokenError,
    TooManyRequestsError,
    UnauthenticatedError,
    UnexpectedResponseError,
    ValidateCodeRequest,
    ValidateCodeResponse,
)
from tests.conftest import BASE_URL, MESSAGE, NUMBER, TOKEN
from tests.http import httpx

ID = "ea0840f3-3663-4149-bd10-c7c6b8912105"


class Operator:
    """Respond to requests from a list, the last response for ever, and store the requests."""

    def __init__(self, *answers):
        self.answers = list(answers) or [sent()]
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        # A response is used up by the client that reads it.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def tokens(self):
        return [request.headers.get("authorization") for request in self.requests]


def sent(**headers):
    return httpx.Response(200, json={"authenticationId": ID}, headers=headers)


def verified(**headers):
    return httpx.Response(204, headers=headers)


def refused(status, code=None, **headers):
    body = {"status": status, "code": code, "message": "in words"} if code else None
    return httpx.Response(status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_send_code_posts_the_documented_request(shell):
    """Method, path, headers and body are those of the contract."""
    operator = Operator(sent())

    response = shell.mocked(operator).send_code(NUMBER, MESSAGE)

    (request,) = operator.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE_URL}/otpvalidation/send-code")
    assert json.loads(request.content) == {"phoneNumber": NUMBER, "message": MESSAGE}
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("camara-otp/")
    assert uuid.UUID(request.headers["x-correlator"]).version == 4
    assert response == SendCodeResponse(ID, request.headers["x-correlator"])


def test_validate_code_posts_the_documented_request(shell):
    """204 returns; the code is sent as it was typed."""
    operator = Operator(verified())

    response = shell.mocked(operator).validate_code(ID, "0042")

    (request,) = operator.requests
    assert str(request.url) == f"{BASE_URL}/otpvalidation/validate-code"
    assert json.loads(request.content) == {"authenticationId": ID, "code": "0042"}
    assert response == ValidateCodeResponse(request.headers["x-correlator"])


def test_requests_may_be_given_whole_in_parts_or_by_keyword(shell):
    """All forms send the same bytes."""
    operator = Operator(sent(), sent(), sent(), verified(), verified(), verified())
    client = shell.mocked(operator)

    client.send_code(NUMBER, MESSAGE)
    client.send_code(phone_number=NUMBER, message=MESSAGE)
    client.send_code(SendCodeRequest(NUMBER, MESSAGE))
    client.validate_code(ID, "AJY3")
    client.validate_code(authentication_id=ID, code="AJY3")
    client.validate_code(ValidateCodeRequest(ID, "AJY3"))

    bodies = [request.content for request in operator.requests]
    assert len(set(bodies[:3])) == len(set(bodies[3:])) == 1


@pytest.mark.parametrize(
    ("method", "arguments", "field"),
    [
        ("send_code", (NUMBER, "no label"), "message"),
        ("send_code", ("666", MESSAGE), "phone_number"),
        ("send_code", (NUMBER,), "message"),
        ("send_code", (SendCodeRequest(NUMBER, MESSAGE), MESSAGE), "message"),
        ("validate_code", ("", "AJY3"), "authentication_id"),
        ("validate_code", (ID, 1234), "code"),
        ("validate_code", (ID,), "code"),
        ("validate_code", (ValidateCodeRequest(ID, "1"), "1"), "code"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_sent(shell, method, arguments, field):
    """The error names the field and the operation."""
    operator = Operator()

    with pytest.raises(RequestValidationError) as caught:
        getattr(shell.mocked(operator), method)(*arguments)

    assert operator.requests == []
    assert caught.value.field == field
    assert caught.value.operation == method
    assert (caught.value.attempts, caught.value.outcome_unknown) == (0, False)


# --- Settings --------------------------------------------------------------------------------------------------------


def test_settings_come_from_the_environment(shell, monkeypatch):
    """Base URL, token and api_path; arguments win."""
    monkeypatch.setenv("CAMARA_BASE_URL", "https://env.example/root/")
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", "env-token")
    monkeypatch.setenv("CAMARA_API_PATH", "/one-time-password-sms/v1")
    operator = Operator()
    http_client = shell.http_client(transport=httpx.MockTransport(operator))

    shell.bare(http_client=http_client).send_code(NUMBER, MESSAGE)
    shell.bare("https://arg.example", token="arg", api_path="/v1/otp", http_client=http_client).send_code(
        NUMBER, MESSAGE
    )

    assert [str(request.url) for request in operator.requests] == [
        "https://env.example/root/one-time-password-sms/v1/send-code",
        "https://arg.example/v1/otp/send-code",
    ]
    assert operator.tokens == ["Bearer env-token", "Bearer arg"]


def test_extra_headers_and_params_go_with_every_request(shell):
    """Operators require a sender name or an API key."""
    operator = Operator(sent(), verified())
    client = shell.mocked(operator, headers={"x-otp-sms-header": "Cool App"}, params={"mock-key": "a b"})

    client.send_code(NUMBER, MESSAGE)
    client.validate_code(ID, "1")

    for request in operator.requests:
        assert request.headers["x-otp-sms-header"] == "Cool App"
        assert request.url.query == b"mock-key=a+b"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"base_url": None}, "base_url: is missing"),
        ({"base_url": ""}, "base_url: is missing"),
        ({"base_url": "http://api.example.com"}, "plain http"),
        ({"token": ""}, "token: is empty"),
        ({"token": "a\r\nb"}, "token: "),
        ({"token": 7}, "token: "),
        ({"token": None}, "http_client"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"headers": {"Authorization": "x"}}, "headers: "),
        ({"api_path": "/a?b"}, "api_path: "),
        ({"max_response_bytes": 0}, "max_response_bytes"),
        ({"max_response_bytes": "64k"}, "max_response_bytes"),
        ({"retry": 3}, "retry"),
        ({"x_correlator": "fixed"}, "x_correlator"),
        ({"base_url": b"https://api.example.com"}, "base_url: must be a string"),
        ({"base_url": httpx.URL("https://api.example.com")}, "base_url: must be a string"),
        ({"api_path": 5}, "api_path: must be a string"),
        ({"headers": [("a", "b")]}, "headers: must be a mapping"),
        ({"params": "a=b"}, "params: must be a mapping"),
        ({"params": {"a": "\ud800"}}, "params: must be a mapping"),
        ({"params": {"a": None}}, "params: must be a mapping"),
        ({"params": {"a": ["b", None]}}, "params: must be a mapping"),
    ],
)
@pytest.mark.parametrize("kind", [OTPClient, AsyncOTPClient])
def test_a_bad_setting_is_refused_when_the_client_is_made(kind, options, names):
    """The message has the name of the setting and a remedy."""
    with pytest.raises(ConfigurationError, match=names):
        kind(**{"base_url": BASE_URL, "token": TOKEN} | options)


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ({"base_url": "http://api.example.com", "token": "secret"}, None),
        ({"token": "secret\n"}, None),
        ({}, "secret\n"),
        ({"token": "t", "headers": {"X-Key": "secret\n"}}, None),
        ({"token": "t", "params": {"key": ("secret", "\ud800")}}, None),
    ],
)
@pytest.mark.parametrize("kind", [OTPClient, AsyncOTPClient])
def test_a_refused_setting_leaves_no_secret_in_the_traceback(kind, options, environment, monkeypatch):
    """The traceback shows the incomplete client too."""
    if environment:
        monkeypatch.setenv("CAMARA_BEARER_TOKEN", environment)
    with pytest.raises(ConfigurationError) as caught:
        kind(**{"base_url": BASE_URL} | options)
    stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    ours = [frame for frame in stack if "tests" not in frame.filename]
    assert ours
    assert not [frame.name for frame in ours if "secret" in repr(frame.locals)]
    assert ours[-1].locals["self"] == f"{kind.__name__}(not set up)"


@pytest.mark.parametrize("kind", [OTPClient, AsyncOTPClient])
def test_a_missing_token_is_refused(kind):
    """Neither the argument nor the variable is set."""
    with pytest.raises(ConfigurationError, match="CAMARA_BEARER_TOKEN"):
        kind(BASE_URL)


@pytest.mark.parametrize("kind", [OTPClient, AsyncOTPClient])
def test_a_variable_that_is_empty_is_missing(kind, monkeypatch):
    """For example in a container whose secret was not set."""
    monkeypatch.setenv("CAMARA_BEARER_TOKEN", "")
    with pytest.raises(ConfigurationError, match="token: is missing.* set CAMARA_BEARER_TOKEN"):
        kind(BASE_URL)


@pytest.mark.parametrize(("kind", "wrong"), [(OTPClient, httpx.AsyncClient), (AsyncOTPClient, httpx.Client)])
def test_the_http_client_of_the_other_world_is_refused(kind, wrong):
    """The message names the right class."""
    with pytest.raises(ConfigurationError, match="http_client"):
        kind(BASE_URL, token=TOKEN, http_client=wrong(transport=httpx.MockTransport(Operator())))


def test_plain_http_warns_where_it_is_allowed(shell):
    """The warning is issued once, when the client is created."""
    with pytest.warns(UserWarning, match="plain http") as warned:
        client = shell.mocked(Operator(), base_url="http://operator:8080", allow_http=True)
    assert len(warned) == 1
    assert client.send_code(NUMBER, MESSAGE)
    if shell.kind == "sync":
        assert warned[0].filename.endswith("conftest.py")


# --- Correlator ------------------------------------------------------------------------------------------------------


def test_a_correlator_may_be_given_per_call_by_callable_or_not_at_all(shell):
    """The argument of the call takes precedence."""
    operator = Operator()

    mine = shell.mocked(operator, x_correlator=lambda: "mine-1").send_code(NUMBER, MESSAGE)
    call = shell.mocked(operator, x_correlator=lambda: "mine-1").send_code(NUMBER, MESSAGE, x_correlator="call-1")
    none = shell.mocked(operator, x_correlator=None).send_code(NUMBER, MESSAGE)

    assert [request.headers.get("x-correlator") for request in operator.requests] == ["mine-1", "call-1", None]
    assert (mine.x_correlator, call.x_correlator, none.x_correlator) == ("mine-1", "call-1", None)


def test_the_operators_echo_is_preferred(shell):
    """On results and on errors."""
    client = shell.mocked(Operator(sent(**{"x-correlator": "theirs"}), refused(404, "NOT_FOUND", x_correlator="more")))

    assert client.send_code(NUMBER, MESSAGE).x_correlator == "theirs"
    with pytest.raises(OTPError) as caught:
        client.send_code(NUMBER, MESSAGE)
    assert caught.value.x_correlator == "more"


@pytest.mark.parametrize("value", ["", "a\r\nX: y", "a b", "x" * 257, 7])
def test_a_bad_correlator_is_refused(shell, value):
    """From the call and from the callable; nothing is sent."""
    operator = Operator()

    with pytest.raises(RequestValidationError, match="x_correlator"):
        shell.mocked(operator).send_code(NUMBER, MESSAGE, x_correlator=value)
    with pytest.raises(RequestValidationError, match="x_correlator"):
        shell.mocked(operator, x_correlator=lambda: value).send_code(NUMBER, MESSAGE)
    assert operator.requests == []


def test_a_correlator_callable_that_raises_is_a_configuration_error(shell):
    """The exception is chained, and nothing is sent."""
    operator = Operator()

    with pytest.raises(ConfigurationError, match="ZeroDivisionError") as caught:
        shell.mocked(operator, x_correlator=lambda: 1 / 0).send_code(NUMBER, MESSAGE)

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert operator.requests == []


# --- Token -----------------------------------------------------------------------------------------------------------


class Renewing:
    """A provider that gives the next token whenever one is rejected."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)
        self.rejected = []

    def get_token(self, *, rejected, timeout):
        assert 0 < timeout <= 10
        if rejected is not None:
            self.rejected.append(rejected)
            if len(self.tokens) > 1:
                self.tokens.pop(0)
        return self.tokens[0]

    async def aget_token(self, *, rejected, timeout):
        return self.get_token(rejected=rejected, timeout=timeout)


@pytest.mark.parametrize(
    "rejection",
    [refused(401, "UNAUTHENTICATED"), refused(401, "AUTHENTICATION_REQUIRED"), httpx.Response(401, html="<p>no")],
    ids=["unauthenticated", "authentication required", "html"],
)
@pytest.mark.parametrize("retry", [RetryPolicy(), RetryPolicy(max_attempts=1), None])
def test_401_is_repeated_once_with_a_renewed_token(shell, rejection, retry):
    """Same bytes, same correlator, another token; also without a retry policy."""
    operator, provider = Operator(rejection, sent()), Renewing("old", "new")

    response = shell.mocked(operator, token=provider, retry=retry).send_code(NUMBER, MESSAGE)

    first, second = operator.requests
    assert operator.tokens == ["Bearer old", "Bearer new"]
    assert first.content == second.content
    assert first.headers["x-correlator"] == second.headers["x-correlator"] == response.x_correlator
    assert provider.rejected == ["old"]


def test_a_second_401_is_raised(shell):
    """One renewal, one repeat, then the error."""
    operator = Operator(refused(401, "UNAUTHENTICATED"))

    with pytest.raises(UnauthenticatedError) as caught:
        shell.mocked(operator, token=Renewing("a", "b", "c")).send_code(NUMBER, MESSAGE)

    assert operator.tokens == ["Bearer a", "Bearer b"]
    assert (caught.value.attempts, caught.value.outcome_unknown) == (2, False)


@pytest.mark.parametrize("token", [TOKEN, lambda: TOKEN, Renewing(TOKEN)], ids=["text", "callable", "provider"])
def test_401_without_another_token_is_raised_at_once(shell, token):
    """The same token would be refused again."""
    operator = Operator(refused(401, "UNAUTHENTICATED"))

    with pytest.raises(UnauthenticatedError):
        shell.mocked(operator, token=token).send_code(NUMBER, MESSAGE)

    assert len(operator.requests) == 1


def test_a_401_with_a_code_of_the_api_is_never_repeated(shell):
    """The API's own codes concern the verification, not the token."""
    operator = Operator(refused(401, "ONE_TIME_PASSWORD_SMS.INVALID_OTP"))

    with pytest.raises(InvalidOTPError):
        shell.mocked(operator, token=Renewing("a", "b")).validate_code(ID, "1")

    assert len(operator.requests) == 1


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(401, json={"status": 401, "code": code, "message": "m"})
        for code in ("UNAUTHENTICATED", "UNAUTHORIZED", "900901", "INVALID_TOKEN", "EXPIRED_CODE")
    ]
    + [
        httpx.Response(401, json={"error": {"code": "401"}}),
        httpx.Response(401, json={"error": {"code": 401}}),
        httpx.Response(401, html="<html>Please log in</html>"),
        httpx.Response(401),
    ],
    ids=lambda response: response.text or "empty",
)
def test_any_other_401_renews_the_token_once(shell, response):
    """Gateways reject a token with their own codes, or with a page."""
    operator = Operator(response, verified())

    shell.mocked(operator, token=Renewing("a", "b")).validate_code(ID, "1")

    assert operator.tokens == ["Bearer a", "Bearer b"]


def test_a_token_of_the_call_is_used_for_it_alone(shell):
    """A string is neither renewed nor replaced by the token of the client."""
    operator = Operator(refused(401, "UNAUTHENTICATED"), sent())
    client = shell.mocked(operator, token=Renewing("mine", "newer"))

    with pytest.raises(UnauthenticatedError):
        client.send_code(NUMBER, MESSAGE, token="users")
    client.send_code(NUMBER, MESSAGE)

    assert operator.tokens == ["Bearer users", "Bearer mine"]


def test_a_token_provider_of_the_call_is_renewed(shell):
    """The kinds are those of the constructor."""
    operator = Operator(refused(401), sent())

    shell.mocked(operator).send_code(NUMBER, MESSAGE, token=Renewing("a", "b"))

    assert operator.tokens == ["Bearer a", "Bearer b"]


def test_our_authorization_wins_over_the_callers_client(shell):
    """Neither its default header nor its auth replaces the token."""
    operator = Operator()
    http_client = shell.http_client(
        transport=httpx.MockTransport(operator),
        headers={"Authorization": "Basic theirs", "x-correlator": "theirs", "x-mine": "kept"},
        auth=("user", "password"),
        cookies={"a": "b"},
        params={"p": "q"},
    )

    shell.client(http_client=http_client).send_code(NUMBER, MESSAGE)

    (request,) = operator.requests
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["x-correlator"] != "theirs"
    assert (request.headers["x-mine"], request.headers["cookie"]) == ("kept", "a=b")
    assert request.url.query == b"p=q"


def test_without_a_token_the_callers_auth_applies(shell):
    """token=None leaves authorization to http_client."""
    operator = Operator()
    http_client = shell.http_client(transport=httpx.MockTransport(operator), auth=("user", "password"))

    shell.client(token=None, http_client=http_client).send_code(NUMBER, MESSAGE)

    assert operator.tokens[0].startswith("Basic ")


def test_the_callers_client_is_left_alone(shell):
    """It stays open and unchanged after this client is closed."""
    operator = Operator()
    http_client = shell.http_client(transport=httpx.MockTransport(operator), follow_redirects=True)
    before = (dict(http_client.headers), http_client.timeout, http_client.follow_redirects)
    client = shell.client(http_client=http_client)
    client.send_code(NUMBER, MESSAGE)

    client.close()

    assert not http_client.is_closed
    assert (dict(http_client.headers), http_client.timeout, http_client.follow_redirects) == before


def test_redirects_are_never_followed(shell):
    """Even where the caller's client follows them."""
    operator = Operator(httpx.Response(302, headers={"location": "https://evil.example/"}))
    http_client = shell.http_client(transport=httpx.MockTransport(operator), follow_redirects=True)

    with pytest.raises(UnexpectedResponseError) as caught:
        shell.client(http_client=http_client).validate_code(ID, "1")

    assert len(operator.requests) == 1
    assert (caught.value.status, caught.value.outcome_unknown) == (302, True)


@pytest.mark.parametrize("bad", ["a\nb", "", None])
def test_a_bad_token_of_a_callable_is_a_token_error(shell, bad):
    """Nothing is sent, and `outcome_unknown` is False."""
    operator = Operator()

    with pytest.raises(TokenError) as caught:
        shell.mocked(operator, token=lambda: bad).send_code(NUMBER, MESSAGE)

    assert operator.requests == []
    assert (caught.value.operation, caught.value.attempts, caught.value.outcome_unknown) == ("send_code", 0, False)
    assert caught.value.x_correlator


def test_a_callable_that_is_too_slow_is_noticed_when_it_returns(shell):
    """The request is not sent after the deadline."""
    operator = Operator()

    def slow():
        time.sleep(0.06)
        return TOKEN

    with pytest.raises(TokenError, match="over before") as caught:
        shell.mocked(operator, token=slow, timeout=0.05).send_code(NUMBER, MESSAGE)

    assert operator.requests == []
    assert caught.value.attempts == 0


def test_a_renewal_that_fails_is_a_token_error(shell):
    """After one attempt that the operator refused."""

    class Failing(Renewing):
        def get_token(self, *, rejected, timeout):
            if rejected:
                raise OSError
            return "a"

    with pytest.raises(TokenError) as caught:
        shell.mocked(Operator(refused(401)), token=Failing()).send_code(NUMBER, MESSAGE)

    assert (caught.value.attempts, caught.value.outcome_unknown) == (1, False)
    assert isinstance(caught.value.__cause__, OSError)


# --- Failures and repeats --------------------------------------------------------------------------------------------

NOT_SENT = [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x"), httpx.ProxyError("x")]
UNKNOWN = [
    httpx.ReadTimeout("x"),
    httpx.WriteTimeout("x"),
    httpx.ReadError("x"),
    httpx.WriteError("x"),
    httpx.RemoteProtocolError("x"),
    httpx.DecodingError("x"),
    RuntimeError("from a hook"),
]
QUICK = RetryPolicy(first_wait=0.001, max_wait=0.002)


@pytest.mark.parametrize("failure", NOT_SENT, ids=lambda failure: type(failure).__name__)
def test_what_was_not_sent_is_tried_again_up_to_three_times(shell, failure):
    """Then the last error is raised."""
    operator = Operator(failure)

    with pytest.raises(RequestNotSentError) as caught:
        shell.mocked(operator, retry=QUICK).send_code(NUMBER, MESSAGE)

    assert len(operator.requests) == 3
    assert len({request.headers["x-correlator"] for request in operator.requests}) == 1
    assert (caught.value.attempts, caught.value.outcome_unknown) == (3, False)
    assert caught.value.x_correlator == operator.requests[0].headers["x-correlator"]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("failure", NOT_SENT, ids=lambda failure: type(failure).__name__)
def test_a_later_attempt_may_succeed(shell, failure):
    """One failure to connect costs a short wait."""
    operator = Operator(failure, sent())

    assert shell.mocked(operator, retry=QUICK).send_code(NUMBER, MESSAGE).authentication_id == ID
    assert len(operator.requests) == 2


def test_a_renewed_token_is_kept_for_further_attempts(shell):
    """After a 401 and a failure to connect, the same new token is sent again."""
    operator = Operator(refused(401), httpx.ConnectError("x"), sent())

    assert shell.mocked(operator, token=Renewing("a", "b", "c"), retry=QUICK).send_code(NUMBER, MESSAGE)
    assert operator.tokens == ["Bearer a", "Bearer b", "Bearer b"]


def test_without_a_policy_nothing_is_repeated(shell):
    """The argument is `retry=None`."""
    operator = Operator(httpx.ConnectError("x"))

    with pytest.raises(RequestNotSentError) as caught:
        shell.mocked(operator, retry=None).send_code(NUMBER, MESSAGE)

    assert caught.value.attempts == len(operator.requests) == 1


@pytest.mark.parametrize("failure", UNKNOWN, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("method", ["send_code", "validate_code"])
def test_what_may_have_been_processed_is_never_sent_again(shell, failure, method):
    """One request, outcome unknown, no exception of another library."""
    operator = Operator(failure)

    with pytest.raises(OutcomeUnknownError) as caught:
        getattr(shell.mocked(operator, retry=QUICK), method)(*{"send_code": (NUMBER, MESSAGE)}.get(method, (ID, "1")))

    assert len(operator.requests) == 1
    assert (caught.value.attempts, caught.value.outcome_unknown, caught.value.operation) == (1, True, method)
    assert caught.value.x_correlator == operator.requests[0].headers["x-correlator"]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500, 502, 503, 504, 599])
def test_refusals_are_never_sent_again(shell, status):
    """A Retry-After header does not change this."""
    operator = Operator(refused(status, retry_after="0"))

    with pytest.raises(APIError) as caught:
        shell.mocked(operator, retry=QUICK).send_code(NUMBER, MESSAGE)

    assert len(operator.requests) == 1
    assert caught.value.retry_after == 0.0
    assert caught.value.outcome_unknown is (status >= 500)


def test_a_rate_limit_is_waited_for_only_where_asked(shell):
    """Retry-After is honoured within the call's time."""
    patient = RetryPolicy(rate_limited=True)
    operator = Operator(refused(429, "TOO_MANY_REQUESTS", retry_after="0"), sent())

    assert shell.mocked(operator, retry=patient).send_code(NUMBER, MESSAGE)
    assert len(operator.requests) == 2

    late = Operator(refused(429, "TOO_MANY_REQUESTS", retry_after="60"))
    with pytest.raises(TooManyRequestsError) as caught:
        shell.mocked(late, retry=patient, timeout=1.0).send_code(NUMBER, MESSAGE)
    assert len(late.requests) == 1
    assert caught.value.retry_after == 60.0


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, "5", True])
def test_a_bad_timeout_of_a_call_is_refused(shell, timeout):
    """The error comes before anything is sent."""
    operator = Operator()

    with pytest.raises(ConfigurationError, match="timeout"):
        shell.mocked(operator).send_code(NUMBER, MESSAGE, timeout=timeout)

    assert operator.requests == []


# --- Life cycle and privacy ------------------------------------------------------------------------------------------


def test_a_closed_client_says_so(shell):
    """Closing twice is allowed; a later call raises an error."""
    operator = Operator()
    client = shell.mocked(operator)
    client.close()
    client.close()

    with pytest.raises(ConfigurationError, match="closed") as caught:
        client.send_code(NUMBER, MESSAGE)

    assert operator.requests == []
    assert caught.value.operation == "send_code"


def test_a_with_block_closes_the_client():
    with OTPClient(BASE_URL, token=TOKEN) as client:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        client.send_code(NUMBER, MESSAGE)


@pytest.mark.anyio
async def test_an_async_with_block_closes_the_client():
    async with AsyncOTPClient(BASE_URL, token=TOKEN) as client:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        await client.send_code(NUMBER, MESSAGE)


@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("kind", [OTPClient, AsyncOTPClient])
def test_a_client_cannot_be_copied_and_says_why(kind, travel):
    """It has connections and a token."""
    with pytest.raises(TypeError, match="make one per process"):
        travel(kind(BASE_URL, token=TOKEN))


@pytest.mark.parametrize("kind", [OTPClient, AsyncOTPClient])
def test_the_repr_of_a_client_shows_the_endpoint_alone(kind):
    """No token, no headers, no parameters."""
    client = kind(BASE_URL, token="secret-token", headers={"x-key": "secret-key"}, params={"k": "secret-param"})

    assert repr(client) == f"{kind.__name__}({BASE_URL}/otpvalidation)"

    if isinstance(client, OTPClient):
        client.close()
    else:
        anyio.run(client.aclose)
    assert repr(client) == f"{kind.__name__}({BASE_URL}/otpvalidation, closed)"


FAILURES = [
    (httpx.ConnectError("x"), ()),
    (httpx.ReadTimeout("x"), ()),
    (refused(401, "UNAUTHENTICATED"), ()),
    (refused(500), ()),
    (httpx.Response(200, json={}), ()),
    (sent(), ("bad",)),
]


@pytest.mark.parametrize(("answer", "extra"), FAILURES, ids=lambda value: repr(value)[:40])
def test_a_traceback_with_locals_shows_no_secret(shell, answer, extra):
    """Every frame of the package has dropped number, message, code and token."""
    client = shell.mocked(Operator(answer), token="secret-token-123", retry=None)
    for method, arguments in (
        ("send_code", (NUMBER, "secret {{code}}" if not extra else "secret bad")),
        ("validate_code", ("secret-id", "secretcode" + "x" * bool(extra))),
    ):
        with pytest.raises(OTPError) as caught:
            getattr(client, method)(*arguments)
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
        ours = [frame for frame in frames if "camara_otp" in frame.filename and "tests" not in frame.filename]
        assert ours
        for frame in ours:
            shown = repr(frame.locals)
            assert not [s for s in ("666111", "secret") if s in shown], (frame.name, shown)


def test_a_debug_log_line_per_attempt_shows_no_secret(shell, caplog):
    """Operation, masked number, outcome, duration and correlator; silent by default."""
    operator = Operator(httpx.ConnectError("x"), sent(), refused(400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP"))
    client = shell.mocked(operator, token="secret-token", retry=QUICK, x_correlator=lambda: "corr-1")

    with caplog.at_level(logging.DEBUG, logger="camara_otp"):
        client.send_code(NUMBER, "secret {{code}}")
        with pytest.raises(OTPError):
            client.validate_code("secret-id", "secretcode")

    lines = [record.getMessage() for record in caplog.records if record.name == "camara_otp"]
    assert len(lines) == 3
    assert "send_code to ***34 attempt 1: RequestNotSentError in " in lines[0]
    assert "send_code to ***34 attempt 2: HTTP 200 in " in lines[1]
    assert "validate_code attempt 1: HTTP 400 ONE_TIME_PASSWORD_SMS.INVALID_OTP in " in lines[2]
    assert all("corr-1" in line and "secret" not in line and "666111" not in line for line in lines)


def test_nothing_is_logged_unless_asked(shell, caplog):
    """The logger is silent by default."""
    shell.mocked(Operator()).send_code(NUMBER, MESSAGE)

    assert not [record for record in caplog.records if record.name == "camara_otp"]
    assert logging.getLogger("camara_otp").handlers == []


def test_a_correlator_callable_that_is_asynchronous_is_refused(shell):
    """The message has the name of the argument, and no warning about an unawaited coroutine is issued."""

    async def correlator():
        return "x"

    client = shell.mocked(Operator(sent()), x_correlator=correlator)
    with pytest.raises(ConfigurationError, match="give a plain one"):
        client.send_code(NUMBER, MESSAGE)
