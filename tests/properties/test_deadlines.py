"""Deadlines against a calendar that knows nothing but to count days, 2024 to 2030."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Set
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.gdpr.deadlines import Term

FIRST, LAST = date(2024, 1, 1), date(2030, 12, 31)
DAY = timedelta(days=1)
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Bucharest", "America/Los_Angeles", "Australia/Lord_Howe", "America/Santiago",
        "Pacific/Apia", "Africa/Casablanca",
    )
]  # fmt: skip

days = st.dates(FIRST, LAST)
holidays = st.frozensets(st.dates(FIRST, date(2031, 12, 31)), max_size=200)


def _works(day: date, holidays: Set[date]) -> bool:
    return day.strftime("%a") not in ("Sat", "Sun") and day not in holidays


def naive_month(start: date, months: int, holidays: Set[date]) -> date:
    """Turn pages of the calendar, look for the date, then for an open door."""
    year, month = start.year, start.month
    for _ in range(months):
        month += 1
        if month == 13:
            year, month = year + 1, 1
    day = date(year, month, min(start.day, monthrange(year, month)[1]))
    while not _works(day, holidays):
        day += DAY
    return day


def naive_business(start: date, count: int, holidays: Set[date]) -> date:
    """Cross off working days after the start."""
    crossed, day = 0, start
    while crossed < count:
        day += DAY
        crossed += _works(day, holidays)
    return day


@pytest.mark.parametrize("months", [1, 3])
def test_every_day_of_seven_years(months: int) -> None:
    """Month ends and leap years: all of them, and the term is never under 28 days."""
    day = FIRST
    while day <= LAST:
        found = Term(months, "months").last_day(day, ())
        assert found == naive_month(day, months, frozenset())
        assert 28 * months <= (found - day).days <= 31 * months + 2
        day += DAY


@given(start=days, holidays=holidays, months=st.sampled_from([1, 3]))
def test_months_agree_with_a_naive_calendar(
    start: date, holidays: frozenset[date], months: int
) -> None:
    found = Term(months, "months").last_day(start, holidays)
    assert found == naive_month(start, months, holidays)
    assert _works(found, holidays)


@given(start=days, holidays=holidays, count=st.sampled_from([10, 15]))
def test_business_days_agree_with_a_naive_calendar(
    start: date, holidays: frozenset[date], count: int
) -> None:
    found = Term(count, "business days").last_day(start, holidays)
    assert found == naive_business(start, count, holidays)
    assert _works(found, holidays)
    assert sum(_works(start + DAY * n, holidays) for n in range(1, (found - start).days + 1)) == (
        count
    )


@given(
    received=st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31)),
    zone=st.sampled_from(ZONES),
    term=st.sampled_from([Term(1, "months"), Term(45, "days"), Term(10, "business days")]),
)
def test_it_ends_with_the_last_day_whatever_clocks_do(
    received: datetime, zone: ZoneInfo, term: Term
) -> None:
    """A microsecond before the end it is still the last day there; at the end it is over."""
    start = received.replace(tzinfo=UTC)
    last = term.last_day(start.astimezone(zone).date(), ())
    end = term.end(start, zone, ())
    assert (end - timedelta(microseconds=1)).astimezone(zone).date() == last
    assert end.astimezone(zone).date() > last


@given(start=days, later=days, holidays=holidays)
def test_who_asks_later_is_never_due_earlier(
    start: date, later: date, holidays: frozenset[date]
) -> None:
    first, second = sorted([start, later])
    for term in (Term(1, "months"), Term(3, "months"), Term(45, "days"), Term(15, "business days")):
        assert term.last_day(first, holidays) <= term.last_day(second, holidays)


def test_the_naive_thirty_days_are_told_apart() -> None:
    """Who counts thirty days answers late, or too early, on most days of a year."""
    wrong = [
        day
        for n in range(366)
        if Term(1, "months").last_day(day := FIRST + DAY * n, ()) != day + 30 * DAY
    ]
    assert len(wrong) > 200
