"""What customers spend each time: the Gamma–Gamma model.

Each purchase of a customer is gamma distributed with shape `p` and a rate of their own; rates
are spread over the customers by a gamma distribution with shape `q` and rate `v` (Fader &
Hardie 2013). After x purchases of z on average the rate has the gamma distribution
(q + p·x, v + x·z), so that the mean of their purchases is expected at p·(v + x·z)/(p·x + q - 1):
between their own mean and everybody's, the nearer to their own the more there is of them.
How much is spent is taken to be independent of how often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from math import exp, fsum, lgamma, log
from typing import Any, Final, TypeAlias

import attrs

from crmkit.errors import InvalidInput
from crmkit.insights.value.fitting import Objective, Prior, minimise
from crmkit.insights.value.likelihood import LARGE, PriorName
from crmkit.insights.value.special import digamma, incomplete_beta
from crmkit.insights.value.summaries import Summary

TotalSums: TypeAlias = Callable[[float], tuple[float, float, float, float]]
"""Over all customers, given v: the sums of log(v + total) and of 1/(v + total), each also
weighted by the number of purchases."""

_SAMPLE: Final = 4_000
"""Customers on whom a large fit starts."""


@attrs.frozen
class Spending:
    """A Gamma–Gamma model with its three parameters; `v` is in the unit of the amounts."""

    p: float
    q: float
    v: float

    def expected(self, frequency: int = 0, monetary: float = 0.0) -> float:
        """The mean spend a purchase; without purchases that of the whole population."""
        known = self.v + frequency * monetary
        return self.p * known / (self.p * frequency + self.q - 1)

    def at_most(self, amount: float, purchases: float, frequency: int, monetary: float) -> float:
        """The chance that so many more purchases come to at most the amount in all; exact."""
        known = self.v + frequency * monetary
        share = amount / (known + amount)
        return incomplete_beta(self.p * purchases, self.q + self.p * frequency, share)


@attrs.frozen
class SpendingFit:
    """A fitted model of spending, and how well it went; `customers` had repeat purchases."""

    model: Spending
    log_likelihood: float
    customers: int
    evaluations: int
    converged: bool


def fit_spending(
    summaries: Iterable[Summary], prior: PriorName | None = "default", *, large: int = LARGE
) -> SpendingFit:
    """The model with the greatest posterior density, or likelihood without a prior.

    Customers without repeat purchases or without a positive mean tell nothing and are left
    out. `q` is kept above 1, for else the population has no mean spend. Raises `InvalidInput`
    where nobody is left.
    """
    # Sorted, for sums of floats depend on their order.
    told = sorted((s.frequency, s.monetary) for s in summaries if s.frequency and s.monetary > 0)
    if not told:
        raise InvalidInput("expected customers with repeat purchases and a positive spend")
    start = _default_prior(fsum(z for _, z in told) / len(told))
    belief = start if prior else None
    point: Sequence[float] = start.centre
    inverse = None
    if len(told) > 4 * _SAMPLE:
        sample = told[:: len(told) // _SAMPLE]
        rough = minimise(spend_objective(sample, belief, large=large), point, tolerance=1e-6)
        point, inverse = rough.point, rough.inverse
    best = minimise(spend_objective(told, belief, large=large), point, inverse=inverse)
    p, q_above, v = map(exp, best.point)
    penalty = belief.penalty(best.point)[0] if belief else 0.0
    return SpendingFit(
        model=Spending(p, 1 + q_above, v),
        log_likelihood=penalty - len(told) * best.value,
        customers=len(told),
        evaluations=best.evaluations,
        converged=best.converged,
    )


def _default_prior(mean: float) -> Prior:
    """Purchases vary by half of a customer's mean, and these means by as much."""
    p, q_above = 4.0, 4.0
    return Prior(centre=(log(p), log(q_above), log(mean * q_above / p)), width=(1.0, 1.0, 1.0))


def spend_objective(
    means: Sequence[tuple[int, float]], prior: Prior | None, *, large: int = LARGE
) -> Objective:
    """Minus the mean log-posterior per customer, of the logarithms of p, q - 1 and v."""
    customers = len(means)
    counts = Counter(x for x, _ in means)
    totals = [(x, x * z) for x, z in means]
    # What is summed of the means alone does not change from point to point.
    fixed = sum(log(z) for _, z in means)
    weighted = sum(x * log(z) for x, z in means) + sum(n * x * log(x) for x, n in counts.items())
    vectorised = customers >= large and find_spec("numpy") is not None
    of_totals = (_numpy_sums if vectorised else _sums)(totals)

    def at(point: Sequence[float]) -> tuple[float, list[float]]:
        p, q_above, v = map(exp, point)
        q = 1 + q_above
        logs, logs_by_x, inverses, inverses_by_x = of_totals(v)
        value = customers * (q * log(v) - lgamma(q)) + p * weighted - fixed
        value -= p * logs_by_x + q * logs
        d_p, d_q = weighted - logs_by_x, customers * (log(v) - digamma(q)) - logs
        d_v = customers * q / v - p * inverses_by_x - q * inverses
        for x, n in counts.items():
            value += n * (lgamma(p * x + q) - lgamma(p * x))
            both = digamma(p * x + q)
            d_p += n * x * (both - digamma(p * x))
            d_q += n * both
        value, gradient = -value, [-d_p * p, -d_q * q_above, -d_v * v]
        if prior:
            penalty, slope = prior.penalty(point)
            value += penalty
            gradient = [g + s for g, s in zip(gradient, slope, strict=True)]
        return value / customers, [g / customers for g in gradient]

    return at


def _sums(totals: Sequence[tuple[int, float]]) -> TotalSums:
    def at(v: float) -> tuple[float, float, float, float]:
        logs = logs_by_x = inverses = inverses_by_x = 0.0
        for x, total in totals:
            known = v + total
            grown, inverse = log(known), 1 / known
            logs += grown
            logs_by_x += x * grown
            inverses += inverse
            inverses_by_x += x * inverse
        return logs, logs_by_x, inverses, inverses_by_x

    return at


def _numpy_sums(totals: Sequence[tuple[int, float]]) -> TotalSums:
    np: Any = import_module("numpy")  # an optional guest: its types are not at hand
    x, total = np.array(totals, dtype=float).T

    def at(v: float) -> tuple[float, float, float, float]:
        known = v + total
        logs, inverses = np.log(known), 1 / known
        return float(logs.sum()), float(x @ logs), float(inverses.sum()), float(x @ inverses)

    return at
