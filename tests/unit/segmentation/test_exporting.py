"""Cells of an export."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crmkit.config import Settings
from crmkit.model import Customer, Metrics
from crmkit.model.cells import harmless
from crmkit.segmentation.exporting import columns
from crmkit.segmentation.subject import Subject
from tests.tiers import held


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(first: str) -> None:
    assert harmless(f"{first}1") == f"'{first}1"


@pytest.mark.parametrize("text", ["", "Ana", "a=b", "1-2", "O'Brien", "#1", "7"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


def test_a_tier_is_that_of_the_instant() -> None:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    who = Subject(
        customer=Customer(tenant="t", id="c", created_at=at, updated_at=at),
        metrics=Metrics(tenant="t", customer_id="c"),
        tiers=held((at, "GOLD")),
    )
    (tier,) = columns(["tier"], Settings())
    assert tier.needs.tiers
    assert [tier.cell(who, at - n * timedelta(days=1)) for n in (0, 1)] == ["GOLD", "BRONZE"]
