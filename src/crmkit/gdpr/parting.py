"""What was said of two while they were one, when they are parted again; inside a unit of work.

A no of that time goes for each of them, by whichever id and address it was told: nobody can tell
any more whose it was, and parting makes no permission.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from crmkit.gdpr.consent_state import revived
from crmkit.identity.merging import Tree
from crmkit.model import Consent, Merge, Objection, Restriction
from crmkit.model.catalogue import evolved
from crmkit.ports.events import MergeUndone
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork


def on_undone(uow: UnitOfWork, rt: Runtime, event: MergeUndone) -> None:
    """Take back what the merge withdrew, but not what was refused while both were one.

    Merges that came later withdrew nothing where that stood already: they make up for it.
    """
    merge = event.merge
    both = (merge.customer_id, merge.dropped_id)
    uow.remove(Consent, customer_id=both, follows=merge.id)
    tree = Tree(uow.find(Merge, customer_id=both, undone_at=None))
    shared = _of_both(merge, tree)
    # The kept side's own node: further merges that are undone take it along.
    homes = {merge.customer_id: tree.before(merge), merge.dropped_id: None}
    for fact in _refusals(uow, both):
        if shared(fact):
            other = both[fact.customer_id == both[0]]
            uow.add(evolved(fact, id=rt.new_id(), customer_id=other, origin=homes[other]))
    for later in tree.after(merge):
        _withdraw_again(uow, rt, tree, later)


def withdrawals(
    rt: Runtime, merge: Merge, kept: Sequence[Consent], dropped: Sequence[Consent]
) -> list[Consent]:
    """What a merge withdraws: where a no of either side stands, and both together say yes."""
    written = {fact.address_key: fact.address for fact in (*kept, *dropped)}
    return [
        Consent(
            tenant=rt.tenant,
            id=rt.new_id(),
            customer_id=merge.customer_id,
            purpose=purpose,
            channel=channel,
            granted=False,
            event="withdrawn",
            source=f"merge {merge.id}",
            follows=merge.id,
            address=written[key] if key else None,
            address_key=key,
            occurred_at=max(since, merge.recorded_at),
            recorded_at=merge.recorded_at,
        )
        for (purpose, channel, key), since in revived(kept, dropped)
    ]


def _withdraw_again(uow: UnitOfWork, rt: Runtime, tree: Tree, merge: Merge) -> None:
    """Let a merge that stands withdraw what it would have, by what stood before it."""
    then = Tree([m for m in tree.merges if m.step < merge.step])
    facts = uow.find(Consent, customer_id=merge.customer_id)
    before = [fact for fact in facts if fact.recorded_at <= merge.recorded_at]
    mine, theirs = then.side(merge.kept_id), then.side(merge.dropped_id)
    made = withdrawals(
        rt,
        merge,
        [fact for fact in before if fact.origin in mine],
        [fact for fact in before if fact.origin in theirs],
    )
    known = {(f.purpose, f.channel, f.address_key) for f in facts if f.follows == merge.id}
    uow.add_many(
        evolved(fact, origin=merge.id)
        for fact in made
        if (fact.purpose, fact.channel, fact.address_key) not in known
    )


def _refusals(uow: UnitOfWork, both: tuple[str, str]) -> list[Any]:
    """What stands against something, but for what merges themselves withdrew."""
    said = uow.find(Consent, customer_id=both, granted=False)
    return [
        *(fact for fact in said if fact.follows is None),
        *uow.find(Objection, customer_id=both, ended_at=None),
        *uow.find(Restriction, customer_id=both, lifted_at=None),
    ]


def _of_both(merge: Merge, tree: Tree) -> Callable[[Any], bool]:
    """Whether a fact came while both were one; not what others told before they joined them."""
    line, joined = merge.kept_id, list[tuple[Merge, frozenset[str]]]()
    for later in tree.after(merge):
        then = Tree([m for m in tree.merges if m.step < later.step])
        other = later.dropped_id if later.kept_id == line else later.kept_id
        joined.append((later, then.side(other)))
        line = later.kept_id

    def shared(fact: Any) -> bool:
        told = fact.recorded_at
        return bool(told >= merge.recorded_at) and not any(
            fact.origin in side and told <= later.recorded_at for later, side in joined
        )

    return shared
