"""Corners of the ledger in which points were once made, lost or counted twice, on every storage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from crmkit import CRMService, InsufficientPoints, Programme, Settings
from crmkit.loyalty import accounts
from crmkit.model import PointsAccount, PointsEntry
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import Storage
from crmkit.programmes import Cap, EarnRule, Multiplier, Reward, Tier, TierPolicy
from crmkit.testing import FrozenClock

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SALE = EarnRule(name="sale", kind="purchase", points=1, per=Decimal(1))
VISIT = EarnRule(name="visit", kind="visit", points=40)
BEER = Reward(name="beer", cost=60, hold_days=2)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


Made = Callable[..., CRMService]


@pytest.fixture
def made(storage: Storage, clock: FrozenClock) -> Made:
    """A CRM with such a programme, and nothing in it that is not asked for."""

    def make(**programme: Any) -> CRMService:
        plain: dict[str, Any] = {
            "earn_rules": [SALE], "multipliers": (), "milestones": (), "rewards": [BEER],
        }  # fmt: skip
        settings = Settings(programmes=[Programme(**plain | programme)])
        return CRMService(storage, clock=clock, settings=settings)

    return make


def again(crm: CRMService, **changes: Any) -> CRMService:
    """The same business with another configuration."""
    settings = Settings(programmes=[attrs.evolve(crm.settings.programme, **changes)])
    return crm.for_tenant(crm.tenant, settings=settings)


def ana(crm: CRMService, **profile: Any) -> str:
    return crm.find_or_create({"user_id": "ana", **profile}).id


def holds(crm: CRMService, who: str, *back: float) -> list[tuple[int, int]]:
    """Balance and pending points now, or so many days ago (ahead, below zero)."""
    found = [crm.loyalty.account(who, at=crm._runtime.now() - n * DAY) for n in back or (0,)]
    return [(account.balance, account.pending) for account in found]


def bought(crm: CRMService, who: str, amount: int, back: float = 0, order: str = "o") -> str:
    told = {"amount": amount, "order_id": order}
    at = crm._runtime.now() - back * DAY
    return crm.activities.track(who, "purchase", told, at=at).id


def adds_up(crm: CRMService, who: str) -> bool:
    """Whether the history tells what there is."""
    account = crm.loyalty.account(who)
    return sum(e.points for e in crm.loyalty.history(who)) == account.balance + account.pending


# --- points that were used ---


def test_debt_is_paid_by_what_was_earned_elsewhere_at_once(made: Made) -> None:
    crm = made()
    who = ana(crm)
    first = bought(crm, who, 100)
    crm.loyalty.redeem(who, "beer")
    crm.activities.refund(first)
    assert holds(crm, who) == [(-60, 0)]
    bought(crm, who, 90, order="p")
    assert holds(crm, who) == [(30, 0)]
    assert adds_up(crm, who)


def test_what_is_forgiven_is_what_no_other_points_pay(made: Made) -> None:
    """Or a refund of what was spent would leave points that it should have taken."""
    crm = made(on_spent="floor")
    who = ana(crm)
    first = bought(crm, who, 60)
    crm.loyalty.update_points(who, 45, reason="gift")
    crm.loyalty.redeem(who, "beer")
    crm.activities.refund(first)
    assert holds(crm, who) == [(0, 0)]
    waived = [e.points for e in crm.loyalty.history(who) if e.kind == "waive"]
    assert waived == [15]
    assert adds_up(crm, who)
    bought(crm, who, 20, order="p")
    assert holds(crm, who) == [(20, 0)]


def test_a_reward_that_is_cancelled_gives_no_forgiven_points_back(made: Made) -> None:
    """Reserve, have the booking refunded, cancel: nothing is left of it, however often."""
    crm = made(on_spent="floor")
    who = ana(crm)
    for n in range(2):
        sale = bought(crm, who, 60, order=f"o{n}")
        reserved = crm.loyalty.redeem(who, "beer")
        crm.activities.refund(sale)
        crm.loyalty.cancel(reserved.id)
        assert holds(crm, who) == [(0, 0)]
        crm.activities.track(who, "purchase", {"amount": 60, "order_id": f"o{n}", "item": "x"})
        assert holds(crm, who) == [(0, 0)]
    assert adds_up(crm, who)


def test_a_lapse_gives_no_forgiven_points_back_either(made: Made, clock: FrozenClock) -> None:
    crm = made(on_spent="floor")
    who = ana(crm)
    sale = bought(crm, who, 60)
    crm.loyalty.redeem(who, "beer")
    crm.activities.refund(sale)
    clock.advance(days=3)
    assert holds(crm, who) == [(0, 0)]
    crm.run_due()
    assert holds(crm, who, 0, 1.5, 3) == [(0, 0)] * 3
    assert adds_up(crm, who)


def test_a_refund_that_is_voided_undoes_what_was_forgiven(made: Made) -> None:
    crm = made(on_spent="floor")
    who = ana(crm)
    sale = bought(crm, who, 100)
    crm.loyalty.redeem(who, "beer")
    refund = crm.activities.refund(sale)
    assert holds(crm, who) == [(0, 0)]
    crm.activities.void(refund.id)
    assert holds(crm, who) == [(40, 0)]
    assert adds_up(crm, who)


def test_a_refund_is_blocked_by_the_balance_and_not_by_one_lot(made: Made) -> None:
    """Points earned elsewhere cover it; where they do not, nothing is recorded."""
    crm = made(on_spent="block")
    who = ana(crm)
    first = bought(crm, who, 60)
    reserved = crm.loyalty.redeem(who, "beer")
    with pytest.raises(InsufficientPoints):
        crm.activities.refund(first)
    assert crm.activities.metrics(who).refunds == 0
    crm.activities.track(who, "purchase", {"amount": 60, "order_id": "o", "item": "x"})
    second = bought(crm, who, 60, order="p")
    crm.activities.refund(first)
    assert holds(crm, who) == [(0, 0)]
    with pytest.raises(InsufficientPoints):
        crm.activities.refund(second)
    crm.loyalty.cancel(reserved.id)
    crm.activities.refund(second)
    assert holds(crm, who) == [(0, 0)]


def test_what_was_waived_is_no_points_to_a_merged_account(made: Made) -> None:
    """Where the refund was voided again, at the instant of the sale itself."""
    crm = made(on_spent="floor")
    who, other = ana(crm), crm.find_or_create({"user_id": "other"}).id
    sale = bought(crm, who, 100)
    crm.loyalty.redeem(who, "beer")
    crm.activities.void(crm.activities.refund(sale).id)
    assert holds(crm, who) == [(40, 0)]
    crm.identity.merge(other, who, reason="same")
    assert holds(crm, other) == [(40, 0)]


def test_old_debt_blocks_nothing_that_adds_none(made: Made) -> None:
    crm = made()
    who = ana(crm)
    sale = bought(crm, who, 100)
    crm.loyalty.redeem(who, "beer")
    crm.activities.refund(sale, amount=80)
    assert holds(crm, who) == [(-40, 0)]
    crm = again(crm, on_spent="block")
    crm.activities.track(who, "purchase", {"amount": 110, "order_id": "o"})
    assert holds(crm, who) == [(-30, 0)]
    with pytest.raises(InsufficientPoints):
        crm.activities.refund(sale)


def test_a_sale_that_is_restated_earlier_blocks_nothing(made: Made) -> None:
    """Its points belong to another instant then; what was used of them stays paid."""
    crm = made(on_spent="block")
    who = ana(crm)
    bought(crm, who, 60)
    crm.loyalty.redeem(who, "beer")
    bought(crm, who, 60, back=1)
    assert holds(crm, who, 0, 0.5) == [(0, 0), (60, 0)]


# --- debits at other instants ---


def test_points_taken_in_the_past_are_not_taken_twice(made: Made, clock: FrozenClock) -> None:
    """What was earned, used or grew since then is no help."""
    crm = made()
    who = ana(crm)
    bought(crm, who, 50)
    clock.advance(days=2)
    bought(crm, who, 100)  # the same order, which costs more now
    assert holds(crm, who, 0, 1) == [(100, 0), (50, 0)]
    with pytest.raises(InsufficientPoints):
        crm.loyalty.update_points(who, -60, reason="late", at=NOW + DAY)
    crm.loyalty.update_points(who, -90, reason="now")
    with pytest.raises(InsufficientPoints):
        crm.loyalty.update_points(who, -20, reason="late", at=NOW + DAY)
    crm.loyalty.update_points(who, -10, reason="late", at=NOW + DAY)
    assert holds(crm, who, 0, 1, 1.5) == [(0, 0), (40, 0), (50, 0)]


def test_what_expired_since_can_be_taken_in_the_past(made: Made, clock: FrozenClock) -> None:
    crm = made(expires_days=1)
    who = ana(crm)
    bought(crm, who, 50)
    clock.advance(days=5)
    crm.loyalty.update_points(who, -30, reason="late", at=NOW + DAY / 2)
    assert holds(crm, who, 0, 4, 4.9) == [(0, 0), (20, 0), (50, 0)]
    assert [e.points for e in crm.loyalty.history(who)] == [-20, -30, 50]


def test_a_clock_that_goes_on_refuses_nothing(storage: Storage) -> None:
    """Not a debit as one ahead of time, nor a reward as one handed out ahead of time."""

    class Ticking(FrozenClock):
        def __call__(self) -> datetime:
            return self.advance(microseconds=1)

    settings = Settings(programmes=[Programme(rewards=[BEER])])
    crm = CRMService(storage, clock=Ticking(), settings=settings)
    who = ana(crm)
    crm.loyalty.update_points(who, 200, reason="gift")
    crm.loyalty.update_points(who, -20, reason="gift")
    crm.loyalty.fulfil(redemption_id=crm.loyalty.redeem(who, "beer").id)
    crm.loyalty.cancel(crm.loyalty.redeem(who, "beer").id)
    assert holds(crm, who) == [(120, 0)]


# --- accounts and history ---


def test_what_came_before_the_account_was_settled_is_told_at_its_instant(
    made: Made, clock: FrozenClock
) -> None:
    """Points expired and others were earned while nobody looked; both have their instants."""
    crm = made(earn_rules=[SALE, attrs.evolve(VISIT, hold_days=9)], expires_days=1)
    who = ana(crm)
    bought(crm, who, 50)
    clock.advance(days=5)
    crm.activities.track(who, "visit", at=NOW + 4 * DAY)
    assert holds(crm, who, 0, 0.5, 1.5, 4.5) == [(0, 40), (0, 40), (0, 0), (50, 0)]
    crm.run_due()
    assert holds(crm, who, 0, 0.5, 1.5, 4.5) == [(0, 40), (0, 40), (0, 0), (50, 0)]


def test_a_rebuilt_account_holds_from_the_last_instant_on(made: Made, clock: FrozenClock) -> None:
    """Also where what happened last belongs to points that are used up."""
    crm = made(expires_days=9)
    who = ana(crm)
    bought(crm, who, 60, back=1)
    bought(crm, who, 10, order="p", back=2)
    clock.advance(days=1)
    crm.loyalty.update_points(who, -70, reason="used")
    other = crm.find_or_create({"user_id": "other"}).id
    merge = crm.identity.merge(other, who, reason="same")
    assert holds(crm, other, 0, 0.5, 2.5) == [(0, 0), (70, 0), (10, 0)]
    crm.identity.unmerge(merge.id)
    assert holds(crm, who, 0, 0.5, 2.5) == [(0, 0), (70, 0), (10, 0)]


def test_what_qualifies_without_points_is_told_as_of_its_instant(
    made: Made, clock: FrozenClock
) -> None:
    crm = made(policy=TierPolicy(by="spend"), tiers=[Tier("A", 0), Tier("B", 80)])
    who = ana(crm)
    for n in range(2):
        bought(crm, who, 50, order=f"o{n}")
        clock.advance(days=2)
    was = crm.loyalty.account(who, at=NOW + DAY)
    assert (was.qualifying, was.tier) == (5_000, "A")
    now = crm.loyalty.account(who)
    assert (now.qualifying, now.tier) == (10_000, "B")


def test_history_adds_up_at_every_instant_whatever_expired(made: Made, clock: FrozenClock) -> None:
    """Points that came back when their lot was over, or were taken back then, too."""
    crm = made(expires_days=1)
    who = ana(crm)
    first = bought(crm, who, 100)
    reserved = crm.loyalty.redeem(who, "beer")
    bought(crm, who, 7, order="p")
    clock.advance(days=1.9)
    crm.loyalty.cancel(reserved.id)
    assert adds_up(crm, who)
    clock.advance(days=1)
    crm.activities.refund(first)
    told = [(e.kind, e.points) for e in crm.loyalty.history(who)]
    assert sorted(told[:2]) == [("expire", 100), ("reverse", -100)]
    for back in (0, 0.5, 1.2, 1.8, 2.5):
        at = clock() - back * DAY
        by_then = sum(e.points for e in crm.loyalty.history(who) if e.occurred_at <= at)
        assert [(by_then, 0)] == holds(crm, who, back)


def test_what_is_refunded_after_it_expired_is_no_debt(made: Made, clock: FrozenClock) -> None:
    """Only what was used before is."""
    crm = made(expires_days=1)
    who = ana(crm)
    sale = bought(crm, who, 100)
    crm.loyalty.fulfil(redemption_id=crm.loyalty.redeem(who, "beer").id)
    clock.advance(days=5)
    crm.activities.refund(sale, amount=40)
    assert holds(crm, who) == [(0, 0)]
    crm.activities.refund(sale)
    assert holds(crm, who) == [(-60, 0)]
    assert adds_up(crm, who)


# --- earning ---


PROMISED = EarnRule(name="booked", kind="booking", points=100, completed=True, pending=True)
BIRTHDAY = Multiplier(name="birthday", times=Decimal(2), during="birthday_month")


def test_who_left_is_promised_nothing(made: Made) -> None:
    """Nor whoever did not enrol where one must."""
    crm = made(earn_rules=[PROMISED])
    who = ana(crm)
    crm.loyalty.leave(who)
    crm.activities.track(who, "booking", {"booking_id": "b"})
    assert holds(crm, who) == [(0, 0)]
    crm = made(earn_rules=[PROMISED], enrolment="on_request", name="club")
    crm.activities.track(who, "booking", {"booking_id": "c"})
    assert holds(crm, who) == [(0, 0)]
    crm.loyalty.enrol(who)
    crm.activities.track(who, "booking", {"booking_id": "d"})
    assert holds(crm, who) == [(0, 100)]


def test_promises_are_multiplied_too(made: Made) -> None:
    crm = made(earn_rules=[PROMISED], multipliers=[BIRTHDAY])
    who = ana(crm, birth_date="1990-06-01")
    crm.activities.track(who, "booking", {"booking_id": "b"})
    assert holds(crm, who) == [(0, 200)]
    crm.activities.track(who, "completion", {"booking_id": "b"})
    assert holds(crm, who) == [(200, 0)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_was_earned_before_it_was_called_off_does_not_depend_on_what_came_first(
    made: Made, order: tuple[int, int]
) -> None:
    crm = made(earn_rules=[PROMISED], multipliers=[BIRTHDAY])
    who = ana(crm, birth_date="1990-06-01")
    facts: list[tuple[str, Any, float]] = [
        ("booking", {"booking_id": "b", "status": "completed"}, 2),
        ("cancellation", {"booking_id": "b"}, 1),
    ]
    for kind, payload, back in (facts[n] for n in order):
        crm.activities.track(who, kind, payload, at=NOW - back * DAY)
    assert holds(crm, who, 0, 1.5) == [(0, 0), (200, 0)]


def test_calling_off_twice_takes_back_once(made: Made) -> None:
    """By whatever calls it off: cancelled, nobody came, given back, or it never was."""
    crm = made(earn_rules=[SALE, PROMISED])
    who = ana(crm)
    bought(crm, who, 30, order="other")
    sale = bought(crm, who, 50)
    crm.activities.track(who, "booking", {"order_id": "o", "status": "completed"})
    assert holds(crm, who) == [(180, 0)]
    for kind in ("cancellation", "cancellation", "no_show", "refund"):
        crm.activities.track(who, kind, {"order_id": "o"})
        assert holds(crm, who) == [(30, 0)]
    crm.activities.void(sale, key="k")
    crm.activities.void(sale, key="k")
    assert holds(crm, who) == [(30, 0)]


# --- caps ---


def test_a_refund_makes_room_under_a_cap_from_its_instant_on(
    made: Made, clock: FrozenClock
) -> None:
    """Before that nothing changes, whether the refund or the next sale is told first."""
    told = [
        holds_of_capped(made(name=f"p{n}"), clock, late=late)
        for n, late in enumerate([False, True])
    ]
    assert told == [[(100, 0), (60, 0), (100, 0), (100, 0), (80, 0)]] * 2


def holds_of_capped(crm: CRMService, clock: FrozenClock, *, late: bool) -> list[tuple[int, int]]:
    crm = again(crm, earn_rules=[attrs.evolve(SALE, cap=Cap(100, "month"))])
    who = crm.find_or_create({"user_id": str(late)}).id
    bought(crm, who, 80, back=5)
    second: list[Callable[[], object]] = [
        lambda: bought(crm, who, 60, back=4, order="p"),
        lambda: crm.activities.track(
            who, "refund", {"amount": 80, "order_id": "o"}, at=clock() - 2 * DAY
        ),
    ]
    for tell in second[::-1] if late else second:
        tell()
    bought(crm, who, 40, back=1, order="q")
    return holds(crm, who, 0, 1.5, 3, 3.5, 4.5)


def test_caps_of_who_was_one_for_a_while_are_each_ones_own_again(made: Made) -> None:
    crm = made(earn_rules=[attrs.evolve(VISIT, cap=Cap(100, "month"))])
    both = [crm.find_or_create({"user_id": n}).id for n in (1, 2)]
    for who in both:
        for n in range(2):
            crm.activities.track(who, "visit", at=NOW - (4 - n) * DAY)
    merge = crm.identity.merge(*both, reason="same")
    assert holds(crm, both[0]) == [(160, 0)]
    for who in both:
        crm.activities.track(who, "visit", at=NOW - DAY)
    assert holds(crm, both[0]) == [(100, 0)]
    crm.identity.unmerge(merge.id)
    assert [holds(crm, who) for who in both] == [[(100, 0)], [(100, 0)]]


def test_a_lower_cap_takes_nothing_back(made: Made) -> None:
    """What it gave before counts against it, and stays."""
    crm = made(earn_rules=[attrs.evolve(VISIT, cap=Cap(120, "month"))])
    who = ana(crm)
    for n in range(2):
        crm.activities.track(who, "visit", at=NOW - (4 - n) * DAY)
    crm = again(crm, earn_rules=[attrs.evolve(VISIT, cap=Cap(100, "month"))])
    crm.activities.track(who, "visit", at=NOW - 9 * DAY)
    assert holds(crm, who) == [(100, 0)]
    crm = again(crm, earn_rules=[attrs.evolve(VISIT, cap=Cap(50, "month"))])
    crm.activities.track(who, "visit")
    assert holds(crm, who) == [(100, 0)]


# --- other settings ---


def test_a_promise_of_former_settings_is_kept_by_the_rules_of_today(made: Made) -> None:
    """Once: it does not stay pending beside what was promised."""
    crm = made(earn_rules=[PROMISED])
    who = ana(crm)
    crm.activities.track(who, "booking", {"booking_id": "b"})
    crm = again(crm, earn_rules=[attrs.evolve(PROMISED, points=150)])
    crm.activities.track(who, "completion", {"booking_id": "b"})
    assert holds(crm, who) == [(150, 0)]


def test_a_promise_beside_points_of_former_settings_ends_too(made: Made) -> None:
    review = EarnRule(name="review", kind="review", points=25)
    crm = made(earn_rules=[PROMISED, review])
    who = ana(crm)
    crm.activities.track(who, "booking", {"booking_id": "b"})
    crm.activities.track(who, "review", {"booking_id": "b"})
    assert holds(crm, who) == [(25, 100)]
    crm = again(crm, earn_rules=[PROMISED, attrs.evolve(review, points=10)])
    crm.activities.track(who, "completion", {"booking_id": "b"})
    assert holds(crm, who) == [(125, 0)]


def test_other_rewards_change_no_rounding(made: Made) -> None:
    """What a refund took comes back whole when it is voided, whatever was configured since."""
    crm = made(earn_rules=[EarnRule(name="flat", kind="purchase", points=100)])
    who = ana(crm)
    sale = bought(crm, who, 3)
    crm = again(crm, rewards=[])
    refund = crm.activities.refund(sale, amount=2)
    assert holds(crm, who) == [(33, 0)]
    crm = again(crm, rewards=[BEER])
    crm.activities.void(refund.id)
    assert holds(crm, who) == [(100, 0)]


def test_what_did_not_qualify_takes_nothing_that_did(made: Made) -> None:
    """Whether a rule's points count for the tier is as it was when they were earned."""
    crm = made(earn_rules=[attrs.evolve(SALE, qualifies=False)])
    who = ana(crm)
    crm.loyalty.update_points(who, 50, reason="gift")
    sale = bought(crm, who, 30)
    crm = again(crm, earn_rules=[SALE])
    crm.activities.refund(sale)
    assert crm.loyalty.account(who).qualifying == 50


def test_two_configurations_of_one_instant_are_told_apart(made: Made) -> None:
    """A job ends, whichever of them applies."""
    crm = made()
    bought(crm, ana(crm), 50)
    for rewards in ([], [BEER]) * 2:
        crm = again(crm, rewards=rewards)
        crm.run_due()
        assert crm.run_due().done == 0


# --- what is kept ---


def test_a_kept_account_is_trusted_only_while_nothing_happens(made: Made, storage: Storage) -> None:
    """Between two instants it is read as it stands, and not beyond."""
    crm = made(hold_days=2, expires_days=3)
    who = ana(crm)
    bought(crm, who, 50)
    with storage.read(crm.tenant) as uow:
        [account] = uow.find(PointsAccount)
    assert (account.pending, account.since, account.next_at) == (50, NOW, NOW + 2 * DAY)
    wrong = evolved(account, pending=7)
    with storage.read(crm.tenant) as uow:
        assert accounts.balance(uow, wrong, NOW + 2 * DAY - timedelta(microseconds=1)).pending == 7
        assert accounts.balance(uow, wrong, NOW + 2 * DAY) == accounts.Balance(50, 0)
        assert accounts.balance(uow, wrong, NOW) == accounts.Balance(0, 7)
        before = NOW - timedelta(microseconds=1)
        assert accounts.balance(uow, wrong, before) == accounts.Balance()
        assert accounts.balance(uow, None, NOW) == accounts.Balance()


def test_debits_take_the_points_that_expire_first_and_leave_those_on_hold(
    made: Made, storage: Storage
) -> None:
    """Over more lots than are read at once."""
    crm = made(expires_days=30)
    who = ana(crm)
    for n in range(120):
        crm.loyalty.update_points(who, 1, reason="gift", at=NOW - (n % 20) * DAY)
    crm.loyalty.update_points(who, 500, reason="later", at=NOW + DAY)
    crm.loyalty.update_points(who, -110, reason="used")
    with storage.read(crm.tenant) as uow:
        taken = [e for e in uow.find(PointsEntry) if e.points < 0]
        rest = [e for e in uow.find(PointsEntry) if e.lot_id not in {t.lot_id for t in taken}]
    assert max(e.expires_at for e in taken) <= min(e.expires_at for e in rest)
    assert holds(crm, who) == [(10, 500)]
    with pytest.raises(InsufficientPoints):
        crm.loyalty.update_points(who, -11, reason="used")
