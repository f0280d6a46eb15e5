"""Precision and recall by counting, held to precision and recall by looking at every pair."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.demo.quality import pairwise

grouping = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz")), max_size=12)


@given(grouping)
def test_counting_gives_what_looking_at_every_pair_gives(both: list[tuple[str, str]]) -> None:
    groups = {str(i): found for i, (found, _) in enumerate(both)}
    truth = {str(i): true for i, (_, true) in enumerate(both)}
    together = {p for p in combinations(groups, 2) if groups[p[0]] == groups[p[1]]}
    belonging = {p for p in combinations(truth, 2) if truth[p[0]] == truth[p[1]]}

    quality = pairwise(groups, truth.items())

    right = len(together & belonging)
    assert quality.precision == pytest.approx(right / len(together) if together else 1)
    assert quality.recall == pytest.approx(right / len(belonging) if belonging else 1)
    assert quality.records == len(both)
    assert quality.found == len(set(groups.values()))
    assert quality.true == len(set(truth.values()))


def test_records_without_a_group_do_not_count() -> None:
    quality = pairwise({"1": "a", "2": "a"}, [("1", "x"), ("2", "x"), ("3", "x")])

    assert (quality.records, quality.precision, quality.recall, quality.f1) == (2, 1, 1, 1)


def test_f1_of_nothing_right_is_zero() -> None:
    quality = pairwise({"1": "a", "2": "a", "3": "b"}, [("1", "x"), ("2", "y"), ("3", "y")])

    assert (quality.precision, quality.recall, quality.f1) == (0, 0, 0)
