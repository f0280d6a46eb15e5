"""What a customer chooses, and when they come; pure functions over the counters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Final

import attrs

from crmkit.model import Counter, Money

WEEKDAYS: Final = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
)  # fmt: skip

_MINUTE: Final = timedelta(minutes=1)
_QUARTER: Final = 15
_DAY: Final = 24 * 60
_MEDIUM_FROM: Final = 23 * 60
_LATE_FROM: Final = 25 * 60
"""Minutes of a business day, which runs on past midnight: 25 × 60 is one o'clock at night."""


@attrs.frozen
class Choice:
    """Something a customer chose: an item, a venue or a category.

    `value` is the host's id of it where there is one, else its name; `label` the name it
    bore last.
    """

    value: str = attrs.field(repr=False)
    label: str = attrs.field(repr=False)
    count: int
    spent: Money
    first_at: datetime | None
    last_at: datetime | None


@attrs.frozen
class DayShare:
    """How many of the times fall on a weekday, and which share of all that is."""

    weekday: str
    count: int
    share: float


@attrs.frozen
class HeatMap:
    """How often a customer came, by weekday and hour of the tenant's business days.

    `counts` has a row of 24 hours for each day from Monday to Sunday.
    """

    customer_id: str
    at: datetime
    counts: tuple[tuple[int, ...], ...]

    @property
    def total(self) -> int:
        """How many times in all."""
        return sum(map(sum, self.counts))


Counters = Sequence[Counter]


def choices(counters: Counters, currency: str) -> tuple[Choice, ...]:
    """The counters of a dimension: most chosen first, then by spend, then by name."""
    return tuple(_choice(counter, currency) for counter in sorted(counters, key=_rank))


def favourite(counters: Counters, currency: str) -> Choice | None:
    """What was chosen most of a dimension."""
    return _choice(min(counters, key=_rank), currency) if counters else None


def _rank(counter: Counter) -> tuple[int, int, str, str]:
    return -counter.count, -counter.spend_minor, counter.label, counter.value


def _choice(counter: Counter, currency: str) -> Choice:
    return Choice(
        value=counter.value,
        label=counter.label,
        count=counter.count,
        spent=Money(counter.spend_minor, currency),
        first_at=counter.first_at,
        last_at=counter.last_at,
    )


def heat(slots: Counters) -> tuple[tuple[int, ...], ...]:
    """The counts by weekday and hour."""
    grid = [[0] * 24 for _ in WEEKDAYS]
    for counter in slots:
        day, hour = counter.value.split()
        grid[int(day)][int(hour)] += counter.count
    return tuple(map(tuple, grid))


def day_shares(counts: Sequence[Sequence[int]]) -> tuple[DayShare, ...]:
    """The weekdays of a heat-map that have any, the most frequent first."""
    days = list(zip(WEEKDAYS, map(sum, counts), strict=True))
    total = sum(count for _, count in days)
    shares = [DayShare(day, count, count / total) for day, count in days if count]
    return tuple(sorted(shares, key=lambda share: -share.count))


def typical_arrival(arrivals: Counters, day_end: timedelta) -> time | None:
    """The median quarter of an hour of the visits, the earlier of two.

    Counted from the beginning of the business day, so that 23:45 and 00:15 lie together
    where the night ends later.
    """
    came = sorted((_of_the_day(c.value, day_end), c.count) for c in arrivals)
    middle = (sum(count for _, count in came) + 1) // 2
    for minute, count in came:
        middle -= count
        if middle <= 0:
            return time(minute % _DAY // 60, minute % 60)
    return None


def arrival_class(arrival: time, day_end: timedelta) -> str:
    """Early before 23:00, medium before 01:00, late from then to the end of the business day."""
    minute = _of_the_day(f"{arrival:%H:%M}", day_end)
    if minute < _MEDIUM_FROM:
        return "early"
    return "medium" if minute < _LATE_FROM else "late"


def _of_the_day(clock: str, day_end: timedelta) -> int:
    """The minute at which a quarter begins; past midnight the business day's minutes go on."""
    hours, minutes = map(int, clock.split(":"))
    minute = hours * 60 + minutes
    # The quarter in which the business day ends belongs to the next.
    return minute + _DAY if minute + _QUARTER <= day_end // _MINUTE else minute
