"""Pictures of segments: how customers spread over them, how one grew, how several overlap."""

from __future__ import annotations

from collections.abc import Iterable

from crmkit.reporting.svg import Point, Svg, bar_chart, column_chart, heat_map
from crmkit.segmentation.figures import Distribution, Group, Overlap, Step


def distribution_chart(distribution: Distribution) -> Svg:
    """A bar for each segment with how many are in it, the largest first."""
    points = [Point(s.name, s.count) for s in distribution.segments]
    return bar_chart("Customers by segment", points)


def groups_chart(title: str, groups: Iterable[Group]) -> Svg:
    """A bar for each group of an overview, in their order."""
    return bar_chart(title, [Point(group.label, group.count) for group in groups])


def growth_chart(name: str, steps: Iterable[Step]) -> Svg:
    """A column for the end of each step with how many were in the segment."""
    points = [Point(f"{step.since:%Y-%m-%d}", step.members) for step in steps]
    return column_chart(f"Members of {name}", points)


def overlap_chart(overlap: Overlap) -> Svg:
    """A grid of the segments, the fuller the more customers two of them share."""
    return heat_map("Customers in two segments", overlap.names, overlap.names, overlap.counts)
