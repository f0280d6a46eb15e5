"""Moments and dates in rules: windows, calendar units and anniversaries as bounds of integers.

The calendar is worked out in Python, where time zones are known; the database only compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import attrs
import sqlalchemy as sa

from crmkit.adapters.sql.rule_values import Condition, Expression, Values, joined
from crmkit.config import Settings
from crmkit.model.rule import Between, Window
from crmkit.model.time import EARLIEST, Calendar, Duration, from_micros, midnight, to_micros

MAX_UNITS: Final = 2_000
"""So many days, weeks, months or years of a window can a statement tell apart."""

_DAY: Final = timedelta(days=1)
_LEAP_DAY: Final = "02-29"


@attrs.frozen
class Instant:
    """The instant that a rule is asked at, and what the calendar is there."""

    at: datetime
    settings: Settings

    @property
    def micros(self) -> int:
        """The instant as it is stored."""
        return to_micros(self.at)

    @property
    def today(self) -> date:
        """The local date."""
        return self.at.astimezone(self.settings.zone).date()

    def bounds(self, window: Window | None) -> tuple[int | None, int]:
        """From which microsecond on, and before which one, a window holds what happened."""
        now, zone = self.micros + 1, self.settings.zone
        match window:
            case Duration():
                return to_micros(window.before(self.at, zone)) + 1, now
            case Calendar():
                since, until = map(to_micros, window.span(self.at, zone))
                return since, min(until, now)
            case Between(since_at, until_at):
                low = None if since_at is None else to_micros(since_at)
                return low, now if until_at is None else min(to_micros(until_at), now)
        return None, now

    def edges(self, unit: str, window: Window | None) -> list[int] | None:
        """Where a calendar unit ends and the next begins, within a window.

        None if there are too many for a statement.
        """
        low, high = self.bounds(window)
        step, zone, found = Calendar(unit), self.settings.zone, list[int]()
        edge = EARLIEST if low is None else max(from_micros(low), EARLIEST)
        while to_micros(edge := step.span(edge, zone)[1]) < high:
            if len(found) == MAX_UNITS:
                return None
            found.append(to_micros(edge))
        return found

    def moment(self, left: Expression, operator: str, value: Any, values: Values) -> Condition:
        """A present moment compared."""
        match operator:
            case "within" | "during":
                low, high = self.bounds(value)
                if operator == "during":  # what is to come this month is in it too
                    high = to_micros(value.span(self.at, self.settings.zone)[1])
                return sa.and_(left >= low, left < high)
            case "not_within":
                return sa.not_(self.moment(left, "within", value, values).self_group())
            case "anniversary_within":
                return self._anniversary(left, value)
        return values.test(left, operator, _micros(value))

    def day(self, left: Expression, operator: str, value: Any, values: Values) -> Condition:
        """A present date compared."""
        match operator:
            case "during":
                zone = self.settings.zone
                since, until = (t.astimezone(zone).date() for t in value.span(self.at, zone))
                return sa.and_(left >= since.isoformat(), left < until.isoformat())
            case "anniversary_within":
                month_and_day = sa.func.substr(left, 6, 5)
                return joined(
                    sa.or_,
                    [
                        sa.and_(month_and_day.between(low, high), left < f"{year:04}-01-01")
                        for year, low, high in self._coming(value)
                    ],
                )
        return values.test(left, operator, _iso(value))

    def _coming(self, days: int) -> list[tuple[int, str, str]]:
        """From which to which month and day of each year there are so many days to come."""
        first, last, found = self.today, self.today + days * _DAY, []
        for year in range(first.year, last.year + 1):
            low = max(first, date(year, 1, 1))
            high = min(last, date(year, 12, 31))
            # On 28 February of a common year falls what happened on the 29th.
            common = (high + _DAY).month == 3 and high.month == 2 and high.day == 28
            found.append((year, f"{low:%m-%d}", _LEAP_DAY if common else f"{high:%m-%d}"))
        return found

    def _anniversary(self, left: Expression, days: int) -> Condition:
        zone, found = self.settings.zone, []
        for year, low, high in self._coming(days):
            for past in range(EARLIEST.year, year):
                start, end = _in_year(past, low), _in_year(past, high, after=True)
                found += [(midnight(start, zone), midnight(end, zone))] if start < end else []
        edges = [to_micros(edge) for span in _joined(found) for edge in span]
        return numbered(left, edges) % sa.literal_column("2", sa.Integer()) == 1


def _joined(spans: Sequence[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The same spans in order, those that overlap made one."""
    found: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _in_year(year: int, month_and_day: str, *, after: bool = False) -> date:
    """The first date of the year from that month and day on, or after it."""
    month, day = int(month_and_day[:2]), int(month_and_day[3:])
    try:
        found = date(year, month, day)
    except ValueError:  # 29 February
        return date(year, 3, 1)
    return found + _DAY if after else found


def numbered(left: Expression, edges: Sequence[int]) -> Expression:
    """How many of the ascending edges are not above the value: a tree of comparisons."""
    # As text: a tree of a thousand nodes is slow to make of objects. The values are our own.
    name = str(left.compile())

    def tree(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high) // 2
        return (
            f"CASE WHEN {name} < {edges[middle]} THEN {tree(low, middle)}"
            f" ELSE {tree(middle + 1, high)} END"
        )

    return sa.literal_column(f"({tree(0, len(edges))})", sa.Integer())


def _micros(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(to_micros(v) for v in value)
    return to_micros(value) if isinstance(value, datetime) else value


def _iso(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(v.isoformat() for v in value)
    return value.isoformat() if isinstance(value, date) else value
