"""Erasing again, after a backup came back, whom the ledger of erasures tells of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import attrs

from crmkit.erasure_ledger import ErasureEntry
from crmkit.errors import InvalidInput
from crmkit.gdpr.erasing import erase_held, leave_trace
from crmkit.model import Customer, Metrics, Redirect
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork


@attrs.frozen
class Replayed:
    """What became of the entries of a ledger.

    `entries` are those of this tenant; `erased` of them spoke of somebody who was back, and
    is erased again. `entangled` are ids that stand for another person's customer in this database,
    since a merge was undone between the backup and the erasure: undo it again, then replay.
    """

    entries: int = 0
    erased: int = 0
    entangled: tuple[str, ...] = ()


def replay(
    rt: Runtime, entries: Iterable[ErasureEntry], progress: Callable[[int], None] | None
) -> Replayed:
    """Each entry in a transaction of its own."""
    done = Replayed()
    for entry in entries:
        if not isinstance(entry, ErasureEntry):
            raise InvalidInput("expected entries of a ledger", field="entries")
        if entry.tenant != rt.tenant:
            continue
        back, entangled = rt.write(partial(_again, rt=rt, entry=entry))
        done = Replayed(done.entries + 1, done.erased + back, (*done.entangled, *entangled))
        if progress:
            progress(done.entries)
    return done


def _again(uow: UnitOfWork, rt: Runtime, entry: ErasureEntry) -> tuple[bool, tuple[str, ...]]:
    """Whether anybody was back, and the ids that stand for somebody else."""
    ids = tuple(map(checked_id, entry.ids))
    held = frozenset(c for c in sorted(ids) if uow.get(Customer, c, lock=True) is not None)
    uow.hold(Metrics, ids)
    led = {r.id: r.customer_id for r in uow.find(Redirect, id=ids)}
    entangled = tuple(sorted(i for i, to in led.items() if to not in ids))
    # Merged since the backup: then all of them are customers of their own here.
    others = {r.customer_id: r.id for r in uow.find(Redirect, customer_id=ids) if r.id not in ids}
    entangled += tuple(sorted(others))
    if entangled:
        return False, entangled
    rows = 0
    for customer_id in ids:
        receipt = erase_held(uow, rt, customer_id, entry.erased_at)
        rows += sum(receipt.deleted.values()) + sum(receipt.anonymised.values())
    leave_trace(uow, rt, ids, entry.erased_at)
    return bool(held) or rows > 0, ()
