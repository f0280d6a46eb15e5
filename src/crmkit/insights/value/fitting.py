"""A small quasi-Newton minimiser, and the log-normal priors it works with; pure Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Final, TypeAlias

import attrs

Objective: TypeAlias = Callable[[Sequence[float]], tuple[float, list[float]]]
"""A function to minimise: its value and its gradient at a point."""

Matrix: TypeAlias = list[list[float]]

_LONGEST_STEP: Final = 2.0
"""No parameter grows or shrinks by more than e² in one step, so that no step leaves the world."""
_FARTHEST: Final = 25.0
"""A parameter e²⁵ times what it was at the start is on its way to nowhere."""

_FLAT: Final = 1e-5
_ROUNDING: Final = 1e-13


@attrs.frozen
class Prior:
    """A normal distribution of the logarithms of parameters, each on its own."""

    centre: tuple[float, ...]
    width: tuple[float, ...]

    def penalty(self, point: Sequence[float]) -> tuple[float, list[float]]:
        """Minus its log-density, up to a constant, and the gradient."""
        off = [(x - m) / s for x, m, s in zip(point, self.centre, self.width, strict=True)]
        return sum(z * z for z in off) / 2, [z / s for z, s in zip(off, self.width, strict=True)]


@attrs.frozen
class Minimum:
    """Where a minimisation ended.

    `inverse` is its estimate of the inverse of the second derivatives, a good start for a
    search on similar data; `converged` says that the gradient had vanished, and at no
    absurd distance from the start.
    """

    point: tuple[float, ...]
    value: float
    inverse: tuple[tuple[float, ...], ...]
    evaluations: int
    converged: bool


def minimise(
    function: Objective,
    start: Sequence[float],
    *,
    inverse: Sequence[Sequence[float]] | None = None,
    tolerance: float = 1e-9,
    limit: int = 300,
) -> Minimum:
    """The minimum nearest to `start`, by BFGS with a backtracking line search."""
    point = list(start)
    value, gradient = function(point)
    estimate = _identity(len(point)) if inverse is None else [list(row) for row in inverse]
    evaluations = 1
    while evaluations < limit and _size(gradient) > tolerance:
        direction = [-_dot(row, gradient) for row in estimate]
        if _dot(direction, gradient) >= 0:
            estimate = _identity(len(point))
            direction = [-g for g in gradient]
        taken, found, slope, tried = _search(function, point, value, gradient, direction)
        evaluations += tried
        if taken is point:
            break
        step = [b - a for a, b in zip(point, taken, strict=True)]
        change = [b - a for a, b in zip(gradient, slope, strict=True)]
        _update(estimate, step, change)
        point, value, gradient = taken, found, slope
        if _size([x - x0 for x, x0 in zip(point, start, strict=True)]) > _FARTHEST:
            return Minimum(tuple(point), value, tuple(map(tuple, estimate)), evaluations, False)
    return Minimum(
        point=tuple(point),
        value=value,
        inverse=tuple(map(tuple, estimate)),
        evaluations=evaluations,
        converged=_size(gradient) < _FLAT,
    )


def _search(
    function: Objective,
    point: list[float],
    value: float,
    gradient: list[float],
    direction: list[float],
) -> tuple[list[float], float, list[float], int]:
    """A step along the direction that lowers the function by enough; else the same point.

    Where values differ by no more than their rounding, a smaller gradient is the better point.
    """
    slope = _dot(direction, gradient)
    rounding = _ROUNDING * (1 + abs(value))
    length = min(1.0, _LONGEST_STEP / _size(direction))
    for tried in range(1, 40):
        taken = [x + length * d for x, d in zip(point, direction, strict=True)]
        found, at_end = function(taken)
        nearer = found <= value + rounding and _size(at_end) < 0.9 * _size(gradient)
        if nearer or found <= value + 1e-4 * length * slope:
            return taken, found, at_end, tried
        if -slope * length < rounding:
            break
        # The lowest point of the parabola through what is known, kept within reason.
        rise = found - value - length * slope
        best = -slope * length * length / (2 * rise) if isfinite(rise) and rise > 0 else 0.0
        length = min(max(best, 0.1 * length), 0.5 * length)
    return point, value, gradient, tried


def _update(estimate: Matrix, step: list[float], change: list[float]) -> None:
    """The BFGS update, left out where the curvature seen is not that of a minimum."""
    curvature = _dot(step, change)
    if curvature <= 1e-16:
        return
    moved = [_dot(row, change) for row in estimate]
    own = (1 + _dot(change, moved) / curvature) / curvature
    for i, row in enumerate(estimate):
        for j in range(len(row)):
            row[j] += (
                own * step[i] * step[j] - (step[i] * moved[j] + moved[i] * step[j]) / curvature
            )


def _identity(size: int) -> Matrix:
    return [[float(i == j) for j in range(size)] for i in range(size)]


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def _size(vector: Sequence[float]) -> float:
    return max(map(abs, vector))
