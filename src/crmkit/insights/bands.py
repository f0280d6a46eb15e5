"""Lifecycle stage, spending band and frequency band; pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from crmkit.config import Lifecycle, SpendingBands
from crmkit.model import Metrics
from crmkit.model.money import digits

LIFECYCLE_STAGES: Final = ("lead", "new", "active", "at_risk", "churned")
SPENDING_BANDS: Final = ("low", "medium", "high", "vip")
FREQUENCY_BANDS: Final = ("none", "one-time", "occasional", "regular", "frequent")


def lifecycle(metrics: Metrics, at: datetime, bounds: Lifecycle) -> str:
    """Lead, new, active, at_risk or churned: the first that holds, in this order.

    Counted from the first and last booking, order or visit.
    """
    firsts = [metrics.first_booking_at, metrics.first_order_at, metrics.first_visit_at]
    lasts = [metrics.last_booking_at, metrics.last_order_at, metrics.last_visit_at]
    first = min((t for t in firsts if t), default=None)
    last = max((t for t in lasts if t), default=None)
    if first is None or last is None or at < first:
        return "lead"
    if at - first < timedelta(days=bounds.new_days):
        return "new"
    if at - last < timedelta(days=bounds.active_days):
        return "active"
    if at - last <= timedelta(days=bounds.churned_days):
        return "at_risk"
    return "churned"


def spending_band(spend_minor: int, currency: str, bounds: SpendingBands) -> str:
    """Low below `medium`, medium below `high`, high up to `vip` itself, vip above."""
    unit: int = 10 ** digits(currency)
    if spend_minor > bounds.vip * unit:
        return "vip"
    if spend_minor >= bounds.high * unit:
        return "high"
    return "medium" if spend_minor >= bounds.medium * unit else "low"


def frequency_band(bookings: int) -> str:
    """None, one-time 1, occasional 2–4, regular 5–10, frequent above."""
    if bookings <= 1:
        return "one-time" if bookings == 1 else "none"
    if bookings <= 4:
        return "occasional"
    return "regular" if bookings <= 10 else "frequent"
