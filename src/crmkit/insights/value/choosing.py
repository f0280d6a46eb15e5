"""Which model answers: the fitted one, or the rule of the hiatus where that would not hold up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from itertools import islice
from math import sqrt
from typing import Final, TypeAlias

import attrs

from crmkit.insights.value.hiatus import Hiatus, hiatus_rule
from crmkit.insights.value.likelihood import LARGE, PriorName, PurchasingFit, fit_purchasing
from crmkit.insights.value.purchasing import Kind, Purchasing
from crmkit.insights.value.spending import SpendingFit, fit_spending
from crmkit.insights.value.summaries import Summary

FEWEST_REPEATING: Final = 20
"""Customers with a repeat purchase that a model needs."""

_TOLERATED: Final = 0.1
_CELLS: Final = 8

Frequency: TypeAlias = Purchasing | Hiatus


@attrs.frozen
class FittedModel:
    """What predicts the purchases, and what the spend.

    `fit` is the fitted model of purchasing, None where there was nothing to fit; `reason` says
    why the `rule` of the hiatus answers in its place, None where the model does. `spend` is
    None where no repeat purchase had a positive amount.
    """

    rule: Hiatus
    spend: SpendingFit | None
    fit: PurchasingFit | None
    misfit: float | None
    reason: str | None

    @property
    def frequency(self) -> Frequency:
        """What answers: the fitted model, or the rule where there is a reason."""
        return self.rule if self.fit is None or self.reason else self.fit.model


def fit_value(
    summaries: Collection[Summary],
    silence: float,
    kind: Kind = "mbg",
    prior: PriorName | None = "default",
    *,
    large: int = LARGE,
) -> FittedModel:
    """The model of these customers, or the rule of the hiatus with the reason for it.

    The rule answers where fewer than `FEWEST_REPEATING` customers came back, where the search
    for the best model did not end, and where the model tells how often customers come back
    so badly that more than a tenth of them, and what chance explains, would have to change
    places (`misfit`).
    """
    paid = any(s.frequency and s.monetary > 0 for s in summaries)
    spend = _spend(summaries, prior, large) if paid else None
    rule = hiatus_rule(summaries, silence)
    repeating = sum(1 for s in summaries if s.frequency)
    if repeating < FEWEST_REPEATING:
        who = "customer" if repeating == 1 else "customers"
        few = f"{repeating} {who} came back, a model needs {FEWEST_REPEATING}"
        return FittedModel(rule, spend, fit=None, misfit=None, reason=few)
    fit = fit_purchasing(summaries, kind, prior, large=large)
    off = misfit(fit.model, summaries)
    return FittedModel(rule, spend, fit, off, _refused(fit, off))


def _spend(summaries: Collection[Summary], prior: PriorName | None, large: int) -> SpendingFit:
    """Without a prior the best model of few customers may lie nowhere: then with it."""
    fit = fit_spending(summaries, prior, large=large)
    return fit if fit.converged else fit_spending(summaries, "default", large=large)


def _refused(fit: PurchasingFit, off: float) -> str | None:
    if not fit.converged:
        return "the search for the best model did not end"
    if off > _TOLERATED + 1 / sqrt(fit.customers):
        return f"the model puts {off:.0%} of the customers where they are not"
    return None


def misfit(model: Purchasing, summaries: Collection[Summary]) -> float:
    """How far the repeat purchases that the model expects are from those there were.

    The share of customers who would have to change places between 0, 1, … and 7 or more.
    """
    ages: defaultdict[float, int] = defaultdict(int)
    places = [0.0] * _CELLS
    # In whole numbers before anything else, and then in a fixed order: the same to the last bit.
    for s in summaries:
        ages[s.age] += 1
        places[min(s.frequency, _CELLS - 1)] += 1
    for age, customers in sorted(ages.items()):
        above = 1.0
        for k, chance in enumerate(islice(model.at_least(0, 0, 0, age), _CELLS - 1)):
            places[k] -= customers * (above - chance)
            above = chance
        places[_CELLS - 1] -= customers * above
    return sum(map(abs, places)) / 2 / len(summaries)
