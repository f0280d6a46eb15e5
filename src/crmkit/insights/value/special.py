"""Functions that the standard library lacks; pure, and stable where they are used."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

_SHIFT = 8.0
_TINY = 1e-300
_LONGEST = 100_000


def digamma(z: float) -> float:
    """The derivative of the logarithm of the gamma function, for z > 0."""
    shifted = 0.0
    while z < _SHIFT:
        shifted -= 1 / z
        z += 1
    f = 1 / (z * z)
    # The asymptotic series: below 1e-14 of error from z = 8 on.
    tail = 1 / 12 - f * (1 / 120 - f * (1 / 252 - f * (1 / 240 - f * (1 / 132 - f * 691 / 32760))))
    return shifted + log(z) - 0.5 / z - f * tail


def log_beta(a: float, b: float) -> float:
    """The logarithm of the beta function."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function: the chance of at most x under Beta(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = a * log(x) + b * log1p(-x) - log_beta(a, b)
    # The fraction converges fast on the near side of the mean; the rest is symmetry.
    if x < (a + 1) / (a + b + 2):
        return exp(front) * _fraction(a, b, x) / a
    return 1 - exp(front) * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _LONGEST):
        change = 1.0
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            change = c * d
            value *= change
        if abs(change - 1) < 1e-15:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
