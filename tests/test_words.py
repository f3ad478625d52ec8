"""The list of words of `make lint`."""

import pytest

from docs import words


def test_no_word_of_the_list_is_used(capsys):
    """`make lint` checks the same."""
    assert words.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Mend what the message names.", "Mend"),
        ("No token could be had.", "be had"),
        ("Nobody answers.", "Nobody"),
        ("The server answers 404.", "answers 404"),
        ("It goes round again.", "goes round"),
        ("a flight without a thread", "flight"),
        ("A text may arrive.", "A text"),
        ("A script texts strangers in text messages.", "text messages"),
    ],
)
def test_a_word_of_the_list_is_found_with_its_replacement(text, word):
    """The finding names the line, so that an editor can open it."""
    ((line, found, instead),) = words.in_text(f"A line before.\n{text}\n")

    assert (line, found) == (2, word)
    assert instead in dict(words.WORDS).values()


def test_a_test_is_checked_without_its_strings():
    source = '"""A docstring."""\n\ndef test_nobody_answers():\n    # goes round\n    assert "mend"\n'

    found = [(line, word) for line, word, _ in words.in_text(words.without_strings(source))]

    assert found == [(3, "nobody"), (4, "goes round")]


@pytest.mark.parametrize(
    "text", ["requests in flight", "a text file", "the text between tags", "recommend", "a roommate", "blotting_paper"]
)
def test_other_words_are_allowed(text):
    """A word is compared as a whole."""
    assert not list(words.in_text(text))


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""What a module is."""', 1),
        ('def f():\n    """Say that it is done."""', 1),
        ('class C:\n    """Whatever."""', 0),
        ('def f():\n    """Return what was read."""', 0),
    ],
)
def test_the_first_line_of_a_docstring_is_checked(source, count):
    """It begins with a verb, or with a noun for a class or module."""
    assert len(list(words.in_first_lines(source))) == count


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("count: Seconds to wait", [(5, "Seconds")]),
        ("count: seconds to wait.", [(5, "wait.")]),
        ("count: A number.", [(5, "A"), (5, "number.")]),
        ("count: seconds to wait. None waits for ever", [(5, "ever")]),
        ("count: seconds,\n            at least 1.", [(6, "1.")]),
        ("count: seconds to wait", []),
        ("count: seconds to wait. None waits for ever.", []),
        ("count: SMS, at least 1", []),
        ("count: E.164 with its +", []),
        ("count: True repeats", []),
        ("count: `Seconds` to wait", []),
        ("", []),
    ],
)
@pytest.mark.parametrize("section", ["Args", "Raises", "Attributes"])
def test_an_entry_of_a_docstring_has_one_form(section, entry, found):
    """Lower case, except for a name, and a full stop after several sentences only."""
    source = f'def f():\n    """Return it.\n\n    {section}:\n        {entry}\n    """\n'

    assert [(line, word) for line, word, _ in words.in_entries(source)] == found


def test_all_lines_of_returns_are_one_entry():
    source = 'def f():\n    """Return it.\n\n    Returns:\n        A number,\n        more.\n\n    Other.\n    """\n'

    assert [(line, word) for line, word, _ in words.in_entries(source)] == [(5, "A"), (6, "more.")]
