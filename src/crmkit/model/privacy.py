"""Consent, idempotency keys and the traces that erasure leaves."""

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
    seal,
    side,
    stored,
)


@record("crm_consents", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id", "occurred_at")),))  # fmt: skip
class Consent:
    """A fact: consent for a purpose on a channel was given or withdrawn."""

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    purpose: str = stored(Data.PREFERENCE, Origin.PROVIDED, sealed=False)
    channel: str = stored(Data.PREFERENCE, Origin.PROVIDED, sealed=False)
    granted: bool = stored(Data.PREFERENCE, Origin.PROVIDED, sealed=False)
    source: str = stored(Data.FREE_TEXT, Origin.OBSERVED)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


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
