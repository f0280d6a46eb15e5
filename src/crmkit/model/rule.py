"""The rule's abstract syntax: what a segment rule says, free of how it is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import attrs


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
    for money, a UTC instant for a moment, a `Duration` for ``within``, a tuple for ``in``
    and ``between``. A missing field makes the comparison false, whatever the operator
    (``exists`` alone asks whether it is missing).
    """

    field: str
    operator: str
    value: Any = attrs.field(repr=False)  # may be somebody's e-mail


@attrs.frozen
class Member:
    """The customer was put into this segment by hand."""

    segment_id: str


Rule: TypeAlias = AllOf | AnyOf | Not | Compare | Member


def leaves(rule: Rule) -> Iterator[Compare | Member]:
    """The comparisons and memberships that the rule is made of."""
    match rule:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case _:
            yield rule
