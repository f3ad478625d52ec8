"""The control API under `/_sandbox`, for tests and the inbox page."""

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final, cast
from urllib.parse import parse_qs

import attrs

from camara_otp.sandbox.authorization import MAX_TEXT, AuthorizationServer, RegisteredClient, TokenSettings
from camara_otp.sandbox.engine import Engine
from camara_otp.sandbox.faults import Fault
from camara_otp.sandbox.http import HTTPRequest, HTTPResponse, error_response, json_object, json_response
from camara_otp.sandbox.load import fault_from

ROOT: Final = "/_sandbox"
DESCRIPTION: Final = files("camara_otp.sandbox").joinpath("control.openapi.json")
EMPTY: Final = HTTPResponse(204)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def json_members(value: "attrs.AttrsInstance") -> dict[str, object]:
    """Turn one of the sandbox's values into a JSON object, with names in CAMARA's style."""
    return {_camel(field.name): json_value(getattr(value, field.name)) for field in attrs.fields(type(value))}


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
        return error_response(404, "NOT_FOUND", f"{ROOT} has: {', '.join(_TABLE)}")
    act = methods.get(request.method)
    if act is None:
        allow = (("allow", ", ".join(methods)),)
        return error_response(405, "METHOD_NOT_ALLOWED", f"Use {' or '.join(methods)}.", allow)
    parameters = {key: values[-1] for key, values in parse_qs(request.query, keep_blank_values=True).items()}
    try:
        return act(engine, parameters, json_object(request.body) if request.body else {})
    except ValueError as error:
        return error_response(400, "INVALID_ARGUMENT", str(error))


def _messages(engine: Engine, parameters: Mapping[str, str], _: Mapping[str, Any]) -> HTTPResponse:
    number = parameters.get("phoneNumber")
    if number:
        # A plus sign that was not escaped arrives as a space, and people forget it altogether.
        number = "+" + number.strip().lstrip("+")
    return json_response(200, json_value(engine.messages(number or None)))


def _advance(engine: Engine, _: Mapping[str, str], body: Mapping[str, Any]) -> HTTPResponse:
    seconds = body.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError('The body must be {"seconds": a number}.')  # noqa: TRY004  (one kind of error for bodies)
    engine.advance(seconds)
    return json_response(200, {"now": engine.now})


def _reset(engine: Engine, _: Mapping[str, str], __: Mapping[str, Any]) -> HTTPResponse:
    engine.reset()
    return EMPTY


def _calls(engine: Engine, _: Mapping[str, str], __: Mapping[str, Any]) -> HTTPResponse:
    return json_response(200, json_value(engine.calls()))


def _state(engine: Engine, parameters: Mapping[str, str], _: Mapping[str, Any]) -> HTTPResponse:
    changes = engine.changes(_number(parameters, "since", 0), limit=_number(parameters, "limit", 1000))
    return json_response(200, {**json_members(changes), "sentCount": engine.sent_count, "settings": _settings(engine)})


def _settings(engine: Engine) -> object:
    # Access tokens stay out: even made-up ones may be copies of real ones.
    shown = json_members(engine.config)
    return {name: value for name, value in shown.items() if not name.lower().endswith("tokens")}


def _list_faults(engine: Engine, _: Mapping[str, str], __: Mapping[str, Any]) -> HTTPResponse:
    return json_response(200, json_value(engine.faults()))


def _add_fault(engine: Engine, _: Mapping[str, str], body: Mapping[str, Any]) -> HTTPResponse:
    names = {_camel(field.name): field.name for field in attrs.fields(Fault)}
    number = engine.add_fault(fault_from({names.get(key, key): value for key, value in body.items()}))
    return json_response(201, {"number": number})


def _remove_faults(engine: Engine, parameters: Mapping[str, str], _: Mapping[str, Any]) -> HTTPResponse:
    if "number" not in parameters:
        engine.clear_faults()
    elif not engine.remove_fault(_number(parameters, "number", 0)):
        return error_response(404, "NOT_FOUND", "No fault in force has this number.")
    return EMPTY


def _number(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"{name} must be a whole number.")
    return int(text)


def _show_tokens(engine: Engine, _: Mapping[str, str], __: Mapping[str, Any]) -> HTTPResponse:
    """Return the settings, and the numbers of requests and of valid tokens; never a token."""
    return json_response(200, engine.with_tokens(_token_facts))


def _change_tokens(engine: Engine, _: Mapping[str, str], body: Mapping[str, Any]) -> HTTPResponse:
    """Change some settings: `{"lifetime": 3}`."""
    names = {_camel(field.name): field.name for field in attrs.fields(TokenSettings)}
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise ValueError(f"Known are {', '.join(names)}.")

    def act(server: AuthorizationServer, now: float) -> dict[str, object]:
        server.settings = attrs.evolve(server.settings, **{names[name]: value for name, value in body.items()})
        return _token_facts(server, now)

    return json_response(200, engine.with_tokens(act))


def _revoke(engine: Engine, _: Mapping[str, str], body: Mapping[str, Any]) -> HTTPResponse:
    """Revoke `{"token": "..."}`, or without a body every token."""
    token = body.get("token")
    if token is not None and not isinstance(token, str):
        raise ValueError('The body must be {"token": text}, or empty for all.')
    return json_response(200, {"revoked": engine.with_tokens(lambda server, _: server.revoke(token))})


def _register(engine: Engine, _: Mapping[str, str], body: Mapping[str, Any]) -> HTTPResponse:
    """Register `{"clientId": "...", "clientSecret": "..."}` or `{"clientId": "...", "jwks": {"keys": [...]}}`."""
    client_id, secret, jwks = body.get("clientId"), body.get("clientSecret"), body.get("jwks", {"keys": []})
    keys: list[object] | None = cast("dict[str, Any]", jwks).get("keys") if isinstance(jwks, dict) else None
    texts = (client_id,) if secret is None else (client_id, secret)
    if not all(isinstance(text, str) and 0 < len(text) <= MAX_TEXT for text in texts):
        raise ValueError(f"clientId and clientSecret must be strings of 1 to {MAX_TEXT} characters.")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError('jwks must be {"keys": [...]}.')
    client = RegisteredClient(str(client_id), secret, tuple(cast("list[dict[str, Any]]", keys)))
    engine.with_tokens(lambda server, _: server.register(client))
    return EMPTY


def _token_facts(server: AuthorizationServer, now: float) -> dict[str, object]:
    settings = {_camel(name): value for name, value in attrs.asdict(server.settings).items()}
    return {**settings, "requests": server.requests, "live": server.live(now)}


def _openapi(_: Engine, __: Mapping[str, str], ___: Mapping[str, Any]) -> HTTPResponse:
    return HTTPResponse(200, (("content-type", "application/json"),), DESCRIPTION.read_bytes())


Act = Callable[[Engine, Mapping[str, str], Mapping[str, Any]], HTTPResponse]

_TABLE: Final[Mapping[str, Mapping[str, Act]]] = {
    "messages": {"GET": _messages},
    "calls": {"GET": _calls},
    "state": {"GET": _state},
    "advance": {"POST": _advance},
    "reset": {"POST": _reset},
    "faults": {"GET": _list_faults, "POST": _add_fault, "DELETE": _remove_faults},
    "tokens": {"GET": _show_tokens, "POST": _change_tokens},
    "revoke": {"POST": _revoke},
    "clients": {"POST": _register},
    "openapi.json": {"GET": _openapi},
}
