"""What a story of facts does to a customer's metrics; pure.

A story is all facts of one customer that share a reference: booked, completed, refunded.
A booking, order, purchase or ticket counts once in its story, as it was last said.
A fact without a reference is a story of its own. What a story is worth depends on the
set of its facts, never on the order in which they came; so metrics are sums, firsts and
lasts over stories, and any order and any repetition of the same facts gives the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from crmkit.config import Kind
from crmkit.model import Activity, Metrics
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical

Span = tuple[datetime, datetime]
Kinds = Mapping[str, Kind]


@attrs.frozen
class Effect:
    """What a story adds: to counters and spend, and the span of its dates by family."""

    counts: Mapping[str, int] = attrs.field(factory=dict)
    spend_minor: int = 0
    spans: Mapping[str, Span] = attrs.field(factory=dict)


NOTHING = Effect()


def is_off(story: Sequence[Activity], kinds: Kinds) -> bool:
    """Whether the story was cancelled or nobody came.

    A cancellation stands; a status holds until what bears it is said again.
    """
    return any(kinds[f.kind].role == "cancels" for f in story) or any(
        f.status in ("cancelled", "no_show") for f in said_last(story, kinds)
    )


def is_completed(story: Sequence[Activity], kinds: Kinds) -> bool:
    """Whether what was booked took place."""
    return not is_off(story, kinds) and any(
        kinds[f.kind].role == "completes" or f.status == "completed"
        for f in said_last(story, kinds)
    )


def effect(story: Sequence[Activity], kinds: Kinds) -> Effect:
    """What the story adds to its customer's metrics."""
    if not story:
        return NOTHING
    off, completed = is_off(story, kinds), is_completed(story, kinds)
    counts: Counter[str] = Counter(_called_off(story, kinds) if off else ())
    counts["activities"] = len(story)
    times = [fact.occurred_at for fact in story]
    spans: dict[str, Span] = {"activity": (min(times), max(times))}
    said = said_last(story, kinds)
    for fact in said:
        kind = kinds[fact.kind]
        if kind.role in ("completes", "cancels") or (off and kind.role == "happens"):
            continue
        families = kind.dates
        for name in kind.counts:
            counts[name] += 1
        if kind.paid_is_order and fact.amount_minor is not None:
            counts["orders"] += 1
            families = (*families, "order")
        if completed and "bookings" in kind.counts:
            counts["completed_bookings"] += 1
        for family in families:
            _extend(spans, family, _first_said(fact, story, kinds))
    return Effect(counts, 0 if off else _spend(said, kinds), spans)


def said_last(story: Sequence[Activity], kinds: Kinds) -> Sequence[Activity]:
    """The facts that count: of a kind that is said once, one fact with what was said last."""
    if len(story) == 1:
        return story
    once: dict[str, list[Activity]] = defaultdict(list)
    many: list[Activity] = []
    for fact in story:
        (once[fact.kind] if kinds[fact.kind].once else many).append(fact)
    return [*map(_restated, once.values()), *many]


def _restated(facts: Sequence[Activity]) -> Activity:
    """The last fact, with what it leaves out as it was said before."""
    if len(facts) == 1:
        return facts[0]
    ordered = sorted(facts, key=_order)
    amounts = [f.amount_minor for f in ordered if f.amount_minor is not None]
    statuses = [f.status for f in ordered if f.status is not None]
    payload = {name: value for f in ordered for name, value in f.payload.items()}
    return evolved(
        ordered[-1],
        amount_minor=amounts[-1] if amounts else None,
        status=statuses[-1] if statuses else None,
        payload=payload,
    )


def _order(fact: Activity) -> tuple[datetime, int, str]:
    # At the same instant the content decides, so that the order of arrival never does.
    amount = -1 if fact.amount_minor is None else fact.amount_minor
    return fact.occurred_at, amount, canonical(fact.payload)


def _first_said(fact: Activity, story: Sequence[Activity], kinds: Kinds) -> datetime:
    """When it happened: for what was said again, when it was first said."""
    if len(story) == 1 or not kinds[fact.kind].once:
        return fact.occurred_at
    return min(f.occurred_at for f in story if f.kind == fact.kind)


def _called_off(story: Sequence[Activity], kinds: Kinds) -> set[str]:
    """The counters of a story that is off: it was called off once, however often that was said."""
    said = {name for f in story if kinds[f.kind].role == "cancels" for name in kinds[f.kind].counts}
    statuses = {f.status for f in said_last(story, kinds)}
    said |= {"cancellations"} if "cancelled" in statuses else set()
    return said | ({"no_shows"} if "no_show" in statuses else set())


def _spend(said: Sequence[Activity], kinds: Kinds) -> int:
    """What was paid less what was given back."""
    paid, left = _settled(said, kinds)
    if paid is None:
        # Nothing known that could be given back; without a reference the refund speaks
        # of money taken before crmkit was there.
        refunds = [f for f in said if kinds[f.kind].role == "refunds" and f.story == f.id]
        return -sum(f.amount_minor or 0 for f in refunds)
    return left


def kept_of_paid(story: Sequence[Activity], kinds: Kinds) -> tuple[int, int]:
    """How much was kept of how much that was paid; 1 of 1 where nothing was given back."""
    if not any(kinds[f.kind].role == "refunds" for f in story):
        return 1, 1
    paid, left = _settled(said_last(story, kinds), kinds)
    if paid:
        return left, paid
    whole = any(kinds[f.kind].role == "refunds" and f.amount_minor is None for f in story)
    return (0, 1) if whole else (1, 1)


def _settled(said: Sequence[Activity], kinds: Kinds) -> tuple[int | None, int]:
    """What was paid (None if nobody spoke of paying), and what was kept of it.

    A story never gives back more than it took; a refund without an amount is a full one.
    """
    amounts = [f.amount_minor or 0 for f in said if kinds[f.kind].spends]
    if not amounts:
        return None, 0
    paid = sum(amounts)
    refunds = [f.amount_minor for f in said if kinds[f.kind].role == "refunds"]
    back = sum(paid if amount is None else amount for amount in refunds)
    return paid, max(0, paid - back)


def _extend(spans: dict[str, Span], family: str, moment: datetime) -> None:
    first, last = spans.get(family, (moment, moment))
    spans[family] = (min(first, moment), max(last, moment))


def advance(metrics: Metrics, before: Effect, after: Effect) -> Metrics | None:
    """The metrics once a story has grown from one effect to another.

    None if a first or last date may have gone away: then only all facts can tell.
    """
    changed: dict[str, Any] = {}
    for name in {**before.counts, **after.counts}:
        step = after.counts.get(name, 0) - before.counts.get(name, 0)
        if step:
            changed[name] = getattr(metrics, name) + step
    if after.spend_minor != before.spend_minor:
        changed["spend_minor"] = metrics.spend_minor + after.spend_minor - before.spend_minor
    for family in {**before.spans, **after.spans}:
        old, new = before.spans.get(family), after.spans.get(family)
        if new == old:
            continue
        first, last = f"first_{family}_at", f"last_{family}_at"
        now_first, now_last = getattr(metrics, first), getattr(metrics, last)
        if old and old[0] == now_first and (new is None or new[0] > old[0]):
            return None
        if old and old[1] == now_last and (new is None or new[1] < old[1]):
            return None
        if new:
            changed[first] = new[0] if now_first is None else min(now_first, new[0])
            changed[last] = new[1] if now_last is None else max(now_last, new[1])
    return evolved(metrics, **changed) if changed else metrics


def stories(facts: Iterable[Activity]) -> Iterable[Sequence[Activity]]:
    """The facts, story by story."""
    grouped: dict[str, list[Activity]] = defaultdict(list)
    for fact in facts:
        grouped[fact.story].append(fact)
    return grouped.values()


def fold(tenant: str, customer_id: str, facts: Iterable[Activity], kinds: Kinds) -> Metrics:
    """The metrics that follow from all facts of a customer."""
    metrics = Metrics(tenant=tenant, customer_id=customer_id)
    for story in stories(facts):
        advanced = advance(metrics, NOTHING, effect(story, kinds))
        if advanced is None:
            raise AssertionError("a new story takes nothing away")
        metrics = advanced
    return metrics
