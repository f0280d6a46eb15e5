"""Who cannot be referred, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from crmkit.ports.storage import Storage
from crmkit.programmes import ReferralPolicy
from crmkit.testing import FrozenClock
from tests.referrals import Pair, guest, paired, service


@pytest.fixture
def pair(storage: Storage, clock: FrozenClock) -> Pair:
    return paired(service(storage, clock, ReferralPolicy(referrer=50, referee=30)), clock)


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
