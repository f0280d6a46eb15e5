"""Merging two customers, and parting them again, inside a unit of work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from crmkit.customers import blocking, records, search
from crmkit.errors import InvalidInput
from crmkit.identity.merging import Parted, State, Tree, merged, parted, rows_of, state_of
from crmkit.identity.survivorship import GROUPS, checked, winners
from crmkit.model import (
    Activity,
    Consent,
    Customer,
    DataKey,
    IdempotencyKey,
    Identity,
    MatchToken,
    Merge,
    Metrics,
    Note,
    Occasion,
    PointsEntry,
    PointsLot,
    ProfileChange,
    Redirect,
    SearchToken,
    Snapshot,
    entry_of,
)
from crmkit.model.catalogue import evolved, keyed, movable
from crmkit.ports.events import CustomersMerged, MergeUndone
from crmkit.ports.runtime import Runtime, check_open
from crmkit.ports.storage import UnitOfWork

_TRIES: Final = 20
_IN_TIME: Final = ("occurred_at", "id")
_SENDABLE: Final = (Activity, Note, Consent, PointsEntry)


@attrs.frozen
class Unmerged:
    """What undoing a merge does, or with `dry_run` would do.

    `moved` counts the rows that go back to the dropped customer, by table. `restored` names
    fields of the kept customer's profile that are again what they were, ``tags`` and
    ``segments`` among them; `conflicts` those that were changed since the merge, and stay as they
    are now. `undecided` lists by table the ids of facts that came since the merge and carried
    nothing that tells whose they are: they stay.
    """

    merge: Merge
    dry_run: bool
    moved: Mapping[str, int]
    restored: tuple[str, ...]
    conflicts: tuple[str, ...]
    undecided: Mapping[str, tuple[str, ...]]


@attrs.frozen
class Words:
    """What is said of a merge."""

    reason: str
    actor: str | None
    at: datetime


# --- merging ---


def merge(uow: UnitOfWork, rt: Runtime, keep: str, drop: str, merge_id: str, said: Words) -> Merge:
    """Make one customer of two; returns the merge, or the one that had made them one."""
    policy = checked(rt.settings.survivorship)
    held = _hold(uow, rt, keep, drop)
    if isinstance(held, Merge):
        return held
    kept, dropped = held
    mine, theirs = _tree(uow, kept.id), _tree(uow, dropped.id)
    node, side = theirs.node(dropped.id), theirs.side(dropped.id)
    fact = Merge(
        tenant=rt.tenant,
        id=merge_id,
        customer_id=kept.id,
        kept_id=kept.id,
        dropped_id=dropped.id,
        step=1 + max((m.step for m in (*mine.merges, *theirs.merges)), default=0),
        reason=said.reason,
        actor=said.actor,
        at=said.at,
        recorded_at=rt.now(),
    )
    _move(uow, kept.id, dropped.id, mine.node(kept.id), node)
    before, other = _state(uow, kept.id), _state(uow, dropped.id)
    won = winners(kept, dropped, _told(uow, kept.id, side), policy)
    result = merged(before, other, won)
    for entry in keyed():
        gone: dict[str, Any] = {entry.owner or "": dropped.id}
        uow.remove(entry.record, **gone)
    _write(uow, rt, kept.id, before, result)
    uow.add(fact)
    uow.add(_snapshot(fact, before, other, result))
    uow.add(Redirect(tenant=rt.tenant, id=dropped.id, customer_id=kept.id, origin=node))
    for customer_id in (kept.id, dropped.id):
        _reindex(uow, rt, customer_id)
    rt.events.publish(uow, CustomersMerged(fact, side))
    uow.remove(DataKey, customer_id=dropped.id)  # last: all that it had sealed is the kept one's
    return fact


def _hold(uow: UnitOfWork, rt: Runtime, keep: str, drop: str) -> tuple[Customer, Customer] | Merge:
    """Both customers, held in the order of their ids; or what had made them one before."""
    for _ in range(_TRIES):
        ids = rt.led(uow, keep), rt.led(uow, drop)
        if ids[0] == ids[1]:
            return _earlier(uow, rt.customer(uow, ids[0]).id, {keep, drop})
        held = {c: uow.get(Customer, c, lock=True) for c in sorted(ids)}
        uow.hold(Metrics, ids)
        kept, dropped = held[ids[0]], held[ids[1]]
        check_open(kept, dropped)
        if kept is not None and dropped is not None:
            return kept, dropped
        for customer_id, found in held.items():
            if found is None:
                rt.customer(uow, customer_id)  # merged in the meantime, or nobody: that raises
    raise rt.missing(uow, keep)


def _earlier(uow: UnitOfWork, customer_id: str, pair: set[str]) -> Merge:
    for fact in _tree(uow, customer_id).merges:
        if {fact.kept_id, fact.dropped_id} == pair:
            return fact
    raise InvalidInput("these are one customer already", field="drop")


def _move(uow: UnitOfWork, kept: str, dropped: str, node: str, other: str) -> None:
    """Mark where the rows of both belong, and hand over the dropped customer's."""
    for entry in movable():
        owner = entry.owner or ""
        mine: dict[str, Any] = {owner: kept, "origin": None}
        theirs: dict[str, Any] = {owner: dropped, "origin": None}
        uow.change(entry.record, {"origin": node}, **mine)
        uow.change(entry.record, {"origin": other}, **theirs)
        del theirs["origin"]
        uow.change(entry.record, {owner: kept}, **theirs)


def _told(
    uow: UnitOfWork, customer_id: str, dropped_side: frozenset[str]
) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """When each field was last told of the kept customer, and of the dropped one."""
    kept: dict[str, datetime] = {}
    dropped: dict[str, datetime] = {}
    for change in uow.stream(ProfileChange, customer_id=customer_id, order=_IN_TIME):
        told = dropped if change.origin in dropped_side else kept
        told |= dict.fromkeys(change.changes, change.occurred_at)
    return kept, dropped


# --- parting ---


def unmerge(
    uow: UnitOfWork, rt: Runtime, merge_id: str, to_dropped: frozenset[str], *, dry_run: bool
) -> Unmerged:
    """Make two customers of one again."""
    fact = _held_merge(uow, rt, merge_id)
    holder, back = fact.customer_id, fact.dropped_id
    tree = _tree(uow, holder)
    snapshots = {s.merge_id: s for s in uow.find(Snapshot, customer_id=holder)}
    later = tree.after(fact)
    open_nodes = (None, fact.id, *(m.id for m in later))
    now = _state(uow, holder)
    states = parted(fact, snapshots[fact.id], [(m, snapshots[m.id]) for m in later], now)
    uow.remove(Redirect, id=back)
    uow.remove(Snapshot, merge_id=fact.id)
    uow.put_many(states.snapshots)
    moved = _give_back(uow, holder, back, tree.side(back))
    sent = _send(uow, holder, back, to_dropped, open_nodes)
    for table, n in sent.counts.items():
        moved[table] = moved.get(table, 0) + n
    undone = evolved(fact, undone_at=rt.now())
    uow.put(undone)
    _restore(uow, rt, holder, back, now, states)
    rt.events.publish(uow, MergeUndone(undone, sent.stories))
    undecided = _undecided(uow, holder, open_nodes)
    _unmark(uow, fact, tree)
    return Unmerged(
        merge=undone,
        dry_run=dry_run,
        moved={table: n for table, n in moved.items() if n},
        restored=tuple(sorted(states.restored)),
        conflicts=tuple(sorted(states.conflicts)),
        undecided=undecided,
    )


def _held_merge(uow: UnitOfWork, rt: Runtime, merge_id: str) -> Merge:
    """A merge that stands, with the customer held who has both."""
    for _ in range(_TRIES):
        fact = known(uow, rt, merge_id)
        uow.get(Customer, fact.customer_id, lock=True)
        uow.hold(Metrics, [fact.customer_id])
        again = uow.get(Merge, merge_id)
        if again is not None and again.customer_id == fact.customer_id:
            if again.undone_at is not None:
                raise InvalidInput("this merge was undone before", field="merge_id")
            return again
    raise rt.missing(uow, merge_id, "merge")


def _give_back(uow: UnitOfWork, holder: str, back: str, side: frozenset[str]) -> dict[str, int]:
    nodes = tuple(sorted(side))
    moved: dict[str, int] = {}
    for entry in movable():
        owner = entry.owner or ""
        theirs: dict[str, Any] = {owner: holder, "origin": nodes}
        moved[entry.table] = uow.change(entry.record, {owner: back}, **theirs)
    return moved


@attrs.frozen
class _Sent:
    """What the caller sent along: how many rows by table, and which stories."""

    counts: Mapping[str, int]
    stories: frozenset[str]


def _send(
    uow: UnitOfWork,
    holder: str,
    back: str,
    wanted: frozenset[str],
    open_nodes: tuple[str | None, ...],
) -> _Sent:
    """Hand over undecided facts as the caller says: of a story all facts, with its points."""
    ids = tuple(sorted(wanted))
    open_facts: dict[str, Any] = {"customer_id": holder, "origin": open_nodes}
    found: dict[type, list[Any]] = {
        kind: uow.find(kind, id=ids, **open_facts) if ids else [] for kind in _SENDABLE
    }
    points = [e for e in found[PointsEntry] if e.story is not None]
    if points or len(wanted) != sum(map(len, found.values())):
        raise InvalidInput("expected ids of undecided facts", field="to_dropped")
    stories = tuple(sorted({a.story for a in found[Activity]}))
    told = uow.find(Activity, story=stories, **open_facts) if stories else []
    if any(a.shares for a in told):
        raise InvalidInput(
            "a bill that several share stays; void it and track it anew", field="to_dropped"
        )
    to: dict[str, Any] = {"customer_id": back, "origin": None}
    counts: dict[str, int] = {}
    for kind in _SENDABLE if ids else ():
        counts[entry_of(kind).table] = uow.change(kind, to, id=ids, **open_facts)
    if stories:
        results = tuple(a.id for a in told)
        counts[entry_of(Activity).table] += uow.change(Activity, to, story=stories, **open_facts)
        for folded in (PointsEntry, PointsLot, Occasion):
            sent = uow.change(folded, to, story=stories, **open_facts)
            counts[entry_of(folded).table] = counts.get(entry_of(folded).table, 0) + sent
        ids = (*ids, *results)
    lots = tuple(sorted({e.lot_id for e in found[PointsEntry] if e.lot_id}))
    if lots:  # what was added by hand goes with all that was done with it
        sent = uow.change(PointsLot, to, id=lots, **open_facts)
        counts[entry_of(PointsLot).table] = counts.get(entry_of(PointsLot).table, 0) + sent
        counts[entry_of(PointsEntry).table] += uow.change(
            PointsEntry, to, lot_id=lots, **open_facts
        )
    if ids:
        uow.change(IdempotencyKey, to, customer_id=holder, result_id=ids)
    return _Sent(counts, frozenset(stories))


def _restore(
    uow: UnitOfWork, rt: Runtime, holder: str, back: str, now: State, states: Parted
) -> None:
    uow.add_many(rows_of(states.dropped, rt.tenant, back))
    _write(uow, rt, holder, now, states.kept)
    for customer_id in sorted((holder, back)):
        _relink(uow, rt, customer_id)
        _reindex(uow, rt, customer_id)


def _relink(uow: UnitOfWork, rt: Runtime, customer_id: str) -> None:
    """Link what the profile tells again; what is another's by now, it tells no longer."""
    customer = rt.customer(uow, customer_id)
    linked = {(i.kind, i.fingerprint) for i in uow.find(Identity, customer_id=customer_id)}
    lost: dict[str, Any] = {}
    for identifier in records.identifiers(customer):
        mine = records.identity(rt, identifier, customer_id)
        hashes = rt.indexes(identifier.kind, identifier.value)
        if any((mine.kind, h) in linked for h in hashes):
            continue
        former = hashes[1:] and uow.find(
            Identity, kind=mine.kind, fingerprint=hashes[1:], slot=mine.slot
        )
        if not former and uow.add_if_absent(mine):
            continue
        if mine.kind.startswith("external:"):
            held = lost.get("external_ids", customer.external_ids)
            lost["external_ids"] = {s: v for s, v in held.items() if f"external:{s}" != mine.kind}
        else:
            lost |= dict.fromkeys(GROUPS[mine.kind])
    if lost:
        uow.put(evolved(customer, **lost))


def _undecided(
    uow: UnitOfWork, holder: str, open_nodes: tuple[str | None, ...]
) -> dict[str, tuple[str, ...]]:
    open_facts: dict[str, Any] = {"customer_id": holder, "origin": open_nodes}
    listed: dict[str, tuple[str, ...]] = {}
    for kind in _SENDABLE:
        facts: Iterable[Any] = uow.stream(kind, order=_IN_TIME, **open_facts)
        # Points that a story earned go where the story goes.
        found = tuple(f.id for f in facts if not (kind is PointsEntry and f.story))
        if found:
            listed[entry_of(kind).table] = found
    return listed


def _unmark(uow: UnitOfWork, fact: Merge, tree: Tree) -> None:
    """Hang what came since the merge on what was before it; the newest node is None."""
    left, holder = tree.without(fact), fact.customer_id
    newest = {c: left.node(c) for c in (holder, fact.dropped_id)}
    for entry in movable():
        owner = entry.owner or ""
        since: dict[str, Any] = {owner: holder, "origin": fact.id}
        uow.change(entry.record, {"origin": tree.before(fact)}, **since)
        for customer_id, node in newest.items():
            theirs: dict[str, Any] = {owner: customer_id, "origin": node}
            uow.change(entry.record, {"origin": None}, **theirs)


class _Rehearsed(Exception):
    """Undoes a unit of work that was only tried."""

    def __init__(self, told: Unmerged) -> None:
        super().__init__("nothing was changed")
        self.told = told


def rehearsed(rt: Runtime, work: Callable[[UnitOfWork], Unmerged]) -> Unmerged:
    """What the work would do: it is done, and then undone."""

    def tried(uow: UnitOfWork) -> None:
        raise _Rehearsed(work(uow))

    try:
        rt.write(tried)
    except _Rehearsed as done:
        return done.told
    raise AssertionError("unreachable")


# --- rows ---


def known(uow: UnitOfWork, rt: Runtime, merge_id: str) -> Merge:
    """A merge by its id; raises `NotFound` or `Erased`."""
    found = uow.get(Merge, merge_id)
    if found is None:
        raise rt.missing(uow, merge_id, "merge")
    return found


def of_person(uow: UnitOfWork, rt: Runtime, customer_id: str) -> tuple[Merge, ...]:
    """All merges of a person, in their order."""
    holder = rt.customer(uow, customer_id).id
    return tuple(uow.find(Merge, customer_id=holder, order=("step", "id")))


def _tree(uow: UnitOfWork, customer_id: str) -> Tree:
    return Tree(uow.find(Merge, customer_id=customer_id, undone_at=None))


def _state(uow: UnitOfWork, customer_id: str) -> State:
    rows: list[Any] = []
    for entry in keyed():
        theirs: dict[str, Any] = {entry.owner or "": customer_id}
        rows += uow.find(entry.record, **theirs)
    return state_of(rows)


def _snapshot(fact: Merge, kept: State, dropped: State, result: State) -> Snapshot:
    return Snapshot(
        tenant=fact.tenant,
        merge_id=fact.id,
        customer_id=fact.customer_id,
        kept=kept,
        dropped=dropped,
        result=result,
    )


def _write(uow: UnitOfWork, rt: Runtime, customer_id: str, before: State, after: State) -> None:
    """Store what differs of a customer's state."""
    for entry in keyed():
        table = entry.table
        for place in before[table].keys() - after[table].keys():
            fields = [f for f in entry.key if f not in ("tenant", entry.owner)]
            key: dict[str, Any] = dict(zip(fields, place.split("|"), strict=True))
            uow.remove(entry.record, **key, **{entry.owner or "": customer_id})
    differing = {
        table: {p: row for p, row in rows.items() if before[table].get(p) != row}
        for table, rows in after.items()
    }
    uow.put_many(rows_of(differing, rt.tenant, customer_id))


def _reindex(uow: UnitOfWork, rt: Runtime, customer_id: str) -> None:
    """Make what a customer is found by fit the profile; one who is gone is found by nothing."""
    customer = uow.get(Customer, customer_id)
    if customer is None:
        uow.remove(SearchToken, customer_id=customer_id)
        uow.remove(MatchToken, customer_id=customer_id)
    else:
        search.repair(uow, rt, customer)
        blocking.repair(uow, rt, customer)
