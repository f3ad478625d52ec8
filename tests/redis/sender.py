"""Send one SMS through a guard on Redis: exit 0 if it was sent, 3 if it was refused.

With `kill`, fork once for each line of the guard, and kill the fork with SIGKILL when it reaches that line. The line
numbers are kept in the hash `killed`; the fork of line 12 sends to +34666000012.
"""

import os
import signal
import sys

import redis

from camara_otp import OTPClient, OTPError, SendRefusedError
from camara_otp.guard import Guard, RedisCounters

MESSAGE = "{{code}} is your code"


def send(server: str, operator: str, number: str, cooldown: float) -> None:
    guard = Guard(
        store=RedisCounters(redis.Redis.from_url(server), secret="secret-of-the-tests", timeout=5.0), cooldown=cooldown
    )
    with guard.sending(number), OTPClient(operator, token="any") as otp:
        otp.send_code(number, MESSAGE)


def killed_at(step: int, server: str, operator: str) -> bool:
    """Return whether the fork was killed, and did not end before it reached the line."""
    child = os.fork()
    if not child:
        lines = 0

        def trace(frame, event, arg):
            nonlocal lines
            if "camara_otp/guard" not in frame.f_code.co_filename:
                return None
            if event == "line":
                lines += 1
                if lines == step:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            send(server, operator, f"+3466600{step:04}", 600.0)
        except OTPError:
            pass
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def main(server: str, operator: str, *how: str) -> int:
    if not how:
        sys.stdin.read()
        try:
            send(server, operator, "+34666111222", 30.0)
        except SendRefusedError:
            return 3
        return 0
    client = redis.Redis.from_url(server)
    step = 1
    while killed_at(step, server, operator):
        client.hset("killed", str(step), 1)
        step += 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
