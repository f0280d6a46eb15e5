"""Fitting a model of purchasing: log-likelihood with its gradient, and the maximum of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from math import exp, lgamma, log, log1p
from typing import Any, Final, Literal, TypeAlias

import attrs

from crmkit.errors import InvalidInput
from crmkit.insights.value.fitting import Minimum, Objective, Prior, minimise
from crmkit.insights.value.purchasing import Kind, Purchasing
from crmkit.insights.value.special import digamma
from crmkit.insights.value.summaries import Row, Summary, merged

PriorName: TypeAlias = Literal["default"]

LARGE: Final = 20_000
"""Rows from which on numpy, where it is there, is worth its import."""

_COARSE: Final = 20
"""Steps of time of the rough data on which a large fit starts."""

Shares: TypeAlias = Mapping[int, float]
"""Something for each number of repeat purchases."""

Leaving: TypeAlias = Callable[[float, float, Shares], tuple[float, float, float, Shares]]
"""What the chance of having left adds to the log-likelihood, to its derivatives by r and alpha,
and how many customers of each number of purchases it takes for gone; of r, alpha, and the
logarithm of the odds of having left at the last purchase."""


@attrs.frozen
class PurchasingFit:
    """A fitted model of purchasing, and how well it went.

    `log_likelihood` is that of the data alone, without the prior. `customers` is the number of
    customers, `repeating` of those with a repeat purchase.
    """

    model: Purchasing
    log_likelihood: float
    customers: int
    repeating: int
    rows: int
    evaluations: int
    converged: bool


def fit_purchasing(
    summaries: Iterable[Summary],
    kind: Kind = "mbg",
    prior: PriorName | None = "default",
    *,
    large: int = LARGE,
) -> PurchasingFit:
    """The model with the greatest posterior density, or likelihood without a prior.

    The default prior is log-normal on each parameter, about what customers usually do; it is
    worth a handful of customers, and keeps a fit on few of them in the possible. `large` is
    the number of unequal customers from which on numpy is used. Raises `InvalidInput` where
    nobody has an age above 0.
    """
    rows = merged(summaries)
    customers = sum(row.weight for row in rows)
    if not any(row.age for row in rows):
        raise InvalidInput("expected customers who were first seen before the last day")
    belief = _default_prior(rows)
    best = _fit(rows, kind, belief, belief if prior else None, large)
    r, alpha, a, b = map(exp, best.point)
    penalty = belief.penalty(best.point)[0] if prior else 0.0
    return PurchasingFit(
        model=Purchasing(kind, r, alpha, a, b),
        log_likelihood=penalty - best.value * customers,
        customers=customers,
        repeating=sum(row.weight for row in rows if row.frequency),
        rows=len(rows),
        evaluations=best.evaluations,
        converged=best.converged,
    )


def _default_prior(rows: Sequence[Row]) -> Prior:
    """Centres that hold for any time unit, and for a tenth to ten times as much each.

    `alpha` is where the mean rate is that of the data, if half of the time that customers
    are known they are customers.
    """
    lived = sum(row.age * row.weight for row in rows)
    bought = sum(row.frequency * row.weight for row in rows)
    r, a, b = 0.7, 0.8, 1.2
    alpha = r * lived / 2 / (bought + 1)
    return Prior(centre=(log(r), log(alpha), log(a), log(b)), width=(1.0, 1.0, 1.0, 1.0))


def _fit(rows: Sequence[Row], kind: Kind, start: Prior, prior: Prior | None, large: int) -> Minimum:
    coarse = _coarse(rows)
    # A fit on rounded times ends near enough that few looks at all rows are needed.
    if len(coarse) * 4 > len(rows):
        return minimise(objective(rows, kind, prior, large=large), start.centre)
    rough = minimise(objective(coarse, kind, prior, large=large), start.centre, tolerance=1e-6)
    exact = objective(rows, kind, prior, large=large)
    return minimise(exact, rough.point, inverse=rough.inverse)


def _coarse(rows: Sequence[Row]) -> list[Row]:
    step = max(row.age for row in rows) / _COARSE
    alike: defaultdict[tuple[int, float, float], int] = defaultdict(int)
    for x, recency, age, weight in rows:
        alike[x, round(recency / step) * step, round(age / step) * step] += weight
    return [Row(*row, weight) for row, weight in alike.items()]


def objective(
    rows: Sequence[Row], kind: Kind, prior: Prior | None, *, large: int = LARGE
) -> Objective:
    """Minus the mean log-posterior per customer, of the logarithms of r, alpha, a and b.

    The likelihood of a customer is that of x purchases if all stayed, times
    (alpha + T)^-(r + x) · (1 + odds of having left). The first factor depends on x alone
    and (alpha + T)^-(r + x) on T, so that only the odds are taken row by row.
    """
    modified = int(kind == "mbg")
    customers = sum(row.weight for row in rows)
    counts: defaultdict[int, int] = defaultdict(int)
    ages: defaultdict[float, list[int]] = defaultdict(lambda: [0, 0])
    for x, _, age, weight in rows:
        counts[x] += weight
        ages[age][0] += weight
        ages[age][1] += weight * x
    at_risk = [row for row in rows if row.frequency or modified]
    vectorised = len(rows) >= large and find_spec("numpy") is not None
    leaving = _leaving_with_numpy(at_risk) if vectorised else _leaving(at_risk)

    def at(point: Sequence[float]) -> tuple[float, list[float]]:
        r, alpha, a, b = map(exp, point)
        value, d_r, d_alpha, d_a, d_b = _of_counts(counts, r, a, b, modified)
        value += customers * r * log(alpha)
        d_r += customers * log(alpha)
        d_alpha += customers * r / alpha
        for age, (n, bought) in ages.items():
            stays = log(alpha + age)
            value -= (r * n + bought) * stays
            d_r -= n * stays
            d_alpha -= (r * n + bought) / (alpha + age)
        odds = {x: log(a / (b + x + modified - 1)) for x in counts if x or modified}
        value_left, d_r_left, d_alpha_left, gone = leaving(r, alpha, odds)
        value, d_r, d_alpha = value + value_left, d_r + d_r_left, d_alpha + d_alpha_left
        d_a += sum(gone.values()) / a
        d_b -= sum(left / (b + x + modified - 1) for x, left in gone.items())
        gradient = [-d_r * r, -d_alpha * alpha, -d_a * a, -d_b * b]
        value = -value
        if prior:
            penalty, slope = prior.penalty(point)
            value += penalty
            gradient = [g + s for g, s in zip(gradient, slope, strict=True)]
        return value / customers, [g / customers for g in gradient]

    return at


def _of_counts(
    counts: Shares, r: float, a: float, b: float, modified: int
) -> tuple[float, float, float, float, float]:
    """The part that depends on the number of purchases alone, by r, alpha, a and b."""
    value = d_r = d_a = d_b = 0.0
    of_r, of_b, of_ab = lgamma(r), lgamma(b), lgamma(a + b)
    slope_r, slope_b, slope_ab = digamma(r), digamma(b), digamma(a + b)
    for x, weight in counts.items():
        stayed = x + modified
        value += weight * (lgamma(r + x) - of_r + lgamma(b + stayed) - of_b)
        value -= weight * (lgamma(a + b + stayed) - of_ab)
        both = slope_ab - digamma(a + b + stayed)
        d_r += weight * (digamma(r + x) - slope_r)
        d_a += weight * both
        d_b += weight * (both + digamma(b + stayed) - slope_b)
    return value, d_r, 0.0, d_a, d_b


def _leaving(rows: Sequence[Row]) -> Leaving:
    """In the standard library alone: the logarithms are taken once for each distinct time."""
    times = sorted({t for row in rows for t in (row.recency, row.age)})
    place = {t: i for i, t in enumerate(times)}
    groups: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for x, recency, age, weight in rows:
        groups[x].append((place[recency], place[age], weight))

    def at(r: float, alpha: float, odds: Shares) -> tuple[float, float, float, Shares]:
        logs = [log(alpha + t) for t in times]
        inverses = [1 / (alpha + t) for t in times]
        value = d_r = d_alpha = 0.0
        gone: dict[int, float] = {}
        for x, group in groups.items():
            start, shape = odds[x], r + x
            all_gone = slope = 0.0
            for i, j, weight in group:
                silence = logs[j] - logs[i]
                odd = start + shape * silence
                # Of a positive and a negative number exp is only taken of the negative.
                if odd > 0:
                    rest = exp(-odd)
                    value += weight * (odd + log1p(rest))
                    left = weight / (1 + rest)
                else:
                    rest = exp(odd)
                    value += weight * log1p(rest)
                    left = weight * rest / (1 + rest)
                all_gone += left
                d_r += left * silence
                slope += left * (inverses[j] - inverses[i])
            gone[x] = all_gone
            d_alpha += shape * slope
        return value, d_r, d_alpha, gone

    return at


def _leaving_with_numpy(rows: Sequence[Row]) -> Leaving:
    """The same over arrays."""
    np: Any = import_module("numpy")  # an optional guest: its types are not at hand
    columns = np.array(rows, dtype=float).T
    counts, (recency, age, weight) = columns[0].astype(int), columns[1:]
    present, place = np.unique(counts, return_inverse=True)

    def at(r: float, alpha: float, odds: Shares) -> tuple[float, float, float, Shares]:
        start = np.array([odds[x] for x in present.tolist()])[place]
        shape = r + counts
        silence = np.log((alpha + age) / (alpha + recency))
        odd = start + shape * silence
        rest = np.exp(-np.abs(odd))
        left = weight * np.where(odd > 0, 1.0, rest) / (1 + rest)
        value = float(weight @ (np.maximum(odd, 0) + np.log1p(rest)))
        slope = shape * (recency - age) / ((alpha + age) * (alpha + recency))
        gone = np.bincount(place, weights=left, minlength=len(present))
        by_count = dict(zip(present.tolist(), gone.tolist(), strict=True))
        return value, float(left @ silence), float(left @ slope), by_count

    return at
