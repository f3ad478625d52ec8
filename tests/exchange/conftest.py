"""The fault server, here too."""

from tests.faults.conftest import faults

__all__ = ["faults"]
