"""Numbers of customers who are merged, and of those who are parted again."""

from __future__ import annotations

from collections.abc import Iterable

from crmkit.activities.joining import renamed
from crmkit.activities.metrics import Folded, without
from crmkit.activities.recording import drop, folded, refold
from crmkit.activities.stories import stories
from crmkit.model import (
    Activity,
    Counter,
    Metrics,
    Occasion,
    Participation,
    PointsEntry,
    PointsLot,
    Redirect,
)
from crmkit.model.catalogue import evolved
from crmkit.ports.events import MergeUndone
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork


def united(uow: UnitOfWork, kept: str, dropped: str) -> None:
    """Add the numbers of one customer to those of another.

    That is exact: numbers are sums, firsts and lasts over stories, and no two become one.
    """
    uow.gather(evolved(m, customer_id=kept) for m in uow.find(Metrics, customer_id=dropped))
    uow.gather(evolved(c, customer_id=kept) for c in uow.find(Counter, customer_id=dropped))
    uow.remove(Metrics, customer_id=dropped)
    uow.remove(Counter, customer_id=dropped)


def parted(uow: UnitOfWork, rt: Runtime, event: MergeUndone) -> None:
    """Fold the facts that went back, and take what they add from the other customer.

    Only where a first or last date goes with them are the facts that stay read too.
    """
    holder, back = event.merge.customer_id, event.merge.dropped_id
    if event.sent:
        _rename(uow, rt, event.sent, holder, back)
    theirs = folded(uow, rt, back)
    uow.add(theirs.metrics)
    uow.add_many(theirs.counters)
    cached = uow.get(Metrics, holder)
    if cached is None:
        raise rt.missing(uow, holder)
    ours = without(Folded(cached, uow.find(Counter, customer_id=holder)), theirs)
    if ours is None:
        refold(uow, rt, cached)
        return
    uow.put(ours.metrics)
    uow.put_many(c for c in ours.counters if c.count)
    for counter in ours.counters:
        if not counter.count:
            drop(uow, counter)


def _rename(uow: UnitOfWork, rt: Runtime, sent: Iterable[str], holder: str, back: str) -> None:
    """Give stories that were sent along the names that they have as the other customer's."""
    ids = [holder, *(r.id for r in uow.find(Redirect, customer_id=holder))]
    found = uow.find(Activity, story=tuple(sorted(sent)), order=("story", "id"))
    for facts in stories(found):
        anew = list(renamed(rt, facts, ids, back))
        # A story that is there already stays one of its own: two bookings count as two.
        if anew and not uow.find(Activity, story=anew[0].story, limit=1):
            uow.put_many(anew)
            for kind in (PointsEntry, PointsLot):
                uow.change(kind, {"story": anew[0].story}, story=facts[0].story)
            counting = uow.find(Occasion, story=facts[0].story)
            uow.remove(Occasion, story=facts[0].story)  # the name is part of their key
            uow.add_many(evolved(row, story=anew[0].story) for row in counting)
            named = uow.find(Participation, story=facts[0].story)
            uow.remove(Participation, story=facts[0].story)
            uow.put_many(evolved(row, story=anew[0].story) for row in named)
