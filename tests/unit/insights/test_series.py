"""Days summed by period."""

from __future__ import annotations

from datetime import date

import pytest

from crmkit import InvalidInput
from crmkit.insights.series import checked_period, periods


def told(days: dict[str, int], by: str) -> list[tuple[str, int]]:
    dated = {date.fromisoformat(day): value for day, value in days.items()}
    return [(p.name, p.value) for p in periods(dated, by, int)]


def test_months_of_all_lengths() -> None:
    """From the last day of January to 1 March every month is there once."""
    assert told({"2024-01-31": 1, "2024-03-01": 2}, "month") == [
        ("2024-01", 1), ("2024-02", 0), ("2024-03", 2),
    ]  # fmt: skip


def test_29_february_is_a_day_in_leap_years_only() -> None:
    assert len(told({"2024-02-28": 1, "2024-03-01": 1}, "day")) == 3
    assert len(told({"2025-02-28": 1, "2025-03-01": 1}, "day")) == 2


def test_a_week_begins_on_monday() -> None:
    days = {"2026-03-08": 1, "2026-03-09": 2, "2026-03-15": 3}
    assert told(days, "week") == [("2026-W10", 1), ("2026-W11", 5)]


def test_the_week_of_new_year() -> None:
    """2020 has a week 53, and it lasts until 3 January."""
    assert told({"2020-12-31": 1, "2021-01-03": 1, "2021-01-04": 1}, "week") == [
        ("2020-W53", 2), ("2021-W01", 1),
    ]  # fmt: skip


def test_zeros_at_the_ends_are_left_out() -> None:
    days = {"2026-01-01": 0, "2026-02-01": 5, "2026-04-01": 0}
    assert told(days, "month") == [("2026-02", 5)]
    assert told({}, "day") == []


@pytest.mark.parametrize("by", ["moth", "", None, 7, ["day"]])
def test_an_unknown_period(by: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_period(by)
    assert refused.value.field == "by"
