"""Where the top of a ranking begins, moved along with each change of a number; pure.

The cut-off is the value of the k-th, ties included: fewer than k are beyond it, and at least
k reach it. Two counts tell whether a change broke that; then it steps from value to value.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from crmkit.model.rule import Top
from crmkit.segmentation.asking import places

_GREATEST = 2**63 - 1


class Miscounted(Exception):
    """The numbers are others than were counted: somebody else brought some in, or took some."""


class Seeks(Protocol):
    """What is asked of the positive numbers of a field, in their order."""

    def nearest(self, value: int, *, up: bool) -> int | None:
        """The least number that is at least this one; without `up` the greatest at most it."""
        ...

    def holders(self, value: int) -> int:
        """How many have this number."""
        ...


@attrs.frozen
class Boundary:
    """A cut-off: how many are strictly beyond it, how many reach it, and how many take part."""

    value: int | None = None
    above: int = 0
    reached: int = 0
    population: int = 0


def reaches(top: Top, value: int, cutoff: int | None) -> bool:
    """Whether a number is among the top that begins at this cut-off."""
    if cutoff is None or value <= 0:
        return False
    return value <= cutoff if top.bottom else value >= cutoff


def counted(top: Top, known: Boundary, old: int, new: int) -> Boundary:
    """The counts once a number has changed, or came or went (then it is zero)."""
    above, reached = known.above, known.reached
    for value, one in ((old, -1), (new, 1)):
        if reaches(top, value, known.value):
            reached += one
            above += one if value != known.value else 0
    population = known.population + (new > 0) - (old > 0)
    return Boundary(known.value, above, reached, population)


def settled(top: Top, known: Boundary, seeks: Seeks) -> Boundary:
    """The cut-off moved to where it belongs; raises `Miscounted` if the counts show as wrong."""
    value, above, reached = known.value, known.above, known.reached
    if not known.population:
        return Boundary()
    k = min(places(top, known.population), known.population)
    if value is None:
        value = _there(seeks.nearest(1 if top.bottom else _GREATEST, up=top.bottom))
        reached = seeks.holders(value)
    while above >= k:  # whoever is strictly beyond fills the top: it begins further up
        value = _there(seeks.nearest(_next(value, up=not top.bottom), up=not top.bottom))
        above, reached = above - seeks.holders(value), above
    while reached < k:
        value = _there(seeks.nearest(_next(value, up=top.bottom), up=top.bottom))
        above, reached = reached, reached + seeks.holders(value)
    return Boundary(value, above, reached, known.population)


def passed(top: Top, before: int | None, after: int | None) -> tuple[int, int] | None:
    """The least and the greatest number that come in, or fall out, by such a move."""
    if before == after:
        return None
    if top.bottom:
        return min(before or 0, after or 0) + 1, max(before or 0, after or 0)
    ends = [v for v in (before, after) if v is not None]
    return min(ends), max(ends) - 1 if len(ends) > 1 else _GREATEST


def _next(value: int, *, up: bool) -> int:
    return value + 1 if up else value - 1


def _there(value: int | None) -> int:
    if value is None:
        raise Miscounted
    return value
