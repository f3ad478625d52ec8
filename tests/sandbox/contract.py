"""Compare responses with the published OpenAPI, from the facts in data/."""

from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from tests.sandbox.openapi_facts import load

# Left out of the documented set from 1.1.0 on, since any gateway may send them; the form is the same.
GATEWAY = (404, 405, 406, 415)


def _inline(value: Any, document: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inline(item, document) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        target = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _inline(target, document)
    return {key: _inline(item, document) for key, item in value.items()}


@cache
def _responses(release: str, operation: str) -> dict[str, Any]:
    document = load(release)
    responses: dict[str, Any] = _inline(document["paths"][f"/{operation}"]["post"]["responses"], document)
    return responses


@cache
def _error_info(release: str) -> Any:
    document = load(release)
    return _inline(document["components"]["schemas"]["ErrorInfo"], document)


def assert_published(answer: httpx.Response, release: str, operation: str) -> None:
    """Fail unless the OpenAPI of the release allows a response of the operation."""
    documented = _responses(release, operation).get(str(answer.status_code))
    if documented is None:
        assert answer.status_code in GATEWAY
        schema = _error_info(release)
    else:
        correlator = documented["headers"]["x-correlator"]["schema"]
        jsonschema_rs.validate(correlator, answer.headers["x-correlator"])
        content = documented.get("content")
        if content is None:
            assert answer.content == b""
            return
        schema = content["application/json"]["schema"]
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    jsonschema_rs.validate(schema, body)
    if answer.status_code >= 400:
        assert body["status"] == answer.status_code
        assert body["message"]
