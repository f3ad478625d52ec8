"""Keys to log in with, and an authorization server for each test."""

from collections.abc import Iterator
from typing import Any

import pytest
from joserfc import jwk

from tests.auth.server import TokenServer, serving


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    """Run an authorization server for one test."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def keys() -> dict[str, Any]:
    """Return a key of each kind."""
    return {
        "RSA": jwk.RSAKey.generate_key(2048),
        "P-256": jwk.ECKey.generate_key("P-256"),
        "P-384": jwk.ECKey.generate_key("P-384"),
        "Ed25519": jwk.OKPKey.generate_key("Ed25519"),
    }
