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
from crmkit.model import Cutoff, Metrics, PointsAccount, Rank, SegmentState, SegmentStay
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
        stored: list[tuple[Mapping[str, str], list[Any]]]
        stored = [(fields, uow.find(kind)) for kind, fields in _FIELDS.items()]
        numbers = {
            (row.customer_id, field): value
            for fields, rows in stored
            for row in rows
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


def test_a_job_that_ranks_now_and_then_is_wrong_in_between() -> None:
    """The naive way: what it kept an hour ago is not what a full recompute says now."""
    base = Ranked(MemoryStorage(), ["best two", "last two", "best in town", "not best"])
    wrong: set[str] = set()
    looked: dict[str, list[str]] = {}
    for n in range(12):
        base.step("do", n % 4, "purchase", (20, 60, 120)[n % 3], "X", n, 0)
        base.step("do", n % 4, "visit", 20, "X", n, 0)
        base.step("move", n % 3, ("Cluj", "Roma")[n % 2])
        base.step("wait", 15)
        for name in base.names:
            right = [c.id for c in base.crm.segments.members(name)]
            if n % 4 == 0:
                looked[name] = right
            if looked[name] != right:
                wrong.add(name)
            assert _kept(base.crm, name) == right
    assert wrong == {*base.names}


def _kept(crm: CRMService, name: str) -> list[str]:
    segment = crm.segments.get(name)
    with crm._runtime.read() as uow:
        found = uow.find(SegmentState, segment_id=segment.id, member=True)
    return sorted(s.customer_id for s in found)


# --- many at once ---

THREADS, CALLS, PEOPLE = 8, 40, 25
both_databases = pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)


def _busy(crm: CRMService, people: list[str], seed: int) -> None:
    """One thread's calls: most of them move somebody's numbers."""
    rng = random.Random(seed)
    done: list[str] = []
    for n in range(CALLS):
        who = rng.choice(people)
        match rng.randrange(10):
            case 0:
                crm.customers.update(who, {"city": rng.choice(["Cluj", "Roma"])})
            case 1 if done:
                crm.activities.void(done.pop())
            case 2:
                crm.loyalty.update_points(who, rng.choice([10, 20]), reason="goodwill")
            case 3:
                crm.find_or_create({"user_id": f"new {seed} {n}", "city": "Cluj"})
            case _:
                amount = rng.choice([5, 20, 20, 60])
                fact = crm.track_activity(who, "purchase", {"amount": amount})
                done.append(fact.id)


@both_databases
def test_many_threads_leave_the_ranks_exact(crm: CRMService) -> None:
    """Without waiting for `run_due`, and no call fails because another moved the ranks."""
    people = [crm.find_or_create({"user_id": str(n), "city": "Cluj"}).id for n in range(PEOPLE)]
    names = ["best half", "best two", "best in town", "collectors", "best of both", "not best"]
    for name in names:
        crm.segments.create(name, RANKED[name])
    crm.segments.create("in town", (f.total_orders >= 3) & (f.city == "Cluj"))
    names.append("in town")
    together(THREADS, lambda seed: _busy(crm, people, seed))
    for name in names:
        assert crm.segments.verify(name).exact, name
    read(crm)


@both_databases
def test_a_ranked_segment_may_be_made_while_many_are_active(crm: CRMService) -> None:
    """Its numbers are taken in beside the changes, and none is missed."""
    people = [crm.find_or_create({"user_id": str(n), "city": "Cluj"}).id for n in range(PEOPLE)]
    names = ["best half", "collectors", "best in town", "best of both"]

    def each(seed: int) -> None:
        if seed:
            _busy(crm, people, seed)
            return
        for name in names:
            crm.segments.create(name, RANKED[name])
        crm.segments.change("collectors", archived=True)
        crm.segments.change("collectors", archived=False)

    together(THREADS, each)
    for name in names:
        assert crm.segments.verify(name).exact, name
    read(crm)


def test_who_ranks_by_nothing_keeps_no_ranks(crm: CRMService) -> None:
    """Numbers are kept only by which a segment ranks, and only as long as one does."""
    who = crm.find_or_create({"user_id": "1"}).id
    crm.segments.create("spent", {"field": "total_spend", "operator": ">=", "value": 10})
    crm.track_activity(who, "purchase", {"amount": 60})
    assert read(crm) == ({}, {})
    crm.segments.create("best half", RANKED["best half"])
    assert read(crm)[0] == {(who, "total_spend"): 6000}
    crm.segments.change("best half", archived=True)
    assert read(crm) == ({}, {})


def test_lost_counts_are_counted_anew(crm: CRMService) -> None:
    """Where rows were lost behind crmkit's back, the next move of the cut-off puts it right."""
    people = [crm.find_or_create({"user_id": str(n)}).id for n in range(3)]
    crm.segments.create("best half", RANKED["best half"])
    for who in people:
        crm.track_activity(who, "purchase", {"amount": 60})
    with_one = Cutoff(
        tenant=crm.tenant, id="top 50000m% total_spend", field="total_spend",
        value=9_000_00, above=2, reached=3, population=3,
    )  # fmt: skip
    crm._runtime.write(lambda uow: uow.put(with_one))
    crm.track_activity(people[0], "purchase", {"amount": 90_000})
    assert read(crm)[1][with_one.id].population == 3
    assert read(crm)[1][with_one.id].value == 6_000


def test_a_late_fact_moves_the_ranks_from_now_on() -> None:
    """What was kept of earlier days stays: nobody is put in or out of the top of the past."""
    clock = FrozenClock()
    crm = CRMService(MemoryStorage(), clock=clock)
    one, other = (crm.find_or_create({"user_id": n}).id for n in "12")
    crm.segments.create("best", f.total_spend.top_count(1))
    began = clock()
    crm.track_activity(one, "purchase", {"amount": 10})
    clock.advance(days=5)
    crm.track_activity(other, "purchase", {"amount": 20}, at=began)
    with crm._runtime.read() as uow:
        (stay,) = uow.find(SegmentStay)
        (state,) = uow.find(SegmentState)
    assert (stay.customer_id, stay.entered_at, stay.left_at) == (one, began, clock())
    assert (state.customer_id, state.since) == (other, clock())
