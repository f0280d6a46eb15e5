"""Segments that rank are kept with each change, as a full recompute would say at every moment."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmkit import CRMService, MemoryStorage
from crmkit.model import Cutoff, Metrics, PointsAccount, Rank, SegmentState
from crmkit.model.rule import Top
from crmkit.ports.events import SegmentEntered, SegmentLeft
from crmkit.ports.storage import Storage
from crmkit.rules import f, in_segment
from crmkit.segmentation.asking import among
from crmkit.segmentation.ranking import Boundary, counted, passed, reaches, settled
from crmkit.testing import FrozenClock, together
from tests.properties.test_comings_and_goings import SHARED, STEPS, Base

# --- the boundary by itself ---

TOPS = st.one_of(
    st.builds(Top, st.just("points"), percent=st.integers(1, 100_000), bottom=st.booleans()),
    st.builds(Top, st.just("points"), count=st.integers(1, 9), bottom=st.booleans()),
)
NUMBERS = st.one_of(st.integers(-1, 4), st.integers(1, 40))


@attrs.frozen
class Sorted:
    """Seeks in a list."""

    values: Sequence[int]

    def nearest(self, value: int, *, up: bool) -> int | None:
        if up:
            return min((v for v in self.values if v >= value), default=None)
        return max((v for v in self.values if v <= value), default=None)

    def holders(self, value: int) -> int:
        return self.values.count(value)


def _beyond(top: Top, value: int, cutoff: int) -> bool:
    return value < cutoff if top.bottom else value > cutoff


@given(top=TOPS, changes=st.lists(st.tuples(st.integers(0, 11), NUMBERS), max_size=40))
@settings(max_examples=300)
def test_a_boundary_moves_to_where_sorting_puts_it(
    top: Top, changes: list[tuple[int, int]]
) -> None:
    """After each change, with its counts, and whoever it passes is told."""
    numbers: dict[int, int] = {}
    known = Boundary()
    for who, number in changes:
        old, new = numbers.get(who, 0), max(number, 0)
        before = known.value
        numbers[who] = new
        taking_part = [v for v in numbers.values() if v > 0]
        known = settled(top, counted(top, known, old, new), Sorted(taking_part))
        cutoff = among(top, taking_part)
        assert known.value == cutoff
        assert known.population == len(taking_part)
        assert known.reached == sum(reaches(top, v, cutoff) for v in taking_part)
        assert known.above == sum(
            cutoff is not None and _beyond(top, v, cutoff) for v in taking_part
        )
        edges = passed(top, before, cutoff) or (1, 0)
        for value in range(1, 45):
            turned = reaches(top, value, before) is not reaches(top, value, cutoff)
            assert turned == (edges[0] <= value <= edges[1])


@given(top=TOPS, changes=st.lists(st.tuples(st.integers(0, 11), NUMBERS), max_size=40))
def test_a_boundary_may_take_in_many_changes_at_once(
    top: Top, changes: list[tuple[int, int]]
) -> None:
    """It is then where each change by itself would have moved it."""
    numbers: dict[int, int] = {}
    known = Boundary()
    for who, number in changes:
        known = counted(top, known, numbers.get(who, 0), max(number, 0))
        numbers[who] = max(number, 0)
    taking_part = [v for v in numbers.values() if v > 0]
    assert settled(top, known, Sorted(taking_part)).value == among(top, taking_part)


# --- whole segments ---

RANKED: Mapping[str, Mapping[str, Any]] = {
    "best half": f.total_spend.top_percent(50),
    "best tenth": f.total_spend.top_percent(10),
    "best two": f.total_spend.top_count(2),
    "last two": f.total_spend.bottom_count(2),
    "last third": f.total_visits.bottom_percent(33),
    "best in town": f.total_spend.top_percent(50) & (f.city == "Cluj"),
    "best of late": f.total_spend.top_percent(50) & f.last_purchase.within("30d"),
    "once best": f.total_spend.top_count(1) & f.last_purchase.not_within("20d"),
    "not best": ~f.total_spend.top_count(1) & (f.total_visits >= 1),
    "collectors": f.points.top_count(1),
    "best of both": f.points.top_count(2) & f.total_spend.top_percent(50),
    "best elsewhere": in_segment("best half") & (f.city == "Roma"),
}
CHOSEN = st.lists(st.sampled_from(sorted(RANKED)), min_size=2, max_size=5, unique=True)


class Ranked(Base):
    """A small base of customers, of whom some are the best."""

    def __init__(self, storage: Storage, chosen: Sequence[str]) -> None:
        super().__init__(storage, [])
        self.told: dict[str, set[str]] = defaultdict(set)
        subscribers = cast(dict[type, Any], self.crm._runtime.events.subscribers)
        subscribers[SegmentEntered] = (lambda _, e: self.told[e.segment].add(e.customer_id),)
        subscribers[SegmentLeft] = (lambda _, e: self.told[e.segment].remove(e.customer_id),)
        self.names = list(dict.fromkeys(("best half", *chosen)))
        for name in self.names:
            self.crm.segments.create(name, RANKED[name])

    def check_told(self) -> None:
        """Who listens knows who is inside, but for who was merged or erased meanwhile."""
        for segment in self.crm.segments.list():
            with self.crm._runtime.read() as uow:
                found = uow.find(SegmentState, segment_id=segment.id)
            if segment.name in self.names:
                assert self.told[segment.name] == {s.customer_id for s in found if s.member}

    def check_ranks(self) -> None:
        """The numbers, and where each top begins, are what all facts say."""
        kept = read(self.crm)
        for name in self.names:
            self.crm.segments.change(name, rules=RANKED[name])  # and so counted anew
        assert read(self.crm) == kept


def read(crm: CRMService) -> tuple[Any, ...]:
    """What is kept of ranks, which must be what the metrics say."""
    with crm._runtime.read() as uow:
        ranks = {(r.customer_id, r.field): r.value for r in uow.find(Rank)}
        numbers = {
            (row.customer_id, field): value
            for kind, fields in _FIELDS.items()
            for row in uow.find(kind)
            for field, attribute in fields.items()
            if (value := getattr(row, attribute)) > 0 and field in {f for _, f in ranks}
        }
        assert ranks == numbers
        return ranks, {c.id: c for c in uow.find(Cutoff)}


_FIELDS: Mapping[type, Mapping[str, str]] = {
    Metrics: {"total_spend": "spend_minor", "total_visits": "visits"},
    PointsAccount: {"points": "balance"},
}


@given(chosen=CHOSEN, steps=st.lists(STEPS, max_size=20))
@SHARED
def test_ranked_segments_are_exact_after_every_step(
    storage: Storage, chosen: list[str], steps: list[tuple[Any, ...]]
) -> None:
    """Merges, voids and erasures among them, and time that nobody lets run."""
    base, merged = Ranked(storage, chosen), False
    for what, *of in steps:
        base.step(what, *of)
        base.check_members()
        if merged := merged or what in ("merge", "erase"):
            continue
        base.check_told()
    base.check_ranks()
    base.crm.run_due()
    base.check_members()
    assert not any(base.crm.segments.verify(name).pending for name in base.names)
