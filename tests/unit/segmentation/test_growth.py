"""Counting who came and went between instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from crmkit.segmentation.growth import steps

START = datetime(2026, 1, 1, tzinfo=UTC)
moments = st.integers(-5, 25).map(lambda n: START + timedelta(days=n))
stays = st.lists(
    st.tuples(moments, st.none() | st.integers(1, 9)).map(
        lambda s: (s[0], None if s[1] is None else s[0] + timedelta(days=s[1]))
    )
)
edges = st.lists(st.integers(0, 20), min_size=2, max_size=6, unique=True).map(
    lambda days: [START + timedelta(days=n) for n in sorted(days)]
)


@given(edges, stays)
def test_each_step_is_what_a_count_of_the_stays_says(
    at: list[datetime], told: list[tuple[datetime, datetime | None]]
) -> None:
    """Members are those in just before the end; a stay ends before it is left."""
    found = steps(at, told)
    assert [(s.since, s.until) for s in found] == list(pairwise(at))
    for step in found:
        assert step.entered == sum(step.since <= came < step.until for came, _ in told)
        assert step.left == sum(
            went is not None and step.since <= went < step.until for _, went in told
        )
        assert step.members == sum(
            came < step.until and (went is None or went >= step.until) for came, went in told
        )
