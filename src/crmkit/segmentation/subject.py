"""What rules look at: one customer with everything known about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from crmkit.model import Customer, Metrics, Occasion, PointsAccount, Score, TierPeriod


@attrs.frozen(kw_only=True)
class Subject:
    """One customer with everything known about them at an instant.

    `account` and `tiers`, in order, are those of the first programme: the tiers at any
    instant, the account with the balance from when until when it holds. `consents` holds, by
    purpose and channel, until when the consent holds that stands, None where it was withdrawn;
    `memberships` and `kept_out` the segments that the customer was put into, or kept out of,
    by hand; `occasions` what they did, by kind, in the order of `happened_at`: every version,
    also those that no longer hold, or not yet. `score` is that of the last refresh, whatever
    the instant.
    """

    customer: Customer
    metrics: Metrics
    account: PointsAccount | None = None
    tiers: Sequence[TierPeriod] = ()
    score: Score | None = None
    tags: frozenset[str] = frozenset()
    consents: Mapping[tuple[str, str], datetime | None] = attrs.field(factory=dict)
    memberships: frozenset[str] = frozenset()
    kept_out: frozenset[str] = frozenset()
    occasions: Mapping[str, Sequence[Occasion]] = attrs.field(factory=dict)

    @property
    def begins_at(self) -> datetime:
        """The first fact about the customer; nobody is in a segment before."""
        first = self.metrics.first_activity_at
        made = self.customer.created_at
        return made if first is None else min(made, first)

    def consents_until(self, way: tuple[str, str], at: datetime) -> datetime | None:
        """Until when consent for a purpose on a channel holds that holds at an instant."""
        until = self.consents.get(way)
        return until if until is not None and at < until else None

    def is_settled(self, at: datetime) -> bool:
        """Whether nothing of what was done is known to happen after an instant."""
        last = self.metrics.last_activity_at
        return last is None or last <= at
