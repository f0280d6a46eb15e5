"""Everything that metrics and counters say about one customer at an instant; pure."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, time, timedelta
from fractions import Fraction

import attrs

from crmkit.activities.metrics import Folded
from crmkit.config import Settings
from crmkit.insights.bands import frequency_band, lifecycle, spending_band
from crmkit.insights.habits import (
    Choice,
    DayShare,
    arrival_class,
    day_shares,
    favourite,
    heat,
    typical_arrival,
)
from crmkit.model import Counter, Customer, Metrics, Money
from crmkit.model.time import MONTH

_DAY = timedelta(days=1)


@attrs.frozen(kw_only=True)
class CustomerInsights:
    """The numbers of one customer as they stand at `at`; None where there is nothing to tell.

    The exact definitions are in the reference.
    """

    customer: Customer
    at: datetime
    total_bookings: int
    completed_bookings: int
    total_orders: int
    total_visits: int
    events_attended: int
    cancellations: int
    no_shows: int
    total_spent: Money
    average_booking_value: Money | None
    average_order_value: Money | None
    no_show_rate: float | None
    average_party_size: float | None
    booking_frequency_per_month: float
    visits_per_month: float
    first_booking_at: datetime | None
    last_booking_at: datetime | None
    first_order_at: datetime | None
    last_order_at: datetime | None
    first_visit_at: datetime | None
    last_visit_at: datetime | None
    first_activity_at: datetime | None
    last_activity_at: datetime | None
    days_since_last_visit: int | None
    lifecycle_stage: str
    spending_band: str
    frequency_band: str
    favourite_item: Choice | None
    preferred_venue: Choice | None
    favourite_category: Choice | None
    favourite_genre: Choice | None
    favourite_channel: Choice | None
    usual_group: Choice | None
    preferred_days: tuple[DayShare, ...]
    typical_arrival: time | None
    arrival: str | None


def insights(
    customer: Customer, folded: Folded, at: datetime, settings: Settings
) -> CustomerInsights:
    """What a customer's metrics and counters say at an instant.

    Of the counters of items the one that comes first is enough.
    """
    m, currency = folded.metrics, settings.currency
    of: dict[str, list[Counter]] = defaultdict(list)
    for counter in folded.counters:
        of[counter.dimension].append(counter)
    arrival = typical_arrival(of["arrival"], settings.day_end)
    return CustomerInsights(
        customer=customer,
        at=at,
        total_bookings=m.bookings,
        completed_bookings=m.completed_bookings,
        total_orders=m.orders,
        total_visits=m.visits,
        events_attended=m.events_attended,
        cancellations=m.cancellations,
        no_shows=m.no_shows,
        total_spent=Money(m.spend_minor, currency),
        average_booking_value=_average(m.spend_minor, m.bookings, currency),
        average_order_value=_average(m.spend_minor, m.orders, currency),
        no_show_rate=_ratio(m.no_shows, m.bookings + m.no_shows),
        average_party_size=_ratio(m.guests, m.parties),
        booking_frequency_per_month=_per_month(m.bookings, m.first_booking_at, at),
        visits_per_month=_per_month(m.visits, m.first_visit_at, at),
        first_booking_at=m.first_booking_at,
        last_booking_at=m.last_booking_at,
        first_order_at=m.first_order_at,
        last_order_at=m.last_order_at,
        first_visit_at=m.first_visit_at,
        last_visit_at=m.last_visit_at,
        first_activity_at=m.first_activity_at,
        last_activity_at=m.last_activity_at,
        days_since_last_visit=_days_since_visit(m, at),
        lifecycle_stage=lifecycle(m, at, settings.lifecycle),
        spending_band=spending_band(m.spend_minor, currency, settings.spending_bands),
        frequency_band=frequency_band(m.bookings),
        favourite_item=favourite(of["item"], currency),
        preferred_venue=favourite(of["venue"], currency),
        favourite_category=favourite(of["category"], currency),
        favourite_genre=favourite(of["genre"], currency),
        favourite_channel=favourite(of["channel"], currency),
        usual_group=favourite(of["companions"], currency),
        preferred_days=day_shares(heat(of["slot"])),
        typical_arrival=arrival,
        arrival=None if arrival is None else arrival_class(arrival, settings.day_end),
    )


def _average(minor: int, count: int, currency: str) -> Money | None:
    # A Fraction rounds exactly, a half to the even unit, as profiles do.
    return Money(round(Fraction(minor, count)), currency) if count else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _per_month(count: int, first: datetime | None, at: datetime) -> float:
    return 0.0 if first is None else count / max(1.0, (at - first) / MONTH)


def _days_since_visit(metrics: Metrics, at: datetime) -> int | None:
    last = metrics.last_visit_at or metrics.last_booking_at
    return None if last is None else (at - last) // _DAY
