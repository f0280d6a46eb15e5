"""A table of stories and what each is worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from crmkit import Kind, Programme, Settings
from crmkit.activities.metrics import NOTHING, Effect, Folded, advance
from crmkit.activities.metrics import effect as effect_of
from crmkit.activities.metrics import fold as fold_of
from crmkit.activities.stories import Story, read, stories
from crmkit.model import Activity, Metrics

SETTINGS = Settings()
AT = datetime(2026, 1, 15, 12, tzinfo=UTC)


def fact(
    kind: str,
    amount: int | None = None,
    *,
    ref: str | None = "r",
    day: int = 0,
    status: str | None = None,
    **payload: Any,
) -> Activity:
    identifier = f"{kind}-{day}-{amount}-{payload}"
    return Activity(
        tenant="t",
        id=identifier,
        customer_id="c",
        kind=kind,
        occurred_at=AT + timedelta(days=day),
        recorded_at=AT,
        amount_minor=amount,
        currency=None if amount is None else "EUR",
        story=ref or identifier,
        status=status,
        reference=ref,
        payload=payload,
    )


def told(*facts: Activity, settings: Settings = SETTINGS) -> Story:
    return read(facts, settings.kinds_by_name)


def effect(facts: Sequence[Activity], settings: Settings = SETTINGS) -> Effect:
    return effect_of(told(*facts, settings=settings), settings)


def fold(facts: Sequence[Activity]) -> Folded:
    return fold_of(Metrics(tenant="t", customer_id="c"), facts, SETTINGS, str)


CASES: dict[str, tuple[list[Activity], dict[str, int], int]] = {
    "a booking": ([fact("booking")], {"bookings": 1}, 0),
    "a booking with its price": (
        [fact("booking", 100)], {"bookings": 1, "orders": 1}, 100,
    ),
    "a booking for nothing": ([fact("booking", 0)], {"bookings": 1, "orders": 1}, 0),
    "completed by status": (
        [fact("booking", 100, status="completed")],
        {"bookings": 1, "orders": 1, "completed_bookings": 1}, 100,
    ),
    "completed by a fact": (
        [fact("booking"), fact("completion", day=1)], {"bookings": 1, "completed_bookings": 1}, 0,
    ),
    "completed twice": (
        [fact("booking"), fact("completion"), fact("completion", day=1)],
        {"bookings": 1, "completed_bookings": 1}, 0,
    ),
    "completed by nobody": ([fact("completion")], {}, 0),
    "cancelled": ([fact("booking", 100), fact("cancellation")], {"cancellations": 1}, 0),
    "cancelled twice": (
        [fact("booking", 100), fact("cancellation"), fact("cancellation", day=1)],
        {"cancellations": 1}, 0,
    ),
    "cancelled by status": ([fact("booking", 100, status="cancelled")], {"cancellations": 1}, 0),
    "cancelled by both": (
        [fact("booking", 100, status="cancelled"), fact("cancellation")], {"cancellations": 1}, 0,
    ),
    "completed, then cancelled": (
        [fact("booking", 100, status="completed"), fact("cancellation", day=1)],
        {"cancellations": 1}, 0,
    ),
    "cancelled, then completed": (
        [fact("cancellation"), fact("booking", 100, status="completed", day=1)],
        {"cancellations": 1}, 0,
    ),
    "nobody came": ([fact("booking", 100), fact("no_show")], {"no_shows": 1}, 0),
    "nobody came, by status": ([fact("booking", 100, status="no_show")], {"no_shows": 1}, 0),
    "a cancellation alone": ([fact("cancellation", ref=None)], {"cancellations": 1}, 0),
    "restated with another price": (
        [fact("booking", 100), fact("booking", 80, day=1)], {"bookings": 1, "orders": 1}, 80,
    ),
    "restated without a price": (
        [fact("booking", 100), fact("booking", day=1)], {"bookings": 1, "orders": 1}, 100,
    ),
    "restated without a status": (
        [fact("booking", 100, status="completed"), fact("booking", 80, day=1)],
        {"bookings": 1, "orders": 1, "completed_bookings": 1}, 80,
    ),
    "restated at the same instant": (
        [fact("booking", 80), fact("booking", 100), fact("booking")],
        {"bookings": 1, "orders": 1}, 100,
    ),
    "cancelled by status, then completed": (
        [fact("booking", 100, status="cancelled"), fact("booking", 100, status="completed", day=1)],
        {"bookings": 1, "orders": 1, "completed_bookings": 1}, 100,
    ),
    "nobody came by status, then completed": (
        [fact("booking", 100, status="no_show"), fact("booking", 100, status="completed", day=1)],
        {"bookings": 1, "orders": 1, "completed_bookings": 1}, 100,
    ),
    "completed by status, then cancelled": (
        [fact("booking", 100, status="completed"), fact("booking", 100, status="cancelled", day=1)],
        {"cancellations": 1}, 0,
    ),
    "cancelled by status, then nobody came": (
        [fact("booking", status="cancelled"), fact("booking", status="no_show", day=1)],
        {"no_shows": 1}, 0,
    ),
    "nobody came by a fact, then completed by status": (
        [fact("no_show"), fact("booking", 100, status="completed", day=1)], {"no_shows": 1}, 0,
    ),
    "cancelled and completed at the same instant": (
        [fact("booking", 80, status="cancelled"), fact("booking", 100, status="completed")],
        {"bookings": 1, "orders": 1, "completed_bookings": 1}, 100,
    ),
    "a part refunded": (
        [fact("purchase", 100), fact("refund", 30)], {"orders": 1, "refunds": 1}, 70,
    ),
    "refunded in parts": (
        [fact("purchase", 100), fact("refund", 30), fact("refund", 30, day=1)],
        {"orders": 1, "refunds": 2}, 40,
    ),
    "refunded in full": (
        [fact("purchase", 100), fact("refund")], {"orders": 1, "refunds": 1}, 0,
    ),
    "refunded too much": (
        [fact("purchase", 100), fact("refund", 130)], {"orders": 1, "refunds": 1}, 0,
    ),
    "refunded and cancelled": (
        [fact("booking", 100), fact("refund", 100), fact("cancellation")],
        {"refunds": 1, "cancellations": 1}, 0,
    ),
    "a refund of what is not known": ([fact("refund", 30)], {"refunds": 1}, 0),
    "a refund of times before crmkit": ([fact("refund", 30, ref=None)], {"refunds": 1}, -30),
    "a refund of nothing": ([fact("refund", ref=None)], {"refunds": 1}, 0),
    "a bar tab on a booking": (
        [fact("booking", 100), fact("consumption", 20), fact("consumption", 5)],
        {"bookings": 1, "orders": 1}, 125,
    ),
    "a free ticket": ([fact("ticket")], {"orders": 1}, 0),
    "a ticket and who came": (
        [fact("ticket", 20), fact("attendance"), fact("check_in")],
        {"orders": 1, "visits": 2, "events_attended": 1}, 20,
    ),
    "a visit": ([fact("visit", ref=None)], {"visits": 1}, 0),
    "a visit's amount is no spend": ([fact("visit", 50, ref=None)], {"visits": 1}, 0),
    "a review": ([fact("review", ref=None)], {"reviews": 1}, 0),
    "a referral": ([fact("referral", ref=None)], {"referrals": 1}, 0),
    "an interaction": ([fact("interaction", ref=None)], {}, 0),
    "nothing": ([], {}, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_a_story_is_worth(case: str) -> None:
    """Whichever fact is told first."""
    story, counts, spend = CASES[case]
    for order in (story, story[::-1]):
        found = effect(order)
        counters = {k: n for k, n in found.sums.items() if n}
        assert counters.pop("activities", 0) == len(story)
        assert counters.pop("spend_minor", 0) == spend
        assert counters == counts


def test_dates_of_a_story() -> None:
    """A restated booking keeps the date on which it was first said; a cancelled one has none."""
    story = [fact("booking", 100, day=2), fact("booking", 80, day=5), fact("refund", 10, day=9)]
    spans = effect(story).spans
    two, nine = AT + timedelta(days=2), AT + timedelta(days=9)
    assert spans == {"activity": (two, nine), "booking": (two, two), "order": (two, two)}
    assert set(effect([*story, fact("no_show")]).spans) == {"activity"}


def test_at_one_instant_the_content_decides_what_was_said_last() -> None:
    """The larger amount, the later status, then the greater text; never who came first."""
    kept = fact("booking", 80, status="cancelled", note="b")
    story = [
        kept,
        fact("booking", 80, status="completed", note="c"),
        fact("booking", 80, status="cancelled", note="a"),
        fact("booking", status="no_show", note="z"),
    ]
    for order in permutations(story):
        assert list(told(*order).said) == [kept]


def test_off_wins_over_completed() -> None:
    story = told(fact("completion"), fact("no_show"))
    assert story.off
    assert not story.completed


@pytest.mark.parametrize(
    ("story", "share"),
    [
        ([fact("booking")], (1, 1)),
        ([fact("booking", 0)], (1, 1)),
        ([fact("booking", 300)], (300, 300)),
        ([fact("booking", 300), fact("refund", 100)], (200, 300)),
        ([fact("booking", 300), fact("refund")], (0, 300)),
        ([fact("booking", 300), fact("refund", 900)], (0, 300)),
        ([fact("refund", 900)], (1, 1)),
        ([fact("booking"), fact("refund")], (0, 1)),
        ([fact("booking", 0), fact("refund")], (0, 1)),
        ([fact("booking"), fact("refund", 900)], (1, 1)),
    ],
)
def test_the_share_that_was_kept(story: list[Activity], share: tuple[int, int]) -> None:
    assert told(*story).kept_of_paid == share


def test_advancing_looks_back_only_where_a_date_may_be_lost() -> None:
    first = fact("booking", ref="a", day=1)
    metrics = fold([first, fact("booking", ref="b", day=3)]).metrics
    before = effect([first])
    assert advance(metrics, before, effect([first, fact("cancellation", ref="a")])) is None
    inner = fact("booking", ref="c", day=2)
    known = fold([first, inner, fact("booking", ref="b", day=3)]).metrics
    off = effect([inner, fact("cancellation", ref="c", day=2)])
    advanced = advance(known, effect([inner]), off)
    assert advanced is not None
    assert (advanced.bookings, advanced.cancellations) == (2, 1)
    assert advance(metrics, NOTHING, NOTHING) is metrics


def test_a_fact_without_a_reference_is_a_story_of_its_own() -> None:
    alone = [fact("visit", ref=None, day=n) for n in range(2)]
    found = stories([*alone, fact("booking"), fact("completion")])
    assert sorted(map(len, found)) == [1, 1, 2]
    assert fold([]) == Folded(Metrics(tenant="t", customer_id="c"), [])


def test_a_hosts_own_kind() -> None:
    """What it does to the metrics is what its declaration says."""
    rental = Kind(name="rental", counts=("orders",), dates=("order",), spends=True)
    settings = Settings(kinds=(rental,), programmes=[Programme(earn_rules=())])
    found = effect([fact("rental", 10), fact("rental", 5)], settings)
    assert (found.sums["orders"], found.sums["spend_minor"]) == (2, 15)
