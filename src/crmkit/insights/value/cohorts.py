"""Cohorts: of those who first came in a month, how many came again in the months after it."""

from __future__ import annotations

from collections import defaultdict
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
    by_first: defaultdict[int, list[set[int]]] = defaultdict(list)
    for history in histories:
        visited = {_month(day) for day in history if day <= at}
        if visited:
            by_first[min(visited)].append(visited)
    # The last month that has ended: that of `at` only with its last day.
    ended = _month(at + timedelta(days=1)) - 1
    return tuple(_cohort(first, by_first[first], ended, months) for first in sorted(by_first))


def _cohort(first: int, members: list[set[int]], ended: int, months: int) -> Cohort:
    later = range(first + 1, first + months + 1)
    came = [sum(month in visited for visited in members) for month in later]
    came_since = [sum(max(visited) >= month for visited in members) for month in later]
    classic, rolling = (
        tuple(n / len(members) if m <= ended else None for m, n in zip(later, row, strict=True))
        for row in (came, came_since)
    )
    year, month = divmod(first, 12)
    return Cohort(f"{year:04}-{month + 1:02}", len(members), classic, rolling)


def _month(day: date) -> int:
    """Months since the year 0."""
    return day.year * 12 + day.month - 1
