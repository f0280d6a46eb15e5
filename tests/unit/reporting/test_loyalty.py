"""Pictures of programmes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from xml.etree import ElementTree as ET

import attrs
import pytest

from crmkit.loyalty.figures import (
    Due,
    Liability,
    PointsDistribution,
    TierDistribution,
    TierFlow,
    TierShare,
    TierTimeline,
    bands,
)
from crmkit.reporting.loyalty import (
    flow_chart,
    liability_chart,
    points_chart,
    tiers_chart,
    timeline_chart,
)
from crmkit.reporting.svg import Svg

AT = datetime(2026, 3, 1, tzinfo=UTC)
NEXT = datetime(2026, 4, 1, tzinfo=UTC)
NASTY = "<i> & 'co"
LIABILITY = Liability(
    programme="points", at=AT, usable=300, pending=0, debt=0, customers=1, owing=0,
    months=(Due(date(2026, 3, 1), 100),), never=200,
)  # fmt: skip
TIERS = TierDistribution(
    programme="points", at=AT, customers=4,
    tiers=(TierShare("BRONZE", 3, 0.75), TierShare(NASTY, 1, 0.25)),
)  # fmt: skip
POINTS = PointsDistribution(
    programme="points", at=AT, customers=2, points=0, quantiles={}, bands=bands({-5: 1, 5: 1})
)
FLOW = TierFlow(
    programme="points", since=AT, until=NEXT, tiers=("BRONZE", NASTY),
    counts=((5, 2), (0, 7)), came=(9, 0),
)  # fmt: skip
TIMELINE = TierTimeline(
    programme="points", moments=(AT, NEXT), tiers=("BRONZE", NASTY), counts=((3, 2), (0, 1))
)
PICTURES = {
    "liability": liability_chart(LIABILITY),
    "tiers": tiers_chart(TIERS),
    "points": points_chart(POINTS),
    "flow": flow_chart(FLOW),
    "timeline": timeline_chart(TIMELINE),
}


def said(svg: str) -> str:
    """All text of a picture."""
    return " | ".join(ET.fromstring(svg).itertext())  # noqa: S314 - made here a line ago


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_well_formed_and_fit_for_darkness(name: str) -> None:
    picture = PICTURES[name]
    assert isinstance(picture, Svg)
    assert "<i>" not in picture
    assert "prefers-color-scheme:dark" in picture
    assert "<script" not in picture
    assert said(picture)


def test_a_liability_is_a_column_for_each_month_and_one_for_never() -> None:
    text = said(PICTURES["liability"])
    assert "2026-03: 100 points" in text
    assert "never: 200 points" in text
    assert "never" not in said(liability_chart(attrs.evolve(LIABILITY, never=0)))


def test_tiers_are_bars_with_shares() -> None:
    text = said(PICTURES["tiers"])
    assert "BRONZE: 3 (75.0%)" in text
    assert f"{NASTY}: 1 (25.0%)" in text


def test_points_are_columns_by_band() -> None:
    assert "owing: 1 customers" in said(PICTURES["points"])


def test_a_flow_is_a_grid_with_a_row_for_who_came() -> None:
    text = said(PICTURES["flow"])
    assert f"BRONZE, {NASTY}: 2" in text
    assert "new, BRONZE: 9" in text


def test_a_timeline_has_the_highest_tier_above() -> None:
    text = said(PICTURES["timeline"])
    assert "BRONZE, 2026-04-01: 2" in text
    assert text.index(f"{NASTY}, 2026-03-01") < text.index("BRONZE, 2026-03-01")


def test_nothing_is_a_picture_too() -> None:
    empty = (
        liability_chart(attrs.evolve(LIABILITY, months=(), never=0)),
        tiers_chart(attrs.evolve(TIERS, customers=0)),
        points_chart(attrs.evolve(POINTS, customers=0)),
        flow_chart(attrs.evolve(FLOW, counts=((0, 0), (0, 0)), came=(0, 0))),
        timeline_chart(attrs.evolve(TIMELINE, counts=((0, 0), (0, 0)))),
    )
    for picture in empty:
        assert "No data yet" in said(picture)
