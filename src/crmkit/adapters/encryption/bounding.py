"""What a database can tell of a rule when it cannot read some of the fields; pure."""

from __future__ import annotations

from crmkit.model import Customer, entry_of
from crmkit.model.rule import AllOf, AnyOf, Compare, Leaf, Near, Not, Rule, leaves
from crmkit.segmentation.fields import Source, find

_EVERYBODY = AllOf(())
_NOBODY = AnyOf(())
_SEALED_SOURCES = frozenset({Source.AGE, Source.CUSTOM, Source.PREFERENCES, Source.TAGS})


def readable(rule: Rule) -> bool:
    """Whether the database can read all that the rule asks for."""
    return not any(map(_sealed, leaves(rule)))


def bound(rule: Rule, *, upper: bool) -> Rule:
    """A rule without the sealed fields: with `upper` who may fit, else who fits whatever they hold.

    A condition that cannot be read holds for all, or for nobody; under a `not` the other way.
    """
    match rule:
        case AllOf(parts):
            return AllOf(tuple(bound(p, upper=upper) for p in parts))
        case AnyOf(parts):
            return AnyOf(tuple(bound(p, upper=upper) for p in parts))
        case Not(part):
            return Not(bound(part, upper=not upper))
    if not _sealed(rule):
        return rule
    return _EVERYBODY if upper else _NOBODY


def _sealed(leaf: Leaf) -> bool:
    match leaf:
        case Near():
            return True
        case Compare(name):
            field = find(name)
            if field.source is Source.CUSTOMER:
                return entry_of(Customer).column(field.attribute).sealed
            return field.source in _SEALED_SOURCES
    return False
