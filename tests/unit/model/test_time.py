from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import InvalidInput
from crmkit.model.time import (
    EARLIEST,
    LATEST,
    Duration,
    age,
    calendar_date,
    from_micros,
    instant,
    iso,
    to_micros,
)

ROME = ZoneInfo("Europe/Rome")
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
        ("1mo", datetime(2026, 2, 28, 13, tzinfo=UTC)),  # 14:00 in Rome, then and now
        ("6mo", datetime(2025, 9, 30, 12, tzinfo=UTC)),
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
    leap = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert Duration.parse("1y").before(leap, ZoneInfo("UTC")) == datetime(
        2023, 2, 28, 12, tzinfo=UTC
    )


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
