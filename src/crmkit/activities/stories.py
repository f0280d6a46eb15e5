"""What a story of facts says; pure.

A story is all facts of one customer that share a reference: booked, completed, refunded.
A booking, order, purchase or ticket counts once in its story, as it was last said.
A fact without a reference is a story of its own. What a story says depends on the set of
its facts, never on the order in which they came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from crmkit.config import Kind
from crmkit.model import Activity
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical
from crmkit.payload_fields import STATUSES

Kinds = Mapping[str, Kind]

CORRECTING = frozenset({"voids", "amends"})
"""The roles of facts that tell what always was."""

_CALLED_OFF = {"cancelled": "cancellations", "no_show": "no_shows"}
_STAGES = {status: n for n, status in enumerate(STATUSES)}


@attrs.frozen
class Story:
    """A story, read."""

    standing: Sequence[Activity]
    """The facts that were not voided, as they were amended."""
    said: Sequence[Activity]
    """Of these the ones that count: of a kind that is said once, what was said last."""
    called_off: frozenset[str]
    """The counters of its cancellation or no-show."""
    off: bool
    """Whether it was cancelled or nobody came."""
    completed: bool
    """Whether what was booked took place."""
    paid: int | None
    """What was paid in minor units, None if nobody spoke of paying."""
    left: int
    """What was kept of it. A story never gives back more than it took."""
    refunded_whole: bool
    """Whether a refund without an amount gave back all there was, be it no money."""

    @property
    def kept_of_paid(self) -> tuple[int, int]:
        """How much was kept of how much that was paid; 1 of 1 where nothing was given back."""
        if self.paid:
            return self.left, self.paid
        return (0, 1) if self.refunded_whole else (1, 1)


def read(facts: Sequence[Activity], kinds: Kinds) -> Story:
    """What the facts of one story say together."""
    standing = _standing(facts, kinds)
    said = standing if len(standing) == 1 else _said_last(standing, kinds)
    called_off: set[str] = set()
    off = completed = refunded_whole = False
    amounts: list[int] = []
    refunds: list[int | None] = []
    for fact in said:
        kind = kinds[fact.kind]
        if kind.role == "cancels":
            # A cancellation stands; a status holds until its bearer is said again.
            off = True
            called_off.update(kind.counts)
        if fact.status in _CALLED_OFF:
            off = True
            called_off.add(_CALLED_OFF[fact.status])
        elif kind.role == "completes" or fact.status == "completed":
            completed = True
        if kind.role == "refunds":
            refunds.append(fact.amount_minor)
            refunded_whole = refunded_whole or fact.amount_minor is None
        elif kind.spends:
            amounts.append(fact.amount_minor or 0)
    paid = sum(amounts)
    back = sum(paid if amount is None else amount for amount in refunds)
    return Story(
        standing=standing,
        said=said,
        called_off=frozenset(called_off),
        off=off,
        completed=completed and not off,
        paid=paid if amounts else None,
        left=max(0, paid - back),
        refunded_whole=refunded_whole,
    )


def _standing(facts: Sequence[Activity], kinds: Kinds) -> Sequence[Activity]:
    """The facts without what was voided, each as it was amended."""
    if all(kinds[f.kind].role not in CORRECTING for f in facts):
        return facts
    voided = {f.corrects for f in facts if kinds[f.kind].role == "voids"}
    amendments: dict[str, list[Activity]] = defaultdict(list)
    standing: list[Activity] = []
    for fact in facts:
        role = kinds[fact.kind].role
        if fact.id in voided or role == "voids":
            continue
        if role == "amends":
            amendments[fact.corrects or ""].append(fact)
        else:
            standing.append(fact)
    return [amended(fact, amendments.get(fact.id, ())) for fact in standing]


def amended(fact: Activity, amendments: Iterable[Activity]) -> Activity:
    """The fact with what amendments changed: in the order of their time, then of their content."""
    for change in sorted(amendments, key=order):
        payload = dict(fact.payload)
        for name, value in change.payload.get("changes", {}).items():
            if value is None:
                payload.pop(name, None)
            else:
                payload[name] = value
        columns = {c: getattr(change, c) for c in ("amount_minor", "status", "item", "venue")}
        columns = {c: value for c, value in columns.items() if value is not None}
        fact = evolved(fact, payload=payload, **columns)
    return fact


def _said_last(facts: Sequence[Activity], kinds: Kinds) -> Sequence[Activity]:
    once: dict[str, list[Activity]] = defaultdict(list)
    many: list[Activity] = []
    for fact in facts:
        (once[fact.kind] if kinds[fact.kind].once else many).append(fact)
    return [*map(_restated, once.values()), *many]


def _restated(facts: Sequence[Activity]) -> Activity:
    """The last fact, with what it leaves out as it was said before."""
    if len(facts) == 1:
        return facts[0]
    ordered = sorted(facts, key=order)
    known: dict[str, Any] = {}
    payload: dict[str, Any] = {}
    for fact in ordered:
        payload.update(fact.payload)
        for column in ("amount_minor", "status", "item", "venue", "shares"):
            value = getattr(fact, column)
            if value is not None and value != {}:
                known[column] = value
    # It happened when it was first said, however often it was said again.
    return evolved(ordered[-1], payload=payload, occurred_at=ordered[0].occurred_at, **known)


def order(fact: Activity) -> tuple[Any, ...]:
    """Where a fact stands among those of its story."""
    # At the same instant the content decides, so that the order of arrival never does; first
    # what outlives the fact's person, so that an erasure changes no order that counts.
    amount = -1 if fact.amount_minor is None else fact.amount_minor
    status = _STAGES.get(fact.status or "", -1)
    names = fact.item or "", fact.venue or ""
    return fact.occurred_at, amount, status, *names, canonical(fact.shares), canonical(fact.payload)


def stories(facts: Iterable[Activity]) -> Iterable[Sequence[Activity]]:
    """The facts, story by story."""
    grouped: dict[str, list[Activity]] = defaultdict(list)
    for fact in facts:
        grouped[fact.story].append(fact)
    return grouped.values()
