"""The line with date, versions and machine that a benchmark prints above its figures, for the docs."""

import os
import platform
from datetime import datetime
from importlib.metadata import version


def conditions(task: str, *distributions: str) -> str:
    """Return when and on what a benchmark runs.

    Args:
        task: the task of the Makefile
        distributions: the names of the distributions that the figures depend on
    """
    today = datetime.now().astimezone()
    versions = ", ".join(f"{name} {version(name)}" for name in distributions)
    return (
        f"Measured on {today.day} {today:%B %Y} by `make {task}`, with Python {platform.python_version()}, {versions}, "
        f"on {os.cpu_count()} cores"
    )
