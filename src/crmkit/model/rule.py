"""The rule's abstract syntax: what a segment rule says, free of how it is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal, TypeAlias

import attrs

from crmkit.model.time import Calendar, Duration


@attrs.frozen
class AllOf:
    """Every part holds (an empty `AllOf` holds for everybody)."""

    parts: tuple[Rule, ...]


@attrs.frozen
class AnyOf:
    """At least one part holds."""

    parts: tuple[Rule, ...]


@attrs.frozen
class Not:
    """The part does not hold; plain two-valued negation."""

    part: Rule


@attrs.frozen
class Compare:
    """A field compared with a value.

    `field` and `operator` are canonical names (``total_spend`` and never ``total_spent``,
    ``=`` and never ``==``). `value` is in the form the field is compared in: minor units
    for money, a UTC instant for a moment, a `Duration` for ``within``, a `Calendar` span
    for ``during``, a number of days for ``anniversary_within``, a tuple for ``in`` and
    ``between``. A missing field makes the comparison false, whatever the operator
    (``exists`` alone asks whether it is missing).
    """

    field: str
    operator: str
    value: Any = attrs.field(repr=False)  # may be somebody's e-mail


@attrs.frozen
class Member:
    """The customer was put into this segment by hand; with `kept_out`, kept out of it."""

    segment_id: str
    kept_out: bool = False


@attrs.frozen
class InSegment:
    """The customer is in the segment of that name, by its rule or by hand."""

    name: str


@attrs.frozen
class Top:
    """The field is among the highest of all customers with a positive value, ties included.

    `count` customers or, if that is None, `percent` of them, in thousandths of a percent and
    rounded up to a whole customer. With `bottom`, among the lowest.
    """

    field: str
    percent: int | None = None
    count: int | None = None
    bottom: bool = False


@attrs.frozen
class Near:
    """The customer's place is at most `metres` from a point in millionths of a degree.

    Measured on the plane that touches the globe there: dx is shortened by the cosine of
    the point's latitude.
    """

    latitude_micro: int = attrs.field(repr=False)
    longitude_micro: int = attrs.field(repr=False)
    metres: int


@attrs.frozen
class Between:
    """From an instant until before another; None leaves the end open."""

    since: datetime | None = None
    until: datetime | None = None


Window: TypeAlias = Duration | Calendar | Between
"""When something happened: at most so long ago, in this or the last month, or between."""


@attrs.frozen
class Occurs:
    """Occasions of a kind, those that `where` fits; its comparisons name an occasion's fields."""

    kind: str
    where: Rule | None = None


@attrs.frozen
class Did:
    """Occasions in a window, measured and compared.

    `measure` is ``count``, ``sum`` (of what was kept of the amounts, in minor units),
    ``first`` or ``last`` (when: a moment), or the most of them in one calendar ``day``,
    ``week``, ``month`` or ``year`` of the window. `operator` and `value` are those of a
    `Compare`: of a number, an amount or a moment. A sum over no occasions is 0; a first or
    last of none is missing.
    """

    what: Occurs
    measure: Literal["count", "sum", "first", "last", "day", "week", "month", "year"]
    operator: str
    value: Any
    window: Window | None = None


@attrs.frozen
class Then:
    """An occasion in a window was followed by another one within a time, or was not.

    `follows` if there is one whose follower came at the same instant or at most `within`
    later. Otherwise there is one of which that time is over, and no follower came in it.
    """

    first: Occurs
    second: Occurs
    within: Duration
    follows: bool
    window: Window | None = None


Leaf: TypeAlias = Compare | Member | InSegment | Top | Near | Did | Then
Rule: TypeAlias = AllOf | AnyOf | Not | Leaf


def leaves(rule: Rule) -> Iterator[Leaf]:
    """The comparisons, memberships and doings that the rule is made of."""
    match rule:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case _:
            yield rule
