"""What a rule reads, so that no more is loaded, and no change is missed."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from crmkit.model.rule import Compare, Did, Leaf, Member, Near, Rule, Then, Top, leaves
from crmkit.segmentation.fields import Source, find

_PROFILE = frozenset({Source.CUSTOMER, Source.PREFERENCES, Source.CUSTOM, Source.AGE})
_METRICS = frozenset({Source.METRICS, Source.AVERAGE})


@attrs.frozen
class Needs:
    """Which facts a rule depends on; `kinds` are the activities whose occasions it asks about."""

    profile: bool = False
    metrics: bool = False
    points: bool = False
    tiers: bool = False
    tags: bool = False
    consents: bool = False
    scores: bool = False
    by_hand: bool = False
    kinds: frozenset[str] = frozenset()

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.profile or other.profile,
            self.metrics or other.metrics,
            self.points or other.points,
            self.tiers or other.tiers,
            self.tags or other.tags,
            self.consents or other.consents,
            self.scores or other.scores,
            self.by_hand or other.by_hand,
            self.kinds | other.kinds,
        )

    def meets(self, changed: Needs) -> bool:
        """Whether a change of those facts may change the answer."""
        return (
            (self.profile and changed.profile)
            or (self.metrics and changed.metrics)
            or (self.points and changed.points)
            or (self.tiers and changed.tiers)
            or (self.tags and changed.tags)
            or (self.consents and changed.consents)
            or (self.scores and changed.scores)
            or (self.by_hand and changed.by_hand)
            or not self.kinds.isdisjoint(changed.kinds)
        )


def needs(rule: Rule) -> Needs:
    """What the rule reads."""
    return together(map(_of, leaves(rule)))


def together(all_of: Iterable[Needs]) -> Needs:
    """What any of them reads."""
    found = Needs()
    for one in all_of:
        found |= one
    return found


def _of(leaf: Leaf) -> Needs:
    match leaf:
        case Compare(field) | Top(field):
            source = find(field).source
            return Needs(
                profile=source in _PROFILE,
                metrics=source in _METRICS,
                points=source is Source.LOYALTY,
                tiers=source is Source.TIER,
                tags=source is Source.TAGS,
                consents=source is Source.CONSENT,
                scores=source is Source.SCORE,
            )
        case Member():
            return Needs(by_hand=True)
        case Near():
            return Needs(profile=True)
        case Did():
            return Needs(kinds=frozenset({leaf.what.kind}))
        case Then():
            return Needs(kinds=frozenset({leaf.first.kind, leaf.second.kind}))
    return Needs()
