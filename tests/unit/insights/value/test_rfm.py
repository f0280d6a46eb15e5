"""Scores of recency, frequency and money."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from crmkit.insights.value.rfm import RFM_GROUPS, Buyer, Ranks, group, rfm


def test_ten_different_ones_make_five_pairs() -> None:
    found = rfm([Buyer(str(n), n, 10 - n, 5 * n) for n in range(10)])
    assert [f.recency for f in found] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert [f.frequency for f in found] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert [f.monetary for f in found] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert (found[0].code, found[0].customer_id) == ("551", "0")


def test_equal_values_score_equally_in_the_middle_of_their_ranks() -> None:
    """Of ten, seven bought once: the middle of their ranks is in the second fifth."""
    ranks = Ranks.of([1] * 7 + [2, 3, 4])
    assert [ranks.score(v) for v in (1, 2, 3, 4)] == [2, 4, 5, 5]


def test_where_all_are_equal_all_are_average() -> None:
    assert {f.code for f in rfm([Buyer(str(n), 9, 1, 50) for n in range(7)])} == {"333"}
    assert Ranks.of([]).score(1) == 3


@pytest.mark.parametrize(
    ("scores", "name"),
    [
        ((5, 5, 5), "champions"), ((4, 4, 5), "champions"), ((5, 1, 1), "new"),
        ((4, 1, 1), "promising"), ((3, 3, 3), "needs_attention"), ((1, 5, 5), "cannot_lose"),
        ((2, 3, 4), "at_risk"), ((1, 1, 1), "lost"), ((2, 1, 2), "hibernating"),
    ],
)  # fmt: skip
def test_the_groups(scores: tuple[int, int, int], name: str) -> None:
    assert group(*scores) == name


def test_every_score_has_a_group_and_every_group_a_score() -> None:
    named = Counter(group(*scores) for scores in product(range(1, 6), repeat=3))
    assert set(named) == set(RFM_GROUPS)
