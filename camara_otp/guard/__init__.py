"""Guard: limits that limit the SMS that a login page sends, against SMS pumping.

    guard = Guard(countries=["34"], limits=[Limit("number", 5, per=3600), Limit("ip", 20, per=3600)])
    with guard.sending(number, ip=client_ip):  # raises SendRefusedError; then nothing was sent
        sent = otp.send_code(number, MESSAGE)

The docs page "Protect your login page" shows the rest.
"""

from camara_otp.errors import SendRefusedError
from camara_otp.guard.guard import Guard, GuardEvent
from camara_otp.guard.rules import Limit
from camara_otp.guard.stores import MemoryCounters, RedisCounters

__all__ = ["Guard", "GuardEvent", "Limit", "MemoryCounters", "RedisCounters", "SendRefusedError"]
