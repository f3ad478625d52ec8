"""Deliberately wrong operators: the sandbox with one deviation each, and the scenarios that detect it."""

import json
from collections.abc import Callable

import attrs
import httpx

from camara_otp.conformance import sandbox_settings, settings_from
from camara_otp.sandbox import Sandbox

S01 = "OTPvalidationAPI_01_send_code_success_scenario"
S02 = "OTPvalidationAPI_02_send_code_success_scenario_without_x-correlator"
V01 = "OTPvalidationAPI_01_validate_code_sucess_scenario"
V02 = "OTPvalidationAPI_02_validate_code_sucess_scenario_without_x-correlator"
MAX_SEND = "OTPvalidationAPI_03_send_code_max_otp_code"
UNREACHABLE = "OTPvalidationAPI_04_send_code_phone_number_not_allowed"
LANDLINE = "OTPvalidationAPI_05_send_code_phone_number_not_allowed_3"
BLOCKED = "OTPvalidationAPI_06_send_code_phone_number_blocked"
FOREIGN = "OTPvalidationAPI_404.1_send_code_phone_number_not_belong_to_operator"
UNKNOWN = "OTPvalidationAPI_404_validate_code_resource_not_found"
WRONG = "OTPvalidationAPI_400.5_validate_code_invalid_otp_scenario"
EXPIRED = "OTPvalidationAPI_400.6_validate_code_verification_expired_scenario_1"
SUPERSEDED = "OTPvalidationAPI_400.7_validate_code_verification_expired_scenario_2"
USED = "OTPvalidationAPI_400.8_validate_code_verification_expired_scenario_3"
FAILED = "OTPvalidationAPI_400.9_validate_code_verification_failed_scenario"
NO_BODY = {
    "OTPvalidationAPI_400.1_send_code_no_request_body",
    "OTPvalidationAPI_400.1_validate_code_no_request_body",
}
NO_LABEL = "OTPvalidationAPI_400.6_send_code_missing_code_request_body"
TOO_LONG = "OTPvalidationAPI_400.7_send_code_message_too_long"
NO_MESSAGE = "OTPvalidationAPI_400.5_send_code_missing_message"
LONG_CODE = "OTPvalidationAPI_400.4_validate_code_exceed_code_max_length"
SEND_401 = [
    f"OTPvalidationAPI_401.{n}_send_code_{what}"
    for n, what in enumerate(("no_authorization_header", "expired_access_token", "invalid_access_token"), 1)
]
VALIDATE_401 = [tag.replace("send_code", "validate_code") for tag in SEND_401]
NEWEST = "camara_otp_validate_code_newest_of_two"
AT_LAST = "camara_otp_validate_code_right_at_last_try"
AFTER_CLOSING = "camara_otp_validate_code_right_after_closing"
AT_ONCE = "camara_otp_validate_code_twice_at_once"
LONGEST = "camara_otp_send_code_longest_message"
BEYOND_ASCII = "camara_otp_send_code_message_beyond_ascii"
SINGLE_BRACES = "camara_otp_send_code_single_braces"
NO_PLUS = "camara_otp_send_code_phone_number_without_plus"
NEWLINE = "camara_otp_send_code_phone_number_with_newline"
NOT_TEXT = "camara_otp_send_code_phone_number_not_text"
BROKEN_JSON = {"camara_otp_send_code_broken_json", "camara_otp_validate_code_broken_json"}
LONG_ID = "camara_otp_validate_code_id_too_long"
METHOD = "camara_otp_send_code_wrong_method"
LONG_CORRELATOR = "camara_otp_validate_code_longest_x-correlator"
BAD_CORRELATOR = "camara_otp_validate_code_malformed_x-correlator"
ECHO, STATUS, SUCCESS_BODY = "contract_x-correlator", "contract_status", "contract_success_body"
SECRET, INFO, TYPE = "contract_code_stays_secret", "contract_error_info", "contract_content_type"
PAIR, LATENCY, PATH = "contract_code_and_status", "contract_latency", "contract_path"

LONGEST_BEYOND = "camara_otp_send_code_longest_message_beyond_ascii"
LABEL_TWICE = "camara_otp_send_code_label_twice"
LINES = "camara_otp_send_code_several_lines"
WRONG_AT_ONCE = "camara_otp_validate_code_wrong_at_once"
UNKNOWN_PATH = "camara_otp_unknown_path"
CHARSET = "camara_otp_validate_code_charset"
SEND_CHARSET = "camara_otp_send_code_charset"
ANY_ACCEPT, NO_ACCEPT = "camara_otp_validate_code_any_accept", "camara_otp_validate_code_no_accept"
CAPITALS = "camara_otp_validate_code_capital_headers"
EMPTY_CORRELATOR = "camara_otp_validate_code_empty_x-correlator"
NO_OBJECT = {"camara_otp_send_code_no_object", "camara_otp_validate_code_no_object"}
NOT_UTF8 = "camara_otp_send_code_not_utf8"
OTHER_TYPE = "camara_otp_validate_code_code_other_type"
EMPTY_MESSAGE, OTHER_LABEL = "camara_otp_send_code_message_empty", "camara_otp_send_code_other_label"
TEXT = "contract_text"
ODD_IDS = "camara_otp_validate_code_id_odd_characters"
NOT_JSON = {"camara_otp_send_code_not_json", "camara_otp_validate_code_not_json"}
OPTIONAL = {
    "camara_otp_validate_code_of_another_client",
    "camara_otp_send_code_without_scope",
    "camara_otp_validate_code_without_scope",
}

MESSAGES = {LONGEST, BEYOND_ASCII, LONGEST_BEYOND, LABEL_TWICE, LINES}
SENDS = {S01, S02} | MESSAGES
VALIDATES = {V01, V02, NEWEST, AT_LAST, AT_ONCE} | MESSAGES


class Ask:
    """A request to the sandbox, easy to read and to change."""

    def __init__(self, request, sandbox):
        self.request = request
        self.sandbox = sandbox
        self.operation = request.url.path.rsplit("/", 1)[-1]
        try:
            self.body = json.loads(request.content)
        except ValueError:
            self.body = None

    def get(self, name):
        return self.body.get(name) if isinstance(self.body, dict) else None

    def with_body(self, **members):
        return self.changed(content=json.dumps({**self.body, **members}).encode())

    def changed(self, *, content=None, **headers):
        kept = {**self.request.headers, **headers}
        kept.pop("content-length", None)
        return httpx.Request(
            self.request.method,
            self.request.url,
            headers=kept,
            content=self.request.content if content is None else content,
        )

    @property
    def text(self):
        """Return the SMS of the request's id."""
        found = [item for item in self.sandbox.messages() if item.authentication_id == self.get("authenticationId")]
        return found[0] if found else None

    @property
    def code_is_right(self):
        return self.text is not None and self.text.code == self.get("code")


@attrs.frozen
class Said:
    """A response of the sandbox, easy to read and to change."""

    status: int
    headers: dict
    body: bytes

    @property
    def info(self):
        return json.loads(self.body) if self.body else {}

    @property
    def code(self):
        return self.info.get("code") if self.status >= 400 else None

    def having(self, status=None, body=None, drop=(), **headers):
        content = self.body if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        merged = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return Said(status or self.status, {k: v for k, v in merged.items() if k not in drop}, content)


SUCCESS = Said(204, {}, b"")


def refusal(status, code, said=None):
    """Return an error that follows the contract, with the headers of the response that it replaces."""
    headers = {**(said.headers if said else {}), "content-type": "application/json"}
    return Said(status, headers, json.dumps({"status": status, "code": code, "message": "No."}).encode())


class Wrong(httpx.AsyncBaseTransport):
    """The sandbox with a deviation: `before` changes requests, `after` changes answers."""

    def __init__(self, sandbox, before, after):
        self.sandbox = sandbox
        self.inner = sandbox.transport()
        self.before = before
        self.after = after

    async def handle_async_request(self, request):
        await request.aread()
        if "/_sandbox/" in request.url.path:
            return await self.inner.handle_async_request(request)
        ask = Ask(request, self.sandbox)
        answer = await self.inner.handle_async_request(self.before(ask) or request)
        await answer.aread()
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        said = Said(answer.status_code, headers, answer.content)
        changed = self.after(ask, said) or said
        # The correlator of a made-up answer is the one that was sent.
        if changed.status == 204 and changed.headers == {}:
            changed = changed.having(x_correlator=request.headers.get("x-correlator", "none"))
        return httpx.Response(changed.status, headers=changed.headers, content=changed.body or None, request=request)


@attrs.frozen
class Case:
    """One wrong operator.

    Args:
        name: what is wrong with it
        caught_by: the tags that fail, no more and no fewer
        before: changes a request on its way in
        after: changes an answer on its way out
        sandbox: settings of the sandbox that make it wrong
        told: settings of the check
        state: makes an object that has `before` and `after`, for what has to remember something
        at_least: whether more tags may fail, since the texts that it wastes are missing elsewhere
    """

    name: str
    caught_by: set[str]
    before: Callable = attrs.field(default=lambda ask: None, kw_only=True)
    after: Callable = attrs.field(default=lambda ask, said: None, kw_only=True)
    sandbox: dict = attrs.field(factory=dict, kw_only=True)
    told: dict = attrs.field(factory=dict, kw_only=True)
    state: Callable = attrs.field(default=None, kw_only=True)
    at_least: bool = attrs.field(default=False, kw_only=True)

    def operator(self):
        """Return the operator and the settings that a user would have written for a right one."""
        told = sandbox_settings("http://127.0.0.1:9091", DEFAULTS)
        does = self.state() if self.state else self
        return Wrong(Sandbox(**self.sandbox), does.before, does.after), settings_from({**told, **self.told})


DEFAULTS = {
    "release": "1.1.1",
    "maxSend": 4,
    "maxTry": 3,
    "codeLifetime": 300,
    "maxMessageLength": 160,
    "unreachableNumbers": ["+34600000001"],
    "landlineNumbers": ["+34910000001"],
    "blockedNumbers": ["+34600000002"],
    "foreignNumbers": ["+447700900001"],
}


def on(operation, status=None, code=None, then=lambda ask, said: None):
    """Change only the answers of an operation, a status and a code."""

    def after(ask, said):
        fits = operation in (None, ask.operation) and status in (None, said.status) and code in (None, said.code)
        return then(ask, said) if fits else None

    return after


def validates_when(condition):
    """Turn a refused validation into a success under a condition."""
    return on(
        "validate-code", 400, then=lambda ask, said: SUCCESS if ask.get("code") and condition(ask, said) else None
    )


def info(**members):
    """Change members of every error; None drops one."""

    def after(ask, said):
        if said.status < 400:
            return None
        merged = {**said.info, **{k: v(said) if callable(v) else v for k, v in members.items()}}
        return said.having(body={k: v for k, v in merged.items() if v is not None})

    return after


class OnePerNumber:
    """Respond to every send to a number with the id of the first, whose code changes."""

    def __init__(self):
        self.first = {}
        self.newest = {}

    def before(self, ask):
        newest = self.newest.get(ask.get("authenticationId"))
        return ask.with_body(authenticationId=newest) if newest else None

    def after(self, ask, said):
        if ask.operation != "send-code" or said.status != 200:
            return None
        first = self.first.setdefault(ask.get("phoneNumber"), said.info["authenticationId"])
        self.newest[first] = said.info["authenticationId"]
        return said.having(body={"authenticationId": first})


class Stumbling:
    """Rate-limit every request once, before it has an effect."""

    def __init__(self):
        self.seen = set()

    def before(self, ask):
        return None

    def after(self, ask, said):
        correlator = ask.request.headers.get("x-correlator")
        if said.status < 400 or said.code.startswith("ONE_TIME") or correlator is None or correlator in self.seen:
            return None
        self.seen.add(correlator)
        return refusal(429, "TOO_MANY_REQUESTS", said).having(retry_after="0")


def without_label(ask):
    message = ask.get("message")
    return (
        ask.with_body(message=message + " {{code}}") if isinstance(message, str) and "{{code}}" not in message else None
    )


def shortened(ask):
    message = ask.get("message")
    return ask.with_body(message=message[:160]) if isinstance(message, str) and 160 < len(message) < 170 else None


def with_plus(ask):
    number = ask.get("phoneNumber")
    return ask.with_body(phoneNumber="+" + number) if isinstance(number, str) and number[:2] == "34" else None


def stripped(ask):
    number = ask.get("phoneNumber")
    return ask.with_body(phoneNumber=number.strip()) if isinstance(number, str) and number.endswith("\n") else None


def stringified(ask):
    number = ask.get("phoneNumber")
    return ask.with_body(phoneNumber=f"+{number}") if isinstance(number, int) else None


def has_texts(ask, count):
    return ask.text is not None and len(ask.sandbox.messages(ask.text.phone_number)) >= count


def token_is(token):
    return lambda ask: (
        ask.changed(authorization="Bearer good") if ask.request.headers.get("authorization", "") == token else None
    )


CASES = [
    # Success.
    Case("a send is answered with 201", SENDS | {STATUS}, after=on("send-code", 200, then=lambda _, a: a.having(201))),
    Case("a send is answered with 202", SENDS | {STATUS}, after=on("send-code", 200, then=lambda _, a: a.having(202))),
    Case("a valid code is answered with 200 and a body", VALIDATES | {STATUS}, sandbox={"validated_status": 200}),
    Case(
        "a 204 has a body",
        {SUCCESS_BODY},
        after=on("validate-code", 204, then=lambda _, a: a.having(body={"valid": True})),
    ),
    Case(
        "a send is answered without an id",
        SENDS | {SUCCESS_BODY},
        after=on("send-code", 200, then=lambda _, a: a.having(body={"requestId": "1"})),
    ),
    Case(
        "an id is a number",
        SENDS | {SUCCESS_BODY},
        after=on("send-code", 200, then=lambda _, a: a.having(body={"authenticationId": 17})),
    ),
    Case(
        "an id has 40 characters",
        {SUCCESS_BODY} | SENDS,
        before=lambda ask: (
            ask.with_body(authenticationId=ask.body["authenticationId"][4:])
            if str(ask.get("authenticationId")).startswith("urn:")
            else None
        ),
        after=on(
            "send-code", 200, then=lambda _, a: a.having(body={"authenticationId": "urn:" + a.info["authenticationId"]})
        ),
    ),
    Case("every send to a number answers the same id", {SUPERSEDED, S02, MAX_SEND}, state=OnePerNumber),
    Case(
        "the code is in the answer to the send",
        {SECRET},
        after=on(
            "send-code",
            200,
            then=lambda ask, a: a.having(body={**a.info, "debug": ask.sandbox.last_code(ask.get("phoneNumber"))}),
        ),
    ),
    Case(
        "the code is in a header of the answer to the send",
        {SECRET},
        after=on("send-code", 200, then=lambda ask, a: a.having(x_debug=ask.sandbox.last_code(ask.get("phoneNumber")))),
    ),
    # Correlators, forms, times, places.
    Case("no x-correlator comes back", {ECHO}, sandbox={"correlator": False}),
    Case(
        "no x-correlator comes back with errors",
        {ECHO},
        after=lambda _, a: a.having(drop=("x-correlator",)) if a.status >= 400 else None,
    ),
    Case(
        "the x-correlator comes back in capitals",
        {ECHO},
        after=lambda _, a: a.having(x_correlator=a.headers["x-correlator"].upper()),
    ),
    Case("every answer has an x-correlator of its own", {ECHO}, after=lambda _, a: a.having(x_correlator="gateway-1")),
    Case(
        "a long x-correlator is refused",
        {LONG_CORRELATOR},
        after=lambda ask, a: (
            refusal(400, "INVALID_ARGUMENT", a) if len(ask.request.headers.get("x-correlator", "")) > 55 else None
        ),
    ),
    Case("a malformed x-correlator is accepted", {BAD_CORRELATOR}, sandbox={"release": "1.0.0"}),
    Case(
        "every x-correlator is refused",
        {S01, LONGEST, BEYOND_ASCII, UNREACHABLE, LANDLINE, BLOCKED, FOREIGN, UNKNOWN, LONG_CORRELATOR}
        | {
            LABEL_TWICE,
            LONGEST_BEYOND,
            LINES,
            UNKNOWN_PATH,
            ANY_ACCEPT,
            CAPITALS,
            CHARSET,
            EMPTY_CORRELATOR,
            NO_ACCEPT,
            TEXT,
        },
        after=lambda ask, a: (
            refusal(400, "INVALID_ARGUMENT", a)
            if "x-correlator" in ask.request.headers and a.status not in (400, 401, 405)
            else None
        ),
    ),
    Case("an error stands under detail", {INFO}, sandbox={"error_form": "nested"}),
    Case(
        "an error stands under error",
        {INFO},
        after=lambda _, a: a.having(body={"error": a.info}) if a.status >= 400 else None,
    ),
    Case("the status in an error is a text", {INFO}, after=info(status=lambda a: str(a.status))),
    Case("the status in an error is another", {INFO}, after=info(status=500)),
    Case("an error has no status", {INFO}, after=info(status=None)),
    Case("an error has no message", {INFO}, after=info(message=None)),
    Case("the message of an error is empty", {INFO}, after=info(message="")),
    Case(
        "404 is a page of HTML",
        {FOREIGN, UNKNOWN, ODD_IDS, UNKNOWN_PATH, INFO, TYPE},
        after=on(None, 404, then=lambda _, a: a.having(body=b"<html>Not Found</html>", content_type="text/html")),
    ),
    Case(
        "401 has no body",
        {*SEND_401, *VALIDATE_401, INFO},
        after=on(None, 401, then=lambda _, a: a.having(body=b"", drop=("content-type",))),
    ),
    Case(
        "errors are text/plain",
        {TYPE},
        after=lambda _, a: a.having(content_type="text/plain") if a.status >= 400 else None,
    ),
    Case(
        "a send is problem+json",
        {TYPE},
        after=on("send-code", 200, then=lambda _, a: a.having(content_type="application/problem+json")),
    ),
    Case(
        "bodies are Latin-1",
        {TYPE},
        after=lambda _, a: a.having(content_type="application/json; charset=latin-1") if a.body else None,
    ),
    Case("answers come late", set(), sandbox={"latency": 0.03}, told={"slow": 0.02}),
    Case("the operations are elsewhere", {PATH}, sandbox={"api_paths": ["/v1/otp"]}),
    Case(
        "what has no x-correlator is redirected",
        {S02, STATUS},
        after=lambda ask, a: a.having(302, b"") if "x-correlator" not in ask.request.headers else None,
    ),
    Case(
        "an error is a list",
        {INFO},
        after=lambda ask, a: a.having(body=[a.info]) if ask.request.method == "GET" else None,
    ),
    # Codes.
    Case(
        "the code of a 404 is a number",
        {FOREIGN, UNKNOWN, ODD_IDS, UNKNOWN_PATH, INFO},
        after=on(None, 404, then=info(code=40401)),
    ),
    Case(
        "a right code is refused the first time",
        VALIDATES,
        after=on("validate-code", 204, then=lambda _, a: refusal(400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP", a)),
    ),
    Case(
        "codes have no prefix",
        {
            WRONG,
            EXPIRED,
            SUPERSEDED,
            USED,
            FAILED,
            MAX_SEND,
            UNREACHABLE,
            LANDLINE,
            BLOCKED,
            AFTER_CLOSING,
            AT_ONCE,
            PAIR,
        },
        after=info(code=lambda a: a.info["code"].removeprefix("ONE_TIME_PASSWORD_SMS.")),
    ),
    Case(
        "401 says unauthenticated in small letters",
        {*SEND_401, *VALIDATE_401, PAIR},
        after=on(None, 401, then=info(code="unauthenticated")),
    ),
    Case(
        "a wrong code comes with 422",
        {WRONG, FAILED, PAIR},
        after=on(None, 400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP", lambda _, a: refusal(422, a.code, a)),
    ),
    Case(
        "too many sends come with 429",
        {MAX_SEND, PAIR},
        after=on(
            None,
            403,
            "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED",
            lambda _, a: refusal(429, a.code, a).having(retry_after="0"),
        ),
    ),
    Case(
        "a code of its own for a wrong one",
        {WRONG, FAILED},
        after=on(None, 400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP", lambda _, a: refusal(400, "BAD_PIN", a)),
    ),
    Case(
        "an unknown id counts as expired",
        {UNKNOWN, ODD_IDS},
        sandbox={"unknown_id": "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED"},
    ),
    Case(
        "a foreign number is IDENTIFIER_NOT_FOUND",
        {FOREIGN},
        after=on("send-code", 404, then=info(code="IDENTIFIER_NOT_FOUND")),
    ),
    Case(
        "a barred number is not allowed",
        {BLOCKED},
        after=on(
            None,
            403,
            "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED",
            info(code="ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED"),
        ),
    ),
    # Doors left open.
    Case("no token is needed", {SEND_401[0], VALIDATE_401[0]}, before=token_is("")),
    Case("an expired token is accepted", {SEND_401[1], VALIDATE_401[1]}, before=token_is("Bearer expired-token")),
    Case("any token is accepted", {SEND_401[2], VALIDATE_401[2]}, before=token_is("Bearer invalid-token")),
    Case(
        "a refused token is 403",
        {*SEND_401, *VALIDATE_401},
        after=on(None, 401, then=lambda _, a: refusal(403, "PERMISSION_DENIED", a)),
    ),
    Case(
        "a wrong code is accepted",
        {WRONG, FAILED, V01},
        at_least=True,
        after=on(None, 400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP", lambda _, __: SUCCESS),
    ),
    Case("an expired code is accepted", {EXPIRED}, sandbox={"code_lifetime": 10.0**7}),
    Case(
        "a used code is accepted",
        {USED, AT_ONCE},
        after=validates_when(lambda ask, _: ask.code_is_right and ask.text.state.value == "verified"),
    ),
    Case(
        "a superseded code is accepted",
        {SUPERSEDED},
        after=validates_when(lambda ask, _: ask.code_is_right and ask.text.state.value == "superseded"),
    ),
    Case(
        "the right code opens what was closed",
        {AFTER_CLOSING, WRONG_AT_ONCE},
        after=validates_when(lambda ask, _: ask.code_is_right and ask.text.state.value == "failed"),
    ),
    Case("wrong codes are counted one too many", {FAILED, AT_LAST}, sandbox={"max_try": 2}),
    Case("wrong codes are counted one too few", {FAILED}, sandbox={"max_try": 4}),
    Case("wrong codes are not counted", {FAILED, AFTER_CLOSING, WRONG_AT_ONCE}, sandbox={"max_try": 1000}),
    Case("sends are counted one too many", {MAX_SEND}, sandbox={"max_send": 3}),
    Case("sends are counted one too few", {MAX_SEND}, sandbox={"max_send": 5}),
    Case(
        "a second text spoils both codes",
        {NEWEST, V02},
        after=on(
            "validate-code",
            204,
            then=lambda ask, a: (
                refusal(400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED", a) if has_texts(ask, 2) else None
            ),
        ),
    ),
    # Numbers and messages.
    Case("a landline is accepted", {LANDLINE}, sandbox={"landline_numbers": []}),
    Case("an unreachable number is accepted", {UNREACHABLE}, sandbox={"unreachable_numbers": []}),
    Case("a foreign number is accepted", {FOREIGN}, sandbox={"foreign_numbers": []}),
    Case(
        "a message without the label is accepted",
        {NO_LABEL, SINGLE_BRACES, SEND_CHARSET, EMPTY_MESSAGE, OTHER_LABEL},
        before=without_label,
    ),
    Case("a message that is too long is cut", {TOO_LONG}, before=shortened),
    Case("a message of 160 characters is too long", {LONGEST, LONGEST_BEYOND}, sandbox={"max_message_length": 159}),
    Case(
        "letters beyond ASCII are a server fault",
        {BEYOND_ASCII, STATUS, TEXT},
        after=lambda ask, a: refusal(500, "INTERNAL", a) if "código" in str(ask.get("message")) else None,
    ),
    Case("a number without plus is accepted", {NO_PLUS}, before=with_plus),
    Case("a number with a line feed is accepted", {NEWLINE}, before=stripped),
    Case("a number that is no text is accepted", {NOT_TEXT}, before=stringified),
    Case(
        "a message of null is accepted",
        {NO_MESSAGE},
        before=lambda ask: (
            ask.with_body(message="{{code}}") if ask.get("phoneNumber") and ask.body.get("message", 1) is None else None
        ),
    ),
    # Requests that cannot be read.
    Case(
        "no body is a server fault",
        NO_BODY | {STATUS},
        after=lambda ask, a: (
            refusal(500, "INTERNAL", a) if a.code == "INVALID_ARGUMENT" and not ask.request.content else None
        ),
    ),
    Case(
        "broken JSON is a server fault",
        BROKEN_JSON | NOT_JSON | NO_OBJECT | {NOT_UTF8, STATUS},
        after=lambda ask, a: (
            refusal(500, "INTERNAL", a)
            if a.code == "INVALID_ARGUMENT" and ask.body is None and ask.request.content
            else None
        ),
    ),
    Case(
        "a code that is too long is looked up",
        {LONG_CODE, OTHER_TYPE},
        after=lambda ask, a: refusal(404, "NOT_FOUND", a) if len(str(ask.get("code"))) > 10 else None,
    ),
    Case(
        "an id that is too long is looked up",
        {LONG_ID},
        after=lambda ask, a: refusal(404, "NOT_FOUND", a) if len(str(ask.get("authenticationId"))) > 36 else None,
    ),
    Case(
        "GET sends, too",
        {METHOD},
        after=lambda ask, a: (
            Said(206, {"x-correlator": a.headers["x-correlator"]}, b"") if ask.request.method == "GET" else None
        ),
    ),
    # Not wrong enough to fail.
    Case(
        "GET is not found",
        set(),
        after=lambda ask, a: refusal(404, "NOT_FOUND", a) if ask.request.method == "GET" else None,
    ),
    Case(
        "the charset is named",
        set(),
        after=lambda _, a: a.having(content_type="application/json; charset=utf-8") if a.body else None,
    ),
    Case(
        "a code from no catalogue",
        set(),
        after=lambda ask, a: refusal(418, "TEAPOT", a) if ask.request.method == "GET" else None,
    ),
    Case("requests are turned away for their rate", set(), state=Stumbling),
]
