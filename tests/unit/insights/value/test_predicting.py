"""Predicted values and their bounds."""

from __future__ import annotations

import random
from statistics import quantiles

import pytest

from crmkit.errors import InvalidInput
from crmkit.insights.value.choosing import fit_value
from crmkit.insights.value.hiatus import Hiatus
from crmkit.insights.value.predicting import forecasts, predict
from crmkit.insights.value.purchasing import Purchasing
from crmkit.insights.value.spending import Spending
from crmkit.insights.value.summaries import Summary
from tests.cdnow import HORIZON_DAYS, cases

MODEL = Purchasing("mbg", 0.525, 6.183, 0.891, 1.614)
SPEND = Spending(6.25, 3.74, 15.44)
LOYAL = Summary(20, 50, 52, 30.0)


def test_the_value_is_purchases_times_spend() -> None:
    found = predict(MODEL, SPEND, LOYAL, 52)
    assert found.expected_purchases == MODEL.expected(20, 50, 52, 52)
    assert found.spend_per_purchase == SPEND.expected(20, 30.0)
    assert found.value == found.expected_purchases * found.spend_per_purchase
    assert found.p_active == MODEL.returning(20, 50, 52, 52)


def test_the_bounds_are_those_of_a_simulation() -> None:
    """Active or not, a rate, a chance to leave, a level of spend: all drawn anew each time."""
    rng, model, x = random.Random(3), MODEL, LOYAL.frequency
    drawn = []
    for _ in range(20_000):
        spent, now = 0.0, 0.0
        if rng.random() < model.active(x, LOYAL.recency, LOYAL.age):
            rate = rng.gammavariate(model.r + x, 1 / (model.alpha + LOYAL.age))
            leaving = rng.betavariate(model.a, model.b + x + 1)
            level = rng.gammavariate(SPEND.q + SPEND.p * x, 1 / (SPEND.v + x * LOYAL.monetary))
            while (now := now + rng.expovariate(rate)) <= 52:
                spent += rng.gammavariate(SPEND.p, 1 / level)
                if rng.random() < leaving:
                    break
        drawn.append(spent)
    tenths = quantiles(drawn, n=10)
    found = predict(model, SPEND, LOYAL, 52)
    assert found.low == pytest.approx(tenths[0], rel=0.1)
    assert found.high == pytest.approx(tenths[8], rel=0.02)
    assert found.value == pytest.approx(sum(drawn) / len(drawn), rel=0.03)


def test_the_bounds_hold_on_real_data() -> None:
    """Of the customers about a tenth spend more than the upper bound, and nobody much less."""
    sample = cases()[::6]
    fit = fit_value([case.summary for case in cases()], 180)
    assert fit.spend is not None
    above = below = 0
    for case in sample:
        found = predict(fit.frequency, fit.spend.model, case.summary, HORIZON_DAYS)
        assert found.low is not None
        assert found.high is not None
        above += case.spend > found.high
        below += case.spend < found.low
    assert 0.07 < above / len(sample) < 0.16
    assert below / len(sample) < 0.02


def test_wider_bounds_for_a_higher_level() -> None:
    bounds = [predict(MODEL, SPEND, LOYAL, 52, level=level) for level in (0.5, 0.8, 0.95)]
    lows, highs = [b.low or 0.0 for b in bounds], [b.high or 0.0 for b in bounds]
    assert lows == sorted(lows, reverse=True)
    assert highs == sorted(highs)


def test_where_nothing_is_likely_the_bounds_are_nothing() -> None:
    """Bought once, a year ago: with nine in ten such nothing is spent any more."""
    found = predict(MODEL, SPEND, Summary(0, 0, 200), 10)
    assert (found.low, found.high) == (0, 0)
    assert found.value is not None
    assert found.value > 0


def test_a_discount_takes_from_what_is_far_off() -> None:
    """Less than half a year's interest, for customers leave and so buy sooner than later."""
    plain = predict(MODEL, SPEND, LOYAL, 52)
    less = predict(MODEL, SPEND, LOYAL, 52, discount=0.2 / 52)
    assert plain.value is not None
    assert less.value is not None
    assert plain.high is not None
    assert plain.value * 0.9 < less.value < plain.value * 0.95
    assert less.high == pytest.approx(plain.high * less.value / plain.value)
    assert less.expected_purchases == plain.expected_purchases


def test_a_discount_of_even_purchases_is_known() -> None:
    """Nobody leaves: the mean of 1.01^-t over 100 days."""
    rule = Hiatus(60, 0.1, 50)
    plain = predict(rule, SPEND, Summary(5, 50, 50, 20.0), 100)
    less = predict(rule, SPEND, Summary(5, 50, 50, 20.0), 100, discount=0.01)
    mean = (1 - 1.01**-100) / (100 * 0.009950330853168092)
    assert plain.value is not None
    assert less.value == pytest.approx(plain.value * mean, rel=1e-3)


def test_without_a_model_of_spending_there_is_no_value() -> None:
    found = predict(MODEL, None, LOYAL, 52)
    assert found.expected_purchases > 0
    assert (found.value, found.low, found.high, found.spend_per_purchase) == (None,) * 4


def test_who_is_gone_is_worth_nothing() -> None:
    found = predict(Hiatus(60, 0.1, 50), SPEND, Summary(9, 30, 300, 20.0), 365, discount=0.01)
    assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(
    "asked", [{"level": 0.0}, {"level": 1.0}, {"discount": -0.1}, {"horizon": 0.0}]
)
def test_what_makes_no_sense_is_refused(asked: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        predict(MODEL, SPEND, LOYAL, **({"horizon": 52.0} | asked))


def test_many_are_told_the_same_as_one() -> None:
    seen = [LOYAL, Summary(0, 0, 52), Summary(20, 10, 52, 30.0), LOYAL]
    for summary, found in zip(seen, forecasts(MODEL, SPEND, seen, 39), strict=True):
        alone = predict(MODEL, SPEND, summary, 39)
        assert found == pytest.approx((alone.expected_purchases, alone.p_active, alone.value))
    assert [f.value for f in forecasts(MODEL, None, seen, 39)] == [None] * 4
