from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import InvalidInput
from crmkit.model.time import (
    CALENDAR_UNITS,
    EARLIEST,
    LATEST,
    Calendar,
    Duration,
    age,
    calendar_date,
    from_micros,
    instant,
    iso,
    next_anniversary,
    to_micros,
)

ROME = ZoneInfo("Europe/Rome")
MICROSECOND = timedelta(microseconds=1)
instants = st.datetimes(
    EARLIEST.replace(tzinfo=None), datetime(2199, 12, 31), timezones=st.just(UTC)
)


@given(instants)
def test_microseconds_are_exact(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment


@given(instants)
def test_text_is_read_back(moment: datetime) -> None:
    assert instant(iso(moment)) == moment
    assert iso(moment).endswith("Z")


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-21T20:30:00+01:00",
        " 2026-11-21T19:30:00Z ",
        "2026-11-21 14:30:00-05:00",
        datetime(2026, 11, 21, 20, 30, tzinfo=ROME),
        datetime(2026, 11, 21, 19, 30, tzinfo=UTC),
    ],
)
def test_one_instant_said_in_many_ways(value: datetime | str) -> None:
    found = instant(value)
    assert found == datetime(2026, 11, 21, 19, 30, tzinfo=UTC)
    assert found.tzinfo is UTC


def test_the_hour_that_comes_twice() -> None:
    """When summer time ends, `fold` tells the two apart."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ROME)
    assert instant(first.replace(fold=1)) - instant(first) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (datetime(2026, 1, 1), "zone"),
        ("2026-01-01T00:00:00", "zone"),
        ("2026-01-01", "zone"),
        (date(2026, 1, 1), "ISO 8601"),
        (0, "ISO 8601"),
        (None, "ISO 8601"),
        ("now", "ISO 8601"),
        ("", "ISO 8601"),
        ("9" * 1_000_000, "ISO 8601"),
        ("2026-13-01T00:00:00Z", "ISO 8601"),
        (EARLIEST - timedelta(microseconds=1), "1900"),
        (LATEST, "2200"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))), "out of range"),
    ],
)
def test_what_is_no_instant(value: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        instant(value, field="occurred_at")
    assert caught.value.field == "occurred_at"


def test_the_bounds() -> None:
    assert instant(EARLIEST) == EARLIEST
    assert instant(LATEST - timedelta(microseconds=1)) < LATEST


@pytest.mark.parametrize("value", [date(1990, 5, 17), "1990-05-17", " 1990-05-17 "])
def test_dates(value: date | str) -> None:
    assert calendar_date(value, field="birth_date") == date(1990, 5, 17)


@pytest.mark.parametrize(
    "value",
    [
        "1990-5-17", "19900517", "17.05.1990", "1990-02-30", "1990-W01-1", "1990-05-17T00:00",
        "", "\u0661\u0669\u0669\u0660-05-17", "0" * 1_000_000, 1990, None,
        datetime(1990, 5, 17, tzinfo=UTC),
    ],
)  # fmt: skip
def test_what_is_no_date(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        calendar_date(value, field="birth_date")
    assert caught.value.field == "birth_date"


AT = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("12h", datetime(2026, 3, 31, tzinfo=UTC)),
        ("90d", AT - timedelta(hours=90 * 24)),
        ("2w", AT - timedelta(days=14)),
        ("1mo", datetime(2026, 2, 28, 23, tzinfo=UTC) - MICROSECOND),  # February is all before
        ("6mo", datetime(2025, 9, 30, 22, tzinfo=UTC) - MICROSECOND),
        ("5mo", datetime(2025, 10, 31, 13, tzinfo=UTC)),  # 14:00 in Rome, then and now
        ("1y", datetime(2025, 3, 31, 12, tzinfo=UTC)),
        (" 90 d ", AT - timedelta(days=90)),
    ],
)
def test_durations(text: str, before: datetime) -> None:
    """Days are of 24 hours; months and years keep the hour of the local clock."""
    assert Duration.parse(text).before(AT, ROME) == before


def test_a_day_is_of_24_hours_across_summer_time() -> None:
    """The night of the change has 23 hours; a window of 1d has 24 all the same."""
    after = instant(datetime(2026, 3, 29, 12, tzinfo=ROME))
    before = Duration.parse("1d").before(after, ROME)
    assert after - before == timedelta(days=1)
    assert before.astimezone(ROME).hour == 11
    assert str(Duration.parse("90d")) == "90d"


def test_a_year_before_29_february() -> None:
    """All of that February is long enough ago."""
    leap = datetime(2024, 2, 29, 12, tzinfo=UTC)
    end = datetime(2023, 3, 1, tzinfo=UTC) - MICROSECOND
    assert Duration.parse("1y").before(leap, ZoneInfo("UTC")) == end


ZONES = st.sampled_from(
    ["UTC", "Europe/Bucharest", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca"]
).map(ZoneInfo)
DURATIONS = st.builds(Duration, st.integers(1, 14), st.sampled_from(["h", "d", "w", "mo", "y"]))
INSTANTS = st.one_of(
    st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    # Around the nights in which clocks are turned, and the ends of months.
    st.builds(
        lambda year, month, day, minutes: (
            datetime(year, month, day, tzinfo=UTC) + timedelta(minutes=minutes)
        ),
        st.integers(2015, 2029),
        st.sampled_from([2, 3, 4, 10, 11]),
        st.sampled_from([1, 7, 25, 28]),
        st.integers(0, 7 * 24 * 60),
    ),
)


@given(
    length=DURATIONS, at=INSTANTS, step=st.timedeltas(timedelta(0), timedelta(days=40)), zone=ZONES
)
def test_a_window_never_begins_earlier_later_on(
    length: Duration, at: datetime, step: timedelta, zone: ZoneInfo
) -> None:
    assert length.before(at, zone) <= length.before(at + step, zone)


@given(length=DURATIONS, moment=INSTANTS, zone=ZONES)
def test_the_end_of_a_window_is_exact(length: Duration, moment: datetime, zone: ZoneInfo) -> None:
    """What happened is within until one microsecond before, and not any more then."""
    end = length.after(moment, zone)
    assert length.before(end, zone) >= moment > length.before(end - MICROSECOND, zone)


@given(unit=st.sampled_from(CALENDAR_UNITS), at=INSTANTS, zone=ZONES)
def test_calendar_spans_follow_each_other(unit: str, at: datetime, zone: ZoneInfo) -> None:
    since, until = Calendar(unit).span(at, zone)
    assert since <= at < until
    assert Calendar(unit, back=1).span(at, zone)[1] == since
    assert Calendar(unit, back=1).span(until, zone) == (since, until)
    assert Calendar(unit).span(until - MICROSECOND, zone) == (since, until)


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("today", (2026, 3, 31), (2026, 4, 1)),
        ("yesterday", (2026, 3, 30), (2026, 3, 31)),
        ("this week", (2026, 3, 30), (2026, 4, 6)),
        ("last week", (2026, 3, 23), (2026, 3, 30)),
        ("this month", (2026, 3, 1), (2026, 4, 1)),
        ("last month", (2026, 2, 1), (2026, 3, 1)),
        ("last year", (2025, 1, 1), (2026, 1, 1)),
    ],
)
def test_spans_of_the_calendar(
    text: str, since: tuple[int, int, int], until: tuple[int, int, int]
) -> None:
    """They begin and end at local midnight; weeks begin on Monday."""
    span = Calendar.parse(text).span(AT, ROME)
    assert span == (datetime(*since, tzinfo=ROME), datetime(*until, tzinfo=ROME))


@pytest.mark.parametrize("text", ["", "this", "month", "next month", "this months", "x" * 99, 3])
def test_what_is_no_span(text: Any) -> None:
    with pytest.raises(InvalidInput):
        Calendar.parse(text)


@pytest.mark.parametrize(
    ("day", "today", "coming"),
    [
        (date(1990, 5, 17), date(2026, 5, 17), date(2026, 5, 17)),
        (date(1990, 5, 17), date(2026, 5, 18), date(2027, 5, 17)),
        (date(2004, 2, 29), date(2026, 2, 1), date(2026, 2, 28)),
        (date(2004, 2, 29), date(2027, 3, 1), date(2028, 2, 29)),
        (date(2026, 5, 17), date(2026, 5, 17), date(2027, 5, 17)),
        (date(2030, 5, 17), date(2026, 5, 17), date(2031, 5, 17)),
    ],
)
def test_next_anniversaries(day: date, today: date, coming: date) -> None:
    """From today on; never the day itself, nor one before it happened."""
    assert next_anniversary(day, today) == coming


@pytest.mark.parametrize(
    "text",
    ["", "90", "d", "0d", "-1d", "1.5d", "90 days", "90D", "1m", "99999y", "99999mo", "99999w",
     "999999d", "\u0669\u0660d", "9" * 1_000_000, None, 90, ["90d"]],
)  # fmt: skip
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Duration.parse(text, field="value")
    assert caught.value.field == "value"


@pytest.mark.parametrize(
    ("born", "on", "years"),
    [
        (date(1990, 5, 17), date(2026, 5, 16), 35),
        (date(1990, 5, 17), date(2026, 5, 17), 36),
        (date(2004, 2, 29), date(2023, 2, 27), 18),
        (date(2004, 2, 29), date(2023, 2, 28), 19),
        (date(2004, 2, 29), date(2024, 2, 28), 19),
        (date(2004, 2, 29), date(2024, 2, 29), 20),
        (date(2026, 1, 1), date(2026, 1, 1), 0),
    ],
)
def test_ages(born: date, on: date, years: int) -> None:
    """Who was born on 29 February turns on the 28th in common years."""
    assert age(born, on) == years
