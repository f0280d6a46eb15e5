"""Instants, durations and calendar questions.

Instants are aware datetimes in UTC, stored as integer microseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import attrs
from dateutil.relativedelta import relativedelta

from crmkit.errors import InvalidInput

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
FOREVER: Final = datetime.max.replace(tzinfo=UTC)
MONTH: Final = timedelta(days=30.4375)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (instant - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The UTC instant that many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=micros)


def instant(value: datetime | str, *, field: str = "at") -> datetime:
    """A UTC instant from an aware datetime or an ISO 8601 text with an offset.

    Raises `InvalidInput` for a naive time: without its zone it is two instants.
    """
    if isinstance(value, str):
        value = _parse(value, field)
    if not isinstance(value, datetime):
        raise InvalidInput("expected a datetime or ISO 8601 text", field=field)
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidInput("the time has no zone; give an aware datetime", field=field)
    try:
        utc = value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput("out of range", field=field) from error
    if not EARLIEST <= utc < LATEST:
        raise InvalidInput("expected a time between 1900 and 2200", field=field)
    return utc


def _parse(text: str, field: str) -> datetime:
    if len(text) > 64:  # bounded first: parsers are slow on what nobody writes
        raise InvalidInput("expected ISO 8601 text such as 2026-11-21T20:30:00+01:00", field=field)
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:  # its message repeats the text
        raise InvalidInput(
            "expected ISO 8601 text such as 2026-11-21T20:30:00+01:00", field=field
        ) from None


def calendar_date(value: date | str, *, field: str) -> date:
    """A date from a `date` or ISO text ``YYYY-MM-DD``."""
    if isinstance(value, datetime):
        raise InvalidInput("expected a date without a time", field=field)
    if isinstance(value, str):
        text = value.strip()
        try:
            if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text[:11], re.ASCII):
                raise ValueError
            value = date.fromisoformat(text)
        except ValueError as error:
            raise InvalidInput("expected a date such as 1990-05-17", field=field) from error
    if not isinstance(value, date):
        raise InvalidInput("expected a date such as 1990-05-17", field=field)
    return value


def iso(value: datetime) -> str:
    """ISO 8601 text with a ``Z``."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


_DURATION = re.compile(r"(\d{1,5})\s*(h|d|w|mo|y)", re.ASCII)
_UNITS = {"us": "microseconds", "h": "hours", "d": "days", "w": "weeks"}


@attrs.frozen
class Duration:
    """``"90d"``: hours, days (24 h) and weeks are exact; months and years follow the calendar."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: object, *, field: str = "value") -> Duration:
        """Read ``12h``, ``90d``, ``2w``, ``6mo`` or ``1y``; raises `InvalidInput`."""
        match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise InvalidInput("expected a duration such as '90d' (h, d, w, mo, y)", field=field)
        found = cls(int(match[1]), match[2])
        if found.count == 0 or found.before(LATEST, ZoneInfo("UTC")) < EARLIEST:
            raise InvalidInput("expected between 1 hour and 300 years", field=field)
        return found

    @property
    def exact(self) -> timedelta | None:
        """The length, or None where the calendar says how long it is."""
        name = _UNITS.get(self.unit)
        return timedelta(**{name: self.count}) if name else None

    def before(self, at: datetime, zone: ZoneInfo) -> datetime:
        """The instant this long before `at`; never earlier for a later `at`.

        Calendar units count on the local calendar: where the month is too short for the
        day, it is the last microsecond of that month.
        """
        try:
            length = self.exact
            if length is not None:
                return at - length
            return _utc(_months_before(_wall(at, zone), self._months), zone)
        except (OverflowError, ValueError):  # before the year 1
            return datetime.min.replace(tzinfo=UTC)

    def after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """The first instant of which `before` is not earlier than `moment`.

        What happened at `moment` is within the duration until then, not any more at it.
        """
        length = self.exact
        if length is not None:
            return moment + length
        guess = _utc(_months_after(_wall(moment, zone), self._months), zone)
        if self.before(guess, zone) >= moment > self.before(guess - _MICROSECOND, zone):
            return guess
        near = 2 * _DAY
        return _first(guess - near, guess + near, lambda at: self.before(at, zone) >= moment)

    @property
    def _months(self) -> int:
        return self.count * (12 if self.unit == "y" else 1)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


_DAY: Final = timedelta(days=1)


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    """What clocks show; while an hour comes the second time, they stand where the first ended."""
    there = at.astimezone(zone)
    if there.fold:
        before = at - _DAY
        there = _turned(before, at, zone).astimezone(UTC) + _offset(before, zone)
    return there.replace(tzinfo=None)


def _utc(wall: datetime, zone: ZoneInfo) -> datetime:
    """When clocks first show that, or have left it out."""
    meant = wall.replace(tzinfo=zone).astimezone(UTC)
    if meant.astimezone(zone).replace(tzinfo=None) == wall:
        return meant
    return _turned(meant - _DAY, meant, zone)


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


def _turned(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant between at which clocks are turned."""
    turned = _offset(after, zone)
    return _first(before, after, lambda at: _offset(at, zone) == turned)


def _first(before: datetime, after: datetime, holds: Callable[[datetime], bool]) -> datetime:
    """The first instant from which it holds, between one where not and one where it does."""
    while after - before > _MICROSECOND:
        middle = before + (after - before) // 2
        if holds(middle):
            after = middle
        else:
            before = middle
    return after


def _months_before(wall: datetime, months: int) -> datetime:
    earlier = wall - relativedelta(months=months)
    if earlier.day == wall.day:
        return earlier
    # That month has no such day: all of it is long enough ago.
    return datetime.combine(earlier.date() + _DAY, time.min) - _MICROSECOND


def _months_after(wall: datetime, months: int) -> datetime:
    later = wall + relativedelta(months=months)
    return later if later.day == wall.day else datetime.combine(later.date() + _DAY, time.min)


@attrs.frozen
class Calendar:
    """``"this month"``, ``"last week"``: a day, week, month, quarter or year of the calendar.

    `back` is 0 for the one that an instant lies in, 1 for the one before. Weeks begin on
    Monday; what is asked in rules knows no quarters.
    """

    unit: str
    back: int = 0

    @classmethod
    def parse(cls, text: object, *, field: str = "value") -> Calendar:
        """Read ``this month``, ``last week``, ``today``, ``yesterday``; raises `InvalidInput`."""
        words = text.strip() if isinstance(text, str) and len(text) < 20 else ""
        which, _, unit = _SAME.get(words, words).partition(" ")
        if which not in _BACK or unit not in CALENDAR_UNITS:
            raise InvalidInput(
                "expected 'this' or 'last' with day, week, month or year", field=field
            )
        return cls(unit, _BACK[which])

    def span(self, at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Where it begins and where the next begins."""
        first = _first_day(at.astimezone(zone).date(), self.unit)
        since = first - self.back * _STEP[self.unit]
        return midnight(since, zone), midnight(since + _STEP[self.unit], zone)

    def __str__(self) -> str:
        return f"{'last' if self.back else 'this'} {self.unit}"


CALENDAR_UNITS: Final = ("day", "week", "month", "year")
_BACK: Final = {"this": 0, "last": 1}
_SAME: Final = {"today": "this day", "yesterday": "last day"}
_STEP: Final = {
    "day": relativedelta(days=1),
    "week": relativedelta(weeks=1),
    "month": relativedelta(months=1),
    "quarter": relativedelta(months=3),
    "year": relativedelta(years=1),
}


def _first_day(day: date, unit: str) -> date:
    match unit:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=day.month - (day.month - 1) % 3, day=1)
        case "year":
            return day.replace(month=1, day=1)
    return day


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When the day begins there: at the first instant where clocks leave midnight out."""
    return _utc(datetime.combine(day, time.min), zone)


def anniversary(day: date, year: int) -> date:
    """The day in that year; 29 February falls on the 28th in common years."""
    try:
        return day.replace(year=year)
    except ValueError:
        return date(year, 2, 28)


def next_anniversary(day: date, today: date) -> date | None:
    """The first anniversary from today on, never the day itself; None beyond the calendar."""
    year = max(today.year, day.year + 1)
    if anniversary(day, year) < today:
        year += 1
    return anniversary(day, year) if year <= date.max.year else None


def age(born: date, on: date) -> int:
    """Whole years; who was born on 29 February turns on the 28th in common years."""
    return relativedelta(on, born).years
