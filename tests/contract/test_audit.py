"""The audit: who did what to whom, when and why, on every storage."""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import nullcontext, suppress
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crmkit import CRMService, Erased, InvalidInput, NotFound, Settings
from crmkit.gdpr.audit import AuditEntry
from crmkit.gdpr.chaining import chain_mac
from crmkit.model import AuditChain, AuditRow, AuditSubject, Membership
from crmkit.model.catalogue import evolved
from crmkit.model.time import instant, to_micros
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.testing import FrozenClock, together
from tests.canaries import canaries
from tests.populate import populate, rows


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ana", "email": "ana@mail.com"}).id


@pytest.fixture
def ion(crm: CRMService) -> str:
    return crm.find_or_create({"name": "Ion", "email": "ion@mail.com"}).id


def acts(crm: CRMService, **asked: Any) -> list[str]:
    return [entry.action for entry in crm.gdpr.audit.entries(**asked)]


def with_audit(crm: CRMService, level: str) -> CRMService:
    return crm.for_tenant(crm.tenant, settings=Settings(audit=level))


# --- what is put down ---


def test_acts_of_privacy_and_identity_are_audited(crm: CRMService, ana: str, ion: str) -> None:
    """Without any setting: by whom, why, by which program, to whom."""
    with crm.gdpr.audit.acting("staff:maria", reason="phone call", via="backoffice"):
        crm.gdpr.consents.give(ana, "email", source="form")
        crm.gdpr.export(ana)
        merge = crm.identity.merge(ana, ion, reason="one person")
        crm.identity.unmerge(merge.id)
        crm.gdpr.erase(ana)
    told = crm.gdpr.audit.entries()
    assert [e.action for e in told] == [
        "consent", "export", "merge", "merge", "unmerge", "unmerge", "erase",
    ]  # fmt: skip
    assert {(e.actor, e.via) for e in told} == {("staff:maria", "backoffice")}
    assert {(e.customer_id, e.reason) for e in told} == {(ion, "phone call"), (None, None)}


def test_reading_and_writing_are_not_audited_unless_asked(crm: CRMService, ana: str) -> None:
    crm.customers.get(ana)
    crm.track_activity(ana, "visit")
    assert acts(crm) == []


def test_nobody_acts_unless_named(crm: CRMService, ana: str) -> None:
    crm.gdpr.export(ana)
    (entry,) = crm.gdpr.audit.entries()
    assert (entry.actor, entry.reason, entry.via) == (None, None, None)
    with pytest.raises(InvalidInput), crm.gdpr.audit.acting("  "):
        raise AssertionError("not reached")


def test_who_acts_shows_in_no_repr(crm: CRMService, ana: str) -> None:
    with crm.gdpr.audit.acting("zqmariazq", reason="zqwhyzq"):
        crm.gdpr.export(ana)
    assert canaries(repr(crm.gdpr.audit.entries())) == set()


def test_what_fails_is_not_audited(crm: CRMService, ana: str) -> None:
    """The row goes with the transaction."""
    with pytest.raises(NotFound):
        crm.gdpr.export("nobody")

    def work(uow: UnitOfWork) -> None:
        crm.gdpr.audit.note(uow, "try", ana)
        raise LookupError

    with pytest.raises(LookupError):
        crm._runtime.write(work)
    assert acts(crm) == []


# --- asking ---


def test_entries_are_found_by_customer_actor_and_time(
    crm: CRMService, ana: str, ion: str, clock: FrozenClock
) -> None:
    start = clock()
    for n in range(4):
        with crm.gdpr.audit.acting(f"staff:{n % 2}"):
            crm.gdpr.export((ana, ion)[n // 2])
        clock.advance(days=1)
    audit = crm.gdpr.audit
    by = {e.id: (e.customer_id, e.actor) for e in audit.entries()}
    assert list(by.values()) == [
        (ana, "staff:0"), (ana, "staff:1"), (ion, "staff:0"), (ion, "staff:1"),
    ]  # fmt: skip
    assert [e.actor for e in audit.entries(customer_id=ana)] == ["staff:0", "staff:1"]
    assert [e.customer_id for e in audit.entries(actor="staff:1")] == [ana, ion]
    assert len(audit.entries(customer_id=ion, actor="staff:1")) == 1
    assert len(audit.entries(actor="nobody")) == 0
    second = start + timedelta(days=1)
    assert [by[e.id] for e in audit.entries(since=second)] == list(by.values())[1:]
    assert [by[e.id] for e in audit.entries(until=second)] == list(by.values())[:1]


def test_entries_come_in_pages(crm: CRMService, ana: str) -> None:
    """Whichever way they are asked for, and those of one instant too."""
    with crm.gdpr.audit.acting("maria"):
        for _ in range(5):
            crm.gdpr.export(ana)
    for asked in ({}, {"customer_id": ana}, {"actor": "maria"}):
        found, after = list[AuditEntry](), None
        for _ in range(3):
            page = crm.gdpr.audit.entries(limit=2, after=after, **asked)
            found += page
            after = page.next
        assert after is None
        assert len({e.id for e in found}) == len(found) == 5


def test_entries_of_nobody_are_refused(crm: CRMService, ana: str) -> None:
    with pytest.raises(NotFound):
        crm.gdpr.audit.entries(customer_id="nobody")
    crm.gdpr.erase(ana)
    with pytest.raises(Erased):
        crm.gdpr.audit.entries(customer_id=ana)


# --- merging and erasing ---


def test_entries_follow_their_customer_through_merges(
    crm: CRMService, ana: str, ion: str, storage: Storage
) -> None:
    """And go back; the chain holds all the while."""
    for customer in (ana, ion):
        crm.gdpr.export(customer)
    head = crm.gdpr.audit.export_head()
    merge = crm.identity.merge(ana, ion, reason="one person")
    assert acts(crm, customer_id=ion) == ["export", "export", "merge", "merge"]
    assert crm.gdpr.audit.verify(head).ok
    crm.gdpr.export(ion)
    crm.identity.unmerge(merge.id)
    told = {row["told_as"] for row in rows(storage, crm.tenant)["crm_audit_subjects"]}
    assert told == {ana, ion}
    assert acts(crm, customer_id=ion)[:2] == ["export", "merge"]
    assert acts(crm, customer_id=ana)[:2] == ["export", "merge"]
    assert crm.gdpr.audit.verify(head).ok


def test_erasing_unlinks_and_the_chain_still_verifies(
    crm: CRMService, ana: str, storage: Storage
) -> None:
    """What is left says that maria exported somebody that day."""
    with crm.gdpr.audit.acting("staff:maria", reason="Ana called"):
        crm.gdpr.export(ana)
    head = crm.gdpr.audit.export_head()
    assert crm.gdpr.erase(ana).anonymised["crm_audit_subjects"] == 1
    assert crm.gdpr.audit.verify(head).ok
    exported, erased = crm.gdpr.audit.entries()
    assert (exported.actor, exported.action) == ("staff:maria", "export")
    assert (exported.customer_id, exported.reason) == (None, None)
    assert erased.action == "erase"
    left = str(rows(storage, crm.tenant))
    assert ana not in left
    assert "Ana called" not in left


def test_what_is_done_about_the_erased_links_to_nobody(crm: CRMService, ana: str) -> None:
    crm.gdpr.erase(ana)
    assert crm.gdpr.export(ana).is_empty
    crm.gdpr.erase(ana)
    assert [(e.action, e.customer_id) for e in crm.gdpr.audit.entries()] == [
        ("erase", None), ("export", None), ("erase", None),
    ]  # fmt: skip
    assert crm.gdpr.audit.verify().ok


def test_nobody_without_the_nonce_can_try_ids(crm: CRMService, ana: str, storage: Storage) -> None:
    """The same customer twice makes different hashes."""
    crm.gdpr.export(ana)
    crm.gdpr.export(ana)
    with storage.read(crm.tenant) as uow:
        assert len({row.subject for row in uow.find(AuditRow)}) == 2
        assert len({s.nonce for s in uow.find(AuditSubject)}) == 2


# --- the chain ---


def test_an_empty_audit_verifies(crm: CRMService) -> None:
    head = crm.gdpr.audit.export_head()
    assert head.sequence == 0
    assert crm.gdpr.audit.verify(head).ok


def test_run_due_seals(crm: CRMService, ana: str) -> None:
    crm.gdpr.export(ana)
    assert crm.gdpr.audit.verify().unsealed == 1
    crm.run_due()
    report = crm.gdpr.audit.verify()
    assert (report.entries, report.unsealed, report.ok) == (1, 0, True)
    assert [e.sequence for e in crm.gdpr.audit.entries()] == [1]


def test_a_head_is_a_document(crm: CRMService, ana: str) -> None:
    crm.gdpr.export(ana)
    head = json.loads(json.dumps(crm.gdpr.audit.export_head().to_dict()))
    assert crm.gdpr.audit.verify(head).ok
    wrongs: list[Any] = [{}, head | {"sequence": "1"}, "x", head | {"at": "x"}]
    for wrong in wrongs:
        with pytest.raises(InvalidInput):
            crm.gdpr.audit.verify(wrong)
    for changed in ({"hash": "0" * 64}, {"sequence": 0}, {"tenant": "other"}, {"mac": "0"}):
        assert not crm.gdpr.audit.verify(head | changed).ok


def test_the_chain_goes_on_behind_a_head(crm: CRMService, ana: str) -> None:
    heads = []
    for _ in range(3):
        crm.gdpr.export(ana)
        heads.append(crm.gdpr.audit.export_head())
    assert [head.sequence for head in heads] == [1, 2, 3]
    assert all(crm.gdpr.audit.verify(head).ok for head in heads)


def test_others_verify_the_exported_lines_without_any_key(crm: CRMService, ana: str) -> None:
    """By nothing but BLAKE2b; the customer's id is not in them."""
    for n in range(3):
        with crm.gdpr.audit.acting(f"staff:{n}"):
            crm.gdpr.export(ana)
    head = crm.gdpr.audit.export_head()
    out = io.StringIO()
    assert crm.gdpr.audit.export(out) == 3
    assert ana not in out.getvalue()
    previous = "0" * 64
    names = ("tenant", "id", "micros", "actor", "actor_mark", "via", "action", "subject", "details")
    for number, line in enumerate(out.getvalue().splitlines(), 1):
        row = json.loads(line)
        row["micros"] = _micros(row["occurred_at"])
        inner = json.dumps([row[n] for n in names], sort_keys=True, separators=(",", ":"))
        link = json.dumps([previous, number, row["mac"], inner], separators=(",", ":"))
        previous = hashlib.blake2b(link.encode(), digest_size=32).hexdigest()
        assert (row["sequence"], row["hash"]) == (number, previous)
    assert previous == head.hash


def _micros(text: str) -> int:
    return to_micros(instant(text))


def test_several_seal_at_once(crm: CRMService, ana: str) -> None:
    """Each row gets one place, whoever was quicker, while more is written."""
    for _ in range(20):
        crm.gdpr.export(ana)
    done = [0] * 6

    def each(number: int) -> None:
        for _ in range(3):
            crm.gdpr.export(ana)
            done[number] += crm.gdpr.audit.seal()

    together(6, each)
    assert sum(done) == 38
    report = crm.gdpr.audit.verify(crm.gdpr.audit.export_head())
    assert (report.entries, report.ok) == (38, True)


def test_a_late_commit_is_sealed_later(postgres_engine: sa.Engine) -> None:
    """Its id is less than that of what is sealed already; no row is left out."""
    service = CRMService(postgres_engine)
    guest = service.find_or_create({"email": "late@mail.com"}).id
    with Session(postgres_engine) as slow:
        with service.using(slow) as tx:
            tx.gdpr.consents.give(guest, "email", source="form")
        service.gdpr.export(service.find_or_create({"email": "x@mail.com"}).id)
        head = service.gdpr.audit.export_head()
        slow.commit()
    assert head.sequence == 1
    assert service.gdpr.audit.seal() == 1
    placed = {e.action: e.sequence for e in service.gdpr.audit.entries()}
    assert placed == {"consent": 2, "export": 1}
    assert service.gdpr.audit.verify(head).ok


def test_nothing_is_found_while_everything_goes_on(crm: CRMService) -> None:
    """Writing, sealing, merging, erasing and pruning beside `verify` raise no false alarm."""
    pairs = [
        [crm.find_or_create({"email": f"{side}{n}@mail.com"}).id for side in "ab"]
        for n in range(10)
    ]
    findings: list[object] = []

    def step(number: int, n: int) -> None:
        one, other = pairs[n]
        if number == 0:
            merge = crm.identity.merge(one, other, reason="one person")
            if n % 2:
                crm.identity.unmerge(merge.id)
        elif number == 1:
            crm.gdpr.export(one)
            crm.gdpr.audit.seal()
        elif number == 2:
            crm.gdpr.erase(pairs[n // 2][n % 2])
            if n == 7:
                crm.gdpr.audit.prune("2100-01-01T00:00:00Z")
        else:
            findings.extend(crm.gdpr.audit.verify().findings)

    def each(number: int) -> None:
        for n in range(len(pairs)):
            with suppress(Erased):
                step(number, n)

    together(5, each)
    assert findings == []
    assert crm.gdpr.audit.verify(crm.gdpr.audit.export_head()).ok


# --- pruning ---


def test_pruning_leaves_a_chain_that_verifies(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    """The cut is audited too; a head of before it no longer tells anything, and says so."""
    for _ in range(4):
        crm.gdpr.export(ana)
        clock.advance(days=1)
    old = crm.gdpr.audit.export_head()
    assert crm.gdpr.audit.prune(crm.gdpr.audit.entries().items[2].occurred_at) == 2
    report = crm.gdpr.audit.verify(old)
    assert (report.ok, report.pruned, report.entries) == (True, 2, 2)
    assert acts(crm) == ["export", "export", "prune"]
    assert crm.gdpr.audit.prune(clock()) == 2
    assert [f.problem for f in crm.gdpr.audit.verify(old).findings] == []
    clock.advance(days=1)
    crm.gdpr.export(ana)
    assert crm.gdpr.audit.prune(clock()) == 2  # what told of the cuts before
    assert [f.sequence for f in crm.gdpr.audit.verify(old).findings] == [4]
    assert crm.gdpr.audit.verify(crm.gdpr.audit.export_head()).ok
    assert crm.gdpr.audit.prune(clock()) == 0


def test_cutting_the_old_rows_off_by_hand_is_found(
    crm: CRMService, ana: str, storage: Storage
) -> None:
    """Even by one who has the key and moves the mark: no entry says that it was pruned."""
    for _ in range(3):
        crm.gdpr.export(ana)
    head = crm.gdpr.audit.export_head()

    def cut(uow: UnitOfWork) -> None:
        (first,) = uow.find(AuditRow, sequence=1)
        uow.remove(AuditRow, id=first.id)
        uow.remove(AuditSubject, audit_id=first.id)
        chain = uow.get(AuditChain, crm.tenant)
        assert chain is not None
        moved = evolved(chain, pruned=1, pruned_hash=first.hash or "")
        uow.put(evolved(moved, mac=chain_mac(crm._runtime.keys, moved)))

    storage.write(crm.tenant, cut)
    assert [f.sequence for f in crm.gdpr.audit.verify(head).findings] == [1]


# --- all writes, and reads ---


def test_writes_are_audited_where_the_settings_say_so(crm: CRMService, ana: str) -> None:
    """One row for each call and customer; tables and numbers, never a value."""
    audited = with_audit(crm, "writes")
    with audited.gdpr.audit.acting("staff:maria", reason="at the till"):
        audited.track_activity(ana, "visit", {"note": "zqvaluezq"}, key="v1")
        audited.track_activity(ana, "visit", {"note": "zqvaluezq"}, key="v1")
    (entry,) = audited.gdpr.audit.entries()
    assert (entry.action, entry.customer_id, entry.actor) == ("write", ana, "staff:maria")
    assert entry.details["crm_activities"] == {"added": 1}
    assert entry.details["crm_metrics"] in ({"put": 1}, {"changed": 1})
    assert crm.gdpr.audit.entries().items == (entry,)  # the same audit
    crm.track_activity(ana, "visit")
    assert len(crm.gdpr.audit.entries()) == 1


def test_a_bulk_of_writes_has_a_row_for_each_customer(crm: CRMService) -> None:
    audited = with_audit(crm, "writes")
    people = [{"customer": {"email": f"g{n}@mail.com"}, "kind": "visit"} for n in range(30)]
    audited.activities.track_many(people)
    about = {e.customer_id for e in audited.gdpr.audit.entries(limit=1_000)}
    assert about == {c.id for c in crm.customers.list(limit=100)}


def test_a_change_of_many_says_whose(crm: CRMService, ana: str, ion: str) -> None:
    """Also where the storage is asked to change what fits, and not by customer."""
    for customer in (ana, ion):
        crm.customers.tag(customer, "vip")
        crm.add_to_segment(customer, "by hand")
    audited = with_audit(crm, "writes")

    def work(uow: UnitOfWork) -> None:
        assert uow.remove(Membership, kept_out=False) == 2

    audited._runtime.write(work)
    assert {(e.customer_id, str(e.details)) for e in audited.gdpr.audit.entries()} == {
        (customer, "{'crm_segment_customers': {'removed': 1}}") for customer in (ana, ion)
    }


def test_reads_are_audited_where_the_settings_say_so(crm: CRMService, ana: str) -> None:
    """Who looked at whom; more than a hundred at once are told as a number."""
    audited = with_audit(crm, "reads")
    with audited.gdpr.audit.acting("staff:maria"):
        audited.customers.get(ana)
    (entry,) = audited.gdpr.audit.entries()
    assert (entry.action, entry.customer_id) == ("read", ana)
    assert entry.details == {"crm_customers": {"read": 1}}
    for n in range(110):
        crm.find_or_create({"email": f"g{n}@mail.com"})
    assert len(audited.customers.list(limit=1_000)) == 111
    last = audited.gdpr.audit.entries().items[-1]
    assert (last.action, last.customer_id) == ("read", None)
    assert last.details == {"crm_customers": {"read": 111}}
    assert audited.gdpr.audit.verify().ok


def test_a_call_that_fails_after_reading_has_read(crm: CRMService, ana: str) -> None:
    audited = with_audit(crm, "reads")

    def work(uow: UnitOfWork) -> None:
        audited._runtime.customer(uow, ana)
        crm.gdpr.audit.note(uow, "never")
        raise LookupError

    with pytest.raises(LookupError):
        audited._runtime.write(work)
    assert acts(crm) == ["read"]


@pytest.mark.parametrize("level", ["writes", "reads"])
def test_the_erased_is_in_no_audit_of_writes_and_reads(
    crm: CRMService, storage: Storage, level: str
) -> None:
    audited = with_audit(crm, level)
    person = populate(audited)
    audited.gdpr.erase(person)
    with pytest.raises(Erased):
        audited.customers.get(person)
    stored = rows(storage, crm.tenant)
    for table in ("crm_audit", "crm_audit_subjects"):
        assert person not in str(stored[table])
        assert canaries(str(stored[table])) == set()
    assert audited.gdpr.audit.verify(audited.gdpr.audit.export_head()).ok


def test_who_reads_while_somebody_is_erased_leaves_nobody(
    crm: CRMService, storage: Storage
) -> None:
    """What was read before is put down after: it is not linked to one who is gone by then."""
    audited = with_audit(crm, "reads")
    guests = [crm.find_or_create({"email": f"g{n}@mail.com"}).id for n in range(8)]

    def each(number: int) -> None:
        for guest in guests:
            if number == 0:
                audited.gdpr.erase(guest)
            else:
                try:
                    audited.customers.get(guest)
                except Erased:
                    continue

    together(4, each)
    with storage.read(crm.tenant) as uow:
        assert [s for s in uow.find(AuditSubject) if s.customer_id or s.told_as] == []
    assert audited.gdpr.audit.verify(audited.gdpr.audit.export_head()).ok


def test_what_time_makes_due_is_done_by_the_system(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    """Unless the host says which job of its own it is: here somebody leaves a segment by time."""
    audited = with_audit(crm, "writes")
    recent = {"field": "last_booking", "operator": "within", "value": "30d"}
    audited.segments.create("recent", recent)
    for acting in (nullcontext(), audited.gdpr.audit.acting("job:7")):
        crm.track_activity(ana, "booking", {"amount": 20})
        clock.advance(days=60)
        with acting:
            audited.run_due()
    by = {(e.actor, e.via) for e in audited.gdpr.audit.entries(customer_id=ana)}
    assert by == {("system", "run_due"), ("job:7", None)}


def test_an_unknown_kind_of_audit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'writes'"):
        Settings(audit="write")
