"""The links of every page: files and anchors of the repository exist, and external URLs are well-formed.

No test opens an external address: `make linkcheck` needs no internet.
"""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", ".github/**/*.md", "docs/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts
)
FENCE = re.compile(r"^( *)(```+|:::+).*?^\1\2 *$|<!--.*?-->", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)|^\[[^\]]+\]: *(\S+)|<(https?://[^>]+)>", re.MULTILINE)
HEADING = re.compile(r"^#+ +(.+?) *#* *$", re.MULTILINE)
TARGET = re.compile(r"^\(([\w-]+)\)=$|(?:id|name)=\"([^\"]+)\"", re.MULTILINE)
# A library is linked to its own page: an index shows what was uploaded, and may hold another project of that name.
PACKAGE_INDEXES = ("pypi", "pythonhosted", "npmjs", "conda")


def shown(text):
    """Return a page without fenced blocks, comments and code spans, which have no links."""
    return re.sub(r"`[^`\n]+`", "", FENCE.sub("", text))


def links(text):
    """Return the targets of the links on a page."""
    return ["".join(groups) for groups in LINK.findall(shown(text))]


def anchors(text):
    """Return the anchors of a page: its headings as a code host and the site write them, and explicit ones."""
    found = {"".join(groups) for groups in TARGET.findall(text)}
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 1
        unique = slug
        while unique in found:
            unique, number = f"{slug}-{number}", number + 1
        found.add(unique)
    return found


def faults(page, text):
    """Return the faults of the links on a page with this path."""
    found = []
    for target in links(text):
        parts = urlsplit(target)
        if parts.hostname == "127.0.0.1":
            continue  # what the reader has started
        if parts.scheme or parts.netloc:
            host = parts.hostname or ""
            if parts.scheme != "https" or not re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", host):
                found.append(f"{target}: must be an https address with a host name")
            if any(name in host for name in PACKAGE_INDEXES):
                found.append(f"{target}: link the project's own page, not a package index")
            continue
        path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if path != page and not (path.exists() and path.is_relative_to(ROOT)):
            found.append(f"{target}: no such file in the repository")
        elif parts.fragment and parts.fragment not in anchors(text if path == page else path.read_text("utf-8")):
            found.append(f"{target}: no such anchor")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    """External links are not opened."""
    assert faults(page, page.read_text("utf-8")) == []


def test_the_pages_are_found():
    """The search reaches each folder that has pages."""
    folders = {page.parent.relative_to(ROOT).as_posix() for page in PAGES}

    assert {".", ".github", "docs", "docs/howto", "docs/reference", "docs/explanation"} <= folders


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](missing.md)", "no such file"),
        ("[a](../../outside.md)", "no such file"),
        ("![a](missing.png)", "no such file"),
        ("# One\n[a](#two)", "no such anchor"),
        ("[a](README.md#no-such-heading)", "no such anchor"),
        ("[a](http://example.com/)", "https address"),
        ("[a](https://example)", "https address"),
        ("<http://example.com/>", "https address"),
        ("[a]: ftp://example.com/a", "https address"),
        ("[a](https://docs.pypi.example/project/a/)", "package index"),
    ],
)
def test_a_bad_link_is_found(text, fault):
    """Each kind of fault, on a page at the root."""
    (found,) = faults(ROOT / "page.md", text)
    assert fault in found


@pytest.mark.parametrize(
    "text",
    [
        "# One `two`: three\n# Same\n# Same\n[a](#one-two-three) [b](#same-1)",
        "(part)=\n[a](#part)",
        "[a](LICENSE) [b](docs) [c](https://example.com/a?b=c#d)",
        "```console\n[a](missing.md)\n```\n`[a](missing.md)` <!-- [a](missing.md) -->",
    ],
)
def test_a_good_link_is_accepted(text):
    """Headings, explicit anchors, files, folders; code and comments have no links."""
    assert faults(ROOT / "page.md", text) == []
