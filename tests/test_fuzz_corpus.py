"""The fuzz target over its corpus: every input has its defined result."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.answers import check

CORPUS = sorted((Path(__file__).parent / "fuzz" / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_corpus_has_its_promised_results(path):
    """`make fuzz` checks the same."""
    check(path.read_bytes())


@given(st.binary(max_size=400))
def test_any_bytes_have_a_promised_result(data):
    """A short, unguided form of the fuzzing, for machines without a fuzzer."""
    check(data)
