"""Recency, frequency and monetary value: scores from 1 to 5, and groups with names."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
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
    """The values of a population in order, to score anybody against."""

    ordered: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Ranks:
        """The ranks of these values."""
        return cls(tuple(sorted(values)))

    def score(self, value: float) -> int:
        """The fifth of the population, 1 to 5, in the middle of all who have the same value.

        Equal values score equally, whatever their order; where all are equal, 3.
        """
        if not self.ordered:
            return (_FIFTHS + 1) // 2
        below, upto = bisect_left(self.ordered, value), bisect_right(self.ordered, value)
        return min(_FIFTHS, _FIFTHS * (below + upto) // (2 * len(self.ordered)) + 1)


def rfm(buyers: Sequence[Buyer]) -> tuple[Rfm, ...]:
    """The scores of all who ever bought, each against all others, in the order given."""
    # The shorter ago the better.
    recency = Ranks.of(-buyer.days_since for buyer in buyers)
    frequency = Ranks.of(buyer.purchases for buyer in buyers)
    monetary = Ranks.of(buyer.spent for buyer in buyers)
    return tuple(
        _scored(
            buyer.customer_id,
            recency.score(-buyer.days_since),
            frequency.score(buyer.purchases),
            monetary.score(buyer.spent),
        )
        for buyer in buyers
    )


def _scored(customer_id: str, recency: int, frequency: int, monetary: int) -> Rfm:
    return Rfm(customer_id, recency, frequency, monetary, group(recency, frequency, monetary))


def group(recency: int, frequency: int, monetary: int) -> str:
    """The named group of three scores; of frequency and monetary the mean counts, a half up."""
    return _GRID[recency][(frequency + monetary + 1) // 2 - 1]
