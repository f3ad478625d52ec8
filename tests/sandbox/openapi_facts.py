"""Reduce the published OpenAPI documents to their facts: run as a script with the folder of the documents."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).parent / "data"
RELEASES = {"1.0.0": "1.0.0", "1.1.0": "1.1.0", "1.1.1": "1.1.1", "2.0.0": "wip"}
PROSE = {"description", "summary", "example", "examples", "tags", "license", "externalDocs", "x-camara-commonalities"}


def facts(value: Any, *, named: bool = False) -> Any:
    """Remove prose, but keep properties with the name of a prose field."""
    if isinstance(value, list):
        return [facts(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: facts(item, named=key == "properties") for key, item in value.items() if named or key not in PROSE}


def document(text: str) -> dict[str, Any]:
    """Return the facts of one published document."""
    kept = facts(yaml.safe_load(text))
    kept["info"] = {"title": "", "version": str(kept["info"]["version"])}
    kept["components"].pop("securitySchemes")
    for path in kept["paths"].values():
        path["post"].pop("security")
        for response in path["post"]["responses"].values():
            if "$ref" not in response:
                response["description"] = ""
    for response in kept["components"]["responses"].values():
        response["description"] = ""
    return kept


def load(release: str) -> dict[str, Any]:
    """Read the facts of a release as committed."""
    document: dict[str, Any] = json.loads((DATA / f"openapi-{release}.json").read_text("utf-8"))
    return document


if __name__ == "__main__":
    for release, name in RELEASES.items():
        found = document((Path(sys.argv[1]) / f"one-time-password-sms-{name}.yaml").read_text("utf-8"))
        (DATA / f"openapi-{release}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")
