"""Segments that ask for the tier: it is known at every instant, and time alone changes it."""

from __future__ import annotations

import io
from datetime import datetime, timedelta

import pytest

from crmkit import CRMService
from crmkit.model import PointsAccount, SegmentState, SegmentStay, TierPeriod
from crmkit.model.catalogue import evolved
from crmkit.ports.events import PointsChanged
from crmkit.ports.storage import UnitOfWork
from crmkit.rules import f
from crmkit.testing import FrozenClock
from tests.tiers import held

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


def known(crm: CRMService, *names: str) -> list[str]:
    return [crm.find_or_create({"user_id": name, "name": name}).id for name in names]


def keep(crm: CRMService, who: str, *tiers: tuple[datetime, str], programme: str = "") -> None:
    """What follows from points is stored, and who listens is told."""
    made = held(*tiers, settings=crm.settings, tenant=crm.tenant, id=who)
    if programme:
        made = tuple(evolved(period, programme=programme) for period in made)

    def work(uow: UnitOfWork) -> None:
        uow.remove(TierPeriod, customer_id=who)
        uow.add_many(made)
        crm._runtime.events.publish(uow, PointsChanged(who, tiers[0][0]))

    crm._runtime.write(work)


def silver(crm: CRMService, at: datetime | None = None) -> list[str]:
    return [c.user_id or "" for c in crm.segments.members("silver", at=at)]


def stays(crm: CRMService) -> list[tuple[datetime, datetime]]:
    with crm._runtime.read() as uow:
        return [(s.entered_at, s.left_at) for s in uow.find(SegmentStay)]


def test_time_alone_lets_a_tier_go_at_its_very_instant(crm: CRMService, clock: FrozenClock) -> None:
    """However late the run is; answers never wait for it."""
    ana, _ = known(crm, "ana", "bob")
    crm.segments.create("silver", f.tier >= "SILVER")
    start = clock()
    lost = start + 30 * DAY
    keep(crm, ana, (start, "GOLD"), (lost, "BRONZE"))
    assert silver(crm) == ["ana"]
    with crm._runtime.read() as uow:
        (state,) = uow.find(SegmentState)
    assert (state.member, state.since, state.next_change_at) == (True, start, lost)
    clock.set(lost - TICK)
    assert silver(crm) == ["ana"]
    clock.set(lost)
    assert silver(crm) == []
    clock.advance(days=3)
    assert crm.run_due().done == 1
    assert stays(crm) == [(start, lost)]
    assert crm.segments.verify("silver").exact


def test_a_tier_of_the_past_and_of_the_future_is_that_of_then(
    crm: CRMService, clock: FrozenClock
) -> None:
    ana, bob = known(crm, "ana", "bob")
    crm.segments.create("silver", f.tier == "SILVER")
    start = clock()
    keep(crm, ana, (start, "SILVER"), (start + 10 * DAY, "GOLD"), (start + 20 * DAY, "SILVER"))
    clock.advance(days=15)
    keep(crm, bob, (start + 5 * DAY, "SILVER"))
    asked = [start, start + 5 * DAY, start + 10 * DAY - TICK, start + 10 * DAY, start + 20 * DAY]
    both = ["ana", "bob"]
    assert [sorted(silver(crm, at)) for at in asked] == [["ana"], both, both, ["bob"], both]
    crm.run_due()
    assert stays(crm) == [(start, start + 10 * DAY)]
    assert [crm.segments.count("silver", at=at) for at in asked] == [1, 2, 2, 1, 2]
    assert [crm.segments.is_member(ana, "silver", at=at) for at in asked] == [
        True, True, True, False, True,
    ]  # fmt: skip


def test_late_facts_put_tiers_right_from_their_instant_on(
    crm: CRMService, clock: FrozenClock
) -> None:
    (ana,) = known(crm, "ana")
    crm.segments.create("silver", f.tier >= "SILVER")
    start = clock()
    clock.advance(days=20)
    keep(crm, ana, (start + 5 * DAY, "SILVER"), (start + 8 * DAY, "BRONZE"))
    assert stays(crm) == [(start + 5 * DAY, start + 8 * DAY)]
    keep(crm, ana, (start + 5 * DAY, "SILVER"), (start + 6 * DAY, "BRONZE"))
    assert stays(crm) == [(start + 5 * DAY, start + 6 * DAY)]
    assert crm.segments.verify("silver").exact


def test_other_programmes_do_not_count(crm: CRMService, clock: FrozenClock) -> None:
    """Tier and points are those of the first programme."""
    (ana,) = known(crm, "ana")
    crm.segments.create("silver", f.tier >= "SILVER")
    crm.segments.create("rich", f.points >= 1)
    crm.segments.create("richest", f.points.top_count(1))
    keep(crm, ana, (clock(), "GOLD"), programme="another")
    account = PointsAccount(tenant=crm.tenant, customer_id=ana, programme="another", balance=9)
    crm._runtime.write(lambda uow: uow.add(account))
    assert [crm.segments.count(name) for name in ("silver", "rich", "richest")] == [0, 0, 0]
    mine = PointsAccount(tenant=crm.tenant, customer_id=ana, balance=5)
    crm._runtime.write(lambda uow: uow.add(mine))
    assert [crm.segments.count(name) for name in ("silver", "rich", "richest")] == [0, 1, 1]
    assert crm.segments.explain(ana, "richest").root.parts[0].actual == 5


def test_an_explanation_says_the_tier_and_until_when(crm: CRMService, clock: FrozenClock) -> None:
    (ana,) = known(crm, "ana")
    crm.segments.create("silver", f.tier >= "SILVER")
    start = clock()
    keep(crm, ana, (start, "GOLD"), (start + DAY, "SILVER"), (start + 2 * DAY, "BRONZE"))
    told = [crm.segments.explain(ana, "silver", at=start + n * DAY).root.parts[0] for n in range(3)]
    assert [(t.holds, t.found, t.until) for t in told] == [
        (True, "GOLD", start + DAY),
        (True, "SILVER", start + 2 * DAY),
        (False, "BRONZE", None),
    ]


@pytest.mark.parametrize(("days", "cell"), [(0, "GOLD"), (1, "SILVER")])
def test_an_export_tells_the_tier_of_the_instant(
    crm: CRMService, clock: FrozenClock, days: int, cell: str
) -> None:
    (ana,) = known(crm, "ana")
    crm.segments.create("silver", f.tier >= "SILVER")
    start = clock()
    keep(crm, ana, (start, "GOLD"), (start + DAY, "SILVER"))
    clock.advance(days=1)
    out = io.StringIO()
    at = start + days * DAY
    crm.segments.analytics.export("silver", out, columns=["tier"], at=at)
    assert out.getvalue().split() == ["tier", cell]
