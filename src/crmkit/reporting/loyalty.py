"""Pictures of programmes: what customers hold, and how tiers are doing."""

from __future__ import annotations

from crmkit.loyalty.figures import (
    Liability,
    PointsDistribution,
    TierDistribution,
    TierFlow,
    TierTimeline,
)
from crmkit.reporting.svg import Point, Svg, bar_chart, column_chart, heat_map


def liability_chart(liability: Liability) -> Svg:
    """A column for each month with the points that expire in it, the last for those that do not."""
    points = [Point(f"{due.month:%Y-%m}", due.points) for due in liability.months]
    if liability.never:
        points.append(Point("never", liability.never))
    return column_chart("Points by month of expiry", points, unit="points")


def tiers_chart(distribution: TierDistribution) -> Svg:
    """A bar for each tier with how many customers have it."""
    shares = distribution.tiers if distribution.customers else ()
    return bar_chart("Customers by tier", [Point(s.tier, s.customers) for s in shares])


def points_chart(distribution: PointsDistribution) -> Svg:
    """A column for each band with how many customers hold so many points."""
    bands = distribution.bands if distribution.customers else ()
    points = [Point(band.label, band.customers) for band in bands]
    return column_chart("Customers by points", points, unit="customers")


def flow_chart(flow: TierFlow) -> Svg:
    """A grid of tiers before and after, the fuller the more customers went that way."""
    rows, counts = (*flow.tiers, "new"), (*flow.counts, flow.came)
    return heat_map("Customers by tier before and after", rows, flow.tiers, counts)


def timeline_chart(timeline: TierTimeline) -> Svg:
    """A grid of tiers, the highest above, and instants; the fuller the more customers."""
    columns = [f"{moment:%Y-%m-%d}" for moment in timeline.moments]
    return heat_map("Customers by tier over time", timeline.tiers[::-1], columns,
                    timeline.counts[::-1])  # fmt: skip
