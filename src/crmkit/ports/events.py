"""Domain events: how features hear of each other inside one unit of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import attrs

from crmkit.model import Customer, Merge
from crmkit.ports.storage import UnitOfWork


@attrs.frozen
class CustomerCreated:
    """A customer was created."""

    customer: Customer


@attrs.frozen
class ConsentStated:
    """A customer said yes or no to being contacted, while being found or created."""

    customer_id: str
    purpose: str
    channel: str
    granted: bool
    source: str
    at: datetime
    origin: str | None = None


@attrs.frozen
class ProfileChanged:
    """Fields or tags of a profile changed; `created` with the first of them."""

    customer_id: str
    at: datetime
    created: bool = False


@attrs.frozen
class ConsentChanged:
    """A fact was recorded of what a customer consents to."""

    customer_id: str
    at: datetime


@attrs.frozen
class PointsChanged:
    """Points were added or taken other than by activities."""

    customer_id: str
    at: datetime


@attrs.frozen
class ScoresRefreshed:
    """The scores of customers by the models of value are others than before."""

    customers: frozenset[str]
    at: datetime


@attrs.frozen
class TierChanged:
    """A customer's tier changed at that instant, by what happened or by time alone."""

    customer_id: str
    programme: str
    tier: str
    rank: int
    cause: str
    at: datetime


@attrs.frozen
class TierExpiring:
    """A customer's tier will be lost at that instant unless something comes."""

    customer_id: str
    programme: str
    tier: str
    at: datetime


@attrs.frozen
class SegmentEntered:
    """A customer came into a segment at that instant, by that version of its rule."""

    segment_id: str
    segment: str
    customer_id: str
    at: datetime
    version: int


@attrs.frozen
class SegmentLeft:
    """A customer left a segment at that instant, by that version of its rule."""

    segment_id: str
    segment: str
    customer_id: str
    at: datetime
    version: int


@attrs.frozen
class NumbersCorrected:
    """What is folded from a customer's activities was wrong, and was put right."""

    customer_id: str


@attrs.frozen
class CustomerErased:
    """A customer is about to be erased, maybe despite a hold; what is kept is still there."""

    customer_id: str
    at: datetime
    despite_hold: bool = False


@attrs.frozen
class ActivitiesAnonymised:
    """What these customers did long ago is linked to nobody any more; their numbers stay."""

    customers: frozenset[str]
    at: datetime


@attrs.frozen
class CustomersMerged:
    """The dropped customer's facts have moved to the kept one.

    Those of the dropped side have one of these in `origin`; what is folded from facts has
    not moved yet.
    """

    merge: Merge
    dropped_side: frozenset[str]


@attrs.frozen
class MergeUndone:
    """The dropped customer is there again, and has the facts of its side back.

    `merge.customer_id` is the customer out of whom it came; `sent` are stories that had
    begun while both were one and were sent along.
    """

    merge: Merge
    sent: frozenset[str]


Subscriber: TypeAlias = Callable[[UnitOfWork, Any], None]


@attrs.frozen
class Events:
    """Who hears of what, in order; a subscriber that raises undoes the unit of work."""

    subscribers: Mapping[type, Sequence[Subscriber]] = attrs.field(factory=dict)

    def publish(self, uow: UnitOfWork, event: object) -> None:
        """Tell the event's subscribers, inside the unit of work."""
        for subscriber in self.subscribers.get(type(event), ()):
            subscriber(uow, event)
