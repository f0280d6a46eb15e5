"""Whether somebody may be contacted, on every storage: for each reason a yes or a no."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest

from crmkit import CRMService, InvalidInput
from crmkit.gdpr.consents import Consents
from crmkit.model import Score, Suppression
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock

MAIL, OTHER, PHONE = "ana@mail.com", "ana@work.example", "+40722123456"


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana", "email": MAIL, "phone": PHONE}).id


@pytest.fixture
def consents(crm: CRMService) -> Consents:
    return crm.gdpr.consents


# --- the reasons ---


def test_nothing_is_permitted_by_default(consents: Consents, ana: str) -> None:
    for channel in ("email", "sms", "push", "whatsapp", "phone", "profiling", "sale_share"):
        found = consents.may_contact(ana, channel)
        assert (bool(found), found.reason) == (False, "no_consent")


def test_a_permission_tells_why_and_where_to(consents: Consents, ana: str) -> None:
    given = consents.give(ana, "email", source="form")
    found = consents.may_contact(ana, "email")
    assert found
    assert (found.reason, found.basis, found.address) == ("consent", "consent", MAIL)
    assert found.since == given.occurred_at
    assert found.sentence == f"consented on {given.occurred_at.date()}"
    assert MAIL not in repr(found)


def test_it_is_for_one_purpose_on_one_channel(consents: Consents, ana: str) -> None:
    consents.give(ana, "email", source="form", purpose="reminders")
    assert consents.may_contact(ana, "email", "reminders")
    assert not consents.may_contact(ana, "email")
    assert not consents.may_contact(ana, "sms", "reminders")


def test_a_withdrawal_ends_it(consents: Consents, ana: str) -> None:
    consents.give(ana, "email", source="form")
    consents.withdraw(ana, "email")
    assert consents.may_contact(ana, "email").reason == "withdrawn"


def test_it_runs_out_at_its_instant(consents: Consents, clock: FrozenClock, ana: str) -> None:
    ends = clock() + timedelta(days=30)
    consents.give(ana, "email", source="form", expires_at=ends)
    clock.set(ends - timedelta(microseconds=1))
    assert consents.may_contact(ana, "email")
    clock.set(ends)
    found = consents.may_contact(ana, "email")
    assert (found.reason, found.since) == ("expired", ends)
    assert not consents.state(ana).given("marketing", "email")


def test_without_an_address_nobody_is_contacted(crm: CRMService, consents: Consents) -> None:
    ion = crm.find_or_create({"name": "Ion"}).id
    consents.give(ion, "email", source="form")
    assert consents.may_contact(ion, "email").reason == "no_address"
    consents.give(ion, "push", source="app")
    assert consents.may_contact(ion, "push")


def test_nobody_and_the_erased_are_told_apart(
    crm: CRMService, consents: Consents, ana: str
) -> None:
    assert consents.may_contact("nobody", "email").reason == "unknown"
    crm.gdpr.erase(ana)
    assert consents.may_contact(ana, "email").reason == "erased"


def test_a_page_of_customers_is_answered_in_order(
    crm: CRMService, consents: Consents, ana: str
) -> None:
    """Each as `may_contact` answers, also twice and by an id that was merged away."""
    ion = crm.find_or_create({"name": "Ion", "email": "ion@mail.com"}).id
    anna = crm.find_or_create({"name": "Anna", "email": "anna@mail.com"}).id
    crm.identity.merge(ana, anna, reason="one person")
    consents.give(ana, "email", source="form")
    asked = [ion, ana, "nobody", anna, ana]
    found = list(consents.may_contact_many(asked, "email"))
    assert found == [consents.may_contact(each, "email") for each in asked]
    assert [p.reason for p in found] == ["no_consent", "consent", "unknown", "consent", "consent"]


def test_permission_as_it_was(consents: Consents, clock: FrozenClock, ana: str) -> None:
    first = clock()
    consents.give(ana, "email", source="form")
    second = clock.advance(days=1)
    consents.withdraw(ana, "email")
    clock.advance(days=1)
    assert consents.may_contact(ana, "email", at=first)
    assert not consents.may_contact(ana, "email", at=second)
    assert consents.may_contact(ana, "email", at=first - timedelta(days=1)).reason == "no_consent"


def test_what_was_known_at_a_time(consents: Consents, clock: FrozenClock, ana: str) -> None:
    """A withdrawal that is recorded late was said, and not known, in between."""
    consents.give(ana, "email", source="form")
    said = clock.advance(days=1)
    asked = clock.advance(days=1)
    clock.advance(days=1)
    consents.withdraw(ana, "email", at=said)
    assert consents.state(ana, at=asked, known_at=asked).given("marketing", "email")
    assert not consents.state(ana, at=asked).given("marketing", "email")


# --- addresses ---


def test_a_yes_for_an_address_is_for_that_one_only(consents: Consents, ana: str) -> None:
    consents.give(ana, "email", source="form", address=OTHER)
    assert not consents.may_contact(ana, "email")
    assert consents.may_contact(ana, "email", address=OTHER).address == OTHER
    assert consents.state(ana).given("marketing", "email")


def test_addresses_are_compared_canonically(consents: Consents, ana: str) -> None:
    consents.give(ana, "email", source="form", address="Ana@Mail.com ")
    assert consents.may_contact(ana, "email")


def test_a_yes_for_all_is_for_those_of_the_profile(consents: Consents, ana: str) -> None:
    consents.give(ana, "email", source="form")
    assert consents.may_contact(ana, "email", address=MAIL)
    assert consents.may_contact(ana, "email", address=OTHER).reason == "no_address"


def test_a_no_for_an_address_leaves_the_others(
    crm: CRMService, consents: Consents, ana: str
) -> None:
    crm.find_or_create({"email": OTHER, "phone": PHONE, "name": "Ana"})
    consents.give(ana, "email", source="form")
    consents.withdraw(ana, "email", address=MAIL)
    assert consents.may_contact(ana, "email").reason == "withdrawn"
    assert consents.state(ana).given("marketing", "email")


def test_a_no_for_all_goes_for_each(consents: Consents, ana: str) -> None:
    consents.give(ana, "email", source="form", address=MAIL)
    consents.give(ana, "email", source="form", address=OTHER)
    consents.withdraw(ana, "email")
    for address in (MAIL, OTHER):
        assert consents.may_contact(ana, "email", address=address).reason == "withdrawn"


# --- other lawful bases ---


def test_a_soft_opt_in_permits_and_is_no_consent(
    crm: CRMService, consents: Consents, ana: str
) -> None:
    consents.rely_on(ana, "email", basis="soft_opt_in", source="order 1", jurisdiction="IT")
    found = consents.may_contact(ana, "email")
    assert (bool(found), found.basis) == (True, "soft_opt_in")
    assert not consents.state(ana).given("marketing", "email")
    assert list(crm.reports.consent().rows) == []


@pytest.mark.parametrize("refusal", ["withdrawn", "objected"])
def test_other_bases_yield_to_a_refusal(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str, refusal: str
) -> None:
    """Also where they are claimed later."""
    if refusal == "withdrawn":
        consents.withdraw(ana, "email")
    else:
        crm.gdpr.object(ana)
    clock.advance(days=1)
    consents.rely_on(ana, "email", basis="legitimate_interest", source="order 1")
    assert consents.may_contact(ana, "email").reason == refusal


def test_a_message_that_a_contract_needs(crm: CRMService, consents: Consents, ana: str) -> None:
    """It goes out to who objected to marketing."""
    consents.rely_on(ana, "email", basis="contract", source="booking 1", purpose="booking")
    crm.gdpr.object(ana)
    assert consents.may_contact(ana, "email", "booking").basis == "contract"


@pytest.mark.parametrize("basis", ["consent", "whim"])
def test_a_basis_is_one_of_the_law(consents: Consents, ana: str, basis: str) -> None:
    with pytest.raises(InvalidInput):
        consents.rely_on(ana, "email", basis=basis, source="x")


# --- objections and suppressions ---


def test_an_objection_is_absolute(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """It withdraws what was granted, and a later yes that may be an import does not end it."""
    consents.give(ana, "email", source="form")
    made = crm.gdpr.object(ana, source="call")
    assert {o.channel for o in made} >= {"email", "sms", "profiling"}
    assert consents.may_contact(ana, "email").reason == "objected"
    assert not consents.state(ana).given("marketing", "email")
    clock.advance(days=1)
    consents.give(ana, "email", source="old list")
    assert consents.may_contact(ana, "email").reason == "objected"


def test_objecting_twice_is_objecting_once(crm: CRMService, storage: Storage, ana: str) -> None:
    assert crm.gdpr.object(ana) == crm.gdpr.object(ana)
    with storage.read(crm.tenant) as uow:
        assert uow.count(Suppression) == 4  # one mailbox, and a number by three channels


def test_an_objection_ends_when_the_person_agrees_anew(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """On that channel; on the others it stands."""
    before = clock()
    crm.gdpr.object(ana)
    clock.advance(days=1)
    consents.give(ana, "email", source="form", fresh=True)
    consents.give(ana, "sms", source="form")
    assert consents.may_contact(ana, "email")
    assert crm.gdpr.suppressed(MAIL, "email") is None
    assert consents.may_contact(ana, "sms").reason == "objected"
    assert consents.may_contact(ana, "email", at=before).reason == "objected"


def test_an_old_yes_ends_no_objection(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    old = clock()
    clock.advance(days=1)
    crm.gdpr.object(ana)
    consents.give(ana, "email", source="form", fresh=True, at=old)
    assert consents.may_contact(ana, "email").reason == "objected"


def test_an_objection_to_profiling(crm: CRMService, consents: Consents, ana: str) -> None:
    consents.give(ana, "profiling", source="form")
    consents.give(ana, "email", source="form")
    crm.gdpr.object(ana, "profiling")
    assert consents.may_contact(ana, "profiling").reason == "objected"
    assert consents.may_contact(ana, "email")


def test_an_objection_outlives_erasure(
    crm: CRMService, consents: Consents, storage: Storage, ana: str
) -> None:
    """Who comes back under the same address, however it is typed, is not written to."""
    crm.gdpr.object(ana)
    crm.gdpr.erase(ana)
    told = {"marketing_email": True, "marketing_sms": True, "source": "old list"}
    again = crm.find_or_create({"email": "ANA@mail.com", "phone": "0722 123 456",
                                "country": "RO", "consent": told}).id  # fmt: skip
    assert again != ana
    for channel in ("email", "sms"):
        assert consents.may_contact(again, channel).reason == "suppressed"
    with storage.read(crm.tenant) as uow:
        rows: list[Any] = uow.find(Suppression)
    assert all(MAIL not in str(row) and PHONE not in str(row) for row in rows)


def test_an_address_that_came_after_the_objection_is_suppressed_too(
    crm: CRMService, consents: Consents, ana: str
) -> None:
    """When the person is erased; until then the objection itself stands."""
    crm.gdpr.object(ana)
    crm.customers.update(ana, {"email": OTHER})
    assert crm.gdpr.suppressed(OTHER, "email") is None
    assert consents.may_contact(ana, "email").reason == "objected"
    crm.gdpr.erase(ana)
    assert crm.gdpr.suppressed(OTHER, "email") is not None


def test_who_never_refused_leaves_nothing(crm: CRMService, storage: Storage, ana: str) -> None:
    crm.gdpr.consents.give(ana, "email", source="form")
    crm.gdpr.erase(ana)
    with storage.read(crm.tenant) as uow:
        assert uow.count(Suppression) == 0


def test_a_bounced_address_is_written_to_no_more(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """Whoever has it, for every purpose, until they agree anew."""
    consents.give(ana, "email", source="form")
    made = crm.gdpr.suppress("Ana@mail.com", "email", kind="bounced")
    assert crm.gdpr.suppress(MAIL, "email", kind="bounced") == made
    assert crm.gdpr.suppressed(MAIL, "email") == made
    assert crm.gdpr.suppressed(OTHER, "email") is None
    assert consents.may_contact(ana, "email").reason == "suppressed"
    assert consents.may_contact(ana, "sms").reason == "no_consent"
    clock.advance(days=1)
    consents.give(ana, "email", source="form", fresh=True)
    assert consents.may_contact(ana, "email")


def test_a_complaint_is_about_its_purpose(crm: CRMService, consents: Consents, ana: str) -> None:
    consents.give(ana, "email", source="form")
    consents.give(ana, "email", source="form", purpose="reminders")
    crm.gdpr.suppress(MAIL, "email", kind="complained", purpose="marketing")
    assert not consents.may_contact(ana, "email")
    assert consents.may_contact(ana, "email", "reminders")


# --- restriction ---


def test_who_is_restricted_is_not_contacted(crm: CRMService, consents: Consents, ana: str) -> None:
    consents.give(ana, "email", source="form")
    held = crm.gdpr.restrict(ana, reason="says the birthday is wrong", actor="staff 7")
    assert crm.gdpr.restrict(ana, reason="says the birthday is wrong") == held
    assert consents.may_contact(ana, "email").reason == "restricted"
    assert "birthday" not in repr(held)
    (lifted,) = crm.gdpr.lift(ana, reason="put right")
    assert lifted.lifted_at is not None
    assert consents.may_contact(ana, "email")
    assert crm.gdpr.lift(ana, reason="put right") == ()


def test_two_restrictions_are_lifted_together(
    crm: CRMService, consents: Consents, ana: str
) -> None:
    crm.gdpr.restrict(ana, reason="accuracy")
    crm.gdpr.restrict(ana, reason="a lawsuit")
    assert len(crm.gdpr.lift(ana, reason="settled")) == 2
    assert consents.may_contact(ana, "email").reason == "no_consent"


def test_a_segment_is_exported_without_the_restricted(crm: CRMService, ana: str) -> None:
    ion = crm.find_or_create({"name": "Ion", "email": "ion@mail.com"}).id
    crm.segments.create("all", {"field": "bookings", "operator": ">=", "value": 0})
    crm.gdpr.restrict(ana, reason="accuracy")
    out = io.StringIO()
    assert crm.segments.analytics.export("all", out, ["id"]) == 1
    assert out.getvalue().split() == ["id", ion]


def test_an_export_tells_whether_consent_stands(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    consents.give(ana, "email", source="form", expires_at=clock() + timedelta(days=1))
    consents.give(ana, "sms", source="form")
    crm.segments.create("all", {"field": "bookings", "operator": ">=", "value": 0})
    clock.advance(days=1)
    out = io.StringIO()
    crm.segments.analytics.export("all", out, ["consent.marketing_email", "consent.marketing_sms"])
    assert out.getvalue().split()[1] == "no,yes"


def test_time_alone_ends_a_consent_in_segments(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """Members, the history and the explanation have the true instant, however late the run is."""
    rule = {"field": "consent.marketing_email", "operator": "=", "value": True}
    crm.segments.create("reachable", rule)
    begun, ends = clock(), clock() + timedelta(days=3)
    consents.give(ana, "email", source="form", address=OTHER, expires_at=ends)
    assert crm.segments.explain(ana, "reachable").until == ends
    clock.advance(days=10)
    assert crm.segments.count("reachable") == 0
    assert crm.segments.count("reachable", at=ends - timedelta(microseconds=1)) == 1
    assert crm.segments.explain(ana, "reachable").root.leaves().__next__().found == "false"
    crm.run_due()
    (stay,) = crm.segments.analytics.history("reachable")
    assert (stay.entered_at, stay.left_at) == (begun, ends)
    assert crm.segments.verify("reachable").exact


def test_merge_all_leaves_the_restricted_to_review(crm: CRMService) -> None:
    told = {"name": "Ioana Popescu", "email": "ioana@mail.com", "phone": PHONE}
    one, other = crm.identity.resolve_many([told, told], match=False)
    crm.identity.scan()
    crm.gdpr.restrict(other, reason="accuracy")
    assert crm.identity.merge_all(0.5) == ()
    assert len(crm.identity.duplicates()) == 1
    crm.gdpr.lift(other, reason="put right")
    assert {(m.kept_id, m.dropped_id) for m in crm.identity.merge_all(0.5)} == {(one, other)}


def test_scores_of_the_restricted_stay_as_they_are(
    crm: CRMService, storage: Storage, clock: FrozenClock, ana: str
) -> None:
    """Who had none gets none."""
    ion, dan = (crm.find_or_create({"email": f"{n}@mail.com"}).id for n in ("ion", "dan"))
    for day in range(4):
        for each in (ana, ion, dan):
            crm.track_activity(each, "purchase", {"amount": 10})
        clock.advance(days=7 + day)
    crm.insights.fit()
    crm.gdpr.restrict(dan, reason="accuracy")
    crm.insights.standing.refresh()
    crm.gdpr.restrict(ana, reason="accuracy")
    for each in (ana, ion, dan):
        crm.track_activity(each, "purchase", {"amount": 500})
    clock.advance(days=30)
    crm.insights.standing.refresh()
    with storage.read(crm.tenant) as uow:
        found = {s.customer_id: s for s in uow.find(Score)}
    assert found.keys() == {ana, ion}
    assert found[ana].lifetime_minor < found[ion].lifetime_minor
    assert found[ana].refreshed_at == found[ion].refreshed_at


# --- merges ---


def test_a_merge_keeps_objections_and_restrictions(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """Of either, though the other agreed anew later; and undone, each has their own back."""
    anna = crm.find_or_create({"name": "Anna", "email": OTHER}).id
    crm.gdpr.object(anna)
    crm.gdpr.restrict(anna, reason="accuracy")
    clock.advance(days=1)
    consents.give(ana, "email", source="form", fresh=True)
    made = crm.identity.merge(ana, anna, reason="one person")
    assert consents.may_contact(ana, "email").reason == "restricted"
    crm.gdpr.lift(ana, reason="put right")
    assert consents.may_contact(ana, "email").reason == "objected"
    crm.identity.unmerge(made.id)
    assert consents.may_contact(ana, "email")
    assert consents.may_contact(anna, "email").reason == "objected"


def test_what_was_said_of_two_as_one_goes_for_each(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    anna = crm.find_or_create({"name": "Anna", "email": OTHER}).id
    for each in (ana, anna):
        consents.give(each, "email", source="form")
    made = crm.identity.merge(ana, anna, reason="one person")
    clock.advance(days=1)
    crm.gdpr.object(ana)
    crm.gdpr.restrict(ana, reason="accuracy")
    crm.identity.unmerge(made.id)
    for each in (ana, anna):
        assert consents.may_contact(each, "email").reason == "restricted"
        crm.gdpr.lift(each, reason="put right")
        assert consents.may_contact(each, "email").reason == "objected"


def test_what_was_said_of_a_third_stays_theirs(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """Between two merges somebody objects who is merged by the second."""
    anna = crm.find_or_create({"name": "Anna", "email": OTHER}).id
    ion = crm.find_or_create({"name": "Ion", "email": "ion@mail.com"}).id
    consents.give(anna, "email", source="form")
    first = crm.identity.merge(ana, anna, reason="one person")
    clock.advance(days=1)
    crm.gdpr.object(ion)
    crm.identity.merge(ana, ion, reason="one person")
    clock.advance(days=1)
    crm.identity.unmerge(first.id)
    assert consents.may_contact(anna, "email")
    assert consents.may_contact(ana, "email").reason == "objected"


def test_a_merge_makes_no_permission_at_an_address(
    crm: CRMService, consents: Consents, clock: FrozenClock, ana: str
) -> None:
    """One withdrew all, the other granted one address later: it stays withdrawn."""
    anna = crm.find_or_create({"name": "Anna", "email": OTHER}).id
    consents.withdraw(ana, "email")
    clock.advance(days=1)
    consents.give(anna, "email", source="form", address=OTHER)
    made = crm.identity.merge(ana, anna, reason="one person")
    assert consents.may_contact(ana, "email", address=OTHER).reason == "withdrawn"
    crm.identity.unmerge(made.id)
    assert consents.may_contact(anna, "email", address=OTHER)
