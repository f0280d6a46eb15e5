"""A set of segments for each line of business, with its thresholds; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from crmkit.config import Lifecycle, SpendingBands
from crmkit.errors import InvalidInput, unknown
from crmkit.presets.segments import (
    VISITS,
    abandoned_carts,
    at_risk,
    dormant,
    email_subscribers,
    frequency,
    habituals,
    high_spenders,
    influencers,
    lifecycle,
    loyalty_members,
    not_purchased,
    occasion_diners,
    occasionals,
    regulars,
    spending,
    tier_regulars,
    top_fans,
    vip_guests,
    vip_spenders,
    vip_value,
)
from crmkit.segmentation.definition import SegmentDefinition


@attrs.frozen
class Preset:
    """Segments for a line of business, and the settings whose bands agree with them.

    ``Settings(lifecycle=preset.lifecycle, spending_bands=preset.spending_bands)``.
    """

    name: str
    segments: tuple[SegmentDefinition, ...]
    lifecycle: Lifecycle
    spending_bands: SpendingBands

    def __iter__(self) -> Iterator[SegmentDefinition]:
        return iter(self.segments)

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, name: str) -> SegmentDefinition:
        """The segment of that name; raises `InvalidInput` with the nearest."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        raise InvalidInput(unknown("segment", name, [s.name for s in self]), field="name")

    def without(self, *names: str) -> Preset:
        """The same without these segments; raises `InvalidInput` for one that it has not."""
        gone = {self[name].name for name in names}
        return attrs.evolve(self, segments=tuple(s for s in self if s.name not in gone))


def _preset(
    name: str, bounds: Lifecycle, bands: SpendingBands | None, *segments: SegmentDefinition
) -> Preset:
    of = bands or SpendingBands()
    every = (*lifecycle(bounds), *spending(of), *frequency(), *segments, email_subscribers())
    return Preset(name, every, bounds, of)


def nightclub(
    *,
    new_days: int = 30,
    at_risk_days: int = 30,
    churned_days: int = 90,
    vip_percent: float = 10,
    habitual_visits: int = 4,
    regular_visits: int = 2,
    visit_kinds: Sequence[str] = VISITS,
    influencer_followers: int = 10_000,
    spending_bands: SpendingBands | None = None,
) -> Preset:
    """A club: who comes every week, who spends, and who has not been seen for a month."""
    return _preset(
        "nightclub",
        Lifecycle(new_days=new_days, active_days=at_risk_days, churned_days=churned_days),
        spending_bands,
        vip_spenders(vip_percent),
        habituals(habitual_visits, kinds=visit_kinds),
        regulars(regular_visits, kinds=visit_kinds),
        occasionals(regular_visits, kinds=visit_kinds),
        top_fans(vip_percent),
        at_risk(at_risk_days),
        influencers(influencer_followers),
        abandoned_carts(),
        dormant(),
    )


def restaurant(
    *,
    new_days: int = 30,
    at_risk_days: int = 60,
    churned_days: int = 180,
    vip_percent: float = 10,
    regular_visits: int = 2,
    visit_kinds: Sequence[str] = VISITS,
    high_average: int = 100,
    special_category: str = "special_event",
    spending_bands: SpendingBands | None = None,
) -> Preset:
    """A restaurant: regulars, high spenders, and who comes for special events alone."""
    return _preset(
        "restaurant",
        Lifecycle(new_days=new_days, active_days=at_risk_days, churned_days=churned_days),
        spending_bands,
        vip_value(vip_percent),
        regulars(regular_visits, kinds=visit_kinds),
        at_risk(at_risk_days),
        high_spenders(high_average),
        occasion_diners(special_category),
        loyalty_members(),
    )


def escape_rooms(
    *,
    new_days: int = 30,
    at_risk_days: int = 90,
    churned_days: int = 180,
    vip_percent: float = 10,
    spending_bands: SpendingBands | None = None,
) -> Preset:
    """Escape rooms: the bands; `fan_of` and `fans_of_category` add those of your games."""
    return _preset(
        "escape_rooms",
        Lifecycle(new_days=new_days, active_days=at_risk_days, churned_days=churned_days),
        spending_bands,
        vip_spenders(vip_percent),
        at_risk(at_risk_days),
    )


def playcentre(
    *,
    new_days: int = 30,
    at_risk_days: int = 90,
    churned_days: int = 180,
    tier: str = "PLATINUM",
    tag: str = "party-regular",
    min_bookings: int = 5,
    spending_bands: SpendingBands | None = None,
) -> Preset:
    """A centre for children and parties: members, and those who book party after party."""
    return _preset(
        "playcentre",
        Lifecycle(new_days=new_days, active_days=at_risk_days, churned_days=churned_days),
        spending_bands,
        tier_regulars(tier, tag, min_bookings),
        at_risk(at_risk_days),
        loyalty_members(),
    )


def ticketing(
    *,
    new_days: int = 30,
    at_risk_days: int = 90,
    churned_days: int = 180,
    vip_spend: int = 500,
    vip_events: int = 5,
    inactive_months: int = 6,
    patience: str = "1h",
    spending_bands: SpendingBands | None = None,
) -> Preset:
    """A seller of tickets: who did not finish an order, and who has not bought for long."""
    return _preset(
        "ticketing",
        Lifecycle(new_days=new_days, active_days=at_risk_days, churned_days=churned_days),
        spending_bands,
        vip_guests(vip_spend, vip_events),
        vip_spenders(),
        at_risk(at_risk_days),
        not_purchased(inactive_months),
        abandoned_carts(patience=patience),
        dormant(),
    )
