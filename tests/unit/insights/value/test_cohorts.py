"""Retention by month of the first visit."""

from __future__ import annotations

from datetime import date

import pytest

from crmkit.errors import InvalidInput
from crmkit.insights.value.cohorts import Cohort, cohorts

HISTORIES = [
    [date(2025, 12, 31), date(2026, 2, 1), date(2026, 2, 9)],
    [date(2026, 1, 31), date(2025, 12, 1)],
    [date(2025, 12, 9)],
    [date(2026, 2, 28), date(2026, 3, 1)],
    [],
]


def test_classic_and_rolling() -> None:
    """Of three, one came in February and another in January: rolling counts both."""
    found = cohorts(HISTORIES, date(2026, 3, 30), months=3)
    assert found == (
        Cohort("2025-12", 3, (1 / 3, 1 / 3, None), (2 / 3, 1 / 3, None)),
        Cohort("2026-02", 1, (None, None, None), (None, None, None)),
    )


def test_a_month_has_ended_with_its_last_day() -> None:
    found = cohorts(HISTORIES, date(2026, 3, 31), months=3)
    assert found[0].classic == (1 / 3, 1 / 3, 0)
    assert found[1].classic == (1, None, None)


def test_what_comes_later_is_not_known() -> None:
    """On the last of January nobody of February is there, and one of December has come again."""
    found = cohorts(HISTORIES, date(2026, 1, 31), months=1)
    assert found == (Cohort("2025-12", 3, (1 / 3,), (1 / 3,)),)
    assert cohorts(HISTORIES, date(2025, 11, 30)) == ()


def test_no_months_are_no_table() -> None:
    with pytest.raises(InvalidInput):
        cohorts([], date(2026, 1, 1), months=0)
