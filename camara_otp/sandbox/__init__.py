"""A local operator for one-time codes: the real rules, phones that exist only here, and an inbox page.

It shares no code with the client: it is an independent reading of the API's specification, so that a test of one
against the other means something.
"""

from camara_otp.sandbox.config import Config
from camara_otp.sandbox.engine import Call
from camara_otp.sandbox.facade import Sandbox
from camara_otp.sandbox.faults import Fault
from camara_otp.sandbox.operator import Message, State

__all__ = ["Call", "Config", "Fault", "Message", "Sandbox", "State"]
