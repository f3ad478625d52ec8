"""Write the seeds of the corpus: `python -m tests.fuzz.seed`. Useful inputs of the fuzzer are added by hand."""

import gzip
import json
import zlib
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
SEEDS = {
    "sent": b"\x21\x00\n\n" + json.dumps({"authenticationId": "ea0840f3-3663-4149-bd10-c7c6b8912105"}).encode(),
    "sent-gzip": b"\x03\x00content-encoding: gzip\n\n" + gzip.compress(b'{"authenticationId":"a"}', mtime=0),
    "verified": b"\x20\x01x-correlator: theirs\n\n",
    "refused": b"\x20\x04\n\n" + b'{"status":400,"code":"ONE_TIME_PASSWORD_SMS.INVALID_OTP","message":"no"}',
    "nested": b"\x21\x07\n\n" + b'{"detail":{"code":"NOT_FOUND"}}',
    "aborted": b"\x21\x08\n\n" + b'{"code":"ABORTED"}',
    "late": b"\x21\x09retry-after: 7\n\n" + b'{"code":"TOO_MANY_REQUESTS"}',
    "late-date": b"\x21\x0bretry-after: Mon, 23 Nov 2026 12:00:00 GMT\n\n<html>busy</html>",
    "echo": b"\x21\x05\n\ntoken QjToken/of+the=tests is bad",
    "echo-json": b"\x21\x05\n\n" + rb'{"x":"QjToken\/of\u002bthe\u003dtests"}',
    "echo-html": b"\x20\x06\n\n<p>QJ&#99;ode77</p>",
    "echo-url": b"\x20\x06\n\ncode=%51%4acode77",
    "bomb": b"\xff\x00content-encoding: deflate\n\n" + zlib.compress(b" " * 100_000),
    "text": b"\x21\x0a\n\n\xff\xfe\x00",
}

if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for name, data in SEEDS.items():
        (CORPUS / name).write_bytes(data)
