"""What the models need to know of a customer: how often, how lately, since when, how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date
from math import fsum
from typing import NamedTuple, TypeAlias

import attrs

Purchase: TypeAlias = tuple[date, float]
"""A purchase: its day in the tenant's calendar, and what was paid."""


@attrs.frozen
class Summary:
    """A customer's purchases in four numbers.

    `frequency` is the number of time units after the first purchase that saw another one,
    `recency` the unit of the last of them (0 without any) and `age` that of the instant of
    the summary, both counted from the first purchase; `monetary` is the mean spend of those
    repeat units, 0 without any.
    """

    frequency: int
    recency: float
    age: float
    monetary: float = 0.0


class Row(NamedTuple):
    """Customers that look alike to a model of purchasing, and how many they are."""

    frequency: int
    recency: float
    age: float
    weight: int


def summarise(purchases: Iterable[Purchase], at: date, unit_days: int = 1) -> Summary | None:
    """The summary of one customer's purchases up to the end of the day `at`.

    Purchases of one time unit count as one. None without a purchase by then.
    """
    known = [(day, amount) for day, amount in purchases if day <= at]
    if not known:
        return None
    first = min(day for day, _ in known)
    if len(known) == 1:  # as most customers have
        return Summary(0, 0, (at - first).days // unit_days)
    spent: dict[int, list[float]] = {}
    for day, amount in known:
        unit = (day - first).days // unit_days
        if unit:
            spent.setdefault(unit, []).append(amount)
    frequency = len(spent)
    # fsum is exact, so that the order of the purchases is of no consequence.
    total = fsum(amount for amounts in spent.values() for amount in amounts)
    return Summary(
        frequency=frequency,
        recency=max(spent, default=0),
        age=(at - first).days // unit_days,
        monetary=total / frequency if frequency else 0.0,
    )


def merged(summaries: Iterable[Summary]) -> list[Row]:
    """Equal customers as one row with its weight, in a fixed order."""
    alike = Counter((s.frequency, s.recency, s.age) for s in summaries)
    return [Row(*row, weight) for row, weight in sorted(alike.items())]
