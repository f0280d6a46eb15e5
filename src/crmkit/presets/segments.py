"""The segments one by one, each a function of its thresholds; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import product
from operator import and_, or_
from typing import Any, Final

from crmkit.config import Lifecycle, SpendingBands
from crmkit.rules import Condition, did, did_not, f
from crmkit.segmentation.definition import SegmentDefinition

VISITS: Final = ("visit", "check_in", "attendance")
"""The kinds that count as a visit under the default settings."""

_YES: Final = True
_FIRSTS: Final = (f.first_booking, f.first_purchase, f.first_visit)
_LASTS: Final = (f.last_booking, f.last_purchase, f.last_visit)


# --- parts of rules ---


def _any(conditions: Iterable[Condition]) -> Condition:
    return reduce(or_, conditions)


def _all(conditions: Iterable[Condition]) -> Condition:
    return reduce(and_, conditions)


def _came() -> Condition:
    """Booked, bought or came, ever."""
    return _any(first.exists() for first in _FIRSTS)


def _came_before(days: int) -> Condition:
    """Came first at least so many days ago."""
    return _any(first.not_within(f"{days}d") for first in _FIRSTS)


def _came_within(days: int) -> Condition:
    return _any(last.within(f"{days}d") for last in _LASTS)


def _often(times: int, kinds: Sequence[str], *where: Any, within: str | None = None) -> Condition:
    """At least so many times, all kinds together: each way in which they add up to it."""
    ways = (way for way in product(range(times + 1), repeat=len(kinds)) if sum(way) == times)
    return _any(
        _all(
            did(kind, *where, within=within).count >= part
            for kind, part in zip(kinds, way, strict=True)
            if part
        )
        for way in ways
    )


# --- bands ---


def spending(bands: SpendingBands | None = None) -> tuple[SegmentDefinition, ...]:
    """By what they spent: low, medium, high and vip."""
    of = bands or SpendingBands()
    spent = f.total_spend
    return (
        SegmentDefinition("spending_low", f"spent less than {of.medium}", spent < of.medium),
        SegmentDefinition(
            "spending_medium",
            f"spent from {of.medium} to less than {of.high}",
            (spent >= of.medium) & (spent < of.high),
        ),
        SegmentDefinition(
            "spending_high",
            f"spent from {of.high} to {of.vip}",
            spent.between(of.high, of.vip),
        ),
        SegmentDefinition("spending_vip", f"spent more than {of.vip}", spent > of.vip),
    )


def frequency() -> tuple[SegmentDefinition, ...]:
    """By how often they booked: none, one-time, occasional, regular and frequent."""
    booked = f.total_bookings
    return (
        SegmentDefinition("frequency_none", "never booked", booked <= 0),
        SegmentDefinition("frequency_one_time", "booked once", booked == 1),
        SegmentDefinition("frequency_occasional", "booked 2 to 4 times", booked.between(2, 4)),
        SegmentDefinition("frequency_regular", "booked 5 to 10 times", booked.between(5, 10)),
        SegmentDefinition("frequency_frequent", "booked more than 10 times", booked > 10),
    )


def lifecycle(bounds: Lifecycle | None = None) -> tuple[SegmentDefinition, ...]:
    """By when they first and last booked, bought or came: lead to churned."""
    of = bounds or Lifecycle()
    came, before = _came(), _came_before(of.new_days)
    active, held = _came_within(of.active_days), _came_within(of.churned_days)
    return (
        SegmentDefinition("lifecycle_lead", "never came", ~came),
        SegmentDefinition("lifecycle_new", f"came first within {of.new_days} days", came & ~before),
        SegmentDefinition(
            "lifecycle_active",
            f"not new, and came within {of.active_days} days",
            before & active,
        ),
        SegmentDefinition(
            "lifecycle_at_risk",
            f"came last {of.active_days} to {of.churned_days} days ago",
            before & ~active & held,
        ),
        SegmentDefinition(
            "lifecycle_churned",
            f"has not come for {of.churned_days} days",
            before & ~held,
        ),
    )


# --- by worth ---


def vip_spenders(percent: float = 10) -> SegmentDefinition:
    """Those who spent most."""
    return SegmentDefinition(
        "vip_spenders",
        f"the top {percent:g} % by what they spent",
        f.total_spend.top_percent(percent),
    )


def vip_value(percent: float = 10) -> SegmentDefinition:
    """Those of the highest lifetime value: the historic one, which is what they spent."""
    return SegmentDefinition(
        "vip_value",
        f"the top {percent:g} % by historic lifetime value",
        f.total_spend.top_percent(percent),
    )


def vip_guests(spend: int = 500, events: int = 5) -> SegmentDefinition:
    """Those who spent much and came to many events."""
    return SegmentDefinition(
        "vip_guests",
        f"spent {spend} or more and attended {events} events or more",
        (f.total_spend >= spend) & (f.events_attended >= events),
    )


def high_spenders(average: int = 100) -> SegmentDefinition:
    """Those who spend much on an order."""
    return SegmentDefinition(
        "high_spenders",
        f"spend more than {average} on an average order",
        f.average_order_value > average,
    )


# --- by how often and when they come ---


def habituals(
    visits: int = 4, within: str = "30d", kinds: Sequence[str] = VISITS
) -> SegmentDefinition:
    """Those who come every week."""
    return SegmentDefinition(
        "habituals",
        f"{visits} visits or more within {within}",
        _often(visits, kinds, within=within),
    )


def regulars(
    visits: int = 2, within: str = "30d", kinds: Sequence[str] = VISITS
) -> SegmentDefinition:
    """Those who come time and again."""
    return SegmentDefinition(
        "regulars", f"{visits} visits or more within {within}", _often(visits, kinds, within=within)
    )


def occasionals(
    visits: int = 2, within: str = "30d", kinds: Sequence[str] = VISITS
) -> SegmentDefinition:
    """Those who came, and are no regulars."""
    return SegmentDefinition(
        "occasionals",
        f"came, but fewer than {visits} times within {within}",
        (f.total_visits >= 1) & ~_often(visits, kinds, within=within),
    )


def top_fans(percent: float = 10) -> SegmentDefinition:
    """Those who came most often."""
    return SegmentDefinition(
        "top_fans", f"the top {percent:g} % by visits", f.total_visits.top_percent(percent)
    )


def new_customers(days: int = 30) -> SegmentDefinition:
    """Those who came first a short time ago."""
    return SegmentDefinition(
        "new_customers", f"came first within {days} days", _came() & ~_came_before(days)
    )


def at_risk(days: int = 30) -> SegmentDefinition:
    """Those who have stayed away, however long by now."""
    return SegmentDefinition(
        f"at_risk_{days}d", f"has not come for {days} days", _came() & ~_came_within(days)
    )


def not_purchased(months: int = 6) -> SegmentDefinition:
    """Those who bought once, but not lately."""
    return SegmentDefinition(
        f"not_purchased_{months}mo",
        f"bought last {months} months ago or earlier",
        f.last_purchase.not_within(f"{months}mo"),
    )


def dormant(messages: int = 3, days: int = 90, category: str | None = None) -> SegmentDefinition:
    """Those who were written to again and again, and opened nothing and did not come.

    `category` is that of the messages which count, such as those of a re-engagement; any
    message does without it.
    """
    where, within = () if category is None else (f.category == category,), f"{days}d"
    silent = did_not("message_opened", within=within) & did_not("message_clicked", within=within)
    return SegmentDefinition(
        "dormant",
        f"got {messages} messages or more within {within}, opened none and did not come",
        (did("message_delivered", *where, within=within).count >= messages)
        & silent
        & ~_came_within(days),
    )


def abandoned_carts(
    *,
    started: str = "funnel_step",
    category: str | None = "form_start",
    finished: str = "ticket",
    patience: str = "1h",
    within: str = "7d",
) -> SegmentDefinition:
    """Those who began to order and did not come to the end.

    Whoever did `started`, of that `category` if one is named, and not `finished` within
    `patience` after it.
    """
    where = () if category is None else (f.category == category,)
    return SegmentDefinition(
        "abandoned_carts",
        f"began within {within} and did not finish within {patience}",
        did(started, *where, within=within).not_then(did(finished), within=patience),
    )


def occasion_diners(category: str = "special_event", kind: str = "booking") -> SegmentDefinition:
    """Those who come for special events alone."""
    special = f.category == category
    return SegmentDefinition(
        "occasion_diners",
        "comes for special events alone",
        did(kind, special) & did_not(kind, ~special),
    )


# --- by who they are and what they said ---


def influencers(followers: int = 10_000) -> SegmentDefinition:
    """Those whom many follow on Instagram."""
    return SegmentDefinition(
        "influencers",
        f"more than {followers:,} followers on Instagram",
        f.instagram_followers > followers,
    )


def email_subscribers() -> SegmentDefinition:
    """Those who consent to e-mail."""
    return SegmentDefinition(
        "email_subscribers",
        "consents to marketing by e-mail",
        f["consent.marketing_email"] == _YES,
    )


def loyalty_members() -> SegmentDefinition:
    """Those who earned points."""
    return SegmentDefinition(
        "loyalty_members", "has earned loyalty points", f.qualifying_points > 0
    )


def tier_regulars(
    tier: str = "PLATINUM", tag: str = "party-regular", bookings: int = 5
) -> SegmentDefinition:
    """Those of a tier and a tag who book often."""
    return SegmentDefinition(
        f"{tier.lower()}_{tag}",
        f"tier {tier}, tag {tag}, and {bookings} bookings or more",
        (f.tier == tier) & f.tags.contains(tag) & (f.total_bookings >= bookings),
    )


# --- by taste ---


def fans_of_genre(genre: str) -> SegmentDefinition:
    """Those who said that they like a genre of music; ``fans_of_genre("rock")`` is fani-rock."""
    return SegmentDefinition(f"fani-{genre}", f"likes {genre}", f.music_genres.contains(genre))


def fan_of(item: str, times: int = 3, kinds: Sequence[str] = ("booking",)) -> SegmentDefinition:
    """Those who chose an item time and again: a game, a dish or an event."""
    return SegmentDefinition(
        f"fans of {item}",
        f"chose {item} {times} times or more",
        _often(times, kinds, f.item == item),
    )


def fans_of_category(
    category: str, times: int = 3, kinds: Sequence[str] = ("booking",)
) -> SegmentDefinition:
    """Those who chose a category time and again; of ``escape_room`` it is escape_room_fan."""
    return SegmentDefinition(
        f"{category}_fan",
        f"chose {category} {times} times or more",
        _often(times, kinds, f.category == category),
    )


def regular_at(
    venue: str, times: int = 3, kinds: Sequence[str] = ("booking",)
) -> SegmentDefinition:
    """Those who chose a venue time and again."""
    return SegmentDefinition(
        f"regulars at {venue}",
        f"chose {venue} {times} times or more",
        _often(times, kinds, f.venue == venue),
    )
