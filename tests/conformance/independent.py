"""An operator written from the contract, without the code of the scenarios, with a switch for each deviation."""

import base64
import email.utils
import hashlib
import html
import json
import random
import re
import string
import threading
import time
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import attrs
import httpx

from camara_otp.conformance import settings_from

BASE = "http://127.0.0.1:9091"
PATH = "/one-time-password-sms/v1"
PREFIX = "ONE_TIME_PASSWORD_SMS."
GOOD, OTHER, EXPIRED_TOKEN, UNSCOPED = "good-token-0001", "other-client-01", "expired-tok-01", "unscoped-tok-1"
PHONES = [f"+34611{place:06d}" for place in range(100, 112)]
LANDLINE, UNREACHABLE, BARRED, FOREIGN = "+34911000001", "+34611999001", "+34611999002", "+447700900555"
NUMBER = re.compile(r"\+[1-9][0-9]{4,14}")
CORRELATOR = re.compile(r"[a-zA-Z0-9\-_:;./<>{}]{0,256}")


class RefusedError(Exception):
    def __init__(self, status, code, message="Refused."):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


@attrs.define
class Verification:
    id: str
    number: str
    code: str
    client: str
    born: float
    wrong: int = 0
    guesses: set = attrs.field(factory=set)
    state: str = "live"


@attrs.define
class Reply:
    status: int
    body: object = None
    headers: list = attrs.field(factory=list)
    raw: bytes | None = None


class Operator(httpx.AsyncBaseTransport):
    """An operator without deviations other than those that are switched on."""

    def __init__(self, *wrong, max_send=4, max_try=3, inbox="json", lifetime=300.0, **quirks):
        self.wrong = set(wrong)
        self.max_send, self.max_try, self.lifetime = max_send, max_try, lifetime
        self.inbox = inbox
        self.quirks = quirks
        self.ids, self.sends, self.texts = {}, {}, []
        self.clock_offset = 0.0
        self.random = random.Random(7)
        self.counter = 41000
        self.posts = 0
        self.busy = set()
        self.codes_ever = set()

    def has(self, name):
        return name in self.wrong

    def quirk(self, name, default=None):
        return self.quirks.get(name, default)

    # HTTP

    async def handle_async_request(self, request):
        body = await request.aread()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers.raw}
        raw_names = [name.decode("latin-1") for name, _ in request.headers.raw]
        reply = await self.reply(request.method, request.url.raw_path.decode(), headers, body, raw_names)
        fields, content = self.wire(reply)
        return httpx.Response(reply.status, headers=fields, content=content or None, request=request)

    def wire(self, reply):
        content = reply.raw
        if content is None:
            content = b"" if reply.body is None else json.dumps(reply.body).encode()
        return [(name, value) for name, value in reply.headers if value is not None], content

    async def reply(self, method, path, headers, body, raw_names=()):
        path = path.partition("?")[0]
        if path.startswith("/inbox/"):
            return self.show_inbox(path)
        if path == "/clock":
            self.clock_offset += 10_000
            return Reply(204)
        if path.startswith("/forget"):
            self.sends.clear()
            return Reply(204)
        if self.quirk("latency"):
            await anyio.sleep(self.quirk("latency"))
        operation = path.rpartition("/")[2]
        try:
            reply = await self.serve(method, path, headers, body, operation)
        except RefusedError as refused:
            reply = self.error(refused, operation)
        return self.finish(reply, headers, operation, method, raw_names, body)

    def error(self, refused, operation):
        status, code = refused.status, refused.code
        body = {"status": status, "code": code, "message": refused.message}
        if self.quirk("extra_members"):
            body |= {"timestamp": "2026-11-28T12:34:56.4711Z", "traceId": uuid.uuid4().hex, "details": None}
        return Reply(status, body)

    def finish(self, reply, headers, operation, method, raw_names, request_body):
        sent = headers.get("x-correlator")
        if self.has("correlator-case-sensitive") and "X-CORRELATOR" in raw_names:
            sent = None
        echo = sent or (str(uuid.uuid4()) if self.quirk("own_correlator") else None)
        if self.has("correlator-lowered") and echo:
            echo = echo.lower()
        if self.has("correlator-cut") and echo:
            echo = echo[:36]
        if self.has("correlator-only-on-success") and reply.status >= 400:
            echo = None
        if self.has("no-correlator-on-401") and reply.status == 401:
            echo = None
        if self.has("no-correlator-on-204") and reply.status == 204:
            echo = None
        if self.has("correlator-new") and echo:
            echo = str(uuid.uuid4())
        reply.headers.append(("x-correlator", echo))
        if self.has("correlator-twice") and echo:
            reply.headers.append(("x-correlator", echo))
        if reply.status != 204 or self.has("validate-200"):
            kind = "application/json"
            if self.has("type-missing-on-errors") and reply.status >= 400:
                kind = None
            if self.has("type-html"):
                kind = "text/html"
            if self.has("type-problem") and reply.status >= 400:
                kind = "application/problem+json"
            if self.has("type-utf16"):
                kind = "application/json; charset=utf-16"
            if self.quirk("charset"):
                kind = "application/json; charset=utf-8"
            reply.headers.append(("content-type", kind))
            if self.has("type-twice"):
                reply.headers.append(("content-type", "text/plain"))
        if self.quirk("noise"):
            reply.headers += [("x-request-id", uuid.uuid4().hex), ("x-ratelimit-remaining", "4711"), ("age", "1234")]
            reply.headers.append(("x-served-at", email.utils.formatdate(usegmt=True)))
        self.spoil(reply, headers, operation, request_body)
        return reply

    def spoil(self, reply, headers, operation, request_body):
        body = reply.body
        if reply.status >= 400:
            self.spoil_error(reply, body)
        if reply.status == 200 and operation == "send-code":
            if self.has("id-snake"):
                reply.body = {"authentication_id": body["authenticationId"]}
            if self.has("id-nested"):
                reply.body = {"data": body}
            if self.has("id-null"):
                reply.body = {"authenticationId": None}
            if self.has("id-missing"):
                reply.body = {"status": "sent"}
            if self.has("success-twice-encoded"):
                reply.raw = json.dumps(json.dumps(body)).encode()
            if self.has("success-cut"):
                reply.raw = json.dumps(body).encode()[:-2]
            if self.has("success-list"):
                reply.body = [body]
            if self.has("send-201"):
                reply.status = 201
            if self.has("send-202"):
                reply.status = 202
            if self.has("id-too-long"):
                reply.body = {"authenticationId": body["authenticationId"] + "-x"}
        if reply.status == 204:
            if self.has("validate-200"):
                reply.status, reply.body = 200, {"valid": True}
            if self.has("redirect-after-validate"):
                reply.status = 303
                reply.headers.append(("location", "/done"))
        if self.has("token-in-header"):
            reply.headers.append(("x-seen", headers.get("authorization", "")))
        if self.has("number-in-error") and reply.status >= 400 and isinstance(reply.body, dict):
            number = _json_member(request_body, "phoneNumber")
            if isinstance(number, str) and NUMBER.fullmatch(number):
                reply.body = {**reply.body, "message": f"{number[3:6]} {number[6:9]} {number[9:]} is refused"}
        if self.has("sent-code-in-error") and reply.status >= 400 and isinstance(reply.body, dict):
            reply.body = {**reply.body, "message": f"Code {_json_member(request_body, 'code')} is wrong."}

    def spoil_error(self, reply, body):
        if self.has("error-html"):
            reply.raw = b"<html><body>Error</body></html>"
        if self.has("error-empty"):
            reply.raw = b""
        if self.has("error-plain"):
            reply.raw = body["code"].encode()
        if self.has("error-cut"):
            reply.raw = json.dumps(body).encode()[:-9]
        if self.has("error-twice-encoded"):
            reply.raw = json.dumps(json.dumps(body)).encode()
        if self.has("error-latin1"):
            reply.raw = json.dumps({**body, "message": "Código"}, ensure_ascii=False).encode("latin-1")
        if self.has("error-rfc6749"):
            reply.body = {"error": body["code"].lower(), "error_description": "no"}
        if self.has("error-in-errors"):
            reply.body = {"errors": [body]}
        if self.has("error-under-detail"):
            reply.body = {"detail": body}
        if self.has("error-status-text"):
            reply.body = {**body, "status": str(body["status"])}
        if self.has("error-no-message"):
            reply.body = {"status": body["status"], "code": body["code"]}
        if self.has("code-other-prefix"):
            reply.body = {**body, "code": body["code"].replace(PREFIX, "OTP.")}
        if self.has("code-lower"):
            reply.body = {**body, "code": body["code"].lower()}
        if self.has("internal-for-401") and reply.status == 401:
            reply.status, reply.body = 500, {**body, "status": 500, "code": "INTERNAL"}

    # Inbox

    def show_inbox(self, path):
        number = path.rpartition("/")[2].replace("%2B", "+")
        now = time.monotonic()
        late = self.quirk("late", 0.0)
        texts = [text for to, text, at in self.texts if to == number and now >= at + late]
        if self.inbox == "xml":
            items = "".join(f'<sms to="{number}"><text>{html.escape(text)}</text></sms>' for text in texts)
            return Reply(200, raw=f'<?xml version="1.0"?><inbox>{items}</inbox>'.encode())
        if self.inbox == "plain":
            return Reply(200, raw="\n".join(texts).encode())
        if self.inbox == "html":
            rows = "".join(f"<tr><td>{number}</td><td>{html.escape(text)}</td></tr>" for text in texts)
            return Reply(200, raw=f"<!DOCTYPE html><table>{rows}</table>".encode())
        return Reply(200, [{"to": number, "text": text, "from": "OPERATOR"} for text in texts])

    # Operations

    async def serve(self, method, path, headers, body, operation):
        known = self.quirk("path", PATH)
        if path not in (f"{known}/send-code", f"{known}/validate-code"):
            if self.has("unknown-path-200"):
                return Reply(200, {"hello": "world"})
            if self.has("unknown-path-500"):
                raise RefusedError(500, "INTERNAL")
            if self.has("unknown-path-html"):
                return Reply(404, raw=b"<h1>Not Found</h1>")
            raise RefusedError(404, "NOT_FOUND")
        self.posts += 1
        if self.quirk("rate") and self.posts % self.quirk("rate") == 0:
            raise RefusedError(429, "TOO_MANY_REQUESTS")
        if method != "POST" and not self.has("any-method"):
            raise RefusedError(405, "METHOD_NOT_ALLOWED")
        correlator = headers.get("x-correlator")
        if self.has("correlator-required") and correlator is None:
            raise RefusedError(400, "INVALID_ARGUMENT")
        if self.has("correlator-uuid-only") and correlator is not None and not _is_uuid(correlator):
            raise RefusedError(400, "INVALID_ARGUMENT")
        if correlator and not CORRELATOR.fullmatch(correlator) and not self.has("correlator-unchecked"):
            raise RefusedError(400, "INVALID_ARGUMENT")
        if self.has("empty-correlator-crashes") and correlator == "":
            raise RefusedError(500, "INTERNAL")
        if self.has("charset-refused") and ";" in headers.get("content-type", ""):
            raise RefusedError(415, "UNSUPPORTED_MEDIA_TYPE")
        if self.has("accept-any-refused") and headers.get("accept") == "*/*":
            raise RefusedError(406, "NOT_ACCEPTABLE")
        if self.quirk("negotiates") and "json" not in headers.get("accept", "json"):
            raise RefusedError(406, "NOT_ACCEPTABLE")
        late_token = self.quirk("token_after_body")
        client = None if late_token else self.authorize(headers, operation)
        table = self.read(body, operation)
        if late_token:
            client = self.authorize(headers, operation)
        if operation == "send-code":
            return self.send(table, client)
        return await self.validate(table, client, headers)

    def authorize(self, headers, operation):
        given = headers.get("authorization")
        if self.has("text-before-token"):
            return given or ""
        if self.has("token-optional") and given is None:
            return GOOD
        if self.has("token-optional-on-validate") and given is None and operation == "validate-code":
            return GOOD
        if self.has("token-optional-on-send") and given is None and operation == "send-code":
            return GOOD
        if self.has("any-token") and given:
            return GOOD
        if self.has("any-token-on-validate") and given and operation == "validate-code":
            return GOOD
        if self.has("expired-token-good") and given == f"Bearer {EXPIRED_TOKEN}":
            return GOOD
        is_expired = given == f"Bearer {EXPIRED_TOKEN}" and operation == "validate-code"
        if self.has("expired-token-good-on-validate") and is_expired:
            return GOOD
        token = (given or "").removeprefix("Bearer ")
        if self.quirk("jwt"):
            head = self.quirk("jwt").rpartition(".")[0]
            good = token == self.quirk("jwt") or (self.has("signature-unchecked") and token.startswith(head + "."))
            if good:
                return GOOD
        if token == UNSCOPED:
            if self.has("scope-unchecked"):
                return GOOD
            raise RefusedError(403, "PERMISSION_DENIED")
        if token not in (GOOD, OTHER):
            if self.has("403-for-401"):
                raise RefusedError(403, "PERMISSION_DENIED")
            if self.has("401-own-code"):
                raise RefusedError(401, "INVALID_TOKEN")
            raise RefusedError(401, "UNAUTHENTICATED")
        return token

    def read(self, body, operation):
        fields = ("phoneNumber", "message") if operation == "send-code" else ("authenticationId", "code")
        try:
            table = json.loads(body)
        except ValueError:
            if self.has("broken-json-500"):
                raise RefusedError(500, "INTERNAL") from None
            raise RefusedError(400, "INVALID_ARGUMENT") from None
        if not isinstance(table, dict):
            if self.has("no-object-500"):
                raise RefusedError(500, "INTERNAL")
            raise RefusedError(400, "INVALID_ARGUMENT")
        if self.quirk("strict") and set(table) - set(fields):
            raise RefusedError(400, "INVALID_ARGUMENT")
        order = fields if operation != "send-code" or self.quirk("number_first") else reversed(fields)
        for name in order:
            getattr(self, f"check_{name}")(table)
        return table

    def check_phoneNumber(self, table):  # noqa: N802
        number = table.get("phoneNumber")
        if isinstance(number, bool | list | dict | int) and self.has("types-500"):
            raise RefusedError(500, "INTERNAL")
        if isinstance(number, int) and self.has("number-as-int"):
            number = table["phoneNumber"] = f"+{number}"
        if isinstance(number, list) and self.has("number-in-list"):
            number = table["phoneNumber"] = number[0]
        if not isinstance(number, str):
            raise RefusedError(400, "INVALID_ARGUMENT")
        if self.has("number-blanks") and re.search(r"[ -]", number):
            number = table["phoneNumber"] = re.sub(r"[ -]", "", number)
        if self.has("number-letters") and re.search("[a-z]", number):
            number = table["phoneNumber"] = re.sub("[a-z]", "0", number)
        if self.has("number-00") and number.startswith("00"):
            number = table["phoneNumber"] = "+" + number[2:]
        if self.has("number-leading-zero") and number.startswith("+0"):
            number = table["phoneNumber"] = "+" + number[2:]
        if self.has("number-unicode-digits"):
            number = table["phoneNumber"] = "+" + "".join(str(int(c)) if c.isdigit() else c for c in number[1:])
        if self.has("number-too-long") and re.fullmatch(r"\+[0-9]{16}", number):
            number = table["phoneNumber"] = number[:13]
        if self.has("number-too-short") and re.fullmatch(r"\+[0-9]{4}", number):
            return
        if self.has("number-plus-optional") and re.fullmatch(r"[0-9]{5,15}", number):
            number = table["phoneNumber"] = "+" + number
        if self.has("number-newline") and number.endswith("\n"):
            number = table["phoneNumber"] = number[:-1]
        if not NUMBER.fullmatch(number):
            raise RefusedError(400, "INVALID_ARGUMENT")
        if self.quirk("number_first"):
            self.check_line(number)

    def check_line(self, number):
        if number == LANDLINE and not self.has("landline-caused_sms"):
            raise RefusedError(403, PREFIX + "PHONE_NUMBER_NOT_ALLOWED")
        if number == UNREACHABLE and not self.has("unreachable-caused_sms"):
            raise RefusedError(403, PREFIX + "PHONE_NUMBER_NOT_ALLOWED")
        if number == BARRED and not self.has("barred-caused_sms"):
            raise RefusedError(403, PREFIX + "PHONE_NUMBER_BLOCKED")
        if number not in PHONES and number.startswith("+4") and not self.has("foreign-caused_sms"):
            raise RefusedError(404, "NOT_FOUND")

    def check_message(self, table):
        message = table.get("message")
        if isinstance(message, list | dict | int) and self.has("types-500"):
            raise RefusedError(500, "INTERNAL")
        if isinstance(message, int | dict) and self.has("message-any-type"):
            table["message"] = "{{code}}"
            return
        if self.has("empty-message-default") and message == "":
            table["message"] = "{{code}}"
            return
        if not isinstance(message, str):
            raise RefusedError(400, "INVALID_ARGUMENT")
        label = "{{code}}"
        if self.has("label-spaced"):
            label = re.search(r"\{\{ *code *\}\}", message, re.IGNORECASE)
            if not label:
                raise RefusedError(400, "INVALID_ARGUMENT")
            table["message"] = message.replace(label[0], "{{code}}")
            return
        length = len(message.encode()) if self.has("length-in-bytes") else len(message)
        if self.has("length-after-substitution"):
            length = len(message.replace("{{code}}", "123456789"))
        limit = 140 if self.has("length-140") else 159 if self.has("length-159") else 160
        limit = 10**6 if self.has("length-unlimited") else limit
        has_label = label in message
        if self.has("message-single-line") and not re.fullmatch(r".*\{\{code\}\}.*", message):
            has_label = False
        if self.has("label-must-be-first") and not message.startswith(label):
            has_label = False
        if self.has("label-only-once") and message.count(label) > 1:
            has_label = False
        if self.has("ascii-only") and not message.isascii():
            raise RefusedError(400, "INVALID_ARGUMENT")
        if self.has("label-not-required"):
            has_label = True
        if not has_label or length > limit:
            raise RefusedError(400, "INVALID_ARGUMENT")

    def check_authenticationId(self, table):  # noqa: N802
        value = table.get("authenticationId")
        if isinstance(value, list) and self.has("id-in-list") and value and isinstance(value[0], str):
            value = table["authenticationId"] = value[0]
        if value is not None and not isinstance(value, str) and self.has("types-500"):
            raise RefusedError(500, "INTERNAL")
        if not isinstance(value, str):
            raise RefusedError(400, "INVALID_ARGUMENT")
        if len(value) > 36 and not self.has("id-length-unchecked"):
            raise RefusedError(400, "INVALID_ARGUMENT")

    def check_code(self, table):
        value = table.get("code")
        if not isinstance(value, str):
            if isinstance(value, int) and not isinstance(value, bool) and self.has("code-as-int"):
                table["code"] = str(value)
                return
            if isinstance(value, list) and self.has("code-in-list") and value:
                table["code"] = value[0]
                return
            if value is not None and self.has("types-500"):
                raise RefusedError(500, "INTERNAL")
            raise RefusedError(400, "INVALID_ARGUMENT")
        if len(value) > 10:
            if self.has("code-length-unchecked"):
                return
            raise RefusedError(400, "INVALID_ARGUMENT")

    def send(self, table, client):
        number, message = table["phoneNumber"], table["message"]
        self.check_line(number)
        count = self.sends[number] = self.sends.get(number, 0) + 1
        if self.has("limit-global"):
            count = sum(self.sends.values())
        limit = self.max_send - 1 if self.has("limit-early") else self.max_send
        if count >= limit and not self.has("limit-missing"):
            raise RefusedError(429 if self.has("limit-429") else 403, PREFIX + "MAX_OTP_CODES_EXCEEDED")
        if self.has("text-before-token") and client != f"Bearer {GOOD}":
            self.deliver(number, message, self.new_code(number))
            raise RefusedError(401, "UNAUTHENTICATED")
        for other in self.ids.values():
            if other.number == number and other.state == "live" and not self.has("old-id-lives"):
                other.state = "superseded"
        code = self.new_code(number)
        issued = Verification(self.new_id(number, code), number, code, client, self.now())
        if self.has("tries-per-phone"):
            issued.wrong = sum(other.wrong for other in self.ids.values() if other.number == number)
        if self.has("phone-locked") and any(v.number == number and v.state == "failed" for v in self.ids.values()):
            issued.state = "failed"
        was_closed = any(v.number == number and v.state == "failed" for v in self.ids.values())
        if self.has("phone-locked-send") and was_closed:
            raise RefusedError(403, PREFIX + "PHONE_NUMBER_BLOCKED")
        self.ids[issued.id] = issued
        self.codes_ever.add(code)
        self.deliver(number, message, code)
        body = {"authenticationId": issued.id}
        headers = []
        if self.has("code-in-body"):
            body["otp"] = code
        if self.has("code-in-debug-text"):
            body["debug"] = f"sent {code} to the phone"
        if self.has("code-in-header"):
            headers.append(("x-debug", code))
        if self.has("code-base64"):
            headers.append(("x-trace", base64.b64encode(code.encode()).decode()))
        if self.has("code-hashed"):
            body["check"] = hashlib.sha256(code.encode()).hexdigest()
        if self.has("number-in-success"):
            body["phoneNumber"] = number
        if self.quirk("extra_members"):
            body |= {"expiresIn": 300, "createdAt": "2026-11-28T12:34:56.4711Z", "resource": None}
        return Reply(200, body, headers)

    def deliver(self, number, message, code):
        text = message.replace("{{code}}", code)
        if self.has("no-text"):
            return
        if self.has("text-to-another"):
            number = PHONES[-1] if number != PHONES[-1] else PHONES[0]
        if self.has("label-kept"):
            text = message
        if self.has("label-once"):
            text = message.replace("{{code}}", code, 1)
        if self.has("text-own-words"):
            text = f"Your verification code is {code}"
        if self.has("text-advert"):
            text += " Buy now!"
        if self.has("text-prefix"):
            text = "OPERATOR: " + text
        if self.has("text-cut"):
            text = text[:70]
        if self.has("text-ascii"):
            text = text.encode("ascii", "replace").decode()
        if self.has("text-no-accents"):
            text = text.replace("ó", "o").replace("ñ", "n")
        if self.has("text-one-line"):
            text = text.replace("\n", " ")
        if self.has("text-upper"):
            text = text.upper()
        if self.has("text-no-code"):
            text = message.replace("{{code}}", "")
        self.texts += [(number, text, time.monotonic())] * (2 if self.has("text-twice") else 1)

    def new_code(self, number):
        self.counter += 1
        if self.has("code-constant"):
            return "777301"
        if self.has("code-counter"):
            return str(self.counter)
        if self.has("code-from-number"):
            return number[-6:]
        if self.has("code-from-time"):
            return str(int(time.time()))[-6:]
        if self.has("code-three-digits"):
            return f"{self.random.randrange(1000):03d}"
        if self.has("code-eleven"):
            return f"{self.random.randrange(10**11):011d}"
        if self.has("code-pool"):
            return self.random.choice(["482913", "775120"])
        form = self.quirk("codes", "digits6")
        if form == "letters":
            return "".join(self.random.choices(string.ascii_uppercase + string.digits, k=4))
        if form == "mixed":
            return "".join(self.random.choices(string.ascii_letters + string.digits, k=8))
        if form == "zeros":
            return f"00{self.random.randrange(10**4):04d}"
        size = int(form.removeprefix("digits"))
        return f"{self.random.randrange(10**size):0{size}d}"

    def new_id(self, number, code):
        if self.has("id-same-for-phone"):
            return str(uuid.uuid5(uuid.NAMESPACE_URL, "x" + number + "salt"))
        if self.has("id-counter"):
            return f"{self.counter}"
        if self.has("id-with-number"):
            return f"{number[1:]}-{self.random.randrange(10**9)}"
        if self.has("id-with-code"):
            return f"v-{code}-{self.random.randrange(10**9)}"
        if self.has("id-with-time"):
            return f"{int(time.time() * 1000)}{self.random.randrange(10**4)}"
        if self.has("id-uuid1"):
            return str(uuid.uuid1())
        if self.has("id-hash"):
            return hashlib.md5(number.encode()).hexdigest()[:30] + str(self.counter % 100)
        if self.quirk("ids") == "opaque":
            return "".join(self.random.choices(string.ascii_letters + string.digits, k=20))
        return str(uuid.uuid4())

    def now(self):
        return time.monotonic() + self.clock_offset

    def find(self, value):
        if self.has("id-case"):
            value = next((known for known in self.ids if known.lower() == value.lower()), value)
        if self.has("id-trimmed"):
            value = value.strip()
        if self.has("id-prefix"):
            value = next((known for known in self.ids if known.startswith(value[:30])), value)
        return self.ids.get(value)

    async def validate(self, table, client, headers):
        found, given = self.find(table["authenticationId"]), table["code"]
        if found is None:
            if self.has("unknown-id-expired"):
                raise RefusedError(400, PREFIX + "VERIFICATION_EXPIRED")
            if self.has("unknown-id-204"):
                return Reply(204)
            if self.has("unknown-id-invalid-otp"):
                raise RefusedError(400, PREFIX + "INVALID_OTP")
            raise RefusedError(404, "NOT_FOUND")
        if found.client != client and client == OTHER and not self.has("clients-mixed"):
            raise RefusedError(404, "NOT_FOUND")
        if self.quirk("aborts"):
            if found.id in self.busy:
                raise RefusedError(409, "ABORTED")
            self.busy.add(found.id)
            try:
                await anyio.lowlevel.checkpoint()
                return await self.decide(found, given)
            finally:
                self.busy.discard(found.id)
        return await self.decide(found, given)

    async def decide(self, found, given):
        if found.state == "superseded":
            raise RefusedError(400, PREFIX + "VERIFICATION_EXPIRED")
        if found.state == "used":
            if self.has("used-again") and self.matches(found, given):
                return Reply(204)
            raise RefusedError(400, PREFIX + ("INVALID_OTP" if self.has("used-invalid") else "VERIFICATION_EXPIRED"))
        if self.now() > found.born + self.lifetime and not self.has("never-expires"):
            raise RefusedError(
                400, PREFIX + ("VERIFICATION_FAILED" if self.has("expired-failed") else "VERIFICATION_EXPIRED")
            )
        if found.state == "failed" and not (self.has("closed-opens") and self.matches(found, given)):
            code = "VERIFICATION_EXPIRED" if self.quirk("closed_is_expired") else "VERIFICATION_FAILED"
            raise RefusedError(400, PREFIX + code)
        if self.has("race-use") or self.has("race-tries"):
            wrong = found.wrong
            await anyio.sleep(0.01)
            if not self.matches(found, given):
                found.wrong = wrong + 1
                return self.wrong_code(found)
            found.state = "used"
            return Reply(204)
        if self.matches(found, given):
            found.state = "used"
            return Reply(204)
        if self.has("distinct-only") and given not in found.guesses:
            found.guesses.add(given)
            if len(found.guesses) > 1:
                found.wrong -= 1
        found.wrong += 1
        return self.wrong_code(found)

    def wrong_code(self, found):
        limit = self.max_try
        if self.has("tries-one-more"):
            limit += 1
        if self.has("tries-one-less"):
            limit -= 1
        if self.has("tries-unlimited"):
            limit = 10**9
        if found.wrong >= limit:
            found.state = "failed"
            if self.has("closing-invalid-otp"):
                raise RefusedError(400, PREFIX + "INVALID_OTP")
            if self.has("closing-expired"):
                raise RefusedError(400, PREFIX + "VERIFICATION_EXPIRED")
            raise RefusedError(400, PREFIX + "VERIFICATION_FAILED")
        if self.has("wrong-is-422"):
            raise RefusedError(422, PREFIX + "INVALID_OTP")
        if self.has("wrong-is-401"):
            raise RefusedError(401, "UNAUTHENTICATED")
        if self.has("wrong-is-argument"):
            raise RefusedError(400, "INVALID_ARGUMENT")
        if self.has("wrong-is-200"):
            return Reply(200, {"valid": False})
        raise RefusedError(400, PREFIX + "INVALID_OTP", self.hint(found))

    def hint(self, found):
        return f"Wrong; the right one is {found.code}." if self.has("code-in-error") else "Refused."

    def matches(self, found, given):
        code = found.code
        ways = {
            "accepts-any": lambda: True,
            "accepts-first-four": lambda: given[:4] == code[:4],
            "accepts-last-four": lambda: given[-4:] == code[-4:],
            "accepts-ends": lambda: given[:1] == code[:1] and given[-1:] == code[-1:] and len(given) == len(code),
            "accepts-longer": lambda: given.startswith(code),
            "accepts-prefix": lambda: bool(given) and code.startswith(given),
            "accepts-suffix": lambda: bool(given) and code.endswith(given),
            "accepts-substring": lambda: given in code,
            "accepts-empty": lambda: given == "" or given == code,
            "accepts-blank": lambda: not given.strip() or given == code,
            "accepts-trimmed": lambda: given.strip() == code,
            "accepts-as-number": lambda: given.strip().isdigit() and code.isdigit() and int(given) == int(code),
            "accepts-any-issued": lambda: given in self.codes_ever,
            "accepts-phone-codes": lambda: any(v.code == given for v in self.ids.values() if v.number == found.number),
            "accepts-master": lambda: given in (code, "000000"),
            "accepts-master-123456": lambda: given in (code, "123456"),
            "accepts-sorted": lambda: sorted(given) == sorted(code),
            "accepts-same-length": lambda: len(given) == len(code),
            "accepts-second-try": lambda: found.wrong >= 1 or given == code,
        }
        for name, way in ways.items():
            if self.has(name):
                return way()
        if self.has("refuses-right"):
            return False
        if self.has("zeros-dropped"):
            return given == code.lstrip("0")
        return given == code


def _json_member(body, name):
    try:
        return json.loads(body)[name]
    except (ValueError, KeyError, TypeError):
        return None


def _is_uuid(text):
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def told(operator, base=BASE, **changes):
    """Return the settings that a user would write for an operator."""
    table = {
        "base_url": base,
        "numbers": {
            "reachable": PHONES[:8],
            "landline": LANDLINE,
            "unreachable": UNREACHABLE,
            "blocked": BARRED,
            "foreign": FOREIGN,
        },
        "limits": {"max_send": operator.max_send, "max_try": operator.max_try, "code_lifetime": operator.lifetime},
        "tokens": {"expired": EXPIRED_TOKEN, "other": OTHER, "unscoped": UNSCOPED},
        "read": {"how": "http", "url": "{base_url}/inbox/{phone_number}", "timeout": 0.3},
        "expire": {"how": "http", "method": "POST", "url": "{base_url}/clock"},
        "concurrency": 8,
    }
    for name, value in changes.items():
        is_merged = isinstance(value, dict) and isinstance(table.get(name), dict) and name not in ("read", "limits")
        table[name] = {**table[name], **value} if is_merged else value
    return settings_from({name: value for name, value in table.items() if value is not None})


@contextmanager
def served(operator, *, protocol="HTTP/1.1", chunked=False, context=None):
    """Serve an operator on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = protocol

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = anyio.run(operator.reply, self.command, self.path, headers, body)
            fields, content = operator.wire(reply)
            self.send_response(reply.status)
            for name, value in fields:
                self.send_header(name, value)
            if reply.status != 204:
                self.send_header(*(("transfer-encoding", "chunked") if chunked else ("content-length", len(content))))
            self.end_headers()
            if reply.status == 204:
                return
            if not chunked:
                self.wfile.write(content)
                return
            for at in range(0, len(content), 7):
                part = content[at : at + 7]
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_PUT = do_POST  # noqa: N815

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme = "http"
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{scheme}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
