"""Referrals: a fact of two sides, each of which is its own customer's."""

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
    side,
    stored,
)

_BOTH = "what became of it stays for the other customer, without the person who was erased"


@record("crm_referral_codes", key=("fingerprint",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class ReferralCode:
    """A code that a customer hands to friends, as a keyed hash.

    `issued_to` is the id that it was made for; whoever holds that id by now is the referrer.
    """

    tenant: str = assigned()
    fingerprint: str = stored(Data.FINGERPRINT, Origin.ASSIGNED)
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    issued_to: str = stored(Data.TECHNICAL, Origin.ASSIGNED)
    origin: str | None = side(default=None)


@record(
    "crm_referrals",
    key=("id",),
    owner="customer_id",
    erase=OnErase.ANONYMISE,
    reason=_BOTH,
    indexes=(Index(("tenant", "customer_id"), where_present="customer_id"),),
)
class ReferralAccepted:
    """The side of a referral whose customer came by a code, and what became of it.

    `terms` are the programme's when it was accepted. What follows `flags` is a fold of what
    is known of both: `reason` why it is refused (``same_contact`` and ``referred_back`` are decided
    once and for all), `qualified_at` when the first booking or visit took place that still stands,
    `usable_at` when the points of it can be used, `within_limit` whether the referrer gets
    theirs. `kept_by` is the merge since which none of this changes any more.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    programme: str = assigned()
    terms: Mapping[str, Any] = assigned()
    accepted_at: datetime = assigned()
    recorded_at: datetime = assigned()
    flags: tuple[str, ...] = stored(Data.BEHAVIOUR, Origin.INFERRED, default=())
    reason: str | None = assigned(default=None)
    qualified_at: datetime | None = assigned(default=None)
    usable_at: datetime | None = assigned(default=None)
    within_limit: bool = assigned(default=True)
    kept_by: str | None = assigned(default=None)
    origin: str | None = side(default=None)


@record(
    "crm_referrals_made",
    key=("id",),
    owner="customer_id",
    erase=OnErase.ANONYMISE,
    reason=_BOTH,
    indexes=(Index(("tenant", "customer_id", "accepted_at", "id"), where_present="customer_id"),),
)
class ReferralMade:
    """The side of a referral whose customer had handed out the code; `id` is the referral's."""

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    programme: str = assigned()
    accepted_at: datetime = assigned()
    origin: str | None = side(default=None)
