"""Numbers by day, week or month of the tenant's calendar; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Final, Generic, TypeVar

import attrs
from dateutil.relativedelta import relativedelta

from crmkit.activities.dimensions import local, takes_place
from crmkit.activities.metrics import Joined, borne
from crmkit.activities.sharing import PAYER
from crmkit.activities.stories import Story, read, stories
from crmkit.config import Settings
from crmkit.errors import InvalidInput, unknown
from crmkit.model import Activity

T = TypeVar("T")

_STEPS: Final = {
    "day": relativedelta(days=1),
    "week": relativedelta(weeks=1),
    "month": relativedelta(months=1),
}


@attrs.frozen
class Period(Generic[T]):
    """A day, week or month and what is told of it.

    `name` is such as ``2026-03-14``, ``2026-W11`` or ``2026-03``, `start` its first day.
    """

    name: str
    start: date
    value: T


def checked_period(by: object) -> str:
    """Day, week or month; raises `InvalidInput`."""
    if not isinstance(by, str) or by not in _STEPS:
        raise InvalidInput(unknown("period", by, _STEPS), field="by")
    return by


def spent_by_day(
    facts: Iterable[Activity], joined: Iterable[Joined], settings: Settings
) -> Counter[date]:
    """What a customer bore, net, by the business day on which a story was first paid for."""
    kinds = settings.kinds_by_name
    sums: Counter[date] = Counter()
    for told, share in chain(((story, PAYER) for story in stories(facts)), joined):
        story = read(told, kinds)
        spent = borne(story, kinds).get(share, 0)
        if spent:
            sums[local(paid_at(story), settings)[0]] += spent
    return sums


def paid_at(story: Story) -> datetime:
    """When a story with a spend first spoke of money."""
    return min(f.occurred_at for f in story.standing if f.amount_minor is not None)


def counted_by_day(facts: Iterable[Activity], counter: str, settings: Settings) -> Counter[date]:
    """What raises a counter of the metrics, by the business day on which it takes place."""
    kinds = settings.kinds_by_name
    sums: Counter[date] = Counter()
    for facts_told in stories(facts):
        story = read(facts_told, kinds)
        for fact in () if story.off else story.said:
            kind = kinds[fact.kind]
            if kind.role == "happens":
                sums[local(takes_place(fact), settings)[0]] += kind.counts.count(counter)
    return sums


def periods(days: Mapping[date, int], by: str, valued: Callable[[int], T]) -> tuple[Period[T], ...]:
    """Days summed by period, each period from the first to the last that has any."""
    sums: Counter[date] = Counter()
    for day, value in days.items():
        sums[_first_day(day, by)] += value
    told = [start for start, value in sums.items() if value]
    if not told:
        return ()
    starts = _from_to(min(told), max(told), by)
    return tuple(Period(_name(start, by), start, valued(sums[start])) for start in starts)


def _from_to(start: date, last: date, by: str) -> Iterator[date]:
    while start <= last:
        yield start
        start += _STEPS[by]


def _first_day(day: date, by: str) -> date:
    if by == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if by == "month" else day


def _name(start: date, by: str) -> str:
    if by == "week":
        year, week, _ = start.isocalendar()
        return f"{year}-W{week:02}"
    return start.isoformat()[:7] if by == "month" else start.isoformat()
