"""The table of causes, each with the fix for the operator and the consequence for client developers.

Names in braces are replaced where a cause is found. Two findings with one cause are one deviation with two places.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from camara_otp.conformance.model import Cause, Deviation, Finding, Grade, Outcome, Place, Shown

_API: Final = "CAMARA one-time-password-sms 1.0.0 to 1.1.1"
_COMMON: Final = "CAMARA Commonalities API design guide"
_COPES: Final = "camara_otp is not affected: "
_NONE: Final = "No setting of a client helps."


def _breaks(name: str, *columns: str) -> Cause:
    return Cause(name, Grade.BREAKS, *columns)


def _differs(name: str, *columns: str) -> Cause:
    return Cause(name, Grade.DIFFERS, *columns)


def _advice(name: str, *columns: str) -> Cause:
    return Cause(name, Grade.ADVICE, *columns)


# Title, what the operator has to change, what a client developer has to expect, rule, and source.
_TABLE: Final[tuple[Cause, ...]] = (
    # Codes and ids.
    _breaks(
        "wrong-code-accepted",
        "A wrong code is accepted",
        "Accept only the exact code of the authenticationId: the whole string, compared character by character.",
        "Anyone can pass the verification without the phone. " + _NONE,
        "Only the code that was sent by SMS validates an authenticationId.",
        f"{_API}, validateCode: 204 only if the code is valid for the authenticationId; scenario invalid_otp",
    ),
    _differs(
        "code-format-not-strict",
        "A code in another form is accepted",
        "Compare the code as the string that was sent: no trimming, no conversion to a number, no list.",
        "Codes that differ from the one in the SMS pass; do not rely on the server to reject them.",
        "code is a string; it is compared as it is.",
        f"{_API}, schema Code; 400 INVALID_ARGUMENT for another JSON type, INVALID_OTP for another string",
    ),
    _differs(
        "id-not-exact",
        "An authenticationId in another form is accepted",
        "Look up the authenticationId exactly as it was issued: same letter case, no trimming, no other JSON type.",
        "Ids are opaque; send them back unchanged.",
        "An authenticationId that was never issued is 404 NOT_FOUND.",
        f"{_API}, validateCode; scenario resource_not_found",
    ),
    _breaks(
        "right-code-refused",
        "The right code is refused with {said}",
        "Accept the code that was sent by SMS, for its authenticationId, while it is valid, and respond with 204.",
        "Users who type the code correctly are rejected. " + _NONE,
        "The response to the right code is 204.",
        f"{_API}, validateCode; scenario validate_code_success",
    ),
    _breaks(
        "expired-code-accepted",
        "A code is accepted after its lifetime",
        "Refuse an expired authenticationId with 400 VERIFICATION_EXPIRED.",
        "Old codes pass. " + _NONE,
        "An expired authenticationId is 400 VERIFICATION_EXPIRED.",
        f"{_API}, scenario verification_expired_scenario_1",
    ),
    _breaks(
        "superseded-code-accepted",
        "A code is accepted after a newer one was sent to the phone",
        "Let each send-code invalidate the earlier authenticationId of that phone number.",
        "Codes that the user believes replaced still pass. " + _NONE,
        "A new send-code for a number invalidates the earlier authenticationId.",
        f"{_API}, scenario verification_expired_scenario_2",
    ),
    _breaks(
        "used-code-accepted",
        "A code is accepted a second time",
        "Close an authenticationId with the first 204, atomically.",
        "A code that was seen by a third party can be replayed. " + _NONE,
        "A validated authenticationId is used up: 400 VERIFICATION_EXPIRED.",
        f"{_API}, scenario verification_expired_scenario_3",
    ),
    _breaks(
        "closed-id-accepted",
        "The right code is accepted after too many wrong ones",
        "Close an authenticationId permanently with the last permitted wrong code.",
        "Codes can be guessed. " + _NONE,
        "After VERIFICATION_FAILED an authenticationId accepts no code.",
        f"{_API}, scenario verification_failed",
    ),
    _breaks(
        "tries-not-limited",
        "Wrong codes are not limited",
        "Count every wrong code for an authenticationId, and refuse the last permitted one with VERIFICATION_FAILED.",
        "Codes can be guessed. " + _NONE,
        "The response to the last permitted wrong code is 400 VERIFICATION_FAILED.",
        f"{_API}, scenario verification_failed",
    ),
    _breaks(
        "tries-miscounted",
        "Wrong codes are not counted as the limit says",
        "Refuse the max_try-th wrong code with VERIFICATION_FAILED, and the ones before it with INVALID_OTP. "
        "If the limit is another, correct limits.max_try in the settings of the check.",
        "Users get fewer or more tries than announced.",
        "The max_try-th wrong code gets VERIFICATION_FAILED; the right code passes before it.",
        f"{_API}, scenarios invalid_otp and verification_failed",
    ),
    _breaks(
        "tries-race",
        "Wrong codes sent at once are not all counted",
        "Count tries atomically, for instance with one update in the database.",
        "Codes can be guessed with concurrent requests. " + _NONE,
        "Every wrong code counts, also when several arrive at once.",
        f"{_API}, scenario verification_failed",
    ),
    _breaks(
        "phone-locked",
        "A phone stays locked after too many wrong codes",
        "Count wrong codes for each authenticationId, not for each phone; let a new send-code start afresh.",
        "A user who mistypes cannot be verified any more.",
        "Tries belong to an authenticationId; a new send-code gives a new one.",
        f"{_API}, responses VERIFICATION_FAILED and MAX_OTP_CODES_EXCEEDED",
    ),
    _breaks(
        "id-not-unique",
        "Two sends get the same authenticationId",
        "Issue a new authenticationId for each send-code.",
        "Verifications of different attempts get mixed up.",
        "authenticationId is the unique id of the verification attempt.",
        f"{_API}, schema AuthenticationId",
    ),
    # The SMS.
    _breaks(
        "no-text",
        "A send is accepted, but no SMS arrives",
        "Deliver the SMS, or refuse the send. If SMS are only slow, raise read.timeout in the settings.",
        "Users wait for a code that does not come.",
        "send-code sends the message to the phone number.",
        f"{_API}, sendCode",
    ),
    _breaks(
        "no-code-in-text",
        "The SMS contains no code",
        "Replace every label {{code}} in the message with the code.",
        "Users get an SMS without a code.",
        "The label {{code}} marks the place of the code in the SMS.",
        f"{_API}, schema Message",
    ),
    _differs(
        "text-differs",
        "The SMS is not the message that was sent",
        "Send the message as it is, with every label {{code}} replaced by the code and nothing else changed.",
        "Users read something else than your message, or no code at all.",
        "The SMS is the message with the label replaced.",
        f"{_API}, schema Message",
    ),
    _differs(
        "text-twice",
        "One send causes several SMS",
        "Send one SMS for each send-code.",
        "Users get several SMS, and each may be billed.",
        "send-code sends one message.",
        f"{_API}, sendCode",
    ),
    _breaks(
        "text-without-permission",
        "A refused send causes an SMS",
        "Check token and request before an SMS is sent.",
        "SMS are sent and billed although the API reports an error.",
        "A request that is refused has no effect.",
        f"{_API}, sendCode, responses 400 and 401",
    ),
    _breaks(
        "code-too-long",
        "Codes have more than 10 characters",
        "Send codes of 4 to 10 characters.",
        "Clients that keep to the schema refuse to send such a code.",
        "code has at most 10 characters.",
        f"{_API}, schema Code",
    ),
    # Authorization.
    _breaks(
        "token-not-required",
        "Requests without a token are served",
        "Refuse every request without a valid access token with 401 UNAUTHENTICATED, before it has an effect.",
        "Anyone can send SMS or validate codes. " + _NONE,
        "Both operations need an access token.",
        f"{_API}, security of sendCode and validateCode; scenarios 401.1",
    ),
    _breaks(
        "token-not-checked",
        "Invalid tokens are accepted",
        "Verify the access token: signature or introspection, issuer, audience, expiry.",
        "Anyone can send SMS or validate codes. " + _NONE,
        "An invalid token is 401 UNAUTHENTICATED.",
        f"{_API}, scenarios 401.3",
    ),
    _breaks(
        "expired-token-accepted",
        "Expired tokens are accepted",
        "Refuse an expired access token with 401 UNAUTHENTICATED.",
        "A token that leaks stays useful.",
        "An expired token is 401 UNAUTHENTICATED.",
        f"{_API}, scenarios 401.2",
    ),
    _differs(
        "token-checked-late",
        "Ids are looked up before the token is checked",
        "Check the token before the authenticationId is looked up.",
        "Without a token, a client sees 404 instead of 401.",
        "A request without a valid token is 401 UNAUTHENTICATED.",
        f"{_API}, scenarios 401.1 to 401.3",
    ),
    _breaks(
        "scope-not-checked",
        "A token without the scope is accepted",
        "Require the scope one-time-password-sms:send-validate; respond with 403 PERMISSION_DENIED without it.",
        "Tokens of other APIs can send SMS.",
        "Both operations need the scope one-time-password-sms:send-validate.",
        f"{_API}, security of sendCode and validateCode",
    ),
    _breaks(
        "id-of-another-client",
        "A client can validate the authenticationId of another client",
        "Bind an authenticationId to the client that got it; respond with 404 NOT_FOUND to others.",
        "Another client of the operator can use up your users' codes.",
        "An authenticationId is known only to the client that got it.",
        f"{_API}, validateCode, response 404",
    ),
    _breaks(
        "good-token-refused",
        "The access token of the check is refused with {said}",
        "Accept a valid token. If this token is expired or of another operator, run the check with a good one.",
        "Requests are refused although the token is valid.",
        "A request with a valid token is served.",
        f"{_API}, security of sendCode and validateCode",
    ),
    # Secrets in responses.
    _breaks(
        "code-leaked",
        "Responses hold the code that was sent by SMS",
        "Remove the code from every response: body, headers, errors.",
        "The response proves nothing about the phone; never show or log response bodies of this operator.",
        "The code proves who holds the phone, so only the phone gets it.",
        f"{_API}, purpose of the API",
    ),
    _differs(
        "personal-data-leaked",
        "Responses hold {what}",
        "Remove {what} from every response: body, headers, errors.",
        "Do not log response bodies or messages of this operator.",
        "A response holds authenticationId, or status, code and message of an error, and no data of the request.",
        f"{_API}, schemas SendCodeResponse and ErrorInfo; {_COMMON}, privacy",
    ),
    _advice(
        "codes-guessable",
        "Codes can be guessed: {how}",
        "Draw codes from a cryptographic random generator, with at least 4 and better 6 digits.",
        "Acceptable for a test environment. In production, anyone who knows the rule can verify any number.",
        "A code that can be predicted proves nothing.",
        f"{_API}, purpose of the API",
    ),
    _advice(
        "ids-guessable",
        "Ids can be guessed: {how}",
        "Draw ids at random, such as UUID version 4.",
        "Treat ids as opaque, and as secrets.",
        "An id that can be predicted lets others use up tries, or reveals facts about the user.",
        f"{_API}, schema AuthenticationId",
    ),
    # Requests that have to be refused, and ones that have to be accepted.
    _differs(
        "invalid-request-accepted",
        "Invalid requests are accepted",
        "Validate each request against the schema, and refuse those listed below with 400 INVALID_ARGUMENT.",
        "Faults of a client stay unnoticed.",
        "A request that breaks the schema is 400 INVALID_ARGUMENT.",
        f"{_API}, schemas of the request bodies; scenarios 400.1 to 400.7",
    ),
    _breaks(
        "number-accepted",
        "A send is accepted to {what}",
        "Refuse {what} with the code that the contract names.",
        "Users wait for an SMS that cannot come, or is not meant for them.",
        "Numbers that cannot receive SMS are refused: PHONE_NUMBER_NOT_ALLOWED, PHONE_NUMBER_BLOCKED, NOT_FOUND.",
        f"{_API}, scenarios 04 to 06 and 404.1",
    ),
    _breaks(
        "send-limit-missing",
        "The number of sends to a phone is not limited as configured",
        "Refuse the max_send-th send with 403 MAX_OTP_CODES_EXCEEDED. "
        "If the limit is another, correct limits.max_send in the settings of the check.",
        "A phone can be flooded with SMS; limit sends yourself.",
        "The max_send-th send to a number is 403 MAX_OTP_CODES_EXCEEDED.",
        f"{_API}, scenario 03_send_code_max_otp_code",
    ),
    _differs(
        "send-limit-early",
        "Sends to a phone are refused before the configured limit",
        "Count sends for each phone number. If the phone got SMS before the check, or the limit is another, "
        "correct limits.max_send, or set [reset].",
        "Users run into MAX_OTP_CODES_EXCEEDED earlier than announced.",
        "The max_send-th send to a number is the first that is refused.",
        f"{_API}, scenario 03_send_code_max_otp_code",
    ),
    _breaks(
        "good-request-refused",
        "Valid requests are refused with {said}",
        "Accept every request that fits the schema, such as those listed below.",
        "Requests that keep to the contract fail.",
        "A request that fits the schema is served.",
        f"{_API}, schemas and headers of sendCode and validateCode",
    ),
    _differs(
        "correlator-refused",
        "Valid x-correlators are refused",
        "Accept every x-correlator that matches the pattern of the release, and requests without one.",
        "Set `x_correlator=None`, or send shorter values such as UUIDs.",
        "x-correlator is optional and matches the pattern of the release.",
        f"{_API}, schema XCorrelator",
    ),
    _differs(
        "other-error",
        "The response is {got} where the contract has {expected}",
        "Respond with {expected}.",
        "Handle both {got} and {expected}.",
        "Each refusal has its own status and code.",
        f"{_API}, responses of sendCode and validateCode, and the published scenarios",
    ),
    _breaks(
        "other-outcome",
        "The response is {got} where the contract has {expected}",
        "Respond with {expected}: clients decide by it what to tell the user.",
        "Code that branches on {expected} never runs; handle {got} as well.",
        "Each outcome of a send or a validation has its own status and code.",
        f"{_API}, responses of sendCode and validateCode, and the published scenarios",
    ),
    _breaks(
        "server-fault",
        "The response to requests is a server fault ({said})",
        "Validate requests before they are processed; refuse invalid ones with 400 INVALID_ARGUMENT.",
        "camara_otp raises an error with outcome_unknown=True: it cannot know whether an SMS was sent.",
        "A 5xx says that the server failed, not that the request is wrong.",
        f"{_API}, response 400; {_COMMON}, error responses",
    ),
    _breaks(
        "no-response",
        "Requests get no response: {failure}",
        "Find what breaks the connection or the HTTP: the server itself, or a gateway in front of it. "
        "If responses are only slow, raise timeout in the settings.",
        "camara_otp raises OutcomeUnknownError: it cannot know whether an SMS was sent.",
        "Every request gets an HTTP response.",
        "RFC 9112",
    ),
    _breaks(
        "redirect",
        "Requests are redirected",
        "Serve the operation under the documented address.",
        "camara_otp follows no redirect: put the final address into `base_url`.",
        "The operations respond with 200, 204 or an error.",
        f"{_API}, responses of sendCode and validateCode",
    ),
    # The form of responses.
    _breaks(
        "success-status",
        "{operation} responds with {status} on success instead of {expected}",
        "Respond with {expected} on success, and nothing else.",
        "camara_otp raises UnexpectedResponseError: it takes no other status for a success.",
        "The success of send-code is 200, of validate-code 204.",
        f"{_API}, responses of sendCode and validateCode",
    ),
    _breaks(
        "success-body",
        "The response to send-code is invalid: {what}",
        'Respond with {{"authenticationId": "..."}}, a string of 1 to 36 characters.',
        "Without a usable id no code can be validated; camara_otp raises UnexpectedResponseError.",
        "200 of send-code is a JSON object with authenticationId, a string of at most 36 characters.",
        f"{_API}, schemas SendCodeResponse and AuthenticationId",
    ),
    _differs(
        "body-after-204",
        "A 204 of validate-code has a body",
        "Send no body, no Content-Length and no Transfer-Encoding with a 204.",
        _COPES + "it closes the connection. Other clients read the body as the next response.",
        "204 has no body.",
        "RFC 9110, section 15.3.5; RFC 9112, section 6.3",
    ),
    _breaks(
        "error-form",
        "Errors are not ErrorInfo: {what}",
        'Respond with {{"status": 400, "code": "INVALID_ARGUMENT", "message": "..."}} to every refused request.',
        "camara_otp raises the class of the status with code=None: catch HTTP400Error and the like, not only "
        "InvalidOTPError.",
        "An error is a JSON object with status, code and message.",
        f"{_API}, schema ErrorInfo",
    ),
    _differs(
        "error-nested",
        "ErrorInfo is under the key `{place}`",
        "Put status, code and message at the top of the body.",
        _COPES + "it unwraps the error. Other clients find no code.",
        "An error is a JSON object with status, code and message.",
        f"{_API}, schema ErrorInfo",
    ),
    _differs(
        "error-status",
        "The `status` in the body of errors is missing, not a whole number, or not the HTTP status",
        "Set `status` to the HTTP status, as a number.",
        _COPES + "it uses the HTTP status.",
        "status equals the HTTP status.",
        f"{_API}, schema ErrorInfo; {_COMMON}, error responses",
    ),
    _differs(
        "error-message",
        "The `message` of errors is missing, empty or not a string",
        "Describe the error in `message`.",
        _COPES + "the error has no message.",
        "message is a readable string.",
        f"{_API}, schema ErrorInfo; every published scenario",
    ),
    _differs(
        "code-form",
        "Codes of errors are not in SCREAMING_SNAKE_CASE",
        "Spell codes as published, such as UNAUTHENTICATED.",
        "The code stands in `.code` as it came; the class is that of the status.",
        "Codes are in SCREAMING_SNAKE_CASE.",
        f"{_COMMON}, error responses",
    ),
    _breaks(
        "code-prefix",
        "Codes of this API lack their prefix, or have another one",
        "Spell them with the prefix ONE_TIME_PASSWORD_SMS.",
        "Your code meets other values in `.code` than the published ones.",
        "Codes of this API begin with ONE_TIME_PASSWORD_SMS.",
        f"{_API}, responses; {_COMMON}, error responses",
    ),
    _advice(
        "code-unknown",
        "{code} is not in the catalogue of codes",
        "Use a code of the catalogue.",
        "camara_otp raises the class of the HTTP status.",
        "The list of codes is open, but each is in the catalogue of CAMARA.",
        f"{_COMMON}, error responses",
    ),
    _differs(
        "code-status",
        "{code} comes with status {status}; it belongs to {expected}",
        "Send {code} with status {expected}.",
        _COPES + "it picks the class by the code. Code that looks at the status is affected.",
        "Each code belongs to one status.",
        f"{_API}, responses; {_COMMON}, error responses",
    ),
    _differs(
        "content-type",
        "Content-Type is {what}",
        "Send `Content-Type: application/json` with every body.",
        _COPES + "it reads the body whatever its type.",
        "Every body is application/json.",
        f"{_API}, content of the responses; every published scenario",
    ),
    _advice(
        "content-type-parameter",
        "Content-Type names a charset",
        "Send `Content-Type: application/json` without parameters.",
        _COPES + "JSON is always UTF-8.",
        "Every body is application/json.",
        f"{_API}, content of the responses",
    ),
    _differs(
        "correlator-echo",
        "x-correlator {what} on responses",
        "Return the x-correlator of the request, unchanged, with every response, errors included.",
        _COPES + "it reports the value that it sent.",
        "Every response has the x-correlator of its request.",
        f"{_COMMON} 0.2 and later, x-correlator; every published scenario",
    ),
    _differs(
        "duplicate-header",
        "Responses have the header {header} more than once",
        "Send each header once; look for a gateway that adds its own.",
        "Which of the values a client sees is undefined.",
        "A header that is not a list is sent once.",
        "RFC 9110, section 5.3",
    ),
    _differs(
        "unknown-path",
        "The response to an unknown path is {said}",
        "Respond with 404 NOT_FOUND as ErrorInfo under every path that does not exist.",
        "A wrong `api_path` is hard to tell from other errors.",
        "A path that does not exist is 404 NOT_FOUND.",
        "CAMARA one-time-password-sms 1.0.0, scenario 404 (a path without the version)",
    ),
    _differs(
        "method",
        "The response to another method than POST is {said}",
        "Respond with 405 METHOD_NOT_ALLOWED, or 404, to other methods.",
        "Links and crawlers can trigger the operation.",
        "Both operations are POST.",
        f"{_API}, paths",
    ),
    _advice(
        "method-status",
        "The response to another method than POST is {said}",
        "Respond with 405 METHOD_NOT_ALLOWED to other methods.",
        "No client uses another method.",
        "Both operations are POST.",
        f"{_COMMON}, error responses",
    ),
    _advice(
        "slow",
        "Responses take longer than {limit:g} s",
        "Respond sooner; the SMS may be sent after the response.",
        "Give the client more time: `timeout={timeout}`.",
        "The setting `slow` of the check.",
        "the settings of the check",
    ),
    _differs(
        "path",
        "The operations are under {path}",
        "Serve them under /one-time-password-sms/v1 as well.",
        "Set `api_path={quoted}`.",
        "The operations are under /one-time-password-sms/v1.",
        f"{_API}, servers",
    ),
)

CAUSES: Final[Mapping[str, Cause]] = {cause.name: cause for cause in _TABLE}

_MAX_EXAMPLES: Final = 3
# A symptom of another cause, where that one is found as well.
_SYMPTOMS: Final = {"code-format-not-strict": "wrong-code-accepted"}


def found(name: str, text: str, grade: Grade | None = None, **words: object) -> Finding:
    """Return a finding with a cause of the table.

    Args:
        name: the name of the cause
        text: how it shows
        grade: how much it matters here; None: as in the table
        words: values for the names in braces in the cause
    """
    cause = CAUSES[name]
    if words:
        title, operator, client = (text.format(**words) for text in (cause.title, cause.operator, cause.client))
        cause = attrs.evolve(cause, title=title, operator=operator, client=client)
    return Finding(cause, text, cause.grade if grade is None else grade)


def deviations(outcomes: Sequence[Outcome]) -> tuple[Deviation, ...]:
    """Return one deviation for each cause, worst first."""
    names = {finding.cause.name for outcome in outcomes for finding in outcome.findings}
    groups: dict[tuple[str, str], list[tuple[Outcome, Finding]]] = {}
    for outcome in outcomes:
        for finding in outcome.findings:
            root = _SYMPTOMS.get(finding.cause.name, "")
            cause = CAUSES[root] if root in names else finding.cause
            groups.setdefault((cause.name, cause.title), []).append((outcome, attrs.evolve(finding, cause=cause)))
    made = map(_deviation, groups.values())
    return tuple(sorted(made, key=lambda deviation: (-deviation.grade, -len(deviation.places))))


def _deviation(group: Sequence[tuple[Outcome, Finding]]) -> Deviation:
    examples: list[Shown] = []
    for outcome, _ in group:
        judged = [shown for shown in outcome.exchanges if shown.role == "judged"]
        examples += (judged or list(outcome.exchanges))[:1]
    return Deviation(
        group[0][1].cause,
        max(finding.grade for _, finding in group),
        tuple(dict.fromkeys(Place(outcome.tag, finding.text) for outcome, finding in group)),
        tuple(examples[:_MAX_EXAMPLES]),
    )
