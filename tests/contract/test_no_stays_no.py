"""A no stays a no, on every storage: nothing but the person's own later word makes a permission."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crmkit import CRMService, InvalidInput, RetentionPolicy, Settings
from crmkit.gdpr.consents import Consents
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock

MAIL, OTHER = "ana@mail.com", "ana@work.example"


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana", "email": MAIL}).id


@pytest.fixture
def anna(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Anna", "email": OTHER}).id


@pytest.fixture
def consents(crm: CRMService) -> Consents:
    return crm.gdpr.consents


# --- parting ---


@pytest.mark.parametrize("way", ["kept", "dropped", "link"])
def test_a_withdrawal_of_two_as_one_goes_for_each(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, anna: str, way: str
) -> None:
    """By either id; a link for one address withdraws for that address of both."""
    for each in (ana, anna):
        consents.give(each, "email", source="form")
    made = crm.identity.merge(ana, anna, reason="one person")
    clock.advance(hours=1)
    if way == "link":
        consents.unsubscribe(consents.unsubscribe_token(ana, "email", address=OTHER), post=True)
    else:
        consents.withdraw(ana if way == "kept" else anna, "email")
    clock.advance(hours=1)
    crm.identity.unmerge(made.id)
    assert consents.may_contact(anna, "email").reason == "withdrawn"
    if way != "link":
        assert consents.may_contact(ana, "email").reason == "withdrawn"


def test_a_link_that_is_followed_after_parting_suppresses_its_address(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, anna: str
) -> None:
    consents.give(anna, "email", source="form")
    made = crm.identity.merge(ana, anna, reason="one person")
    token = consents.unsubscribe_token(ana, "email", address=OTHER)
    clock.advance(hours=1)
    crm.identity.unmerge(made.id)
    assert consents.may_contact(anna, "email")
    assert consents.unsubscribe(token, post=True).done
    assert consents.may_contact(anna, "email").reason == "suppressed"


@pytest.mark.parametrize("holder", ["dan", "ana"])
def test_undoing_an_inner_merge_makes_no_permission(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, anna: str, holder: str
) -> None:
    """One withdrew; both others agreed later, and the one who stays merged is withdrawn still."""
    dan = crm.find_or_create({"name": "Dan", "email": "dan@mail.com"}).id
    consents.withdraw(ana, "email")
    clock.advance(days=1)
    for each in (anna, dan):
        consents.give(each, "email", source="form")
    clock.advance(days=1)
    first = crm.identity.merge(ana, anna, reason="one person")
    clock.advance(days=1)
    kept, dropped = (dan, ana) if holder == "dan" else (ana, dan)
    second = crm.identity.merge(kept, dropped, reason="one person")
    clock.advance(days=1)
    crm.identity.unmerge(first.id)
    assert consents.may_contact(kept, "email").reason == "withdrawn"
    assert consents.may_contact(anna, "email")
    crm.identity.unmerge(second.id)
    assert consents.may_contact(ana, "email").reason == "withdrawn"
    assert consents.may_contact(dan, "email")


def test_what_the_dropped_id_told_of_two_as_one_goes_for_each(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, anna: str
) -> None:
    for each in (ana, anna):
        consents.give(each, "push", source="app")
    made = crm.identity.merge(ana, anna, reason="one person")
    clock.advance(days=1)
    crm.gdpr.object(anna, channel="push")
    crm.gdpr.restrict(anna, reason="accuracy")
    clock.advance(days=1)
    crm.identity.unmerge(made.id)
    for each in (ana, anna):
        assert consents.may_contact(each, "push").reason == "restricted"
        crm.gdpr.lift(each, reason="put right")
        assert consents.may_contact(each, "push").reason == "objected"


@pytest.mark.parametrize("teller", ["ana", "anna", "dan"])
def test_what_was_told_of_three_as_one_goes_for_each(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, anna: str, teller: str
) -> None:
    """By whichever id; the inner merge is undone first."""
    dan = crm.find_or_create({"name": "Dan", "email": "dan@mail.com"}).id
    three = {"ana": ana, "anna": anna, "dan": dan}
    for each in three.values():
        consents.give(each, "push", source="app")
    first = crm.identity.merge(ana, anna, reason="one person")
    clock.advance(days=1)
    second = crm.identity.merge(dan, ana, reason="one person")
    clock.advance(days=1)
    crm.gdpr.object(three[teller], channel="push")
    clock.advance(days=1)
    crm.identity.unmerge(first.id)
    crm.identity.unmerge(second.id)
    for each in three.values():
        assert consents.may_contact(each, "push").reason == "objected"


# --- clocks ---


@pytest.mark.parametrize("way", ["withdraw", "link", "object"])
def test_a_withdrawal_comes_after_a_yes_that_a_clock_ahead_has_stamped(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, way: str
) -> None:
    consents.give(ana, "email", source="form", at=clock() + timedelta(minutes=4))
    if way == "withdraw":
        consents.withdraw(ana, "email")
    elif way == "link":
        consents.unsubscribe(consents.unsubscribe_token(ana, "email"), post=True)
    else:
        crm.gdpr.object(ana)
    assert not consents.may_contact(ana, "email")
    assert not consents.state(ana).given("marketing", "email")


# --- saying it again ---


def test_a_late_yes_from_before_the_latest_objection_ends_nothing(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    start = clock()
    crm.gdpr.object(ana)
    clock.advance(days=45)
    crm.gdpr.object(ana)
    said = start + timedelta(days=31)
    consents.give(ana, "email", source="form", fresh=True, at=said)
    assert consents.may_contact(ana, "email").reason == "objected"


@pytest.mark.parametrize("again", ["object", "unsubscribe"])
def test_a_link_to_confirm_is_void_after_a_no_that_is_said_again(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, again: str
) -> None:
    def refuse() -> None:
        if again == "object":
            crm.gdpr.object(ana)
        else:
            consents.unsubscribe(consents.unsubscribe_token(ana, "email"), post=True)

    refuse()
    clock.advance(days=1)
    token = consents.request(ana, "email", source="form")
    clock.advance(hours=1)
    refuse()
    with pytest.raises(InvalidInput):
        consents.confirm(token)
    assert not consents.may_contact(ana, "email")


def test_a_late_yes_from_before_the_latest_click_permits_nothing(
    consents: Consents, clock: FrozenClock, ana: str
) -> None:
    start = clock()
    for _ in range(2):
        consents.unsubscribe(consents.unsubscribe_token(ana, "email"), post=True)
        clock.advance(days=30)
    consents.give(ana, "email", source="form", at=start + timedelta(days=10))
    assert consents.may_contact(ana, "email").reason == "withdrawn"


def test_a_suppression_that_comes_again_outlives_a_yes_from_in_between(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    start = clock()
    for _ in range(2):
        crm.gdpr.suppress(MAIL, "email", kind="complained")
        clock.advance(days=30)
    said = start + timedelta(days=10)
    consents.give(ana, "email", source="form", fresh=True, at=said)
    assert consents.may_contact(ana, "email").reason == "suppressed"


# --- links to confirm ---


@pytest.mark.parametrize("address", [None, MAIL])
@pytest.mark.parametrize("refusal", ["unsubscribe", "complaint"])
def test_a_no_for_the_address_makes_a_link_to_confirm_void(
    crm: CRMService,
    consents: Consents,
    clock: FrozenClock,
    ana: str,
    refusal: str,
    address: str | None,
) -> None:
    """Also one that was asked for without naming an address."""
    token = consents.request(ana, "email", source="form", address=address)
    clock.advance(hours=1)
    if refusal == "unsubscribe":
        consents.unsubscribe(consents.unsubscribe_token(ana, "email", address=MAIL), post=True)
    else:
        crm.gdpr.suppress(MAIL, "email", kind="complained")
    clock.advance(hours=1)
    with pytest.raises(InvalidInput):
        consents.confirm(token)
    assert not consents.may_contact(ana, "email")


def test_a_link_to_confirm_ends_a_complaint_from_before_it(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    crm.gdpr.suppress(MAIL, "email", kind="complained")
    clock.advance(hours=1)
    consents.confirm(consents.request(ana, "email", source="form"))
    assert consents.may_contact(ana, "email")


# --- forgetting ---


@pytest.mark.parametrize("address", [None, MAIL])
def test_an_old_list_revives_no_withdrawal_of_somebody_erased(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, address: str | None
) -> None:
    """A fresh opt-in of theirs does."""
    consents.give(ana, "email", source="form")
    clock.advance(days=1)
    consents.withdraw(ana, "email", address=address)
    crm.gdpr.erase(ana)
    clock.advance(days=1)
    listed = {"marketing_email": True, "source": "list"}
    again = crm.find_or_create({"email": MAIL, "consent": listed}).id
    assert consents.may_contact(again, "email").reason == "suppressed"
    clock.advance(days=1)
    consents.give(again, "email", source="form", fresh=True)
    assert consents.may_contact(again, "email")


def test_an_old_list_revives_no_withdrawal_that_a_policy_removed(
    storage: Storage, clock: FrozenClock
) -> None:
    policy = RetentionPolicy(name="proofs", of="consents", after="3y")
    crm = CRMService(storage, settings=Settings(retention=(policy,)), clock=clock)
    consents, start = crm.gdpr.consents, clock()
    ana = crm.find_or_create({"name": "Ana", "email": MAIL}).id
    consents.withdraw(ana, "email")
    clock.advance(days=4 * 365)
    assert [done.count for done in crm.gdpr.retention.run()] == [1]
    assert consents.history(ana) == ()
    consents.give(ana, "email", source="list", at=start - timedelta(days=9))
    assert consents.may_contact(ana, "email").reason == "suppressed"


# --- claims ---


def test_a_claim_from_before_an_objection_does_not_come_back(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """When the fresh opt-in that ended the objection runs out; a claim after that counts."""
    consents.rely_on(ana, "email", basis="soft_opt_in", source="shop")
    clock.advance(days=1)
    crm.gdpr.object(ana)
    clock.advance(days=1)
    consents.rely_on(ana, "email", basis="soft_opt_in", source="shop")
    clock.advance(days=1)
    ends = clock() + timedelta(days=30)
    consents.give(ana, "email", source="form", fresh=True, expires_at=ends)
    assert consents.may_contact(ana, "email").reason == "consent"
    clock.set(ends)
    assert consents.may_contact(ana, "email").reason == "expired"
    consents.rely_on(ana, "email", basis="soft_opt_in", source="shop")
    assert consents.may_contact(ana, "email").reason == "soft_opt_in"


def test_a_fresh_opt_in_for_one_device_revives_no_claim_for_another(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    consents.rely_on(ana, "push", basis="soft_opt_in", source="app")
    clock.advance(days=1)
    crm.gdpr.object(ana, channel="push")
    clock.advance(days=1)
    consents.give(ana, "push", source="app", address="one", fresh=True)
    assert consents.may_contact(ana, "push", address="one").reason == "consent"
    assert not consents.may_contact(ana, "push", address="two")
