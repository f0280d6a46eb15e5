"""What counts of a story's facts, and from when until when; pure.

A story is read as of each instant at which one of its facts happened. Voids and amendments
tell what always was, so they make no version; a cancellation, a refund or saying it again
does from its own instant on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from crmkit.activities.dimensions import chosen, item_parts, party_size
from crmkit.activities.sharing import PAYER, divided, split
from crmkit.activities.stories import Kinds, Story, order, read
from crmkit.config import Kind, Settings
from crmkit.model import Activity, Occasion
from crmkit.model.catalogue import evolved

Counting = Mapping[str, tuple[Activity, int | None]]
"""What counts at an instant: by the id that it goes by, the fact and its amount."""

Key = tuple[str, str, int, datetime]
"""Story, fact, part and `since`."""

_key: Callable[[Occasion], Key] = attrgetter("story", "fact", "part", "since")


def occasions(
    facts: Sequence[Activity], settings: Settings, story: Story | None = None
) -> list[Occasion]:
    """The versions of what counts of the facts of one story, by their keys.

    They depend on the set of facts, not on its order; facts of nobody make none. `story` is
    what the facts say together, where it was read before.
    """
    if not facts or facts[0].customer_id is None:
        return []
    kinds = settings.kinds_by_name
    if story is None:
        story = read(facts, kinds)
    if _only_adds(story, kinds):
        found = [row for f in story.said for row in _rows(f, f.id, _whole(f, kinds), f.occurred_at)]
    else:
        found = _versions(story, kinds)
    if len(found) > 1:
        found.sort(key=_key)
    return found


def by_key(rows: Iterable[Occasion]) -> dict[Key, Occasion]:
    """Occasions by what tells them apart within their tenant."""
    return {_key(row): row for row in rows}


def _only_adds(story: Story, kinds: Kinds) -> bool:
    """Whether no fact changes what another said, so that each counts from its own instant on."""
    if story.off or len(story.said) != len(story.standing):
        return False
    return all(kinds[fact.kind].role != "refunds" for fact in story.said)


def _whole(fact: Activity, kinds: Kinds) -> int | None:
    """The payer's part of what the fact costs as long as nothing is given back."""
    amount = fact.amount_minor
    return _payers(fact, amount) if amount is not None and kinds[fact.kind].spends else amount


def _payers(fact: Activity, amount: int) -> int:
    return divided(amount, fact.shares)[PAYER] if fact.shares else amount


def _versions(story: Story, kinds: Kinds) -> list[Occasion]:
    """The story read as of each of its instants; what stays the same is one version."""
    names = _names(story, kinds)
    told: list[Activity] = []
    found: list[Occasion] = []
    before: Counting = {}
    held: dict[str, dict[int, Occasion]] = {}
    happened = attrgetter("occurred_at")
    for moment, news in groupby(sorted(story.standing, key=happened), happened):
        told += news
        now = _counting(read(told, kinds), kinds, names)
        for name in {**before, **now}:
            if before.get(name) == now.get(name):
                continue
            rows = _rows(now[name][0], name, now[name][1], moment) if name in now else ()
            held[name] = _joined(held.get(name, {}), {r.part: r for r in rows}, moment, found)
        before = now
    return [*found, *(row for rows in held.values() for row in rows.values())]


def _joined(
    old: Mapping[int, Occasion],
    new: Mapping[int, Occasion],
    moment: datetime,
    past: list[Occasion],
) -> dict[int, Occasion]:
    """The versions of a fact's parts that hold from a moment on; those that end are added."""
    held: dict[int, Occasion] = dict(new)
    for part, row in old.items():
        if part in new and evolved(new[part], since=row.since) == row:
            held[part] = row
        else:
            past.append(evolved(row, until=moment))
    return held


def _names(story: Story, kinds: Kinds) -> Mapping[str, str]:
    """By what id each kind goes that is said once: that of its first fact."""
    once = [f for f in story.standing if kinds[f.kind].once]
    names: dict[str, str] = {}
    for fact in sorted(once, key=lambda f: (order(f), f.id)) if len(once) > 1 else once:
        names.setdefault(fact.kind, fact.id)
    return names


def _counting(story: Story, kinds: Kinds, names: Mapping[str, str]) -> Counting:
    spending = [f for f in story.said if _is_paid(kinds[f.kind])]
    if len(spending) > 1:  # what is left over in rounding never depends on who came first
        spending.sort(key=lambda f: (order(f), f.kind, f.id))
    parts = split(0 if story.off else story.left, [f.amount_minor or 0 for f in spending])
    kept = {
        f.id: _payers(f, part)
        for f, part in zip(spending, parts, strict=True)
        if f.amount_minor is not None  # what nobody spoke of is missing, and not nothing
    }
    return {
        names.get(f.kind, f.id): (f, kept.get(f.id, f.amount_minor))
        for f in story.said
        if not (story.off and kinds[f.kind].role == "happens")
    }


def _is_paid(kind: Kind) -> bool:
    return kind.spends and kind.role != "refunds"


def _rows(fact: Activity, name: str, amount: int | None, since: datetime) -> Iterator[Occasion]:
    """The fact as a whole, and where it names several items a part for each of them."""
    payload = fact.payload
    parts = item_parts(payload, amount or 0)
    whole = Occasion(
        tenant=fact.tenant,
        story=fact.story,
        fact=name,
        since=since,
        until=None,
        customer_id=fact.customer_id or "",
        kind=fact.kind,
        happened_at=fact.occurred_at,
        item=next(iter(parts)) if len(parts) == 1 else None,
        venue=chosen(payload, "venue"),
        category=chosen(payload, "category"),
        channel=chosen(payload, "channel"),
        status=fact.status,
        amount_minor=amount,
        party_size=party_size(payload) or None,
        origin=fact.origin,
    )
    yield whole
    if len(parts) > 1:
        for n, item in enumerate(sorted(parts), 1):
            part = None if amount is None else parts[item]
            yield evolved(whole, part=n, item=item, amount_minor=part)
