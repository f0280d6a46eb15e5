"""What customers did, and the metrics that follow from it."""

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
from crmkit.model.money import Money


def _kept(data: Data, *, default: Any = None) -> Any:
    return stored(data, Origin.OBSERVED, erase=OnErase.KEEP, default=default)


@record(
    "crm_activities",
    key=("id",),
    owner="customer_id",
    erase=OnErase.ANONYMISE,
    reason="amounts and dates belong to the business's books; they name nobody",
    indexes=(
        Index(("tenant", "customer_id", "occurred_at", "id")),
        Index(("tenant", "story", "id")),
    ),
)
class Activity:
    """A fact about a customer: something happened at a moment.

    `reference` is the host's id of the booking, order or ticket; facts of one customer
    with one reference tell one story (booked, completed, refunded …). `story` is the keyed
    hash of both, so that the story still holds together when its person is erased; a fact
    without a reference is a story of its own and bears its own id. A correction belongs to
    the story of the activity that it `corrects`. Where participants bear parts of the
    amount, `shares` weighs them, by keyed hashes that a `Participation` leads to.
    """

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str | None = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    kind: str = _kept(Data.TECHNICAL)
    occurred_at: datetime = _kept(Data.TECHNICAL)
    recorded_at: datetime = assigned()
    amount_minor: int | None = _kept(Data.BEHAVIOUR)
    currency: str | None = _kept(Data.TECHNICAL)
    story: str = stored(Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP)
    status: str | None = _kept(Data.TECHNICAL)
    reference: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    item: str | None = _kept(Data.BEHAVIOUR)
    venue: str | None = _kept(Data.BEHAVIOUR)
    corrects: str | None = _kept(Data.TECHNICAL)
    shares: Mapping[str, int] = stored(
        Data.FINGERPRINT, Origin.OBSERVED, erase=OnErase.KEEP, factory=dict
    )
    payload: Mapping[str, Any] = stored(Data.FREE_TEXT, Origin.OBSERVED, factory=dict)
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)

    @property
    def amount(self) -> Money | None:
        """The amount, if the activity carries one."""
        if self.amount_minor is None or self.currency is None:
            return None
        return Money(self.amount_minor, self.currency)


@record(
    "crm_participations",
    key=("story", "share"),
    owner="customer_id",
    indexes=(Index(("tenant", "customer_id", "story")),),
)
class Participation:
    """That a customer bears a part of another's story: the `share` of that name.

    There is one too of who is only named in it, so that an erasure finds the name.
    """

    tenant: str = assigned()
    story: str = stored(Data.FINGERPRINT, Origin.ASSIGNED)
    share: str = stored(Data.FINGERPRINT, Origin.ASSIGNED)
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    origin: str | None = side(default=None)


@record(
    "crm_occasions",
    key=("story", "fact", "part", "since"),
    owner="customer_id",
    indexes=(
        # Rules ask of very many of them, so all that most rules ask is in the index.
        Index(
            (
                "tenant",
                "kind",
                "happened_at",
                "customer_id",
                "item",
                "venue",
                "part",
                "since",
                "until",
            )
        ),
        Index(("tenant", "customer_id", "kind", "happened_at")),
    ),
)
class Occasion:
    """What counts of an activity, and for how long: a fold of its story, for rules to ask.

    A version holds from `since` until `until`, None for good: a booking that is cancelled
    counts until then, a refund lowers `amount_minor` from then on, and what is voided never
    counted. `fact` is the id of the activity by which its story first said this.
    `part` 0 is the whole; where a list of several items was ordered, each item has
    a part of its own, from 1, whose amount is its part of the whole. No two parts of a fact
    name one item.
    """

    tenant: str = assigned()
    story: str = stored(Data.FINGERPRINT, Origin.ASSIGNED)
    fact: str = assigned()
    part: int = assigned(default=0)
    since: datetime = _kept(Data.TECHNICAL)
    until: datetime | None = _kept(Data.TECHNICAL)
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    kind: str = _kept(Data.TECHNICAL)
    happened_at: datetime = _kept(Data.TECHNICAL)
    item: str | None = _kept(Data.BEHAVIOUR)
    venue: str | None = _kept(Data.BEHAVIOUR)
    category: str | None = _kept(Data.BEHAVIOUR)
    channel: str | None = _kept(Data.BEHAVIOUR)
    status: str | None = _kept(Data.TECHNICAL)
    amount_minor: int | None = _kept(Data.BEHAVIOUR)
    party_size: int | None = _kept(Data.BEHAVIOUR)
    origin: str | None = side(default=None)


@record("crm_horizons", key=("id",))
class Horizon:
    """The latest instant that facts of a tenant spoke of when it still lay ahead.

    There is one once that has happened, and its id is the tenant's name. From that instant on,
    what is stored as it is now is what had happened by then.
    """

    tenant: str = assigned()
    id: str = assigned()
    until: datetime = assigned()


@record("crm_metrics", key=("customer_id",), owner="customer_id")
class Metrics:
    """Counts, sums and dates of one customer: a fold of the activities.

    Every customer has one. `orders` counts purchases and bookings that carry an amount;
    `guests` sums the party sizes of the `parties` that told theirs; a `…_minor` sum is in
    minor units of the tenant's currency.
    """

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    activities: int = fold(default=0)
    bookings: int = fold(default=0)
    completed_bookings: int = fold(default=0)
    orders: int = fold(default=0)
    visits: int = fold(default=0)
    events_attended: int = fold(default=0)
    cancellations: int = fold(default=0)
    no_shows: int = fold(default=0)
    refunds: int = fold(default=0)
    reviews: int = fold(default=0)
    referrals: int = fold(default=0)
    feedbacks: int = fold(default=0)
    support_requests: int = fold(default=0)
    messages_delivered: int = fold(default=0)
    messages_opened: int = fold(default=0)
    messages_clicked: int = fold(default=0)
    parties: int = fold(default=0)
    guests: int = fold(default=0)
    spend_minor: int = fold(default=0)
    first_booking_at: datetime | None = fold(default=None, gather=Gather.FIRST)
    last_booking_at: datetime | None = fold(default=None, gather=Gather.LAST)
    first_order_at: datetime | None = fold(default=None, gather=Gather.FIRST)
    last_order_at: datetime | None = fold(default=None, gather=Gather.LAST)
    first_visit_at: datetime | None = fold(default=None, gather=Gather.FIRST)
    last_visit_at: datetime | None = fold(default=None, gather=Gather.LAST)
    first_activity_at: datetime | None = fold(default=None, gather=Gather.FIRST)
    last_activity_at: datetime | None = fold(default=None, gather=Gather.LAST)


@record(
    "crm_counters",
    key=("customer_id", "dimension", "fingerprint"),
    owner="customer_id",
)
class Counter:
    """How often a customer chose something: a fold of the activities, like the metrics.

    `dimension` is item, venue, category, genre, channel, companions, slot or arrival;
    `value` the host's id of it where there is one, else its name, with its keyed hash in
    the key; `label` is the name it bore last. Each story counts once, and in a list of
    items each piece that was ordered.
    """

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    dimension: str = assigned()
    fingerprint: str = stored(Data.FINGERPRINT, Origin.ASSIGNED)
    value: str = fold(default="")
    label: str = fold(default="", gather=Gather.NAME)
    count: int = fold(default=0)
    spend_minor: int = fold(default=0)
    first_at: datetime | None = fold(default=None, gather=Gather.FIRST)
    last_at: datetime | None = fold(default=None, gather=Gather.LAST)
