"""Segments that ask for points: the balance is known at every instant, and time alone turns it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from crmkit import CRMService, Programme, Settings
from crmkit.model import SegmentState, SegmentStay
from crmkit.ports.storage import Storage
from crmkit.programmes import EarnRule, Reward
from crmkit.rules import f
from crmkit.testing import FrozenClock

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
PROGRAMME = Programme(
    earn_rules=(
        EarnRule(name="sale", kind="purchase", points=100, hold_days=2, expires_days=3),
        EarnRule(name="visit", kind="visit", points=60),
    ),
    rewards=(Reward(name="beer", cost=60, hold_days=4),),
    expires_days=5,
)


@pytest.fixture
def crm(storage: Storage, clock: FrozenClock) -> CRMService:
    return CRMService(storage, clock=clock, settings=Settings(programmes=[PROGRAMME]))


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"user_id": "ana", "name": "ana"}).id


def sell(crm: CRMService, who: str, at: datetime | None = None) -> str:
    return crm.track_activity(who, "purchase", {"amount": 10}, at=at).id


def midnight_after(at: datetime, days: int) -> datetime:
    """The end of the local day so many days later; the default settings are in UTC."""
    return (at + (days + 1) * DAY).replace(hour=0, minute=0, second=0, microsecond=0)


def stays(crm: CRMService, name: str) -> list[tuple[datetime, datetime | None]]:
    """From when until when customers were kept as members, in order."""
    segment = crm.segments.get(name).id
    found: list[tuple[datetime, datetime | None]] = []
    with crm._runtime.read() as uow:
        found += sorted(
            (s.entered_at, s.left_at) for s in uow.find(SegmentStay, segment_id=segment)
        )
        states = uow.find(SegmentState, segment_id=segment, member=True)
        return found + [(state.since, None) for state in states]


def check_told(crm: CRMService, who: str, name: str, least: int, ats: Sequence[datetime]) -> None:
    """At each of these instants all ways to ask say whether the balance reaches."""
    for at in ats:
        inside = crm.loyalty.account(who, at=at).balance >= least
        assert crm.segments.is_member(who, name, at=at) is inside, at
        assert crm.segments.count(name, at=at) == int(inside), at
        assert [c.id for c in crm.segments.members(name, at=at)] == [who] * inside, at
        assert (name in crm.segments.segments_of(who, at=at)) is inside, at


def around(*edges: datetime) -> list[datetime]:
    return [edge + n * TICK for edge in edges for n in (-1, 0, 1)]


def test_points_come_and_go_at_their_very_instants(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    """However late the run is, and though both turns were missed; answers never wait for it."""
    crm.segments.create("rich", f.points >= 100)
    start = clock()
    sell(crm, ana)
    usable, over = start + 2 * DAY, midnight_after(start + 2 * DAY, 3)
    check_told(crm, ana, "rich", 100, around(usable, over))
    for at in around(usable, over):
        clock.set(at)
        check_told(crm, ana, "rich", 100, [at])
    clock.advance(days=9)
    crm.run_due()
    assert stays(crm, "rich") == [(usable, over)]
    check_told(crm, ana, "rich", 100, around(usable, over))
    assert crm.segments.verify("rich").exact


@pytest.mark.parametrize("runs", [(), (7,), (5, 6, 9)])
def test_several_lots_turn_one_after_the_other(
    crm: CRMService, clock: FrozenClock, ana: str, runs: tuple[int, ...]
) -> None:
    """Whenever the job runs, if at all, the stays are those of the instants at which they turn."""
    crm.segments.create("rich", f.points >= 150)
    crm.segments.create("poor", (f.points < 150) & (f.points >= 1))
    start = clock()
    clock.advance(days=4)
    for n in (0, 1, 4):
        sell(crm, ana, at=start + n * DAY)
    come = [start + n * DAY for n in (2, 3, 6)]
    gone = [midnight_after(at, 3) for at in come]
    assert come == sorted(come) < gone[:1] < come[2:] < gone[1:]
    for day in (*runs, 20):
        clock.set(start + day * DAY)
        crm.run_due()
    assert stays(crm, "rich") == [(come[1], gone[0]), (come[2], gone[1])]
    assert stays(crm, "poor") == [(come[0], come[1]), (gone[0], come[2]), (gone[1], gone[2])]
    check_told(crm, ana, "rich", 150, around(*come, *gone))


def test_what_is_told_ahead_of_time_gives_points_at_once(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    """And takes them from then on, when it never was."""
    crm.segments.create("rich", f.points >= 60)
    start = clock()
    fact = crm.track_activity(ana, "visit", at=start + 3 * DAY).id
    assert stays(crm, "rich") == [(start, None)]
    clock.advance(days=2)
    check_told(crm, ana, "rich", 60, around(start)[1:])
    crm.activities.void(fact)
    assert stays(crm, "rich") == []
    check_told(crm, ana, "rich", 60, [start, clock()])


def test_a_debt_is_paid_by_what_comes_later(crm: CRMService, clock: FrozenClock, ana: str) -> None:
    """Points of the past are those of then, below zero too."""
    crm.segments.create("owing", f.points < 0)
    start = clock()
    visit = crm.track_activity(ana, "visit").id
    crm.loyalty.fulfil(redemption_id=crm.loyalty.redeem(ana, "beer").id)
    clock.advance(days=1)
    crm.activities.refund(visit)
    owed = clock()
    clock.advance(days=1)
    sell(crm, ana)
    paid = clock() + 2 * DAY
    clock.advance(days=30)
    crm.run_due()
    assert stays(crm, "owing") == [(owed, paid)]
    for at in around(owed, paid):
        inside = owed <= at < paid
        assert crm.segments.is_member(ana, "owing", at=at) is inside
        assert crm.segments.count("owing", at=at) == int(inside)
        found = crm.segments.explain(ana, "owing", at=at).root.parts[0]
        assert found.actual == crm.loyalty.account(ana, at=at).balance
    assert crm.loyalty.account(ana, at=owed).balance == -60
    assert crm.loyalty.account(ana, at=paid).balance == 40
    assert start < owed


@pytest.mark.parametrize("fetched", [True, False])
def test_what_nobody_fetches_comes_back_at_its_instant(
    crm: CRMService, clock: FrozenClock, ana: str, fetched: bool
) -> None:
    crm.segments.create("rich", f.points >= 60)
    start = clock()
    crm.track_activity(ana, "visit")
    clock.advance(days=1)
    reserved, taken = crm.loyalty.redeem(ana, "beer"), clock()
    back, over = reserved.until, midnight_after(start, 5)
    assert taken < back < over
    if fetched:
        crm.loyalty.fulfil(reserved.code)
    check_told(crm, ana, "rich", 60, around(back, over))
    with crm._runtime.read() as uow:
        (state,) = uow.find(SegmentState)
    assert state.next_change_at == back  # or earlier than need be
    clock.set(back)
    assert crm.segments.is_member(ana, "rich") is not fetched
    clock.advance(days=9)
    assert crm.segments.verify("rich").exact
    crm.run_due()
    assert stays(crm, "rich") == [(start, taken), *([] if fetched else [(back, over)])]
    check_told(crm, ana, "rich", 60, around(start, taken, back, over)[1:])


def test_what_happens_before_the_job_runs_finds_the_points_of_then(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    """Facts that have nothing to do with points, and some that settle the account themselves."""
    crm.segments.create("rich", (f.points >= 100) & ~(f.city == "Cluj"))
    start = clock()
    sell(crm, ana)
    usable, over = start + 2 * DAY, midnight_after(start + 2 * DAY, 3)
    clock.set(usable + DAY)
    crm.customers.update(ana, {"city": "Roma"})
    assert stays(crm, "rich") == [(usable, None)]
    clock.set(over + DAY)
    crm.loyalty.update_points(ana, 200, reason="goodwill")
    assert stays(crm, "rich") == [(usable, over), (over + DAY, None)]
    assert crm.segments.verify("rich").exact


def test_time_turns_points_and_other_conditions_in_one_run(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    """Where a condition of another sort turned first, the points are those of that instant."""
    crm.segments.create("lately rich", (f.points >= 100) & f.last_visit.within("4d"))
    start = clock()
    crm.track_activity(ana, "visit")
    sell(crm, ana)
    usable = start + 2 * DAY
    clock.advance(days=30)
    crm.run_due()
    assert stays(crm, "lately rich") == [(usable, start + 4 * DAY)]


def test_what_ever_counted_for_the_tier_is_that_of_then(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    """Nothing but facts changes it: neither holds nor the end of points do."""
    crm.segments.create("earned", f.qualifying_points >= 100)
    clock.advance(days=1)
    earned, fact = clock(), sell(crm, ana)
    clock.advance(days=20)
    crm.run_due()
    assert [crm.segments.count("earned", at=at) for at in around(earned)] == [0, 1, 1]
    crm.activities.refund(fact)
    gone = clock()
    assert stays(crm, "earned") == [(earned, gone)]
    assert [crm.segments.count("earned", at=at) for at in around(gone)] == [1, 0, 0]
    bob = crm.find_or_create({"user_id": "bob"}).id
    crm.identity.merge(bob, ana, reason="same")  # asked anew from the start
    assert stays(crm, "earned") == [(earned, gone)]


def test_ranks_are_right_once_the_job_has_run(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    """Where the top begins is as of the last settlement; who has fewer by now is out at once."""
    bob = crm.find_or_create({"user_id": "bob"}).id
    crm.segments.create("best", f.points.top_count(1))
    crm.loyalty.update_points(ana, 100, reason="goodwill")
    start, over = clock(), midnight_after(clock(), 5)
    clock.advance(days=1)
    crm.loyalty.update_points(bob, 50, reason="goodwill")
    assert [c.id for c in crm.segments.members("best")] == [ana]
    clock.set(over)
    assert [c.id for c in crm.segments.members("best")] == []
    told = crm.segments.explain(bob, "best").root.parts[0]
    assert (told.holds, told.expected, told.actual, told.place) == (False, 100, 50, 1)
    assert crm.segments.verify("best").exact
    crm.run_due()
    assert [c.id for c in crm.segments.members("best")] == [bob]
    assert stays(crm, "best") == [(start, over), (over, None)]
    assert crm.segments.verify("best").exact
    assert [c.id for c in crm.segments.members("best", at=over - TICK)] == [ana]


@pytest.mark.parametrize("how", ["redeem", "cancel"])
def test_a_free_reward_lets_ranks_follow_too(
    crm: CRMService, clock: FrozenClock, ana: str, storage: Storage, how: str
) -> None:
    """Whatever settles an account, ranks hear of it."""
    free = Reward(name="water")
    crm = CRMService(storage, clock=clock, settings=Settings(programmes=[
        Programme(rewards=(free,), expires_days=5),
    ]))  # fmt: skip
    bob = crm.find_or_create({"user_id": "bob"}).id
    crm.segments.create("best", f.points.top_count(1))
    crm.loyalty.update_points(ana, 100, reason="goodwill")
    clock.advance(days=1)
    crm.loyalty.update_points(bob, 50, reason="goodwill")
    made = crm.loyalty.redeem(ana, "water") if how == "cancel" else None
    clock.advance(days=5)
    if made:
        crm.loyalty.cancel(made.id)
    else:
        crm.loyalty.redeem(ana, "water")
    assert [c.id for c in crm.segments.members("best")] == [bob]
    assert crm.segments.verify("best").exact


def test_an_explanation_says_the_balance_and_until_when(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    crm.segments.create("rich", f.points >= 100)
    start = clock()
    sell(crm, ana)
    usable, over = start + 2 * DAY, midnight_after(start + 2 * DAY, 3)
    for now in (start, over + DAY):  # before, and when nobody settled it
        clock.set(now)
        told = [crm.segments.explain(ana, "rich", at=at).root.parts[0] for at in (
            start, usable, over - TICK, over,
        )]  # fmt: skip
        assert [(t.holds, t.actual, t.until) for t in told] == [
            (False, 0, usable),
            (True, 100, over),
            (True, 100, over),
            (False, 0, None),
        ]


def test_an_export_tells_the_points_of_the_instant(
    crm: CRMService, clock: FrozenClock, ana: str
) -> None:
    crm.segments.create("all", f.total_orders >= 1)
    start = clock()
    sell(crm, ana)
    clock.advance(days=3)
    for at, points in ((start, "0"), (start + 2 * DAY, "100"), (clock(), "100")):
        out = io.StringIO()
        crm.segments.analytics.export("all", out, columns=["points"], at=at)
        assert out.getvalue().split() == ["points", points]
