"""The minimiser."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from crmkit.insights.value.fitting import Prior, minimise


def rosenbrock(point: Sequence[float]) -> tuple[float, list[float]]:
    x, y = point
    off = y - x * x
    return (1 - x) ** 2 + 100 * off * off, [2 * (x - 1) - 400 * x * off, 200 * off]


def test_a_bent_valley_is_followed_to_its_end() -> None:
    found = minimise(rosenbrock, (-1.2, 1.0))
    assert found.point == pytest.approx((1, 1), abs=1e-8)
    assert found.converged
    assert found.evaluations < 70


def test_a_known_curvature_saves_looks() -> None:
    """The same again from near by, with the curvature that the first search found."""
    first = minimise(rosenbrock, (-1.2, 1.0))
    again = minimise(rosenbrock, (1.001, 1.001), inverse=first.inverse)
    blind = minimise(rosenbrock, (1.001, 1.001))
    assert again.point == pytest.approx((1, 1), abs=1e-8)
    assert again.evaluations < blind.evaluations


def test_a_slope_without_end_is_not_called_a_minimum() -> None:
    found = minimise(lambda point: (-point[0], [-1.0]), (0.0,))
    assert not found.converged


def test_what_rises_at_once_is_left_where_it_is() -> None:
    """A gradient of the wrong sign: no step helps, and the search says so."""
    found = minimise(lambda point: (abs(point[0]), [-1.0]), (0.0,))
    assert found.point == (0.0,)
    assert not found.converged


def test_a_prior_is_least_at_its_centre() -> None:
    prior = Prior((1.0, 2.0), (0.5, 1.0))
    assert prior.penalty((1, 2)) == (0, [0, 0])
    assert prior.penalty((1.5, 1)) == (1.0, [2.0, -1.0])
