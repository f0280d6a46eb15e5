"""Idempotency keys and the traces that erasure leaves."""

from __future__ import annotations

from datetime import datetime

from crmkit.model.catalogue import (
    Data,
    Index,
    OnErase,
    OnMerge,
    Origin,
    assigned,
    record,
    side,
    stored,
)


@record(
    "crm_idempotency",
    key=("fingerprint",),
    owner="customer_id",
    erase=OnErase.ANONYMISE,
    reason="keyed hash without the person; replaying an erased booking must not revive it",
    indexes=(Index(("tenant", "customer_id"), where_present="customer_id"),),
)
class IdempotencyKey:
    """A `key=` that a host used, as a keyed hash, with what it led to.

    `content` is a keyed hash of what was asked. A row without a customer belongs to
    an erased one.
    """

    tenant: str = assigned()
    fingerprint: str = stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP)
    customer_id: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    content: str | None = stored(Data.FINGERPRINT, Origin.ASSIGNED)
    result_id: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED)
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)


@record("crm_erasures", key=("subject",))
class Erasure:
    """The trace of an erased customer: a keyed hash of the id, and when."""

    tenant: str = assigned()
    subject: str = stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP, merge=OnMerge.KEEP)
    erased_at: datetime = assigned()
