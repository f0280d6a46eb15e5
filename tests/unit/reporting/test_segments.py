"""Pictures of segments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

from crmkit.reporting.segments import (
    distribution_chart,
    groups_chart,
    growth_chart,
    overlap_chart,
)
from crmkit.segmentation.figures import Distribution, Group, Overlap, Share, Step

AT = datetime(2026, 3, 1, tzinfo=UTC)


def said(svg: str) -> str:
    """All text of a picture."""
    return " | ".join(ET.fromstring(svg).itertext())  # noqa: S314 - made here a line ago


def test_a_distribution_is_bars_with_shares() -> None:
    text = said(
        distribution_chart(Distribution(AT, 4, (Share("vip", 3, 0.75), Share("<b>", 1, 0.25))))
    )
    assert "vip: 3" in text
    assert "<b>: 1" in text


def test_groups_are_bars_by_their_labels() -> None:
    text = said(groups_chart("Games", [Group("game_preferences", "g1", "Crypt", 5, AT)]))
    assert "Games" in text
    assert "Crypt: 5" in text


def test_growth_is_a_column_for_each_step() -> None:
    steps = [Step(AT + timedelta(days=n), AT + timedelta(days=n + 1), 1, 0, n) for n in range(3)]
    text = said(growth_chart("vip", steps))
    assert "Members of vip" in text
    assert "2026-03-03: 2" in text


def test_overlap_is_a_grid() -> None:
    text = said(overlap_chart(Overlap(AT, ("vip", "fans"), ((3, 1), (1, 2)))))
    assert "vip, fans: 1" in text
    assert "fans, fans: 2" in text


def test_nothing_is_a_picture_too() -> None:
    assert "No data yet" in said(distribution_chart(Distribution(AT, 0, ())))
    assert "No data yet" in said(growth_chart("vip", []))
    assert "No data yet" in said(overlap_chart(Overlap(AT, ("a",), ((0,),))))
