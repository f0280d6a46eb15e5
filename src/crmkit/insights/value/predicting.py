"""What a customer is expected to buy and spend within a horizon, and between which bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import attrs

from crmkit.errors import InvalidInput
from crmkit.insights.value.choosing import Frequency
from crmkit.insights.value.spending import Spending
from crmkit.insights.value.summaries import Summary

_SLICES: Final = 24
_ATOMS: Final = 32
_CLOSE: Final = 1e-6
_REMEMBERED: Final = 200_000


class Forecast(NamedTuple):
    """What is expected of a customer within the horizon.

    `p_active` is the chance of at least one purchase; `value` the spend expected, None
    without a model of spending.
    """

    expected_purchases: float
    p_active: float
    value: float | None


@attrs.frozen
class Prediction:
    """A forecast with the bounds of its value and what it was made of.

    The spend lies between `low` and `high` with the chance `level`, as far as the model
    holds; None without a model of spending.
    """

    expected_purchases: float
    p_active: float
    spend_per_purchase: float | None
    value: float | None
    low: float | None
    high: float | None
    level: float


def predict(
    frequency: Frequency,
    spend: Spending | None,
    summary: Summary,
    horizon: float,
    *,
    level: float = 0.8,
    discount: float = 0.0,
) -> Prediction:
    """The prediction for one customer.

    With a `discount` of d a purchase after t time units is worth (1 + d)^-t of itself, in the
    value and its bounds. The bounds are quantiles of the spend's distribution under the model:
    the chances of 0, 1, 2, … purchases and, for each, the beta-prime distribution of what they
    come to, both in closed form. They leave out that the parameters are estimates. Where no
    purchase at all is likelier than the quantile, the bound is 0.
    """
    if not 0 < level < 1 or not horizon > 0 or discount < 0:
        raise InvalidInput("expected a horizon above 0, a level between 0 and 1, no negative rate")
    seen = (summary.frequency, summary.recency, summary.age)
    purchases = frequency.expected(*seen, horizon)
    returning = frequency.returning(*seen, horizon)
    if spend is None:
        return Prediction(purchases, returning, None, None, None, None, level)
    each = spend.expected(summary.frequency, summary.monetary)
    worth = _discounted(frequency, summary, horizon, discount)
    counts = frequency.counts(*seen, horizon)
    low, high = (
        worth * _quantile(counts, spend, summary, chance)
        for chance in ((1 - level) / 2, (1 + level) / 2)
    )
    return Prediction(purchases, returning, each, worth * purchases * each, low, high, level)


def _discounted(frequency: Frequency, summary: Summary, horizon: float, discount: float) -> float:
    """The worth of a purchase within the horizon, on average over when it is made."""
    if not discount:
        return 1.0
    worth = before = 0.0
    for i in range(_SLICES):
        until = horizon * (i + 1) / _SLICES
        made = frequency.expected_if_active(summary.frequency, summary.age, until)
        worth += (made - before) * (1 + discount) ** -(until - horizon / _SLICES / 2)
        before = made
    return worth / before


def _quantile(counts: Sequence[float], spend: Spending, summary: Summary, chance: float) -> float:
    """The spend that is not exceeded with this chance, by bisection."""
    if counts[0] >= chance:
        return 0.0
    atoms = list(_atoms(counts))

    def at_most(amount: float) -> float:
        seen = (summary.frequency, summary.monetary)
        return counts[0] + sum(n * spend.at_most(amount, k, *seen) for k, n in atoms)

    low, high = 0.0, spend.expected(summary.frequency, summary.monetary)
    while at_most(high) < chance:
        low, high = high, high * 2
    while high - low > _CLOSE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(middle) < chance else (low, middle)
    return (low + high) / 2


def _atoms(counts: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Numbers of purchases and their chances; neighbours of small chance are put together."""
    enough = (1 - counts[0]) / _ATOMS
    chance = moment = 0.0
    for k, n in enumerate(counts[1:], start=1):
        chance, moment = chance + n, moment + k * n
        if chance >= enough:
            yield moment / chance, chance
            chance = moment = 0.0
    if chance:
        yield moment / chance, chance


def forecasts(
    frequency: Frequency, spend: Spending | None, summaries: Iterable[Summary], horizon: float
) -> Iterator[Forecast]:
    """The forecasts of many customers, one by one and in order, in little memory.

    Only the chance of being active depends on when the last purchase was: the rest is worked
    out once for each frequency and age.
    """
    known: dict[tuple[int, float], tuple[float, float]] = {}
    for s in summaries:
        key = (s.frequency, s.age)
        found = known.get(key)
        if found is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            found = known[key] = (
                frequency.expected_if_active(*key, horizon),
                frequency.returning_if_active(*key, horizon),
            )
        active = frequency.active(s.frequency, s.recency, s.age)
        purchases = active * found[0]
        value = None if spend is None else purchases * spend.expected(s.frequency, s.monetary)
        yield Forecast(purchases, active * found[1], value)
