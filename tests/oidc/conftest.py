"""The npm package oidc-provider, run by Node on loopback."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def keys() -> dict[str, Any]:
    """Return a private key for each algorithm that the provider accepts."""
    return {
        "RS256": jwk.RSAKey.generate_key(2048),
        "PS256": jwk.RSAKey.generate_key(2048),
        "ES256": jwk.ECKey.generate_key("P-256"),
        "EdDSA": jwk.OKPKey.generate_key("Ed25519"),
    }


@pytest.fixture(scope="session")
def issuer(keys: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the provider with the public keys, and return its issuer URL."""
    node = shutil.which("node")
    assert node, "node is not installed"
    public = {name: key.as_dict(private=False) | {"kid": name} for name, key in keys.items()}
    log = tmp_path_factory.mktemp("oidc") / "log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [node, "provider.mjs", json.dumps(public)], cwd=HERE, stdout=subprocess.PIPE, stderr=written, text=True
        )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert url, log.read_text()
        yield url
    finally:
        process.kill()
        process.communicate(timeout=10)
