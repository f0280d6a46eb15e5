"""The audit: who did what, when; to whom and why; and the chain that seals it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.model.catalogue import (
    Data,
    Index,
    OnErase,
    OnMerge,
    Origin,
    assigned,
    record,
    seal,
    stored,
)


def _hash() -> Any:
    return stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP, default=None)


@record(
    "crm_audit",
    key=("id",),
    indexes=(
        Index(("tenant", "sequence", "id")),
        Index(("tenant", "occurred_at", "id")),
        Index(("tenant", "actor_mark", "occurred_at", "id"), where_present="actor_mark"),
    ),
)
class AuditRow:
    """A fact: somebody did something. Never changed, but sealed once.

    `actor` is who did it in the host's own words (a member of staff, never a customer), with its
    keyed hash in `actor_mark` to find it by; `via` is the program. `details` counts what
    was touched and names tables, never values. `subject` is a salted hash of what the
    `AuditSubject` says, None without one. `mac` is the keyed hash of all that.
    Sealing gives the row its `sequence`, 0 until then, and the `hash` that covers it and all
    before it.
    """

    tenant: str = assigned()
    id: str = assigned()
    occurred_at: datetime = assigned()
    actor: str | None = stored(Data.LINK, Origin.OBSERVED, erase=OnErase.KEEP, default=None)
    actor_mark: str | None = _hash()
    via: str | None = assigned(default=None)
    action: str = assigned()
    subject: str | None = _hash()
    details: Mapping[str, Any] = stored(
        Data.TECHNICAL, Origin.ASSIGNED, erase=OnErase.KEEP, factory=dict
    )
    mac: str = stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP)
    sequence: int = assigned(default=0)
    hash: str | None = _hash()
    sealed: str | None = seal(default=None)


@record(
    "crm_audit_subjects",
    key=("audit_id",),
    owner="customer_id",
    erase=OnErase.ANONYMISE,
    reason="that something was done stays on record; to whom and why is emptied",
    indexes=(
        Index(("tenant", "customer_id", "occurred_at", "audit_id"), where_present="customer_id"),
    ),
)
class AuditSubject:
    """To whom something in the audit was done, and why: the part of it that erasure empties.

    `told_as` is the id by which the customer was known then, `customer_id` who holds it by
    now. `nonce` salts the hash in the audit's row; without it nobody can tell by trying ids
    whom the row had meant. `unlinked` is a keyed hash that erasure leaves.
    """

    tenant: str = assigned()
    audit_id: str = assigned()
    customer_id: str | None = stored(
        Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE, default=None
    )
    told_as: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED, default=None)
    reason: str | None = stored(Data.FREE_TEXT, Origin.OBSERVED, default=None)
    nonce: str | None = stored(Data.FINGERPRINT, Origin.ASSIGNED, default=None)
    occurred_at: datetime = assigned()
    unlinked: str | None = _hash()
    sealed: str | None = seal(default=None)


@record("crm_audit_chains", key=("id",))
class AuditChain:
    """How far a tenant's audit is sealed, and how far its old rows were pruned.

    `sequence` and `hash` are those of the last row that was sealed, `pruned` and
    `pruned_hash` of the last one that was taken out; `mac` is the keyed hash of all that.
    """

    tenant: str = assigned()
    id: str = assigned()
    sequence: int = assigned()
    hash: str = stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP)
    pruned: int = assigned()
    pruned_hash: str = stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP)
    sealed_at: datetime = assigned()
    mac: str = stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP)
