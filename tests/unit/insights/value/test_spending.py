"""The model of spending, and functions it needs."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb

import pytest

from crmkit.errors import InvalidInput
from crmkit.insights.value.fitting import Prior
from crmkit.insights.value.likelihood import PriorName
from crmkit.insights.value.special import digamma, incomplete_beta
from crmkit.insights.value.spending import Spending, fit_spending, spend_objective
from crmkit.insights.value.summaries import Summary
from tests.cdnow import summaries


def test_the_published_parameters() -> None:
    fit = fit_spending(summaries(), None)
    assert (round(fit.model.p, 2), round(fit.model.q, 2)) == (6.25, 3.74)
    assert fit.model.v == pytest.approx(15.44, abs=0.01)
    assert (fit.customers, fit.converged) == (946, True)


def test_the_expected_mean_lies_between_own_and_everybody_s() -> None:
    """The nearer to the customer's own the more purchases there are."""
    model = Spending(6.25, 3.74, 15.44)
    everybody = model.expected()
    assert everybody == pytest.approx(35.2, abs=0.05)
    means = [model.expected(x, 80.0) for x in (1, 2, 5, 50)]
    assert [everybody, *means, 80] == sorted([everybody, *means, 80])


@pytest.mark.parametrize("prior", [None, Prior((1, 0, 2), (1, 2, 0.5))])
@pytest.mark.parametrize("point", [(0.0, 0.0, 0.0), (2, -2, 4), (-3, 3, -2)])
def test_the_gradient_is_that_of_the_value(
    prior: Prior | None, point: tuple[float, float, float]
) -> None:
    at = spend_objective([(1, 12.5), (1, 3.0), (7, 20.0), (400, 9.0)], prior)
    _, gradient = at(point)
    for i, slope in enumerate(gradient):
        step = 1e-5
        ahead, _ = at([x + step * (i == j) for j, x in enumerate(point)])
        behind, _ = at([x - step * (i == j) for j, x in enumerate(point)])
        assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_another_unit_of_money_changes_v_alone() -> None:
    cents = [Summary(s.frequency, s.recency, s.age, s.monetary * 100) for s in summaries()]
    dollars, minor = fit_spending(summaries()).model, fit_spending(cents).model
    assert minor.p == pytest.approx(dollars.p, rel=1e-6)
    assert minor.q == pytest.approx(dollars.q, rel=1e-6)
    assert minor.v == pytest.approx(100 * dollars.v, rel=1e-6)


def test_a_large_fit_starts_on_some_and_ends_on_all() -> None:
    """Twenty of each: the best without a prior is where it was, after few looks at all."""
    many, plain = fit_spending(summaries() * 20, None), fit_spending(summaries(), None)
    assert many.model.q == pytest.approx(plain.model.q, rel=1e-6)
    assert many.evaluations < plain.evaluations / 2


@pytest.mark.parametrize("prior", [None, "default"])
def test_numpy_gives_the_same_answer(prior: PriorName | None) -> None:
    pytest.importorskip("numpy")
    pure = fit_spending(summaries(), prior, large=10**9)
    fast = fit_spending(summaries(), prior, large=0)
    for name in ("p", "q", "v"):
        assert getattr(fast.model, name) == pytest.approx(getattr(pure.model, name), rel=1e-6)


def test_nothing_to_fit_where_nobody_paid_again() -> None:
    with pytest.raises(InvalidInput, match="positive spend"):
        fit_spending([Summary(0, 0, 9), Summary(2, 5, 9, 0.0)])


def test_one_customer_is_enough_with_the_prior() -> None:
    """One who spent 40 three times: of others about as much is expected, of them too."""
    model = fit_spending([Summary(3, 20, 30, 40.0)]).model
    assert 25 < model.expected() < 60
    assert 30 < model.expected(3, 40.0) < 50


def test_the_chance_of_a_sum_is_that_of_a_simulation() -> None:
    """Three more purchases after two of 20: drawn by the model's own recipe."""
    model, rng = Spending(6.25, 3.74, 15.44), random.Random(4)
    drawn = []
    for _ in range(20_000):
        rate = rng.gammavariate(model.q + 2 * model.p, 1 / (model.v + 40))
        drawn.append(rng.gammavariate(3 * model.p, 1 / rate))
    for amount in (40, 65, 100):
        chance = model.at_most(amount, 3, 2, 20.0)
        assert sum(s <= amount for s in drawn) / len(drawn) == pytest.approx(chance, abs=0.015)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 5), (30, 7), (3, 60), (40, 50)])
@pytest.mark.parametrize("x", [0.0, 0.01, 0.3, 0.5, 0.9, 1.0])
def test_the_incomplete_beta_to_twelve_digits(a: int, b: int, x: float) -> None:
    """For whole numbers it is a binomial's tail, added up in fractions."""
    n, p = a + b - 1, Fraction(x)
    exact = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(a, n + 1))
    assert incomplete_beta(a, b, x) == pytest.approx(float(exact), rel=1e-11, abs=1e-13)


def test_the_digamma_of_known_values() -> None:
    gamma = 0.57721566490153286
    assert digamma(1) == pytest.approx(-gamma, rel=1e-14)
    assert digamma(0.5) == pytest.approx(-gamma - 1.3862943611198906, rel=1e-14)
    assert digamma(1e-3) == pytest.approx(-1000.5755719318103, rel=1e-13)
    assert digamma(1e6) == pytest.approx(13.815510057964191, rel=1e-14)
