"""Holders of the host's own tables: in one transaction with crmkit, whoever opens it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crmkit import CRMService, InvalidInput, MemoryStorage, NotFound, migrate
from crmkit.ports.holders import HeldTable
from tests.hosts import Booking
from tests.postgres import database

TABLE = sa.table("bookings", sa.column("id"), sa.column("guest"))


class Bookings:
    """The host's bookings, each with the id of its guest."""

    name = "bookings"

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def describe(self) -> Sequence[HeldTable]:
        return [HeldTable(table="bookings", fields={"guest": "the id of the guest"})]

    def export(self, tx: Any, ids: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        found = tx.execute(sa.select(TABLE).where(TABLE.c.guest.in_(ids)).order_by(TABLE.c.id))
        return [dict(row) for row in found.mappings()]

    def erase(self, tx: Any, ids: Sequence[str]) -> Mapping[str, int]:
        done = tx.execute(sa.update(TABLE).where(TABLE.c.guest.in_(ids)).values(guest=None))
        return {"bookings": done.rowcount}

    def merge(self, tx: Any, kept: str, dropped: str) -> None:
        self.told.append(("merge", kept, dropped))
        tx.execute(sa.insert(TABLE), [{"id": 100 + n, "guest": kept} for n in range(3)])

    def unmerge(self, tx: Any, kept: str, dropped: str) -> None:
        self.told.append(("unmerge", kept, dropped))
        tx.execute(sa.delete(TABLE).where(TABLE.c.id >= 100))


class Broken:
    """Cannot erase."""

    name = "broken"

    def describe(self) -> Sequence[HeldTable]:
        return []

    def export(self, tx: Any, ids: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        assert ids
        return tx.execute(sa.text("SELECT 1 AS one")).mappings().all()  # type: ignore[no-any-return]

    def erase(self, tx: Any, ids: Sequence[str]) -> Mapping[str, int]:
        raise LookupError(tx is None, len(ids))


@pytest.fixture
def ana(service: CRMService) -> str:
    return service.find_or_create({"name": "Ana", "email": "ana@mail.com"}).id


@pytest.fixture
def bookings(service: CRMService, engine: sa.Engine, ana: str) -> Bookings:
    """Registered, with two bookings of Ana's and one of somebody else's."""
    holder = Bookings()
    service.gdpr.register(holder)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(Booking),
            [{"id": 1, "guest": ana}, {"id": 2, "guest": ana}, {"id": 3, "guest": "x"}],
        )
    return holder


def guests(engine: sa.Engine) -> list[str | None]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(TABLE.c.guest).order_by(TABLE.c.id)))


@pytest.mark.usefixtures("bookings")
def test_the_hosts_rows_are_exported_and_erased_with_crmkits(
    service: CRMService, engine: sa.Engine, ana: str
) -> None:
    """In a transaction of crmkit's own, on the host's engine."""
    exported = service.gdpr.export(ana)
    assert exported.records["bookings"] == ({"id": 1, "guest": ana}, {"id": 2, "guest": ana})
    receipt = service.gdpr.erase(ana)
    assert receipt.deleted["bookings.bookings"] == 2
    assert guests(engine) == [None, None, "x"]
    assert service.gdpr.export(ana).is_empty


@pytest.mark.usefixtures("bookings")
def test_a_holder_joins_the_hosts_transaction(
    service: CRMService, engine: sa.Engine, ana: str, lend: Callable[[], Any]
) -> None:
    """Rolled back, all is there; committed, all is gone; rows that wait in a session count too."""
    with lend() as lent:
        with service.using(lent) as tx:
            assert tx.gdpr.erase(ana).deleted["bookings.bookings"] == 2
            assert tx.gdpr.export(ana).is_empty
        lent.rollback()
    assert guests(engine) == [ana, ana, "x"]
    with lend() as lent:
        with service.using(lent) as tx:
            if isinstance(lent, Session):
                lent.add(Booking(id=4, guest=ana))
            else:
                lent.execute(sa.insert(Booking).values(id=4, guest=ana))
            assert len(tx.gdpr.export(ana).records["bookings"]) == 3
            assert tx.gdpr.erase(ana).deleted["bookings.bookings"] == 3
        lent.commit()
    assert guests(engine) == [None, None, "x", None]


@pytest.mark.usefixtures("bookings")
def test_a_holder_that_fails_undoes_the_erasure(
    service: CRMService, engine: sa.Engine, ana: str, lend: Callable[[], Any]
) -> None:
    """Nothing half: neither crmkit's rows nor those of the holder before it are gone."""
    service.gdpr.register(Broken())
    with pytest.raises(LookupError):
        service.gdpr.erase(ana)
    assert guests(engine) == [ana, ana, "x"]
    assert service.customers.get(ana).email == "ana@mail.com"
    with lend() as lent, service.using(lent) as tx:
        with pytest.raises(LookupError):
            tx.gdpr.erase(ana)
        tx.track_activity(ana, "visit")
        lent.commit()
    assert guests(engine) == [ana, ana, "x"]
    assert service.activities.metrics(ana).visits == 1
    assert service.gdpr.export(ana).records["broken"] == ({"one": 1},)


def test_what_the_database_refuses_a_holder_undoes_the_erasure(
    service: CRMService,
    engine: sa.Engine,
    ana: str,
    bookings: Bookings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A statement that fails is raised as SQLAlchemy raises it."""

    def erase(tx: Any, ids: Sequence[str]) -> None:
        tx.execute(sa.insert(TABLE).values(id=1, guest=ids[0]))

    monkeypatch.setattr(bookings, "erase", erase)
    with pytest.raises(sa.exc.IntegrityError):
        service.gdpr.erase(ana)
    assert guests(engine) == [ana, ana, "x"]
    assert service.customers.get(ana).email == "ana@mail.com"


def test_ids_that_were_merged_are_asked_for_too(
    service: CRMService, engine: sa.Engine, ana: str, bookings: Bookings
) -> None:
    """So the host's rows may keep the id they had; who wants to know of merges is told."""
    ion = service.find_or_create({"name": "Ion", "email": "ion@mail.com"}).id
    with engine.begin() as connection:
        connection.execute(sa.update(TABLE).where(TABLE.c.id == 3).values(guest=ion))
    merge = service.identity.merge(ana, ion, reason="one person")
    assert guests(engine) == [ana, ana, ion, ana, ana, ana]
    assert len(service.gdpr.export(ion).records["bookings"]) == 6
    service.identity.unmerge(merge.id)
    assert bookings.told == [("merge", ana, ion), ("unmerge", ana, ion)]
    assert guests(engine) == [ana, ana, ion]
    service.identity.merge(ana, ion, reason="one person after all")
    assert service.gdpr.erase(ana).deleted["bookings.bookings"] == 6
    assert set(guests(engine)) == {None}


def test_a_hook_that_fails_undoes_the_merge(
    service: CRMService,
    engine: sa.Engine,
    ana: str,
    bookings: Bookings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ion = service.find_or_create({"name": "Ion", "email": "ion@mail.com"}).id

    def merge(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(bookings, "merge", merge)
    with pytest.raises(LookupError):
        service.identity.merge(ana, ion, reason="one person")
    assert service.customers.get(ion).id == ion
    assert guests(engine) == [ana, ana, "x"]


def test_a_holder_works_on_a_database_that_crmkit_opened(
    request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    """By its URL: the engine, and how it begins transactions, are crmkit's."""
    with database(request.getfixturevalue("postgres_url")) as server:
        for url in (f"sqlite:///{tmp_path}/crm.db", server):
            migrate(url)
            other = sa.create_engine(url)
            Booking.__table__.create(other)  # type: ignore[attr-defined]
            with CRMService(url) as crm:
                crm.gdpr.register(Bookings())
                ana = crm.find_or_create({"email": "ana@mail.com"}).id
                with other.begin() as connection:
                    connection.execute(sa.insert(Booking).values(id=1, guest=ana))
                assert crm.gdpr.export(ana).records["bookings"] == ({"id": 1, "guest": ana},)
                assert crm.gdpr.erase(ana).deleted["bookings.bookings"] == 1
                assert guests(other) == [None]
            other.dispose()


def test_in_memory_a_holder_gets_no_connection() -> None:
    crm = CRMService(MemoryStorage())
    crm.gdpr.register(Broken())
    ana = crm.find_or_create({"name": "Ana"}).id
    with pytest.raises(LookupError) as caught:
        crm.gdpr.erase(ana)
    assert caught.value.args == (True, 1)
    assert crm.customers.get(ana).id == ana


def test_who_wants_to_know_of_restrictions_is_told() -> None:
    """With all ids of the customer; who has no such method is not asked."""
    told: list[Any] = []

    class Strict(Broken):
        name = "strict"

        def restrict(self, tx: Any, ids: Sequence[str], restricted: bool) -> None:
            told.append((tx, list(ids), restricted))

    crm = CRMService(MemoryStorage())
    for holder in (Broken(), Strict()):
        crm.gdpr.register(holder)
    ana, ion = (crm.find_or_create({"email": f"{n}@mail.com"}).id for n in ("ana", "ion"))
    crm.identity.merge(ana, ion, reason="one person")
    crm._runtime.write(lambda uow: crm.gdpr.holders.restrict(uow, ana, restricted=True))
    assert told == [(None, [ana, ion], True)]


def test_nobody_of_crmkits_is_nobody_to_holders(service: CRMService) -> None:
    """A holder is not asked about an id that crmkit does not know."""
    service.gdpr.register(Broken())
    with pytest.raises(NotFound):
        service.gdpr.export("x")


def test_holders_are_those_of_the_service() -> None:
    """Of each of its tenants too, and inside of `using`."""
    crm = CRMService(MemoryStorage())
    crm.for_tenant("other").gdpr.register(Bookings())
    assert [h.name for h in crm.gdpr.holders.all()] == ["bookings"]
    with crm.using(None) as tx:  # type: ignore[arg-type]
        assert [h.name for h in tx.gdpr.holders.all()] == ["bookings"]
    assert CRMService(MemoryStorage()).gdpr.holders.all() == ()


class Colour(Enum):
    RED = "red"


VALUES: dict[str, tuple[Any, Any]] = {
    "without a zone": (datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
    "with a zone": (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    "time": (time(9, 30), "09:30:00"),
    "length": (timedelta(minutes=90), "1:30:00"),
    "uuid": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "bytes": (b"\x00\xff", "00ff"),
    "nan": (float("nan"), "nan"),
    "infinite": (Decimal("Infinity"), "Infinity"),
    "large": (2**63, "9223372036854775808"),
    "long": ("x" * 20_000, "x" * 20_000),
    "half a letter": ("\ud800", "\\ud800"),
    "enumeration": ([Colour.RED], ["red"]),
    "set": ({1}, [1]),
    "nested": ({1: (True, None, 1.5)}, {"1": [True, None, 1.5]}),
}


class Rows(Broken):
    """Gives whatever it is given, and tells so of an erasure."""

    name = "rows"

    def __init__(self, exported: Any = (), erased: Any = None) -> None:
        self._exported, self._erased = exported, erased

    def export(self, *_: Any) -> Any:
        return self._exported

    def erase(self, *_: Any) -> Any:
        return self._erased


@pytest.mark.parametrize("kind", VALUES)
def test_what_json_does_not_know_is_told_as_text(kind: str) -> None:
    """An access request does not fail because a table has a column of some ordinary type."""
    given, told = VALUES[kind]
    crm = CRMService(MemoryStorage())
    crm.gdpr.register(Rows([{"value": given}]))
    export = crm.gdpr.export(crm.find_or_create({"name": "Ana"}).id)
    assert json.loads(export.json())["records"]["rows"] == [{"value": told}]


_ENDLESS: list[Any] = []
_ENDLESS.append(_ENDLESS)


@pytest.mark.parametrize("rows", [None, 5, [None], ["x"], [{"a": object()}], [{"a": _ENDLESS}]])
def test_what_is_no_row_is_refused_by_name(rows: Any) -> None:
    crm = CRMService(MemoryStorage())
    crm.gdpr.register(Rows(rows))
    ana = crm.find_or_create({"name": "Ana"}).id
    with pytest.raises(InvalidInput, match=r"rows"):
        crm.gdpr.export(ana)


@pytest.mark.parametrize("done", [None, 5, {"t": None}, {"t": "many"}])
def test_a_holder_that_tells_no_numbers_undoes_the_erasure(done: Any) -> None:
    crm = CRMService(MemoryStorage())
    crm.gdpr.register(Rows(erased=done))
    ana = crm.find_or_create({"name": "Ana"}).id
    with pytest.raises(InvalidInput, match=r"rows\.erase"):
        crm.gdpr.erase(ana)
    assert crm.customers.get(ana).id == ana


@pytest.mark.parametrize("name", ["", "Bookings", "crm_x", "a b", None, "a@b.ro"])
def test_a_holder_has_a_plain_name(name: Any) -> None:
    holder = Bookings()
    holder.name = name
    with pytest.raises(InvalidInput):
        CRMService(MemoryStorage()).gdpr.register(holder)


def test_a_name_is_registered_once_and_what_is_no_holder_never() -> None:
    crm = CRMService(MemoryStorage())
    crm.gdpr.register(Bookings())
    with pytest.raises(InvalidInput, match="registered already"):
        crm.gdpr.register(Bookings())

    class Half:
        name = "half"

    with pytest.raises(InvalidInput, match=r"holder\.describe"):
        crm.gdpr.register(Half())  # type: ignore[arg-type]
