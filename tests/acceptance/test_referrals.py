"""Customers who bring customers: who is rewarded, when, and who is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crmkit import CRMService, IdempotencyConflict, InvalidInput, NotFound, Settings
from crmkit.loyalty.referrals import ReferralCounts
from crmkit.ports.storage import Storage
from crmkit.programmes import Limit, Programme, ReferralPolicy
from crmkit.testing import FrozenClock
from tests.referrals import WINDOW, Pair, guest, paired, service


@pytest.fixture
def pair(storage: Storage, clock: FrozenClock) -> Pair:
    return paired(service(storage, clock, ReferralPolicy(referrer=50, referee=30)), clock)


# --- codes ---


def test_a_code_is_always_the_same_and_each_customers_own(pair: Pair) -> None:
    referrals = pair.crm.loyalty.referrals
    code = referrals.code(pair.ana)
    assert len(code) == 14
    assert code == referrals.code(pair.ana) != referrals.code(pair.ion)


def test_a_code_is_read_however_it_is_typed(pair: Pair) -> None:
    """Small letters, without the hyphen, with O for 0 and l for 1."""
    referrals = pair.crm.loyalty.referrals
    code = referrals.code(pair.ana).lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert referrals.accept(pair.ion, f" {code}").state == "pending"


@pytest.mark.parametrize(
    "code", ["AAAA-AAAA-AAAA", "AAAA", "", "x" * 500, "ÄÄÄÄ-ÄÄÄÄ-ÄÄÄÄ", None, 7]
)
def test_an_unknown_code_is_not_found(pair: Pair, code: Any) -> None:
    with pytest.raises(NotFound, match="no such referral code"):
        pair.crm.loyalty.referrals.accept(pair.ion, code)
    assert pair.crm.loyalty.referrals.by(pair.ion) is None


def test_a_code_of_another_tenant_is_unknown(pair: Pair) -> None:
    other = pair.crm.for_tenant("other")
    stranger = guest(other, "Eva")
    with pytest.raises(NotFound):
        other.loyalty.referrals.accept(stranger, pair.crm.loyalty.referrals.code(pair.ana))


def test_codes_that_happen_to_be_the_same_are_told_apart(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    referrals = pair.crm.loyalty.referrals
    made = type(referrals)._code
    monkeypatch.setattr(
        type(referrals), "_code", lambda of, c, n: made(of, pair.ana if n == 0 else c, n)
    )
    codes = [referrals.code(c) for c in (pair.ana, pair.ion) * 2]
    assert codes[:2] == codes[2:]
    assert codes[0] != codes[1]
    assert referrals.accept(pair.ion, codes[0]).referrer_id == pair.ana
    assert referrals.accept(pair.ana, codes[1]).referrer_id == pair.ion


# --- what becomes of a referral ---


def test_it_is_pending_until_the_first_visit(pair: Pair) -> None:
    made = pair.accept()
    assert (made.referrer_id, made.referee_id) == (pair.ana, pair.ion)
    assert (made.state, made.reason, made.flags) == ("pending", None, ())
    assert (made.accepted_at, made.qualified_at, made.usable_at) == (pair.clock(), None, None)
    pair.come("review")
    pair.come("booking", booking_id="1")
    assert pair.now == made
    assert pair.points() == [(0, 0), (0, 0)]


def test_both_sides_get_points_that_are_pending_at_first(pair: Pair) -> None:
    pair.accept()
    pair.come("booking", booking_id="1")
    pair.clock.advance(days=2)
    came = pair.clock()
    pair.come("completion", booking_id="1")
    made = pair.now
    assert (made.state, made.qualified_at, made.usable_at) == ("qualified", came, came + WINDOW)
    assert pair.points() == [(0, 50), (0, 30)]
    pair.clock.set(came + WINDOW)
    assert pair.now.state == "rewarded"
    assert pair.points() == [(50, 0), (30, 0)]


def test_what_earned_them_is_told(pair: Pair) -> None:
    pair.accept()
    pair.come()
    for customer, rule, points in ((pair.ana, "referrer", 50), (pair.ion, "referee", 30)):
        (entry,) = pair.crm.loyalty.history(customer)
        assert (entry.kind, entry.rule, entry.points) == ("earn", rule, points)
        assert (entry.occurred_at, entry.available_at) == (pair.clock(), pair.clock() + WINDOW)
        assert (entry.story, entry.qualifying) == (pair.now.id, 0)
        assert pair.crm.loyalty.account(customer).qualifying == 0


def test_only_the_first_visit_pays(pair: Pair) -> None:
    pair.accept()
    for _ in range(3):
        pair.clock.advance(days=1)
        pair.come()
    assert pair.points() == [(0, 50), (0, 30)]
    assert pair.now.qualified_at == pair.clock() - timedelta(days=2)


@pytest.mark.parametrize("called_off", ["cancellation", "no_show", "refund"])
def test_a_visit_that_is_called_off_in_time_is_taken_back(pair: Pair, called_off: str) -> None:
    """Then the referral waits for the next one."""
    pair.accept()
    pair.come("booking", booking_id="1", status="completed")
    pair.clock.advance(days=13)
    pair.come(called_off, booking_id="1")
    assert pair.now.state == "pending"
    assert pair.points() == [(0, 0), (0, 0)]
    assert [e.points for e in pair.crm.loyalty.history(pair.ana)] == [-50, 50]
    pair.clock.advance(days=1)
    pair.come()
    assert pair.now.qualified_at == pair.clock()
    assert pair.points() == [(0, 50), (0, 30)]


def test_a_visit_that_is_voided_in_time_is_taken_back(pair: Pair) -> None:
    pair.accept()
    visit = pair.come()
    pair.clock.advance(days=1)
    pair.crm.activities.void(visit)
    assert pair.now.state == "pending"
    assert pair.points() == [(0, 0), (0, 0)]


@pytest.mark.parametrize("called_off", ["cancellation", "refund"])
def test_what_is_called_off_later_stands(pair: Pair, called_off: str) -> None:
    pair.accept()
    pair.come("booking", booking_id="1", status="completed")
    pair.clock.advance(days=14)
    pair.come(called_off, booking_id="1")
    assert pair.now.state == "rewarded"
    assert pair.points() == [(50, 0), (30, 0)]


def test_a_late_fact_of_an_earlier_visit_moves_the_points(pair: Pair) -> None:
    """They are earned by the first visit, whenever it becomes known."""
    came = pair.clock() + timedelta(days=2)
    pair.accept()
    pair.clock.advance(days=6)
    pair.come()
    pair.crm.track_activity(pair.ion, "visit", at=came)
    assert (pair.now.qualified_at, pair.now.usable_at) == (came, came + WINDOW)
    assert pair.points() == [(0, 50), (0, 30)]
    assert pair.crm.loyalty.account(pair.ana, at=came + WINDOW).balance == 50


def test_visits_that_are_told_together_count_together(pair: Pair) -> None:
    """In whatever order they are in their batch."""
    start = pair.clock()
    pair.accept()
    pair.clock.advance(days=9)
    pair.come()
    pair.clock.advance(days=3)
    items = [
        {"customer_id": pair.ion, "kind": "visit", "at": start + timedelta(days=day)}
        for day in (2, 11)
    ]
    pair.crm.activities.track_many(items)
    assert pair.now.qualified_at == start + timedelta(days=2)


def test_points_can_be_seen_as_of_any_instant(pair: Pair) -> None:
    start = pair.clock()
    pair.accept()
    pair.come("booking", booking_id="1", status="completed")
    pair.clock.advance(days=5)
    pair.come("cancellation", booking_id="1")
    pair.clock.advance(days=5)
    pair.come()
    pair.clock.advance(days=50)
    seen = [
        pair.crm.loyalty.account(pair.ana, at=start + timedelta(days=day))
        for day in (-1, 0, 4, 5, 9, 10, 23, 24)
    ]
    assert [a.pending for a in seen] == [0, 50, 50, 0, 0, 50, 50, 0]
    assert [a.balance for a in seen] == [0, 0, 0, 0, 0, 0, 0, 50]


def test_the_points_expire_as_those_of_the_programme_do(
    storage: Storage, clock: FrozenClock
) -> None:
    """At the end of the local day, counted from when they could be used."""
    pair = paired(service(storage, clock, ReferralPolicy(), expires_days=10), clock)
    pair.accept()
    pair.come()
    clock.advance(days=30)
    assert pair.points() == [(0, 0), (0, 0)]
    kinds = [(e.kind, e.points) for e in pair.crm.loyalty.history(pair.ana)]
    assert kinds == [("expire", -50), ("earn", 50)]


def test_a_side_that_gets_nothing_has_no_entry(storage: Storage, clock: FrozenClock) -> None:
    pair = paired(service(storage, clock, ReferralPolicy(referrer=0, referee=5)), clock)
    pair.accept()
    pair.come()
    assert len(pair.crm.loyalty.history(pair.ana)) == 0
    assert pair.points() == [(0, 0), (0, 5)]


def test_terms_are_those_of_the_acceptance(storage: Storage, clock: FrozenClock) -> None:
    """A programme that changes, or has no referrals any more, changes no promise."""
    pair = paired(service(storage, clock, ReferralPolicy(window_days=3)), clock)
    pair.accept()
    pair.come("booking", booking_id="1", status="completed")
    later = service(storage, clock, ReferralPolicy(referrer=1, referee=1, window_days=90))
    later.track_activity(pair.ion, "cancellation", {"booking_id": "1"})
    none = service(storage, clock, None)
    none.track_activity(pair.ion, "visit")
    assert pair.points() == [(0, 50), (0, 50)]
    clock.advance(days=3)
    assert pair.points() == [(50, 0), (50, 0)]
    with pytest.raises(InvalidInput, match="no referrals"):
        none.loyalty.referrals.accept(pair.ana, "AAAA-AAAA-AAAA")


def test_who_does_not_take_part_gets_nothing(storage: Storage, clock: FrozenClock) -> None:
    """Where points are for those who enrolled; the other side gets theirs."""
    pair = paired(service(storage, clock, ReferralPolicy(), enrolment="on_request"), clock)
    pair.crm.loyalty.enrol(pair.ion)
    pair.accept()
    pair.come()
    assert pair.points() == [(0, 0), (0, 50)]
    left = paired(service(storage, clock, ReferralPolicy()).for_tenant("left"), clock)
    left.crm.loyalty.leave(left.ana)
    left.accept()
    left.come()
    assert left.points() == [(0, 0), (0, 50)]


def test_referrals_are_of_a_programme(storage: Storage, clock: FrozenClock) -> None:
    """Each has its own terms, and its own points."""
    programmes = [
        Programme(name="one", earn_rules=(), referral=ReferralPolicy(referrer=1, referee=2)),
        Programme(name="two", earn_rules=(), referral=ReferralPolicy(referrer=3, referee=4)),
    ]
    crm = CRMService(storage, clock=clock, settings=Settings(programmes=programmes))
    pair = paired(crm, clock)
    for name in ("one", "two"):
        assert pair.accept(programme=name).programme == name
    pair.come()
    pending = [
        crm.loyalty.account(customer, programme=name).pending
        for name in ("one", "two")
        for customer in (pair.ana, pair.ion)
    ]
    assert pending == [1, 2, 3, 4]
    assert len(crm.loyalty.referrals.of(pair.ana)) == 2


# --- accepting ---


def test_accepting_twice_is_accepting_once(pair: Pair) -> None:
    """With a key, without one, and once it has been rewarded."""
    first = pair.accept(key="k")
    assert pair.accept(key="k") == first == pair.accept() == pair.accept(key="another")
    pair.come()
    pair.clock.advance(days=20)
    for key in ("k", None, "another"):
        assert pair.accept(key=key).id == first.id
    assert len(pair.crm.loyalty.referrals.of(pair.ana)) == 1
    assert pair.points() == [(50, 0), (30, 0)]


def test_a_key_of_another_call_is_a_conflict(pair: Pair) -> None:
    pair.accept(key="k")
    referrals = pair.crm.loyalty.referrals
    eva = guest(pair.crm, "Eva")
    for referee, code in ((pair.ion, referrals.code(eva)), (eva, referrals.code(pair.ana))):
        with pytest.raises(IdempotencyConflict):
            referrals.accept(referee, code, key="k")


def test_a_referral_may_be_told_late_but_not_ahead(pair: Pair) -> None:
    start = pair.clock()
    pair.clock.advance(days=9)
    pair.crm.track_activity(pair.ion, "visit", at=start + timedelta(days=3))
    with pytest.raises(InvalidInput, match="ahead"):
        pair.accept(at=pair.clock() + timedelta(seconds=1))
    made = pair.accept(at=start)
    assert (made.state, made.qualified_at) == ("qualified", start + timedelta(days=3))
    assert pair.points() == [(0, 50), (0, 30)]


def test_by_and_of_tell_both_sides(pair: Pair) -> None:
    referrals = pair.crm.loyalty.referrals
    made = pair.accept()
    assert referrals.by(pair.ion) == made == pair.now
    assert referrals.by(pair.ana) is None
    assert len(referrals.of(pair.ion)) == 0


def test_referrals_made_come_in_pages_the_latest_first(pair: Pair) -> None:
    referrals = pair.crm.loyalty.referrals
    made = []
    for n in range(5):
        pair.clock.advance(hours=1)
        made.append(referrals.accept(guest(pair.crm, f"Guest{n}"), referrals.code(pair.ana)))
    first = referrals.of(pair.ana, limit=2)
    second = referrals.of(pair.ana, limit=2, after=first.next)
    third = referrals.of(pair.ana, limit=2, after=second.next)
    assert [*first, *second, *third] == made[::-1]
    assert third.next is None


def test_referrals_made_are_counted(pair: Pair) -> None:
    referrals = pair.crm.loyalty.referrals
    guests = [guest(pair.crm, f"Guest{n}") for n in range(3)]
    for one in (*guests, pair.ana):
        referrals.accept(one, referrals.code(pair.ana))
    pair.crm.track_activity(guests[0], "visit")
    pair.clock.advance(days=14)
    pair.crm.track_activity(guests[1], "visit")
    assert referrals.count(pair.ana) == ReferralCounts(
        made=4, pending=1, qualified=1, rewarded=1, refused=1
    )
    assert referrals.count(guests[0]).made == 0


# --- limits ---


def come_by(crm: CRMService, code: str, count: int, clock: FrozenClock) -> list[str]:
    """So many guests who come by a code, a day after the other."""
    came = []
    for n in range(count):
        clock.advance(days=1)
        came.append(guest(crm, f"Guest{n}"))
        crm.loyalty.referrals.accept(came[-1], code)
        crm.track_activity(came[-1], "booking", {"booking_id": f"{n}", "status": "completed"})
    return came


def test_beyond_the_limit_only_the_referred_get_theirs(
    storage: Storage, clock: FrozenClock
) -> None:
    crm = service(storage, clock, ReferralPolicy(referrer=50, referee=30, limit=Limit(2)))
    ana = guest(crm, "Ana")
    guests = come_by(crm, crm.loyalty.referrals.code(ana), 4, clock)
    assert crm.loyalty.account(ana).pending == 100
    assert [crm.loyalty.account(c).pending for c in guests] == [30] * 4
    made = crm.loyalty.referrals.of(ana)
    assert [r.referrer_points for r in made] == [0, 0, 50, 50]
    assert [r.referee_points for r in made] == [30] * 4
    crm.track_activity(guests[3], "cancellation", {"booking_id": "3"})
    last = next(iter(crm.loyalty.referrals.of(ana)))
    assert (last.state, last.referrer_points) == ("pending", 50)
    assert crm.loyalty.account(ana).pending == 100


def test_who_is_called_off_leaves_room(storage: Storage, clock: FrozenClock) -> None:
    """The next in the order of their visits moves up, and back."""
    crm = service(storage, clock, ReferralPolicy(limit=Limit(2, "year")))
    ana = guest(crm, "Ana")
    guests = come_by(crm, crm.loyalty.referrals.code(ana), 3, clock)
    crm.track_activity(guests[0], "cancellation", {"booking_id": "0"})
    assert crm.loyalty.account(ana).pending == 100
    assert [r.referrer_points for r in crm.loyalty.referrals.of(ana)] == [50, 50, 50]
    earlier = clock() - timedelta(days=2)
    crm.track_activity(guests[0], "visit", at=earlier)
    assert [r.referrer_points for r in crm.loyalty.referrals.of(ana)] == [0, 50, 50]
    assert crm.loyalty.account(ana).pending == 100


def test_what_became_of_the_erased_stays(storage: Storage, clock: FrozenClock) -> None:
    """Beyond the limit they stay beyond it, though there is room by now."""
    crm = service(storage, clock, ReferralPolicy(limit=Limit(2)))
    ana = guest(crm, "Ana")
    guests = come_by(crm, crm.loyalty.referrals.code(ana), 3, clock)
    crm.gdpr.erase(guests[2])
    crm.track_activity(guests[0], "cancellation", {"booking_id": "0"})
    assert [r.referrer_points for r in crm.loyalty.referrals.of(ana)] == [0, 50, 50]
    assert crm.loyalty.account(ana).pending == 50


def test_a_limit_is_that_of_the_acceptance(storage: Storage, clock: FrozenClock) -> None:
    crm = service(storage, clock, ReferralPolicy(limit=Limit(1)))
    ana = guest(crm, "Ana")
    guests = [guest(crm, f"Guest{n}") for n in range(3)]
    for one in guests:
        crm.loyalty.referrals.accept(one, crm.loyalty.referrals.code(ana))
    unlimited = service(storage, clock, ReferralPolicy())
    for one in guests:
        clock.advance(days=1)
        unlimited.track_activity(one, "visit")
    assert crm.loyalty.account(ana).pending == 50


def test_a_limit_of_a_period_counts_anew_in_the_next(storage: Storage, clock: FrozenClock) -> None:
    crm = service(storage, clock, ReferralPolicy(limit=Limit(1, "month")))
    clock.set("2026-01-30T12:00:00Z")
    ana = guest(crm, "Ana")
    come_by(crm, crm.loyalty.referrals.code(ana), 3, clock)
    made = [(r.accepted_at.day, r.referrer_points) for r in crm.loyalty.referrals.of(ana)]
    assert made == [(2, 0), (1, 50), (31, 50)]
