"""Points and tiers: entries are the facts; lots, accounts and tier periods follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.model.catalogue import (
    Data,
    Gather,
    Index,
    OnErase,
    OnMerge,
    Origin,
    assigned,
    fold,
    record,
    seal,
    side,
    stored,
)

PROGRAMME = "points"
"""The name of a programme that is given none."""

_BOOKS = "points issued and used belong to the business's books; they name nobody"


@record(
    "crm_loyalty_entries",
    key=("id",),
    owner="customer_id",
    erase=OnErase.ANONYMISE,
    reason=_BOOKS,
    indexes=(
        Index(("tenant", "customer_id", "occurred_at")),
        Index(("tenant", "occurred_at", "customer_id")),
        Index(("tenant", "story")),
        Index(("tenant", "lot_id")),
        Index(("tenant", "redemption_id"), where_present="redemption_id"),
    ),
)
class PointsEntry:
    """A fact: points of one lot were issued, taken back, used or returned. Never changed.

    `kind` is ``earn``, ``reverse`` (of what was earned), ``adjust`` (by hand), ``burn`` (for
    a reward), ``return`` (a redemption was cancelled), ``waive`` (debt that is forgiven), or
    ``qualify`` (no points, but something that counts for the tier). `qualifying` is what the
    entry adds to what decides the tier. `story` is that of the activities the points belong
    to, `rule` what gave them, `version` the programme's as it was then. The lot's instants
    stand here too, so that sums of entries alone tell any balance.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    programme: str = assigned(default=PROGRAMME)
    lot_id: str | None = assigned(default=None)
    kind: str = assigned()
    points: int = stored(Data.BEHAVIOUR, Origin.OBSERVED, erase=OnErase.KEEP)
    qualifying: int = stored(Data.BEHAVIOUR, Origin.OBSERVED, erase=OnErase.KEEP)
    available_at: datetime = assigned()
    expires_at: datetime = assigned()
    story: str | None = stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP, default=None)
    rule: str | None = assigned(default=None)
    redemption_id: str | None = assigned(default=None)
    actor: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    reason: str | None = stored(Data.FREE_TEXT, Origin.OBSERVED, default=None)
    version: str | None = assigned(default=None)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record(
    "crm_loyalty_lots",
    key=("id",),
    owner="customer_id",
    indexes=(
        Index(("tenant", "customer_id", "status", "expires_at", "id")),
        Index(("tenant", "story")),
    ),
)
class PointsLot:
    """Points that were issued together, and what is left of them: the sum of their entries.

    They can be used from `available_at` on and before `expires_at`, the far end of time for
    what never does; `available_at` is there too where they wait for an event. `full` is what
    the rule gave for the whole story, before a cap, and `times` what it was multiplied by;
    `totals` is how that changed, by microseconds since 1970, where it did.
    Nothing is taken off `left` when time passes: what is past is past by its instants.
    `status` is ``open``, ``spent`` when nothing is left, or ``expired`` once that was seen.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    programme: str = assigned(default=PROGRAMME)
    source: str = assigned()
    rule: str | None = assigned(default=None)
    story: str | None = stored(Data.FINGERPRINT, Origin.ASSIGNED, default=None)
    times: str = assigned(default="1")
    full: int = stored(Data.BEHAVIOUR, Origin.OBSERVED, default=0)
    totals: Mapping[str, Any] = stored(Data.BEHAVIOUR, Origin.OBSERVED, factory=dict)
    left: int = stored(Data.BEHAVIOUR, Origin.OBSERVED, default=0)
    used: int = stored(Data.BEHAVIOUR, Origin.OBSERVED, default=0)
    status: str = assigned(default="open")
    earned_at: datetime = assigned()
    available_at: datetime = assigned()
    expires_at: datetime = assigned()
    origin: str | None = side(default=None)


@record(
    "crm_loyalty_accounts",
    key=("customer_id", "programme"),
    owner="customer_id",
    indexes=(Index(("tenant", "next_at", "customer_id"), where_present="next_at"),),
)
class PointsAccount:
    """What a customer's entries come to; no row means no points yet.

    `balance` and `pending` hold from `since` until `next_at`, when points become available
    or expire; from ever where nothing happened until then, and for ever where nothing comes.
    `qualifying` is the sum of all entries, also of those that lie ahead. `indebted` is the
    account of which points were taken back that had been used: what is left to be used only
    all its entries tell. `enrols` tells of facts of enrolment.
    """

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    programme: str = assigned(default=PROGRAMME)
    balance: int = fold(default=0)
    pending: int = fold(default=0)
    qualifying: int = fold(default=0)
    since: datetime | None = fold(default=None, gather=Gather.LAST)
    next_at: datetime | None = fold(default=None, gather=Gather.FIRST)
    indebted: bool = stored(Data.BEHAVIOUR, Origin.OBSERVED, merge=OnMerge.FOLD, default=False)
    enrols: bool = stored(Data.BEHAVIOUR, Origin.OBSERVED, merge=OnMerge.FOLD, default=False)


@record(
    "crm_loyalty_tiers",
    key=("customer_id", "programme", "since"),
    owner="customer_id",
    indexes=(
        Index(("tenant", "tell_at", "customer_id"), where_present="tell_at"),
        Index(("tenant", "warn_at", "customer_id"), where_present="warn_at"),
    ),
)
class TierPeriod:
    """A customer's tier from `since` until `until`, also ahead if nothing more happens.

    Periods of a customer neither overlap nor leave gaps from the first one on; before it, and
    without any, it is the first tier. `rank` is the tier's place, the lowest is 0. `cause` is
    ``reached``, ``lowered``, ``given``, or ``returned`` when a given tier ends. At `tell_at`
    it is told that the tier changed, and at `warn_at` that it is about to be lost; None where
    there is nothing to tell, any more.
    """

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    programme: str = assigned(default=PROGRAMME)
    since: datetime = assigned()
    until: datetime = assigned()
    rank: int = stored(Data.BEHAVIOUR, Origin.INFERRED, merge=OnMerge.FOLD)
    tier: str = stored(Data.BEHAVIOUR, Origin.INFERRED, merge=OnMerge.FOLD)
    cause: str = assigned()
    tell_at: datetime | None = assigned(default=None)
    warn_at: datetime | None = assigned(default=None)


@record(
    "crm_loyalty_grants",
    key=("id",),
    owner="customer_id",
    indexes=(Index(("tenant", "customer_id", "programme", "occurred_at")),),
)
class TierGrant:
    """A fact: a tier was given by hand or by a milestone until an instant, or taken (None).

    The one that happened last counts.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    programme: str = assigned(default=PROGRAMME)
    tier: str | None = stored(Data.BEHAVIOUR, Origin.OBSERVED, default=None)
    until: datetime = assigned()
    source: str = assigned(default="hand")
    actor: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    reason: str | None = stored(Data.FREE_TEXT, Origin.OBSERVED, default=None)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record(
    "crm_loyalty_enrolments",
    key=("id",),
    owner="customer_id",
    indexes=(Index(("tenant", "customer_id", "programme", "occurred_at")),),
)
class Enrolment:
    """A fact: a customer joined a programme, or left it."""

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    programme: str = assigned(default=PROGRAMME)
    joined: bool = stored(Data.BEHAVIOUR, Origin.PROVIDED)
    actor: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record(
    "crm_loyalty_redemptions",
    key=("id",),
    owner="customer_id",
    erase=OnErase.ANONYMISE,
    reason=_BOOKS,
    indexes=(
        Index(("tenant", "customer_id", "reward", "reserved_at")),
        Index(("tenant", "code"), unique=True, where_present="code"),
        Index(("tenant", "reward", "reserved_at")),
    ),
)
class Redemption:
    """A reward that was reserved, and what became of it.

    Reserved until `until`; without `fulfilled_at` or `cancelled_at` it is cancelled from then
    on. `code` is a keyed hash of the code that the customer shows. `taken` is what it took
    from the stock, 0 where the reward had none. `ended_by` is who handed it out or cancelled
    it, and `reason` why it was cancelled.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    programme: str = assigned(default=PROGRAMME)
    reward: str = stored(Data.BEHAVIOUR, Origin.OBSERVED, erase=OnErase.KEEP)
    cost: int = stored(Data.BEHAVIOUR, Origin.OBSERVED, erase=OnErase.KEEP)
    card: str | None = assigned(default=None)
    taken: int = assigned(default=0)
    code: str | None = stored(Data.FINGERPRINT, Origin.ASSIGNED, default=None)
    actor: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    ended_by: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    reason: str | None = stored(Data.FREE_TEXT, Origin.OBSERVED, default=None)
    reserved_at: datetime = assigned()
    until: datetime = assigned()
    fulfilled_at: datetime | None = assigned(default=None)
    cancelled_at: datetime | None = assigned(default=None)
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record("crm_loyalty_stocks", key=("programme", "reward"))
class RewardStock:
    """How many of a reward went out, as a number below zero; the stock is in the settings."""

    tenant: str = assigned()
    programme: str = assigned()
    reward: str = assigned()
    level: int = assigned(default=0)


@record(
    "crm_loyalty_milestones",
    key=("customer_id", "programme", "milestone"),
    owner="customer_id",
)
class Achievement:
    """A milestone that a customer reached; reached once, it stays."""

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    programme: str = assigned(default=PROGRAMME)
    milestone: str = assigned()
    reached_at: datetime = stored(Data.BEHAVIOUR, Origin.OBSERVED, merge=OnMerge.EARLIEST)


@record("crm_loyalty_programmes", key=("programme", "version"))
class ProgrammeVersion:
    """A programme as it was configured from an instant on.

    The one that began last applies. Tiers follow it customer by customer: those up to
    `recounted_to` do, and all since `recounted_at`.
    """

    tenant: str = assigned()
    programme: str = assigned()
    version: str = assigned()
    document: Mapping[str, Any] = assigned()
    since: datetime = assigned()
    recounted_to: str | None = assigned(default=None)
    recounted_at: datetime | None = assigned(default=None)
