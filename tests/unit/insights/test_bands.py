"""The bands' edges, exactly as DESIGN §8 has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crmkit import Lifecycle, SpendingBands
from crmkit.insights.bands import (
    FREQUENCY_BANDS,
    SPENDING_BANDS,
    frequency_band,
    lifecycle,
    spending_band,
)
from crmkit.model import Metrics

AT = datetime(2026, 6, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def stage(first: timedelta, last: timedelta, family: str = "booking", **bounds: Any) -> str:
    """Of somebody whose first and last were so long ago."""
    dates: dict[str, Any] = {f"first_{family}_at": AT - first, f"last_{family}_at": AT - last}
    return lifecycle(Metrics(tenant="t", customer_id="c", **dates), AT, Lifecycle(**bounds))


def days(n: int) -> timedelta:
    return timedelta(days=n)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (days(0), days(0), "new"),
        (days(30) - TICK, days(0), "new"),
        (days(30), days(0), "active"),
        (days(400), days(90) - TICK, "active"),
        (days(400), days(90), "at_risk"),
        (days(400), days(180), "at_risk"),
        (days(400), days(180) + TICK, "churned"),
        (days(4_000), days(4_000), "churned"),
    ],
)
def test_lifecycle(first: timedelta, last: timedelta, expected: str) -> None:
    """New below 30 days; active below 90; at risk up to 180 inclusive; then churned."""
    assert stage(first, last) == expected


@pytest.mark.parametrize("family", ["booking", "order", "visit"])
def test_a_booking_an_order_and_a_visit_count(family: str) -> None:
    assert stage(days(100), days(5), family) == "active"


def test_a_lead_did_nothing_yet() -> None:
    """Being looked at, reviewing, and being written to make nobody a customer."""
    looked: dict[str, Any] = {"first_activity_at": AT, "last_activity_at": AT, "reviews": 3}
    metrics = Metrics(tenant="t", customer_id="c", **looked)
    assert lifecycle(metrics, AT, Lifecycle()) == "lead"


def test_of_several_the_first_and_the_last_count() -> None:
    metrics = Metrics(
        tenant="t",
        customer_id="c",
        first_booking_at=AT - days(20),
        last_booking_at=AT - days(20),
        first_visit_at=AT - days(200),
        last_visit_at=AT - days(190),
    )
    assert lifecycle(metrics, AT, Lifecycle()) == "active"


def test_a_nightclub_is_quicker() -> None:
    assert stage(days(100), days(45), new_days=10, active_days=30, churned_days=60) == "at_risk"
    assert stage(days(100), days(61), new_days=10, active_days=30, churned_days=60) == "churned"


@pytest.mark.parametrize(
    ("minor", "band"),
    [
        (-500, "low"), (0, "low"), (9_999, "low"), (10_000, "medium"), (49_999, "medium"),
        (50_000, "high"), (100_000, "high"), (100_001, "vip"), (10**15, "vip"),
    ],
)  # fmt: skip
def test_spending(minor: int, band: str) -> None:
    """Low [0,100) · medium [100,500) · high [500,1000] · vip (1000,∞)."""
    assert spending_band(minor, "EUR", SpendingBands()) == band
    assert band in SPENDING_BANDS


def test_spending_is_in_major_units_of_the_currency() -> None:
    assert spending_band(500, "JPY", SpendingBands()) == "high"
    assert spending_band(500_000, "KWD", SpendingBands()) == "high"
    assert spending_band(50, "JPY", SpendingBands(medium=10, high=20, vip=30)) == "vip"


@pytest.mark.parametrize(
    ("bookings", "band"),
    [
        (0, "none"), (1, "one-time"), (2, "occasional"), (4, "occasional"), (5, "regular"),
        (10, "regular"), (11, "frequent"), (10_000, "frequent"),
    ],
)  # fmt: skip
def test_frequency(bookings: int, band: str) -> None:
    """None 0 · one-time 1 · occasional 2–4 · regular 5–10 · frequent > 10."""
    assert frequency_band(bookings) == band
    assert band in FREQUENCY_BANDS
