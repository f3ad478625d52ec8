"""Check the words of the package, its docs and its tests: `python -m docs.words`, part of `make lint`.

`WORDS` and `FIRST_LINES` list the words that are not allowed. To allow one again, delete its line. To forbid one, add a
line. The entries of `Args:` and of the other sections of a docstring have one form: lower case, no full stop at the end
of one sentence. `NAMES` lists the words that keep their capital.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CHECKED = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "llms.txt", "camara_otp", "docs", "examples")
# Strings of the tests hold the words of hostile servers, so only docstrings, comments and names are checked here.
CHECKED_WITHOUT_STRINGS = ("tests", "benchmarks")
SUFFIXES = {".html", ".ipynb", ".json", ".md", ".py", ".toml", ".txt"}
# This file names the words, and the site is built from the pages.
LEFT_OUT = {ROOT / "docs" / "words.py", ROOT / "docs" / "_build"}

# (regular expression for whole words, what to write)
WORDS = (
    ("mend(s|ed|ing)?", "fix"),
    ("be had", "be obtained, be reached"),
    ("who(so)?ever", "name the actor: the caller, the client, the operator, the user"),
    ("(no|some|every)body('s)?", "name the actor: no caller, another user, any client"),
    ("blot(s|ted|ting)?", "mask"),
    ("rooms?", "space, limit, places left"),
    ("houses?", "package, project"),
    ("(go|goes|going|went) round", "retry, repeat"),
    ("hush(es|ed)?", "filter, suppress"),
    ("babbl(e|es|ed|ing)", "say what is sent, for example too many interim responses"),
    (r"(?<!in )flights?", "fetch, call (in flight is allowed for requests without a response)"),
    ("yardsticks?", "rule, limit"),
    (r"answer(s|ed)? (HTTP|with|[1-5]\d\d)", "respond with"),
    ("texted|texting|text messages?", "SMS, send an SMS"),
    (r"(an?|one|no|another|second|each|every|several) texts?(?! (file|form|editor|field))", "SMS, message, string"),
)
# (regular expression for the beginning of a docstring, what to write)
FIRST_LINES = (
    (r"What\b", "start with a verb (Return ..., Check ...), or with the noun that a class or module is"),
    (r"Say(s)?\b", "start with the verb of the action (Return, Print, Raise), or with the noun that a class is"),
)

# Words that begin an entry of a docstring in upper case; so do words with a second capital or a digit, as SMS or E.164.
NAMES = {"Apple", "Celery", "Chrome", "False", "None", "Python", "Redis", "True"}
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
_SENTENCES = re.compile(r"[.!?] +[A-Z`\"'(]")

_PATTERN = re.compile("|".join(rf"\b(?P<w{n}>{word})\b" for n, (word, _) in enumerate(WORDS)), re.IGNORECASE)


def in_text(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the word and the replacement for each forbidden word of a text."""
    for number, line in enumerate(text.splitlines(), 1):
        for found in _PATTERN.finditer(line):
            which = next(name for name, value in found.groupdict().items() if value)
            yield number, found[0], WORDS[int(which[1:])][1]


def in_first_lines(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the beginning and the replacement for each forbidden first line of a docstring."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = ast.get_docstring(node) or ""
        for pattern, instead in FIRST_LINES:
            if found := re.match(pattern, first):
                yield node.body[0].lineno, found[0], instead


class Entry(NamedTuple):
    """An entry of a section of a docstring, without its name: the lines where it begins and ends, and its text."""

    first: int
    last: int
    text: str


def entries(source: str) -> Iterator[Entry]:
    """Yield the entries of the sections of every docstring, those of `Returns:` and `Yields:` as one each."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        section, found = "", list[Entry]()
        for number, line in enumerate((ast.get_docstring(node) or "").splitlines(), node.body[0].lineno):
            if not line.startswith(" "):
                yield from found
                found = []
                if line:  # an empty line may stand between two entries
                    heading = _SECTION.match(line)
                    section = heading[1] if heading else ""
            elif section:
                has_name = section not in ("Returns", "Yields")
                if not found or (has_name and line[:5].strip()):
                    text = line.strip()
                    found.append(Entry(number, number, text.partition(": ")[2] if has_name else text))
                else:
                    found[-1] = Entry(found[-1].first, number, f"{found[-1].text} {line.strip()}")
        yield from found


def in_entries(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the word and the replacement for each entry of a docstring in another form."""
    for first, last, text in entries(source):
        word = re.split(r"[^\w.-]", text)[0]
        if re.fullmatch(r"[A-Z][a-z]*", word) and word not in NAMES:
            yield first, word, f"'{word.lower()}', as an entry begins in lower case"
        if text.endswith(".") != bool(_SENTENCES.search(text)):
            yield last, text.split()[-1], "a full stop at the end of several sentences, and none at the end of one"


def without_strings(source: str) -> str:
    """Return the docstrings, comments, and names of functions and classes of a source, on the lines where they are."""
    lines = [""] * (source.count("\n") + 1)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] += token.string
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not isinstance(node, ast.Module):
            lines[node.lineno - 1] += node.name.replace("_", " ")
        for number, line in enumerate((ast.get_docstring(node) or "").splitlines(), node.body[0].lineno - 1):
            lines[number] += line
    return "\n".join(lines)


def files(names: Iterable[str]) -> Iterator[Path]:
    """Yield the files that are checked, of these files and folders."""
    for name in names:
        path = ROOT / name
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.suffix in SUFFIXES and not LEFT_OUT & {each, *each.parents}:
                yield each


def main() -> int:
    """Print each finding as `file:line: word: replacement`; return 1 if there is one, else 0."""
    count = 0
    sources = [path for path in files(CHECKED_WITHOUT_STRINGS) if path.suffix == ".py"]
    for path in [*files(CHECKED), *sources]:
        text = path.read_text("utf-8")
        checked = without_strings(text) if path in sources else text
        found = [*in_text(checked)]
        if path.suffix == ".py":
            found += [*in_first_lines(text), *in_entries(text)]
        for number, word, instead in sorted(found):
            print(f"{path.relative_to(ROOT)}:{number}: '{word}': write {instead}")  # noqa: T201 - its result
        count += len(found)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
