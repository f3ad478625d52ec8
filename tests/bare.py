"""Look at an environment that holds the wheel and nothing else: `python tests/bare.py <its interpreter>`."""

import json
import subprocess
import sys

LIMIT = 10
PROGRAM = """
import camara_otp, camara_otp.auth, camara_otp.messages, camara_otp.sandbox, camara_otp.telemetry, pathlib
assert (pathlib.Path(camara_otp.__file__).parent / "py.typed").exists()
with camara_otp.OTPClient("https://api.example.com", token="any") as otp:
    try:
        otp.send_code("nonsense", "{{code}}")
    except camara_otp.RequestValidationError:
        print(f"camara-otp {camara_otp.__version__} works on its own")
"""


def main(interpreter: str) -> None:
    """Count what was installed, and use it."""
    listed = subprocess.run(
        [interpreter, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True
    ).stdout
    brought = sorted({item["name"] for item in json.loads(listed)} - {"pip", "setuptools", "wheel"})
    print(f"{len(brought)} distributions of at most {LIMIT}: {', '.join(brought)}")
    if len(brought) > LIMIT:
        sys.exit("a base install has grown too heavy")
    subprocess.run([interpreter, "-I", "-c", PROGRAM], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
