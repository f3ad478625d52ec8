"""A local operator for one-time codes: real rules, phones that exist only here, an inbox to look at.

It shares no code with the client: it is an independent reading of the API's specification, so that a test of one
against the other means something.
"""

from camara_otp.sandbox.config import Config
from camara_otp.sandbox.core import Call, Message, Sandbox
from camara_otp.sandbox.faults import Fault
from camara_otp.sandbox.operator import State

__all__ = ["Call", "Config", "Fault", "Message", "Sandbox", "State"]
