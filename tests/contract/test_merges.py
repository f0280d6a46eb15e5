"""Merging customers and undoing it, on every storage."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from crmkit import (
    CRMError,
    CRMService,
    Erased,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    Settings,
    Survivorship,
)
from crmkit.model import Activity, Customer, Merge, Metrics, Redirect, Snapshot
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.testing import FrozenClock, together
from tests.merging import is_sound, stored


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana", "email": "ana@mail.com"}).id


@pytest.fixture
def anna(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana Pop", "email": "pop@mail.com"}).id


@pytest.fixture
def ioana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ioana", "email": "ioana@mail.com"}).id


def merge(crm: CRMService, keep: str, drop: str) -> Merge:
    return crm.identity.merge(keep, drop, reason="one person")


# --- what a merge is ---


def test_a_merge_tells_who_why_and_when(crm: CRMService, ana: str, anna: str) -> None:
    fact = crm.identity.merge(
        ana, anna, reason="one phone", actor="staff 7", at="2026-01-02T00:00:00Z"
    )
    assert (fact.kept_id, fact.dropped_id, fact.reason, fact.actor) == (
        ana, anna, "one phone", "staff 7",
    )  # fmt: skip
    assert fact.at.isoformat() == "2026-01-02T00:00:00+00:00"
    assert crm.identity.merges(anna) == (fact,) == crm.identity.merges(ana)
    assert "one phone" not in repr(fact)
    assert "staff 7" not in repr(fact)


def test_all_that_takes_an_id_takes_the_old_one(crm: CRMService, ana: str, anna: str) -> None:
    """Reads and writes by the dropped id go on with the kept customer."""
    merge(crm, ana, anna)
    crm.track_activity(anna, "purchase", {"amount": 10})
    crm.customers.update(anna, {"city": "Roma"})
    crm.customers.tag(anna, "vip")
    crm.customers.untag(anna, "none")
    crm.customers.add_note(anna, "note")
    crm.gdpr.consents.give(anna, "email", source="form")
    crm.gdpr.consents.withdraw(anna, "sms")
    crm.loyalty.update_points(anna, 5, reason="gift")
    crm.segments.add(anna, "fans")
    view = crm.insights.view(anna)
    assert view == crm.insights.view(ana)
    assert view.tags == ("vip",)
    assert crm.customers.get(anna).id == ana
    assert crm.customers.profile(anna) == crm.customers.profile(ana)
    assert crm.customers.notes(anna) == crm.customers.notes(ana)
    assert crm.customers.tags(anna) == ("vip",)
    assert crm.activities.metrics(anna).spend_minor == 1_000
    assert crm.activities.timeline(anna) == crm.activities.timeline(ana)
    assert crm.activities.rebuild(anna) == 0
    assert crm.activities.verify(anna) == ()
    assert crm.insights.history(anna) == crm.insights.history(ana)
    assert crm.insights.for_customer(anna) == crm.insights.for_customer(ana)
    assert crm.insights.heatmap(anna) == crm.insights.heatmap(ana)
    assert crm.insights.spend_series(anna) == crm.insights.spend_series(ana)
    assert crm.get_lifetime_value(anna) == crm.get_lifetime_value(ana)
    assert crm.loyalty.account(anna).balance == 5
    assert crm.loyalty.history(anna) == crm.loyalty.history(ana)
    assert crm.segments.segments_of(anna) == ("fans",)
    assert crm.segments.is_member(anna, "fans")
    assert crm.gdpr.consents.state(anna).given("marketing", "email")
    assert len(crm.gdpr.consents.history(anna)) == 2
    held = [dict(crm.gdpr.export(old_or_new).records) for old_or_new in (anna, ana)]
    audited = [records.pop("crm_audit_subjects") for records in held]
    assert held[0] == held[1]
    assert len(audited[0]) + 1 == len(audited[1])  # that somebody was exported is audited
    assert [hit.customer.id for hit in crm.customers.search(anna)] == [ana]
    crm.segments.remove(anna, "fans")
    assert crm.segments.segments_of(ana) == ()


def test_old_ids_lead_through_chains(crm: CRMService, ana: str, anna: str, ioana: str) -> None:
    merge(crm, anna, ana)
    merge(crm, ioana, anna)
    assert crm.customers.get(ana).id == crm.customers.get(anna).id == ioana
    assert [m.step for m in crm.identity.merges(ana)] == [1, 2]


def test_identifiers_of_both_lead_to_the_kept(crm: CRMService, ana: str, anna: str) -> None:
    merge(crm, ana, anna)
    for email in ("ana@mail.com", "pop@mail.com"):
        assert crm.find_or_create({"email": email}).id == ana
    crm.customers.update(ana, {"phone": "+39 347 1234567"})
    assert crm.find_or_create({"email": "pop@mail.com"}).id == ana


def test_one_who_is_one_already(crm: CRMService, ana: str, anna: str, ioana: str) -> None:
    """The same pair again, in either order, is the merge that was; another pair is an error."""
    fact = merge(crm, ana, anna)
    assert merge(crm, ana, anna) == fact == merge(crm, anna, ana)
    merge(crm, ioana, ana)
    assert merge(crm, ana, anna).id == fact.id
    for pair in ((ana, ana), (ioana, anna)):
        with pytest.raises(InvalidInput, match="one customer already"):
            merge(crm, *pair)


@pytest.mark.parametrize("which", [0, 1])
def test_nobody_cannot_be_merged(crm: CRMService, ana: str, which: int) -> None:
    pair = [ana, ana]
    pair[which] = "nobody"
    with pytest.raises(NotFound):
        merge(crm, *pair)
    pair[which] = crm.find_or_create({"name": "Eva"}).id
    crm.gdpr.erase(pair[which])
    with pytest.raises(Erased):
        merge(crm, *pair)


def test_a_merge_needs_a_reason(crm: CRMService, ana: str, anna: str) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        crm.identity.merge(ana, anna, reason=" ")


def test_a_merge_with_a_key_is_made_once(crm: CRMService, ana: str, anna: str) -> None:
    fact = crm.identity.merge(ana, anna, reason="why", key="k")
    assert crm.identity.merge(ana, anna, reason="why", key="k") == fact
    with pytest.raises(IdempotencyConflict):
        crm.identity.merge(ana, anna, reason="another", key="k")
    undone = crm.identity.unmerge(fact.id).merge
    assert crm.identity.merge(ana, anna, reason="why", key="k") == undone


# --- profiles ---


def test_what_survives_and_what_becomes_an_alias(crm: CRMService, ana: str, anna: str) -> None:
    """The fuller name; the kept e-mail; the other e-mail and name as aliases."""
    merge(crm, ana, anna)
    found = crm.customers.get(ana)
    assert (found.name, found.email) == ("Ana Pop", "ana@mail.com")
    assert found.aliases == {"name": ["Ana"], "email": ["pop@mail.com"]}


def test_the_policy_may_be_set(storage: Storage, clock: FrozenClock) -> None:
    newest = Settings(survivorship=Survivorship(order=("newer",), fields={"city": ()}))
    crm = CRMService(storage, clock=clock, settings=newest)
    kept = crm.find_or_create({"name": "Ana Maria Pop", "city": "Roma"}).id
    clock.advance(days=1)
    dropped = crm.find_or_create({"name": "A.", "city": "Milano"}).id
    merge(crm, kept, dropped)
    found = crm.customers.get(kept)
    assert (found.name, found.city) == ("A.", "Roma")


def test_a_change_since_the_merge_stays(crm: CRMService, ana: str, anna: str) -> None:
    """It is named as a conflict; what nobody touched goes back."""
    fact = merge(crm, ana, anna)
    crm.customers.update(ana, {"name": "Ana Popescu", "city": "Roma"})
    crm.customers.tag(ana, "vip")
    done = crm.identity.unmerge(fact.id)
    assert done.conflicts == ("aliases", "name")
    assert done.restored == ()
    found = crm.customers.get(ana)
    assert (found.name, found.city, found.aliases) == ("Ana Popescu", "Roma", {})
    assert crm.customers.get(anna).name == "Ana Pop"
    assert (crm.customers.tags(ana), crm.customers.tags(anna)) == (("vip",), ())


def test_an_email_that_another_took_is_not_given_back(crm: CRMService, anna: str) -> None:
    """An e-mail address has one owner, also after a merge is undone."""
    kept = crm.find_or_create({"name": "Ana"}).id
    fact = merge(crm, kept, anna)
    crm.customers.update(kept, {"email": "new@mail.com"})
    other = crm.find_or_create({"email": "pop@mail.com"}).id
    assert other not in (kept, anna)
    crm.identity.unmerge(fact.id)
    assert crm.customers.get(anna).email is None
    assert crm.find_or_create({"email": "pop@mail.com"}).id == other


def test_a_field_that_the_policy_misspells(storage: Storage) -> None:
    wrong = Settings(survivorship=Survivorship(fields={"emial": ()}))
    with pytest.raises(InvalidInput, match="did you mean 'email'"):
        merge(CRMService(storage, settings=wrong), "a", "b")


# --- facts since the merge ---


def test_facts_follow_what_they_came_with(crm: CRMService, ana: str, anna: str) -> None:
    """By the old id, and by an identifier; what came with the kept id alone is undecided."""
    fact = merge(crm, ana, anna)
    by_id = crm.track_activity(anna, "purchase", {"order_id": "1", "amount": 10})
    rows: list[dict[str, Any]] = [
        {"customer": {"email": email}, "kind": "purchase", "payload": {"order_id": n, "amount": 5}}
        for n, email in (("2", "pop@mail.com"), ("3", "ana@mail.com"))
    ]
    assert crm.activities.track_many(rows).recorded == 2
    neither = crm.track_activity(ana, "purchase", {"order_id": "4", "amount": 1})
    note = crm.customers.add_note(ana, "hers?")
    done = crm.identity.unmerge(fact.id, dry_run=True)
    assert done.undecided == {"crm_activities": (neither.id,), "crm_notes": (note.id,)}
    assert done.moved["crm_activities"] == 2
    assert crm.customers.get(anna).id == ana  # it was a dry run
    crm.identity.unmerge(fact.id)
    assert crm.activities.metrics(anna).spend_minor == 1_500
    assert crm.activities.metrics(ana).spend_minor == 600
    assert crm.activities.get(by_id.id).customer_id == anna


def test_what_comes_with_an_identifier_follows_it(
    crm: CRMService, storage: Storage, clock: FrozenClock, ana: str, anna: str
) -> None:
    """Consents, and further identifiers, of data that `find_or_create` knew by one's e-mail."""
    fact = merge(crm, ana, anna)
    clock.advance(days=1)
    yes = {"marketing_email": True, "source": "form"}
    told = {"email": "pop@mail.com", "phone": "+39 347 1234567", "consent": yes}
    assert crm.find_or_create(told).id == ana
    assert crm.identity.unmerge(fact.id).undecided == {}
    assert crm.gdpr.consents.state(anna).given("marketing", "email")
    assert not crm.gdpr.consents.state(ana).given("marketing", "email")
    is_sound(crm, storage)


def test_undecided_facts_go_where_the_caller_says(
    crm: CRMService, storage: Storage, ana: str, anna: str
) -> None:
    """With the whole story and its points; later facts of the story find it there."""
    fact = merge(crm, ana, anna)
    booking = crm.track_activity(
        ana, "booking", {"booking_id": "b", "amount": 100, "type": "party"}, key="b"
    )
    crm.track_activity(ana, "completion", {"booking_id": "b"})
    note = crm.customers.add_note(ana, "hers")
    points = crm.loyalty.account(ana).balance
    done = crm.identity.unmerge(fact.id, to_dropped=[booking.id, note.id])
    assert done.undecided == {}
    assert crm.activities.metrics(anna).completed_bookings == 1
    assert (crm.loyalty.account(anna).balance, crm.loyalty.account(ana).balance) == (points, 0)
    assert crm.track_activity(
        anna, "booking", {"booking_id": "b", "amount": 100, "type": "party"}, key="b"
    ).id == booking.id  # fmt: skip
    crm.track_activity(anna, "cancellation", {"booking_id": "b"})
    assert crm.activities.metrics(anna).spend_minor == 0
    assert crm.loyalty.account(anna).balance == 0
    is_sound(crm, storage)


def test_only_undecided_facts_may_be_sent(crm: CRMService, ana: str, anna: str) -> None:
    """Not those of one side, of others, or bills that several share."""
    early = crm.track_activity(ana, "visit")
    friend = crm.find_or_create({"name": "Eva"}).id
    fact = merge(crm, ana, anna)
    part = {"customer_id": friend, "share": 0.5}
    bill = crm.track_activity(ana, "purchase", {"amount": 10, "participants": [part]})
    for wanted in (early.id, "nothing", bill.id):
        with pytest.raises(InvalidInput, match="to_dropped"):
            crm.identity.unmerge(fact.id, to_dropped=[wanted])
    assert crm.identity.merges(ana)[0].undone_at is None


@pytest.mark.parametrize("dropped_first", [True, False])
def test_a_story_goes_on_by_either_id(
    crm: CRMService, storage: Storage, ana: str, anna: str, *, dropped_first: bool
) -> None:
    """A booking told by one id is cancelled by the other, and they stay together when parted."""
    first, second = (anna, ana) if dropped_first else (ana, anna)
    crm.track_activity(first, "booking", {"booking_id": "b", "amount": 100})
    fact = merge(crm, ana, anna)
    crm.track_activity(second, "cancellation", {"booking_id": "b"})
    assert crm.activities.metrics(ana).spend_minor == 0
    crm.identity.unmerge(fact.id)
    metrics = crm.activities.metrics(first)
    assert (metrics.activities, metrics.cancellations, metrics.spend_minor) == (2, 1, 0)
    is_sound(crm, storage)


def test_the_same_reference_of_both_stays_two_stories(crm: CRMService, ana: str, anna: str) -> None:
    for customer in (ana, anna):
        crm.track_activity(customer, "booking", {"booking_id": "b", "amount": 100})
    merge(crm, ana, anna)
    assert crm.activities.metrics(ana).bookings == 2
    crm.track_activity(anna, "cancellation", {"booking_id": "b"})
    assert crm.activities.metrics(ana).spend_minor == 10_000


def test_bills_of_two_who_become_one(
    crm: CRMService, storage: Storage, ana: str, anna: str
) -> None:
    """Payer and participant: the sums stay, also when the bill is said again."""
    bill = {
        "order_id": "1", "amount": 100, "participants": [{"customer_id": anna, "share": 0.25}],
    }  # fmt: skip
    crm.track_activity(ana, "purchase", bill)
    fact = merge(crm, ana, anna)
    assert crm.activities.metrics(ana).spend_minor == 10_000
    crm.track_activity(ana, "purchase", bill | {"amount": 200})
    assert crm.activities.metrics(ana).spend_minor == 20_000
    is_sound(crm, storage)
    crm.identity.unmerge(fact.id)
    assert crm.activities.metrics(ana).spend_minor == 15_000
    assert crm.activities.metrics(anna).spend_minor == 5_000
    is_sound(crm, storage)


_KEYED: dict[str, Callable[[CRMService, str], Any]] = {
    "track": lambda crm, c: crm.track_activity(c, "visit", key="k").id,
    "update": lambda crm, c: crm.customers.update(c, {"city": "Roma"}, key="k").city,
    "note": lambda crm, c: crm.customers.add_note(c, "note", key="k").id,
    "points": lambda crm, c: crm.loyalty.update_points(c, 5, reason="gift", key="k").balance,
    "consent": lambda crm, c: crm.gdpr.consents.give(c, "sms", source="form", key="k").id,
    "track_many": lambda crm, c: [
        crm.activities.track_many([{"customer_id": c, "kind": "visit", "key": "k"}]).refused,
        crm.activities.metrics(c).activities,
    ],
}


@pytest.mark.parametrize("call", _KEYED)
def test_a_retry_after_a_merge_is_the_same_call(
    crm: CRMService, ana: str, anna: str, ioana: str, call: str
) -> None:
    """By the old id and by the new, and by the own one when parted; another's is a conflict."""
    first = _KEYED[call](crm, anna)
    fact = merge(crm, ana, anna)
    assert _KEYED[call](crm, anna) == first == _KEYED[call](crm, ana)
    crm.identity.unmerge(fact.id)
    assert _KEYED[call](crm, anna) == first
    if call == "track_many":
        assert _KEYED[call](crm, ioana)[0] == 1
    else:
        with pytest.raises(IdempotencyConflict):
            _KEYED[call](crm, ioana)


# --- consents ---


def test_a_withdrawal_of_either_side_stands(
    crm: CRMService, clock: FrozenClock, ana: str, anna: str
) -> None:
    """Though the other agreed later; until the person agrees again, by whichever id."""
    crm.gdpr.consents.withdraw(anna, "email")
    clock.advance(days=1)
    crm.gdpr.consents.give(ana, "email", source="form")
    crm.gdpr.consents.give(ana, "sms", source="form")
    clock.advance(days=1)
    fact = merge(crm, ana, anna)
    assert crm.gdpr.consents.state(ana).granted == {
        ("marketing", "email"): False, ("marketing", "sms"): True,
    }  # fmt: skip
    assert len(crm.gdpr.consents.history(ana)) == 4
    crm.identity.unmerge(fact.id)
    assert crm.gdpr.consents.state(ana).given("marketing", "email")
    assert not crm.gdpr.consents.state(anna).given("marketing", "email")
    merge(crm, ana, anna)
    clock.advance(days=1)
    crm.gdpr.consents.give(anna, "email", source="form")
    assert crm.gdpr.consents.state(ana).given("marketing", "email")


# --- undoing ---


def test_a_chain_is_undone_from_its_middle(
    crm: CRMService, storage: Storage, ana: str, anna: str, ioana: str
) -> None:
    """Who was merged first comes out of the one who holds all; the rest stays one."""
    for customer, amount in ((ana, 1), (anna, 2), (ioana, 4)):
        crm.track_activity(customer, "purchase", {"amount": amount})
    before = stored(crm, storage)
    first, second = merge(crm, anna, ana), merge(crm, ioana, anna)
    assert crm.identity.unmerge(first.id).merge.customer_id == ioana
    assert crm.activities.metrics(ana).spend_minor == 100
    assert crm.activities.metrics(anna).spend_minor == 600
    assert crm.customers.get(anna).id == ioana
    crm.identity.unmerge(second.id)
    assert stored(crm, storage) == before


def test_a_merge_is_undone_once(crm: CRMService, ana: str, anna: str) -> None:
    fact = merge(crm, ana, anna)
    crm.identity.unmerge(fact.id)
    with pytest.raises(InvalidInput, match="undone before"):
        crm.identity.unmerge(fact.id)
    with pytest.raises(NotFound):
        crm.identity.unmerge("none")
    assert merge(crm, ana, anna).id != fact.id
    assert [m.undone_at is None for m in crm.identity.merges(ana)] == [False, True]


# --- erasure ---


@pytest.mark.parametrize("by_old_id", [True, False])
def test_erasing_ends_the_whole_person(
    crm: CRMService, storage: Storage, ana: str, anna: str, ioana: str, *, by_old_id: bool
) -> None:
    """All ids say `Erased`, nothing is left to undo with, and other people's merges stay."""
    facts = [merge(crm, ana, anna), merge(crm, ioana, ana)]
    crm.gdpr.erase(anna if by_old_id else ioana)
    for customer in (ana, anna, ioana):
        with pytest.raises(Erased):
            crm.customers.get(customer)
        with pytest.raises(Erased):
            crm.track_activity(customer, "visit")
    for fact in facts:
        with pytest.raises(Erased):
            crm.identity.unmerge(fact.id)
    with storage.read(crm.tenant) as uow:
        assert [uow.count(kind) for kind in (Merge, Snapshot, Redirect, Customer)] == [0] * 4


def test_erasing_one_who_was_parted_leaves_no_word_of_it(
    crm: CRMService, storage: Storage, ana: str, anna: str
) -> None:
    """The reason of the merge that was undone spoke of them too."""
    fact = merge(crm, ana, anna)
    crm.identity.unmerge(fact.id)
    crm.gdpr.erase(anna)
    with storage.read(crm.tenant) as uow:
        assert uow.count(Merge) == 0
    assert crm.customers.get(ana).name == "Ana"


# --- many at once ---


def _storm(
    crm: CRMService, pairs: list[tuple[str, str]], unite: Callable[[str, str], object]
) -> int:
    """Eight threads merge both ways while eight track by any id; how many were recorded."""
    ids = [c for pair in pairs for c in pair]
    errors: list[BaseException] = []

    def each(number: int) -> int:
        rng, done = random.Random(number), 0
        if number % 2:
            for pair in rng.sample(pairs, len(pairs)):
                keep, drop = pair if number % 4 == 1 else pair[::-1]
                unite(keep, drop)
            return 0
        for n in range(25):
            try:
                crm.track_activity(rng.choice(ids), "purchase", {"order_id": f"{number}/{n}",
                                                                "amount": 1})  # fmt: skip
                done += 1
            except CRMError as error:
                errors.append(error)
        return done

    recorded = sum(together(16, each))
    assert errors == []
    return recorded


def _counted(crm: CRMService, storage: Storage) -> int:
    """How many activities the customers have who are there."""
    with storage.read(crm.tenant) as uow:
        assert crm.activities.verify() == ()
        return sum(m.activities for m in uow.stream(Metrics))


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_merging_both_ways_while_tracking_loses_nothing(crm: CRMService, storage: Storage) -> None:
    """No orphan, no cycle, no lost activity, and no error reaches the caller."""
    pairs = [
        (crm.find_or_create({"email": f"a{n}@mail.com"}).id,
         crm.find_or_create({"email": f"b{n}@mail.com"}).id)
        for n in range(10)
    ]  # fmt: skip
    recorded = _storm(crm, pairs, lambda keep, drop: merge(crm, keep, drop))
    assert recorded == _counted(crm, storage) == 200
    is_sound(crm, storage)
    assert len(crm.customers.list(limit=100).items) == 10
    for pair in pairs:
        assert crm.customers.get(pair[0]).id == crm.customers.get(pair[1]).id in pair


_CALLS: list[Callable[[CRMService, str, str, str, int], object]] = [
    lambda crm, c, o, *_: merge(crm, c, o),
    lambda crm, c, *_: crm.identity.unmerge(crm.identity.merges(c)[-1].id),
    lambda crm, c, o, _, n: crm.track_activity(c, "purchase", {
        "order_id": f"o{n % 9}", "amount": n,
        "participants": [{"customer_id": o, "share": 0.5}],
    }),
    lambda crm, c, *_: crm.customers.add_note(c, "note"),
    lambda crm, c, *n: crm.customers.update(c, {"city": f"c{n[-1]}"}),
    lambda crm, c, *n: crm.customers.tag(c, f"t{n[-1] % 3}"),
    lambda crm, c, *_: crm.segments.add(c, "fans"),
    lambda crm, c, *_: crm.loyalty.update_points(c, 1, reason="x"),
    lambda crm, c, *_: crm.gdpr.consents.give(c, "email", source="x"),
    lambda crm, c, *_: crm.activities.rebuild(c),
    lambda crm, _, __, email, ___: crm.find_or_create({"email": email, "city": "x"}),
    lambda crm, _, __, email, ___: crm.activities.track_many(
        [{"customer": {"email": email}, "kind": "visit"}] * 3
    ),
]  # fmt: skip


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_everything_at_once_while_people_are_merged_and_parted(
    crm: CRMService, storage: Storage
) -> None:
    """Whatever is written meanwhile is somebody's, and all that is cached is right."""
    ids = [crm.find_or_create({"email": f"a{n}@mail.com"}).id for n in range(6)]

    def each(number: int) -> None:
        rng = random.Random(number)
        for n in range(30):
            one, other = rng.sample(range(len(ids)), 2)
            with suppress(InvalidInput, IndexError):  # one already, or none to undo
                rng.choice(_CALLS)(crm, ids[one], ids[other], f"a{other}@mail.com", n)

    together(8, each)
    is_sound(crm, storage)
    for fact in [m for c in ids for m in crm.identity.merges(c)]:
        with suppress(InvalidInput):
            crm.identity.unmerge(fact.id)
    assert {c.id for c in crm.customers.list()} == set(ids)
    is_sound(crm, storage)


def test_a_naive_merge_is_noticed(crm: CRMService, storage: Storage) -> None:
    """One that moves what it had read, in a transaction of its own, loses what came since."""

    def naive(keep: str, drop: str) -> None:
        with storage.read(crm.tenant) as uow:
            found: list[Activity] = uow.find(Activity, customer_id=drop)

        def move(uow: UnitOfWork) -> None:
            for fact in found:
                uow.change(Activity, {"customer_id": keep}, id=fact.id)
            uow.remove(Metrics, customer_id=drop)
            uow.remove(Customer, id=drop)
            uow.put(Redirect(tenant=crm.tenant, id=drop, customer_id=keep))

        crm._runtime.write(move)
        with suppress(CRMError):
            crm.activities.rebuild(keep)

    pairs = [
        (crm.find_or_create({"email": f"a{n}@mail.com"}).id,
         crm.find_or_create({"email": f"b{n}@mail.com"}).id)
        for n in range(10)
    ]  # fmt: skip
    with pytest.raises(AssertionError):
        assert _storm(crm, pairs, naive) == _counted(crm, storage)
