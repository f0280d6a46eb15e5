"""Erasing a customer: receipts, the ledger and its replay, and what comes afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from crmkit import CRMService, Erased, InvalidInput, NotFound, Settings
from crmkit.erasure_ledger import ErasureEntry, FileLedger
from crmkit.gdpr import unlinking
from crmkit.model import DataKey, ProgrammeVersion, catalogue
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.testing import FrozenClock, together
from tests.populate import populate, rows


@pytest.fixture
def ledger(tmp_path: Path) -> FileLedger:
    return FileLedger(tmp_path / "erased.jsonl")


@pytest.fixture
def service(storage: Storage, clock: FrozenClock, ledger: FileLedger) -> CRMService:
    return CRMService(
        storage, clock=clock, settings=Settings(region="RO", erasure_ledger=ledger), tenant="t"
    )


# A storage that seals makes keys for what is put back.
_KEPT = [entry.record for entry in catalogue() if entry.record is not DataKey]


def backup(storage: Storage) -> list[object]:
    """All records of the tenant."""
    with storage.read("t") as uow:
        return [record for kind in _KEPT for record in _all(uow, kind)]


def _all(uow: UnitOfWork, kind: type) -> Iterator[object]:
    return uow.stream(kind)


def restore(storage: Storage, records: list[object]) -> None:
    def work(uow: UnitOfWork) -> None:
        for kind in _KEPT:
            uow.remove(kind)
        uow.add_many(sorted(records, key=lambda r: type(r).__name__))

    storage.write("t", work)


# --- receipts ---


def test_a_receipt_is_verified_and_an_altered_one_is_not(service: CRMService) -> None:
    receipt = service.gdpr.erase(populate(service))
    document = json.loads(json.dumps(receipt.to_dict()))
    assert service.gdpr.verify_receipt(receipt)
    assert service.gdpr.verify_receipt(document)
    altered_ones: tuple[dict[str, Any], ...] = (
        document | {"erased_at": "2020-01-01T00:00:00Z"},
        document | {"deleted": {}},
        document | {"ids": [*document["ids"], "another"]},
        document | {"number": "0" * 40},
        document | {"number": None},
        document | {"number": "\ud800"},
        document | {"deleted": object()},
        document | {"deleted": float("nan")},
        {},
    )
    for altered in altered_ones:
        assert not service.gdpr.verify_receipt(altered)


def test_a_receipt_of_another_tenant_or_of_no_erasure_here_is_none(
    service: CRMService, storage: Storage
) -> None:
    person = populate(service)
    kept = backup(storage)
    receipt = service.gdpr.erase(person)
    assert not service.for_tenant("other").gdpr.verify_receipt(receipt)
    restore(storage, kept)
    assert not service.gdpr.verify_receipt(receipt)


def test_a_receipt_says_why_rows_stay(service: CRMService) -> None:
    receipt = service.gdpr.erase(populate(service))
    assert receipt.kept.keys() == receipt.anonymised.keys()
    assert all(receipt.kept.values())
    assert len(receipt.ids) == 2
    assert receipt.customer_id in receipt.ids


# --- the ledger ---


def test_before_the_first_erasure_a_ledger_tells_of_none(ledger: FileLedger) -> None:
    """Its file is not there yet."""
    assert not list(ledger.entries())


def test_the_ledger_knows_all_ids_of_the_person(service: CRMService, ledger: FileLedger) -> None:
    receipt = service.gdpr.erase(populate(service))
    (entry,) = ledger.entries()
    assert entry == ErasureEntry(
        tenant="t", ids=receipt.ids, erased_at=receipt.erased_at, receipt=receipt.number
    )


class _Full:
    def append(self, entry: ErasureEntry) -> None:
        raise OSError(f"no space left for {entry.tenant}")


def test_what_the_ledger_cannot_keep_is_not_erased(storage: Storage) -> None:
    crm = CRMService(storage, settings=Settings(region="RO", erasure_ledger=_Full()))
    person = populate(crm)
    before = rows(storage, crm.tenant)
    with pytest.raises(OSError, match="no space left"):
        crm.gdpr.erase(person)
    assert rows(storage, crm.tenant) == before


def test_who_a_backup_brings_back_is_erased_again(
    service: CRMService, storage: Storage, ledger: FileLedger, clock: FrozenClock
) -> None:
    """As the first time, with its date; running it again finds nobody."""
    person = populate(service)
    other = service.find_or_create({"email": "other@mail.com"}).id
    kept = backup(storage)
    service.gdpr.erase(person)
    expected = _but_for_the_audit(rows(storage, "t"))
    restore(storage, kept)
    assert service.customers.get(person).id == person
    clock.advance(days=30)
    heard: list[int] = []
    done = service.gdpr.replay_erasures(ledger.entries(), progress=heard.append)
    assert (done.entries, done.erased, done.entangled, heard) == (1, 1, (), [1])
    assert _but_for_the_audit(rows(storage, "t")) == expected
    again = service.gdpr.replay_erasures(ledger.entries())
    assert (again.entries, again.erased) == (1, 0)
    assert _but_for_the_audit(rows(storage, "t")) == expected
    assert service.customers.get(other).id == other
    assert len([*ledger.entries()]) == 1


def test_a_replay_that_was_cut_off_is_run_again(
    service: CRMService, storage: Storage, ledger: FileLedger
) -> None:
    people = [service.find_or_create({"email": f"guest{n}@mail.com"}).id for n in range(3)]
    kept = backup(storage)
    for person in people:
        service.gdpr.erase(person)
    expected = _but_for_the_audit(rows(storage, "t"))
    restore(storage, kept)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        service.gdpr.replay_erasures(ledger.entries(), progress=stop)
    assert len(service.customers.list()) == 2
    done = service.gdpr.replay_erasures(ledger.entries())
    assert (done.entries, done.erased) == (3, 2)
    assert _but_for_the_audit(rows(storage, "t")) == expected


def _but_for_the_audit(found: dict[str, Any]) -> dict[str, Any]:
    """That it was done is put down each time, at its own time; so is what is suppressed for it."""
    told = {table: held for table, held in found.items() if not table.startswith("crm_audit")}
    suppressed = [{**row, "id": "", "recorded_at": None} for row in told["crm_suppressions"]]
    return {**told, "crm_suppressions": sorted(suppressed, key=repr)}


def test_an_id_that_the_backup_does_not_know_is_refused_from_then_on(
    service: CRMService, storage: Storage, ledger: FileLedger
) -> None:
    kept = backup(storage)
    person = service.find_or_create({"email": "ana@mail.com"}).id
    service.gdpr.erase(person)
    restore(storage, kept)
    with pytest.raises(NotFound):
        service.track_activity(person, "visit")
    assert service.gdpr.replay_erasures(ledger.entries()).erased == 0
    with pytest.raises(Erased):
        service.track_activity(person, "visit")


@pytest.mark.parametrize("back_as_one", [True, False])
def test_two_who_were_one_at_only_one_of_both_times(
    service: CRMService, storage: Storage, ledger: FileLedger, back_as_one: bool
) -> None:
    """Merged since the backup, both are erased; parted since, another person is left alone."""
    one, other = (service.find_or_create({"email": f"{n}@mail.com"}).id for n in "ab")
    if back_as_one:
        merge = service.identity.merge(one, other, reason="same name")
        kept = backup(storage)
        service.identity.unmerge(merge.id)
        service.gdpr.erase(other)
        restore(storage, kept)
        assert service.gdpr.replay_erasures(ledger.entries()).entangled == (other,)
        assert service.customers.get(one).id == one
        service.identity.unmerge(merge.id)
    else:
        kept = backup(storage)
        service.identity.merge(one, other, reason="same name")
        service.gdpr.erase(one)
        restore(storage, kept)
    assert service.gdpr.replay_erasures(ledger.entries()).entangled == ()
    left = [c.id for c in service.customers.list()]
    assert left == ([one] if back_as_one else [])


def test_entries_of_other_tenants_are_passed_over(service: CRMService, ledger: FileLedger) -> None:
    other = service.for_tenant("other")
    person = other.find_or_create({"email": "ana@mail.com"}).id
    (entry,) = [attrs.evolve(_entry(person), tenant="t2")]
    assert service.gdpr.replay_erasures([entry]).entries == 0
    assert other.customers.get(person).id == person
    with pytest.raises(InvalidInput):
        service.gdpr.replay_erasures([entry.to_dict()])  # type: ignore[list-item]
    assert not ledger.path.exists()


def _entry(*ids: str) -> ErasureEntry:
    at = FrozenClock()()
    return ErasureEntry(tenant="t", ids=ids, erased_at=at, receipt="")


# --- rows that are about others ---


def test_whom_a_referral_names_is_named_no_more(service: CRMService, storage: Storage) -> None:
    """Also where it is told late, or told again."""
    host, guest = (service.find_or_create({"email": f"{n}@mail.com"}).id for n in "ab")
    said = {"referred_customer_id": guest, "code": "x"}
    service.track_activity(host, "referral", said, key="r1")
    service.gdpr.erase(guest)
    service.track_activity(host, "referral", said)
    service.track_activity(host, "referral", said, key="r1")
    assert service.activities.metrics(host).referrals == 2
    assert guest not in str(rows(storage, "t"))
    assert [a.payload for a in service.activities.timeline(host)] == [{"code": "x"}] * 2
    mine = service.track_activity(host, "referral", {"referred_customer_id": "pos-17"})
    assert mine.payload["referred_customer_id"] == "pos-17"


def test_who_bore_a_part_of_a_bill_is_named_no_more(service: CRMService, storage: Storage) -> None:
    """Nor when the booking is said again, or comes in again from the host's table."""
    payer, friend = (service.find_or_create({"email": f"{n}@mail.com"}).id for n in "ab")
    row = {"id": "b1", "at": "2025-11-01T20:00:00Z", "total": 80, "mail": "a@mail.com"}
    mapping = {
        "id": "id",
        "at": "at",
        "customer": {"email": "mail"},
        "payload": {"amount": "total", "participants": lambda _: [{"customer_id": friend}]},
    }
    assert service.activities.sync([row], mapping).recorded == 1
    service.gdpr.erase(friend)
    assert service.activities.sync([row], mapping).repeated == 1
    assert service.activities.sync([row | {"total": 90}], mapping).recorded == 1
    assert service.activities.sync([row | {"total": 90}], mapping).repeated == 1
    assert friend not in str(rows(storage, "t"))
    assert service.activities.metrics(payer).spend_minor == 4_500
    assert service.activities.verify() == ()


@pytest.mark.parametrize("storage", ["postgresql"], indirect=True)
def test_a_payload_that_was_emptied_meanwhile_does_not_come_back(
    service: CRMService, storage: Storage
) -> None:
    """The payer is erased between the friend's reading of the bill and writing to it."""
    payer, friend = (service.find_or_create({"email": f"{n}@mail.com"}).id for n in "ab")
    parts = [{"customer_id": friend}]
    service.track_activity(payer, "purchase", {"amount": 8, "wish": "x", "participants": parts})
    read, waits = threading.Event(), threading.Event()
    plain = unlinking.unname

    def slowly(uow: UnitOfWork, *rest: Any) -> None:
        if not read.is_set():
            read.set()
            waits.wait(10)
        plain(uow, *rest)

    def each(number: int) -> None:
        if number == 0:
            service.gdpr.erase(friend)
            return
        read.wait(10)
        service.gdpr.erase(payer)
        waits.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unlinking, "unname", slowly)
        together(2, each)
    (fact,) = rows(storage, "t")["crm_activities"]
    assert (fact["customer_id"], fact["payload"], fact["amount_minor"]) == (None, {}, 800)


def test_a_cursor_through_customers_stops_before_the_erased(
    storage: Storage, clock: FrozenClock
) -> None:
    """Tiers follow a new programme customer by customer; whoever is left is not forgotten."""
    crm = CRMService(storage, clock=clock, tenant="t")
    people = [crm.find_or_create({"email": f"guest{n}@mail.com"}).id for n in range(4)]
    for person in people:
        crm.loyalty.update_points(person, 600, reason="gift")

    def stands_at_the_second(uow: UnitOfWork) -> None:
        (version,) = uow.find(ProgrammeVersion)
        uow.put(evolved(version, recounted_to=people[1], recounted_at=None))

    crm.run_due()
    storage.write("t", stands_at_the_second)
    crm.gdpr.erase(people[1])
    with storage.read("t") as uow:
        (version,) = uow.find(ProgrammeVersion)
        assert version.recounted_to == people[0]
    crm.gdpr.erase(people[0])
    with storage.read("t") as uow:
        (version,) = uow.find(ProgrammeVersion)
        assert version.recounted_to is None


# --- coming again ---


def _import(crm: CRMService, person: str, **options: Any) -> list[tuple[int, int, int, int]]:
    """The erased person's booking by id, by data and key, and from a table; what became of it."""
    told = {"kind": "booking", "payload": {"booking_id": "b1", "amount": 50}}
    ana = {"email": "ana@mail.com"}
    other = {"customer": {"email": "bo@mail.com"}, "kind": "visit"}
    items: list[dict[str, Any]] = [
        other,
        told | {"customer_id": person},
        told | {"customer": ana, "key": "k1"},
    ]
    mapping = {"id": "id", "at": "at", "customer": {"email": "mail"}}
    row = {"id": "b2", "at": "2025-11-01T20:00:00Z", "mail": "ana@mail.com"}
    found = (
        crm.activities.track_many(items, **options),
        crm.activities.sync([row], mapping, **options),
    )
    return [(t.recorded, t.repeated, t.refused, t.skipped) for t in found]


@pytest.mark.parametrize(
    ("options", "many", "synced"),
    [
        ({}, (1, 0, 2, 0), (0, 0, 1, 0)),
        ({"on_erased": "raise"}, (1, 0, 2, 0), (0, 0, 1, 0)),
        ({"on_erased": "skip"}, (1, 0, 0, 2), (0, 0, 0, 1)),
        ({"on_erased": "create"}, (2, 0, 1, 0), (1, 0, 0, 0)),
    ],
)
def test_imports_that_meet_the_erased(
    crm: CRMService, options: Any, many: tuple[int, ...], synced: tuple[int, ...]
) -> None:
    """Refused, skipped, or a new person: as the caller chose; an id alone makes nobody."""
    person = crm.find_or_create({"email": "ana@mail.com"}).id
    _import(crm, person)
    crm.gdpr.erase(person)
    assert _import(crm, person, **options) == [many, synced]
    emails = {c.email for c in crm.customers.list()}
    anew = options == {"on_erased": "create"}
    assert emails == ({"ana@mail.com", "bo@mail.com"} if anew else {"bo@mail.com"})
    if anew:  # and from then on the key is known again
        assert _import(crm, person, **options)[0] == (1, 1, 1, 0)


def test_an_unknown_choice_is_refused(crm: CRMService) -> None:
    with pytest.raises(InvalidInput) as caught:
        crm.activities.track_many([], on_erased="ignore")  # type: ignore[arg-type]
    assert caught.value.field == "on_erased"


def test_a_new_sign_up_is_a_new_person(crm: CRMService) -> None:
    """Without the old key, who was erased begins with nothing."""
    old = crm.find_or_create({"email": "ana@mail.com", "name": "Ana"}).id
    crm.track_activity(old, "purchase", {"amount": 10})
    crm.gdpr.erase(old)
    new = crm.find_or_create({"email": "ana@mail.com"})
    assert new.id != old
    assert new.name is None
    assert crm.activities.metrics(new.id).orders == 0
