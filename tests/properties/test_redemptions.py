"""Rewards after any history: what is told never waits for a job, and no stock is lost or made."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crmkit import CRMError, CRMService, Programme, Settings
from crmkit.loyalty import accounts, ledger
from crmkit.model import PointsAccount, PointsEntry, PointsLot, Redemption, RewardStock
from crmkit.ports.storage import Storage
from crmkit.programmes import EarnRule, Limit, Milestone, Reward, StampCard
from crmkit.testing import FrozenClock

shared_storage = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)

START = datetime.fromisoformat("2026-06-15T10:00:00+00:00")
HOUR = timedelta(hours=1)
STOCK = 2
PROGRAMME = Programme(
    earn_rules=(EarnRule(name="sale", kind="purchase", points=100),),
    expires_days=2,
    rewards=(
        Reward(name="beer", cost=60, hold_days=1),
        Reward(name="shirt", cost=10, stock=STOCK, hold_days=2),
        Reward(name="water", limit=Limit(1, "day"), hold_days=1),
        Reward(name="table", by_card=True, stock=STOCK, hold_days=3),
    ),
    cards=(StampCard(name="card", reward="table", every=2, counts="orders"),),
    milestones=(Milestone(name="three", counts="orders", reaches=3, points=30, tier="VIP"),),
)
_WHO, _NTH = st.integers(0, 1), st.integers(0, 7)
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 12, 24, 25, 49])),
    st.tuples(st.just("points"), _WHO, st.sampled_from([50, 200, -30])),
    st.tuples(st.just("sale"), _WHO, st.sampled_from([0, 20])),
    st.tuples(st.just("refund"), _NTH),
    st.tuples(
        st.just("redeem"),
        _WHO,
        st.sampled_from(["beer", "beer", "shirt", "shirt", "water", "table"]),
    ),
    st.tuples(st.just("fulfil"), _NTH),
    st.tuples(st.just("cancel"), _NTH, st.sampled_from([0, 5])),
    st.tuples(st.just("merge")),
    st.tuples(st.just("part")),
    st.tuples(st.just("erase"), _WHO),
)  # fmt: skip

_tenants = (f"tenant {n}" for n in count())


class Club:
    """Two customers, to whom things happen."""

    def __init__(self, storage: Storage, clock: FrozenClock) -> None:
        self.clock = clock
        self.crm = CRMService(
            storage,
            clock=clock,
            settings=Settings(programmes=[PROGRAMME]),
            tenant=next(_tenants),
        )
        self.people = [self.crm.find_or_create({"user_id": name}).id for name in "ab"]
        self.sales: list[str] = []
        self.made: list[str] = []
        self.merges: list[str] = []

    def step(self, what: str, *of: Any) -> str:
        """One thing happens, or is refused."""
        try:
            getattr(self, f"_{what}")(*of)
        except CRMError as error:
            return type(error).__name__ + getattr(error, "reason", "")
        return ""

    def _points(self, who: int, delta: int) -> None:
        self.crm.loyalty.update_points(self.people[who], delta, reason="x")

    def _sale(self, who: int, back: int) -> None:
        told = {"order_id": f"o{len(self.sales)}", "amount": 10}
        at = self.clock() - back * HOUR
        self.sales.append(self.crm.track_activity(self.people[who], "purchase", told, at=at).id)

    def _refund(self, n: int) -> None:
        if n < len(self.sales):
            self.crm.activities.refund(self.sales[n])

    def _redeem(self, who: int, reward: str) -> None:
        self.made.append(self.crm.loyalty.redeem(self.people[who], reward).id)

    def _fulfil(self, n: int) -> None:
        if n < len(self.made):
            self.crm.loyalty.fulfil(redemption_id=self.made[n])

    def _cancel(self, n: int, back: int) -> None:
        if n < len(self.made):
            self.crm.loyalty.cancel(self.made[n], at=self.clock() - back * HOUR)

    def _merge(self) -> None:
        self.merges.append(self.crm.identity.merge(*self.people, reason="x").id)

    def _part(self) -> None:
        if self.merges:
            self.crm.identity.unmerge(self.merges[-1])

    def _erase(self, who: int) -> None:
        self.crm.gdpr.erase(self.people[who])

    def told(self) -> list[Any]:
        """All that hosts are told, but ids."""
        loyalty, now = self.crm.loyalty, self.clock()
        told: list[Any] = [loyalty.rewards.stock()]
        for who in self.people:
            with suppress(CRMError):
                offers = loyalty.rewards.offers(who)
                told += [offers.rewards, offers.cards]
                told += [(r.reward, r.state, r.until, r.cancelled_at)
                         for r in loyalty.rewards.history(who)]  # fmt: skip
                told += [(e.kind, e.points, e.occurred_at) for e in loyalty.history(who)]
                for hours in (0, 1, 11, 24, 30, 50):
                    account = loyalty.account(who, at=now - hours * HOUR)
                    told.append((hours, account.balance, account.pending, account.tier))
        return told

    def check(self, storage: Storage) -> None:
        """What is kept agrees with the entries, and the stock with what went out."""
        now = self.clock()
        with storage.read(self.crm.tenant) as uow:
            levels = {row.reward: row.level for row in uow.find(RewardStock)}
            for name in ("shirt", "table"):
                out = [r for r in uow.find(Redemption, reward=name) if r.cancelled_at is None]
                assert levels.get(name, 0) == -sum(r.taken for r in out) == -len(out)
                assert STOCK - len(out) >= 0
            for account in uow.find(PointsAccount):
                told = accounts.entries(uow, account)
                lapses = list(accounts.lapsed(uow, account, now))
                state = ledger.replay([*told, *lapses], now)
                held = accounts.balance(uow, account, now)
                assert (held.balance, held.pending) == (state.balance, state.pending)
                assert not (state.usable and state.debt)
                lots = uow.find(PointsLot, customer_id=account.customer_id)
                assert {lot.id: lot.left for lot in lots} == {
                    lot.id: sum(e.points for e in told if e.lot_id == lot.id) for lot in lots
                }
            for redemption in uow.find(Redemption):
                parts = uow.find(PointsEntry, redemption_id=redemption.id)
                back = redemption.cancelled_at is not None and redemption.customer_id is not None
                if redemption.customer_id is not None:
                    assert sum(e.points for e in parts) == (0 if back else -redemption.cost)


@pytest.mark.parametrize("storage", ["memory", "sqlite", "postgresql"], indirect=True)
@given(steps=st.lists(STEPS, min_size=3, max_size=18))
@shared_storage
@example(
    [("points", 0, 50), ("points", 1, 50), ("merge",), ("redeem", 0, "beer"), ("part",),
     ("wait", 25)]
)  # fmt: skip
@example([("points", 0, 50), ("redeem", 0, "shirt"), ("erase", 0), ("wait", 49),
          ("points", 1, 50), ("redeem", 1, "shirt"), ("redeem", 1, "shirt")])  # fmt: skip
@example([("points", 0, 200), ("redeem", 0, "beer"), ("wait", 12), ("redeem", 0, "beer"),
          ("wait", 25), ("points", 0, 50)])  # fmt: skip
@example([("points", 0, 50), ("wait", 49), ("redeem", 0, "shirt"), ("wait", 49), ("wait", 1)])
@example([("points", 0, 50), ("wait", 25), ("sale", 0, 0), ("wait", 49), ("refund", 0)])
@example([("sale", 0, 0), ("redeem", 0, "beer"), ("refund", 0), ("wait", 25)])
@example([("points", 0, 200), ("redeem", 0, "beer"), ("wait", 12), ("cancel", 0, 5)])
def test_what_is_told_does_not_depend_on_when_a_job_ran(
    storage: Storage, steps: list[tuple[Any, ...]]
) -> None:
    """Two clubs with the same history; in one a job runs after each step, in the other never."""
    clock = FrozenClock(START)
    eager, lazy = Club(storage, clock), Club(storage, clock)
    for step in steps:
        if step[0] == "wait":
            clock.advance(step[1] * HOUR)
        else:
            assert eager.step(*step) == lazy.step(*step), step
        eager.crm.run_due()
        assert eager.told() == lazy.told(), step
    for club in (eager, lazy):
        club.check(storage)
