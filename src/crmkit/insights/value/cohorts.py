"""Cohorts: of those who first came in a month, how many came again in the months after it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, timedelta

import attrs

from crmkit.errors import InvalidInput


@attrs.frozen
class Cohort:
    """The customers whose first visit was in a month, ``YYYY-MM``.

    Both retentions have a share for each month after the first: `classic` of those who came
    in that month, `rolling` of those who came in it or later. None where the month had not
    ended. A later visit may still raise `rolling`.
    """

    month: str
    customers: int
    classic: tuple[float | None, ...]
    rolling: tuple[float | None, ...]


def cohorts(histories: Iterable[Iterable[date]], at: date, months: int = 12) -> tuple[Cohort, ...]:
    """The cohorts of these customers' visits up to the end of the day `at`, the oldest first.

    A visit is its day in the tenant's calendar. Months in which nobody came first have no
    cohort. Raises `InvalidInput` for less than a month.
    """
    if months < 1:
        raise InvalidInput("expected at least 1", field="months")
    by_first: defaultdict[int, _Came] = defaultdict(_Came)
    for history in histories:
        visited = {_month(day) for day in history if day <= at}
        if visited:
            came = by_first[min(visited)]
            came.customers += 1
            came.in_month.update(visited)
            came.last[max(visited)] += 1
    # The last month that has ended: that of `at` only with its last day.
    ended = _month(at + timedelta(days=1)) - 1
    return tuple(_cohort(first, by_first[first], ended, months) for first in sorted(by_first))


@attrs.define
class _Came:
    """How many first came in a month, how many of them in each month, and when for the last time.

    Numbers only, so that any number of customers is counted in little memory.
    """

    customers: int = 0
    in_month: Counter[int] = attrs.Factory(Counter)
    last: Counter[int] = attrs.Factory(Counter)


def _cohort(first: int, came: _Came, ended: int, months: int) -> Cohort:
    later = range(first + 1, first + months + 1)
    in_month = [came.in_month[month] for month in later]
    since = [sum(n for last, n in came.last.items() if last >= month) for month in later]
    classic, rolling = (
        tuple(n / came.customers if m <= ended else None for m, n in zip(later, row, strict=True))
        for row in (in_month, since)
    )
    year, month = divmod(first, 12)
    return Cohort(f"{year:04}-{month + 1:02}", came.customers, classic, rolling)


def _month(day: date) -> int:
    """Months since the year 0."""
    return day.year * 12 + day.month - 1
