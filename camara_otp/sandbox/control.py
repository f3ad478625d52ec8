"""The control API under `/_sandbox`: what a test or the inbox page asks of a sandbox over HTTP."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs

import attrs

from camara_otp.sandbox import tokens
from camara_otp.sandbox.faults import Fault
from camara_otp.sandbox.gateway import Answer, json_answer
from camara_otp.sandbox.load import fault_from

if TYPE_CHECKING:
    from camara_otp.sandbox.core import Sandbox

ROOT: Final = "/_sandbox"
_DESCRIPTION: Final = Path(__file__).with_name("control.openapi.json")
EMPTY: Final = Answer(204)


class _WrongError(Exception):
    """A request to the control API that cannot be served; the text says why."""


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def as_table(value: "attrs.AttrsInstance") -> dict[str, object]:
    """Turn one of the sandbox's values into a JSON object, with names in CAMARA's style."""
    return {_camel(field.name): as_json(getattr(value, field.name)) for field in attrs.fields(type(value))}


def as_json(value: object) -> object:
    """Turn one of the sandbox's values, or many, into JSON's."""
    if isinstance(value, list | tuple):
        return [as_json(item) for item in cast("list[object]", value)]
    if isinstance(value, frozenset):
        return sorted(cast("frozenset[str]", value))
    return as_table(cast("attrs.AttrsInstance", value)) if attrs.has(type(value)) else value


def handle(sandbox: "Sandbox", method: str, path: str, query: str, body: bytes) -> Answer:
    """Answer a request to the control API.

    Args:
        sandbox: The sandbox to ask or change.
        method: The HTTP method.
        path: The path, which starts with `/_sandbox/`.
        query: The query string, without its question mark.
        body: The body.
    """
    name = path.removeprefix(ROOT + "/")
    methods = _TABLE.get(name)
    if methods is None:
        return json_answer(404, {"status": 404, "code": "NOT_FOUND", "message": f"{ROOT} has: {', '.join(_TABLE)}"})
    act = methods.get(method)
    if act is None:
        info = {"status": 405, "code": "METHOD_NOT_ALLOWED", "message": f"Use {' or '.join(methods)}."}
        return json_answer(405, info, (("allow", ", ".join(methods)),))
    parameters = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
    try:
        return act(sandbox, parameters, _read(body))
    except _WrongError as wrong:
        return json_answer(400, {"status": 400, "code": "INVALID_ARGUMENT", "message": str(wrong)})


def _read(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise _WrongError("The body is not JSON.") from None
    if not isinstance(value, dict):
        raise _WrongError("The body must be a JSON object.")
    return cast("dict[str, Any]", value)


def _messages(sandbox: "Sandbox", parameters: Mapping[str, str], _: Mapping[str, Any]) -> Answer:
    number = parameters.get("phoneNumber")
    if number:
        # A plus sign that was not escaped arrives as a space, and people forget it altogether.
        number = "+" + number.strip().lstrip("+")
    return json_answer(200, as_json(sandbox.messages(number or None)))


def _advance(sandbox: "Sandbox", _: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
    seconds = body.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise _WrongError('The body must be {"seconds": a number}.')
    try:
        sandbox.advance(seconds)
    except ValueError as error:
        raise _WrongError(str(error)) from None
    return json_answer(200, {"now": sandbox.now})


def _reset(sandbox: "Sandbox", _: Mapping[str, str], __: Mapping[str, Any]) -> Answer:
    sandbox.reset()
    return EMPTY


def _calls(sandbox: "Sandbox", _: Mapping[str, str], __: Mapping[str, Any]) -> Answer:
    return json_answer(200, as_json(sandbox.calls()))


def _state(sandbox: "Sandbox", parameters: Mapping[str, str], _: Mapping[str, Any]) -> Answer:
    changes = sandbox.changes(_number(parameters, "since", 0), limit=_number(parameters, "limit", 1000))
    return json_answer(200, {**as_table(changes), "sentCount": sandbox.sent_count, "settings": _settings(sandbox)})


def _settings(sandbox: "Sandbox") -> object:
    # Access tokens stay out: even made-up ones may be copies of real ones.
    shown = as_table(sandbox.config)
    return {name: value for name, value in shown.items() if not name.lower().endswith("tokens")}


def _list_faults(sandbox: "Sandbox", _: Mapping[str, str], __: Mapping[str, Any]) -> Answer:
    return json_answer(200, as_json(sandbox.faults()))


def _add_fault(sandbox: "Sandbox", _: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
    names = {_camel(field.name): field.name for field in attrs.fields(Fault)}
    try:
        number = sandbox.add_fault(fault_from({names.get(key, key): value for key, value in body.items()}))
    except ValueError as error:
        raise _WrongError(str(error)) from None
    return json_answer(201, {"number": number})


def _remove_faults(sandbox: "Sandbox", parameters: Mapping[str, str], _: Mapping[str, Any]) -> Answer:
    if "number" not in parameters:
        sandbox.clear_faults()
    elif not sandbox.remove_fault(_number(parameters, "number", 0)):
        return json_answer(404, {"status": 404, "code": "NOT_FOUND", "message": "No fault in force has this number."})
    return EMPTY


def _number(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise _WrongError(f"{name} must be a whole number.")
    return int(text)


def _openapi(_: "Sandbox", __: Mapping[str, str], ___: Mapping[str, Any]) -> Answer:
    return Answer(200, (("content-type", "application/json"),), _DESCRIPTION.read_bytes())


Act = Callable[["Sandbox", Mapping[str, str], Mapping[str, Any]], Answer]

_TABLE: Final[Mapping[str, Mapping[str, Act]]] = {
    "messages": {"GET": _messages},
    "calls": {"GET": _calls},
    "state": {"GET": _state},
    "advance": {"POST": _advance},
    "reset": {"POST": _reset},
    "faults": {"GET": _list_faults, "POST": _add_fault, "DELETE": _remove_faults},
    "tokens": {"GET": tokens.show, "POST": tokens.change},
    "revoke": {"POST": tokens.revoke},
    "clients": {"POST": tokens.register},
    "openapi.json": {"GET": _openapi},
}
