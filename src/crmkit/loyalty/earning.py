"""How many points a story of facts is worth; pure."""

from __future__ import annotations

from collections.abc import Sequence

from crmkit.activities.stories import Story
from crmkit.config import EarnRule
from crmkit.model import Activity


def earned(story: Story, rules: Sequence[EarnRule]) -> int:
    """The points of a story: for each kind in it, once, what the best rule gives.

    Where part of the money was given back, that part of the points is not earned.
    """
    if story.off:
        return 0
    best: dict[str, int] = {}
    for fact in story.said:
        for rule in rules:
            if _fits(rule, fact, completed=story.completed):
                best[fact.kind] = max(best.get(fact.kind, 0), rule.points)
    left, paid = story.kept_of_paid
    return sum(best.values()) * left // paid


def regranted(given: int, before: int, after: int) -> int:
    """The points of a story once it has changed, where the rules changed since they were given.

    What the story is worth today went from `before` to `after`: what it lost is taken back
    pro rata from what was given, what it gained is added.
    """
    if after < before:
        return given * after // before
    return given + after - before


def _fits(rule: EarnRule, fact: Activity, *, completed: bool) -> bool:
    return (
        rule.kind == fact.kind
        and (completed or not rule.completed)
        and all(fact.payload.get(name) == value for name, value in rule.where.items())
    )
