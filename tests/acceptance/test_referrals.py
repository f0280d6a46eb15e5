"""Customers who bring customers: who is rewarded, when, and who is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from crmkit import CRMService, Erased, IdempotencyConflict, InvalidInput, NotFound, Settings
from crmkit.loyalty.referrals import Referral, ReferralCounts
from crmkit.model import PointsEntry, PointsLot, ReferralAccepted, ReferralMade
from crmkit.ports.storage import Storage
from crmkit.programmes import Limit, Programme, ReferralPolicy
from crmkit.testing import FrozenClock, together

WINDOW = timedelta(days=14)


@attrs.frozen
class Pair:
    """Who hands out a code, and who comes by it."""

    crm: CRMService
    clock: FrozenClock
    ana: str
    ion: str

    def accept(self, **more: Any) -> Referral:
        referrals = self.crm.loyalty.referrals
        return referrals.accept(self.ion, referrals.code(self.ana), **more)

    def come(self, kind: str = "visit", **payload: Any) -> str:
        return self.crm.track_activity(self.ion, kind, payload or None).id

    def points(self) -> list[tuple[int, int]]:
        """Balance and pending points of both."""
        accounts = [self.crm.loyalty.account(customer) for customer in (self.ana, self.ion)]
        return [(account.balance, account.pending) for account in accounts]

    @property
    def now(self) -> Referral:
        (found,) = self.crm.loyalty.referrals.of(self.ana)
        return found


def service(
    storage: Storage, clock: FrozenClock, policy: ReferralPolicy | None, **more: Any
) -> CRMService:
    programme = Programme(referral=policy, earn_rules=(), multipliers=(), milestones=(), **more)
    return CRMService(storage, clock=clock, settings=Settings(region="RO", programmes=[programme]))


def guest(crm: CRMService, name: str, **more: Any) -> str:
    return crm.find_or_create({"name": name, "email": f"{name.lower()}@mail.com", **more}).id


def paired(crm: CRMService, clock: FrozenClock) -> Pair:
    return Pair(crm, clock, guest(crm, "Ana"), guest(crm, "Ion"))


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


# --- who cannot be referred ---


def refused(pair: Pair, reason: str) -> None:
    """Nothing comes of the referral, whatever happens, and both are told why."""
    assert (pair.now.state, pair.now.reason) == ("refused", reason)
    pair.come()
    pair.clock.advance(days=20)
    assert (pair.now.state, pair.now.reason) == ("refused", reason)
    assert pair.points() == [(0, 0), (0, 0)]
    assert pair.crm.loyalty.referrals.by(pair.ion) is None


def test_nobody_refers_themselves(pair: Pair) -> None:
    self_made = attrs.evolve(pair, ion=pair.ana)
    self_made.accept()
    refused(self_made, "same_person")


def test_ids_of_one_person_are_one_person(pair: Pair) -> None:
    pair.crm.identity.merge(pair.ana, pair.ion, reason="one person")
    pair.accept()
    refused(pair, "same_person")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("visit", {}),
        ("booking", {"booking_id": "1"}),
        ("purchase", {"amount": 5}),
        ("ticket", {"ticket_id": "1"}),
    ],
)
def test_customers_are_not_referred(pair: Pair, kind: str, payload: dict[str, Any]) -> None:
    pair.come(kind, **payload)
    pair.clock.advance(days=1)
    pair.accept()
    refused(pair, "existing_customer")


def test_a_booking_that_was_called_off_made_no_customer(pair: Pair) -> None:
    pair.come("booking", booking_id="1")
    pair.clock.advance(days=1)
    pair.come("cancellation", booking_id="1")
    assert pair.accept().state == "pending"


def test_what_was_before_counts_whenever_it_becomes_known(pair: Pair) -> None:
    """And no longer once it was voided."""
    before = pair.clock()
    pair.clock.advance(days=1)
    pair.accept()
    pair.come()
    early = pair.crm.track_activity(pair.ion, "visit", at=before).id
    assert (pair.now.state, pair.now.reason) == ("refused", "existing_customer")
    assert pair.points() == [(0, 0), (0, 0)]
    pair.crm.activities.void(early)
    assert pair.now.state == "qualified"
    assert pair.points() == [(0, 50), (0, 30)]


@pytest.mark.parametrize("spent", ["debt", "floor", "block"])
def test_used_points_of_one_who_was_a_customer_are_owed(
    storage: Storage, clock: FrozenClock, spent: Any
) -> None:
    """Or forgiven, where the programme does; never is the fact refused."""
    pair = paired(service(storage, clock, ReferralPolicy(), on_spent=spent), clock)
    before = clock()
    clock.advance(days=1)
    pair.accept()
    pair.come()
    clock.advance(days=14)
    pair.crm.loyalty.update_points(pair.ana, -40, reason="cake")
    early = pair.crm.track_activity(pair.ion, "visit", at=before).id
    assert pair.points() == [(0 if spent == "floor" else -40, 0), (0, 0)]
    pair.crm.activities.void(early)
    assert pair.points() == [(10, 0), (50, 0)]


@pytest.mark.parametrize(
    ("field", "mine", "theirs"),
    [
        ("phone", "0722 123 456", "+40722123456"),
        ("instagram", "@ana", "https://instagram.com/ANA"),
    ],
)
def test_the_same_contact_is_refused(pair: Pair, field: str, mine: str, theirs: str) -> None:
    pair.crm.customers.update(pair.ana, {field: mine})
    pair.crm.customers.update(pair.ion, {field: theirs})
    pair.accept()
    refused(pair, "same_contact")


def test_a_mailbox_that_the_referrer_had_is_refused(pair: Pair) -> None:
    """In its canonical form, though the referrer has another by now."""
    pair.crm.customers.update(pair.ana, {"email": "ana.pop@gmail.com"})
    pair.crm.customers.update(pair.ana, {"email": "new@mail.com"})
    pair.crm.customers.update(pair.ion, {"email": "AnaPop+bonus@googlemail.com"})
    pair.accept()
    refused(pair, "same_contact")


def test_one_who_changes_the_contact_may_try_again(pair: Pair) -> None:
    """In vain: what both ever had counts."""
    pair.crm.customers.update(pair.ana, {"phone": "+40722123456"})
    pair.crm.customers.update(pair.ion, {"phone": "+40722123456"})
    assert pair.accept().state == "refused"
    pair.crm.customers.update(pair.ion, {"phone": "+40733123456"})
    assert pair.accept().reason == "same_contact"
    assert pair.crm.loyalty.referrals.count(pair.ana).refused == 2


def test_families_may_share_a_phone_where_the_programme_allows_it(
    storage: Storage, clock: FrozenClock
) -> None:
    pair = paired(service(storage, clock, ReferralPolicy(shared_phone="flag")), clock)
    for customer in (pair.ana, pair.ion):
        pair.crm.customers.update(customer, {"phone": "+40722123456"})
    made = pair.accept()
    assert (made.state, made.flags) == ("pending", ("same_phone",))
    for customer in (pair.ana, pair.ion):
        pair.crm.customers.update(customer, {"instagram": "@both"})
    eva = guest(pair.crm, "Eva", instagram="@both", phone="+40722123456")
    assert pair.crm.loyalty.referrals.accept(
        eva, pair.crm.loyalty.referrals.code(pair.ana)
    ).reason == "same_contact"  # fmt: skip


def test_a_household_is_flagged_and_not_refused(pair: Pair) -> None:
    home = {"address": "Str. Lunga 5", "city": "Brașov", "last_name": "Pop"}
    for customer in (pair.ana, pair.ion):
        pair.crm.customers.update(customer, home)
    assert pair.accept().flags == ("same_address", "same_family")
    pair.come()
    assert pair.points() == [(0, 50), (0, 30)]


def test_nobody_refers_who_brought_them(pair: Pair) -> None:
    """Two who are new would else be rewarded for each other twice."""
    pair.accept()
    referrals = pair.crm.loyalty.referrals
    back = referrals.accept(pair.ana, referrals.code(pair.ion))
    assert (back.state, back.reason) == ("refused", "referred_back")
    pair.crm.track_activity(pair.ana, "visit")
    pair.come()
    assert pair.points() == [(0, 50), (0, 30)]


def test_who_was_refused_may_be_brought_back(pair: Pair) -> None:
    pair.crm.track_activity(pair.ion, "visit")
    pair.clock.advance(days=1)
    assert pair.accept().state == "refused"
    referrals = pair.crm.loyalty.referrals
    assert referrals.accept(pair.ana, referrals.code(pair.ion)).state == "pending"


def test_nobody_is_referred_twice(pair: Pair) -> None:
    """The first counts, by when it was, not by when it was told."""
    eva = guest(pair.crm, "Eva")
    referrals = pair.crm.loyalty.referrals
    first = pair.accept()
    pair.clock.advance(days=1)
    second = referrals.accept(pair.ion, referrals.code(eva))
    assert (second.state, second.reason) == ("refused", "referred_before")
    dan = guest(pair.crm, "Dan")
    third = referrals.accept(
        pair.ion, referrals.code(dan), at=first.accepted_at - timedelta(days=1)
    )
    assert third.state == "pending"
    assert pair.now.reason == "referred_before"
    assert referrals.by(pair.ion) == third


def test_a_referral_that_was_refused_is_none(pair: Pair) -> None:
    """Another code may follow it."""
    attrs.evolve(pair, ana=pair.ion).accept()
    assert pair.accept().state == "pending"


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


def test_a_limit_of_a_period_counts_anew_in_the_next(storage: Storage, clock: FrozenClock) -> None:
    crm = service(storage, clock, ReferralPolicy(limit=Limit(1, "month")))
    clock.set("2026-01-30T12:00:00Z")
    ana = guest(crm, "Ana")
    come_by(crm, crm.loyalty.referrals.code(ana), 3, clock)
    made = [(r.accepted_at.day, r.referrer_points) for r in crm.loyalty.referrals.of(ana)]
    assert made == [(2, 0), (1, 50), (31, 50)]


# --- merging, parting, erasing ---


def test_codes_of_both_ids_lead_to_the_kept_customer(pair: Pair) -> None:
    referrals = pair.crm.loyalty.referrals
    eva, dan, oana = (guest(pair.crm, name) for name in ("Eva", "Dan", "Oana"))
    codes = referrals.code(pair.ana), referrals.code(eva)
    merge = pair.crm.identity.merge(pair.ana, eva, reason="one person")
    assert (referrals.code(pair.ana), referrals.code(eva)) == codes
    assert referrals.accept(dan, codes[0]).referrer_id == pair.ana
    assert referrals.accept(oana, codes[1]).referrer_id == pair.ana
    for referred in (dan, oana):
        pair.crm.track_activity(referred, "visit")
    assert pair.crm.loyalty.account(pair.ana).pending == 100
    pair.crm.identity.unmerge(merge.id)
    assert [len(referrals.of(c)) for c in (pair.ana, eva)] == [1, 1]
    assert [pair.crm.loyalty.account(c).pending for c in (pair.ana, eva)] == [50, 50]


@pytest.mark.parametrize("keep", ["ana", "ion"])
def test_one_person_after_all(pair: Pair, keep: str) -> None:
    """What is pending is taken back; parted again, it is as it was."""
    pair.accept()
    pair.come()
    before = pair.now
    ids = (pair.ana, pair.ion) if keep == "ana" else (pair.ion, pair.ana)
    merge = pair.crm.identity.merge(*ids, reason="one person")
    assert (pair.now.state, pair.now.reason) == ("refused", "same_person")
    assert pair.points() == [(0, 0), (0, 0)]
    pair.crm.identity.unmerge(merge.id)
    assert pair.now == before
    assert pair.points() == [(0, 50), (0, 30)]


def test_points_that_could_be_used_stay_when_both_are_one(pair: Pair) -> None:
    pair.accept()
    pair.come()
    pair.clock.advance(days=14)
    merge = pair.crm.identity.merge(pair.ana, pair.ion, reason="one person")
    assert pair.now.state == "rewarded"
    assert pair.points() == [(80, 0), (80, 0)]
    pair.come()
    pair.crm.identity.unmerge(merge.id)
    assert pair.points() == [(50, 0), (30, 0)]


def test_one_who_turns_out_to_be_a_customer(pair: Pair) -> None:
    """The referred is merged with somebody who came before."""
    eva = guest(pair.crm, "Eva")
    pair.crm.track_activity(eva, "visit")
    pair.clock.advance(days=1)
    pair.accept()
    pair.come()
    merge = pair.crm.identity.merge(eva, pair.ion, reason="one person")
    assert pair.now.reason == "existing_customer"
    assert pair.points() == [(0, 0), (0, 0)]
    pair.crm.identity.unmerge(merge.id)
    assert pair.points() == [(0, 50), (0, 30)]


def test_two_who_were_referred_and_are_one(pair: Pair) -> None:
    """The first referral counts."""
    referrals = pair.crm.loyalty.referrals
    eva, dan = guest(pair.crm, "Eva"), guest(pair.crm, "Dan")
    pair.accept()
    pair.clock.advance(days=1)
    referrals.accept(dan, referrals.code(eva))
    pair.come()
    pair.crm.track_activity(dan, "visit")
    merge = pair.crm.identity.merge(dan, pair.ion, reason="one person")
    assert [r.reason for r in referrals.of(eva)] == ["referred_before"]
    assert pair.now.state == "qualified"
    assert [pair.crm.loyalty.account(c).pending for c in (pair.ana, eva, dan)] == [50, 0, 30]
    pair.crm.identity.unmerge(merge.id)
    pending = [pair.crm.loyalty.account(c).pending for c in (pair.ana, eva, dan, pair.ion)]
    assert pending == [50, 50, 30, 30]


def test_limits_of_two_who_are_one_are_one(storage: Storage, clock: FrozenClock) -> None:
    """Of what is pending; what could be used stays."""
    crm = service(storage, clock, ReferralPolicy(limit=Limit(1)))
    referrals = crm.loyalty.referrals
    ana, eva = guest(crm, "Ana"), guest(crm, "Eva")
    for n, referrer in enumerate((ana, eva)):
        clock.advance(days=1)
        referred = guest(crm, f"Guest{n}")
        referrals.accept(referred, referrals.code(referrer))
        crm.track_activity(referred, "visit")
    merge = crm.identity.merge(ana, eva, reason="one person")
    assert crm.loyalty.account(ana).pending == 50
    crm.identity.unmerge(merge.id)
    assert [crm.loyalty.account(c).pending for c in (ana, eva)] == [50, 50]
    clock.advance(days=30)
    crm.identity.merge(ana, eva, reason="one person")
    assert crm.loyalty.account(ana).balance == 100


@pytest.mark.parametrize("erased", ["ana", "ion"])
def test_a_referral_stays_for_the_other_when_one_is_erased(pair: Pair, erased: str) -> None:
    pair.accept(key="k")
    pair.come()
    gone = getattr(pair, erased)
    pair.crm.gdpr.erase(gone)
    pair.clock.advance(days=14)
    referrals = pair.crm.loyalty.referrals
    if erased == "ana":
        left = referrals.by(pair.ion)
        assert left is not None
        assert (left.referrer_id, left.referee_id) == (None, pair.ion)
        pair.come()
        assert pair.crm.loyalty.account(pair.ion).balance == 30
    else:
        left = pair.now
        assert (left.referrer_id, left.referee_id) == (pair.ana, None)
        assert pair.crm.loyalty.account(pair.ana).balance == 50
    assert left.state == "rewarded"
    with pytest.raises(Erased):
        referrals.code(gone)


def test_nothing_comes_of_a_referral_whose_guest_was_erased_before(pair: Pair) -> None:
    pair.accept()
    pair.crm.gdpr.erase(pair.ion)
    assert (pair.now.state, pair.now.reason) == ("refused", "erased")
    assert pair.crm.loyalty.referrals.count(pair.ana).refused == 1


def test_the_code_of_the_erased_is_unknown(pair: Pair) -> None:
    code = pair.crm.loyalty.referrals.code(pair.ana)
    pair.crm.gdpr.erase(pair.ana)
    with pytest.raises(NotFound, match="code"):
        pair.crm.loyalty.referrals.accept(pair.ion, code)


def test_the_referred_gets_theirs_though_the_referrer_was_erased(pair: Pair) -> None:
    pair.accept()
    pair.crm.gdpr.erase(pair.ana)
    pair.come()
    assert pair.crm.loyalty.account(pair.ion).pending == 30


def test_an_export_shows_ones_own_side(pair: Pair) -> None:
    pair.accept()
    exports = [pair.crm.gdpr.export(c).to_dict() for c in (pair.ana, pair.ion)]
    assert "crm_referrals_made" in exports[0]["records"]
    assert "crm_referrals" in exports[1]["records"]
    assert pair.ion not in str(exports[0])
    assert pair.ana not in str(exports[1])


def test_erasing_leaves_nothing_of_the_person(pair: Pair, storage: Storage) -> None:
    """And the sums of the ledger as they were."""

    def total() -> int:
        with storage.read(pair.crm.tenant) as uow:
            return uow.totals(PointsEntry, "points").get((), 0)

    pair.accept()
    pair.come()
    before = total()
    for gone in (pair.ana, pair.ion):
        pair.crm.gdpr.erase(gone)
    with storage.read(pair.crm.tenant) as uow:
        stored = [*uow.stream(ReferralAccepted), *uow.stream(ReferralMade), *uow.stream(PointsLot)]
    assert len(stored) == 2
    assert pair.ana not in str(stored)
    assert pair.ion not in str(stored)
    assert total() == before == 80


# --- at once ---


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_a_limit_holds_when_all_come_at_once(storage: Storage, clock: FrozenClock) -> None:
    crm = service(storage, clock, ReferralPolicy(limit=Limit(3)))
    ana = guest(crm, "Ana")
    code = crm.loyalty.referrals.code(ana)
    guests = [guest(crm, f"Guest{n}") for n in range(8)]
    for one in guests:
        crm.loyalty.referrals.accept(one, code)
    together(8, lambda n: crm.track_activity(guests[n], "visit"))
    assert crm.loyalty.account(ana).pending == 150
    assert [crm.loyalty.account(c).pending for c in guests] == [50] * 8


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_two_who_accept_each_others_codes_at_once(storage: Storage, clock: FrozenClock) -> None:
    """Neither waits for the other for ever; and a guest accepts one code of many."""
    crm = service(storage, clock, ReferralPolicy())
    people = [guest(crm, f"Guest{n}") for n in range(6)]
    codes = together(6, lambda n: crm.loyalty.referrals.code(people[n]))
    made = together(6, lambda n: crm.loyalty.referrals.accept(people[n], codes[(n + 1) % 6]))
    assert {r.state for r in made} == {"pending"}
    eva = guest(crm, "Eva")
    together(6, lambda n: crm.loyalty.referrals.accept(eva, codes[n]))
    reasons = [r.reason for c in people for r in crm.loyalty.referrals.of(c) if r.referee_id == eva]
    assert sorted(map(str, reasons)) == ["None"] + ["referred_before"] * 5
