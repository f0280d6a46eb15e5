"""How often customers buy and when they leave for good: what the MBG/NBD and BG/NBD models say.

While active, a customer buys at random moments at a rate of their own; rates are spread over
the customers by a gamma distribution with shape `r` and rate `alpha`. After each purchase the
customer leaves for good with a chance of their own, spread by a beta distribution with `a` and
`b`. In the BG/NBD (Fader, Hardie & Lee 2005) nobody leaves right after the first purchase, in
the MBG/NBD (Batislam, Denizel & Filiztekin 2007) they may.

Of a customer with x repeat purchases, the last at t_x, of age T, the models say: still active
with the odds (b + x + m - 1)/a · ((alpha + t_x)/(alpha + T))^(r + x), with m = 1 for the MBG/NBD
and 0 for the BG/NBD (where a customer without a repeat purchase is active); and if active, then
the rate has the gamma distribution (r + x, alpha + T), the chance to leave the beta distribution
(a, b + x + m). Whoever is active still makes the next purchase whatever their chance to leave,
so that the chance of at least one within t is

    P(active) · (1 - ((alpha + T)/(alpha + T + t))^(r + x))

and that of at least k has (b + x + m)_(k-1) / (a + b + x + m)_(k-1) as a factor more, and the
negative binomial's chance of at least k in place of that of at least one. All the rest follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import asinh, cosh, exp, expm1, inf, log, log1p, pi, sinh
from typing import Final, Literal, TypeAlias

import attrs

from crmkit.insights.value.special import log_beta

Kind: TypeAlias = Literal["mbg", "bg"]

_SLOW: Final = 0.97
"""From here on the series of expected purchases takes longer than the integral."""
_UNDERFLOW: Final = 600.0
_PRECISION: Final = 1e-14
_NOTHING: Final = 1e-12
_MOST_COUNTS: Final = 5_000


@attrs.frozen
class Purchasing:
    """An MBG/NBD (`kind` ``mbg``) or BG/NBD (``bg``) model with its four parameters.

    `alpha` is in time units, as are all arguments called `recency`, `age` and `horizon`.
    """

    kind: Kind
    r: float
    alpha: float
    a: float
    b: float

    def active(self, frequency: int, recency: float, age: float) -> float:
        """The chance that the customer has not left for good.

        Not for showing to people: under the BG/NBD it is 1 for everybody who bought once.
        `returning` is the number to show.
        """
        chances_to_leave = frequency + (self.kind == "mbg")
        if not chances_to_leave:
            return 1.0
        silence = log((self.alpha + age) / (self.alpha + recency))
        odds = log(self.a / (self.b + chances_to_leave - 1)) + (self.r + frequency) * silence
        return 1 / (1 + exp(odds)) if odds < 0 else exp(-odds) / (1 + exp(-odds))

    def returning(self, frequency: int, recency: float, age: float, horizon: float) -> float:
        """The chance of at least one purchase within the horizon; exact."""
        active = self.active(frequency, recency, age)
        return active * self.returning_if_active(frequency, age, horizon)

    def expected(self, frequency: int, recency: float, age: float, horizon: float) -> float:
        """How many purchases are expected within the horizon.

        With 0, 0, 0: how many repeat purchases a new customer makes by that age.
        """
        active = self.active(frequency, recency, age)
        return active * self.expected_if_active(frequency, age, horizon)

    def returning_if_active(self, frequency: int, age: float, horizon: float) -> float:
        """The chance of at least one purchase of a customer known not to have left."""
        return -expm1(-(self.r + frequency) * log1p(horizon / (self.alpha + age)))

    def expected_if_active(self, frequency: int, age: float, horizon: float) -> float:
        """How many purchases are expected of a customer known not to have left.

        The published form is a hypergeometric function with a pole at a = 1. This is the
        same number as a series of positive terms, summed over how many purchases there would
        be if nobody left, or as an integral over the chance to leave where that series is slow.
        """
        shape, ratio = self.r + frequency, horizon / (self.alpha + age)
        if ratio <= 0:
            return 0.0
        if ratio / (1 + ratio) > _SLOW or shape * log1p(ratio) > _UNDERFLOW:
            return _integrated(self.a, self._staying(frequency), shape, ratio)
        return _summed(self.a, self._staying(frequency), shape, ratio)

    def counts(self, frequency: int, recency: float, age: float, horizon: float) -> list[float]:
        """The chances of 0, 1, 2, … purchases within the horizon.

        They end where the rest is below 1e-12, and its last is the rest.
        """
        return in_counts(self.at_least(frequency, recency, age, horizon))

    def at_least(
        self, frequency: int, recency: float, age: float, horizon: float
    ) -> Iterator[float]:
        """The chances of at least 1, 2, … purchases within the horizon, without end."""
        staying = self._staying(frequency)
        reach = self.active(frequency, recency, age)
        for tail in tails(self.r + frequency, horizon / (self.alpha + age)):
            yield reach * tail
            reach *= staying / (self.a + staying)
            staying += 1

    def _staying(self, frequency: int) -> float:
        """The second parameter of the chance to leave, for somebody known to be active."""
        return self.b + frequency + (self.kind == "mbg")


def tails(shape: float, ratio: float) -> Iterator[float]:
    """The negative binomial's chances of at least 1, 2, …; `shape · ratio` is its mean."""
    z = ratio / (1 + ratio)
    # In logarithms, for the chance of none at all may be below what floats hold.
    chance = -shape * log1p(ratio)
    tail, k = -expm1(chance), 1
    while True:
        yield max(tail, 0.0)
        chance += log(z * (shape + k - 1) / k) if z > 0 else -inf
        tail -= exp(chance)
        k += 1


def in_counts(at_least: Iterable[float]) -> list[float]:
    """The chances of 0, 1, 2, … from those of at least 1, 2, …, to where the rest is nothing."""
    chances, above = [], 1.0
    for chance in at_least:
        chances.append(max(above - chance, 0.0))
        above = chance
        if above < _NOTHING or len(chances) >= _MOST_COUNTS:
            break
    return [*chances, above]


def _summed(a: float, staying: float, shape: float, ratio: float) -> float:
    """Sum over j of P(j purchases if nobody leaves) · E(how many of them take place)."""
    z = ratio / (1 + ratio)
    enough, mean = _PRECISION * (1 - z), shape * ratio
    chance = exp(-shape * log1p(ratio))
    total, made, stays, j = 0.0, 0.0, 1.0, 0
    while True:
        chance *= z * (shape + j) / (j + 1)
        made += stays
        stays *= (staying + j) / (a + staying + j)
        term = chance * made
        total += term
        j += 1
        if j > mean and term <= enough * total:
            return total


def _integrated(a: float, staying: float, shape: float, ratio: float) -> float:
    """The mean of (1 - (1 + p·ratio)^-shape)/p under Beta(a, staying), by tanh-sinh quadrature.

    That rule bears the endpoints, where the density may be infinite, and features of any
    scale near them.
    """
    scale = log_beta(a, staying)

    def at(t: float) -> float:
        u = pi * sinh(t)
        log_p = -log1p(exp(-u)) if u > -700 else u
        log_q = -log1p(exp(u)) if u < 700 else -u
        p = exp(log_p)
        made = -expm1(-shape * log1p(p * ratio)) / p if p * ratio > 1e-17 else shape * ratio
        return exp(a * log_p + staying * log_q - scale) * made * pi * cosh(t)

    left, right = -asinh(745 / a / pi) - 1, asinh(745 / staying / pi) + 1
    steps = 64
    step = (right - left) / steps
    total = sum(at(left + i * step) for i in range(steps + 1))
    previous = inf
    while abs(total * step - previous) > _PRECISION * 100 * total * step and steps < 20_000:
        previous = total * step
        total += sum(at(left + (i + 0.5) * step) for i in range(steps))
        steps, step = 2 * steps, step / 2
    return total * step
