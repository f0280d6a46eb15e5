"""With a key ring nothing personal is readable where it is stored, and all works as without."""

from __future__ import annotations

import logging
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from sqlalchemy.orm import Session

from crmkit import (
    AlreadyTaken,
    CRMService,
    DecryptionError,
    InvalidInput,
    KeyRing,
    MemoryStorage,
    NotFound,
    Settings,
    SqlStorage,
    migrate,
)
from crmkit.adapters.encryption import EncryptedStorage
from crmkit.model import Activity, Customer, DataKey, Identity, Note, SearchToken, catalogue
from crmkit.ports.storage import Storage
from tests.canaries import canaries
from tests.fixtures import sqlite_url
from tests.populate import canary, populate, profile, rows
from tests.postgres import database

OLD, NEW = b"o" * 32, b"n" * 32
FORMER = KeyRing({"2026": OLD})
BOTH = KeyRing({"2026": OLD, "2027": NEW})
LATER = KeyRing({"2027": NEW})
RO = Settings(region="RO")

READABLE = {canary("purpose"), canary("basis"), canary("objected")}
"""What stays readable although a host may write anything into it: purposes of consents."""


@cache
def hidden() -> frozenset[str]:
    """What must not be readable: all that a customer is known to have, but for `READABLE`."""
    storage = MemoryStorage()
    populate(CRMService(storage, settings=RO))
    return frozenset(canaries(str(rows(storage, "default"))) - READABLE)


def readable(text: str | bytes) -> set[str]:
    """Of that, what can be read here; not what ciphertext looks like by chance."""
    told = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return {word for word in hidden() if word in told.lower()}


@pytest.fixture
def bare(storage: Storage) -> Storage:
    """Each kind of storage, without a key ring around it."""
    return storage._inner if isinstance(storage, EncryptedStorage) else storage


@pytest.fixture
def sealed(bare: Storage) -> CRMService:
    """A CRM with a key ring on each kind of storage."""
    return CRMService(bare, keys=FORMER, settings=RO)


def on_both(crm: CRMService) -> CRMService:
    """The same once the new key is known, and current."""
    return with_ring(crm, BOTH)


def with_ring(crm: CRMService, ring: KeyRing) -> CRMService:
    inner = crm._runtime.storage
    assert isinstance(inner, EncryptedStorage)
    return CRMService(inner._inner, keys=ring, settings=RO)


# --- nothing is readable ---


def test_what_is_stored_shows_nothing_personal(sealed: CRMService, bare: Storage) -> None:
    """In no field of any record, of all that a customer can have."""
    person = populate(sealed)
    assert len(canaries(str(sealed.customers.get(person).custom))) > 1
    assert readable(str(rows(bare, sealed.tenant))) == set()


def test_the_file_shows_nothing_personal(tmp_path: Path) -> None:
    """Neither the database nor the write-ahead log beside it; without a key ring both do."""
    found = []
    for keys in (FORMER, None):
        folder = tmp_path / str(keys is None)
        folder.mkdir()
        crm = CRMService(sqlite_url(folder), keys=keys, settings=RO)
        populate(crm)
        with closing(sqlite3.connect(folder / "crm.db")):  # keeps the log from being folded in
            files = b"".join(f.read_bytes() for f in sorted(folder.glob("crm.db*")))
        found.append(readable(files))
        crm.close()
    assert found[0] == set()
    assert len(found[1]) > 40


@pytest.fixture
def fresh_engine(postgres_url: str) -> Iterator[sa.Engine]:
    """A database of its own: in one that others used, what they deleted is on the disk still."""
    with database(postgres_url) as url:
        migrate(url)
        engine = sa.create_engine(url)
        yield engine
        engine.dispose()


def test_the_server_keeps_nothing_personal(
    fresh_engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither heap and index files, nor statistics, nor the server's log."""
    caplog.set_level(logging.DEBUG)
    crm = CRMService(fresh_engine, keys=FORMER, settings=RO)
    populate(crm)
    with fresh_engine.connect() as connection:
        run = connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql
        with pytest.raises(sa.exc.IntegrityError):  # the server logs the row that is refused
            run("INSERT INTO crm_customers SELECT * FROM crm_customers")
        run("ANALYZE")
        run("CHECKPOINT")
        statistics = str(run("SELECT * FROM pg_stats").all())
        home = Path(run("SHOW data_directory").scalar_one())
        number = run("SELECT oid FROM pg_database WHERE datname = current_database()").scalar_one()
    heap = b"".join(f.read_bytes() for f in (home / "base" / str(number)).iterdir())
    log = (home / "server.log").read_bytes()
    assert b"crm_customers" in log
    for place in (statistics, heap, log, caplog.text):
        assert readable(place) == set()


def test_a_wrong_key_says_nothing_personal(sealed: CRMService) -> None:
    """An error names neither what is sealed nor the key, and a ring shows no keys."""
    person = populate(sealed)
    with pytest.raises(DecryptionError) as caught:
        with_ring(sealed, KeyRing({"2026": NEW})).customers.get(person)
    assert canaries(f"{caught.value!r} {caught.value.__cause__!r}") == set()
    assert repr(FORMER) == "KeyRing(current='2026', epochs=('2026',))"


# --- all works as without ---


def test_people_are_found_as_ever(sealed: CRMService) -> None:
    """By identifiers in another form, by fragments, with errors of typing, and by rule."""
    person = populate(sealed)
    given = profile()
    assert sealed.find_or_create({"email": "canary.ZQEMAILZQ@mail.com"}).id == person
    assert sealed.find_or_create({"phone": "0722 987 654", "name": given["name"]}).id == person
    ana = sealed.find_or_create({"name": "Ana Maria Popescu", "birth_date": "1990-02-03",
                                 "phone": "0722000111"})  # fmt: skip
    typed = {"name": "Ana Maria Popesccu", "birth_date": "1990-02-03", "phone": "0722000111"}
    assert sealed.find_or_create(typed).id == ana.id
    assert [h.customer.id for h in sealed.customers.search("pope ana")] == [ana.id]
    sealed.customers.tag(ana.id, "quiet table")
    asked = {"field": "tags", "operator": "contains", "value": "quiet table"}
    sealed.segments.create("quiet", asked)
    assert [c.id for c in sealed.segments.members("quiet")] == [ana.id]


def test_rules_over_what_is_sealed_and_what_is_not(sealed: CRMService) -> None:
    """The storage narrows by what it can read; a `not` is turned the right way."""
    people = {}
    for name, city, spent in (("A", "Cluj", 50), ("B", "Cluj", 500), ("C", "Iasi", 500)):
        people[name] = sealed.find_or_create({"name": name, "email": f"{name}@x.ro", "city": city})
        sealed.track_activity(people[name].id, "purchase", {"amount": spent})
    rich = {"field": "total_spend", "operator": ">=", "value": 100}
    cluj = {"field": "city", "operator": "=", "value": "Cluj"}
    both, either = ({"operator": o, "conditions": [rich, cluj]} for o in ("and", "or"))
    elsewhere = {"operator": "not", "conditions": [cluj]}
    asked: list[tuple[dict[str, Any], str]] = [
        (both, "B"),
        (either, "ABC"),
        ({"operator": "and", "conditions": [rich, elsewhere]}, "C"),
        ({"operator": "not", "conditions": [either]}, ""),
    ]
    for n, (rule, names) in enumerate(asked):
        sealed.segments.create(f"s{n}", rule)
        found = {c.id for c in sealed.segments.members(f"s{n}")}
        assert found == {people[name].id for name in names}
        assert sealed.segments.preview(rule).count == len(names)


def test_a_merge_seals_anew_and_parting_gives_back(sealed: CRMService, bare: Storage) -> None:
    """All rows of a customer open with the one key they have; who is merged away has none."""
    ana, anna = (sealed.find_or_create({"email": f"{n}@x.ro", "name": n}).id for n in "ab")
    for customer in (ana, anna):
        sealed.track_activity(
            customer, "booking", {"booking_id": customer, "note": "by the window"}
        )
        sealed.customers.add_note(customer, "prefers tea")
    with sealed.gdpr.audit.acting("staff:maria", reason="asked"):
        sealed.gdpr.export(anna)
    merge = sealed.identity.merge(ana, anna, reason="same")
    assert "asked" in {e.reason for e in sealed.gdpr.audit.entries(customer_id=ana)}
    assert owners(bare) == {"", ana}
    assert [n.text for n in sealed.customers.notes(ana)] == ["prefers tea"] * 2
    sealed.identity.unmerge(merge.id)
    assert owners(bare) == {"", ana, anna}
    for customer in (ana, anna):
        assert [a.payload["note"] for a in sealed.activities.timeline(customer)] == [
            "by the window"
        ]
    sealed.gdpr.erase(ana)
    assert [n.text for n in sealed.customers.notes(anna)] == ["prefers tea"]


def owners(bare: Storage) -> set[str]:
    with bare.read("default") as uow:
        return {key.customer_id for key in uow.find(DataKey)}


def test_erasure_destroys_the_key(sealed: CRMService, bare: Storage) -> None:
    """And its receipt says so."""
    person = populate(sealed)
    receipt = sealed.gdpr.erase(person)
    assert receipt.deleted["crm_data_keys"] == 1
    assert owners(bare) == {""}


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_inside_the_hosts_transaction(bare: Storage) -> None:
    """Rolled back, not even the tenant's key stays, and the next call makes another."""
    assert isinstance(bare, SqlStorage)
    crm = CRMService(bare, keys=FORMER, settings=RO)
    with Session(bare._engine) as session, crm.using(session) as tx:
        person = tx.find_or_create({"email": "a@x.ro", "name": "Ana"}, key="k")
        assert tx.customers.get(person.id).name == "Ana"
        session.rollback()
    assert owners(bare) == set()
    with Session(bare._engine) as session, crm.using(session) as tx:
        tx.find_or_create({"email": "a@x.ro", "name": "Ana"}, key="k")
        session.commit()
    assert crm.find_or_create({"email": "a@x.ro", "name": "Ana"}, key="k").name == "Ana"


# --- what was changed is noticed ---


FLIPS = 10_000 if settings().max_examples > 1_000 else 600


def test_bits_that_are_flipped_are_noticed(sealed: CRMService, bare: Storage) -> None:
    """Wherever in a sealed text or a wrapped key one bit differs, nothing is read."""
    person = populate(sealed)
    chance = random.Random(1)
    with bare.read("default") as uow:
        targets: list[Any] = [*uow.find(Customer), *uow.find(Activity), *uow.find(Note)]
        targets += uow.find(DataKey, customer_id=person)
    targets = [t for t in targets if getattr(t, "sealed", None) or isinstance(t, DataKey)]
    for n in range(FLIPS):
        record = targets[n % len(targets)]
        field = "wrapped" if isinstance(record, DataKey) else "sealed"
        text = bytearray(getattr(record, field).encode())
        text[chance.randrange(len(text))] ^= 1 << chance.randrange(7)
        changed = type(record)(**{**_values(record), field: text.decode("latin-1")})
        _refused(sealed, bare, record, changed, person)


def _values(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _entry(record).names}


def _entry(record: object) -> Any:
    return next(e for e in catalogue() if e.record is type(record))


def _refused(sealed: CRMService, bare: Storage, record: Any, changed: Any, person: str) -> None:
    """The record cannot be read while the changed one is in its place."""
    kind, key = type(record), tuple(getattr(record, k) for k in _entry(record).key[1:])
    if kind is DataKey:
        kind, key = Customer, (person,)
    bare.write("default", lambda uow: uow.put(changed))
    with sealed._runtime.read() as uow, pytest.raises(DecryptionError):
        uow.get(kind, *key)
    bare.write("default", lambda uow: uow.put(record))


def test_what_is_moved_elsewhere_is_noticed(sealed: CRMService, bare: Storage) -> None:
    """A sealed text opens in its own row, table and tenant alone, even with its own key there."""
    ana = populate(sealed)
    other = sealed.for_tenant("other")
    dan = sealed.find_or_create({"name": "Dan", "email": "d@x.ro"}).id
    eva = other.find_or_create({"name": "Eva", "email": "e@x.ro"}).id
    with bare.read("default") as uow:
        mine, his = uow.get(Customer, ana), uow.get(Customer, dan)
        one, *_ = (a for a in uow.find(Activity, customer_id=ana) if a.sealed)
        note = uow.find(Note, customer_id=ana)[0]
        key, his_key = uow.get(DataKey, ana), uow.get(DataKey, dan)
    with bare.read("other") as uow:
        hers = uow.get(Customer, eva)
    assert None not in (mine, his, key, his_key, hers)
    swaps: list[tuple[Any, Any]] = [
        (his, evolved_with(his, sealed=sealed_of(mine))),  # another row
        (note, evolved_with(note, sealed=one.sealed)),  # another table, of the same owner
        (one, evolved_with(one, sealed=sealed_of(mine))),
        (mine, evolved_with(mine, sealed=sealed_of(hers))),  # another tenant
        (key, evolved_with(key, wrapped=getattr(his_key, "wrapped", ""))),  # another's key
    ]
    for record, changed in swaps:
        _refused(sealed, bare, record, changed, ana)


def sealed_of(record: Any) -> Any:
    return record.sealed


def evolved_with(record: Any, **fields: Any) -> Any:
    return type(record)(**{**_values(record), **fields})


def test_what_stands_open_beside_a_seal_is_not_believed(sealed: CRMService, bare: Storage) -> None:
    """Who can write into the table cannot give a customer another name."""
    ana = sealed.find_or_create({"email": "a@x.ro", "city": "Cluj"}).id
    with bare.read("default") as uow:
        stored = uow.get(Customer, ana)
    assert stored
    bare.write("default", lambda uow: uow.put(evolved_with(stored, name="Eve", city="Iasi")))
    assert (sealed.customers.get(ana).name, sealed.customers.get(ana).city) == (None, "Cluj")


# --- changing keys ---


def test_before_a_rotation_all_is_found_by_former_hashes(sealed: CRMService) -> None:
    """With the new key current, whatever was stored before is read, found and changed."""
    person = populate(sealed)
    crm = on_both(sealed)
    assert crm.find_or_create({"email": profile()["email"]}).id == person
    assert [h.customer.id for h in crm.customers.search(canary("first_name"))] == [person]
    crm.customers.update(person, {"email": "new@x.ro"})
    assert crm.find_or_create({"email": "new@x.ro"}).id == person
    crm.customers.untag(person, canary("tag"))
    assert crm.customers.search(canary("tag")) == ()
    stranger = crm.find_or_create({"user_id": "u2", "name": "Stranger"})
    with pytest.raises(AlreadyTaken):
        crm.customers.update(stranger.id, {"user_id": canary("user_id")})


def test_after_a_rotation_the_former_key_is_not_needed(sealed: CRMService, bare: Storage) -> None:
    """And opens nothing any more: neither is anything left that it hashed."""
    person = populate(sealed)
    twin = sealed.find_or_create({"name": "Mihaela Popescu", "phone": "0722555666"})
    before = hashes(bare)
    told: list[int] = []
    done = on_both(sealed).gdpr.rotate(progress=told.append)
    assert (done.epoch, done.customers, done.left, told) == ("2027", 2, 0, [2])
    assert not before & hashes(bare)
    crm = with_ring(sealed, LATER)
    assert crm.find_or_create({"email": profile()["email"]}).id == person
    assert crm.find_or_create({"name": "Mihaela Popesccu", "phone": "0722555666"}).id == twin.id
    assert [h.customer.id for h in crm.customers.search(canary("tag"))] == [person]
    # What is hashed for good is found as ever: an idempotency key is still known.
    assert crm.find_or_create(profile(), key=canary("key of resolve")).id == person
    with pytest.raises(DecryptionError):
        with_ring(sealed, FORMER).customers.get(person)
    assert on_both(sealed).gdpr.rotate().customers == 0


def hashes(bare: Storage) -> set[str]:
    """All hashes that people are found by."""
    with bare.read("default") as uow:
        found = {i.fingerprint for i in uow.find(Identity)}
        return found | {t.fingerprint for t in uow.find(SearchToken)}


def test_a_backup_from_before_erasure_and_rotation_cannot_be_opened(tmp_path: Path) -> None:
    """Once the former master key is destroyed, the person is gone from the backups too."""
    url = sqlite_url(tmp_path)
    with CRMService(url, keys=FORMER, settings=RO) as crm:
        person = populate(crm)
    shutil.copy(tmp_path / "crm.db", tmp_path / "backup.db")
    with CRMService(url, keys=BOTH, settings=RO) as crm:
        crm.gdpr.erase(person)
        assert crm.gdpr.rotate().left == 0
    with CRMService(f"sqlite:///{tmp_path}/backup.db", keys=LATER, settings=RO) as crm:
        with pytest.raises(DecryptionError):
            crm.customers.get(person)
        with pytest.raises(DecryptionError):
            crm.find_or_create({"email": profile()["email"]})


def test_a_database_from_before_the_key_ring(bare: Storage) -> None:
    """It works at once, what is written is sealed, and a rotation seals the rest."""
    plain = CRMService(bare, settings=RO)
    person = populate(plain)
    booked = plain.track_activity(person, "visit", key="v1")
    crm = CRMService(bare, keys=FORMER, settings=RO)
    assert crm.find_or_create({"email": profile()["email"]}).id == person
    assert crm.track_activity(person, "visit", key="v1") == booked
    assert [h.customer.id for h in crm.customers.search(canary("first_name"))] == [person]
    done = crm.gdpr.rotate()
    assert (done.left, done.rows > 10) == (0, True)
    assert readable(str(rows(bare, crm.tenant))) == set()
    assert crm.find_or_create({"email": profile()["email"]}).id == person
    assert crm.track_activity(person, "visit", key="v1") == booked
    assert crm.customers.get(person).name == plain_name()
    assert crm.activities.verify() == ()
    assert crm.gdpr.rotate().rows == 0


def plain_name() -> str:
    return canary("name")


def test_without_a_key_ring_there_is_nothing_to_rotate() -> None:
    with pytest.raises(InvalidInput, match="no key ring"):
        CRMService(MemoryStorage()).gdpr.rotate()


def test_sealed_rows_are_not_read_without_a_ring(sealed: CRMService, bare: Storage) -> None:
    """A host that forgets the ring is refused, and can harm nothing that is sealed."""
    person = populate(sealed)
    other = sealed.find_or_create({"name": "Dan"}).id
    before = rows(bare, "default")
    plain = CRMService(bare, settings=RO)
    assert plain.customers.search(canary("first_name")) == ()
    for call in (
        lambda: plain.customers.get(person),
        lambda: plain.customers.update(person, {"city": "Cluj"}),
        lambda: plain.identity.merge(person, other, reason="x"),
        lambda: plain.gdpr.rectify(person, {"city": "Cluj"}, reason="x"),
    ):
        with pytest.raises(DecryptionError, match="key ring"):
            call()
    assert rows(bare, "default") == before


def test_the_ring_of_each_tenant_is_its_own(sealed: CRMService) -> None:
    """Equal values of two tenants have different hashes, and rotate by themselves."""
    other = sealed.for_tenant("other")
    one, two = (c.find_or_create({"email": "a@x.ro"}).id for c in (sealed, other))
    on_both(sealed).gdpr.rotate()
    assert with_ring(sealed, LATER).customers.get(one).email == "a@x.ro"
    with pytest.raises(DecryptionError):
        with_ring(sealed, LATER).for_tenant("other").customers.get(two)
    with pytest.raises(NotFound):
        with_ring(sealed, BOTH).customers.get(two)


# --- while two keys are in use ---


def test_who_was_written_to_with_the_former_key_is_rotated_too(sealed: CRMService) -> None:
    """In a rolling deployment a process with the former key may write of whom the new one made."""
    both = on_both(sealed)
    person = both.find_or_create({"name": "Mihaela Popescu", "email": "m@x.ro"}).id
    sealed_again = with_ring(sealed, KeyRing({"2027": NEW, "2026": OLD}, current="2026"))
    sealed_again.customers.update(person, {"email": "mihaela@x.ro"})
    both.gdpr.rotate()
    later = with_ring(sealed, LATER)
    assert later.find_or_create({"email": "mihaela@x.ro"}).id == person
    assert [h.customer.id for h in later.customers.search("mihaela")] == [person]


def test_who_was_merged_into_a_newer_customer_is_rotated_too(sealed: CRMService) -> None:
    """By all identifiers of both."""
    older = sealed.find_or_create({"user_id": "a", "name": "A"}).id
    both = on_both(sealed)
    newer = both.find_or_create({"user_id": "b", "name": "B"}).id
    both.identity.merge(newer, older, reason="same")
    assert both.gdpr.rotate().left == 0
    later = with_ring(sealed, LATER)
    assert {later.find_or_create({"user_id": u}).id for u in "ab"} == {newer}


def test_a_mailbox_stays_with_whom_it_was_first(sealed: CRMService) -> None:
    """Before the rotation and after, though another came by the new hash."""
    ana = sealed.find_or_create(
        {"name": "Ana Pop", "email": "fam@x.ro", "birth_date": "1970-01-01"}
    )
    both = on_both(sealed)
    dan = both.find_or_create({"name": "Dan Pop", "email": "fam@x.ro", "birth_date": "2001-05-05"})
    assert dan.id != ana.id
    for crm in (both, both if both.gdpr.rotate().left else with_ring(sealed, LATER)):
        assert crm.find_or_create({"email": "fam@x.ro"}).id == ana.id
        named = {"name": "Dan Pop", "email": "fam@x.ro", "birth_date": "2001-05-05"}
        assert crm.find_or_create(named).id == dan.id


def test_parting_links_no_account_that_is_anothers(sealed: CRMService) -> None:
    """Whichever key it was hashed with."""
    a, b = (sealed.find_or_create({"user_id": u, "name": u}).id for u in ("u1", "u2"))
    merge = sealed.identity.merge(b, a, reason="same")
    sealed.customers.update(b, {"user_id": None})
    other = sealed.find_or_create({"name": "Zoe"}).id
    sealed.customers.update(other, {"user_id": "u1"})
    both = on_both(sealed)
    both.identity.unmerge(merge.id)
    assert both.customers.get(a).user_id is None
    assert both.find_or_create({"user_id": "u1"}).id == other


def test_what_was_suppressed_before_the_ring_stays_so(bare: Storage) -> None:
    """And what strangers had asked is sealed, though there was no customer yet."""
    plain = CRMService(bare, settings=RO)
    plain.gdpr.suppress("stop@x.ro", "email", kind="complained")
    plain.gdpr.requests.open("access", contact=canary("stranger"))
    crm = CRMService(bare, keys=FORMER, settings=RO)
    assert crm.gdpr.suppressed("stop@x.ro", "email") is not None
    assert crm.gdpr.rotate().left == 0
    assert canary("stranger") not in str(rows(bare, "default"))
    assert crm.gdpr.suppressed("stop@x.ro", "email") is not None
    assert crm.gdpr.audit.verify().ok


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_a_tenants_first_write_inside_the_hosts_transaction_is_audited(bare: Storage) -> None:
    """It does not wait for a key that it is just making itself."""
    assert isinstance(bare, SqlStorage)
    crm = CRMService(bare, keys=FORMER, settings=Settings(region="RO", audit="writes"))
    with Session(bare._engine) as session, crm.using(session) as tx:
        person = tx.find_or_create({"email": "a@x.ro"}).id
        session.commit()
    assert len(crm.gdpr.audit.entries(customer_id=person)) == 1


@pytest.mark.parametrize("storage", ["postgresql"], indirect=True)
def test_who_is_erased_while_they_are_read_is_not_there(bare: Storage) -> None:
    """The row is read, the key goes, and then the key is looked for."""
    crm = CRMService(bare, keys=FORMER, settings=RO)
    ana, dan = (crm.find_or_create({"name": n, "email": f"{n}@x.ro"}).id for n in ("ana", "dan"))
    storage = crm._runtime.storage
    with storage.read("default") as uow:
        inner: Any = uow
        stored = inner._inner.find(Customer)
        crm.gdpr.erase(ana)
        assert [c.id for c in inner._opened(stored)] == [dan]
