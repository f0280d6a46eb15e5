"""How many points a story of facts is worth; pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from crmkit.activities.stories import Story
from crmkit.config import EarnRule
from crmkit.model import Activity


@attrs.frozen
class Worth:
    """The points of a story: of all of it, and which part of the money was kept."""

    points: int
    left: int = 1
    paid: int = 1

    @property
    def kept(self) -> int:
        """The points that go with the money that was kept."""
        return self.points * self.left // self.paid


def worth(story: Story, rules: Sequence[EarnRule]) -> Worth:
    """What a story is worth: for each kind in it, once, what the best rule gives."""
    if story.off:
        return Worth(0)
    best: dict[str, int] = {}
    for fact in story.said:
        for rule in rules:
            if _fits(rule, fact, completed=story.completed):
                best[fact.kind] = max(best.get(fact.kind, 0), rule.points)
    return Worth(sum(best.values()), *story.kept_of_paid)


def regranted(given: int, before: Worth, after: Worth) -> int:
    """The points of a story once it has changed, where the rules changed since they were given.

    They stay, as much of them as of the money. What the story itself loses in worth is taken
    back pro rata, what it gains is added, both by the rules of today.
    """
    whole = given * before.paid // before.left if before.left else before.points
    if after.points < before.points:
        whole = whole * after.points // before.points
    else:
        whole += after.points - before.points
    return whole * after.left // after.paid


def _fits(rule: EarnRule, fact: Activity, *, completed: bool) -> bool:
    return (
        rule.kind == fact.kind
        and (completed or not rule.completed)
        and all(fact.payload.get(name) == value for name, value in rule.where.items())
    )
