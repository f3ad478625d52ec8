"""The control API under `/_sandbox`, for tests and the inbox page."""

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final, cast
from urllib.parse import parse_qs

import attrs

from camara_otp.sandbox.authorization import AuthorizationServer, RegisteredClient, TokenSettings
from camara_otp.sandbox.engine import Engine
from camara_otp.sandbox.faults import Fault
from camara_otp.sandbox.http import HTTPRequest, HTTPResponse, error_response, json_object, json_response
from camara_otp.sandbox.load import fields_from

ROOT: Final = "/_sandbox"
DESCRIPTION: Final = files("camara_otp.sandbox").joinpath("control.openapi.json")

Arguments = Mapping[str, Any]
"""The query of a GET or DELETE; the JSON body of a POST."""


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def json_members(value: "attrs.AttrsInstance") -> dict[str, object]:
    """Turn one of the sandbox's values into a JSON object, with names in CAMARA's style."""
    names = [field.name for field in attrs.fields(type(value)) if not field.name.startswith("_")]
    return {_camel(name): json_value(getattr(value, name)) for name in names}


def json_value(value: object) -> object:
    """Turn one of the sandbox's values, or many, into JSON's."""
    if isinstance(value, list | tuple):
        return [json_value(item) for item in cast("list[object]", value)]
    if isinstance(value, frozenset):
        return sorted(cast("frozenset[str]", value))
    return json_members(cast("attrs.AttrsInstance", value)) if attrs.has(type(value)) else value


def control_response(engine: Engine, request: HTTPRequest) -> HTTPResponse:
    """Respond to a request to the control API."""
    methods = _TABLE.get(request.path.removeprefix(ROOT + "/"))
    if methods is None:
        return error_response(404, "NOT_FOUND", f"Unknown path; under {ROOT} there are: {', '.join(_TABLE)}")
    act = methods.get(request.method)
    if act is None:
        allow = (("allow", ", ".join(methods)),)
        return error_response(405, "METHOD_NOT_ALLOWED", f"Use {' or '.join(methods)}.", allow)
    try:
        if request.method == "POST":
            arguments: Arguments = json_object(request.body) if request.body else {}
        else:
            arguments = {name: values[-1] for name, values in parse_qs(request.query, keep_blank_values=True).items()}
        value = act(engine, arguments)
    except ValueError as error:
        reason = re.sub(r"^\w+(?=:)", lambda name: _camel(name[0]), str(error))
        return error_response(400, "INVALID_ARGUMENT", reason)
    if isinstance(value, HTTPResponse):
        return value
    return HTTPResponse(204) if value is None else json_response(200, json_value(value))


def _messages(engine: Engine, query: Arguments) -> object:
    number = query.get("phoneNumber")
    # A plus sign that was not escaped arrives as a space, and people omit it.
    return engine.messages("+" + number.strip().lstrip("+") if number else None)


def _state(engine: Engine, query: Arguments) -> object:
    changes = engine.changes(_number(query, "since", "0"), limit=_number(query, "limit", "1000"))
    # Access tokens stay out: even made-up ones may be copies of real ones.
    settings = json_members(engine.config).items()
    shown = {name: value for name, value in settings if not name.lower().endswith("tokens")}
    return {**json_members(changes), "sentCount": engine.sent_count, "settings": shown}


def _advance(engine: Engine, body: Arguments) -> object:
    engine.advance(body.get("seconds", ""))
    return {"now": engine.now}


def _add_fault(engine: Engine, body: Arguments) -> object:
    number = engine.add_fault(Fault(**fields_from(Fault, body, _camel)))
    return json_response(201, {"number": number})


def _remove_faults(engine: Engine, query: Arguments) -> object:
    if "number" not in query:
        engine.clear_faults()
    elif not engine.remove_fault(_number(query, "number", "")):
        return error_response(404, "NOT_FOUND", "number: no active fault has it; GET faults lists them")
    return None


def _number(query: Arguments, name: str, default: str) -> int:
    text = query.get(name, default)
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"{name}: must be a whole number")
    return int(text)


def _change_tokens(engine: Engine, body: Arguments) -> object:
    def act(server: AuthorizationServer, now: float) -> object:
        server.settings = attrs.evolve(server.settings, **fields_from(TokenSettings, body, _camel))
        return _token_facts(server, now)

    return engine.with_tokens(act)


def _token_facts(server: AuthorizationServer, now: float) -> object:
    """Return the settings, and the numbers of requests and of valid tokens; never a token."""
    return {**json_members(server.settings), "requests": server.requests, "live": server.live(now)}


def _revoke(engine: Engine, body: Arguments) -> object:
    token = body.get("token")
    if token is not None and not isinstance(token, str):
        raise ValueError("token: must be a string; omit it to revoke all tokens")
    return {"revoked": engine.with_tokens(lambda server, _: server.revoke(token))}


def _register(engine: Engine, body: Arguments) -> object:
    absent: dict[str, Any] = {"client_id": "", "client_secret": None, "jwks": {"keys": []}}
    client = RegisteredClient(**absent | fields_from(RegisteredClient, body, _camel))
    engine.with_tokens(lambda server, _: server.register(client))
    return None


Act = Callable[[Engine, Arguments], object]
"""Returns None for 204, a value to send as JSON with 200, or a whole response."""

_TABLE: Final[Mapping[str, Mapping[str, Act]]] = {
    "messages": {"GET": _messages},
    "calls": {"GET": lambda engine, _: engine.calls()},
    "state": {"GET": _state},
    "advance": {"POST": _advance},
    "reset": {"POST": lambda engine, _: engine.reset()},
    "faults": {"GET": lambda engine, _: engine.faults(), "POST": _add_fault, "DELETE": _remove_faults},
    "tokens": {"GET": lambda engine, _: engine.with_tokens(_token_facts), "POST": _change_tokens},
    "revoke": {"POST": _revoke},
    "clients": {"POST": _register},
    "openapi.json": {
        "GET": lambda _, __: HTTPResponse(200, (("content-type", "application/json"),), DESCRIPTION.read_bytes())
    },
}
