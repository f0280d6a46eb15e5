"""What is told about segments and those in them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from crmkit.insights.numbers import CustomerInsights
from crmkit.model import Money
from crmkit.model.time import iso


@attrs.frozen
class Group:
    """Customers of one band or with one preference: how many there are at an instant.

    `kind` is the list of the overview that it stands in. `name` is the band, or the value of
    what they prefer; `label` is the name that it bore last. Who they are,
    `crm.segments.analytics.customers` tells.
    """

    kind: str
    name: str = attrs.field(repr=False)
    label: str = attrs.field(repr=False)
    count: int
    at: datetime


@attrs.frozen(kw_only=True)
class Overview:
    """All customers by band, in the order of the bands, and by preference, the largest first.

    Everybody is in one group of each band, and in at most one of each preference.
    """

    at: datetime
    spending_tiers: tuple[Group, ...]
    frequency_tiers: tuple[Group, ...]
    lifecycle_stages: tuple[Group, ...]
    game_preferences: tuple[Group, ...]
    category_preferences: tuple[Group, ...]
    venue_preferences: tuple[Group, ...]


@attrs.frozen
class Share:
    """How many customers are in a segment, and which share of all that is, from 0 to 1."""

    name: str
    count: int
    share: float


@attrs.frozen
class Distribution:
    """How all customers spread over the segments; who is in several counts in each."""

    at: datetime
    customers: int
    segments: tuple[Share, ...]


@attrs.frozen
class Side:
    """One of two segments that are compared; `average_spend` is None where nobody is in it."""

    name: str
    count: int
    spend: Money
    average_spend: Money | None


@attrs.frozen
class Comparison:
    """Two segments beside each other at an instant; `both` are in either."""

    at: datetime
    one: Side
    other: Side
    both: int

    @property
    def only_one(self) -> int:
        """How many are in the first only."""
        return self.one.count - self.both

    @property
    def only_other(self) -> int:
        """How many are in the second only."""
        return self.other.count - self.both

    @property
    def jaccard(self) -> float | None:
        """Those in both over those in any, from 0 to 1; None where nobody is in any."""
        of_any = self.one.count + self.other.count - self.both
        return self.both / of_any if of_any else None


@attrs.frozen
class Overlap:
    """How many customers two segments share, for each two of them.

    ``counts[i][j]`` are in ``names[i]`` and ``names[j]``; ``counts[i][i]`` in ``names[i]``.
    """

    at: datetime
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@attrs.frozen
class Step:
    """What became of a segment from `since` up to before `until`.

    `entered` and `left` count comings and goings, of one customer as often as they were;
    `members` are those in at the end.
    """

    since: datetime
    until: datetime
    entered: int
    left: int
    members: int


@attrs.frozen
class Stay:
    """That a customer is in a segment, or was.

    From `entered_at` until before `left_at`, None to this day; `version` is that of the
    rule by which they came in.
    """

    segment: str
    customer_id: str
    entered_at: datetime
    left_at: datetime | None
    version: int


@attrs.frozen
class CustomerMetadata:
    """The segments, bands and favourites of one customer, for the host to keep or show."""

    insights: CustomerInsights
    segments: tuple[str, ...]
    tags: tuple[str, ...] = attrs.field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """A JSON document; amounts are numbers in major units."""
        of = self.insights
        game, venue = of.favourite_item, of.preferred_venue
        average, last = of.average_booking_value, of.last_booking_at
        return {
            "segments": list(self.segments),
            "favorite_game_id": game.value if game else None,
            "favorite_game_name": game.label if game else None,
            "preferred_venue_id": venue.value if venue else None,
            "preferred_venue_name": venue.label if venue else None,
            "lifecycle_stage": of.lifecycle_stage,
            "spending_tier": of.spending_band,
            "frequency_tier": of.frequency_band,
            "last_booking_date": iso(last) if last else None,
            "days_since_last_visit": of.days_since_last_visit,
            "average_booking_value": float(average.amount) if average else None,
            "booking_frequency_per_month": of.booking_frequency_per_month,
            "marketing_tags": list(self.tags),
        }


BANDS: Final[Mapping[str, str]] = {
    "spending_tiers": "spending",
    "frequency_tiers": "frequency",
    "lifecycle_stages": "lifecycle",
}
"""The lists of an overview that are about a band, and that band."""

PREFERENCES: Final[Mapping[str, str]] = {
    "game_preferences": "item",
    "category_preferences": "category",
    "venue_preferences": "venue",
}
"""The lists of an overview that are about what customers prefer, and of which dimension."""
