"""By which booking or visit a referral counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count, permutations
from typing import Any

import pytest

from crmkit import Settings
from crmkit.activities.stories import read
from crmkit.loyalty.turns import Turn, makes_customer, turns, was_customer
from crmkit.model import Activity

KINDS = Settings().kinds_by_name
AT = datetime(2026, 1, 1, tzinfo=UTC)
_ids = (f"{n:04}" for n in count())


def on(day: float) -> datetime:
    return AT + timedelta(days=day)


def fact(kind: str, day: float, status: str | None = None, **more: Any) -> Activity:
    return Activity(
        tenant="t",
        id=next(_ids),
        customer_id="c",
        kind=kind,
        occurred_at=on(day),
        recorded_at=more.pop("recorded_at", on(1_000)),
        amount_minor=more.pop("amount", None),
        currency="EUR",
        story=more.pop("story", "s"),
        status=status,
        **more,
    )


def told(*stories: list[Activity], days: int = 14) -> list[tuple[float, float, float | None]]:
    """The turns, in days since the referral was accepted."""
    found = turns(stories, AT, days, KINDS)
    assert all(isinstance(turn, Turn) for turn in found)
    return [
        (_days(t.since), _days(t.start), None if t.end is None else _days(t.end)) for t in found
    ]


def _days(moment: datetime) -> float:
    return (moment - AT) / timedelta(days=1)


@pytest.mark.parametrize("kind", ["visit", "check_in", "attendance"])
def test_a_visit_counts_when_it_happens(kind: str) -> None:
    assert told([fact(kind, 2)]) == [(2, 2, None)]


@pytest.mark.parametrize("kind", ["purchase", "order", "ticket", "review", "consumption"])
def test_nothing_else_is_a_visit(kind: str) -> None:
    assert told([fact(kind, 2, amount=500)]) == []


def test_a_booking_counts_from_its_completion_on() -> None:
    assert told([fact("booking", 1)]) == []
    assert told([fact("booking", 1), fact("completion", 3)]) == [(3, 3, None)]
    assert told([fact("booking", 1), fact("booking", 4, "completed")]) == [(4, 4, None)]


def test_a_completion_of_nothing_is_no_visit() -> None:
    assert told([fact("completion", 3)]) == []


def test_what_was_before_the_code_does_not_count() -> None:
    assert told([fact("visit", -1)], [fact("visit", 5)]) == [(5, 5, None)]
    assert told([fact("visit", 0)]) == [(0, 0, None)]


def test_what_is_told_ahead_counts_at_once() -> None:
    ahead = fact("visit", 90, recorded_at=on(2))
    assert told([ahead]) == [(2, 2, None)]
    assert was_customer([ahead], on(3), KINDS)


def test_the_first_counts() -> None:
    assert told([fact("visit", 3)], [fact("visit", 1)]) == [(1, 1, None)]


@pytest.mark.parametrize("called_off", ["cancellation", "no_show", "refund"])
def test_what_is_called_off_within_the_window_gives_way(called_off: str) -> None:
    booking = [fact("booking", 1, "completed"), fact(called_off, 5)]
    assert told(booking) == [(1, 1, 5)]
    assert told(booking, [fact("visit", 9)]) == [(1, 1, 5), (9, 9, None)]


def test_what_came_in_the_meantime_counts_from_then_on() -> None:
    booking = [fact("booking", 1, "completed"), fact("cancellation", 5)]
    assert told(booking, [fact("visit", 3)]) == [(1, 1, 5), (3, 5, None)]


def test_what_came_and_went_in_the_meantime_never_counts() -> None:
    first = [fact("booking", 1, "completed"), fact("cancellation", 8)]
    second = [fact("booking", 2, "completed"), fact("cancellation", 6)]
    assert told(first, second) == [(1, 1, 8)]


@pytest.mark.parametrize(("day", "stands"), [(14.9, False), (15, True), (40, True)])
def test_after_the_window_it_stands(day: float, stands: bool) -> None:
    """The window of two weeks begins when it took place."""
    found = told([fact("booking", 1, "completed"), fact("cancellation", day)])
    assert found == [(1, 1, None if stands else day)]


def test_without_a_window_it_stands_at_once() -> None:
    booking = [fact("booking", 1, "completed"), fact("cancellation", 1.5)]
    assert told(booking, days=0) == [(1, 1, None)]


def test_a_void_counts_from_its_own_instant() -> None:
    visit = fact("visit", 1)
    for day, end in ((3, 3), (20, None)):
        assert told([visit, fact("void", day, corrects=visit.id)]) == [(1, 1, end)]


def test_a_part_given_back_leaves_the_visit() -> None:
    booking = [fact("booking", 1, "completed", amount=1_000), fact("refund", 2, amount=400)]
    assert told(booking) == [(1, 1, None)]
    assert told([*booking, fact("refund", 3, amount=600)]) == [(1, 1, 3)]


def test_what_takes_place_again_is_another_turn() -> None:
    again = [
        fact("booking", 1, "completed"),
        fact("booking", 2, "cancelled"),
        fact("booking", 4, "completed"),
    ]
    assert told(again) == [(1, 1, 2), (4, 4, None)]


def test_the_order_of_facts_does_not_matter() -> None:
    stories = [
        [fact("booking", 1, "completed", story="a"), fact("cancellation", 4, story="a")],
        [fact("visit", 3, story="b")],
        [fact("visit", 9, story="c")],
    ]
    for order in permutations(stories):
        assert told(*order) == [(1, 1, 4), (3, 4, None)]
        assert told(*(facts[::-1] for facts in order)) == [(1, 1, 4), (3, 4, None)]


@pytest.mark.parametrize("kind", ["booking", "purchase", "order", "ticket", "visit"])
def test_who_booked_ordered_or_came_is_a_customer(kind: str) -> None:
    facts = [fact(kind, 1, amount=100)]
    assert was_customer(facts, on(2), KINDS)
    assert not was_customer(facts, on(1), KINDS)
    assert makes_customer(read(facts, KINDS), KINDS)


def test_what_was_called_off_makes_no_customer() -> None:
    """But the story may matter, whenever it changes."""
    facts = [fact("booking", 1), fact("cancellation", 5)]
    assert not was_customer(facts, on(9), KINDS)
    assert makes_customer(read(facts, KINDS), KINDS)


@pytest.mark.parametrize("kind", ["review", "interaction", "message_opened"])
def test_who_only_spoke_is_no_customer(kind: str) -> None:
    assert not was_customer([fact(kind, 1)], on(2), KINDS)
    assert not makes_customer(read([fact(kind, 1)], KINDS), KINDS)
