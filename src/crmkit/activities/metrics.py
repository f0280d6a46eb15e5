"""What a story does to its customer's metrics and counters; pure.

Metrics are sums, firsts and lasts over stories, so any order and any repetition of the
same facts gives the same.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, TypeVar

import attrs

from crmkit.activities.dimensions import Place, Tallies, Tally, party_size, tallies
from crmkit.activities.sharing import PAYER, divided, split
from crmkit.activities.stories import Kinds, Story, order, read, stories
from crmkit.config import Settings
from crmkit.model import Activity, Counter, Metrics, entry_of
from crmkit.model.catalogue import Gather, evolved

Span = tuple[datetime, datetime]
Joined = tuple[Sequence[Activity], str]
"""The facts of a story of another, and the share of it that a customer bears."""
T = TypeVar("T")


@attrs.frozen
class Effect:
    """What a story adds: to sums, to the spans of its dates by family, and by dimension."""

    sums: Mapping[str, int] = attrs.field(factory=dict)
    spans: Mapping[str, Span] = attrs.field(factory=dict)
    tallies: Tallies = attrs.field(factory=dict)


NOTHING = Effect()
_SUMS = tuple(c for c in entry_of(Metrics).columns if c.gather is Gather.SUM)
_FAMILIES = ("activity", "booking", "order", "visit")
_NO_TALLY = Tally()


def effect(story: Story, settings: Settings, *, tallied: bool = True) -> Effect:
    """What the story adds to its customer's metrics and, where they are `tallied`, counters."""
    if not story.standing:
        return NOTHING
    kinds = settings.kinds_by_name
    sums = dict.fromkeys(story.called_off, 1) | {"activities": len(story.standing)}
    times = [fact.occurred_at for fact in story.standing]
    spans: dict[str, Span] = {"activity": (min(times), max(times))}
    party = 0
    for fact in story.said:
        kind = kinds[fact.kind]
        if kind.role in ("completes", "cancels") or (story.off and kind.role == "happens"):
            continue
        families = kind.dates
        counts = kind.counts
        if kind.paid_is_order and fact.amount_minor is not None:
            counts, families = (*counts, "orders"), (*families, "order")
        if story.completed and "bookings" in counts:
            counts = (*counts, "completed_bookings")
        for name in counts:
            sums[name] = sums.get(name, 0) + 1
        for family in families:
            first, last = spans.get(family, (fact.occurred_at, fact.occurred_at))
            spans[family] = (min(first, fact.occurred_at), max(last, fact.occurred_at))
        party = max(party, party_size(fact.payload))
    if party:
        sums["parties"], sums["guests"] = 1, party
    spent = borne(story, kinds)[PAYER]
    if spent:
        sums["spend_minor"] = spent
    named = tallied and not story.off
    return Effect(sums, spans, tallies(story, settings) if named else {})


def spend(story: Story, kinds: Kinds) -> int:
    """What was paid less what was given back."""
    if story.off:
        return 0
    if story.paid is not None:
        return story.left
    # Nothing known that could be given back; without a reference the refund speaks
    # of money taken before crmkit was there.
    refunds = [f for f in story.said if kinds[f.kind].role == "refunds" and f.story == f.id]
    return -sum(f.amount_minor or 0 for f in refunds)


def borne(story: Story, kinds: Kinds) -> Mapping[str, int]:
    """What each of those who share bears of the spend; all is the payer's where nobody does."""
    facts = [f for f in story.said if kinds[f.kind].spends]
    if story.off or not any(f.shares for f in facts):
        return {PAYER: spend(story, kinds)}
    facts.sort(key=order)
    parts: Counts[str] = Counts({PAYER: 0})
    amounts = [f.amount_minor or 0 for f in facts]
    for fact, part in zip(facts, split(story.left, amounts), strict=True):
        parts.update(divided(part, fact.shares))
    return parts


def shared(story: Story, share: str, settings: Settings) -> Effect:
    """What the story of another adds to the metrics of who bears this share of it."""
    kinds = settings.kinds_by_name
    if not any(f.shares.get(share) for f in story.standing):
        return NOTHING
    # Whatever the story tells may change the share, so all of it is dated.
    times = [fact.occurred_at for fact in story.standing]
    spans = {"activity": (min(times), max(times))}
    facts = [f for f in story.said if kinds[f.kind].spends and f.shares.get(share)]
    if story.off or not facts:
        return Effect({}, spans)
    ordered = [f.occurred_at for f in facts if _is_order(f, kinds)]
    if ordered:
        spans["order"] = (min(ordered), max(ordered))
    sums = {"orders": len(ordered), "spend_minor": borne(story, kinds)[share]}
    return Effect({name: n for name, n in sums.items() if n}, spans)


def _is_order(fact: Activity, kinds: Kinds) -> bool:
    kind = kinds[fact.kind]
    return "orders" in kind.counts or (kind.paid_is_order and fact.amount_minor is not None)


def advance(metrics: Metrics, before: Effect, after: Effect) -> Metrics | None:
    """The metrics once a story has grown from one effect to another.

    None if a first or last date may have gone away: then only all facts can tell.
    """
    changed: dict[str, Any] = {}
    for name in {**before.sums, **after.sums}:
        step = after.sums.get(name, 0) - before.sums.get(name, 0)
        if step:
            changed[name] = getattr(metrics, name) + step
    for family in {**before.spans, **after.spans}:
        first, last = f"first_{family}_at", f"last_{family}_at"
        span = (getattr(metrics, first), getattr(metrics, last))
        moved = _moved(span, before.spans.get(family), after.spans.get(family))
        if moved is None:
            return None
        if moved != span:
            changed[first], changed[last] = moved
    return evolved(metrics, **changed) if changed else metrics


def _moved(span: Any, old: Any, new: Any) -> Any | None:
    """First and last once one story's span has changed; None if only all facts can tell."""
    if new == old:
        return span
    first, last = span
    if old and old[0] == first and (new is None or new[0] > old[0]):
        return None
    if old and old[1] == last and (new is None or new[1] < old[1]):
        return None
    if new is None:
        return span
    return (
        new[0] if first is None else min(first, new[0]),
        new[1] if last is None else max(last, new[1]),
    )


def counted(counter: Counter, before: Tally | None, after: Tally | None) -> Counter | None:
    """A counter once a story's part in it has changed; None if only all facts can tell."""
    old, new = before or _NO_TALLY, after or _NO_TALLY
    count = counter.count + new.count - old.count
    if count == 0:  # nothing of it remains, should the next story begin it anew
        return evolved(counter, count=0, spend_minor=0, first_at=None, last_at=None, label="")
    span = (counter.first_at, counter.last_at and (counter.last_at, counter.label))
    moved = _moved(span, before and before.span, after and after.span)
    if moved is None:
        return None
    first, (last, label) = moved
    spend = counter.spend_minor + new.spend_minor - old.spend_minor
    return evolved(
        counter, count=count, spend_minor=spend, first_at=first, last_at=last, label=label
    )


@attrs.frozen
class Folded:
    """What follows from all facts of a customer."""

    metrics: Metrics
    counters: Sequence[Counter]
    """By dimension and value."""


def fold(
    empty: Metrics,
    facts: Iterable[Activity],
    settings: Settings,
    hashed: Callable[[str], str],
    joined: Iterable[Joined] = (),
) -> Folded:
    """The metrics and counters that follow from all facts of a customer.

    `empty` are the metrics of nothing, `hashed` makes a value's keyed hash, and `joined`
    are the stories of others of which the customer bears a share.
    """
    kinds = settings.kinds_by_name
    own = (effect(read(story, kinds), settings) for story in stories(facts))
    parts = (shared(read(story, kinds), share, settings) for story, share in joined)
    told = added(empty, chain(own, parts), hashed)
    return Folded(told.metrics, sorted(told.counters, key=lambda c: (c.dimension, c.fingerprint)))


def without(whole: Folded, part: Folded) -> Folded | None:
    """Metrics and changed counters without what some of the stories add.

    None if a first or last date may have gone away: then only all facts can tell.
    """
    sums = {c.name: getattr(part.metrics, c.name) for c in _SUMS}
    spans: dict[str, Span] = {}
    for family in _FAMILIES:
        span = (
            getattr(part.metrics, f"first_{family}_at"),
            getattr(part.metrics, f"last_{family}_at"),
        )
        if span[0] is not None:
            spans[family] = span
    metrics = advance(whole.metrics, Effect(sums, spans), NOTHING)
    kept = {(c.dimension, c.fingerprint): c for c in whole.counters}
    counters: list[Counter] = []
    for gone in part.counters:
        tally = Tally(gone.count, gone.spend_minor, gone.first_at, gone.last_at, gone.label)
        less = counted(kept[gone.dimension, gone.fingerprint], tally, None)
        if less is None:
            return None
        counters.append(less)
    return None if metrics is None else Folded(metrics, counters)


def added(nothing: Metrics, effects: Iterable[Effect], hashed: Callable[[str], str]) -> Folded:
    """What these stories add together, as metrics and counters of their own."""
    totals: dict[str, Any] = {}
    counters: dict[Place, Counter] = {}
    for told in effects:
        for name, n in told.sums.items():
            totals[name] = totals.get(name, 0) + n
        for family, (first, last) in told.spans.items():
            names = f"first_{family}_at", f"last_{family}_at"
            totals[names[0]] = min(totals.get(names[0], first), first)
            totals[names[1]] = max(totals.get(names[1], last), last)
        for place, tally in told.tallies.items():
            known = counters.get(place)
            if known is None:
                counters[place] = _alone(nothing, place, tally, hashed)
            else:
                counters[place] = _sure(counted(known, None, tally))
    if totals:
        nothing = Metrics(tenant=nothing.tenant, customer_id=nothing.customer_id, **totals)
    return Folded(nothing, [*counters.values()])


def _alone(owner: Metrics, place: Place, tally: Tally, hashed: Callable[[str], str]) -> Counter:
    dimension, value = place
    return Counter(
        tenant=owner.tenant,
        customer_id=owner.customer_id,
        dimension=dimension,
        fingerprint=hashed(value),
        value=value,
        label=tally.label,
        count=tally.count,
        spend_minor=tally.spend_minor,
        first_at=tally.first_at,
        last_at=tally.last_at,
    )


def _sure(grown: T | None) -> T:
    if grown is None:
        raise AssertionError("a new story takes nothing away")
    return grown


@attrs.frozen
class Difference:
    """A number that is kept and is not what the facts say; `name` is a field or a counter."""

    customer_id: str
    name: str
    kept: Any = attrs.field(repr=False)
    told: Any = attrs.field(repr=False)


def differences(kept: Folded, told: Folded) -> list[Difference]:
    """Where what is kept differs from what the facts tell."""
    customer_id = told.metrics.customer_id
    found: list[Difference] = []
    for column in entry_of(Metrics).columns:
        one, other = getattr(kept.metrics, column.name), getattr(told.metrics, column.name)
        if one != other:
            found.append(Difference(customer_id, column.name, one, other))
    ours = {(c.dimension, c.fingerprint): c for c in kept.counters}
    theirs = {(c.dimension, c.fingerprint): c for c in told.counters}
    for place in sorted({*ours, *theirs}):
        if ours.get(place) != theirs.get(place):
            name = f"{place[0]} counter"
            found.append(Difference(customer_id, name, ours.get(place), theirs.get(place)))
    return found
