"""Fuzz the reading of responses: from raw bytes of a connection to a model or an error (`make fuzz`).

An input is two bytes that choose operation, status and how the bytes arrive, then the head, a blank line, and the
body. What has to hold is checked in `check`, which the tests run over the corpus too.
"""

import math
import sys
import time

MESSAGE = "{{code}} Qjmessage"
NUMBER = "+346661113334"
TOKEN = "QjToken/of+the=tests"
AUTHENTICATION_ID = "Qjauthentication"
CODE = "QJcode77"
STATUSES = (200, 204, 201, 302, 400, 401, 403, 404, 409, 429, 500, 503, 599, 999)
CAP = 4096


def check(data: bytes) -> None:
    """Read a response, and fail if the result is not a defined one."""
    import h11

    from camara_otp import (
        APIError,
        OTPError,
        SendCodeRequest,
        SendCodeResponse,
        UnexpectedResponseError,
        ValidateCodeRequest,
        ValidateCodeResponse,
    )
    from camara_otp._exchange.body import Body
    from camara_otp._exchange.connect import Failed
    from camara_otp._exchange.http1 import read_response
    from camara_otp._exchange.waits import drive
    from camara_otp._secret import Secret
    from camara_otp._wire import CallContext, read_send_code, read_validate_code

    if len(data) < 2:
        return
    sending, status = data[0] & 1, STATUSES[data[1] % len(STATUSES)]
    step = 1 + (data[0] >> 1)
    head, _, body = data[2:].partition(b"\n\n")
    headers = [
        (name.strip().lower(), value.strip())
        for name, colon, value in (line.partition(b":") for line in head.split(b"\n"))
        if colon
    ]

    pieces = [data[at : at + step] for at in range(2, len(data), step)]

    class Arriving:
        reusable = False
        readable = None

        def receive(self) -> bytes:
            return pieces.pop(0) if pieces else b""

    connection = Arriving()
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="POST", target="/", headers=[("Host", "a"), ("Content-Length", "0")]))
    parser.send(h11.EndOfMessage())
    try:
        response = drive(read_response(connection, parser, CAP), math.inf)
    except (h11.RemoteProtocolError, Failed):
        pass
    else:
        assert len(response.body) <= CAP
        assert not (connection.reusable and parser.trailing_data[0])

    collected = Body(headers, CAP)
    for at in range(0, len(body), step):
        if not collected.add(body[at : at + step]):
            break
    answer = collected.response(status)
    assert len(answer.body) <= CAP

    request = SendCodeRequest(NUMBER, MESSAGE) if sending else ValidateCodeRequest(AUTHENTICATION_ID, CODE)
    call = CallContext("send_code" if sending else "validate_code", request, "sent-1")
    call.token = Secret(TOKEN)
    reader = read_send_code if sending else read_validate_code
    result = reader(answer, call, time.time())
    if isinstance(result, SendCodeResponse):
        assert (sending, status, answer.fault) == (1, 200, None)
        assert 1 <= len(result.authentication_id) <= 36
        result.authentication_id.encode()
    elif isinstance(result, ValidateCodeResponse):
        assert (sending, status) == (0, 204)
    else:
        assert isinstance(result, OTPError)
        assert isinstance(result, APIError if status >= 400 else UnexpectedResponseError)
        shown = f"{result} {result.__dict__}"
        assert str(result).isprintable()
        assert len(getattr(result, "message", None) or "") <= 200
        assert result.outcome_unknown == (
            status < 400 or status >= 500 or (status, getattr(result, "code", None)) == (409, "ABORTED")
        )
        for secret in (TOKEN, NUMBER[1:], MESSAGE) if sending else (TOKEN, AUTHENTICATION_ID, CODE):
            assert secret not in shown, "a secret of the request is in the error"
        retry_after = getattr(result, "retry_after", None)
        assert retry_after is None or 0 <= retry_after <= 86_400


def main() -> None:
    """Run the fuzzer with libFuzzer's arguments."""
    import atheris

    with atheris.instrument_imports(include=["camara_otp", "json", "email", "html", "urllib"]):
        import camara_otp._exchange.http1
        import camara_otp._wire  # noqa: F401

    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
