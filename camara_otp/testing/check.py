"""The options of `pytest --pyargs camara_otp.conformance`, and the order of its items.

Switched on with `pytest -p camara_otp.testing.check`, or in your own `conftest.py` with
`pytest_plugins = ["camara_otp.testing.check"]`. There is no entry point, so other test runs do not load it.

PYTEST_DONT_REWRITE: this module has no assert.
"""

from typing import Any, Final

import pytest

_OPTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("--otp-base-url", {"metavar": "URL", "help": "the operator's API root"}),
    ("--otp-settings", {"metavar": "FILE", "help": "TOML file with numbers, limits and how SMS are read"}),
    ("--otp-release", {"metavar": "RELEASE", "help": "release whose scenarios are run: 1.0.0, 1.1.0 or 1.1.1"}),
    ("--otp-api-path", {"metavar": "PATH", "help": "path between root and operation; default: it is searched"}),
    ("--otp-token-file", {"metavar": "FILE", "help": "file with the access token; default: CAMARA_BEARER_TOKEN"}),
    ("--otp-no-sms", {"action": "store_true", "help": "run only scenarios that send no SMS"}),
    ("--otp-published-only", {"action": "store_true", "help": "run only CAMARA's own scenarios"}),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("camara-otp", "check an operator: pytest --pyargs camara_otp.conformance")
    for name, how in _OPTIONS:
        group.addoption(name, **how)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the scenarios in the order of their plan, under pytest-randomly too: some use the SMS of others."""
    indexes = [index for index, item in enumerate(items) if _place(item) is not None]
    ordered = sorted((items[index] for index in indexes), key=_place)
    for index, item in zip(indexes, ordered, strict=True):
        items[index] = item


def _place(item: pytest.Item) -> Any:
    callspec = getattr(item, "callspec", None)
    return getattr(callspec.params.get("otp_step"), "place", None) if callspec else None
