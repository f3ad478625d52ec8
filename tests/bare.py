"""Check an environment in which only the wheel is installed, and write its bill of materials.

`python tests/bare.py <its interpreter> <file for the CycloneDX document>`, as `make build` does.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 10
USE = """
import camara_otp, camara_otp.auth, camara_otp.messages, camara_otp.sandbox, camara_otp.telemetry, pathlib
assert (pathlib.Path(camara_otp.__file__).parent / "py.typed").exists()
with camara_otp.OTPClient("https://api.example.com", token="any") as otp:
    try:
        otp.send_code("nonsense", "{{code}}")
    except camara_otp.RequestValidationError:
        print(f"camara-otp {camara_otp.__version__} works on its own")
"""
LIST = """
import importlib.metadata, json
def licence(metadata):
    said = metadata.get("License-Expression") or metadata.get("License")
    classified = [text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier") or () if "License" in text]
    return said or ", ".join(classified) or "unknown"
print(json.dumps([
    {"name": item.name, "version": item.version, "licence": licence(item.metadata).splitlines()[0]}
    for item in importlib.metadata.distributions() if item.name not in ("pip", "setuptools", "wheel")
]))
"""


def main(interpreter: str, bill: str) -> None:
    """Count the distributions, run the first example of the README, and write the bill of materials."""
    brought = sorted(json.loads(run(interpreter, LIST)), key=lambda item: item["name"].lower())
    print(f"{len(brought)} distributions of at most {LIMIT}:")
    for item in brought:
        print(f"  {item['name']:<20} {item['version']:<12} {item['licence']}")
    if len(brought) > LIMIT:
        sys.exit(f"a base install has more than {LIMIT} distributions")
    print(run(interpreter, USE), end="")
    first_example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert first_example is not None
    print(run(interpreter, first_example[1]), end="")
    Path(bill).parent.mkdir(parents=True, exist_ok=True)
    Path(bill).write_text(json.dumps(bill_of_materials(brought), indent=1) + "\n", "utf-8")
    print(f"bill of materials: {bill}")


def run(interpreter: str, program: str) -> str:
    """Return what a program prints in the environment."""
    return subprocess.run([interpreter, "-I", "-c", program], check=True, stdout=subprocess.PIPE, text=True).stdout


def bill_of_materials(brought: list[dict[str, str]]) -> dict[str, object]:
    """Return the distributions as a CycloneDX 1.6 document."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{item['name'].lower().replace('_', '-')}@{item['version']}",
            "name": item["name"],
            "version": item["version"],
            "purl": f"pkg:pypi/{item['name'].lower().replace('_', '-')}@{item['version']}",
            "licenses": [{"license": {"name": item["licence"]}}],
        }
        for item in brought
    ]
    ours = next(component for component in components if component["name"] == "camara-otp")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": ours},
        "components": [component for component in components if component is not ours],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
