"""What a story adds to the counters, dimension by dimension."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import Settings
from crmkit.activities.dimensions import Tally, companions, local, party_size, tallies
from crmkit.activities.stories import read
from crmkit.model import Activity

SETTINGS = Settings()
AT = datetime(2026, 1, 17, 21, tzinfo=UTC)  # a Saturday

Payload = dict[str, Any]


def fact(kind: str, amount: int | None = None, *, hours: float = 0, **payload: Any) -> Activity:
    return Activity(
        tenant="t",
        id=f"{kind} {hours} {payload}",
        customer_id="c",
        kind=kind,
        occurred_at=AT + timedelta(hours=hours),
        recorded_at=AT,
        amount_minor=amount,
        story="s",
        reference="r",
        payload=payload,
    )


def told(*facts: Activity, settings: Settings = SETTINGS) -> dict[str, dict[str, Tally]]:
    """The tallies of a story by dimension and value, the same whichever fact comes first."""
    found = tallies(read(facts, settings.kinds_by_name), settings)
    assert found == tallies(read(facts[::-1], settings.kinds_by_name), settings)
    by_dimension: dict[str, dict[str, Tally]] = {}
    for (dimension, value), tally in found.items():
        by_dimension.setdefault(dimension, {})[value] = tally
    return by_dimension


NAMED: dict[str, tuple[Payload, str, dict[str, str]]] = {
    "a name": ({"item": "Quiz"}, "item", {"Quiz": "Quiz"}),
    "an id alone": ({"item_id": "7"}, "item", {"7": "7"}),
    "an id and its name": ({"item_id": "7", "item": "Quiz"}, "item", {"7": "Quiz"}),
    "a number": ({"item_id": 7}, "item", {"7": "7"}),
    "zero": ({"item_id": 0}, "item", {"0": "0"}),
    "a game": ({"game": "Quiz"}, "item", {"Quiz": "Quiz"}),
    "the id of an event, the name of an item": (
        {"event_id": "e", "item": "Quiz"}, "item", {"e": "Quiz"},
    ),
    "an item before a game": ({"game": "B", "item": "A"}, "item", {"A": "A"}),
    "space around it": ({"item": " Quiz "}, "item", {"Quiz": "Quiz"}),
    "nothing but space": ({"item": "  "}, "item", {}),
    "neither text nor number": ({"item": True, "game": ["x"]}, "item", {}),
    "as long as a counter takes": ({"item": "x" * 500}, "item", {"x" * 200: "x" * 200}),
    "a venue": ({"venue_id": "v", "venue": "Centre"}, "venue", {"v": "Centre"}),
    "a category": ({"category": "escape"}, "category", {"escape": "escape"}),
    "a genre": ({"genre": "house"}, "genre", {"house": "house"}),
    "a channel": ({"channel": "app", "method": "PHONE"}, "channel", {"app": "app"}),
    "a method": ({"method": "PHONE", "referral_source": "x"}, "channel", {"PHONE": "PHONE"}),
    "a source": ({"referral_source": "website"}, "channel", {"website": "website"}),
    "people": ({"party_size": 4}, "companions", {"small group": "small group"}),
    "nobody says how many": ({}, "companions", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMED)
def test_which_value_counts_and_what_it_is_called(case: str) -> None:
    payload, dimension, expected = NAMED[case]
    found = told(fact("booking", **payload)).get(dimension, {})
    assert {value: tally.label for value, tally in found.items()} == expected
    assert all((tally.count, tally.first_at) == (1, AT) for tally in found.values())


def test_the_name_used_last_is_the_label() -> None:
    """An item that was renamed keeps its id and its count."""
    story = [
        fact("consumption", 10, item_id="7", item="Old"),
        fact("consumption", 10, hours=1, item_id="7", item="New"),
    ]
    assert told(*story)["item"] == {"7": Tally(1, 20, AT, AT + timedelta(hours=1), "New")}


def test_a_story_counts_a_value_once_and_each_value_it_names() -> None:
    """A booking, its check-in and two rounds at the bar, at one venue."""
    story = [
        fact("booking", 3_000, venue="V"),
        fact("check_in", hours=1, venue="V"),
        fact("consumption", 500, hours=2, venue="V", category="drink"),
        fact("consumption", 700, hours=3, venue="V", category="food"),
    ]
    found = told(*story)
    assert found["venue"] == {"V": Tally(1, 4_200, AT, AT + timedelta(hours=3), "V")}
    assert {v: (t.count, t.spend_minor) for v, t in found["category"].items()} == {
        "drink": (1, 500), "food": (1, 700),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["review", "refund", "completion", "message_opened"])
def test_words_about_a_visit_are_no_visit(kind: str) -> None:
    """Only a fact that moves a date or adds to the spend names what somebody chose."""
    assert told(fact(kind, item="Quiz", party_size=2)) == {}


LISTS: dict[str, tuple[list[Payload], dict[str, tuple[int, int]]]] = {
    "by price": (
        [{"name": "soup", "price": 10}, {"name": "fish", "price": "30.00"}],
        {"soup": (1, 250), "fish": (1, 750)},
    ),
    "by quantity and price": (
        [{"name": "beer", "quantity": 3, "price": 5}, {"name": "fish", "price": 25}],
        {"beer": (3, 375), "fish": (1, 625)},
    ),
    "an item on two lines": (
        [{"name": "beer", "price": 5}, {"name": "beer", "quantity": 2, "price": 5}],
        {"beer": (3, 1_000)},
    ),
    "by id": (
        [{"id": "7", "name": "beer", "price": 5}, {"id": 7, "name": "Beer", "price": 5}],
        {"7": (2, 1_000)},
    ),
    "thirds": (
        [{"name": n, "price": 1} for n in "abc"],
        {"a": (1, 333), "b": (1, 333), "c": (1, 334)},
    ),
    "no prices": ([{"name": "a"}, {"name": "b", "quantity": 2}], {"a": (1, 0), "b": (2, 0)}),
    "a gift among them": (
        [{"name": "a", "price": 5}, {"name": "gift"}], {"a": (1, 1_000), "gift": (1, 0)},
    ),
    "a discount weighs nothing": (
        [{"name": "a", "price": 5}, {"name": "voucher", "price": -2}],
        {"a": (1, 1_000), "voucher": (1, 0)},
    ),
    "a line without a name keeps its part": (
        [{"name": "a", "price": 5}, {"price": 5}], {"a": (1, 500)},
    ),
    "what is no line": (["beer", None, {"name": "a", "price": 1}], {"a": (1, 1_000)}),  # type: ignore[list-item]
    "prices that are none": (
        [{"name": "a", "price": "free"}, {"name": "b", "price": "NaN"}, {"name": "c", "price": 1}],
        {"a": (1, 0), "b": (1, 0), "c": (1, 1_000)},
    ),
    "an empty list": ([], {}),
}  # fmt: skip


@pytest.mark.parametrize("case", LISTS)
def test_a_list_of_items(case: str) -> None:
    """Ten euros were paid: each line counts its pieces and takes its part."""
    items, expected = LISTS[case]
    found = told(fact("order", 1_000, items=items)).get("item", {})
    assert {value: (t.count, t.spend_minor) for value, t in found.items()} == expected


@given(
    prices=st.lists(st.integers(1, 999), min_size=1, max_size=6),
    paid=st.integers(0, 100_000),
    back=st.integers(0, 100_000),
)
def test_shares_sum_to_what_was_kept(prices: list[int], paid: int, back: int) -> None:
    """To the last cent after any refund; nothing is negative."""
    items = [{"name": f"i{n}", "price": price} for n, price in enumerate(prices)]
    story = [fact("order", paid, items=items, venue="V"), fact("refund", back)]
    found = told(*story)
    shares = [t.spend_minor for t in found["item"].values()]
    assert sum(shares) == max(0, paid - back) == found["venue"]["V"].spend_minor
    assert min(shares) >= 0


def test_a_refund_is_shared_by_what_was_paid() -> None:
    """A third back of 60 and 30: each is left with two thirds."""
    story = [fact("booking", 6_000, item="a"), fact("consumption", 3_000, item="b")]
    found = told(*story, fact("refund", 3_000))["item"]
    assert {value: t.spend_minor for value, t in found.items()} == {"a": 4_000, "b": 2_000}


SLOTS: dict[str, tuple[str, str, str, str, str]] = {
    # zone, day ends, the check-in in UTC: slot, arrival
    "in winter": ("Europe/Rome", "00:00", "2026-01-17T20:50:00Z", "5 21", "21:45"),
    "in summer": ("Europe/Rome", "00:00", "2026-07-18T19:50:00Z", "5 21", "21:45"),
    "just before the quarter": ("UTC", "00:00", "2026-01-17T20:14:59Z", "5 20", "20:00"),
    "on the quarter": ("UTC", "00:00", "2026-01-17T20:15:00Z", "5 20", "20:15"),
    "after midnight": ("Europe/Rome", "00:00", "2026-01-18T00:30:00Z", "6 01", "01:30"),
    "of the night before": ("Europe/Rome", "06:00", "2026-01-18T00:30:00Z", "5 01", "01:30"),
    "as the night ends": ("Europe/Rome", "06:00", "2026-01-18T04:59:59Z", "5 05", "05:45"),
    "as the day begins": ("Europe/Rome", "06:00", "2026-01-18T05:00:00Z", "6 06", "06:00"),
    "as clocks go forward, before": (
        "Europe/Rome", "00:00", "2026-03-29T00:59:00Z", "6 01", "01:45",
    ),
    "as clocks go forward, after": (
        "Europe/Rome", "00:00", "2026-03-29T01:00:00Z", "6 03", "03:00",
    ),
    "as clocks go back, first": ("Europe/Rome", "00:00", "2026-10-25T00:30:00Z", "6 02", "02:30"),
    "as clocks go back, again": ("Europe/Rome", "00:00", "2026-10-25T01:30:00Z", "6 02", "02:30"),
    "the night clocks go forward": (
        "Europe/Rome", "06:00", "2026-03-29T03:59:00Z", "5 05", "05:45",
    ),
    "the night clocks go back": ("Europe/Rome", "06:00", "2026-10-25T04:59:00Z", "5 05", "05:45"),
    "the morning after": ("Europe/Rome", "06:00", "2026-10-25T05:00:00Z", "6 06", "06:00"),
    "far west": ("America/Los_Angeles", "00:00", "2026-01-18T03:00:00Z", "5 19", "19:00"),
}  # fmt: skip


@pytest.mark.parametrize("case", SLOTS)
def test_slot_and_arrival(case: str) -> None:
    """By the clock on the tenant's wall, on its business day."""
    zone, day_ends, at, slot, arrival = SLOTS[case]
    settings = Settings(timezone=zone, day_ends=day_ends)
    hours = (datetime.fromisoformat(at) - AT) / timedelta(hours=1)
    found = told(fact("check_in", hours=hours), settings=settings)
    assert (list(found["slot"]), list(found["arrival"])) == ([slot], [arrival])


def test_a_business_day_has_its_date_and_its_clock() -> None:
    night = Settings(day_ends="06:00")
    at = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
    assert local(at, night) == (date(2026, 2, 28), time(1, 30))
    assert local(at, SETTINGS) == (date(2026, 3, 1), time(1, 30))


def test_a_booking_is_for_when_it_starts() -> None:
    """Booked on Saturday for Tuesday at eight: the slot is Tuesday's, and nobody arrived."""
    booking = fact("booking", item="Quiz", starts_at="2026-01-20T20:00:00Z")
    found = told(booking)
    start = datetime(2026, 1, 20, 20, tzinfo=UTC)
    assert found["slot"] == {"1 20": Tally(1, 0, start, start, "1 20")}
    assert found["item"]["Quiz"].last_at == start
    assert "arrival" not in found


@pytest.mark.parametrize("start", ["soon", "2026-01-20", "2026-01-20T20:00:00", "", 20, None])
def test_a_start_that_is_no_instant_is_none(start: Any) -> None:
    """Kinds that do not know `starts_at` keep whatever came under that name."""
    assert list(told(fact("visit", starts_at=start))["slot"]) == ["5 21"]


def test_who_came_came_when_they_came() -> None:
    """With a check-in, the slot is that of the visit, whatever was booked."""
    booking = fact("booking", starts_at="2026-01-20T20:00:00Z")
    found = told(booking, fact("check_in", hours=72.25), fact("visit", hours=73))
    assert list(found["slot"]) == ["1 21"]
    assert sorted(found["arrival"]) == ["21:15", "22:00"]


@pytest.mark.parametrize(
    ("payload", "size", "group"),
    [
        ({"party_size": 1}, 1, "alone"),
        ({"party_size": 2}, 2, "pair"),
        ({"party_size": 3}, 3, "small group"),
        ({"party_size": 5}, 5, "small group"),
        ({"party_size": 6}, 6, "large group"),
        ({"companions": 0}, 1, "alone"),
        ({"companions": 1}, 2, "pair"),
        ({"companions": 5}, 6, "large group"),
        ({"party_size": 2, "companions": 7}, 2, "pair"),
    ],
)
def test_the_group_somebody_comes_in(payload: Payload, size: int, group: str) -> None:
    """`companions` are the others; `party_size` counts the guest and comes first."""
    assert party_size(payload) == size
    assert companions(size) == group


@pytest.mark.parametrize("payload", [{}, {"party_size": "4"}, {"companions": None}])
def test_a_group_of_which_nobody_told(payload: Payload) -> None:
    assert party_size(payload) == 0
