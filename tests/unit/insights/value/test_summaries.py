"""Purchases in four numbers."""

from __future__ import annotations

from datetime import date

from crmkit.insights.value.summaries import Row, Summary, merged, summarise

BOUGHT = [
    (date(2026, 1, 1), 10.0), (date(2026, 1, 1), 5.0), (date(2026, 1, 9), 20.0),
    (date(2026, 1, 9), 4.0), (date(2026, 1, 10), 6.0), (date(2026, 2, 1), 99.0),
]  # fmt: skip


def test_days_after_the_first_with_what_they_brought() -> None:
    """Two of one day are one; the first day is not a repeat; what comes later is not known."""
    assert summarise(BOUGHT, date(2026, 1, 31)) == Summary(2, 8 + 1, 30, 15.0)


def test_weeks_are_counted_from_the_first_purchase() -> None:
    assert summarise(BOUGHT, date(2026, 1, 31), unit_days=7) == Summary(1, 1, 4, 30.0)


def test_one_purchase_and_none() -> None:
    assert summarise(BOUGHT[:2], date(2026, 1, 5)) == Summary(0, 0, 4, 0.0)
    assert summarise(BOUGHT, date(2025, 12, 31)) is None


def test_the_day_itself_is_known() -> None:
    assert summarise(BOUGHT, date(2026, 2, 1)) == Summary(3, 31, 31, 43.0)


def test_equal_customers_make_one_row() -> None:
    """The spend is of no matter to how often they come."""
    found = merged([Summary(1, 2, 3, 9.0), Summary(0, 0, 3), Summary(1, 2, 3, 8.0)])
    assert found == [Row(0, 0, 3, 1), Row(1, 2, 3, 2)]
