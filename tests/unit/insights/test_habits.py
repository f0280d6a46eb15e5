"""What counters say of a customer's choices and times."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

import pytest

from crmkit.insights.habits import (
    DayShare,
    arrival_class,
    choices,
    day_shares,
    favourite,
    heat,
    typical_arrival,
)
from crmkit.model import Counter

NIGHT = timedelta(hours=6)
MIDNIGHT = timedelta()


def counters(**counts: Any) -> list[Counter]:
    """Counters by value: a count, or count and spend."""
    return [
        Counter(
            tenant="t", customer_id="c", dimension="d", fingerprint="", value=value, label=value,
            count=n[0], spend_minor=n[1],
        )
        for value, given in counts.items()
        for n in [given if isinstance(given, tuple) else (given, 0)]
    ]  # fmt: skip


def arrivals(**counts: int) -> list[Counter]:
    """As ``arrivals(at2215=3)``."""
    return counters(**{f"{name[2:4]}:{name[4:]}": n for name, n in counts.items()})


def test_by_count_then_spend_then_name() -> None:
    found = choices(counters(b=(1, 5), a=(1, 5), c=(1, 9), d=(2, 0)), "EUR")
    assert [c.value for c in found] == ["d", "c", "a", "b"]
    assert favourite(counters(b=(1, 5), a=(1, 5)), "EUR") == found[2]
    assert favourite([], "EUR") is None


def test_a_choice_hides_what_was_chosen() -> None:
    """An item or a venue may tell of a person: it is in no repr."""
    assert "Prison" not in repr(choices(counters(Prison=1), "EUR"))


def test_days_by_their_share() -> None:
    """Of equal days the earlier in the week comes first."""
    grid = heat(counters(**{"5 23": 3, "5 0": 5, "4 22": 1, "0 9": 1}))
    assert grid[5][23] == 3
    assert day_shares(grid) == (
        DayShare("saturday", 8, 0.8), DayShare("monday", 1, 0.1), DayShare("friday", 1, 0.1),
    )  # fmt: skip
    assert day_shares(heat([])) == ()


@pytest.mark.parametrize(
    ("came", "day_end", "expected"),
    [
        (arrivals(), NIGHT, None),
        (arrivals(at2215=1), NIGHT, time(22, 15)),
        (arrivals(at2345=1, at0015=1), NIGHT, time(23, 45)),
        (arrivals(at2345=1, at0015=2), NIGHT, time(0, 15)),
        (arrivals(at2345=1, at0015=1, at0030=1), NIGHT, time(0, 15)),
        (arrivals(at2345=1, at0015=1), MIDNIGHT, time(0, 15)),
        (arrivals(at0545=1, at0600=2, at0615=2), NIGHT, time(6, 15)),
        (arrivals(at1900=10, at2300=9), NIGHT, time(19)),
        (arrivals(at1900=9, at2300=10), NIGHT, time(23)),
    ],
)
def test_typical_arrival(came: list[Counter], day_end: timedelta, expected: time | None) -> None:
    """The median, of two the earlier one, in the order of the business day."""
    assert typical_arrival(came, day_end) == expected


@pytest.mark.parametrize(
    ("arrival", "day_end", "expected"),
    [
        (time(10), NIGHT, "early"),
        (time(22, 45), NIGHT, "early"),
        (time(23), NIGHT, "medium"),
        (time(0, 45), NIGHT, "medium"),
        (time(1), NIGHT, "late"),
        (time(5, 45), NIGHT, "late"),
        (time(6), NIGHT, "early"),
        (time(1), MIDNIGHT, "early"),
        (time(23, 45), MIDNIGHT, "medium"),
        (time(6), timedelta(hours=6, minutes=10), "early"),
        (time(5, 45), timedelta(hours=6, minutes=10), "late"),
    ],
)
def test_arrival_class(arrival: time, day_end: timedelta, expected: str) -> None:
    """A quarter in which the business day ends belongs to the next."""
    assert arrival_class(arrival, day_end) == expected
