"""Erasing a customer inside a unit of work, driven by the catalogue."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import attrs

from crmkit.erasure_ledger import ErasureEntry
from crmkit.errors import Erased, OnHold
from crmkit.gdpr import unlinking
from crmkit.gdpr.holders import Holders
from crmkit.gdpr.holds import standing
from crmkit.gdpr.receipts import ErasureReceipt, content, reasons
from crmkit.model import Erasure, MatchPair, Merge, Metrics, OnErase, Rank, Redirect, entry_of
from crmkit.model.catalogue import blanks, owned
from crmkit.ports.events import CustomerErased
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork


def erase(
    uow: UnitOfWork, rt: Runtime, customer_id: str, *, despite_hold: bool = False
) -> ErasureReceipt:
    """Erase a customer; last of all the ledger is told. Raises `NotFound` and `OnHold`."""
    found = _held(uow, rt, customer_id)
    on_hold = bool(standing(uow, [found], rt.now()))
    if on_hold and not despite_hold:
        raise OnHold("a legal hold stands for this customer")
    receipt = erase_held(uow, rt, found, despite_hold=on_hold)
    ledger = rt.settings.erasure_ledger
    if ledger is not None:
        ledger.append(
            ErasureEntry(
                tenant=rt.tenant,
                ids=receipt.ids,
                erased_at=receipt.erased_at,
                receipt=receipt.number,
            )
        )
    return receipt


def erase_held(
    uow: UnitOfWork,
    rt: Runtime,
    customer_id: str,
    at: datetime | None = None,
    *,
    despite_hold: bool = False,
) -> ErasureReceipt:
    """Erase a customer who is held, as of that instant; an earlier erasure keeps its own."""
    earlier = erasure(uow, rt, customer_id)  # a restored backup may bring a profile back
    ids = (customer_id, *(r.id for r in uow.find(Redirect, customer_id=customer_id)))
    # A merge that was undone is told by the one who was kept, and speaks of both.
    merges = uow.find(Merge, customer_id=customer_id) + uow.find(Merge, dropped_id=ids)
    deleted: Counter[str] = Counter()
    # Their ranks go first, so that others move up.
    deleted[entry_of(Rank).table] += uow.count(Rank, customer_id=customer_id)
    rt.events.publish(uow, CustomerErased(customer_id, rt.now(), despite_hold))
    deleted[entry_of(Rank).table] -= uow.count(Rank, customer_id=customer_id)
    unlinking.from_bills(uow, customer_id, ids)
    unlinking.from_identities(uow, ids, merges)
    unlinking.from_cursors(uow, ids)
    anonymised: Counter[str] = Counter()
    for entry in owned():
        theirs: dict[str, Any] = {entry.owner or "": customer_id}
        if entry.erase is OnErase.ANONYMISE:
            anonymised[entry.table] += uow.change(entry.record, blanks(entry), **theirs)
        else:
            deleted[entry.table] += uow.remove(entry.record, **theirs)
    deleted[entry_of(Merge).table] += uow.remove(Merge, dropped_id=ids)
    deleted[entry_of(MatchPair).table] += unlinking.from_pairs(uow, ids)
    deleted.update(Holders(rt).erase(uow, ids))
    moment = earlier.erased_at if earlier else at or rt.now()
    leave_trace(uow, rt, (*ids, *(m.id for m in merges)), moment)
    return _receipt(rt, customer_id, ids, moment, deleted, anonymised)


def leave_trace(uow: UnitOfWork, rt: Runtime, ids: tuple[str, ...], at: datetime) -> None:
    """Remember that these ids were erased, as keyed hashes; who was erased before stays so."""
    for gone in ids:
        subject = rt.fingerprint("erased", gone)
        uow.add_if_absent(Erasure(tenant=rt.tenant, subject=subject, erased_at=at))


def erasure(uow: UnitOfWork, rt: Runtime, customer_id: str) -> Erasure | None:
    """The trace of an erased customer's id."""
    return uow.get(Erasure, rt.fingerprint("erased", checked_id(customer_id)))


def _held(uow: UnitOfWork, rt: Runtime, customer_id: str) -> str:
    """The customer an id stands for, held; an erased one's own id."""
    try:
        found = rt.customer(uow, customer_id, lock=True).id
    except Erased:
        found = customer_id
    uow.get(Metrics, found, lock=True)  # activities under way come first
    return found


def _receipt(
    rt: Runtime,
    customer_id: str,
    ids: tuple[str, ...],
    at: datetime,
    deleted: Counter[str],
    anonymised: Counter[str],
) -> ErasureReceipt:
    made = ErasureReceipt(
        customer_id, at, dict(+deleted), dict(+anonymised), reasons(+anonymised), ids
    )
    return attrs.evolve(made, number=rt.fingerprint("receipt", content(made.to_dict())))
