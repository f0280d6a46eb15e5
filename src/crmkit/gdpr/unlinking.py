"""Taking a person's ids out of rows that are about others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from crmkit.activities.sharing import unnamed
from crmkit.model import (
    Activity,
    Identity,
    MatchPair,
    Merge,
    Metrics,
    Participation,
    ProgrammeVersion,
)
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import UnitOfWork

_AT_ONCE = 500


def from_bills(uow: UnitOfWork, customer_id: str, ids: Collection[str]) -> None:
    """Take the ids out of the bills of others of which the person bore parts."""
    stories = (
        row[0] for row in uow.stream_rows(Participation, ("story",), customer_id=customer_id)
    )
    while some := tuple(islice(stories, _AT_ONCE)):
        for fact in uow.find(Activity, story=some):
            if unnamed(fact.payload, ids) is not None:
                unname(uow, fact.id, ids)


def unname(uow: UnitOfWork, activity_id: str, ids: Collection[str]) -> None:
    """Take the ids out of a fact of somebody who is not held.

    They may have been merged since it was read, or erased: it is held while it is read again, so
    that nothing of it comes back.
    """
    fact = uow.get(Activity, activity_id, lock=True)
    payload = None if fact is None else unnamed(fact.payload, ids)
    if fact is not None and payload is not None:
        uow.put(evolved(fact, payload=payload))


def from_pairs(uow: UnitOfWork, ids: Collection[str]) -> int:
    """Remove what was found by comparing the person with others; returns how many."""
    removed = 0
    for side in ("one_id", "other_id"):
        compared: dict[str, Any] = {side: tuple(ids)}
        removed += uow.remove(MatchPair, **compared)
    return removed


def from_identities(uow: UnitOfWork, ids: Collection[str], merges: Iterable[Merge]) -> None:
    """Name identifiers of others anew that the person had first, while they were one."""
    others = {c for m in merges for c in (m.customer_id, m.kept_id, m.dropped_id)} - {*ids}
    for row in uow.find(Identity, customer_id=tuple(sorted(others))) if others else ():
        if row.slot not in ids:
            continue
        held = uow.get(Identity, row.kind, row.fingerprint, row.slot, lock=True)
        if held is not None:
            uow.remove(Identity, kind=row.kind, fingerprint=row.fingerprint, slot=row.slot)
            uow.add_if_absent(evolved(held, slot=held.customer_id))


def from_cursors(uow: UnitOfWork, ids: Collection[str]) -> None:
    """Let what goes through customers by their ids go on from the one before."""
    for version in uow.find(ProgrammeVersion):
        if version.recounted_to not in ids:
            continue
        before = uow.find(
            Metrics, order=("customer_id",), descending=True, after=(version.recounted_to,), limit=1
        )
        at = {"programme": version.programme, "version": version.version}
        stands = before[0].customer_id if before else None
        uow.change(
            ProgrammeVersion, {"recounted_to": stands}, recounted_to=version.recounted_to, **at
        )
