"""Legal holds: who may not be erased, and whose records no policy touches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from crmkit.model import LegalHold, Merge
from crmkit.model.catalogue import evolved
from crmkit.ports.events import MergeUndone
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork


def stands(hold: LegalHold, at: datetime) -> bool:
    """Whether the hold stands at that instant."""
    if hold.occurred_at > at or (hold.released_at is not None and hold.released_at <= at):
        return False
    return hold.until is None or at < hold.until


def standing(uow: UnitOfWork, customers: Collection[str], at: datetime) -> frozenset[str]:
    """Those of the customers for whom a legal hold stands."""
    found = uow.find(LegalHold, customer_id=tuple(sorted(customers))) if customers else []
    return holders(found, at)


def holders(holds: Iterable[LegalHold], at: datetime) -> frozenset[str]:
    """The customers of the holds that stand."""
    return frozenset(hold.customer_id for hold in holds if stands(hold, at))


def on_undone(uow: UnitOfWork, rt: Runtime, event: MergeUndone) -> None:
    """Let a hold that was put on while two were one stand for each of them."""
    merge = event.merge
    both = (merge.customer_id, merge.dropped_id)
    merges = [*uow.find(Merge, customer_id=both, undone_at=None), merge]
    # What the kept customer has may be another's by now, and is to come back with theirs.
    kept = rt.whose(uow, merge.kept_id, merge.customer_id).origin
    origins = {merge.customer_id: kept, merge.dropped_id: None}
    found = uow.find(LegalHold, customer_id=both, released_at=None)
    for hold in [h for h in found if _said_of_both(h, merge, merges)]:
        other = both[1] if hold.customer_id == both[0] else both[0]
        uow.add(evolved(hold, id=rt.new_id(), customer_id=other, origin=origins[other]))


def _said_of_both(hold: LegalHold, merge: Merge, merges: Sequence[Merge]) -> bool:
    """Whether whom the hold was put on was made up of both sides of the merge by then.

    Ids come in their order, which tells where the instant is the same.
    """
    then = [m for m in merges if (m.recorded_at, m.id) < (hold.recorded_at, hold.id)]
    kept_by = {m.id: m.kept_id for m in merges}
    told_of = hold.origin or hold.customer_id
    one = {kept_by.get(told_of, told_of)}
    pairs = [{m.kept_id, m.dropped_id} for m in then]
    while more := {c for pair in pairs if pair & one for c in pair - one}:
        one |= more
    return {merge.kept_id, merge.dropped_id} <= one and merge in then
