from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import EarnRule, Programme
from crmkit.loyalty.periods import EVER, celebrates, dates, end_of_day, period
from crmkit.model.time import FOREVER
from crmkit.programmes import PERIODS

HERE = ZoneInfo("Europe/Bucharest")
ZONES = (
    "UTC",
    "Europe/Bucharest",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/St_Johns",
)


def local(text: str, zone: ZoneInfo = HERE) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("per", "start", "end"),
    [
        ("day", "2026-03-29", "2026-03-30"),  # 23 hours
        ("week", "2026-03-23", "2026-03-30"),
        ("month", "2026-03-01", "2026-04-01"),
        ("quarter", "2026-01-01", "2026-04-01"),
        ("year", "2026-01-01", "2027-01-01"),
    ],
)
def test_a_period_is_of_the_local_calendar(per: str, start: str, end: str) -> None:
    found = period(per, local("2026-03-29T23:30"), HERE)
    assert found == (local(start), local(end))
    assert period(per, found[0], HERE) == found
    assert period(per, found[1] - timedelta(microseconds=1), HERE) == found
    assert period(per, found[1], HERE)[0] == found[1]


def test_ever_is_all_time() -> None:
    assert period("ever", local("2026-03-29"), HERE) == EVER


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(ZONES),
    st.sampled_from(PERIODS),
)
def test_periods_follow_each_other_without_gaps(at: datetime, name: str, per: str) -> None:
    """Each instant lies in one, in any zone; the next begins where it ends."""
    zone = ZoneInfo(name)
    start, end = period(per, at, zone)
    assert start <= at < end
    assert period(per, end, zone)[0] == end
    assert period(per, end - timedelta(microseconds=1), zone) == (start, end)


def test_an_hour_that_comes_twice_before_midnight_is_of_one_day_each() -> None:
    """Where clocks go back just after midnight, the day before seems to come once more."""
    zone = ZoneInfo("America/St_Johns")
    first = datetime(2010, 11, 7, 1, 45, tzinfo=UTC)
    again = first + timedelta(hours=1)
    assert [f"{at.astimezone(zone):%d %H:%M}" for at in (first, again)] == ["06 23:15"] * 2
    assert period("day", again, zone)[0] == period("day", first, zone)[1]


def test_points_are_over_at_the_end_of_a_local_day() -> None:
    """So many days after they can be used, be the days short or long."""
    assert end_of_day(local("2026-03-28T09:00"), 1, HERE) == local("2026-03-30")
    assert end_of_day(local("2026-03-28T00:00"), 0, HERE) == local("2026-03-29")
    assert end_of_day(local("2026-03-28T23:59"), 365, HERE) == local("2027-03-29")


@pytest.mark.parametrize(
    ("rule", "available", "expires"),
    [
        (None, 3, 13),
        (EarnRule(name="r", kind="visit", points=1), 3, 13),
        (EarnRule(name="r", kind="visit", points=1, hold_days=0), 0, 10),
        (EarnRule(name="r", kind="visit", points=1, expires_days=2), 3, 5),
        (EarnRule(name="r", kind="visit", points=1, hold_days=5, expires_days=1), 5, 6),
    ],
)
def test_a_rule_may_have_dates_of_its_own(
    rule: EarnRule | None, available: int, expires: int
) -> None:
    """Else they are the programme's; expiry counts from when points can be used."""
    since = datetime(2026, 6, 1, 12, tzinfo=UTC)
    programme = Programme(hold_days=3, expires_days=10)
    assert dates(programme, rule, since, ZoneInfo("UTC")) == (
        since + timedelta(days=available),
        datetime(2026, 6, 2, tzinfo=UTC) + timedelta(days=expires),
    )
    assert dates(Programme(), None, since, HERE) == (since, FOREVER)


@pytest.mark.parametrize(
    ("during", "at", "celebrated"),
    [
        ("birthday", "2026-02-28T00:00", True),  # of 29 February, in a common year
        ("birthday", "2026-02-27T23:59", False),
        ("birthday", "2026-03-01T00:00", False),
        ("birthday", "2028-02-29T12:00", True),
        ("birthday", "2028-02-28T12:00", False),
        ("birthday_month", "2026-02-01T00:00", True),
        ("birthday_month", "2026-01-31T23:59", False),
        ("birthday_month", "2026-03-01T00:00", False),
    ],
)
def test_a_birthday_is_of_the_local_calendar(during: str, at: str, celebrated: bool) -> None:
    assert celebrates(date(2004, 2, 29), during, local(at), HERE) is celebrated
    assert not celebrates(None, during, local(at), HERE)
