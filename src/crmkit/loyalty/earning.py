"""How many points a story of facts is worth, and since when; pure.

A story is read as of each instant at which one of its facts happened, so that what it has
earned at any instant depends on the facts alone, in whatever order they came. Voids and
amendments tell what always was; what is told ahead of its time counts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import TypeVar

import attrs

from crmkit.activities.stories import Kinds, Story, read
from crmkit.model import Activity
from crmkit.programmes import EarnRule

T = TypeVar("T")

Asked = Callable[[EarnRule, datetime], Decimal | None]
"""What a rule's points are multiplied by from an instant on; None where its `when` fails."""


def counts_from(fact: Activity) -> datetime:
    """From when on a fact counts: when it happened, or was told if that was ahead of time."""
    return min(fact.occurred_at, fact.recorded_at)


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


@attrs.frozen
class Place:
    """Where points of a story belong: the rule that gives them, and since when it has."""

    rule: str
    since: datetime
    pending: bool = False


@attrs.frozen
class Run:
    """What a rule gives for a story while it goes on giving: the totals from instants on."""

    place: Place
    times: Decimal
    totals: Mapping[datetime, int]

    @property
    def final(self) -> int:
        """What it comes to at the end."""
        return self.totals[max(self.totals)]

    def differences(self) -> Mapping[datetime, int]:
        """By how much the total changes at each instant."""
        before, found = 0, {}
        for moment in sorted(self.totals):
            now = self.totals[moment]
            if now != before:
                found[moment] = now - before
            before = now
        return found


def runs(
    story: Story, kinds: Kinds, rules: Sequence[EarnRule], minor: int, asked: Asked
) -> list[Run]:
    """What rules give for a story, each from when it began to give until the story's end.

    `minor` is how many minor units a major unit of money has.
    """
    since: dict[tuple[str, bool], datetime] = {}
    times: dict[Place, Decimal | None] = {}
    totals: dict[Place, dict[datetime, int]] = {}
    giving: frozenset[Place] = frozenset()
    for moment, now in moments(story, kinds):
        fitting = list(_fitting(now, rules, minor))
        since = {
            (rule.name, pending): since.get((rule.name, pending), moment)
            for rule, pending, _ in fitting
        }
        open_now: list[tuple[EarnRule, int, Place]] = []
        for rule, pending, points in fitting:
            place = Place(rule.name, since[rule.name, pending], pending)
            if place not in times:
                times[place] = asked(rule, place.since)
            factor = times[place]
            if factor is not None:
                open_now.append((rule, int(points * factor), place))
        left, paid = now.kept_of_paid
        best = {place: points for points, place in _best(open_now)}
        for place in giving - best.keys():
            totals[place][moment] = 0
        for place, points in best.items():
            totals.setdefault(place, {})[moment] = points * left // paid
        giving = frozenset(best)
    return [Run(place, times[place] or Decimal(1), found) for place, found in totals.items()]


def moments(story: Story, kinds: Kinds) -> Iterator[tuple[datetime, Story]]:
    """The story as of each instant at which it came to say something else."""
    facts = story.standing
    if len(facts) == 1:
        yield counts_from(facts[0]), story
        return
    told: list[Activity] = []
    ordered = sorted(facts, key=counts_from)
    for moment, news in groupby(ordered, counts_from):
        told += news
        yield moment, story if len(told) == len(ordered) else read(told, kinds)


def earns(story: Story, kinds: Kinds, rules: Sequence[EarnRule], minor: int) -> bool:
    """Whether any rule fits, or ever fitted, a story; `when` is left aside."""
    return any(any(_fitting(now, rules, minor)) for _, now in moments(story, kinds))


def worth(story: Story, rules: Sequence[EarnRule], minor: int = 100) -> Worth:
    """What a story is worth whole, by rules whose `when` is left aside, unmultiplied."""
    found = [(rule, n, None) for rule, waits, n in _fitting(story, rules, minor) if not waits]
    return Worth(sum(points for points, _ in _best(found)), *story.kept_of_paid)


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


def _fitting(
    story: Story, rules: Sequence[EarnRule], minor: int
) -> Iterator[tuple[EarnRule, bool, int]]:
    """The rules that fit a story, whether they only promise, and what each gives once."""
    if story.off:
        return
    for rule in rules:
        facts = [fact for fact in story.said if _fits(rule, fact)]
        waits = rule.completed and not story.completed
        if not facts or (waits and not rule.pending):
            continue
        points = rule.points
        if rule.per is not None:
            spent = sum(fact.amount_minor or 0 for fact in facts)
            points *= int(spent // (rule.per * minor))
        yield rule, waits, points


def _fits(rule: EarnRule, fact: Activity) -> bool:
    return (
        rule.kind == fact.kind
        and all(fact.payload.get(name) == value for name, value in rule.where.items())
        and (rule.starts is None or rule.starts <= fact.occurred_at)
        and (rule.ends is None or fact.occurred_at < rule.ends)
    )


def _best(found: Sequence[tuple[EarnRule, int, T]]) -> Iterator[tuple[int, T]]:
    """For each kind what the rule gives that gives most, and what those give that stack."""
    best: dict[str, tuple[int, str, T]] = {}
    for rule, points, of in found:
        if rule.stacks:
            yield points, of
        elif rule.kind not in best or (points, rule.name) > best[rule.kind][:2]:
            best[rule.kind] = (points, rule.name, of)
    for points, _, of in best.values():
        yield points, of
