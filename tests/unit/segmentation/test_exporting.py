"""Cells of an export."""

from __future__ import annotations

import pytest

from crmkit.segmentation.exporting import harmless


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(first: str) -> None:
    assert harmless(f"{first}1") == f"'{first}1"


@pytest.mark.parametrize("text", ["", "Ana", "a=b", "1-2", "O'Brien", "#1", "7"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text
