"""The HTTP library of the caller's client: httpx, or httpx2 if CAMARA_OTP_TESTS_HTTP says so."""

import importlib
import os
from typing import Any

LIBRARY = os.environ.get("CAMARA_OTP_TESTS_HTTP", "httpx")
httpx: Any = importlib.import_module(LIBRARY)
