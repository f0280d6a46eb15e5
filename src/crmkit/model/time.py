"""Instants, durations and calendar questions.

Instants are aware datetimes in UTC, stored as integer microseconds since 1970.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import attrs
from dateutil.relativedelta import relativedelta

from crmkit.errors import InvalidInput

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
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
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


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

    def before(self, at: datetime, zone: ZoneInfo) -> datetime:
        """The instant this long before `at`; calendar units count on the local calendar."""
        try:
            if self.unit in _UNITS:
                return at - timedelta(**{_UNITS[self.unit]: self.count})
            months = self.count * (12 if self.unit == "y" else 1)
            return (at.astimezone(zone) - relativedelta(months=months)).astimezone(UTC)
        except (OverflowError, ValueError):  # before the year 1
            return datetime.min.replace(tzinfo=UTC)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


def age(born: date, on: date) -> int:
    """Whole years; who was born on 29 February turns on the 28th in common years."""
    return relativedelta(on, born).years
