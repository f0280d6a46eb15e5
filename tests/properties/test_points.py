"""A ledger nobody can cheat: its invariants, after any history, on every storage."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmkit import MemoryStorage, Programme, SqlStorage
from crmkit.activities.holding import Held
from crmkit.activities.joining import told_before
from crmkit.activities.recording import record
from crmkit.model import Activity, PointsEntry
from crmkit.model.catalogue import evolved
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.programmes import Reward
from crmkit.testing import FrozenClock
from tests.fixtures import sqlite_url
from tests.points import (
    START,
    TENANTS,
    TICK,
    House,
    Step,
    caps_hold,
    histories,
    is_sound,
    nothing_was_changed,
    programmes,
    without_caps,
)

some = settings().max_examples
DEBITS = ("points", "redeem", "cancel", "fulfil")
MERGES = ("merge", "part")
TAKING_PART = ("leave", "enrol")
SEEDS = st.randoms(use_true_random=False)


@pytest.fixture(scope="module")
def storages(
    tmp_path_factory: pytest.TempPathFactory, crm_database: str
) -> Iterator[tuple[Storage, ...]]:
    """Made once, they serve all examples, each in a tenant of its own."""
    folder: Path = tmp_path_factory.mktemp("points")
    opened = (MemoryStorage(), SqlStorage.open(sqlite_url(folder)), SqlStorage.open(crm_database))
    yield opened
    for storage in opened:
        storage.close()


shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def lived(house: House, steps: Sequence[Step]) -> House:
    for step in steps:
        house.step(*step)
    return house


@given(programmes(), histories())
@settings(shared, max_examples=3 * some)
def test_accounts_are_what_their_entries_tell(programme: Programme, steps: list[Step]) -> None:
    """After every step, at every instant; and no entry is ever changed."""
    house = House(MemoryStorage(), programme)
    for step in steps:
        before, _ = house.rows()
        house.step(*step)
        nothing_was_changed(before, house.rows()[0])
        is_sound(house)


@given(programmes(), histories())
@settings(shared, max_examples=some // 2)
def test_all_storages_say_the_same_and_none_waits_for_a_job(
    storages: Sequence[Storage], programme: Programme, steps: list[Step]
) -> None:
    """One more is never settled by a job, and says the same at every instant."""
    tenant = next(TENANTS)
    houses = [lived(House(storage, programme, tenant=tenant), steps) for storage in storages]
    idle = lived(House(MemoryStorage(), programme), [s for s in steps if s != ("job",)])
    probes = houses[0].probes()
    told = houses[0].told(probes)
    for house in (*houses[1:], idle):
        assert house.told(probes) == told
    for house in houses[1:]:
        is_sound(house)
        assert house.rows() == houses[0].rows()


@given(programmes(), histories(), st.lists(st.integers(0, 16), max_size=16))
@settings(shared, max_examples=2 * some)
def test_when_a_job_runs_changes_no_answer(
    programme: Programme, steps: list[Step], jobs: list[int]
) -> None:
    """Never, as often as the history says, or at any other times."""
    never = [step for step in steps if step != ("job",)]
    often = list(never)
    for place in jobs:
        often.insert(min(place, len(often)), ("job",))
    houses = [lived(House(MemoryStorage(), programme), h) for h in (never, steps, often)]
    probes = houses[0].probes()
    first, *others = [house.told(probes) for house in houses]
    assert others == [first, first]


# --- facts in any order ---


def _after_what_they_correct(facts: Sequence[Activity]) -> Iterator[Activity]:
    waiting, known = list(facts), set[str | None]({None})
    while waiting:
        ready = next(f for f in waiting if f.corrects in known)
        waiting.remove(ready)
        known.add(ready.id)
        yield ready


def _record(uow: UnitOfWork, rt: Runtime, facts: Sequence[Activity], held: Held) -> None:
    record(uow, rt, facts, told_before(uow, facts), held)


def delivered(house: House, facts: Sequence[Activity], rng: random.Random) -> House:
    """Facts told one by one or many at once, jobs running in between as chance has it."""
    rest = list(_after_what_they_correct(facts))
    people = frozenset(house.people)
    while rest:
        size = rng.randint(1, 4)
        some, rest = rest[:size], rest[size:]
        batch = [evolved(fact, tenant=house.crm.tenant) for fact in some]
        rt = house.crm._runtime
        rt.write(partial(_record, rt=rt, facts=batch, held=Held(people, people)))
        if rng.random() < 0.3:
            house.step("job")
    return house


@given(programmes(), histories(*DEBITS, *MERGES, *TAKING_PART), SEEDS)
@settings(shared, max_examples=3 * some)
def test_the_order_in_which_facts_come_does_not_matter(
    programme: Programme, steps: list[Step], rng: random.Random
) -> None:
    """At every instant: balance, pending points, tier; nor for what is taken afterwards."""
    house = lived(House(MemoryStorage(), programme), steps)
    facts = house.recorded()
    uncapped = House(MemoryStorage(), without_caps(programme), clock=house.clock)
    caps_hold(house, delivered(uncapped, facts, rng))
    rng.shuffle(facts)
    late = House(MemoryStorage(), programme, clock=house.clock, first_id=1_000_000)
    same = dict(zip(house.people, late.people, strict=True))
    facts = [evolved(f, customer_id=same[f.customer_id or ""]) for f in facts]
    delivered(late, facts, rng)
    is_sound(late)
    probes = house.probes()
    assert late.told(probes) == house.told(probes)
    late.facts = house.facts
    ends: list[Step] = [
        ("redeem", 0), ("points", 0, -10, 0), ("redeem", 1), ("correct", 0, ("void", {})),
    ]  # fmt: skip
    for last in ends:
        assert late.step(*last) == house.step(*last)
        if programme.on_spent == "debt":
            assert late.told(probes) == house.told(probes)


@given(programmes(), histories(*MERGES), SEEDS)
@settings(shared, max_examples=some)
def test_a_call_that_comes_again_changes_nothing(
    programme: Programme, steps: list[Step], rng: random.Random
) -> None:
    """However late, in whatever order, and whatever was earned or spent since."""
    house = lived(House(MemoryStorage(), programme), [*steps, ("wait", 49), ("job",)])
    rows = house.rows()
    for call in rng.sample(house.calls, len(house.calls)):
        call()
    assert house.rows() == rows


# --- one person, or two ---


@given(programmes(), histories(*MERGES))
@settings(shared, max_examples=some)
def test_a_merge_keeps_all_lots_and_undone_leaves_all_as_it_was(
    programme: Programme, steps: list[Step]
) -> None:
    """Lots, entries, keys, and the order in which lots expire."""
    house = lived(House(MemoryStorage(), programme), [*steps, ("job",)])
    before, probes = house.kept(), house.probes()
    told = house.told(probes)
    house.step("merge")
    entries, lots = house.kept()
    assert {n: evolved(e, customer_id=None, origin=None) for n, e in entries.items()} == {
        n: evolved(e, customer_id=None, origin=None) for n, e in before[0].items()
    }
    assert {n: evolved(lot, customer_id="", origin=None) for n, lot in lots.items()} == {
        n: evolved(lot, customer_id="", origin=None) for n, lot in before[1].items()
    }
    is_sound(house)
    one, other = house.people
    for n, at in enumerate(probes):
        both = house.crm.loyalty.account(one, at=at)
        assert both == house.crm.loyalty.account(other, at=at)
        apart = [account[0][n] for account in told]
        assert both.balance + both.pending >= sum(a.balance + a.pending for a in apart)
        if all(a.balance >= 0 for account in told for a in account[0][: n + 1]):
            assert both.balance == sum(a.balance for a in apart)
            assert both.pending == sum(a.pending for a in apart)
    for call in house.calls:
        call()
    assert house.kept() == (entries, lots)
    house.step("part")
    assert house.kept() == before
    assert house.told(probes) == told
    is_sound(house)


@given(programmes(multipliers=()), histories(*DEBITS, *MERGES, *TAKING_PART))
@settings(shared, max_examples=some)
def test_who_was_one_for_a_while_has_what_both_would_have_had(
    programme: Programme, steps: list[Step]
) -> None:
    """Whatever they earned meanwhile; a cap that they shared is each one's own again."""
    third = len(steps) // 3
    apart = lived(House(MemoryStorage(), programme), steps)
    one = House(MemoryStorage(), programme)
    merged = [*steps[:third], ("merge",), *steps[third : 2 * third], ("part",), *steps[2 * third :]]
    lived(one, merged)
    probes = apart.probes()
    assert one.told(probes) == apart.told(probes)
    is_sound(one)


@given(programmes(), histories(*MERGES))
@settings(shared, max_examples=some)
def test_an_erasure_leaves_every_sum_as_it_was(programme: Programme, steps: list[Step]) -> None:
    """Of the business's books and of the other customer; the entries name nobody."""
    house = lived(House(MemoryStorage(), programme), [*steps, ("job",)])
    before, _ = house.rows()
    told = house.told(house.probes())[1]
    house.crm.gdpr.erase(house.people[0])
    after, lots = house.rows()
    assert _sums(before.values()) == _sums(after.values())
    assert house.people[0] not in {e.customer_id for e in after.values()}
    assert {lot.customer_id for lot in lots.values()} <= {house.people[1]}
    assert house.told(house.probes())[1] == told
    is_sound(house)


def _sums(entries: Iterable[PointsEntry]) -> Counter[object]:
    found: Counter[object] = Counter()
    for e in entries:
        found[e.kind, e.rule, e.lot_id, e.occurred_at, e.expires_at] += e.points
    return found


# --- tiers ---


@given(programmes(on_spent="debt"), histories(*MERGES, *TAKING_PART), st.integers(1, 200))
@settings(shared, max_examples=some)
def test_more_that_qualifies_never_gives_a_lower_tier(
    programme: Programme, steps: list[Step], points: int
) -> None:
    """At any instant; what is taken out of the account never lowers it, nor a tier by hand."""
    house, richer = (House(MemoryStorage(), programme) for _ in range(2))
    richer.step("points", 0, points, 0)
    lived(house, steps)
    lived(richer, steps)
    ranks = programme.ranks
    for at in house.probes():
        tiers = [h.crm.loyalty.account(h.people[0], at=at).tier for h in (house, richer)]
        assert ranks[tiers[0]] <= ranks[tiers[1]]
    held = house.crm.loyalty.set_tier(house.people[0], "VIP", reason="friend")
    assert held.tier == "VIP"
    for step in steps:
        house.step(*step)
        assert house.crm.loyalty.account(house.people[0]).tier == "VIP"


# --- other settings, and clocks that move ---


@given(programmes(), histories(*MERGES), st.integers(0, 16))
@settings(shared, max_examples=some)
def test_what_a_change_of_settings_leaves_alone_stays_alone(
    programme: Programme, steps: list[Step], place: int
) -> None:
    """Another reward makes another version, and no difference to anybody's points."""
    rewards = [*programme.rewards, Reward(name="wine", cost=90)]
    other = attrs.evolve(programme, rewards=rewards)
    house, changed = (House(MemoryStorage(), programme) for _ in range(2))
    lived(house, steps)
    lived(changed, steps[:place])
    changed.configured(other)
    lived(changed, steps[place:])
    probes = house.probes()
    assert changed.told(probes) == house.told(probes)
    is_sound(changed)


class Ticking(FrozenClock):
    """Goes on a little whenever anybody looks at it."""

    def __call__(self) -> datetime:
        return self.advance(TICK)


@given(programmes(), histories())
@settings(shared, max_examples=some)
def test_a_clock_that_goes_on_while_something_is_done(
    programme: Programme, steps: list[Step]
) -> None:
    """Everything is done or refused as with one that stands still; accounts stay sound."""
    still = House(MemoryStorage(), programme)
    ticking = House(MemoryStorage(), programme, clock=Ticking(START))
    for step in steps:
        assert ticking.step(*step) == still.step(*step)
    is_sound(ticking)
