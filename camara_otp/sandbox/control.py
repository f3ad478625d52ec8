"""The control API under `/_sandbox`: what a test or the inbox page asks of a sandbox over HTTP."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs

import attrs

from camara_otp.sandbox.gateway import Answer, json_answer

if TYPE_CHECKING:
    from camara_otp.sandbox.core import Sandbox

ROOT: Final = "/_sandbox"
EMPTY: Final = Answer(204)


class _WrongError(Exception):
    """A request to the control API that cannot be served; the text says why."""


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def as_json(value: object) -> object:
    """Turn one of the sandbox's values into JSON's, with names in CAMARA's style."""
    if isinstance(value, list | tuple):
        return [as_json(item) for item in cast("list[object]", value)]
    kind = type(value)
    if attrs.has(kind):
        return {_camel(field.name): as_json(getattr(value, field.name)) for field in attrs.fields(kind)}
    return value


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
    parameters = {key: values[-1] for key, values in parse_qs(query).items()}
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
    if number is not None:
        # A plus sign that was not escaped arrives as a space, and people forget it altogether.
        number = "+" + number.strip().lstrip("+")
    return json_answer(200, as_json(sandbox.messages(number)))


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


Act = Callable[["Sandbox", Mapping[str, str], Mapping[str, Any]], Answer]

_TABLE: Final[Mapping[str, Mapping[str, Act]]] = {
    "messages": {"GET": _messages},
    "advance": {"POST": _advance},
    "reset": {"POST": _reset},
}
