"""Metadata that depends on where the project is hosted: its URLs, and absolute links in its description.

The one setting is `repository` under `[tool.hatch.metadata.hooks.custom]` in `pyproject.toml`.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# A package index shows the description without the files of the repository, so a relative link leads nowhere there.
RELATIVE_LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")


class HostingMetadata(MetadataHookInterface):
    """The project's URLs and its description, for the host named in the settings."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `urls` and `readme`."""
        repository = self.config["repository"].rstrip("/")
        files = f"{repository}/blob/v{metadata['version']}"
        metadata["urls"] = {
            "Documentation": f"{files}/docs/index.md",
            "Repository": repository,
            "Changelog": f"{files}/CHANGELOG.md",
            "Issues": f"{repository}/issues",
            "Security": f"{files}/SECURITY.md",
        }
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": RELATIVE_LINK.sub(rf"]({files}/\1)", text)}
