"""Points: the entries are the facts, the account is their sum."""

from __future__ import annotations

from datetime import datetime

from crmkit.model.catalogue import (
    Data,
    Index,
    OnErase,
    OnMerge,
    Origin,
    assigned,
    fold,
    record,
    side,
    stored,
)


@record(
    "crm_loyalty_entries",
    key=("id",),
    owner="customer_id",
    erase=OnErase.ANONYMISE,
    reason="points issued and used belong to the business's books; they name nobody",
    indexes=(
        Index(("tenant", "customer_id", "occurred_at")),
        Index(("tenant", "occurred_at", "customer_id")),
        Index(("tenant", "story")),
    ),
)
class PointsEntry:
    """A fact: points were earned, reversed or adjusted. Never changed, never removed.

    `qualifying` is what the entry adds to the points that decide the tier. `story` is
    that of the activities the points belong to.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    kind: str = assigned()
    points: int = stored(Data.BEHAVIOUR, Origin.OBSERVED, erase=OnErase.KEEP)
    qualifying: int = stored(Data.BEHAVIOUR, Origin.OBSERVED, erase=OnErase.KEEP)
    story: str | None = stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP, default=None)
    reason: str | None = stored(Data.FREE_TEXT, Origin.OBSERVED, default=None)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)


@record("crm_loyalty_accounts", key=("customer_id",), owner="customer_id")
class PointsAccount:
    """The sums of a customer's points entries; no row means no points yet."""

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    balance: int = fold(default=0)
    qualifying: int = fold(default=0)
