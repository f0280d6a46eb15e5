"""The rule that answers where a model cannot: who has been silent for too long is gone.

Whoever bought within the hiatus goes on at their own rate, drawn to that of all customers as
far as their own history is short; of anybody silent for longer nothing is expected. As a
managerial rule of thumb it is hard to beat on little data (Wübben & von Wangenheim 2008).
"""

from __future__ import annotations

from collections.abc import Collection
from math import expm1, fsum, log1p

import attrs

from crmkit.errors import InvalidInput
from crmkit.insights.value.purchasing import in_counts, tails
from crmkit.insights.value.summaries import Summary


@attrs.frozen
class Hiatus:
    """The rule: `silence` is the longest that a customer may stay away.

    `rate` is that of all customers by time unit, and `weight` how many units of history it is
    worth beside a customer's own. All arguments are in time units.
    """

    silence: float
    rate: float
    weight: float

    def active(self, frequency: int, recency: float, age: float) -> float:  # noqa: ARG002 - as the models ask it
        """1 within the hiatus, 0 beyond it."""
        return float(age - recency <= self.silence)

    def returning(self, frequency: int, recency: float, age: float, horizon: float) -> float:
        """The chance of at least one purchase within the horizon."""
        active = self.active(frequency, recency, age)
        return active * self.returning_if_active(frequency, age, horizon)

    def expected(self, frequency: int, recency: float, age: float, horizon: float) -> float:
        """How many purchases are expected within the horizon."""
        active = self.active(frequency, recency, age)
        return active * self.expected_if_active(frequency, age, horizon)

    def returning_if_active(self, frequency: int, age: float, horizon: float) -> float:
        """The chance of at least one purchase of a customer not silent for too long."""
        shape, ratio = self._spread(frequency, age, horizon)
        return -expm1(-shape * log1p(ratio))

    def expected_if_active(self, frequency: int, age: float, horizon: float) -> float:
        """How many purchases are expected of a customer not silent for too long."""
        shape, ratio = self._spread(frequency, age, horizon)
        return shape * ratio

    def counts(self, frequency: int, recency: float, age: float, horizon: float) -> list[float]:
        """The chances of 0, 1, 2, … purchases within the horizon; the last is the rest."""
        active = self.active(frequency, recency, age)
        return in_counts(active * tail for tail in tails(*self._spread(frequency, age, horizon)))

    def _spread(self, frequency: int, age: float, horizon: float) -> tuple[float, float]:
        """Shape and ratio of the negative binomial: the rate is gamma distributed."""
        return self.rate * self.weight + frequency, horizon / (self.weight + age)


def hiatus_rule(summaries: Collection[Summary], silence: float) -> Hiatus:
    """The rule with the rate of these customers, worth their mean age.

    One more is made up, who came back once within a hiatus: so there is a rate from the first
    day on. Raises `InvalidInput` for a hiatus that is not positive.
    """
    if not silence > 0:
        raise InvalidInput("expected more than 0", field="silence")
    lived = fsum(s.age for s in summaries) + silence
    bought = sum(s.frequency for s in summaries) + 1
    return Hiatus(silence, rate=bought / lived, weight=lived / (len(summaries) + 1))
