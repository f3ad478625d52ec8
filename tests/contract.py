"""Extract the facts that tests need from the published specs: `python tests/contract.py FOLDER`.

Facts only (statuses, codes, limits, paths per release), no prose. `make contract SPECS=<folder>` renews the file.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).parent / "data" / "contract.json"


def facts(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of one published spec."""
    operations: dict[str, Any] = {}
    for path, item in sorted(spec["paths"].items()):
        operation = item["post"]
        body = _resolve(spec, operation["requestBody"]["content"]["application/json"]["schema"])
        success = min(operation["responses"])
        operations[re.sub(r".*_", "", operation["operationId"])] = {
            "path": path,
            "x-correlator": _limits(_resolve(spec, _resolve(spec, operation["parameters"][0])["schema"])),
            "success": int(success),
            "required": sorted(body["required"]),
            "limits": {name: _limits(_resolve(spec, value)) for name, value in sorted(body["properties"].items())},
            "errors": {
                status: _codes(_resolve(spec, response))
                for status, response in sorted(operation["responses"].items())
                if status != success
            },
        }
    return {
        "version": spec["info"]["version"],
        "operations": operations,
        "authenticationId": _limits(
            _resolve(spec, next(v for k, v in spec["components"]["schemas"].items() if k.endswith("AuthenticationId")))
        ),
    }


def _resolve(spec: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in value:
        found: Any = spec
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def _limits(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: schema[name] for name in ("type", "pattern", "minLength", "maxLength") if name in schema}


def _codes(response: dict[str, Any]) -> list[str]:
    """Return the codes of a response: those of its enum, and those that its examples and its text show."""
    codes = set(re.findall(r"code[\\\"]+: ?[\\\"]+([A-Z_]+(?:\.[A-Z_]+)?)[\\\"]", json.dumps(response)))
    content = response["content"]["application/json"]
    for part in content["schema"].get("allOf", []):
        codes.update(part.get("properties", {}).get("code", {}).get("enum", []))
    return sorted(codes)


def main(folder: str) -> None:
    """Write the facts of every spec in a folder."""
    releases = {
        path.stem.removeprefix("one-time-password-sms-"): facts(yaml.safe_load(path.read_text("utf-8")))
        for path in sorted(Path(folder).glob("*.yaml"))
    }
    TARGET.write_text(json.dumps(releases, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{TARGET}: {', '.join(releases)}")


if __name__ == "__main__":
    main(sys.argv[1])
