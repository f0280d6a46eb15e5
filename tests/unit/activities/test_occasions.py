"""What counts of a story, and from when until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from crmkit import Settings
from crmkit.activities.occasions import occasions
from crmkit.model import Activity, Occasion
from crmkit.model.catalogue import evolved

SETTINGS = Settings()
AT = datetime(2026, 1, 17, 21, tzinfo=UTC)


def hour(n: int) -> datetime:
    return AT + timedelta(hours=n)


def fact(
    kind: str, amount: int | None = None, *, hours: int = 0, id: str = "", **more: Any
) -> Activity:
    """A fact of the one story; what is no column is payload."""
    columns = {c: more.pop(c) for c in ("corrects", "shares", "status") if c in more}
    return Activity(
        tenant="t",
        id=id or f"{kind} {hours}",
        customer_id="c",
        origin="o",
        kind=kind,
        occurred_at=hour(hours),
        recorded_at=AT,
        amount_minor=amount,
        story="s",
        reference="r",
        payload=more,
        **columns,
    )


def told(*facts: Activity) -> list[Occasion]:
    """The occasions of a story, the same in whatever order its facts come."""
    found = occasions(facts, SETTINGS)
    for shuffled in permutations(facts):
        assert occasions(shuffled, SETTINGS) == found
    return found


def brief(*facts: Activity) -> list[tuple[Any, ...]]:
    """Kind, amount, and from which hour until which; by their time."""
    return sorted(
        (
            (o.kind, o.amount_minor, _hours(o.since), o.until and _hours(o.until))
            for o in told(*facts)
            if o.part == 0
        ),
        key=lambda row: (row[2], row[0]),
    )


def _hours(at: datetime) -> int:
    return (at - AT) // timedelta(hours=1)


def parts(*facts: Activity) -> list[tuple[int, str | None, int | None]]:
    return [(o.part, o.item, o.amount_minor) for o in told(*facts)]


def test_a_plain_fact_counts_from_its_own_instant_for_good() -> None:
    visit = fact(
        "visit", item_id=7, item="Quiz", venue="V", category="C", channel="web", party_size=3,
        status="confirmed",
    )  # fmt: skip
    assert told(visit) == [
        Occasion(
            tenant="t", story="s", fact="visit 0", part=0, since=AT, until=None, customer_id="c",
            kind="visit", happened_at=AT, item="7", venue="V", category="C", channel="web",
            status="confirmed", amount_minor=None, party_size=3, origin="o",
        )
    ]  # fmt: skip


def test_facts_of_nobody_make_none() -> None:
    """The person was erased."""
    assert occasions([evolved(fact("visit"), customer_id=None)], SETTINGS) == []
    assert occasions([], SETTINGS) == []


def test_a_cancellation_ends_what_was_to_happen() -> None:
    booked, cancelled = fact("booking", 100), fact("cancellation", hours=2)
    assert brief(booked, cancelled) == [("booking", 100, 0, 2), ("cancellation", None, 2, None)]


def test_what_was_cancelled_before_it_was_told_never_counts() -> None:
    assert brief(fact("cancellation"), fact("booking", 100, hours=2)) == [
        ("cancellation", None, 0, None)
    ]


def test_a_status_that_is_taken_back_lets_it_count_again() -> None:
    """Two versions of one fact, with a time between in which it did not count."""
    said = [
        fact("booking", 100),
        fact("booking", hours=1, status="cancelled"),
        fact("booking", hours=2, status="confirmed"),
    ]
    assert brief(*said) == [("booking", 100, 0, 1), ("booking", 100, 2, None)]
    assert {o.fact for o in told(*said)} == {"booking 0"}
    assert {o.happened_at for o in told(*said)} == {AT}


def test_a_completion_is_an_occasion_of_its_own() -> None:
    """And leaves what was booked as it is."""
    assert brief(fact("booking", 100), fact("completion", hours=3)) == [
        ("booking", 100, 0, None),
        ("completion", None, 3, None),
    ]


def test_a_refund_lowers_what_was_paid_from_then_on() -> None:
    assert brief(fact("purchase", 100), fact("refund", 30, hours=1)) == [
        ("purchase", 100, 0, 1),
        ("purchase", 70, 1, None),
        ("refund", 30, 1, None),
    ]


def test_a_refund_of_all_leaves_nothing() -> None:
    found = brief(fact("purchase", 100), fact("refund", hours=1))
    assert ("purchase", 0, 1, None) in found
    assert ("refund", None, 1, None) in found


def test_a_refund_is_shared_out_by_what_was_paid() -> None:
    """To the last unit, the earlier fact's part rounded down."""
    found = brief(fact("purchase", 100), fact("ticket", 50, hours=1), fact("refund", 50, hours=2))
    assert found[2:] == [
        ("purchase", 66, 2, None), ("refund", 50, 2, None), ("ticket", 34, 2, None),
    ]  # fmt: skip


def test_at_one_instant_the_smaller_amount_comes_first_in_rounding() -> None:
    """Not the smaller id."""
    same = [fact("consumption", 2, id="b"), fact("consumption", 3, id="a")]
    found = told(*same, fact("refund", 1, hours=1))
    now = {o.fact: o.amount_minor for o in found if o.until is None}
    assert (now["b"], now["a"]) == (1, 3)


def test_equals_at_one_instant_are_told_apart_by_their_ids() -> None:
    same = [fact("consumption", 1, id=name) for name in "abc"]
    found = told(*same, fact("refund", 1, hours=1))
    now = {o.fact: o.amount_minor for o in found if o.until is None}
    assert [now[name] for name in "abc"] == [0, 1, 1]


def test_what_is_said_again_is_another_version_of_one_fact() -> None:
    """It happened when it was first said, and goes by the first id."""
    first, again = fact("booking", 100, venue="V"), fact("booking", 80, hours=1, party_size=2)
    old, new = told(first, again)
    assert (old.fact, old.amount_minor, old.party_size, old.until) == (
        "booking 0", 100, None, hour(1),
    )  # fmt: skip
    assert new == evolved(old, since=hour(1), until=None, amount_minor=80, party_size=2)


def test_what_says_nothing_new_makes_no_version() -> None:
    assert brief(fact("booking", 100), fact("booking", 100, hours=1)) == [("booking", 100, 0, None)]


def test_what_is_said_many_times_counts_each_time() -> None:
    drinks = [fact("consumption", 5, hours=n) for n in range(3)]
    assert brief(*drinks) == [("consumption", 5, n, None) for n in range(3)]


def test_what_is_voided_never_counted() -> None:
    """Also before the void."""
    booked = fact("booking", 100)
    assert told(booked, fact("void", hours=5, corrects=booked.id)) == []


def test_a_voided_cancellation_never_was() -> None:
    cancelled = fact("cancellation", hours=1)
    void = fact("void", hours=5, corrects=cancelled.id)
    assert brief(fact("booking", 100), cancelled, void) == [("booking", 100, 0, None)]


def test_an_amendment_tells_what_always_was() -> None:
    bought = fact("purchase", 100)
    change = fact("amendment", 90, hours=5, corrects=bought.id, changes={"venue": "W"})
    (one,) = told(bought, change)
    assert (one.amount_minor, one.venue, one.since, one.until) == (90, "W", AT, None)


def test_a_voided_first_fact_leaves_its_name_to_the_next() -> None:
    first, again = fact("booking", 100), fact("booking", 80, hours=1)
    (one,) = told(first, again, fact("void", hours=2, corrects=first.id))
    assert (one.fact, one.happened_at, one.since) == ("booking 1", hour(1), hour(1))


def test_the_payer_bears_what_others_do_not() -> None:
    """Before a refund and after it."""
    bill = fact("purchase", 100, shares={"": 3, "friend": 1})
    assert brief(bill) == [("purchase", 75, 0, None)]
    assert ("purchase", 38, 1, None) in brief(bill, fact("refund", 50, hours=1))


@pytest.mark.parametrize("kind", ["visit", "review"])
def test_an_amount_that_is_no_spending_is_told_as_it_is(kind: str) -> None:
    assert brief(fact(kind, 40)) == [(kind, 40, 0, None)]
    assert brief(fact(kind)) == [(kind, None, 0, None)]


def test_one_item_of_a_list_is_borne_by_the_whole() -> None:
    items = [{"id": "a", "price": 1}, {"id": "a", "price": 2}]
    assert parts(fact("purchase", 300, items=items)) == [(0, "a", 300)]


def test_several_items_are_parts_by_their_names() -> None:
    """Each has its part of the price; one that is listed twice has one part."""
    items = [{"id": "b", "price": 1}, {"name": "a", "price": 2}, {"id": "b", "price": 1}]
    assert parts(fact("purchase", 800, items=items)) == [
        (0, None, 800),
        (1, "a", 400),
        (2, "b", 400),
    ]


def test_what_a_sale_is_about_is_a_part_beside_its_list() -> None:
    """As in the counters all that was paid was paid for it."""
    items = [{"id": "b", "price": 1}, {"id": "c", "price": 3}]
    assert parts(fact("purchase", 400, item="Quiz", items=items)) == [
        (0, None, 400), (1, "Quiz", 400), (2, "b", 100), (3, "c", 300),
    ]  # fmt: skip


def test_a_refund_lowers_each_part() -> None:
    items = [{"id": "a", "price": 1}, {"id": "b", "price": 1}]
    found = told(fact("purchase", 400, items=items), fact("refund", 200, hours=1))
    now = [(o.part, o.amount_minor) for o in found if o.until is None and o.kind == "purchase"]
    assert now == [(0, 200), (1, 100), (2, 100)]


def test_only_the_parts_that_change_have_new_versions() -> None:
    """Another list changes which parts there are, not what the whole is."""
    one, other = ([{"id": "a", "price": 1}, {"id": n, "price": 1}] for n in "bc")
    found = told(fact("purchase", 400, items=one), fact("purchase", 400, hours=1, items=other))
    assert [(o.part, o.item, o.until is None) for o in found] == [
        (0, None, True), (1, "a", True), (2, "b", False), (2, "c", True),
    ]  # fmt: skip
