"""Retention: what policies do to records past their time, notices, and legal holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crmkit import (
    CRMService,
    Erased,
    InvalidInput,
    NotFound,
    OnHold,
    Programme,
    RetentionPolicy,
    Settings,
)
from crmkit.ports.storage import Storage
from crmkit.programmes import ReferralPolicy
from crmkit.testing import FrozenClock
from tests.populate import rows

TIMELINE = RetentionPolicy(name="timeline", after="24mo")
NOTES = RetentionPolicy(name="notes", of="notes", after="12mo")
CONSENTS = RetentionPolicy(name="proofs", of="consents", after="3y")
CHANGES = RetentionPolicy(name="changes", of="profile_changes", after="1y")
INACTIVE = RetentionPolicy(name="inactive", of="customers", after="36mo", notice="30d")
GONE = RetentionPolicy(name="gone", of="customers", after="36mo")

Make = Callable[..., CRMService]


@pytest.fixture
def make(storage: Storage, clock: FrozenClock) -> Make:
    """A service with these policies; the clock stands at the beginning of 2023."""
    clock.set("2023-01-10T12:00:00Z")

    def made(*policies: RetentionPolicy) -> CRMService:
        settings = Settings(retention=policies, timezone="Europe/Bucharest")
        return CRMService(storage, clock=clock, settings=settings)

    return made


def guest(crm: CRMService, name: str = "ana") -> str:
    return crm.find_or_create({"email": f"{name}@mail.com", "name": name.title()}).id


def dinner(crm: CRMService, customer_id: str, **more: Any) -> str:
    said = {"booking_id": "b1", "amount": 80, "party_size": 4, "venue": "Terrace"} | more
    return crm.track_activity(customer_id, "booking", said, key="b1").id


# --- the timeline ---


def test_the_old_timeline_is_linked_to_nobody_and_numbers_stay(
    make: Make, storage: Storage, clock: FrozenClock
) -> None:
    """Metrics, points, counters, lifetime value and revenue are the same; the payload is gone."""
    crm = make(TIMELINE)
    ana = guest(crm)
    dinner(crm, ana, wish="Canary")
    clock.set("2024-12-01T12:00:00Z")
    crm.track_activity(ana, "visit", {"reference": "v1"})

    def numbers() -> tuple[object, ...]:
        return (
            crm.activities.metrics(ana),
            crm.loyalty.account(ana),
            crm.insights.venues(ana),
            crm.get_lifetime_value(ana).historic,
            crm.insights.revenue_by_month(),
        )

    clock.set("2025-01-10T11:59:59.999999Z")
    before = numbers()
    assert [r.count for r in crm.gdpr.retention.run()] == [0]
    clock.set("2025-01-10T12:00:00Z")
    (seen,) = crm.gdpr.retention.preview()
    assert (seen.policy, seen.action, seen.count) == ("timeline", "anonymise", 1)
    assert seen.sample == (ana,)
    assert numbers() == before
    assert [r.count for r in crm.gdpr.retention.run()] == [1]
    assert [r.count for r in crm.gdpr.retention.run()] == [0]
    assert numbers() == before
    assert [a.kind for a in crm.activities.timeline(ana)] == ["visit"]
    (gone,) = [row for row in rows(storage, crm.tenant)["crm_activities"] if not row["payload"]]
    assert (gone["customer_id"], gone["reference"], gone["amount_minor"]) == (None, None, 8_000)
    assert "Canary" not in str(rows(storage, crm.tenant))
    assert crm.activities.verify() == ()
    assert crm.activities.rebuild() == 0
    assert crm.insights.for_customer(ana, at="2024-12-02T00:00:00Z").total_spent.minor == 8_000


def test_a_story_goes_whole_or_not_at_all(make: Make, clock: FrozenClock) -> None:
    """A booking that was refunded later waits for its refund."""
    crm = make(TIMELINE)
    ana = guest(crm)
    dinner(crm, ana)
    clock.set("2023-06-10T12:00:00Z")
    crm.track_activity(ana, "refund", {"booking_id": "b1", "amount": 30})
    clock.set("2025-06-10T11:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [0]
    clock.set("2025-06-10T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [2]
    assert crm.activities.metrics(ana).spend_minor == 5_000


def test_what_comes_late_about_an_anonymised_story_is_refused(
    make: Make, clock: FrozenClock
) -> None:
    """By reference, by key, by the activity's id, from the host's table: nothing counts twice."""
    crm = make(TIMELINE)
    ana = guest(crm)
    booked = dinner(crm, ana)
    row = {"id": "b7", "at": "2023-01-10T12:00:00Z", "mail": "ana@mail.com"}
    mapping = {"id": "id", "at": "at", "customer": {"email": "mail"}}
    crm.activities.sync([row], mapping)
    clock.set("2025-06-10T12:00:00Z")
    crm.gdpr.retention.run()
    before = crm.activities.metrics(ana)
    for call in (
        lambda: dinner(crm, ana),
        lambda: crm.track_activity(ana, "refund", {"booking_id": "b1"}),
        lambda: crm.activities.refund(booked),
        lambda: crm.activities.void(booked),
        lambda: crm.activities.get(booked),
    ):
        with pytest.raises(Erased):
            call()
    assert crm.activities.sync([row], mapping).refused == 1
    assert crm.activities.sync([row], mapping, on_erased="skip").skipped == 1
    assert crm.activities.metrics(ana) == before
    assert crm.activities.verify() == ()


def test_only_the_kinds_that_are_named_go(make: Make, clock: FrozenClock) -> None:
    policy = RetentionPolicy(name="mail", after="6mo", kinds=["message_delivered"])
    crm = make(policy)
    ana = guest(crm)
    crm.track_activity(ana, "message_delivered", {"message_id": "m1"})
    crm.track_activity(ana, "visit")
    clock.set("2024-01-10T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [1]
    assert [a.kind for a in crm.activities.timeline(ana)] == ["visit"]
    assert crm.activities.metrics(ana).messages_delivered == 1


def test_who_bore_a_part_keeps_it_when_the_bill_goes(make: Make, clock: FrozenClock) -> None:
    crm = make(TIMELINE)
    ana, leo = guest(crm), guest(crm, "leo")
    dinner(crm, ana, participants=[{"customer_id": leo}])
    clock.set("2025-06-10T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [1]
    assert [crm.activities.metrics(c).spend_minor for c in (ana, leo)] == [4_000, 4_000]
    assert crm.activities.verify() == ()
    crm.gdpr.erase(leo)
    assert crm.activities.metrics(ana).spend_minor == 4_000


def test_a_referral_that_was_earned_stays_so(make: Make, clock: FrozenClock) -> None:
    """The visit by which it was earned is gone; nothing is taken back."""
    programme = Programme(referral=ReferralPolicy(), earn_rules=(), multipliers=(), milestones=())
    settings = Settings(retention=[TIMELINE], programmes=[programme])
    crm = make().for_tenant("club", settings=settings)
    ana, leo = guest(crm), guest(crm, "leo")
    crm.loyalty.referrals.accept(leo, crm.loyalty.referrals.code(ana))
    crm.track_activity(leo, "visit", {"reference": "v1"})
    clock.set("2025-06-10T12:00:00Z")
    crm.run_due()
    told = crm.loyalty.referrals.by(leo), crm.loyalty.account(ana).balance
    assert told[1] == 50
    crm.track_activity(leo, "visit", {"reference": "v2"})
    assert [a.reference for a in crm.activities.timeline(leo)] == ["v2"]
    assert (crm.loyalty.referrals.by(leo), crm.loyalty.account(ana).balance) == told


def test_segments_follow_as_of_now_and_history_stays(make: Make, clock: FrozenClock) -> None:
    """Who was in by an old visit leaves when it goes; that they were in remains."""
    crm = make(TIMELINE)
    crm.segments.create("came", {"did": "visit", "count": 1})
    crm.segments.create("spent", {"field": "total_spend", "operator": ">", "value": 10})
    ana = guest(crm)
    crm.track_activity(ana, "visit")
    dinner(crm, ana)
    clock.set("2025-06-10T12:00:00Z")
    crm.run_due()
    assert crm.segments.segments_of(ana) == ("spent",)
    (stay,) = crm.segments.analytics.history("came")
    assert (stay.customer_id, stay.left_at) == (ana, clock())
    assert crm.segments.verify("came").members == 0


# --- notes, profile changes, consents ---


def test_old_notes_and_changes_are_deleted(
    make: Make, storage: Storage, clock: FrozenClock
) -> None:
    crm = make(NOTES, CHANGES)
    ana = guest(crm)
    crm.customers.add_note(ana, "old")
    crm.customers.update(ana, {"city": "Roma"})
    clock.set("2023-12-01T12:00:00Z")
    crm.customers.add_note(ana, "young")
    clock.set("2024-01-10T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.preview()] == [1, 2]
    assert [r.count for r in crm.gdpr.retention.run()] == [1, 2]
    assert [n.text for n in crm.customers.notes(ana)] == ["young"]
    assert crm.customers.get(ana).city == "Roma"
    assert rows(storage, crm.tenant)["crm_profile_changes"] == []


def test_a_withdrawn_consent_is_kept_as_proof_and_then_deleted(
    make: Make, clock: FrozenClock
) -> None:
    """What still stands is never deleted, however old."""
    crm = make(CONSENTS)
    ana = guest(crm)
    crm.gdpr.consents.give(ana, "sms", source="till")
    crm.gdpr.consents.give(ana, "email", source="till")
    clock.set("2024-01-10T12:00:00Z")
    crm.gdpr.consents.withdraw(ana, "email")
    clock.set("2027-01-10T11:59:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [0]
    clock.set("2027-01-10T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [2]
    assert [c.channel for c in crm.gdpr.consents.history(ana)] == ["sms"]
    assert not crm.gdpr.consents.state(ana).given("marketing", "email")


# --- customers ---


def test_who_is_inactive_is_told_waited_for_and_erased(make: Make, clock: FrozenClock) -> None:
    crm = make(INACTIVE)
    ana = guest(crm)
    crm.track_activity(ana, "visit")
    retention = crm.gdpr.retention
    clock.set("2025-12-11T11:00:00Z")
    assert list(retention.notices()) == []
    clock.set("2025-12-11T12:00:00Z")
    (found,) = retention.notices()
    assert (found.customer_id, found.verdict) == (ana, "tell")
    clock.set("2026-02-01T12:00:00Z")  # past 36 months, but nobody was told
    assert [r.count for r in retention.run()] == [0]
    retention.noticed(ana, "inactive")
    (found,) = retention.notices()
    assert (found.verdict, found.due_at.isoformat()) == ("wait", "2026-03-03T12:00:00+00:00")
    clock.set("2026-03-03T11:59:00Z")
    assert [r.count for r in retention.run()] == [0]
    clock.set("2026-03-03T12:00:00Z")
    assert [(r.count, r.sample) for r in retention.preview()] == [(1, (ana,))]
    assert [r.count for r in retention.run()] == [1]
    with pytest.raises(Erased):
        crm.customers.get(ana)


@pytest.mark.parametrize(
    ("sign", "counts"),
    [
        (lambda crm, c: crm.track_activity(c, "visit"), True),
        (lambda crm, c: crm.track_activity(c, "message_clicked"), True),
        (lambda crm, c: crm.gdpr.consents.withdraw(c, "email"), True),
        (lambda crm, c: crm.track_activity(c, "message_delivered"), False),
        (lambda crm, c: crm.track_activity(c, "message_opened"), False),
        (lambda crm, c: crm.customers.add_note(c, "staff wrote"), False),
        (lambda crm, c: crm.loyalty.update_points(c, 5, reason="gift"), False),
    ],
)
def test_only_what_the_person_does_calls_it_off(
    make: Make, clock: FrozenClock, sign: Callable[[CRMService, str], object], counts: bool
) -> None:
    """A mail that was delivered, and what staff write, are no sign of life."""
    crm = make(INACTIVE)
    ana = guest(crm)
    crm.track_activity(ana, "visit")
    clock.set("2026-02-01T12:00:00Z")
    crm.gdpr.retention.noticed(ana, "inactive")
    clock.set("2026-02-20T12:00:00Z")
    sign(crm, ana)
    clock.set("2026-04-01T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [0 if counts else 1]
    clock.set("2029-03-01T12:00:00Z")  # the old notice does not count for the next time
    assert [r.count for r in crm.gdpr.retention.run()] == [0]


def test_without_a_notice_who_is_inactive_is_erased_at_once(make: Make, clock: FrozenClock) -> None:
    """36 calendar months where the tenant is."""
    crm = make(GONE)
    for name in ("ana", "leo"):
        guest(crm, name)
    clock.set("2023-01-20T12:00:00Z")
    guest(crm, "eva")
    clock.set("2026-01-10T11:59:59Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [0]
    clock.set("2026-01-10T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [2]
    assert [c.email for c in crm.customers.list()] == ["eva@mail.com"]


REVIEW = ("review", {"rating": 5, "text": "Good"})


@pytest.mark.parametrize(
    ("kind", "said", "counts"),
    [(*REVIEW, True), ("message_clicked", {}, True), ("message_opened", {}, False)],
)
def test_what_the_person_did_counts_after_it_was_anonymised(
    make: Make, clock: FrozenClock, kind: str, said: dict[str, Any], counts: bool
) -> None:
    """Both policies of the guide: 36 months begin with the last thing they did of themselves."""
    crm = make(TIMELINE, GONE)
    ana = guest(crm)
    clock.set("2023-12-20T12:00:00Z")
    crm.track_activity(ana, kind, said)
    clock.set("2026-01-11T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [1, 0 if counts else 1]
    clock.set("2026-12-20T11:59:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [0, 0]
    clock.set("2026-12-20T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [0, 1 if counts else 0]


def test_what_the_person_said_counts_after_its_proof_is_gone(
    make: Make, clock: FrozenClock
) -> None:
    """Consents go a year after their withdrawal, people three years after their last word."""
    crm = make(RetentionPolicy(name="proof", of="consents", after="12mo"), GONE)
    ana = guest(crm)
    clock.set("2023-12-20T12:00:00Z")
    crm.gdpr.consents.withdraw(ana, "email")
    clock.set("2026-01-11T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [1, 0]
    assert [r.count for r in crm.gdpr.retention.run()] == [0, 0]
    clock.set("2026-12-20T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [0, 1]
    assert crm.activities.verify() == ()


def test_an_anonymised_sign_goes_with_a_merge_and_comes_back(
    make: Make, clock: FrozenClock
) -> None:
    """While two are one it counts for that one, and then for the one who gave it."""
    crm = make(TIMELINE, GONE)
    ana, leo = guest(crm), guest(crm, "leo")
    clock.set("2023-12-20T12:00:00Z")
    crm.track_activity(leo, *REVIEW)
    merge = crm.identity.merge(ana, leo, reason="same person")
    clock.set("2026-01-11T12:00:00Z")
    assert [r.count for r in crm.gdpr.retention.run()] == [1, 0]
    crm.identity.unmerge(merge.id)
    assert [r.count for r in crm.gdpr.retention.run()] == [0, 1]
    assert [c.id for c in crm.customers.list()] == [leo]


def test_who_is_restricted_while_a_run_is_on_its_way_is_left_alone(
    make: Make, clock: FrozenClock
) -> None:
    """Their page was read before; the run asks again before it erases."""
    crm = make(GONE)
    people = {guest(crm, name) for name in ("ana", "leo")}
    clock.set("2027-01-10T12:00:00Z")

    def restrict_who_is_left(_: int) -> None:
        for customer in crm.customers.list():
            crm.gdpr.restrict(customer.id, reason="contested")

    (done,) = crm.gdpr.retention.run(progress=restrict_who_is_left)
    assert done.count == 1
    assert [c.id in people for c in crm.customers.list()] == [True]


# --- holds ---


def test_a_legal_hold_stops_erasing_and_policies(
    make: Make, storage: Storage, clock: FrozenClock
) -> None:
    """Until it is released; also of those who shared a bill with the one it is about."""
    crm = make(TIMELINE, NOTES, CONSENTS, CHANGES, GONE)
    ana, leo = guest(crm), guest(crm, "leo")
    dinner(crm, leo, participants=[{"customer_id": ana}])
    crm.customers.add_note(ana, "kept")
    crm.gdpr.consents.withdraw(ana, "email")
    held = crm.gdpr.retention.hold(ana, reason="claim 17", actor="lawyer")
    clock.set("2030-01-01T12:00:00Z")
    assert crm.gdpr.retention.holds() == crm.gdpr.retention.holds(ana) == (held,)
    with pytest.raises(OnHold):
        crm.gdpr.erase(ana)
    before = rows(storage, crm.tenant)
    done = {r.policy: r.count for r in crm.gdpr.retention.run()}
    assert done == {"timeline": 0, "notes": 0, "proofs": 0, "changes": 1, "gone": 1}
    mine = {t: [r for r in found if ana in str(r)] for t, found in before.items()}
    after = rows(storage, crm.tenant)
    for table, found in mine.items():
        if table not in ("crm_activities", "crm_profile_changes"):
            assert [r for r in after[table] if ana in str(r)] == found, table
    crm.gdpr.retention.release(held.id)
    assert crm.gdpr.retention.holds() == ()
    assert [r.count for r in crm.gdpr.retention.run()][-1] == 1
    with pytest.raises(Erased):
        crm.customers.get(ana)


def test_a_hold_ends_by_itself_or_is_overruled(make: Make, clock: FrozenClock) -> None:
    crm = make()
    ana, leo = guest(crm), guest(crm, "leo")
    crm.gdpr.retention.hold(ana, reason="claim", until="2023-06-01T00:00:00Z")
    crm.gdpr.retention.hold(leo, reason="claim")
    with pytest.raises(OnHold):
        crm.gdpr.erase(ana)
    assert crm.gdpr.erase(leo, despite_hold=True).deleted["crm_legal_holds"] == 1
    clock.set("2023-06-01T00:00:00Z")
    assert crm.gdpr.erase(ana).deleted["crm_customers"] == 1


def test_a_run_as_of_an_earlier_instant_asks_for_the_holds_of_now(
    make: Make, clock: FrozenClock
) -> None:
    crm = make(TIMELINE, NOTES, CONSENTS, GONE)
    ana = guest(crm)
    dinner(crm, ana)
    crm.customers.add_note(ana, "kept")
    crm.gdpr.consents.withdraw(ana, "email")
    clock.set("2030-01-01T12:00:00Z")
    crm.gdpr.retention.hold(ana, reason="claim")
    done = crm.gdpr.retention.run("2029-12-31T12:00:00Z")
    assert [r.count for r in done] == [0, 0, 0, 0]


def test_a_hold_goes_with_a_merge_and_comes_back(make: Make) -> None:
    crm = make()
    ana, leo = guest(crm), guest(crm, "leo")
    crm.gdpr.retention.hold(leo, reason="claim")
    merge = crm.identity.merge(ana, leo, reason="same person")
    with pytest.raises(OnHold):
        crm.gdpr.erase(ana)
    crm.identity.unmerge(merge.id)
    crm.gdpr.erase(ana)
    with pytest.raises(OnHold):
        crm.gdpr.erase(leo)


@pytest.mark.parametrize("told_as", ["ana", "leo"])
def test_a_hold_of_while_two_were_one_stands_for_each(make: Make, told_as: str) -> None:
    """Whichever id it was put on by, and each is released by itself."""
    crm = make()
    people = {name: guest(crm, name) for name in ("ana", "leo")}
    merge = crm.identity.merge(people["ana"], people["leo"], reason="same person")
    crm.gdpr.retention.hold(people[told_as], reason="claim")
    crm.identity.unmerge(merge.id)
    for customer_id in people.values():
        with pytest.raises(OnHold):
            crm.gdpr.erase(customer_id)
        (held,) = crm.gdpr.retention.holds(customer_id)
        assert (held.customer_id, held.reason) == (customer_id, "claim")
        crm.gdpr.retention.release(held.id)
        assert crm.gdpr.erase(customer_id).deleted["crm_customers"] == 1


def test_a_released_hold_does_not_come_back_with_an_unmerge(make: Make) -> None:
    crm = make()
    ana, leo = guest(crm), guest(crm, "leo")
    merge = crm.identity.merge(ana, leo, reason="same person")
    crm.gdpr.retention.release(crm.gdpr.retention.hold(leo, reason="claim").id)
    crm.identity.unmerge(merge.id)
    assert crm.gdpr.retention.holds() == ()


@pytest.mark.parametrize("told_as", ["ana", "leo"])
@pytest.mark.parametrize("inner_first", [True, False])
def test_a_hold_stands_for_those_it_was_put_on_in_whatever_order_they_part(
    make: Make, clock: FrozenClock, told_as: str, inner_first: bool
) -> None:
    """Who was merged with them only afterwards is free again, and a hold of theirs is theirs."""
    crm = make()
    people = {name: guest(crm, name) for name in ("ana", "leo", "eva")}
    inner = crm.identity.merge(people["ana"], people["leo"], reason="same person")
    clock.set("2023-02-01T12:00:00Z")
    crm.gdpr.retention.hold(people[told_as], reason="of two")
    crm.gdpr.retention.hold(people["eva"], reason="of one")
    clock.set("2023-03-01T12:00:00Z")
    outer = crm.identity.merge(people["eva"], people["ana"], reason="same person")
    for merge in (inner, outer) if inner_first else (outer, inner):
        crm.identity.unmerge(merge.id)
    told = {n: [h.reason for h in crm.gdpr.retention.holds(c)] for n, c in people.items()}
    assert told == {"ana": ["of two"], "leo": ["of two"], "eva": ["of one"]}


# --- running ---


def test_run_due_carries_policies_out_once_a_day(make: Make, clock: FrozenClock) -> None:
    crm = make(NOTES)
    ana = guest(crm)
    crm.customers.add_note(ana, "one")
    clock.set("2023-01-10T18:00:00Z")
    crm.customers.add_note(ana, "two")
    clock.set("2024-01-10T12:00:00Z")
    crm.run_due()
    assert len(crm.customers.notes(ana)) == 1
    clock.set("2024-01-10T20:00:00Z")
    crm.run_due()
    assert len(crm.customers.notes(ana)) == 1
    clock.set("2024-01-10T22:00:00Z")  # midnight in Bucharest
    crm.run_due()
    assert len(crm.customers.notes(ana)) == 0


def test_a_run_that_was_cut_off_is_run_again(make: Make, clock: FrozenClock) -> None:
    crm = make(GONE)
    people = [guest(crm, name) for name in ("ana", "leo", "eva")]
    clock.set("2027-01-10T12:00:00Z")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crm.run_due(progress=stop)
    assert len(crm.customers.list()) == len(people) - 1
    assert crm.run_due().done == 2


def test_a_run_never_looks_into_the_future(make: Make) -> None:
    crm = make(GONE)
    guest(crm)
    assert [r.count for r in crm.gdpr.retention.preview("2029-01-01T00:00:00Z")] == [1]
    assert [r.count for r in crm.gdpr.retention.run("2029-01-01T00:00:00Z")] == [0]


def test_what_cannot_be_is_refused(make: Make) -> None:
    crm = make(INACTIVE, GONE)
    ana = guest(crm)
    retention = crm.gdpr.retention
    for call, field in (
        (lambda: retention.noticed(ana, "gone"), "policy"),
        (lambda: retention.noticed(ana, "inactive", at="2024-01-01T00:00:00Z"), "at"),
        (lambda: retention.hold(ana, reason=" "), "reason"),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.field == field
    with pytest.raises(NotFound):
        retention.release("nothing")
