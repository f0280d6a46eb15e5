"""Comparing a moment or a date with the instant that is asked about.

Time alone changes these answers, so each says also until when it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from crmkit.model.time import (
    FOREVER,
    Calendar,
    Duration,
    age,
    anniversary,
    midnight,
    next_anniversary,
)
from crmkit.segmentation.comparing import Test, value_test

Answer: TypeAlias = tuple[bool, datetime]
"""Whether it holds, and until when that is sure while no further fact comes."""

Timed: TypeAlias = Callable[[Any, datetime], Answer]
"""Asks a value that is there at an instant."""

OPERATORS = frozenset(("within", "not_within", "during", "anniversary_within"))
_DAY = timedelta(days=1)


def timed(operator: str, expected: Any, zone: ZoneInfo) -> Timed:
    """The comparison of a moment, or of a date, by one of `OPERATORS`."""
    match operator:
        case "within":
            return _within(expected, zone)
        case "not_within":
            inside = _within(expected, zone)

            def outside(value: datetime, at: datetime) -> Answer:
                truth, until = inside(value, at)
                return not truth, until

            return outside
        case "during":
            return _during(expected, zone)
    return _anniversary(expected, zone)


def _within(length: Duration, zone: ZoneInfo) -> Timed:
    def ask(value: datetime, at: datetime) -> Answer:
        if value > at:
            return False, value
        ends = length.after(value, zone)
        return (True, ends) if at < ends else (False, FOREVER)

    return ask


def _during(span: Calendar, zone: ZoneInfo) -> Timed:
    step = Calendar(span.unit)

    @lru_cache(maxsize=64)
    def bounds(day: date) -> tuple[datetime, datetime]:
        since, until = step.span(midnight(day, zone), zone)
        for _ in range(span.back):
            since, until = until, step.span(until, zone)[1]
        return since, until

    def ask(value: date, at: datetime) -> Answer:
        since, until = bounds(_local_day(value, zone))
        if at < since:
            return False, since
        return (True, until) if at < until else (False, FOREVER)

    return ask


def _anniversary(days: int, zone: ZoneInfo) -> Timed:
    def ask(value: date, at: datetime) -> Answer:
        today = at.astimezone(zone).date()
        coming = next_anniversary(_local_day(value, zone), today)
        if coming is None:
            return False, FOREVER
        if (coming - today).days <= days:
            return True, midnight(coming + _DAY, zone)
        return False, midnight(coming - timedelta(days=days), zone)

    return ask


def _local_day(value: date, zone: ZoneInfo) -> date:
    return value.astimezone(zone).date() if isinstance(value, datetime) else value


def aged(operator: str, expected: Any, zone: ZoneInfo) -> Timed:
    """The comparison of an age in whole years, of a birth date."""
    test: Test
    if operator == "exists":
        wanted = bool(expected)
        test = lambda years: (years is not None) is wanted  # noqa: E731 - reads best beside its twin
    else:
        compare = value_test(operator, expected)
        test = lambda years: years is not None and compare(years)  # noqa: E731

    today = lru_cache(maxsize=4)(lambda at: at.astimezone(zone).date())

    def ask(born: date, at: datetime) -> Answer:
        on = today(at)
        if born > on:
            return test(None), midnight(born, zone)
        years = age(born, on)
        birthday = born.year + years + 1
        if birthday > date.max.year:
            return test(years), FOREVER
        return test(years), midnight(anniversary(born, birthday), zone)

    return ask
