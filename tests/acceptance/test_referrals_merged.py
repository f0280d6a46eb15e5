"""Referrals of customers who are merged, parted or erased, and of many at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crmkit import Erased, NotFound
from crmkit.model import PointsEntry, PointsLot, ReferralAccepted, ReferralMade
from crmkit.ports.storage import Storage
from crmkit.programmes import Limit, ReferralPolicy
from crmkit.testing import FrozenClock, together
from tests.referrals import Pair, guest, paired, service


@pytest.fixture
def pair(storage: Storage, clock: FrozenClock) -> Pair:
    return paired(service(storage, clock, ReferralPolicy(referrer=50, referee=30)), clock)


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


def test_what_stays_changes_no_more(pair: Pair) -> None:
    """Until that very merge is undone: then it is as the facts tell."""
    start = pair.clock()
    pair.accept()
    pair.clock.advance(days=3)
    pair.come()
    pair.clock.advance(days=14)
    eva, dan = guest(pair.crm, "Eva"), guest(pair.crm, "Dan")
    first = pair.crm.identity.merge(pair.ion, eva, reason="one person")
    second = pair.crm.identity.merge(pair.ion, dan, reason="one person")
    pair.crm.track_activity(pair.ion, "visit", at=start + timedelta(days=1))
    before = pair.now
    assert before.qualified_at == start + timedelta(days=3)
    pair.crm.identity.unmerge(second.id)
    assert pair.now == before
    assert len(pair.crm.loyalty.history(pair.ana)) == 1
    pair.crm.identity.unmerge(first.id)
    assert pair.now.qualified_at == start + timedelta(days=1)
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


def test_who_was_rewarded_is_not_referred_again(pair: Pair) -> None:
    """By an older code of one who is the same person."""
    referrals = pair.crm.loyalty.referrals
    eva, dan = guest(pair.crm, "Eva"), guest(pair.crm, "Dan")
    referrals.accept(dan, referrals.code(eva))
    pair.clock.advance(days=1)
    pair.accept()
    pair.come()
    pair.clock.advance(days=14)
    pair.crm.identity.merge(pair.ion, dan, reason="one person")
    assert [r.reason for r in referrals.of(eva)] == ["referred_before"]
    assert pair.now.state == "rewarded"
    assert pair.crm.loyalty.account(eva).pending == 0


def test_a_code_goes_with_its_id(pair: Pair) -> None:
    """Also one that was first asked for while both were one; erasing one leaves the other's."""
    eva = guest(pair.crm, "Eva")
    merge = pair.crm.identity.merge(pair.ana, eva, reason="one person")
    code = pair.crm.loyalty.referrals.code(eva)
    pair.crm.identity.unmerge(merge.id)
    pair.crm.gdpr.erase(pair.ana)
    assert pair.crm.loyalty.referrals.accept(pair.ion, code).referrer_id == eva


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
    assert [r.referrer_points for r in referrals.of(ana)] == [50, 50]


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
