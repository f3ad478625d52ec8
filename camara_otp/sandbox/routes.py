"""The routes of the sandbox: inbox page, control API, operations and authorization server."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Final

import attrs

from camara_otp.sandbox import control
from camara_otp.sandbox.engine import Engine
from camara_otp.sandbox.http import HTTPRequest, HTTPResponse
from camara_otp.sandbox.operations import correlator_of, error_of

# The page may run its own script and talk to its own server only.
_POLICY: Final = (
    "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def _hashes(html: str, element: str) -> str:
    """Return the sources that allow exactly the inline elements of a kind that stand in the page."""
    texts = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


@cache
def _page() -> HTTPResponse:
    html = files("camara_otp.sandbox").joinpath("page.html").read_text("utf-8")
    policy = _POLICY.format(script=_hashes(html, "script"), style=_hashes(html, "style"))
    headers = (
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", policy),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    )
    return HTTPResponse(200, headers, html.encode())


def any_response(engine: Engine, request: HTTPRequest, *, under_any_root: bool = False) -> HTTPResponse:
    """Respond to a request; in process, there is no page, and paths may have any root."""
    at = request.path.find(control.ROOT + "/")
    if at == 0 or (at > 0 and under_any_root):
        return control.control_response(engine, attrs.evolve(request, path=request.path[at:]))
    if request.path != "/" or under_any_root:
        return engine.handle(request, under_any_root=under_any_root)
    if request.method in ("GET", "HEAD"):
        return _page()
    headers = (("allow", "GET, HEAD"), *correlator_of(engine.config, request))
    return error_of(engine.config, "METHOD_NOT_ALLOWED", headers=headers)
