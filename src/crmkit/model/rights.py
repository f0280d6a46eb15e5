"""What people asked about their data, and what was put right for them."""

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
    side,
    stored,
)


@record(
    "crm_privacy_requests",
    key=("id",),
    owner="customer_id",
    erase=OnErase.ANONYMISE,
    reason="when a request came and was met is the proof of having met it (GDPR Art. 5(2))",
    indexes=(
        Index(("tenant", "status", "due_at", "id")),
        Index(("tenant", "customer_id", "received_at"), where_present="customer_id"),
        Index(("tenant", "call"), where_present="call"),
        Index(("tenant", "forget_at"), where_present="forget_at"),
    ),
)
class PrivacyRequest:
    """A request about somebody's data, and what became of it.

    `status` is open, completed or refused. `confirm_by` and `due_at` are the first instants
    that are too late. `contact` tells how to answer somebody who is no customer; from
    `forget_at` on it goes. `call` and `content` are keyed hashes of the `key=` that it came with.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    kind: str = assigned()
    jurisdiction: str = assigned()
    status: str = assigned()
    received_at: datetime = assigned()
    recorded_at: datetime = assigned()
    due_at: datetime = assigned()
    confirm_by: datetime | None = assigned(default=None)
    confirmed_at: datetime | None = assigned(default=None)
    verified_at: datetime | None = assigned(default=None)
    extended_at: datetime | None = assigned(default=None)
    closed_at: datetime | None = assigned(default=None)
    forget_at: datetime | None = assigned(default=None)
    contact: str | None = stored(Data.CONTACT, Origin.PROVIDED, default=None)
    details: str | None = stored(Data.FREE_TEXT, Origin.PROVIDED, default=None)
    extension: str | None = stored(Data.FREE_TEXT, Origin.OBSERVED, default=None)
    outcome: str | None = stored(Data.FREE_TEXT, Origin.OBSERVED, default=None)
    call: str | None = stored(
        Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP, default=None, shown=False
    )
    content: str | None = stored(Data.FINGERPRINT, Origin.ASSIGNED, default=None, shown=False)
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)

    @property
    def next_at(self) -> datetime:
        """When something is due next: confirming the receipt, else the answer."""
        if self.confirm_by is not None and self.confirmed_at is None:
            return min(self.confirm_by, self.due_at)
        return self.due_at


@record("crm_rectifications", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id", "occurred_at")),))  # fmt: skip
class Rectification:
    """A fact: fields of a profile were put right because somebody asked.

    `before` and `after` hold the values of the fields that changed; one that was empty is not
    in `before`, one that was emptied not in `after`.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    before: Mapping[str, Any] = stored(Data.FREE_TEXT, Origin.PROVIDED, factory=dict)
    after: Mapping[str, Any] = stored(Data.FREE_TEXT, Origin.PROVIDED, factory=dict)
    reason: str = stored(Data.FREE_TEXT, Origin.OBSERVED)
    actor: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)
