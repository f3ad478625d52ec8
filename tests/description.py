"""Render the description of a built wheel as a package index does, and check what a reader of it sees.

`python tests/description.py <wheel>`, as `make build` does.
"""

import re
import sys
import tomllib
import zipfile
from email.parser import BytesParser
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

from readme_renderer import markdown

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """The targets of links and images, and the anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element links to, and its id."""
        values = {name: value or "" for name, value in attrs}
        self.targets += [values[name] for name in ("href", "src") if name in values]
        self.anchors |= {values[name] for name in ("id", "name") if name in values}


def main(wheel: str) -> None:
    """Exit with a message if the description does not render, or one of its links leads nowhere."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = BytesParser().parsebytes(archive.read(name))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    repository = project["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    faults = []

    warnings = StringIO()
    text = message.get_payload(decode=True).decode("utf-8")
    rendered = markdown.render(text, stream=warnings)
    if rendered is None or warnings.getvalue():
        sys.exit(f"the description does not render: {warnings.getvalue()}")
    faults += check_page(Page(rendered), f"{repository}/blob/v{message['Version']}/")
    if rendered.count("<table") != text.count("\n|---"):
        faults.append("a table of the description is not rendered as one")
    for line in message.get_all("Project-URL") or ["none"]:
        label, _, url = line.partition(", ")
        if not url.startswith(repository):
            faults.append(f"Project-URL {label}: must start with {repository}")
    if faults:
        sys.exit("\n".join(faults))
    print(f"the description renders, and its links are whole: {wheel}")


def check_page(page: Page, files: str) -> list[str]:
    """Return what is wrong with the links of a rendered page.

    Args:
        page: the rendered page
        files: the address under which the repository's files of this version are shown
    """
    faults = []
    for target in page.targets:
        if target.startswith(files):
            path = target.removeprefix(files).partition("#")[0]
            if not (ROOT / path).is_file():
                faults.append(f"{target}: no such file in the repository")
        elif target.startswith("#"):
            if target[1:] not in page.anchors:
                faults.append(f"{target}: no such anchor on the page")
        elif not re.match(r"https://[^/]+\.[^/]+", target):
            faults.append(f"{target}: must be an absolute https address")
    return faults


if __name__ == "__main__":
    main(*sys.argv[1:])
