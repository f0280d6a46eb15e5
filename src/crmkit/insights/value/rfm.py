"""Recency, frequency and monetary value: scores from 1 to 5, and groups with names."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

import attrs

_FIFTHS: Final = 5

RFM_GROUPS: Final = (
    "champions", "loyal", "potential_loyalist", "new", "promising", "needs_attention",
    "about_to_sleep", "at_risk", "cannot_lose", "hibernating", "lost",
)  # fmt: skip

_GRID: Final = {
    # By recency score; the columns are the mean of frequency and monetary score, 1 to 5.
    5: ("new", "potential_loyalist", "potential_loyalist", "loyal", "champions"),
    4: ("promising", "potential_loyalist", "potential_loyalist", "loyal", "champions"),
    3: ("about_to_sleep", "about_to_sleep", "needs_attention", "loyal", "loyal"),
    2: ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"),
    1: ("lost", "hibernating", "at_risk", "at_risk", "cannot_lose"),
}


@attrs.frozen
class Buyer:
    """Somebody who bought: days since the last purchase, how often, and how much in all."""

    customer_id: str
    days_since: float
    purchases: int
    spent: float


@attrs.frozen
class Rfm:
    """The scores of a customer, each from 1 (worst) to 5 (best), and the group they make."""

    customer_id: str
    recency: int
    frequency: int
    monetary: int
    group: str

    @property
    def code(self) -> str:
        """The three digits, as in ``545``."""
        return f"{self.recency}{self.frequency}{self.monetary}"


@attrs.frozen
class Ranks:
    """The distinct values of a population in order, and how many have less than each."""

    ordered: tuple[float, ...]
    below: tuple[int, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Ranks:
        """The ranks of these values."""
        return cls.counted(Counter(values))

    @classmethod
    def counted(cls, counts: Mapping[float, int]) -> Ranks:
        """The ranks of values that so many have."""
        ordered = tuple(sorted(counts))
        return cls(ordered, tuple(accumulate((counts[v] for v in ordered), initial=0)))

    def score(self, value: float) -> int:
        """The fifth of the population, 1 to 5, in the middle of all who have the same value.

        Equal values score equally, whatever their order; where all are equal, 3.
        """
        if not self.ordered:
            return (_FIFTHS + 1) // 2
        below = self.below[bisect_left(self.ordered, value)]
        upto = self.below[bisect_right(self.ordered, value)]
        return min(_FIFTHS, _FIFTHS * (below + upto) // (2 * self.below[-1]) + 1)


@attrs.frozen
class Population:
    """All who ever bought, to score anybody against."""

    recency: Ranks
    frequency: Ranks
    monetary: Ranks

    @classmethod
    def of(cls, buyers: Iterable[Buyer]) -> Population:
        """The population of these, in memory that grows with the values that differ."""
        values: tuple[Counter[float], ...] = (Counter(), Counter(), Counter())
        for buyer in buyers:
            # The shorter ago the better.
            for counter, value in zip(
                values, (-buyer.days_since, buyer.purchases, buyer.spent), strict=True
            ):
                counter[value] += 1
        return cls(*map(Ranks.counted, values))

    def scored(self, buyer: Buyer) -> Rfm:
        """The scores of somebody against all."""
        return _scored(
            buyer.customer_id,
            self.recency.score(-buyer.days_since),
            self.frequency.score(buyer.purchases),
            self.monetary.score(buyer.spent),
        )


def rfm(buyers: Sequence[Buyer]) -> tuple[Rfm, ...]:
    """The scores of all who ever bought, each against all others, in the order given."""
    population = Population.of(buyers)
    return tuple(map(population.scored, buyers))


def _scored(customer_id: str, recency: int, frequency: int, monetary: int) -> Rfm:
    return Rfm(customer_id, recency, frequency, monetary, group(recency, frequency, monetary))


def group(recency: int, frequency: int, monetary: int) -> str:
    """The named group of three scores; of frequency and monetary the mean counts, a half up."""
    return _GRID[recency][(frequency + monetary + 1) // 2 - 1]
