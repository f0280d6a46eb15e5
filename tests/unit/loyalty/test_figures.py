"""What reports tell of a programme."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime

import pytest

from crmkit.loyalty.figures import (
    BANDS,
    QUANTILES,
    Due,
    Liability,
    PointsDistribution,
    TierDistribution,
    TierFlow,
    TierShare,
    TierTimeline,
    bands,
    quantiles,
)

AT = datetime(2026, 3, 1, tzinfo=UTC)
LIABILITY = Liability(
    programme="points",
    at=AT,
    usable=300,
    pending=50,
    debt=20,
    customers=4,
    owing=1,
    months=(Due(date(2026, 3, 1), 100), Due(date(2027, 1, 1), 200)),
    never=50,
)
TIERS = TierDistribution(
    programme="points",
    at=AT,
    customers=4,
    tiers=(TierShare("BRONZE", 3, 0.75), TierShare("GOLD", 1, 0.25)),
)
POINTS = PointsDistribution(
    programme="points",
    at=AT,
    customers=3,
    points=140,
    quantiles={50: 20},
    bands=bands({-5: 1, 20: 1, 125: 1}),
)
FLOW = TierFlow(
    programme="points",
    since=AT,
    until=datetime(2026, 4, 1, tzinfo=UTC),
    tiers=("BRONZE", "SILVER", "GOLD"),
    counts=((5, 2, 1), (3, 7, 4), (0, 6, 8)),
    came=(9, 0, 1),
)
TIMELINE = TierTimeline(
    programme="points",
    moments=(AT, FLOW.until),
    tiers=("BRONZE", "GOLD"),
    counts=((3, 2), (0, 1)),
)


def sheet(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize(
    "report", [LIABILITY, TIERS, POINTS, FLOW, TIMELINE], ids=lambda report: type(report).__name__
)
def test_reports_are_documents(
    report: Liability | TierDistribution | PointsDistribution | TierFlow | TierTimeline,
) -> None:
    document = report.to_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["programme"] == "points"


def test_a_liability_tells_all_that_is_outstanding() -> None:
    assert LIABILITY.outstanding == 350
    assert LIABILITY.to_dict()["months"] == {"2026-03": 100, "2027-01": 200}
    assert sheet(LIABILITY.to_csv()) == [
        ["expires", "points"],
        ["2026-03", "100"],
        ["2027-01", "200"],
        ["never", "50"],
    ]


def test_tiers_are_a_sheet() -> None:
    assert sheet(TIERS.to_csv())[1:] == [["BRONZE", "3", "0.75"], ["GOLD", "1", "0.25"]]


def test_bands_part_who_owes_who_has_nothing_and_the_rest() -> None:
    counted = {band.label: band.customers for band in bands({-3: 1, 0: 2, 1: 3, 99: 4, 10_000: 5})}
    assert list(counted)[:4] == ["owing", "0", "1–99", "100–249"]
    assert list(counted)[-2:] == ["5,000–9,999", "10,000+"]
    assert {label: n for label, n in counted.items() if n} == {
        "owing": 1,
        "0": 2,
        "1–99": 7,
        "10,000+": 5,
    }
    assert len(counted) == len(BANDS) + 2
    assert sheet(POINTS.to_csv())[1:4] == [["owing", "1"], ["0", "0"], ["1–99", "1"]]


def test_quantiles_are_balances_that_somebody_has() -> None:
    """The nearest rank: of four, one is a quarter."""
    assert quantiles({10: 1, 20: 1, 30: 1, 40: 1}) == {
        10: 10,
        25: 10,
        50: 20,
        75: 30,
        90: 40,
        99: 40,
    }
    assert quantiles({0: 89, 7: 10, 500: 1}) == {10: 0, 25: 0, 50: 0, 75: 0, 90: 7, 99: 7}
    assert quantiles({5: 3}) == dict.fromkeys(QUANTILES, 5)
    assert quantiles({}) == {}


def test_a_flow_tells_who_rose_fell_and_stayed() -> None:
    assert (FLOW.rose, FLOW.fell, FLOW.stayed) == (7, 9, 20)
    assert FLOW.to_dict()["counts"]["SILVER"] == {"BRONZE": 3, "SILVER": 7, "GOLD": 4}
    assert FLOW.to_dict()["came"] == {"BRONZE": 9, "SILVER": 0, "GOLD": 1}
    assert sheet(FLOW.to_csv()) == [
        ["from", "BRONZE", "SILVER", "GOLD"],
        ["BRONZE", "5", "2", "1"],
        ["SILVER", "3", "7", "4"],
        ["GOLD", "0", "6", "8"],
        ["", "9", "0", "1"],
    ]


def test_a_timeline_is_a_line_for_each_instant() -> None:
    assert sheet(TIMELINE.to_csv()) == [
        ["at", "BRONZE", "GOLD"],
        ["2026-03-01T00:00:00Z", "3", "0"],
        ["2026-04-01T00:00:00Z", "2", "1"],
    ]
