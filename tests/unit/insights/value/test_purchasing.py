"""Predictions of purchases, against publications, exact arithmetic and simulation."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import islice

import pytest

from crmkit.insights.value.hiatus import Hiatus, hiatus_rule
from crmkit.insights.value.likelihood import fit_purchasing
from crmkit.insights.value.purchasing import Kind, Purchasing, in_counts, tails
from crmkit.insights.value.summaries import Summary
from tests.cdnow import summaries

BG = Purchasing("bg", 0.243, 4.414, 0.793, 2.426)
MBG = Purchasing("mbg", 0.525, 6.183, 0.891, 1.614)


def published_form(model: Purchasing, x: int, age: float, horizon: float) -> float:
    """Expected purchases if active by Fader, Hardie & Lee's equation, to 60 digits."""
    with localcontext() as context:
        context.prec = 60
        r, alpha, a, b = (Decimal(v) for v in (model.r, model.alpha, model.a, model.b))
        staying = b + x + (model.kind == "mbg")
        aged, t = alpha + Decimal(age), Decimal(horizon)
        z = t / (aged + t)
        c = a + staying - 1
        term = total = Decimal(1)
        n = 0
        while term > total * Decimal(10) ** -55:
            term *= (r + x + n) * (staying + n) / ((c + n) * (n + 1)) * z
            total += term
            n += 1
        return float(c / (a - 1) * (1 - (aged / (aged + t)) ** (r + x) * total))


def test_the_published_example() -> None:
    """Two repeat purchases, the last in week 30.43 of 38.86: 1.226 within 39 weeks."""
    weeks = [Summary(s.frequency, s.recency / 7, s.age / 7) for s in summaries()]
    model = fit_purchasing(weeks, "bg", None).model
    assert model.expected(2, 213 / 7, 272 / 7, 39) == pytest.approx(1.226, abs=5e-4)
    assert BG.expected(2, 30.43, 38.86, 39) == pytest.approx(1.226, abs=5e-4)


@pytest.mark.parametrize("kind", ["mbg", "bg"])
@pytest.mark.parametrize(
    ("r", "alpha", "a", "b", "x", "age", "horizon"),
    [
        (0.243, 4.414, 0.793, 2.426, 2, 38.86, 39),
        (0.525, 6.183, 0.891, 1.614, 0, 0, 1),
        (0.525, 6.183, 1.0001, 1.614, 40, 52, 520),
        (3.5, 20, 2.5, 0.4, 1, 3, 365),
        (0.05, 0.3, 0.02, 0.3, 3, 10, 300),
        (0.7, 40, 8e-7, 12_226, 5, 180, 365),
        (0.5, 4, 0.9, 2.4, 0, 0, 400),
        (8, 2, 3, 5, 900, 700, 365),
        (2, 1, 0.5, 0.3, 1500, 1400, 3000),
    ],
)
def test_expected_purchases_to_ten_digits(
    kind: Kind, r: float, alpha: float, a: float, b: float, x: int, age: float, horizon: float
) -> None:
    """By series or by integral, wherever the parameters lie."""
    model = Purchasing(kind, r, alpha, a, b)
    exact = published_form(model, x, age, horizon)
    assert model.expected_if_active(x, age, horizon) == pytest.approx(exact, rel=1e-10)


def test_the_pole_of_the_published_form_is_none_here() -> None:
    at, near = (Purchasing("mbg", 0.5, 6, a, 1.6).expected(3, 20, 30, 52) for a in (1, 1 + 1e-9))
    assert at == pytest.approx(near, rel=1e-8)


def test_series_and_integral_meet_where_one_takes_over() -> None:
    """A horizon of 0.97 of the time known and to come; a hair to either side."""
    edge = 4.0 * 0.97 / 0.03
    before, after = (
        Purchasing("mbg", 0.5, 4, 0.9, 2.4).expected_if_active(0, 0, edge * by)
        for by in (1 - 1e-12, 1 + 1e-12)
    )
    assert after == pytest.approx(before, rel=1e-10)


@pytest.mark.parametrize("model", [MBG, BG, hiatus_rule([Summary(2, 30, 40)] * 9, 60)])
@pytest.mark.parametrize("seen", [(0, 0, 0), (0, 0, 60), (2, 30, 39), (30, 200, 210)])
def test_the_counts_agree_with_the_rest(
    model: Purchasing | Hiatus, seen: tuple[int, float, float]
) -> None:
    """Their sum is 1, their mean what is expected, and what is not none is a return."""
    chances = model.counts(*seen, 52)
    assert sum(chances) == pytest.approx(1, abs=1e-12)
    mean = sum(k * chance for k, chance in enumerate(chances))
    assert mean == pytest.approx(model.expected(*seen, 52), rel=1e-8)
    assert 1 - chances[0] == pytest.approx(model.returning(*seen, 52), abs=1e-12)


def test_counts_of_heavy_tails_come_to_an_end() -> None:
    """The negative binomial of shape 0.01 and mean 10,000: what is beyond the end is one chance."""
    chances = in_counts(tails(0.01, 1e6))
    assert sum(chances) == pytest.approx(1, abs=1e-9)
    assert len(chances) == 5_001
    assert list(islice(tails(2, 0), 2)) == [0, 0]


def test_one_purchase_is_a_certain_return_under_neither_model() -> None:
    """The BG/NBD takes whoever bought once for active; the chance of a return still falls."""
    assert BG.active(0, 0, 500) == 1
    assert MBG.active(0, 0, 500) < 0.2
    for model in (BG, MBG):
        assert model.returning(0, 0, 500, 39) < model.returning(0, 0, 5, 39) / 5


def test_under_the_mbg_nobody_is_certain_to_be_active() -> None:
    """Whatever b, be it one for which b + 1 - 1 is less than b in floats."""
    odd = [b / 997 for b in range(1, 3_000)]
    assert any(b + 1 - 1 < b for b in odd)
    assert all(Purchasing("mbg", 0.5, 6, 0.9, b).active(0, 0, 500) < 0.7 for b in odd)


@pytest.mark.parametrize("kind", ["mbg", "bg"])
def test_no_argument_is_too_far_out(kind: Kind) -> None:
    """Odds that floats cannot hold are chances of 0, not errors."""
    model = Purchasing(kind, 0.5, 1e-3, 1e-3, 2)
    assert model.active(5_000, 1, 100_000) == 0
    assert model.returning(5_000, 1, 100_000, 365) == 0
    assert model.active(5_000, 99_999, 100_000) > 0.99
    assert Purchasing(kind, 1e-4, 1e5, 1e3, 1e-3).expected(0, 0, 0, 365) >= 0


def simulated(model: Purchasing, rng: random.Random, until: float) -> Iterator[float]:
    """The moments of a customer's repeat purchases."""
    rate = rng.gammavariate(model.r, 1 / model.alpha)
    leaving = rng.betavariate(model.a, model.b)
    now = 0.0
    if model.kind == "mbg" and rng.random() < leaving:
        return
    while (now := now + rng.expovariate(rate)) <= until:
        yield now
        if rng.random() < leaving:
            return


@pytest.mark.parametrize("kind", ["mbg", "bg"])
def test_what_is_predicted_comes_true_in_simulation(kind: Kind) -> None:
    """By number of repeat purchases: as many return, and buy, as predicted, within 4 deviations."""
    model, age, horizon = Purchasing(kind, 0.7, 10, 0.8, 1.6), 30.0, 40.0
    rng = random.Random(11)
    groups: defaultdict[int, list[tuple[float, float, float]]] = defaultdict(list)
    for _ in range(12_000):
        moments = list(simulated(model, rng, age + horizon))
        known = [t for t in moments if t <= age]
        x, later = len(known), len(moments) - len(known)
        seen = (x, known[-1] if known else 0.0, age)
        chance = model.returning(*seen, horizon)
        expected = model.expected(*seen, horizon)
        groups[min(x, 3)].append(((later > 0) - chance, later - expected, chance))
    assert sorted(groups) == [0, 1, 2, 3]
    for found in groups.values():
        n = len(found)
        for off in zip(*(row[:2] for row in found), strict=True):
            assert abs(sum(off)) < 4 * sum(e * e for e in off) ** 0.5, n
