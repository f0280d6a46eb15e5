"""How good the predictions would have been: a model fitted up to a cut, held to what came after."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from math import fsum, sqrt
from typing import Final

import attrs

from crmkit.errors import InvalidInput
from crmkit.insights.value.choosing import FittedModel, Frequency, fit_value
from crmkit.insights.value.likelihood import PriorName
from crmkit.insights.value.predicting import Forecast, forecasts
from crmkit.insights.value.purchasing import Kind
from crmkit.insights.value.summaries import Purchase, Summary, summarise

_LAST_BIN: Final = 7
_WEEK: Final = 7


@attrs.frozen
class Case:
    """A customer's history parted by the cut.

    `summary` is what was known by the cut; `purchases` and `spend` are those of the days after
    it up to the horizon, `purchases` counted by time unit. `repeats` are the days of all
    repeat purchases up to the horizon.
    """

    summary: Summary
    first: date
    repeats: tuple[date, ...]
    purchases: int
    spend: float


@attrs.frozen
class Score:
    """How far predictions were off, per customer and in all.

    `total_error` is the share by which the sum of the predictions is too high, below 0 too
    low; None where there was nothing to predict.
    """

    mae: float
    rmse: float
    predicted: float
    actual: float
    total_error: float | None


@attrs.frozen
class Scores:
    """The same of the model and of two simple rules.

    `naive`: everybody goes on as before. `recency`: so does whoever bought within the
    hiatus, and nobody else comes back.
    """

    model: Score
    naive: Score
    recency: Score


@attrs.frozen
class Bin:
    """Customers with as many repeat purchases by the cut, and what they did after it on average.

    `frequency` is the number of repeat purchases, 7 for 7 and more. `returned` is the share
    who bought again, `p_active` the chance of it that the model gave them.
    """

    frequency: int
    customers: int
    purchases: float
    predicted: float
    naive: float
    returned: float
    p_active: float


@attrs.frozen
class Week:
    """Repeat purchases of all customers from the beginning up to the end of the day `until`."""

    until: date
    actual: int
    expected: float


@attrs.frozen
class Backtest:
    """The outcome: the model, its errors beside those of simple rules, and both curves."""

    cut: date
    horizon_days: int
    model: FittedModel
    customers: int
    purchases: Scores
    spend: Scores | None
    calibration: tuple[Bin, ...]
    tracking: tuple[Week, ...]
    verdict: str


def parted(
    purchases: Iterable[Purchase], cut: date, horizon_days: int, unit_days: int = 1
) -> Case | None:
    """A customer's case; the day of the cut is the last that is known. None if first seen later."""
    purchases = list(purchases)
    summary = summarise(purchases, cut, unit_days)
    if summary is None:
        return None
    end = cut + timedelta(days=horizon_days)
    first = min(day for day, _ in purchases)
    units: dict[int, date] = {}
    for day, _ in sorted(purchases):
        if day <= end:
            units.setdefault((day - first).days // unit_days, day)
    after = [amount for day, amount in purchases if cut < day <= end]
    return Case(
        summary=summary,
        first=first,
        repeats=tuple(day for unit, day in units.items() if unit),
        purchases=len({u for u, day in units.items() if day > cut}),
        spend=fsum(after),
    )


def backtest(
    cases: Sequence[Case],
    cut: date,
    horizon_days: int,
    silence_days: float,
    kind: Kind = "mbg",
    prior: PriorName | None = "default",
    *,
    unit_days: int = 1,
) -> Backtest:
    """Fits on what was known by the cut and compares with what came within the horizon.

    `silence_days` is the hiatus of the recency rule, and of the fall-back. Raises
    `InvalidInput` without customers known by the cut.
    """
    if not cases:
        raise InvalidInput("expected customers who were known by then", field="cut")
    summaries = [case.summary for case in cases]
    silence, horizon = silence_days / unit_days, horizon_days / unit_days
    model = fit_value(summaries, silence, kind, prior)
    spending = model.spend.model if model.spend else None
    found = list(forecasts(model.frequency, spending, summaries, horizon))
    naive = [_as_before(s, horizon) for s in summaries]
    recency = [
        purchases if s.age - s.recency <= silence else 0.0
        for s, purchases in zip(summaries, naive, strict=True)
    ]
    purchases = Scores(
        *(
            score(predicted, [case.purchases for case in cases])
            for predicted in ([f.expected_purchases for f in found], naive, recency)
        )
    )
    spend = _of_spend(cases, found, naive, recency) if spending else None
    return Backtest(
        cut=cut,
        horizon_days=horizon_days,
        model=model,
        customers=len(cases),
        purchases=purchases,
        spend=spend,
        calibration=calibration(cases, found, naive),
        tracking=tracking(cases, model.frequency, cut + timedelta(days=horizon_days), unit_days),
        verdict=verdict(purchases, spend, horizon_days, model.reason),
    )


def _as_before(summary: Summary, horizon: float) -> float:
    return summary.frequency / summary.age * horizon if summary.age else 0.0


def _of_spend(cases: Sequence[Case], found: Sequence[Forecast], *rules: Sequence[float]) -> Scores:
    """The rules take each customer's own mean."""
    actual = [case.spend for case in cases]
    means = [case.summary.monetary for case in cases]
    by_rule = [[n * z for n, z in zip(rule, means, strict=True)] for rule in rules]
    return Scores(*(score(p, actual) for p in ([f.value or 0.0 for f in found], *by_rule)))


def score(predicted: Sequence[float], actual: Sequence[float]) -> Score:
    """The errors of predictions; both must be of the same customers, at least one."""
    off = [p - a for p, a in zip(predicted, actual, strict=True)]
    sums = fsum(predicted), fsum(actual)
    return Score(
        mae=fsum(map(abs, off)) / len(off),
        rmse=sqrt(fsum(e * e for e in off) / len(off)),
        predicted=sums[0],
        actual=sums[1],
        total_error=sums[0] / sums[1] - 1 if sums[1] else None,
    )


def calibration(
    cases: Sequence[Case], found: Sequence[Forecast], naive: Sequence[float]
) -> tuple[Bin, ...]:
    """By the repeat purchases before the cut, those that anybody had."""
    bins: defaultdict[int, list[tuple[float, ...]]] = defaultdict(list)
    for case, forecast, before in zip(cases, found, naive, strict=True):
        actual = case.purchases
        bins[min(case.summary.frequency, _LAST_BIN)].append(
            (actual, forecast.expected_purchases, before, actual > 0, forecast.p_active)
        )
    return tuple(
        Bin(x, len(rows), *(fsum(column) / len(rows) for column in zip(*rows, strict=True)))
        for x, rows in sorted(bins.items())
    )


def tracking(
    cases: Sequence[Case], frequency: Frequency, end: date, unit_days: int = 1
) -> tuple[Week, ...]:
    """Week by week from the first purchase on; the last week ends with the day `end`."""
    births = Counter(case.first for case in cases)
    days = Counter(day for case in cases for day in case.repeats)
    weeks = ((end - min(births)).days + _WEEK - 1) // _WEEK
    by_age: dict[int, float] = {}

    def expected(age: int) -> float:
        if age not in by_age:
            by_age[age] = frequency.expected(0, 0, 0, age / unit_days)
        return by_age[age]

    told = []
    for back in range(weeks - 1, -1, -1):
        until = end - timedelta(days=back * _WEEK)
        actual = sum(n for day, n in days.items() if day <= until)
        born = (((until - first).days, n) for first, n in births.items() if first <= until)
        told.append(Week(until, actual, fsum(n * expected(age) for age, n in born)))
    return tuple(told)


def verdict(purchases: Scores, spend: Scores | None, horizon_days: int, reason: str | None) -> str:
    """Who predicted the purchases best, in plain words.

    And who the spend, if that is another, and why the hiatus rule answered, if it did.
    """
    ours = "the model" if reason is None else "the hiatus rule"
    errors = _errors(purchases, ours)
    best = min(errors, key=lambda name: errors[name])
    told = ", ".join(f"{name} {mae:.2f}" for name, mae in errors.items())
    trust = "predicts best" if best == ours else "predicts better here, trust it more"
    said = [f"Over {horizon_days} days the mean error in purchases was: {told}; {best} {trust}."]
    if spend:
        errors = _errors(spend, ours)
        other = min(errors, key=lambda name: errors[name])
        if other != best and errors[best]:
            less = 1 - errors[other] / errors[best]
            said.append(f"For the spend {other} errs less, by {less:.0%}.")
    if reason is not None:
        said.append(f"The hiatus rule answered: {reason}.")
    return " ".join(said)


def _errors(scores: Scores, ours: str) -> dict[str, float]:
    return {
        ours: scores.model.mae,
        "going on as before": scores.naive.mae,
        "going on as before unless silent for too long": scores.recency.mae,
    }
