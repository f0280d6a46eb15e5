"""What a lot was given over time, and how lots share what a cap allows; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any

from crmkit.model import PointsEntry, PointsLot
from crmkit.model.time import from_micros, to_micros

EARNED = frozenset({"earn", "reverse"})
"""The kinds of entries of what a rule gave."""


def shared(most: int, courses: Sequence[Mapping[datetime, int]]) -> list[dict[datetime, int]]:
    """How `most` points are shared out, to the first ones first, at every instant anew.

    `courses` are totals from instants on, without the cap; returned is by how much what each
    may have changes at each instant.
    """
    steps = sorted((moment, n) for n, course in enumerate(courses) for moment in course)
    wanted, given, last = [0] * len(courses), [0] * len(courses), 0
    found: list[dict[datetime, int]] = [{} for _ in courses]
    for moment, some in groupby(steps, itemgetter(0)):
        changed = [n for _, n in some]
        for n in changed:
            wanted[n] = courses[n][moment]
        first, last = changed[0], max(last, changed[-1])
        left = most - sum(given[:first])
        for n in range(first, last + 1):
            due = min(wanted[n], left)
            left -= due
            if due != given[n]:
                found[n][moment] = due - given[n]
                given[n] = due
    return found


def sums(entries: Iterable[PointsEntry], lot: PointsLot) -> Mapping[datetime, int]:
    """By how much what a lot was given changed at each instant."""
    found: dict[datetime, int] = defaultdict(int)
    for entry in entries:
        if entry.lot_id == lot.id and entry.kind in EARNED:
            found[entry.occurred_at] += entry.points
    return found


def sum_of(entries: Iterable[PointsEntry], lot: PointsLot) -> int:
    """What a lot was given in all."""
    return sum(sums(entries, lot).values())


def totals(differences: Mapping[datetime, int]) -> Mapping[datetime, int]:
    """The sums from instants on of what changed at each."""
    moments = sorted(differences)
    return dict(zip(moments, accumulate(differences[m] for m in moments), strict=True))


def course(lot: PointsLot) -> Mapping[datetime, int]:
    """What its rule gave a lot from instants on, before a cap."""
    if lot.totals:
        return {from_micros(int(moment)): total for moment, total in lot.totals.items()}
    return {lot.earned_at: lot.full}


def written(since: datetime, differences: Mapping[datetime, int]) -> Mapping[str, int]:
    """A course as a lot keeps it; nothing where it never changed after its beginning."""
    if differences.keys() <= {since}:
        return {}
    return {str(to_micros(moment)): total for moment, total in totals(differences).items()}


def caps(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The caps of a programme's rules by name, as its document has them."""
    return {rule["name"]: rule["cap"] for rule in document["earn_rules"]}
