"""Text as it is searched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.customers.folding import folded, parts


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Ștefănescu", "stefanescu"),
        ("ŞTEFĂNESCU", "stefanescu"),
        ("Đorđe", "djordje"),
        ("Ђорђе", "djordje"),
        ("Љиљана Шћепановић", "ljiljana scepanovic"),
        ("Łukasz Øre Straße", "lukasz ore strasse"),
        ("Παπαδόπουλος", "papadopoulos"),
        ("Юлия", "iuliia"),
        ("王小明", "王小明"),
    ],
)
def test_case_accents_and_alphabets_fold(text: str, plain: str) -> None:
    assert folded(text) == plain


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    """A query and a profile meet, whichever was folded before."""
    assert folded(folded(text)) == folded(text)


def test_words_part_from_numbers_and_an_apostrophe_parts_nothing() -> None:
    assert parts("ana-maria o'brien84") == ["ana", "maria", "obrien", "84"]
