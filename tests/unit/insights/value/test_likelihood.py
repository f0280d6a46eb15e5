"""Fits of the models of purchasing, held to what was published and to arithmetic."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from math import exp, log

import pytest

from crmkit.errors import InvalidInput
from crmkit.insights.value.fitting import Prior
from crmkit.insights.value.likelihood import PriorName, fit_purchasing, objective
from crmkit.insights.value.purchasing import Kind, Purchasing
from crmkit.insights.value.summaries import Row, Summary
from tests.cdnow import summaries

ROWS = [
    Row(0, 0, 0, 3), Row(0, 0, 9, 2), Row(1, 2, 9, 1), Row(2, 8, 9, 4), Row(9, 8, 8, 1),
    Row(700, 650, 2_000, 1),
]  # fmt: skip
"""The last has odds of having left beyond what exp can hold."""


def in_weeks() -> list[Summary]:
    return [Summary(s.frequency, s.recency / 7, s.age / 7, s.monetary) for s in summaries()]


@pytest.mark.parametrize(
    ("kind", "published", "likelihood"),
    [
        ("bg", (0.243, 4.414, 0.793, 2.426), -9582.4),
        ("mbg", (0.525, 6.183, 0.891, 1.614), -9582.14),
    ],
)
def test_the_published_parameters(
    kind: Kind, published: Sequence[float], likelihood: float
) -> None:
    fit = fit_purchasing(in_weeks(), kind, None)
    found = (fit.model.r, fit.model.alpha, fit.model.a, fit.model.b)
    assert [round(value, 3) for value in found] == list(published)
    assert fit.log_likelihood == pytest.approx(likelihood, abs=0.04)
    assert (fit.customers, fit.repeating, fit.converged) == (2357, 946, True)


def test_the_time_unit_changes_alpha_alone() -> None:
    """In days alpha is seven times that in weeks, and each repeat purchase is likelier by log 7."""
    weeks, days = fit_purchasing(in_weeks()), fit_purchasing(summaries())
    repeats = sum(s.frequency for s in summaries())
    for name in ("r", "a", "b"):
        assert getattr(days.model, name) == pytest.approx(getattr(weeks.model, name), rel=1e-6)
    assert days.model.alpha == pytest.approx(7 * weeks.model.alpha, rel=1e-6)
    shift = repeats * log(7)
    assert days.log_likelihood == pytest.approx(weeks.log_likelihood - shift, abs=1e-4)


def test_a_large_fit_starts_from_rounded_times_and_ends_at_the_same_place() -> None:
    """Nearly as many different rows as customers: the fit is run twice, the last time on all."""
    rng = random.Random(5)
    spread = [
        Summary(s.frequency, s.recency + (s.frequency > 0) * d, s.age + d)
        for s in summaries()
        for d in (rng.random(), rng.random(), rng.random(), rng.random())
    ]
    plain = fit_purchasing(summaries(), "mbg", None)
    fit = fit_purchasing(spread, "mbg", None)
    assert fit.rows > 3_000
    assert fit.evaluations < plain.evaluations / 2
    assert fit.model.a == pytest.approx(plain.model.a, rel=0.02)
    assert fit.model.alpha == pytest.approx(plain.model.alpha, rel=0.02)


@pytest.mark.parametrize("kind", ["mbg", "bg"])
@pytest.mark.parametrize("prior", [None, Prior((0.5, 1, -1, 0.2), (1, 2, 0.5, 1))])
@pytest.mark.parametrize("point", [(0.0, 0.0, 0.0, 0.0), (-3, 2, 1, -2), (3, -2, -4, 5)])
def test_the_gradient_is_that_of_the_value(
    kind: Kind, prior: Prior | None, point: Sequence[float]
) -> None:
    at = objective(ROWS, kind, prior)
    _, gradient = at(point)
    for i, slope in enumerate(gradient):
        step = 1e-5
        ahead, _ = at([x + step * (i == j) for j, x in enumerate(point)])
        behind, _ = at([x - step * (i == j) for j, x in enumerate(point)])
        assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", ["mbg", "bg"])
def test_the_likelihood_of_all_that_may_happen_is_one(kind: Kind) -> None:
    """Of none by 2 it is the chance of none; of one, summed over its moment, that of one."""
    point = [log(0.6), log(1.5), log(0.8), log(1.2)]

    def likely(row: Row) -> float:
        value, _ = objective([row], kind, None)(point)
        return exp(-value)

    steps = 2_000
    moments = [2 * (i + 0.5) / steps for i in range(steps)]
    once = sum(likely(Row(1, t, 2, 1)) for t in moments) * 2 / steps
    chances = Purchasing(kind, 0.6, 1.5, 0.8, 1.2).counts(0, 0, 0, 2)
    assert likely(Row(0, 0, 2, 1)) == pytest.approx(chances[0], rel=1e-12)
    assert once == pytest.approx(chances[1], rel=1e-6)


@pytest.mark.parametrize("kind", ["mbg", "bg"])
@pytest.mark.parametrize("prior", [None, "default"])
def test_numpy_gives_the_same_answer(kind: Kind, prior: PriorName | None) -> None:
    pytest.importorskip("numpy")
    pure = fit_purchasing(summaries(), kind, prior, large=10**9)
    fast = fit_purchasing(summaries(), kind, prior, large=0)
    for name in ("r", "alpha", "a", "b"):
        assert getattr(fast.model, name) == pytest.approx(getattr(pure.model, name), rel=1e-6)
    assert fast.log_likelihood == pytest.approx(pure.log_likelihood, rel=1e-9)


def test_small_fits_do_not_wait_for_numpy() -> None:
    """Its import takes longer than such a fit."""
    code = (
        "import sys; from crmkit.insights.value import backtest, predicting; "
        "from crmkit.insights.value.summaries import Summary; "
        "from crmkit.insights.value.choosing import fit_value; "
        "fit_value([Summary(1, n, 40, 9.0) for n in range(1, 30)], 90); "
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_numpy_bears_the_same_extremes() -> None:
    pytest.importorskip("numpy")
    point = (3, -2, -4, 5)
    pure, fast = (objective(ROWS, "mbg", None, large=n)(point) for n in (10**9, 0))
    assert fast[0] == pytest.approx(pure[0], rel=1e-12)
    assert fast[1] == pytest.approx(pure[1], rel=1e-9)


def test_nothing_to_fit_where_everybody_is_new() -> None:
    with pytest.raises(InvalidInput, match="before the last day"):
        fit_purchasing([Summary(0, 0, 0)])
    with pytest.raises(InvalidInput):
        fit_purchasing([])


def test_the_prior_keeps_few_customers_in_the_possible() -> None:
    """Three alike: without a prior the best rate has no spread at all, and no end."""
    alike = [Summary(4, 80, 90)] * 3
    flat, kept = fit_purchasing(alike, "mbg", None), fit_purchasing(alike)
    assert flat.model.r > 100
    assert 0.1 < kept.model.r < 10
    assert kept.converged
